"""The command with URLs, with the model that comes with the package; and where URLs are refused."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from conflict_framing import cli

from .test_cli import call


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    """A web server of a folder, which takes any signature."""
    (tmp_path / "web").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_predict_reads_and_writes_urls_and_tells_no_signature(
    host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": "The town is calm.", "n": number} for number in range(40)] + [{"text": "", "n": 40}]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    for place in (tmp_path / "news.jsonl", tmp_path / "web" / "news.jsonl"):
        place.write_text(content, "utf-8")
    store = fsspec.filesystem("memory")
    url = f"{host}/news.jsonl?X-Amz-Signature=SECRET"
    assert call("predict", tmp_path / "news.jsonl", "--output", tmp_path / "out.csv") == cli.EXIT_INCOMPLETE
    try:
        assert call("predict", url, "--output", "memory://out/out.csv") == cli.EXIT_INCOMPLETE
        assert store.cat_file("/out/out.csv") == (tmp_path / "out.csv").read_bytes()
        told = {name: store.cat_file(name).decode() for name in store.find("/out")}
        assert json.loads(told["/out/out.csv.meta.json"])["options"]["inputs"] == [f"{host}/news.jsonl"]
        assert json.loads(told["/out/out.csv.rejected.jsonl"])["path"] == f"{host}/news.jsonl"
    finally:
        store.rm("/out", recursive=True)
    printed = capsys.readouterr()
    assert "40 rows to memory://out/out.csv" in printed.out
    assert call("predict", f"{host}/none.jsonl?X-Amz-Signature=SECRET", "--output", tmp_path / "n.csv") == 2
    printed_then = capsys.readouterr()
    assert f"{host}/none.jsonl: no such file." in printed_then.err
    assert "SECRET" not in "".join([*told.values(), *printed, *printed_then])


@pytest.mark.parametrize(
    "command",
    [
        ["read", "s3://b/article.txt"],
        ["read", "article.txt", "--html", "s3://b/page.html"],
        ["shares", "here.jsonl", "s3://b/labelled.jsonl"],
        ["sources", "article.txt", "--output", "s3://b/sources.jsonl"],
        ["train", "--output", "s3://b/run"],
        ["train", "--output", "run", "--teacher", "s3://b/run"],
        ["predict", "article.txt", "--output", "out.csv", "--model", "s3://b/run"],
    ],
)
def test_where_urls_cannot_be_taken_they_are_refused(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*command) == cli.EXIT_USER_ERROR
    assert "expected a path on this machine, came a URL" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
