"""Write an evaluation as JSON, Markdown, a picture and a predictions file."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from ..data.tables import write_jsonl
from .behaviour import write_behaviour
from .evaluation import Evaluation

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.md"
PICTURE_FILE = "confusion_matrix.png"
PREDICTIONS_FILE = "predictions.jsonl"


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write ``metrics.json``, ``report.md``, ``confusion_matrix.png`` and ``predictions.jsonl``, and of behaviour tests
    ``behaviour.json`` and ``behaviour.jsonl``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False)
    (folder / METRICS_FILE).write_text(text + "\n", "utf-8")
    write_jsonl(folder / PREDICTIONS_FILE, evaluation.rows)
    if evaluation.behaviour:
        write_behaviour(evaluation.behaviour, folder)
    draw_confusion(evaluation, folder / PICTURE_FILE)
    (folder / REPORT_FILE).write_text(render("report.md.j2", evaluation=evaluation, picture=PICTURE_FILE), "utf-8")


def render(template: str, **values: Any) -> str:
    """Fill one of the Markdown templates."""
    # Markdown, not HTML: escaping would garble quotes; cells are cleaned by the filter `cell`.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701
    environment.filters["cell"] = _cell
    environment.filters["figure"] = lambda value: f"{value:.3f}"
    environment.filters["signed"] = lambda value: f"{value:+.3f}"
    environment.filters["interval"] = lambda bounds: f"{bounds[0]:.3f} to {bounds[1]:.3f}"
    source = files("conflict_framing.train").joinpath("templates", template).read_text("utf-8")
    return environment.from_string(source).render(**values)


def _cell(text: str) -> str:
    """Text that cannot break a Markdown table or become HTML."""
    folded = " ".join(str(text).split())
    return folded.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def draw_confusion(evaluation: Evaluation, path: Path) -> None:
    """The confusion matrix as a picture: shares of each true label, with the counts."""
    import numpy as np
    from matplotlib.figure import Figure

    counts = np.array(evaluation.model.metrics["confusion_matrix"])
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    titles = [evaluation.codebook.title(name) for name in evaluation.codebook.label_names]
    size = 2.6 + 0.95 * len(titles)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(titles)), titles, rotation=30, ha="right")
    axes.set_yticks(range(len(titles)), titles)
    axes.set_xlabel("predicted")
    axes.set_ylabel("annotated")
    axes.set_title(f"Confusion matrix: {evaluation.data} (n = {evaluation.n})", fontsize=11)
    if len(titles) <= 12:
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.55 else "black"
            text = f"{counts[row, column]}\n{share:.0%}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    figure.colorbar(image, ax=axes, label="share of the annotated label", shrink=0.8)
    figure.savefig(path, dpi=150)
