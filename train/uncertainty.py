"""Intervals by bootstrap over documents: sentences of one document are not independent."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
DRAWS = 2000
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
        ``macro_f1``, ``accuracy``, ``mcc`` as [low, high], and ``precision``, ``recall``, ``f1`` as one
        [low, high] per label (of a label that never occurs: [0, 0]). With few documents they are too narrow,
        and with one they have no width at all.
    """
    counts = document_confusions(predictions, references, units, n_labels)
    flat = counts.reshape(len(counts), -1)
    drawn = np.concatenate([weights @ flat for weights in unit_weights(len(counts))]).reshape(-1, n_labels, n_labels)
    figures = confusion_metrics(drawn)
    # A label that a draw happens to miss has no F1 in it; one that never occurs has 0, as in the metrics.
    predicted, true = drawn.sum(axis=1), drawn.sum(axis=2)
    for name, count in (("precision", predicted), ("recall", true), ("f1", predicted + true)):
        figures[name] = np.where((count > 0) | ~(count > 0).any(axis=0), figures[name], np.nan)
    return {name: percentiles(values) for name, values in figures.items()}


def unit_weights(n_units: int) -> Iterator[npt.NDArray[np.int64]]:
    """How often each unit is drawn, for every draw of the bootstrap: always the same, some draws at a time.

    Yields:
        Counts of shape (draws, n units), ``DRAWS`` rows in all.
    """
    chance = np.random.default_rng(_SEED)
    for _ in range(0, DRAWS, _CHUNK):
        yield chance.multinomial(n_units, np.full(n_units, 1 / n_units), size=_CHUNK)


def percentiles(values: npt.NDArray[Any]) -> Any:
    """The ends of the 95 % interval over draws (the first axis): [low, high], or one such pair per column."""
    return np.nanpercentile(values, [50 - 50 * LEVEL, 50 + 50 * LEVEL], axis=0).T.tolist()


def document_confusions(
    predictions: Sequence[int], references: Sequence[int], units: Sequence[int], n_labels: int
) -> npt.NDArray[np.int64]:
    """One confusion matrix per unit, shape (n units, n labels, n labels); rows are references."""
    _, places = np.unique(np.asarray(units), return_inverse=True)
    counts = np.zeros((int(places.max()) + 1, n_labels, n_labels), np.int64)
    np.add.at(counts, (places, np.asarray(references), np.asarray(predictions)), 1)
    return counts


def confusion_metrics(confusions: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Macro-F1, accuracy, MCC, and precision, recall and F1 by label of confusion matrices (n, labels, labels).

    The same definitions as in ``metrics``: macro-F1 is over the labels that occur; the Matthews
    correlation coefficient is that of several labels (Gorodkin 2004).
    """
    confusions = np.asarray(confusions, float)
    hits = np.diagonal(confusions, axis1=1, axis2=2)
    true, predicted = confusions.sum(axis=2), confusions.sum(axis=1)
    total = true.sum(axis=1)
    occurs = true + predicted > 0
    f1 = np.divide(2 * hits, true + predicted, out=np.zeros_like(hits), where=occurs)
    precision, recall = (np.divide(hits, n, out=np.zeros_like(hits), where=n > 0) for n in (predicted, true))
    spread = np.sqrt((total**2 - (predicted**2).sum(axis=1)) * (total**2 - (true**2).sum(axis=1)))
    agreement = hits.sum(axis=1) * total - (predicted * true).sum(axis=1)
    return {
        "macro_f1": f1.sum(axis=1) / occurs.sum(axis=1),
        "accuracy": hits.sum(axis=1) / total,
        "mcc": np.divide(agreement, spread, out=np.zeros_like(total), where=spread > 0),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }
