"""A fine-tuned checkpoint as an object: sentences in, labels and probabilities out."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from ..data.codebook import Codebook
from ..data.errors import MissingExtraError, UserError
from .abstain import CONFIDENCE, Abstention, threshold_for
from .calibration import Calibration, missing_calibration, read_calibration
from .cascade import Cascade, CascadeFacts, has_cascade, read_cascade
from .drift import Reference, read_reference
from .explain import STEPS, Explanation, explain
from .folder import ModelFacts, find_model, read_codebook, read_facts
from .layout import ModelLayout
from .onnx_runtime import GraphFacts, OnnxRuntime, graph_files, has_graph, read_graph_facts
from .runtime import Array, Runtime, RuntimeName, Scores
from .torch_runtime import TorchRuntime, quiet_transformers, weights_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Sentences that are sorted by length together: enough for batches of even length, small enough to
# keep a stream's memory constant and its progress steady.
WINDOW = 1024


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
        by_first_stage: whether the first stage of a cascade answered (see ``model/cascade.py``).
    """

    label: str
    score: float
    probabilities: dict[str, float]
    abstained: bool = False
    truncated: bool = False
    by_first_stage: bool = False

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        row: Array,
        truncated: bool,
        abstain_below: float | None,
        by_first_stage: bool = False,
    ) -> Self:
        """The most probable of these labels, ``row`` being their probabilities."""
        best = int(row.argmax())
        score = float(row[best])
        return cls(
            label=names[best],
            score=score,
            probabilities={name: float(value) for name, value in zip(names, row, strict=True)},
            abstained=abstain_below is not None and score < abstain_below,
            truncated=bool(truncated),
            by_first_stage=bool(by_first_stage),
        )


