"""Who claims calm while violence is reported: stabilisation claims beside escalation reports, by place and period."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from .shares import Estimator, GroupShares, Shares
from .table import NOT_GIVEN, PERIODS, PredictionTable

CLAIM, REPORT = "stabilisation_claim", "escalation_report"
OFFICIAL = "government_or_military"
SOURCE, PLACE, _WHOM = "source_type", "place", "by whom"
COLUMNS = (SOURCE, PLACE)
"""That are used where a file has them."""
_OFFICIALS, _OTHERS = "officials", "others"


@dataclass(frozen=True)
class Figure:
    """A share with its 95 % interval (None where ``note`` tells why) and what it rests on."""

    sentences: int
    documents: int
    share: float | None
    interval: tuple[float, float] | None
    note: str

    @classmethod
    def of(cls, group: GroupShares | None, label: int) -> "Figure":
        if group is None:
            return cls(0, 0, None, None, "no sentence")
        low_high = None if group.intervals is None else tuple(map(float, group.intervals[label]))
        return cls(
            group.sentences,
            group.documents,
            None if group.shares is None else float(group.shares[label]),
            None if low_high is None else (low_high[0], low_high[1]),
            group.note,
        )


@dataclass(frozen=True)
class Moment:
    """One place in one period: the share of claims and the share of reports.

    ``rise`` is by how much reports are more than in the place's period before that has an interval, with the 95 %
    interval of the difference; None where one of the two is missing.
    """

    place: str
    period: str
    claims: Figure
    reports: Figure
    rise: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Claims:
    """Stabilisation claims against escalation reports.

    Attributes:
        moments: by place, then period; a place's periods without any sentence are not there.
        by_whom: whether claims are those of officials and reports those of everybody else. Without sources,
            both are of all sentences.
        period: the name of the time column.
        why_none: why there is nothing to show, or empty.
    """

    moments: list[Moment]
    by_whom: bool
    period: str
    why_none: str = ""

    @property
    def places(self) -> list[str]:
        """Those with most sentences first."""
        sizes: dict[str, int] = {}
        for moment in self.moments:
            sizes[moment.place] = sizes.get(moment.place, 0) + moment.reports.sentences
        return sorted(sizes, key=lambda place: (-sizes[place], place))

    def of_place(self, place: str) -> list[Moment]:
        return [moment for moment in self.moments if moment.place == place]

    @property
    def contrasts(self) -> list[tuple[Moment, Moment]]:
        """Periods in which reports rose beyond chance and calm was still claimed, each with the one before it.

        "Still": no less than the lower end of the interval before. The largest rise first.
        """
        pairs = [pair for place in self.places for pair in itertools.pairwise(self.of_place(place))]
        found = [(before, now) for before, now in pairs if _contrast(before, now)]
        return sorted(found, key=lambda pair: -(pair[1].rise or (0.0,))[0])


def _contrast(before: Moment, now: Moment) -> bool:
    if now.rise is None or now.rise[1] <= 0 or now.claims.interval is None or now.claims.interval[0] <= 0:
        return False
    return before.claims.interval is None or (now.claims.share or 0) >= before.claims.interval[0]


def claims_against_reports(table: PredictionTable, estimate: Estimator, period: str) -> Claims:
    """The shares of claims and reports in each place and period.

    Args:
        table: with the column ``period``, and ``source_type`` and ``place`` if there are such.
        estimate: of shares.
        period: the name of a time column.
    """
    by_whom = SOURCE in table.columns
    missing = [label for label in (CLAIM, REPORT) if label not in table.labels]
    if missing:
        return Claims([], by_whom, period, f"the model has no label {' and no label '.join(missing)}")
    if period not in table.columns:
        return Claims([], by_whom, period, "the predictions have no dates (column date, or --date-column)")
    by = [*([PLACE] if PLACE in table.columns else []), period]
    if by_whom:
        whom = table.columns[SOURCE].mapped(lambda kind: _OFFICIALS if kind == OFFICIAL else _OTHERS)
        if _OFFICIALS not in whom.values:
            return Claims([], by_whom, period, f"no sentence has the source_type {OFFICIAL}")
        shares = estimate(table.with_column(_WHOM, whom), [*by, _WHOM])
    else:
        shares = estimate(table, by)
    return Claims(_moments(shares, table.labels, by_whom), by_whom, period)


def _moments(shares: Shares, labels: Sequence[str], by_whom: bool) -> list[Moment]:
    found = {group.key: group for group in shares.groups}
    claim, report = labels.index(CLAIM), labels.index(REPORT)
    moments: list[Moment] = []
    earlier: dict[str, tuple[str, ...]] = {}
    for where in dict.fromkeys(key[:-1] if by_whom else key for key in found):
        place, period = where if len(where) == 2 else ("", where[0])
        if not period:
            continue
        of_claims, of_reports = ((*where, whom) if by_whom else where for whom in (_OFFICIALS, _OTHERS))
        reports = Figure.of(found.get(of_reports), report)
        rise = None
        if reports.interval is not None:
            if place in earlier:
                difference = shares.difference(of_reports, earlier[place])
                low, high = map(float, difference.intervals[report])
                rise = (float(difference.values[report]), low, high)
            earlier[place] = of_reports
        name = (place or NOT_GIVEN) if len(where) == 2 else ""
        moments.append(Moment(name, period, Figure.of(found.get(of_claims), claim), reports, rise))
    return moments


def time_column(by: Sequence[str]) -> str | None:
    """The column of periods among those that are grouped by."""
    return next((name for name in by if name in PERIODS), None)
