"""Estimates and intervals, checked against simulation (benchmarks/share_coverage.py has the whole table)."""

from dataclasses import replace

import numpy as np
import pytest
from share_coverage import (
    LABELS,
    PLAIN,
    SOURCE,
    WORLDS,
    Method,
    World,
    audited,
    coverage,
    model_based,
    naive,
    ppi_interval,
    simulate,
)

from conflict_framing import UserError
from conflict_framing.analysis.shares import Audit, Shares, on_simplex, prediction_powered, prior_corrected
from conflict_framing.analysis.table import Column, PredictionTable
from conflict_framing.model.calibration import Calibration

DRAWS = 120
BIASED = WORLDS["… and a biased, too sure model"]
OTHER_ERRORS = WORLDS["… and other error rates"]
WHOLE = WORLDS["audit of whole documents"]


def covered(world: World, method: Method, name: str) -> float:
    """Mean coverage over the labels."""
    return float(coverage(world, DRAWS, [method])[name][0].mean())


# Four labels whose intervals go together: like two independent ones at worst, so 240 trials. Three standard
# deviations of a binomial around 95 %.
LEAST = 0.95 - 3 * np.sqrt(0.95 * 0.05 / (2 * DRAWS))


@pytest.mark.parametrize("world", [PLAIN, BIASED, OTHER_ERRORS, WHOLE, WORLDS["audit in strata by label"]])
def test_audited_intervals_hold_whatever_the_model_gets_wrong(world: World) -> None:
    assert covered(world, audited, "prediction-powered") > LEAST


@pytest.mark.parametrize("half_width", [0.07, 0.09])
@pytest.mark.parametrize("alike", [0.15, 0.3])
def test_intervals_from_planned_audits_of_whole_documents_cover_what_they_promise(
    alike: float, half_width: float
) -> None:
    world = replace(WHOLE, whole=half_width, alike=alike)
    held, half = coverage(world, 800, [audited])["prediction-powered"]
    assert 0.93 <= held.mean() <= 0.97
    assert half.max() < 1.1 * half_width  # of the widest label, as planned


@pytest.mark.parametrize("world", [PLAIN, BIASED])
def test_adjusted_intervals_hold_under_other_shares_and_naive_ones_do_not(world: World) -> None:
    small = replace(world, documents=60)
    assert covered(small, model_based, "adjusted count") > LEAST
    assert covered(small, naive, "naive count") < 0.75


def test_adjusted_intervals_do_not_hold_under_other_error_rates() -> None:
    """So the report must call them model-based."""
    assert covered(replace(OTHER_ERRORS, documents=60), model_based, "adjusted count") < 0.75


def test_without_clusters_the_interval_is_that_of_ppi_py() -> None:
    world = replace(PLAIN, length=1, documents=30_000, audited=3000)
    table, audit, _ = simulate(world, np.random.default_rng(3))
    # All rows of one predicted label: a single cell, as ppi_py knows none.
    table = replace(table, predicted=np.zeros(len(table), np.int64))
    (group,) = prediction_powered(table, [], audit).groups
    assert group.intervals is not None
    np.testing.assert_allclose(group.intervals, ppi_interval(table, audit), atol=0.002)


def test_clusters_make_the_interval_longer() -> None:
    table, audit, _ = simulate(WHOLE, np.random.default_rng(0))
    (group,) = prediction_powered(table, [], audit).groups
    alone = replace(table, documents=np.arange(len(table)))
    (independent,) = prediction_powered(alone, [], audit).groups
    assert group.intervals is not None and independent.intervals is not None
    widths = [np.diff(ends, axis=1).mean() for ends in (group.intervals, independent.intervals)]
    assert widths[0] > 1.4 * widths[1]


