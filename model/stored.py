"""A job (see ``shards``) whose output is on a store: what is done is kept there too, below ``OUTPUT.partial/``.

There it outlasts this machine, and workers on others write to it. A store has no renaming, no appending and no
locks, but an object is there whole or not at all. So each shard file is an object, put once; so is each line of the
manifest after the first, put when the shard's files are there; and the output is written on this machine's disk
and put in one go. Instead of a lock, each job begun has a name, below which its objects are: whoever begins the
output anew does not meet them, and who was overtaken finds another name in the manifest and puts nothing in place.
Two that resume the same job do work twice and write the same.

What a store keeps of an upload in parts that was broken off (S3) is no object, and is not removed here; a rule of the
bucket does it (AbortIncompleteMultipartUpload).
"""

import io
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..data.errors import UserError
from ..data.urls import UrlPath
from .shards import Job, Labelled, Scores, ShardEntry, ShardFiles, ShardKind, line_of, parsed_line

_MANIFEST = "manifest.jsonl"
_DONE = re.compile(r"(\d{8}|joined)\.done\.json")
_OURS = re.compile(
    r"(manifest\.jsonl|[0-9a-f]{16}/(stdin(\.gz|\.zst)?|\d{8}\.(rows|scores|rejected)\..*|(\d{8}|joined)\.done\.json))"
    r"(\.put)?"
)
_SCRATCH = "conflict-framing-"


@dataclass(frozen=True)
class StoredShards:
    """Shards on a store; each passes through a folder on the disk of the machine that writes or reads it."""

    place: UrlPath
    kind: ShardKind
    columns: Mapping[str, Any]

    @contextmanager
    def _here(self) -> Iterator[ShardFiles]:
        with tempfile.TemporaryDirectory(prefix=_SCRATCH) as scratch:
            yield ShardFiles(Path(scratch), self.kind, self.columns, str(self.place))

    def write(self, shard: int, windows: Iterable[Labelled]) -> ShardEntry:
        """See ``Shards``."""
        with self._here() as here:
            entry = here.write(shard, windows)
            for path in here.paths(shard):
                if path.exists():  # of rejected rows only where there are any
                    (self.place / path.name).put(path)
        return entry

    def read_windows(self, shard: int) -> Iterator[tuple[list[dict[str, Any]], Scores]]:
        """See ``Shards``."""
        with self._here() as here:
            for path in here.paths(shard)[:2]:
                (self.place / path.name).get(path)
            yield from here.read_windows(shard)

    def read_scores(self, shard: int) -> Scores:
        scores: Scores = np.load(io.BytesIO(self._read(shard, 1)), allow_pickle=False)
        return scores

    def copy_rejected(self, shard: int, stream: IO[bytes]) -> None:
        """See ``Shards``."""
        stream.write(self._read(shard, 2))

    def _read(self, shard: int, which: int) -> bytes:
        names = ShardFiles(Path(), self.kind, self.columns).paths(shard)
        return (self.place / names[which].name).read_bytes()

    def damaged(self, what: str) -> UserError:
        return ShardFiles(Path(), self.kind, self.columns, str(self.place)).damaged(what)


class StoredJob(Job):
    """A job on a store."""

    def __init__(self, path: UrlPath) -> None:
        super().__init__()
        self._path = path
        self._name = secrets.token_hex(8)
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def path(self) -> UrlPath:
        return self._path

    @property
    def spool(self) -> UrlPath:
        return self.path / self._name

    @property
    def disk(self) -> Path:
        return Path(tempfile.gettempdir())

    @property
    def finished(self) -> Path:
        return self._here / "finished"

    @property
    def _here(self) -> Path:
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix=_SCRATCH)
        return Path(self._scratch.name)

    @property
    def exists(self) -> bool:
        return bool(self.path.names())

    @property
    def has_begun(self) -> bool:
        return (self.path / _MANIFEST).exists()

    @property
    def is_ours(self) -> bool:
        return all(_OURS.fullmatch(name) for name in self.path.names())

    def shards(self, kind: ShardKind, columns: Mapping[str, Any]) -> StoredShards:
        return StoredShards(self.spool, kind, columns)

    def lock(self) -> None:
        """Nothing: see above."""

    def create(self) -> None:
        """Nothing: a store makes folders as they are needed."""

    def _put(self, name: str, told: Mapping[str, Any]) -> None:
        file = self._here / "line"
        file.write_bytes(line_of(told))
        (self.path / name).put(file)

    def _write_head(self, head: dict[str, Any]) -> None:
        self._put(_MANIFEST, head | {"name": self._name})

    def _read_head(self) -> dict[str, Any]:
        head = parsed_line((self.path / _MANIFEST).read_bytes()) or {}
        self._name = head.get("name", self._name)
        return head

    def _append(self, told: Mapping[str, Any]) -> None:
        name = "joined" if "joined" in told else f"{told['shard']:08d}"
        self._put(f"{self._name}/{name}.done.json", told)

    def _read_entries(self) -> Iterator[dict[str, Any]]:
        for name in filter(_DONE.fullmatch, self.spool.names()):
            told = parsed_line((self.spool / name).read_bytes())
            if told is not None:
                yield told

    def check(self, shards: int, rows: int) -> None:
        """See ``Job``.

        Raises:
            UserError: another process began the output anew, or finished it.
        """
        super().check(shards, rows)
        self._check_name()

    def note_joined(self) -> None:
        self._check_name()
        super().note_joined()

    def _check_name(self) -> None:
        manifest = self.path / _MANIFEST
        told = parsed_line(manifest.read_bytes()) if manifest.exists() else None
        if told is None or told.get("name") != self._name:
            raise UserError(
                f"{self.path}: another process has begun this output anew, or finished it. Nothing was put in place."
            )

    def close(self) -> None:
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def remove(self) -> None:
        self.close()
        (self.path / _MANIFEST).unlink(missing_ok=True)  # first: without it, the rest is nothing to go on with
        self.path.remove_all()
