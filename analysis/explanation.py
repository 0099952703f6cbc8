"""Show which words moved the model: shaded in the sentence, and the strongest in a table."""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ..data.codebook import Codebook
from ..model.explain import TOLERANCE, Explanation, Word

CAVEAT = "This is what moved the model, not why the label is right."
# A purple and an ochre that are told apart with any kind of colour vision, on light and on dark ground, and
# that are no label's colour in the bundled codebook.
FOR, AGAINST = "#9467bd", "#b07d00"
_NEUTRAL = "#8a8f98"
# In log-odds. Where no word moved the model by as much, the largest shall not look strong.
_LEAST_SCALE = 1.0
_SHOWN = 8
_BAR = 20


def strengths(explanation: Explanation) -> list[float]:
    """Each word's attribution relative to the largest, from -1 (against) to 1 (for)."""
    largest = max((abs(word.attribution) for word in explanation.words), default=0.0)
    return [word.attribution / max(largest, _LEAST_SCALE) for word in explanation.words]


def pieces(explanation: Explanation) -> Iterator[tuple[str, float]]:
    """The whole text in pieces with their strengths; 0 for what stands between words or was cut."""
    done = 0
    for word, strength in zip(explanation.words, strengths(explanation), strict=True):
        if word.start > done:
            yield explanation.text[done : word.start], 0.0
        yield word.text, strength
        done = word.end
    if done < len(explanation.text):
        yield explanation.text[done:], 0.0


def strongest(explanation: Explanation, count: int = _SHOWN) -> list[Word]:
    """The words of the largest attributions of either sign, largest first."""
    return sorted(explanation.words, key=lambda word: -abs(word.attribution))[:count]


def shaded(explanation: Explanation) -> Text:
    """The text, words coloured by how far they moved the model; strong ones bold, those against underlined."""
    return Text.assemble(*((piece, _style(strength)) for piece, strength in pieces(explanation)))


def _style(strength: float) -> Style:
    hue, size = FOR if strength > 0 else AGAINST, abs(strength)
    channels = (
        round(int(_NEUTRAL[place : place + 2], 16) * (1 - size) + int(hue[place : place + 2], 16) * size)
        for place in (1, 3, 5)
    )
    colour = "#" + "".join(f"{channel:02x}" for channel in channels)
    return Style(color=colour, bold=size >= 0.5, underline=strength <= -0.25)


def to_terminal(explanation: Explanation, codebook: Codebook) -> RenderableType:
    """The shaded sentence, the strongest words and how far the attributions can be trusted, for rich."""
    title = codebook.title(explanation.label)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    relative = dict(zip(explanation.words, strengths(explanation), strict=True))
    for word in strongest(explanation):
        style = _style(relative[word])
        bar = "█" * max(1, round(abs(relative[word]) * _BAR))
        side = "for" if word.attribution > 0 else "against"
        table.add_row(Text(word.text, style), f"{word.attribution:+.2f}", Text(side, style), Text(bar, style))
    legend = Text.assemble(("moved it towards this label", _style(1.0)), "   ", ("away from it", _style(-1.0)))
    return Group(
        Text.assemble((title, Style(bold=True)), f"  {explanation.score:.0%}", " [cut]" * explanation.truncated),
        Padding(shaded(explanation), (1, 0)),
        table,
        Padding(legend, (1, 0, 0, 0)),
        Text(completeness(explanation)),
        Text(CAVEAT),
    )


def completeness(explanation: Explanation) -> str:
    """What the attributions sum to, what of it is on no word, and what they miss."""
    share = explanation.gap / abs(explanation.difference) if explanation.difference else 0.0
    text = (
        f"All words together move the label's log-odds by {explanation.difference:+.2f} (from the same sentence with "
        f"blanks for its words), of which special tokens have {explanation.special:+.2f}; the attributions miss "
        f"{explanation.gap:.3f} of it ({share:.1%}, {explanation.steps} steps)."
    )
    if not explanation.complete:
        text += f" WARNING: that is more than {TOLERANCE:.0%}, so the attributions are rough."
    return text


def print_explanation(explanation: Explanation, codebook: Codebook, console: Console) -> None:
    console.print(to_terminal(explanation, codebook))