def test_power_tuning_uses_a_good_model_and_not_a_useless_one() -> None:
    chance = np.random.default_rng(0)
    table, audit, _ = simulate(replace(PLAIN, audited=400), chance)
    powered = prediction_powered(table, [], audit)
    assert powered.power is not None and powered.power.mean() > 0.6
    useless = replace(table, probabilities=chance.dirichlet(np.ones(4), len(table)).astype(np.float32))
    tuned = prediction_powered(useless, [], audit)
    assert tuned.power is not None and tuned.power.max() < 0.3
    for one, other in zip(powered.groups, tuned.groups, strict=True):
        assert one.intervals is not None and other.intervals is not None
        assert np.diff(one.intervals).mean() < np.diff(other.intervals).mean()


def test_an_audit_of_everything_gives_the_true_counts() -> None:
    table, _, _ = simulate(PLAIN, np.random.default_rng(1))
    labels = np.random.default_rng(2).integers(0, 4, len(table))
    audit = Audit(np.arange(len(table)), labels, np.ones(len(table)))
    (group,) = prediction_powered(table, [], audit).groups
    np.testing.assert_allclose(group.shares, np.bincount(labels, minlength=4) / len(labels), atol=1e-9)


def test_inclusion_probabilities_are_used() -> None:
    """Half the audit comes from a stratum of a tenth: without weights the share would be far off."""
    chance = np.random.default_rng(0)
    n = 4000
    rare = np.arange(n) < n // 10
    labels = np.where(rare, 0, 1)
    table = table_of(np.full((n, 2), 0.5), documents=chance.integers(0, 500, n))
    rows = np.concatenate([chance.choice(n // 10, 100, False), chance.choice(np.arange(n // 10, n), 100, False)])
    audit = Audit(rows, labels[rows], np.where(rare[rows], 100 / (n // 10), 100 / (n - n // 10)))
    (group,) = prediction_powered(table, [], audit).groups
    assert group.shares is not None
    assert group.shares[0] == pytest.approx(0.1, abs=1e-6)


def test_groups_with_few_audited_documents_have_too_few() -> None:
    table, audit, _ = simulate(PLAIN, np.random.default_rng(0))
    names = np.where(table.documents < 20, "small", "large")
    table = table.with_column("outlet", Column.of(names.tolist()))
    large, small = prediction_powered(table, ["outlet"], audit).groups
    assert large.shares is not None and large.note == ""
    assert small.shares is None and small.intervals is None
    assert small.note == f"too few ({small.audited_documents} audited documents)"
    assert prediction_powered(table, ["outlet"], audit).rules == [
        "too few: under 30 audited documents in the group, the fewest for an estimate."
    ]
    assert prediction_powered(table, [], audit).rules == []
    with pytest.raises(UserError, match="nothing to compare"):
        prediction_powered(table, ["outlet"], audit).difference(["small"], ["large"])


def two_groups(method: str, seed: int) -> tuple[Shares, np.ndarray]:
    """A world whose two outlets share every document; their true difference is that of the labels' shares."""
    world = replace(PLAIN, documents=100, audited=300)
    table, audit, calibration = simulate(world, np.random.default_rng(seed))
    outlets = np.random.default_rng(seed + 1000).choice(["a", "b"], len(table)).tolist()
    table = table.with_column("outlet", Column.of(outlets))
    shares = (
        prior_corrected(table, ["outlet"], calibration)
        if method == "model-based"
        else prediction_powered(table, ["outlet"], audit)
    )
    return shares, shares.difference(["a"], ["b"]).intervals


@pytest.mark.parametrize("method", ["model-based", "audited"])
def test_differences_hold_and_know_what_groups_share(method: str) -> None:
    inside, shorter = [], []
    for seed in range(60):
        shares, ends = two_groups(method, seed)
        inside.append((ends[:, 0] <= 0) & (ends[:, 1] >= 0))
        widths = [np.diff(group.intervals).ravel() for group in shares.groups if group.intervals is not None]
        shorter.append((np.diff(ends).ravel() < sum(widths)).all())
    assert np.mean(inside) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 120)
    assert all(shorter)


def test_em_and_adjusted_count_agree_where_the_model_is_right() -> None:
    world = replace(PLAIN, documents=600, own_errors=0.0, calibration_documents=600)
    table, _, calibration = simulate(world, np.random.default_rng(0))
    (group,) = prior_corrected(table, [], calibration).groups
    assert group.shares is not None and group.em is not None
    np.testing.assert_allclose(group.shares, world.shares, atol=0.04)
    np.testing.assert_allclose(group.em, group.shares, atol=0.04)
    assert abs(group.naive - world.shares).max() > 2 * abs(group.em - world.shares).max()


def test_few_calibration_sentences_make_the_interval_longer() -> None:
    widths = []
    for documents in (400, 20):
        table, _, calibration = simulate(replace(PLAIN, calibration_documents=documents), np.random.default_rng(0))
        (group,) = prior_corrected(table, [], calibration).groups
        assert group.intervals is not None
        widths.append(np.diff(group.intervals).mean())
    assert widths[1] > 1.2 * widths[0]


def test_the_same_input_gives_the_same_intervals() -> None:
    table, _, calibration = simulate(PLAIN, np.random.default_rng(0))
    first, second = (prior_corrected(table, [], calibration).groups[0].intervals for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_few_documents_give_a_share_and_no_interval() -> None:
    table, _, calibration = simulate(replace(PLAIN, documents=9), np.random.default_rng(0))
    (group,) = prior_corrected(table, [], calibration).groups
    assert group.shares is not None and group.shares.sum() == pytest.approx(1)
    assert group.intervals is None and group.em_intervals is None
    assert group.note == "too few documents for an interval (9)"
    assert prior_corrected(table, [], calibration).rules == [
        "too few: under 10 documents in the group, the fewest for an interval."
    ]


def test_a_refuted_assumption_gives_no_interval() -> None:
    """Calibration says that a tenth of all that is not calm is taken for calm; here nothing is."""
    known = np.tile([[0.9, 0.1], [0.3, 0.7]], (100, 1))
    calibration = calibration_of(known, np.tile([0, 1], 100))
    table = table_of(np.tile([0.05, 0.95], (200, 1)), documents=np.arange(200) // 5)
    (group,) = prior_corrected(table, [], calibration).groups
    assert group.intervals is None
    assert "errs differently" in group.note
    assert prior_corrected(table, [], calibration).rules == [
        "no interval: the model errs differently in the group than on its calibration part."
    ]


def table_of(probabilities: np.ndarray, documents: np.ndarray) -> PredictionTable:
    n = len(probabilities)
    return PredictionTable(
        labels=["calm", "attack"],
        probabilities=probabilities.astype(np.float32),
        predicted=probabilities.argmax(axis=1),
        documents=documents,
        columns={},
        texts=np.zeros(n, np.uint32),
    )


def calibration_of(probabilities: np.ndarray, references: np.ndarray) -> Calibration:
    return Calibration(
        labels=["calm", "attack"],
        temperature=1.0,
        units=list(range(len(references))),
        references=references.tolist(),
        probabilities=probabilities.tolist(),
        training_shares=[0.5, 0.5],
    )


def test_another_models_calibration_is_refused() -> None:
    table, _, _ = simulate(PLAIN, np.random.default_rng(0))
    other = calibration_of(np.array([[0.9, 0.1]]), np.array([0]))
    with pytest.raises(UserError, match="Name the model that made the predictions"):
        prior_corrected(table, [], other)
    small = table_of(np.tile([0.5, 0.5], (20, 1)), documents=np.arange(20))
    with pytest.raises(UserError, match="no sentence of attack"):
        prior_corrected(small, [], other)


def test_the_nearest_shares() -> None:
    np.testing.assert_allclose(on_simplex(np.array([0.2, 0.8])), [0.2, 0.8])
    np.testing.assert_allclose(on_simplex(np.array([-0.1, 0.6, 0.5])), [0, 0.55, 0.45])
    assert len(LABELS) == len(SOURCE)