class CheckpointClassifier:
    """Predicts with a Hugging Face sequence-classification checkpoint, or with the graph that was made of it.

    Build it with ``from_pretrained``. Nothing here knows how models are trained.

    Attributes:
        runtime: what computes: PyTorch or ONNX Runtime.
        calibration: of that runtime's probabilities.
        reference: what input is compared with to tell drift, where the model has it.
        source: the folder that it was loaded from.
        fold_duplicates: compute a sentence that occurs several times in a window only once.
    """

    def __init__(
        self, runtime: Runtime, *, codebook: Codebook, facts: ModelFacts, calibration: Calibration | None = None
    ) -> None:
        self.runtime = runtime
        self.codebook = codebook
        self.facts = facts
        self.calibration = calibration
        self.reference: Reference | None = None
        self.source: Path | None = None
        self.fold_duplicates = True
        self._torch: TorchRuntime | None = runtime if isinstance(runtime, TorchRuntime) else None

    # --- loading and saving ---------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        device: str = "auto",
        runtime: RuntimeName = "auto",
        cascade: bool | None = None,
    ) -> Self:
        """Load the model that comes with the package, or a run, a model folder or a model of the hub.

        Args:
            name: a folder that ``train`` wrote (the run or its ``model``), any Hugging Face
                sequence-classification folder with safetensors weights, or a hub name; None is the ready model.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
            runtime: ``onnx`` takes the folder's graph, on the CPU and without PyTorch; ``torch`` the checkpoint,
                with ``auto`` as the device on a GPU where there is one. ``auto`` takes the graph where there is
                one and the device is ``auto`` or ``cpu``.
            cascade: ask the folder's first stage before the graph (see ``model/cascade.py``); None does where
                there is one, and PyTorch never does.

        Raises:
            UserError: no model there, or one that cannot be loaded safely.
            MissingExtraError: the runtime is not installed.
        """
        source = find_model(name)
        name = name or source
        facts = read_facts(source)
        if _takes_graph(source, device, runtime):
            graph = read_graph_facts(source)
            facts = facts or ModelFacts(max_length=graph.max_length, backbone=str(name))
            large = OnnxRuntime.load(source, graph)
            with_first = cascade or (cascade is None and has_cascade(source))
            loaded: Runtime = Cascade.load(source, large, _cascade_of(source, graph)) if with_first else large
            labels = graph.labels
        elif cascade:
            raise UserError(
                f"--cascade goes before a graph, and none is run here. Make one with 'conflict-framing export --model "
                f"{name}', and leave out --runtime and --device; or leave out --cascade."
            )
        else:
            checkpoint = TorchRuntime.load(source, name, device, facts.max_length if facts else None)
            facts = facts or ModelFacts(max_length=checkpoint.max_length, backbone=str(name))
            config: Any = checkpoint.model.config
            loaded = checkpoint
            labels = [config.id2label[place] for place in range(config.num_labels)]
        codebook = read_codebook(source, labels)
        if codebook.label_names != labels:
            raise UserError(f"{name}: codebook.yaml and config.json name different labels; the folder is damaged.")
        is_cascade = isinstance(loaded, Cascade)
        calibration = read_calibration(source, labels, graph=loaded.name == "onnx", cascade=is_cascade)
        classifier = cls(loaded, codebook=codebook, facts=facts, calibration=calibration)
        classifier.reference = read_reference(ModelLayout(source).reference, loaded.hidden_size)
        classifier.source = source
        return classifier

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model folder: checkpoint, tokenizer, codebook, facts and, where there are any, calibration,
        reference and the graph that this classifier runs.

        The folder opens with ``from_pretrained`` here and with ``transformers.pipeline``.

        Raises:
            MissingExtraError: PyTorch or transformers is not installed.
        """
        layout = ModelLayout(Path(folder))
        checkpoint = self._checkpoint()
        layout.folder.mkdir(parents=True, exist_ok=True)
        # pipeline() asks the tokenizer for the window, so it is told there too.
        checkpoint.tokenizer.model_max_length = self.facts.max_length
        with quiet_transformers():
            checkpoint.model.save_pretrained(layout.folder)
            checkpoint.tokenizer.save_pretrained(str(layout.folder))
        # safetensors writes its file for the owner's eyes only; runs are shared.
        layout.weights.chmod(layout.config.stat().st_mode)
        layout.codebook.write_text(self.codebook.to_yaml(), "utf-8")
        self.facts.write(layout.facts)
        carried = {layout.folder / path.name: path for path in self._carried()}
        for stale in (layout.calibration, layout.reference, *layout.of_graph):  # of a model that stood here before
            if stale not in carried:
                stale.unlink(missing_ok=True)
        for target, path in carried.items():
            if not (target.exists() and target.samefile(path)):
                shutil.copyfile(path, target)
        if self.calibration and self.runtime.name == "torch":
            self.calibration.write(layout.calibration)
        if self.reference:
            self.reference.write(layout.reference)

    def _carried(self) -> list[Path]:
        """Files of the own folder that no part of this object stands for: those of the graph that it runs, and the
        weights, which the graph may read from."""
        if self.source is None or self.runtime.name != "onnx":
            return []
        layout = ModelLayout(self.source)
        left_out = () if self.cascade else layout.of_cascade
        files = (*layout.of_graph, layout.calibration, layout.weights)
        return [path for path in files if path.exists() and path not in left_out]

    def _checkpoint(self) -> TorchRuntime:
        """The model in PyTorch, loaded when first asked for: what runs a graph seldom needs it."""
        if self._torch is None:
            if self.source is None:
                raise ValueError("a classifier that runs a graph needs the folder that it came from")
            self._torch = TorchRuntime.load(self.source, self.source, "cpu", self.facts.max_length)
        return self._torch

    @property
    def model(self) -> PreTrainedModel:
        """The model in PyTorch.

        Raises:
            MissingExtraError: PyTorch or transformers is not installed.
        """
        return self._checkpoint().model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of ``model``."""
        return self._checkpoint().tokenizer

    @property
    def weights(self) -> list[Path]:
        """The files that hold the numbers it computes with: the graph, or the checkpoint's; none before it is saved."""
        if self.source is None:
            return []
        if self.runtime.name == "torch":
            return weights_of(self.source)
        return [*graph_files(self.source), *([ModelLayout(self.source).first_stage] if self.cascade else [])]

    @property
    def cascade(self) -> CascadeFacts | None:
        """What is known of the first stage; None where there is none."""
        return self.runtime.facts if isinstance(self.runtime, Cascade) else None

    @property
    def lacks_graph(self) -> bool:
        """Whether it computes in PyTorch on a CPU because its folder holds no graph."""
        on_cpu = isinstance(self.runtime, TorchRuntime) and self.runtime.model.device.type == "cpu"
        return on_cpu and self.source is not None and not has_graph(self.source)

    @property
    def batch_size(self) -> int:
        """Sentences that are computed together at most; a quantised graph takes one by one whatever this says."""
        return self.runtime.batch_size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        self.runtime.batch_size = size

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
            UserError: a sentence of nothing but blanks, or a label in ``among`` that the model does not have.
        """
        if isinstance(sentences, str):
            return next(iter(self.stream([sentences], among=among, abstain_below=abstain_below)))
        if isinstance(sentences, bytes) or not isinstance(sentences, Iterable):
            raise TypeError(f"expected a sentence or an iterable of sentences, came {type(sentences).__name__}")
        return list(self.stream(sentences, among=among, abstain_below=abstain_below))

    def predict_proba(self, sentences: Iterable[str]) -> Array:
        """Array of all labels: float32 array of shape (n sentences, n labels). Errors are those of ``predict``."""
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
            # A first stage was taught and bounded for the choice among all labels.
            scores = self._scores(window, whole=among is not None)
            chosen = scores.probabilities[:, columns]
            first = scores.by_first_stage if scores.by_first_stage is not None else np.zeros(len(chosen), bool)
            if among is not None:
                chosen = renormalise(chosen)
            for row, cut, by_first in zip(chosen, scores.truncated, first, strict=True):
                yield Prediction.of(names, row, cut, abstain_below, by_first)

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
            UserError: nothing but blanks, the model does not have the label, or its tokenizer gives no offsets.
            MissingExtraError: captum is not installed.
        """
        _sentence(0, text)
        return explain(self, text, label, steps=steps, among=among)

    def score(self, sentences: Sequence[str], labels: Sequence[str]) -> float:
        """Macro-F1 over the labels that occur in ``labels`` or in the predictions (0 to 1).

        Raises:
            MissingExtraError: scikit-learn is not installed.
        """
        try:
            from sklearn.metrics import f1_score
        except ImportError:
            raise MissingExtraError("scikit-learn", "train", "Measuring a model") from None

        if len(sentences) != len(labels):
            raise ValueError(f"expected as many labels as sentences, came {len(labels)} and {len(sentences)}")
        predicted = [prediction.label for prediction in self.predict(list(sentences))]
        return float(f1_score(list(labels), predicted, average="macro", zero_division=0))

    def _columns(self, among: Sequence[str] | None) -> list[int]:
        if among is None:
            return list(range(len(self.classes_)))
        unknown = [name for name in among if name not in self.classes_]
        if unknown or len(set(among)) < 2:
            which = f" Unknown: {', '.join(unknown)}." if unknown else ""
            raise UserError(
                f"--among: expected at least two of the model's labels ({', '.join(self.classes_)}), "
                f"came {', '.join(among) or 'none'}.{which}"
            )
        return [place for place, name in enumerate(self.classes_) if name in among]

    def _scores(self, sentences: Sequence[str], whole: bool = False) -> Scores:
        """Score one window of sentences, in the order of the input; ``whole`` leaves out a first stage."""
        runtime = self.runtime.graph if whole and isinstance(self.runtime, Cascade) else self.runtime
        places = {sentence: place for place, sentence in enumerate(dict.fromkeys(sentences))}
        if not self.fold_duplicates or len(places) == len(sentences):
            return runtime.score(sentences)
        once = runtime.score(list(places))
        back = [places[sentence] for sentence in sentences]
        first = once.by_first_stage
        return Scores(once.probabilities[back], once.truncated[back], None if first is None else first[back])


