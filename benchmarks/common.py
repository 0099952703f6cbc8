"""What the benchmarks share: finding data that is not part of the repository, printing tables."""

import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"


def require(path: Path, what: str) -> Path:
    """The path if it exists; else say plainly what is missing and stop."""
    if not path.exists():
        sys.exit(f"{what} is not here: {path}\nIt is not part of this repository; give another path.")
    return path


def real_sample(folder: Path) -> Path:
    """Our labelled sample of the unlabelled real sentences as a file with their texts, written to a folder.

    The repository holds ids and labels alone; the texts are those of the collection beside it. Sentences on
    which the two annotators differed have no label and are left out.
    """
    source = require(SHARED / "real" / "sentences.jsonl.gz", "The unlabelled real sentences")
    marks = [json.loads(line) for line in (HERE / "real_sample.jsonl").read_text("utf-8").splitlines()]
    labels = {mark["id"]: mark for mark in marks if mark["label"]}
    path = folder / "real_sample.jsonl"
    with gzip.open(source, "rt", encoding="utf-8") as stream, path.open("w", encoding="utf-8") as out:
        for line in stream:
            row = json.loads(line)
            if row["id"] in labels:
                out.write(json.dumps({**row, **labels[row["id"]]}, ensure_ascii=False) + "\n")
    return path


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table, so that it can be read here and pasted there."""
    widths = [max(len(str(row[place])) for row in [header, *rows]) for place in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))]
        return f"| {' | '.join(padded)} |"

    print(line(header))
    print(f"|{'-' * (widths[0] + 2)}|{'|'.join('-' * (w + 1) + ':' for w in widths[1:])}|")
    for row in rows:
        print(line(row))
