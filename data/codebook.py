"""The codebook: label names, their order, definitions, rules and examples. The only place for them."""

from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import UserError

# Told apart by people with any kind of colour vision, in print and on screen (Okabe & Ito, 2008).
_PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#b8a800", "#6b4c9a")
_QUIET = "#8a8f98"


class LabelDefinition(BaseModel):
    """One label as annotators and readers see it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    title: str = ""
    definition: str = ""
    includes: list[str] = []
    excludes: list[str] = []
    examples: list[str] = []
    colour: str = Field(default="", pattern=r"^(#[0-9a-fA-F]{6})?$")


class Codebook(BaseModel):
    """Labels in a fixed order, with what annotators need to give them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: int = 1
    unit: str = ""
    question: str = ""
    labels: tuple[LabelDefinition, ...] = Field(min_length=2)
    rules: list[str] = []

    @model_validator(mode="after")
    def _names_differ(self) -> "Codebook":
        seen: dict[str, str] = {}
        for name in self.label_names:
            other = seen.setdefault(normalise_label(name), name)
            if other != name or self.label_names.count(name) > 1:
                raise ValueError(f"two labels that differ in nothing but case or spaces: {other!r}, {name!r}")
        return self

    @property
    def label_names(self) -> list[str]:
        return [label.name for label in self.labels]

    def title(self, name: str) -> str:
        """The label as people read it: its title, else its name with spaces for underscores."""
        found = next((label.title for label in self.labels if label.name == name), "")
        return found or name.replace("_", " ")

    def colour(self, name: str) -> str:
        """A label's colour as ``#rrggbb``: its own, else one by its place."""
        for place, label in enumerate(self.labels):
            if label.name == name:
                fallback = _QUIET if name == "none" else _PALETTE[place % len(_PALETTE)]
                return label.colour or fallback
        return _QUIET

    def only(self, names: Iterable[str]) -> "Codebook":
        """The same codebook with some of its labels, order kept."""
        wanted = set(names)
        return self.model_copy(update={"labels": tuple(x for x in self.labels if x.name in wanted)})

    @classmethod
    def bundled(cls) -> "Codebook":
        """The codebook of the framing of statements in conflict reporting."""
        return cls.parse(files("conflict_framing.data").joinpath("codebook.yaml").read_text("utf-8"), "codebook.yaml")

    @property
    def has_bundled_labels(self) -> bool:
        """Whether the labels are all those of the bundled codebook and no others."""
        return set(self.label_names) == set(Codebook.bundled().label_names)

    @classmethod
    def load(cls, path: str | Path) -> "Codebook":
        """Read a codebook from YAML.

        Raises:
            UserError: missing file, no YAML, or fields that are wrong (all of them are told at once).
        """
        try:
            text = Path(path).read_text("utf-8")
        except FileNotFoundError:
            raise UserError(f"{path}: no such codebook file.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: the codebook cannot be read: {error}.") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, source: str) -> "Codebook":
        try:
            values: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"{source}: not YAML: {error}") from None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(f"{source}: not a codebook:\n{describe_validation(error)}") from None

    @classmethod
    def from_labels(cls, names: Sequence[str]) -> "Codebook":
        """A bare codebook for a corpus that brings labels but no definitions.

        Raises:
            UserError: fewer than two labels.
        """
        if len(names) < 2:
            raise UserError(f"A classifier needs at least two labels; found: {', '.join(names) or 'none'}.")
        return cls(name="labels of the corpus", labels=tuple(LabelDefinition(name=name) for name in names))

    def to_yaml(self) -> str:
        values = self.model_dump(mode="json", exclude_defaults=True)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def normalise_label(name: str) -> str:
    """What is left of a label's name when case, spaces, hyphens and underscores are taken as the same."""
    return "_".join(name.casefold().replace("-", " ").replace("_", " ").split())


def describe_validation(error: ValidationError, unknown: str = "no such setting") -> str:
    """All errors of a pydantic validation, a line each: where, what was expected, what came.

    ``unknown`` is what to say of a name that the model does not have.
    """
    lines = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"]) or "(whole file)"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = unknown
        else:
            message += f" (came {item['input']!r})" if not isinstance(item["input"], (dict, list)) else ""
        lines.append(f"  {place}: {message}")
    return "\n".join(lines)
