"""The share of each label in groups of text, with 95 % intervals that hold although the model errs.

Counting predicted labels gives the model's errors as if they were findings. Two ways around it:

**Prior-corrected**, from the model alone. The adjusted count (Forman 2008, Data Mining and Knowledge Discovery
17; with probabilities Bella et al. 2010, ICDM) solves "mean probability = error rates × shares" for the shares.
EM (Saerens et al. 2002) stands beside it, see ``model.priors``. Both assume label shift: within each label, a
group's sentences look as in the calibration part. No figure of theirs can tell where that is wrong.

**Prediction-powered**, with a random sample that people labelled (Angelopoulos, Bates, Fannjiang, Jordan & Zrnic
2023, Science 382; power-tuned: Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453; with known inclusion
probabilities this is the design-based supervised learning of Egami, Hinck, Stewart & Wei 2023, NeurIPS). The
mean prediction of all sentences plus the weighted mean error of the audited ones is right on average whatever
the model's errors; a better model makes the interval shorter.

What is estimated: the share in text of which a group's documents are a sample. So an interval also holds the
chance of which documents a group happens to have, and sentences of one document are not taken as independent:
documents are drawn, or variances summed, as wholes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..data.errors import MissingExtraError, UserError
from ..model.calibration import Calibration
from ..model.priors import draw_shares
from .table import NOT_GIVEN, Groups, PredictionTable

Method = Literal["model-based", "audited"]
Values = npt.NDArray[np.float64]

TOO_FEW = "too few"
"""How a note begins that tells of too little text or too small an audit."""
LEVEL = 0.95
FEWEST_DOCUMENTS = 10
"""A model-based interval from fewer would say more than is known."""
FEWEST_AUDITED = 30
"""Documents with an audited sentence that a group must have."""
DRAWS = 1000
_EM_DRAWS = 200
# Of a rare label an audit may show no error by chance, and then no variance: so many errors of the model are taken
# to be there unseen. Of labels that are not rare it makes no odds.
_UNSEEN = 0.5
# Shares so far below 0 or above 1, and by so many standard errors, cannot come from the error rates of calibration.
_FAR, _REFUTED = 0.05, 3.0
_FEWEST_IN_CELL = 10  # audited sentences; cells with fewer are taken together
_CHUNK = 2000  # documents at a time
_SEED = 0


@dataclass(frozen=True)
class GroupShares:
    """The shares of one group; arrays of shape (n labels,), intervals (n labels, 2).

    Attributes:
        key: the group's value of each column.
        sentences, documents: how many it has.
        naive: the shares of the predicted labels, as they are.
        shares: estimated; None where there is too little to go by, which ``note`` tells.
        intervals: of ``shares``, at 95 %; None where ``note`` tells why.
        em: the shares by EM, and ``em_intervals`` (model-based only).
        audited_sentences, audited_documents: how many people labelled (audited only).
        note: "too few" and of what, or empty.
    """

    key: tuple[str, ...]
    sentences: int
    documents: int
    naive: Values
    shares: Values | None = None
    intervals: Values | None = None
    em: Values | None = None
    em_intervals: Values | None = None
    audited_sentences: int = 0
    audited_documents: int = 0
    note: str = ""

    @property
    def name(self) -> str:
        return group_name(self.key)


def short_note(note: str) -> str:
    """A group's note in the words of a table's cell; ``Shares.rules`` tells the rest below it."""
    if note.startswith(TOO_FEW):
        return TOO_FEW
    return "no interval" if note.startswith("no interval") else note


def group_name(key: Sequence[str]) -> str:
    return " · ".join(value or NOT_GIVEN for value in key) or "all"


@dataclass(frozen=True)
class Difference:
    """How much larger the shares of the first of two groups are; arrays of shape (n labels,) and (n labels, 2)."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    values: Values
    intervals: Values

    @property
    def name(self) -> str:
        return f"{group_name(self.first)} less {group_name(self.second)}"


