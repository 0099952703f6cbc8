"""Write an evaluation as one HTML page, Markdown, JSON, a picture and a predictions file."""

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ..data.tables import write_jsonl
from . import pictures
from .behaviour import FAILURES_FILE, write_behaviour
from .behaviour import RESULT_FILE as BEHAVIOUR_FILE
from .evaluation import Evaluation
from .selective import Kept

REPORT_FILE = "report.html"
MARKDOWN_FILE = "report.md"
METRICS_FILE = "metrics.json"
PICTURE_FILE = "confusion_matrix.png"
PREDICTIONS_FILE = "predictions.jsonl"
_ERRORS = 20
_CONFUSIONS = 15
_FAILURES = 100


def write_evaluation(evaluation: Evaluation, folder: Path) -> Path:
    """Write ``report.html``, ``report.md``, ``metrics.json``, ``confusion_matrix.png`` and ``predictions.jsonl``.

    Returns:
        The path of ``report.html``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in (BEHAVIOUR_FILE, FAILURES_FILE):  # of another evaluation that stood here
        (folder / stale).unlink(missing_ok=True)
    text = json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False)
    (folder / METRICS_FILE).write_text(text + "\n", "utf-8")
    write_jsonl(folder / PREDICTIONS_FILE, evaluation.rows)
    if evaluation.behaviour:
        write_behaviour(evaluation.behaviour, folder)
    pictures.write_confusion(
        evaluation.model.metrics["confusion_matrix"],
        _titles(evaluation),
        f"Confusion matrix: {evaluation.data} (n = {evaluation.n})",
        folder / PICTURE_FILE,
    )
    (folder / MARKDOWN_FILE).write_text(render("report.md.j2", evaluation=evaluation, picture=PICTURE_FILE), "utf-8")
    report = folder / REPORT_FILE
    report.write_text(to_html(evaluation), "utf-8")
    return report


def render(template: str, **values: Any) -> str:
    """Fill one of the Markdown templates."""
    filters = {"cell": _cell, "interval": lambda bounds: _interval(bounds, " to ")}
    return _fill(template, filters, values)


def to_html(evaluation: Evaluation) -> str:
    """The evaluation as one HTML page without any outside resource; every text in it is escaped."""
    counts = evaluation.model.metrics["confusion_matrix"]
    many = len(counts) > pictures.FEW_LABELS
    filters = {
        "interval": _interval,
        "count": lambda number: f"{number:,}",
        "percent": lambda share: f"{share:.0%}",
        "place": lambda share: f"{100 * min(max(share, 0), 1):.2f}%",  # on a scale from 0 to 1
        "value": _value,
    }
    values = {
        "evaluation": evaluation,
        "codebook": evaluation.codebook,
        "wrong": evaluation.errors(_ERRORS),
        "confusion": pictures.confusion_picture(counts, _titles(evaluation), "confusion") if many else None,
        "confusions": _confusions(evaluation) if many else [],
        "diagrams": _diagrams(evaluation),
        "curves": pictures.learning_curves(evaluation.history),
        "settings": _flat(evaluation.facts.recipe),
        "selective": _selective(evaluation),
        "slices": [(table.by, table.note, table.slices) for table in evaluation.slices],
        "behaviour": _behaviour(evaluation),
    }
    return _fill("report.html.j2", filters, values)


def _fill(template: str, filters: dict[str, Callable[..., str]], values: dict[str, Any]) -> str:
    # In Markdown, escaping would garble quotes; there the filter `cell` cleans what comes from outside.
    html = template.endswith(".html.j2")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=html)  # noqa: S701
    environment.filters |= {"figure": lambda value: f"{value:.3f}", "signed": lambda value: f"{value:+.3f}", **filters}
    source = files("conflict_framing.train").joinpath("templates", template).read_text("utf-8")
    return environment.from_string(source).render(**values)


def _cell(text: str) -> str:
    """Text that cannot break a Markdown table or become HTML."""
    folded = " ".join(str(text).split())
    return folded.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _interval(bounds: list[float], between: str = "–") -> str:
    return f"{bounds[0]:.3f}{between}{bounds[1]:.3f}"


def _value(value: Any) -> str:
    """A setting or a fact of a run, as a recipe writes it."""
    if isinstance(value, float):
        return f"{value:.5g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by their dotted paths, as ``--set`` takes them."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return flat


def _titles(evaluation: Evaluation) -> list[str]:
    return [evaluation.codebook.title(name) for name in evaluation.codebook.label_names]


def _confusions(evaluation: Evaluation) -> list[tuple[int, float, str, str]]:
    """The most frequent wrong pairs: sentences, their share of the annotated label, annotated, predicted."""
    names, counts = evaluation.codebook.label_names, evaluation.model.metrics["confusion_matrix"]
    pairs = [
        (count, count / sum(row), names[true], names[predicted])
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return sorted(pairs, key=lambda pair: -pair[0])[:_CONFUSIONS]


def _diagrams(evaluation: Evaluation) -> list[Any]:
    """The reliability diagrams, on the same axes."""
    scored = {"": evaluation.model}
    if evaluation.uncalibrated:
        scored = {"before calibration": evaluation.uncalibrated, "after calibration": evaluation.model}
    points = [one.metrics["reliability"] for one in scored.values()]
    lowest = pictures.lowest_of(points)
    return [
        pictures.reliability_diagram(own, lowest, title, f"reliability-{place}")
        for place, (title, own) in enumerate(zip(scored, points, strict=True))
    ]


def _selective(evaluation: Evaluation) -> dict[str, Any] | None:
    """What the page tells of abstaining; None where it was not measured."""
    found = evaluation.selective
    if found is None:
        return None
    return {
        "picture": pictures.risk_coverage_curve(found.curve.coverage, found.curve.risk, "abstaining"),
        "aurc": found.curve.aurc,
        "aurc_interval": found.intervals["aurc"],
        "eaurc": found.curve.eaurc,
        "eaurc_interval": found.intervals["eaurc"],
        "columns": ["at most wrong", "abstains below", "answered", "95 %", "wrong among them", "95 %"],
        "rows": [_promise(kept) for kept in found.kept],
        "notes": [kept.abstention.describe() for kept in found.kept if kept.abstention.reason],
    }


def _promise(kept: Kept) -> list[str]:
    """A row of the table of promised errors; nothing is told of the answers where nothing is answered."""
    answered = [f"{kept.coverage:.3f}", _interval(kept.coverage_interval)]
    if kept.error is None or kept.error_interval is None:
        return [f"{kept.abstention.max_error:.2f}", "everything", *answered, "–", "–"]
    threshold = f"{kept.abstention.threshold:.4f}"
    return [
        f"{kept.abstention.max_error:.2f}",
        threshold,
        *answered,
        f"{kept.error:.3f}",
        _interval(kept.error_interval),
    ]


def _behaviour(evaluation: Evaluation) -> dict[str, Any] | None:
    """What the page tells of the behaviour tests; None where they were not run."""
    found = evaluation.behaviour
    if found is None:
        return None
    tallies = [tally for kind in found.kinds for tally in (kind, *found.capabilities(kind.kind))]
    failures = list(found.rows())
    return {
        "notes": found.notes,
        "rows": [
            {
                "name": (tally.capability or tally.kind).replace("_", " "),
                "whole": tally.capability is None,
                "groups": tally.groups,
                "passed": tally.passed,
                "rate": tally.rate,
                "interval": tally.interval,
                "target": tally.target,
            }
            for tally in tallies
        ],
        "failures": failures[:_FAILURES],
        "more": max(0, len(failures) - _FAILURES),
    }
