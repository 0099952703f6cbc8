"""Mean pooling and a regression's weights, written into a stock classifier.

Sentence encoders are made to be read by the mean over their tokens; stock classifiers read the first
token. A layer whose first token attends to all tokens alike, and passes on little but that mean, gives
the one to the other: the checkpoint stays one that transformers' own classes open.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .frozen import layers_of

# How much of the mean stands against the one of the first token itself, which the residual connection adds;
# the layer norm behind it takes the scale away.
_SCALE = 1000.0
# tanh(0.05 x) is 0.05 x to less than a hundredth for nearly all x of a layer norm, and weights of that size
# can be trained on.
_LINEAR = 0.05
# ReLU and GELU leave x + 50 as it is.
_SHIFT = 50.0


@dataclass(frozen=True)
class PartNames:
    """Where an architecture keeps the parts of a layer."""

    query: str
    key: str
    value: str
    out: str
    norm: str
    up: str
    down: str
    last_norm: str


_ARCHITECTURES = (
    # BERT, RoBERTa, XLM-RoBERTa, ELECTRA, CamemBERT.
    PartNames(
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
    ),
    # MPNet adds a bias by distance to all attention, so its mean leans to the first tokens.
    PartNames(
        "attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o",
        "attention.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
    ),
    # DistilBERT.
    PartNames(
        "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin",
        "sa_layer_norm", "ffn.lin1", "ffn.lin2", "output_layer_norm",
    ),
)  # fmt: skip


# Others may have layers of the same names that compute something else.
MODEL_TYPES = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "electra", "mpnet", "distilbert"})


def names_of(layer: Any) -> PartNames | None:
    """Where a layer keeps its parts; None where it has others than those of any known architecture."""
    parts = dict(layer.named_modules())
    return next((names for names in _ARCHITECTURES if set(vars(names).values()) <= set(parts)), None)


def append_mean_layer(model: Any, *, trained: bool = False) -> bool:
    """Add a layer after which the first token is the normalised mean over all tokens of the last layer.

    Its output at the first token is LN(s · mean + first) with s = 1000, LN without weights: the mean,
    centred and scaled to length √d. The layer is frozen.

    Args:
        model: a classifier.
        trained: whether the head will be trained on from where ``start_head`` puts it. Dropout before the
            last layer forbids that for heads with ReLU or GELU (DistilBERT, ELECTRA).

    Returns:
        False, and nothing is done, for an architecture or head that is not known here.
    """
    layers, head = layers_of(model), _head_of(model)
    if model.config.model_type not in MODEL_TYPES or layers is None or head is None or (trained and not head.tanh):
        return False
    layer = copy.deepcopy(layers.modules[-1])
    parts = dict(layer.named_modules())
    names = names_of(layer)
    if names is None:
        return False
    with torch.no_grad():
        for name in vars(names).values():
            parts[name].weight.zero_()
            parts[name].bias.zero_()
        nn.init.eye_(parts[names.value].weight)
        nn.init.eye_(parts[names.out].weight).mul_(_SCALE)
        for norm in (names.norm, names.last_norm):
            parts[norm].weight.fill_(1.0)
    # Dropout here would drop whole features of the mean.
    for part in parts.values():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    layer.requires_grad_(False)
    layers.modules.append(layer)
    setattr(model.config, "n_layers" if hasattr(model.config, "n_layers") else "num_hidden_layers", len(layers.modules))
    return True


@dataclass(frozen=True)
class _Head:
    """The two linear layers of a classification head, and what stands between them."""

    first: nn.Linear
    last: nn.Linear
    tanh: bool  # else ReLU or GELU


def _head_of(model: Any) -> _Head | None:
    parts = dict(model.named_modules())
    pooler = f"{model.base_model_prefix}.pooler.dense"
    for first, last, tanh in (
        (pooler, "classifier", True),  # BERT
        ("classifier.dense", "classifier.out_proj", model.config.model_type != "electra"),
        ("pre_classifier", "classifier", False),  # DistilBERT
    ):
        if isinstance(parts.get(first), nn.Linear) and isinstance(parts.get(last), nn.Linear):
            return _Head(parts[first], parts[last], tanh)
    return None


def start_head(
    model: Any, features: npt.NDArray[Any], labels: Sequence[int], label_weights: Sequence[float] | None
) -> None:
    """Make the head of a classifier compute the logits of a logistic regression.

    Args:
        model: for which ``append_mean_layer`` returned True.
        features: ``embed`` of the sentences, shape (sentences, hidden size).
        labels: their labels' places.
        label_weights: of each label in the regression; None weighs all alike.
    """
    from sklearn.linear_model import LogisticRegression

    head = _head_of(model)
    assert head is not None  # noqa: S101 - told by append_mean_layer
    weights_of = None if label_weights is None else {label: label_weights[label] for label in sorted(set(labels))}
    regression = LogisticRegression(C=10.0, max_iter=2000, class_weight=weights_of).fit(features, list(labels))
    # A label that no sentence has stays far below the others.
    weights = np.zeros(tuple(head.last.weight.shape), np.float32)
    biases = np.full(len(weights), -20.0, np.float32)
    if len(regression.classes_) == 2:
        weights[regression.classes_] = np.concatenate([-regression.coef_, regression.coef_]) / 2
        biases[regression.classes_] = np.concatenate([-regression.intercept_, regression.intercept_]) / 2
    else:
        weights[regression.classes_] = regression.coef_
        biases[regression.classes_] = regression.intercept_
    # The head reads rows of length √d, the regression rows of length 1.
    rows = torch.tensor(weights) / features.shape[1] ** 0.5
    with torch.no_grad():
        nn.init.eye_(head.first.weight)
        if head.tanh:
            head.first.weight.mul_(_LINEAR)
            head.first.bias.zero_()
            head.last.weight.copy_(rows / _LINEAR)
            head.last.bias.copy_(torch.tensor(biases))
        else:
            head.first.bias.fill_(_SHIFT)
            head.last.weight.copy_(rows)
            head.last.bias.copy_(torch.tensor(biases) - _SHIFT * rows.sum(dim=1))


def first_tokens(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """What the head reads of each sentence, scaled to length 1: shape (sentences, hidden size)."""
    hidden = model.base_model(**batch)[0][:, 0]
    return nn.functional.normalize(hidden.float(), dim=-1)


def embed(
    model: Any, tokenizer: Any, texts: Sequence[str], max_length: int, on_progress: Callable[[int], None]
) -> npt.NDArray[np.float32]:
    """``first_tokens`` of many sentences, in their order: shape (sentences, hidden size)."""
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    rows = np.empty((len(texts), model.config.hidden_size), np.float32)
    model.eval()
    with torch.no_grad():
        for first in range(0, len(order), 32):
            places = order[first : first + 32]
            batch = tokenizer(
                [texts[place] for place in places],
                truncation=True, max_length=max_length, padding=True, return_tensors="pt",
            ).to(model.device)  # fmt: skip
            rows[places] = first_tokens(model, dict(batch)).cpu().numpy()
            on_progress(len(places))
    return rows
