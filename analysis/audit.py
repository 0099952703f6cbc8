"""Plan a random sample for people to label, and read it back with its inclusion probabilities.

Sentences, or whole documents, are drawn without replacement in strata (groups, and predicted labels if wanted),
each stratum's with the same probability, which the file keeps. The annotators' file is blind: it has no
predictions, strata are numbers, and the order is random; the sentences of a document that was drawn whole stand
together, in their own order.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import AliasChoices, BaseModel, Field, ValidationError, model_validator

from ..data.codebook import describe_validation, normalise_label
from ..data.errors import UserError
from ..data.tables import BadRow, Row, check_table_name, read_table, write_spreadsheet
from ..model.metadata import metadata_file, write_metadata
from ..model.queue import QUEUE_COLUMNS
from .shares import FEWEST_AUDITED, Audit, Values, group_name, student, sum_by
from .table import PredictionTable, text_checksum, text_column_of

ROW, PROBABILITY, STRATUM, LABEL = "row", "inclusion_probability", "stratum", "label"
_KEPT = ("id", "document", "sentence")
_WANTED_DOCUMENTS = FEWEST_AUDITED + 6  # in expectation, so that chance seldom leaves too few
_LEAST_IN_STRATUM = 10
_LEAST = 40  # sentences of a group
# What predictions explain is taken for half of what they claim: other text is harder than the model knows.
_TRUST = 0.5
# Where the documents are too few for the wanted half-width: so near to the variance with every sentence labelled.
_NEAR = 0.25
_LONGEST_PROBLEM = 200  # characters


HALF_WIDTH, DOCUMENTS, SENTENCES = "half-width", f"{FEWEST_AUDITED} documents", f"{_LEAST} sentences"
_RULES = {
    DOCUMENTS: f"an interval takes {FEWEST_AUDITED} audited documents; {_WANTED_DOCUMENTS} are drawn on average, so "
    f"that chance seldom leaves too few.",
    SENTENCES: "fewer are not drawn from any group.",
}


@dataclass(frozen=True)
class GroupPlan:
    """What one group takes.

    Attributes:
        sentences, documents: to audit (documents in expectation).
        of_sentences, of_documents: that the group has.
        half_width: that is to be expected of the widest label's interval; None where there will be none.
        design_effect: how many times more sentences it takes than independent ones would, since those of a
            document are alike (Kish 1965); of the label where it is largest. None where there is no interval.
        note: why the wanted half-width cannot be reached, or empty.
        limit: what set the number of sentences: the half-width, or the least number of documents or of sentences;
            empty where none are drawn for the group alone.
    """

    key: tuple[str, ...]
    sentences: int
    documents: int
    of_sentences: int
    of_documents: int
    half_width: float | None
    design_effect: float | None
    note: str = ""
    limit: str = ""

    @property
    def name(self) -> str:
        return group_name(self.key)


@dataclass(frozen=True)
class Stratum:
    """Rows of a table of which ``drawn`` are drawn at random.

    Attributes:
        units: what can be drawn: sentences, or documents.
        units_drawn: how many of them are.
    """

    name: str
    rows: npt.NDArray[np.int64]
    drawn: npt.NDArray[np.int64]
    units: int
    units_drawn: int

    @property
    def probability(self) -> float:
        """With which each row is drawn."""
        return self.units_drawn / self.units


@dataclass(frozen=True)
class AuditPlan:
    """Which rows to label.

    Attributes:
        by_document: whether documents are drawn whole.
        half_width: that was wanted.
        correlation: of the predictions within documents, by label (intra-document correlation, 0 to 1).
        seed: of the draw and of the order.
    """

    by: tuple[str, ...]
    by_label: bool
    by_document: bool
    half_width: float
    seed: int
    correlation: Values
    groups: list[GroupPlan]
    strata: list[Stratum]

    @property
    def rules(self) -> list[str]:
        """What the groups' limits mean, but for the half-width that was asked for."""
        found = {group.limit for group in self.groups}
        return [f"{limit}: {rule}" for limit, rule in _RULES.items() if limit in found]

    @property
    def sentences(self) -> int:
        return sum(len(stratum.drawn) for stratum in self.strata)


