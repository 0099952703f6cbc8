"""A job in shards: so many input rows each, finished one after another, kept in a folder until all are.

A shard is a few files: the rows as they came, what the model says of them, and the rows that cannot be
labelled. They are put in place by renaming, and only then does a line of the manifest say that the shard is
done; so a job that was broken off at any point goes on after the last such line. ``stored`` does the same on a
store. What follows from all rows together (label shares, drift, the queue, the output itself) is made from the
shards at the end, and comes out the same whether the job was broken off or not.
"""

import contextlib
import io
import itertools
import json
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from ..data.errors import UserError
from ..data.files import SyncedFile, put_in_place, sync_folder
from ..data.tables import BadRow, Row, open_writer, read_table, write_jsonl
from ..data.urls import Place
from .classifier import WINDOW, CheckpointClassifier
from .priors import document_blocks
from .rows import ReadOptions, RowCursor, Source, Survey

SHARD_ROWS = 8 * WINDOW
"""Input rows of a shard: what is lost when a job is broken off, at most."""
MANIFEST_VERSION = 1
_OURS = re.compile(r"(lock|finished|manifest\.jsonl|stdin(\.gz|\.zst)?|\d{8}\.(rows|scores|rejected)\..*)(\.partial)?")

OnRows = Callable[[int, int], None]
"""Called with the rows read, and those of them rejected, in the shard at work."""

Scores = npt.NDArray[Any]
"""Structured array (n rows,): ``probabilities`` (float32, one per label), ``truncated``, ``by_first_stage`` (see
``cascade``), ``block`` (see ``priors``)."""


def scores_type(n_labels: int) -> np.dtype[Any]:
    return np.dtype(
        [
            ("probabilities", np.float32, (n_labels,)),
            ("truncated", np.bool_),
            ("by_first_stage", np.bool_),
            ("block", np.int16),
        ]
    )


@dataclass(frozen=True)
class Labelled:
    """Rows after labelling: the usable as they came, what the model says of them, and the others."""

    rows: list[dict[str, Any]]
    scores: Scores
    rejected: list[dict[str, Any]]


@dataclass(frozen=True)
class Labeller:
    """Rows in, labelled rows out; nothing else is read, written or remembered.

    Attributes:
        among: choose among these labels only.
    """

    classifier: CheckpointClassifier
    text_column: str
    among: Sequence[str] | None = None

    @property
    def labels(self) -> list[str]:
        """Those that can be chosen, in the order of the probabilities."""
        return [name for name in self.classifier.classes_ if self.among is None or name in self.among]

    def __call__(self, rows: Sequence[Row | BadRow]) -> Labelled:
        good = [row.values for row in rows if isinstance(row, Row)]
        predictions = self.classifier.predict([values[self.text_column] for values in good], among=self.among)
        scores = np.zeros(len(good), scores_type(len(self.labels)))
        if good:
            scores["probabilities"] = [list(prediction.probabilities.values()) for prediction in predictions]
            scores["truncated"] = [prediction.truncated for prediction in predictions]
            scores["by_first_stage"] = [prediction.by_first_stage for prediction in predictions]
            scores["block"] = document_blocks([values.get("document") for values in good])
        bad = [row for row in rows if isinstance(row, BadRow)]
        return Labelled(good, scores, [{"path": r.path, "line": r.line, "reason": r.reason, "raw": r.raw} for r in bad])


@dataclass(frozen=True)
class ShardEntry:
    """A line of the manifest: what became of the rows of a shard."""

    shard: int
    read: int
    written: int
    rejected: int


ShardKind = Literal["jsonl", "parquet"]
"""What the rows of shards are kept in: what loses nothing on the way to the output's format."""


class Shards(Protocol):
    """Where the shards of a job stand, and how to write and read them."""

    def write(self, shard: int, windows: Iterable[Labelled]) -> ShardEntry:
        """Write one shard, window by window; it is in place, and lasts, when this returns."""

    def read_windows(self, shard: int) -> Iterator[tuple[list[dict[str, Any]], Scores]]:
        """Rows and scores of a shard, ``WINDOW`` at a time.

        Raises:
            UserError: there are not as many of the one as of the other.
        """

    def read_scores(self, shard: int) -> Scores: ...

    def copy_rejected(self, shard: int, stream: IO[bytes]) -> None:
        """Write the shard's rejected rows, of which there must be some, to a stream."""

    def damaged(self, what: str) -> UserError: ...


