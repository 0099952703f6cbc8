"""Does the input differ from the training text? Told after predicting, from a bounded sample of it.

A model folder may hold a reference: embeddings of some training sentences, and limits for three figures that
were measured on held-out documents of the training corpus (see ``train/reference.py``):

- distance: the energy coefficient between input and reference, 0 (one distribution) to 1 (Székely & Rizzo 2013,
  Journal of Statistical Planning and Inference 143). The reference is weighted to the label shares predicted in
  the input, so that another mix of labels alone is not taken for other text. With enough sentences any two
  corpora differ significantly, so it is judged by its size, and a permutation test only guards small inputs.
- far: the share of sentences whose k-th nearest neighbour in the reference is farther than that of nearly all
  held-out sentences.
- language: the share of sentences in none of the languages of the training text.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from ..data.codebook import describe_validation
from ..data.errors import UserError
from ..data.sentences import split_words

if TYPE_CHECKING:
    from .classifier import CheckpointClassifier

Array = npt.NDArray[np.float32]

SAMPLE = 1000
"""Sentences that are compared, at most."""
NEIGHBOUR = 5
LEAST_WORDS = 5
"""Shorter sentences have too little in them to tell their language by."""
_EXPLANATION = (
    "distance, far and language are judged by their limits. p_value only tells how likely chance alone makes such a "
    "distance between equal texts: with many sentences it is small also where the distance is too small to matter."
)
_PERMUTATIONS = 199
_ALPHA = 0.05
_LEAST_SENTENCES = 3  # one odd sentence is no other text


class Reservoir:
    """A uniform sample of a stream, in constant memory: algorithm R (Vitter 1985, ACM TOMS 11(1), 37–57)."""

    def __init__(self, size: int = SAMPLE, seed: int = 0) -> None:
        self.items: list[str] = []
        self._size = size
        self._seen = 0
        self._chance = random.Random(seed)  # noqa: S311 - no secret

    def add(self, item: str) -> None:
        self._seen += 1
        if len(self.items) < self._size:
            self.items.append(item)
            return
        place = self._chance.randrange(self._seen)
        if place < self._size:
            self.items[place] = item


class DriftLimits(BaseModel):
    """What held-out text of the training corpus stays within.

    Attributes:
        words: how the limits were set, for a person to read.
        sizes: numbers of sentences, ascending; an input is held to the largest that it reaches.
        distance, far: the limits for each of ``sizes``; no ``distance`` where the corpus names no groups to learn
            it from.
        radius: distance to the ``NEIGHBOUR``-th neighbour from which on a sentence is far.
        languages: of the training text (ISO 639-1); empty where they cannot be told.
        language: limit for the share of sentences in other languages.
    """

    model_config = ConfigDict(frozen=True)

    words: str
    sizes: list[int]
    distance: list[float] | None
    far: list[float]
    radius: float
    languages: list[str]
    language: float

    def at(self, limits: Sequence[float] | None, sentences: int) -> float | None:
        """The limit for so many sentences; None with fewer than ``sizes`` begin with."""
        if limits is None:
            return None
        reached = [limit for size, limit in zip(self.sizes, limits, strict=True) if size <= sentences]
        return reached[-1] if reached else None


@dataclass(frozen=True)
class Reference:
    """Training sentences as the classifier sees them, and what is usual among held-out ones.

    Attributes:
        embeddings: shape (sentences, hidden size), see ``embed``.
        labels: predicted labels' places, shape (sentences,).
        limits: for the figures of ``compare``.
    """

    embeddings: Array
    labels: npt.NDArray[np.int64]
    limits: DriftLimits

    def write(self, path: Path) -> None:
        """Write embeddings (in half precision) and labels as safetensors, the limits in its metadata."""
        from safetensors.numpy import save

        tensors: dict[str, npt.NDArray[Any]] = {
            "embeddings": self.embeddings.astype(np.float16),
            "labels": self.labels.astype(np.int64),
        }
        path.write_bytes(save(tensors, metadata={"limits": self.limits.model_dump_json()}))


def read_reference(path: Path, hidden_size: int | None) -> Reference | None:
    """The reference of a model folder, or None where there is none (an older or foreign model).

    Raises:
        UserError: the file is damaged, or of a model of another hidden size.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as stored:
            limits = DriftLimits.model_validate_json((stored.metadata() or {}).get("limits", "{}"))
            embeddings, labels = (stored.get_tensor(name) for name in ("embeddings", "labels"))
    except ValidationError as error:
        raise UserError(f"{path}: damaged reference:\n{describe_validation(error)}") from None
    except SafetensorError as error:
        raise UserError(f"{path}: damaged reference ({error}). Without the file, drift is not told.") from None
    if embeddings.shape != (len(labels), hidden_size) or not len(labels):
        raise UserError(
            f"{path}: expected embeddings of shape (sentences, {hidden_size}) and as many labels, came "
            f"{embeddings.shape} and {len(labels)}. The file is of another model; without it no drift is told."
        )
    return Reference(embeddings.astype(np.float32), labels, limits)