@dataclass(frozen=True)
class Shares:
    """The shares of all groups.

    Attributes:
        by: the columns that were grouped by; none gives one group.
        labels: in the order of the arrays' entries.
        method: "audited" is unbiased; "model-based" rests on an assumption.
        groups: in the order of their keys.
        power: of the audited method, how far each label's predictions are used, 0 to 1 (λ of power tuning).
        planned_by: the columns that the audit was planned by; None where that is not known, or there is no audit.
    """

    by: tuple[str, ...]
    labels: list[str]
    method: Method
    groups: list[GroupShares]
    power: Values | None = None
    planned_by: tuple[str, ...] | None = None
    _compare: Callable[[int, int], Values] = field(default=lambda first, second: np.empty(0), repr=False)

    @property
    def rules(self) -> list[str]:
        """What the short notes in the cells of a table mean, to stand below it once."""
        found = dict.fromkeys(short_note(group.note) for group in self.groups if group.note)
        return [rule for rule in map(self.rule, found) if rule]

    def rule(self, short: str) -> str:
        """What a short note means; empty where it says all."""
        if short == TOO_FEW and self.method == "audited":
            told = f"{TOO_FEW}: under {FEWEST_AUDITED} audited documents in the group, the fewest for an estimate."
            if self.planned_by is None or set(self.by) <= set(self.planned_by):
                return told
            planned = f"by {','.join(self.planned_by)}" if self.planned_by else "for all sentences in one group"
            return (
                f"{told} The audit was planned {planned}, so no more was drawn for groups by {','.join(self.by)}. "
                f"Group as it was planned, or plan another audit by {','.join(self.by)} and label that."
            )
        if short == TOO_FEW:
            return f"{TOO_FEW}: under {FEWEST_DOCUMENTS} documents in the group, the fewest for an interval."
        if short == "no interval":
            return "no interval: the model errs differently in the group than on its calibration part."
        return ""

    def find(self, key: Sequence[str]) -> int:
        """The place of a group.

        Raises:
            UserError: there is none of that key.
        """
        for place, group in enumerate(self.groups):
            if group.key == tuple(key):
                return place
        known = "; ".join(",".join(group.key) for group in self.groups[:12])
        raise UserError(
            f"no group {','.join(key)!r}. Expected a value for each of {', '.join(self.by)}, e.g. one of: {known}"
            f"{' …' if len(self.groups) > 12 else ''}"
        )

    def difference(self, first: Sequence[str], second: Sequence[str]) -> Difference:
        """The shares of one group less those of another, what the two have in common taken into account.

        Raises:
            UserError: an unknown group, or one without an interval.
        """
        places = self.find(first), self.find(second)
        for group in (self.groups[place] for place in places):
            if group.intervals is None:
                raise UserError(f"{group.name}: {group.note}; nothing to compare.")
        one, other = (self.groups[place].shares for place in places)
        if one is None or other is None:
            raise ValueError("a group with intervals and without shares")
        return Difference(tuple(first), tuple(second), one - other, self._compare(*places))


Estimator = Callable[[PredictionTable, Sequence[str]], Shares]


# --- from the model alone ------------------------------------------------------------------------


