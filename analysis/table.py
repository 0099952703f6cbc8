"""Predictions files as arrays: probabilities, documents, and the columns to group by."""

import datetime
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.errors import UserError
from ..data.tables import BadRow, Row, format_of, missing_column, read_table
from ..model.metadata import metadata_file

PERIODS = ("year", "quarter", "month", "week")
"""Columns that are derived from the dates where a file has none of the name; the coarsest first."""
NOT_GIVEN = "(not given)"
OWN_VOICE = "(own voice)"
"""The ``source_type`` of sentences that ``sources`` looked at and attributed to nobody."""
_ROUNDING = 1e-2  # probabilities stand in files with six digits; sums may be off by a little
_DATE = re.compile(r"\s*(\d{4})(?:([-/.]?)(\d{1,2})(?:\2(\d{1,2})(?!\d))?)?(?=$|[T\s])")


@dataclass(frozen=True)
class Column:
    """A column of texts: row i holds ``values[codes[i]]``; ``values`` are sorted, a missing one is "" and last."""

    codes: npt.NDArray[np.int64]
    values: list[str]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Column":
        values = sorted(set(texts), key=lambda text: (text == "", text))
        places = {value: place for place, value in enumerate(values)}
        return cls(np.fromiter((places[text] for text in texts), np.int64, len(texts)), values)

    def mapped(self, change: Callable[[str], str]) -> "Column":
        """The column with every value changed."""
        return Column.of([change(self.values[code]) for code in self.codes])


@dataclass(frozen=True)
class Groups:
    """Which group each row is in, with the groups in order of their keys.

    Attributes:
        codes: the group of each row, shape (n rows,).
        keys: a value per column that was grouped by.
    """

    codes: npt.NDArray[np.int64]
    keys: list[tuple[str, ...]]


@dataclass(frozen=True)
class PredictionTable:
    """The rows of one or more predictions files of one model.

    Attributes:
        labels: in the order of the columns ``p_<label>``.
        probabilities: shape (n rows, n labels).
        predicted: the label of each row as a place in ``labels``.
        documents: the document of each row as a number from 0; a row without one is a document of its own.
        columns: by name, those that were asked for.
        texts: a checksum of each row's text, to tell it again by.
        files: that were read, in order.
        without_document: how many rows name no document.
    """

    labels: list[str]
    probabilities: npt.NDArray[np.float32]
    predicted: npt.NDArray[np.int64]
    documents: npt.NDArray[np.int64]
    columns: Mapping[str, Column]
    texts: npt.NDArray[np.uint32]
    files: tuple[Path, ...] = ()
    without_document: int = 0

    def __len__(self) -> int:
        return len(self.predicted)

    def with_column(self, name: str, column: Column) -> "PredictionTable":
        return replace(self, columns={**self.columns, name: column})

    def groups(self, by: Sequence[str]) -> Groups:
        """Rows by the values of columns; without columns all rows are one group."""
        if not by:
            return Groups(np.zeros(len(self), np.int64), [()])
        stacked = np.stack([self.columns[name].codes for name in by])
        found, codes = np.unique(stacked, axis=1, return_inverse=True)
        keys = [tuple(self.columns[name].values[code] for name, code in zip(by, pair, strict=True)) for pair in found.T]
        return Groups(codes.reshape(-1).astype(np.int64), keys)


def text_checksum(text: str) -> int:
    """Of a text's letters, so that what a spreadsheet does to blanks does not matter."""
    return zlib.crc32("".join(text.split()).encode("utf-8", "surrogatepass"))


def text_column_of(path: str | Path) -> str:
    """The column of sentences that a predictions file was made from, as its metadata tell; "text" without them."""
    try:
        told = json.loads(metadata_file(Path(path)).read_text("utf-8"))["options"]["text_column"]
    except (OSError, ValueError, KeyError, TypeError):
        return "text"
    return told if isinstance(told, str) else "text"


