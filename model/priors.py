"""Other label shares in the text than in training: estimate them, and adapt the probabilities.

Saerens, Latinne & Decaestecker (2002, Neural Computation 14): where the sentences of a label look as in
training and only the labels' shares differ (label shift), EM finds the shares of greatest likelihood, and
Bayes' rule gives the probabilities under them.

The shares to start from are those that the probabilities reflect. That is their mean on the calibration
part rather than the label counts of training: then text like the corpus is left as it is, even where the
model leans to a label (Alexandari, Kundaje & Shrikumar 2020, ICML).
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .classifier import renormalise
from .runtime import Array

_TOLERANCE = 1e-6  # EM ends where no share changes by more
_MOST_ITERATIONS = 1000
_BLOCKS = 1000  # documents are drawn in so many blocks, so that memory does not grow with them
_LEAST_BLOCKS = 10  # with fewer documents an interval would say too little
_DRAWS = 200
_DRAW_TOLERANCE = 1e-4
_DRAW_ITERATIONS = 50
_CHUNK = 4096  # rows at a time
_SEED = 0


@dataclass(frozen=True)
class PriorEstimate:
    """Label shares of a text, arrays of shape (n labels,).

    Attributes:
        shares: estimated.
        source: that the probabilities reflect.
        intervals: 95 % intervals of ``shares`` by bootstrap over documents (rows, where they name none),
            shape (n labels, 2); None with fewer than ten documents.
        iterations: of EM.
        rows: how many the estimate rests on.
    """

    shares: npt.NDArray[np.float64]
    source: npt.NDArray[np.float64]
    intervals: npt.NDArray[np.float64] | None
    iterations: int
    rows: int

    def to_json(self, labels: Sequence[str]) -> dict[str, Any]:
        intervals = [None] * len(labels) if self.intervals is None else self.intervals.round(6).tolist()
        return {
            "method": "EM of Saerens, Latinne & Decaestecker (2002)",
            "assumes": "within each label, the sentences look as in training",
            "rows": self.rows,
            "iterations": self.iterations,
            "shares": {
                label: {"estimated": round(float(share), 6), "interval": interval, "of_the_model": round(float(own), 6)}
                for label, share, interval, own in zip(labels, self.shares, intervals, self.source, strict=True)
            },
        }


def estimate_priors(
    posteriors: Array,
    source_shares: npt.NDArray[np.float64],
    blocks: npt.NDArray[np.integer] | None = None,
) -> PriorEstimate:
    """Label shares by EM, with bootstrap intervals.

    Args:
        posteriors: the model's probabilities, shape (n rows, n labels), n > 0; may lie in a file (memmap).
        source_shares: that they reflect, all above 0, shape (n labels,).
        blocks: of each row the document or group of documents, numbers from 0; None takes rows as
            independent.
    """
    if blocks is None:
        blocks = np.arange(len(posteriors)) % _BLOCKS
    n_blocks = int(blocks.max()) + 1
    shares, iterations = _maximise(
        posteriors, source_shares, blocks, np.ones((1, n_blocks)), source_shares[None], _TOLERANCE, _MOST_ITERATIONS
    )
    intervals = None
    used = np.unique(blocks)
    if len(used) >= _LEAST_BLOCKS:
        weights = np.zeros((_DRAWS, n_blocks))
        chance = np.random.default_rng(_SEED)
        weights[:, used] = chance.multinomial(len(used), np.full(len(used), 1 / len(used)), size=_DRAWS)
        start = np.repeat(shares, _DRAWS, axis=0)
        drawn, _ = _maximise(posteriors, source_shares, blocks, weights, start, _DRAW_TOLERANCE, _DRAW_ITERATIONS)
        intervals = np.percentile(drawn, [2.5, 97.5], axis=0).T
    return PriorEstimate(shares[0], source_shares, intervals, iterations, len(posteriors))


def draw_shares(
    posteriors: Array,
    source_shares: npt.NDArray[np.float64],
    blocks: npt.NDArray[np.integer],
    weights: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Label shares by EM of several draws, the first of which is where the others start.

    Args:
        posteriors, blocks: as in ``estimate_priors``.
        source_shares: that they reflect in each draw, all above 0, shape (n draws, n labels).
        weights: of each block in each draw, shape (n draws, n blocks).

    Returns:
        Shape (n draws, n labels).
    """
    first, _ = _maximise(
        posteriors, source_shares[:1], blocks, weights[:1], source_shares[:1], _TOLERANCE, _MOST_ITERATIONS
    )
    start = np.repeat(first, len(weights) - 1, axis=0)
    others, _ = _maximise(posteriors, source_shares[1:], blocks, weights[1:], start, _DRAW_TOLERANCE, _DRAW_ITERATIONS)
    return np.concatenate([first, others])


