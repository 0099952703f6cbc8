import json
from pathlib import Path

import pyarrow.parquet
import pytest

from conflict_framing.analysis import SOURCE_COLUMNS, source_files
from conflict_framing.data import UserError

from ..conftest import write_jsonl

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
