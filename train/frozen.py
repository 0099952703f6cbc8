"""Run the frozen lower part of a backbone once per sentence instead of once per sentence and epoch.

Frozen embeddings and layers give the same output for a sentence in every epoch. That output is
computed once, kept in half precision, and only the upper layers are run while training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..data.errors import UserError

# Half precision for some 90,000 sentences of 30 tokens and 384 dimensions.
_MOST_BYTES = 2 * 1024**3
# Of the last hidden states, relative to their size: whole model against kept activations in half precision.
_TOLERANCE = 0.01


def freeze(model: Any, *, freeze_embeddings: bool, freeze_layers: int) -> None:
    """Keep a classifier's embeddings and so many of its lowest layers as they are.

    Raises:
        UserError: the backbone has fewer layers, or keeps them where this package does not find them.
    """
    if freeze_embeddings:
        model.base_model.embeddings.requires_grad_(False)
    if not freeze_layers:
        return
    layers = layers_of(model)
    if layers is None or freeze_layers > len(layers.modules):
        count = "unknown layers" if layers is None else f"{len(layers.modules)} layers"
        raise UserError(
            f"training.freeze_layers={freeze_layers}: the backbone has {count}. "
            f"Choose fewer, e.g. --set training.freeze_layers=0"
        )
    for layer in layers.modules[:freeze_layers]:
        layer.requires_grad_(False)
    # MPNet shares one table of relative positions among all layers, frozen ones included.
    for name, parameter in model.base_model.named_parameters():
        if "relative_attention_bias" in name:
            parameter.requires_grad = False


class KeptSentences(torch.utils.data.Dataset[dict[str, Any]]):
    """Sentences as outputs of the frozen part, shape (tokens, hidden size) each, with label and length."""

    def __init__(self, activations: Sequence[torch.Tensor], labels: Sequence[Any]) -> None:
        self._activations = activations
        self._labels = labels
        self.lengths = [len(rows) for rows in activations]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {"inputs_embeds": self._activations[place], "labels": self._labels[place]}


def pad_kept(features: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch padded to its longest sentence, with the attention mask."""
    rows = [feature["inputs_embeds"].float() for feature in features]
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max()))[None, :] < lengths[:, None]
    return {
        "inputs_embeds": nn.utils.rnn.pad_sequence(rows, batch_first=True),
        "attention_mask": mask.long(),
        "labels": torch.tensor([feature["labels"] for feature in features]),
    }


class _PassOn(nn.Module):
    """Stands in for the embeddings: what comes in are already the outputs of the frozen part."""

    def forward(self, *arguments: Any, **named: Any) -> Any:
        # By name in some architectures, by place in others; ids and masks are integers.
        values = (*arguments, *named.values())
        return next(value for value in values if isinstance(value, torch.Tensor) and value.is_floating_point())


