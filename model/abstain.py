"""Abstention with a promise: of the answered, at most so many are wrong, with so much confidence.

The threshold is found by Learn then Test (Angelopoulos, Bates, Candès, Jordan & Lei 2025, Annals of
Applied Statistics; arXiv 2110.01052): each threshold t is a null hypothesis "the error among the
answered, R(t) = P(wrong | score > t), exceeds max_error", tested on the calibration part with an exact
binomial p-value, in a fixed sequence that ends at the first hypothesis that is not rejected.

One sentence is drawn from each unit (document), because sentences of a document are not independent. The
draws are independent, and R(t) is the error for a sentence of a document drawn at random: each document
counts once, however long it is.

The sequence is fixed before any score or label is seen. Its places are numbers of answered draws: N(k) is
the least number of which k wrong are few enough (59, 93, 124 … for 5 % at 95 %), and the threshold of a
place is the (N + 1)-th largest score. Tests between those numbers could only fail more easily. It
starts at 30 % of the draws, or at N(0) where that is more, and goes down to answering everything; from a
stricter start, one wrong label among the very surest would end it.

Why this is valid:

1. Each test by itself, with no assumption: given the (N + 1)-th largest score t, the N draws above it are
   independent draws from those with score > t (David & Nagaraja 2003, Order Statistics, th. 2.5), so the
   wrong among them are Binomial(N, R(t)), and P(Binomial(N, max_error) <= wrong) is an exact p-value.
2. The sequence, if R does not fall when t is lowered (the surer, the less often wrong; the risk–coverage
   curve of the report shows it): let t* be the boundary below which R(t) > max_error, and M the draws with
   score >= t*. M alone says which test is the first of a true hypothesis. Given M, those M draws are
   wrong with probability R(>= t*) >= max_error each, and the tested draws below t* with at least as much.
   So the wrong stochastically dominate Binomial(N, max_error), and that first test rejects with
   probability at most 1 - confidence. Where it does not, nothing after it is certified.
3. Scores that tie are answered together or not at all; a place that ties leave with fewer than N(0) answered
   is passed over, which depends on scores only.

The temperature was chosen on the same part. That is one number, and it leaves the order of scores
as it is for two labels and nearly so for more.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.errors import UserError
from .calibration import Calibration

CONFIDENCE = 0.95
_START = 0.3  # of the draws
_SEED = 0
_MOST_DRAWS = 1_000_000  # beyond that, asking for more labelled documents helps nobody


@dataclass(frozen=True)
class Abstention:
    """Below which score a model abstains, and what that promises.

    Attributes:
        threshold: answered are scores of at least this; infinite where everything abstains.
        max_error: the promised largest share of wrong labels among the answered; None for a threshold
            that was chosen by hand and promises nothing.
        confidence: with which the promise holds, over the choice of the calibration documents.
        documents: independent units in the calibration part, one sentence drawn from each.
        answered: how many of these draws reach the threshold.
        wrong: how many of the answered are wrong.
        bound: upper limit of the error among the answered, at ``confidence`` for this threshold alone
            (Clopper & Pearson 1934).
        reason: why everything abstains and what it would take; empty where something is answered.
    """

    threshold: float
    max_error: float | None = None
    confidence: float = CONFIDENCE
    documents: int = 0
    answered: int = 0
    wrong: int = 0
    bound: float = 1.0
    reason: str = ""

    @property
    def coverage(self) -> float:
        """Share of the calibration draws that are answered."""
        return self.answered / self.documents if self.documents else math.nan

    def describe(self) -> str:
        """One sentence for the terminal."""
        if self.max_error is None:
            return f"Abstains below score {self.threshold:g}, which promises nothing about the error."
        if self.reason:
            return f"Abstains on everything: {self.reason}"
        return (
            f"Abstains below score {self.threshold:.4f}, so that at most {_percent(self.max_error)} of the answered "
            f"are wrong, with {_percent(self.confidence)} confidence, in text like the corpus (calibration: "
            f"{self.answered:,} of {self.documents:,} documents answered, {self.wrong:,} wrong)."
        )

    def guarantee(self, void: Sequence[str] = ()) -> str:
        """What the threshold promises for a text; ``void`` are reasons why it does not hold there."""
        if self.max_error is None:
            return "none: the threshold was chosen by hand"
        if self.reason:
            return "none: nothing is answered"
        if void:
            return f"void: {'; '.join(void)}"
        return "holds for text drawn like the calibration part, each document counting once"

    def to_json(self) -> dict[str, Any]:
        threshold = self.threshold if math.isfinite(self.threshold) else None
        if self.max_error is None:
            return {"threshold": threshold, "max_error": None}
        return {
            "threshold": threshold,
            "max_error": self.max_error,
            "confidence": self.confidence,
            "calibration": {
                "documents": self.documents,
                "answered": self.answered,
                "wrong": self.wrong,
                "error_at_most": round(self.bound, 6),
            },
            **({"reason": self.reason} if self.reason else {}),
        }


def threshold_for(calibration: Calibration, max_error: float, confidence: float = CONFIDENCE) -> Abstention:
    """The lowest threshold with at most ``max_error`` wrong among the answered (see the module).

    Args:
        calibration: of the model.
        max_error: 0 to 1, both excluded.
        confidence: over the choice of the calibration documents; 0 to 1, both excluded.

    Raises:
        UserError: a number out of range.
    """
    for name, value in (("--max-error", max_error), ("confidence", confidence)):
        if not 0 < value < 1:
            raise UserError(f"{name} {value}: expected a number between 0 and 1, e.g. 0.05.")
    places = one_per_unit(calibration.units)
    return certify(calibration.scores[places], calibration.wrong[places], max_error, confidence)


def one_per_unit(units: list[int]) -> npt.NDArray[np.intp]:
    """The place of one sentence of each unit, drawn at random, always with the same seed."""
    _, of, counts = np.unique(units, return_inverse=True, return_counts=True)
    by_unit = np.argsort(of, kind="stable")
    chosen = np.random.default_rng(_SEED).integers(0, counts)
    places: npt.NDArray[np.intp] = by_unit[np.cumsum(counts) - counts + chosen]
    return places


def certify(scores: npt.NDArray[Any], wrong: npt.NDArray[Any], max_error: float, confidence: float) -> Abstention:
    """The fixed sequence of tests on independent draws.

    Args:
        scores: of the draws, shape (n,).
        wrong: whether their labels are wrong, shape (n,).
        max_error, confidence: see ``threshold_for``.
    """
    n, level = len(scores), 1 - confidence
    fewest = fewest_answered(0, max_error, confidence)
    order = np.argsort(-scores, kind="stable")
    ranked, errors = scores[order], np.concatenate([[0], np.cumsum(wrong[order])])
    chosen: Abstention | None = None
    answered = failures = 0
    for count in _sequence(n, max_error, confidence):
        floor = float(ranked[count]) if count < n else -math.inf
        answered = int(np.count_nonzero(ranked > floor))
        failures = int(errors[answered])
        if answered < fewest:
            continue
        if binomial_tail(failures, answered, max_error) > level:
            break
        threshold = max(0.0, float(np.nextafter(floor, math.inf)))
        bound = upper_limit(failures, answered, confidence)
        chosen = Abstention(threshold, max_error, confidence, n, answered, failures, bound)
    if chosen:
        return chosen
    reason = _why_none(n, answered, failures, max_error, confidence)
    return Abstention(math.inf, max_error, confidence, n, reason=reason)


@lru_cache
def _sequence(n: int, max_error: float, confidence: float) -> tuple[int, ...]:
    """The numbers of answered draws at which the error is tested, in order."""
    counts: list[int] = []
    while (count := fewest_answered(len(counts), max_error, confidence, counts[-1] + 1 if counts else 1)) <= n:
        counts.append(count)
    if not counts:
        return ()
    first = max(place for place, count in enumerate(counts) if count <= max(counts[0], _START * n))
    return (*counts[first:], *([n] if counts[-1] < n else []))


def fewest_answered(wrong: int, max_error: float, confidence: float, least: int = 1) -> int:
    """The least number of answered draws, from ``least`` on, of which ``wrong`` are few enough."""
    low, step = max(least, wrong + 1), 1
    while binomial_tail(wrong, low + step, max_error) > 1 - confidence:
        step *= 2
    high = low + step
    while low < high:
        middle = (low + high) // 2
        if binomial_tail(wrong, middle, max_error) > 1 - confidence:
            low = middle + 1
        else:
            high = middle
    return high


def binomial_tail(most: int, n: int, p: float) -> float:
    """P(X <= most) for X ~ Binomial(n, p), 0 < p < 1, summed in logarithms."""
    if most >= n:
        return 1.0
    k = np.arange(most + 1)
    factorials = _log_factorials(1 << n.bit_length())
    terms = factorials[n] - factorials[k] - factorials[n - k] + k * math.log(p) + (n - k) * math.log1p(-p)
    return min(1.0, float(np.exp(terms).sum()))


@lru_cache(maxsize=8)
def _log_factorials(most: int) -> npt.NDArray[np.float64]:
    return np.array([math.lgamma(k + 1) for k in range(most + 1)])


def upper_limit(wrong: int, n: int, confidence: float) -> float:
    """Upper confidence limit of a share (Clopper & Pearson 1934), by bisection."""
    if wrong >= n:
        return 1.0
    low, high = wrong / n, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_tail(wrong, n, middle) > 1 - confidence else (low, middle)
    return high


def _percent(share: float) -> str:
    return f"{100 * share:g}%"


def _why_none(n: int, answered: int, wrong: int, max_error: float, confidence: float) -> str:
    fewest = fewest_answered(0, max_error, confidence)
    promise = f"an error of at most {_percent(max_error)} with {_percent(confidence)} confidence"
    if answered < fewest:
        return f"{promise} takes at least {fewest} calibration documents without an error, and this model has {n}."
    seen = f"{wrong} wrong among the {answered} surest calibration documents is too much for {promise}."
    needed = _documents_needed(n, answered, wrong, max_error, confidence)
    if needed is None:
        return f"{seen} At that rate no number of documents would do; it takes a better model or a larger --max-error."
    return f"{seen} At that rate it would take about {needed:,} calibration documents, and this model has {n:,}."


def _documents_needed(n: int, answered: int, wrong: int, max_error: float, confidence: float) -> int | None:
    rate = wrong / answered
    draws = answered
    while draws <= _MOST_DRAWS and rate < max_error:
        if binomial_tail(math.ceil(rate * draws), draws, max_error) <= 1 - confidence:
            # Rounded up to two digits: it is a guess from one sample.
            needed = math.ceil(draws * n / answered)
            digit = int("1" + "0" * (len(str(needed)) - 2))
            return math.ceil(needed / digit) * digit
        draws = math.ceil(draws * 1.1)
    return None
