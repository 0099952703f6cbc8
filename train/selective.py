"""Answering only what the model is sure of: how the error falls with the share that is answered.

Selective risk and coverage: El-Yaniv & Wiener (2010, JMLR 11); Geifman & El-Yaniv (2017, NeurIPS).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..model.abstain import Abstention, threshold_for
from ..model.calibration import Calibration
from .uncertainty import percentiles, ratio_interval, unit_weights

MAX_ERRORS = (0.05, 0.10)
_SEED = 0
_POINTS = 200


@dataclass(frozen=True)
class RiskCoverage:
    """The risk–coverage curve, thinned to at most 200 points.

    Attributes:
        coverage: share of the sentences that are answered, the surest first; rising to 1.
        risk: share of wrong labels among these.
        aurc: area under the whole curve, the mean risk over all coverages; 0 is perfect, and a score that
            says nothing gives the error rate.
        eaurc: what ``aurc`` is above that of the best order for the same number of errors (Geifman,
            Uziel & El-Yaniv 2019, ICLR).
    """

    coverage: list[float]
    risk: list[float]
    aurc: float
    eaurc: float

    def at(self, coverage: float) -> float:
        """The risk where this share of the sentences is answered."""
        return float(np.interp(coverage, self.coverage, self.risk))

    def to_json(self) -> dict[str, Any]:
        rounded = {name: np.round(getattr(self, name), 6).tolist() for name in ("coverage", "risk")}
        return {"aurc": self.aurc, "eaurc": self.eaurc, **rounded}


def risk_coverage(probabilities: npt.NDArray[Any], references: Sequence[int]) -> RiskCoverage:
    """The risk–coverage curve of the most probable label's probability.

    Sentences of equal score come in no order: each stands for the mean of their errors.

    Args:
        probabilities: shape (n sentences, n labels), n > 0.
        references: the right labels as places, length n.
    """
    scores = probabilities.max(axis=1)
    wrong = probabilities.argmax(axis=1) != np.asarray(references)
    n = len(scores)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)) + 1  # sentences up to the end of each tie
    answered = np.arange(1, n + 1)
    errors = np.interp(answered, np.append(0, ends), np.append(0, np.cumsum(wrong[order])[ends - 1]))
    risk = errors / answered
    best = np.maximum(answered - (n - wrong.sum()), 0) / answered
    points = np.unique(np.linspace(0, n - 1, _POINTS).round().astype(int))
    return RiskCoverage(
        coverage=(answered[points] / n).tolist(),
        risk=risk[points].tolist(),
        aurc=float(risk.mean()),
        eaurc=float(risk.mean() - best.mean()),
    )


def area_intervals(
    probabilities: npt.NDArray[Any], references: Sequence[int], units: Sequence[int]
) -> dict[str, list[float]]:
    """95 % intervals of ``RiskCoverage.aurc`` and ``eaurc`` by bootstrap over documents; each [low, high].

    Args:
        probabilities, references: as in ``risk_coverage``.
        units: of each sentence the document, or whatever else must stay whole; length n.
    """
    scores = probabilities.max(axis=1)
    # Equally sure sentences in an order by chance: their mean, as in the curve, would hide how they vary.
    order = np.lexsort((np.random.default_rng(_SEED).random(len(scores)), -scores))
    wrong = (probabilities.argmax(axis=1) != np.asarray(references))[order]
    _, place = np.unique(np.asarray(units), return_inverse=True)
    best = np.argsort(wrong, kind="stable")  # all errors last
    areas: dict[str, list[npt.NDArray[Any]]] = {"aurc": [], "eaurc": []}
    for drawn in unit_weights(int(place.max()) + 1):
        weights = drawn[:, place[order]].astype(float)
        area = _weighted_area(weights, wrong)
        areas["aurc"].append(area)
        areas["eaurc"].append(area - _weighted_area(weights[:, best], wrong[best]))
    return {name: [float(end) for end in percentiles(np.concatenate(values))] for name, values in areas.items()}


def _weighted_area(weights: npt.NDArray[Any], wrong: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """AURC of sentences in their order, each as often as its weight says: one number per row of weights."""
    answered = weights.cumsum(axis=1)
    risk = (weights * wrong).cumsum(axis=1) / np.maximum(answered, 1)
    return np.asarray((weights * risk).sum(axis=1) / answered[:, -1])


@dataclass(frozen=True)
class Kept:
    """What became of one promise on the measured sentences.

    Attributes:
        abstention: the promise, made on the calibration part.
        coverage: share of the sentences that are answered, with a 95 % interval (bootstrap over documents).
        error: share of wrong labels among these, with its interval; both None where nothing is answered.
    """

    abstention: Abstention
    coverage: float
    coverage_interval: list[float]
    error: float | None
    error_interval: list[float] | None

    def to_json(self) -> dict[str, Any]:
        return {
            **self.abstention.to_json(),
            "coverage": self.coverage,
            "coverage_interval": self.coverage_interval,
            "error": self.error,
            "error_interval": self.error_interval,
        }


@dataclass(frozen=True)
class Selective:
    """The risk–coverage curve, and the promises that the model can make (none without a calibration part)."""

    curve: RiskCoverage
    intervals: dict[str, list[float]]
    kept: list[Kept]

    @classmethod
    def of(
        cls,
        probabilities: npt.NDArray[Any],
        references: Sequence[int],
        units: Sequence[int],
        calibration: Calibration | None,
    ) -> Self:
        """Measure on sentences that are neither of the training nor of the calibration part.

        Args:
            probabilities: shape (n sentences, n labels), n > 0.
            references: the right labels as places, length n.
            units: of each sentence the document, or whatever else must stay whole; length n.
            calibration: of the model.
        """
        curve = risk_coverage(probabilities, references)
        intervals = area_intervals(probabilities, references, units)
        if calibration is None:
            return cls(curve, intervals, [])
        scores = probabilities.max(axis=1)
        wrong = probabilities.argmax(axis=1) != np.asarray(references)
        kept = []
        for max_error in MAX_ERRORS:
            abstention = threshold_for(calibration, max_error)
            answered = scores >= abstention.threshold
            n = int(answered.sum())
            kept.append(
                Kept(
                    abstention,
                    coverage=n / len(scores),
                    coverage_interval=ratio_interval(answered, np.ones(len(scores)), units),
                    error=int((answered & wrong).sum()) / n if n else None,
                    error_interval=ratio_interval(answered & wrong, answered, units) if n else None,
                )
            )
        return cls(curve, intervals, kept)

    def to_json(self) -> dict[str, Any]:
        curve = {**self.curve.to_json(), "intervals": self.intervals}
        return {"risk_coverage": curve, "max_error": [kept.to_json() for kept in self.kept]}
