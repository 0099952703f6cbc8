import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from conflict_framing.data import Corpus, UserError, load_corpus
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.drift import (
    SAMPLE,
    Array,
    DriftLimits,
    Reference,
    Reservoir,
    all_distances,
    compare,
    embed,
    energy_coefficients,
    energy_test,
    languages_of,
    matched_weights,
    measure_drift,
    neighbour_distances,
    read_reference,
)
from conflict_framing.model.layout import ModelLayout
from conflict_framing.train import train_run
from conflict_framing.train.fit import Run
from conflict_framing.train.recipe import Recipe

from ..conftest import tiny_rows, write_jsonl

FRENCH = [
    "Le porte-parole du ministère a déclaré que la situation dans la vallée était calme.",
    "Des affrontements ont éclaté jeudi près du pont, selon des habitants.",
    "L'armée a déployé trois bataillons le long de la frontière nord.",
    "Le Parlement débattra lundi du budget d'urgence de la région.",
]
ARABIC = [
    "قال المتحدث باسم الوزارة إن الوضع في الوادي هادئ وتحت السيطرة.",
    "اندلعت اشتباكات يوم الخميس قرب الجسر بحسب السكان.",
    "نشر الجيش ثلاث كتائب على طول الحدود الشمالية.",
]
QUESTIONS = [
    f"What {what} is the {which} of {of}?"
    for what in ("colour", "kind", "name", "size")
    for which in ("tallest tree", "oldest song", "first book")
    for of in ("Peru", "Rome", "jazz", "spring")
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Four registers, whole documents each."""
    rows = [row | {"register": f"r{int(str(row['id'])) // 3 % 4}"} for row in tiny_rows(480)]
    return load_corpus(write_jsonl(tmp_path_factory.mktemp("registers") / "corpus.jsonl", rows))


@pytest.fixture(scope="module")
def run(corpus: Corpus, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Run:
    own = recipe.model_copy(update={"baselines": False})
    return train_run(corpus, own, tmp_path_factory.mktemp("drift") / "run", device="cpu", say=lambda line: None)


@pytest.fixture(scope="module")
def classifier(run: Run) -> CheckpointClassifier:
    return CheckpointClassifier.from_pretrained(run.layout.folder, device="cpu")


def cloud(n: int, shift: float, seed: int) -> Array:
    return np.asarray(np.random.default_rng(seed).normal(size=(n, 8)) + shift, np.float32)


def same(n: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.zeros(n, np.int64)


# --- the sample --------------------------------------------------------------------------------------


def test_the_reservoir_keeps_every_item_with_the_same_probability() -> None:
    """Chi-square over 3,000 seeds: 20 items, 5 kept; the sum of independent-like terms has 19 degrees of freedom."""
    seeds = 3000
    counts: Counter[str] = Counter()
    for seed in range(seeds):
        reservoir = Reservoir(size=5, seed=seed)
        for item in range(20):
            reservoir.add(str(item))
        assert len(set(reservoir.items)) == 5
        counts.update(reservoir.items)
    expected = seeds * 5 / 20
    # Without replacement a count has the variance n p (1 − p), which the statistic is scaled by.
    statistic = sum((counts[str(item)] - expected) ** 2 for item in range(20)) / (expected * (1 - 5 / 20)) * 19 / 20
    assert statistic < 43.8  # the 99.9 % quantile of chi-square with 19 degrees of freedom


def test_the_reservoir_repeats_itself_and_is_bounded() -> None:
    texts = [str(number) for number in range(5000)]
    first, again = Reservoir(), Reservoir()
    for text in texts:
        first.add(text)
        again.add(text)
    assert first.items == again.items
    assert len(first.items) == SAMPLE
    few = Reservoir()
    for text in texts[:7]:
        few.add(text)
    assert few.items == texts[:7]


# --- the distance ------------------------------------------------------------------------------------


def test_the_distance_is_zero_for_the_same_sample_and_grows_with_the_shift() -> None:
    here = cloud(200, 0, seed=0)
    assert energy_test(here, same(200), here, same(200))[0] == 0
    found = [energy_test(cloud(200, shift, 1), same(200), here, same(200)) for shift in (0.0, 0.2, 0.5, 1.0, 2.0)]
    sizes = [distance for distance, _ in found]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.01
    assert sizes[-1] > 0.3
    assert found[0][1] > 0.05
    assert found[-1][1] == 1 / 200
    assert energy_test(cloud(200, 0.2, 1), same(200), here, same(200)) == found[1]


def test_the_coefficient_is_that_of_the_definition() -> None:
    x, y = cloud(6, 0, 0), cloud(9, 1, 1)

    def mean(pairs: list[tuple[Array, Array]]) -> float:
        return float(np.mean([np.linalg.norm(a - b) for a, b in pairs]))

    across = mean([(a, b) for a in x for b in y])
    within = [mean([(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]) for z in (x, y)]
    weights = np.zeros((15, 2), np.float32)
    weights[:6, 0], weights[6:, 1] = 1 / 6, 1 / 9
    (found,) = energy_coefficients(all_distances(np.concatenate([x, y])), weights[:, :1], weights[:, 1:])
    assert found == pytest.approx((2 * across - within[0] - within[1]) / (2 * across), abs=1e-5)


def test_another_mix_of_labels_alone_is_no_distance() -> None:
    labels = np.array([0] * 150 + [1] * 150)
    reference = np.concatenate([cloud(150, 0, 0), cloud(150, 3, 1)])
    lopsided = np.array([0] * 20 + [1] * 180)
    rows = np.concatenate([cloud(20, 0, 2), cloud(180, 3, 3)])
    matched, p_value = energy_test(rows, lopsided, reference, labels)
    assert matched < 0.01
    assert p_value == 1  # as much as nothing is no evidence
    assert matched == 0
    assert energy_test(rows, same(200), reference, same(300))[0] > 0.1  # not matched
    weights = matched_weights(labels, lopsided)
    assert weights.sum() == pytest.approx(1)
    assert weights[labels == 1].sum() == pytest.approx(0.9)


def test_labels_that_the_reference_lacks_are_left_out() -> None:
    assert matched_weights(np.array([0, 0, 1]), np.array([0, 2, 2, 2])).tolist() == [0.5, 0.5, 0.0]
    assert matched_weights(np.array([0, 1]), np.array([2, 2])).tolist() == [0.5, 0.5]
    assert 0 <= energy_test(cloud(5, 0, 0), np.array([2] * 5), cloud(9, 0, 1), same(9))[0] <= 1


def test_neighbours_are_the_nearest_ones() -> None:
    reference = np.arange(10, dtype=np.float32)[:, None]
    assert neighbour_distances(np.array([[0.0], [100.0]], np.float32), reference).tolist() == [4.0, 95.0]
    assert neighbour_distances(np.array([[0.0]], np.float32), reference[:2]).tolist() == [1.0]


# --- languages ---------------------------------------------------------------------------------------


def test_languages_are_told_of_sentences_that_are_long_enough() -> None:
    assert [name for name, _ in languages_of([*FRENCH, *ARABIC])] == ["fr"] * 4 + ["ar"] * 3
    assert len(languages_of(["Calme plat.", "1 2 3 4 5 ... ,", "a, b! c? d:"])) == 1  # punctuation is no word
    assert languages_of(["国防部发言人说山谷的局势平静。"])[0][0] == "zh"  # no blanks between its words
    assert all(0 < sure <= 1 for _, sure in languages_of(FRENCH))


# --- against a model's training text -----------------------------------------------------------------


def test_the_warning_is_for_other_text_and_not_for_held_out_text(classifier: CheckpointClassifier, run: Run) -> None:
    held_out = measure_drift(classifier, load_corpus(run.layout.split("test")).texts)
    assert held_out is not None
    assert held_out.warning is None
    assert held_out.distance.limit is not None
    assert held_out.language is not None
    assert held_out.languages == {} or held_out.language.value <= held_out.language.limit  # type: ignore[operator]

    other = measure_drift(classifier, QUESTIONS)
    assert other is not None
    assert other.distance.over
    assert other.distance.value > 5 * held_out.distance.value
    assert other.warning is not None
    assert other.warning.startswith("The input differs from the training text: ")
    assert other.warning.endswith("Figures measured on the corpus may not hold.")


def test_text_in_another_language_is_told(classifier: CheckpointClassifier) -> None:
    for texts, name in ((FRENCH, "fr"), (ARABIC, "ar")):
        found = measure_drift(classifier, texts)
        assert found is not None
        assert found.language is not None
        assert found.language.value == 1
        assert found.languages == {name: 1.0}
        assert found.language_confidence is not None
        assert found.language_confidence > 0.5
        assert f"100% of its sentences are in another language ({name} 100%) than en" in found.reasons
        assert found.distance.limit is None  # too few to judge
        json.dumps(found.to_json())
    one = measure_drift(classifier, FRENCH[:1])
    assert one is not None
    assert one.warning is None  # one odd sentence is no other text


def test_sentences_like_none_of_the_training_text_are_told() -> None:
    limits = DriftLimits(words="", sizes=[20], distance=None, far=[0.05], radius=5.0, languages=[], language=0.05)
    reference = Reference(cloud(100, 0, 0), same(100), limits)
    rows = cloud(100, 0, 1)
    assert compare(rows, same(100), [], reference).reasons == []
    rows[:10] += 50
    found = compare(rows, same(100), [], reference)
    assert found.far.value == pytest.approx(0.1)
    assert found.reasons == ["10% of its sentences have none like them in it (limit 5%)"]
    assert found.language is None
    assert found.distance.limit is None


def test_limits_are_those_of_the_largest_size_reached() -> None:
    limits = DriftLimits(
        words="", sizes=[10, 50], distance=[0.3, 0.1], far=[0.2, 0.1], radius=1, languages=["en"], language=0.05
    )
    assert [limits.at(limits.distance, n) for n in (9, 10, 49, 50, 1000)] == [None, 0.3, 0.3, 0.1, 0.1]
    assert limits.at(None, 1000) is None


def test_embeddings_are_means_over_tokens_in_the_order_of_the_input(classifier: CheckpointClassifier) -> None:
    import torch

    texts = [str(row["text"]) for row in tiny_rows(70, seed=3)]
    rows, labels = embed(classifier, texts)
    assert [classifier.classes_[place] for place in labels] == [p.label for p in classifier.predict(texts)]
    for place in random.Random(0).sample(range(70), 5):
        with torch.no_grad():
            hidden = classifier.model.base_model(**classifier.tokenizer([texts[place]], return_tensors="pt"))[0]
        np.testing.assert_allclose(rows[place], hidden[0].mean(dim=0).numpy(), atol=1e-4)


# --- kept with the model -----------------------------------------------------------------------------


def test_the_reference_is_kept_with_the_model(classifier: CheckpointClassifier, run: Run, tmp_path: Path) -> None:
    reference = classifier.reference
    assert reference is not None
    assert run.classifier.reference is not None
    assert reference.limits == run.classifier.reference.limits
    np.testing.assert_array_equal(reference.embeddings, run.classifier.reference.embeddings)
    classifier.save_pretrained(tmp_path)
    again = CheckpointClassifier.from_pretrained(tmp_path, device="cpu").reference
    assert again is not None
    np.testing.assert_array_equal(again.embeddings, reference.embeddings)
    assert again.limits == reference.limits


def test_a_model_without_a_reference_tells_nothing(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path)
    ModelLayout(tmp_path).reference.unlink()
    bare = CheckpointClassifier.from_pretrained(tmp_path, device="cpu")
    assert bare.reference is None
    assert measure_drift(bare, QUESTIONS) is None
    assert measure_drift(classifier, []) is None
    ModelLayout(tmp_path).weights.rename(ModelLayout(tmp_path).reference)  # which is not taken for weights
    with pytest.raises(UserError, match=r"no \.safetensors weights"):
        CheckpointClassifier.from_pretrained(tmp_path, device="cpu")


def test_a_damaged_reference_is_told(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    assert classifier.reference is not None
    path = tmp_path / "reference.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="damaged reference"):
        read_reference(path, 32)
    save_file({"embeddings": np.zeros((3, 32), np.float16), "labels": np.zeros(3, np.int64)}, path)
    with pytest.raises(UserError, match=r"damaged reference:\n  words: Field required"):
        read_reference(path, 32)
    classifier.reference.write(path)
    with pytest.raises(UserError, match=r"expected embeddings of shape \(sentences, 64\)"):
        read_reference(path, 64)
    assert read_reference(tmp_path / "none.safetensors", 32) is None
