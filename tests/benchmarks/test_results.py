import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from conflict_framing.data import Corpus
from conflict_framing.data.split import Split
from conflict_framing.train.recipe import Recipe
from results import keep, measure, pair_seeds, paired_difference, read_results, scores, spread, title_of
from rivals import Classifier, Outcome


def guesses(test: Corpus, share: float, seed: int) -> list[int]:
    """Predictions of which about this share is right."""
    chance = np.random.default_rng(seed)
    wrong = chance.integers(0, len(test.label_names), len(test))
    return np.where(chance.random(len(test)) < share, test.label_ids, wrong).tolist()


@pytest.fixture
def split(corpus: Corpus) -> Split:
    return Split(
        corpus.select(range(120)), corpus.select(range(120, 150)), corpus.select([]), corpus.select(range(150, 240))
    )


@pytest.fixture
def calls() -> list[int]:
    return []


@pytest.fixture
def fake(calls: list[int]) -> Classifier:
    """Needs no training; notes the seeds that it was called with."""

    def fit(split: Split, recipe: Recipe) -> Outcome:
        calls.append(recipe.seed)
        return Outcome(guesses(split.test, 0.8, recipe.seed), 1.5, "3 of 9 steps")

    return Classifier("Fake", fit, {"steps": 3})


def test_difference_is_that_of_the_macro_f1_averaged_over_pairs(corpus: Corpus) -> None:
    pairs = [(guesses(corpus, 0.9, seed), guesses(corpus, 0.6, seed + 10)) for seed in range(3)]
    mean, low, high = paired_difference(pairs, corpus)
    expected = [
        f1_score(corpus.label_ids, a, average="macro") - f1_score(corpus.label_ids, b, average="macro")
        for a, b in pairs
    ]
    assert mean == pytest.approx(np.mean(expected))
    assert 0 < low < mean < high
    assert scores([pairs[0][0]], corpus, "macro_f1") == [
        pytest.approx(f1_score(corpus.label_ids, pairs[0][0], average="macro"))
    ]


def test_a_classifier_does_not_differ_from_itself(corpus: Corpus) -> None:
    same = guesses(corpus, 0.7, 1)
    assert paired_difference([(same, same)], corpus) == (0, 0, 0)


def test_errors_on_the_same_sentences_narrow_the_interval(corpus: Corpus) -> None:
    def width(ours: list[int], rival: list[int]) -> float:
        _, low, high = paired_difference([(ours, rival)], corpus)
        return high - low

    ours = guesses(corpus, 0.6, 1)
    nearly_ours = [(own + 1) % 3 if place % 40 == 0 else own for place, own in enumerate(ours)]
    assert width(ours, nearly_ours) < 0.5 * width(ours, guesses(corpus, 0.6, 2))


def test_the_interval_covers_the_truth_about_as_often_as_it_says(corpus: Corpus) -> None:
    """Two equally good classifiers: the true difference is 0."""
    trials, covered = 100, 0
    for trial in range(trials):
        _, low, high = paired_difference([(guesses(corpus, 0.7, trial), guesses(corpus, 0.7, trial + 1000))], corpus)
        covered += low <= 0 <= high
    # 95 % nominal; with 100 trials, 0.88 is about three standard errors below.
    assert covered / trials >= 0.88


def test_seeds_are_paired_with_their_like() -> None:
    ours, rival = {13: "a", 14: "b", 15: "c"}, {15: "z", 13: "x"}
    assert pair_seeds(ours, rival, seeded=True) == [("a", "x"), ("c", "z")]
    assert pair_seeds(ours, {13: "x"}, seeded=False) == [("a", "x"), ("b", "x"), ("c", "x")]
    assert pair_seeds({}, rival, seeded=False) == []


def test_what_is_kept_is_not_measured_again(
    fake: Classifier, calls: list[int], split: Split, recipe: Recipe, tmp_path: Path
) -> None:
    for seed in (1, 2, 1, 2, 3):
        measure(tmp_path, "fake", fake, split, recipe.model_copy(update={"seed": seed}))
    assert calls == [1, 2, 3]
    (tmp_path / "fake-4.json.partial").write_text("{broken off", "utf-8")
    results = read_results(tmp_path)
    assert list(results) == ["fake"]
    assert list(results["fake"]) == [1, 2, 3]
    assert results["fake"][2]["predictions"] == guesses(split.test, 0.8, 2)
    assert title_of(results["fake"]) == "Fake (3 of 9 steps)"


def test_other_settings_or_sentences_are_refused(
    fake: Classifier, split: Split, recipe: Recipe, tmp_path: Path
) -> None:
    measure(tmp_path, "fake", fake, split, recipe)
    other = Classifier(fake.title, fake.fit, {"steps": 4})
    with pytest.raises(SystemExit, match=r"fake-13\.json was measured with other settings\.\nDelete it"):
        measure(tmp_path, "fake", other, split, recipe)
    with pytest.raises(SystemExit, match="other data"):
        measure(tmp_path, "fake", fake, Split(split.train, split.test, split.calibration, split.validation), recipe)
    values = json.loads((tmp_path / "fake-13.json").read_text("utf-8"))
    keep(tmp_path / "fake-14.json", {**values, "seed": 14, "settings": {"steps": 4}})
    with pytest.raises(SystemExit, match="other settings than the seeds beside it"):
        read_results(tmp_path)


def test_spread_over_seeds() -> None:
    assert spread([0.5]) == "0.500"
    assert spread([0.4, 0.5, 0.6]) == "0.500 ± 0.100"
