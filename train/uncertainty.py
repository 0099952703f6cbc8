"""Intervals by bootstrap over documents: sentences of one document are not independent."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
_DRAWS = 2000
_CHUNK = 50  # draws at a time, so that memory does not grow with both draws and documents
_SEED = 0


def document_intervals(
    predictions: Sequence[int], references: Sequence[int], units: Sequence[int], n_labels: int
) -> dict[str, Any]:
    """95 % intervals of the metrics that a confusion matrix gives.

    Percentile bootstrap over clusters (Efron & Tibshirani 1993, ch. 13; Field & Welsh 2007): whole
    documents are drawn with replacement, 2,000 times, always with the same seed.

    Args:
        predictions, references: labels as places, length n.
        units: of each sentence the document, or whatever else must stay whole; length n.
        n_labels: how many labels there are.

    Returns:
        ``macro_f1``, ``accuracy``, ``mcc`` as [low, high], and ``f1`` as one [low, high] per label
        (of a label that never occurs: [0, 0]). With few documents they are too narrow, and with one they
        have no width at all.
    """
    counts = document_confusions(predictions, references, units, n_labels)
    chance = np.random.default_rng(_SEED)
    n_units = len(counts)
    drawn = np.empty((_DRAWS, n_labels, n_labels))
    for first in range(0, _DRAWS, _CHUNK):
        weights = chance.multinomial(n_units, np.full(n_units, 1 / n_units), size=_CHUNK)
        drawn[first : first + _CHUNK] = (weights @ counts.reshape(n_units, -1)).reshape(_CHUNK, n_labels, n_labels)
    figures = confusion_metrics(drawn)
    # A label that a draw happens to miss has no F1 in it; one that never occurs has 0, as in the metrics.
    occurs = drawn.sum(axis=1) + drawn.sum(axis=2) > 0
    figures["f1"] = np.where(occurs | ~occurs.any(axis=0), figures["f1"], np.nan)
    tails = [50 - 50 * LEVEL, 50 + 50 * LEVEL]
    return {name: np.nanpercentile(values, tails, axis=0).T.tolist() for name, values in figures.items()}


def ratio_interval(parts: npt.NDArray[Any], wholes: npt.NDArray[Any], units: Sequence[int]) -> list[float]:
    """95 % interval of ``parts.sum() / wholes.sum()``, drawn as in ``document_intervals``; [low, high].

    Args:
        parts, wholes: of each sentence, shape (n,); ``wholes`` are not all 0.
        units: of each sentence, length n.
    """
    _, places = np.unique(np.asarray(units), return_inverse=True)
    sums = np.stack([np.bincount(places, weights=values) for values in (parts, wholes)], axis=1)
    n_units = len(sums)
    chance = np.random.default_rng(_SEED)
    drawn = chance.multinomial(n_units, np.full(n_units, 1 / n_units), size=_DRAWS) @ sums
    ratios = np.divide(drawn[:, 0], drawn[:, 1], out=np.full(_DRAWS, np.nan), where=drawn[:, 1] > 0)
    low, high = np.nanpercentile(ratios, [50 - 50 * LEVEL, 50 + 50 * LEVEL])
    return [float(low), float(high)]


def document_confusions(
    predictions: Sequence[int], references: Sequence[int], units: Sequence[int], n_labels: int
) -> npt.NDArray[np.int64]:
    """One confusion matrix per unit, shape (n units, n labels, n labels); rows are references."""
    _, places = np.unique(np.asarray(units), return_inverse=True)
    counts = np.zeros((int(places.max()) + 1, n_labels, n_labels), np.int64)
    np.add.at(counts, (places, np.asarray(references), np.asarray(predictions)), 1)
    return counts


def confusion_metrics(confusions: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Macro-F1, accuracy, MCC and F1 by label of confusion matrices, shape (n, labels, labels).

    The same definitions as in ``metrics``: macro-F1 is over the labels that occur; the Matthews
    correlation coefficient is that of several labels (Gorodkin 2004).
    """
    confusions = np.asarray(confusions, float)
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    true, predicted = confusions.sum(axis=2), confusions.sum(axis=1)
    total = true.sum(axis=1)
    occurs = true + predicted > 0
    f1 = np.divide(2 * hits, true + predicted, out=np.zeros_like(hits), where=occurs)
    spread = np.sqrt((total**2 - (predicted**2).sum(axis=1)) * (total**2 - (true**2).sum(axis=1)))
    agreement = hits.sum(axis=1) * total - (predicted * true).sum(axis=1)
    return {
        "macro_f1": f1.sum(axis=1) / occurs.sum(axis=1),
        "accuracy": hits.sum(axis=1) / total,
        "mcc": np.divide(agreement, spread, out=np.zeros_like(total), where=spread > 0),
        "f1": f1,
    }
