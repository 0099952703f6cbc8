"""Which of several classifiers is better on the same sentences, and how sure that is."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..data.corpus import Corpus, Sentence, load_corpus
from ..data.errors import MissingExtraError, UserError
from ..data.split import split_units
from ..data.tables import write_jsonl
from ..model.classifier import CheckpointClassifier
from ..model.layout import RunLayout
from .evaluation import run_of
from .report import render
from .uncertainty import FEW_UNITS, Difference, Figures, paired_differences

FIGURES_FILE = "compare.json"
TABLE_FILE = "compare.md"
DIFFERENCES_FILE = "differences.jsonl"

_ALL_PAIRS_UP_TO = 3
_EXACT_BELOW = 25
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SHOWN = 12


@dataclass(frozen=True)
class Contender:
    """A classifier to compare.

    Attributes:
        name: as it was asked for.
        classifier: what predicts.
        run: where it comes from, with the sentences that it was trained on; None for others' models.
    """

    name: str
    classifier: CheckpointClassifier
    run: RunLayout | None


@dataclass(frozen=True)
class McNemar:
    """McNemar's test (1947) of whether two classifiers are right equally often.

    Attributes:
        first_only, second_only: sentences that only the first, or only the second, labels rightly.
        statistic: chi-square with one degree of freedom; None where the exact binomial test is used.
        p: probability of so uneven a split or worse if both were equally good and sentences independent.
    """

    first_only: int
    second_only: int
    statistic: float | None
    p: float

    @classmethod
    def of(cls, first_only: int, second_only: int) -> Self:
        """Exact with fewer than 25 discordant sentences, else with Edwards' continuity correction (1948)."""
        try:
            from scipy.stats import binomtest, chi2
        except ImportError:
            raise MissingExtraError("scipy", "train", "McNemar's test") from None

        discordant = first_only + second_only
        if discordant < _EXACT_BELOW:
            p = float(binomtest(first_only, discordant, 0.5).pvalue) if discordant else 1.0
            return cls(first_only, second_only, None, p)
        statistic = max(abs(first_only - second_only) - 1, 0) ** 2 / discordant
        return cls(first_only, second_only, statistic, float(chi2.sf(statistic, 1)))

    @property
    def method(self) -> str:
        return "exact binomial" if self.statistic is None else "chi-square with continuity correction"


@dataclass(frozen=True)
class Pair:
    """Two of the classifiers, by their places among all; every difference is the first minus the second.

    Attributes:
        first, second: places in ``Comparison.classifiers``.
        macro_f1, accuracy: differences.
        f1: differences by label.
        mcnemar: the test.
        n_differing: sentences to which they give different labels.
    """

    first: int
    second: int
    macro_f1: Difference
    accuracy: Difference
    f1: list[Difference]
    mcnemar: McNemar
    n_differing: int

    @property
    def name(self) -> str:
        return f"{_LETTERS[self.first]} − {_LETTERS[self.second]}"


@dataclass(frozen=True)
class Differing:
    """A sentence to which not all classifiers give the same label.

    Attributes:
        sentence: with its own label.
        labels, scores: of each classifier, its label and the probability of it.
    """

    sentence: Sentence
    labels: list[str]
    scores: list[float]

    def to_json(self) -> dict[str, Any]:
        """The sentence's columns, then ``label_a, score_a, label_b, score_b, …``."""
        own = [
            {f"label_{letter}": label, f"score_{letter}": round(score, 6)}
            for letter, label, score in zip(_LETTERS.lower(), self.labels, self.scores, strict=False)
        ]
        return {name: value for row in (self.sentence.to_row(), *own) for name, value in row.items()}


