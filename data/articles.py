"""An article as sentences with their places in the text.

A headline, the headings inside, the dateline ("KYIV, May 3 (Agency) —") and the byline ("By Anna Rossi") are told
from the sentences that make the article. Dateline and byline are cut off: they are not part of the sentences that are
judged, and no speakers.
"""

import datetime
import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import Any, Literal

import yaml

from .errors import UnreadableError
from .sentences import Span, is_byline, split_sentences

Kind = Literal["headline", "heading", "body"]

_LONGEST_HEADLINE = 160
_LONGEST_HEADING = 110


@dataclass(frozen=True, slots=True)
class ArticleSentence:
    """A sentence and its place: ``article.text[start:end]``, offsets in characters, from 0.

    Attributes:
        text: without the dateline, white space folded.
        cut: characters of dateline that stand before ``text`` in the row that the sentence came as (tables with a
            sentence a row); 0 elsewhere.
        row: the other columns of that row.
    """

    text: str
    start: int
    end: int
    paragraph: int
    kind: Kind = "body"
    cut: int = 0
    row: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Article:
    """A text with its sentences in order, and what is known of it (None where nothing is).

    Attributes:
        document: names the article among others.
        outlet: as given, or the agency in the brackets of the dateline.
        date: as given; from a dateline or byline as ``YYYY-MM-DD``, and only where the year is known.
        place: as given, or as the dateline has it.
        dateline: as it stands in the text; where that is nothing else, it is the only sentence too.
        byline: as it stands in the text.
        lacks_year: whether there is no date because the dateline tells a day and no year.
        extras: other columns of the row that the article came as.
    """

    text: str
    sentences: Sequence[ArticleSentence]
    document: str = ""
    outlet: str | None = None
    date: str | None = None
    place: str | None = None
    headline: str | None = None
    dateline: str | None = None
    lacks_year: bool = False
    extras: Mapping[str, Any] = field(default_factory=dict)
    byline: str | None = None

    @property
    def cut_off(self) -> str:
        """Byline and dateline, which are no sentences; empty where there are none."""
        return " ".join(part for part in (self.byline, self.dateline) if part)

    @property
    def lacks_date(self) -> bool:
        """Whether nothing tells when, not even a day without its year."""
        return not self.date and not self.lacks_year

    @property
    def by_rows(self) -> bool:
        """Whether it came as a table with a sentence a row."""
        return any(sentence.row is not None for sentence in self.sentences)


OUTLET_OF_TABLES = "--outlet is for articles in files of their own; a table tells it in a column (outlet)."


def years_missing(without: int, articles: int) -> str:
    """What to say of articles whose dateline has a day and no year; empty where there are none."""
    if not without:
        return ""
    have = "has a dateline" if without == 1 else "have datelines"
    return (
        f"{without:,} of {articles:,} articles {have} without a year, and so no date. If all are of one year, give it: "
        f"--year YYYY"
    )


def dates_missing(without: int, articles: int) -> str:
    """What to say of articles without any date, not even a day without its year; empty where there are none."""
    if not without:
        return ""
    have = "has" if without == 1 else "have"
    return (
        f"{without:,} of {articles:,} articles {have} no date, which 'shares' needs to group by month or year. A "
        f"dateline with a year tells it (KYIV, May 3, 2024 (Agency) —), or the column date of a table for 'sources'."
    )


# --- datelines -----------------------------------------------------------------------------------

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)[a-z]*\.?"
_DAY = (
    r"(?:(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?\.?,?\s+)?"
    rf"(?:\d{{1,2}}(?:st|nd|rd|th)?\s+{_MONTH}|{_MONTH}\s+\d{{1,2}})(?:,?\s+\d{{4}})?|\d{{4}}-\d\d-\d\d|\d{{1,2}}[./]\d{{1,2}}[./]\d{{4}}"
)
_NAME = r"[A-ZÀ-Þ][\w'’\-]*\.?(?:[ /][A-ZÀ-Þa-z][\w'’\-]*\.?){0,3}"
_DATELINE = re.compile(
    rf"^(?P<open>\()?(?P<place>{_NAME})(?P<close>\))?"
    rf"(?P<rest>(?:[,.]?\s*/?(?:(?P<day>{_DAY})|(?P<agency>\([^()]{{2,40}}\))|{_NAME})/?){{0,4}}?)"
    r"\.?\s*(?P<mark>[—–]|--|(?<=\s)-|(?<=[A-Z)\]])-(?=\s)|:|$)\s*"
)
# Some collections put day and headline in front of the text.
_STAMP = re.compile(rf"^(?:{_DAY})(?:,?\s+\d{{4}})?[.,:]?\s+(?=[A-Z\"“'‘(])")
_YEAR = re.compile(r"\b\d{4}\b")
_REMARK = re.compile(r"(?i)updat|correct|recast|repeat|adds\b|refil")
_PARTICLE = 3  # letters of "the", "of", "and" in a name, at most
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class Dateline:
    """``text`` is what is cut; the others are what it tells, ``lacks_year`` that it has a day without a year."""

    text: str
    place: str | None
    date: str | None
    outlet: str | None = None
    lacks_year: bool = False


