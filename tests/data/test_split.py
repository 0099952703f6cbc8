from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conflict_framing.data import Codebook, Corpus, Sentence, UserError, load_corpus
from conflict_framing.data.split import split_corpus, split_folds, split_units


def make(rows: list[tuple[str, str | None, str | None, str | None]]) -> Corpus:
    sentences = tuple(
        Sentence(f"text {place}", label, document, group, split, {}, "x", place + 1)
        for place, (label, document, group, split) in enumerate(rows)
    )
    return Corpus(sentences, Codebook.from_labels(sorted({row[0] for row in rows})))


rows_strategy = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.one_of(st.none(), st.integers(0, 30).map(str)),
        st.one_of(st.none(), st.none(), st.integers(0, 10).map(str)),
        st.none(),
    ),
    min_size=60,
    max_size=120,
)


@settings(max_examples=40, deadline=None)
@given(rows_strategy, st.integers(0, 1000))
def test_every_sentence_once_and_no_unit_torn(rows: list[tuple[str, str, str, None]], seed: int) -> None:
    rows = [*rows, *[(label, None, None, None) for label in "aabb" * 3]]
    corpus = make(rows)
    split = split_corpus(corpus, validation=0.2, calibration=0.1, test=0.2, seed=seed)
    texts = [s.text for part in split.parts().values() for s in part.sentences]
    assert sorted(texts) == sorted(corpus.texts)
    for kind in ("document", "group"):
        parts = defaultdict(set)
        for name, part in split.parts().items():
            for sentence in part.sentences:
                parts[getattr(sentence, kind)].add(name)
        assert all(len(found) == 1 for value, found in parts.items() if value is not None)


def test_units_join_documents_that_share_a_group() -> None:
    units = split_units(
        make([("a", "1", None, None), ("a", "1", "g", None), ("b", "2", "g", None), ("b", "3", None, None)])
    )
    assert units[0] == units[1] == units[2] != units[3]


def test_equal_texts_stay_together() -> None:
    corpus = make([("a", "1", None, None), ("b", "2", None, None)])
    twice = Corpus((*corpus.sentences, corpus.sentences[0]), corpus.codebook)
    units = split_units(twice)
    assert units[0] == units[2] != units[1]


def test_bundled_split_is_stratified_and_near_the_wanted_shares() -> None:
    corpus = load_corpus()
    split = split_corpus(corpus, validation=0.15, calibration=0.1, test=0.15, seed=13)
    assert 0.12 <= len(split.test) / len(corpus) <= 0.18
    assert 0.12 <= len(split.validation) / len(corpus) <= 0.18
    whole = Counter(corpus.labels)
    for part in split.parts().values():
        for label, count in part.counts().items():
            assert abs(count / len(part) - whole[label] / len(corpus)) < 0.04


def test_same_seed_same_split_other_seed_other_split() -> None:
    corpus = make([("ab"[n % 2], str(n // 2), None, None) for n in range(80)])

    def texts(seed: int) -> list[str]:
        return split_corpus(corpus, validation=0.2, calibration=0.1, test=0.2, seed=seed).test.texts

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_own_split_is_used_as_it_is() -> None:
    corpus = make(
        [
            ("a", None, None, "train"),
            ("b", None, None, "train"),
            ("a", None, None, "validation"),
            ("b", None, None, "test"),
        ]
    )
    split = split_corpus(corpus, validation=0.5, calibration=0.1, test=0.5, seed=1)
    assert [len(part) for part in split.parts().values()] == [2, 1, 0, 1]


def test_validation_is_drawn_from_train_where_the_split_names_none() -> None:
    corpus = make([("ab"[n % 2], None, None, "train" if n < 40 else "test") for n in range(50)])
    split = split_corpus(corpus, validation=0.2, calibration=0.1, test=0.9, seed=1)
    assert len(split.test) == 10
    assert 6 <= len(split.validation) + len(split.calibration) <= 10
    assert len(split.train) + len(split.validation) + len(split.calibration) == 40


def test_half_filled_split_column_is_refused() -> None:
    with pytest.raises(UserError, match="x:2: this row has no split"):
        split_corpus(
            make([("a", None, None, "train"), ("b", None, None, None)]),
            validation=0.1,
            calibration=0.1,
            test=0.1,
            seed=1,
        )


def test_too_few_examples_name_the_label() -> None:
    rows = [("a", None, None, None)] * 20 + [("b", "1", None, None)] * 5
    with pytest.raises(UserError, match=r"label 'b' has 5 sentence\(s\) in 1 independent"):
        split_corpus(make(rows), validation=0.2, calibration=0.1, test=0.2, seed=1)


def test_folds_test_every_sentence_once_and_tear_no_unit() -> None:
    corpus = load_corpus()
    splits = split_folds(corpus, folds=3, validation=0.1, calibration=0.1, seed=1)
    tested = [s.place for split in splits for s in split.test.sentences]
    assert sorted(tested) == sorted(s.place for s in corpus.sentences)
    for split in splits:
        marked = split.marked()
        assert len(marked) == len(corpus)
        parts: dict[int, set[str | None]] = defaultdict(set)
        for unit, sentence in zip(split_units(marked), marked.sentences, strict=True):
            parts[unit].add(sentence.split)
        assert all(len(found) == 1 for found in parts.values())


def test_held_out_values_are_tested_whole_and_nothing_like_them_is_trained_on() -> None:
    corpus = load_corpus()
    splits = split_folds(corpus, folds=4, validation=0.1, calibration=0.1, seed=1, by="theatre")
    sizes = [len(split.test) for split in splits]
    assert sum(sizes) == len(corpus)
    assert max(sizes) < 1.2 * min(sizes)
    for split in splits:
        seen = [*split.train.sentences, *split.validation.sentences]
        assert not {s.extras["theatre"] for s in split.test.sentences} & {s.extras["theatre"] for s in seen}
        for kind in ("document", "group"):
            tested = {getattr(s, kind) for s in split.test.sentences} - {None}
            assert not tested & {getattr(s, kind) for s in seen}


def test_more_folds_than_values_are_refused() -> None:
    with pytest.raises(UserError, match="column 'document'; found 2: a, b"):
        split_folds(
            make([("x", "a", None, None), ("y", "b", None, None)] * 9),
            folds=3,
            validation=0.2,
            calibration=0.1,
            seed=1,
            by="document",
        )


def test_half_of_a_given_validation_part_becomes_calibration() -> None:
    corpus = make([("ab"[n % 2], None, None, "train" if n < 40 else "validation") for n in range(80)])
    split = split_corpus(corpus, validation=0.2, calibration=0.1, test=0.2, seed=1)
    assert len(split.train) == 40
    assert (len(split.validation), len(split.calibration)) == (20, 20)
    assert not split_corpus(corpus, validation=0.2, calibration=0, test=0.2, seed=1).calibration.texts


def test_no_calibration_part_where_a_label_is_too_rare_for_it() -> None:
    corpus = make([("common", None, None, None)] * 60 + [("rare", None, None, None)] * 3)
    split = split_corpus(corpus, validation=0.2, calibration=0.1, test=0.2, seed=1)
    assert [part.counts()["rare"] for part in split.parts().values()] == [1, 1, 0, 1]
    assert len(split.calibration) == 0