def prior_corrected(table: PredictionTable, by: Sequence[str], calibration: Calibration) -> Shares:
    """Shares by adjusted count, with EM beside it.

    Intervals are a Bayesian bootstrap (Rubin 1981) over documents and, in the same draws, over the documents of
    the calibration part, so that they also hold how well the model's error rates are known. They are widened as
    Student's t is against the normal, by the number of a group's documents. Where the equations give a share far
    below 0, the assumption is refuted, and the group gets no intervals.

    Args:
        table: predictions of the model, not adapted to other label shares.
        by: columns of the table.
        calibration: of the same model.

    Raises:
        UserError: labels of another model, or a label that the calibration part has no sentence of.
    """
    _check_labels(table, calibration)
    groups = table.groups(by)
    rates = _ErrorRates.of(calibration)
    sums, entries = _document_sums(table, groups)
    n_labels = len(table.labels)
    chance = np.random.default_rng(_SEED)
    rates_drawn = rates.drawn(chance)
    means = np.zeros((len(groups.keys), DRAWS, n_labels))
    for first in range(0, int(entries[:, 0].max()) + 1, _CHUNK):
        mine = (entries[:, 0] >= first) & (entries[:, 0] < first + _CHUNK)
        weights = chance.exponential(size=(min(_CHUNK, int(entries[:, 0].max()) + 1 - first), DRAWS))
        for group in np.unique(entries[mine, 1]):
            chosen = mine & (entries[:, 1] == group)
            means[group] += weights[entries[chosen, 0] - first].T @ sums[chosen]
    totals = means.sum(axis=2, keepdims=True)
    drawn = np.einsum("gbk,bkj->gbj", means / totals, _solver(rates_drawn))
    points = np.stack([sums[entries[:, 1] == group].sum(axis=0) for group in range(len(groups.keys))])
    points = points / points.sum(axis=1, keepdims=True)
    solved = points @ _solver(rates.mean[None])[0]
    documents = np.bincount(entries[:, 1], minlength=len(groups.keys))
    shares = np.array([on_simplex(row) for row in solved])
    spread = (drawn - drawn.mean(axis=1, keepdims=True)) * _widening(documents)[:, None, None]
    # Around what is reported: of a share that comes out below 0, an interval around 0.
    drawn = np.clip(shares[:, None] + spread, 0, 1)
    outside = np.maximum(-solved, solved - 1)
    refuted = ((outside > _FAR) & (outside > _REFUTED * spread.std(axis=1))).any(axis=1)
    em, em_intervals = _em(table, groups, entries, rates, documents)
    found = []
    for place, key in enumerate(groups.keys):
        note = ""
        if documents[place] < FEWEST_DOCUMENTS:
            note = f"{TOO_FEW} documents for an interval ({documents[place]})"
        elif refuted[place]:
            note = "no interval: the model errs differently here than on its calibration part"
        rows = groups.codes == place
        found.append(
            GroupShares(
                key=key,
                sentences=int(rows.sum()),
                documents=int(documents[place]),
                naive=np.bincount(table.predicted[rows], minlength=n_labels) / rows.sum(),
                shares=shares[place],
                intervals=None if note else _percentiles(drawn[place], shares[place]),
                em=em[place],
                em_intervals=None if note else em_intervals[place],
                note=note,
            )
        )

    def compare(first: int, second: int) -> Values:
        ends = np.percentile(drawn[first] - drawn[second], _TAILS, axis=0)
        value = shares[first] - shares[second]
        return np.stack([np.minimum(ends[0], value), np.maximum(ends[1], value)], axis=1)

    return Shares(tuple(by), table.labels, "model-based", found, _compare=compare)


_TAILS = (50 - 50 * LEVEL, 50 + 50 * LEVEL)


def _check_labels(table: PredictionTable, calibration: Calibration) -> None:
    if calibration.labels != table.labels:
        raise UserError(
            f"--model: its labels are {', '.join(calibration.labels)}, those of the predictions "
            f"{', '.join(table.labels)}. Name the model that made the predictions (without --among)."
        )
    missing = set(range(len(table.labels))) - set(calibration.references)
    if missing:
        names = ", ".join(table.labels[place] for place in sorted(missing))
        raise UserError(
            f"--model: its calibration part has no sentence of {names}, so the error rates of that label are not "
            f"known. Train it on more sentences, or draw an audit with --plan-audit."
        )


@dataclass(frozen=True)
class _ErrorRates:
    """What the model says of sentences of each label: summed probabilities and counts by unit and label."""

    sums: Values  # (n units, n labels (true), n labels)
    counts: Values  # (n units, n labels)

    @classmethod
    def of(cls, calibration: Calibration) -> "_ErrorRates":
        n_labels = len(calibration.labels)
        _, units = np.unique(calibration.units, return_inverse=True)
        references = np.array(calibration.references)
        sums = np.zeros((int(units.max()) + 1, n_labels, n_labels))
        counts = np.zeros((int(units.max()) + 1, n_labels))
        np.add.at(sums, (units, references), np.array(calibration.probabilities))
        np.add.at(counts, (units, references), 1.0)
        return cls(sums, counts)

    @property
    def mean(self) -> Values:
        """Mean probabilities of the sentences of each label, shape (n labels (true), n labels)."""
        means: Values = self.sums.sum(axis=0) / self.counts.sum(axis=0)[:, None]
        return means

    def _weighted(self, weights: Values) -> tuple[Values, Values]:
        return np.tensordot(weights, self.sums, 1), weights @ self.counts

    def drawn(self, chance: np.random.Generator) -> Values:
        """``mean`` with units drawn, shape (draws, n labels, n labels)."""
        sums, counts = self._weighted(chance.exponential(size=(DRAWS, len(self.counts))))
        rates: Values = sums / counts[:, :, None]
        return rates

    def source_shares(self, weights: Values) -> Values:
        """The mean probabilities of all sentences, units weighted; shape (draws, n labels)."""
        sums, counts = self._weighted(weights)
        shares = np.maximum(sums.sum(axis=1) / counts.sum(axis=1, keepdims=True), 1e-8)
        summed: Values = shares / shares.sum(axis=1, keepdims=True)
        return summed


