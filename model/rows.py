"""The rows of all inputs, one after another, in bounded memory."""

import base64
import bisect
import itertools
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..data.articles import Article, article_rows, parse_article
from ..data.errors import UnreadableError, UserError, renamed
from ..data.files import SyncedFile, partial_of, put_in_place
from ..data.inputs import find_inputs
from ..data.sentences import split_sentences
from ..data.tables import (
    STDIN,
    BadRow,
    Format,
    Row,
    arrow_type,
    display_name,
    format_of,
    missing_column,
    parquet_schema,
    read_table,
    text_pieces,
)
from ..data.urls import Place, UrlPath, shown

_INT64 = 2**63
_EVERY = 1024  # rows between two reports of progress
_MOST_SHAPES = 1000  # combinations of columns and types that are remembered, so as not to look at each row's


@dataclass(frozen=True)
class ReadOptions:
    """How to read inputs.

    Attributes:
        text_column: the column that holds the sentences.
        encoding: of text formats.
        input_format: overrides what the names of the inputs say; standard input needs it, and is
            taken as the text of an article without.
        outlet: of articles in text files; None takes what the brackets of a dateline tell.
        year: of datelines that tell a day and no year.
    """

    text_column: str = "text"
    encoding: str = "utf-8"
    input_format: Format | None = None
    outlet: str | None = None
    year: int | None = None


@dataclass(frozen=True)
class Source:
    """One input that can be read again: a file, or standard input in a file.

    Attributes:
        path: where it is read; may be a URL.
        name: what it is called in rows and errors.
        left_out: why it cannot be used; it then counts as one row, which is rejected. Empty where it can.
    """

    path: str
    name: str
    format: Format
    left_out: str = ""

    @classmethod
    def of(cls, name: str, reading: ReadOptions, spool: Place) -> "Source":
        """The source of a file, or of standard input, which is copied into the folder ``spool`` first.

        A copy that is there already is taken: it is that of the job which is resumed.

        Raises:
            UserError: a file's name says no format, or standard input is empty.
        """
        if name != STDIN:
            return cls(name, shown(name), reading.input_format or format_of(name))
        kind = reading.input_format or "text"
        copies = [spool / f"stdin{suffix}" for suffix in ("", ".gz", ".zst")]
        copy = next((path for path in copies if path.exists()), None) or _spool(copies[0])
        return cls(copy.url if isinstance(copy, UrlPath) else str(copy), display_name(STDIN), kind)

    def rows(
        self, reading: ReadOptions, first: int = 0, on_article: Callable[[Article], None] = lambda article: None
    ) -> Iterator[Row | BadRow]:
        """Its records, without the first so many.

        Args:
            reading: how.
            first: pass over so many.
            on_article: called with the article that a text file holds (with the first piece of a long one).

        Raises:
            UserError: it cannot be read as a whole.
        """
        if self.left_out:
            yield from [BadRow(self.name, 0, self.left_out, "")][first:]
            return
        try:
            if self.format == "text":
                yield from itertools.islice(self._sentences(reading, on_article), first, None)
            else:
                yield from read_table(self.path, encoding=reading.encoding, format=self.format, first=first)
        except UserError as error:
            raise renamed(error, shown(self.path), self.name) from None

    def _sentences(self, reading: ReadOptions, on_article: Callable[[Article], None]) -> Iterator[Row]:
        pieces = text_pieces(self.path, reading.encoding)
        _, piece = next(pieces)
        article = parse_article(piece, document=self.name, outlet=reading.outlet, year=reading.year)
        on_article(article)
        rows = article_rows(article)
        number = 0
        for number, values in enumerate(rows, start=1):
            yield Row(_text_last(values, reading.text_column), self.name, number)
        for offset, piece in pieces:  # of a text too long to be one article in memory
            for span in split_sentences(piece):
                number += 1
                place = {"sentence": number, "start": offset + span.start, "end": offset + span.end, "kind": "body"}
                values = {**rows[0], **place, "text": span.text}
                yield Row(_text_last(values, reading.text_column), self.name, number)


def _text_last(values: dict[str, Any], column: str) -> dict[str, Any]:
    text = values.pop("text")
    return {**values, column: text}