@dataclass(frozen=True)
class Comparison:
    """Several classifiers on the same sentences.

    Attributes:
        data: what the sentences are.
        labels: names, in the order of all figures by label.
        classifiers: figures of each; its ``name`` is as it was asked for.
        pairs: all of up to three classifiers; of more, the first with each other one.
        differing: sentences on which not all agree, the surest first.
        warnings: what makes figures untrustworthy.
        notes: what a reader should know.
    """

    data: str
    labels: list[str]
    classifiers: list[Figures]
    pairs: list[Pair]
    differing: list[Differing]
    warnings: list[str]
    notes: list[str]

    @property
    def n(self) -> int:
        return self.classifiers[0].n

    @property
    def documents(self) -> int:
        """How many documents, or other units that stay whole, the sentences stand in."""
        return self.classifiers[0].documents

    @property
    def few(self) -> bool:
        """Whether there are too few documents for intervals."""
        return self.documents < FEW_UNITS

    @property
    def letters(self) -> str:
        """One letter per classifier."""
        return _LETTERS[: len(self.classifiers)]

    def rows(self, pair: Pair) -> list[tuple[str, Difference]]:
        """The differences of a pair with what they are of."""
        return [
            ("macro-F1", pair.macro_f1),
            ("accuracy", pair.accuracy),
            *((f"F1 {label}", found) for label, found in zip(self.labels, pair.f1, strict=True)),
        ]

    def verdict(self, pair: Pair) -> str:
        """What the difference in macro-F1 says, in one sentence."""
        first, second, found = _LETTERS[pair.first], _LETTERS[pair.second], pair.macro_f1
        if not pair.n_differing:
            return f"{first} and {second} give every sentence the same label: all differences are 0, McNemar's p is 1."
        if self.few:
            return f"{_count(self.documents, 'document')}: too few to tell whether {first} or {second} is better."
        line = "the interval of the difference in macro-F1"
        if found.low > 0 or found.high < 0:
            better, worse = (first, second) if found.low > 0 else (second, first)
            return f"{better} is better than {worse} on text like this: {line} leaves 0 out."
        return f"These sentences do not tell whether {first} or {second} is better: {line} holds 0."

    def test(self, pair: Pair) -> str:
        """McNemar's test in one sentence."""
        first, second, found = _LETTERS[pair.first], _LETTERS[pair.second], pair.mcnemar
        p = f"p = {found.p:.3f}" if found.p >= 0.001 else "p < 0.001"
        return (
            f"McNemar's test: only {first} is right on {_count(found.first_only, 'sentence')}, "
            f"only {second} on {found.second_only:,}: {p} ({found.method})."
        )

    def most_confident(self, pair: Pair, count: int = _SHOWN) -> list[Differing]:
        """The sentences on which a pair differs, by the higher of both scores."""
        both = (pair.first, pair.second)
        found = [row for row in self.differing if row.labels[pair.first] != row.labels[pair.second]]
        return sorted(found, key=lambda row: -max(row.scores[place] for place in both))[:count]

    def to_json(self) -> dict[str, Any]:
        """All but the sentences; intervals are null where there are too few documents for any."""

        def difference(found: Difference) -> dict[str, Any]:
            return {"difference": found.value, "interval": None if self.few else [found.low, found.high]}

        return {
            "data": self.data,
            "sentences": self.n,
            "documents": self.documents,
            "labels": self.labels,
            "classifiers": [
                {
                    "letter": letter,
                    "name": figures.name,
                    "macro_f1": figures.macro_f1,
                    "accuracy": figures.accuracy,
                    "mcc": figures.mcc,
                    "f1": figures.f1,
                    "intervals": None if self.few else figures.intervals,
                }
                for letter, figures in zip(self.letters, self.classifiers, strict=True)
            ],
            "pairs": [
                {
                    "first": _LETTERS[pair.first],
                    "second": _LETTERS[pair.second],
                    "macro_f1": difference(pair.macro_f1),
                    "accuracy": difference(pair.accuracy),
                    "f1": [difference(found) for found in pair.f1],
                    "mcnemar": {**vars(pair.mcnemar), "method": pair.mcnemar.method},
                    "differing": pair.n_differing,
                }
                for pair in self.pairs
            ],
            "warnings": self.warnings,
            "notes": self.notes,
        }


def load_contenders(models: Sequence[str | Path], *, device: str = "auto") -> list[Contender]:
    """Load the models to compare.

    Args:
        models: runs, model folders or hub names.
        device: as in ``CheckpointClassifier.from_pretrained``.

    Raises:
        UserError: fewer than two, one that cannot be loaded, or models with different labels.
    """
    if not 2 <= len(models) <= len(_LETTERS):
        raise UserError(f"Expected 2 to {len(_LETTERS)} models to compare, came {len(models)}.")
    contenders = []
    for model in models:
        loaded = Contender(str(model), CheckpointClassifier.from_pretrained(model, device=device), run_of(model))
        contenders.append(loaded)
        check_labels(contenders[0], loaded)
    return contenders


def check_labels(first: Contender, other: Contender) -> None:
    """Their labels must be the same; the order may differ.

    Raises:
        UserError: they are not; the message tells which.
    """
    own, others = first.classifier.classes_, other.classifier.classes_
    if set(own) == set(others):
        return
    only = [
        f"only {contender.name} has {', '.join(name for name in here if name not in there)}"
        for contender, here, there in ((first, own, others), (other, others, own))
        if set(here) - set(there)
    ]
    raise UserError(
        f"{first.name} and {other.name} have different labels: {'; '.join(only)}. "
        f"Only models with the same labels can be compared."
    )