def _solver(rates: Values) -> Values:
    """Matrices that turn mean probabilities into shares from the right, of error rates (…, true, given)."""
    solver: Values = np.linalg.pinv(rates, rcond=1e-6).astype(np.float64)
    return solver


def _document_sums(table: PredictionTable, groups: Groups) -> tuple[Values, npt.NDArray[np.int64]]:
    """Summed probabilities of each document in each group, and (document, group) of each such sum."""
    pairs = np.stack([table.documents, groups.codes])
    entries, places = np.unique(pairs, axis=1, return_inverse=True)
    places = places.reshape(-1)
    return sum_by(places, table.probabilities.astype(float)), entries.T


def sum_by(places: npt.NDArray[np.integer], rows: Values) -> Values:
    """Rows summed by the place that each belongs to, shape (n places, n columns)."""
    return np.stack([np.bincount(places, column) for column in rows.T], axis=1).astype(np.float64)


def _em(
    table: PredictionTable,
    groups: Groups,
    entries: npt.NDArray[np.int64],
    rates: _ErrorRates,
    documents: npt.NDArray[np.int64],
) -> tuple[list[Values], list[Values]]:
    chance = np.random.default_rng(_SEED)
    units = np.concatenate([np.ones((1, len(rates.counts))), chance.exponential(size=(_EM_DRAWS, len(rates.counts)))])
    source = rates.source_shares(units)
    shares, intervals = [], []
    for group, n_documents in enumerate(documents):
        rows = np.flatnonzero(groups.codes == group)
        _, blocks = np.unique(table.documents[rows], return_inverse=True)
        weights = np.concatenate(
            [np.ones((1, n_documents)), chance.exponential(size=(_EM_DRAWS, n_documents))]
        )  # the first is the estimate itself
        found = draw_shares(table.probabilities[rows], source, blocks, weights)
        spread = (found[1:] - found[1:].mean(axis=0)) * _widening(n_documents)
        shares.append(found[0])
        intervals.append(_percentiles(found[0] + spread, found[0]))
    return shares, intervals


def _percentiles(drawn: Values, point: Values) -> Values:
    ends = np.clip(np.percentile(drawn, _TAILS, axis=0).T, 0, 1)
    return np.stack([np.minimum(ends[:, 0], point), np.maximum(ends[:, 1], point)], axis=1)


def _widening(documents: npt.NDArray[np.int64] | int) -> Values:
    """How much wider an interval from so few documents must be than its bootstrap says."""
    n = np.maximum(np.asarray(documents, float), 2)
    widening: Values = np.sqrt((n + 1) / (n - 1)) * student(n - 1) / student(np.array(1e9))
    return widening


def on_simplex(values: Values) -> Values:
    """The nearest shares to values that may lie outside 0 to 1 (Duchi et al. 2008, fig. 1); shape (n,)."""
    ordered = np.sort(values)[::-1]
    excess = (np.cumsum(ordered) - 1) / np.arange(1, len(values) + 1)
    nearest: Values = np.maximum(values - excess[np.flatnonzero(ordered > excess)[-1]], 0)
    return nearest


def student(freedom: Values) -> Values:
    """The quantile of Student's t at which a two-sided 95 % interval ends, by degrees of freedom."""
    try:
        from scipy.special import stdtrit
    except ImportError:
        raise MissingExtraError("scipy", "analysis", "Estimating shares") from None
    quantile: Values = stdtrit(freedom, 0.5 + LEVEL / 2)
    return quantile


