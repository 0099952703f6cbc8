"""The JSON API on the tiny model: jobs, results, filters, corrections, shares, downloads."""

import csv
import io
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from starlette.testclient import TestClient

from conflict_framing.analysis import findings_of
from conflict_framing.data import load_corpus
from conflict_framing.model import CheckpointClassifier
from conflict_framing.train.fit import Run
from conflict_framing.web.api import create_app
from conflict_framing.web.findings import NOT_CORRECTED_BY_HAND

from .conftest import SMALL, Client

ARTICLE = (
    "Calm in the north\n\nThe town is calm and quiet. Clashes near the river killed the army.\n\nThe convoy arrived."
)
NEWS = [
    {"outlet": "A", "date": "2024-01-05", "text": "the town is calm and quiet ."},
    {"outlet": "A", "date": "2024-02-05", "text": "clashes and shelling near the river ."},
    {"outlet": "B", "date": "2024-02-25", "text": "the convoy arrived at the checkpoint ."},
    {"outlet": "B", "date": "no date", "text": "peaceful and stable , the army said ."},
]


def jsonl(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(client: Client) -> dict[str, object]:
    return client.send_file("news.jsonl", jsonl(NEWS))


def test_the_model_tells_its_labels_and_limits(client: Client, tiny: CheckpointClassifier) -> None:
    told = client.http.get("/api/v1/model").json()
    assert [label["name"] for label in told["labels"]] == tiny.classes_
    assert all(label["colour"].startswith("#") for label in told["labels"])
    assert told["explains"] and told["limits"]["rows"] == 300
    assert told["annotations"].endswith("annotations.jsonl")


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain"])
def test_a_body_that_is_not_declared_as_json_is_told(client: Client, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = client.http.post("/api/v1/predict", content=b'{"texts": ["calm"]}', headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (415, "not_json")
    came = f"Content-Type: {kind}" if kind else "no Content-Type"
    assert f"Expected a JSON body and the header Content-Type: application/json, came {came}." in error["message"]
    assert error["message"].endswith(
        """curl -H 'Content-Type: application/json' -d '{"texts": ["The valley is calm."]}' """
        "http://127.0.0.1/api/v1/predict"
    )
    wrong = client.http.post("/api/v1/predict", json={})
    assert (wrong.status_code, wrong.json()["error"]["message"]) == (422, "body.texts: Field required")


def test_predict_gives_what_the_classifier_gives(client: Client, tiny: CheckpointClassifier) -> None:
    texts = ["the town is calm .", "clashes near the river ."]
    answer = client.http.post("/api/v1/predict", json={"texts": texts}).json()
    for told, found in zip(answer["predictions"], tiny.predict(texts), strict=True):
        assert told["label"] == found.label
        assert told["probabilities"] == pytest.approx(found.probabilities)


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"texts": []}, 422, "invalid"),
        ({"texts": [" "]}, 422, "no_text"),
        ({"texts": ["a"] * 4}, 413, "too_many_texts"),
        ({"texts": ["a" * 501]}, 413, "too_long"),
        ({"texts": ["a"], "among": ["nonsense", "calm"]}, 422, "refused"),
        ({"texts": ["a"], "unknown": 1}, 422, "invalid"),
    ],
)
def test_predict_refuses(client: Client, asked: dict[str, object], status: int, code: str) -> None:
    answer = client.http.post("/api/v1/predict", json=asked)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_an_article_becomes_sentences_in_paragraphs(client: Client, tiny: CheckpointClassifier) -> None:
    job = client.send_text(ARTICLE, "Calm <b>north</b>")
    assert (job["state"], job["rows"], job["article"], job["title"]) == ("done", 4, True, "Calm <b>north</b>")
    page = client.http.get(f"/api/v1/jobs/{job['id']}/result").json()
    assert [row["text"] for row in page["rows"]] == [
        "Calm in the north",
        "The town is calm and quiet.",
        "Clashes near the river killed the army.",
        "The convoy arrived.",
    ]
    assert [row["columns"]["paragraph"] for row in page["rows"]] == [1, 2, 2, 3]
    assert {row["columns"]["document"] for row in page["rows"]} == {"Calm <b>north</b>"}
    predicted = tiny.predict([row["text"] for row in page["rows"]])
    assert [row["label"] for row in page["rows"]] == [found.label for found in predicted]
    assert sum(page["counts"].values()) == page["total"] == page["matching"] == 4


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl.gz", "txt"])
def test_every_format_is_read(client: Client, kind: str) -> None:
    import gzip

    if kind in ("csv", "tsv"):
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(NEWS[0]), delimiter="\t" if kind == "tsv" else ",")
        writer.writeheader()
        writer.writerows(NEWS)
        body = stream.getvalue().encode()
    elif kind == "parquet":
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(NEWS), sink)
        body = sink.getvalue()
    else:
        body = ARTICLE.encode() if kind == "txt" else gzip.compress(jsonl(NEWS))
    job = client.send_file(f"../../etc/news.{kind}", body)
    assert (job["state"], job["rows"], job["title"]) == ("done", 4, f"news.{kind}")