def _takes_graph(source: Path, device: str, runtime: RuntimeName) -> bool:
    """Whether the folder's graph is run.

    Raises:
        UserError: a graph is asked for that is not there, or on a device that it does not run on.
    """
    if runtime not in ("auto", "onnx", "torch"):
        raise UserError(f"--runtime {runtime}: expected auto, onnx or torch.")
    on_cpu = device in ("auto", "cpu")
    if runtime == "auto":
        return on_cpu and has_graph(source) and find_spec("onnxruntime") is not None
    if runtime == "onnx" and not on_cpu:
        raise UserError(f"--runtime onnx runs on the CPU, came --device {device}. Leave one of them out.")
    if runtime == "onnx" and not has_graph(source):
        raise UserError(
            f"--runtime onnx: no graph in {source}. Make it with 'conflict-framing export --model {source}', or leave "
            f"the option out."
        )
    return runtime == "onnx"


def _cascade_of(source: Path, graph: GraphFacts) -> CascadeFacts:
    if not has_cascade(source):
        raise UserError(
            f"--cascade: no first stage in {source}. Make it with 'conflict-framing export --model {source} --cascade "
            f"--unlabelled TEXTS', or leave the option out."
        )
    return read_cascade(source, graph)


def renormalise(chosen: Array) -> Array:
    """Rows scaled to sum to 1; a row whose probabilities all underflowed to 0 becomes uniform."""
    sums = chosen.sum(axis=1, keepdims=True)
    uniform = np.full_like(chosen, 1 / chosen.shape[1])
    return np.where(sums > 0, chosen / np.where(sums > 0, sums, 1), uniform).astype(np.float32)


def _windows(sentences: Iterable[str]) -> Iterator[list[str]]:
    if isinstance(sentences, str):
        raise TypeError("expected an iterable of sentences, came one string; use predict(text) for one")
    checked = itertools.starmap(_sentence, enumerate(sentences))
    while window := list(itertools.islice(checked, WINDOW)):
        yield window


def _sentence(place: int, sentence: object) -> str:
    if not isinstance(sentence, str):
        raise TypeError(f"sentence {place}: expected str, came {type(sentence).__name__}")
    if not sentence.strip():
        raise UserError(
            f"sentence {place} (the first is 0): expected text, came {sentence!r}. A label would mean nothing; leave "
            f"such sentences out."
        )
    return sentence
