import csv
import gzip
import json
import re
from datetime import date
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from conflict_framing.data import UserError, tables
from conflict_framing.data.tables import (
    BadRow,
    Row,
    arrow_type,
    format_of,
    open_writer,
    read_table,
    read_text,
    text_pieces,
)

ROWS = [
    {"text": 'Calm, he said: "quiet"\nand more', "n": 1, "ok": True},
    {"text": "Évacuation – “là”", "n": 2, "ok": False},
]


def write(path: Path, rows: list[dict[str, object]]) -> None:
    columns = {name: arrow_type({type(row[name]) for row in rows}) for name in rows[0]}
    writer = open_writer(path, format_of(path), columns)
    writer.write(rows)
    writer.close()


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_typed_formats_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, ROWS)
    assert [row.values for row in read_table(tmp_path / name)] == ROWS


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.csv.gz", "a.tsv.zst"])
def test_text_formats_come_back_as_text(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, ROWS)
    rows = list(read_table(tmp_path / name))
    assert [row.values for row in rows] == [
        {"text": ROWS[0]["text"], "n": "1", "ok": "true"},
        {"text": ROWS[1]["text"], "n": "2", "ok": "false"},
    ]
    assert rows[1].line == 4  # the first row spans two lines


def test_compressed_parquet_is_read(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress(content))
    (tmp_path / "b.parquet.zst").write_bytes(pyarrow.compress(content, "zstd", asbytes=True))
    for name in ("b.parquet.gz", "b.parquet.zst"):
        assert [row.values for row in read_table(tmp_path / name)] == [{"text": "a"}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv.gz", "a.tsv.zst", "a.parquet"])
def test_the_same_rows_make_the_same_bytes_and_can_be_read_from_any_place(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP", 8)
    rows: list[dict[str, object]] = [{"text": f"line {number}\nand more", "n": number} for number in range(50)]
    contents = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        path = folder / name
        writer = open_writer(path, format_of(path), {"text": pyarrow.string(), "n": pyarrow.int64()})
        for first in range(0, 50, 5):
            writer.write(rows[first : first + 5])
        writer.close()
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    found = list(read_table(path))
    assert [row.values["text"] for row in found if isinstance(row, Row)] == [row["text"] for row in rows]
    for first in range(52):
        assert list(read_table(path, first=first)) == found[first:]


def test_small_batches_are_gathered_in_row_groups_and_notes_kept(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "a.parquet", "parquet", {"n": pyarrow.int64()})
    for first in range(0, 10_000, 1000):
        writer.write([{"n": number} for number in range(first, first + 1000)])
    writer.close({"made by": "a test"})
    found = pyarrow.parquet.read_metadata(tmp_path / "a.parquet")
    assert [found.row_group(place).num_rows for place in range(found.num_row_groups)] == [9000, 1000]
    assert found.metadata[b"made by"] == b"a test"
    assert len(list(read_table(tmp_path / "a.parquet", first=9500))) == 500


def test_a_long_text_comes_in_pieces_that_end_at_blank_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_TEXT_PIECE", 30)
    paragraphs = [f"Paragraph {number} is here.\nIt goes on." for number in range(20)]
    whole = "\n \n".join(paragraphs)
    (tmp_path / "a.txt").write_bytes(whole.replace("\n", "\r\n").encode())
    pieces = list(text_pieces(tmp_path / "a.txt"))
    assert len(pieces) == 20
    assert "".join(text for _, text in pieces) == whole
    assert all(whole[offset : offset + len(text)] == text for offset, text in pieces)
    assert all(text.endswith("\n \n") for _, text in pieces[:-1])
    (tmp_path / "blank.txt").write_text("\n \n", "utf-8")
    with pytest.raises(UserError, match="no text in it"):
        list(text_pieces(tmp_path / "blank.txt"))


def test_bad_jsonl_rows_are_set_aside_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": \n[1]\n\n{"text": "\\ud800"}\n{"text": "b"}\n', "utf-8")
    rows = list(read_table(path))
    assert [type(row) for row in rows] == [Row, BadRow, BadRow, BadRow, Row]
    assert [row.line for row in rows] == [1, 2, 3, 5, 6]
    assert "not JSON" in rows[1].reason
    assert "came list" in rows[2].reason
    assert "surrogate" in rows[3].reason


def test_bad_csv_rows_are_set_aside_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,b\nonly one\nc,d\n", "utf-8")
    rows = list(read_table(path))
    assert [type(row) for row in rows] == [Row, BadRow, Row]
    assert rows[1].place == f"{path}:3"
    assert "expected 2 fields as in the header, came 1" in rows[1].reason


def test_a_quotation_never_closed_is_an_error_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\na,b\n"never closed,x\nc,d\ne,f\n', "utf-8")
    with pytest.raises(UserError, match=r"a.csv:3: a quotation mark opened in this row is never closed"):
        list(read_table(path))


def test_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("﻿text\nä\n".encode())
    assert [row.values for row in read_table(path)] == [{"text": "ä"}]


def test_a_csv_as_spreadsheets_write_it_in_europe(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes('text;"share; in all"\r\n"Calm, he said; ""yes""";0,5\r\n'.encode("utf-8-sig"))
    (row,) = read_table(tmp_path / "a.csv")
    assert isinstance(row, Row)
    assert row.values == {"text": 'Calm, he said; "yes"', "share; in all": "0,5"}
    assert row.line == 2
    (tmp_path / "a.csv").write_text("text\tn\ncalm, he said\t1\n", "utf-8")
    (row,) = read_table(tmp_path / "a.csv")
    assert isinstance(row, Row) and row.values == {"text": "calm, he said", "n": "1"}
    (tmp_path / "a.csv").write_text('text,"a;b"\ncalm,1\n', "utf-8")
    (row,) = read_table(tmp_path / "a.csv")
    assert isinstance(row, Row) and row.values == {"text": "calm", "a;b": "1"}


def test_wrong_encoding_names_the_byte_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text\nfine\ncafé\n".encode("cp1252"))
    with pytest.raises(UserError, match=r":3: not utf-8: byte 0xe9 at position 13 .*--encoding cp1252"):
        list(read_table(path))
    assert [row.values["text"] for row in read_table(path, encoding="cp1252")] == ["fine", "café"]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "a.csv", "the file is empty"),
        (b"a,a\n1,2\n", "a.csv", "names a column twice: 'a'"),
        (b"no parquet", "a.parquet", "not a Parquet file"),
        (b"no gzip", "a.csv.gz", "a damaged or cut-off gzip file"),
        (b"no zstd", "a.csv.zst", "a damaged or cut-off Zstandard file"),
        (b"no gzip", "a.parquet.gz", "a damaged or cut-off gzip file"),
        (b"x", "a.xlsx", ".xlsx is not one of"),
    ],
)
def test_unreadable_files_say_why(tmp_path: Path, content: bytes, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        list(read_table(tmp_path / name))


def test_a_message_that_is_passed_on_ends_with_one_full_stop(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no parquet at all, but long enough for the footer to be looked for")
    with pytest.raises(UserError) as told:
        list(read_table(tmp_path / "a.parquet"))
    assert re.search(r"not a Parquet file: .*[^.]\.$", str(told.value))


def test_missing_file_folder_and_unknown_encoding(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(read_table(tmp_path / "none.csv"))
    with pytest.raises(UserError, match="is a folder"):
        (tmp_path / "folder.csv").mkdir()
        list(read_table(tmp_path / "folder.csv"))
    (tmp_path / "a.csv").write_text("text\na\n", "utf-8")
    with pytest.raises(UserError, match="no such encoding"):
        list(read_table(tmp_path / "a.csv", encoding="klingon"))


def test_a_file_cut_off_is_an_error_not_a_short_file(tmp_path: Path) -> None:
    whole = gzip.compress(b"text\n" + b"a line of text\n" * 5000)
    (tmp_path / "a.csv.gz").write_bytes(whole[:-20])
    with pytest.raises(UserError, match="cut-off gzip"):
        list(read_table(tmp_path / "a.csv.gz"))
    whole = pyarrow.compress(b"text\n" + b"a line of text\n" * 5000, "zstd", asbytes=True)
    (tmp_path / "a.csv.zst").write_bytes(whole[:-20])
    with pytest.raises(UserError, match="cut-off Zstandard"):
        list(read_table(tmp_path / "a.csv.zst"))


def test_read_text_normalises_line_ends_and_refuses_blank(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\rthree")
    assert read_text(tmp_path / "a.txt") == "one\ntwo\nthree"
    (tmp_path / "b.txt").write_text(" \n", "utf-8")
    with pytest.raises(UserError, match="no text in it"):
        read_text(tmp_path / "b.txt")


def test_writers_keep_what_has_no_json_type(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"day": date(2024, 5, 1)}])
    assert json.loads((tmp_path / "a.jsonl").read_text("utf-8")) == {"day": "2024-05-01"}
    write(tmp_path / "a.csv", [{"tags": ["x", "y"]}])
    assert list(csv.reader((tmp_path / "a.csv").open(encoding="utf-8"))) == [["tags"], ['["x", "y"]']]


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ({int}, pyarrow.int64()),
        ({int, type(None)}, pyarrow.int64()),
        ({int, float}, pyarrow.float64()),
        ({bool}, pyarrow.bool_()),
        ({int, str}, pyarrow.string()),
        ({bool, int}, pyarrow.string()),
        (set(), pyarrow.string()),
    ],
)
def test_arrow_type_is_the_narrowest_that_holds_all(kinds: set[type], expected: pyarrow.DataType) -> None:
    assert arrow_type(kinds) == expected