def test_a_missing_text_column_names_those_that_are_there(client: Client) -> None:
    body = b"when,words\n2024-01-01,the town is calm\n"
    job = client.send_file("a.csv", body)
    assert job["state"] == "failed"
    assert (job["error"]["code"], job["error"]["columns"]) == ("missing_column", ["when", "words"])
    assert "Which column holds the sentences? Choose its name, or type it into the" in job["error"]["message"]
    assert "--" not in job["error"]["message"]
    assert "--" not in job["error"]["message"] and "/tmp" not in job["error"]["message"]
    assert client.send_file("a.csv", body, text_column="words")["state"] == "done"


def test_rows_without_text_are_set_aside_with_the_reason(client: Client) -> None:
    rows = [*NEWS, {"text": ""}, {"text": 7}, {"text": "a" * 501}]
    job = client.send_file("news.jsonl", jsonl(rows) + b"no json\n")
    assert (job["rows"], job["rejected"]) == (4, 4)
    assert "501 characters" in job["problems"][2]
    assert job["problems"][3].startswith("row 8: not JSON")


def test_filters_narrow_and_pages_follow(client: Client) -> None:
    job = table(client)
    address = f"/api/v1/jobs/{job['id']}/result"
    whole = client.http.get(address).json()
    label = whole["rows"][0]["label"]
    found = client.http.get(address, params={"label": label}).json()
    assert {row["label"] for row in found["rows"]} == {label} and found["matching"] == whole["counts"][label]
    found = client.http.get(address, params={"text": "RIVER"}).json()
    assert [row["row"] for row in found["rows"]] == [1]
    assert client.http.get(address, params={"text": "r.v"}).json()["matching"] == 0  # no pattern
    low = sorted(row["score"] for row in whole["rows"])[2]
    assert client.http.get(address, params={"low": low}).json()["matching"] == 2
    second = client.http.get(address, params={"offset": 1, "limit": 2}).json()
    assert [row["row"] for row in second["rows"]] == [1, 2] and second["matching"] == 4
    assert client.http.get(address, params={"limit": 10**6}).status_code == 422


