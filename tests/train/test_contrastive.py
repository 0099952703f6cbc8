from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, pipeline

from conflict_framing.data import Corpus
from conflict_framing.train import fit, train_run
from conflict_framing.train.contrastive import batches, contrastive_loss
from conflict_framing.train.recipe import FEW_LABELS_BATCH, Recipe
from conflict_framing.train.study import run_study


def few(recipe: Recipe, **settings: int | float | None) -> Recipe:
    return recipe.model_copy(update={"few_labels": recipe.few_labels.model_copy(update=settings)})


def test_batches_hold_all_labels_alike_and_every_sentence_before_any_again() -> None:
    labels = [0] * 40 + [1] * 8 + [2] * 8
    drawn = batches(labels, 4, seed=1)
    for batch in drawn:
        assert Counter(labels[place] for place in batch) == {0: 10, 1: 10, 2: 10}
        assert len(set(batch)) == 26  # only the 8 sentences of a rare label come twice
    first = [place for batch in drawn for place in batch if labels[place] == 0]
    assert sorted(first) == list(range(40))
    assert batches(labels, 4, seed=1) == drawn
    assert batches(labels, 4, seed=2) != drawn


def test_with_many_labels_a_batch_holds_pairs_of_some() -> None:
    labels = [place % 50 for place in range(200)]
    for batch in batches(labels, 3, seed=0):
        assert len(batch) == FEW_LABELS_BATCH
        assert set(Counter(labels[place] for place in batch).values()) == {2}


def test_the_loss_is_that_of_the_paper() -> None:
    # Two pairs at right angles: each sentence's own share is e^10 / (e^10 + 2).
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    share = torch.tensor(10.0).exp() / (torch.tensor(10.0).exp() + 2)
    assert float(contrastive_loss(rows, torch.tensor([0, 0, 1, 1]))) == pytest.approx(-float(share.log()), rel=1e-2)
    assert float(contrastive_loss(rows, torch.tensor([0, 1, 0, 1]))) > 5
    # A sentence alone with its label has no partner and does not count.
    alone = contrastive_loss(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1]))
    assert torch.isfinite(alone)


def test_few_labels_start_by_contrast_and_open_in_transformers(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    some = corpus.select(range(90))
    told: list[str] = []
    own = few(recipe, up_to=64, passes=20, least_steps=10, most_steps=60, learning_rate=2e-3)
    run = train_run(some, own, tmp_path / "few", device="cpu", say=told.append)
    assert any(line.startswith("Few labels (") for line in told)
    assert run.classifier.facts.training["start"] == "contrastive"
    assert "Start for few labels" in (run.layout.model / "README.md").read_text("utf-8")
    assert run.layout.log.read_text("utf-8").count("contrastive_loss") >= 4
    rest = corpus.select(range(90, 240))
    assert run.classifier.score(rest.texts, [rest.label_names[place] for place in rest.label_ids]) > 0.55
    stock = pipeline("text-classification", model=str(run.layout.model), top_k=None)
    ours = run.classifier.predict(rest.texts[0])
    theirs = {row["label"]: row["score"] for row in stock([rest.texts[0]])[0]}
    assert theirs == pytest.approx(ours.probabilities, abs=1e-4)


def test_the_rule_counts_sentences_per_label(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    train_run(corpus.select(range(90)), few(recipe, up_to=10), tmp_path / "run", device="cpu", say=told.append)
    assert not any("Few labels" in line for line in told)


@pytest.mark.parametrize("how", ["no steps", "all frozen"])
def test_without_steps_the_backbone_stays_as_it_is(
    how: str, corpus: Corpus, recipe: Recipe, backbone: Path, tmp_path: Path
) -> None:
    own = few(recipe, up_to=64, passes=0, least_steps=0, most_steps=0) if how == "no steps" else few(recipe, up_to=64)
    if how == "all frozen":
        own = own.model_copy(update={"training": own.training.model_copy(update={"freeze_layers": 2})})
    run = train_run(corpus.select(range(90)), own, tmp_path / "frozen", device="cpu", say=lambda line: None)
    assert run.classifier.facts.training["steps"] == 0
    before = AutoModel.from_pretrained(backbone).state_dict()
    after = run.classifier.model.base_model.state_dict()
    same = [name for name in before if name.startswith(("embeddings.", "encoder."))]
    assert len(same) > 30
    assert all(torch.equal(before[name], after[name]) for name in same)


def test_the_baselines_learn_from_the_same_sentences(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    some = corpus.select(range(120))
    run = train_run(some, few(recipe, up_to=64, most_steps=5), tmp_path / "run", device="cpu", say=lambda line: None)
    kept = np.load(run.layout.folder / "baselines" / "train_embeddings.npy", allow_pickle=False)
    counts = run.classifier.facts.corpus_counts
    assert len(kept) == counts["train"] + counts["validation"]


def test_single_precision_and_label_weights_are_followed(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(fit, "fit_few", lambda *_, **settings: asked.append(settings))
    for precision, weights in (("fp32", "none"), ("bf16", "balanced")):
        training = recipe.training.model_copy(update={"precision": precision, "class_weights": weights})
        own = few(recipe.model_copy(update={"training": training}), up_to=64)
        run = train_run(corpus.select(range(90)), own, tmp_path / precision, device="cpu", say=lambda line: None)
        assert run.classifier.facts.training["precision"] == precision
    assert [settings["bf16"] for settings in asked] == [False, True]
    assert asked[0]["label_weights"] is None
    assert asked[1]["label_weights"] == pytest.approx([1.0, 1.0, 1.0], abs=0.1)


def test_nothing_is_frozen_unless_that_is_asked_for(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[bool] = []

    def see(model: Any, *_: Any, **settings: Any) -> None:
        trained.append(model.get_input_embeddings().weight.requires_grad)

    monkeypatch.setattr(fit, "fit_few", see)
    training = recipe.training.model_copy(update={"freeze_embeddings": True, "freeze_layers": 1})
    for up_to in (5000, None):
        own = few(recipe, up_to=64).model_copy(
            update={"training": training, "small_corpus": recipe.small_corpus.model_copy(update={"up_to": up_to})}
        )
        train_run(corpus.select(range(90)), own, tmp_path / str(up_to), device="cpu", say=lambda line: None)
    assert trained == [True, False]


def test_a_broken_off_start_is_begun_anew(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    some, own = corpus.select(range(90)), few(recipe, up_to=64, most_steps=5)
    with monkeypatch.context() as patch:
        patch.setattr(fit, "fit_few", break_off)
        with pytest.raises(KeyboardInterrupt):
            train_run(some, own, tmp_path / "run", device="cpu", say=lambda line: None)
    run = train_run(some, own, tmp_path / "run", device="cpu", resume=True, say=lambda line: None)
    assert run.evaluation is not None


def test_a_study_with_few_labels(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    own = few(recipe, up_to=64, most_steps=5)
    study = run_study(corpus.select(range(90)), own, tmp_path / "study", folds=2, device="cpu", say=lambda line: None)
    assert study.seeds[0].n == 90
