"""From predictions files to findings: shares, pictures and tables in one folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ..data.codebook import Codebook
from ..data.errors import UserError
from ..data.tables import write_spreadsheet
from ..model.backbone import file_sha256
from ..model.calibration import Calibration, read_calibration
from ..model.folder import find_model, read_codebook
from ..model.layout import ModelLayout
from ..model.metadata import metadata_file
from ..model.onnx_runtime import graph_files
from ..model.torch_runtime import weights_of
from . import claims as claims_
from .audit import read_audit
from .claims import Claims, claims_against_reports, time_column
from .pictures import Picture, claims_picture, over_time, side_by_side
from .shares import (
    Audit,
    Difference,
    Estimator,
    GroupShares,
    Shares,
    group_name,
    prediction_powered,
    prior_corrected,
    short_note,
)
from .table import PERIODS, PredictionTable, read_predictions

REPORT_FILE, SHARES_FILE, CLAIMS_FILE, DIFFERENCES_FILE = "report.html", "shares.csv", "claims.csv", "differences.csv"
_SHOWN = 200  # rows of a table in the page


@dataclass(frozen=True)
class Findings:
    """What the text of some predictions files says, with how sure that is.

    Attributes:
        shares: of the groups that were asked for.
        overview: of the groups without their time column; None where that is the same.
        claims: claims of calm against reports of violence.
        differences: between the groups that were to be compared.
        codebook: of titles and colours.
        sentences, documents: in all.
        sources: names of the predictions files.
        notes: what a reader must know besides.
    """

    shares: Shares
    overview: Shares | None
    claims: Claims
    differences: list[Difference]
    codebook: Codebook
    sentences: int
    documents: int
    sources: list[str]
    notes: list[str]

    @property
    def audited(self) -> bool:
        return self.shares.method == "audited"

    @property
    def method(self) -> str:
        """How the shares were got, in words that must stand beside them."""
        if self.audited:
            return (
                "Audited: predictions corrected by a random sample that people labelled. The shares are right on "
                "average whatever the model's errors."
            )
        return (
            "Model-based: corrected for the error rates that the model had on sentences like its training text. The "
            "intervals hold only if it errs here as it did there; nothing in these files can tell. To be sure, label "
            "a random sample: conflict-framing shares PREDICTIONS --plan-audit audit.csv --half-width 0.05"
        )

    @property
    def pictures(self) -> list[Picture]:
        time = time_column(self.shares.by)
        drawn = [
            over_time(self.shares, time, self.codebook) if time else None,
            side_by_side(self.overview or self.shares, self.codebook),
            claims_picture(self.claims, self.codebook),
        ]
        return [picture for picture in drawn if picture is not None]


@dataclass(frozen=True)
class Known:
    """What makes shares of predictions: a model's calibration or an audit, and the codebook."""

    estimate: Estimator
    codebook: Codebook
    notes: tuple[str, ...] = ()

    @classmethod
    def of_model(cls, calibration: Calibration, codebook: Codebook, notes: Sequence[str] = ()) -> "Known":
        return cls(partial(prior_corrected, calibration=calibration), codebook, tuple(notes))

    @classmethod
    def of_audit(cls, audit: Audit, codebook: Codebook) -> "Known":
        return cls(partial(prediction_powered, audit=audit), codebook, audit.notes)