def test_a_correction_is_saved_as_a_corpus_changed_and_taken_back(
    client: Client, tiny: CheckpointClassifier, tmp_path: Path
) -> None:
    path = tmp_path / "annotations.jsonl"
    path.write_text('{"text": "mine", "label": "calm"}', "utf-8")  # without a line's end
    job = table(client)
    before = client.http.get(f"/api/v1/jobs/{job['id']}/result").json()["rows"][1]
    first, second = [name for name in tiny.classes_ if name != before["label"]]
    for label in (first, second):
        answer = client.http.post("/api/v1/annotations", json={"job": job["id"], "row": 1, "label": label})
        assert answer.json()["corrected"] == label
    saved = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [row["text"] for row in saved] == ["mine", NEWS[1]["text"]]  # changed, not doubled
    assert saved[1]["label"] == second and saved[1]["model_label"] == before["label"]
    assert saved[1]["model_score"] == pytest.approx(before["score"]) and saved[1]["time"].endswith("+00:00")
    assert load_corpus(path, codebook=tiny.codebook).labels == ["calm", second]
    address = f"/api/v1/jobs/{job['id']}/result"
    assert [row["row"] for row in client.http.get(address, params={"corrected": True}).json()["rows"]] == [1]
    assert 1 in [row["row"] for row in client.http.get(address, params={"label": second}).json()["rows"]]
    assert client.http.post("/api/v1/annotations", json={"job": job["id"], "row": 1, "label": None}).status_code == 200
    assert path.read_text("utf-8").splitlines() == ['{"text": "mine", "label": "calm"}']
    assert client.http.get(address, params={"corrected": True}).json()["matching"] == 0


def test_a_correction_must_be_of_a_row_and_a_label(client: Client, tmp_path: Path) -> None:
    job = table(client)
    wrong = {"job": job["id"], "row": 0, "label": "nonsense"}
    assert client.http.post("/api/v1/annotations", json=wrong).json()["error"]["code"] == "unknown_label"
    wrong = {"job": job["id"], "row": 4, "label": "calm"}
    assert client.http.post("/api/v1/annotations", json=wrong).json()["error"]["code"] == "no_such_row"
    assert not (tmp_path / "annotations.jsonl").exists()


def archive(sentences: int = 3, documents: int = 72) -> list[dict[str, object]]:
    """Sentences of documents of two outlets and two places in two years."""
    texts = ("the town is calm and quiet .", "clashes and shelling near the river .", "the convoy arrived .")
    return [
        {
            "document": f"d{document}",
            "outlet": "AB"[document % 2],
            "place": "$\\frac{<script>alert(1)</script>}$" if document % 3 else "Dresk",
            "date": f"{2023 + document // 36}-05-17",
            "source_type": "government_or_military" if (document + sentence) % 2 else None,
            "text": f"{texts[(document * document + sentence) % 3]} {sentence} {document}",
        }
        for document in range(documents)
        for sentence in range(sentences)
    ]


def predictions_of(client: Client, job: dict[str, object], folder: Path) -> Path:
    path = folder / "labelled.jsonl"
    path.write_bytes(client.http.get(f"/api/v1/jobs/{job['id']}/download", params={"format": "jsonl"}).content)
    return path


def test_shares_are_those_of_the_command(client: Client, run: Run, tmp_path: Path) -> None:
    job = client.send_file("news.jsonl", jsonl(archive()))
    assert job["articles"] == 0  # rows that share documents are sentences
    base = f"/api/v1/jobs/{job['id']}"
    assert client.http.get(f"{base}/columns").json() == {
        "dates": ["date"],
        "groups": ["document", "outlet", "place", "source_type"],
    }
    told = client.http.get(f"{base}/shares", params={"by": ["outlet", "year"]}).json()
    expected = findings_of([predictions_of(client, job, tmp_path)], ["outlet", "year"], model=run.layout.folder)
    assert (told["method"], told["by"], told["labels"]) == ("model-based", ["outlet", "year"], expected.shares.labels)
    for group, other in zip(told["groups"], expected.shares.groups, strict=True):
        assert (tuple(group["key"]), group["documents"], group["note"]) == (other.key, other.documents, other.note)
        assert list(group["counted"].values()) == pytest.approx(other.naive.tolist(), abs=1e-6)
        assert [one["share"] for one in group["shares"].values()] == pytest.approx(other.shares.tolist(), abs=1e-4)  # type: ignore[union-attr]
        if other.intervals is None:
            assert {one["low"] for one in group["shares"].values()} == {None}
        else:
            ends = [[one["low"], one["high"]] for one in group["shares"].values()]
            assert np.array(ends) == pytest.approx(other.intervals, abs=1e-3)
    assert told["told"].startswith("Model-based") and "--" not in told["told"] and "random sample" in told["told"]
    claims = told["claims"]
    assert (claims["by_whom"], claims["period"]) == (True, "year")
    assert claims["why_none"].startswith("the model has no label")  # those of the tiny model are others