def plan_audit(
    table: PredictionTable,
    by: Sequence[str],
    half_width: float,
    *,
    by_label: bool = False,
    by_document: bool = False,
    seed: int = 0,
) -> AuditPlan:
    """How many sentences to audit so that each group's intervals have about a half-width, and which.

    The variance of the estimate is that of the documents, which no audit changes, plus that of the audited
    errors. The first is seen in the probabilities, summed by document. The second is guessed half way between
    what the probabilities say (p (1 - p)) and what a model that knows nothing would have, times the design effect
    1 + (m - 1) ρ for m audited sentences a document (Kish 1965; for whole documents m is Σ l²/Σ l of their lengths
    l) and the intra-document correlation ρ. So the half-width that an audit reaches may differ; ``shares --audit``
    tells it.

    Groups with too few documents for an interval share one stratum, so that every sentence may be drawn and
    coarser groups can be told too.

    Args:
        table: predictions.
        by: columns of the table.
        half_width: wanted of every label's 95 % interval, above 0, below 0.5.
        by_label: also draw in strata of the predicted label: rare labels get more sentences.
        by_document: draw documents with all their sentences. That takes more sentences, and fewer articles to read.
        seed: of the draw.

    Raises:
        UserError: no group has enough documents, or documents are to be drawn whole and have sentences of several
            groups or predicted labels.
    """
    if by_document:
        _check_whole(table, by, by_label)
    groups = table.groups(by)
    correlation = intra_document_correlation(table, groups.codes)
    sizing_of = _WholeDocuments.of if by_document else _Sizing.of
    chance = np.random.default_rng(seed)
    plans: list[GroupPlan] = []
    strata: list[Stratum] = []
    rest: list[npt.NDArray[np.int64]] = []
    for code, key in enumerate(groups.keys):
        rows = np.flatnonzero(groups.codes == code)
        documents = len(np.unique(table.documents[rows]))
        if documents < FEWEST_AUDITED:
            note = f"too few documents: an interval takes {FEWEST_AUDITED} audited"
            plans.append(GroupPlan(key, 0, 0, len(rows), documents, None, None, note))
            rest.append(rows)
            continue
        sizing = sizing_of(table, rows, correlation, by_label)
        counts, expected, note, limit = sizing.choose(half_width)
        effect = float(sizing.effect(counts).max())
        own = _draw(table, rows, group_name(key), sizing, counts, chance)
        drawn = sum(len(stratum.drawn) for stratum in own)
        touched = round(sizing.documents(counts))
        plans.append(GroupPlan(key, drawn, touched, len(rows), documents, expected, effect, note, limit))
        strata += own
    if not strata:
        raise UserError(
            f"--plan-audit: no group has {FEWEST_AUDITED} documents, the fewest for an interval. "
            f"Take coarser groups with --by, or more text."
        )
    if rest:
        rows = np.sort(np.concatenate(rest))
        sizing = sizing_of(table, rows, correlation, by_label)
        counts = sizing.allocate(sizing.least)
        strata += _draw(table, rows, "groups with too few documents", sizing, counts, chance)
    return AuditPlan(tuple(by), by_label, by_document, half_width, seed, correlation, plans, strata)


def _check_whole(table: PredictionTable, by: Sequence[str], by_label: bool) -> None:
    if by_label:
        raise UserError("--by-document draws whole documents, and --stratify label parts their sentences: give one.")
    pairs = np.unique(np.stack([table.documents, table.groups(by).codes]), axis=1)[0]
    torn = len(pairs) - len(np.unique(pairs))
    if torn:
        raise UserError(
            f"--by-document draws whole documents, and {torn:,} have sentences of several groups of "
            f"{', '.join(by)}. Plan the audit without columns that differ within a document; 'shares --audit' can be "
            f"grouped by them all the same."
        )