def find_dateline(text: str, alone: bool = False, year: int | None = None) -> Dateline | None:
    """The dateline at the beginning of an article's first sentence.

    Args:
        text: the sentence.
        alone: the whole text may be a dateline ("TRIPOLI, July 9").
        year: of days without one.
    """
    match = _DATELINE.match(text)
    if match is None:
        return None
    place, mark = match["place"], match["mark"]
    sure = bool(match["day"] or match["agency"] or (match["open"] and match["close"]))
    capitals = place.isupper() and len(place) > 2
    if (match["open"] is None) != (match["close"] is None):
        return None
    if mark == "":  # the line is nothing else
        good = alone and sure and (capitals or bool(match["day"])) and not match["open"]
    elif mark == ":":
        # "ELÍAS: …" is a speaker, "SRINAGAR: …" a place. In small letters it takes more: "Anna Rossi (Herald): …".
        told = (capitals, match["day"], match["agency"], match["open"], place.casefold() in _places())
        good = sum(map(bool, told)) >= 2
    elif mark in ("—", "–"):
        # "Moscow, Russia – Russia announced", but not "The mayor – who had fled – returned".
        names = re.findall(r"[^\W\d]\S*", match.group())
        plain = len(names) <= 4 and names[0] not in ("The", "A", "An") and all(name[0].isupper() for name in names)
        good = sure or capitals or (plain and not text[match.end() : match.end() + 1].islower())
    else:
        good = sure or capitals
    if not good or (mark and match.end() == len(text) and not alone):
        return None
    day, lacks_year = match["day"], False
    if day and not _YEAR.search(day):
        lacks_year = year is None
        day = None if year is None else f"{day} {year}"
    return Dateline(match.group(), _place_name(place), _iso(day), _outlet(match["agency"]), lacks_year)


def _place_name(place: str) -> str:
    name = re.sub(r"\.$", "", place.strip())
    return name.title() if name.isupper() else name


def _outlet(agency: str | None) -> str | None:
    """The name in brackets; None where they hold another remark ("updates with quotes", "Corrected")."""
    name = " ".join((agency or "").strip("()").split())
    words = name.split()
    if not name or _REMARK.match(name) or not all(word[0].isupper() for word in words if len(word) > _PARTICLE):
        return None
    return name if any(word[0].isupper() for word in words) else None


def _iso(day: str | None) -> str | None:
    """A day with its year as ``YYYY-MM-DD``."""
    if day is None or not (year := _YEAR.search(day)):
        return None
    if re.fullmatch(r"\d{4}-\d\d-\d\d", day):
        return day
    month = re.search(r"(?i)\b(" + "|".join(_MONTHS) + r")", day)
    number = re.search(r"\b\d{1,2}\b", day)
    if month is None or number is None:
        return None  # 03/04/2023 may be two days
    try:
        return datetime.date(
            int(year.group()), _MONTHS.index(month.group(1).lower()) + 1, int(number.group())
        ).isoformat()
    except ValueError:
        return None


@functools.cache
def _places() -> frozenset[str]:
    """Names of places in any language of the bundled lists, for datelines that end in a colon."""
    found: set[str] = set()

    def take(value: Any) -> None:
        if isinstance(value, str):
            found.add(value.casefold())
        elif isinstance(value, Mapping):
            for part in itertools.chain(value.keys(), value.values()):
                take(part)
        elif isinstance(value, list):
            for part in value:
                take(part)

    for name in ("places.yaml", "cities.yaml"):
        take(yaml.safe_load(files("conflict_framing.data").joinpath(name).read_text("utf-8")))
    return frozenset(found)


# --- one article ---------------------------------------------------------------------------------


