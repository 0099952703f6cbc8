"""Temperature scaling is folded into the weights; figures of calibration are not biased by the size of the sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.calibration import read_calibration
from conflict_framing.train.calibration import fit_temperature, fold_temperature, with_temperature
from conflict_framing.train.fit import Run
from conflict_framing.train.metrics import all_metrics
from conflict_framing.train.reliability import (
    debiased_error,
    perfect_plain_error,
    probability_intervals,
    reliability,
)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def calibrated(n: int, seed: int, sharpness: float = 2.0) -> tuple[np.ndarray, list[int]]:
    """Probabilities of a perfect model, and right labels drawn from them."""
    chance = np.random.default_rng(seed)
    probabilities = softmax(chance.normal(size=(n, 4)) * sharpness)
    references = [int(chance.choice(4, p=row)) for row in probabilities]
    return probabilities, references


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_that_was_applied_is_found(true: float) -> None:
    probabilities, references = calibrated(6000, seed=1)
    assert fit_temperature(with_temperature(probabilities, 1 / true), references) == pytest.approx(true, rel=0.08)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 10))
def test_temperature_leaves_the_argmax_and_can_be_taken_back(seed: int, temperature: float) -> None:
    probabilities = softmax(np.random.default_rng(seed).normal(size=(20, 5)))
    changed = with_temperature(probabilities, temperature)
    assert changed.argmax(axis=1).tolist() == probabilities.argmax(axis=1).tolist()
    assert changed.sum(axis=1) == pytest.approx(np.ones(20))
    assert with_temperature(changed, 1 / temperature) == pytest.approx(probabilities, abs=1e-6)


def test_folding_leaves_every_label_and_scales_the_logits(run: Run) -> None:
    texts = ["the calm town .", "shelling near the river", "convoy on the road", "quiet quiet attack"]
    classifier = CheckpointClassifier.from_pretrained(run.layout.folder, device="cpu")
    before = classifier.predict_proba(texts)
    assert fold_temperature(classifier.model, 3.0)
    after = classifier.predict_proba(texts)
    assert after.argmax(axis=1).tolist() == before.argmax(axis=1).tolist()
    assert after == pytest.approx(with_temperature(before, 3.0), abs=1e-5)
    assert np.abs(after - before).max() > 0.01


def test_the_pipeline_gives_the_calibrated_probabilities(run: Run) -> None:
    from transformers import pipeline

    texts = ["the calm town .", "shelling near the river", "convoy on the road"]
    model = run.layout.model
    pipe = pipeline("text-classification", model=str(model), top_k=None, device="cpu")
    classifier = CheckpointClassifier.from_pretrained(model, device="cpu")
    for text, row in zip(texts, classifier.predict_proba(texts), strict=True):
        told = {entry["label"]: entry["score"] for entry in pipe([text])[0]}
        assert [told[name] for name in classifier.classes_] == pytest.approx(row.tolist(), abs=1e-5)


def test_a_run_keeps_what_its_calibration_part_says(run: Run) -> None:
    kept = read_calibration(run.layout.model, run.classifier.classes_)
    part = [line for line in run.layout.split("calibration").read_text("utf-8").splitlines() if line]
    assert kept is not None
    assert len(part) == len(kept.units) == len(kept.references) == len(kept.probabilities) >= 20
    assert kept.temperature == run.classifier.facts.training["temperature"]
    assert sum(kept.training_shares) == pytest.approx(1)
    assert run.evaluation is not None and run.evaluation.uncalibrated is not None
    # Folding cannot change a label, so the other metrics are the same.
    assert run.evaluation.uncalibrated.metrics["macro_f1"] == run.evaluation.model.metrics["macro_f1"]


def test_the_debiased_error_of_a_perfect_model_is_nearer_to_zero_than_the_plain_one() -> None:
    found = [all_metrics(*calibrated(411, seed=seed)) for seed in range(40)]
    debiased = np.array([metrics["ece"] for metrics in found])
    plain = np.mean([metrics["ece_plain"] for metrics in found])
    assert plain > 0.035
    assert debiased.mean() < 0.6 * plain
    # Without bias, the squared error is as often below zero, which is told as 0, as above.
    assert 0.25 < (debiased == 0).mean() < 0.75
    # And what the plain one reads of a perfect model is told beside it.
    told = np.mean([perfect_plain_error(calibrated(411, seed=seed)[0]) for seed in range(40)])
    assert told == pytest.approx(plain, abs=0.006)


def test_the_debiased_error_finds_a_true_gap() -> None:
    # Confidence 0.9, right 7 times in 10: the gap is 0.2 in every bin.
    probabilities = np.tile([0.9, 0.1], (2000, 1))
    chance = np.random.default_rng(0)
    references = (chance.random(2000) > 0.7).astype(int).tolist()
    assert debiased_error(probabilities, references) == pytest.approx(0.2, abs=0.03)


def test_intervals_of_the_calibration_error_cover_the_truth() -> None:
    """A model that is too sure by temperature 0.5; its true error from a large sample."""
    many, right = calibrated(200_000, seed=99)
    truth = debiased_error(with_temperature(many, 0.5), right)
    covered = 0
    for seed in range(60):
        probabilities, references = calibrated(600, seed=seed)
        low, high = probability_intervals(with_temperature(probabilities, 0.5), references, range(600))["ece"]
        covered += low <= truth <= high
    assert covered >= 52  # 95 % of 60 is 57; three standard deviations below


def test_intervals_of_proper_scores_hold_their_estimate() -> None:
    probabilities, references = calibrated(300, seed=5)
    units = [place // 3 for place in range(300)]
    intervals = probability_intervals(probabilities, references, units)
    metrics = all_metrics(probabilities, references)
    for name in ("brier", "log_loss"):
        low, high = intervals[name]
        assert low < metrics[name] < high


def test_the_points_of_the_reliability_diagram_hold_every_sentence() -> None:
    probabilities, references = calibrated(500, seed=2)
    points = reliability(probabilities, references)
    assert sum(point["n"] for point in points) == 500
    assert [point["confidence"] for point in points] == sorted(point["confidence"] for point in points)
    assert all(point["low"] <= point["accuracy"] <= point["high"] for point in points)