@dataclass(frozen=True)
class ShardFiles:
    """Shards in a folder.

    Attributes:
        called: how errors call the folder, where that is not its path.
    """

    folder: Path
    kind: ShardKind
    columns: Mapping[str, Any]
    called: str = ""

    def paths(self, shard: int) -> tuple[Path, Path, Path]:
        """Of rows, scores and rejected rows; the last only where there are any."""
        ending = "parquet" if self.kind == "parquet" else "jsonl.zst"
        names = (f"rows.{ending}", "scores.npy", "rejected.jsonl")
        rows, scores, rejected = (self.folder / f"{shard:08d}.{name}" for name in names)
        return rows, scores, rejected

    def write(self, shard: int, windows: Iterable[Labelled]) -> ShardEntry:
        """See ``Shards``."""
        finals = self.paths(shard)
        partials = [path.with_name(path.name + ".partial") for path in finals]
        writer = open_writer(partials[0], self.kind, self.columns)
        scores: list[Scores] = []
        rejected: list[dict[str, Any]] = []
        for window in windows:
            writer.write(window.rows)
            scores.append(window.scores)
            rejected += window.rejected
        if not scores:
            raise UserError(
                f"{self.called or self.folder}: an input has fewer rows than at first. Start again with --overwrite."
            )
        writer.close()
        with SyncedFile(partials[1]) as stream, io.BytesIO() as array:
            # Writing to a file itself, NumPy would not say that the disk is full.
            np.save(array, np.concatenate(scores), allow_pickle=False)
            stream.write(array.getbuffer())
        if rejected:
            write_jsonl(partials[2], rejected)
        for partial, final in zip(partials, finals, strict=True):
            if final != finals[2] or rejected:
                partial.replace(final)
        sync_folder(self.folder)
        written = sum(map(len, scores))
        return ShardEntry(shard, written + len(rejected), written, len(rejected))

    def read_windows(self, shard: int) -> Iterator[tuple[list[dict[str, Any]], Scores]]:
        """See ``Shards``."""
        scores = self.read_scores(shard)
        table = read_table(self.paths(shard)[0], format=self.kind)
        rows = (row.values for row in table if isinstance(row, Row))
        for first in range(0, len(scores), WINDOW):
            part = scores[first : first + WINDOW]
            window = list(itertools.islice(rows, len(part)))
            if len(window) != len(part):
                raise self.damaged(f"shard {shard} has fewer rows than scores")
            yield window, part
        if next(rows, None) is not None:
            raise self.damaged(f"shard {shard} has more rows than scores")

    def read_scores(self, shard: int) -> Scores:
        scores: Scores = np.load(self.paths(shard)[1], allow_pickle=False)
        return scores

    def copy_rejected(self, shard: int, stream: IO[bytes]) -> None:
        with self.paths(shard)[2].open("rb") as rejected:
            shutil.copyfileobj(rejected, stream)

    def damaged(self, what: str) -> UserError:
        return UserError(
            f"{self.called or self.folder}: {what}. Something else changed the folder; start again with --overwrite."
        )


@dataclass(frozen=True)
class ShardRange:
    """Consecutive shards, and all that is needed to read their rows anywhere."""

    first: int
    last: int  # not itself one of them
    size: int  # input rows of a shard
    sources: Sequence[Source]
    counts: Sequence[int]
    reading: ReadOptions

    def label(
        self,
        labeller: Labeller,
        files: Shards,
        on_rows: OnRows = lambda read, rejected: None,
        cursor: RowCursor | None = None,
    ) -> Iterator[ShardEntry]:
        """Label and write the shards, in order; ``on_rows`` is called after each window.

        Args:
            cursor: over the rows of the job, where other ranges of it are labelled here too.
        """
        cursor = cursor or RowCursor(self.sources, self.reading, self.counts)
        rows = cursor.rows(self.first * self.size)
        for shard in range(self.first, self.last):
            yield files.write(shard, _told(self._windows(rows, labeller), on_rows))

    def _windows(self, rows: Iterator[Row | BadRow], labeller: Labeller) -> Iterator[Labelled]:
        mine = itertools.islice(rows, self.size)
        while window := list(itertools.islice(mine, WINDOW)):
            yield labeller(window)


class Engine(Protocol):
    """Labels ranges of shards, in any order, anywhere; a shard is on the disk when its entry comes.

    Attributes:
        longest: shards of a range, at most; None where one range may be all.
        elsewhere: whether it labels in other processes, which do not see this one's memory.
    """

    @property
    def longest(self) -> int | None: ...

    @property
    def elsewhere(self) -> bool: ...

    def __call__(
        self, ranges: Iterable[ShardRange], labeller: Labeller, files: Shards, on_rows: OnRows
    ) -> Iterator[ShardEntry]: ...


