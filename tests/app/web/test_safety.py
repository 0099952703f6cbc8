"""What must not happen, whatever is sent."""

import csv
import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from starlette.testclient import TestClient

from conflict_framing.data import UserError
from conflict_framing.model import CheckpointClassifier
from conflict_framing.web.api import create_app
from conflict_framing.web.intake import Order, take_in
from conflict_framing.web.limits import Limits
from conflict_framing.web.serving import is_local, open_socket

from .conftest import SMALL, Client

SENTENCE = {"text": "the town is calm ."}


def code(answer: object) -> str:
    return str(answer.json()["error"]["code"])  # type: ignore[attr-defined]


# --- who asks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "a:b:c"])
def test_another_host_name_is_refused(client: Client, host: str) -> None:
    answer = client.http.get("/api/v1/jobs", headers={"Host": host})
    assert (answer.status_code, code(answer)) == (421, "wrong_host")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:1", "[::1]:8000", "192.168.0.7:8000"])
def test_addresses_and_localhost_are_answered(client: Client, host: str) -> None:
    assert client.http.get("/api/v1/jobs", headers={"Host": host}).status_code == 200


def test_a_name_is_answered_when_it_was_allowed(tiny: CheckpointClassifier, tmp_path: Path) -> None:
    app = create_app(tiny, annotations=tmp_path / "a.jsonl", names=("desk.example",))
    with TestClient(app, base_url="http://Desk.example") as http:
        assert http.get("/api/v1/jobs").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/predict", "/api/v1/jobs/text", "/api/v1/jobs/file?name=a.csv"])
def test_another_site_cannot_change_anything(client: Client, headers: dict[str, str], path: str) -> None:
    answer = client.http.post(path, content=b"{}", headers=headers)
    assert (answer.status_code, code(answer)) == (403, "wrong_origin")


def test_the_page_itself_and_programs_may(client: Client) -> None:
    asked = {"texts": [SENTENCE["text"]]}
    for headers in ({"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}, {}):
        assert client.http.post("/api/v1/predict", json=asked, headers=headers).status_code == 200


def test_a_job_of_another_session_is_as_good_as_none(application: Callable[[], Client]) -> None:
    mine, other = application(), application()
    job = mine.send_text("The town is calm.")
    assert len(job["id"]) >= 24
    for path in (
        *("", "/result", "/download", "/shares", "/columns", "/pictures/side_by_side/0.svg"),
        *("/findings/report.html", "/audit/plan", "/audit/plan/audit.csv"),
    ):
        answer = other.http.get(f"/api/v1/jobs/{job['id']}{path}")
        assert (answer.status_code, code(answer)) == (404, "no_such_job")
    annotation = {"job": job["id"], "row": 0, "label": "calm"}
    assert other.http.post(f"/api/v1/jobs/{job['id']}/cancel").status_code == 404
    assert other.http.delete(f"/api/v1/jobs/{job['id']}").status_code == 404
    assert other.http.delete(f"/api/v1/jobs/{job['id']}/audit").status_code == 404
    audit = {"name": "a.csv", "table": "", "metadata": ""}
    assert other.http.put(f"/api/v1/jobs/{job['id']}/audit", json=audit).status_code == 404
    assert other.http.post("/api/v1/annotations", json=annotation).status_code == 404
    assert other.http.get("/api/v1/jobs").json() == {"jobs": []}
    assert mine.http.get(f"/api/v1/jobs/{job['id']}").status_code == 200


def test_a_cookie_that_was_not_given_here_does_not_count(application: Callable[[], Client]) -> None:
    client = application()
    given = client.http.get("/api/v1/jobs").headers["set-cookie"]
    name, value = given.split(";")[0].split("=", 1)
    assert "HttpOnly" in given and "SameSite=Strict" in given
    assert "set-cookie" not in client.http.get("/api/v1/jobs").headers
    for forged in ("x", value[:-1], f"a{value}", ""):
        answer = application().http.get("/api/v1/jobs", headers={"Cookie": f"{name}={forged}"})
        assert answer.headers["set-cookie"].split(";")[0] != f"{name}={forged}"


@pytest.mark.parametrize("path", ["/", "/api", "/api/v1/model", "/static/app.css", "/nothing"])
def test_every_answer_forbids_what_the_page_does_not_need(client: Client, path: str) -> None:
    headers = client.http.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


def test_the_page_has_no_script_or_style_of_its_own() -> None:
    folder = Path(__file__).parents[3] / "app" / "web"
    pages = [folder / "static" / "index.html", folder / "templates" / "api.html.j2"]
    for page in pages:
        text = page.read_text("utf-8")
        assert "style=" not in text and "<style" not in text and " on" + "click" not in text
        assert text.count("<script") == text.count('<script type="module" src="/static/')
    scripts = "".join(path.read_text("utf-8") for path in (folder / "static").glob("*.js"))
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://", "https://"):
        assert forbidden not in scripts


# --- what is sent --------------------------------------------------------------------------------


def test_bodies_are_bounded_with_and_without_their_length(client: Client) -> None:
    answer = client.http.post("/api/v1/jobs/text", json={"text": "a" * 70_000})
    assert (answer.status_code, code(answer)) == (413, "too_large")
    chunks = (b"a" * 10_000 for _ in range(30))
    answer = client.http.post("/api/v1/jobs/file", params={"name": "a.txt"}, content=chunks)
    assert (answer.status_code, code(answer)) == (413, "too_large")
    chunks = (b'{"text": "' if number == 0 else b"a" * 10_000 for number in range(10))
    answer = client.http.post("/api/v1/jobs/text", content=chunks, headers={"Content-Type": "application/json"})
    assert (answer.status_code, code(answer)) == (413, "too_large")


def test_a_gzip_bomb_stops_at_its_limit(client: Client) -> None:
    bomb = gzip.compress(b"a" * 50_000_000)
    assert len(bomb) < 100_000
    for name in ("a.txt.gz", "a.csv.gz", "a.jsonl.gz"):
        job = client.send_file(name, bomb)
        assert (job["state"], job["error"]["code"]) == ("failed", "too_large"), name


def test_a_file_that_only_says_to_be_gzip_or_parquet_is_refused(client: Client) -> None:
    for name in ("a.csv.gz", "a.parquet", "a.parquet.gz"):
        assert client.send_file(name, b"PK\x03\x04 not what it says")["error"]["code"] == "unreadable", name
    cut = gzip.compress(b"text\n" + b"calm\n" * 1000)[:-20]
    assert client.send_file("a.csv.gz", cut)["error"]["code"] == "unreadable"


def test_a_parquet_dictionary_that_unfolds_is_bounded_by_memory(tmp_path: Path) -> None:
    """Twelve kilobytes on disk, four gigabytes in rows: no count can stop it before it is read."""
    values = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 4096, pyarrow.int32()), ["a" * 1_000_000])
    path = tmp_path / "bomb.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": values}), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError) as told:
        take_in(Order(str(path), "bomb.parquet", str(tmp_path / "rows")), Limits(intake_memory_bytes=2**30))
    assert "memory" in str(told.value)


