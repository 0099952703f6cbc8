from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    DistilBertConfig,
    MPNetConfig,
    XLMRobertaConfig,
)

from conflict_framing.data import Corpus
from conflict_framing.train.frozen import FrozenPart, freeze, layers_of, pad_kept

_SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.2,
}
CONFIGS = {
    "bert": BertConfig(**_SIZES, num_hidden_layers=3, max_position_embeddings=48),
    "mpnet": MPNetConfig(**_SIZES, num_hidden_layers=3, max_position_embeddings=50, pad_token_id=0),
    "xlm-roberta": XLMRobertaConfig(**_SIZES, num_hidden_layers=3, max_position_embeddings=50, pad_token_id=0),
    "distilbert": DistilBertConfig(vocab_size=60, dim=32, hidden_dim=64, n_heads=2, n_layers=3, initializer_range=0.2),
}


def frozen_lower(model: Any) -> Any:
    """The embeddings and the lower two layers frozen, as a recipe does it."""
    freeze(model, freeze_embeddings=True, freeze_layers=2)
    return model


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("architecture", CONFIGS)
def test_kept_activations_give_the_logits_of_the_whole_model(
    architecture: str, bf16: bool, corpus: Corpus, backbone: Path
) -> None:
    torch.manual_seed(0)
    model = frozen_lower(AutoModelForSequenceClassification.from_config(CONFIGS[architecture])).eval()
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    some = corpus.select(range(50))
    frozen = FrozenPart.of(model, 2, tokenizer, tokens=500)
    assert frozen is not None
    done: list[int] = []
    kept = frozen.keep(some.texts, some.label_ids, tokenizer, 16, done.append, batch_size=8, bf16=bf16)
    assert sum(done) == len(kept) == 50
    assert kept.lengths == [len(ids) for ids in tokenizer(some.texts, truncation=True, max_length=16)["input_ids"]]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        whole = model(**tokenizer(some.texts, truncation=True, max_length=16, padding=True, return_tensors="pt")).logits
        frozen.take_off()
        batch = pad_kept([kept[place] for place in range(50)])
        assert batch.pop("labels").tolist() == some.label_ids
        short = model(**batch).logits
    assert len(model.state_dict()) < len(before)
    # Half precision: ten bits as they are kept, seven where the layers compute in it.
    assert torch.allclose(whole, short, atol=(0.05 if bf16 else 0.02) * float(whole.abs().max()))
    frozen.put_back()
    assert model.state_dict().keys() == before.keys()


def test_nothing_is_kept_where_the_upper_layers_need_more_than_hidden_states(
    backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = frozen_lower(AutoModelForSequenceClassification.from_config(CONFIGS["bert"]))
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    assert FrozenPart.of(model, 2, tokenizer, tokens=10) is not None
    layers = layers_of(model)
    assert layers is not None
    layer = layers.modules[2]
    right = layer.forward

    def wrong(hidden: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        # Looks at what the whole model has and the short one has not.
        return right(hidden + float(len(model.base_model.encoder.layer)) / 10, *arguments, **named)

    monkeypatch.setattr(layer, "forward", wrong)
    assert FrozenPart.of(model, 2, tokenizer, tokens=10) is None


def test_nothing_is_kept_where_something_below_is_trained(backbone: Path) -> None:
    model = frozen_lower(AutoModelForSequenceClassification.from_config(CONFIGS["bert"]))
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    next(model.base_model.embeddings.parameters()).requires_grad = True
    assert FrozenPart.of(model, 2, tokenizer, tokens=10) is None


def test_nothing_is_kept_where_it_would_take_too_much_memory(corpus: Corpus, backbone: Path) -> None:
    model = AutoModelForSequenceClassification.from_config(CONFIGS["bert"])
    tokenizer = AutoTokenizer.from_pretrained(backbone)
    assert FrozenPart.of(model, 2, tokenizer, tokens=10**9) is None
    assert FrozenPart.of(model, 0, tokenizer, tokens=10) is None
