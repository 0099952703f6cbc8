"""Write the sentences of articles, or the rows of a predictions file, with the source of each."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.errors import UserError
from ..data.files import partial_of, put_in_place
from ..data.tables import STDIN, BadRow, Format, arrow_type, check_table_name, open_writer
from .articles import Article, ArticleColumns, article_rows, read_articles
from .sources import SOURCE_COLUMNS, attribute

_BATCH = 500


@dataclass
class SourcesReport:
    """What was written, and how many sentences each type of source has; None is the outlet's own voice."""

    output: Path
    articles: int = 0
    sentences: int = 0
    types: Counter[str | None] = field(default_factory=Counter)
    rejected: list[BadRow] = field(default_factory=list)


def source_files(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    columns: ArticleColumns | None = None,
    encoding: str = "utf-8",
    format: Format | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SourcesReport:
    """Attribute each sentence of articles, and write a table with a sentence a row.

    Columns are those of ``article_rows``, then ``source, source_type, source_start, source_end, source_cue``
    (characters of the row's text). Tables with a sentence a row, such as a predictions file, keep their rows
    and columns; a column of a taken name becomes ``input_<name>``.

    Args:
        inputs: as for ``read_articles``.
        output: its name says the format.
        columns: of tables.
        encoding: of text formats.
        format: overrides what the names of the inputs say.
        overwrite: replace an existing output.
        on_progress: called with articles done and articles in all.

    Raises:
        UserError: an input cannot be read, or the output exists.
        MissingExtraError: spaCy or its pipeline is not installed.
    """
    columns = columns or ArticleColumns()
    report = SourcesReport(Path(output))
    kind = check_table_name(report.output)
    if report.output.exists():
        if any(str(path) != STDIN and Path(path).exists() and report.output.samefile(path) for path in inputs):
            raise UserError(f"{output} is an input too, and would be lost. Name another --output.")
        if not overwrite:
            raise UserError(f"{output} exists. Name another --output, or replace it with --overwrite.")
    found = list(read_articles(inputs, columns=columns, encoding=encoding, format=format))
    articles = [item for item in found if isinstance(item, Article)]
    report.rejected = [item for item in found if isinstance(item, BadRow)]
    if not articles:
        raise UserError("No article in the input.")
    taken = {name for article in articles for row in article_rows(article) for name in row}
    rows: list[dict[str, Any]] = []
    for done, article in enumerate(articles, start=1):
        rows += _rows(article, taken)
        on_progress(done, len(articles))
    report.articles, report.sentences = len(articles), len(rows)
    report.types.update(row["source_type"] for row in rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    types = {name: arrow_type({type(row.get(name)) for row in rows}) for name in names}
    # Empty columns have types too, so that files of several runs go together.
    types |= {"source_start": arrow_type({int}), "source_end": arrow_type({int})}
    report.output.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(report.output)
    writer = open_writer(partial, kind, types)
    for batch in _batches(rows):
        writer.write([{name: row.get(name) for name in names} for row in batch])
    writer.close()
    put_in_place(partial, report.output)
    return report


def _rows(article: Article, taken: set[str]) -> Iterator[dict[str, Any]]:
    for row, sentence, found in zip(article_rows(article), article.sentences, attribute(article), strict=True):
        yield {_free(name, taken): value for name, value in row.items()} | found.columns(sentence.cut)


def _free(name: str, taken: set[str]) -> str:
    if name not in SOURCE_COLUMNS:
        return name
    new = f"input_{name}"
    while new in taken:
        new = f"input_{new}"
    return new


def _batches(rows: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(rows)
    while batch := list(itertools.islice(remaining, _BATCH)):
        yield batch
