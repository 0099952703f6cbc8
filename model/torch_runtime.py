"""The checkpoint in PyTorch: equal to ``transformers.pipeline``, and what training and explaining work on."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from ..data.errors import MissingExtraError, UserError
from .layout import ModelLayout
from .runtime import BATCH_SIZE, Array, Scores

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# One of these comes with every Hugging Face tokenizer. Without any, transformers would make up an
# empty one without a word, and every sentence would get the same label.
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)


class TorchRuntime:
    """A sequence-classification model of transformers with its tokenizer.

    Args:
        model, tokenizer: of transformers.
        max_length: longest input in tokens; None takes what both allow.
    """

    name: Literal["torch"] = "torch"

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int | None) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_length = max_length or window_of(model, tokenizer)
        self.batch_size = BATCH_SIZE
        model.train(False)

    @classmethod
    def load(cls, source: Path, name: str | Path, device: str, max_length: int | None) -> Self:
        """Load a folder with safetensors weights.

        Args:
            source: the folder.
            name: what the user called it.
            device: as in ``pick_device``.
            max_length: as above.

        Raises:
            UserError: no weights or no tokenizer, or a folder that cannot be loaded safely.
            MissingExtraError: PyTorch or transformers is not installed.
        """
        if not weights_of(source):
            raise UserError(
                f"{name}: no .safetensors weights in {source}. Either the folder is incomplete, or its "
                f"weights are pickled, and those are not loaded."
            )
        if not any((source / file).exists() for file in TOKENIZER_FILES):
            raise UserError(
                f"{name}: no tokenizer in {source} (expected one of {', '.join(TOKENIZER_FILES)}). "
                f"The folder is incomplete; copy it whole."
            )
        try:
            import torch  # noqa: F401 - transformers itself can be imported without it
            from safetensors import SafetensorError
            from transformers import AutoModelForSequenceClassification, AutoTokenizer
        except ImportError as error:
            raise MissingExtraError(error.name or "transformers", "train", "Loading a model into PyTorch") from None
        with quiet_transformers():
            try:
                model = AutoModelForSequenceClassification.from_pretrained(
                    source, use_safetensors=True, trust_remote_code=False, local_files_only=True
                )
                tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=True)
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                raise UserError(f"{name}: {source} cannot be loaded: {error}") from None
        return cls(model.to(pick_device(device)), tokenizer, max_length)

    @property
    def hidden_size(self) -> int | None:
        return getattr(self.model.config, "hidden_size", None)

    def score(self, sentences: Sequence[str]) -> Scores:
        """Batches of similar length, results in the order of the input."""
        import torch

        with quiet_transformers():  # its warning that a text is long is what `truncated` says
            lengths = [len(ids) for ids in self.tokenizer(list(sentences), truncation=False)["input_ids"]]
            encoded = self.tokenizer(list(sentences), truncation=True, max_length=self.max_length)
        order = sorted(range(len(sentences)), key=lambda place: lengths[place])
        probabilities = np.empty((len(sentences), int(self.model.config.num_labels or 0)), np.float32)
        with torch.inference_mode():
            for first in range(0, len(order), self.batch_size):
                places = order[first : first + self.batch_size]
                batch = {name: [column[place] for place in places] for name, column in encoded.items()}
                inputs = self.tokenizer.pad(batch, return_tensors="pt").to(self.model.device)
                logits = self.model(**inputs).logits
                probabilities[places] = torch.softmax(logits.float(), dim=-1).cpu().numpy()
        return Scores(probabilities, np.array([length > self.max_length for length in lengths], bool))

    def embed(self, sentences: Sequence[str], on_progress: Callable[[int], None]) -> tuple[Array, Array]:
        import torch

        model, tokenizer = self.model, self.tokenizer
        order = sorted(range(len(sentences)), key=lambda place: len(sentences[place]))
        rows = np.empty((len(sentences), int(model.config.hidden_size)), np.float32)
        probabilities = np.empty((len(sentences), int(model.config.num_labels or 0)), np.float32)
        with quiet_transformers(), torch.inference_mode():
            for first in range(0, len(order), self.batch_size):
                places = order[first : first + self.batch_size]
                inputs: Any = tokenizer(
                    [sentences[place] for place in places],
                    truncation=True, max_length=self.max_length, padding=True, return_tensors="pt",
                ).to(model.device)  # fmt: skip
                outputs = model(**inputs, output_hidden_states=True)
                mask = inputs["attention_mask"].unsqueeze(-1)
                hidden = outputs.hidden_states[-1].float()
                rows[places] = ((hidden * mask).sum(dim=1) / mask.sum(dim=1)).cpu().numpy()
                probabilities[places] = torch.softmax(outputs.logits.float(), dim=-1).cpu().numpy()
                on_progress(len(places))
        return rows, probabilities


def weights_of(folder: Path) -> list[Path]:
    """The files of a model's weights, sorted; several where they were saved in parts."""
    return sorted(path for path in folder.glob("*.safetensors") if path != ModelLayout(folder).reference)


def pick_device(device: str) -> str:
    """The PyTorch device for ``--device``.

    Raises:
        UserError: the device is unknown or not on this machine.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"--device {device}: not usable on this machine ({reason}). Try auto, cpu, cuda or mps."
        ) from None
    return device


def window_of(model: Any, tokenizer: Any) -> int:
    """The longest input of a checkpoint in tokens: what its tokenizer and its positions both allow."""
    positions = getattr(model.config, "max_position_embeddings", None) or 512
    # RoBERTa-like models keep two positions for padding.
    reserved = 2 if getattr(model.config, "model_type", "") in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0
    return int(min(tokenizer.model_max_length, positions - reserved))


class quiet_transformers:  # noqa: N801 - reads as a statement
    """Hold back transformers' own progress bars and warnings inside a ``with`` block."""

    def __enter__(self) -> None:
        self._logging: Any = importlib.import_module("transformers.utils.logging")
        self._level = self._logging.get_verbosity()
        self._bars = self._logging.is_progress_bar_enabled()
        self._logging.set_verbosity_error()
        self._logging.disable_progress_bar()

    def __exit__(self, *_: object) -> Literal[False]:
        self._logging.set_verbosity(self._level)
        if self._bars:
            self._logging.enable_progress_bar()
        return False
