"""Which words moved the model: integrated gradients (Sundararajan, Taly & Yan 2017, arXiv 1703.01365).

The gradient of the model's answer is summed along the straight line from a baseline to the sentence. What
is explained, F, is the logit of a label's probability, log p/(1 − p), which is the label's output less the
log-sum-exp of the others. A label's bare output would also credit words that raise all labels alike and
change nothing; log p would flatten out where the model is sure.

The baseline is the same sentence with [PAD] in place of every token, special tokens kept. The line runs
through the word embeddings, before positions are added, so that sentence and baseline have the same
positions in all architectures (RoBERTa and MPNet do not count [PAD] where they number the tokens).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..data.errors import MissingExtraError, UserError
from ..data.sentences import split_words

if TYPE_CHECKING:
    from .classifier import CheckpointClassifier

STEPS = 50
MOST_STEPS = 800
TOLERANCE = 0.05
"""Of F(x) − F(baseline): a larger gap means that the steps were too few."""
_ROUNDING = 1e-4  # where that difference is next to nothing, single precision alone leaves more

_BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class Word:
    """A word at ``text[start:end]`` and how much it moved F: above 0 for the label, below 0 against it."""

    text: str
    start: int
    end: int
    attribution: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What moved the model towards a label or away from it; not why the label would be right.

    Attributes:
        text: the sentence.
        label: which label is explained.
        score: the label's probability.
        words: the words that the model read, in order, with their attributions in units of F.
        special: what falls on tokens that stand for no word (special tokens, lone blanks).
        difference: F(sentence) − F(baseline), which the attributions sum to but for the gap.
        gap: \\|sum of all attributions − difference\\|.
        steps: points on the line at which the gradient was taken.
        truncated: whether the text was longer than the model's window; words beyond it are missing here.
    """

    text: str
    label: str
    score: float
    words: tuple[Word, ...]
    special: float
    difference: float
    gap: float
    steps: int
    truncated: bool = False

    @property
    def complete(self) -> bool:
        """Whether the gap is at most ``TOLERANCE`` of the difference."""
        return _is_complete(self.gap, self.difference)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "words": [asdict(word) for word in self.words], "complete": self.complete}


def explain(
    classifier: CheckpointClassifier,
    text: str,
    label: str | None = None,
    *,
    steps: int = STEPS,
    among: Sequence[str] | None = None,
) -> Explanation:
    """Attribute a label's logit to the words of a sentence.

    While the gap is larger than ``TOLERANCE`` of the difference, the steps are doubled, up to ``MOST_STEPS``.

    Args:
        classifier: whose answer is explained.
        text: one sentence; cut at the model's window as in prediction.
        label: to be explained; None takes the predicted one.
        steps: to begin with.
        among: as in ``CheckpointClassifier.predict``; probabilities are those among these labels.

    Raises:
        TypeError: ``text`` is no string.
        UserError: the model does not have the label, or its tokenizer gives no offsets or no padding token.
        ValueError: fewer than one step.
        MissingExtraError: captum is not installed.
    """
    try:
        import torch
        from captum.attr import LayerIntegratedGradients
    except ImportError as error:
        raise MissingExtraError(error.name or "captum", "train", "Explaining a prediction") from None
    if not isinstance(text, str):
        raise TypeError(f"expected one sentence as str, came {type(text).__name__}")
    if steps < 1:
        raise ValueError(f"expected at least one step, came {steps}")
    # Asked among all labels by name, a cascade leaves its first stage out, which the words would not explain.
    prediction = classifier.predict(text, among=among or classifier.classes_)
    names = list(prediction.probabilities)
    label = prediction.label if label is None else label
    if label not in names:
        raise UserError(f"--label {label}: expected one of the labels {', '.join(names)}.")

    inputs = _Inputs.of(classifier, text)
    columns = [classifier.classes_.index(name) for name in (label, *(n for n in names if n != label))]

    def logit(ids: Any, *rest: Any) -> Any:
        outputs = classifier.model(input_ids=ids, **dict(zip(inputs.rest, rest, strict=True))).logits.float()
        return outputs[:, columns[0]] - torch.logsumexp(outputs[:, columns[1:]], dim=-1)

    rest = tuple(inputs.rest.values())
    layer = classifier.model.get_input_embeddings()
    with torch.no_grad():
        baseline = layer(inputs.baseline)
        ours = float(logit(inputs.ids, *rest))
        # The far end of the line: only the words are gone, the positions are still those of the sentence.
        hook = layer.register_forward_hook(lambda *_: baseline)
        try:
            difference = ours - float(logit(inputs.ids, *rest))
        finally:
            hook.remove()
    integral = LayerIntegratedGradients(logit, layer)

    def tokens(steps: int) -> npt.NDArray[np.float64]:
        found = integral.attribute(
            inputs.ids,
            inputs.baseline,
            additional_forward_args=rest,
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=_BATCH_SIZE,
        )
        return np.asarray(found.detach().cpu().double().sum(dim=-1)[0].numpy(), np.float64)

    attributions, gap, steps = _until_complete(tokens, difference, steps)
    words, special = _merge(text, inputs, attributions)
    return Explanation(
        text=text,
        label=label,
        score=prediction.probabilities[label],
        words=words,
        special=special,
        difference=difference,
        gap=gap,
        steps=steps,
        truncated=prediction.truncated,
    )


