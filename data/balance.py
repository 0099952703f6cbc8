"""How the labels of a corpus are spread over registers, theatres, actors and lengths."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml

from .corpus import Corpus, Sentence
from .errors import MissingExtraError, UserError

ALL = "all"
NOT_GIVEN = "(none given)"
ACTOR = "actor"
# From so many sentences on, and such a share, a value is said to go with one label.
_ENOUGH = 20
_ONE_SIDED = 0.85
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Words per sentence (split at spaces): mean, the quantiles of ``QUANTILES`` in order, longest."""

    mean: float
    quantiles: tuple[float, ...]
    longest: int


def count_by(corpus: Corpus, column: str) -> dict[str, Corpus]:
    """The whole corpus as ``all``, then its parts by the values of a column, in alphabetical order.

    ``actor`` is special where the corpus has no such column: the parts are then the sentences that
    mention a kind of actor (``data/actors.yaml``). A sentence may mention several, or none.

    Raises:
        UserError: no sentence has the column.
    """
    groups: dict[str, list[int]] = {}
    by_words = column == ACTOR and not _has(corpus, ACTOR)
    for place, sentence in enumerate(corpus.sentences):
        for value in _actors(sentence) if by_words else [_value(sentence, column)]:
            groups.setdefault(value, []).append(place)
    if set(groups) <= {NOT_GIVEN}:
        raise UserError(f"No sentence has a value in column '{column}'. Columns: {', '.join(_columns(corpus))}")
    return {ALL: corpus, **{value: corpus.select(groups[value]) for value in sorted(groups)}}


def one_sided(corpus: Corpus, columns: Sequence[str] = ("register", "theatre", ACTOR)) -> list[str]:
    """Values that go with one label, so that a model may learn the value instead of the framing.

    A value is told when at least 20 sentences have it and at least 85 % of them have one label, and
    that share is above the label's share of the whole corpus by more than three standard errors.
    Actors are looked at kind by kind and word by word (``data/actors.yaml``).

    Returns:
        One line for each, in the order of ``columns``; columns that the corpus lacks are passed over.
    """
    told = []
    shares = {name: count / len(corpus) for name, count in corpus.counts().items()}
    for column in columns:
        for value, part in _parts(corpus, column).items():
            name, count = max(part.counts().items(), key=lambda item: item[1])
            share, usual, n = count / len(part), shares[name], len(part)
            above = share - usual > 3 * (usual * (1 - usual) / n) ** 0.5
            if n >= _ENOUGH and share >= _ONE_SIDED and above:
                told.append(f"{column} '{value}' goes with one label: {share:.0%} of {n:,} sentences are {name}")
    return told


def _parts(corpus: Corpus, column: str) -> Mapping[str, Corpus]:
    try:
        parts = count_by(corpus, column)
    except UserError:
        return {}
    if column == ACTOR and not _has(corpus, ACTOR):
        for kind, words in _actor_words().items():
            for word, pattern in words.items():
                found = [place for place, text in enumerate(corpus.texts) if pattern.search(text)]
                parts.setdefault(f"{word} ({kind})", corpus.select(found))
    return {value: part for value, part in parts.items() if value not in (ALL, NOT_GIVEN) and len(part)}


def lengths(corpus: Corpus) -> Lengths:
    """How long the sentences are, in words."""
    words = np.array([len(text.split()) for text in corpus.texts])
    return Lengths(float(words.mean()), tuple(float(q) for q in np.quantile(words, QUANTILES)), int(words.max()))


def draw_balance(corpus: Corpus, path: Path, columns: Sequence[str]) -> None:
    """Draw label shares by each column, and the lengths by label, as PNG, SVG or PDF by the file's name.

    Args:
        corpus: what to draw.
        path: of the picture; its suffix is one that matplotlib knows.
        columns: one panel each; of a column with more than 30 values the 30 most frequent.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "train", "Drawing pictures") from None

    panels = []
    for column in columns:
        parts = [(value, part) for value, part in count_by(corpus, column).items() if value not in (ALL, NOT_GIVEN)]
        kept = sorted(parts, key=lambda item: -len(item[1]))[:30]
        title = column if len(kept) == len(parts) else f"{column} (30 most frequent of {len(parts)})"
        panels.append((title, [(ALL, corpus), *kept]))
    heights = [0.24 * len(rows) + 0.9 for _, rows in panels] + [2.6]
    figure = Figure(figsize=(9, sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    codebook = corpus.codebook
    for axis, (title, rows) in zip(axes[:-1], panels, strict=True):
        left = np.zeros(len(rows))
        places = np.arange(len(rows))[::-1]
        for name in codebook.label_names:
            shares = np.array([part.counts()[name] / len(part) for _, part in rows])
            axis.barh(places, shares, left=left, color=codebook.colour(name), label=codebook.title(name), height=0.8)
            left += shares
        axis.set_yticks(places, [f"{value}  {len(part):,}" for value, part in rows], fontsize=8)
        axis.set_xlim(0, 1)
        axis.set_ylim(-0.6, len(rows) - 0.4)
        axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"], fontsize=8)
        axis.set_title(f"Labels by {title}", fontsize=10, loc="left")
        axis.spines[["top", "right", "left"]].set_visible(False)
    words = [len(text.split()) for text in corpus.texts]
    edges = np.arange(0, np.quantile(words, 0.995) + 4, 3)
    own = [
        [count for count, label in zip(words, corpus.labels, strict=True) if label == name]
        for name in codebook.label_names
    ]
    axes[-1].hist(
        own, bins=edges, stacked=True, color=[codebook.colour(name) for name in codebook.label_names],
        label=[codebook.title(name) for name in codebook.label_names],
    )  # fmt: skip
    axes[-1].set_title(f"Words per sentence (the longest has {max(words)})", fontsize=10, loc="left")
    axes[-1].set_ylabel("sentences", fontsize=8)
    axes[-1].spines[["top", "right"]].set_visible(False)
    axes[-1].tick_params(labelsize=8)
    handles, labels = axes[-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)), frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _has(corpus: Corpus, column: str) -> bool:
    return any(sentence.extras.get(column) not in (None, "") for sentence in corpus.sentences)


def _columns(corpus: Corpus) -> list[str]:
    return sorted({name for sentence in corpus.sentences for name in sentence.to_row()} - {"text"})


def _value(sentence: Sentence, column: str) -> str:
    value = sentence.to_row().get(column)
    return NOT_GIVEN if value in (None, "") else str(value)


def _actors(sentence: Sentence) -> list[str]:
    kinds = _actor_words()
    return [kind for kind, words in kinds.items() if any(word.search(sentence.text) for word in words.values())]


@cache
def _actor_words() -> dict[str, dict[str, re.Pattern[str]]]:
    kinds = yaml.safe_load(files("conflict_framing.data").joinpath("actors.yaml").read_text("utf-8"))
    return {
        kind: {word: re.compile(rf"(?<!\w){re.escape(word)}s?(?!\w)", re.IGNORECASE) for word in words}
        for kind, words in kinds.items()
    }
