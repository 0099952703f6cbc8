from pathlib import Path

import pytest

from conflict_framing.data import UserError
from conflict_framing.data.inputs import find_inputs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.csv", "a.jsonl.gz", "deep/c.TXT", "deep/er/d.parquet", "notes.pdf", ".hidden/e.csv", ".f.csv",
                 "x.csv.partial/g.csv", "deep/h.tsv.zst"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text\ncalm\n", "utf-8")
    return tmp_path


def names(found: list[str], folder: Path) -> list[str]:
    return [str(Path(name).relative_to(folder)) for name in found]


def test_a_folder_means_its_files_of_known_formats_at_any_depth_sorted(folder: Path) -> None:
    found = names(find_inputs([folder]), folder)
    assert found == ["a.jsonl.gz", "b.csv", "deep/c.TXT", "deep/er/d.parquet", "deep/h.tsv.zst"]
    assert "notes.pdf" in names(find_inputs([folder], any_format=True), folder)


def test_what_is_written_into_the_folder_is_no_input(folder: Path) -> None:
    assert "b.csv" not in names(find_inputs([folder], leave_out=[folder / "b.csv"]), folder)
    assert names(find_inputs([f"{folder}/*.csv", f"{folder}/*.gz"]), folder) == ["b.csv", "a.jsonl.gz"]


def test_patterns(folder: Path) -> None:
    assert names(find_inputs([f"{folder}/**/*.[tT]*"]), folder) == ["deep/c.TXT", "deep/h.tsv.zst"]
    assert names(find_inputs([f"{folder}/d*"]), folder) == ["deep/c.TXT", "deep/er/d.parquet", "deep/h.tsv.zst"]
    (folder / "odd[1].csv").write_text("text\n", "utf-8")
    assert names(find_inputs([folder / "odd[1].csv"]), folder) == ["odd[1].csv"]
    with pytest.raises(UserError, match=r"nothing\*\.csv: no file fits the pattern"):
        find_inputs([f"{folder}/nothing*.csv"])


def test_inputs_keep_their_order_and_come_once(folder: Path) -> None:
    assert find_inputs(["-", folder / "b.csv"]) == ["-", str(folder / "b.csv")]
    with pytest.raises(UserError, match=r"b\.csv: named twice among the inputs"):
        find_inputs([folder, folder / "deep" / ".." / "b.csv"])
    with pytest.raises(UserError, match="named twice"):
        find_inputs(["-", "-"])


def test_nothing_to_label_is_an_error(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty is a folder without any file of a known format \(\.csv, "):
        find_inputs([folder / "empty"])
    with pytest.raises(UserError, match="no such file"):
        find_inputs([folder / "none.csv"])
    (folder / "b.csv").write_text("", "utf-8")
    with pytest.raises(UserError, match="the file is empty"):
        find_inputs([folder / "b.csv"])
    assert str(folder / "b.csv") in find_inputs([folder])  # one of many is told, and does not stop the others
