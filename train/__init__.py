"""Training, baselines and evaluation. Names that need PyTorch are imported when first asked for."""

from typing import TYPE_CHECKING, Any

from .recipe import Recipe, load_recipe, recipe_names

if TYPE_CHECKING:
    from .compare import Comparison, compare_classifiers, load_contenders
    from .fit import Interrupted, Run, train_run
    from .search import Search, run_search
    from .study import Study, run_study

__all__ = [
    "Comparison",
    "Interrupted",
    "Recipe",
    "Run",
    "Search",
    "Study",
    "compare_classifiers",
    "load_contenders",
    "load_recipe",
    "recipe_names",
    "run_search",
    "run_study",
    "train_run",
]


def __getattr__(name: str) -> Any:
    if name in ("Comparison", "compare_classifiers", "load_contenders"):
        from . import compare

        return getattr(compare, name)
    if name in ("Interrupted", "Run", "train_run"):
        from . import fit

        return getattr(fit, name)
    if name in ("Search", "run_search"):
        from . import search

        return getattr(search, name)
    if name in ("Study", "run_study"):
        from . import study

        return getattr(study, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