@dataclass(frozen=True)
class Figure:
    """A measured value and what it may be at most; None where there is nothing to judge it by."""

    value: float
    limit: float | None

    @property
    def over(self) -> bool:
        return self.limit is not None and self.value > self.limit


@dataclass(frozen=True)
class Drift:
    """How the input compares with the training text.

    Attributes:
        sentences: compared, at most ``SAMPLE``.
        distance: energy coefficient, labels matched.
        p_value: of a permutation test of that distance.
        far: share of sentences without near neighbours in the training text.
        language: share of ``language_sentences`` in other languages than the training text; None where fewer than
            three are long enough or the languages of the training text are unknown.
        language_sentences: how many are long enough to tell.
        languages: the other languages found, with their shares.
        language_confidence: mean probability of these languages; None where none was found.
        limits: how the limits were set, in words.
        reasons: what the warning says; empty where there is nothing to warn of.
    """

    sentences: int
    distance: Figure
    p_value: float
    far: Figure
    language: Figure | None
    language_sentences: int
    languages: dict[str, float]
    language_confidence: float | None
    limits: str
    reasons: list[str] = field(default_factory=list)

    @property
    def warning(self) -> str | None:
        """One message for the user, or None."""
        if not self.reasons:
            return None
        return (
            f"The input differs from the training text: {'; '.join(self.reasons)}. "
            f"Figures measured on the corpus may not hold."
        )

    def to_json(self) -> dict[str, Any]:
        return {"warning": self.warning, "explanation": _EXPLANATION, **asdict(self)}


def measure_drift(classifier: CheckpointClassifier, sentences: Sequence[str]) -> Drift | None:
    """Compare sentences with the classifier's training text; None without sentences or without a reference."""
    reference = classifier.reference
    if reference is None or not sentences:
        return None
    embeddings, labels = embed(classifier, sentences)
    # Fewer would give no warning whatever they are, and loading the identifier is half of a short call's time.
    enough = sum(_count_words(text) >= LEAST_WORDS for text in sentences) >= _LEAST_SENTENCES
    return compare(embeddings, labels, languages_of(sentences) if enough else [], reference)


def compare(
    embeddings: Array, labels: npt.NDArray[np.int64], languages: Sequence[tuple[str, float]], reference: Reference
) -> Drift:
    """The figures for sentences that are embedded and whose languages are known.

    Args:
        embeddings: shape (sentences, hidden size).
        labels: predicted labels' places, shape (sentences,).
        languages: of those sentences that are long enough, with probabilities.
        reference: of the same model.
    """
    limits, n = reference.limits, len(embeddings)
    distance, p_value = energy_test(embeddings, labels, reference.embeddings, reference.labels)
    neighbours = neighbour_distances(embeddings, reference.embeddings)
    far = float(np.mean(neighbours > limits.radius))
    others = [(name, sure) for name, sure in languages if is_other(name, sure, limits.languages)]
    counts = Counter(name for name, _ in others)
    found = Drift(
        sentences=n,
        distance=Figure(distance, limits.at(limits.distance, n)),
        p_value=p_value,
        far=Figure(far, limits.at(limits.far, n)),
        language=Figure(len(others) / len(languages), limits.language) if languages and limits.languages else None,
        language_sentences=len(languages),
        languages={name: count / len(languages) for name, count in counts.most_common()},
        language_confidence=float(np.mean([sure for _, sure in others])) if others else None,
        limits=limits.words,
    )
    found.reasons.extend(_reasons(found, limits))
    return found


def _reasons(found: Drift, limits: DriftLimits) -> list[str]:
    reasons = []
    if found.distance.over and found.p_value <= _ALPHA:
        reasons.append(
            f"its sentences lie farther from it than held-out text does (distance {found.distance.value:.3f}, "
            f"limit {found.distance.limit:.3f})"
        )
    if found.far.over and round(found.far.value * found.sentences) >= _LEAST_SENTENCES:
        reasons.append(
            f"{found.far.value:.0%} of its sentences have none like them in it (limit {found.far.limit:.0%})"
        )
    language = found.language
    if language and language.over and round(language.value * found.language_sentences) >= _LEAST_SENTENCES:
        names = ", ".join(f"{name} {share:.0%}" for name, share in list(found.languages.items())[:3])
        own = ", ".join(limits.languages)
        reasons.append(f"{language.value:.0%} of its sentences are in another language ({names}) than {own}")
    return reasons


# --- distances ---------------------------------------------------------------------------------------


def distances(rows: Array, others: Array) -> Array:
    """Euclidean distances, shape (rows, others)."""
    squares = (rows**2).sum(axis=1)[:, None] + (others**2).sum(axis=1)[None, :] - 2 * rows @ others.T
    return np.asarray(np.sqrt(np.maximum(squares, 0, out=squares)), np.float32)


