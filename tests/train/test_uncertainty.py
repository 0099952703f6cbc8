import numpy as np
import pytest
from sklearn import metrics

from conflict_framing.train.uncertainty import confusion_metrics, document_confusions, document_intervals


def test_metrics_of_a_confusion_matrix_are_those_of_scikit_learn() -> None:
    chance = np.random.default_rng(1)
    references = chance.integers(0, 3, 200)
    predictions = np.where(chance.random(200) < 0.6, references, chance.integers(0, 3, 200))
    counts = document_confusions(predictions.tolist(), references.tolist(), [0] * 200, 4)  # label 3 never occurs
    found = confusion_metrics(counts)
    assert found["macro_f1"][0] == pytest.approx(metrics.f1_score(references, predictions, average="macro"))
    assert found["accuracy"][0] == pytest.approx(metrics.accuracy_score(references, predictions))
    assert found["mcc"][0] == pytest.approx(metrics.matthews_corrcoef(references, predictions))
    assert found["f1"][0, :3] == pytest.approx(metrics.f1_score(references, predictions, average=None))
    assert found["f1"][0, 3] == 0
    for name in ("precision", "recall"):
        wanted = getattr(metrics, f"{name}_score")(references, predictions, average=None)
        assert found[name][0] == pytest.approx([*wanted, 0])


def test_sentences_of_one_document_widen_the_interval() -> None:
    right = np.repeat([0, 1] * 20, 10)  # documents are right or wrong as a whole
    references = np.tile([0, 1], 200)
    predictions = np.where(right == 1, references, 1 - references).tolist()
    apart = document_intervals(predictions, references.tolist(), list(range(400)), 2)["accuracy"]
    together = document_intervals(predictions, references.tolist(), np.repeat(range(40), 10).tolist(), 2)["accuracy"]
    assert together[1] - together[0] > 2 * (apart[1] - apart[0])


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Documents with a difficulty of their own; the truth is the mean accuracy, 0.75."""
    chance = np.random.default_rng(5)
    covered, trials = 0, 150
    for _ in range(trials):
        skill = np.repeat(chance.beta(6, 2, size=80), 6)
        references = chance.integers(0, 2, skill.size)
        predictions = np.where(chance.random(skill.size) < skill, references, 1 - references)
        units = np.repeat(range(80), 6).tolist()
        low, high = document_intervals(predictions.tolist(), references.tolist(), units, 2)["accuracy"]
        covered += low <= 0.75 <= high
    # 95 % nominal; with 150 trials, 0.90 is about three standard errors below.
    assert 0.90 <= covered / trials <= 0.99


def test_a_label_that_draws_miss_is_not_counted_as_wrong_in_them() -> None:
    references = [0, 1] * 20 + [2]  # label 2 in one document of many, and right
    intervals = document_intervals(references, references, list(range(41)), 4)
    for name in ("precision", "recall", "f1"):
        assert intervals[name] == [[1, 1], [1, 1], [1, 1], [0, 0]]


def test_intervals_of_macro_f1_cover_the_truth_in_simulation() -> None:
    """Documents whose sentences are right or wrong together: 95 % intervals hold the true macro-F1 about so often."""

    def draw(documents: int, seed: int) -> tuple[list[int], list[int], list[int]]:
        chance = np.random.default_rng(seed)
        references = chance.choice(3, p=[0.6, 0.25, 0.15], size=(documents, 8))
        # A document's own error rate, so that its sentences are not independent.
        wrong = chance.random((documents, 8)) < chance.beta(1, 4, size=(documents, 1))
        predictions = np.where(wrong, chance.integers(0, 3, size=(documents, 8)), references)
        units = np.repeat(np.arange(documents), 8)
        return predictions.ravel().tolist(), references.ravel().tolist(), units.tolist()

    many, right, _ = draw(40_000, seed=999)
    truth = confusion_metrics(document_confusions(many, right, [0] * len(many), 3))["macro_f1"][0]
    covered = 0
    for seed in range(120):
        predictions, references, units = draw(80, seed)
        low, high = document_intervals(predictions, references, units, 3)["macro_f1"]
        covered += low <= truth <= high
    assert covered >= 107  # 95 % of 120 is 114; three standard errors below
