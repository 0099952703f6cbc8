"""The model folder's graph in ONNX Runtime, with neither PyTorch nor transformers.

A graph with dynamic quantisation finds the range of its activations anew in every call, so sentences that share a
call would change each other's results, and padding would too. Each sentence therefore is a call of its own there,
and several calls run side by side. Any other graph takes sentences of one length together: without padding.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from ..data.codebook import describe_validation
from ..data.errors import MissingExtraError, UserError
from .backbone import file_sha256
from .layout import ModelLayout
from .runtime import BATCH_SIZE, Array, Scores, count_threads

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

IDS, POSITIONS = "input_ids", "positions"
PROBABILITIES, EMBEDDINGS = "probabilities", "embeddings"
_FIRST = np.zeros(1, np.int64)


class Candidate(BaseModel):
    """A graph that was measured at export, against PyTorch on the same sentences.

    Attributes:
        name: ``fp32``, ``int8`` or ``int8-blocks`` (see ``train/export.py``).
        agreement: share of equal labels.
        mean_difference, largest_difference: of probabilities, absolute.
        sentences_per_second: on the machine that exported; a median.
        bytes: of the file, before it shares tables with the checkpoint.
        faithful: whether agreement and mean difference are within the bounds.
    """

    name: str
    agreement: float
    mean_difference: float
    largest_difference: float
    sentences_per_second: float
    bytes: int
    faithful: bool


class GraphFacts(BaseModel):
    """Contents of ``runtime.json``: the graph that is shipped, and how it was chosen.

    Attributes:
        version: of the file's format.
        precision: name of the chosen candidate.
        sha256: of ``model.onnx``.
        weights_sha256: of ``model.safetensors``, where the graph reads tables of embeddings from it; None for a
            graph that holds all of its weights.
        labels: in the order of the columns of the probabilities.
        max_length: longest input in tokens.
        hidden_size: columns of the embeddings.
        alone: whether each sentence must be a call of its own.
        temperature: that the graph divides its logits by, besides the one in the checkpoint's weights; None
            where there was nothing to fit it on.
        sentences: how many the candidates were measured on.
        torch_sentences_per_second: of PyTorch beside them.
        candidates: all that were measured.
        onnxruntime: version that it was measured with.
    """

    model_config = ConfigDict(extra="allow")

    version: Literal[1] = 1
    precision: str
    sha256: str
    weights_sha256: str | None = None
    labels: list[str]
    max_length: int
    hidden_size: int
    alone: bool
    temperature: float | None
    sentences: int
    torch_sentences_per_second: float
    candidates: list[Candidate]
    onnxruntime: str

    @property
    def chosen(self) -> Candidate:
        return next(candidate for candidate in self.candidates if candidate.name == self.precision)

    def write(self, path: Path) -> None:
        path.write_text(self.model_dump_json(indent=2) + "\n", "utf-8")


def has_graph(folder: Path) -> bool:
    """Whether a model folder has a graph with its facts and a tokenizer that can be read without transformers."""
    layout = ModelLayout(folder)
    return all(path.exists() for path in (layout.graph, layout.graph_facts, layout.tokenizer))


def read_graph_facts(folder: Path) -> GraphFacts:
    """The facts of a folder's graph, after a look at the graph itself.

    Raises:
        UserError: damaged facts, or a graph that is not the one that they describe.
    """
    layout = ModelLayout(folder)
    facts = _read_facts(layout)
    for path, expected in ((layout.graph, facts.sha256), (layout.weights, facts.weights_sha256)):
        found = (file_sha256(path) if path.exists() else "no file") if expected else None
        if found != expected:
            raise UserError(
                f"{path}: expected SHA-256 {expected}, came {found}. The graph is damaged or of another "
                f"model. Copy the folder whole, make the graph anew with 'conflict-framing export --model {folder} "
                f"--overwrite', or do without it: --runtime torch"
            )
    return facts


def graph_files(folder: Path) -> list[Path]:
    """The files that hold the numbers of a folder's graph: itself, and the weights where it reads tables from them.

    Raises:
        UserError: damaged facts.
    """
    layout = ModelLayout(folder)
    shares = layout.graph_facts.exists() and _read_facts(layout).weights_sha256 is not None
    return [layout.graph, layout.weights] if shares else [layout.graph]


def _read_facts(layout: ModelLayout) -> GraphFacts:
    try:
        return GraphFacts.model_validate_json(layout.graph_facts.read_text("utf-8"))
    except ValidationError as error:
        raise UserError(f"{layout.graph_facts}: damaged model folder:\n{describe_validation(error)}") from None


class OnnxRuntime:
    """A graph, its tokenizer, and threads to run them in.

    Args:
        graph: an ONNX file.
        tokenizer: a ``tokenizer.json``.
        max_length, hidden_size, alone: as in ``GraphFacts``.
    """

    name: Literal["onnx"] = "onnx"

    def __init__(self, graph: Path, tokenizer: Path, *, max_length: int, hidden_size: int, alone: bool) -> None:
        self.session = open_session(graph)
        self.tokenizer = _open_tokenizer(tokenizer, max_length)
        self.hidden_size: int | None = hidden_size
        self.batch_size = 1 if alone else BATCH_SIZE
        self._alone = alone
        # Some architectures compute their last layer for all tokens whatever is asked for.
        self._chooses = POSITIONS in [value.name for value in self.session.get_inputs()]

    @classmethod
    def load(cls, folder: Path, facts: GraphFacts) -> Self:
        layout = ModelLayout(folder)
        return cls(
            layout.graph,
            layout.tokenizer,
            max_length=facts.max_length,
            hidden_size=facts.hidden_size,
            alone=facts.alone,
        )

    @cached_property
    def threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(count_threads(), thread_name_prefix="onnx")

    def score(self, sentences: Sequence[str]) -> Scores:
        ids, truncated = self.encode(sentences)
        return Scores(self.score_ids(ids), truncated)

    def score_ids(self, ids: Sequence[Sequence[int]]) -> Array:
        """Probabilities of sentences that are given by their token ids, shape (n, n labels)."""
        calls = list(self._calls(ids))
        found = self.threads.map(lambda places: self._run(ids, places, [PROBABILITIES])[0], calls)
        probabilities = np.concatenate(list(found)) if calls else np.empty((0, 0), np.float32)
        rows = np.empty_like(probabilities)
        rows[[place for places in calls for place in places]] = probabilities
        return rows

    def embed(self, sentences: Sequence[str], on_progress: Callable[[int], None]) -> tuple[Array, Array]:
        ids, _ = self.encode(sentences)
        calls = list(self._calls(ids))
        embeddings, probabilities = [], []
        for places, (rows, scores) in zip(
            calls,
            self.threads.map(lambda places: self._run(ids, places, [EMBEDDINGS, PROBABILITIES]), calls),
            strict=True,
        ):
            embeddings.append(rows)
            probabilities.append(scores)
            on_progress(len(places))
        back = np.argsort([place for places in calls for place in places])
        return np.concatenate(embeddings)[back], np.concatenate(probabilities)[back]

    def encode(self, sentences: Sequence[str]) -> tuple[list[list[int]], npt.NDArray[np.bool_]]:
        """Token ids of each sentence, special tokens included, and whether it was cut."""
        encodings = self.tokenizer.encode_batch_fast(list(sentences))
        return [encoding.ids for encoding in encodings], np.array([bool(e.overflowing) for e in encodings], bool)

    def _calls(self, ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Places of the sentences of each call: one length, and as many as may share one."""
        size = 1 if self._alone else self.batch_size
        by_length = defaultdict(list)
        for place, tokens in enumerate(ids):
            by_length[len(tokens)].append(place)
        for length in sorted(by_length, reverse=True):  # long ones first, so that all threads end together
            places = by_length[length]
            yield from (places[first : first + size] for first in range(0, len(places), size))

    def _run(self, ids: Sequence[Sequence[int]], places: Sequence[int], outputs: list[str]) -> list[Array]:
        rows = np.array([ids[place] for place in places], np.int64)
        feed = {IDS: rows}
        if self._chooses:  # the head reads the first token; all are only needed for the mean over them
            feed[POSITIONS] = np.arange(rows.shape[1]) if EMBEDDINGS in outputs else _FIRST
        found: list[Array] = self.session.run(outputs, feed)
        return found


def open_session(graph: Path) -> InferenceSession:
    """A session of one thread; several threads may run it at once.

    Raises:
        UserError: the file is no graph that ONNX Runtime can run.
        MissingExtraError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("onnxruntime", "train", "Running a graph") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Whoever exported it has optimised it already (see train/export.py).
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own errors share no other base
        raise UserError(f"{graph}: not a graph that ONNX Runtime can run: {error}") from None


def _open_tokenizer(path: Path, max_length: int) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtraError("tokenizers", "train", "Running a graph") from None
    try:
        tokenizer: Any = Tokenizer.from_file(str(path))
    except Exception as error:  # it raises plain Exception
        raise UserError(f"{path}: damaged tokenizer: {error}") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    return cast("Tokenizer", tokenizer)
