"""Pictures of shares: over time, side by side, and claims against reports; as files and as parts of a page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ..data.codebook import Codebook
from ..data.drawing import GREY, GRID, INK, figure_of, svg_of
from .claims import CLAIM, REPORT, Claims, Figure
from .shares import GroupShares, Shares, group_name
from .table import NOT_GIVEN

MOST_PANELS = 12
_MOST_LINES = 8
_MOST_ROWS = 40
_MARKERS = "osD^vPXh"
_TICKS = 6
_BAND = 0.18
_FAINT = 0.45
_LONGEST = 28


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    title: str
    colour: str
    marker: str


@dataclass(frozen=True)
class Panel:
    """A part of a picture that can stand alone; ``draw`` puts it on axes."""

    title: str
    label: str
    draw: Callable[[Any], None]


@dataclass(frozen=True)
class Picture:
    """Panels with one legend.

    Attributes:
        name: of the files, without suffix.
        title: above it.
        caption: what the marks mean, and what was left out.
        keys: the legend.
        panels: each ``size`` inches large, ``left`` of them for what stands left of the axes.
    """

    name: str
    title: str
    caption: str
    keys: list[Key]
    panels: list[Panel]
    size: tuple[float, float]
    left: float = 0.6

    def write(self, folder: Path) -> list[Path]:
        """``<name>.png`` and ``<name>.svg``: all panels in one figure."""
        from matplotlib.lines import Line2D

        columns = min(3, len(self.panels))
        foot = _FOOT + _LINE * -(-len(self.keys) // columns)
        # Without titles of panels, their room would be a blank band below the picture's own.
        title = _TITLE if any(panel.title for panel in self.panels) else _GAP
        tall = self.size[1] - _TITLE + title
        width, height = self.size[0] * columns, tall * -(-len(self.panels) // columns) + _HEAD + foot
        paths = [folder / f"{self.name}.{suffix}" for suffix in ("png", "svg")]
        with figure_of(width, height, layout=None) as figure:
            figure.text(0.12 / width, 1 - 0.12 / height, self.title, va="top", fontsize=13)
            for number, panel in enumerate(self.panels):
                axes = self._place(figure, number % columns, _HEAD + (number // columns) * tall + title)
                panel.draw(axes)
                axes.set_title(_short(panel.title))
            if self.keys:
                handles = [
                    Line2D([], [], color=key.colour, marker=key.marker, label=_short(key.title, 48))
                    for key in self.keys
                ]
                figure.legend(handles=handles, loc="lower left", ncols=min(columns, len(handles)))
            for path in paths:
                figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
        return paths

    def to_svg(self) -> list[tuple[str, Markup]]:
        """Title and SVG of each panel, in the colours of the page that it stands in (``currentcolor``, ``--line``)."""
        return [(panel.title, self.panel_svg(number)) for number, panel in enumerate(self.panels)]

    @property
    def panel_points(self) -> tuple[int, int]:
        """Width and height of ``panel_svg``, in points (72 an inch), rounded."""
        return round(72 * self.size[0]), round(72 * (self.size[1] - _TITLE + _GAP))

    def panel_svg(self, number: int, ink: str = "currentcolor", line: str = "var(--line)") -> Markup:
        """One panel without its title, with letters and grid in these colours."""
        panel = self.panels[number]
        with figure_of(self.size[0], self.size[1] - _TITLE + _GAP, layout=None) as figure:
            figure.patch.set_visible(False)
            axes = self._place(figure, 0, _GAP)
            axes.patch.set_visible(False)
            panel.draw(axes)
            drawn = svg_of(figure, f"{self.name}-{number}", panel.label)
        return Markup(drawn.replace(INK, ink).replace(GRID, line))  # noqa: S704

    def _place(self, figure: Any, column: int, top: float) -> Any:
        """Axes in a column of panels, ``top`` inches below the figure's upper end."""
        width, height = figure.get_size_inches()
        own = (self.size[0] - self.left - _RIGHT, self.size[1] - _TITLE - _BELOW)
        x, y = column * self.size[0] + self.left, height - top - own[1]
        return figure.add_axes((x / width, y / height, own[0] / width, own[1] / height))


# Inches: around the axes of a panel, above and below all panels.
_RIGHT, _TITLE, _BELOW, _GAP = 0.15, 0.4, 0.35, 0.1
_HEAD, _FOOT, _LINE = 0.4, 0.1, 0.24


def _short(text: str, most: int = _LONGEST) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shown_labels(shares: Shares) -> list[int]:
    """The labels that are drawn: all but ``none``, the most frequent of many."""
    sizes = np.array([group.sentences for group in shares.groups], float)
    means = sum(
        (size * (group.naive if group.shares is None else group.shares))
        for size, group in zip(sizes, shares.groups, strict=True)
    )
    framings = [place for place, name in enumerate(shares.labels) if name != "none"]
    return sorted(sorted(framings, key=lambda place: -np.asarray(means)[place])[:_MOST_LINES])


