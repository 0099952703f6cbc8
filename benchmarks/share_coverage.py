"""How often nominal 95 % intervals of shares hold the true share, in simulated text.

    python benchmarks/share_coverage.py [--draws 1000]

Sentences are points of a Gaussian for each label, documents have shares and errors of their own, and the model
knows the Gaussians, or something near them. In every draw the group's documents, the calibration part and the
audit are new. The true share is that of the text which the documents are drawn from. Prints Markdown.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from common import print_table
from conflict_framing.analysis.audit import plan_audit
from conflict_framing.analysis.shares import Audit, prediction_powered, prior_corrected
from conflict_framing.analysis.table import Column, PredictionTable
from conflict_framing.model.calibration import Calibration

Array = npt.NDArray[np.float64]
LABELS = ["calm", "violence", "forces", "none"]
SOURCE = np.array([0.15, 0.30, 0.20, 0.35])
MEANS = 1.5 * np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]])


@dataclass(frozen=True)
class World:
    """What the text is like and what the model gets wrong.

    Attributes:
        shares: the true ones of the group; those of the calibration part are ``SOURCE``.
        documents: of the group; ``length`` is their mean number of sentences.
        alike: intra-document correlation of the labels.
        own_errors: standard deviation of what moves all sentences of a document together.
        offsets, sharpness: the model's logits are ``sharpness * true + offsets``.
        moved: how far the group's sentences of each label lie from those of the calibration part.
        audited: sentences drawn for the audit.
        whole: draw whole documents instead, as many as the plan takes for this half-width.
        by_label: draw sentences in strata of the predicted label, as many from each.
    """

    shares: Array
    documents: int = 120
    length: float = 8
    alike: float = 0.15
    own_errors: float = 0.4
    offsets: Array | None = None
    sharpness: float = 1.0
    moved: Array | None = None
    audited: int = 200
    whole: float | None = None
    by_label: bool = False
    calibration_documents: int = 200


def draw_sentences(
    world: World, shares: Array, documents: int, moved: Array | None, chance: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Document, label and the model's probabilities of each sentence."""
    counts = 1 + chance.poisson(world.length - 1, documents) if world.length > 1 else np.ones(documents, np.int64)
    own = np.tile(shares, (documents, 1))
    if world.length > 1:
        own = chance.dirichlet(shares * (1 - world.alike) / world.alike, documents)
    of = np.repeat(np.arange(documents), counts)
    labels = (chance.random(len(of))[:, None] > np.cumsum(own, axis=1)[of, :-1]).sum(axis=1)
    shift = chance.normal(scale=world.own_errors, size=(documents, 3)) if world.length > 1 else np.zeros((documents, 3))
    points = MEANS[labels] + chance.normal(size=(len(of), 3)) + shift[of]
    if moved is not None:
        points += moved[labels]
    logits = -((points[:, None] - MEANS) ** 2).sum(axis=2) / 2 + np.log(SOURCE)
    logits = world.sharpness * logits + (0 if world.offsets is None else world.offsets)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return of, labels, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def simulate(world: World, chance: np.random.Generator) -> tuple[PredictionTable, Audit, Calibration]:
    """One draw of the group's text, its audit, and the calibration part."""
    units, references, known = draw_sentences(world, SOURCE, world.calibration_documents, None, chance)
    calibration = Calibration.model_construct(
        labels=LABELS,
        temperature=1.0,
        units=units.tolist(),
        references=references.tolist(),
        probabilities=known.astype(float).tolist(),
        training_shares=SOURCE.tolist(),
    )
    documents, labels, probabilities = draw_sentences(world, world.shares, world.documents, world.moved, chance)
    predicted = probabilities.argmax(axis=1)
    n = len(labels)
    table = PredictionTable(
        labels=LABELS,
        probabilities=probabilities,
        predicted=predicted,
        documents=documents,
        columns={"all": Column(np.zeros(n, np.int64), ["all"])},
        texts=np.zeros(n, np.uint32),
    )
    if world.whole:
        plan = plan_audit(table, [], world.whole, by_document=True, seed=int(chance.integers(2**31)))
        (stratum,) = plan.strata
        rows, inclusion = stratum.drawn, np.full(len(stratum.drawn), stratum.probability)
    elif world.by_label:
        chosen, inclusion_of = [], np.ones(n)
        for label in range(len(LABELS)):
            mine = np.flatnonzero(predicted == label)
            size = min(len(mine), world.audited // len(LABELS))
            chosen.append(chance.choice(mine, size, replace=False))
            inclusion_of[mine] = size / max(len(mine), 1)
        rows = np.sort(np.concatenate(chosen))
        inclusion = inclusion_of[rows]
    else:
        rows = np.sort(chance.choice(n, min(world.audited, n), replace=False))
        inclusion = np.full(len(rows), len(rows) / n)
    return table, Audit(rows, labels[rows], inclusion), calibration


def naive_interval(table: PredictionTable) -> Array:
    """What counting predicted labels gives, sentences taken as independent; shape (n labels, 2)."""
    shares = np.bincount(table.predicted, minlength=len(LABELS)) / len(table)
    half = 1.96 * np.sqrt(shares * (1 - shares) / len(table))
    return np.stack([shares - half, shares + half], axis=1)


def ppi_interval(table: PredictionTable, audit: Audit) -> Array:
    """What ppi_py gives, which takes sentences as independent and equally likely to be audited."""
    from ppi_py import ppi_mean_ci

    given = np.eye(len(LABELS))[audit.labels]
    rest = np.delete(table.probabilities.astype(float), audit.rows, axis=0)
    known = table.probabilities[audit.rows].astype(float)
    ends = [ppi_mean_ci(given[:, k], known[:, k], rest[:, k], alpha=0.05) for k in range(len(LABELS))]
    return np.array(ends).reshape(len(LABELS), 2)


Method = Callable[[PredictionTable, Audit, Calibration], dict[str, Array | None]]


def naive(table: PredictionTable, audit: Audit, calibration: Calibration) -> dict[str, Array | None]:
    return {"naive count": naive_interval(table)}


def model_based(table: PredictionTable, audit: Audit, calibration: Calibration) -> dict[str, Array | None]:
    (group,) = prior_corrected(table, ["all"], calibration).groups
    return {"adjusted count": group.intervals, "EM": group.em_intervals}


def unclustered(table: PredictionTable, audit: Audit, calibration: Calibration) -> dict[str, Array | None]:
    return {"ppi_py, no clusters": ppi_interval(table, audit)}


def audited(table: PredictionTable, audit: Audit, calibration: Calibration) -> dict[str, Array | None]:
    (group,) = prediction_powered(table, ["all"], audit).groups
    return {"prediction-powered": group.intervals}


METHODS: tuple[Method, ...] = (naive, model_based, unclustered, audited)
NAMES = ("naive count", "adjusted count", "EM", "ppi_py, no clusters", "prediction-powered")

SHIFTED = np.array([0.05, 0.55, 0.20, 0.20])
PLAIN = World(SHIFTED)
WORLDS = {
    "other shares than in training": PLAIN,
    "… and a biased, too sure model": replace(PLAIN, offsets=np.array([0.8, -0.6, 0.0, 0.4]), sharpness=2.0),
    "… and other error rates": replace(PLAIN, moved=np.array([[0, 0.5, 0], [0.6, -0.4, 0], [0, 0, -0.5], [0, 0.6, 0]])),
    "sentences independent": replace(PLAIN, length=1, documents=900),
    "audit of whole documents": replace(PLAIN, whole=0.09, alike=0.3),
    "audit in strata by label": replace(PLAIN, by_label=True),
    "small group: 50 documents, 80 audited": replace(PLAIN, documents=50, audited=80),
    "small group: 10 documents": replace(PLAIN, documents=10, audited=30),
    "a rare label (1 %)": replace(PLAIN, shares=np.array([0.01, 0.49, 0.20, 0.30])),
    "few calibration documents (30)": replace(PLAIN, calibration_documents=30),
}


def coverage(
    world: World, draws: int, methods: Sequence[Method] = METHODS, seed: int = 0
) -> dict[str, tuple[Array, Array]]:
    """By method, how often the interval of each label holds its share and how long half of it is on average.

    Draws in which a method gives no interval ("too few") do not count; where that is most of them, it has nan.
    """
    chance = np.random.default_rng(seed)
    held: dict[str, list[Array]] = {}
    half: dict[str, list[Array]] = {}
    for _ in range(draws):
        drawn = simulate(world, chance)
        for method in methods:
            for name, ends in method(*drawn).items():
                low, high = np.full((2, len(LABELS)), np.nan) if ends is None else ends.T
                inside = np.where(np.isnan(low), np.nan, (low <= world.shares) & (world.shares <= high))
                held.setdefault(name, []).append(inside)
                half.setdefault(name, []).append((high - low) / 2)
    told = {name: np.array(held[name])[~np.isnan(held[name]).any(axis=1)] for name in held}
    nothing = np.full(len(LABELS), np.nan)
    return {
        name: (kept.mean(axis=0), np.nanmean(half[name], axis=0)) if 2 * len(kept) > draws else (nothing, nothing)
        for name, kept in told.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--only", help="worlds whose name holds this")
    options = parser.parse_args()
    rows = []
    for name, world in WORLDS.items():
        if options.only and options.only not in name:
            continue
        found = coverage(world, options.draws)
        cells = []
        for held, half in found.values():
            if np.isnan(held).any():
                cells.append("too few")
            else:
                cells.append(f"{100 * held.mean():.1f} ({100 * held.min():.1f}) ±{100 * half.mean():.1f}")
        rows.append([name, *cells])
        print(" | ".join(rows[-1]), file=sys.stderr, flush=True)
    print(f"\nCoverage in % of {options.draws:,} draws, mean of {len(LABELS)} labels (the worst), ± mean half-width:\n")
    print_table(["simulated text", *NAMES], rows)


if __name__ == "__main__":
    main()