def intra_document_correlation(table: PredictionTable, groups: npt.NDArray[np.int64]) -> Values:
    """Of the probabilities of each label within documents, groups apart, by analysis of variance; 0 to 1.

    Args:
        table: predictions.
        groups: of each row.
    """
    _, blocks, counts = np.unique(np.stack([groups, table.documents]), axis=1, return_inverse=True, return_counts=True)
    blocks = blocks.reshape(-1)
    n, k, found = len(table), len(counts), []
    n_groups = len(np.unique(groups))
    for column in table.probabilities.T.astype(float):
        centred = column - (np.bincount(groups, column) / np.maximum(np.bincount(groups), 1))[groups]
        means = np.bincount(blocks, centred) / counts
        between = (counts * means**2).sum() / max(k - n_groups, 1)
        within = ((centred - means[blocks]) ** 2).sum() / max(n - k, 1)
        size = (n - (counts**2).sum() / n) / max(k - 1, 1)
        total = between + (size - 1) * within
        found.append((between - within) / total if total > 0 and n > k else 0.0)
    correlation: Values = np.clip(np.array(found), 0, 1)
    return correlation


@dataclass(frozen=True)
class _Sizing:
    """The variances of one group that decide how many sentences to draw from each of its cells.

    ``counts`` below are of what is drawn, by cell: sentences here, documents in ``_WholeDocuments``.
    """

    cells: npt.NDArray[np.int64]  # the cell of each row
    sizes: npt.NDArray[np.int64]  # of the cells, in what is drawn
    errors: Values  # variance of an audited error, (n cells, n labels)
    fixed: Values  # variance of the documents, (n labels,)
    lengths: npt.NDArray[np.int64]  # of the documents, in sentences
    correlation: Values

    @classmethod
    def of(cls, table: PredictionTable, rows: npt.NDArray[np.int64], correlation: Values, by_label: bool) -> Self:
        predictions = table.probabilities[rows].astype(float)
        labels = table.predicted[rows] if by_label else np.zeros(len(rows), np.int64)
        cells = np.unique(labels, return_inverse=True)[1].astype(np.int64)
        sizes = np.bincount(cells)
        mean = predictions.mean(axis=0)
        believed = [(mine * (1 - mine)).mean(axis=0) for mine in (predictions[cells == c] for c in range(len(sizes)))]
        errors = [_TRUST * own + (1 - _TRUST) * mean * (1 - mean) for own in believed]
        _, of, lengths = np.unique(table.documents[rows], return_inverse=True, return_counts=True)
        centred = predictions - predictions.mean(axis=0)
        fixed = (sum_by(of, centred) ** 2).sum(axis=0) / len(rows) ** 2 * len(lengths) / max(len(lengths) - 1, 1)
        return cls(cells, sizes, np.array(errors), fixed, lengths, correlation)

    def allocate(self, n: int) -> npt.NDArray[np.int64]:
        """So many sentences over the cells, after Neyman (1934), with a few from each."""
        weights = self.sizes * np.sqrt(self.errors.sum(axis=1) + 1e-9)
        wanted = np.ceil(n * weights / weights.sum()).astype(np.int64)
        counts: npt.NDArray[np.int64] = np.minimum(np.maximum(wanted, _LEAST_IN_STRATUM), self.sizes)
        return counts

    @property
    def least(self) -> int:
        """To draw of any group."""
        return min(_LEAST, int(self.sizes.sum()))

    def documents(self, counts: npt.NDArray[np.int64]) -> float:
        """The number of documents that a draw is expected to touch."""
        rate = counts.sum() / self.sizes.sum()
        return float((1 - (1 - rate) ** self.lengths).sum())

    def sentences(self, counts: npt.NDArray[np.int64]) -> Values:
        """The expected number of sentences of each cell."""
        return counts.astype(float)

    def alike(self, counts: npt.NDArray[np.int64]) -> float:
        """How many audited sentences of its document, itself included, an audited sentence has on average."""
        return max(1.0, float(counts.sum()) / max(self.documents(counts), 1))

    def effect(self, counts: npt.NDArray[np.int64]) -> Values:
        """The design effect, shape (n labels,)."""
        effect: Values = 1 + (self.alike(counts) - 1) * self.correlation
        return effect

    def added(self, counts: npt.NDArray[np.int64]) -> Values:
        """The variance that the audited errors add, shape (n labels,)."""
        share = self.sizes / self.sizes.sum()
        independent = ((share**2 / self.sentences(counts))[:, None] * self.errors).sum(axis=0)
        variance: Values = independent * self.effect(counts)
        return variance

    def choose(self, half_width: float) -> tuple[npt.NDArray[np.int64], float, str, str]:
        """Sentences of each cell, the expected half-width of the widest label, why it is not the wanted, the limit."""
        n_documents = len(self.lengths)
        quantile = float(student(np.array(n_documents - 1.0)))
        # With every sentence labelled there is still the chance of the documents. The last bit towards that is not
        # worth its labour.
        best = self.fixed + self.added(self.sizes)
        allowed = np.maximum((half_width / quantile) ** 2, best * (1 + _NEAR))
        enough = min(_WANTED_DOCUMENTS, 0.98 * n_documents)

        of_width = self._fewest(lambda counts: bool((self.fixed + self.added(counts) <= allowed).all()))
        of_documents = self._fewest(lambda counts: self.documents(counts) >= enough)
        counts = self.allocate(max(of_width, of_documents))
        limit = HALF_WIDTH if of_width > of_documents else DOCUMENTS
        if max(of_width, of_documents) == self.least:
            limit = SENTENCES
        expected = quantile * float(np.sqrt((self.fixed + self.added(counts)).max()))
        note = ""
        if expected > half_width * 1.02:
            note = f"for ±{100 * half_width:g} points there are too few documents, however many sentences are labelled"
        return counts, expected, note, limit

    def _fewest(self, suffices: Callable[[npt.NDArray[np.int64]], bool]) -> int:
        """The smallest draw that suffices; all there is where none does."""
        low, high = self.least, int(self.sizes.sum())
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if suffices(self.allocate(middle)) else (middle + 1, high)
        return high


