import csv
import gzip
import hashlib
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow
import pyarrow.parquet
import pytest

from conflict_framing import __version__
from conflict_framing.analysis import read_articles
from conflict_framing.data import UserError
from conflict_framing.data.articles import article_rows
from conflict_framing.data.tables import read_table
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model import predict as predict_module
from conflict_framing.model import rows as model_rows
from conflict_framing.model.drift import Reservoir
from conflict_framing.model.metadata import metadata_file, write_metadata
from conflict_framing.model.predict import PredictOptions, predict_files
from conflict_framing.train.fit import Run

from ..conftest import tiny_rows, write_jsonl

PREDICTED = ["label", "score", "p_attack", "p_calm", "p_move", "abstained", "truncated"]


@pytest.fixture(scope="module")
def classifier(run: Run) -> CheckpointClassifier:
    return CheckpointClassifier.from_pretrained(run.layout.folder, device="cpu")


def values(path: Path) -> list[dict[str, object]]:
    return [row.values for row in read_table(path)]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".csv.gz", ".tsv.zst"])
def test_columns_kept_taken_names_renamed_order_kept(
    classifier: CheckpointClassifier, tmp_path: Path, suffix: str
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", tiny_rows(50))
    report = predict_files(classifier, [source], tmp_path / f"out{suffix}")
    rows = values(tmp_path / f"out{suffix}")
    assert list(rows[0]) == ["text", "input_label", "document", "id", *PREDICTED]
    assert [str(row["id"]) for row in rows] == [str(number) for number in range(50)]
    assert [row["label"] for row in rows] == [p.label for p in classifier.predict([str(r["text"]) for r in rows])]
    assert (report.read, report.written, report.rejected) == (50, 50, 0)
    assert not list(tmp_path.glob("*.partial"))
    assert not report.rejected_file.exists()


def test_parquet_types_are_kept(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    table = pyarrow.table({"text": ["calm"], "n": pyarrow.array([7], pyarrow.int8()), "tags": [["a", "b"]]})
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet")
    predict_files(classifier, [tmp_path / "in.parquet"], tmp_path / "out.parquet")
    out = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert out.schema.field("n").type == pyarrow.int8()
    assert out.schema.field("abstained").type == pyarrow.bool_()
    assert out.column("tags").to_pylist() == [["a", "b"]]


def test_columns_that_come_late_reach_the_header(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "calm"}, {"text": "raid", "late": {"a": 1}}])
    predict_files(classifier, [source], tmp_path / "out.csv")
    rows = values(tmp_path / "out.csv")
    assert [row["late"] for row in rows] == ["", '{"a": 1}']


def test_what_a_reader_must_know_stands_beside_the_predictions(run: Run, tmp_path: Path) -> None:
    classifier = CheckpointClassifier.from_pretrained(run.layout.folder, device="cpu")
    source = write_jsonl(tmp_path / "in.jsonl", [*tiny_rows(30), {"text": ""}])
    report = predict_files(classifier, [source], tmp_path / "out.csv", options=PredictOptions(among=["calm", "move"]))
    told = json.loads((tmp_path / "out.csv.meta.json").read_text("utf-8"))
    weights = hashlib.sha256(run.layout.model.joinpath("model.safetensors").read_bytes()).hexdigest()
    assert told["version"] == __version__
    assert told["drift"]["explanation"].startswith("distance, far and language are judged by their limits.")
    assert told["model"]["weights_sha256"] == {"model.safetensors": weights}
    assert told["options"]["inputs"] == [str(source)]
    assert told["options"]["among"] == ["calm", "move"]
    assert told["counts"] == {"read": 31, "written": 30, "rejected": 1, "truncated": 0, "labels": dict(report.labels)}
    assert report.drift is not None
    assert report.drift.sentences == 30
    assert told["drift"] == json.loads(json.dumps(report.drift.to_json()))
    assert not list(tmp_path.glob("*.partial"))
    # The same input tells the same.
    again = predict_files(classifier, [source], tmp_path / "again.csv", options=PredictOptions(among=["calm", "move"]))
    assert again.drift == report.drift


