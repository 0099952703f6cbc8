"""How far probabilities can be believed: calibration error, proper scores, and their intervals over documents."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .uncertainty import draw_units, percentiles

_BINS = 15
_LEAST_IN_BIN = 10
_TINY = 1e-12
_SEED = 0

Floats = npt.NDArray[np.float64]


def brier_losses(probabilities: npt.NDArray[Any], references: Sequence[int]) -> Floats:
    """Σ (p - y)² over the labels, one per sentence."""
    right = np.eye(probabilities.shape[1])[list(references)]
    return np.asarray(((probabilities - right) ** 2).sum(axis=1), float)


def log_losses(probabilities: npt.NDArray[Any], references: Sequence[int]) -> Floats:
    """-ln(probability of the right label), one per sentence."""
    right = probabilities[np.arange(len(references)), list(references)]
    return np.asarray(-np.log(np.maximum(right, _TINY)), float)


def debiased_error(probabilities: npt.NDArray[Any], references: Sequence[int]) -> float:
    """The calibration error of ``metrics.DebiasedCalibrationError``."""
    confidence, correct = top_label(probabilities, references)
    sums = _bin_sums(confidence, correct, bins_of(confidence), np.zeros(len(confidence), int))
    return float(_root(_squared_error(sums))[0])


def top_label(probabilities: npt.NDArray[Any], references: Sequence[int]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The highest probability of every sentence, and whether its label is the right one."""
    return np.asarray(probabilities.max(axis=1), float), probabilities.argmax(axis=1) == np.asarray(references)


def bins_of(confidence: Floats) -> npt.NDArray[np.int64]:
    """The bin of every sentence: 15 of equal size by confidence, fewer where each would hold less than 10."""
    n = len(confidence)
    bins = max(1, min(_BINS, n // _LEAST_IN_BIN))
    places = np.empty(n, np.int64)
    places[np.argsort(confidence, kind="stable")] = np.arange(n) * bins // max(n, 1)
    return places


def reliability(probabilities: npt.NDArray[Any], references: Sequence[int]) -> list[dict[str, float]]:
    """The points of a reliability diagram, in rising order of confidence.

    Returns:
        Of every bin ``n``, mean ``confidence``, ``accuracy``, and the accuracy's exact 95 % interval ``low`` and
        ``high`` (Clopper & Pearson 1934), which takes sentences as independent.
    """
    from scipy.stats import binomtest

    confidence, correct = top_label(probabilities, references)
    places = bins_of(confidence)
    points = []
    for place in range(int(places.max()) + 1):
        inside = places == place
        n, hits = int(inside.sum()), int(correct[inside].sum())
        low, high = binomtest(hits, n).proportion_ci(0.95)
        mean = float(confidence[inside].mean())
        points.append({"n": n, "confidence": mean, "accuracy": hits / n, "low": float(low), "high": float(high)})
    return points


def perfect_plain_error(probabilities: npt.NDArray[Any], draws: int = 200) -> float:
    """What the plain calibration error reads on average for a perfect model with these probabilities.

    Right labels are drawn from the probabilities themselves (consistency resampling, Bröcker & Smith 2007), so
    that a reader of a plain figure sees how much of it is the size of the sample.
    """
    confidence = probabilities.max(axis=1)
    correct = np.random.default_rng(_SEED).random((draws, len(confidence))) < confidence
    return float(plain_errors(confidence, correct).mean())


def plain_errors(confidence: Floats, correct: npt.NDArray[np.bool_]) -> Floats:
    """The plain calibration error (``metrics.ExpectedCalibrationError``) of each of several outcomes.

    Args:
        confidence: shape (n sentences,).
        correct: shape (outcomes, n sentences).
    """
    # Bins are (low, high], so a confidence of exactly 1 falls in the last one.
    places = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    gaps = [(correct[:, places == place] - confidence[places == place]).sum(axis=1) for place in range(_BINS)]
    return np.asarray(np.abs(gaps).sum(axis=0) / len(confidence))


def probability_intervals(
    probabilities: npt.NDArray[Any], references: Sequence[int], units: Sequence[int]
) -> dict[str, list[float]]:
    """95 % intervals of ``ece``, ``brier`` and ``log_loss`` by bootstrap over documents, as [low, high].

    The bins of the calibration error stay those of the whole sample. A bootstrap sample is as far again from the
    sample as that is from the truth, so the mean square of its gaps is too large by one more variance; the draws
    are shifted to have the estimate as their mean before the percentiles are taken.
    """
    _, places = np.unique(np.asarray(units), return_inverse=True)
    confidence, correct = top_label(probabilities, references)
    sums = _bin_sums(confidence, correct, bins_of(confidence), places)
    losses = np.stack([brier_losses(probabilities, references), log_losses(probabilities, references)])
    totals = np.stack([np.bincount(places, weights=row) for row in (*losses, np.ones(len(places)))], axis=1)
    drawn_squares = _squared_error(draw_units(sums))
    drawn = draw_units(totals)
    drawn_means = drawn[:, :2] / drawn[:, 2:]
    estimate = float(_squared_error(sums.sum(axis=0, keepdims=True))[0])
    shifted = drawn_squares - drawn_squares.mean() + estimate
    brier, log_loss = percentiles(drawn_means)
    return {"ece": percentiles(_root(shifted)), "brier": brier, "log_loss": log_loss}


def _bin_sums(
    confidence: Floats, correct: npt.NDArray[np.bool_], bins: npt.NDArray[np.int64], units: npt.NDArray[Any]
) -> Floats:
    """Per unit and bin: sentences, sum of confidence, number correct; shape (units, bins, 3)."""
    sums = np.zeros((int(units.max()) + 1, int(bins.max()) + 1, 3))
    np.add.at(sums, (units, bins), np.stack([np.ones(len(bins)), confidence, correct.astype(float)], axis=1))
    return sums


def _squared_error(sums: Floats) -> Floats:
    """The debiased mean squared gap of samples given as bin sums, shape (samples, bins, 3)."""
    n, confidence, hits = np.moveaxis(np.asarray(sums, float), -1, 0)
    some = np.maximum(n, 1)
    accuracy = hits / some
    gap = confidence / some - accuracy
    variance = np.where(n > 1, accuracy * (1 - accuracy) / np.maximum(n - 1, 1), 0.0)
    return np.asarray((n * (gap**2 - variance)).sum(axis=1) / n.sum(axis=1))


def _root(squares: Floats) -> Floats:
    return np.sqrt(np.maximum(squares, 0))
