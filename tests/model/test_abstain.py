import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta as beta_distribution
from scipy.stats import binom

from conflict_framing.data import UserError
from conflict_framing.model.abstain import (
    Abstention,
    binomial_tail,
    certify,
    fewest_answered,
    one_per_unit,
    threshold_for,
    upper_limit,
)
from conflict_framing.model.calibration import Calibration, read_calibration
from conflict_framing.model.layout import ModelLayout

Array = np.ndarray


def calibration_of(scores: Array, wrong: Array, units: Array) -> Calibration:
    """Two labels; the first is the model's answer, with these scores above a half."""
    return Calibration(
        labels=["yes", "no"],
        temperature=1.0,
        units=units.tolist(),
        references=wrong.astype(int).tolist(),
        probabilities=np.stack([scores, 1 - scores], axis=1).tolist(),
        training_shares=[0.5, 0.5],
    )


def world(chance: np.random.Generator, documents: int) -> tuple[Array, Array, Array]:
    """Documents of 1 to 8 sentences that are easy or hard, sure or unsure, as a whole."""
    units = np.repeat(np.arange(documents), chance.integers(1, 9, documents))
    hard = chance.choice([0.2, 1.8], documents)[units]
    sure = chance.random(documents)[units]
    scores = 1 - 0.5 * np.clip(0.7 * sure + 0.3 * chance.random(len(units)), 0, 1)
    return scores, chance.random(len(units)) < hard * (1 - scores) ** 2 * 1.5, units


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 600), st.floats(0, 1), st.floats(1e-4, 1 - 1e-4))
def test_tail_and_limit_are_those_of_scipy(n: int, share: float, p: float) -> None:
    most = int(share * n)
    assert binomial_tail(most, n, p) == pytest.approx(binom.cdf(most, n, p), rel=1e-9, abs=1e-12)
    expected = 1.0 if most == n else beta_distribution.ppf(0.95, most + 1, n - most)
    assert upper_limit(most, n, 0.95) == pytest.approx(expected, abs=1e-6)


def test_what_it_takes_without_an_error() -> None:
    assert fewest_answered(0, 0.05, 0.95) == 59
    for wrong in range(6):
        n = fewest_answered(wrong, 0.05, 0.95)
        assert binom.cdf(wrong, n, 0.05) <= 0.05 < binom.cdf(wrong, n - 1, 0.05)


def test_the_promise_is_kept_in_simulation() -> None:
    """1,000 calibration sets of documents whose sentences are alike; broken in at most 5 % of them."""
    chance = np.random.default_rng(7)
    scores, wrong, units = world(chance, 200_000)
    first = np.unique(units, return_index=True)[1]  # a sentence of each document: the population promised for
    order = np.argsort(-scores[first])
    ranked, risk = scores[first][order], np.cumsum(wrong[first][order]) / np.arange(1, len(first) + 1)
    broken = answered = 0
    for _ in range(1000):
        found = threshold_for(calibration_of(*world(chance, 200)), 0.1)
        count = np.searchsorted(-ranked, -found.threshold, side="right")
        answered += count > 0
        broken += count > 0 and risk[count - 1] > 0.1
    assert answered > 700  # the promise is worth something
    assert broken <= 1000 * 0.05 + 3 * math.sqrt(1000 * 0.05 * 0.95)


def test_the_promise_is_kept_where_no_threshold_could_keep_it() -> None:
    """The error is just above what is promised, whatever the score: the least favourable case."""
    chance = np.random.default_rng(8)
    certified = sum(
        math.isfinite(certify(chance.random(300), chance.random(300) < 0.1001, 0.1, 0.95).threshold)
        for _ in range(2000)
    )
    assert 0.01 < certified / 2000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)


def test_extremes_answer_everything_and_nothing() -> None:
    chance = np.random.default_rng(1)
    scores = 0.5 + chance.random(100) / 2
    everything = certify(scores, np.zeros(100, bool), 0.05, 0.95)
    assert (everything.threshold, everything.answered, everything.wrong, everything.coverage) == (0, 100, 0, 1)
    assert everything.bound == pytest.approx(1 - 0.05 ** (1 / 100))
    nothing = certify(scores, chance.random(100) < 0.5, 0.05, 0.95)
    assert nothing.threshold == math.inf
    assert "no number of documents would do" in nothing.describe()
    assert nothing.to_json()["threshold"] is None
    json.dumps(nothing.to_json(), allow_nan=False)