def neighbour_distances(rows: Array, reference: Array) -> Array:
    """Each row's distance to its ``NEIGHBOUR``-th nearest reference sentence (the last where there are fewer)."""
    place = min(NEIGHBOUR, len(reference)) - 1
    return np.asarray(np.partition(distances(rows, reference), place, axis=1)[:, place], np.float32)


def energy_coefficients(between: Array, x: Array, y: Array) -> Array:
    """Energy coefficients (2A − B − C) / 2A, one for each pair of weightings of the same sentences.

    A, B, C are the mean distances between x and y, within x and within y, the latter two over pairs of
    different sentences (U-statistics), so that the expectation is 0 for equal distributions of any size.

    Args:
        between: distances of all sentences, shape (n, n), with an exact 0 on the diagonal.
        x: weights of the sentences in the first sample, shape (n, pairs); each column sums to 1.
        y: the same for the second sample.
    """
    to_x, to_y = between @ x, between @ y
    across = (x * to_y).sum(axis=0)
    within_x = (x * to_x).sum(axis=0) / np.maximum(1 - (x**2).sum(axis=0), 1e-9)
    within_y = (y * to_y).sum(axis=0) / np.maximum(1 - (y**2).sum(axis=0), 1e-9)
    return np.asarray((2 * across - within_x - within_y) / np.maximum(2 * across, 1e-9), np.float32)


def matched_weights(labels: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> Array:
    """Weights that give sentences with ``labels`` the label shares of ``wanted``; they sum to 1.

    Labels that none of the sentences has cannot be matched and are left out; where that leaves nothing,
    all weigh the same.
    """
    size = 1 + int(max(labels.max(), wanted.max()))
    counts, shares = np.bincount(labels, minlength=size), np.bincount(wanted, minlength=size) / len(wanted)
    weights = (shares / np.maximum(counts, 1))[labels]
    return np.asarray(weights / weights.sum() if weights.sum() else np.full(len(labels), 1 / len(labels)), np.float32)


def all_distances(rows: Array) -> Array:
    """Distances among the rows; those to themselves are exactly 0, which rounding would leave a little above."""
    found = distances(rows, rows)
    np.fill_diagonal(found, 0)
    return found


def energy_test(
    rows: Array, labels: npt.NDArray[np.int64], reference: Array, reference_labels: npt.NDArray[np.int64], seed: int = 0
) -> tuple[float, float]:
    """The label-matched energy coefficient of two samples (at least 0) and its permutation p-value.

    Sentences trade samples only with others of the same predicted label, so label shares stay what they are.
    """
    everything = all_distances(np.concatenate([rows, reference]))
    kinds = np.concatenate([labels, reference_labels])
    own = np.zeros((len(kinds), _PERMUTATIONS + 1), np.float32)
    own[: len(rows)] = 1
    chance = np.random.default_rng(seed)
    for kind in np.unique(kinds):
        places = np.flatnonzero(kinds == kind)
        own[places, 1:] = chance.permuted(own[places, 1:], axis=0)
    # The weight of a label is the same for all its reference sentences, so it moves with the permutation.
    weights = np.zeros(len(kinds), np.float32)
    matched = matched_weights(reference_labels, labels)
    for kind in np.unique(reference_labels):
        weights[kinds == kind] = matched[reference_labels == kind][0]
    found = energy_coefficients(everything, own / np.float32(len(rows)), (1 - own) * weights[:, None])
    # With labels matched, chance gives less than 0 on average: 0 and less are no distance, and no evidence of one.
    found = np.maximum(found, 0)
    # Equal to the last digits where nothing can be traded.
    p_value = (1 + int((found[1:] >= found[0] - 1e-6).sum())) / (_PERMUTATIONS + 1)
    return float(found[0]), p_value


# --- what is compared --------------------------------------------------------------------------------


def embed(
    classifier: CheckpointClassifier,
    sentences: Sequence[str],
    on_progress: Callable[[int], None] = lambda count: None,
) -> tuple[Array, npt.NDArray[np.int64]]:
    """What the classifier's head is built on: the mean over tokens of the last hidden state; and the labels.

    Returns:
        Embeddings, shape (sentences, hidden size), and the predicted labels' places, in the input's order.
    """
    rows, probabilities = classifier.runtime.embed(sentences, on_progress)
    return rows, probabilities.argmax(axis=1).astype(np.int64)


def languages_of(sentences: Sequence[str]) -> list[tuple[str, float]]:
    """ISO 639-1 codes and probabilities (py3langid) of the sentences of at least ``LEAST_WORDS`` words."""
    identify = _identifier().classify
    return [identify(text) for text in sentences if _count_words(text) >= LEAST_WORDS]


def _count_words(text: str) -> int:
    return sum(any(map(str.isalnum, text[start:end])) for start, end in split_words(text))


def is_other(language: str, probability: float, languages: Sequence[str]) -> bool:
    """Whether a sentence is, more likely than not, in one language and that none of ``languages``."""
    return probability > 0.5 and language not in languages


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