def read_known(
    table: PredictionTable, *, model: str | Path | None = None, audit: str | Path | None = None, encoding: str = "utf-8"
) -> Known:
    """How the shares of a table can be estimated.

    Args:
        table: the predictions.
        model: a run, a model folder or a hub name; must be what made the predictions. None is the ready model
            where that made them.
        audit: a labelled audit file; with it, the model gives no more than the codebook.
        encoding: of the audit file.

    Raises:
        UserError: neither is given, the model is another or has no calibration, the predictions were adapted to
            other label shares, or the audit is none (see ``read_audit``).
    """
    made = [_made_by(path) for path in table.files]
    ready = audit is None and any(facts.get("ready") for facts, _ in made)
    folder = find_model(model) if model is not None or ready else None
    model = model or folder
    codebook = read_codebook(folder, table.labels) if folder else _codebook(table.labels)
    if audit is not None:
        known = Known.of_audit(read_audit(audit, table, encoding=encoding), codebook)
        unused = "--model gives no more than the labels' titles: the shares come from the audit."
        return known if model is None else replace(known, notes=(*known.notes, unused))
    if folder is None:
        named = next((str(facts["folder"]) for facts, _ in made if facts.get("folder")), "RUN")
        raise UserError(
            "Counting predicted labels gives the model's errors as findings. To correct for them, name the model that "
            f"made the predictions, whose folder knows its error rates: --model {named}. Or, better, give a random "
            "sample that people labelled: --audit AUDITED (draw it with --plan-audit)."
        )
    notes, first_stage = [], ModelLayout(folder).first_stage
    for path, (facts, priors) in zip(table.files, made, strict=True):
        if priors:
            raise UserError(
                f"{path}: its probabilities were adapted to other label shares already. Label the sentences again "
                f"without --adapt-priors."
            )
        weights = set(facts.get("weights_sha256", {}).values())
        files = graph_files(folder) if facts.get("runtime") == "onnx" else weights_of(folder)
        if first_stage.name in facts.get("weights_sha256", {}):
            files = [*files, first_stage]
        if not weights:
            notes.append(f"Nothing tells whether {path.name} was made by this model: its .meta.json is not beside it.")
        elif weights != {file_sha256(file) for file in files if file.exists()}:
            raise UserError(
                f"--model {model}: {path} was made by another model ({facts.get('folder')}), whose error rates differ. "
                f"Name that one, or label the sentences again with this one."
            )
    runtimes = {
        (facts.get("runtime", "torch"), first_stage.name in facts.get("weights_sha256", {}))
        for facts, _ in made
        if facts
    }
    if len(runtimes) > 1:
        raise UserError(
            "Some predictions were made with PyTorch, others with the graph or with a first stage before it, whose "
            "error rates differ a little. Label all of them with the same --runtime and --cascade."
        )
    name, cascade = next(iter(runtimes), ("torch", False))
    calibration = read_calibration(folder, table.labels, graph=name == "onnx", cascade=cascade)
    if calibration is None:
        raise UserError(
            f"--model {model}: it has no calibration.json, which holds its error rates (it has few labels, is older, "
            f"or comes from elsewhere). Train it anew with more labelled sentences, or draw an audit with --plan-audit."
        )
    return Known.of_model(calibration, codebook, notes)


def _codebook(labels: list[str]) -> Codebook:
    bundled = Codebook.bundled()
    return bundled if bundled.label_names == labels else Codebook.from_labels(labels)


