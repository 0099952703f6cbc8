from pathlib import Path

import pytest

from conflict_framing import FramingClassifier, Prediction, UserError, load_corpus, train_classifier

from ..conftest import tiny_rows


@pytest.fixture
def settings(backbone: Path) -> list[str]:
    return [
        f"backbone={backbone}",
        "training.freeze_layers=0",
        "training.epochs=6",
        "training.batch_size=8",
        "training.learning_rate=4e-3",
        "export=false",
    ]


def test_fit_predict_score_and_save(settings: list[str], tmp_path: Path) -> None:
    rows = tiny_rows()
    texts, labels = [str(r["text"]) for r in rows], [str(r["label"]) for r in rows]
    classifier = FramingClassifier(settings=settings, device="cpu")
    with pytest.raises(UserError, match="no model yet"):
        classifier.predict("calm")
    assert classifier.fit(texts, labels) is classifier
    assert classifier.classes_ == ["attack", "calm", "move"]
    assert classifier.score(texts, labels) > 0.6
    classifier.save_pretrained(tmp_path / "model")
    again = FramingClassifier.from_pretrained(tmp_path / "model", device="cpu")
    assert isinstance(again, FramingClassifier)
    assert again.predict(texts) == classifier.predict(texts)
    assert isinstance(again.predict("calm"), Prediction)


def test_fit_refuses_unequal_lengths_and_single_labels(settings: list[str]) -> None:
    classifier = FramingClassifier(settings=settings)
    with pytest.raises(UserError, match="as many labels"):
        classifier.fit(["a", "b"], ["x"])
    with pytest.raises(UserError, match="at least two labels"):
        classifier.fit(["a", "b"], ["x", "x"])


def test_train_classifier_from_files_keeps_or_drops_the_run(
    settings: list[str], corpus_file: Path, tmp_path: Path
) -> None:
    kept = train_classifier(corpus_file, settings=settings, output=tmp_path / "run", device="cpu")
    assert (tmp_path / "run" / "evaluation" / "report.md").exists()
    dropped = train_classifier(load_corpus(corpus_file), settings=settings, device="cpu")
    texts = [str(row["text"]) for row in tiny_rows(20, seed=4)]
    assert kept.predict(texts) == dropped.predict(texts)
    with pytest.raises(UserError, match="--overwrite"):
        train_classifier(corpus_file, settings=settings, output=tmp_path / "run")