class LocalEngine:
    """Labels one range after another in this process."""

    longest = None
    elsewhere = False

    def __call__(
        self, ranges: Iterable[ShardRange], labeller: Labeller, files: Shards, on_rows: OnRows
    ) -> Iterator[ShardEntry]:
        for shards in ranges:
            yield from shards.label(labeller, files, on_rows)


def _told(windows: Iterator[Labelled], on_rows: OnRows) -> Iterator[Labelled]:
    read = rejected = 0
    for window in windows:
        read += len(window.rows) + len(window.rejected)
        rejected += len(window.rejected)
        yield window
        on_rows(read, rejected)


# --- the job -------------------------------------------------------------------------------------


class Job(ABC):
    """What was to be done, and what of it is done, where it outlasts the process: the manifest and the shards.

    The manifest's first line tells the job (model, options, inputs) and the survey of the inputs; each further
    line is that of a shard, or says that the output was joined.

    Attributes:
        path: ``OUTPUT.partial``.
    """

    def __init__(self) -> None:
        self.entries: dict[int, ShardEntry] = {}
        self.joined = False
        self.overwrite = False
        self.shard_rows = SHARD_ROWS

    @property
    @abstractmethod
    def path(self) -> Place: ...

    @property
    @abstractmethod
    def finished(self) -> Path:
        """A folder on this machine, for what is about to be put in place."""

    @property
    @abstractmethod
    def spool(self) -> Place:
        """Where a copy of standard input is kept."""

    @property
    @abstractmethod
    def disk(self) -> Path:
        """A folder on the disk that fills up."""

    @property
    def rows_done(self) -> int:
        return sum(entry.read for entry in self.entries.values())

    @property
    def rejected(self) -> int:
        return sum(entry.rejected for entry in self.entries.values())

    @property
    @abstractmethod
    def exists(self) -> bool: ...

    @property
    @abstractmethod
    def has_begun(self) -> bool:
        """Whether there is anything to go on with."""

    @property
    @abstractmethod
    def is_ours(self) -> bool:
        """Whether all that is in it is what this class puts there, so that nobody's own folder is removed."""

    @abstractmethod
    def shards(self, kind: ShardKind, columns: Mapping[str, Any]) -> Shards:
        """Where its shards stand."""

    @abstractmethod
    def lock(self) -> None:
        """Keep other processes out until this one ends, however it ends.

        Raises:
            UserError: another process works there.
        """

    @abstractmethod
    def create(self) -> None:
        """Make the place for it."""

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def remove(self) -> None:
        """Remove the folder; broken off in between, no process takes it for an unfinished job."""

    @abstractmethod
    def _write_head(self, head: dict[str, Any]) -> None: ...

    @abstractmethod
    def _append(self, told: Mapping[str, Any]) -> None:
        """Add a line to the manifest, for good."""

    @abstractmethod
    def _read_head(self) -> dict[str, Any]:
        """What the manifest's first line tells."""

    @abstractmethod
    def _read_entries(self) -> Iterator[dict[str, Any]]:
        """What the others tell, as far as they are whole."""

    def begin(self, job: Mapping[str, Any], survey: Survey, shard_rows: int, overwrite: bool) -> None:
        """Write down what the job is, and whether it may replace an output."""
        self.shard_rows, self.overwrite = shard_rows, overwrite
        head = {
            "manifest": MANIFEST_VERSION,
            "shard_rows": shard_rows,
            "overwrite": overwrite,
            "job": job,
            "survey": survey.to_json(),
        }
        self._write_head(head)

    def resume(self, job: Mapping[str, Any]) -> Survey:
        """Take up what was done; a last line that was cut off in writing goes.

        Raises:
            UserError: the job is another one; the message tells in what.
        """
        head = self._read_head()
        if head.get("manifest") != MANIFEST_VERSION:
            raise UserError(
                f"{self.path} was left by another version of this package. Finish it there, or start again with "
                f"--overwrite."
            )
        changes = list(_changes(head["job"], json.loads(json.dumps(job))))
        if changes:
            shown = "\n".join(f"  {change}" for change in changes[:20])
            raise UserError(
                f"{self.path} was begun with something else, and what is in it would not fit what comes now:\n{shown}\n"
                f"Give what it was begun with, or start again with --overwrite."
            )
        self.shard_rows, self.overwrite = head["shard_rows"], head["overwrite"]
        for told in self._read_entries():
            if "joined" in told:
                self.joined = True
            else:
                self.entries[told["shard"]] = ShardEntry(**told)
        return Survey.from_json(head["survey"])

    def add(self, entry: ShardEntry) -> None:
        """Note that a shard is done."""
        self._append(vars(entry))
        self.entries[entry.shard] = entry

    def note_joined(self) -> None:
        """Note that the files in ``finished`` are whole: from now on what stands in their places may be ours."""
        self._append({"joined": True})
        self.joined = True

    def ranges(self, shards: int, longest: int | None = None) -> Iterator[tuple[int, int]]:
        """The shards that are not done, as ranges of at most ``longest`` consecutive ones."""
        pending = [shard for shard in range(shards) if shard not in self.entries]
        for _, run in itertools.groupby(enumerate(pending), lambda pair: pair[1] - pair[0]):
            numbers = [shard for _, shard in run]
            step = longest or len(numbers)
            for first in range(0, len(numbers), step):
                part = numbers[first : first + step]
                yield part[0], part[-1] + 1

    def check(self, shards: int, rows: int) -> None:
        """Whether the counts add up.

        Raises:
            UserError: they do not.
        """
        problems = [
            f"shard {entry.shard}: read {entry.read}, but {entry.written} written and {entry.rejected} rejected"
            for entry in self.entries.values()
            if entry.read != entry.written + entry.rejected
        ]
        missing = [str(shard) for shard in range(shards) if shard not in self.entries]
        if missing or len(self.entries) != shards:
            problems.append(f"expected {shards} shards, came {len(self.entries)}")
        if self.rows_done != rows:
            problems.append(f"the inputs had {rows} rows when they were first read, and {self.rows_done} now")
        if problems:
            raise UserError(
                f"{self.path}: the counts do not add up: {'; '.join(problems)}. Did an input change meanwhile? "
                f"Nothing was put in place. Start again with --overwrite."
            )


