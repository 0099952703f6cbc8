import json
import math
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from conflict_framing.data import Corpus, UserError, load_corpus
from conflict_framing.model.folder import find_model
from conflict_framing.train.compare import Contender, McNemar, compare_classifiers, load_contenders, write_comparison
from conflict_framing.train.fit import Run

from ..conftest import tiny_rows, write_jsonl


def contender(name: str, predicted: Sequence[int], corpus: Corpus, score: float = 0.6) -> Contender:
    """Gives each sentence a fixed label, of the corpus's labels, with this probability."""
    n_labels = len(corpus.label_names)
    probabilities = np.full((len(corpus), n_labels), (1 - score) / (n_labels - 1))
    probabilities[np.arange(len(corpus)), predicted] = score
    classifier: Any = SimpleNamespace(classes_=corpus.label_names, predict_proba=lambda texts: probabilities)
    return Contender(name, classifier, None)


def flawed(corpus: Corpus, wrong: set[int]) -> list[int]:
    """The right labels, but for these places."""
    return [(label + (place in wrong)) % 3 for place, label in enumerate(corpus.label_ids)]


@pytest.mark.parametrize(
    ("first_only", "second_only", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (8, 2, 2 * (1 + 10 + 45) / 2**10),  # both tails of a fair coin thrown ten times: 0, 1 or 2 heads
        (0, 6, 2 / 2**6),
    ],
)
def test_mcnemar_is_exact_on_small_tables(first_only: int, second_only: int, p: float) -> None:
    found = McNemar.of(first_only, second_only)
    assert found.method == "exact binomial"
    assert found.statistic is None
    assert found.p == pytest.approx(p)


def test_mcnemar_on_larger_tables_is_chi_square_with_continuity_correction() -> None:
    found = McNemar.of(150, 86)
    assert found.method == "chi-square with continuity correction"
    assert found.statistic == pytest.approx((64 - 1) ** 2 / 236)
    assert found.p == pytest.approx(math.erfc(math.sqrt(63**2 / 236 / 2)))  # chi-square of one degree of freedom
    assert McNemar.of(16, 9).statistic == pytest.approx(36 / 25)  # 25 discordant is the first that is not exact
    assert McNemar.of(16, 8).statistic is None
    assert McNemar.of(20, 20).p == 1


def test_a_known_difference_is_found_with_all_its_figures(corpus: Corpus) -> None:
    good, bad = flawed(corpus, set(range(0, 240, 24))), flawed(corpus, set(range(1, 240, 4)))
    comparison = compare_classifiers([contender("g", good, corpus), contender("b", bad, corpus)], corpus, data="d")
    (pair,) = comparison.pairs
    references = corpus.label_ids
    expected = [f1_score(references, own, average="macro") for own in (good, bad)]
    assert [figures.macro_f1 for figures in comparison.classifiers] == pytest.approx(expected)
    assert pair.macro_f1.value == pytest.approx(expected[0] - expected[1])
    assert 0 < pair.macro_f1.low < pair.macro_f1.value < pair.macro_f1.high
    assert pair.accuracy.value == pytest.approx((60 - 10) / 240)
    by_label = f1_score(references, good, average=None) - f1_score(references, bad, average=None)
    assert [found.value for found in pair.f1] == pytest.approx(by_label)
    assert all(found.low <= found.value <= found.high for found in pair.f1)
    assert (pair.mcnemar.first_only, pair.mcnemar.second_only) == (60, 10)
    assert pair.mcnemar.p < 0.001
    assert pair.n_differing == 70
    assert comparison.documents == 80
    assert comparison.verdict(pair).startswith("A is better than B")
    assert "240 here stand in 80 documents" in comparison.notes[-1]
    same_share = flawed(corpus, set(range(12, 240, 24)))
    equal = compare_classifiers([contender("g", good, corpus), contender("h", same_share, corpus)], corpus)
    assert equal.verdict(equal.pairs[0]).startswith("These sentences do not tell whether A or B is better")
    other_way = compare_classifiers([contender("b", bad, corpus), contender("g", good, corpus)], corpus)
    assert other_way.verdict(other_way.pairs[0]).startswith("B is better than A")


