"""Split a corpus into its parts without tearing documents or contrast groups apart."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .corpus import Corpus
from .errors import MissingExtraError, UserError

PARTS = ("train", "validation", "calibration", "test")


@dataclass(frozen=True)
class Split:
    """Four parts of one corpus.

    Attributes:
        train: learnt from.
        validation: chooses the epoch and the settings.
        calibration: for temperature and abstention alone; empty where too few sentences are left for it.
        test: measured on; empty where the user's own split has none.
    """

    train: Corpus
    validation: Corpus
    calibration: Corpus
    test: Corpus

    def parts(self) -> dict[str, Corpus]:
        return {name: getattr(self, name) for name in PARTS}

    def without(self, *names: str) -> "Split":
        """The same, with some parts empty."""
        return replace(self, **{name: getattr(self, name).select([]) for name in names})

    def calibration_in_train(self) -> "Split":
        """The same, with the calibration sentences among the training ones."""
        train = Corpus(self.train.sentences + self.calibration.sentences, self.train.codebook)
        return replace(self, train=train).without("calibration")

    def marked(self) -> Corpus:
        """One corpus again, its ``split`` column saying where each sentence stands."""
        sentences = [s for name, part in self.parts().items() for s in part.marked(name).sentences]
        return Corpus(tuple(sentences), self.train.codebook)


def split_units(corpus: Corpus) -> list[int]:
    """For each sentence the unit that must stay whole: sentences linked by a document or a group.

    A contrast pair that links two documents makes them one unit. Equal texts are one unit too, so
    that a repeated sentence cannot stand on both sides.
    """
    parent = list(range(len(corpus)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first_with: dict[tuple[str, str], int] = {}
    for place, sentence in enumerate(corpus.sentences):
        keys = (("document", sentence.document), ("group", sentence.group), ("text", sentence.text.strip()))
        for kind, value in keys:
            if value is not None:
                other = first_with.setdefault((kind, value), place)
                parent[root(place)] = root(other)
    return [root(place) for place in range(len(corpus))]


def split_corpus(corpus: Corpus, *, validation: float, calibration: float, test: float, seed: int) -> Split:
    """Split by the corpus's own ``split`` column where it has one, else by chance.

    By chance means: seeded, stratified by label, documents and contrast groups kept whole
    (scikit-learn's StratifiedGroupKFold, whose folds are dealt out to the parts). Where the corpus
    names train and test but no validation sentences, validation is drawn from train; where it names no
    calibration sentences, half of validation becomes calibration, so that the sentences that it names for
    training all stay there.

    Args:
        corpus: what to split.
        validation: wanted share of validation sentences, 0 to 1.
        calibration: wanted share of calibration sentences, 0 to 1; the part is empty where a label has too
            few independent units for it.
        test: wanted share of test sentences, 0 to 1.
        seed: of the shuffling.

    Raises:
        UserError: a label has too few independent units to stand in every part, or the split column
            is filled for some sentences only.
    """
    marked = [sentence.split for sentence in corpus.sentences]
    if any(marked):
        return _given_split(corpus, marked, validation, calibration, seed)
    places = list(range(len(corpus)))
    rest, held_out = _draw(corpus, places, test, seed)
    rest, valid = _draw(corpus, rest, validation / (1 - test), seed)
    train, calibrated = _draw_if_enough(corpus, rest, _of_rest(calibration, test + validation), seed)
    return Split(*(corpus.select(part) for part in (train, valid, calibrated, held_out)))


def split_folds(
    corpus: Corpus, *, folds: int, validation: float, calibration: float, seed: int, by: str | None = None
) -> list[Split]:
    """Cross-validation: each sentence is tested in one fold, by a model that saw nothing of its kind.

    Args:
        corpus: what to split; a ``split`` column of its own is not looked at.
        folds: how many.
        validation, calibration: their shares of what is not tested, 0 to 1.
        seed: of the shuffling.
        by: None deals out documents and contrast groups, stratified by label. A column (``register``,
            ``theatre``) deals out its values whole, in folds of about equal size: a test on registers or
            theatres that the model never saw. Sentences without a value are never tested, and contrast
            groups that a fold tests in part are left out of its training sentences.

    Raises:
        UserError: fewer values or independent documents than folds.
    """
    units = split_units(corpus)
    places = list(range(len(corpus)))
    tested = _label_folds(corpus, units, folds, seed) if by is None else _value_folds(corpus, by, folds, seed)
    splits = []
    for test in tested:
        seen = {units[place] for place in test}
        rest = [place for place in places if units[place] not in seen]
        rest, valid = _draw(corpus, rest, validation, seed)
        train, calibrated = _draw_if_enough(corpus, rest, _of_rest(calibration, validation), seed)
        splits.append(Split(*(corpus.select(part) for part in (train, valid, calibrated, test))))
    return splits


def _label_folds(corpus: Corpus, units: Sequence[int], folds: int, seed: int) -> list[list[int]]:
    try:
        from sklearn.model_selection import StratifiedGroupKFold
    except ImportError:
        raise MissingExtraError("scikit-learn", "train", "Splitting a corpus") from None

    if len(set(units)) < folds:
        raise UserError(f"{folds} folds need as many independent documents or sentences; found {len(set(units))}.")
    dealer = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    return [[int(place) for place in fold] for _, fold in dealer.split(corpus.texts, corpus.labels, units)]


def _value_folds(corpus: Corpus, by: str, folds: int, seed: int) -> list[list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, sentence in enumerate(corpus.sentences):
        value = sentence.to_row().get(by)
        if value not in (None, ""):
            places[str(value)].append(place)
    if len(places) < folds:
        raise UserError(
            f"{folds} folds need as many values in column '{by}'; found {len(places)}: {', '.join(sorted(places))}"
        )
    values = sorted(places)
    random.Random(seed).shuffle(values)  # noqa: S311 - no secret
    dealt: list[list[int]] = [[] for _ in range(folds)]
    for value in sorted(values, key=lambda value: -len(places[value])):
        min(dealt, key=len).extend(places[value])
    return [sorted(fold) for fold in dealt]


def _given_split(
    corpus: Corpus, marked: Sequence[str | None], validation: float, calibration: float, seed: int
) -> Split:
    missing = [s for s, mark in zip(corpus.sentences, marked, strict=True) if mark is None]
    if missing:
        raise UserError(
            f"{missing[0].place}: this row has no split, but others have. "
            f"Fill the column 'split' ({', '.join(PARTS)}) for all rows or leave it out."
        )
    places = {part: [i for i, mark in enumerate(marked) if mark == part] for part in PARTS}
    if not places["train"]:
        raise UserError("The column 'split' names no train sentences.")
    if not places["validation"]:
        places["train"], places["validation"] = _draw(corpus, places["train"], validation, seed)
    if not places["calibration"] and calibration:
        places["validation"], places["calibration"] = _draw_if_enough(corpus, places["validation"], 0.5, seed)
    absent = [name for name, count in corpus.select(places["train"]).counts().items() if not count]
    if absent:
        raise UserError(f"No train sentence has the label {', '.join(map(repr, absent))}.")
    return Split(*(corpus.select(places[part]) for part in PARTS))


def _of_rest(share: float, taken: float) -> float:
    """A share of all as a share of what is left; as much as can be where that is not enough."""
    return share / (1 - taken) if share + taken < 1 else share


def _draw_if_enough(corpus: Corpus, places: Sequence[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    """As ``_draw``, but draws nothing where a label has too few independent units."""
    try:
        return _draw(corpus, places, share, seed)
    except _TooFewError:
        return list(places), []


class _TooFewError(UserError):
    """A label has too few independent units to stand on both sides."""


def _draw(corpus: Corpus, places: Sequence[int], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Deal ``places`` into (rest, drawn), about ``share`` of the sentences of every label drawn."""
    if share <= 0:
        return list(places), []
    try:
        from sklearn.model_selection import StratifiedGroupKFold
    except ImportError:
        raise MissingExtraError("scikit-learn", "train", "Splitting a corpus") from None

    part = corpus.select(places)
    units = split_units(part)
    by_label: dict[str, set[int]] = defaultdict(set)
    for unit, label in zip(units, part.labels, strict=True):
        by_label[label].add(unit)
    fewest = min(len(by_label[name]) for name in part.label_names)
    if fewest < 2:
        counts = Counter(part.labels)
        name = min(part.label_names, key=lambda label: len(by_label[label]))
        raise _TooFewError(
            f"Too few examples to split: label '{name}' has {counts[name]} sentence(s) in "
            f"{len(by_label[name])} independent document(s) or group(s), and train, validation and test "
            f"need one each. Add examples, merge the label with another, or give a 'split' column."
        )
    folds = max(2, min(20, len(set(units)), fewest))
    wanted = max(1, min(folds - 1, round(share * folds)))
    # Rare labels allow few folds; then one fold may be far from the share, and the nearest count is taken.
    dealer = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    drawn: set[int] = set()
    for number, (_, fold) in enumerate(dealer.split(part.texts, part.labels, units)):
        if number < wanted:
            drawn.update(int(place) for place in fold)
    return (
        [place for number, place in enumerate(places) if number not in drawn],
        [place for number, place in enumerate(places) if number in drawn],
    )
