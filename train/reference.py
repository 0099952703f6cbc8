"""What a model folder keeps of the training text, so that ``predict`` can tell when its input differs from it.

Embeddings of some training sentences, and limits measured on held-out documents: see ``model/drift.py``.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.corpus import Corpus
from ..data.split import Split
from ..model.classifier import CheckpointClassifier
from ..model.drift import (
    SAMPLE,
    Array,
    DriftLimits,
    Reference,
    all_distances,
    embed,
    energy_coefficients,
    is_other,
    languages_of,
    matched_weights,
    neighbour_distances,
)

_HELD_OUT = 2000  # sentences at most: embedding them takes seconds
# Columns that may tell sentences of one kind; the first with enough values is taken.
_GROUPS = ("register", "outlet", "theatre", "document")
_LEAST_GROUPS = 3
_SIZES = (10, 20, 50, 100, 200, 500)
_DRAWS = 200  # for each size
_QUANTILE = 0.99
_LEAST_DISTANCE = 0.01
_LEAST_SHARE = 0.05
_UNGROUPED_SIZE = 20  # one far sentence is then no more than the least share


def sampled(split: Split, seed: int) -> tuple[Corpus, Corpus]:
    """Training sentences, at most ``SAMPLE``, and held-out documents of at most ``_HELD_OUT`` sentences."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    train = split.train.select(sorted(chance.sample(range(len(split.train)), min(SAMPLE, len(split.train)))))
    held_out = Corpus(split.validation.sentences + split.calibration.sentences, split.train.codebook)
    documents = list(_documents(held_out, range(len(held_out))))
    chance.shuffle(documents)
    places = [place for document in documents for place in document][:_HELD_OUT]
    return train, held_out.select(sorted(places))


def make_reference(
    classifier: CheckpointClassifier,
    train: Corpus,
    held_out: Corpus,
    seed: int,
    on_progress: Callable[[int], None] = lambda count: None,
) -> Reference:
    """Embed training sentences and measure the limits of drift on held-out ones.

    Every limit is what 99 of 100 held-out samples of one kind of text stay within: whole documents of one
    register (or what else the corpus names), compared with the training sentences of all other registers.
    That is how far text lies that is of another kind, but still of this corpus.

    Args:
        classifier: trained on ``train``, but not on ``held_out``.
        train, held_out: as ``sampled`` draws them.
        seed: of the held-out samples.
        on_progress: called with the number of sentences done since the last call.
    """
    embeddings, labels = embed(classifier, train.texts, on_progress)
    embeddings = embeddings.astype(np.float16).astype(np.float32)  # as it will be read again
    others, their_labels = embed(classifier, held_out.texts, on_progress)
    neighbours = neighbour_distances(others, embeddings)
    radius = float(np.quantile(neighbours, _QUANTILE))
    column = _column(held_out)
    if column is None:
        sizes, distance, far = [_UNGROUPED_SIZE], None, [_LEAST_SHARE]
    else:
        sizes, draws = _draw(held_out, column, random.Random(seed))  # noqa: S311 - no secret
        found = _distances(
            draws, others, their_labels, embeddings, labels, _values(held_out, column), _values(train, column)
        )
        distance = [max(_LEAST_DISTANCE, round(float(np.quantile(found[size], _QUANTILE)), 4)) for size in sizes]
        shares = {size: [float(np.mean(neighbours[draw] > radius)) for draw in draws[size]] for size in sizes}
        far = [max(_LEAST_SHARE, round(float(np.quantile(shares[size], _QUANTILE)), 4)) for size in sizes]
    spoken = languages_of(train.texts)
    counts = Counter(name for name, sure in spoken if is_other(name, sure, ()))
    languages = [name for name, count in counts.most_common() if count >= _LEAST_SHARE * len(spoken)]
    heard = languages_of(held_out.texts)
    misheard = float(np.mean([is_other(*one, languages) for one in heard])) if heard else 0.0
    limits = DriftLimits(
        words=_words(column, len(train), len(held_out), languages),
        sizes=sizes,
        distance=distance,
        far=far,
        radius=radius,
        languages=languages,
        language=round(_LEAST_SHARE + misheard, 4),
    )
    return Reference(embeddings, labels, limits)