def _keys(shares: Shares, codebook: Codebook) -> dict[int, Key]:
    places = shown_labels(shares)
    return {
        place: Key(codebook.title(shares.labels[place]), codebook.colour(shares.labels[place]), marker)
        for place, marker in zip(places, _MARKERS, strict=False)
    }


def over_time(shares: Shares, time: str, codebook: Codebook) -> Picture | None:
    """Lines with bands, a panel for each group; None with fewer than two periods.

    Args:
        shares: grouped by a time column and perhaps others.
        time: the name of the time column.
        codebook: of titles and colours.
    """
    place = shares.by.index(time)
    dated = [group for group in shares.groups if group.key[place]]
    periods = all_periods(time, [group.key[place] for group in dated])
    if len(periods) < 2:
        return None
    keys = _keys(shares, codebook)
    by_panel: dict[tuple[str, ...], list[GroupShares]] = {}
    for group in dated:
        by_panel.setdefault(group.key[:place] + group.key[place + 1 :], []).append(group)
    chosen = sorted(by_panel, key=lambda key: -sum(group.sentences for group in by_panel[key]))[:MOST_PANELS]
    top = _top([Figure.of(group, label) for panel in chosen for group in by_panel[panel] for label in keys])

    def panel_of(key: tuple[str, ...]) -> Panel:
        groups = {group.key[place]: group for group in by_panel[key]}

        def draw(axes: Any) -> None:
            for label, own in keys.items():
                _draw_line(axes, [Figure.of(groups.get(period), label) for period in periods], own)
            _time_axis(axes, periods, top)

        title = group_name(key) if key else ""
        return Panel(title, f"Shares over time{': ' if title else ''}{title}, {periods[0]} to {periods[-1]}.", draw)

    left_out = len(by_panel) - len(chosen)
    caption = "Bands are 95 % intervals; hollow marks have too few documents for one." + (
        f" The {len(chosen)} largest of {len(by_panel)} groups; the others are in shares.csv." if left_out else ""
    )
    panels = [panel_of(key) for key in sorted(chosen, key=lambda key: [(part == "", part) for part in key])]
    return Picture("shares_over_time", "Shares over time", caption, list(keys.values()), panels, _SIZE)


_SIZE = (4.4, 3.0)


def _draw_line(axes: Any, figures: Sequence[Figure], key: Key) -> None:
    """One series; it breaks where there is no figure, and is faint where there is no interval."""
    x = np.arange(len(figures))
    y = np.array([np.nan if figure.share is None else figure.share for figure in figures])
    ends = np.array([figure.interval or (np.nan, np.nan) for figure in figures])
    sure = ~np.isnan(ends[:, 0])
    axes.fill_between(x, ends[:, 0], ends[:, 1], color=key.colour, alpha=_BAND, linewidth=0)
    axes.plot(x, y, color=key.colour, linewidth=0.8, alpha=_FAINT)
    axes.plot(x, np.where(sure, y, np.nan), color=key.colour, linewidth=1.8, marker=key.marker, markersize=5)
    # A band has no width where a period stands alone.
    alone = sure & ~np.append(False, sure[:-1]) & ~np.append(sure[1:], False)
    axes.vlines(x[alone], ends[alone, 0], ends[alone, 1], color=key.colour, linewidth=1.4)
    hollow: dict[str, Any] = {"linestyle": "none", "fillstyle": "none", "alpha": 0.7}
    axes.plot(x[~sure], y[~sure], color=key.colour, marker=key.marker, markersize=4.5, **hollow)


def _time_axis(axes: Any, periods: Sequence[str], top: float) -> None:
    places = list(range(len(periods)))
    names = list(periods)
    if len(periods) > _TICKS:
        years = [place for place in places if periods[place].endswith(("-Q1", "-01", "-W01"))]
        if len(years) > 2:
            places, names = years, [periods[place][:4] for place in years]
        step = -(-len(places) // _TICKS)
        places, names = places[::step], names[::step]
    axes.set_xticks(places, names, fontsize=8.5)
    axes.set_xlim(-0.4, len(periods) - 0.6)
    _share_axis(axes.yaxis, axes.set_ylim, top)


def _share_axis(axis: Any, limit: Callable[[float, float], Any], top: float) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], min_n_ticks=3))
    axis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    limit(-0.03 * top, top)


def _top(figures: Sequence[Figure]) -> float:
    """Where an axis ends: above all intervals, and above all marks where there is no interval."""
    ends = [figure.interval[1] if figure.interval else figure.share or 0 for figure in figures]
    return min(1.04, max([0.1, *ends]) * 1.06)


