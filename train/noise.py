"""The same sentences as feeds and scans bring them: augmentation in training, so that no label hangs on spelling."""

import random
from collections.abc import Callable, Sequence

_LEFTOVERS = ("&nbsp;", "<br/>", "<p>", "&quot;", "\u200b", "[1]", "Read more", "(photo)", "&amp;")
_QUOTES = (("“", "”"), ("«", "»"), ("'", "'"), ("", ""))
_FEWEST = 5  # letters of a word that a typing error leaves readable


def _typing_error(text: str, chance: random.Random) -> str:
    """Two letters swapped, one doubled or one dropped inside a word."""
    words = text.split(" ")
    places = [place for place, word in enumerate(words) if len(word) >= _FEWEST and word.isalpha()]
    if not places:
        return text
    place = chance.choice(places)
    word = words[place]
    at = chance.randrange(1, len(word) - 2)
    words[place] = chance.choice(
        (word[:at] + word[at + 1] + word[at] + word[at + 2 :], word[: at + 1] + word[at:], word[:at] + word[at + 1 :])
    )
    return " ".join(words)


def _punctuation(text: str, chance: random.Random) -> str:
    return chance.choice((text.rstrip(". "), text.replace(", ", ",  "), text.replace(", ", " - "), text + " …"))


def _quotes(text: str, chance: random.Random) -> str:
    """Another kind of quotation marks, or none."""
    opening, closing = chance.choice(_QUOTES)
    parts = text.split('"')
    if len(parts) % 2 == 0 or len(parts) == 1:
        return text
    return "".join(part + (opening, closing)[place % 2] for place, part in enumerate(parts[:-1])) + parts[-1]


def _case(text: str, chance: random.Random) -> str:
    return chance.choice((text.upper(), text.lower()))


def _leftover(text: str, chance: random.Random) -> str:
    left = chance.choice(_LEFTOVERS)
    return chance.choice((f"{left}{text}", f"{text} {left}", text.replace(" ", f" {left}", 1)))


_KINDS: tuple[Callable[[str, random.Random], str], ...] = (_typing_error, _punctuation, _quotes, _case, _leftover)


def noisy_copies(texts: Sequence[str], share: float, seed: int) -> list[tuple[int, str]]:
    """Copies of some sentences with typing errors, other punctuation, quotes or case, or leftovers of HTML.

    Args:
        texts: the training sentences.
        share: how many of them get a copy (1 gives every one of them one copy).
        seed: of the drawing.

    Returns:
        Place of the original, and the copy's text.
    """
    if not share:
        return []
    chance = random.Random(seed)  # noqa: S311 - no secret
    copies = []
    for place, text in enumerate(texts):
        if chance.random() < share:
            noisy = text
            for kind in chance.sample(_KINDS, chance.choice((1, 2))):
                noisy = kind(noisy, chance)
            if noisy != text:
                copies.append((place, noisy))
    return copies