@dataclass(frozen=True)
class _WholeDocuments(_Sizing):
    """The same where documents are drawn with all their sentences; there is one cell."""

    @classmethod
    def of(cls, table: PredictionTable, rows: npt.NDArray[np.int64], correlation: Values, by_label: bool) -> Self:
        of_sentences = super().of(table, rows, correlation, by_label=False)
        return replace(of_sentences, sizes=np.array([len(of_sentences.lengths)]))

    def allocate(self, n: int) -> npt.NDArray[np.int64]:
        return np.array([min(n, int(self.sizes[0]))])

    @property
    def least(self) -> int:
        return min(math.ceil(_LEAST / float(self.lengths.mean())), int(self.sizes[0]))

    def documents(self, counts: npt.NDArray[np.int64]) -> float:
        return float(counts[0])

    def sentences(self, counts: npt.NDArray[np.int64]) -> Values:
        return counts.astype(float) * float(self.lengths.mean())

    def alike(self, counts: npt.NDArray[np.int64]) -> float:
        return float((self.lengths**2).sum() / self.lengths.sum())


def _draw(
    table: PredictionTable,
    rows: npt.NDArray[np.int64],
    name: str,
    sizing: _Sizing,
    counts: npt.NDArray[np.int64],
    chance: np.random.Generator,
) -> list[Stratum]:
    if isinstance(sizing, _WholeDocuments):
        documents = np.unique(table.documents[rows])
        drawn = np.isin(table.documents[rows], chance.choice(documents, counts[0], replace=False))
        return [Stratum(name, rows, rows[drawn], len(documents), int(counts[0]))]
    strata = []
    for cell, count in enumerate(counts):
        mine = rows[sizing.cells == cell]
        label = f", predicted {table.labels[table.predicted[mine[0]]]}" if len(counts) > 1 else ""
        drawn = chance.choice(mine, count, replace=False)
        strata.append(Stratum(f"{name}{label}", mine, drawn, len(mine), int(count)))
    return strata


