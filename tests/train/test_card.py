"""One whole model card, matched to the letter. To renew it: python tests/train/test_card.py"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from conflict_framing.data import Codebook, Corpus, Sentence
from conflict_framing.data.split import Split
from conflict_framing.model.folder import ModelFacts
from conflict_framing.train.card import write_card
from conflict_framing.train.evaluation import Evaluation, Part, Scored

EXPECTED = Path(__file__).parent / "model_card.md"


def make(path: Path, recipe: dict[str, Any] | None = None, training: dict[str, Any] | None = None) -> None:
    codebook = Codebook.bundled().only(["escalation_report", "none"])
    sentences = tuple(
        Sentence(f"text {n}", codebook.label_names[n % 2], None, None, None, {}, "c", n) for n in range(10)
    )
    corpus = Corpus(sentences, codebook)
    figures: dict[str, Any] = {
        "macro_f1": 0.8125,
        "accuracy": 0.9,
        "mcc": 0.75,
        "ece": 0.0421,
        "precision": [0.8, 0.9],
        "recall": [0.7, 0.95],
        "f1": [0.75, 0.92],
        "support": [1, 1],
        "confusion_matrix": [[1, 0], [0, 1]],
        "intervals": {"macro_f1": [0.75, 0.875], "f1": [[0.7, 0.8], [0.9, 0.94]], "ece": [0.0, 0.0812]},
    }
    facts = ModelFacts(
        max_length=256,
        backbone="organisation/backbone",
        corpus_fingerprint="ab" * 32,
        corpus_counts={"train": 6, "validation": 2, "calibration": 40, "test": 2},
        recipe={"name": "default", "seed": 13, **(recipe or {})},
        training={
            "epochs_run": 4.0,
            "best_epoch": 3.0,
            "validation_macro_f1": 0.8,
            "temperature": 1.25,
            "seconds": 300.5,
            "device": "cpu",
            "torch": "2.13.0",
            "transformers": "5.23.0",
            **(training or {}),
        },
    )
    evaluation = Evaluation(
        data="test split",
        n=2,
        measured=Part.of(corpus.select(range(8, 10))),
        codebook=codebook,
        facts=facts,
        model=Scored("model", figures),
        uncalibrated=Scored("model, uncalibrated", {**figures, "ece": 0.0917, "intervals": {"ece": [0.0512, 0.1304]}}),
        baselines=[Scored("majority", {**figures, "macro_f1": 0.4})],
        notes=[],
        rows=[],
    )
    classifier: Any = SimpleNamespace(facts=facts, codebook=codebook)
    split = Split(corpus.select(range(6)), corpus.select(range(6, 8)), corpus.select([]), corpus.select(range(8, 10)))
    write_card(classifier, evaluation, split, path)


def test_whole_card(tmp_path: Path) -> None:
    make(tmp_path / "card.md")
    assert (tmp_path / "card.md").read_text("utf-8") == EXPECTED.read_text("utf-8")


def test_a_taught_model_names_its_teacher_and_whose_text_it_saw(tmp_path: Path) -> None:
    taught = {
        "teacher": "runs/large",
        "teacher_fingerprint": "cd",
        "unlabelled_sentences": 15000,
        "unlabelled_sha256": "ef",
    }
    make(tmp_path / "card.md", {"distillation": {"attribution": "Speeches (CC0)"}}, taught)
    card = (tmp_path / "card.md").read_text("utf-8")
    assert "Taught by `runs/large`" in card
    assert "- Unlabelled text: Speeches (CC0)\n" in card
    make(tmp_path / "other.md", {"distillation": {"attribution": None}}, taught)
    assert "Unlabelled text" not in (tmp_path / "other.md").read_text("utf-8")


if __name__ == "__main__":
    make(EXPECTED)
