"""Read and write tables of rows: JSONL, CSV, TSV and Parquet, each also compressed (gzip, Zstandard).

Reading yields a ``Row`` for each record and a ``BadRow`` for each record that cannot be used, so
that the caller decides whether a bad record stops the work (training) or is set aside (prediction).
Readers and writers hold a bounded number of rows. The same rows always make the same bytes: no times, no
names in what is written. A writer's file is on the disk once it is closed.
"""

import codecs
import csv
import gzip
import io
import itertools
import json
import os
import shlex
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, Protocol, cast

from .errors import UnreadableError, UserError
from .files import SyncedFile
from .urls import Place, is_url, open_url, plain_name, shown

Format = Literal["text", "jsonl", "csv", "tsv", "parquet"]

SUFFIXES: dict[str, Format] = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
STDIN = "-"
_COMPRESSIONS = (".gz", ".zst")
_PARQUET_BATCH = 1024
ROW_GROUP = 8192
"""Rows of a Parquet row group, at least: what is kept in memory while it is written."""
_ROW_GROUP_BYTES = 2**26
_TEXT_PIECE = 2**20  # characters
_LOOKED_AT = 2**16  # bytes, to tell what a file is that is no text
_GZIP_LEVEL = 6  # the library's own default, 9, takes three times as long for 1 % less


@dataclass(frozen=True, slots=True)
class Row:
    """One record with the place it came from (``line`` counts from 1; for Parquet it is the row)."""

    values: dict[str, Any]
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """One record that could not be read, why, and what stood there; ``line`` 0 is a whole file."""

    path: str
    line: int
    reason: str
    raw: str

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path

    @classmethod
    def of(cls, error: UnreadableError) -> "BadRow":
        """What stands for a file that cannot be used."""
        at = f"line {error.line}: " if error.line else ""
        return cls(error.path, 0, f"the whole file is left out: {at}{error.reason}", "")


def compression_of(path: str | Place) -> str:
    """``.gz``, ``.zst`` or nothing, as the file's name says (``.partial`` is no part of it)."""
    suffix = Path(shown(path).lower().removesuffix(".partial")).suffix
    return suffix if suffix in _COMPRESSIONS else ""


def is_known(path: str | Place) -> bool:
    """Whether the name says one of the formats."""
    return Path(shown(path).lower().removesuffix(compression_of(path))).suffix in SUFFIXES


def format_of(path: str | Place) -> Format:
    """The format that a file's name says, the suffixes ``.gz`` and ``.zst`` aside.

    Raises:
        UserError: the suffix is none that this package reads or writes.
    """
    name = shown(path).lower().removesuffix(compression_of(path))
    suffix = Path(name).suffix
    if suffix not in SUFFIXES:
        known = ", ".join(sorted(SUFFIXES))
        raise UserError(
            f"{shown(path)}: the format is read from the file's name, and {suffix or 'a name without suffix'} "
            f"is not one of {known} (each also with .gz or .zst). "
            f"Rename or convert the file."
        )
    return SUFFIXES[suffix]


def display_name(path: str | Path) -> str:
    return "standard input" if str(path) == STDIN else shown(path)


