"""Articles from text, HTML and tables, as sentences with their places in the text.

A headline, the headings inside and the dateline ("KYIV, May 3 (Agency) —") are told from the sentences
that make the article. The dateline is cut off: it is not part of the sentence that is judged, and no speaker.
"""

import datetime
import functools
import itertools
import re
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from ..data.errors import MissingExtraError, UserError
from ..data.inputs import find_inputs
from ..data.sentences import Span, split_sentences
from ..data.tables import STDIN, BadRow, Format, Row, missing_column, read_table, read_text
from ..model.rows import ReadOptions, Source

Kind = Literal["headline", "heading", "body"]

_HTML = (".html", ".htm", ".xhtml")
_LONGEST_HEADLINE = 160
_LONGEST_HEADING = 110
_LOOKED_AT = 50  # rows, to tell whether they are articles
FEWEST_SENTENCES = 3
"""Of a text that is taken for an article where nothing else tells."""


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
        date: as given; from a dateline as ``YYYY-MM-DD``, and only where it tells the year.
        place: as given, or as the dateline has it.
        dateline: as it stands in the text.
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
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by_rows(self) -> bool:
        """Whether it came as a table with a sentence a row."""
        return any(sentence.row is not None for sentence in self.sentences)


@dataclass(frozen=True)
class ArticleColumns:
    """The columns of tables. Only ``text`` must be there."""

    text: str = "text"
    document: str = "document"
    outlet: str = "outlet"
    date: str = "date"
    place: str = "place"
    headline: str = "headline"


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
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class Dateline:
    """``text`` is what is cut, ``place`` and ``date`` what it tells."""

    text: str
    place: str | None
    date: str | None