# --- the annotators' file ------------------------------------------------------------------------


def write_audit(
    plan: AuditPlan, table: PredictionTable, output: Path, *, text_column: str | None = None, encoding: str = "utf-8"
) -> None:
    """Write the drawn sentences for people to label, and ``<output>.meta.json``, which must stay beside them.

    Columns: row (of the predictions, from 1), id, document and sentence where there are such, text, label (empty),
    inclusion_probability, stratum (a number).

    Raises:
        UserError: the output's name is no table's.
    """
    check_table_name(output)
    drawn = {
        int(row): (number, stratum.probability)
        for number, stratum in enumerate(plan.strata, start=1)
        for row in stratum.drawn
    }
    found: dict[int, dict[str, Any]] = {}
    place = 0
    for path in table.files:
        sentences = text_column or text_column_of(path)
        for row in read_table(path, encoding=encoding):
            if isinstance(row, Row) and place in drawn:
                stratum, probability = drawn[place]
                kept = {name: row.values[name] for name in _KEPT if name in row.values}
                own = {"text": row.values[sentences], LABEL: "", PROBABILITY: probability, STRATUM: stratum}
                found[place] = {ROW: place + 1, **kept, **own}
            place += 1
    order = _random_order(np.array(sorted(found)), table.documents if plan.by_document else None, plan.seed)
    # Files, and lines of JSON, may have different columns.
    present = [name for name in _KEPT if any(name in row for row in found.values())]
    columns = (ROW, *present, "text", LABEL, PROBABILITY, STRATUM)
    write_spreadsheet(output, [{name: found[int(place)].get(name) for name in columns} for place in order])
    write_metadata(
        metadata_file(output),
        {
            "audit": {
                "version": 2,
                "unit": "document" if plan.by_document else "sentence",
                "predictions": [str(path) for path in table.files],
                "rows": len(table),
                "by": plan.by,
                "stratified_by_predicted_label": plan.by_label,
                "half_width": plan.half_width,
                "seed": plan.seed,
                "design_effect": {group.name: group.design_effect for group in plan.groups},
                "intra_document_correlation": dict(zip(table.labels, plan.correlation.round(4).tolist(), strict=True)),
                "strata": {
                    str(number): {"name": stratum.name, "units": stratum.units, "drawn": stratum.units_drawn}
                    for number, stratum in enumerate(plan.strata, start=1)
                },
                "order": [[int(place) + 1, drawn[int(place)][0]] for place in order],
            }
        },
    )


def _random_order(
    rows: npt.NDArray[np.int64], documents: npt.NDArray[np.int64] | None, seed: int
) -> npt.NDArray[np.int64]:
    """Rows in random order; with documents, these are in random order and their rows as they were."""
    chance = np.random.default_rng([seed, 1])
    if documents is None:
        return chance.permutation(rows)
    _, of = np.unique(documents[rows], return_inverse=True)
    places = chance.permutation(int(of.max()) + 1)
    order: npt.NDArray[np.int64] = rows[np.argsort(places[of], kind="stable")]
    return order


_WHY = (
    "Only a random sample with known inclusion probabilities makes shares that hold whatever the model's errors. "
    "Draw one with: conflict-framing shares PREDICTIONS --plan-audit audit.csv --half-width 0.05"
)


