"""Articles from text, HTML and tables."""

import itertools
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ..data.articles import Article, ArticleSentence, Kind, find_dateline, parse_article, reads_as_title
from ..data.errors import MissingExtraError, UnreadableError, UserError, renamed
from ..data.inputs import find_inputs
from ..data.sentences import split_sentences
from ..data.tables import STDIN, BadRow, Format, Row, missing_column, read_table, read_text
from ..model.rows import ReadOptions, Source

_HTML = (".html", ".htm", ".xhtml")
_LOOKED_AT = 50  # rows, to tell whether they are articles
FEWEST_SENTENCES = 3
"""Of a text that is taken for an article where nothing else tells."""


@dataclass(frozen=True)
class ArticleColumns:
    """The columns of tables. Only ``text`` must be there."""

    text: str = "text"
    document: str = "document"
    outlet: str = "outlet"
    date: str = "date"
    place: str = "place"
    headline: str = "headline"


def article_of_rows(rows: Sequence[Mapping[str, Any]], columns: ArticleColumns) -> Article:
    """An article of a table with a sentence a row; rows stay as they are, and none is split.

    Its text is the rows' texts, a line each.
    """
    texts = [str(row[columns.text]) for row in rows]
    starts = itertools.accumulate((len(text) + 1 for text in texts), initial=0)
    sentences, dateline = [], None
    for number, (row, text, start) in enumerate(zip(rows, texts, starts, strict=False)):
        kind: Kind = "headline" if number == 0 and len(rows) > 1 and reads_as_title(text) else "body"
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

    def articles(
        self, columns: ArticleColumns, encoding: str = "utf-8", *, outlet: str | None = None, year: int | None = None
    ) -> Iterator[Article | BadRow]:
        """Its articles in order, one of them in memory at a time; see ``read_articles``.

        Raises:
            UnreadableError: it is unreadable, or has no article.
            UserError: it has no column of texts.
        """
        try:
            if self.kind == "text":
                yield parse_article(read_text(self.path, encoding), document=self.name, outlet=outlet, year=year)
            elif self.kind == "html":
                yield read_html(read_text(self.path, encoding), document=self.name, outlet=outlet, year=year)
            else:
                yield from self._table(self.kind, columns, encoding, year)
        except UserError as error:
            raise renamed(error, self.path, self.name) from None

    def _table(
        self, kind: Format, columns: ArticleColumns, encoding: str, year: int | None
    ) -> Iterator[Article | BadRow]:
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
                try:
                    yield _article_of_row(row, self.name, columns, year)
                except UnreadableError as error:  # nothing but a dateline
                    yield BadRow(self.name, row.line, error.reason, str(row.values))
        if rows:
            yield article_of_rows([row.values for row in rows], columns)
        if empty:
            raise UnreadableError(self.name, "no rows in it.")
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
    outlet: str | None = None,
    year: int | None = None,
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
        outlet: of text and HTML files; without it, what an HTML page or the brackets of a dateline tell.
        year: of datelines that tell a day and no year.

    Raises:
        UserError: an input is missing, unreadable, of no known format, or has no column of texts.
    """
    with article_files(inputs, format) as files:
        for file in files:
            yield from file.articles(columns or ArticleColumns(), encoding, outlet=outlet, year=year)


def is_html(path: str | Path) -> bool:
    return str(path).lower().endswith(_HTML)


def read_html(page: str, document: str = "", *, outlet: str | None = None, year: int | None = None) -> Article:
    """The article of an HTML page, without navigation and the like; ``outlet`` and ``year`` as in ``read_articles``.

    Raises:
        UnreadableError: no article in the page.
        MissingExtraError: trafilatura is not installed.
    """
    try:
        import trafilatura
    except ImportError as error:
        raise MissingExtraError(error.name or "trafilatura", "analysis", "Reading HTML") from None

    found = trafilatura.bare_extraction(page, with_metadata=True, include_comments=False, include_tables=False)
    if found is None or not found.text or not found.text.strip():
        raise UnreadableError(document or "The page", "no article was found in this HTML page.")
    # One line is one paragraph in trafilatura's text.
    text = "\n\n".join(line.strip() for line in found.text.splitlines() if line.strip())
    title = " ".join((found.title or "").split()) or None
    if title and not text.startswith(title):
        text = f"{title}\n\n{text}"
    return parse_article(
        text,
        document=document,
        outlet=outlet or found.sitename or found.hostname,
        date=found.date,
        headline=title,
        year=year,
    )


def _article_of_row(row: Row, path: str, columns: ArticleColumns, year: int | None) -> Article:
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
        year=year,
    )


def _string(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)
