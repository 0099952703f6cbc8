"""Training, baselines and evaluation. Names that need PyTorch are imported when first asked for."""

from typing import TYPE_CHECKING, Any

from .recipe import Recipe, load_recipe, recipe_names

if TYPE_CHECKING:
    from .fit import Interrupted, Run, train_run

__all__ = ["Interrupted", "Recipe", "Run", "load_recipe", "recipe_names", "train_run"]


def __getattr__(name: str) -> Any:
    if name in ("Interrupted", "Run", "train_run"):
        from . import fit

        return getattr(fit, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