def test_drift_is_null_when_not_asked_for_or_not_known(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", tiny_rows(30))
    report = predict_files(classifier, [source], tmp_path / "out.csv", options=PredictOptions(drift=False))
    assert report.drift is None
    assert json.loads((tmp_path / "out.csv.meta.json").read_text("utf-8"))["drift"] is None
    classifier.save_pretrained(tmp_path / "old")
    (tmp_path / "old" / "reference.safetensors").unlink()
    old = CheckpointClassifier.from_pretrained(tmp_path / "old", device="cpu")
    assert predict_files(old, [source], tmp_path / "old.csv").drift is None


def test_at_most_the_sample_is_compared(
    classifier: CheckpointClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict_module, "Reservoir", lambda: Reservoir(size=40))
    source = write_jsonl(tmp_path / "in.jsonl", tiny_rows(120))
    report = predict_files(classifier, [source], tmp_path / "out.jsonl")
    assert report.drift is not None
    assert report.drift.sentences == 40


def test_metadata_replace_what_was_there_whole(tmp_path: Path) -> None:
    path = metadata_file(tmp_path / "out.csv")
    assert path.name == "out.csv.meta.json"
    write_metadata(path, {"model": {"name": "é"}, "old": 1})
    write_metadata(path, {"model": {"name": "ö"}})
    assert json.loads(path.read_text("utf-8")) == {"model": {"name": "ö"}}
    with pytest.raises(TypeError):
        write_metadata(path, {("no", "key"): 1})  # type: ignore[dict-item]
    assert json.loads(path.read_text("utf-8")) == {"model": {"name": "ö"}}
    assert [item.name for item in tmp_path.iterdir()] == ["out.csv.meta.json"]


def test_existing_metadata_are_kept_without_overwrite(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "calm"}])
    (tmp_path / "out.jsonl.meta.json").write_text("precious", "utf-8")
    with pytest.raises(UserError, match=r"out.jsonl.meta.json exists\. .*--overwrite"):
        predict_files(classifier, [source], tmp_path / "out.jsonl")


def test_renamed_columns_never_collide(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "calm", "label": "x", "input_label": "y"}])
    predict_files(classifier, [source], tmp_path / "out.jsonl")
    (row,) = values(tmp_path / "out.jsonl")
    assert row["input_label"] == "y"
    assert row["input_input_label"] == "x"


