"""What turns sentences into probabilities: the checkpoint in PyTorch, or its graph in ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
RuntimeName = Literal["auto", "onnx", "torch"]

BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class Scores:
    """Of n sentences, in their order.

    Attributes:
        probabilities: shape (n sentences, n labels); each row sums to 1.
        truncated: whether each was longer than the model's window and was cut, shape (n sentences,).
        by_first_stage: whether the first stage of a cascade answered, shape (n sentences,); None where there is none.
    """

    probabilities: Array
    truncated: npt.NDArray[np.bool_]
    by_first_stage: npt.NDArray[np.bool_] | None = None


class Runtime(Protocol):
    """Runs one model. No row's result depends on the sentences beside it.

    Attributes:
        name: ``onnx`` or ``torch``.
        batch_size: sentences that are computed together at most.
        hidden_size: columns of the embeddings.
    """

    batch_size: int

    @property
    def name(self) -> Literal["onnx", "torch"]: ...

    @property
    def hidden_size(self) -> int | None: ...

    def score(self, sentences: Sequence[str]) -> Scores:
        """Probabilities of one window of sentences."""

    def embed(self, sentences: Sequence[str], on_progress: Callable[[int], None]) -> tuple[Array, Array]:
        """The mean over tokens of the last hidden state, shape (n, hidden size), and the probabilities."""


def count_threads() -> int:
    """Threads to compute with: ``OMP_NUM_THREADS`` where it is set, else one for each core of this process."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
