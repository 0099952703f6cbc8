"""A stand-in for a model: probabilities made from the text's checksum, in no time.

With it memory, reading and writing can be measured, and commands killed, without waiting for a model.
"""

import os
import signal
import time
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from conflict_framing.data import Codebook
from conflict_framing.model import Prediction
from conflict_framing.model.abstain import Abstention, threshold_for
from conflict_framing.model.calibration import Calibration
from conflict_framing.model.folder import ModelFacts

LABELS = ["calm", "attack", "move"]


class PseudoClassifier:
    """What ``predict_files`` asks of a classifier.

    Args:
        seconds: that each sentence takes.
        salt: another one is another model.
        killed: a file that is not there yet; the first to label many sentences makes it, and its process is killed.
    """

    def __init__(self, seconds: float = 0.0, salt: int = 0, killed: Path | None = None) -> None:
        self.codebook = Codebook.from_labels(LABELS)
        self.classes_ = LABELS
        self.facts = ModelFacts(max_length=128, backbone="pseudo", recipe={"name": "pseudo"})
        self.source: Path | None = None
        self.reference = None
        self.cascade = None
        self.lacks_graph = False
        self.runtime = SimpleNamespace(name="torch")  # what the metadata tell
        self.weights: list[Path] = []
        self.batch_size = 32
        self._seconds = seconds
        self._salt = salt
        self._killed = killed
        scores = self._probabilities([f"calibration {number}" for number in range(200)])
        self.calibration = Calibration(
            labels=LABELS,
            temperature=1.0,
            units=list(range(200)),
            references=scores.argmax(axis=1).tolist(),
            probabilities=scores.tolist(),
            training_shares=[1 / 3] * 3,
        )

    def _probabilities(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        sums = np.array([zlib.crc32(text.encode(), self._salt) for text in texts], np.uint32)
        weights = np.stack([(sums >> shift & 1023) + 1 for shift in (0, 10, 20)], axis=1).astype(np.float64) ** 3
        return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

    def predict(
        self, sentences: str | Iterable[str], *, among: Sequence[str] | None = None, abstain_below: float | None = None
    ) -> Any:
        if isinstance(sentences, str):
            return self.predict([sentences], among=among, abstain_below=abstain_below)[0]
        texts = list(sentences)
        if self._killed and len(texts) > 1 and not self._killed.exists():
            self._killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self._seconds * len(texts))
        names = [name for name in LABELS if among is None or name in among]
        rows = self._probabilities(texts)[:, [LABELS.index(name) for name in names]] if texts else []
        return [
            Prediction.of(names, row / row.sum(), len(text) > 500, abstain_below)
            for row, text in zip(rows, texts, strict=True)
        ]

    def abstention(self, max_error: float) -> Abstention:
        return threshold_for(self.calibration, max_error)
