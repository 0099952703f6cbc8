"""Other countries and parties in the same sentences: augmentation in training, so that no label sticks to a name."""

import random
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import yaml

PLACES_FILE = "places.yaml"
PARTIES_FILE = "parties.yaml"


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


@cache
def _parties() -> dict[str, list[str]]:
    """Of each name, in lower case, those that can stand for it."""
    text = files("conflict_framing.data").joinpath(PARTIES_FILE).read_text("utf-8")
    return {name.lower(): names for names in yaml.safe_load(text).values() for name in names}


@cache
def _party_pattern() -> re.Pattern[str]:
    # Longest first, so that "government troops" is not read as "troops".
    names = sorted(_parties(), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, names))})(?![\w-]|['’])", re.IGNORECASE)


def swap_parties(text: str, chance: random.Random) -> str | None:
    """The text with the parties in it replaced by others that fit the grammar; None without any.

    The same party becomes the same other one throughout, and two parties never become one.
    """
    found = list(dict.fromkeys(name.lower() for name in _party_pattern().findall(text)))
    if not found:
        return None
    new: dict[str, str] = {}
    for name in found:
        others = [other for other in _parties()[name] if other.lower() not in found and other not in new.values()]
        if not others:  # a list of nearly all of them is left alone
            return None
        new[name] = chance.choice(others)

    def replace(match: re.Match[str]) -> str:
        other = new[match.group().lower()]
        # A sentence, or a heading in capitals, keeps its case.
        if match.group().isupper():
            return other.upper()
        return other[0].upper() + other[1:] if match.group()[0].isupper() else other

    return _party_pattern().sub(replace, text)


def _swap(text: str, chance: random.Random) -> str | None:
    elsewhere = swap_places(text, chance)
    return swap_parties(elsewhere or text, chance) or elsewhere


def swapped_copies(texts: Sequence[str], share: float, seed: int) -> list[tuple[int, str]]:
    """Copies of some sentences with other countries and other parties in them.

    Args:
        texts: the training sentences.
        share: of those that name a country or a party: how many get a copy (1 gives every one of them one copy).
        seed: of the drawing.

    Returns:
        Place of the original, and the copy's text.
    """
    if not share:
        return []
    chance = random.Random(seed)  # noqa: S311 - no secret
    copies = []
    for place, text in enumerate(texts):
        swapped = _swap(text, chance)
        if swapped is not None and chance.random() < share:
            copies.append((place, swapped))
    return copies