def test_the_interval_covers_a_known_difference_about_as_often_as_it_says(corpus: Corpus) -> None:
    """One classifier is right on 85 % of sentences, the other on 75 %: the true difference in accuracy is 0.1."""
    chance = np.random.default_rng(3)
    trials, covered = 60, 0
    for _ in range(trials):
        both = [flawed(corpus, set(np.flatnonzero(chance.random(240) > share).tolist())) for share in (0.85, 0.75)]
        (pair,) = compare_classifiers([contender("x", own, corpus) for own in both], corpus).pairs
        covered += pair.accuracy.low <= 0.1 <= pair.accuracy.high
    # 95 % nominal; with 60 trials, 0.86 is about three standard errors below.
    assert covered / trials >= 0.86


def test_a_model_does_not_differ_from_itself(run: Run, corpus: Corpus) -> None:
    comparison = compare_classifiers(load_contenders([run.layout.folder, run.layout.model], device="cpu"), corpus)
    (pair,) = comparison.pairs
    assert (pair.macro_f1.value, pair.macro_f1.low, pair.macro_f1.high) == (0, 0, 0)
    assert pair.mcnemar == McNemar(0, 0, None, 1.0)
    assert comparison.differing == []
    assert "same label" in comparison.verdict(pair)
    assert comparison.notes == []


