"""A cascade: a first stage that costs next to nothing answers what it is sure of, the graph gets the rest.

The first stage is a small convolutional network over the ids that the tokenizer gives anyway (Kim 2014), taught by
the graph's own soft labels. Which of its answers stand is decided by one threshold on its score, chosen so that the
cascade gives another label than the graph in at most a stated share of sentences (see ``train/cascade.py``).

Cascades of this kind: Varshney & Baral 2022, "Model Cascading: Towards Jointly Improving Efficiency and Accuracy of
NLP Systems", EMNLP. A bound on the share of changed answers: Schuster et al. 2022, "Confident Adaptive Language
Modeling", NeurIPS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from ..data.codebook import describe_validation
from ..data.errors import UserError
from .backbone import file_sha256
from .layout import ModelLayout
from .onnx_runtime import IDS, PROBABILITIES, GraphFacts, OnnxRuntime, open_session
from .runtime import Array, Scores

_PART = 64  # sentences that a thread takes at a time


class Share(BaseModel):
    """What the first stage does with some sentences.

    Attributes:
        sentences: how many.
        answered: share that the first stage answers.
        changed: share of all that thereby get another label than the graph gives.
    """

    sentences: int
    answered: float
    changed: float


class CascadeFacts(BaseModel):
    """Contents of ``cascade.json``.

    Attributes:
        version: of the file's format.
        sha256: of ``first_stage.onnx``.
        graph_sha256: of the graph that it was taught by and that answers the rest.
        labels: in the order of the columns of the probabilities.
        threshold: the first stage's answers of a higher score stand.
        temperature: of the first stage.
        most_changed: the promise: the cascade gives another label than the graph in at most this share of
            sentences, each document counting once, with ``confidence``, in text like the documents it was fitted on.
        confidence: over the choice of those documents.
        documents: one sentence was drawn from each.
        allowed: how many of these may change their label for the promise to hold.
        taught_on: sentences that the first stage was taught on.
        unlabelled: how many different sentences without labels were given to make it with, of which some are held
            out and only so many taught as the recipe allows.
        unlabelled_sha256: of their sorted list; None where there were none.
        attribution: whose they are, with licences.
        sentences_per_second: of cascade and graph, tokenising included, on the machine that made it and on
            sentences that the first stage was not taught on.
        measured: by what the sentences are; those of the calibration part took no part in any choice.
    """

    model_config = ConfigDict(extra="allow")

    version: Literal[1] = 1
    sha256: str
    graph_sha256: str
    labels: list[str]
    threshold: float
    temperature: float
    most_changed: float
    confidence: float
    documents: int
    allowed: int
    taught_on: int
    unlabelled: int = 0
    unlabelled_sha256: str | None = None
    attribution: str | None = None
    sentences_per_second: dict[str, float]
    measured: dict[str, Share]

    @property
    def promise(self) -> str:
        return (
            f"at most {100 * self.most_changed:g}% of sentences get another label than the graph alone gives "
            f"({100 * self.confidence:g}% confidence, in text like the {self.documents:,} documents it was fitted on, "
            f"each counting once)"
        )

    def write(self, path: Path) -> None:
        path.write_text(self.model_dump_json(indent=2) + "\n", "utf-8")


def has_cascade(folder: Path) -> bool:
    """Whether a model folder has a first stage; its facts are written last."""
    return ModelLayout(folder).cascade.exists()


def read_cascade(folder: Path, graph: GraphFacts) -> CascadeFacts:
    """The facts of a folder's first stage, after a look at the first stage itself.

    Raises:
        UserError: damaged facts, or a first stage that is missing, not theirs or not of this graph.
    """
    layout = ModelLayout(folder)
    try:
        facts = CascadeFacts.model_validate_json(layout.cascade.read_text("utf-8"))
    except ValidationError as error:
        raise UserError(f"{layout.cascade}: damaged model folder:\n{describe_validation(error)}") from None
    wrong = None
    if not layout.first_stage.exists():
        wrong = "missing"
    elif file_sha256(layout.first_stage) != facts.sha256:
        wrong = "damaged: its SHA-256 is not that in cascade.json"
    elif facts.graph_sha256 != graph.sha256 or facts.labels != graph.labels:
        wrong = f"made for another graph than {layout.graph}"
    if wrong:
        raise UserError(
            f"{layout.first_stage}: {wrong}. Make it anew with 'conflict-framing export --model {folder} --cascade "
            f"--unlabelled TEXTS', or do without it: --no-cascade"
        )
    return facts


class FirstStage:
    """A small graph from token ids to probabilities.

    Each sentence is a call of its own, so that its score is the same to the last bit whatever stands beside it: a
    score near the threshold must not fall on another side of it in another batch.
    """

    def __init__(self, graph: Path) -> None:
        self._session = open_session(graph)

    def score(self, ids: Sequence[Sequence[int]]) -> Array:
        """Probabilities of sentences that are given by their token ids, shape (n, n labels)."""
        wanted = [PROBABILITIES]
        return np.concatenate([self._session.run(wanted, {IDS: np.array([row], np.int64)})[0] for row in ids])


class Cascade:
    """A ``Runtime``: the first stage before a graph.

    Attributes:
        graph: what answers the rest, and is asked alone where not all labels may be chosen.
        first_stage: as in ``FirstStage``.
        threshold: as in ``CascadeFacts``.
        facts: of the folder that it came from.
    """

    name: Literal["onnx"] = "onnx"

    def __init__(self, graph: OnnxRuntime, first_stage: FirstStage, facts: CascadeFacts) -> None:
        self.graph = graph
        self.first_stage = first_stage
        self.facts = facts

    @classmethod
    def load(cls, folder: Path, graph: OnnxRuntime, facts: CascadeFacts) -> Self:
        return cls(graph, FirstStage(ModelLayout(folder).first_stage), facts)

    @property
    def hidden_size(self) -> int | None:
        return self.graph.hidden_size

    @property
    def batch_size(self) -> int:
        return self.graph.batch_size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        self.graph.batch_size = size

    def score(self, sentences: Sequence[str]) -> Scores:
        if not sentences:
            return self.graph.score(sentences)
        ids, truncated = self.graph.encode(sentences)
        parts = [ids[first : first + _PART] for first in range(0, len(ids), _PART)]
        rows = np.concatenate(list(self.graph.threads.map(self.first_stage.score, parts)))
        sure = is_sure(rows, self.facts.threshold)
        rest = np.flatnonzero(~sure)
        if len(rest):
            rows[rest] = self.graph.score_ids([ids[place] for place in rest])
        return Scores(rows, truncated, sure)

    def embed(self, sentences: Sequence[str], on_progress: Callable[[int], None]) -> tuple[Array, Array]:
        """Of the graph alone: the first stage has no hidden states."""
        return self.graph.embed(sentences, on_progress)


def is_sure(probabilities: Array, threshold: float) -> npt.NDArray[np.bool_]:
    """Whether the first stage's answers stand, shape (n,)."""
    sure: npt.NDArray[np.bool_] = probabilities.max(axis=1) > threshold
    return sure