# --- with an audit -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Audit:
    """Labels that people gave to a random sample of a table's rows.

    Attributes:
        rows: places in the table, shape (n audited,), each once.
        labels: the given labels as places in the table's labels, shape (n audited,).
        probabilities: with which each row was drawn, above 0, at most 1; shape (n audited,).
        notes: what a reader of the result must know of the sample.
        planned_by: the columns of the groups that it was drawn for; None where that is not known.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    probabilities: Values
    notes: tuple[str, ...] = ()
    planned_by: tuple[str, ...] | None = None


def prediction_powered(table: PredictionTable, by: Sequence[str], audit: Audit) -> Shares:
    """Shares from all predictions and the errors that an audit found.

    Rows are post-stratified by group and predicted label (cells with few audited sentences taken together):
    the estimate is Σ_c N_c/N · [ȳ_c + λ (P_c − p̄_c)], with ȳ_c and p̄_c the weighted means of labels and
    probabilities of the audited rows of cell c, and P_c the mean probability of all its rows. λ is chosen for
    each label where it makes the variances of the groups least, and 0 would be the audit alone. Variances are
    those of the estimate's linear form summed by document (cluster-robust), times n/(n - cells) for n audited
    documents. Intervals are Wilson's with the effective number of sentences in place of the number (Korn &
    Graubard 1998, Survey Methodology 24) and Student's t: they stay within 0 and 1 and hold for rare labels.

    Args:
        table: predictions.
        by: columns of the table.
        audit: of rows of the table.
    """
    groups = table.groups(by)
    n_labels = len(table.labels)
    place_of = np.full(len(table), -1)
    place_of[audit.rows] = np.arange(len(audit.rows))
    parts = [_Part.of(table, audit, np.flatnonzero(groups.codes == code), place_of) for code in range(len(groups.keys))]
    used = [part for part in parts if part.enough]
    top = sum(((part.plain * part.moved).sum(axis=0) / part.sentences**2 for part in used), np.zeros(n_labels))
    bottom = sum(((part.moved**2).sum(axis=0) / part.sentences**2 for part in used), np.zeros(n_labels))
    power = np.clip(-np.divide(top, bottom, out=np.zeros(n_labels), where=bottom > 0), 0, 1)
    found = []
    for key, part in zip(groups.keys, parts, strict=True):
        shares = intervals = None
        if part.enough:
            shares = part.share(power)
            intervals = part.interval(power)
        found.append(
            GroupShares(
                key=key,
                sentences=part.sentences,
                documents=len(part.documents),
                naive=part.naive,
                shares=None if shares is None else on_simplex(shares),
                intervals=intervals,
                audited_sentences=part.audited_sentences,
                audited_documents=part.audited_documents,
                note="" if part.enough else f"{TOO_FEW} ({part.audited_documents} audited documents)",
            )
        )

    def compare(first: int, second: int) -> Values:
        one, other = parts[first], parts[second]
        documents = np.union1d(one.documents, other.documents)
        influence = np.zeros((len(documents), n_labels))
        for sign, part in ((1, one), (-1, other)):
            influence[np.searchsorted(documents, part.documents)] += sign * part.influence(power)
        spread = np.sqrt((influence**2).sum(axis=0))
        value = one.share(power) - other.share(power)
        half = student(np.array(float(min(one.freedom, other.freedom)))) * spread
        ends: Values = np.clip(np.stack([value - half, value + half], axis=1), -1, 1)
        return ends

    return Shares(tuple(by), table.labels, "audited", found, power, audit.planned_by, compare)


@dataclass(frozen=True)
class _Part:
    """One group: its estimate and its linear form are ``first + λ · second`` of each pair below.

    ``plain`` and ``moved`` are sums of the linear form by document, shape (n documents, n labels); ``weight`` is
    the mean square of the audited rows' weights.
    """

    sentences: int
    documents: npt.NDArray[np.int64]
    naive: Values
    audited_sentences: int
    audited_documents: int
    cells: int
    audited_share: Values
    correction: Values
    plain: Values
    moved: Values
    weight: float

    @property
    def enough(self) -> bool:
        return self.audited_documents >= FEWEST_AUDITED

    @property
    def freedom(self) -> int:
        return self.audited_documents - self.cells

    @classmethod
    def of(
        cls, table: PredictionTable, audit: Audit, rows: npt.NDArray[np.int64], place_of: npt.NDArray[np.int64]
    ) -> "_Part":
        n_labels = len(table.labels)
        documents, of = np.unique(table.documents[rows], return_inverse=True)
        drawn = place_of[rows] >= 0
        places = place_of[rows[drawn]]
        given = np.eye(n_labels)[audit.labels[places]]
        weights = 1 / audit.probabilities[places]
        predictions = table.probabilities[rows].astype(float)
        cell = _cells(table.predicted[rows], drawn)
        n_cells = int(cell.max()) + 1
        plain, moved = np.zeros((len(rows), n_labels)), np.zeros((len(rows), n_labels))
        share, correction = np.zeros(n_labels), np.zeros(n_labels)
        squares = 0.0
        for number in range(n_cells) if drawn.any() else ():
            here, mine = cell == number, cell[drawn] == number
            # Hájek: weights that sum to the cell's size.
            own = weights[mine] * here.sum() / weights[mine].sum()
            squares += float((own**2).sum())
            mean = own @ given[mine] / here.sum()
            mean_prediction = own @ predictions[drawn][mine] / here.sum()
            size = here.sum() / len(rows)
            share += size * mean
            correction += size * (predictions[here].mean(axis=0) - mean_prediction)
            plain[here] += mean
            moved[here] += predictions[here] - mean_prediction
            both = here & drawn
            plain[both] += own[:, None] * (given[mine] - mean)
            moved[both] -= own[:, None] * (predictions[both] - mean_prediction)
        return cls(
            sentences=len(rows),
            documents=documents,
            naive=np.bincount(table.predicted[rows], minlength=n_labels) / len(rows),
            audited_sentences=len(places),
            audited_documents=len(np.unique(table.documents[rows[drawn]])),
            cells=n_cells,
            audited_share=share,
            correction=correction,
            plain=sum_by(of, plain - share),
            moved=sum_by(of, moved - correction),
            weight=squares / max(len(places), 1),
        )

    def share(self, power: Values) -> Values:
        return self.audited_share + power * self.correction

    def influence(self, power: Values) -> Values:
        """What each document adds to the estimate's deviation, shape (n documents, n labels)."""
        scale = np.sqrt(self.audited_documents / self.freedom) / self.sentences
        influence: Values = (self.plain + power * self.moved) * scale
        return influence

    def interval(self, power: Values) -> Values:
        variance = (self.influence(power) ** 2).sum(axis=0) + _UNSEEN * self.weight / self.sentences**2
        # A share of 0 has no variance of its own: half a sentence among the audited stands in.
        least = 0.5 / self.audited_sentences
        share = np.clip(self.share(power), least, 1 - least)
        quantile = student(np.array(float(self.freedom)))
        n = share * (1 - share) / variance
        point = np.clip(self.share(power), 0, 1)
        centre = (point + quantile**2 / (2 * n)) / (1 + quantile**2 / n)
        half = quantile / (1 + quantile**2 / n) * np.sqrt(point * (1 - point) / n + quantile**2 / (4 * n**2))
        return np.stack([np.maximum(centre - half, 0), np.minimum(centre + half, 1)], axis=1)


def _cells(predicted: npt.NDArray[np.int64], drawn: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The cell of each row: its predicted label, or 0 for all labels with few audited rows."""
    audited = np.bincount(predicted[drawn], minlength=int(predicted.max()) + 1)
    own = audited >= _FEWEST_IN_CELL
    rest = np.unique(predicted[~own[predicted]])
    if len(rest) and audited[rest].sum() < _FEWEST_IN_CELL and own.any():
        # Too few even together: the largest cell takes them in.
        own[np.argmax(audited)] = False
    cells: npt.NDArray[np.int64] = np.where(own, np.cumsum(own), 0)[predicted]
    return np.unique(cells, return_inverse=True)[1].astype(np.int64)
