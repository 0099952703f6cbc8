"""Test cases of what a classifier should do, in no corpus: read and check them.

Three kinds, after CheckList (Ribeiro et al. 2020, "Beyond Accuracy", ACL): sentences whose label must not
change with their actors, places or spelling; sentences whose label must change with a few words; and
sentences that show one rule of the codebook.
"""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from .codebook import Codebook, describe_validation
from .corpus import CorpusError, unknown_label
from .errors import UserError
from .tables import BadRow, Row, format_of, read_table

Kind = Literal["invariance", "directional", "minimum_functionality"]


class BehaviourError(CorpusError):
    """Test cases that cannot be used as they are; ``problems`` holds one ``path:line: what`` per problem."""


def _some_text(text: str) -> str:
    if not text.strip():
        raise ValueError("expected text")
    return text


Text = Annotated[str, AfterValidator(_some_text)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Text
    capability: Text


class InvarianceGroup(_Group):
    """Passed if every variant gets the label that the base gets, whichever that is."""

    kind: Literal["invariance"]
    base: Text
    variants: list[Text] = Field(min_length=1)

    @field_validator("variants")
    @classmethod
    def _differ(cls, variants: list[str], info: ValidationInfo) -> list[str]:
        if info.data.get("base") in variants:
            raise ValueError("a variant is the same as its base")
        if len(set(variants)) < len(variants):
            raise ValueError("two variants are the same")
        return variants

    @property
    def sentences(self) -> tuple[str, ...]:
        return (self.base, *self.variants)

    @property
    def labels(self) -> set[str]:
        return set()


class DirectionalGroup(_Group):
    """Passed if the changed sentence gets ``expected``; what the base gets does not decide."""

    kind: Literal["directional"]
    base: Text
    base_label: str
    changed: Text
    expected: str

    @field_validator("changed")
    @classmethod
    def _differs(cls, changed: str, info: ValidationInfo) -> str:
        if changed == info.data.get("base"):
            raise ValueError("the changed sentence is the same as its base")
        return changed

    @property
    def sentences(self) -> tuple[str, ...]:
        return (self.base, self.changed)

    @property
    def labels(self) -> set[str]:
        return {self.base_label, self.expected}


class Case(BaseModel):
    """A sentence and the label that it must get."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: Text
    label: str


class MinimumFunctionalityGroup(_Group):
    """Passed if every case gets its label."""

    kind: Literal["minimum_functionality"]
    cases: list[Case] = Field(min_length=1, max_length=4)

    @property
    def sentences(self) -> tuple[str, ...]:
        return tuple(case.text for case in self.cases)

    @property
    def labels(self) -> set[str]:
        return {case.label for case in self.cases}


BehaviourGroup = InvarianceGroup | DirectionalGroup | MinimumFunctionalityGroup

_MODELS: dict[str, type[BehaviourGroup]] = {
    "invariance": InvarianceGroup,
    "directional": DirectionalGroup,
    "minimum_functionality": MinimumFunctionalityGroup,
}


def bundled_behaviour_files() -> list[Path]:
    """The files of the test cases that come with the package."""
    folder = Path(str(files("conflict_framing.data").joinpath("behaviour")))
    return sorted(folder.glob("*.jsonl"))


def load_behaviour(
    *paths: str | Path, codebook: Codebook | None = None, encoding: str = "utf-8"
) -> tuple[BehaviourGroup, ...]:
    """Read test cases from one or more JSONL files, one group a line, kinds mixed as they come.

    Args:
        paths: JSONL files, also gzipped; none means the bundled cases.
        codebook: whose labels may occur, beside those of the bundled codebook.
        encoding: of the files.

    Returns:
        The groups in the order of the files.

    Raises:
        BehaviourError: groups that cannot be used (malformed, empty sentences, a variant that is its base,
            an id twice, an unknown label), each with ``path:line``.
        UserError: a file as a whole cannot be read, or is no JSONL.
    """
    bundled = Codebook.bundled()
    codebooks = [bundled if codebook is None else codebook, bundled]
    problems: list[str] = []
    groups: list[BehaviourGroup] = []
    places: dict[str, str] = {}
    for path in paths or bundled_behaviour_files():
        if format_of(path) != "jsonl":
            raise UserError(f"{path}: expected test cases as JSONL, one group a line; name the file .jsonl.")
        before = len(groups) + len(problems)
        for row in read_table(path, encoding=encoding):
            group = _group(row)
            if isinstance(group, list):
                problems += group
                continue
            place = f"{row.path}:{row.line}"
            if group.id in places:
                problems.append(f"{place}: id {group.id!r} stands already at {places[group.id]}")
            places.setdefault(group.id, place)
            for label in sorted(group.labels):
                if not any(label in known.label_names for known in codebooks):
                    problems.append(unknown_label(place, label, codebooks[0]))
            groups.append(group)
        if len(groups) + len(problems) == before:
            raise UserError(f"{path}: no groups in it.")
    if problems:
        raise BehaviourError(problems)
    return tuple(groups)


def _group(row: Row | BadRow) -> BehaviourGroup | list[str]:
    """The group of a row, or what is wrong with it."""
    if isinstance(row, BadRow):
        return [f"{row.place}: {row.reason}"]
    place = f"{row.path}:{row.line}"
    values: Mapping[str, Any] = row.values
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in _MODELS:
        return [f"{place}: expected kind {', '.join(_MODELS)}, came {kind!r}"]
    try:
        return _MODELS[kind].model_validate(values)
    except ValidationError as error:
        return [f"{place}: {line.strip()}" for line in describe_validation(error, unknown="no such field").splitlines()]
