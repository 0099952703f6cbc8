"""Recipes: every setting of a training run in one validated object.

The defaults live in ``configs/default.yaml`` and nowhere else: any other recipe, bundled or the
user's, is a set of changes to it.
"""

import math
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..data.codebook import describe_validation
from ..data.errors import UserError

# Sentences of a contrastive batch: enough for several of every label.
FEW_LABELS_BATCH = 32


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitSettings(_Section):
    """Shares of sentences held out, where the corpus has no ``split`` column."""

    validation: float = Field(gt=0, lt=1)
    calibration: float = Field(ge=0, lt=1)
    test: float = Field(ge=0, lt=1)

    @model_validator(mode="after")
    def _leave_something(self) -> "SplitSettings":
        if self.validation + self.calibration + self.test >= 1:
            raise ValueError("validation, calibration and test together must leave something to train on")
        return self


class TrainingSettings(_Section):
    """How the backbone is fine-tuned."""

    epochs: int = Field(ge=1)
    max_sentences: int | None = Field(ge=1)
    min_sentences: int | None = Field(ge=1)
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    layer_decay: float = Field(gt=0, le=1)
    weight_decay: float = Field(ge=0)
    warmup: float = Field(ge=0, lt=1)
    label_smoothing: float = Field(ge=0, lt=1)
    class_weights: Literal["none", "balanced", "sqrt"]
    pooling: Literal["first", "mean"]
    swaps: float = Field(ge=0, le=1)
    noise: float = Field(ge=0, le=1)
    freeze_embeddings: bool
    freeze_layers: int = Field(ge=0)
    keep_activations: bool
    patience: int = Field(ge=1)
    group_by_length: bool
    precision: Literal["auto", "fp32", "bf16"]


class SmallCorpusSettings(_Section):
    """How a corpus is fine-tuned on that is too small for freezing to pay."""

    up_to: int | None = Field(ge=1)
    learning_rate: float = Field(gt=0)


class FewLabelsSettings(_Section):
    """How a classifier is trained where labels are few; not looked at with more of them."""

    up_to: int | None = Field(ge=1)
    passes: int = Field(ge=0)
    least_steps: int = Field(ge=0)
    most_steps: int = Field(ge=0)
    learning_rate: float = Field(gt=0)

    def steps_for(self, sentences: int) -> int:
        """How many batches so many sentences are trained with."""
        wanted = math.ceil(self.passes * sentences / FEW_LABELS_BATCH)
        return min(max(wanted, self.least_steps), self.most_steps)


class DistillationSettings(_Section):
    """How a teacher's soft labels are learnt from; only looked at with ``--teacher``."""

    temperature: float = Field(gt=0)
    gold_weight: float = Field(ge=0, le=1)
    turns: float = Field(ge=0, le=1)
    attribution: str | None
    max_sentences: int | None = Field(ge=1)


class CascadeSettings(_Section):
    """Whether a first stage is put before the graph (see ``train/cascade.py``)."""

    most_changed: float | None = Field(gt=0, lt=1)
    max_sentences: int | None = Field(ge=1)


class Recipe(_Section):
    """All settings of a run; ``configs/default.yaml`` explains each."""

    name: str = Field(min_length=1)
    backbone: str = Field(min_length=1)
    seed: int = Field(ge=0, lt=2**32)
    max_length: int = Field(ge=8)
    max_corpus: int | None = Field(ge=1)
    baselines: bool
    behaviour: bool
    reference: bool
    export: bool
    split: SplitSettings
    training: TrainingSettings
    small_corpus: SmallCorpusSettings
    few_labels: FewLabelsSettings
    distillation: DistillationSettings
    cascade: CascadeSettings

    def trains_whole(self, sentences: int) -> bool:
        """Whether nothing is frozen with so many training sentences: the rule of ``small_corpus``."""
        return self.small_corpus.up_to is not None and sentences <= self.small_corpus.up_to

    def whole(self) -> "Recipe":
        """The same with nothing frozen, at the learning rate of ``small_corpus``, which is not looked at again."""
        changes = {"learning_rate": self.small_corpus.learning_rate, "freeze_embeddings": False, "freeze_layers": 0}
        return self.model_copy(
            update={
                "training": self.training.model_copy(update=changes),
                "small_corpus": self.small_corpus.model_copy(update={"up_to": None}),
            }
        )

    def uncalibrated(self) -> "Recipe":
        """The same without a calibration part or a graph, for trials whose probabilities nobody will read."""
        return self.model_copy(update={"split": self.split.model_copy(update={"calibration": 0.0}), "export": False})

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(
        Path(str(item)).stem for item in files("conflict_framing.configs").iterdir() if item.name.endswith(".yaml")
    )


def load_recipe(name: str = "default", settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply ``--set a.b=value`` overrides.

    Args:
        name: of a bundled recipe, or a path of a YAML file.
        settings: ``key=value`` texts; keys are dotted paths, values are YAML.

    Raises:
        UserError: no such recipe, or settings that are wrong (all of them are told at once).
    """
    own = _read(name) if name != "default" else {}
    default = _read("default")
    values, said = _merge(default, own), dict[str, Any]()
    for setting in settings:
        _override(values, setting)
        _override(said, setting)
    # Who says what to freeze, or how fast to learn, means it for a small corpus too. A file that holds all settings, as
    # "recipe NAME" prints them, means those that differ.
    training = _section(values, "training")
    meant = {key for key in _OF_SMALL_CORPUS if training.get(key) != default["training"][key]}
    meant |= {*_section(said, "training")} | (set() if "small_corpus" in own else {*_section(own, "training")})
    if _OF_SMALL_CORPUS & meant and "small_corpus" not in said and values["small_corpus"] == default["small_corpus"]:
        values["small_corpus"] = {**default["small_corpus"], "up_to": None}
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise UserError(
            f"recipe {name}:\n{describe_validation(error)}\nAll settings: conflict-framing recipe default"
        ) from None


_OF_SMALL_CORPUS = {"learning_rate", "freeze_embeddings", "freeze_layers"}


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def _read(name: str) -> dict[str, Any]:
    if name in recipe_names():
        text = files("conflict_framing.configs").joinpath(f"{name}.yaml").read_text("utf-8")
    elif Path(name).is_file():
        text = Path(name).read_text("utf-8")
    else:
        raise UserError(f"--recipe {name}: neither a bundled recipe ({', '.join(recipe_names())}) nor a file.")
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"recipe {name}: not YAML: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"recipe {name}: expected settings as 'key: value' lines.")
    return values


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _override(values: dict[str, Any], setting: str) -> None:
    path, mark, text = setting.partition("=")
    if not mark or not path:
        raise UserError(f"--set {setting}: expected key=value, e.g. --set training.epochs=3")
    *sections, key = path.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {setting}: '{section}' is a setting, not a section.")
    try:
        values[key] = yaml.safe_load(text)
        # YAML 1.1 reads 5e-5 as text because it has no dot; people write learning rates like that.
        if isinstance(values[key], str):
            values[key] = float(text)
    except yaml.YAMLError:
        raise UserError(f"--set {setting}: the value is not YAML.") from None
    except ValueError:
        pass
