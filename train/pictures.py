"""Pictures of an evaluation: SVG that stands inside the HTML report, and the confusion matrix as a PNG file."""

from collections.abc import Sequence
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ..data.drawing import BLUE, GREY, ORANGE, figure_of, svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW_LABELS = 12
"""So many labels leave room for figures in the cells of a confusion matrix."""
_LONGEST_NAME = 40


def reliability_diagram(points: Sequence[dict[str, float]], lowest: float, title: str, name: str) -> Markup:
    """How often the predicted label is right against its probability; on the diagonal both are the same.

    Args:
        points: as ``reliability`` gives them.
        lowest: where both axes begin.
        title: above the picture.
        name: of the picture, unlike that of any other on the page.
    """
    x, y, low, high = (np.array([point[key] for point in points]) for key in ("confidence", "accuracy", "low", "high"))
    with figure_of(4.4, 4.2) as figure:
        axes = figure.subplots()
        axes.plot([lowest, 1], [lowest, 1], color=GREY, linestyle="--", linewidth=1)
        axes.errorbar(x, y, yerr=[y - low, high - y], fmt="o", color=BLUE, markersize=5, elinewidth=1.2, capsize=2)
        ticks = np.arange(round(10 * lowest), 11, 1 if lowest >= 0.5 else 2) / 10
        axes.set(xlim=(lowest, 1.01), ylim=(lowest, 1.01), xticks=ticks, yticks=ticks, aspect="equal", title=title)
        axes.set(xlabel="probability of the predicted label", ylabel="share that is right")
        return svg_of(figure, name, f"Reliability diagram {title}, {len(points)} bins of equal size.")


def lowest_of(diagrams: Sequence[Sequence[dict[str, float]]]) -> float:
    """Where the axes of several reliability diagrams begin: no point and no interval lies below."""
    tenths = floor(10 * min(min(point["confidence"], point["low"]) for points in diagrams for point in points))
    return (tenths if tenths >= 5 else tenths - tenths % 2) / 10  # the ticks end at 1 either way


def risk_coverage_curve(coverage: Sequence[float], risk: Sequence[float], name: str) -> Markup:
    """The share of wrong labels among the answered sentences against the share that is answered."""
    with figure_of(5.8, 3.3) as figure:
        axes = figure.subplots()
        axes.plot(coverage, risk, color=BLUE)
        axes.axhline(risk[-1], color=GREY, linestyle="--", linewidth=1)
        axes.set(xlim=(0, 1), xlabel="coverage: share of the sentences that are answered")
        axes.set(ylim=(0, max(*risk, 0.01) * 1.1), ylabel="share of them that is wrong")
        return svg_of(figure, name, f"Risk-coverage curve, ending at {risk[-1]:.1%} wrong where all are answered.")


def learning_curves(history: Sequence[dict[str, Any]]) -> list[Markup]:
    """Loss and validation macro-F1 over the epochs of a run's log, a picture each; none where there is none."""
    from matplotlib.ticker import MaxNLocator

    pictures = []
    losses = {
        "training": _series(history, "loss"),
        "training, by contrast": _series(history, "contrastive_loss"),
        "validation": _series(history, "eval_loss"),
    }
    losses = {name: series for name, series in losses.items() if series}
    if losses:
        with figure_of(4.8, 3.4) as figure:
            axes = figure.subplots()
            for name, series in losses.items():
                validation = name == "validation"
                axes.plot(
                    *zip(*series, strict=True), label=name, color=ORANGE if validation else BLUE,
                    linewidth=1.6 if validation else 1.2, marker="o" if validation or len(series) == 1 else None,
                )  # fmt: skip
            axes.set(title="Loss", xlabel=_unit(history), ylim=(0, None))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.legend()
            pictures.append(svg_of(figure, "loss", f"Loss: {', '.join(losses)}."))
    scores = _series(history, "eval_macro_f1")
    if scores:
        best = max(scores, key=lambda point: point[1])
        with figure_of(4.8, 3.4) as figure:
            axes = figure.subplots()
            axes.plot(*zip(*scores, strict=True), color=BLUE, marker="o")
            axes.plot(*best, color=ORANGE, marker="o", markersize=10, fillstyle="none", markeredgewidth=1.8)
            values = [value for _, value in scores]
            axes.set(title="Macro-F1 on the validation part", xlabel=_unit(history))
            axes.set(ylim=(max(0, min(values) - 0.05), min(1, max(values) + 0.05)))
            axes.set_xlim(left=0)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            label = f"Validation macro-F1 after each epoch; the best is {best[1]:.3f} after epoch {best[0]:g}."
            pictures.append(svg_of(figure, "validation", label))
    return pictures


def confusion_picture(counts: Sequence[Sequence[int]], titles: Sequence[str], name: str) -> Markup:
    """The confusion matrix of many labels, as shades."""
    with figure_of(*_confusion_size(titles)) as figure:
        _draw_confusion(figure, counts, titles, "")
        return svg_of(figure, name, f"Confusion matrix of {len(titles)} labels: rows annotated, columns predicted.")


def write_confusion(counts: Sequence[Sequence[int]], titles: Sequence[str], heading: str, path: Path) -> None:
    """The confusion matrix as a PNG file: shares of each true label, with the counts where there is room."""
    with figure_of(*_confusion_size(titles)) as figure:
        _draw_confusion(figure, counts, titles, heading)
        figure.savefig(path, dpi=150)


def _confusion_size(titles: Sequence[str]) -> tuple[float, float]:
    size = 2.6 + (0.95 if len(titles) <= FEW_LABELS else 0.22) * len(titles)
    return size + 0.8, size


def _draw_confusion(figure: "Figure", counts: Sequence[Sequence[int]], titles: Sequence[str], heading: str) -> None:
    from matplotlib.collections import PolyCollection

    table = np.array(counts)
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
    few = len(titles) <= FEW_LABELS
    names = [title if len(title) <= _LONGEST_NAME else f"{title[: _LONGEST_NAME - 1]}…" for title in titles]
    axes = figure.subplots()
    # Only cells that hold a sentence, which keeps the SVG of many labels small.
    rows, columns = table.nonzero()
    corners = np.stack([columns, rows], axis=1)[:, None] + np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    image = axes.add_collection(PolyCollection(corners, array=shares[rows, columns], cmap="Blues", clim=(0, 1)))
    places = np.arange(len(names)) + 0.5
    rotated: dict[str, Any] = {"rotation": 30, "ha": "right"} if few else {"rotation": 90}
    axes.set_xticks(places, names, fontsize=None if few else 8, **rotated)
    axes.set_yticks(places, names, fontsize=None if few else 8)
    axes.set(xlabel="predicted", ylabel="annotated", title=heading, aspect="equal")
    axes.set(xlim=(0, len(names)), ylim=(len(names), 0))
    axes.grid(not few)
    if few:
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.55 else "black"
            text = f"{table[row, column]}\n{share:.0%}"
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=colour, fontsize=9)
    figure.colorbar(image, ax=axes, label="share of the annotated label", shrink=0.8)


def _series(history: Sequence[dict[str, Any]], key: str) -> list[tuple[float, float]]:
    """The points of one figure in a run's log; of a step that a resumed run took twice, the later."""
    unit = _unit(history)
    return sorted(
        {float(entry[unit]): float(entry[key]) for entry in history if key in entry and unit in entry}.items()
    )


def _unit(history: Sequence[dict[str, Any]]) -> str:
    return "epoch" if any("epoch" in entry for entry in history) else "step"