def read_predictions(
    paths: Sequence[str | Path],
    columns: Sequence[str] = (),
    *,
    optional: Sequence[str] = (),
    date_column: str = "date",
    text_column: str | None = None,
    encoding: str = "utf-8",
    on_progress: Callable[[int], None] = lambda done: None,
) -> PredictionTable:
    """Read what ``predict`` wrote.

    Args:
        paths: predictions files of one model.
        columns: to group by; ``year``, ``quarter``, ``month`` and ``week`` (ISO 8601) are derived from
            ``date_column`` in files that have no such column.
        optional: more columns, kept where a file has them. Where ``source_type`` and ``source`` are both there and
            empty, the source type is ``OWN_VOICE``.
        date_column: ISO dates (2024-05-31, 2024-05), with or without a time.
        text_column: the sentences; None is that of ``text_column_of`` each file.
        encoding: of text formats.
        on_progress: called with the rows read so far.

    Raises:
        UserError: no predictions file, a row that cannot be read, a column that is missing, no row with a date.
    """
    names = list(dict.fromkeys([*columns, *optional]))
    labels: list[str] = []
    probabilities: list[list[float]] = []
    predicted: list[int] = []
    documents: list[str] = []
    texts: list[int] = []
    found: dict[str, list[str]] = {name: [] for name in names}
    without_document = 0
    present: set[str] = set()
    for path in paths:
        reader: _Reader | None = None
        sentences = text_column or text_column_of(path)
        for row in _rows(path, encoding):
            if reader is None:
                reader = _Reader.of(row, date_column, sentences)
                if format_of(path) != "jsonl":  # whose later rows may have other columns
                    reader.check(columns, str(path))
                if labels and reader.labels != labels:
                    raise UserError(
                        f"{path}: expected the labels of {paths[0]} ({', '.join(labels)}), came "
                        f"{', '.join(reader.labels)}. Give predictions files of one model."
                    )
                labels = reader.labels
            reader.names.update(row.values)
            probabilities.append(reader.probabilities(row))
            predicted.append(reader.predicted(row))
            texts.append(text_checksum(str(row.values.get(sentences) or "")))
            document = _text(row.values.get("document"))
            without_document += not document
            # Sentences of files that number their documents from 1 are not of one document.
            documents.append(f"{path}\0{document}" if document else f"\0{len(documents)}")
            for name in names:
                found[name].append(reader.value(row, name))
            if len(predicted) % 10_000 == 0:
                on_progress(len(predicted))
        if reader is None:
            raise UserError(f"{path}: no rows in it.")
        reader.check(columns, str(path))
        present.update(reader.names)
    for name in columns:
        if name in PERIODS and name not in present and not any(found[name]):
            raise UserError(
                f"column '{date_column}': no row has a date to derive '{name}' from. Expected dates like 2024-05-31 "
                f"or 2024-05. Change them, or name another column with --date-column."
            )
    kept = {
        name: Column.of(texts_)
        for name, texts_ in found.items()
        if name in columns or any(text not in ("", OWN_VOICE) for text in texts_)
    }
    return PredictionTable(
        labels=labels,
        probabilities=np.array(probabilities, np.float32),
        predicted=np.array(predicted, np.int64),
        documents=Column.of(documents).codes,
        columns=kept,
        texts=np.array(texts, np.uint32),
        files=tuple(Path(path) for path in paths),
        without_document=without_document,
    )


def _rows(path: str | Path, encoding: str) -> Iterator[Row]:
    for row in read_table(path, encoding=encoding):
        if isinstance(row, BadRow):
            raise UserError(f"{row.place}: {row.reason}. Expected a predictions file of 'conflict-framing predict'.")
        yield row


