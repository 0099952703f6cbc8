"""A finished job's rows: filter, page, download."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from conflict_framing.data.tables import neutralised

_BATCH = 2000


@dataclass(frozen=True)
class Filter:
    """Which rows; each part narrows.

    Attributes:
        labels: those shown, corrected ones under their new label; None is any.
        low, high: bounds of the probability, from 0 to 1.
        text: is in the sentence, whatever its case.
        corrected: only rows that somebody labelled.
    """

    labels: tuple[str, ...] | None = None
    low: float = 0.0
    high: float = 1.0
    text: str = ""
    corrected: bool = False


class Result:
    """The predictions file of a job, with the labels that people gave since.

    Attributes:
        names: the model's labels, in order.
        corrections: by row, the label that somebody gave.
    """

    def __init__(self, path: Path, names: Sequence[str], corrections: Mapping[int, str]) -> None:
        self.path, self.names, self.corrections = path, list(names), dict(corrections)

    @property
    def columns(self) -> list[str]:
        """The columns that came in, the sentences' own among them."""
        ours = {"label", "score", "abstained", "truncated", *(f"p_{name}" for name in self.names)}
        return [name for name in self.table.column_names if name not in ours]

    @property
    def table(self) -> Any:
        return _read(self.path, self.path.stat().st_mtime_ns)

    @property
    def labels(self) -> list[str]:
        """The label of each row, corrected where somebody did."""
        found: list[str] = self.table["label"].to_pylist()
        for row, label in self.corrections.items():
            found[row] = label
        return found

    def counts(self) -> dict[str, int]:
        found = Counter(self.labels)
        return {name: found[name] for name in self.names}

    def select(self, wanted: Filter, text_column: str) -> npt.NDArray[np.int64]:
        """The rows that pass, in order, counted from 0."""
        import pyarrow.compute as pc

        keep = np.ones(self.table.num_rows, bool)
        if wanted.labels is not None:
            keep &= np.isin(np.array(self.labels, object), list(wanted.labels))
        scores = self.table["score"].to_numpy()
        keep &= (scores >= wanted.low) & (scores <= wanted.high)
        if wanted.text:
            texts = self.table[text_column].cast("string")
            keep &= pc.fill_null(pc.match_substring(texts, wanted.text, ignore_case=True), False).to_numpy()
        if wanted.corrected:
            mine = np.zeros(len(keep), bool)
            mine[list(self.corrections)] = True
            keep &= mine
        return np.flatnonzero(keep)

    def rows(self, places: npt.NDArray[np.int64]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each row's number and its columns as they stand in the file."""
        for first in range(0, len(places), _BATCH):
            chosen = places[first : first + _BATCH]
            yield from zip(chosen.tolist(), self.table.take(chosen).to_pylist(), strict=True)

    def page(self, places: npt.NDArray[np.int64], text_column: str) -> list[dict[str, Any]]:
        """Rows as the page and the API have them."""
        return [self._for_page(number, row, text_column) for number, row in self.rows(places)]

    def _for_page(self, number: int, row: dict[str, Any], text_column: str) -> dict[str, Any]:
        return {
            "row": number,
            "text": row[text_column],
            "label": row["label"],
            "score": row["score"],
            "probabilities": {name: row[f"p_{name}"] for name in self.names},
            "truncated": row["truncated"],
            "corrected": self.corrections.get(number),
            "columns": {name: _told(row[name]) for name in self.columns if name != text_column},
        }

    def jsonl(self, places: npt.NDArray[np.int64]) -> Iterator[bytes]:
        for number, row in self.rows(places):
            row["corrected_label"] = self.corrections.get(number)
            yield (json.dumps(row, ensure_ascii=False, default=str) + "\n").encode()

    def csv(self, places: npt.NDArray[np.int64]) -> Iterator[bytes]:
        """Quoted throughout; a cell that a spreadsheet would run gets an apostrophe in front.

        The byte-order mark tells Excel that it is UTF-8.
        """
        buffer = io.StringIO()
        writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
        writer.writerow([_cell(name) for name in (*self.table.column_names, "corrected_label")])
        yield b"\xef\xbb\xbf"
        for number, row in self.rows(places):
            writer.writerow([_cell(value) for value in (*row.values(), self.corrections.get(number, ""))])
            if buffer.tell() > 2**16:
                yield _taken(buffer)
        yield _taken(buffer)


@lru_cache(maxsize=2)
def _read(path: Path, changed: int) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()


def _told(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else json.dumps(value, default=str)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return neutralised(text)


def forget() -> None:
    """Give the memory back of results that were deleted."""
    _read.cache_clear()