def test_a_line_of_countless_lists_is_bounded_by_memory(tmp_path: Path) -> None:
    path = tmp_path / "sent"
    path.write_bytes(b'{"text": "calm", "x": [' + b"[]," * 12_000_000 + b"[]]}\n")
    with pytest.raises(UserError, match="memory"):
        take_in(Order(str(path), "a.jsonl", str(tmp_path / "rows")), Limits(intake_memory_bytes=2**29))


def test_reading_is_bounded_in_time(tmp_path: Path) -> None:
    path = tmp_path / "sent"
    path.write_text("The town is calm. " * 10)
    with pytest.raises(UserError, match="too long to read"):
        take_in(Order(str(path), "a.txt", str(tmp_path / "rows")), Limits(intake_seconds=0))


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        (
            "a.jsonl",
            json.dumps(SENTENCE).encode() + b"\n" + (json.dumps(SENTENCE).encode() + b"\n") * 300,
            "too_many_rows",
        ),
        ("a.jsonl", json.dumps({**SENTENCE, **{f"c{n}": 1 for n in range(20)}}).encode(), "too_many_columns"),
        ("a.jsonl", json.dumps({**SENTENCE, "long": "a" * 3000}).encode(), "no_rows"),
        ("a.jsonl", b'{"text": "' + b"a" * 600 + b'"}', "no_rows"),
        ("a.jsonl", b"[" * 100_000, "no_rows"),
        ("a.txt", b"The town is calm. " * 400, "too_long"),
        ("a.html", b"<html><body><p>" + b"The town is calm. " * 400, "too_long"),
        ("a.html", b"<div>" * 30_000, "unreadable"),
        ("a.html.gz", gzip.compress(b"<p>calm</p>" * 200_000), "too_large"),
        ("a.jsonl", json.dumps({"text": "The town is calm. " * 301}).encode(), "no_rows"),
        ("a.jsonl", (json.dumps({"text": "The town is calm. " * 250}).encode() + b"\n") * 2, "too_many_rows"),
        ("a.csv", b"text,text\na,b\n", "unreadable"),
        ("a.csv", b"\xff\xfe\x00", "unreadable"),
        ("a.txt", b" \n ", "unreadable"),
    ],
)
def test_tables_and_texts_are_bounded(client: Client, name: str, body: bytes, error: str) -> None:
    job = client.send_file(name, body)
    assert (job["state"], job["error"]["code"]) == ("failed", error), job["error"]


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("a.exe", 415, "unknown_format"),
        ("", 422, "no_name"),
        ("../..", 415, "unknown_format"),
        ("a.zip", 415, "unknown_format"),
        ("a.csv.zst", 415, "unknown_format"),
    ],
)
def test_only_known_formats_are_taken(client: Client, name: str, status: int, error: str) -> None:
    answer = client.http.post("/api/v1/jobs/file", params={"name": name}, content=b"x")
    assert (answer.status_code, code(answer)) == (status, error)


