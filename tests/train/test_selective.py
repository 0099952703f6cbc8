import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conflict_framing.model.calibration import Calibration
from conflict_framing.train.selective import Selective, area_intervals, risk_coverage
from conflict_framing.train.uncertainty import ratio_interval


def two(scores: np.ndarray) -> np.ndarray:
    return np.stack([scores, 1 - scores], axis=1)


def test_the_curve_of_a_small_example_by_hand() -> None:
    curve = risk_coverage(two(np.array([0.9, 0.8, 0.7, 0.6])), [0, 1, 0, 1])
    assert curve.coverage == [0.25, 0.5, 0.75, 1]
    assert curve.risk == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert curve.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert curve.eaurc == pytest.approx(curve.aurc - (0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert curve.at(0.625) == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_extremes() -> None:
    scores = np.linspace(0.6, 1, 500)
    wrong = np.arange(500) < 50  # the least sure
    best = risk_coverage(two(scores), wrong.astype(int).tolist())
    assert best.eaurc == pytest.approx(0)
    assert len(best.coverage) == 200
    assert best.coverage[-1] == 1
    assert best.risk[-1] == pytest.approx(0.1)
    says_nothing = risk_coverage(two(np.full(500, 0.7)), wrong.astype(int).tolist())
    assert says_nothing.aurc == pytest.approx(0.1)
    assert says_nothing.risk == pytest.approx([0.1] * 200)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.6, 0.7, 0.8, 0.9]), st.booleans()), min_size=1, max_size=60), st.randoms())
def test_the_order_of_sentences_does_not_matter(pairs: list[tuple[float, bool]], chance: object) -> None:
    shuffled = list(pairs)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = (
        risk_coverage(two(np.array([score for score, _ in rows])), [int(wrong) for _, wrong in rows])
        for rows in (pairs, shuffled)
    )
    assert first.risk == pytest.approx(second.risk)
    assert first.risk[-1] == pytest.approx(sum(wrong for _, wrong in pairs) / len(pairs))
    assert -1e-12 <= first.eaurc <= first.aurc <= 1


def draw(chance: np.random.Generator, n: int) -> tuple[np.ndarray, list[int], list[int]]:
    scores = 0.5 + chance.random(n) / 2
    wrong = chance.random(n) < (1 - scores) ** 2
    return two(scores), wrong.astype(int).tolist(), (np.arange(n) // 3).tolist()


def test_promises_are_measured_on_other_sentences() -> None:
    chance = np.random.default_rng(4)
    probabilities, references, units = draw(chance, 1500)
    calibration = Calibration(
        labels=["a", "b"],
        temperature=1,
        units=units,
        references=references,
        probabilities=probabilities.tolist(),
        training_shares=[0.5, 0.5],
    )
    test = draw(chance, 900)
    selective = Selective.of(*test, calibration)
    strict, loose = selective.kept
    assert (strict.abstention.max_error, loose.abstention.max_error) == (0.05, 0.1)
    assert 0 < strict.coverage < loose.coverage
    answered = test[0].max(axis=1) >= strict.abstention.threshold
    assert strict.coverage == answered.mean()
    assert strict.error == np.array(test[1])[answered].mean()
    assert strict.error_interval is not None
    assert strict.error_interval[0] <= strict.error <= strict.error_interval[1]
    assert strict.coverage_interval[0] < strict.coverage < strict.coverage_interval[1]
    few = calibration.model_copy(update={"units": [0] * 1500})
    nothing = Selective.of(*test, few).kept[0]
    assert (nothing.coverage, nothing.error, nothing.error_interval) == (0, None, None)
    assert Selective.of(*test, None).kept == []


def test_ratio_intervals_widen_with_documents_that_are_alike() -> None:
    right = np.repeat([0, 1] * 20, 10)
    apart = ratio_interval(right, np.ones(400), list(range(400)))
    together = ratio_interval(right, np.ones(400), np.repeat(range(40), 10).tolist())
    assert together[1] - together[0] > 2 * (apart[1] - apart[0])
    assert together[0] < 0.5 < together[1]


def test_the_intervals_of_areas_are_drawn_over_documents() -> None:
    chance = np.random.default_rng(3)
    scores = chance.uniform(0.5, 1, 600).round(2)  # many ties
    probabilities = np.stack([scores, 1 - scores], axis=1)
    units = np.repeat(np.arange(60), 10)
    wrong = chance.random(600) < np.repeat(chance.beta(1, 4, 60), 10)
    references = wrong.astype(int).tolist()
    found = area_intervals(probabilities, references, units.tolist())
    curve = risk_coverage(probabilities, references)
    low, high = found["aurc"]
    assert low < curve.aurc < high
    assert found["eaurc"][0] < curve.eaurc < found["eaurc"][1] < high
    apart_low, apart_high = area_intervals(probabilities, references, range(600))["aurc"]
    assert high - low > 1.2 * (apart_high - apart_low)  # sentences of a document are wrong together
    assert area_intervals(probabilities, [0] * 600, units.tolist()) == {"aurc": [0, 0], "eaurc": [0, 0]}
    best = np.stack([np.linspace(0.9, 0.6, 100), np.linspace(0.1, 0.4, 100)], axis=1)
    by_surest = area_intervals(best, [0] * 80 + [1] * 20, range(100))
    assert by_surest["eaurc"] == pytest.approx([0, 0])
    assert by_surest["aurc"][0] > 0
