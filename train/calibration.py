"""Temperature scaling (Guo, Pleiss, Sun & Weinberger 2017), folded into the head of the model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.corpus import Corpus
from ..data.errors import MissingExtraError
from ..data.split import Split, split_units
from ..model.calibration import Calibration
from ..model.classifier import CheckpointClassifier

try:
    from scipy.optimize import minimize_scalar
except ImportError:
    raise MissingExtraError("scipy", "train", "Calibrating") from None

# Below that a temperature would follow the chance of a few sentences.
LEAST_SENTENCES = 20
_BOUNDS = (0.1, 10.0)
_TINY = float(np.finfo(np.float32).tiny)  # a float32 probability that underflowed


def fit_temperature(probabilities: npt.NDArray[Any], references: Sequence[int]) -> float:
    """The temperature T that minimises the log loss of softmax(z / T) (Guo et al. 2017, section 4.2).

    Args:
        probabilities: of the uncalibrated model, shape (n sentences, n labels); their logarithms stand for
            the logits z, from which they differ by a constant per sentence.
        references: the right labels as places, length n.

    Returns:
        T, between 0.1 and 10; above 1 where the model is too sure of itself.
    """
    rows = np.arange(len(references))

    def log_loss(log_temperature: float) -> float:
        changed = with_temperature(probabilities, float(np.exp(log_temperature)))
        return float(-np.log(np.maximum(changed[rows, list(references)], _TINY)).mean())

    found = minimize_scalar(log_loss, bounds=np.log(_BOUNDS), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def with_temperature(probabilities: npt.NDArray[Any], temperature: float) -> npt.NDArray[np.float64]:
    """softmax(z / T) from softmax(z); with 1 / T it is taken back. Shape (n sentences, n labels)."""
    scaled = np.log(np.maximum(np.asarray(probabilities, float), _TINY)) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponents = np.exp(scaled)
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def fold_temperature(model: Any, temperature: float) -> bool:
    """Divide the last linear layer by the temperature, so that its logits come out divided.

    Then every reader of the checkpoint gets calibrated probabilities, with nothing beside it to apply.

    Returns:
        False, and nothing is changed, where the head does not end in a linear layer with one output per label.
    """
    import torch

    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    last = next((module for module in reversed(linear) if module.out_features == model.config.num_labels), None)
    if last is None:
        return False
    with torch.no_grad():
        last.weight.div_(temperature)
        if last.bias is not None:
            last.bias.div_(temperature)
    return True


def calibrate(classifier: CheckpointClassifier, split: Split) -> Calibration | None:
    """Fit a temperature on the calibration part and fold it into the classifier's head.

    Returns:
        What the side-car holds; None where there are too few calibration sentences or no head to fold it into.
    """
    part = split.calibration
    if len(part) < LEAST_SENTENCES:
        return None
    raw = classifier.predict_proba(part.texts)
    temperature = fit_temperature(raw, part.label_ids)
    if not fold_temperature(classifier.model, temperature):
        return None
    return Calibration(
        labels=part.label_names,
        temperature=temperature,
        units=split_units(part),
        references=part.label_ids,
        probabilities=[[round(float(value), 8) for value in row] for row in with_temperature(raw, temperature)],
        training_shares=_shares(split.train),
    )


def _shares(corpus: Corpus) -> list[float]:
    return [count / len(corpus) for count in corpus.counts().values()]
