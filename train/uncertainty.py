"""Intervals by bootstrap over documents: sentences of one document are not independent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
FEW_UNITS = 10
"""An interval from fewer documents would say more than is known."""
DRAWS = 2000
_CHUNK = 50  # draws at a time, so that memory does not grow with both draws and documents
_SEED = 0
_TAILS = (50 - 50 * LEVEL, 50 + 50 * LEVEL)


@dataclass(frozen=True)
class Figures:
    """Metrics of predictions with their 95 % intervals (bootstrap over documents).

    Attributes:
        name: what was measured: a classifier, a seed, a value of a column.
        n: sentences.
        documents: how many documents (or other units that stay whole) they stand in.
        macro_f1, accuracy, mcc: numbers.
        f1: by label.
        intervals: of all of them, as ``document_intervals`` gives them.
    """

    name: str
    n: int
    documents: int
    macro_f1: float
    accuracy: float
    mcc: float
    f1: list[float]
    intervals: dict[str, Any]

    @classmethod
    def of(
        cls, name: str, predictions: Sequence[int], references: Sequence[int], units: Sequence[int], n_labels: int
    ) -> Self:
        """Measure predictions; the arguments after ``name`` are those of ``document_intervals``."""
        metrics = confusion_metrics(document_confusions(predictions, references, [0] * len(references), n_labels))
        return cls(
            name=name,
            n=len(references),
            documents=len(set(units)),
            macro_f1=float(metrics["macro_f1"][0]),
            accuracy=float(metrics["accuracy"][0]),
            mcc=float(metrics["mcc"][0]),
            f1=metrics["f1"][0].tolist(),
            intervals=document_intervals(predictions, references, units, n_labels),
        )

    @property
    def few(self) -> bool:
        """Whether there are too few documents for an interval."""
        return self.documents < FEW_UNITS

    @property
    def interval(self) -> str:
        """The interval of macro-F1 in words."""
        if self.few:
            return f"{self.documents} document{'s' if self.documents > 1 else ''}: too few"
        low, high = self.intervals["macro_f1"]
        return f"{low:.3f}–{high:.3f}"


@dataclass(frozen=True)
class Difference:
    """How much higher a metric of one classifier is than that of another, with its 95 % interval."""

    value: float
    low: float
    high: float


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
    figures = _drawn_metrics(draw_units(document_confusions(predictions, references, units, n_labels)))
    return {name: percentiles(values) for name, values in figures.items()}


def percentiles(values: npt.NDArray[Any]) -> Any:
    """The ends of the 95 % interval over draws (the first axis): [low, high], or one such pair per column."""
    return np.nanpercentile(values, _TAILS, axis=0).T.tolist()


def paired_differences(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    references: Sequence[int],
    units: Sequence[int],
    n_labels: int,
) -> dict[str, Any]:
    """How much better the first of each pair of classifiers is, with 95 % intervals.

    Paired percentile bootstrap: documents are drawn as in ``document_intervals``, in every draw both sides
    are scored on the same ones, and the differences of the pairs are averaged. The interval tells what other
    test sentences would have given, not what other seeds would have.

    Args:
        pairs: predictions of both sides as places of labels; several where there are several seeds.
        references, units, n_labels: as in ``document_intervals``.

    Returns:
        ``macro_f1``, ``accuracy``, ``mcc`` as one ``Difference``, and ``f1`` as one per label.
    """
    # Shape (pairs, sides, units, labels, labels).
    counts = np.array([[document_confusions(side, references, units, n_labels) for side in pair] for pair in pairs])
    drawn = np.moveaxis(draw_units(np.moveaxis(counts, 2, 0)), 0, 2)

    def differences(sides: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Of confusion matrices of shape (pairs, sides, draws, labels, labels): one row per draw."""
        scored = [(_drawn_metrics(first), _drawn_metrics(second)) for first, second in sides]
        return {
            name: np.mean([first[name] - second[name] for first, second in scored], axis=0) for name in scored[0][0]
        }

    spread = {name: np.nanpercentile(values, _TAILS, axis=0) for name, values in differences(drawn).items()}
    found = {name: values[0] for name, values in differences(counts.sum(axis=2, keepdims=True)).items()}
    return {
        name: Difference(float(value), *map(float, spread[name]))
        if np.ndim(value) == 0
        else [Difference(float(own), *map(float, tails)) for own, tails in zip(value, spread[name].T, strict=True)]
        for name, value in found.items()
    }


def draw_units(counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Counts of shape (n units, …) summed over units drawn with replacement: shape (draws, …)."""
    flat = counts.reshape(len(counts), -1).astype(float)  # products of floats are many times faster, and exact here
    drawn = np.concatenate([weights @ flat for weights in unit_weights(len(counts))])
    return drawn.reshape(DRAWS, *counts.shape[1:])


def unit_weights(n_units: int) -> Iterator[npt.NDArray[np.int64]]:
    """How often each unit is drawn, some draws at a time: counts of shape (some draws, n units), always the same."""
    chance = np.random.default_rng(_SEED)
    for _ in range(0, DRAWS, _CHUNK):
        yield chance.multinomial(n_units, np.full(n_units, 1 / n_units), size=_CHUNK)


def _drawn_metrics(drawn: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Metrics of every draw, from confusion matrices of shape (draws, labels, labels)."""
    figures = confusion_metrics(drawn)
    # A label that a draw happens to miss has no F1 in it; one that never occurs has 0, as in the metrics.
    predicted, true = drawn.sum(axis=1), drawn.sum(axis=2)
    for name, count in (("precision", predicted), ("recall", true), ("f1", predicted + true)):
        figures[name] = np.where((count > 0) | ~(count > 0).any(axis=0), figures[name], np.nan)
    return figures


def ratio_interval(parts: npt.NDArray[Any], wholes: npt.NDArray[Any], units: Sequence[int]) -> list[float]:
    """95 % interval of ``parts.sum() / wholes.sum()``, drawn as in ``document_intervals``; [low, high].

    Args:
        parts, wholes: of each sentence, shape (n,); ``wholes`` are not all 0.
        units: of each sentence, length n.
    """
    _, places = np.unique(np.asarray(units), return_inverse=True)
    sums = np.stack([np.bincount(places, weights=values) for values in (parts, wholes)], axis=1)
    drawn = draw_units(sums)
    ratios = np.divide(drawn[:, 0], drawn[:, 1], out=np.full(DRAWS, np.nan), where=drawn[:, 1] > 0)
    low, high = percentiles(ratios)
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
