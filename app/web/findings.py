"""A finished job's rows as findings: what can be grouped by, shares, claims against reports, audits."""

import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from conflict_framing.analysis import claims as claims_
from conflict_framing.analysis.audit import AuditPlan, plan_audit, read_audit
from conflict_framing.analysis.claims import Claims, Figure
from conflict_framing.analysis.findings import Findings, Known, figure_told, find, headline, read_for_findings, told
from conflict_framing.analysis.pictures import Picture
from conflict_framing.analysis.shares import TOO_FEW, GroupShares, Shares
from conflict_framing.analysis.table import NOT_GIVEN, PERIODS, PredictionTable, period_of
from conflict_framing.data import UserError
from conflict_framing.model import CheckpointClassifier
from conflict_framing.web.failures import Refused, in_words_of_the_page
from conflict_framing.web.jobs import Job
from conflict_framing.web.limits import Limits
from conflict_framing.web.results import Result

Theme = Literal["light", "dark"]
_INK: dict[Theme, tuple[str, str]] = {"light": ("#23262b", "#e2dfd7"), "dark": ("#e7e5df", "#31353c")}
NOT_CORRECTED_BY_HAND = (
    "Labels that were corrected here one by one are not counted in: sentences that somebody chose to correct are no "
    "random sample."
)
_LOOKED_AT = 500  # rows, to tell what a column holds
_DATES = 0.8  # share of them that must be dates
_KEPT = 8  # findings at a time
_T = TypeVar("_T")


def grouping_columns(result: Result, text_column: str) -> dict[str, list[str]]:
    """Columns of dates, and columns whose values stand often enough to be compared."""
    dates, groups = [], []
    for name in result.columns:
        if name == text_column:
            continue
        first = result.table[name].slice(0, _LOOKED_AT).to_pylist()
        head = [str(value) for value in first if value is not None and str(value).strip()]
        if not head:
            continue
        if sum(bool(period_of(value, "month")) for value in head) >= _DATES * len(head):
            dates.append(name)
        elif not _counts(result.table[name].type) and len(set(head)) <= max(1, len(head) // 2):
            groups.append(name)
    return {"dates": dates, "groups": groups}


def _counts(type_: Any) -> bool:
    """Numbers that measure or count; to group by them says nothing."""
    import pyarrow.types

    return bool(pyarrow.types.is_floating(type_))


class JobFindings:
    """Findings of jobs, the last few kept: a page of them asks for pictures and tables of the same."""

    def __init__(self, classifier: CheckpointClassifier, limits: Limits) -> None:
        self._classifier, self._limits = classifier, limits
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[object, ...], Findings] = OrderedDict()

    def find(self, job: Job, result: Result, by: Sequence[str], date: str) -> Findings:
        """Shares from the job's audit where there is one, else from the model alone.

        Raises:
            Refused: no such column, too many groups, a model without error rates.
        """
        with job.lock:  # what is asked for twice at the same time is computed once, and other jobs do not wait for it
            key = (job.id, job.audit, tuple(by), date, bool(job.corrections))
            found = self._kept.get(key) or self._refusing(job, lambda: self._find(job, result, by, date))
            with self._lock:
                if job.folder.exists():  # else it was deleted meanwhile, and its findings go too
                    self._kept[key] = found
                    self._kept.move_to_end(key)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return found

    def _find(self, job: Job, result: Result, by: Sequence[str], date: str) -> Findings:
        table = self.table(result, by, date, job.taken.text_column)
        codebook = self._classifier.codebook
        calibration = self._classifier.calibration
        if job.audit:
            known = Known.of_audit(read_audit(job.audit, table), codebook)
        elif calibration is None:
            raise Refused(
                422,
                "no_error_rates",
                "Counting predicted labels gives the model's errors as findings, and this model does not know its "
                "error rates (it has few labels, is older, or comes from elsewhere). Label a random sample below.",
            )
        else:
            known = Known.of_model(calibration, codebook)
        found = find(table, by, known)
        notes = [*found.notes, *([NOT_CORRECTED_BY_HAND] if job.corrections else [])]
        return replace(found, sources=[job.title], notes=notes)

    def table(self, result: Result, by: Sequence[str], date: str, text_column: str) -> PredictionTable:
        """The rows with the columns that findings take, places only where there are few enough.

        Raises:
            Refused: too many groups, a column twice or several periods.
            UserError: no such column.
        """
        if len(set(by)) < len(by) or len([name for name in by if name in PERIODS]) > 1:
            raise Refused(422, "bad_groups", "Group by different columns, and by one period at most.")
        table = read_for_findings([result.path], by, date_column=date, text_column=text_column)
        found = len(table.groups(by).keys)
        if found > self._limits.groups:
            raise Refused(
                422,
                "too_many_groups",
                f"{' and '.join(by)}: {found:,} groups are more than the {self._limits.groups} that can be compared "
                f"here. Take a column with fewer values, or a longer period.",
            )
        for name in (claims_.PLACE, *PERIODS):  # left out of claims against reports where there are too many
            finest = [name for name in (*claims_.COLUMNS, *PERIODS) if name in table.columns]
            if name not in by and len(table.groups(finest).keys) > self._limits.groups:
                table = replace(table, columns={n: column for n, column in table.columns.items() if n != name})
        return table

    def plan(
        self, job: Job, result: Result, by: Sequence[str], date: str, half_width: float, *, by_document: bool
    ) -> tuple[AuditPlan, PredictionTable]:
        """The sample to label, the same for the same request.

        Raises:
            Refused: see ``table``; or no group has enough documents.
        """

        def plan() -> tuple[AuditPlan, PredictionTable]:
            table = self.table(result, by, date, job.taken.text_column)
            return plan_audit(table, by, half_width, by_document=by_document), table

        return self._refusing(job, plan)

    def check_audit(self, job: Job, result: Result, path: Path) -> int:
        """How many labels an audit has.

        Raises:
            Refused: it is none, or one of other rows.
        """
        table = self._refusing(job, lambda: self.table(result, [], "", job.taken.text_column))
        return len(self._refusing(job, lambda: read_audit(path, table), path).rows)

    def use_audit(self, job: Job, path: Path | None) -> None:
        """Estimate from this audit from now on, or from none; the folder of the one before is deleted."""
        with job.lock:  # nobody is reading it
            before, job.audit = job.audit, path
            if before:
                shutil.rmtree(before.parent, ignore_errors=True)

    def forget(self, id: str) -> None:
        with self._lock:
            for key in [key for key in self._kept if key[0] == id]:
                del self._kept[key]

    @staticmethod
    def _refusing(job: Job, work: Callable[[], _T], path: Path | None = None) -> _T:
        try:
            return work()
        except Refused:
            raise
        except UserError as error:
            message = in_words_of_the_page(str(error), str(path or job.output), path.name if path else job.title)
            raise Refused(422, "refused", message) from None


