"""Make a checked table of what was sent; runs as a process of its own: ``python -m conflict_framing.web.intake``.

A small file can be made to fill any memory (gzip, Parquet dictionaries, a JSON line of a million empty lists),
and not each of these can be told beforehand. So files are read where memory is bounded by the system; what is
counted here besides (bytes, rows, columns, characters) is for a clear message.

One JSON object on standard input says what to read, one on standard output what became of it.
"""

import gzip
import itertools
import json
import math
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from conflict_framing.analysis.articles import FEWEST_SENTENCES, ArticleColumns, ArticleFile, is_html, read_html
from conflict_framing.analysis.sources import SOURCE_COLUMNS
from conflict_framing.data import UserError, split_sentences
from conflict_framing.data.articles import Article, article_rows, parse_article
from conflict_framing.data.tables import (
    BadRow,
    Format,
    Row,
    compression_of,
    format_of,
    free_names,
    missing_column,
    read_table,
    read_text,
)
from conflict_framing.web.failures import Refused, in_words_of_the_page
from conflict_framing.web.limits import Limits

_CHUNK = 2**16
_SHOWN_PROBLEMS = 20
_POLL_SECONDS = 0.1
_LONGEST_NAME = 120
_LOOKED_AT = 50  # rows, to tell whether they are articles
TEXT_COLUMNS = ("text", "sentence", "sentences", "statement", "content", "body")
"""Taken in this order where no text column is named."""


@dataclass
class Taken:
    """What became of the rows.

    Attributes:
        rows: with usable text, in the output.
        rejected: the others; ``problems`` tells of the first.
        text_column: the column that holds the sentences.
        article: whether it is one article.
        dateline: of the one article; it is no part of its sentences.
        articles: how many were split into sentences, whose rows have ``article``, ``paragraph`` and ``kind``; 0 where
            the rows are those of a table.
    """

    rows: int = 0
    rejected: int = 0
    text_column: str = "text"
    article: bool = False
    articles: int = 0
    dateline: str = ""
    problems: list[str] = field(default_factory=list)

    def reject(self, place: int, reason: str) -> None:
        self.rejected += 1
        if len(self.problems) < _SHOWN_PROBLEMS:
            self.problems.append(f"row {place}: {reason}"[:300])


@dataclass(frozen=True)
class Order:
    """What to read.

    Attributes:
        path: the bytes as they were sent.
        name: the file's name for people; its end says the format.
        output: the table to write, .jsonl.
        text_column: None takes the first of ``TEXT_COLUMNS`` that is there, or the only column.
        title: of an article, for its column ``document``; the file's name without one.
        rows: what a table's rows are; "auto" finds out.
    """

    path: str
    name: str
    output: str
    text_column: str | None = None
    encoding: str = "utf-8"
    title: str = ""
    rows: Literal["auto", "sentences"] = "auto"


def check_name(name: str) -> tuple[str, Format | Literal["html"]]:
    """A file's name without folders and control characters, and the format that it says.

    Raises:
        Refused: no name, or of no known format.
    """
    plain = "".join(sign for sign in name.replace("\\", "/").rsplit("/", 1)[-1] if sign.isprintable()).strip()
    plain = plain[-_LONGEST_NAME:]
    if not plain:
        raise Refused(422, "no_name", "Say the file's name (?name=news.csv): its end tells the format.")
    if is_html(plain.lower().removesuffix(".gz")):
        return plain, "html"
    if compression_of(plain) == ".zst":
        raise Refused(415, "unknown_format", f"{plain}: send it as it is, or packed with gzip (.gz).")
    try:
        return plain, format_of(plain)
    except UserError as error:
        raise Refused(415, "unknown_format", str(error)) from None