def test_groups_with_few_documents_have_too_few(client: Client) -> None:
    job = table(client)
    told = client.http.get(f"/api/v1/jobs/{job['id']}/shares", params={"by": "outlet"}).json()
    assert [(group["name"], group["note"]) for group in told["groups"]] == [
        ("A", "too few documents for an interval (2)"),
        ("B", "too few documents for an interval (2)"),
    ]
    assert all(one["told"].endswith("(too few)") for one in told["groups"][0]["shares"].values())
    assert told["rules"]["too few"].startswith("too few: under 10 documents in the group")
    assert told["notes"][0].startswith("4 of 4 sentences name no document")


@pytest.mark.parametrize(
    ("by", "code"),
    [
        (["nothing"], "refused"),
        (["outlet", "outlet"], "bad_groups"),
        (["month", "year"], "bad_groups"),
        (["a", "b", "c", "d", "e"], "invalid"),
    ],
)
def test_groups_that_cannot_be_are_refused(client: Client, by: list[str], code: str) -> None:
    job = client.send_file("news.jsonl", jsonl(archive()))
    answer = client.http.get(f"/api/v1/jobs/{job['id']}/shares", params={"by": by}).json()
    assert answer["error"]["code"] == code
    assert "--" not in answer["error"]["message"] and "/tmp" not in answer["error"]["message"]


