"""The share of each label in groups of a result's rows, and the columns that can make groups."""

import datetime
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from conflict_framing.web.failures import Refused
from conflict_framing.web.limits import Limits
from conflict_framing.web.results import Result

Period = Literal["year", "quarter", "month", "week"]
NOTE = "Counts of labels, not corrected for the model's errors."
NOT_GIVEN = "(not given)"
ALL_OTHERS = "all others"

_DATE = re.compile(r"\s*(\d{4})-(\d{2})(?:-(\d{2}))?(?=$|[T\s])")
_LOOKED_AT = 500  # rows, to tell what a column holds
_DATES = 0.8  # share of them that must be dates


@dataclass(frozen=True)
class Group:
    """How often each label stands in a group, in the order of the labels."""

    name: str
    counts: list[int]

    @property
    def sentences(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True)
class Shares:
    """All groups, with what is to be said of them.

    Attributes:
        by: the column that was grouped by, "" where all rows are one group.
        time: whether the groups follow each other in time.
    """

    by: str
    labels: list[str]
    groups: list[Group]
    time: bool
    note: str = NOTE

    def to_json(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "labels": self.labels,
            "time": self.time,
            "note": self.note,
            "groups": [
                {
                    "name": group.name,
                    "sentences": group.sentences,
                    "counts": dict(zip(self.labels, group.counts, strict=True)),
                    "shares": {
                        name: count / group.sentences for name, count in zip(self.labels, group.counts, strict=True)
                    },
                }
                for group in self.groups
            ],
        }


def count_labels(labels: Sequence[str], keys: Sequence[str], names: Sequence[str]) -> list[Group]:
    """Plain counts per group, groups in the order of their names. The one place where shares come from."""
    found = Counter(zip(keys, labels, strict=True))
    return [Group(key, [found[key, name] for name in names]) for key in sorted(set(keys))]


def shares_of(result: Result, limits: Limits, by: str = "", period: Period | None = None) -> Shares:
    """The shares in the groups of one column; with a period, the column's dates are grouped by it.

    Raises:
        Refused: no such column, or too many values to compare.
    """
    labels = result.labels
    if not by:
        return Shares("", result.names, count_labels(labels, [""] * len(labels), result.names), time=False)
    if by not in result.columns:
        raise Refused(422, "missing_column", f"No column '{by}'.", columns=result.columns)
    values = result.table[by].to_pylist()
    if period:
        return Shares(
            by, result.names, count_labels(labels, [period_of(value, period) for value in values], result.names), True
        )
    groups = count_labels(labels, [_told(value) for value in values], result.names)
    groups.sort(key=lambda group: -group.sentences)
    return Shares(by, result.names, _largest(groups, limits.groups), time=False)


def _largest(groups: list[Group], most: int) -> list[Group]:
    if len(groups) <= most:
        return groups
    rest = [sum(counts) for counts in zip(*(group.counts for group in groups[most - 1 :]), strict=True)]
    return [*groups[: most - 1], Group(f"{ALL_OTHERS} ({len(groups) - most + 1})", rest)]


def _told(value: Any) -> str:
    return NOT_GIVEN if value is None or not str(value).strip() else str(value).strip()[:80]


def grouping_columns(result: Result, text_column: str) -> dict[str, list[str]]:
    """Columns of dates, and columns whose values stand often enough to be compared."""
    dates, groups = [], []
    table = result.table
    for name in result.columns:
        if name == text_column:
            continue
        column = table[name]
        head = [value for value in column.slice(0, _LOOKED_AT).to_pylist() if _told(value) != NOT_GIVEN]
        if not head:
            continue
        if sum(parse_date(value) is not None for value in head) >= _DATES * len(head):
            dates.append(name)
        elif isinstance(head[0], (str, int, bool)) and len(set(map(str, head))) <= max(1, len(head) // 2):
            groups.append(name)
    return {"dates": dates, "groups": groups}


def parse_date(value: Any) -> datetime.date | None:
    """A date that begins with year and month, as ``2024-05``, ``2024-05-17`` or with a time after it."""
    found = _DATE.match(str(value))
    if not found:
        return None
    try:
        return datetime.date(int(found[1]), int(found[2]), int(found[3] or 1))
    except ValueError:
        return None


def period_of(value: Any, period: Period) -> str:
    """The year, quarter, month or (ISO) week of a date; they sort by name as in time."""
    date = parse_date(value)
    if date is None:
        return NOT_GIVEN
    if period == "week":
        year, week, _ = date.isocalendar()
        return f"{year}-W{week:02}"
    return {
        "year": f"{date.year}",
        "quarter": f"{date.year}-Q{(date.month + 2) // 3}",
        "month": f"{date.year}-{date.month:02}",
    }[period]
