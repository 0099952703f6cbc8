"""How pictures look: one style, and figures as SVG that stands inside an HTML page."""

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup, escape

from .errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Told apart with any kind of colour vision (Okabe & Ito 2008), as in the codebook.
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#8a8f98"
GRID = "#e2dfd7"
INK = "#23262b"
_LOCK = threading.RLock()  # matplotlib's settings are the process's, and several threads may draw
_STYLE = {
    "svg.fonttype": "none",  # letters stay letters: searchable, small, read aloud
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,  # a label called $a$ is no formula
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


@contextmanager
def figure_of(
    width: float, height: float, *, layout: Literal["constrained"] | None = "constrained"
) -> Iterator["Figure"]:
    """A figure of so many inches; it is drawn and saved inside the block, where our style holds.

    ``layout`` None leaves it to the caller to place axes, which is much faster where there are many.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "analysis", "Drawing pictures") from None

    with _LOCK, rc_context(_STYLE), warnings.catch_warnings():
        # The page's fonts have more letters than the one that matplotlib measures with.
        warnings.filterwarnings("ignore", message="Glyph")
        yield Figure(figsize=(width, height), layout=layout)


def svg_of(figure: "Figure", name: str, label: str) -> Markup:
    """A figure as an SVG element for an HTML page; the same figure gives the same bytes."""
    from matplotlib import rc_context

    stream = StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    # Several pictures stand on one page, and matplotlib calls the parts of each the same.
    text = re.sub("<[^>]*>", lambda tag: re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", tag.group()), text)
    text = text.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
    return Markup(text)  # noqa: S704 - matplotlib escapes texts