def test_more_groups_than_can_be_compared_are_refused(client: Client) -> None:
    job = client.send_file("news.jsonl", jsonl(archive()))
    answer = client.http.get(f"/api/v1/jobs/{job['id']}/shares", params={"by": "document"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "too_many_groups")


def test_corrected_labels_are_no_part_of_the_shares_and_that_is_said(client: Client) -> None:
    job = client.send_file("news.jsonl", jsonl(archive()))
    address = f"/api/v1/jobs/{job['id']}/shares"
    before = client.http.get(address).json()
    client.http.post("/api/v1/annotations", json={"job": job["id"], "row": 0, "label": "move"})
    after = client.http.get(address).json()
    assert after["groups"] == before["groups"]
    assert [note for note in after["notes"] if note not in before["notes"]] == [NOT_CORRECTED_BY_HAND]


def test_pictures_are_without_script_in_the_colours_of_the_page(client: Client) -> None:
    job = client.send_file("news.jsonl", jsonl(archive()))
    asked = {"by": ["place", "year"]}
    base = f"/api/v1/jobs/{job['id']}"
    pictures = client.http.get(f"{base}/shares", params=asked).json()["pictures"]
    assert [picture["name"] for picture in pictures] == ["shares_over_time", "side_by_side"]
    for picture in pictures:
        for panel in range(len(picture["panels"])):
            address = f"{base}/pictures/{picture['name']}/{panel}.svg"
            light, dark = (client.http.get(address, params={**asked, "theme": theme}) for theme in ("light", "dark"))
            assert light.headers["content-type"] == "image/svg+xml" and light.content.startswith(b"<svg")
            assert light.content != dark.content and b"#e7e5df" in dark.content
            assert b"<script" not in light.content and b"currentcolor" not in light.content
            # The page keeps the place free by these; else what stands below would jump when a picture comes.
            box = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', light.content)
            assert box and [float(side) for side in box.groups()] == pytest.approx(
                [picture["width"], picture["height"]], abs=1
            )
    for panel in (99, -1, -100):
        answer = client.http.get(f"{base}/pictures/side_by_side/{panel}.svg", params=asked)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_such_picture")


def test_findings_are_downloaded(client: Client) -> None:
    job = client.send_file("news.jsonl", jsonl(archive()))
    base = f"/api/v1/jobs/{job['id']}/findings"
    report = client.http.get(f"{base}/report.html", params={"by": "place"})
    assert report.headers["content-disposition"] == 'attachment; filename="news-report.html"'
    assert "&lt;script&gt;" in report.text and "<script" not in report.text and "news.jsonl" in report.text
    rows = list(csv.DictReader(io.StringIO(client.http.get(f"{base}/shares.csv", params={"by": "outlet"}).text)))
    assert {(row["outlet"], row["method"]) for row in rows} == {("A", "model-based"), ("B", "model-based")}
    assert client.http.get(f"{base}/claims.csv").status_code == 404


@pytest.fixture
def kept_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an application that is made after this keeps its files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("by_document", [False, True])
def test_an_audit_is_drawn_labelled_and_used(
    kept_in: Path, client: Client, by_document: bool, tiny: CheckpointClassifier
) -> None:
    job = client.send_file("news.jsonl", jsonl(archive()))
    base = f"/api/v1/jobs/{job['id']}"
    asked = {"by": "outlet", "half_width": 0.2, "by_document": by_document}
    plan = client.http.get(f"{base}/audit/plan", params=asked).json()
    assert [group["name"] for group in plan["groups"]] == ["A", "B"]
    assert all(group["design_effect"] >= 1 and group["limit"] for group in plan["groups"])
    files = {name: client.http.get(f"{base}/audit/plan/{name}", params=asked).text for name in AUDIT}
    assert "/tmp" not in files["audit.csv.meta.json"]
    rows = list(csv.DictReader(io.StringIO(files["audit.csv"])))
    assert len(rows) == plan["sentences"]
    unfilled = {"name": "audit.csv", "table": files["audit.csv"], "metadata": files["audit.csv.meta.json"]}
    answer = client.http.put(f"{base}/audit", json=unfilled)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "refused")
    assert answer.json()["error"]["message"].startswith("audit.csv: the column 'label' is empty")
    for number, row in enumerate(rows):
        row["label"] = tiny.classes_[number % 3]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    filled = {**unfilled, "table": stream.getvalue()}
    for _ in range(2):
        assert client.http.put(f"{base}/audit", json=filled).json() == {"labels": len(rows)}
        assert len(list(kept_in.rglob("audit.csv"))) == 1  # one after another would fill the disk
    assert client.http.get(base).json()["audited"]
    told = client.http.get(f"{base}/shares", params={"by": "outlet"}).json()
    assert told["method"] == "audited" and told["told"].startswith("Audited")
    assert sum(group["audited_sentences"] for group in told["groups"]) == len(rows)
    assert all(one["low"] <= one["share"] <= one["high"] for one in told["groups"][0]["shares"].values())
    assert client.http.delete(f"{base}/audit").status_code == 204
    assert not list(kept_in.rglob("audit.csv*"))
    assert client.http.get(f"{base}/shares", params={"by": "outlet"}).json()["method"] == "model-based"


AUDIT = ("audit.csv", "audit.csv.meta.json")


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"table": "text,label\nall is calm,calm\n"}, 422, "refused"),
        ({"metadata": "{}"}, 422, "refused"),
        ({"metadata": "no json"}, 422, "refused"),
        ({"name": "audit.parquet"}, 415, "unknown_format"),
        ({"name": "../audit.csv.gz"}, 415, "unknown_format"),
        ({"table": "x" * 20_001}, 413, "too_large"),
    ],
)
def test_what_is_no_audit_is_refused(client: Client, changed: dict[str, str], status: int, code: str) -> None:
    job = client.send_file("news.jsonl", jsonl(archive()))
    asked = {
        "name": "audit.csv",
        "table": "row,text,label,inclusion_probability,stratum\n1,a,calm,1,1\n",
        "metadata": "",
    }
    answer = client.http.put(f"/api/v1/jobs/{job['id']}/audit", json={**asked, **changed})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "--" not in answer.json()["error"]["message"] and "/tmp" not in answer.json()["error"]["message"]


