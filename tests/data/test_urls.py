"""Reading by URL, what a URL means, and that nothing secret in one is ever told."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pyarrow.parquet
import pytest

from conflict_framing.data import UserError, urls
from conflict_framing.data.errors import MissingLibraryError, UnreadableError
from conflict_framing.data.inputs import find_inputs
from conflict_framing.data.tables import Row, format_of, read_table, read_text
from conflict_framing.data.urls import UrlPath, _like, facts_of, is_url, place_of, plain_name, shown

ROWS = b'{"text": "calm"}\n{"text": "raid"}\n'


@pytest.fixture
def store() -> Iterator[Any]:
    fs = fsspec.filesystem("memory")
    for name in ("press/b.csv", "press/a.jsonl.gz", "press/deep/c.TXT", "press/notes.pdf", "press/.hidden/e.csv",
                 "press/x.csv.partial/g.csv", "press-2/z.csv"):  # fmt: skip
        content = gzip.compress(ROWS) if name.endswith(".gz") else b"text\ncalm\n"
        fs.pipe_file(f"/{name}", content)
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_a_folder_a_pattern_and_an_object(store: Any, tmp_path: Path) -> None:
    folder = ["memory://press/a.jsonl.gz", "memory://press/b.csv", "memory://press/deep/c.TXT"]
    assert find_inputs(["memory://press"]) == folder
    assert find_inputs(["memory://press/"], leave_out=[UrlPath("memory://press/b.csv")]) == [folder[0], folder[2]]
    assert find_inputs(["memory://press/*.csv"]) == ["memory://press/b.csv"]
    assert find_inputs(["memory://press/**/*.[tT]*"]) == ["memory://press/deep/c.TXT"]
    assert find_inputs(["memory://pre*"]) == [*folder, "memory://press-2/z.csv"]
    here = tmp_path / "here.csv"
    here.write_text("text\ncalm\n", "utf-8")
    assert find_inputs([here, "memory://press/b.csv", "-"]) == [str(here), "memory://press/b.csv", "-"]
    with pytest.raises(UserError, match=r"memory://press/b\.csv: named twice"):
        find_inputs(["memory://press", "memory://press/b.csv"])


def test_nothing_there_is_an_error(store: Any) -> None:
    with pytest.raises(UserError, match=r"memory://press/none\.csv: no such file"):
        find_inputs(["memory://press/none.csv"])
    with pytest.raises(UserError, match=r"memory://press/\*\.tsv: no object fits the pattern"):
        find_inputs(["memory://press/*.tsv"])
    store.pipe_file("/odd/notes.pdf", b"x")
    with pytest.raises(UserError, match=r"memory://odd is a folder without any file of a known format \(\.csv, "):
        find_inputs(["memory://odd"])
    store.pipe_file("/press/b.csv", b"")
    assert "memory://press/b.csv" in find_inputs(["memory://press"])
    with pytest.raises(UnreadableError, match=r"memory://press/b\.csv: the file is empty"):
        list(read_table("memory://press/b.csv"))


def test_a_file_url_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a b.jsonl"
    path.write_bytes(ROWS)
    assert find_inputs([f"file://{path}"]) == [str(path)]
    assert find_inputs([f"file://{tmp_path}/*.jsonl"]) == [str(path)]
    assert place_of(f"file://{path}") == path
    assert [row.values for row in read_table(f"file://{path}") if isinstance(row, Row)] == [
        {"text": "calm"},
        {"text": "raid"},
    ]
    with pytest.raises(UserError, match="named twice"):
        find_inputs([path, f"file://{path}"])


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.jsonl.zst", "t.parquet"])
def test_tables_are_read_as_from_a_disk(store: Any, tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pyarrow.parquet.write_table(pyarrow.table({"text": ["calm", "raid"]}), tmp_path / name, row_group_size=1)
    else:
        with pyarrow.output_stream(str(tmp_path / name), "detect" if name.endswith("gz") else None) as stream:
            stream.write(pyarrow.compress(ROWS, "zstd", asbytes=True) if name.endswith("zst") else ROWS)
    store.put_file(str(tmp_path / name), f"/{name}")
    for first in (0, 1):
        here = [(row.values, row.line) for row in read_table(tmp_path / name, first=first) if isinstance(row, Row)]
        there = list(read_table(f"memory://{name}", first=first))
        assert here == [(row.values, row.line) for row in there if isinstance(row, Row)]
        assert len(there) == 2 - first
        assert there[-1].path == f"memory://{name}"


def test_damaged_objects_and_encodings_are_told_by_url(store: Any) -> None:
    store.pipe_file("/cut.jsonl.gz", gzip.compress(ROWS * 9)[:-9])
    with pytest.raises(UserError, match=r"^memory://cut\.jsonl\.gz: a damaged or cut-off gzip file"):
        list(read_table("memory://cut.jsonl.gz"))
    store.pipe_file("/latin.txt", b"caf\xe9")
    with pytest.raises(UserError, match=r"^memory://latin\.txt:1: not utf-8: byte 0xe9 at position 3"):
        read_text("memory://latin.txt")


def test_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"nosuch://b/x\.csv: no such kind of URL, nosuch://\. Examples: s3://"):
        find_inputs(["nosuch://b/x.csv"])

    def missing(url: str) -> Any:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    for scheme, library in (("s3", "s3fs"), ("gs", "gcsfs"), ("az", "adlfs")):
        with pytest.raises(MissingLibraryError, match=rf"^{scheme}:// needs .*'{library}'.*pip install {library}$"):
            find_inputs([f"{scheme}://b/x.csv"])
    with pytest.raises(UserError, match="hdfs:// needs a library that is not installed: Install s3fs"):
        find_inputs(["hdfs://b/x.csv"])
    assert not is_url("C:\\news\\x.csv")
    assert not is_url("news/x.csv")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://bucket/a?.csv", "s3://bucket/a?.csv"),
        ("s3://bucket/year=202?/month=0?/a.csv", "s3://bucket/year=202?/month=0?/a.csv"),
        ("s3://bucket/a@b:c.csv", "s3://bucket/a@b:c.csv"),
        ("abfs://container@account.dfs.core.windows.net/a.csv", "abfs://container@account.dfs.core.windows.net/a.csv"),
        ("https://host/a.csv?X-Amz-Signature=SECRET&b=c", "https://host/a.csv"),
        ("https://host/a.csv?SECRET", "https://host/a.csv"),
        ("az://container/a.csv?sv=1&sig=SECRET", "az://container/a.csv"),
        ("s3://key:SECRET@bucket/a.csv", "s3://bucket/a.csv"),
        ("https://SECRET@host/a.csv", "https://host/a.csv"),
        ("ftp://user:SECRET@host/a.csv", "ftp://host/a.csv"),
        ("s3://key:SEC/RET@bucket/a.csv", "s3://bucket/a.csv"),
        ("sftp://host:22/a@b.csv", "sftp://host:22/a@b.csv"),
        ("news/a.csv", "news/a.csv"),
    ],
)
def test_what_is_told_of_a_url(url: str, told: str) -> None:
    assert shown(url) == told
    assert str(UrlPath(url)) == told
    assert format_of(url) == "csv"
    if "SEC" in url and "@" in url:  # no message may hold a part of it
        for call in (plain_name, place_of, lambda url: find_inputs([url])):
            with pytest.raises(UserError, match="credentials do not belong in a URL") as refused:
                call(url)
            assert not {"SEC", "SECRET", "SEC/RET"} & set(re.split(r"[:@ ]", str(refused.value)))


def test_an_error_of_a_store_tells_no_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("403 at https://host/a.csv?X-Amz-Signature=SECRET")

    monkeypatch.setattr(urls, "_store", lambda url: (Broken(), "a.csv"))
    with pytest.raises(UserError, match=r"^https://host/a\.csv: the store gave an error: RuntimeError$"):
        find_inputs(["https://host/a.csv?X-Amz-Signature=SECRET"])
    with pytest.raises(UserError, match=r"^s3://b/a\.csv: the store gave an error: RuntimeError: 403"):
        find_inputs(["s3://b/a.csv"])


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    assert place_of(str(tmp_path)) == tmp_path
    for url in ("https://host/out.csv", "az://c/out.csv?sig=SECRET"):
        with pytest.raises(UserError, match="nothing can be written there") as refused:
            place_of(url)
        assert "SECRET" not in str(refused.value)
    with pytest.raises(UserError, match=r"s3://b/out/ is a folder\. Name the file in it"):
        place_of("s3://b/out/")
    with pytest.raises(UserError, match=r"expected one URL, came several"):
        place_of("simplecache://x::s3://b/x.csv")


def test_other_objects_of_the_store_that_a_url_names() -> None:
    assert _like("s3://b/press/*.csv", "b/press/*.csv", "b/press/a.csv") == "s3://b/press/a.csv"
    assert _like("s3://b/", "b", "b/a.csv") == "s3://b/a.csv"
    account = "abfs://c@account.dfs.core.windows.net"
    assert _like(f"{account}/press", "c/press", "c/press/a.csv") == f"{account}/press/a.csv"
    assert _like("https://host/press/*.csv", "https://host/press/*.csv", "https://host/a.csv") == "https://host/a.csv"


def test_facts_change_when_an_object_does(store: Any) -> None:
    before = facts_of(["memory://press/b.csv", "memory://press/a.jsonl.gz"])
    assert before[0]["bytes"] == 10
    store.pipe_file("/press/b.csv", b"text\nraid\n")
    after = facts_of(["memory://press/b.csv", "memory://press/a.jsonl.gz"])
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_a_place_on_a_store(store: Any, tmp_path: Path) -> None:
    place = UrlPath("memory://out/labelled.csv")
    assert place.name == "labelled.csv"
    assert place.with_name("x.csv") / "y" == UrlPath("memory://out/x.csv/y")
    assert not place.exists()
    place.unlink(missing_ok=True)
    (tmp_path / "file").write_bytes(b"rows")
    place.put(tmp_path / "file")
    assert place.exists()
    assert place.read_bytes() == b"rows"
    assert UrlPath("memory://out").names() == ["labelled.csv"]
    assert UrlPath("memory://ou").names() == []
    place.get(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"rows"
    UrlPath("memory://out").remove_all()
    UrlPath("memory://out").remove_all()
    assert not place.exists()
    with pytest.raises(UserError, match=r"memory://out/labelled\.csv: no such file"):
        place.read_bytes()
