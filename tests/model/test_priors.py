from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conflict_framing.model.priors import KeptPosteriors, PriorEstimate, adapt, document_blocks, estimate_priors

SOURCE = np.array([0.6, 0.3, 0.1])
MEANS = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])


def posteriors_of(shares: list[float], n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points of three Gaussians in these shares, and their exact probabilities under ``SOURCE``."""
    chance = np.random.default_rng(seed)
    labels = chance.choice(3, n, p=shares)
    points = MEANS[labels] + chance.normal(size=(n, 2))
    likelihoods = np.exp(-((points[:, None] - MEANS) ** 2).sum(axis=2) / 2)
    joint = SOURCE * likelihoods
    return (joint / joint.sum(axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("shares", [[0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3], [0.02, 0.95, 0.03]])
def test_known_shares_are_found_again(shares: list[float]) -> None:
    posteriors, labels = posteriors_of(shares, 20_000)
    estimate = estimate_priors(posteriors, SOURCE)
    np.testing.assert_allclose(estimate.shares, shares, atol=0.015)
    assert estimate.intervals is not None
    assert (estimate.intervals[:, 0] < estimate.shares).all()
    assert (estimate.shares < estimate.intervals[:, 1]).all()
    assert (np.abs(posteriors.mean(axis=0) - shares) > 0.05).any()  # which the plain mean does not find
    before = (posteriors.argmax(axis=1) == labels).mean()
    assert (adapt(posteriors, estimate).argmax(axis=1) == labels).mean() > before


def test_unshifted_text_is_left_alone() -> None:
    posteriors, _ = posteriors_of(SOURCE.tolist(), 20_000)
    estimate = estimate_priors(posteriors, SOURCE)
    np.testing.assert_allclose(estimate.shares, SOURCE, atol=0.012)
    np.testing.assert_allclose(adapt(posteriors, estimate), posteriors, atol=0.03)
    # Where the shares of the model are the mean of its probabilities, exactly so.
    own = posteriors.mean(axis=0, dtype=float)
    same = estimate_priors(posteriors, own)
    np.testing.assert_allclose(same.shares, own, atol=1e-5)
    assert same.iterations <= 3


def test_intervals_hold_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(60):
        posteriors, _ = posteriors_of([0.2, 0.5, 0.3], 300, seed)
        intervals = estimate_priors(posteriors, SOURCE).intervals
        assert intervals is not None
        covered += int(((intervals[:, 0] <= [0.2, 0.5, 0.3]) & (intervals[:, 1] >= [0.2, 0.5, 0.3])).sum())
    assert 0.9 <= covered / 180 <= 0.99


def test_documents_of_one_kind_widen_the_intervals() -> None:
    posteriors, labels = posteriors_of([0.3, 0.4, 0.3], 2000)
    sorted_by_label = posteriors[np.argsort(labels)]
    documents = np.arange(2000) // 50
    apart = estimate_priors(sorted_by_label, SOURCE).intervals
    together = estimate_priors(sorted_by_label, SOURCE, documents).intervals
    assert apart is not None
    assert together is not None
    assert (np.diff(together) > 2 * np.diff(apart)).all()
    assert estimate_priors(sorted_by_label, SOURCE, np.zeros(2000, int)).intervals is None


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda row: sum(row) > 0.01), min_size=1, max_size=30
    ),
    st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda shares: sum(shares) > 0.1),
)
def test_adapted_rows_are_probabilities_in_bayes_order(rows: list[list[float]], shares: list[float]) -> None:
    posteriors = np.array(rows, np.float32)
    posteriors /= posteriors.sum(axis=1, keepdims=True)
    target = np.array(shares) / sum(shares)
    adapted = adapt(posteriors, PriorEstimate(target, SOURCE, None, 1, len(rows)))
    assert adapted.dtype == np.float32
    np.testing.assert_allclose(adapted.sum(axis=1), 1, atol=1e-5)
    expected = posteriors * (target / SOURCE)
    usable = expected.sum(axis=1) > 1e-30
    sums = expected[usable].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(adapted[usable], expected[usable] / sums, atol=1e-5)


def test_estimate_of_any_posteriors_is_a_distribution() -> None:
    for posteriors in (np.eye(3, dtype=np.float32)[[0, 0, 1]], np.full((1, 3), 1 / 3, np.float32)):
        estimate = estimate_priors(posteriors, SOURCE)
        assert estimate.shares.sum() == pytest.approx(1)
        assert (estimate.shares >= 0).all()
        assert estimate.to_json(["a", "b", "c"])["shares"]["a"]["interval"] is None


def test_posteriors_are_kept_in_a_file_as_they_are(tmp_path: Path) -> None:
    posteriors, _ = posteriors_of([0.2, 0.3, 0.5], 5000)
    kept = KeptPosteriors(tmp_path / "kept", 3)
    kept.add(posteriors[:0], document_blocks([]))
    for first in range(0, 5000, 1024):
        part = posteriors[first : first + 1024]
        kept.add(part, document_blocks(["same" if first else None] * len(part)))
    rows = kept.read()
    np.testing.assert_array_equal(rows["probabilities"], posteriors)
    assert len(np.unique(rows["block"][1024:])) == 1
    assert len(np.unique(rows["block"][:1000])) == 1000
    from_file = estimate_priors(rows["probabilities"], SOURCE)
    np.testing.assert_array_equal(from_file.shares, estimate_priors(posteriors, SOURCE).shares)
    empty = KeptPosteriors(tmp_path / "empty", 3)
    assert len(empty.read()) == 0