def test_a_web_page_is_read_without_what_stands_around_its_article(client: Client) -> None:
    job = client.send_file("page.HTML", PAGE.encode())
    assert (job["state"], job["article"], job["dateline"]) == ("done", True, "DRESK, May 3 (VN) —")
    rows = client.http.get(f"/api/v1/jobs/{job['id']}/result").json()["rows"]
    assert [row["text"] for row in rows] == [
        "Shelling stops <i>",
        "The valley was quiet on Monday after a night of shelling.",
        "Nobody was hurt, the army said.",
        "Farmers went back to their fields in the afternoon.",
    ]
    assert [row["columns"]["kind"] for row in rows] == ["headline", "body", "body", "body"]
    assert {(row["columns"]["outlet"], row["columns"]["date"], row["columns"]["place"]) for row in rows} == {
        ("Valley News", "2021-05-03", "Dresk")
    }
    assert [row["columns"]["source"] for row in rows] == [None, None, "the army", None]
    failed = client.send_file("empty.html", b"<html><body></body></html>")
    assert failed["error"]["message"] == "empty.html: no article was found in this HTML page."


PAGE = """<!doctype html><html><head><title>Shelling stops &lt;i&gt;</title>
<meta property="og:site_name" content="Valley News"><meta property="article:published_time" content="2021-05-03">
</head><body><nav><a href="/">Home</a></nav><article><h1>Shelling stops &lt;i&gt;</h1>
<p>DRESK, May 3 (VN) — The valley was quiet on Monday after a night of shelling. Nobody was hurt, the army said.</p>
<p>Farmers went back to their fields in the afternoon.</p></article><footer>Imprint</footer></body></html>"""


def test_a_table_of_articles_is_split_and_keeps_its_columns(client: Client) -> None:
    rows = [
        {
            "document": "state-1",
            "outlet": "Agency",
            "date": "2024-04-03",
            "text": "KELMAR — The army said all was calm. He went.\n\nTrucks came.",
            "desk": 7,
        },
        {
            "document": "wire-1",
            "outlet": "Wire",
            "date": "2024-05-03",
            "text": "Shells fell. Two died. Nobody fled.",
            "desk": 8,
        },
        {"document": "wire-2", "outlet": "Wire", "date": "2024-05-04", "text": None, "desk": 8},
    ]
    job = client.send_file("articles.jsonl", jsonl(rows))
    assert (job["articles"], job["article"], job["rows"], job["rejected"]) == (2, False, 6, 1)
    found = client.http.get(f"/api/v1/jobs/{job['id']}/result").json()["rows"]
    assert found[0]["text"] == "The army said all was calm."
    assert [row["columns"]["document"] for row in found] == ["state-1"] * 3 + ["wire-1"] * 3
    assert [row["columns"]["desk"] for row in found] == [7] * 3 + [8] * 3
    assert found[0]["columns"]["source_type"] == "government_or_military"
    assert (found[0]["columns"]["place"], found[2]["columns"]["paragraph"]) == ("Kelmar", 2)
    whole = client.send_file("articles.jsonl", jsonl(rows), rows="sentences")
    assert (whole["articles"], whole["rows"]) == (0, 2)


