"""A fine-tuned checkpoint as an object: sentences in, labels and probabilities out."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, overload

import numpy as np
import numpy.typing as npt

from ..data.codebook import Codebook
from ..data.errors import MissingExtraError, UserError
from .abstain import CONFIDENCE, Abstention, threshold_for
from .calibration import Calibration, missing_calibration, read_calibration
from .drift import Reference, read_reference
from .explain import STEPS, Explanation, explain
from .folder import ModelFacts, find_model, read_codebook, read_facts
from .layout import ModelLayout

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Probabilities = npt.NDArray[np.float32]

# Sentences that are sorted by length together: enough for batches of even length, small enough to
# keep a stream's memory constant and its progress steady.
WINDOW = 1024
BATCH_SIZE = 32
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


@dataclass(frozen=True, slots=True)
class Prediction:
    """The label of one sentence.

    Attributes:
        label: the most probable label.
        score: its probability.
        probabilities: one per label, in the order of the model's labels; they sum to 1.
        abstained: whether the model declined to answer: its score is below the threshold that was asked
            for. ``label`` then is its guess.
        truncated: whether the sentence was longer than the model's window and was cut.
    """

    label: str
    score: float
    probabilities: dict[str, float]
    abstained: bool = False
    truncated: bool = False

    @classmethod
    def of(cls, names: Sequence[str], row: Probabilities, truncated: bool, abstain_below: float | None) -> Self:
        """The most probable of these labels, ``row`` being their probabilities."""
        best = int(row.argmax())
        score = float(row[best])
        return cls(
            label=names[best],
            score=score,
            probabilities={name: float(value) for name, value in zip(names, row, strict=True)},
            abstained=abstain_below is not None and score < abstain_below,
            truncated=bool(truncated),
        )


@dataclass(frozen=True, slots=True)
class _Scores:
    probabilities: Probabilities
    truncated: npt.NDArray[np.bool_]


class CheckpointClassifier:
    """Predicts with a Hugging Face sequence-classification checkpoint.

    Build it with ``from_pretrained``. Nothing here knows how models are trained.

    Attributes:
        reference: what input is compared with to tell drift, where the model has it.
        source: the folder that it was loaded from.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        codebook: Codebook,
        facts: ModelFacts,
        calibration: Calibration | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.codebook = codebook
        self.facts = facts
        self.calibration = calibration
        self.reference: Reference | None = None
        self.source: Path | None = None
        self.batch_size = BATCH_SIZE
        model.train(False)

    # --- loading and saving ---------------------------------------------------------------------

    @classmethod
    def from_pretrained(cls, name: str | Path, *, device: str = "auto") -> Self:
        """Load a run, a model folder or a model of the hub.

        Args:
            name: a folder that ``train`` wrote (the run or its ``model``), any Hugging Face
                sequence-classification folder with safetensors weights, or a hub name.
            device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

        Raises:
            UserError: no model there, or one that cannot be loaded safely.
            MissingExtraError: PyTorch or transformers is not installed.
        """
        try:
            from safetensors import SafetensorError
            from transformers import AutoModelForSequenceClassification, AutoTokenizer
        except ImportError:
            raise MissingExtraError("transformers", "train", "Loading a model") from None

        source = find_model(name)
        facts = read_facts(source)
        if not weights_of(source):
            raise UserError(
                f"--model {name}: no .safetensors weights in {source}. Either the folder is incomplete, or its "
                f"weights are pickled, and those are not loaded."
            )
        if not any((source / file).exists() for file in TOKENIZER_FILES):
            raise UserError(
                f"--model {name}: no tokenizer in {source} (expected one of {', '.join(TOKENIZER_FILES)}). "
                f"The folder is incomplete; copy it whole."
            )
        with quiet_transformers():
            try:
                model = AutoModelForSequenceClassification.from_pretrained(
                    source, use_safetensors=True, trust_remote_code=False, local_files_only=True
                )
                tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=True)
            except (OSError, ValueError, KeyError, SafetensorError) as error:
                raise UserError(f"--model {name}: {source} cannot be loaded: {error}") from None
        labels = [model.config.id2label[place] for place in range(model.config.num_labels)]
        codebook = read_codebook(source, labels)
        if codebook.label_names != labels:
            raise UserError(
                f"--model {name}: codebook.yaml and config.json name different labels; the folder is damaged."
            )
        facts = facts or ModelFacts(max_length=window_of(model, tokenizer), backbone=str(name))
        classifier = cls(
            model.to(pick_device(device)),
            tokenizer,
            codebook=codebook,
            facts=facts,
            calibration=read_calibration(source, labels),
        )
        classifier.reference = read_reference(ModelLayout(source).reference, getattr(model.config, "hidden_size", None))
        classifier.source = source
        return classifier

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model folder: checkpoint, tokenizer, codebook, facts and, where there are any, calibration and
        reference.

        The folder opens with ``from_pretrained`` here and with ``transformers.pipeline``.
        """
        layout = ModelLayout(Path(folder))
        layout.folder.mkdir(parents=True, exist_ok=True)
        # pipeline() asks the tokenizer for the window, so it is told there too.
        self.tokenizer.model_max_length = self.facts.max_length
        with quiet_transformers():
            self.model.save_pretrained(layout.folder)
            self.tokenizer.save_pretrained(str(layout.folder))
        # safetensors writes its file for the owner's eyes only; runs are shared.
        layout.weights.chmod(layout.config.stat().st_mode)
        layout.codebook.write_text(self.codebook.to_yaml(), "utf-8")
        self.facts.write(layout.facts)
        for stale in (layout.calibration, layout.reference):  # of a model that stood here before
            stale.unlink(missing_ok=True)
        if self.calibration:
            self.calibration.write(layout.calibration)
        if self.reference:
            self.reference.write(layout.reference)

    # --- predicting -----------------------------------------------------------------------------

    @property
    def classes_(self) -> list[str]:
        """The labels, in the order of the columns of ``predict_proba``."""
        return self.codebook.label_names

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is an iterable of str too
        self, sentences: str, *, among: Sequence[str] | None = None, abstain_below: float | None = None
    ) -> Prediction: ...

    @overload
    def predict(
        self, sentences: Iterable[str], *, among: Sequence[str] | None = None, abstain_below: float | None = None
    ) -> list[Prediction]: ...

    def predict(
        self,
        sentences: str | Iterable[str],
        *,
        among: Sequence[str] | None = None,
        abstain_below: float | None = None,
    ) -> Prediction | list[Prediction]:
        """Label one sentence or many.

        Args:
            sentences: one string, or an iterable of strings.
            among: choose among these labels only; their probabilities are renormalised to sum to 1.
            abstain_below: mark predictions with a lower score ``abstained``; a threshold of your own, or that
                of ``abstention``.

        Returns:
            One ``Prediction`` for a string, else a list of the same length and order.

        Raises:
            TypeError: something that is not a string.
            UserError: a label in ``among`` that the model does not have.
        """
        if isinstance(sentences, str):
            return next(iter(self.stream([sentences], among=among, abstain_below=abstain_below)))
        return list(self.stream(sentences, among=among, abstain_below=abstain_below))

    def predict_proba(self, sentences: Iterable[str]) -> Probabilities:
        """Probabilities of all labels: float32 array of shape (n sentences, n labels)."""
        windows = [self._scores(window).probabilities for window in _windows(sentences)]
        return np.concatenate(windows) if windows else np.empty((0, len(self.classes_)), np.float32)

    def abstention(self, max_error: float, confidence: float = CONFIDENCE) -> Abstention:
        """The threshold with at most ``max_error`` wrong among the answered (see ``abstain.threshold_for``).

        >>> classifier.predict(texts, abstain_below=classifier.abstention(0.05).threshold)  # doctest: +SKIP

        It holds for all labels (without ``among``) and for text like the calibration part.

        Raises:
            UserError: a number out of range, or a model without a calibration part.
        """
        if self.calibration is None:
            raise missing_calibration("--max-error")
        return threshold_for(self.calibration, max_error, confidence)

    def stream(
        self, sentences: Iterable[str], *, among: Sequence[str] | None = None, abstain_below: float | None = None
    ) -> Iterator[Prediction]:
        """Predictions in the order of the input, in constant memory.

        Sentences are taken ``WINDOW`` at a time, so the first prediction comes after one window.
        Arguments and errors are those of ``predict``.
        """
        columns = self._columns(among)
        names = [self.classes_[column] for column in columns]
        for window in _windows(sentences):
            scores = self._scores(window)
            chosen = scores.probabilities[:, columns]
            if among is not None:
                chosen = renormalise(chosen)
            for row, cut in zip(chosen, scores.truncated, strict=True):
                yield Prediction.of(names, row, cut, abstain_below)

    def explain(
        self, text: str, label: str | None = None, steps: int = STEPS, *, among: Sequence[str] | None = None
    ) -> Explanation:
        """Which words moved the model towards a label or away from it (see ``model/explain.py``).

        Args:
            text: one sentence.
            label: to be explained; None takes the predicted one.
            steps: of the integral; doubled where they are too few.
            among: as in ``predict``.

        Raises:
            UserError: the model does not have the label, or its tokenizer gives no offsets.
            MissingExtraError: captum is not installed.
        """
        return explain(self, text, label, steps=steps, among=among)

    def score(self, sentences: Sequence[str], labels: Sequence[str]) -> float:
        """Macro-F1 over the labels that occur in ``labels`` or in the predictions (0 to 1)."""
        from sklearn.metrics import f1_score

        if len(sentences) != len(labels):
            raise ValueError(f"expected as many labels as sentences, came {len(labels)} and {len(sentences)}")
        predicted = [prediction.label for prediction in self.predict(list(sentences))]
        return float(f1_score(list(labels), predicted, average="macro", zero_division=0))

    def _columns(self, among: Sequence[str] | None) -> list[int]:
        if among is None:
            return list(range(len(self.classes_)))
        unknown = [name for name in among if name not in self.classes_]
        if unknown or len(set(among)) < 2:
            raise UserError(
                f"--among: expected at least two of the model's labels ({', '.join(self.classes_)}), "
                f"came {', '.join(among) or 'none'}."
            )
        return [place for place, name in enumerate(self.classes_) if name in among]

    def _scores(self, sentences: Sequence[str]) -> _Scores:
        """Score one window of sentences: batches of similar length, results in the order of the input."""
        import torch

        for place, sentence in enumerate(sentences):
            if not isinstance(sentence, str):
                raise TypeError(f"sentence {place}: expected str, came {type(sentence).__name__}")
        with quiet_transformers():  # its warning that a text is long is what `truncated` says
            lengths = [len(ids) for ids in self.tokenizer(list(sentences), truncation=False)["input_ids"]]
            encoded = self.tokenizer(list(sentences), truncation=True, max_length=self.facts.max_length)
        order = sorted(range(len(sentences)), key=lambda place: lengths[place])
        probabilities = np.empty((len(sentences), len(self.classes_)), np.float32)
        with torch.inference_mode():
            for first in range(0, len(order), self.batch_size):
                places = order[first : first + self.batch_size]
                batch = {name: [column[place] for place in places] for name, column in encoded.items()}
                inputs = self.tokenizer.pad(batch, return_tensors="pt").to(self.model.device)
                logits = self.model(**inputs).logits
                probabilities[places] = torch.softmax(logits.float(), dim=-1).cpu().numpy()
        truncated = np.array([length > self.facts.max_length for length in lengths], bool)
        return _Scores(probabilities, truncated)


def weights_of(folder: Path) -> list[Path]:
    """The files of a model's weights, sorted; several where they were saved in parts."""
    return sorted(path for path in folder.glob("*.safetensors") if path != ModelLayout(folder).reference)


def renormalise(chosen: Probabilities) -> Probabilities:
    """Rows scaled to sum to 1; a row whose probabilities all underflowed to 0 becomes uniform."""
    sums = chosen.sum(axis=1, keepdims=True)
    uniform = np.full_like(chosen, 1 / chosen.shape[1])
    return np.where(sums > 0, chosen / np.where(sums > 0, sums, 1), uniform).astype(np.float32)


def _windows(sentences: Iterable[str]) -> Iterator[list[str]]:
    if isinstance(sentences, str):
        raise TypeError("expected an iterable of sentences, came one string; use predict(text) for one")
    iterator = iter(sentences)
    while window := list(itertools.islice(iterator, WINDOW)):
        yield window


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
