"""Corpora unlike ours: two labels, fifty labels, rare labels, long texts, other scripts."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from conflict_framing.data import Corpus, load_corpus
from conflict_framing.data.split import split_corpus
from conflict_framing.train import train_run
from conflict_framing.train.fit import Run
from conflict_framing.train.recipe import Recipe

from ..conftest import tiny_rows, write_jsonl


def train(rows: list[dict[str, object]], recipe: Recipe, tmp_path: Path) -> Run:
    corpus = load_corpus(write_jsonl(tmp_path / "corpus.jsonl", rows))
    return train_run(corpus, recipe, tmp_path / "run", device="cpu", say=lambda line: None)


@pytest.mark.parametrize("few_up_to", [None, 64])
def test_two_labels(recipe: Recipe, tmp_path: Path, few_up_to: int | None) -> None:
    few = recipe.few_labels.model_copy(update={"up_to": few_up_to, "most_steps": 20})
    rows = [row for row in tiny_rows(180) if row["label"] != "move"]
    run = train(rows, recipe.model_copy(update={"few_labels": few}), tmp_path)
    assert run.classifier.classes_ == ["attack", "calm"]
    assert run.classifier.predict_proba(["all quiet .", "clashes ."]).shape == (2, 2)
    assert run.evaluation is not None
    assert run.evaluation.model.metrics["macro_f1"] > 0.5


def test_fifty_labels(recipe: Recipe, tmp_path: Path) -> None:
    chance = random.Random(0)
    words = sorted({word for row in tiny_rows(60) for word in str(row["text"]).split()})
    rows: list[dict[str, object]] = [
        {"text": " ".join(chance.choices(words, k=6)), "label": f"label {number % 50:02}"} for number in range(600)
    ]
    run = train(rows, recipe, tmp_path)
    assert len(run.classifier.classes_) == 50
    assert (run.layout.evaluation / "report.md").exists()
    assert sum(run.classifier.predict("the army").probabilities.values()) == pytest.approx(1, abs=1e-4)


def test_a_rare_label_is_kept_and_told(recipe: Recipe, tmp_path: Path) -> None:
    rows = tiny_rows(150)
    rows += [{"text": f"the river {word} .", "label": "rare", "document": word} for word in ("and", "road", "north")]
    run = train(rows, recipe, tmp_path)
    assert "rare" in run.classifier.classes_
    assert "rare" in (run.layout.evaluation / "report.md").read_text("utf-8")


def test_long_texts_are_cut_and_marked(recipe: Recipe, tmp_path: Path) -> None:
    rows = [{**row, "text": f"{row['text']} " + "and the town " * 60} for row in tiny_rows(90)]
    run = train(rows, recipe, tmp_path)
    assert run.classifier.facts.max_length == 48  # the backbone's own window, smaller than the recipe's
    assert run.classifier.predict(str(rows[0]["text"])).truncated
    assert not run.classifier.predict("all quiet .").truncated


def test_a_multilingual_backbone_in_other_scripts(recipe: Recipe, tmp_path: Path) -> None:
    texts = {
        "спокойно": ["обстановка в городе спокойная", "الوضع هادئ في المدينة", "la situación está en calma"],
        "обстрел": ["село обстреляли ночью", "قصف عنيف على القرية", "bombardearon la aldea anoche"],
    }
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        [text for group in texts.values() for text in group],
        trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="<unk>"),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    backbone = tmp_path / "backbone"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        cls_token="<s>", sep_token="</s>", model_max_length=48,
    ).save_pretrained(backbone)  # fmt: skip
    torch.manual_seed(0)
    XLMRobertaModel(
        XLMRobertaConfig(
            vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=52, pad_token_id=1, initializer_range=0.2,
        )
    ).save_pretrained(backbone)  # fmt: skip
    rows: list[dict[str, object]] = [
        {"text": f"{group[number % 3]} {number}", "label": label, "language": ("ru", "ar", "es")[number % 3]}
        for label, group in texts.items()
        for number in range(60)
    ]
    run = train(rows, recipe.model_copy(update={"backbone": str(backbone)}), tmp_path)
    assert run.classifier.predict("قصف عنيف على القرية").label == "обстрел"
    assert run.classifier.predict("обстановка в городе спокойная").label == "спокойно"


@pytest.mark.parametrize(("up_to", "changed"), [(100, True), (99, False)])
def test_a_small_corpus_is_trained_whole(
    corpus: Corpus, recipe: Recipe, backbone: Path, tmp_path: Path, up_to: int, changed: bool
) -> None:
    split = split_corpus(corpus, **recipe.split.model_dump(), seed=recipe.seed)
    seen = replace(split, train=split.train.select(range(100))).marked()
    own = recipe.model_copy(
        update={
            "baselines": False,
            "training": recipe.training.model_copy(update={"freeze_embeddings": True, "freeze_layers": 1, "epochs": 1}),
            "small_corpus": recipe.small_corpus.model_copy(update={"up_to": up_to}),
        }
    )
    said: list[str] = []
    run = train_run(seen, own, tmp_path / "run", device="cpu", say=said.append)
    name = "bert.embeddings.word_embeddings.weight"
    weights = load_file(run.layout.model / "model.safetensors")[name]
    before = load_file(backbone / "model.safetensors")
    assert torch.equal(weights, before[name.removeprefix("bert.")]) is not changed
    assert any(line.startswith("Small corpus") for line in said) is changed
    assert run.classifier.facts.recipe["small_corpus"]["up_to"] == up_to
