import json
from pathlib import Path

import pytest

from conflict_framing.data import Corpus, UserError, load_corpus
from conflict_framing.train import Recipe, run_study, train_run
from conflict_framing.train.fit import Run

from ..conftest import tiny_rows, write_jsonl


@pytest.fixture(scope="module")
def quick(recipe: Recipe) -> Recipe:
    training = recipe.training.model_copy(update={"epochs": 1})
    return recipe.model_copy(update={"baselines": False, "training": training})


@pytest.fixture
def registers(tmp_path: Path) -> Corpus:
    rows = tiny_rows(120)
    rows[5]["text"] = f"{rows[5]['text']}\u2028with\u0085odd line ends"
    for place, row in enumerate(rows):
        row["register"] = ["wire", "speech", "opinion", None][place // 3 % 4]
    return load_corpus(write_jsonl(tmp_path / "c.jsonl", rows))


def silent(line: str) -> None:
    pass


def test_held_out_registers_are_each_tested_once_and_never_trained_on(
    registers: Corpus, quick: Recipe, tmp_path: Path
) -> None:
    study = run_study(registers, quick, tmp_path / "s", held_out="register", folds=3, device="cpu", say=silent)
    assert {figures.name: figures.n for figures in study.values} == {"wire": 30, "speech": 30, "opinion": 30}
    assert study.seeds[0].n == 90  # the sentences without a register are never tested
    for run in study.runs:
        tested = {s.extras["register"] for s in load_corpus(Path(run) / "splits" / "test.jsonl").sentences}
        trained = {s.extras["register"] for s in load_corpus(Path(run) / "splits" / "train.jsonl").sentences}
        assert len(tested) == 1
        assert not tested & trained
    rows = [
        json.loads(line) for line in (tmp_path / "s" / "predictions.jsonl").read_text("utf-8").strip("\n").split("\n")
    ]
    share = sum(row["label"] == row["input_label"] for row in rows) / 90
    assert study.seeds[0].accuracy == pytest.approx(share)
    low, high = study.seeds[0].intervals["accuracy"]
    assert low <= share <= high
    table = (tmp_path / "s" / "study.md").read_text("utf-8")
    assert f"| wire | 30 | {next(v for v in study.values if v.name == 'wire').macro_f1:.3f} |" in table


def test_the_drop_against_a_plain_run_is_told(run: Run, registers: Corpus, quick: Recipe, tmp_path: Path) -> None:
    plain = train_run(registers, quick, tmp_path / "plain", device="cpu", say=silent)
    assert plain.evaluation is not None
    metrics = plain.evaluation.model.metrics
    study = run_study(
        registers, quick, tmp_path / "s", held_out="register", folds=2, against=tmp_path / "plain", device="cpu",
        say=silent,
    )  # fmt: skip
    assert study.against is not None
    assert study.against.macro_f1 == metrics["macro_f1"]
    assert study.against.unlike == ""
    low, high = metrics["intervals"]["macro_f1"]
    assert study.drop == (
        f"Macro-F1, random split: {metrics['macro_f1']:.3f} ({low:.3f}–{high:.3f}), held out: {study.mean:.3f} "
        f"({study.seeds[0].interval}), drop: {metrics['macro_f1'] - study.mean:.3f}"
    )
    assert f"\n{study.drop}\n" in (tmp_path / "s" / "study.md").read_text("utf-8")
    told = json.loads((tmp_path / "s" / "study.json").read_text("utf-8"))["against"]
    assert told["macro_f1"] == metrics["macro_f1"]
    # The tiny run of all tests was trained on twice as many sentences, and for longer.
    other = run_study(
        registers, quick, tmp_path / "s", held_out="register", folds=2, against=run.layout.folder, device="cpu",
        resume=True, say=silent,
    )  # fmt: skip
    assert other.drop.endswith(
        ". The plain run has 240 sentences instead of 120 and other settings, which is part of the drop."
    )


def test_what_is_no_plain_run_is_refused_before_training(
    corpus: Corpus, quick: Recipe, run: Run, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="expected a run of 'train' with a test part"):
        run_study(corpus, quick, tmp_path / "s", held_out="id", against=tmp_path, device="cpu", say=silent)
    fewer = [place for place, label in enumerate(corpus.labels) if label != "calm"]
    other = Corpus(corpus.select(fewer).sentences, corpus.codebook.only(["attack", "move"]))
    with pytest.raises(UserError, match="its labels are attack, calm, move; those of the corpus are attack, move"):
        run_study(other, quick, tmp_path / "s", held_out="id", against=run.layout.folder, device="cpu", say=silent)
    assert not (tmp_path / "s").exists()


def test_seeds_share_the_split_and_resuming_keeps_finished_runs(corpus: Corpus, quick: Recipe, tmp_path: Path) -> None:
    study = run_study(corpus, quick, tmp_path / "s", seeds=2, device="cpu", say=silent)
    assert [figures.name for figures in study.seeds] == ["seed 13", "seed 14"]
    assert study.spread is not None
    first, second = ((Path(run) / "splits" / "test.jsonl").read_bytes() for run in study.runs)
    assert first == second
    with pytest.raises(UserError, match="--resume"):
        run_study(corpus, quick, tmp_path / "s", seeds=2, device="cpu", say=silent)
    said: list[str] = []
    again = run_study(corpus, quick, tmp_path / "s", seeds=2, device="cpu", resume=True, say=said.append)
    assert again == study
    assert said == ["seed-13: finished before", "seed-14: finished before"]
    other = quick.model_copy(update={"max_length": 16})
    with pytest.raises(UserError, match="another corpus or recipe"):
        run_study(corpus, other, tmp_path / "s", seeds=2, device="cpu", resume=True, say=silent)


def test_max_corpus_draws_once_for_all_runs(corpus: Corpus, quick: Recipe, tmp_path: Path) -> None:
    small = quick.model_copy(update={"max_corpus": 120})
    study = run_study(corpus, small, tmp_path / "s", folds=2, seeds=2, device="cpu", say=silent)
    assert [figures.n for figures in study.seeds] == [120, 120]


def test_a_folder_that_is_no_study_is_left_alone(corpus: Corpus, quick: Recipe, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(UserError, match="no study"):
        run_study(corpus, quick, tmp_path, folds=3, overwrite=True, device="cpu", say=silent)
