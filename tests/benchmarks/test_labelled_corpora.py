from pathlib import Path

import labelled_corpora
import pytest

from conflict_framing.data.split import Split
from conflict_framing.train.recipe import Recipe
from rivals import Classifier, Outcome

from ..conftest import tiny_rows, write_jsonl


def test_tables_are_printed_from_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ["train"] * 120 + ["validation"] * 30 + ["test"] * 90
    rows = [{**row, "split": part} for row, part in zip(tiny_rows(240), parts, strict=True)]
    (tmp_path / "corpora" / "tiny").mkdir(parents=True)
    for part in set(parts):
        write_jsonl(tmp_path / "corpora" / "tiny" / f"{part}.jsonl", [row for row in rows if row["split"] == part])
    (tmp_path / "corpora" / "tiny" / "SOURCE.md").write_text("published (accuracy): 97\n", "utf-8")
    fitted: list[str] = []

    def classifier(title: str, wrong: int, seeded: bool = True) -> Classifier:
        def fit(split: Split, recipe: Recipe) -> Outcome:
            fitted.append(f"{title} {recipe.seed}")
            labels = split.test.label_ids
            return Outcome([(label + (place < wrong)) % 3 for place, label in enumerate(labels)], 60.0)

        return Classifier(title, fit, {}, seeded)

    fakes = {"ours": classifier("us", 9), "trainer": classifier("them", 18), "tfidf": classifier("words", 27, False)}
    monkeypatch.setattr(labelled_corpora, "all_classifiers", lambda recipe, **_: fakes)
    arguments = ["", "--folder", str(tmp_path / "corpora"), "--output", str(tmp_path / "kept"), "--seeds", "2"]

    def printed(*more: str) -> list[str]:
        monkeypatch.setattr("sys.argv", [*arguments, *more])
        labelled_corpora.main()
        return capsys.readouterr().out.splitlines()

    printed("--rivals", "trainer")
    assert fitted == ["us 13", "them 13", "us 14", "them 14"]
    lines = printed("--rivals", "tfidf", "--only", "tiny")
    assert fitted[4:] == ["words 13"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[0] == list(labelled_corpora.HEADER)
    assert rows[2] == ["us", "2", "0.900 ± 0.000", "0.900 ± 0.000", "", "", "60"]
    assert rows[3][:5] == ["them", "2", "0.800 ± 0.000", "0.800 ± 0.000", "+0.100"]
    assert rows[4][:5] == ["words", "any", "0.700", "0.700", "+0.200"]
    assert lines[-1] == "published (accuracy): 97"
    with pytest.raises(SystemExit, match="The labelled corpus other is not here"):
        printed("--only", "other")
