"""Write the sentences of articles, or the rows of a predictions file, with the source of each."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.articles import OUTLET_OF_TABLES, Article, article_rows
from ..data.errors import UnreadableError, UserError
from ..data.files import partial_of, put_in_place
from ..data.tables import STDIN, BadRow, Format, RowWriter, arrow_type, check_table_name, free_names, open_writer
from .articles import ArticleColumns, ArticleFile, article_files
from .sources import SOURCE_COLUMNS, attribute, load_parser

_SHOWN = 30


@dataclass
class SourcesReport:
    """What was written.

    Attributes:
        types: how many sentences each type of source has; None is the outlet's own voice.
        rejected: how many rows were left out, or whole files that cannot be read; ``problems`` are the first of them.
        without_year: how many articles have no date because their dateline has no year.
        without_date: how many have neither.
    """

    output: Path
    articles: int = 0
    sentences: int = 0
    types: Counter[str | None] = field(default_factory=Counter)
    rejected: int = 0
    without_year: int = 0
    without_date: int = 0
    problems: list[BadRow] = field(default_factory=list)

    def take(self, item: Article | BadRow) -> None:
        """Count what was read."""
        if isinstance(item, BadRow):
            self.rejected += 1
            self.problems += [item] * (len(self.problems) < _SHOWN)
        else:
            self.articles += 1
            self.without_year += item.lacks_year
            self.without_date += item.lacks_date

    def add(self, other: "SourcesReport") -> None:
        """Count what was read of a file once that was read to its end."""
        self.articles += other.articles
        self.without_year += other.without_year
        self.without_date += other.without_date
        self.rejected += other.rejected
        self.problems += other.problems[: _SHOWN - len(self.problems)]


def source_files(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    columns: ArticleColumns | None = None,
    encoding: str = "utf-8",
    format: Format | None = None,
    outlet: str | None = None,
    year: int | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SourcesReport:
    """Attribute each sentence of articles, and write a table with a sentence a row; one article in memory at a time.

    Columns are those of ``article_rows``, then ``source, source_type, source_start, source_end, source_cue``
    (characters of the row's text). Tables with a sentence a row, such as a predictions file, keep their rows
    and columns; a column of a taken name becomes ``input_<name>``.

    Args:
        inputs: as for ``read_articles``.
        output: its name says the format.
        columns: of tables.
        encoding: of text formats.
        format: overrides what the names of the inputs say.
        outlet: as for ``read_articles``.
        year: as for ``read_articles``.
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
    with article_files(inputs, format, leave_out=[report.output]) as files:
        if outlet and all(file.kind not in ("text", "html") for file in files):
            raise UserError(OUTLET_OF_TABLES)
        reading = {"columns": columns, "encoding": encoding, "outlet": outlet, "year": year}
        survey = _Survey.of(files, reading, report)
        files = survey.files
        report.output.parent.mkdir(parents=True, exist_ok=True)
        with _written(report.output, kind, survey.types) as writer:
            for done, article in enumerate(_articles(files, reading), start=1):
                # Else spaCy remembers every word that it ever met.
                with load_parser().memory_zone():
                    rows = list(_rows(article, survey.renamed))
                writer.write([{name: row.get(name) for name in survey.types} for row in rows])
                report.sentences += len(rows)
                report.types.update(row["source_type"] for row in rows)
                on_progress(done, report.articles)
    return report


@dataclass(frozen=True)
class _Survey:
    """What a first look at all articles tells: the columns of the output, which must be known before its first row.

    Attributes:
        files: those that can be read.
        types: Arrow types of all columns, in order.
        renamed: new names of columns whose names are taken.
    """

    files: list[ArticleFile]
    types: dict[str, Any]
    renamed: dict[str, str]

    @classmethod
    def of(cls, files: Sequence[ArticleFile], reading: dict[str, Any], report: SourcesReport) -> "_Survey":
        """Look, and count articles and rejected rows into the report.

        Raises:
            UserError: there is no article that can be read, or a file has no column of texts.
        """
        seen: dict[str, set[type]] = {}
        readable, unreadable = [], []
        for file in files:
            own = SourcesReport(report.output)
            own_seen: dict[str, set[type]] = {}
            try:
                for item in file.articles(**reading):
                    own.take(item)
                    for row in article_rows(item) if isinstance(item, Article) else ():
                        for name, value in row.items():
                            own_seen.setdefault(name, set()).add(type(value))
            except UnreadableError as error:
                unreadable.append(error)
                report.take(BadRow.of(error))
                continue
            readable.append(file)
            report.add(own)
            for name, kinds in own_seen.items():
                seen.setdefault(name, set()).update(kinds)
        if unreadable and not readable:
            if len(files) == 1:
                raise unreadable[0]
            raise UserError(f"None of the {len(files):,} files can be used. The first: {unreadable[0]}")
        if not report.articles:
            raise UserError("No article in the input.")
        renamed = free_names(seen, SOURCE_COLUMNS)
        types = {renamed[name]: arrow_type(kinds) for name, kinds in seen.items()}
        # Empty columns have types too, so that files of several runs go together.
        types |= {name: arrow_type({int} if name in _PLACES else {str}) for name in SOURCE_COLUMNS}
        return cls(readable, types, renamed)


_PLACES = ("source_start", "source_end")


def _articles(files: Sequence[ArticleFile], reading: dict[str, Any]) -> Iterator[Article]:
    for file in files:
        yield from (item for item in file.articles(**reading) if isinstance(item, Article))


def _rows(article: Article, renamed: dict[str, str]) -> Iterator[dict[str, Any]]:
    for row, sentence, found in zip(article_rows(article), article.sentences, attribute(article), strict=True):
        yield {renamed[name]: value for name, value in row.items()} | found.columns(sentence.cut)


@contextmanager
def _written(output: Path, kind: Format, types: dict[str, Any]) -> Iterator[RowWriter]:
    """A writer whose file stands in place once all is written; nothing is left of one that was broken off."""
    partial = partial_of(output)
    writer = open_writer(partial, kind, types)
    try:
        yield writer
    except BaseException:
        writer.close()
        partial.unlink()
        raise
    writer.close()
    put_in_place(partial, output)