def take_in(order: Order, limits: Limits, cancelled: Callable[[], bool] = lambda: False) -> Taken | None:
    """Read what was sent in a process with bounded memory and time; None if cancelled meanwhile.

    Raises:
        Refused: it cannot be used, and why.
    """
    command = [sys.executable, "-m", "conflict_framing.web.intake"]
    with subprocess.Popen(  # noqa: S603 - our own module; nothing of the request is in the command
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
    ) as process:
        waited = 0.0
        request: str | None = json.dumps({"order": asdict(order), "limits": asdict(limits)})
        while True:
            try:
                answer, _ = process.communicate(request, timeout=_POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                request = None
                waited += _POLL_SECONDS
                if cancelled() or waited > limits.intake_seconds:
                    process.kill()
                    process.communicate()
                    if cancelled():
                        return None
                    raise Refused(
                        422, "too_slow", f"{order.name} took too long to read; send a smaller part."
                    ) from None
    try:
        found = json.loads(answer)
    except json.JSONDecodeError:  # it ended without a word, as the system ends a process without memory
        raise _too_large(order.name) from None
    if "error" in found:
        error = found["error"]
        raise Refused(error.pop("status"), error.pop("code"), error.pop("message"), **error)
    return Taken(**found)


def _too_large(name: str) -> Refused:
    return Refused(413, "too_large", f"{name} unfolds into more memory than it may take. Send a smaller part of it.")


# --- in the process ------------------------------------------------------------------------------


def main() -> None:
    # To be told by the system's limit on memory, before anything large is read.
    request = json.load(sys.stdin)
    order, limits = Order(**request["order"]), Limits(**request["limits"])
    _bound_memory(limits.intake_memory_bytes)
    answer: dict[str, Any]
    try:
        answer = asdict(read_in(order, limits))
    except Refused as error:
        answer = {"error": {"status": error.status, **error.to_json()}}
    except UserError as error:
        message = in_words_of_the_page(str(error), order.path, order.name)
        answer = {"error": {"status": 422, "code": "unreadable", "message": message}}
    except MemoryError:  # pyarrow's is one too
        answer = {"error": {"status": 413, **_too_large(order.name).to_json()}}
    except Exception as error:  # what a damaged file does to a reader is not foreseen in full
        message = f"{order.name} cannot be read ({type(error).__name__})."
        answer = {"error": {"status": 422, "code": "unreadable", "message": message}}
    json.dump(answer, sys.stdout)


def _bound_memory(size: int) -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit; the counts below remain
        return
    # A process may lower its limits, not raise them; macOS refuses some.
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        _, hard = resource.getrlimit(kind)
        bound = size if hard == resource.RLIM_INFINITY else min(size, hard)
        try:
            resource.setrlimit(kind, (bound, hard))
        except (ValueError, OSError):
            continue


def read_in(order: Order, limits: Limits) -> Taken:
    """Write the usable rows to ``order.output``, a JSON object a line.

    Raises:
        Refused: a limit is passed, there is no such column, or no usable row.
        UserError: it cannot be read.
    """
    _, kind = check_name(order.name)
    path = Path(order.path)
    if order.name.lower().endswith(".gz"):
        path = _unzip(path, order.name, limits)
    if kind == "text" or kind == "html":  # spelt out for mypy
        taken, rows = _article(path, kind == "html", order, limits)
    else:
        taken, rows = _table(path, kind, order, limits)
    written = 0
    with open(order.output, "w", encoding="utf-8") as stream:
        for row in rows:
            written += stream.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
            if written > limits.expanded_bytes:
                raise _expands(order.name, limits)
            taken.rows += 1
    if not taken.rows:
        raise _no_rows(taken.text_column, taken, order)
    return taken


def _no_rows(column: str, taken: Taken, order: Order) -> Refused:
    why = f" The first problem: {taken.problems[0]}." if taken.problems else ""
    return Refused(422, "no_rows", f"{order.name}: no row with usable text in '{column}'.{why}")


def _expands(name: str, limits: Limits) -> Refused:
    most = limits.expanded_bytes // 2**20
    return Refused(
        413, "too_large", f"{name} is larger than {most:,} MiB when decompressed. Send a smaller part of it."
    )


def _unzip(path: Path, name: str, limits: Limits) -> Path:
    plain = path.with_name(path.name + ".plain")
    try:
        with gzip.open(path, "rb") as packed, open(plain, "wb") as stream:
            for chunk in _chunks(packed):
                if stream.tell() + len(chunk) > limits.expanded_bytes:
                    raise _expands(name, limits)
                stream.write(chunk)
    except (gzip.BadGzipFile, EOFError, OSError) as error:
        raise Refused(422, "unreadable", f"{name}: a damaged or cut-off gzip file ({error}).") from None
    return plain


def _chunks(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _article(path: Path, html: bool, order: Order, limits: Limits) -> tuple[Taken, Iterator[dict[str, Any]]]:
    text = _as_named(path, order, lambda: read_text(path, order.encoding))
    name = order.title or order.name
    article = read_html(text, name) if html else parse_article(text, document=name)
    if len(article.text) > limits.article_characters:
        most = limits.article_characters
        message = f"{order.name} has {len(article.text):,} characters; an article may have {most:,}. Send it in parts."
        raise Refused(413, "too_long", message)
    taken = Taken(article=True, dateline=article.cut_off)
    return taken, _sentences(article, taken, limits)


def _sentences(article: Article, taken: Taken, limits: Limits) -> Iterator[dict[str, Any]]:
    """The rows of an article; ``article`` tells those of several by the same name apart.

    A column of the user's of that name, or of one that ``speakers`` adds, becomes ``input_<name>``.
    """
    taken.articles += 1
    for row, sentence in zip(article_rows(article), article.sentences, strict=True):
        if len(sentence.text) > limits.sentence_characters:
            taken.reject(row["sentence"], _too_long(sentence.text, limits))
            continue
        own = {"article": taken.articles, "paragraph": sentence.paragraph + 1}
        names = free_names(row, [*own, *SOURCE_COLUMNS])
        extras = {names[name]: _plain(value) for name, value in row.items()}
        yield {"document": extras.pop("document"), **own, **extras}


def _as_named(path: Path, order: Order, read: Callable[[], str]) -> str:
    try:
        return read()
    except UserError as error:
        raise Refused(422, "unreadable", in_words_of_the_page(str(error), str(path), order.name)) from None


def _too_long(text: str, limits: Limits) -> str:
    return f"{len(text):,} characters, more than the {limits.sentence_characters:,} that a sentence may have"


def _table(path: Path, kind: Format, order: Order, limits: Limits) -> tuple[Taken, Iterator[dict[str, Any]]]:
    column = order.text_column or _guess_column(path, kind, order)
    if order.rows == "auto" and _holds_articles(path, kind, column, order):
        return _articles(path, kind, column, order, limits)
    taken = Taken(text_column=column)

    def rows() -> Iterator[dict[str, Any]]:
        columns: set[str] = set()
        for number, row in enumerate(_records(path, kind, order), start=1):
            if number > limits.rows:
                raise _too_many_rows(order, limits)
            if isinstance(row, BadRow):
                taken.reject(number, row.reason)
                continue
            columns.update(row.values)
            if len(columns) > limits.columns:
                raise _too_many_columns(order, limits)
            text = row.values.get(column)
            if not isinstance(text, str) or not text.strip():
                taken.reject(number, f"expected text in column '{column}'")
            elif len(text) > limits.sentence_characters:
                taken.reject(number, _too_long(text, limits))
            else:
                values = {str(name)[:_LONGEST_NAME]: _plain(value) for name, value in row.values.items()}
                size = sum(len(str(value)) for value in values.values())
                if size > limits.row_characters:
                    taken.reject(number, f"{size:,} characters in all, more than {limits.row_characters:,}")
                else:
                    yield values
        if columns and column not in columns:
            raise _no_column(column, sorted(columns), order)

    return taken, rows()


def _holds_articles(path: Path, kind: Format, column: str, order: Order) -> bool:
    """Whether most rows are texts of several sentences, and no document has several rows."""
    texts: list[str] = []
    for row in itertools.islice(_records(path, kind, order), _LOOKED_AT):
        if isinstance(row, Row) and isinstance(text := row.values.get(column), str) and text.strip():
            texts.append(text)
    if not texts or statistics.median(len(split_sentences(text)) for text in texts) < FEWEST_SENTENCES:
        return False
    return not ArticleFile(str(path), order.name, kind).has_sentences(ArticleColumns(text=column), order.encoding)


def _articles(
    path: Path, kind: Format, column: str, order: Order, limits: Limits
) -> tuple[Taken, Iterator[dict[str, Any]]]:
    """A table with an article a row, split as 'conflict-framing sources' does."""
    taken = Taken()
    found = ArticleFile(str(path), order.name, kind).articles(ArticleColumns(text=column), order.encoding)

    def rows() -> Iterator[dict[str, Any]]:
        written = 0
        columns: set[str] = set()
        for number, item in enumerate(found, start=1):
            if isinstance(item, BadRow):
                taken.reject(number, item.reason)
                continue
            size = len(item.text)
            if size > limits.article_characters:
                taken.reject(number, f"{size:,} characters, more than the {limits.article_characters:,} of an article")
                continue
            if sum(len(str(value)) for value in item.extras.values()) > limits.row_characters:
                taken.reject(number, f"columns of more than {limits.row_characters:,} characters in all")
                continue
            columns.update(item.extras)
            if len(columns) > limits.columns:
                raise _too_many_columns(order, limits)
            for row in _sentences(item, taken, limits):
                written += 1
                if written > limits.rows:
                    raise _too_many_rows(order, limits, "sentences")
                yield {str(name)[:_LONGEST_NAME]: value for name, value in row.items()}
        if not written:
            raise _no_rows(column, taken, order)  # the sentences' own column is "text"

    return taken, rows()


def _too_many_rows(order: Order, limits: Limits, what: str = "rows") -> Refused:
    return Refused(413, "too_many_rows", f"{order.name} has more than {limits.rows:,} {what}. Send it in parts.")


def _too_many_columns(order: Order, limits: Limits) -> Refused:
    return Refused(413, "too_many_columns", f"{order.name} has more than {limits.columns} columns. Drop some of them.")


def _records(path: Path, kind: Format, order: Order) -> Iterator[Row | BadRow]:
    try:
        yield from read_table(path, encoding=order.encoding, format=kind)
    except UserError as error:
        raise Refused(422, "unreadable", in_words_of_the_page(str(error), str(path), order.name)) from None


def _guess_column(path: Path, kind: Format, order: Order) -> str:
    first = next((row for row in _records(path, kind, order) if isinstance(row, Row)), None)
    if first is None:
        return TEXT_COLUMNS[0]
    names = {name.casefold(): name for name in first.values}
    for name in TEXT_COLUMNS:
        if name in names:
            return names[name]
    if len(first.values) == 1:
        return next(iter(first.values))
    raise _no_column(TEXT_COLUMNS[0], list(first.values), order)


def _no_column(column: str, found: list[str], order: Order) -> Refused:
    message = in_words_of_the_page(str(missing_column(column, found, order.name, "--text-column")))
    return Refused(422, "missing_column", message, columns=found)


def _plain(value: Any) -> Any:
    """JSON has no number for what is not finite, and no dates."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value


if __name__ == "__main__":
    threading.stack_size(2**20)  # pyarrow's threads count against the memory with the whole of their stacks
    main()
