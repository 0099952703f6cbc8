import json
import sys
import tracemalloc
from pathlib import Path

import pyarrow.parquet
import pytest

from conflict_framing.analysis import SOURCE_COLUMNS, Article, Attribution, source_files
from conflict_framing.data import UserError

from ..conftest import write_jsonl

MODULE = sys.modules["conflict_framing.analysis.source_files"]  # the function has its name
ARTICLE = "The army said the valley was calm. Shells fell on the market. Residents told us they would leave."


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_sentences_of_an_article_with_their_sources(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(ARTICLE, "utf-8")
    done: list[tuple[int, int]] = []
    report = source_files([tmp_path / "a.txt"], tmp_path / "out.jsonl", on_progress=lambda *counts: done.append(counts))
    rows = rows_of(tmp_path / "out.jsonl")
    assert [row["source"] for row in rows] == ["The army", None, "Residents"]
    assert [row["source_type"] for row in rows] == ["government_or_military", None, "civilian"]
    assert [row["source_cue"] for row in rows] == ["said", None, "told"]
    assert [row["sentence"] for row in rows] == [1, 2, 3]
    assert tuple(rows[0])[-5:] == SOURCE_COLUMNS
    assert (report.articles, report.sentences, report.types[None]) == (1, 3, 1)
    assert (report.without_date, report.without_year) == (1, 0)
    assert done == [(1, 1)]


def test_a_predictions_file_keeps_its_rows_and_columns(tmp_path: Path) -> None:
    given = [
        {"document": "a", "text": "The army said it was calm.", "label": "calm", "source": "mine", "score": 0.5},
        {"document": "a", "text": "It added that trucks came.", "label": "move", "source": "mine", "score": 0.5},
    ]
    path = write_jsonl(tmp_path / "labelled.jsonl", given)
    source_files([path], tmp_path / "out.parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["source"] for row in rows] == ["The army", "The army"]
    assert [row["input_source"] for row in rows] == ["mine", "mine"]
    assert [{k: row[k] for k in ("document", "text", "label", "score")} for row in rows] == [
        {k: row[k] for k in ("document", "text", "label", "score")} for row in given
    ]


def test_an_output_is_not_lost_by_mistake(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": ARTICLE}])
    with pytest.raises(UserError, match="is an input too"):
        source_files([path], path, overwrite=True)
    (tmp_path / "out.csv").write_text("kept", "utf-8")
    with pytest.raises(UserError, match="exists"):
        source_files([path], tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text("utf-8") == "kept"
    source_files([path], tmp_path / "out.csv", overwrite=True)
    assert "The army" in (tmp_path / "out.csv").read_text("utf-8")


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_memory_does_not_grow_with_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    def attribute(article: Article) -> list[Attribution]:
        return [Attribution() for _ in article.sentences]

    monkeypatch.setattr(MODULE, "attribute", attribute)

    def peak(documents: int) -> int:
        rows = ({"document": f"d{n // 5}", "text": f"Sentence {n}. " * 300} for n in range(5 * documents))
        with (tmp_path / "in.jsonl").open("w") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
        tracemalloc.start()
        report = source_files([tmp_path / "in.jsonl"], tmp_path / f"out.{suffix}", overwrite=True)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (report.articles, report.sentences) == (documents, 5 * documents)
        return used

    peak(10)  # what is loaded once
    grown = peak(220) - peak(20)
    assert grown < 1_500_000  # of 4 MB of texts


def test_rows_with_other_columns_later_and_left_out_ones_are_told(tmp_path: Path) -> None:
    given = [{"text": ARTICLE}, {"text": 5}, {"text": "Trucks came.", "tag": 7}]
    report = source_files([write_jsonl(tmp_path / "a.jsonl", given)], tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text("utf-8").splitlines()
    assert lines[0].endswith("text,tag," + ",".join(SOURCE_COLUMNS))
    assert (report.articles, report.sentences, report.rejected) == (2, 4, 1)
    assert [bad.line for bad in report.problems] == [2]


def test_a_file_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_bytes("A café is calm.".encode("cp1252"))
    write_jsonl(folder / "b.jsonl", [{"text": " "}, {"text": ARTICLE}])
    (folder / "c.csv").write_bytes("text,only here\nIt is calm.,1\nA café.,2\n".encode("cp1252"))
    report = source_files([folder], tmp_path / "out.csv")
    assert (report.articles, report.sentences, report.rejected) == (1, 3, 3)
    assert [(Path(bad.path).name, bad.line) for bad in report.problems] == [("a.txt", 0), ("b.jsonl", 1), ("c.csv", 0)]
    assert report.problems[0].place == str(folder / "a.txt")
    assert "the whole file is left out: line 1: not utf-8: byte 0xe9" in report.problems[0].reason
    assert "only here" not in (tmp_path / "out.csv").read_text("utf-8")
    (folder / "b.jsonl").unlink()
    with pytest.raises(UserError, match=r"None of the 2 files can be used\. The first: .*a\.txt:1: not utf-8"):
        source_files([folder], tmp_path / "none.csv")


def test_nothing_is_left_of_an_output_that_was_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def attribute(article: Article) -> list[Attribution]:
        raise KeyboardInterrupt

    monkeypatch.setattr(MODULE, "attribute", attribute)
    (tmp_path / "a.txt").write_text(ARTICLE, "utf-8")
    with pytest.raises(KeyboardInterrupt):
        source_files([tmp_path / "a.txt"], tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_an_output_in_the_folder_of_the_inputs_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(ARTICLE, "utf-8")
    for _ in range(2):
        assert source_files([tmp_path], tmp_path / "out.jsonl", overwrite=True).articles == 1
