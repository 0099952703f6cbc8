"""What kind of source a name or a noun is, from the words of ``lexicon.yaml``."""

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Literal, cast, get_args

import yaml

SourceType = Literal[
    "government_or_military", "armed_group", "international_organisation", "ngo", "media", "civilian", "unknown"
]
SOURCE_TYPES: tuple[SourceType, ...] = get_args(SourceType)

# What stands behind these is about the head, not the head.
_BREAK = re.compile(r"\s*,\s*|\s+(?:of|for|at|in|with|from|who|whom|which|that|by|near|on|to|and)\s+")
# "Hamas-run", "rebel-held": who runs it is not what it is.
_RUN_BY = re.compile(
    r"\S+-(?:run|led|backed|controlled|aligned|linked|held|based|allied|affiliated|occupied|appointed)\b"
)


_SHORT = re.compile(r"\b([A-Z][a-z]+)\.|\b(Gen|Col|Lt|Maj|Capt|Sgt|Cpl|Brig|Pol|Dr|Gov|Sen)\b")


def _spelled_out(match: re.Match[str]) -> str:
    short = (match.group(1) or match.group(2)).lower()
    return str(lexicon()["titles"].get(short, match.group()))


@functools.cache
def lexicon() -> Mapping[str, Any]:
    """The parts of ``lexicon.yaml``."""
    text = files("conflict_framing.analysis").joinpath("lexicon.yaml").read_text("utf-8")
    return cast(Mapping[str, Any], yaml.safe_load(text))


@functools.cache
def _words(kind: str) -> frozenset[str]:
    return frozenset(lexicon()[kind])


@functools.cache
def _patterns() -> tuple[re.Pattern[str], dict[str, SourceType]]:
    types: dict[str, SourceType] = {}
    for type_, words in lexicon()["types"].items():
        for word in words:
            types.setdefault(word, type_)
    # Capitals in the list (WHO, IS) are meant; the longest goes first.
    ordered = sorted(types, key=len, reverse=True)
    parts = [re.escape(word) if word.isupper() else f"(?i:{re.escape(word)})" for word in ordered]
    return re.compile(rf"(?<![\w-])(?:{'|'.join(parts)})(?:(?i:s|es|’s|'s))?(?![\w])"), types


def _lookup(match: str) -> SourceType:
    _, types = _patterns()
    for form in (match, match.lower()):
        for end in ("", "'s", "’s", "es", "s"):
            if form.endswith(end) and (found := types.get(form[: len(form) - len(end)])):
                return found
    return "unknown"


def _hits(text: str) -> list[tuple[int, int, SourceType]]:
    return [(*match.span(), _lookup(match.group())) for match in _patterns()[0].finditer(text)]


def _is_weak(word: str) -> bool:
    return word.lower() in _words("weak") or word.lower().removesuffix("s") in _words("weak")


def source_type(descriptions: Iterable[str], countries: Sequence[bool] = ()) -> SourceType:
    """The type that noun phrases tell, the first that tells one.

    In a phrase the head counts first ("rebel commander", "army spokesman"), then what it belongs to
    ("a spokesman for the rebels"). Words such as "official" count only where no other does.

    Args:
        descriptions: e.g. a name with its title, then its apposition.
        countries: for each description, whether it names a country or its people; a spokesman, envoy or
            government of one speaks for the state.
    """
    weak: SourceType | None = None
    for place, description in enumerate(descriptions):
        text = _RUN_BY.sub(" ", _SHORT.sub(_spelled_out, description))
        hits = _hits(text)
        # "of" and the like inside a name ("Ministry of Defence") part nothing.
        end = next(
            (b.start() for b in _BREAK.finditer(text) if not any(f <= b.start() < t for f, t, _ in hits)), len(text)
        )
        head = [hit for hit in hits if hit[0] < end]
        for start, stop, type_ in (*reversed(head), *hits[len(head) :]):
            if not _is_weak(text[start:stop]):
                return type_
            weak = weak or type_
        if weak is None and place < len(countries) and countries[place]:
            weak = "government_or_military"
    return weak or "unknown"


def is_known_word(text: str) -> bool:
    """Whether the lexicon knows any word of a text as a kind of source."""
    return bool(_hits(text))