def require_file(path: str | Path) -> Path:
    """The path of an existing, readable, non-empty regular file.

    Raises:
        UserError: it is missing or a folder.
        UnreadableError: there is no permission, or nothing in it.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; expected a file. Name the files in it, e.g. {path}/*.jsonl")
    if not path.exists():
        raise UserError(f"{path}: no such file.")
    if not os.access(path, os.R_OK):
        raise UnreadableError(str(path), "the file cannot be read (no permission).")
    if path.is_file() and path.stat().st_size == 0:
        raise UnreadableError(str(path), "the file is empty.")
    return path


def _open_bytes(path: str | Path) -> IO[bytes]:
    if str(path) == STDIN:
        return sys.stdin.buffer
    name = plain_name(path)
    there = is_url(name)
    if not there:
        require_file(name)
    if compression_of(name) == ".gz":
        return cast(IO[bytes], gzip.open(open_url(name) if there else name, "rb"))
    stream = open_url(name) if there else cast(IO[bytes], open(name, "rb"))  # noqa: SIM115
    if compression_of(name) == ".zst":
        import pyarrow  # unlike the library zstandard it notices a file that was cut off

        return io.BufferedReader(pyarrow.CompressedInputStream(stream, "zstd"))
    return stream


def _codec(encoding: str) -> str:
    # A byte-order mark would otherwise become part of the first column's name.
    return "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding


def _encoding_error(path: str | Path, encoding: str) -> UserError:
    """Say which byte on which line is not of the encoding; the decoder itself only knows its buffer."""
    offset = 0
    with _open_bytes(path) as stream:
        begin = b"" if "16" in encoding or "32" in encoding else stream.read(_LOOKED_AT)
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        packed = {".gz": "zcat", ".zst": "zstdcat"}.get(compression_of(path))
        source = shlex.quote(shown(path))
        convert = f"{packed} {source} | iconv -f UTF-16 -t UTF-8" if packed else f"iconv -f UTF-16 -t UTF-8 {source}"
        return UnreadableError(
            shown(path),
            f"not {encoding}, but UTF-16 (it begins with its byte-order mark). Name it with --encoding utf-16 if all "
            f"inputs are, or convert the file: {convert} > converted{Path(path).suffix if not packed else ''}",
        )
    if b"\0" in begin:
        return UnreadableError(shown(path), f"not {encoding}, and it holds NUL bytes: this is a binary file, not text.")
    with _open_bytes(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return UnreadableError(
                    shown(path),
                    f"not {encoding}: byte 0x{byte:02x} at position {offset + error.start} "
                    f"of the file. If the file has another encoding, name it: --encoding cp1252 "
                    f"(Windows), --encoding utf-16, --encoding iso-8859-1 …",
                    number,
                )
            offset += len(line)
    return UnreadableError(shown(path), f"not {encoding}. If the file has another encoding, name it with --encoding.")


@contextmanager
def open_text(path: str | Path, encoding: str = "utf-8", newline: str | None = "") -> Iterator[IO[str]]:
    """Open a text file, compressed or not, or standard input (``-``), decoding strictly.

    Raises:
        UserError: missing or unreadable file, unknown encoding, bytes that are not of the encoding,
            a damaged compressed file.
    """
    stream = _open_bytes(path)
    try:
        text = io.TextIOWrapper(stream, encoding=_codec(encoding), errors="strict", newline=newline)
    except LookupError:
        raise UserError(
            f"--encoding {encoding}: no such encoding. Examples: utf-8, utf-16, cp1252, iso-8859-1."
        ) from None
    try:
        yield text
    except UnicodeDecodeError as error:
        if str(path) == STDIN:
            byte = error.object[error.start]
            reason = f"not {encoding}: byte 0x{byte:02x}. Name the right one with --encoding."
            raise UnreadableError("standard input", reason) from None
        raise _encoding_error(path, encoding) from None
    except UnicodeError as error:  # e.g. UTF-16 without a byte-order mark
        reason = f"not {encoding}: {error}. Name the right one with --encoding."
        raise UnreadableError(display_name(path), reason) from None
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, error) from None
    finally:
        if str(path) == STDIN:
            text.detach()
        else:
            text.close()


def _damaged(path: str | Path, error: Exception) -> Exception:
    """Of an error while reading: whether the compressed file is at fault."""
    if not isinstance(error, OSError) or isinstance(error, gzip.BadGzipFile):
        return UnreadableError(shown(path), f"a damaged or cut-off gzip file ({error}).")
    if compression_of(path) == ".zst" and error.errno is None:  # Arrow's errors have no number
        return UnreadableError(shown(path), f"a damaged or cut-off Zstandard file ({error}).")
    return error


def text_pieces(path: str | Path, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """A long text in pieces that end at blank lines, each with its offset in characters.

    Line ends are normalised to ``\\n``. A text without blank lines is one piece.

    Raises:
        UserError: see ``open_text``; or the text holds nothing but white space.
    """
    lines: list[str] = []
    offset = length = 0
    empty = True
    with open_text(path, encoding, newline=None) as stream:
        for line in stream:
            _check_is_text(line, path)
            lines.append(line)
            length += len(line)
            blank = line.isspace()
            empty &= blank
            if blank and length >= _TEXT_PIECE:
                yield offset, "".join(lines)
                offset += length
                lines, length = [], 0
    if empty:
        raise UnreadableError(display_name(path), "no text in it.")
    yield offset, "".join(lines)


def read_text(path: str | Path, encoding: str = "utf-8") -> str:
    """The whole text of a file, line ends normalised to ``\\n``.

    Raises:
        UserError: see ``open_text``; or the text holds nothing but white space.
    """
    with open_text(path, encoding) as stream:
        text = stream.read().replace("\r\n", "\n").replace("\r", "\n")
    _check_is_text(text, path)
    if not text.strip():
        raise UnreadableError(display_name(path), "no text in it.")
    return text


def _check_is_text(text: str, path: str | Path) -> None:
    # UTF-16 without its mark, read as UTF-8, has no byte that is wrong.
    if "\0" in text:
        reason = "it holds NUL characters: a binary file, or UTF-16 without its byte-order mark (--encoding utf-16-le)."
        raise UnreadableError(display_name(path), reason)


def _has_lone_surrogate(line: str) -> bool:
    try:
        json.dumps(json.loads(line), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _jsonl_rows(stream: IO[str], path: str, first: int) -> Iterator[Row | BadRow]:
    place = 0
    for number, line in enumerate(stream, start=1):
        line = line.rstrip("\r\n")
        if not line.strip():
            continue
        place += 1
        if place <= first:
            continue
        try:
            values = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            yield BadRow(path, number, f"not JSON: {error}", line)
            continue
        if not isinstance(values, dict):
            kind = type(values).__name__
            yield BadRow(path, number, f'expected a JSON object like {{"text": "…"}}, came {kind}', line)
        elif "\\u" in line and _has_lone_surrogate(line):
            yield BadRow(path, number, "half of a surrogate pair: the text is no valid Unicode", line)
        else:
            yield Row(values, path, number)


def _csv_rows(stream: IO[str], path: str, delimiter: str) -> Iterator[Row | BadRow]:
    csv.field_size_limit(2**31 - 1)
    begin = stream.readline()
    if delimiter == ",":
        delimiter = _delimiter(begin)
    reader = csv.reader(itertools.chain([begin] if begin else [], stream), delimiter=delimiter, strict=True)
    try:
        header = next(reader)
    except StopIteration:
        raise UnreadableError(display_name(path), "the file is empty; expected a header line.") from None
    except csv.Error as error:
        raise UnreadableError(path, f"the header line cannot be read: {error}.", 1) from None
    header = [name.strip() for name in header]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        reason = f"the header names a column twice: {', '.join(map(repr, twice))}. Give every column a name of its own."
        raise UnreadableError(path, reason, 1)
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                # No bad row but a bad file: all that follows stands inside the quotation.
                raise UnreadableError(
                    display_name(path),
                    f"a quotation mark opened in this row is never closed, so nothing after it can be read (to line "
                    f"{reader.line_num}). Close it, or double it if it is text.",
                    start,
                ) from None
            yield BadRow(path, start, f"malformed row: {error}", "")
            continue
        if not fields:
            continue
        if len(fields) != len(header):
            reason = f"expected {len(header)} fields as in the header, came {len(fields)}"
            yield BadRow(path, start, reason, delimiter.join(fields))
        else:
            yield Row(dict(zip(header, fields, strict=True)), path, start)


def _delimiter(header: str) -> str:
    """The comma, unless another mark alone parts the header: spreadsheets write ";" where numbers have the comma.

    csv.Sniffer looks at the text too, and takes a letter for the mark where sentences have none in common.
    """

    def columns(mark: str) -> int:
        return len(next(csv.reader([header], delimiter=mark), []))

    return next((mark for mark in ",;\t" if columns(mark) > 1), ",")


def _parquet_rows(path: str, first: int) -> Iterator[Row]:
    with _parquet_file(path) as file:
        number = group = 0
        while group < file.num_row_groups and number + file.metadata.row_group(group).num_rows <= first:
            number += file.metadata.row_group(group).num_rows
            group += 1
        for batch in file.iter_batches(batch_size=_PARQUET_BATCH, row_groups=range(group, file.num_row_groups)):
            passed_over = min(max(0, first - number), len(batch))
            number += passed_over
            for values in batch.slice(passed_over).to_pylist():
                number += 1
                yield Row(values, display_name(path), number)


@contextmanager
def _parquet_file(path: str) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        with _open_bytes(path) as stream, tempfile.TemporaryFile() as copy:
            if path == STDIN or compression_of(path):  # Parquet needs a stream that can seek
                shutil.copyfileobj(stream, copy)
            yield pyarrow.parquet.ParquetFile(copy if copy.tell() else stream)
    except (pyarrow.ArrowInvalid, EOFError, zlib.error) as error:
        raise UnreadableError(display_name(path), f"not a Parquet file: {str(error).rstrip('.')}.") from None
    except OSError as error:
        raise _damaged(path, error) from None


def read_table(
    path: str | Path, *, encoding: str = "utf-8", format: Format | None = None, first: int = 0
) -> Iterator[Row | BadRow]:
    """The records of one table, in order.

    Args:
        path: a file, or ``-`` for standard input (which needs ``format``).
        encoding: of text formats.
        format: overrides what the file's name says.
        first: pass over so many records.

    Raises:
        UserError: the file as a whole cannot be read (missing, empty, wrong encoding, no table).
    """
    name = str(path)
    kind = format or format_of(name)
    if kind == "parquet":
        yield from _parquet_rows(name, first)
        return
    if kind == "text":
        raise UserError(f"{name}: expected a table (.jsonl, .csv, .tsv, .parquet), came a text file.")
    with open_text(name, encoding) as stream:
        if kind == "jsonl":
            yield from _jsonl_rows(stream, display_name(name), first)
        else:
            records = _csv_rows(stream, display_name(name), "\t" if kind == "tsv" else ",")
            yield from itertools.islice(records, first, None)


def missing_column(wanted: str, found: Sequence[str], path: str, option: str) -> UserError:
    hint = ""
    if len(found) == 1 and "|" in found[0]:
        hint = " The columns seem to be parted by something other than the format's own mark."
    return UserError(
        f"{display_name(path)}: no column '{wanted}'. Columns found: {', '.join(map(repr, found)) or 'none'}. "
        f"Name the right one with {option}.{hint}"
    )


# --- writing -------------------------------------------------------------------------------------


def free_names(columns: Mapping[str, Any], taken: Sequence[str]) -> dict[str, str]:
    """New names of an input's columns: one whose name is taken becomes ``input_<name>``, which no other column has."""
    used = set(taken) | {name for name in columns if name not in taken}
    renamed = {}
    for name in columns:
        new = name
        while new in taken or (new != name and new in used):
            new = f"input_{new}"
        used.add(new)
        renamed[name] = new
    return renamed


