"""Other countries in the same sentences: augmentation while training, so that no label sticks to a place."""

import random
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import yaml

PLACES_FILE = "places.yaml"


@cache
def _places() -> list[list[str]]:
    """Country, adjective and capital of each country."""
    text = files("conflict_framing.data").joinpath(PLACES_FILE).read_text("utf-8")
    return [[country, *others] for country, others in yaml.safe_load(text).items()]


@cache
def _pattern() -> re.Pattern[str]:
    # Longest first, so that "South Sudan" is not read as "Sudan".
    names = sorted((name for place in _places() for name in place), key=len, reverse=True)
    # With a plural: "Iraqis" is a name of Iraq too.
    return re.compile(rf"\b({'|'.join(map(re.escape, names))})(?=s?\b)")


def swap_places(text: str, chance: random.Random) -> str | None:
    """The text with every country in it replaced by another, name by name of the same kind; None without any.

    A list of half the world's countries is left alone too.

    The same country becomes the same other one throughout; two countries become two.
    """
    places = _places()
    where = {name: (number, kind) for number, place in enumerate(places) for kind, name in enumerate(place)}
    found = {where[name][0] for name in _pattern().findall(text)}
    if not found or len(found) > len(places) // 2:
        return None
    others = chance.sample([number for number in range(len(places)) if number not in found], len(found))
    new = dict(zip(sorted(found), others, strict=True))

    def replace(match: re.Match[str]) -> str:
        number, kind = where[match.group()]
        return places[new[number]][kind]

    return _pattern().sub(replace, text)


def swapped_copies(texts: Sequence[str], share: float, seed: int) -> list[tuple[int, str]]:
    """Copies of some sentences with other countries in them.

    Args:
        texts: the training sentences.
        share: of those that name a country: how many get a copy (1 gives every one of them one copy).
        seed: of the drawing.

    Returns:
        Place of the original, and the copy's text.
    """
    if not share:
        return []
    chance = random.Random(seed)  # noqa: S311 - no secret
    copies = []
    for place, text in enumerate(texts):
        swapped = swap_places(text, chance)
        if swapped is not None and chance.random() < share:
            copies.append((place, swapped))
    return copies