class FrozenPart:
    """The embeddings and lower layers of a classifier, which can be taken off and put back."""

    def __init__(self, model: Any, layers: "Layers", n_layers: int) -> None:
        self._model = model
        self._base = model.base_model
        self._layers = layers
        self._n_layers = n_layers
        self._embeddings = self._base.embeddings

    @classmethod
    def of(cls, model: Any, n_layers: int, tokenizer: Any, tokens: int) -> "FrozenPart | None":
        """The frozen part, or None where its output cannot be kept.

        That is so without frozen parts, where it would take more than 2 GiB, and for an architecture in
        which the upper layers get more from below than hidden states, or the lower ones use something
        that is trained (both found out by trying).

        Args:
            model: the classifier; its embeddings and lowest layers are frozen.
            n_layers: how many lower layers are frozen.
            tokenizer: of the model.
            tokens: of all sentences together.
        """
        layers = layers_of(model)
        if layers is None or not 0 < n_layers < len(layers.modules):
            return None
        if tokens * model.config.hidden_size * 2 > _MOST_BYTES:
            return None
        part = cls(model, layers, n_layers)
        inputs = tokenizer(["One short probe.", "A somewhat longer one, so that there is padding."], padding=True)
        tensors = {name: torch.tensor(values) for name, values in inputs.items()}
        model.eval()
        try:
            kept = part.run(tensors)
            if kept.requires_grad:  # something below is still trained, so its output does not stay the same
                return None
            with torch.no_grad():
                whole = model.base_model(**tensors)[0]
                features = [
                    {"inputs_embeds": rows[: sum(mask)].half(), "labels": 0}
                    for rows, mask in zip(kept, inputs["attention_mask"], strict=True)
                ]
                batch = pad_kept(features)
                batch.pop("labels")
                part.take_off()
                short = model.base_model(**batch)[0]
        except (TypeError, RuntimeError, AttributeError, IndexError, StopIteration):
            return None
        finally:
            part.put_back()
        real = batch["attention_mask"].bool()
        far = (whole - short)[real].abs().max() / whole[real].abs().max()
        return part if far < _TOLERANCE else None

    def run(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Outputs of the frozen part for a padded batch, shape (sentences, tokens, hidden size)."""
        caught: list[torch.Tensor] = []

        def catch(module: Any, arguments: tuple[Any, ...]) -> None:
            caught.append(arguments[0])
            raise _CaughtError

        hook = self._layers.modules[self._n_layers].register_forward_pre_hook(catch)
        try:
            self._base(**inputs)
        except _CaughtError:
            pass
        finally:
            hook.remove()
        return caught[0]

    def take_off(self) -> None:
        """Leave the upper layers alone in the model; its inputs are then outputs of the frozen part."""
        upper = nn.ModuleList(list(self._layers.modules)[self._n_layers :])
        setattr(self._layers.holder, self._layers.name, upper)
        self._base.embeddings = _PassOn()

    def put_back(self) -> None:
        """Make the model whole again."""
        setattr(self._layers.holder, self._layers.name, self._layers.modules)
        self._base.embeddings = self._embeddings

    def keep(
        self,
        texts: Sequence[str],
        labels: Sequence[Any],
        tokenizer: Any,
        max_length: int,
        on_progress: Callable[[int], None],
        batch_size: int = 32,
        bf16: bool = False,
    ) -> KeptSentences:
        """Run the frozen part over sentences, the model being whole.

        Args:
            texts: the sentences.
            labels: what to learn of each.
            tokenizer: of the model.
            max_length: in tokens; longer sentences are cut.
            on_progress: gets the number of sentences of each batch done.
            batch_size: sentences per forward pass.
            bf16: whether to compute in half precision, as the training of the upper layers then does.
        """
        ids = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        rows: list[torch.Tensor] = [torch.empty(0)] * len(ids)
        self._model.eval()
        with torch.no_grad():
            for first in range(0, len(order), batch_size):
                places = order[first : first + batch_size]
                batch = tokenizer.pad({"input_ids": [ids[place] for place in places]}, return_tensors="pt")
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    found = self.run(dict(batch)).half()
                for place, own in zip(places, found, strict=True):
                    rows[place] = own[: len(ids[place])].clone()
                on_progress(len(places))
        return KeptSentences(rows, labels)


class _CaughtError(Exception):
    """Ends a forward pass at the first layer that is not frozen."""


@dataclass(frozen=True)
class Layers:
    """Where an encoder keeps its layers: the module that holds them, the name in it, the layers."""

    holder: Any
    name: str
    modules: nn.ModuleList


def layers_of(model: Any) -> Layers | None:
    """The layers of a classifier's backbone; None for an architecture that keeps them elsewhere."""
    base = model.base_model
    holder = getattr(base, "encoder", None) or getattr(base, "transformer", None)
    for name in ("layer", "layers"):
        found = getattr(holder, name, None)
        if isinstance(found, nn.ModuleList):
            return Layers(holder, name, found)
    return None