def _made_by(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The sections ``model`` and ``priors`` of a predictions file's metadata; empty where there are none."""
    beside = metadata_file(path)
    if not beside.exists():
        return {}, {}
    try:
        sections = json.loads(beside.read_text("utf-8"))
        return dict(sections.get("model") or {}), dict(sections.get("priors") or {})
    except (ValueError, AttributeError, TypeError):
        raise UserError(f"{beside}: damaged. Label the sentences again with 'predict', or delete the file.") from None


def findings_of(
    predictions: Sequence[str | Path],
    by: Sequence[str],
    *,
    model: str | Path | None = None,
    audit: str | Path | None = None,
    compare: Sequence[tuple[Sequence[str], Sequence[str]]] = (),
    date_column: str = "date",
    text_column: str | None = None,
    encoding: str = "utf-8",
    on_progress: Callable[[int], None] = lambda done: None,
) -> Findings:
    """From predictions files to findings: read, learn what is known of the errors, estimate.

    >>> findings = findings_of(["labelled.jsonl"], ["outlet", "month"], model="runs/default")  # doctest: +SKIP
    >>> write_findings(findings, Path("findings"))  # doctest: +SKIP

    The arguments are those of ``read_for_findings``, ``read_known`` and ``find``, which say what is raised.
    """
    table = read_for_findings(
        predictions,
        by,
        date_column=date_column,
        text_column=text_column,
        encoding=encoding,
        on_progress=on_progress,
    )
    return find(table, by, read_known(table, model=model, audit=audit, encoding=encoding), compare)


def read_for_findings(
    predictions: Sequence[str | Path],
    by: Sequence[str],
    *,
    date_column: str = "date",
    text_column: str | None = None,
    encoding: str = "utf-8",
    on_progress: Callable[[int], None] = lambda done: None,
) -> PredictionTable:
    """Read predictions with the columns that findings take: those to group by, dates, sources and places."""
    period = time_column(by) or "month"
    return read_predictions(
        predictions,
        by,
        optional=[period, *claims_.COLUMNS],
        date_column=date_column,
        text_column=text_column,
        encoding=encoding,
        on_progress=on_progress,
    )


def find(
    table: PredictionTable,
    by: Sequence[str],
    known: Known,
    compare: Sequence[tuple[Sequence[str], Sequence[str]]] = (),
) -> Findings:
    """Estimate all shares of a table.

    Args:
        table: as ``read_for_findings`` gives it.
        by: columns to group by, at most one of them a period.
        known: what to estimate with.
        compare: pairs of groups, each a value for every column of ``by``.

    Raises:
        UserError: two periods in ``by``, or an unknown group in ``compare``.
    """
    periods = [name for name in by if name in PERIODS]
    if len(periods) > 1:
        raise UserError(f"--by {','.join(by)}: expected one of {', '.join(PERIODS)} at most, came {len(periods)}.")
    shares = known.estimate(table, by)
    rest = [name for name in by if name not in PERIODS]
    overview = known.estimate(table, rest) if periods and rest else None
    differences = [shares.difference(first, second) for first, second in compare]
    claims = claims_against_reports(table, known.estimate, periods[0] if periods else "month")
    return Findings(
        shares=shares,
        overview=overview,
        claims=claims,
        differences=differences,
        codebook=known.codebook,
        sentences=len(table),
        documents=int(table.documents.max()) + 1,
        sources=[path.name for path in table.files],
        notes=[*known.notes, *_notes(table, by)],
    )


def _notes(table: PredictionTable, by: Sequence[str]) -> list[str]:
    notes = []
    if table.without_document:
        notes.append(
            f"{table.without_document:,} of {len(table):,} sentences name no document and are taken as independent. "
            f"Sentences of one article are not: intervals are too short."
        )
    for name in by:
        column = table.columns[name]
        missing = int((column.codes == column.values.index("")).sum()) if "" in column.values else 0
        if missing:
            notes.append(f"{missing:,} of {len(table):,} sentences have no {name}.")
    return notes


# --- tables ----------------------------------------------------------------------------------------


def share_rows(shares: Shares) -> list[dict[str, Any]]:
    """One row per group and label, shares from 0 to 1."""
    rows = []
    for group in shares.groups:
        for place, label in enumerate(shares.labels):
            row: dict[str, Any] = dict(zip(shares.by, group.key, strict=True))
            row |= {"label": label, "sentences": group.sentences, "documents": group.documents}
            row |= {"method": shares.method, "share": _at(group.shares, place)}
            row |= {f"share_{end}": _at(group.intervals, place, which) for which, end in enumerate(("low", "high"))}
            row["counted"] = _at(group.naive, place)
            if shares.method == "audited":
                row |= {"audited_sentences": group.audited_sentences, "audited_documents": group.audited_documents}
            else:
                row["em"] = _at(group.em, place)
                row |= {f"em_{end}": _at(group.em_intervals, place, which) for which, end in enumerate(("low", "high"))}
            rows.append(row | {"note": group.note})
    return rows


def _at(values: Any, *place: int) -> float | None:
    return None if values is None else round(float(values[place]), 6)


def difference_rows(findings: Findings) -> list[dict[str, Any]]:
    """One row per pair of groups and label."""
    return [
        {
            "first": group_name(one.first),
            "second": group_name(one.second),
            "label": label,
            "difference": round(float(one.values[place]), 6),
            "difference_low": round(float(one.intervals[place, 0]), 6),
            "difference_high": round(float(one.intervals[place, 1]), 6),
        }
        for one in findings.differences
        for place, label in enumerate(findings.shares.labels)
    ]


def claim_rows(claims: Claims) -> list[dict[str, Any]]:
    """One row per place and period."""
    rows = []
    for moment in claims.moments:
        row: dict[str, Any] = {"place": moment.place, claims.period: moment.period}
        for name, figure in (("claims", moment.claims), ("reports", moment.reports)):
            low, high = figure.interval or (None, None)
            row |= {f"{name}_by": _whose(claims, name), f"{name}_share": _rounded(figure.share)}
            row |= {f"{name}_low": _rounded(low), f"{name}_high": _rounded(high)}
            row |= {f"{name}_sentences": figure.sentences, f"{name}_documents": figure.documents}
            row[f"{name}_note"] = figure.note
        rows.append(row)
    return rows


def _whose(claims: Claims, name: str) -> str:
    return "all" if not claims.by_whom else claims_.OFFICIAL if name == "claims" else "all others"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


# --- the folder ------------------------------------------------------------------------------------


def write_findings(findings: Findings, folder: Path) -> Path:
    """Write ``report.html``, ``shares.csv``, ``claims.csv``, ``differences.csv`` and the pictures (PNG and SVG).

    Returns:
        The path of ``report.html``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        SHARES_FILE: share_rows(findings.shares),
        CLAIMS_FILE: claim_rows(findings.claims),
        DIFFERENCES_FILE: difference_rows(findings),
    }
    for name, rows in tables.items():
        (folder / name).unlink(missing_ok=True)  # of other findings that stood here
        if rows:
            write_spreadsheet(folder / name, rows)
    pictures = findings.pictures
    for picture in ("shares_over_time", "side_by_side", "claims_against_reports"):
        for suffix in ("png", "svg"):
            (folder / f"{picture}.{suffix}").unlink(missing_ok=True)
    for drawn in pictures:
        drawn.write(folder)
    report = folder / REPORT_FILE
    report.write_text(to_html(findings, pictures), "utf-8")
    return report


def to_html(findings: Findings, pictures: Sequence[Picture] | None = None) -> str:
    """The findings as one HTML page without any outside resource; every text in it is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "percent": percent,
        "interval": lambda ends: f"{_number(ends[0])}–{_number(ends[1])}",
        "points": lambda value: f"{100 * value:+.0f}".replace("-", "−"),
        "count": lambda number: f"{number:,}",
        "group": group_name,
        "short": short_note,
        "given": lambda value: value or group_name([""]),
    }
    source = files("conflict_framing.analysis").joinpath("templates", "shares.html.j2").read_text("utf-8")
    shares = findings.shares
    pictures = findings.pictures if pictures is None else pictures
    return environment.from_string(source).render(
        findings=findings,
        shares=shares,
        codebook=findings.codebook,
        pictures={picture.name: picture for picture in pictures},
        groups=shares.groups[:_SHOWN],
        hidden=max(0, len(shares.groups) - _SHOWN),
        audited=findings.audited,
        headline=headline(findings),
        contrasts=findings.claims.contrasts[:_SHOWN],
        reports=findings.codebook.title(claims_.REPORT),
    )


