from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conflict_framing.data import Corpus, load_corpus
from conflict_framing.data.split import Split
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.layout import ModelLayout
from conflict_framing.train import reference as module
from conflict_framing.train import train_run
from conflict_framing.train.fit import Run
from conflict_framing.train.recipe import Recipe
from conflict_framing.train.reference import make_reference, sampled

from ..conftest import tiny_rows, write_jsonl


def with_columns(folder: Path, n: int = 480, **columns: str) -> Corpus:
    """The tiny corpus, three sentences a document; ``{}`` in a column's value is the document's number modulo 4."""
    rows = [
        row | {name: value.format(int(str(row["id"])) // 3 % 4) for name, value in columns.items()}
        for row in tiny_rows(n)
    ]
    return load_corpus(write_jsonl(folder / "corpus.jsonl", rows))


def halves(corpus: Corpus) -> Split:
    half = len(corpus) // 2
    none = corpus.select([])
    return Split(corpus.select(range(half)), corpus.select(range(half, len(corpus))), none, none)


def test_samples_are_bounded_seeded_and_of_whole_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 50)
    monkeypatch.setattr(module, "_HELD_OUT", 60)
    split = halves(with_columns(tmp_path))
    train, held_out = sampled(split, seed=1)
    assert (len(train), len(held_out)) == (50, 60)
    assert set(train.texts) <= set(split.train.texts)
    documents = [sentence.document for sentence in held_out.sentences]
    assert all(documents.count(document) == 3 for document in documents)
    assert sampled(split, seed=1)[0].texts == train.texts
    assert sampled(split, seed=2)[0].texts != train.texts


def test_limits_come_from_held_out_registers(run: Run, tmp_path: Path) -> None:
    split = halves(with_columns(tmp_path, register="r{}", outlet="one"))
    progress: list[int] = []
    found = make_reference(run.classifier, *sampled(split, 0), 0, progress.append)
    limits = found.limits
    assert sum(progress) == len(found.embeddings) + len(split.validation) == 480
    assert limits.sizes == [10, 20, 50]  # 60 held-out sentences of each register
    assert limits.distance is not None
    assert len(limits.distance) == len(limits.far) == 3
    assert min(limits.distance) >= 0.01
    assert limits.distance == sorted(limits.distance, reverse=True)  # few sentences lie farther by chance
    assert limits.languages == ["en"]
    assert 0.05 <= limits.language < 0.2
    assert "whole documents of one register" in limits.words
    assert found.embeddings.dtype == np.float32
    np.testing.assert_array_equal(found.embeddings, found.embeddings.astype(np.float16))
    assert make_reference(run.classifier, *sampled(split, 0), 0).limits == limits


def test_a_register_that_lies_apart_widens_the_limits(run: Run, tmp_path: Path) -> None:
    corpus = with_columns(tmp_path, register="r{}")
    apart = [
        {**row, "text": f"why would anybody ask number {row['id']} of us?"} if row["register"] == "r0" else row
        for row in (sentence.to_row() for sentence in corpus.sentences)
    ]
    other = load_corpus(write_jsonl(tmp_path / "apart.jsonl", apart))
    near, far = (make_reference(run.classifier, *sampled(halves(c), 0), 0).limits for c in (corpus, other))
    assert near.distance is not None
    assert far.distance is not None
    assert far.distance[-1] > 2 * near.distance[-1]


def test_without_groups_distance_is_not_judged(run: Run, tmp_path: Path) -> None:
    limits = make_reference(run.classifier, *sampled(halves(with_columns(tmp_path)), 0), 0).limits
    assert limits.distance is None
    assert limits.far == [0.05]
    assert "the corpus names no groups" in limits.words
    one = halves(with_columns(tmp_path, register="one"))
    assert make_reference(run.classifier, *sampled(one, 0), 0).limits.distance is None


def test_training_text_of_one_register_is_compared_whole(run: Run, tmp_path: Path) -> None:
    split = halves(with_columns(tmp_path, register="r{}"))
    only = [place for place, s in enumerate(split.train.sentences) if s.extras["register"] == "r1"]
    lopsided = replace(split, train=split.train.select(only))
    assert make_reference(run.classifier, *sampled(lopsided, 0), 0).limits.distance is not None


def test_a_run_keeps_a_reference_unless_told_not_to(run: Run, corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    assert ModelLayout(run.layout.model).reference.exists()
    mode = ModelLayout(run.layout.model).weights.stat().st_mode
    assert ModelLayout(run.layout.model).reference.stat().st_mode == mode
    without = recipe.model_copy(update={"baselines": False, "reference": False})
    bare = train_run(corpus, without, tmp_path / "bare", device="cpu", say=lambda line: None)
    assert not ModelLayout(bare.layout.model).reference.exists()
    assert bare.classifier.reference is None


def test_few_labels_hold_nothing_out_to_measure_on(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    few = recipe.few_labels.model_copy(update={"up_to": 64, "least_steps": 0, "most_steps": 0})
    own = recipe.model_copy(update={"baselines": False, "few_labels": few})
    some = corpus.select(range(120))
    run = train_run(some, own, tmp_path / "few", device="cpu", say=lambda line: None)
    assert run.classifier.facts.training["start"] == "contrastive"
    assert CheckpointClassifier.from_pretrained(tmp_path / "few", device="cpu").reference is None