def side_by_side(shares: Shares, codebook: Codebook) -> Picture | None:
    """Groups with intervals, a panel for each label, in one order; None with one group."""
    told = [group for group in shares.groups if group.shares is not None]
    if len(told) < 2:
        return None
    kept = sorted(told, key=lambda group: -group.sentences)[:_MOST_ROWS]
    keys = _keys(shares, codebook)
    first = min(keys)
    # From below; one order, so that a group is found at the same height in every panel.
    kept.sort(key=lambda group: (Figure.of(group, first).share or 0, group.name))

    def panel_of(label: int, key: Key) -> Panel:
        figures = [(group, Figure.of(group, label)) for group in kept]
        top = _top([figure for _, figure in figures])

        def draw(axes: Any) -> None:
            for y, (group, figure) in enumerate(figures):
                sure = figure.interval is not None
                if figure.interval:
                    axes.hlines(y, *figure.interval, color=key.colour, linewidth=1.8)
                axes.plot(
                    figure.share, y, color=key.colour, marker=key.marker, markersize=6,
                    fillstyle="full" if sure else "none",
                )  # fmt: skip
                axes.plot(group.naive[label], y, color=GREY, marker="|", markersize=9, markeredgewidth=1.6)
            axes.set_yticks(range(len(figures)), [_short(group.name) for group, _ in figures], fontsize=9)
            axes.set_ylim(-0.7, len(figures) - 0.3)
            axes.grid(axis="y", visible=False)
            _share_axis(axes.xaxis, axes.set_xlim, top)

        return Panel(key.title, f"{key.title}: shares of {len(figures)} groups with 95 % intervals.", draw)

    caption = (
        "Marks are the estimates with 95 % intervals; hollow marks have too few documents for one. Grey strokes are "
        f"the shares of predicted labels, as counted. Groups are in the order of their {keys[first].title}s."
    )
    if len(kept) < len(told):
        caption += f" The {len(kept)} largest of {len(told)} groups; the others are in shares.csv."
    panels = [panel_of(label, key) for label, key in keys.items()]
    left = 0.25 + 0.085 * max(len(_short(group.name)) for group in kept)
    return Picture("side_by_side", "Side by side", caption, [], panels, (3.4 + left, 0.27 * len(kept) + 0.9), left)


def claims_picture(claims: Claims, codebook: Codebook) -> Picture | None:
    """Two lines, a panel for each place; None where there is nothing to show."""
    if not claims.moments:
        return None
    whose = (" by officials", " by others") if claims.by_whom else ("", "")
    keys = [
        Key(f"{codebook.title(name)}s{who}", codebook.colour(name), marker)
        for name, who, marker in ((CLAIM, whose[0], "o"), (REPORT, whose[1], "s"))
    ]
    periods = all_periods(claims.period, [moment.period for moment in claims.moments])
    places = claims.places[:MOST_PANELS]
    told = [moment for place in places for moment in claims.of_place(place)]
    tops = [_top([moment.claims for moment in told]), _top([moment.reports for moment in told])]

    def panel_of(place: str) -> Panel:
        moments = {moment.period: moment for moment in claims.of_place(place)}
        nothing = Figure(0, 0, None, None, "")

        def draw(axes: Any) -> None:
            lines = [
                [moments[period].claims if period in moments else nothing for period in periods],
                [moments[period].reports if period in moments else nothing for period in periods],
            ]
            # One above the other, each on its own scale: claims of calm are far fewer than reports.
            axes.set_axis_off()
            for figures, key, top, floor in zip(lines, keys, tops, (0.55, 0.0), strict=True):
                part = axes.inset_axes((0, floor, 1, 0.45))
                part.patch.set_visible(False)
                _draw_line(part, figures, key)
                _time_axis(part, periods, top)
                if floor:
                    part.tick_params(labelbottom=False)

        return Panel(place, f"{keys[0].title} beside {keys[1].title}{': ' if place else ''}{place}.", draw)

    caption = (
        "Above, of officials' sentences the share that claims stability; below, of everybody else's the share that "
        "reports violence or worsening. The two scales differ."
        if claims.by_whom
        else "The files do not tell who said what (no column source_type), so both are shares of all sentences. "
        "The two scales differ."
    ) + " Bands are 95 % intervals; hollow marks have too few documents for one."
    if len(claims.places) > len(places):
        caption += f" The {len(places)} places with most sentences of {len(claims.places)}."
    title = "Claims of calm against reports of violence"
    return Picture("claims_against_reports", title, caption, keys, [panel_of(place) for place in places], (4.4, 3.6))


def all_periods(time: str, found: Sequence[str]) -> list[str]:
    """The periods from the first to the last, those in between that have no text too."""
    named = sorted(set(found) - {"", NOT_GIVEN})
    if not named:
        return []
    steps = {"year": 1, "quarter": 4, "month": 12, "week": 53}[time]
    try:
        numbers = [_number(time, name, steps) for name in (named[0], named[-1])]
    except ValueError:  # a column of the user's own
        return named
    between = [_period(time, number, steps) for number in range(numbers[0], numbers[1] + 1)]
    # Most years have no 53rd week.
    return [name for name in between if not name.endswith("W53") or name in named]


def _number(time: str, name: str, steps: int) -> int:
    if time == "year":
        return int(name)
    year, part = name.split("-")
    return int(year) * steps + int(part.lstrip("QW")) - 1


def _period(time: str, number: int, steps: int) -> str:
    year, part = divmod(number, steps)
    return {
        "year": f"{number:04}",
        "quarter": f"{year:04}-Q{part + 1}",
        "month": f"{year:04}-{part + 1:02}",
        "week": f"{year:04}-W{part + 1:02}",
    }[time]