def _words(column: str | None, train: int, held_out: int, languages: list[str]) -> str:
    grouped = (
        f"Limits of distance and far: what {_QUANTILE:.0%} of {_DRAWS} samples stay within that were drawn from "
        f"{held_out} held-out sentences, each of whole documents of one {column}, compared with {train} training "
        f"sentences less those of that {column}; but at least {_LEAST_DISTANCE:g} and {_LEAST_SHARE:.0%}. They are "
        f"given by sample size, and an input is held to the largest size that it reaches."
        if column
        else f"No limit of distance, because the corpus names no groups ({', '.join(_GROUPS)}) with enough held-out "
        f"sentences to tell how far its own kinds of text lie apart. Limit of far: {_LEAST_SHARE:.0%}."
    )
    others = f"other languages than {', '.join(languages) or 'unknown'}"
    return (
        f"{grouped} Far is a sentence whose nearest training sentences are farther away than those of "
        f"{_QUANTILE:.0%} of the held-out sentences. Limit of {others}: "
        f"{_LEAST_SHARE:.0%} more than are told in held-out text."
    )


def _values(corpus: Corpus, column: str) -> npt.NDArray[Any]:
    return np.array([str(sentence.to_row().get(column) or "") for sentence in corpus.sentences])


def _column(held_out: Corpus) -> str | None:
    for column in _GROUPS:
        counts = Counter(value for value in _values(held_out, column).tolist() if value)
        if sum(count >= _SIZES[0] for count in counts.values()) >= _LEAST_GROUPS:
            return column
    return None


def _documents(corpus: Corpus, places: Any) -> list[list[int]]:
    """The places of each document's sentences; those of no document stand alone."""
    found: dict[str, list[int]] = defaultdict(list)
    for place in places:
        found[corpus.sentences[place].document or f"\0{place}"].append(int(place))
    return list(found.values())


def _draw(held_out: Corpus, column: str, chance: random.Random) -> tuple[list[int], dict[int, list[list[int]]]]:
    """For each size ``_DRAWS`` samples (places): whole documents of one group, the last one cut."""
    values = _values(held_out, column)
    groups = {name: np.flatnonzero(values == name) for name in sorted(set(values.tolist())) if name}
    draws: dict[int, list[list[int]]] = {}
    for size in _SIZES:
        large = [places for places in groups.values() if len(places) >= size]
        if len(large) < _LEAST_GROUPS:
            break
        draws[size] = []
        for _ in range(_DRAWS):
            documents = _documents(held_out, chance.choice(large))
            chance.shuffle(documents)
            draws[size].append([place for document in documents for place in document][:size])
    return list(draws), draws


def _distances(
    draws: dict[int, list[list[int]]],
    others: Array,
    their_labels: npt.NDArray[np.int64],
    embeddings: Array,
    labels: npt.NDArray[np.int64],
    their_groups: npt.NDArray[Any],
    groups: npt.NDArray[Any],
) -> dict[int, Array]:
    """The energy coefficients of the draws and the training sentences of all other groups."""
    between = all_distances(np.concatenate([others, embeddings]))
    found = {}
    for size, samples in draws.items():
        x = np.zeros((len(between), len(samples)), np.float32)
        y = np.zeros_like(x)
        for number, places in enumerate(samples):
            x[places, number] = 1 / len(places)
            kept = np.flatnonzero(groups != their_groups[places[0]])
            kept = kept if len(kept) else np.arange(len(groups))  # training text of that kind alone
            y[len(others) + kept, number] = matched_weights(labels[kept], their_labels[places])
        found[size] = energy_coefficients(between, x, y)
    return found