def _spool(copy: Place) -> Place:
    with tempfile.TemporaryDirectory() as scratch:
        partial = Path(scratch) / copy.name if isinstance(copy, UrlPath) else partial_of(copy)
        with SyncedFile(partial) as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        with partial.open("rb") as written:
            begin = written.read(4)
        if not begin:
            raise UserError("standard input is empty.")
        suffix = ".gz" if begin[:2] == b"\x1f\x8b" else ".zst" if begin == b"\x28\xb5\x2f\xfd" else ""
        copy = copy.with_name(copy.name + suffix)
        put_in_place(partial, copy)
    return copy


@dataclass
class Survey:
    """What is known once all inputs were read.

    Attributes:
        counts: of each source the number of its rows.
        columns: names in order, with their Arrow types.
        articles: text files, ``without_year`` those without a date because their dateline has no year, and
            ``without_date`` those with neither.
        left_out: names of sources that cannot be used, with the reason; each counts as one row.
    """

    counts: list[int] = field(default_factory=list)
    columns: dict[str, Any] = field(default_factory=dict)
    articles: int = 0
    without_year: int = 0
    without_date: int = 0
    left_out: dict[str, str] = field(default_factory=dict)

    def count(self, article: Article) -> None:
        self.articles += 1
        self.without_year += article.lacks_year
        self.without_date += article.lacks_date

    @property
    def rows(self) -> int:
        return sum(self.counts)

    def to_json(self) -> dict[str, Any]:
        import pyarrow

        schema = pyarrow.schema(list(self.columns.items())).serialize().to_pybytes()
        columns = base64.b64encode(schema).decode("ascii")
        return {
            "counts": self.counts,
            "columns": columns,
            "articles": self.articles,
            "without_year": self.without_year,
            "without_date": self.without_date,
            "left_out": self.left_out,
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Survey":
        import pyarrow.ipc

        schema = pyarrow.ipc.read_schema(pyarrow.py_buffer(base64.b64decode(told["columns"])))
        return cls(**told | {"columns": {name: schema.field(name).type for name in schema.names}})

    def usable(self, sources: Sequence[Source]) -> list[Source]:
        """The sources, those that cannot be used marked as such."""
        return [replace(source, left_out=self.left_out.get(source.name, "")) for source in sources]


def survey_sources(
    sources: Sequence[Source], reading: ReadOptions, on_rows: Callable[[int], None] = lambda rows: None
) -> Survey:
    """Read all inputs once: how many rows, which columns of which types, and whether anything is unreadable.

    A later row of JSONL may bring a new column, so a table's header is known only at its end. One file of another
    encoding does not stop the others: it is left out as a whole, and counts as one rejected row.

    Args:
        on_rows: called with the number of rows read, now and then.

    Raises:
        UserError: no source can be used, or one has no column of texts.
    """
    survey = Survey()
    columns = _Columns()
    first_error: UnreadableError | None = None
    rows = 0
    for source in sources:
        try:
            columns.add(_survey_one(source, reading, survey, rows, on_rows))
        except UnreadableError as error:
            first_error = first_error or error
            survey.left_out[source.name] = BadRow.of(error).reason
            survey.counts.append(1)
        rows += survey.counts[-1]
    if first_error and len(survey.left_out) == len(sources):
        if len(sources) == 1:
            raise first_error
        raise UserError(f"None of the {len(sources):,} files can be used. The first: {first_error}")
    on_rows(rows)
    survey.columns = columns.types() or {reading.text_column: arrow_type({str})}
    return survey


def _survey_one(
    source: Source, reading: ReadOptions, survey: Survey, before: int, on_rows: Callable[[int], None]
) -> "_Columns":
    """Count a source into the survey once it was read to its end, after so many rows, and gather its columns."""
    columns = _Columns()
    articles: list[Article] = []
    rows = 0
    if source.format == "parquet":
        columns.give(parquet_schema(source.path))
    for row in source.rows(reading, on_article=articles.append):
        rows += 1
        if isinstance(row, Row) and source.format != "parquet":
            columns.see(row.values)
        if (before + rows) % _EVERY == 0:
            on_rows(before + rows)
    if not rows:
        raise UnreadableError(source.name, "no rows in it.")
    if columns.names and reading.text_column not in columns.names:
        raise missing_column(reading.text_column, columns.names, source.name, "--text-column")
    for article in articles:
        survey.count(article)
    survey.counts.append(rows)
    return columns


class _Columns:
    """Gathers names and types of the columns of a source, or of several."""

    def __init__(self) -> None:
        self._seen: dict[str, set[type]] = {}
        self._given: dict[str, set[Any]] = {}
        self._shapes: set[tuple[tuple[str, ...], tuple[type, ...]]] = set()

    @property
    def names(self) -> list[str]:
        return list(self._seen)

    def add(self, other: "_Columns") -> None:
        for name, kinds in other._seen.items():
            self._seen.setdefault(name, set()).update(kinds)
        for name, types in other._given.items():
            self._given.setdefault(name, set()).update(types)

    def give(self, schema: dict[str, Any]) -> None:
        for name, type_ in schema.items():
            self._given.setdefault(name, set()).add(type_)
            self._seen.setdefault(name, set())

    def see(self, values: dict[str, Any]) -> None:
        """Look at one row."""
        kinds = tuple(map(_kind, values.values()))
        shape = (tuple(values), kinds)
        if shape in self._shapes:
            return
        for name, kind in zip(values, kinds, strict=True):
            self._seen.setdefault(name, set()).add(kind)
        if len(self._shapes) < _MOST_SHAPES:
            self._shapes.add(shape)

    def types(self) -> dict[str, Any]:
        types = {}
        for name, kinds in self._seen.items():
            given = self._given.get(name, set())
            types[name] = next(iter(given)) if len(given) == 1 and not kinds else arrow_type(kinds)
        return types


def _kind(value: Any) -> type:
    # An integer that does not fit 64 bits can only be kept as text.
    return str if type(value) is int and not -_INT64 <= value < _INT64 else type(value)


def usable_rows(
    sources: Iterable[Source], reading: ReadOptions, counts: Sequence[int] = (), first: int = 0
) -> Iterator[Row | BadRow]:
    """The rows of all sources, in order; those without usable text as ``BadRow``.

    Args:
        counts: of each source the number of its rows, as surveyed; needed to pass over rows.
        first: pass over so many rows.

    Raises:
        UserError: a source cannot be read as a whole.
    """
    for source, count in itertools.zip_longest(sources, counts):
        if first and first >= count:
            first -= count
            continue
        for row in source.rows(reading, first):
            yield row if isinstance(row, BadRow) else _with_text(row, reading.text_column)
        first = 0


class RowCursor:
    """The rows of all sources from any place on.

    Who takes shards of a large file one after another, and not all of them, passes over each row once; from its
    start for each shard, reading would take time quadratic in the file's size.
    """

    def __init__(self, sources: Sequence[Source], reading: ReadOptions, counts: Sequence[int]) -> None:
        self._sources, self._reading, self._counts = sources, reading, counts
        self._ends = list(itertools.accumulate(counts))
        self._rows: Iterator[Row | BadRow] = iter(())
        self._at: float = math.inf  # the next row; infinity where nothing is open

    def rows(self, first: int) -> Iterator[Row | BadRow]:
        """See ``usable_rows``; ends the iterator that was given out before."""
        if not (self._at <= first and self._source_of(self._at) == self._source_of(first)):
            self._rows, self._at = usable_rows(self._sources, self._reading, self._counts, first), first
        try:
            for row in self._rows:
                self._at += 1
                if self._at > first:
                    yield row
        except Exception:
            self._at = math.inf
            raise

    def _source_of(self, place: float) -> int:
        return bisect.bisect_right(self._ends, place)


def _with_text(row: Row, column: str) -> Row | BadRow:
    text = row.values.get(column)
    if isinstance(text, str) and text.strip():
        return row
    came = "nothing" if text is None else "empty text" if isinstance(text, str) else f"{type(text).__name__} {text!r}"
    raw = json.dumps(row.values, ensure_ascii=False, default=str)
    return BadRow(row.path, row.line, f"expected text in column '{column}', came {came}", raw)


def read_texts(inputs: Sequence[str | Path], reading: ReadOptions) -> Iterator[str]:
    """The sentences of text files and tables, in order; rows without usable text are passed over.

    Args:
        inputs: files, folders or patterns.

    Raises:
        UserError: an input is missing, of no known format, unreadable, or has no column of texts.
    """
    return (text for text, _ in read_documents(inputs, reading))


def read_documents(inputs: Sequence[str | Path], reading: ReadOptions) -> Iterator[tuple[str, str | None]]:
    """As ``read_texts``, each sentence with its document: the text file, or the value in the column ``document``."""
    for name in find_inputs(inputs, any_format=reading.input_format is not None):
        source = Source(name, shown(name), reading.input_format or format_of(name))
        if source.format != "text":
            survey_sources([source], reading)
        for row in usable_rows([source], reading):
            if isinstance(row, Row):
                document = row.values.get("document")
                yield str(row.values[reading.text_column]), None if document is None else str(document)