def read_audit(path: str | Path, table: PredictionTable, *, encoding: str = "utf-8") -> Audit:
    """The labels of an audit that ``write_audit`` planned.

    Rows that are still empty are taken as not drawn: the probabilities of their stratum shrink by the share that is
    labelled. That is right where the file was filled from the top, since its order is random; where rows were
    skipped, a note says so. Of documents that were drawn whole, only those count whose sentences all have labels.

    Args:
        path: the annotators' file, with ``<path>.meta.json`` beside it.
        table: the predictions that the audit was drawn from, or those of another model on the same rows.

    Raises:
        UserError: a file that is no random sample (a queue, or one without inclusion probabilities), metadata that
            is missing or does not fit, unknown labels, or no label at all.
    """
    path = Path(path)
    rows = []
    for row in read_table(path, encoding=encoding):
        if isinstance(row, BadRow):
            raise UserError(f"{row.place}: {row.reason}.")
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: no rows in it.")
    _refuse_what_is_no_sample(path, list(rows[0].values))
    plan = _metadata(path)
    order = _planned(path, plan, table)
    given = _labels_given(path, rows, table, order)
    if not given:
        raise UserError(f"{path}: the column '{LABEL}' is empty in all rows. Fill it with the labels' names first.")
    places = np.array([place for place, _ in order])
    strata = np.array([stratum for _, stratum in order])
    units = table.documents[places - 1] if plan.unit == "document" else places
    answered = np.isin(places, list(given))
    answered &= ~np.isin(units, units[~answered])  # the documents that are labelled in part
    if not answered.any():
        raise UserError(f"{path}: no drawn document has labels for all its sentences. Fill at least one.")
    sizes = {number: stratum.units for number, stratum in plan.strata.items()}
    rates = {stratum: len(np.unique(units[answered & (strata == stratum)])) / size for stratum, size in sizes.items()}
    return Audit(
        rows=places[answered] - 1,
        labels=np.array([given[int(place)] for place in places[answered]]),
        probabilities=np.array([rates[int(stratum)] for stratum in strata[answered]]),
        notes=tuple(_notes(answered, units, len(given), strata, sizes)),
        planned_by=plan.by,
    )


def _refuse_what_is_no_sample(path: Path, names: Sequence[str]) -> None:
    if "suggested" in names and set(QUEUE_COLUMNS) <= set(names):
        raise UserError(
            f"{path}: this is a queue of 'predict' (columns {', '.join(QUEUE_COLUMNS)}): the sentences that the model "
            f"is least sure of. They are no random sample, and shares from them would be wrong without a way to tell. "
            f"{_WHY}"
        )
    if PROBABILITY not in names:
        raise UserError(
            f"{path}: no column '{PROBABILITY}', so nothing tells that the sentences are a random sample. {_WHY}"
        )
    missing = [name for name in (ROW, "text", LABEL, STRATUM) if name not in names]
    if missing:
        raise UserError(
            f"{path}: no column {', '.join(map(repr, missing))}. Expected the columns that --plan-audit wrote, with "
            f"'{LABEL}' filled; found: {', '.join(map(repr, names))}."
        )


class _StratumFacts(BaseModel):
    units: int = Field(ge=1, validation_alias=AliasChoices("units", "rows"))  # version 1 has "rows"


class _AuditFacts(BaseModel):
    """The section ``audit`` of ``<output>.meta.json``, as far as it is needed again.

    Attributes:
        version: of the section; 1 knows no documents that are drawn whole, and so no units.
        by: columns that the groups come from; None where it is not told.
        rows: of the predictions.
        order: row (from 1) and stratum of each drawn sentence, in the order in which they were to be labelled.
    """

    version: Literal[1, 2]
    unit: Literal["sentence", "document"]
    predictions: list[str] = []
    by: tuple[str, ...] | None = None
    rows: int
    strata: dict[int, _StratumFacts]
    order: Annotated[list[tuple[int, int]], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, told: Any) -> Any:
        return {"unit": "sentence", **told} if isinstance(told, dict) and told.get("version") == 1 else told

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not all(1 <= row <= self.rows for row, _ in self.order):
            raise ValueError(f"order: expected rows from 1 to {self.rows}")
        if not all(stratum in self.strata for _, stratum in self.order):
            raise ValueError("order: expected strata that stand in strata")
        return self


