"""How good a classifier is on parts of the data: registers, theatres, outlets, lengths, ways of speaking."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.balance import NOT_GIVEN
from ..data.corpus import Corpus
from ..data.split import split_units
from .uncertainty import Figures

COLUMNS = ("register", "theatre", "outlet")
_LARGEST = 15

# Small lists of English words, to be read and argued with; they miss some sentences and take in others.
_SAYS = "said says saying told tells reportedly allegedly"
_REPORTS = """
acknowledged acknowledges added adds admitted admits alleged alleges announced announces argued argues asserted
asserts assured assures claimed claims confirmed confirms declared declares denied denies emphasised emphasized
emphasises emphasizes explained explains insisted insists maintained maintains noted notes recalled
reiterated reiterates remarked repeated reported reports stated stressed stresses suggested suggests underlined
underlines underscored underscores vowed vows warned warns writes wrote
"""
_NEGATORS = "never none nobody nothing nowhere neither nor without cannot deny denies denied denying"
_ANSWERS = {"yes": True, "no": False}


def _any_of(words: str) -> str:
    return rf"\b(?:{'|'.join(words.split())})\b"


_QUOTATION = re.compile(r"“[^“”]*(?:”|$)|\"[^\"]*(?:\"|$)|«[^«»]*(?:»|$)")  # the rest of a long one is another sentence
_REPORTING = re.compile(_any_of(_REPORTS), re.IGNORECASE)
_REPORTED = re.compile(
    rf"{_any_of(_SAYS)}|\baccording to\b(?! plan| schedule)"
    rf"|{_any_of(_REPORTS)}(?:\W+\w+){{0,4}}?\W+that\b"  # stressed on Monday that
    rf"|,[^,.;]*{_any_of(_REPORTS)}(?:[.,;:]|$)",  # …, the ministry announced.
    re.IGNORECASE,
)
_NEGATED = re.compile(
    # Neither "No. 5" nor "not only".
    rf"\bno\b(?!\.? ?\d)|\bnot\b(?! only\b)|n['’]t\b|{_any_of(_NEGATORS)}|\bfar from\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SliceTable:
    """The parts of the data by one property of the sentences.

    Attributes:
        by: the property: a column, ``length``, ``reported speech`` or ``negation``.
        note: how the parts were found, where that has to be known.
        slices: figures of each part; their ``accuracy`` is the share of sentences that are labelled rightly.
    """

    by: str
    note: str
    slices: list[Figures]

    def to_json(self) -> dict[str, Any]:
        """Intervals are null where there are too few documents for any."""
        return {
            "by": self.by,
            "note": self.note,
            "slices": [
                {
                    "value": part.name,
                    "sentences": part.n,
                    "documents": part.documents,
                    "macro_f1": part.macro_f1,
                    "accuracy": part.accuracy,
                    "intervals": None if part.few else {key: part.intervals[key] for key in ("macro_f1", "accuracy")},
                }
                for part in self.slices
            ],
        }


def slice_metrics(
    corpus: Corpus,
    probabilities: npt.NDArray[Any],
    *,
    columns: Sequence[str] = COLUMNS,
    largest: int = _LARGEST,
) -> list[SliceTable]:
    """Metrics by the values of columns, by length, and with or without reported speech or negation.

    Args:
        corpus: labelled sentences.
        probabilities: of a classifier, shape (n sentences, n labels).
        columns: those that the corpus lacks are passed over.
        largest: how many values of a column stand alone; the smaller ones are pooled.

    Returns:
        One table per property that divides the sentences into two parts or more.
    """
    texts = corpus.texts
    words = "found by a short list of English words, so approximate"
    found = {name: ("", _by_column(corpus, name, largest)) for name in columns}
    found["length"] = ("in words, in four parts of about equal size", _by_length(texts))
    found["reported speech"] = (words, _yes_or_no([is_reported(text) for text in texts]))
    found["negation"] = (words, _yes_or_no([is_negated(text) for text in texts]))
    predictions, references, units = (
        np.asarray(column) for column in (probabilities.argmax(axis=1), corpus.label_ids, split_units(corpus))
    )
    return [
        SliceTable(
            by,
            note,
            [
                Figures.of(
                    value,
                    predictions[places].tolist(),
                    references[places].tolist(),
                    units[places].tolist(),
                    len(corpus.label_names),
                )
                for value, places in parts.items()
            ],
        )
        for by, (note, parts) in found.items()
        if len(parts) > 1
    ]


def is_reported(text: str) -> bool:
    """Whether an English sentence tells what somebody said, as far as its words show.

    "said", "told", "according to" and the like do; so do other reporting verbs with "that", with a quotation or
    at the end of a clause, and four words or more in quotation marks.
    """
    if _REPORTED.search(text):
        return True
    quotations = [quotation for quotation in _QUOTATION.findall(text) if quotation.strip('"“”«» ')]
    longest = max((len(quotation.split()) for quotation in quotations), default=0)
    return longest >= 4 or bool(quotations and _REPORTING.search(text))


def is_negated(text: str) -> bool:
    """Whether an English sentence holds a negator: no, not, never, neither, without, far from, denied, …"""
    return bool(_NEGATED.search(text))


def _by_column(corpus: Corpus, column: str, largest: int) -> dict[str, list[int]]:
    """Places of the sentences by value: the largest first, then the others pooled, then those without a value."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, sentence in enumerate(corpus.sentences):
        value = sentence.extras.get(column)
        places[NOT_GIVEN if value in (None, "") else str(value)].append(place)
    without = places.pop(NOT_GIVEN, [])
    if not places:
        return {}
    ranked = sorted(places, key=lambda value: (-len(places[value]), value))
    parts = {value: places[value] for value in ranked[:largest]}
    if ranked[largest:]:
        pooled = sorted(place for value in ranked[largest:] for place in places[value])
        parts[f"other ({len(ranked) - largest} values)"] = pooled
    return parts | ({NOT_GIVEN: without} if without else {})


def _by_length(texts: Sequence[str]) -> dict[str, list[int]]:
    words = np.array([len(text.split()) for text in texts])
    edges = np.quantile(words, [0.25, 0.5, 0.75])
    bins = np.searchsorted(edges, words)
    # Where many sentences have one length, edges coincide and a part is empty.
    parts = [np.flatnonzero(bins == place) for place in range(4) if (bins == place).any()]
    return {_range(words[places]): places.tolist() for places in parts}


def _range(words: npt.NDArray[Any]) -> str:
    low, high = int(words.min()), int(words.max())
    return f"{low} to {high} words" if low < high else f"{low} word{'s' if low > 1 else ''}"


def _yes_or_no(marks: Sequence[bool]) -> dict[str, list[int]]:
    parts = {name: [place for place, mark in enumerate(marks) if mark is wanted] for name, wanted in _ANSWERS.items()}
    return {name: places for name, places in parts.items() if places}