def _is_complete(gap: float, difference: float) -> bool:
    return gap <= max(TOLERANCE * abs(difference), _ROUNDING)


def _until_complete(
    tokens: Callable[[int], npt.NDArray[np.float64]], difference: float, steps: int
) -> tuple[npt.NDArray[np.float64], float, int]:
    while True:
        found = tokens(steps)
        gap = abs(float(found.sum()) - difference)
        if _is_complete(gap, difference) or steps * 2 > MOST_STEPS:
            return found, gap, steps
        steps *= 2


@dataclass(frozen=True)
class _Inputs:
    """One encoded sentence: tensors of shape (1, tokens), and where each token stands in the text."""

    ids: Any
    baseline: Any
    rest: dict[str, Any]
    offsets: list[tuple[int, int]]

    @classmethod
    def of(cls, classifier: CheckpointClassifier, text: str) -> _Inputs:
        import torch

        tokenizer: Any = classifier.tokenizer
        if not tokenizer.is_fast or tokenizer.pad_token_id is None:
            what = "no padding token" if tokenizer.is_fast else "no character offsets (it is no 'fast' tokenizer)"
            raise UserError(f"This model cannot be explained: its tokenizer {type(tokenizer).__name__} has {what}.")
        encoded = tokenizer(
            text,
            truncation=True,
            max_length=classifier.facts.max_length,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        special = encoded.pop("special_tokens_mask")
        offsets = encoded.pop("offset_mapping")
        device = classifier.model.device
        tensors = {name: torch.tensor([values], device=device) for name, values in encoded.items()}
        ids = tensors.pop("input_ids")
        kept = torch.tensor([special], dtype=torch.bool, device=device)
        return cls(
            ids=ids,
            baseline=torch.where(kept, ids, torch.full_like(ids, tokenizer.pad_token_id)),
            rest=tensors,
            offsets=[
                (0, 0) if no_word else (start, end) for (start, end), no_word in zip(offsets, special, strict=True)
            ],
        )


def _merge(text: str, inputs: _Inputs, attributions: npt.NDArray[np.float64]) -> tuple[tuple[Word, ...], float]:
    """Sum the tokens of each word; one that spans several words counts for the first."""
    read = max((end for _, end in inputs.offsets), default=0)
    places = [(start, end) for start, end in split_words(text) if start < read]
    starts = [start for start, _ in places]
    sums = [0.0] * len(places)
    special = 0.0
    for (start, end), value in zip(inputs.offsets, attributions.tolist(), strict=True):
        piece = text[start:end]
        if piece.strip():
            # Some tokenizers give the blank before a word to its first token.
            sums[bisect_right(starts, start + len(piece) - len(piece.lstrip())) - 1] += value
        else:
            special += value
    words = (Word(text[start:end], start, end, total) for (start, end), total in zip(places, sums, strict=True))
    return tuple(words), special