def test_columns_of_articles_whose_names_are_taken_are_renamed(client: Client) -> None:
    # The letters of three articles are one; and of numbers in text, none can be subtracted.
    own = {"article": "A", "paragraph": "1", "source": "feed", "source_type": "rss", "input_source": "kept"}
    text = "Calm came back, the army said. Shells fell. Two died."
    job = client.send_file("articles.jsonl", jsonl([{"text": text, **own}] * 3))
    assert (job["articles"], job["notes"]) == (3, [])
    found = [row["columns"] for row in client.http.get(f"/api/v1/jobs/{job['id']}/result").json()["rows"]]
    assert [row["article"] for row in found] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert {row["paragraph"] for row in found} == {1}
    assert [row["source"] for row in found] == ["the army", None, None] * 3
    assert {(row["input_source_type"], row["input_article"], row["input_paragraph"]) for row in found} == {
        ("rss", "A", "1")
    }
    assert {(row["input_source"], row["input_input_source"]) for row in found} == {("kept", "feed")}


def test_articles_that_are_all_set_aside_are_told_with_their_column(client: Client) -> None:
    article = "It rained. It hailed. It snowed. " * 200
    assert len(article) > SMALL.article_characters
    failed = client.send_file("articles.jsonl", jsonl([{"body": article, "desk": desk} for desk in range(2)]))
    assert failed["error"]["code"] == "no_rows"
    assert failed["error"]["message"] == (
        "articles.jsonl: no row with usable text in 'body'. The first problem: row 1: 6,600 characters, more than the "
        "5,000 of an article."
    )


def test_many_sentences_are_not_asked_for_who_says_them(tiny: CheckpointClassifier, tmp_path: Path) -> None:
    app = create_app(tiny, annotations=tmp_path / "a.jsonl", limits=replace(SMALL, sourced_sentences=3))
    with TestClient(app, base_url="http://127.0.0.1") as http:
        job = Client(http).send_text(ARTICLE)
        assert job["notes"][0].startswith("Who says each sentence is not told for more than 3 sentences.")
        assert "source" not in http.get(f"/api/v1/jobs/{job['id']}/result").json()["rows"][0]["columns"]


def test_an_explanation_covers_the_sentence(client: Client) -> None:
    text = "the town is calm and quiet ."
    told = client.http.post("/api/v1/explain", json={"text": text}).json()
    assert "".join(piece["text"] for piece in told["pieces"]) == text
    assert max(abs(piece["strength"]) for piece in told["pieces"]) <= 1 and told["strongest"]
    assert client.http.post("/api/v1/explain", json={"text": text, "label": "x"}).status_code == 422


def test_an_explanation_without_captum_says_what_to_install(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "captum.attr", None)
    answer = client.http.post("/api/v1/explain", json={"text": "calm ."})
    assert answer.status_code == 501 and 'pip install "conflict-framing[train]"' in answer.json()["error"]["message"]


def test_downloads_hold_all_that_is_shown(client: Client) -> None:
    job = table(client)
    client.http.post("/api/v1/annotations", json={"job": job["id"], "row": 0, "label": "move"})
    base = f"/api/v1/jobs/{job['id']}/download"
    answer = client.http.get(base, params={"format": "jsonl"})
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert [row["text"] for row in rows] == [row["text"] for row in NEWS]
    assert [row["corrected_label"] for row in rows] == ["move", None, None, None]
    assert answer.headers["content-disposition"] == 'attachment; filename="news-labelled.jsonl"'
    told = list(csv.DictReader(io.StringIO(client.http.get(base).content.decode("utf-8-sig"))))
    assert [row["outlet"] for row in told] == ["A", "A", "B", "B"]
    assert [float(row["score"]) for row in told] == pytest.approx([row["score"] for row in rows])
    one = client.http.get(base, params={"format": "jsonl", "text": "river"}).text.splitlines()
    assert len(one) == 1


