"""Objects on stores by URL (s3://, gs://, az://, memory:// …), through fsspec; a ``file://`` URL is a local path.

Credentials come from where each store's own library looks for them (environment, profile, role), never from a URL:
command lines are seen by others and stay in histories. What a URL's query says (a signature) is used for reading and
never told.
"""

import contextlib
import errno
import glob
import io
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from .errors import MissingLibraryError, UserError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LOCAL = ("file", "local")
_WEB = ("http", "https")
# A question mark may be part of a pattern; a query has names and values.
_QUERY = re.compile(r"\?[\w.~%-]+=.*", re.DOTALL)
# Where an object appears whole or not at all when it is put; elsewhere it is put under another name, and renamed.
_WHOLE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
_LIBRARIES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
}
# What an object's facts are called, by store: first what its content alone determines, then when it was written.
_CONTENT = ("ETag", "etag", "md5Hash", "crc32c", "content_md5", "Content-MD5", "Digest", "generation")
_WRITTEN = ("LastModified", "last_modified", "Last-Modified", "updated", "mtime", "modified", "created")
_AT_ONCE = 16  # requests for the facts of objects
_BUFFER = 2**20  # bytes


def is_url(name: object) -> bool:
    """Whether a name is that of an object on a store (``file://`` URLs are, too, until ``plain_name``)."""
    return _URL.match(str(name)) is not None


def scheme_of(url: object) -> str:
    match = _URL.match(str(url))
    return match[1].lower() if match else ""


def shown(name: object) -> str:
    """A name without what must not be told: the query of a URL, and a user or password in it."""
    text = str(name)
    match = _URL.match(text)
    if not match:
        return text
    bare, secret = _bare(text[match.end() :], scheme_of(text))
    return match[0] + (bare.rpartition("@")[2] if secret else bare)


def _bare(rest: str, scheme: str) -> tuple[str, bool]:
    """What follows ``scheme://``, without the query; and whether it begins with a user and a password."""
    bare = rest.partition("?")[0] if scheme in _WEB else _QUERY.sub("", rest)
    first = bare.partition("/")[0]
    user, at, _ = first.partition("@")
    secret = bool(at) and (":" in user or scheme in _WEB)
    # No bucket's name has a colon; and a secret may have a slash, unescaped.
    return bare, secret or (":" in first and scheme in _WHOLE)


def plain_name(name: str | Path) -> str:
    """The path that a ``file://`` URL means; other names as they are.

    Raises:
        UserError: a URL that holds credentials, or one inside another (``zip://…::s3://…``).
    """
    text = str(name)
    match = _URL.match(text)
    if not match:
        return text
    if _bare(text[match.end() :], scheme_of(text))[1]:
        raise UserError(
            f"{shown(text)}: credentials do not belong in a URL, where others see them. Give them as the store's own "
            f"library takes them, e.g. for s3:// in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws/credentials."
        )
    if "::" in text:
        raise UserError(f"{shown(text)}: expected one URL, came several in one ('::').")
    return str(_store(text)[1]) if scheme_of(text) in _LOCAL else text


def _store(url: str) -> tuple[Any, str]:
    """The filesystem of a URL, and the path in it."""
    from fsspec.core import url_to_fs

    scheme = scheme_of(url)
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        library = _LIBRARIES.get(scheme)
        if library:
            raise MissingLibraryError(library, f"{scheme}://", f"pip install {library}") from None
        raise UserError(f"{scheme}:// needs a library that is not installed: {error}.") from None
    except ValueError:
        raise UserError(
            f"{shown(url)}: no such kind of URL, {scheme}://. Examples: s3://bucket/press/*.jsonl.gz, "
            f"gs://bucket/press/, az://container/news.parquet, https://host/news.csv."
        ) from None
    return fs, path


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Errors of a store, of whatever library and kind, as one that tells no secrets."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{shown(url)}: no such file.") from None
    except PermissionError:
        raise UserError(
            f"{shown(url)}: the store refused access. Do the credentials that its library finds (environment, "
            f"profile, role) allow it?"
        ) from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # of this machine's disk
        # A message may hold the whole URL, in whatever spelling.
        detail = "" if shown(url) != url else f": {error}"
        raise UserError(f"{shown(url)}: the store gave an error: {type(error).__name__}{detail}") from None


# --- reading -------------------------------------------------------------------------------------