def find_dateline(text: str, alone: bool = False) -> Dateline | None:
    """The dateline at the beginning of an article's first sentence.

    Args:
        text: the sentence.
        alone: the whole text may be a dateline ("TRIPOLI, July 9").
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
        # "ELÍAS: …" is a speaker, "SRINAGAR: …" a place.
        good = capitals and (sure or place.casefold() in _places())
    elif mark in ("—", "–"):
        # "Moscow, Russia – Russia announced", but not "The mayor – who had fled – returned".
        names = re.findall(r"[^\W\d]\S*", match.group())
        plain = len(names) <= 4 and names[0] not in ("The", "A", "An") and all(name[0].isupper() for name in names)
        good = sure or capitals or (plain and not text[match.end() : match.end() + 1].islower())
    else:
        good = sure or capitals
    if not good or (mark and match.end() == len(text) and not alone):
        return None
    return Dateline(match.group(), _place_name(place), _iso(match["day"]))


def _place_name(place: str) -> str:
    name = re.sub(r"\.$", "", place.strip())
    return name.title() if name.isupper() else name


def _iso(day: str | None) -> str | None:
    """A day with its year as ``YYYY-MM-DD``."""
    if day is None or not (year := re.search(r"\b\d{4}\b", day)):
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

    from importlib.resources import files

    take(yaml.safe_load(files("conflict_framing.data").joinpath("places.yaml").read_text("utf-8")))
    take(yaml.safe_load(files("conflict_framing.analysis").joinpath("lexicon.yaml").read_text("utf-8"))["cities"])
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
) -> Article:
    """Split a text into sentences and tell headline, headings and dateline.

    Args:
        text: with ``\\n`` line ends.
        document: names the article among others.
        outlet: who published it.
        date: when.
        place: where it was written or plays.
        headline: where it is known; it counts as a sentence only if the text begins with it.
        extras: what else is known of it.

    Raises:
        UserError: no sentence in the text.
    """
    spans = split_sentences(text)
    if not spans:
        raise UserError(f"{document or 'The article'}: no sentence in it.")
    spans, given = _without_stamp(text, spans, headline)
    paragraphs = [list(group) for _, group in itertools.groupby(spans, key=lambda span: span.paragraph)]
    sentences: list[ArticleSentence] = []
    dateline: Dateline | None = None
    for number, paragraph in enumerate(paragraphs):
        kind: Kind = "body"
        last = number == len(paragraphs) - 1
        if (given is not None and paragraph[0] == given) or (
            number == 0 and given is None and not last and _is_headline(paragraph)
        ):
            kind = "headline"
        elif is_heading(paragraph) and not last:
            kind = "heading"
        begun = any(sentence.kind == "body" for sentence in sentences)
        if dateline is None and not begun and (number == 0 or kind != "headline"):
            # A headline may look like one only where it tells a day or an agency, and nothing else.
            dateline = find_dateline(paragraph[0].text, alone=True)
            if dateline is not None:
                short = _cut(text, paragraph[0], dateline)
                paragraph = ([short] if short else []) + paragraph[1:]
                kind = "body"
        sentences += [ArticleSentence(s.text, s.start, s.end, s.paragraph, kind) for s in paragraph]
    if not sentences:
        raise UserError(f"{document or 'The article'}: no sentence in it besides a dateline.")
    found = next((sentence.text for sentence in sentences if sentence.kind == "headline"), None)
    return Article(
        text,
        tuple(sentences),
        document,
        outlet,
        date or (dateline.date if dateline else None),
        place or (dateline.place if dateline else None),
        headline or found,
        dateline.text.strip() if dateline else None,
        dict(extras or {}),
    )


def article_of_rows(rows: Sequence[Mapping[str, Any]], columns: ArticleColumns) -> Article:
    """An article of a table with a sentence a row; rows stay as they are, and none is split.

    Its text is the rows' texts, a line each.
    """
    texts = [str(row[columns.text]) for row in rows]
    starts = itertools.accumulate((len(text) + 1 for text in texts), initial=0)
    sentences, dateline = [], None
    for number, (row, text, start) in enumerate(zip(rows, texts, starts, strict=False)):
        kind: Kind = (
            "headline" if number == 0 and len(rows) > 1 and _reads_as_title(text, _LONGEST_HEADLINE) else "body"
        )
        found = None
        if dateline is None and number < 2:
            dateline = found = find_dateline(text)
        cut = len(found.text) if found else len(text) - len(text.lstrip())
        # Rows say nothing of paragraphs.
        sentences.append(
            ArticleSentence(text[cut:].rstrip(), start + cut, start + len(text.rstrip()), 0, kind, cut, row)
        )
    first = rows[0]
    return Article(
        "\n".join(texts),
        tuple(sentences),
        _string(first.get(columns.document)) or "",
        _string(first.get(columns.outlet)),
        _string(first.get(columns.date)) or (dateline.date if dateline else None),
        _string(first.get(columns.place)) or (dateline.place if dateline else None),
        _string(first.get(columns.headline)),
        dateline.text.strip() if dateline else None,
    )


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


def _reads_as_title(text: str, longest: int) -> bool:
    return len(text) <= longest and (text.rstrip()[-1:].isalnum() or text.rstrip()[-1:] in "'’\"”)%")


def _is_headline(paragraph: Sequence[Span]) -> bool:
    text = paragraph[-1].text
    quoted = text[-1] in "\"”'’" and text[-2:-1] in ".!?"
    return len(paragraph) == 1 and not quoted and (_reads_as_title(text, _LONGEST_HEADLINE) or text[-1] == "?")


def is_heading(paragraph: Sequence[Span]) -> bool:
    """Whether a paragraph is a heading inside an article: one short line without a full stop."""
    text = paragraph[0].text
    return len(paragraph) == 1 and len(text) <= _LONGEST_HEADING and text[-1].isalnum()


# --- files ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ArticleFile:
    """A file with articles that can be read again.

    Attributes:
        path: where it is read.
        name: what it is called in articles and errors.
    """

    path: str
    name: str
    kind: Format | Literal["html"]

    @classmethod
    def of(cls, name: str, format: Format | None, spool: Path) -> "ArticleFile":
        """The file of that name; standard input is copied into the folder ``spool`` first.

        Raises:
            UserError: the name says no format, or standard input is empty.
        """
        if name != STDIN and format is None and is_html(name):
            return cls(name, name, "html")
        source = Source.of(name, ReadOptions(input_format=format), spool)
        return cls(source.path, source.name, source.format)

    def articles(self, columns: ArticleColumns, encoding: str = "utf-8") -> Iterator[Article | BadRow]:
        """Its articles in order, one of them in memory at a time; see ``read_articles``.

        Raises:
            UserError: it is unreadable, has no article, or no column of texts.
        """
        try:
            if self.kind == "text":
                yield parse_article(read_text(self.path, encoding), document=self.name)
            elif self.kind == "html":
                yield read_html(read_text(self.path, encoding), document=self.name)
            else:
                yield from self._table(self.kind, columns, encoding)
        except UserError as error:
            raise UserError(str(error).replace(self.path, self.name)) from None

    def _table(self, kind: Format, columns: ArticleColumns, encoding: str) -> Iterator[Article | BadRow]:
        by_rows = self.has_sentences(columns, encoding)
        rows: list[Row] = []  # of one document
        names: dict[str, None] = {}
        empty = True
        for row in read_table(self.path, encoding=encoding, format=kind):
            empty = False
            if isinstance(row, BadRow):
                yield replace(row, path=self.name)
                continue
            names |= dict.fromkeys(row.values)
            text = row.values.get(columns.text)
            if not isinstance(text, str) or not any(character.isalnum() for character in text):
                yield BadRow(self.name, row.line, f"expected text in column '{columns.text}'", str(row.values))
                continue
            document = _string(row.values.get(columns.document))
            if rows and (document is None or document != _string(rows[0].values.get(columns.document))):
                yield article_of_rows([row.values for row in rows], columns)
                rows = []
            if by_rows:
                rows.append(row)
            else:
                yield _article_of_row(row, self.name, columns)
        if rows:
            yield article_of_rows([row.values for row in rows], columns)
        if empty:
            raise UserError(f"{self.name}: no rows in it.")
        if names and columns.text not in names:
            raise missing_column(columns.text, sorted(names), self.name, "--text-column")

    def has_sentences(self, columns: ArticleColumns, encoding: str = "utf-8") -> bool:
        """Whether the rows of a table are sentences: they share documents.

        A few articles of the same name do not make it one: most rows must share theirs, or be short. Of each
        document no more is kept than a number.
        """
        seen: set[int] = set()
        named = 0
        lengths: list[int] = []
        kind = None if self.kind == "html" else self.kind
        for row in read_table(self.path, encoding=encoding, format=kind):
            if isinstance(row, BadRow):
                continue
            text = row.values.get(columns.text)
            if len(lengths) < _LOOKED_AT and isinstance(text, str) and text.strip():
                lengths.append(len(split_sentences(text)))
            document = _string(row.values.get(columns.document))
            if document is not None:
                named += 1
                seen.add(hash(document))
        short = not lengths or statistics.median(lengths) < FEWEST_SENTENCES
        return len(seen) < named and (short or 2 * len(seen) <= named)


@contextmanager
def article_files(
    inputs: Sequence[str | Path], format: Format | None = None, leave_out: Sequence[Path] = ()
) -> Iterator[list[ArticleFile]]:
    """The files of inputs, to be read as often as wanted while this is open.

    Args:
        inputs: files, folders and patterns; ``-`` is standard input.
        format: overrides what the names say.
        leave_out: what is no input though it stands in a folder.

    Raises:
        UserError: an input is missing, or of no known format.
    """
    with tempfile.TemporaryDirectory(prefix="conflict-framing-") as spool:
        found = find_inputs(inputs, also=_HTML, leave_out=leave_out)
        yield [ArticleFile.of(name, format, Path(spool)) for name in found]


def read_articles(
    inputs: Sequence[str | Path],
    *,
    columns: ArticleColumns | None = None,
    encoding: str = "utf-8",
    format: Format | None = None,
) -> Iterator[Article | BadRow]:
    """The articles of files and folders, in order, one in memory at a time.

    Text files hold an article each, HTML files too (main text, title, outlet and date by trafilatura, Barbaresi
    2021). A row of a table is an article, unless rows share documents: then rows are sentences, and those of one
    document, which must stand together, are its article. Folders are read with all that is in them.

    Args:
        inputs: files, folders and patterns; ``-`` is standard input.
        columns: of tables.
        encoding: of text formats.
        format: overrides what the names say.

    Raises:
        UserError: an input is missing, unreadable, of no known format, or has no column of texts.
    """
    with article_files(inputs, format) as files:
        for file in files:
            yield from file.articles(columns or ArticleColumns(), encoding)


def is_html(path: str | Path) -> bool:
    return str(path).lower().endswith(_HTML)


def read_html(page: str, document: str = "") -> Article:
    """The article of an HTML page, without navigation and the like.

    Raises:
        UserError: no article in the page.
        MissingExtraError: trafilatura is not installed.
    """
    try:
        import trafilatura
    except ImportError as error:
        raise MissingExtraError(error.name or "trafilatura", "analysis", "Reading HTML") from None

    found = trafilatura.bare_extraction(page, with_metadata=True, include_comments=False, include_tables=False)
    if found is None or not found.text or not found.text.strip():
        raise UserError(f"{document or 'The page'}: no article was found in this HTML page.")
    # One line is one paragraph in trafilatura's text.
    text = "\n\n".join(line.strip() for line in found.text.splitlines() if line.strip())
    title = " ".join((found.title or "").split()) or None
    if title and not text.startswith(title):
        text = f"{title}\n\n{text}"
    return parse_article(
        text, document=document, outlet=found.sitename or found.hostname, date=found.date, headline=title
    )


def _article_of_row(row: Row, path: str, columns: ArticleColumns) -> Article:
    given = row.values
    carried = {columns.text, columns.document, columns.outlet, columns.date, columns.place, columns.headline}
    return parse_article(
        str(given[columns.text]).replace("\r\n", "\n").replace("\r", "\n"),
        document=_string(given.get(columns.document)) or f"{path}:{row.line}",
        outlet=_string(given.get(columns.outlet)),
        date=_string(given.get(columns.date)),
        place=_string(given.get(columns.place)),
        headline=_string(given.get(columns.headline)),
        extras={name: value for name, value in given.items() if name not in carried},
    )


def _string(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


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