def percent(share: float) -> str:
    return f"{_number(share)} %"


def _number(share: float) -> str:
    """Percent without digits, but for what would be rounded away."""
    value = 100 * share
    return f"{value:.1f}" if 0.05 <= value < 1 or 99 < value < 99.95 else f"{value:.0f}"


def headline(findings: Findings) -> str:
    """The finding to begin with: who claimed calm while reports of violence rose; else who claims it most."""
    claims = findings.claims
    if claims.contrasts:
        before, now = claims.contrasts[0]
        where = f"{now.place}, {now.period}" if now.place else now.period
        who = "officials claimed stability" if claims.by_whom else "stability was claimed"
        others = "of what others said" if claims.by_whom else "of all sentences"
        whose = "their" if claims.by_whom else "the"
        return (
            f"{where}: {who} in {figure_told(now.claims)} of {whose} sentences, while reports of violence rose from"
            f" {percent(before.reports.share or 0)} to {figure_told(now.reports)} {others}."
        )
    shares = findings.overview or findings.shares
    told = [group for group in shares.groups if group.intervals is not None]
    if not told:
        return ""
    extremes = {label: _extremes(told, label) for label, name in enumerate(shares.labels) if name != "none"}
    # The label that tells the groups most surely apart; of one group, the most frequent framing.
    label = max(extremes, key=lambda label: _gap(*extremes[label], label))
    if len(told) == 1:
        label = max(extremes, key=lambda label: claims_.Figure.of(told[0], label).share or 0)
    title = findings.codebook.title(shares.labels[label]).capitalize()
    least, most = extremes[label]
    if least is most:
        return f"{title}: {figure_told(claims_.Figure.of(most, label))} of the sentences."
    return (
        f"{title}: from {figure_told(claims_.Figure.of(least, label))} of the sentences of {least.name} to "
        f"{figure_told(claims_.Figure.of(most, label))} of those of {most.name}."
    )


def _extremes(groups: Sequence[GroupShares], label: int) -> tuple[GroupShares, GroupShares]:
    def share(group: GroupShares) -> float:
        return claims_.Figure.of(group, label).share or 0.0

    return min(groups, key=share), max(groups, key=share)


def _gap(least: GroupShares, most: GroupShares, label: int) -> float:
    """How far the intervals of two groups are apart; below 0 where they overlap."""
    low, high = (claims_.Figure.of(group, label).interval or (0.0, 1.0) for group in (least, most))
    return high[0] - low[1]


def told(group: GroupShares, label: int) -> str:
    """A share of one group as people read it: "38 % (31–45)", or why there is none."""
    return figure_told(claims_.Figure.of(group, label))


def figure_told(figure: claims_.Figure) -> str:
    """The same of any figure."""
    if figure.share is None:
        return short_note(figure.note)
    if figure.interval is None:
        return f"{percent(figure.share)} ({short_note(figure.note)})"
    return f"{percent(figure.share)} ({_number(figure.interval[0])}–{_number(figure.interval[1])})"
