import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForSequenceClassification,
    BertTokenizerFast,
    MPNetConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from conflict_framing.data import Codebook, UserError
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model import explain as explain_module
from conflict_framing.model.folder import ModelFacts
from conflict_framing.model.torch_runtime import TorchRuntime
from conflict_framing.train.fit import Run
from conflict_framing.train.mean_layer import append_mean_layer

TEXT = "The army said the town was calm, and a raid near the river."
LABELS = ["attack", "calm", "move"]
_SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "initializer_range": 0.2,
    "num_labels": 3,
}


@pytest.fixture(scope="module")
def classifier(run: Run) -> CheckpointClassifier:
    return CheckpointClassifier.from_pretrained(run.layout.folder, device="cpu")


def untrained(config: Any, tokenizer: Any, *, mean: bool = False) -> CheckpointClassifier:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    if mean:
        assert append_mean_layer(model)
    return CheckpointClassifier(
        TorchRuntime(model, tokenizer, 40), codebook=Codebook.from_labels(LABELS), facts=ModelFacts(max_length=40)
    )


def of_architecture(name: str, mean: bool, backbone: Path, folder: Path) -> CheckpointClassifier:
    """The tiny backbone's words in a tokenizer whose padding is 1, as these architectures have it."""
    _, *words = (backbone / "vocab.txt").read_text("utf-8").splitlines()
    (folder / "vocab.txt").write_text("\n".join([words[1], "[PAD]", words[0], *words[2:]]), "utf-8")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=48)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    assert tokenizer.pad_token_id == 1
    config = {"mpnet": MPNetConfig, "roberta": RobertaConfig}[name]
    # Their position numbers leave out padding, which is what the baseline is made of.
    return untrained(config(**_SIZES, pad_token_id=1), tokenizer, mean=mean)


def change(classifier: CheckpointClassifier, text: str, place: int) -> float:
    """F(text) − F(baseline) by another way: the baseline's embeddings handed to the model as inputs."""
    tokenizer: Any = classifier.tokenizer
    inputs = tokenizer(text, return_tensors="pt", return_special_tokens_mask=True)
    kept = inputs.pop("special_tokens_mask").bool()
    ids = inputs.pop("input_ids")
    with torch.no_grad():
        embedded = classifier.model.get_input_embeddings()(ids.masked_fill(~kept, tokenizer.pad_token_id))
        probabilities = [
            classifier.model(**inputs, **words).logits[0].double().softmax(dim=-1)[place]
            for words in ({"input_ids": ids}, {"inputs_embeds": embedded})
        ]
    ours, blank = (float(p.log() - (1 - p).log()) for p in probabilities)
    return ours - blank


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("architecture", ["mpnet", "roberta"])
def test_attributions_sum_to_the_change_of_the_labels_log_odds(
    architecture: str, mean: bool, backbone: Path, tmp_path: Path
) -> None:
    classifier = of_architecture(architecture, mean, backbone, tmp_path)
    for place, label in enumerate(LABELS):
        found = classifier.explain(TEXT, label)
        assert found.difference == pytest.approx(change(classifier, TEXT, place), abs=1e-4)
        assert abs(found.difference) > 0.01
        total = sum(word.attribution for word in found.words) + found.special
        assert total == pytest.approx(found.difference, rel=0.05)
        assert found.gap == pytest.approx(abs(total - found.difference), abs=1e-5)
        assert found.complete


def test_words_cover_the_text_in_order_and_the_telling_one_stands_out(classifier: CheckpointClassifier) -> None:
    found = classifier.explain("The army said the town was calm.")
    assert [word.text for word in found.words] == ["The", "army", "said", "the", "town", "was", "calm", "."]
    assert all(found.text[word.start : word.end] == word.text for word in found.words)
    assert found.label == "calm"
    assert max(found.words, key=lambda word: word.attribution).text == "calm"
    assert found.special == pytest.approx(0, abs=1e-6)  # the baseline keeps special tokens
    assert found.complete
    assert not found.truncated