def test_a_waiting_job_is_cancelled_and_a_deleted_one_is_gone(client: Client) -> None:
    many = jsonl([{"text": "the town is calm ."}] * 300)
    sent = [client.http.post("/api/v1/jobs/file", params={"name": "a.jsonl"}, content=many).json() for _ in range(2)]
    assert client.http.post(f"/api/v1/jobs/{sent[1]['id']}/cancel").status_code == 200
    assert client.finish(sent[1])["state"] == "cancelled"
    answer = client.http.get(f"/api/v1/jobs/{sent[1]['id']}/result")
    assert (answer.status_code, answer.json()["error"]["state"]) == (409, "cancelled")
    assert client.finish(sent[0])["state"] == "done"
    assert client.http.delete(f"/api/v1/jobs/{sent[0]['id']}").status_code == 204
    assert client.http.get(f"/api/v1/jobs/{sent[0]['id']}").status_code == 404
    assert [job["id"] for job in client.http.get("/api/v1/jobs").json()["jobs"]] == [sent[1]["id"]]


def test_a_running_job_stops_between_pieces(
    client: Client, tiny: CheckpointClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from conflict_framing.web import model

    began, go = threading.Event(), threading.Event()
    predict = tiny.predict

    def slow(texts: list[str], **options: object) -> object:
        if len(texts) > 1:
            began.set()
            assert go.wait(60)
        return predict(texts, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(model, "_PIECE", 10)
    monkeypatch.setattr(tiny, "predict", slow)
    many = jsonl([{"text": "the town is calm ."}] * 100)
    job = client.http.post("/api/v1/jobs/file", params={"name": "a.jsonl"}, content=many).json()
    assert began.wait(60)
    told = client.http.get(f"/api/v1/jobs/{job['id']}").json()
    assert (told["state"], told["rows"], told["done"]) == ("labelling", 100, 0)
    client.http.post(f"/api/v1/jobs/{job['id']}/cancel")
    go.set()
    over = client.finish(job)
    assert (over["state"], over["done"]) == ("cancelled", 10)


def test_the_openapi_document_and_its_page_tell_every_operation(client: Client) -> None:
    document = client.http.get("/api/v1/openapi.json").json()
    page = client.http.get("/api").text
    paths = set(document["paths"])
    assert {"/api/v1/predict", "/api/v1/jobs/{id}/download", "/api/v1/annotations"} <= paths
    assert all(path in page for path in paths)
    address = str(client.http.base_url).rstrip("/")
    assert page.count(f"{address}/api/v1/jobs/") == 3
    assert "http://" not in page.replace(address, "") and "https://" not in page
    elsewhere = client.http.get("/api", headers={"Host": "localhost:9137"}).text
    assert elsewhere.count("http://localhost:9137/api/v1/jobs/") == 3


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/static/../api.py", 404), ("/api/v1/jobs/x", 404)])
def test_errors_are_json_for_programs_and_words_for_people(client: Client, path: str, status: int) -> None:
    answer = client.http.get(path)
    assert answer.status_code == status and set(answer.json()["error"]) == {"code", "message"}


def test_results_of_the_oldest_jobs_go(client: Client, application: Callable[[], Client]) -> None:
    sent = [client.send_text(f"The town is calm {number}.") for number in range(5)]
    kept = {job["id"] for job in client.http.get("/api/v1/jobs").json()["jobs"]}
    assert sent[0]["id"] not in kept and sent[-1]["id"] in kept and len(kept) <= 4


def test_sources_stand_beside_sentences_and_are_not_missed_where_they_cannot_be_told(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.http.get("/api/v1/model").json()["names_sources"]
    text = "The army said the valley was calm. Shells fell."
    job = client.send_text(text)
    rows = client.http.get(f"/api/v1/jobs/{job['id']}/result").json()["rows"]
    assert [row["columns"]["source"] for row in rows] == ["The army", None]
    assert (rows[0]["columns"]["source_cue"], rows[0]["columns"]["source_end"]) == ("said", 8)

    def broken(article: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("conflict_framing.web.speakers.attribute", broken)
    job = client.send_text(text)
    assert (job["state"], job["rows"]) == ("done", 2)
    assert job["notes"] == ["Who says each sentence could not be told; the server's log tells why."]
