"""One model for several threads, and what of the package around it is there."""

import importlib
import importlib.util
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

from conflict_framing.analysis.explanation import CAVEAT, completeness, pieces, strongest
from conflict_framing.data import MissingExtraError
from conflict_framing.model import CheckpointClassifier, Explanation, Prediction
from conflict_framing.model.drift import measure_drift

# Sentences between two looks at whether the job is still wanted; large enough for batches of even length.
_PIECE = 256


class SharedModel:
    """A classifier that is called once at a time.

    An explanation hooks into the layers of the model and would change predictions made at the same moment.
    """

    def __init__(self, classifier: CheckpointClassifier) -> None:
        self.classifier = classifier
        self._lock = threading.Lock()

    def predict(self, texts: Sequence[str], among: Sequence[str] | None = None) -> list[Prediction]:
        with self._lock:
            return self.classifier.predict(list(texts), among=among)

    def explain(self, text: str, label: str | None) -> dict[str, Any]:
        """What moved the model, for the page.

        Raises:
            UserError: an unknown label.
            MissingExtraError: captum or PyTorch is not installed.
        """
        with self._lock:
            explanation = self.classifier.explain(text, label)
        return _for_page(explanation)

    def drift_warning(self, texts: Sequence[str]) -> str:
        """How the texts differ from what the model was trained on; empty where they do not."""
        with self._lock:
            drift = measure_drift(self.classifier, texts)
        return drift.warning if drift and drift.warning else ""

    def watched(self, on_piece: Callable[[int], None]) -> CheckpointClassifier:
        """The same for one job: calls ``on_piece`` with the sentences done since the last call, before each next."""
        return cast(CheckpointClassifier, _Watched(self, on_piece))


class _Watched:
    def __init__(self, shared: SharedModel, on_piece: Callable[[int], None]) -> None:
        self._shared, self._on_piece = shared, on_piece

    def predict(
        self, sentences: str | Sequence[str], *, among: Sequence[str] | None = None, abstain_below: float | None = None
    ) -> Prediction | list[Prediction]:
        if isinstance(sentences, str):
            return self._shared.predict([sentences], among)[0]
        done: list[Prediction] = []
        for first in range(0, len(sentences), _PIECE):
            self._on_piece(0)
            found = self._shared.predict(sentences[first : first + _PIECE], among)
            self._on_piece(len(found))
            done += found
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared.classifier, name)


def _for_page(explanation: Explanation) -> dict[str, Any]:
    return {
        "label": explanation.label,
        "score": explanation.score,
        "pieces": [{"text": text, "strength": round(strength, 4)} for text, strength in pieces(explanation)],
        "strongest": [
            {"text": word.text, "attribution": round(word.attribution, 4)} for word in strongest(explanation, 6)
        ],
        "complete": explanation.complete,
        "completeness": completeness(explanation),
        "caveat": CAVEAT,
        "truncated": explanation.truncated,
    }


def why_not_explained() -> str:
    """Why words cannot be attributed here; empty where they can."""
    for library in ("torch", "captum"):
        if importlib.util.find_spec(library) is None:
            return str(MissingExtraError(library, "train", "Showing which words moved the model"))
    return ""
