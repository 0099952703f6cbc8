"""Shares as SVG, drawn here by matplotlib.

Charting libraries that draw in the browser (bokeh, plotly) write style and script into the page, which its
content security policy forbids; a picture needs neither, and can be downloaded as it is.
"""

import io
import threading
from typing import Any, Literal

from conflict_framing.data import Codebook, MissingExtraError
from conflict_framing.web.shares import NOT_GIVEN, Group, Shares

Theme = Literal["light", "dark"]
_INK = {"light": ("#23262b", "#686d76", "#e2dfd7"), "dark": ("#e7e5df", "#9aa0aa", "#31353c")}
_LOCK = threading.Lock()  # matplotlib's settings are the process's
_TICKS = 12
_ROW, _WIDE, _NARROW = 0.36, 7.6, 4.2  # inches


def draw_shares(shares: Shares, codebook: Codebook, theme: Theme = "light", *, narrow: bool = False) -> bytes:
    """Lines where the groups follow each other in time, else bars beside each other; ``narrow`` is for a phone.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "web", "Drawing charts") from None
    ink, soft, line = _INK[theme]
    settings = {
        "font.family": "sans-serif",
        "font.size": 10,
        "svg.fonttype": "none",  # letters stay letters, to be read and searched
        "svg.hashsalt": "conflict-framing",
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": line,
        "xtick.color": soft,
        "ytick.color": soft,
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        # The names of groups come from the table: a dollar sign there is no formula.
        "text.parse_math": False,
    }
    with _LOCK, matplotlib.rc_context(settings):
        groups = [group for group in shares.groups if not (shares.time and group.name == NOT_GIVEN)]
        height = 3.6 if shares.time else 1.2 + _ROW * len(groups)
        figure = Figure(figsize=(_NARROW if narrow else _WIDE, height), layout="constrained")
        axes = figure.subplots()
        (_over_time if shares.time else _bars)(axes, shares, groups, codebook, line, narrow)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False, fontsize=9)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _over_time(axes: Any, shares: Shares, groups: list[Group], codebook: Codebook, line: str, narrow: bool) -> None:
    places = range(len(groups))
    for number, name in enumerate(shares.labels):
        values = [100 * group.counts[number] / group.sentences for group in groups]
        style = {"marker": "osD^vPX*"[number % 8], "markersize": 5, "linewidth": 1.8}
        axes.plot(places, values, color=codebook.colour(name), label=codebook.title(name), **style)
    every = max(1, -(-len(groups) // (_TICKS // 2 if narrow else _TICKS)))
    axes.set_xticks([place for place in places if place % every == 0])
    axes.set_xticklabels([groups[place].name for place in places if place % every == 0])
    axes.set_ylim(0, 100)
    axes.set_ylabel("% of sentences")
    axes.grid(axis="y", color=line, linewidth=0.8)
    axes.set_axisbelow(True)
    if len(groups) > 6:
        axes.tick_params(axis="x", rotation=35)


def _bars(axes: Any, shares: Shares, groups: list[Group], codebook: Codebook, line: str, narrow: bool) -> None:
    places = list(range(len(groups)))
    left = [0.0] * len(groups)
    for number, name in enumerate(shares.labels):
        values = [100 * group.counts[number] / group.sentences for group in groups]
        axes.barh(places, values, left=left, height=0.68, color=codebook.colour(name), label=codebook.title(name))
        left = [done + value for done, value in zip(left, values, strict=True)]
    axes.set_yticks(places)
    axes.set_yticklabels(
        [f"{_short(group.name or 'all sentences', 16 if narrow else 32)}  ({group.sentences:,})" for group in groups]
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of sentences")
    axes.grid(axis="x", color=line, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