def parse_article(
    text: str,
    *,
    document: str = "",
    outlet: str | None = None,
    date: str | None = None,
    place: str | None = None,
    headline: str | None = None,
    extras: Mapping[str, Any] | None = None,
    year: int | None = None,
) -> Article:
    """Split a text into sentences and tell headline, headings, dateline and byline.

    Args:
        text: with ``\\n`` line ends.
        document: names the article among others.
        outlet: who published it.
        date: when.
        place: where it was written or plays.
        headline: where it is known; it counts as a sentence only if the text begins with it.
        extras: what else is known of it.
        year: of a dateline that tells a day and no year.

    Raises:
        UnreadableError: no sentence in the text.
    """
    spans = split_sentences(text)
    if not spans:
        raise UnreadableError(document or "The article", "no sentence in it.")
    spans, given = _without_stamp(text, spans, headline)
    paragraphs = [list(group) for _, group in itertools.groupby(spans, key=lambda span: span.paragraph)]
    sentences: list[ArticleSentence] = []
    dateline: Dateline | None = None
    byline: str | None = None
    for number, paragraph in enumerate(paragraphs):
        kind: Kind = "body"
        last = number == len(paragraphs) - 1
        begun = any(sentence.kind == "body" for sentence in sentences)
        if byline is None and not begun and not last and paragraph[0] != given:
            line = " ".join(span.text for span in paragraph)  # "By A. B. Rossi" may count for two sentences
            if is_byline(line):
                byline = line
                continue
        if (given is not None and paragraph[0] == given) or (
            number == 0 and given is None and not last and _is_headline(paragraph)
        ):
            kind = "headline"
        elif is_heading(paragraph) and not last:
            kind = "heading"
        if dateline is None and not begun and (number == 0 or kind != "headline"):
            # A headline may look like one only where it tells a day or an agency, and nothing else.
            dateline = find_dateline(paragraph[0].text, alone=True, year=year)
            if dateline is not None:
                short = _cut(text, paragraph[0], dateline)
                paragraph = ([short] if short else []) + paragraph[1:]
                kind = "body"
        sentences += [ArticleSentence(s.text, s.start, s.end, s.paragraph, kind) for s in paragraph]
    if not sentences:
        # Better an odd sentence than one short text that stops the work on all the others.
        sentences = [ArticleSentence(s.text, s.start, s.end, s.paragraph) for s in spans]
    found = next((sentence.text for sentence in sentences if sentence.kind == "headline"), None)
    return Article(
        text,
        tuple(sentences),
        document,
        outlet or (dateline.outlet if dateline else None),
        date or (dateline.date if dateline else None) or _day_in(byline),
        place or (dateline.place if dateline else None),
        headline or found,
        dateline.text.strip() if dateline else None,
        dateline is not None and dateline.lacks_year and not date and not _day_in(byline),
        dict(extras or {}),
        byline,
    )


def _day_in(byline: str | None) -> str | None:
    match = re.search(_DAY, byline or "")
    return _iso(match.group()) if match else None


def _cut(text: str, span: Span, dateline: Dateline) -> Span | None:
    """The sentence without its dateline; None where nothing is left."""
    rest = span.text[len(dateline.text) :].lstrip()
    if not any(character.isalnum() for character in rest):
        return None
    return replace(span, text=rest, start=_skip(text, span, len(span.text) - len(rest)))


def _skip(text: str, span: Span, count: int) -> int:
    """Where in the article the folded sentence's character ``count`` stands."""
    place = span.start
    for character in span.text[:count]:
        while character != " " and text[place].isspace():
            place += 1
        place += 1
    while place < span.end and text[place].isspace():
        place += 1
    return place


def _without_stamp(text: str, spans: list[Span], headline: str | None) -> tuple[list[Span], Span | None]:
    """Cut a day off the beginning, and the known headline from the sentence that it runs into."""
    first = spans[0]
    if headline and (stamp := _STAMP.match(first.text)):
        first = replace(first, text=first.text[stamp.end() :], start=_skip(text, first, stamp.end()))
    wanted = " ".join(headline.split()) if headline else ""
    if not wanted or not first.text.startswith(wanted):
        return spans if first.text == spans[0].text else [first, *spans[1:]], None
    length = len(wanted) + (first.text[len(wanted) : len(wanted) + 1] == ".")
    rest = first.text[length:].lstrip()
    end = _skip(text, first, length)
    shift = [replace(span, paragraph=span.paragraph + 1) for span in spans[1:]]
    if not rest:
        return [first, *shift], first
    title = Span(first.text[:length], first.start, end - (len(text[:end]) - len(text[:end].rstrip())), first.paragraph)
    body = Span(rest, end, first.end, first.paragraph + 1)
    return [title, body, *shift], title


def reads_as_title(text: str) -> bool:
    """Whether a sentence could be a headline: not long, and without a full stop."""
    return len(text) <= _LONGEST_HEADLINE and (text.rstrip()[-1:].isalnum() or text.rstrip()[-1:] in "'’\"”)%")


def _is_headline(paragraph: Sequence[Span]) -> bool:
    text = paragraph[-1].text
    quoted = text[-1] in "\"”'’" and text[-2:-1] in ".!?"
    return len(paragraph) == 1 and not quoted and (reads_as_title(text) or text[-1] == "?")


def is_heading(paragraph: Sequence[Span]) -> bool:
    """Whether a paragraph is a heading inside an article: one short line without a full stop."""
    text = paragraph[0].text
    return len(paragraph) == 1 and len(text) <= _LONGEST_HEADING and text[-1].isalnum()


def article_rows(article: Article) -> list[dict[str, Any]]:
    """The sentences as rows of a table.

    A table's own rows come back as they were; else ``document, sentence, start, end, kind, outlet, date, place,
    text`` and the extras.
    """
    if article.by_rows:
        return [dict(sentence.row or {}) for sentence in article.sentences]
    taken = ("document", "sentence", "start", "end", "kind", "outlet", "date", "place", "text")
    extras = {f"article_{name}" if name in taken else name: value for name, value in article.extras.items()}
    return [
        {
            "document": article.document,
            "sentence": number,
            "start": sentence.start,
            "end": sentence.end,
            "kind": sentence.kind,
            "outlet": article.outlet,
            "date": article.date,
            "place": article.place,
            "text": sentence.text,
            **extras,
        }
        for number, sentence in enumerate(article.sentences, start=1)
    ]
