"""How far the annotators of a corpus agree."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .corpus import Corpus, Sentence
from .errors import MissingExtraError, UserError

_PREFIX = "annotator_"


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement on one set of sentences.

    Attributes:
        name: what the set is: ``all``, ``label NAME`` (that label against the rest) or a column's value.
        n: sentences with at least two labels.
        observed: share of pairs of labels that agree.
        kappa: Cohen's kappa (Cohen 1960), the mean over pairs of annotators; NaN where undefined.
        alpha: Krippendorff's alpha, nominal (Krippendorff 2011); NaN where undefined.
    """

    name: str
    n: int
    observed: float
    kappa: float
    alpha: float


def corpus_agreement(corpus: Corpus, by: str = "register") -> list[Agreement]:
    """Agreement overall, per label and per value of a column.

    Args:
        corpus: sentences with columns ``annotator_1``, ``annotator_2`` …
        by: the column of the last part of the result; sentences without it are left out there.

    Raises:
        UserError: no sentence has two labels.
    """
    labelled = [s for s in corpus.sentences if len(_labels(s)) > 1]
    if not labelled:
        raise UserError(
            "No sentence has labels of two annotators. Expected the columns annotator_1, annotator_2, …, "
            "each with one annotator's labels."
        )
    found = [_measure("all", labelled)]
    for name in corpus.label_names:
        found.append(_measure(f"label {name}", labelled, name))
    groups: dict[str, list[Sentence]] = defaultdict(list)
    for sentence in labelled:
        if sentence.extras.get(by):
            groups[str(sentence.extras[by])].append(sentence)
    return found + [_measure(f"{by} {value}", groups[value]) for value in sorted(groups)]


def _labels(sentence: Sentence) -> dict[str, str]:
    return {k: str(v) for k, v in sentence.extras.items() if k.startswith(_PREFIX) and v not in (None, "")}


def _measure(name: str, sentences: Sequence[Sentence], label: str | None = None) -> Agreement:
    try:
        import krippendorff
        from sklearn.metrics import cohen_kappa_score
    except ImportError as error:
        raise MissingExtraError(error.name or "krippendorff", "train", "Measuring agreement") from None

    rows = [_labels(sentence) for sentence in sentences]
    if label is not None:
        rows = [{who: str(given == label) for who, given in row.items()} for row in rows]
    annotators = sorted({who for row in rows for who in row})
    names = sorted({given for row in rows for given in row.values()})
    agreeing = total = 0
    kappas = []
    for one, other in itertools.combinations(annotators, 2):
        pairs = [(row[one], row[other]) for row in rows if one in row and other in row]
        agreeing += sum(first == second for first, second in pairs)
        total += len(pairs)
        if len({given for pair in pairs for given in pair}) > 1:  # undefined where all labels are one
            kappas.append(cohen_kappa_score(*zip(*pairs, strict=True), labels=names))
    codes = {given: place for place, given in enumerate(names)}
    # One row an annotator, one column a sentence, NaN where there is no label.
    matrix = np.array([[codes[row[who]] if who in row else np.nan for row in rows] for who in annotators])
    alpha = krippendorff.alpha(matrix, level_of_measurement="nominal") if len(names) > 1 else float("nan")
    kappa = float(np.mean(kappas)) if kappas else float("nan")
    return Agreement(name, len(rows), agreeing / total, kappa, float(alpha))
