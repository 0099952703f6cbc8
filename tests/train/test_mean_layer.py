from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BigBirdConfig,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    MPNetConfig,
    RobertaConfig,
)

from conflict_framing.data import Corpus
from conflict_framing.train.mean_layer import append_mean_layer, embed, start_head

_SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "initializer_range": 0.2,
}
CONFIGS: dict[str, Callable[[], Any]] = {
    "bert": lambda: BertConfig(**_SIZES, num_labels=3),
    "roberta": lambda: RobertaConfig(**_SIZES, num_labels=3, pad_token_id=0),
    "electra": lambda: ElectraConfig(**_SIZES, embedding_size=32, num_labels=3),
    "mpnet": lambda: MPNetConfig(**_SIZES, num_labels=3, pad_token_id=0),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=60, dim=32, hidden_dim=64, n_heads=2, n_layers=2, initializer_range=0.2, num_labels=3
    ),
}


def quiet(count: int) -> None:
    pass


@pytest.mark.parametrize("architecture", CONFIGS)
def test_the_head_reads_the_mean_and_computes_the_regression(
    architecture: str, corpus: Corpus, backbone: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(CONFIGS[architecture]()).eval()
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    some = corpus.select(range(60))
    inputs = tokenizer(some.texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model.base_model(**inputs)[0]
        mask = inputs["attention_mask"].unsqueeze(-1)
        mean = ((hidden * mask).sum(dim=1) / mask.sum(dim=1)).numpy()
    centred = mean - mean.mean(axis=1, keepdims=True)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)

    assert append_mean_layer(model)
    rows = embed(model, tokenizer, some.texts, 48, quiet)
    # MPNet's attention leans to near tokens.
    assert rows == pytest.approx(expected, abs=0.1 if architecture == "mpnet" else 0.01)

    start_head(model, rows, some.label_ids, [1.0, 2.0, 1.0])
    regression = LogisticRegression(C=10.0, max_iter=2000, class_weight={1: 2.0}).fit(rows, some.label_ids)
    # As a stock checkpoint, opened again.
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        logits = again(**inputs).logits.numpy()
    differences = logits - logits[:, :1]
    wanted = regression.decision_function(rows)
    assert differences == pytest.approx(wanted - wanted[:, :1], abs=0.1)


def test_labels_that_no_sentence_has_stay_improbable(corpus: Corpus, backbone: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(backbone, num_labels=3).eval()
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    two = corpus.select([place for place, label in enumerate(corpus.label_ids) if label != 1])
    assert append_mean_layer(model)
    rows = embed(model, tokenizer, two.texts, 48, quiet)
    start_head(model, rows, two.label_ids, None)
    with torch.no_grad():
        logits = model(**tokenizer(two.texts, padding=True, return_tensors="pt")).logits
    assert set(logits.argmax(dim=-1).tolist()) == {0, 2}
    assert float(logits.softmax(dim=-1)[:, 1].max()) < 0.01


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=2, num_labels=3),
        # Layers of the same names as BERT's, but another head.
        BigBirdConfig(**_SIZES, num_labels=3, attention_type="original_full"),
    ],
)
def test_an_unknown_architecture_is_left_alone(config: Any) -> None:
    model = AutoModelForSequenceClassification.from_config(config)
    before = sum(parameter.numel() for parameter in model.parameters())
    assert not append_mean_layer(model)
    assert sum(parameter.numel() for parameter in model.parameters()) == before


@pytest.mark.parametrize(("architecture", "trainable"), [("bert", True), ("electra", False), ("distilbert", False)])
def test_a_head_that_cannot_be_trained_on_is_refused(architecture: str, trainable: bool) -> None:
    model = AutoModelForSequenceClassification.from_config(CONFIGS[architecture]())
    assert append_mean_layer(model, trained=True) is trainable