def _metadata(path: Path) -> _AuditFacts:
    beside = metadata_file(path)
    if not beside.exists():
        raise UserError(
            f"{beside}: no such file. It tells how the sample was drawn, and --plan-audit wrote it beside the file to "
            f"annotate: copy it there, named after {path.name}. {_WHY}"
        )
    try:
        return _AuditFacts.model_validate(json.loads(beside.read_text("utf-8"))["audit"])
    except ValidationError as error:  # of thousands of rows each may be wrong
        why = f" The first problem: {describe_validation(error).splitlines()[0].strip()[:_LONGEST_PROBLEM]}."
    except (ValueError, KeyError, TypeError, RecursionError):  # lists in lists in lists
        why = ""
    raise UserError(f"{beside}: not the metadata of an audit. Expected what --plan-audit wrote.{why}")


def _planned(path: Path, plan: _AuditFacts, table: PredictionTable) -> list[tuple[int, int]]:
    """Row and stratum of each drawn sentence, in the order in which they were to be labelled."""
    if plan.rows != len(table):
        raise UserError(
            f"{path}: this audit was drawn from {plan.rows:,} rows of predictions, and {len(table):,} were given. "
            f"Rows beyond those had no chance to be drawn. Give the predictions of the same rows, in the same order "
            f"({', '.join(plan.predictions)}), or plan a new audit."
        )
    return plan.order


def _labels_given(
    path: Path, rows: Sequence[Row], table: PredictionTable, order: Sequence[tuple[int, int]]
) -> dict[int, int]:
    """The label of each labelled row, by the row's number."""
    planned = {place for place, _ in order}
    names = {normalise_label(name): place for place, name in enumerate(table.labels)}
    given: dict[int, int] = {}
    seen: set[int] = set()
    for row in rows:
        where = f"{row.path}:{row.line}"
        try:
            place = int(float(row.values.get(ROW, "")))
        except (TypeError, ValueError, OverflowError):
            raise UserError(f"{where}: column '{ROW}': expected a row number, came {row.values.get(ROW)!r}.") from None
        if place not in planned or place in seen:
            problem = "stands there twice" if place in seen else "was not drawn"
            raise UserError(
                f"{where}: row {place} {problem}. An audit holds the drawn sentences, each once: take added rows out."
            )
        seen.add(place)
        text = str(row.values.get("text") or "")
        if table.texts[place - 1] not in (text_checksum(text), text_checksum(text.removeprefix("'"))):
            raise UserError(
                f"{where}: the text differs from row {place} of the predictions. Give the predictions that the audit "
                f"was drawn from, and leave the texts as they are."
            )
        label = row.values.get(LABEL)
        if label is None or not str(label).strip():
            continue
        if normalise_label(str(label)) not in names:
            raise UserError(
                f"{where}: expected one of the labels {', '.join(table.labels)}, or nothing, came {label!r}."
            )
        given[place] = names[normalise_label(str(label))]
    missing = planned - seen
    if missing:
        raise UserError(
            f"{path}: {len(missing):,} of the {len(planned):,} drawn sentences are not in the file (rows "
            f"{', '.join(map(str, sorted(missing)[:5]))}{' …' if len(missing) > 5 else ''}). Leaving sentences out "
            f"makes the sample one that is not random: put them back, with '{LABEL}' empty where it is not known."
        )
    return given


def _notes(
    answered: npt.NDArray[np.bool_],
    units: npt.NDArray[np.int64],
    given: int,
    strata: npt.NDArray[np.int64],
    sizes: Mapping[int, int],
) -> list[str]:
    notes = []
    if not answered.all():
        notes.append(
            f"{(~answered).sum():,} of {len(answered):,} drawn sentences have no label yet; the others stand for them."
        )
        if given > answered.sum():
            open_ones = len(np.unique(units[~answered]))
            notes[0] = (
                f"{open_ones:,} of {len(np.unique(units)):,} drawn documents are not labelled to their end and do not "
                f"count; the others stand for them."
            )
        skipped = (~answered[: np.flatnonzero(answered)[-1]]).sum()
        if skipped:
            notes.append(f"{skipped:,} sentences were skipped. If that is because they are hard, the shares are off.")
    silent = [stratum for stratum in sizes if not answered[strata == stratum].any()]
    if silent:
        notes.append(
            f"Nothing is labelled in {len(silent)} of {len(sizes)} strata: groups that reach into them are off."
        )
    return notes