def compare_classifiers(contenders: Sequence[Contender], corpus: Corpus, *, data: str = "") -> Comparison:
    """Measure classifiers on the same sentences and compare them pair by pair.

    Intervals are 95 %, by bootstrap over documents; those of differences are paired (see
    ``paired_differences``).

    Args:
        contenders: two or more, as ``load_contenders`` gives them.
        corpus: labelled sentences, with the classifiers' labels; ``document`` and ``group`` keep sentences
            together.
        data: what the sentences are, for the report.

    Raises:
        UserError: the labels of the corpus are not those of the classifiers.
    """
    names = corpus.label_names
    probabilities = []
    for contender in contenders:
        own = contender.classifier.classes_
        if set(own) != set(names):
            raise UserError(
                f"{contender.name} has the labels {', '.join(own)}; the corpus has {', '.join(names)}. "
                f"Load the corpus with codebook=classifier.codebook."
            )
        columns = [own.index(name) for name in names]
        probabilities.append(contender.classifier.predict_proba(corpus.texts)[:, columns])
    chosen = np.array([scores.argmax(axis=1) for scores in probabilities])
    surest = np.array([scores.max(axis=1) for scores in probabilities])
    references, units = corpus.label_ids, split_units(corpus)
    classifiers = [
        Figures.of(contender.name, own.tolist(), references, units, len(names))
        for contender, own in zip(contenders, chosen, strict=True)
    ]
    places = range(len(contenders))
    pairs = [
        _pair(first, second, chosen, references, units, len(names))
        for first, second in itertools.combinations(places, 2)
        if len(places) <= _ALL_PAIRS_UP_TO or first == 0
    ]
    differing = [
        Differing(
            corpus.sentences[place],
            [names[label] for label in chosen[:, place]],
            [float(score) for score in surest[:, place]],
        )
        for place in np.flatnonzero((chosen != chosen[0]).any(axis=0))
    ]
    return Comparison(
        data=data,
        labels=names,
        classifiers=classifiers,
        pairs=pairs,
        differing=sorted(differing, key=lambda row: -max(row.scores)),
        warnings=[line for contender in contenders for line in _seen_before(contender, corpus)],
        notes=_notes(contenders, classifiers[0], agreed=not differing),
    )


def _pair(first: int, second: int, chosen: Any, references: Sequence[int], units: Sequence[int], n_labels: int) -> Pair:
    found = paired_differences([(chosen[first].tolist(), chosen[second].tolist())], references, units, n_labels)
    right = chosen == np.asarray(references)
    return Pair(
        first=first,
        second=second,
        macro_f1=found["macro_f1"],
        accuracy=found["accuracy"],
        f1=found["f1"],
        mcnemar=McNemar.of(int((right[first] & ~right[second]).sum()), int((right[second] & ~right[first]).sum())),
        n_differing=int((chosen[first] != chosen[second]).sum()),
    )


def _seen_before(contender: Contender, corpus: Corpus) -> list[str]:
    """Sentences that the run was trained on, or chose its best epoch by, make it look better than it is."""
    lines = []
    for part, name in (("train", "training"), ("validation", "validation")):
        if contender.run is None or not contender.run.split(part).exists():
            continue
        known = load_corpus(contender.run.split(part), codebook=contender.classifier.codebook)
        texts = {text.strip() for text in known.texts}
        count = sum(text.strip() in texts for text in corpus.texts)
        if count:
            lines.append(
                f"{count:,} of these {len(corpus):,} sentences are in the {name} split of {contender.name}: "
                f"its figures here are too good."
            )
    return lines


def _notes(contenders: Sequence[Contender], figures: Figures, agreed: bool) -> list[str]:
    notes = [
        f"{contender.name}: no training split at hand, so whether it was trained on these sentences is not known."
        for contender in contenders
        if contender.run is None or not contender.run.split("train").exists()
    ]
    if agreed:
        return notes
    notes.append("The intervals tell what other sentences would have given, not what other training seeds would have.")
    if figures.documents < figures.n:
        notes.append(
            f"McNemar's p is the probability of so uneven a split if both models were equally good and sentences "
            f"independent. The {figures.n:,} here stand in {_count(figures.documents, 'document')}, so it is too "
            f"small. Trust the intervals, which draw whole documents."
        )
    return notes


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write ``compare.json``, ``compare.md`` and ``differences.jsonl``, the sentences on which not all agree."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(comparison.to_json(), indent=2, ensure_ascii=False)
    (folder / FIGURES_FILE).write_text(text + "\n", "utf-8")
    (folder / TABLE_FILE).write_text(render("compare.md.j2", comparison=comparison, file=DIFFERENCES_FILE), "utf-8")
    write_jsonl(folder / DIFFERENCES_FILE, [row.to_json() for row in comparison.differing])
