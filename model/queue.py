"""The least sure rows, as a table for people to label."""

import heapq
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.tables import arrow_type, format_of, open_writer
from .classifier import Prediction

QUEUE_COLUMNS = ("suggested", "score", "label")


class Queue:
    """Keeps the least sure of the rows that it is given, in memory for so many only.

    Args:
        size: how many.
        names: of the rows' columns in the table, so that none is called like one of ``QUEUE_COLUMNS``.
    """

    def __init__(self, size: int, names: Mapping[str, str]) -> None:
        self._size = size
        self._names = names
        self._seen = 0
        # The surest first, the later of two equally sure: what gives way is at hand.
        self._kept: list[tuple[float, int, dict[str, Any]]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, rows: Sequence[Mapping[str, Any]], predictions: Sequence[Prediction]) -> None:
        """Consider the abstained of some rows."""
        for row, prediction in zip(rows, predictions, strict=True):
            if prediction.abstained:
                self._seen += 1
                asked = {"suggested": prediction.label, "score": round(prediction.score, 6), "label": ""}
                entry = {self._names[name]: value for name, value in row.items()} | asked
                heapq.heappush(self._kept, (-prediction.score, -self._seen, entry))
                if len(self._kept) > self._size:
                    heapq.heappop(self._kept)

    def write(self, path: Path, types: Mapping[str, Any]) -> None:
        """Write the rows, least sure first; without any, a table of no rows.

        Args:
            path: a table's name; ``.partial`` after it is no part of it.
            types: Arrow types of the rows' columns, by their old names.
        """
        asked = {name: arrow_type({float if name == "score" else str}) for name in QUEUE_COLUMNS}
        columns = {self._names[name]: type_ for name, type_ in types.items()} | asked
        writer = open_writer(path, format_of(path.with_name(path.name.removesuffix(".partial"))), columns)
        writer.write([row for _, _, row in sorted(self._kept, key=lambda entry: entry[:2], reverse=True)])
        writer.close()