# --- as JSON -------------------------------------------------------------------------------------


def findings_json(findings: Findings) -> dict[str, Any]:
    """What ``schemas.SharesInfo`` holds."""
    shares = findings.shares
    return {
        "by": list(shares.by),
        "labels": shares.labels,
        "method": shares.method,
        "told": in_words_of_the_page(findings.method),
        "headline": headline(findings),
        "notes": findings.notes,
        "groups": [_group(shares, group) for group in shares.groups],
        "rules": {short: shares.rule(short) for short in (TOO_FEW, "no interval") if shares.rule(short)},
        "claims": _claims(findings.claims),
        "pictures": [
            {
                "name": picture.name,
                "title": picture.title,
                "caption": picture.caption,
                "keys": [{"title": key.title, "colour": key.colour, "marker": key.marker} for key in picture.keys],
                "panels": [{"title": panel.title, "label": panel.label} for panel in picture.panels],
                **dict(zip(("width", "height"), picture.panel_points, strict=True)),
            }
            for picture in findings.pictures
        ],
    }


def _group(shares: Shares, group: GroupShares) -> dict[str, Any]:
    places = dict(enumerate(shares.labels))
    return {
        "key": [value or NOT_GIVEN for value in group.key],
        "name": group.name,
        "sentences": group.sentences,
        "documents": group.documents,
        "audited_sentences": group.audited_sentences,
        "audited_documents": group.audited_documents,
        "note": group.note,
        "counted": {name: float(group.naive[place]) for place, name in places.items()},
        "shares": {
            name: _figure(Figure.of(group, place)) | {"told": told(group, place)} for place, name in places.items()
        },
    }


def _figure(figure: Figure) -> dict[str, Any]:
    low, high = figure.interval or (None, None)
    return {"share": figure.share, "low": low, "high": high}


def _claims(claims: Claims) -> dict[str, Any]:
    def side(figure: Figure) -> dict[str, Any]:
        of = {"sentences": figure.sentences, "documents": figure.documents, "note": figure.note}
        return _figure(figure) | {"told": figure_told(figure)} | of

    return {
        "by_whom": claims.by_whom,
        "period": claims.period,
        "why_none": claims.why_none,
        "moments": [
            {"place": one.place, "period": one.period, "claims": side(one.claims), "reports": side(one.reports)}
            for one in claims.moments
        ],
    }


def panel_svg(pictures: Sequence[Picture], name: str, panel: int, theme: Theme) -> str:
    """A panel as a file of its own.

    Raises:
        Refused: there is no such picture.
    """
    for picture in pictures:
        if picture.name == name and 0 <= panel < len(picture.panels):
            return str(picture.panel_svg(panel, *_INK[theme]))
    raise Refused(404, "no_such_picture", "There is no such picture for these groups.")