class _Reader(io.RawIOBase):
    """What fsspec opened, with its errors told."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._file: Any = None
        with _told(url):
            fs, path = _store(url)
            self._file = fs.open(path, "rb")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = 0) -> int:
        with _told(self._url):
            self._file.seek(offset, whence)
            return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        with _told(self._url):
            read = self._file.read(len(buffer))
        buffer[: len(read)] = read
        return len(read)

    def close(self) -> None:
        if not self.closed and self._file is not None:
            self._file.close()
        super().close()


def open_url(url: str) -> IO[bytes]:
    """Open an object for reading, in pieces.

    Raises:
        UserError: here or while it is read: it is missing, unreadable, or its store cannot be used.
    """
    return cast(IO[bytes], io.BufferedReader(_Reader(url), _BUFFER))


@dataclass(frozen=True)
class Listed:
    """An object that a URL means.

    Attributes:
        inside: its path in the folder that was named; None for one that was named itself, or fits a pattern.
    """

    url: str
    inside: str | None


def list_objects(url: str) -> list[Listed]:
    """The objects that a URL means: itself, all in a folder at any depth, or all that fit a pattern.

    Raises:
        UserError: the store cannot be used, or there is nothing of this name.
    """
    with _told(url):
        fs, path = _store(url)
        fs.invalidate_cache()

        def in_folder(folder: str) -> Iterator[Listed]:
            for name in sorted(fs.find(folder), key=lambda name: name.split("/")):  # as paths are sorted
                yield Listed(_like(url, path, name), name[len(folder) :].lstrip("/"))

        magic = "*" in path or "[" in path if scheme_of(url) in _WEB else glob.has_magic(path)
        if not magic or fs.exists(path):
            if fs.info(path)["type"] == "directory":
                return list(in_folder(path))
            return [Listed(url, None)]
        found: list[Listed] = []
        fitting = fs.glob(path, detail=True)
        for name in sorted(fitting):
            hidden = "/." in name and "/." not in path
            if hidden or ".partial/" in name:
                continue
            if fitting[name]["type"] == "file":
                found.append(Listed(_like(url, path, name), None))
            elif "**" not in path:
                found += in_folder(name)
        return found


def _like(url: str, path: str, other: str) -> str:
    """The URL of another path of the same store: what comes before the path may say more than the store's kind."""
    url = url.rstrip("/")
    same = 0
    while same < min(len(url), len(path)) and url[-1 - same] == path[-1 - same]:
        same += 1
    return url[: len(url) - same] + other[len(path) - same :]


def facts_of(urls: Sequence[str]) -> list[dict[str, Any]]:
    """Of each object what changes when its content does: the size, and its checksum or version where the store
    tells one, else when it was written.

    Where a store tells the size alone, a change that keeps it goes unnoticed.

    Raises:
        UserError: an object is not there, or its store cannot be used.
    """

    def facts(url: str) -> dict[str, Any]:
        with _told(url):
            fs, path = _store(url)
            told = fs.info(path)
        telling = {name: str(told[name]) for name in _CONTENT if told.get(name)}
        telling = telling or {name: str(told[name]) for name in _WRITTEN if told.get(name)}
        return {"bytes": told.get("size"), **telling}

    for fs in {id(fs): fs for fs, _ in map(_store, urls)}.values():
        fs.invalidate_cache()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(facts, urls))


def same_object(one: str, other: str) -> bool:
    return _store(one) == _store(other)


# --- writing -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UrlPath:
    """A place on a store, with those of a path's methods that writing results needs.

    Printed, it is without secrets.
    """

    url: str

    def __str__(self) -> str:
        return shown(self.url)

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def with_name(self, name: str) -> "UrlPath":
        return UrlPath(f"{self.url.rpartition('/')[0]}/{name}")

    def __truediv__(self, name: str) -> "UrlPath":
        return UrlPath(f"{self.url}/{name}")

    def exists(self) -> bool:
        with self._store(fresh=True) as (fs, path):
            return bool(fs.exists(path))

    def names(self) -> list[str]:
        """What is below it, at any depth, as paths from here."""
        with self._store(fresh=True) as (fs, path):
            found: list[str] = []
            with contextlib.suppress(FileNotFoundError):
                found = [name[len(path) :].lstrip("/") for name in fs.find(path)]
            return sorted(filter(None, found))

    def put(self, file: Path) -> None:
        """Put a local file there; it appears whole or not at all, in place of what was there."""
        with self._store() as (fs, path):
            if scheme_of(self.url) in _WHOLE:
                fs.put_file(str(file), path)
                return
            fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            fs.put_file(str(file), f"{path}.put")
            fs.mv(f"{path}.put", path)

    def get(self, file: Path) -> None:
        """Copy it to a local file."""
        with self._store() as (fs, path):
            fs.get_file(path, str(file))

    def read_bytes(self) -> bytes:
        with self._store() as (fs, path):
            return bytes(fs.cat_file(path))

    def unlink(self, missing_ok: bool = False) -> None:
        with self._store(fresh=True) as (fs, path):
            if not missing_ok or fs.exists(path):
                fs.rm_file(path)

    def remove_all(self) -> None:
        """Remove what is below it, if anything."""
        with self._store(fresh=True) as (fs, path), contextlib.suppress(FileNotFoundError):
            fs.rm(path, recursive=True)

    @contextmanager
    def _store(self, fresh: bool = False) -> Iterator[tuple[Any, str]]:
        with _told(self.url):
            fs, path = _store(self.url)
            if fresh:  # others write there too
                fs.invalidate_cache()
            yield fs, path


Place = Path | UrlPath
"""Where a result is written: a local path, or a place on a store."""


def place_of(name: str | Place) -> Place:
    """The place that a name means.

    Raises:
        UserError: a URL at which nothing can be written.
    """
    if isinstance(name, UrlPath):
        return name
    plain = plain_name(name)
    if not is_url(plain):
        return Path(plain)
    if scheme_of(plain) in _WEB or shown(plain) != plain:
        raise UserError(f"{shown(plain)}: nothing can be written there. Name an object, e.g. s3://bucket/labelled.csv.")
    if plain.endswith("/"):
        raise UserError(f"{plain} is a folder. Name the file in it, whose name says its format: {plain}labelled.jsonl")
    return UrlPath(plain)