class RowWriter(Protocol):
    """Takes rows (all with the same columns, in the same order) and writes them."""

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None: ...

    def close(self, notes: Mapping[str, str] | None = None) -> None:
        """End the file; formats with a place for notes on the whole (Parquet) keep them."""


class _JsonlWriter:
    def __init__(self, path: Path) -> None:
        self._stream = _open_output(path)

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            self._stream.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")

    def close(self, notes: Mapping[str, str] | None = None) -> None:
        self._stream.close()


class _CsvWriter:
    def __init__(self, path: Path, columns: Sequence[str], delimiter: str) -> None:
        self._stream = _open_output(path)
        self._columns = columns
        self._writer = csv.writer(self._stream, delimiter=delimiter, lineterminator="\n")
        self._writer.writerow(columns)

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            self._writer.writerow([_cell(row.get(name)) for name in self._columns])

    def close(self, notes: Mapping[str, str] | None = None) -> None:
        self._stream.close()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


class _ParquetWriter:
    def __init__(self, path: Path, schema: Any) -> None:
        import pyarrow.parquet

        self._schema = schema
        self._stream = SyncedFile(path)
        self._writer = pyarrow.parquet.ParquetWriter(self._stream, schema)
        self._waiting: list[Any] = []

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        import pyarrow

        columns = [[_as_type(row.get(field.name), field.type) for row in rows] for field in self._schema]
        arrays = [pyarrow.array(c, type=f.type) for c, f in zip(columns, self._schema, strict=True)]
        self._waiting.append(pyarrow.RecordBatch.from_arrays(arrays, schema=self._schema))
        full = sum(batch.num_rows for batch in self._waiting) >= ROW_GROUP
        if full or sum(batch.nbytes for batch in self._waiting) >= _ROW_GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow

        # A call of its own for each batch would make row groups that are too small to be read fast.
        self._writer.write_table(pyarrow.Table.from_batches(self._waiting, self._schema))
        self._waiting = []

    def close(self, notes: Mapping[str, str] | None = None) -> None:
        if self._waiting:
            self._write_group()
        if notes:
            self._writer.add_key_value_metadata(dict(notes))
        self._writer.close()
        self._stream.close()