@dataclass(frozen=True)
class _Reader:
    """How to read the rows of one file, from its first.

    ``names`` are the columns seen so far: those of articles and of a table need not be the same.
    """

    labels: list[str]
    names: dict[str, Any]
    date_column: str

    @classmethod
    def of(cls, row: Row, date_column: str, text_column: str) -> "_Reader":
        names = list(row.values)
        labels = _labels(names)
        if len(labels) < 2 or "label" not in names:
            raise UserError(
                f"{row.path}: expected the columns label, score, p_<label>…, abstained of a predictions file, found: "
                f"{', '.join(map(repr, names)) or 'none'}. Label the sentences first: "
                f"conflict-framing predict {row.path} --output predictions.jsonl"
            )
        if text_column not in names:
            raise missing_column(text_column, names, row.path, "--text-column")
        return cls(labels, dict.fromkeys(names), date_column)

    def check(self, columns: Sequence[str], path: str) -> None:
        """Whether what is to be grouped by is among the columns.

        Raises:
            UserError: it is not.
        """
        names = list(self.names)
        for name in columns:
            if name in PERIODS and name not in names:
                if self.date_column not in names:
                    raise missing_column(self.date_column, names, path, "--date-column")
            elif name not in names:
                raise UserError(
                    f"{path}: no column '{name}' to group by. Columns found: {', '.join(map(repr, names))}; "
                    f"{', '.join(PERIODS)} are derived from dates. Name others with --by."
                )

    def probabilities(self, row: Row) -> list[float]:
        try:
            values = [float(row.values[f"p_{label}"]) for label in self.labels]
        except (KeyError, TypeError, ValueError):
            values = [math.nan]
        if not all(0 <= value <= 1 for value in values) or abs(sum(values) - 1) > _ROUNDING:
            raise UserError(
                f"{row.path}:{row.line}: expected probabilities that sum to 1 in the columns "
                f"{', '.join(f'p_{label}' for label in self.labels)}, came "
                f"{[row.values.get(f'p_{label}') for label in self.labels]}. Label the sentences anew with 'predict'."
            )
        return values

    def predicted(self, row: Row) -> int:
        label = row.values.get("label")
        if label not in self.labels:
            raise UserError(
                f"{row.path}:{row.line}: expected one of the labels {', '.join(self.labels)}, came {label!r}. "
                f"Give what 'predict' wrote; labels that people gave go to --audit."
            )
        return self.labels.index(label)

    def value(self, row: Row, name: str) -> str:
        if name in PERIODS and name not in row.values:
            return period_of(row.values.get(self.date_column), name)
        value = _text(row.values.get(name))
        # A source without a type is one of the user's own; without a source the outlet itself speaks.
        own_voice = name == "source_type" and not value and "source" in row.values and not _text(row.values["source"])
        return OWN_VOICE if own_voice else value


def _labels(names: Sequence[str]) -> list[str]:
    """The labels of a predictions file: the run of columns p_… between score and abstained."""
    if "score" not in names or "abstained" not in names:
        return []
    between = names[names.index("score") + 1 : names.index("abstained")]
    return [name.removeprefix("p_") for name in between if name.startswith("p_")]


def _text(value: Any) -> str:
    return "" if value is None else " ".join(str(value).split())


def period_of(value: Any, period: str) -> str:
    """The year (2024), quarter (2024-Q2), month (2024-05) or ISO week (2024-W22) of a date; "" of what is none."""
    if isinstance(value, datetime.date):
        value = value.isoformat()
    match = _DATE.match(str(value)) if value is not None else None
    if match is None:
        return ""
    year, month, day = match[1], match[3], match[4]
    if period == "year":
        return year
    if month is None or not 1 <= int(month) <= 12:
        return ""
    if period == "month":
        return f"{year}-{int(month):02}"
    if period == "quarter":
        return f"{year}-Q{(int(month) + 2) // 3}"
    try:
        week = datetime.date(int(year), int(month), int(day or "")).isocalendar()
    except ValueError:
        return ""
    return f"{week.year}-W{week.week:02}"