def test_an_unknown_encoding_is_told(client: Client) -> None:
    job = client.send_file("a.csv", b"text\ncalm\n", encoding="klingon")
    assert "klingon" in job["error"]["message"] and "--" not in job["error"]["message"]


def test_only_so_many_jobs_wait(client: Client, tiny: CheckpointClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    go = threading.Event()
    predict = tiny.predict

    def held(texts: list[str], **options: object) -> object:
        assert go.wait(60)
        return predict(texts, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(tiny, "predict", held)
    sent = [client.http.post("/api/v1/jobs/text", json={"text": "Calm."}) for _ in range(SMALL.waiting_jobs_each + 1)]
    go.set()
    assert [answer.status_code for answer in sent] == [202] * SMALL.waiting_jobs_each + [429]
    for answer in sent[:-1]:
        client.finish(answer.json())


def test_a_path_in_the_name_is_never_opened(client: Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("The secret is calm.")
    job = client.send_file(str(secret), b"The town is calm.")
    page = client.http.get(f"/api/v1/jobs/{job['id']}/result").json()
    assert [row["text"] for row in page["rows"]] == ["The town is calm."]
    assert job["title"] == "secret.txt"


# --- what is given back --------------------------------------------------------------------------


def test_cells_that_a_spreadsheet_would_run_are_defused_in_csv_only(client: Client) -> None:
    cells = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", 'calm, "quiet"', "safe"]
    rows = [{"text": f"{cell} calm", "=column": cell} for cell in cells]
    job = client.send_file("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())
    base = f"/api/v1/jobs/{job['id']}/download"
    told = list(csv.reader(io.StringIO(client.http.get(base).content.decode("utf-8-sig"), newline="")))
    place = told[0].index("'=column")
    assert [row[place] for row in told[1:]] == [f"'{cell}" for cell in cells[:8]] + cells[8:]
    for row in told[1:]:
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)
    raw = [json.loads(line) for line in client.http.get(base, params={"format": "jsonl"}).text.split("\n") if line]
    assert [row["=column"] for row in raw] == cells


def test_markup_stays_text(client: Client) -> None:
    text = "<script>alert(1)</script> calm & quiet <img src=x onerror=alert(1)>"
    job = client.send_file("a.jsonl", json.dumps({"text": text}).encode())
    answer = client.http.get(f"/api/v1/jobs/{job['id']}/result")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["rows"][0]["text"] == text


def test_markup_in_a_web_page_stays_text_and_its_scripts_are_no_text(client: Client) -> None:
    body = "<html><body><article><p>The town is &lt;img src=x onerror=alert(1)&gt; calm. Nobody fled.</p>"
    job = client.send_file("a.html", f"{body}<script>alert('text')</script></article></body></html>".encode())
    rows = client.http.get(f"/api/v1/jobs/{job['id']}/result").json()["rows"]
    assert [row["text"] for row in rows] == ["The town is <img src=x onerror=alert(1)> calm.", "Nobody fled."]


def test_numbers_that_json_has_not_come_back_as_none(client: Client) -> None:
    job = client.send_file("a.jsonl", b'{"text": "calm .", "x": NaN, "y": Infinity}\n')
    page = client.http.get(f"/api/v1/jobs/{job['id']}/result")
    assert page.json()["rows"][0]["columns"] == {"x": None, "y": None}


def test_a_file_name_cannot_break_out_of_its_header(client: Client) -> None:
    job = client.send_file('x"\r\nSet-Cookie: a=b;.jsonl', json.dumps(SENTENCE).encode())
    headers = client.http.get(f"/api/v1/jobs/{job['id']}/download").headers
    assert headers["content-disposition"] == 'attachment; filename="x-Set-Cookie-a-b-labelled.csv"'
    assert "set-cookie" not in headers


def test_everything_is_deleted_at_the_end(
    tiny: CheckpointClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    app = create_app(tiny, annotations=tmp_path / "a.jsonl")
    with TestClient(app, base_url="http://127.0.0.1") as http:
        client = Client(http)
        assert client.send_text("The town is calm.")["state"] == "done"
        assert list((tmp_path / "temp").rglob("result.parquet"))
        assert not list((tmp_path / "temp").rglob("rows.jsonl"))  # what was sent goes when it is labelled
    assert not list((tmp_path / "temp").iterdir())


# --- the command ---------------------------------------------------------------------------------


def test_a_taken_port_is_told() -> None:
    with open_socket("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(UserError, match="Choose another --port"):
            open_socket("127.0.0.1", first.getsockname()[1])


def test_only_loopback_is_local() -> None:
    assert all(is_local(host) for host in ("127.0.0.1", "localhost", "::1"))
    assert not any(is_local(host) for host in ("0.0.0.0", "192.168.0.1", "::", "desk.example"))