def test_sentences_that_a_run_was_trained_on_are_counted(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    folder = run.layout.folder
    sizes = {part: len(load_corpus(run.layout.split(part))) for part in ("train", "validation")}
    warnings = compare_classifiers(load_contenders([folder, folder], device="cpu"), corpus).warnings
    assert warnings[0] == (
        f"{sizes['train']} of these 240 sentences are in the training split of {folder}: its figures here are too good."
    )
    assert warnings[1].startswith(f"{sizes['validation']} of these 240 sentences are in the validation split")
    others = load_corpus(write_jsonl(tmp_path / "o.jsonl", tiny_rows(30, seed=3)), codebook=run.classifier.codebook)
    assert compare_classifiers(load_contenders([folder, folder], device="cpu"), others).warnings == []


def test_labels_in_another_order_are_aligned(run: Run, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(run.layout.model)
    names = [model.config.id2label[place] for place in range(3)]
    order = [2, 0, 1]
    with torch.no_grad():
        for values in (model.classifier.weight, model.classifier.bias):
            values.copy_(values[order].clone())
    model.config.id2label = {place: names[old] for place, old in enumerate(order)}
    model.config.label2id = {name: place for place, name in model.config.id2label.items()}
    model.save_pretrained(tmp_path / "turned")
    AutoTokenizer.from_pretrained(run.layout.model).save_pretrained(tmp_path / "turned")
    contenders = load_contenders([run.layout.folder, tmp_path / "turned"], device="cpu")
    assert contenders[1].classifier.classes_ != contenders[0].classifier.classes_
    corpus = load_corpus(write_jsonl(tmp_path / "o.jsonl", tiny_rows(60, seed=3)), codebook=run.classifier.codebook)
    comparison = compare_classifiers(contenders, corpus)
    assert comparison.differing == []
    assert comparison.notes[0].startswith(f"{tmp_path / 'turned'}: no training split at hand")


def test_other_labels_are_told_plainly(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(run.layout.model)
    model.config.id2label = {0: "attack", 1: "calm", 2: "LABEL_2"}
    model.config.label2id = {name: place for place, name in model.config.id2label.items()}
    model.save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(run.layout.model).save_pretrained(tmp_path / "other")
    with pytest.raises(UserError) as error:
        load_contenders([run.layout.folder, tmp_path / "other"], device="cpu")
    assert f"only {run.layout.folder} has move; only {tmp_path / 'other'} has LABEL_2" in str(error.value)
    with pytest.raises(UserError, match="2 to 26"):
        load_contenders([run.layout.folder], device="cpu")
    fewer = Corpus(corpus.sentences[:2], corpus.codebook.only(["attack", "calm"]))
    with pytest.raises(UserError, match=r"the corpus has attack, calm\."):
        compare_classifiers([Contender("x", run.classifier, None)] * 2, fewer)


def test_pairs_and_the_sentences_on_which_they_differ(corpus: Corpus) -> None:
    def several(count: int) -> list[Contender]:
        return [contender(f"c{n}", flawed(corpus, {n, 100 + n}), corpus, 0.5 + n / 10) for n in range(count)]

    three, four = (compare_classifiers(several(count), corpus) for count in (3, 4))
    assert [pair.name for pair in three.pairs] == ["A − B", "A − C", "B − C"]
    assert [pair.name for pair in four.pairs] == ["A − B", "A − C", "A − D"]
    assert len(three.differing) == 6
    pair = three.pairs[0]
    assert [row.sentence.line for row in three.most_confident(pair)] == [1, 2, 101, 102]
    assert len(three.most_confident(pair, 3)) == 3


def test_surest_differences_come_first_and_all_are_written(corpus: Corpus, tmp_path: Path) -> None:
    wrong = contender("a | b", flawed(corpus, {7, 50, 51}), corpus)
    wrong.classifier.predict_proba([])[50] = np.eye(3)[(corpus.label_ids[50] + 1) % 3]
    comparison = compare_classifiers([contender("c", corpus.label_ids, corpus), wrong], corpus, data="d.jsonl")
    (pair,) = comparison.pairs
    first = comparison.most_confident(pair)[0]
    assert first.sentence is corpus.sentences[50]
    assert first.scores == pytest.approx([0.6, 1.0])
    write_comparison(comparison, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "compare.json").read_text("utf-8")) == comparison.to_json()
    rows = [json.loads(line) for line in (tmp_path / "out" / "differences.jsonl").read_text("utf-8").splitlines()]
    assert [row["id"] for row in rows] == [50, 7, 51]
    assert rows[0]["label"] == rows[0]["label_a"] != rows[0]["label_b"]
    assert (rows[0]["score_a"], rows[0]["score_b"]) == (0.6, 1.0)
    report = (tmp_path / "out" / "compare.md").read_text("utf-8")
    assert "| B | a \\| b |" in report
    assert f"| macro-F1 | {pair.macro_f1.value:+.3f} |" in report
    assert comparison.test(pair) in report
    assert first.sentence.text in report


def test_few_documents_get_no_interval_and_no_verdict(corpus: Corpus) -> None:
    some = corpus.select(range(27))
    both = [contender("x", some.label_ids, some), contender("y", flawed(some, set(range(20))), some)]
    comparison = compare_classifiers(both, some)
    assert comparison.verdict(comparison.pairs[0]) == "9 documents: too few to tell whether A or B is better."
    told = comparison.to_json()
    assert told["pairs"][0]["macro_f1"]["interval"] is None
    assert told["classifiers"][0]["intervals"] is None


def test_a_hub_checkpoint_stands_in_for_a_run(
    run: Run, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub itself is out of reach here; what is asked of it, and what is made of its answer, is not."""
    checkpoint, asked = tmp_path / "snapshot", []
    run.classifier.model.save_pretrained(checkpoint)
    run.classifier.tokenizer.save_pretrained(checkpoint)

    def download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, allow_patterns))
        return str(checkpoint)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    contenders = load_contenders(["somebody/their-framing-model", run.layout.folder], device="cpu")
    assert [name for name, _ in asked] == ["somebody/their-framing-model"]
    # No pickle and no code: a checkpoint of strangers.
    assert not any(fnmatch(file, pattern) for pattern in asked[0][1] for file in ("pytorch_model.bin", "modeling.py"))
    # Of a model of this package everything, the first stage too.
    whole = [path.name for path in find_model(None).iterdir() if path.name != "README.md"]
    assert [name for name in whole if not any(fnmatch(name, pattern) for pattern in asked[0][1])] == []
    assert contenders[0].run is None
    comparison = compare_classifiers(contenders, corpus)
    # Its labels are those of its config, and its probabilities those that it was saved with.
    assert comparison.pairs[0].n_differing == 0
    assert comparison.classifiers[0].macro_f1 == pytest.approx(comparison.classifiers[1].macro_f1)
