import json
from pathlib import Path

import pytest

from conflict_framing.data import Corpus, load_corpus
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.layout import RunLayout
from conflict_framing.train.evaluation import evaluate_run, run_of
from conflict_framing.train.fit import Run
from conflict_framing.train.report import write_evaluation

from ..conftest import tiny_rows, write_jsonl


@pytest.fixture
def other(tmp_path: Path, run: Run) -> Corpus:
    return load_corpus(write_jsonl(tmp_path / "other.jsonl", tiny_rows(30, seed=3)), codebook=run.classifier.codebook)


def test_baselines_stand_beside_the_model_and_repeat_exactly(run: Run, other: Corpus) -> None:
    first = evaluate_run(run.layout, other, run.classifier, name="other")
    again = evaluate_run(run.layout, other, run.classifier, name="other")
    assert [b.name for b in first.baselines] == [
        "majority",
        "TF-IDF + logistic regression",
        "frozen embeddings + logistic regression",
    ]
    assert first.to_json() == again.to_json()
    assert first.baselines[0].metrics["accuracy"] == pytest.approx(1 / 3)
    assert first.baselines[1].metrics["accuracy"] > 0.9  # one word decides, which TF-IDF sees


def test_a_run_tells_its_parts_and_its_history(run: Run, corpus: Corpus, other: Corpus) -> None:
    evaluation = evaluate_run(run.layout, other, run.classifier, name="other")
    assert sum(sum(part.sentences.values()) for part in evaluation.parts.values()) == len(corpus)
    assert list(evaluation.parts) == [name for name, count in run.classifier.facts.corpus_counts.items() if count]
    assert evaluation.measured.sentences == {"attack": 10, "calm": 10, "move": 10}
    assert evaluation.measured.documents == 10
    assert [entry["epoch"] for entry in evaluation.history if "eval_macro_f1" in entry][:2] == [1, 2]


def test_a_log_that_a_crash_tore_off_is_read_as_far_as_it_goes(run: Run, other: Corpus, tmp_path: Path) -> None:
    torn = RunLayout(tmp_path)
    torn.log.write_text('{"step": 10, "loss": 1.5, "epoch": 0.5}\n{"step": 20, "lo', "utf-8")
    history = evaluate_run(torn, other, run.classifier, name="x").history
    assert history == [{"step": 10, "loss": 1.5, "epoch": 0.5}]


def test_bare_model_has_no_baselines_and_says_so(run: Run, other: Corpus) -> None:
    evaluation = evaluate_run(None, other, run.classifier, name="other")
    assert evaluation.baselines == []
    assert evaluation.parts == {}
    assert evaluation.history == []
    assert "training split" in evaluation.notes[0]


def test_run_is_found_from_its_model_folder(run: Run, tmp_path: Path) -> None:
    assert run_of(run.layout.folder) == run.layout
    assert run_of(run.layout.model) == run.layout
    assert run_of(tmp_path) is None
    assert run_of("organisation/model") is None


def test_missing_label_is_noted(run: Run, other: Corpus) -> None:
    some = other.select([place for place, label in enumerate(other.labels) if label != "calm"])
    assert any("has the label calm" in note for note in evaluate_run(None, some, run.classifier, name="x").notes)


def test_written_report_tells_the_same_figures(run: Run, other: Corpus, tmp_path: Path) -> None:
    evaluation = evaluate_run(run.layout, other, run.classifier, name="a | b <c>")
    write_evaluation(evaluation, tmp_path / "report")
    report = (tmp_path / "report" / "report.md").read_text("utf-8")
    assert f"| model | {evaluation.model.metrics['macro_f1']:.3f} |" in report
    assert "# Evaluation on a \\| b &lt;c>" in report
    assert json.loads((tmp_path / "report" / "metrics.json").read_text("utf-8")) == evaluation.to_json()
    assert (tmp_path / "report" / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
    rows = (tmp_path / "report" / "predictions.jsonl").read_text("utf-8").splitlines()
    assert len(rows) == len(other)
    assert {"text", "input_label", "label", "score"} <= set(json.loads(rows[0]))


def test_parts_of_the_data_are_measured_and_reported(run: Run, tmp_path: Path) -> None:
    rows = tiny_rows(60, seed=3)
    for place, row in enumerate(rows):
        row["register"] = "wire | a" if place < 45 else "speech"
    corpus = load_corpus(write_jsonl(tmp_path / "c.jsonl", rows), codebook=run.classifier.codebook)
    evaluation = evaluate_run(None, corpus, run.classifier, name="x")
    by = {table.by: table.slices for table in evaluation.slices}
    assert {"register", "length"} <= set(by)
    wire, speech = by["register"]
    right = [row["label"] == row["input_label"] for row in evaluation.rows]
    assert wire.accuracy == pytest.approx(sum(right[:45]) / 45)
    assert evaluation.to_json()["slices"][0]["by"] == "register"
    write_evaluation(evaluation, tmp_path / "report")
    report = (tmp_path / "report" / "report.md").read_text("utf-8")
    low, high = wire.intervals["macro_f1"]
    assert f"| wire \\| a | 45 | 15 | {wire.macro_f1:.3f} | {low:.3f} to {high:.3f} | {wire.accuracy:.3f} |" in report
    assert f"| speech | 15 | 5 | {speech.macro_f1:.3f} | too few | {speech.accuracy:.3f} | too few |" in report
    assert "Length: in words" in report


def test_promises_of_the_calibration_part_are_in_the_report(calibrated: Path, other: Corpus, tmp_path: Path) -> None:
    classifier = CheckpointClassifier.from_pretrained(calibrated, device="cpu")
    evaluation = evaluate_run(None, other, classifier, name="other")
    assert evaluation.selective is not None
    told = evaluation.to_json()["selective"]
    assert told["max_error"][0]["threshold"] == classifier.abstention(0.05).threshold
    assert told["max_error"][0]["coverage"] == evaluation.selective.kept[0].coverage
    write_evaluation(evaluation, tmp_path / "report")
    report = (tmp_path / "report" / "report.md").read_text("utf-8")
    low, high = evaluation.selective.intervals["aurc"]
    assert f"(AURC) is {evaluation.selective.curve.aurc:.3f} ({low:.3f} to {high:.3f})" in report
    assert f"| 0.05 | {classifier.abstention(0.05).threshold:.4f} |" in report
    assert f"| 100 % | {1 - evaluation.model.metrics['accuracy']:.3f} |" in report
    assert classifier.calibration is not None
    classifier.calibration = classifier.calibration.model_copy(update={"units": [0] * 600})
    write_evaluation(evaluate_run(None, other, classifier, name="other"), tmp_path / "nothing")
    report = (tmp_path / "nothing" / "report.md").read_text("utf-8")
    assert "| 0.05 | everything | 0.000 | – | – | – |" in report
    assert "> Abstains on everything: an error of at most 5%" in report
    classifier.calibration = None
    write_evaluation(evaluate_run(None, other, classifier, name="other"), tmp_path / "bare")
    assert "no calibration part" in (tmp_path / "bare" / "report.md").read_text("utf-8")


def test_surest_errors_come_first(run: Run, other: Corpus) -> None:
    errors = evaluate_run(None, other, run.classifier, name="x").errors(100)
    assert all(row["label"] != row["input_label"] for row in errors)
    assert [row["score"] for row in errors] == sorted((row["score"] for row in errors), reverse=True)
