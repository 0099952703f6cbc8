import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conflict_framing import UserError
from conflict_framing.analysis.table import Column, period_of, read_predictions


def row(text: str = "All is calm.", label: str = "calm", **more: Any) -> dict[str, Any]:
    own = {"text": text, "document": "a", **more}
    return {**own, "label": label, "score": 0.8, "p_calm": 0.8, "p_attack": 0.2, "abstained": False, "truncated": False}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    return path


@pytest.mark.parametrize(
    ("value", "period", "expected"),
    [
        ("2024-05-31", "month", "2024-05"),
        ("2024-05-31T23:59:00Z", "quarter", "2024-Q2"),
        ("2024/5/3", "month", "2024-05"),
        ("20240503", "month", "2024-05"),
        ("2024-05", "quarter", "2024-Q2"),
        ("2024", "year", "2024"),
        ("2024-12-30", "week", "2025-W01"),
        (datetime.date(2024, 1, 1), "week", "2024-W01"),
        ("2024-05", "week", ""),
        ("2024", "month", ""),
        ("2024-13-01", "month", ""),
        ("2024-02-30", "week", ""),
        ("05/31/2024", "month", ""),
        ("May 2024", "year", ""),
        (None, "year", ""),
    ],
)
def test_periods_of_dates(value: Any, period: str, expected: str) -> None:
    assert period_of(value, period) == expected


def test_groups_documents_and_missing_values(tmp_path: Path) -> None:
    rows = [
        row(outlet="b", date="2024-05-01"),
        row(outlet="a", date="2024-04-01", document="x"),
        row(outlet="", date="2024-04-02", document=""),
        row(outlet=None, date="2024-04-02", document=None),
        row(outlet="a", date="2024-04-30", document="x"),
    ]
    table = read_predictions([write(tmp_path / "p.jsonl", rows)], ["outlet", "month"], optional=["place"])
    groups = table.groups(["outlet", "month"])
    assert groups.keys == [("a", "2024-04"), ("b", "2024-05"), ("", "2024-04")]
    assert groups.codes.tolist() == [1, 0, 2, 2, 0]
    assert table.documents[1] == table.documents[4]
    assert len(set(table.documents.tolist())) == 4  # rows without one are documents of their own
    assert table.without_document == 2
    assert "place" not in table.columns
    assert table.groups([]).keys == [()]


def test_documents_of_two_files_are_not_one(tmp_path: Path) -> None:
    files = [write(tmp_path / name, [row()]) for name in ("one.jsonl", "two.jsonl")]
    assert read_predictions(files).documents.tolist() == [0, 1]


def test_columns_are_sorted_with_the_missing_last() -> None:
    column = Column.of(["b", "", "a", "b"])
    assert (column.values, column.codes.tolist()) == (["a", "b", ""], [1, 2, 0, 1])
    assert column.mapped(lambda text: text or "c").values == ["a", "b", "c"]


def test_the_outlets_own_voice_is_told_from_a_source_of_unknown_type(tmp_path: Path) -> None:
    rows = [
        row(source=None, source_type=None),
        row(source="", source_type=""),
        row(source="Anna Rossi", source_type="unknown"),
        row(source="a list of my own", source_type=""),
        row(source_type=""),
    ]
    table = read_predictions([write(tmp_path / "p.jsonl", rows)], ["source_type"])
    groups = table.groups(["source_type"])
    assert [groups.keys[code][0] for code in groups.codes] == ["(own voice)", "(own voice)", "unknown", "", ""]
    table = read_predictions([write(tmp_path / "p.jsonl", rows[:2])], optional=["source_type"])
    assert "source_type" not in table.columns  # nobody said anything


def test_an_own_column_of_a_periods_name_stays(tmp_path: Path) -> None:
    table = read_predictions([write(tmp_path / "p.jsonl", [row(month="May")])], ["month"])
    assert table.columns["month"].values == ["May"]


def test_an_inputs_own_p_column_is_no_label(tmp_path: Path) -> None:
    table = read_predictions([write(tmp_path / "p.jsonl", [{"p_value": 0.04, **row()}])])
    assert table.labels == ["calm", "attack"]
    np.testing.assert_allclose(table.probabilities, [[0.8, 0.2]], atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "by", "message"),
    [
        ([{"text": "a", "label": "calm"}], [], "Label the sentences first"),
        ([row()], ["outlet"], "no column 'outlet' to group by"),
        ([row()], ["month"], "no column 'date'"),
        ([row(date="last spring")], ["month"], "Expected dates like 2024-05-31"),
        ([{**row(), "p_calm": 0.1}], [], "probabilities that sum to 1"),
        ([{**row(), "p_calm": "high"}], [], "probabilities that sum to 1"),
        ([row(label="quiet")], [], "labels that people gave go to --audit"),
    ],
)
def test_what_is_no_predictions_file_is_told(
    rows: list[dict[str, Any]], by: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        read_predictions([write(tmp_path / "p.jsonl", rows)], by)


def test_articles_and_a_table_in_one_file_have_the_columns_of_both(tmp_path: Path) -> None:
    rows = [row(document="a"), row(document="t", outlet="wire", date="2024-05-31")]
    path = write(tmp_path / "p.jsonl", rows)
    table = read_predictions([path], ["outlet", "month"])
    groups = table.groups(["outlet", "month"])
    assert [groups.keys[code] for code in groups.codes] == [("", ""), ("wire", "2024-05")]
    with pytest.raises(UserError, match=r"no column 'place' to group by\. Columns found: .*'document'.*'outlet'"):
        read_predictions([path], ["place"])


def test_an_unlabelled_file_is_to_be_labelled_first(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", [{"text": "a"}])
    with pytest.raises(UserError, match=r"conflict-framing predict \S+in\.jsonl --output predictions\.jsonl"):
        read_predictions([path])


def test_files_of_two_models_are_refused(tmp_path: Path) -> None:
    other = {name.replace("attack", "move"): value for name, value in row().items()}
    files = [write(tmp_path / "one.jsonl", [row()]), write(tmp_path / "two.jsonl", [other])]
    with pytest.raises(UserError, match="predictions files of one model"):
        read_predictions(files)
