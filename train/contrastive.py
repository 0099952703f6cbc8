"""The start for few labels: sentences of one label drawn together, those of others apart.

Supervised contrastive learning (Khosla et al. 2020, equation 2) on what the head reads of a sentence, then
a logistic regression as the head: the two stages of SetFit (Tunstall et al. 2022), with all pairs of a batch
instead of drawn ones.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from .mean_layer import embed, first_tokens, start_head
from .recipe import FEW_LABELS_BATCH

_TEMPERATURE = 0.1
_WARMUP = 0.1


def batches(labels: Sequence[int], steps: int, seed: int) -> list[list[int]]:
    """Places of the sentences of each batch: as many of every label, at least two.

    With more labels than half a batch, each batch gets some of the labels. Sentences of a label come
    in random order, each once before any comes again.
    """
    chance = np.random.default_rng(seed)
    queues: dict[int, list[int]] = {label: [] for label in sorted(set(labels))}
    own = {label: [place for place, other in enumerate(labels) if other == label] for label in queues}
    most = FEW_LABELS_BATCH // 2
    drawn = []
    for _ in range(steps):
        some = list(queues) if len(queues) <= most else chance.choice(list(queues), most, replace=False).tolist()
        each = max(2, FEW_LABELS_BATCH // len(some))
        batch: list[int] = []
        for label in some:
            while len(queues[label]) < each:
                # One still waiting comes last in the new order, lest it stand twice in a batch.
                again = chance.permutation(own[label]).tolist()
                waiting = set(queues[label])
                queues[label] += [place for place in again if place not in waiting]
                queues[label] += [place for place in again if place in waiting]
            batch += queues[label][:each]
            del queues[label][:each]
        drawn.append(batch)
    return drawn


def contrastive_loss(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean over sentences of −log of the share that the others of its label have (L_out, temperature 0.1).

    Args:
        rows: shape (sentences, d), each of length 1.
        labels: shape (sentences,).
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=rows.device)
    likeness = (rows @ rows.T / _TEMPERATURE).masked_fill(itself, -1e9)
    shares = likeness - torch.logsumexp(likeness, dim=1, keepdim=True)
    same = (labels[:, None] == labels[None, :]) & ~itself
    partners = same.sum(dim=1)
    paired = partners > 0
    return -((shares * same).sum(dim=1)[paired] / partners[paired]).mean()


def fit_few(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    labels: Sequence[int],
    *,
    steps: int,
    learning_rate: float,
    max_length: int,
    seed: int,
    bf16: bool,
    label_weights: Sequence[float] | None,
    on_step: Callable[[int, float], None],
) -> None:
    """Train a classifier on few sentences; its head is fitted last.

    Args:
        model: with a mean layer (``append_mean_layer`` returned True).
        tokenizer: of the model.
        texts: of the sentences.
        labels: their labels' places.
        steps: batches of 32 sentences; 0 leaves the backbone as it is.
        learning_rate: its highest value.
        max_length: in tokens.
        seed: of the batches and of dropout.
        bf16: whether to compute in half precision.
        label_weights: of each label in the regression; None weighs all alike.
        on_step: gets the number of each finished step and its loss.
    """
    torch.manual_seed(seed)
    trained = [parameter for parameter in model.base_model.parameters() if parameter.requires_grad]
    places = torch.tensor(list(labels))
    kind = model.device.type
    if steps:
        optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / (_WARMUP * steps), 1 - step / steps)
        )
        model.train()
        for step, batch in enumerate(batches(labels, steps, seed)):
            inputs = tokenizer(
                [texts[place] for place in batch],
                truncation=True, max_length=max_length, padding=True, return_tensors="pt",
            ).to(model.device)  # fmt: skip
            with torch.autocast(kind, torch.bfloat16, enabled=bf16):
                rows = first_tokens(model, dict(inputs))
            loss = contrastive_loss(rows.float(), places[batch].to(model.device))
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            on_step(step + 1, float(loss.detach()))
    features = embed(model, tokenizer, texts, max_length, lambda count: None)
    start_head(model, features, labels, label_weights)