class JobFolder(Job):
    """A job in a folder, with what is about to be put in place."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._stream: IO[bytes] | None = None
        self._lock: IO[bytes] | None = None

    @property
    def path(self) -> Path:
        return self._path

    @property
    def spool(self) -> Path:
        return self.path

    @property
    def disk(self) -> Path:
        return self.path

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.jsonl"

    @property
    def finished(self) -> Path:
        return self.path / "finished"

    @property
    def exists(self) -> bool:
        return self.path.exists()

    @property
    def has_begun(self) -> bool:
        return self.manifest.exists()

    @property
    def is_ours(self) -> bool:
        return self.path.is_dir() and all(_OURS.fullmatch(path.name) for path in self.path.iterdir())

    def shards(self, kind: ShardKind, columns: Mapping[str, Any]) -> ShardFiles:
        return ShardFiles(self.path, kind, columns)

    def lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        self._lock = (self.path / "lock").open("wb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise UserError(
                f"{self.path}: another process is at work on this output. Wait for it, or stop it."
            ) from None

    def create(self) -> None:
        self.path.mkdir()
        self.lock()

    def _write_head(self, head: dict[str, Any]) -> None:
        partial = self.manifest.with_name(self.manifest.name + ".partial")
        with SyncedFile(partial) as stream:
            stream.write(line_of(head))
        put_in_place(partial, self.manifest)
        sync_folder(self.path.parent)

    def _read_head(self) -> dict[str, Any]:
        with self.manifest.open("rb") as stream:
            head: dict[str, Any] = json.loads(stream.readline())
        return head

    def _read_entries(self) -> Iterator[dict[str, Any]]:
        with self.manifest.open("r+b") as stream:
            whole = len(stream.readline())
            for line in stream:
                told = parsed_line(line)
                if told is None:
                    break
                whole += len(line)
                yield told
            stream.truncate(whole)

    def _append(self, told: Mapping[str, Any]) -> None:
        if self._stream is None:
            self._stream = self.manifest.open("ab", buffering=0)
        self._stream.write(line_of(told))
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        for stream in (self._stream, self._lock):
            if stream is not None:
                stream.close()
        self._stream = self._lock = None

    def remove(self) -> None:
        self.close()
        remove_folder(self.path)


def remove_folder(path: Path) -> None:
    """Remove a folder that no process may find half removed."""
    out_of_the_way = path.with_name(path.name + ".removed")
    shutil.rmtree(out_of_the_way, ignore_errors=True)
    if path.exists():
        path.rename(out_of_the_way)
        sync_folder(path.parent)
        shutil.rmtree(out_of_the_way, ignore_errors=True)


def line_of(told: Mapping[str, Any]) -> bytes:
    return (json.dumps(told, ensure_ascii=False) + "\n").encode()


def parsed_line(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        told = json.loads(line)
        if line.endswith(b"\n") and isinstance(told, dict):
            return told
    return None


def _changes(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """What differs, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            yield from _changes(before.get(key), now.get(key), f"{name}, {key}" if name else key)
    elif before != now:
        yield f"{name}: was {_short(before)}, is {_short(now)}"


def _short(value: Any) -> str:
    text = "not there" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else text[:97] + "…"