def test_too_few_documents_are_told_with_what_it_takes() -> None:
    few = certify(np.linspace(0.5, 1, 58), np.zeros(58, bool), 0.05, 0.95)
    assert few.threshold == math.inf
    assert "takes at least 59 calibration documents without an error, and this model has 58" in few.reason
    wrong = np.zeros(300, bool)
    wrong[-4:] = True  # the surest
    assert "it would take about" in certify(np.linspace(0.5, 1, 300), wrong, 0.06, 0.95).reason


def test_ties_are_answered_together() -> None:
    wrong = np.zeros(200, bool)
    wrong[150:] = True
    assert certify(np.ones(200), wrong, 0.1, 0.95).threshold == math.inf
    assert certify(np.repeat([0.9, 0.8], [40, 160]), wrong, 0.1, 0.95).answered == 40
    assert certify(np.repeat([0.9, 0.8], [20, 180]), wrong, 0.1, 0.95).threshold == math.inf
    found = certify(np.repeat([0.9, 0.8, 0.6], [70, 80, 50]), wrong, 0.1, 0.95)
    assert (found.answered, found.wrong) == (150, 0)
    assert 0.6 < found.threshold <= 0.8
    assert certify(np.ones(200), np.zeros(200, bool), 0.1, 0.95).answered == 200


@settings(deadline=None)
@given(st.lists(st.integers(-3, 12), min_size=1, max_size=80))
def test_one_sentence_is_drawn_of_each_unit(units: list[int]) -> None:
    places = one_per_unit(units)
    assert sorted(units[place] for place in places) == sorted(set(units))
    assert places.tolist() == one_per_unit(units).tolist()


def test_all_sentences_of_a_unit_may_be_drawn() -> None:
    drawn = one_per_unit(np.repeat(np.arange(3000), 4).tolist())
    assert np.bincount(drawn % 4, minlength=4).min() > 600


def test_a_plain_threshold_promises_nothing() -> None:
    plain = Abstention(0.8)
    assert plain.to_json() == {"threshold": 0.8, "max_error": None}
    assert plain.guarantee() == "none: the threshold was chosen by hand"
    assert "promises nothing" in plain.describe()
    assert math.isnan(plain.coverage)


def test_a_void_promise_says_why() -> None:
    found = certify(np.linspace(0.5, 1, 100), np.zeros(100, bool), 0.05, 0.95)
    assert found.guarantee().startswith("holds for text drawn like the calibration part")
    assert found.guarantee(["drift", "other shares"]) == "void: drift; other shares"


@pytest.mark.parametrize("max_error", [0, 1, -0.1, math.nan])
def test_numbers_out_of_range_are_refused(max_error: float) -> None:
    calibration = calibration_of(np.array([0.9]), np.array([False]), np.array([0]))
    with pytest.raises(UserError, match="expected a number between 0 and 1"):
        threshold_for(calibration, max_error)


def test_calibration_is_written_and_read(tmp_path: Path) -> None:
    calibration = calibration_of(*world(np.random.default_rng(2), 5))
    assert read_calibration(tmp_path, ["yes", "no"]) is None
    calibration.write(ModelLayout(tmp_path).calibration)
    assert read_calibration(tmp_path, ["yes", "no"]) == calibration
    np.testing.assert_allclose(calibration.source_shares, np.mean(calibration.probabilities, axis=0))
    with pytest.raises(UserError, match=r"expected the model's labels \(no, yes\), came yes, no"):
        read_calibration(tmp_path, ["no", "yes"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"version": 2}, "version"),
        ({"units": [1]}, "as many units"),
        ({"references": [0, 5]}, "places from 0 to 1"),
        ({"probabilities": [[0.5], [1]]}, "2 probabilities per sentence"),
        ({"probabilities": [[0.5, 0.4], [1, 0]]}, "sum to 1"),
        ({"training_shares": [1.5, -0.5]}, "sum to 1"),
        ({"references": []}, "as many units"),
        ({"temperature": "warm"}, "temperature"),
    ],
)
def test_a_damaged_calibration_is_refused(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    whole = calibration_of(np.array([0.9, 0.8]), np.array([False, True]), np.array([0, 1])).model_dump()
    ModelLayout(tmp_path).calibration.write_text(json.dumps(whole | change), "utf-8")
    with pytest.raises(UserError, match=rf"(?s)damaged model folder.*{expected}"):
        read_calibration(tmp_path, ["yes", "no"])
    ModelLayout(tmp_path).calibration.write_text("{", "utf-8")
    with pytest.raises(UserError, match="damaged model folder"):
        read_calibration(tmp_path, ["yes", "no"])