def test_the_predicted_label_is_explained_or_the_one_asked_for(classifier: CheckpointClassifier) -> None:
    prediction = classifier.predict(TEXT)
    found = classifier.explain(TEXT)
    assert (found.label, found.score) == (prediction.label, prediction.score)
    for name, value in prediction.probabilities.items():
        assert classifier.explain(TEXT, name).score == value
    # What speaks for one of two labels speaks against the other.
    calm, move = (classifier.explain(TEXT, name, among=["calm", "move"]) for name in ("calm", "move"))
    assert calm.score + move.score == pytest.approx(1, abs=1e-5)
    assert [w.attribution for w in calm.words] == pytest.approx([-w.attribution for w in move.words], abs=1e-4)
    with pytest.raises(UserError, match="--label quiet: expected one of the labels attack, calm, move"):
        classifier.explain(TEXT, "quiet")
    with pytest.raises(TypeError, match="expected str, came list"):
        classifier.explain([TEXT])  # type: ignore[arg-type]


def test_the_same_sentence_gets_the_same_figures_and_keeps_them_in_json(classifier: CheckpointClassifier) -> None:
    found = classifier.explain(TEXT)
    assert found == classifier.explain(TEXT)
    stored = json.loads(json.dumps(found.to_json()))
    assert stored["words"][0] == {"text": "The", "start": 0, "end": 3, "attribution": found.words[0].attribution}
    assert stored["complete"] is True
    assert stored["steps"] == found.steps


def test_steps_are_doubled_while_the_gap_is_wide(
    classifier: CheckpointClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Narrower than one step reaches, however smooth this model is.
    rough = classifier.explain(TEXT, steps=1)
    monkeypatch.setattr(explain_module, "TOLERANCE", min(0.01, abs(rough.gap / rough.difference) / 4))
    few = classifier.explain(TEXT, steps=1)
    assert few.steps > 1
    assert math.log2(few.steps).is_integer()
    assert few.complete
    monkeypatch.setattr(explain_module, "MOST_STEPS", 1)
    rough = classifier.explain(TEXT, steps=1)
    assert rough.steps == 1
    assert rough.gap > explain_module.TOLERANCE * abs(rough.difference)
    assert not rough.complete


def test_a_long_text_is_cut_as_in_prediction_and_marked(classifier: CheckpointClassifier) -> None:
    text = "calm " * 100
    found = classifier.explain(text)
    assert found.truncated
    assert classifier.predict(text).truncated
    assert len(found.words) == classifier.facts.max_length - 2  # what stands beyond the window moved nothing


def test_a_text_without_words_is_refused(classifier: CheckpointClassifier) -> None:
    with pytest.raises(UserError, match=r"expected text, came ' '"):
        classifier.explain(" ")


def byte_tokenizer() -> Any:
    """Byte-level BPE as RoBERTa's, but with the blank before a word inside the offsets of its first token."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<s>", "</s>"]
    inner.train_from_iterator(
        ["the town calm"], trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    )
    inner.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", model_max_length=40)


def test_tokens_of_other_tokenizers_find_their_words() -> None:
    tokenizer = byte_tokenizer()
    config = RobertaConfig(**{**_SIZES, "vocab_size": len(tokenizer)}, pad_token_id=0, max_position_embeddings=64)
    classifier = untrained(config, tokenizer)
    found = classifier.explain("the town  was calm 🙂", "calm")
    assert [word.text for word in found.words] == ["the", "town", "was", "calm", "🙂"]
    assert all(word.attribution for word in found.words)
    assert found.special != 0  # the lone blank
    total = sum(word.attribution for word in found.words) + found.special
    assert total == pytest.approx(found.difference, abs=found.gap + 1e-6)


def test_a_tokenizer_without_padding_is_told(backbone: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.pad_token = None
    config = RobertaConfig(**{**_SIZES, "vocab_size": len(tokenizer)}, pad_token_id=0, max_position_embeddings=64)
    classifier = untrained(config, tokenizer)
    with pytest.raises(UserError, match="no padding token"):
        explain_module._Inputs.of(classifier, TEXT)


def test_captum_is_asked_for_by_its_extra(classifier: CheckpointClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(UserError, match=r'captum.*pip install "conflict-framing\[train\]"'):
        classifier.explain(TEXT)