def _maximise(
    posteriors: Array,
    source: npt.NDArray[np.float64],
    blocks: npt.NDArray[np.integer],
    weights: npt.NDArray[np.float64],
    shares: npt.NDArray[np.float64],
    tolerance: float,
    most: int,
) -> tuple[npt.NDArray[np.float64], int]:
    """EM (eq. 2.9 of the paper) for several draws at once.

    Args:
        source: shares that the posteriors reflect, shape (n labels,), or of each draw (n draws, n labels).
        weights: of each block in each draw, shape (n draws, n blocks).
        shares: to start from, shape (n draws, n labels).

    Returns:
        The shares of each draw, and the number of iterations.
    """
    iterations = 0
    change = np.inf
    while change >= tolerance and iterations < most:
        new = np.zeros_like(shares)
        for first in range(0, len(posteriors), _CHUNK):
            rows = np.asarray(posteriors[first : first + _CHUNK], float)
            drawn = weights[:, blocks[first : first + _CHUNK]]
            new += (drawn / np.maximum(shares / source @ rows.T, np.finfo(float).tiny)) @ rows
        new *= shares / source
        new /= new.sum(axis=1, keepdims=True)
        change = np.abs(new - shares).max()
        shares = new
        iterations += 1
    return shares, iterations


def adapt(posteriors: Array, estimate: PriorEstimate) -> Array:
    """Probabilities under the estimated shares (eq. 2.4 of the paper), shape (n rows, n labels)."""
    return renormalise((posteriors * (estimate.shares / estimate.source)).astype(np.float32))


def document_blocks(documents: Sequence[Any]) -> npt.NDArray[np.int16]:
    """The block of documents that each row's belongs to, shape (n rows,); -1 for a row that names none."""
    names = ("" if document is None else str(document) for document in documents)
    return np.array([zlib.crc32(name.encode()) % _BLOCKS if name else -1 for name in names], np.int16)


class KeptPosteriors:
    """Probabilities in a file until all are known: exact EM in constant memory, 4 bytes a row and label.

    Args:
        path: of the file; one that is there is replaced.
        n_labels: columns of the probabilities.
    """

    def __init__(self, path: Path, n_labels: int) -> None:
        self._path = path
        self._type = np.dtype([("probabilities", np.float32, (n_labels,)), ("block", np.int16)])
        self._stream = path.open("wb")
        self._rows = 0

    def add(self, probabilities: Array, blocks: npt.NDArray[np.int16]) -> None:
        """Keep some rows; those without a document (a block of -1) are independent of all others."""
        records = np.zeros(len(blocks), self._type)
        records["probabilities"] = probabilities
        own = (self._rows + np.arange(len(blocks))) % _BLOCKS
        records["block"] = np.where(blocks < 0, own, blocks)
        self._stream.write(records.tobytes())
        self._rows += len(records)

    def read(self) -> Any:
        """All rows, as a structured memmap with ``probabilities`` and ``block``."""
        self._stream.close()
        return np.memmap(self._path, self._type, "r") if self._rows else np.zeros(0, self._type)
