"""Files that are there whole or not at all, also after a power cut; on disks and on stores."""

import io
import os
from pathlib import Path
from typing import overload

from .urls import Place, UrlPath


class SyncedFile(io.BufferedWriter):
    """A file for writing that is on the disk, not only in its cache, once it is closed."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(io.FileIO(path, "w"))

    def close(self) -> None:
        if not self.closed:
            self.flush()
            os.fsync(self.fileno())
        super().close()


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last; where the system cannot (Windows), its own way must do."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(finished: Path, target: Place) -> None:
    """Rename a finished, synced file of the same disk, in place of what stood there; put it where that is a store."""
    if isinstance(target, UrlPath):
        target.put(finished)
        return
    finished.replace(target)
    sync_folder(target.parent)


@overload
def partial_of(path: Path) -> Path: ...
@overload
def partial_of(path: UrlPath) -> UrlPath: ...
@overload
def partial_of(path: Place) -> Place: ...
def partial_of(path: Place) -> Place:
    """What a file, or the folder of an unfinished job, is called until it is finished."""
    return path.with_name(path.name + ".partial")
