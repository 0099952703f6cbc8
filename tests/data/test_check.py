from pathlib import Path

import pytest

from conflict_framing.data.check import check_files

from ..conftest import write_jsonl

LONG = "The governor of the northern province said on Monday that all roads to the capital were open again"
ROWS = [{"text": LONG, "label": "a", "document": "1"}, {"text": "Something else entirely", "label": "b"}]


def kinds(tmp_path: Path, *more: dict[str, object]) -> list[str]:
    path = write_jsonl(tmp_path / "c.jsonl", [*ROWS, *more])
    _, problems = check_files(path)
    assert all(
        problem.message.startswith(f"{path}:{len(ROWS) + 1}: ") for problem in problems if problem.kind != "leak"
    )
    return [problem.kind for problem in problems]


def test_clean_corpus_has_no_problems(tmp_path: Path) -> None:
    assert kinds(tmp_path) == []


def test_duplicates_are_found_whatever_their_case_and_marks(tmp_path: Path) -> None:
    assert kinds(tmp_path, {"text": LONG.upper() + "!", "label": "a", "document": "1"}) == ["duplicate"]


def test_near_duplicates_across_documents_are_found(tmp_path: Path) -> None:
    assert kinds(tmp_path, {"text": LONG + " now", "label": "a", "document": "2"}) == ["near-duplicate"]


def test_near_duplicates_inside_a_document_or_a_group_are_exempt(tmp_path: Path) -> None:
    assert kinds(tmp_path, {"text": LONG + " now", "label": "a", "document": "1"}) == []
    path = write_jsonl(
        tmp_path / "g.jsonl",
        [
            {"text": LONG, "label": "a", "group": "g"},
            {"text": LONG + " now", "label": "b", "group": "g"},
        ],
    )
    assert check_files(path)[1] == []


@pytest.mark.parametrize("unit", ["document", "group"])
def test_a_unit_on_both_sides_of_the_split_is_a_leak(tmp_path: Path, unit: str) -> None:
    rows = [
        {"text": "One thing", "label": "a", unit: "u", "split": "train"},
        {"text": "Another matter", "label": "b", unit: "u", "split": "test"},
    ]
    _, problems = check_files(write_jsonl(tmp_path / "c.jsonl", rows))
    assert [problem.kind for problem in problems] == ["leak"]


def test_unreadable_rows_are_problems_too(tmp_path: Path) -> None:
    corpus, problems = check_files(write_jsonl(tmp_path / "c.jsonl", [*ROWS, {"text": "", "label": "a"}]))
    assert corpus is None
    assert [problem.kind for problem in problems] == ["unreadable"]


def test_the_same_sentence_in_training_and_test_is_told(tmp_path: Path) -> None:
    rows = [{"text": LONG, "label": "a", "split": "train"}, {"text": "Other", "label": "b", "split": "train"}]
    alike = [{"text": LONG, "label": "a", "split": "test"}, {"text": LONG + " now", "label": "a", "split": "test"}]
    _, problems = check_files(write_jsonl(tmp_path / "c.jsonl", [*rows, *alike]))
    assert [problem.kind for problem in problems if "across the split (train there, test here)" in problem.message] == [
        "duplicate",
        "near-duplicate",
    ]