def test_bad_rows_are_set_aside_and_counted(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "calm"}\n{nope\n{"text": ""}\n{"text": 5}\n{"id": 1}\n{"text": "raid"}\n', "utf-8")
    report = predict_files(classifier, [source], tmp_path / "out.jsonl")
    assert (report.read, report.written, report.rejected) == (6, 2, 4)
    rejected = values(tmp_path / "out.jsonl.rejected.jsonl")
    assert [row["line"] for row in rejected] == [2, 3, 4, 5]
    assert rejected[0]["raw"] == "{nope"
    assert "came empty text" in str(rejected[1]["reason"])
    assert "came int 5" in str(rejected[2]["reason"])


def test_articles_become_rows_with_offsets(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    article = "The town was calm. Then a raid\nbegan at 5 p.m. Monday."
    (tmp_path / "a.txt").write_text(article, "utf-8")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(article.encode()))
    predict_files(classifier, [tmp_path / "a.txt", tmp_path / "b.txt.gz"], tmp_path / "out.jsonl")
    rows = values(tmp_path / "out.jsonl")
    assert [row["sentence"] for row in rows] == [1, 2, 1, 2]
    assert rows[0]["document"] == str(tmp_path / "a.txt")
    assert article[int(str(rows[1]["start"])) : int(str(rows[1]["end"]))] == "Then a raid\nbegan at 5 p.m. Monday."
    assert rows[1]["text"] == "Then a raid began at 5 p.m. Monday."


def test_articles_are_read_as_for_sources(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    article = "Calm returns\n\nKYIV, May 3 (Herald) — The town was calm. Then a raid began.\n"
    (tmp_path / "a.txt").write_text(article, "utf-8")
    (tmp_path / "b.txt").write_text("The town was calm.", "utf-8")
    inputs, output = [tmp_path / "a.txt", tmp_path / "b.txt"], tmp_path / "out.jsonl"
    report = predict_files(classifier, inputs, output)
    assert (report.articles, report.without_year, report.without_date) == (2, 1, 1)
    rows = values(output)
    expected = [row for path in inputs for row in article_rows(next(iter(read_articles([path]))))]  # type: ignore[arg-type]
    assert [{name: row[name] for name in expected[0]} for row in rows] == expected
    assert [row["kind"] for row in rows] == ["headline", "body", "body", "body"]
    assert (rows[1]["text"], rows[1]["outlet"], rows[1]["date"]) == ("The town was calm.", "Herald", None)
    assert article[rows[1]["start"] : rows[1]["end"]] == rows[1]["text"]  # type: ignore[misc]
    options = PredictOptions(outlet="Own", year=2021)
    report = predict_files(classifier, inputs, output, options=options, overwrite=True)
    assert report.without_year == 0
    assert [(row["outlet"], row["date"]) for row in values(output)[2:]] == [("Own", "2021-05-03"), ("Own", None)]
    table = write_jsonl(tmp_path / "t.jsonl", [{"text": "calm"}])
    with pytest.raises(UserError, match="a table tells it in a column"):
        predict_files(classifier, [table], tmp_path / "t.csv", options=options)
    with pytest.raises(UserError, match=r"a table tells the date in a column.*'sources --year' first"):
        predict_files(classifier, [table], tmp_path / "t.csv", options=PredictOptions(year=2021))


def test_a_text_longer_than_a_piece_keeps_its_offsets(
    classifier: CheckpointClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conflict_framing.data.tables._TEXT_PIECE", 20)
    article = "KYIV (Herald) — The town was calm.\n\nThen a raid began.\n\nIt ended.\n"
    (tmp_path / "a.txt").write_text(article, "utf-8")
    predict_files(classifier, [tmp_path / "a.txt"], tmp_path / "out.jsonl")
    rows = values(tmp_path / "out.jsonl")
    assert [row["sentence"] for row in rows] == [1, 2, 3]
    assert {(row["outlet"], row["place"], row["kind"]) for row in rows} == {("Herald", "Kyiv", "body")}
    assert [article[row["start"] : row["end"]] for row in rows] == [row["text"] for row in rows]  # type: ignore[misc]


@pytest.mark.parametrize("form", ["text", "jsonl", "csv", "parquet"])
def test_standard_input(
    classifier: CheckpointClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a raid"]}), tmp_path / "x.parquet")
    content = {
        "text": b"A raid.",
        "jsonl": gzip.compress(b'{"text": "a raid"}\n'),
        "csv": b"text\na raid\n",
        "parquet": (tmp_path / "x.parquet").read_bytes(),
    }[form]
    monkeypatch.setattr(model_rows.sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    report = predict_files(
        classifier,
        ["-"],
        tmp_path / "out.jsonl",
        options=PredictOptions(input_format=form),  # type: ignore[arg-type]
    )
    assert report.written == 1


def test_among_limits_the_columns(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "calm"}])
    predict_files(classifier, [source], tmp_path / "o.csv", options=PredictOptions(among=["calm", "move"]))
    with (tmp_path / "o.csv").open(encoding="utf-8") as stream:
        assert next(csv.reader(stream)) == ["text", "label", "score", "p_calm", "p_move", "abstained", "truncated"]


def test_existing_output_is_kept_without_overwrite(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "calm"}])
    (tmp_path / "out.jsonl").write_text("precious", "utf-8")
    with pytest.raises(UserError, match=r"out.jsonl exists\. .*--overwrite"):
        predict_files(classifier, [source], tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text("utf-8") == "precious"
    predict_files(classifier, [source], tmp_path / "out.jsonl", overwrite=True)
    assert json.loads((tmp_path / "out.jsonl").read_text("utf-8"))["text"] == "calm"


def test_output_never_replaces_an_input(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "calm"}])
    (tmp_path / "link.jsonl").symlink_to(source)
    with pytest.raises(UserError, match="is an input too"):
        predict_files(classifier, [source], tmp_path / "link.jsonl", overwrite=True)
    assert source.read_text("utf-8") == '{"text": "calm"}\n'


