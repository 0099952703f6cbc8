"""Labels that people gave in the page, in a file of corpus format that ``train --corpus`` reads."""

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4


class Annotations:
    """Appends to one JSONL file; a label that is changed or taken back replaces its line.

    A corpus must not hold one sentence twice under two labels, so what was saved in this session of the server
    is found again by its ``id``. Lines of others are never touched.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def save(
        self, text: str, label: str, *, document: str | None, predicted: str, score: float, replaces: str | None = None
    ) -> str:
        """Write a line and give its id, which is ``replaces`` where that is given.

        Raises:
            OSError: the file cannot be written.
        """
        row = {
            "text": text,
            "label": label,
            **({"document": document} if document else {}),
            "id": replaces or uuid4().hex,
            "model_label": predicted,
            "model_score": round(score, 6),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with self._lock:
            if replaces:
                self._drop(replaces)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b") as stream:
                # A last line without its end, as an editor may leave it, would swallow this one.
                if stream.tell() and (stream.seek(-1, os.SEEK_END) or True) and stream.read(1) != b"\n":
                    stream.write(b"\n")
                stream.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
        return str(row["id"])

    def withdraw(self, id: str) -> None:
        """Take a line out again."""
        with self._lock:
            self._drop(id)

    def _drop(self, id: str) -> None:
        if not self.path.exists():
            return
        kept = [line for line in self.path.read_text("utf-8").splitlines(keepends=True) if not _is(line, id)]
        partial = self.path.with_name(self.path.name + ".partial")
        partial.write_text("".join(kept), "utf-8")
        partial.replace(self.path)


def _is(line: str, id: str) -> bool:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError:
        return False
    return isinstance(row, dict) and row.get("id") == id
