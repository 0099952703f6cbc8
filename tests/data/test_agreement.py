import math
from pathlib import Path

import pytest

from conflict_framing.data import Codebook, UserError, load_corpus
from conflict_framing.data.agreement import corpus_agreement

from ..conftest import write_jsonl


def test_figures_of_a_case_worked_by_hand(tmp_path: Path) -> None:
    # Annotators agree on 7 of 10; each gives "a" to 5: kappa = (0.7 - 0.5) / (1 - 0.5).
    pairs = ["aa", "aa", "aa", "aa", "ab", "ba", "bb", "bb", "bb", "ab"]
    rows = [
        {"text": f"t{n}", "label": p[0], "annotator_1": p[0], "annotator_2": p[1], "register": "x" if n < 4 else "y"}
        for n, p in enumerate(pairs)
    ]
    whole, label_a, label_b, x, y = corpus_agreement(load_corpus(write_jsonl(tmp_path / "c.jsonl", rows)))
    assert whole.observed == pytest.approx(0.7)
    first = [p[0] for p in pairs].count("a") / 10
    second = [p[1] for p in pairs].count("a") / 10
    chance = first * second + (1 - first) * (1 - second)
    assert whole.kappa == pytest.approx((0.7 - chance) / (1 - chance))
    # Nominal alpha: 1 - (n - 1) * disagreeing pairs / products of the label totals (Krippendorff 2011).
    a = sum(p.count("a") for p in pairs)
    assert whole.alpha == pytest.approx(1 - 19 * (3 * 2) / (2 * a * (20 - a)))
    assert label_a.kappa == pytest.approx(whole.kappa)
    assert label_b.kappa == pytest.approx(whole.kappa)
    assert (x.name, x.n, x.observed) == ("register x", 4, 1.0)
    assert math.isnan(x.kappa)
    assert y.n == 6


def test_missing_labels_and_three_annotators(tmp_path: Path) -> None:
    rows = [
        {"text": "1", "label": "a", "annotator_1": "a", "annotator_2": "a", "annotator_3": "a"},
        {"text": "2", "label": "b", "annotator_1": "b", "annotator_2": "b", "annotator_3": None},
        {"text": "3", "label": "b", "annotator_1": "b", "annotator_2": "", "annotator_3": ""},
    ]
    whole = corpus_agreement(load_corpus(write_jsonl(tmp_path / "c.jsonl", rows)))[0]
    assert (whole.n, whole.observed, whole.alpha) == (2, 1.0, 1.0)


def test_no_second_annotator_is_told(tmp_path: Path) -> None:
    rows = [{"text": "1", "label": "a"}, {"text": "2", "label": "b"}]
    with pytest.raises(UserError, match="annotator_1, annotator_2"):
        corpus_agreement(load_corpus(write_jsonl(tmp_path / "c.jsonl", rows)))


def test_bundled_corpus_has_two_labels_for_every_sentence() -> None:
    corpus = load_corpus(codebook=Codebook.bundled())
    agreement = corpus_agreement(corpus)
    assert agreement[0].n == len(corpus)
    assert agreement[0].kappa > 0.8