def test_input_that_cannot_be_read_leaves_no_output(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    good = write_jsonl(tmp_path / "good.jsonl", [{"text": "calm"}])
    bad = tmp_path / "bad.csv"
    bad.write_bytes("text\ncafé\n".encode("cp1252"))
    with pytest.raises(UserError, match="not utf-8: byte 0xe9"):
        predict_files(classifier, [bad], tmp_path / "out.jsonl")
    with pytest.raises(UserError, match="no column 'text'"):
        predict_files(classifier, [good, write_jsonl(tmp_path / "other.jsonl", [{"a": 1}])], tmp_path / "out.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "good.jsonl", "other.jsonl"]


def test_a_file_of_another_encoding_does_not_stop_the_others(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_bytes("The café is calm.".encode("cp1252"))
    write_jsonl(folder / "b.jsonl", [{"text": "calm", "n": 1}, {"text": "", "n": 2}])
    (folder / "c.txt").write_bytes("The town is calm.".encode("utf-16"))
    (folder / "d.csv").write_bytes("text,only here\ncalm,1\ncafé,2\n".encode("latin-1"))
    (folder / "e.txt").write_bytes(b"\x89PNG\r\n\x00\x00\x00\xff")
    (folder / "f.parquet").write_bytes(b"no table")
    (folder / "g.txt").write_text("A raid.", "utf-8")
    (folder / "h.txt").write_bytes("The town is calm.".encode("utf-16-le"))
    (folder / "i.jsonl").touch()
    report = predict_files(classifier, [folder], tmp_path / "out.csv")
    assert (report.read, report.written, report.rejected) == (10, 2, 8)
    rows = values(tmp_path / "out.csv")
    assert [row["text"] for row in rows] == ["calm", "A raid."]
    assert "only here" not in rows[0]
    rejected = {Path(str(row["path"])).name: row for row in values(report.rejected_file)}
    assert {name: row["line"] for name, row in rejected.items()} == {
        "a.txt": 0, "b.jsonl": 2, "c.txt": 0, "d.csv": 0, "e.txt": 0, "f.parquet": 0, "h.txt": 0, "i.jsonl": 0
    }  # fmt: skip
    for name, reason in {
        "a.txt": "the whole file is left out: line 1: not utf-8: byte 0xe9",
        "c.txt": f"iconv -f UTF-16 -t UTF-8 {folder / 'c.txt'} > converted.txt",
        "d.csv": "line 3: not utf-8",
        "e.txt": "a binary file, not text",
        "f.parquet": "not a Parquet file",
        "h.txt": "UTF-16 without its byte-order mark (--encoding utf-16-le)",
        "i.jsonl": "the file is empty",
    }.items():
        assert reason in str(rejected[name]["reason"])
        assert reason in report.left_out[str(folder / name)]
    told = json.loads(metadata_file(tmp_path / "out.csv").read_text("utf-8"))
    assert told["left_out"] == report.left_out
    assert told["counts"]["rejected"] == 8
    for name in ("b.jsonl", "g.txt"):
        (folder / name).unlink()
    with pytest.raises(UserError, match=r"None of the 7 files can be used\. The first: .*a\.txt:1: not utf-8"):
        predict_files(classifier, [folder], tmp_path / "none.csv")


def test_missing_text_column_lists_the_columns(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"body": "calm", "id": 1}])
    with pytest.raises(UserError, match=r"no column 'text'\. Columns found: 'body', 'id'"):
        predict_files(classifier, [source], tmp_path / "out.jsonl")