def _as_type(value: Any, type_: Any) -> Any:
    import pyarrow.types

    if value is not None and pyarrow.types.is_string(type_) and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value


def _open_output(path: Path) -> IO[str]:
    stream: Any = SyncedFile(path)
    compression = compression_of(path)
    if compression == ".gz":
        stream = _GzipFile(stream)
    elif compression == ".zst":
        import pyarrow

        stream = pyarrow.CompressedOutputStream(stream, "zstd")
    return io.TextIOWrapper(stream, encoding="utf-8", newline="")


class _GzipFile(gzip.GzipFile):
    """Closes the file that it writes to, which the plain one leaves to its owner."""

    def __init__(self, target: SyncedFile) -> None:
        super().__init__(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=target, mtime=0)
        self._target = target

    def close(self) -> None:
        super().close()
        self._target.close()


def open_writer(path: Path, format: Format, columns: Mapping[str, Any]) -> RowWriter:
    """A writer for one format.

    Args:
        path: where the bytes go.
        columns: names in order, each with its Arrow type (only Parquet looks at the types).

    Raises:
        UserError: Parquet with .gz or .zst.
        ValueError: the format cannot hold rows.
    """
    if format == "jsonl":
        return _JsonlWriter(path)
    if format in ("csv", "tsv"):
        return _CsvWriter(path, list(columns), "\t" if format == "tsv" else ",")
    if format == "parquet":
        import pyarrow

        if compression_of(path):
            raise UserError("Parquet compresses itself: name the output FILE.parquet, without .gz or .zst.")
        return _ParquetWriter(path, pyarrow.schema(list(columns.items())))
    raise ValueError(f"no writer for the format {format!r}")


def arrow_type(values_seen: set[type]) -> Any:
    """The narrowest Arrow type that holds Python values of these types; text where they differ."""
    import pyarrow

    kinds = values_seen - {type(None)}
    if kinds == {bool}:
        return pyarrow.bool_()
    if kinds == {int}:
        return pyarrow.int64()
    if kinds and kinds <= {int, float}:
        return pyarrow.float64()
    return pyarrow.string()


def parquet_schema(path: str) -> dict[str, Any]:
    """Column names and Arrow types of a Parquet file."""
    with _parquet_file(path) as file:
        return {field.name: field.type for field in file.schema_arrow}


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    writer = _JsonlWriter(path)
    writer.write(rows)
    writer.close()


def check_table_name(path: Place) -> Format:
    """The format of a table that is to be written.

    Raises:
        UserError: the name is that of a text, of no known format, or of compressed Parquet.
    """
    format = format_of(path) if is_known(path) else None
    if format is None or format == "text" or (format == "parquet" and compression_of(path)):
        raise UserError(
            f"{path}: expected a table's name, since the format is read from it: .jsonl, .csv, .tsv (each also .gz or "
            f".zst) or .parquet."
        )
    return format


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, all with the columns of the first, in the format that the file's name says."""
    format = check_table_name(path)
    columns = {name: arrow_type({type(row[name]) for row in rows}) for name in (rows[0] if rows else ())}
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = open_writer(path, format, columns)
    writer.write(rows)
    writer.close()


# What a spreadsheet runs as a formula when a cell begins with it (OWASP, "CSV Injection").
_RUNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def neutralised(value: Any) -> Any:
    """A cell that no spreadsheet runs as a formula: a text that begins like one gets an apostrophe in front."""
    runs = isinstance(value, str) and (value.startswith(_RUNS) or value.lstrip().startswith(_RUNS))
    return f"'{value}" if runs else value


def write_spreadsheet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """``write_table``, with formulas neutralised where the table is one that spreadsheets open (CSV, TSV)."""
    if check_table_name(path) in ("csv", "tsv"):
        rows = [{name: neutralised(value) for name, value in row.items()} for row in rows]
    write_table(path, rows)
