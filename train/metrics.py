"""Metrics as subclasses of ``evaluate.Metric`` that need no network.

Each takes integer labels. ``compute(predictions=…, references=…)`` returns a dict. Metrics of
probabilities take ``predictions`` as one list of probabilities per sentence.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.errors import MissingExtraError
from .reliability import brier_losses, debiased_error, log_losses, plain_errors, top_label

try:
    import datasets
    import evaluate
    from sklearn import metrics as sklearn_metrics
except ImportError as error:
    raise MissingExtraError(error.name or "evaluate", "train", "Measuring a model") from None

_LABELS = datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")})
_PROBABILITIES = datasets.Features(
    {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
)
_CITATION = "Pedregosa et al. (2011). Scikit-learn: Machine Learning in Python. JMLR 12."


class _Metric(evaluate.Metric):  # type: ignore[misc]  # evaluate is untyped
    """Shared plumbing: in memory, so that nothing is written to a cache folder."""

    description = ""
    inputs = _LABELS
    citation = _CITATION

    def __init__(self, n_labels: int) -> None:
        self.n_labels = n_labels
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.description,
            citation=self.citation,
            inputs_description="predictions, references: integer labels from 0 to n_labels - 1",
            features=self.inputs,
        )

    @property
    def _all_labels(self) -> list[int]:
        return list(range(self.n_labels))


class MacroF1(_Metric):
    """Unweighted mean of the F1 of all labels that occur in the references or the predictions."""

    description = "Macro-averaged F1."

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        value = sklearn_metrics.f1_score(references, predictions, average="macro", zero_division=0)
        return {"macro_f1": float(value)}


class Accuracy(_Metric):
    """Share of sentences whose label is right."""

    description = "Accuracy."

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return {"accuracy": float(sklearn_metrics.accuracy_score(references, predictions))}


class MatthewsCorrelation(_Metric):
    """Multiclass Matthews correlation coefficient (Gorodkin 2004), -1 to 1; 0 is chance."""

    description = "Matthews correlation coefficient."
    citation = "Gorodkin (2004). Comparing two K-category assignments by a K-category correlation coefficient."

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return {"mcc": float(sklearn_metrics.matthews_corrcoef(references, predictions))}


class PerClass(_Metric):
    """Precision, recall, F1 and support of every label, as lists in the order of the labels."""

    description = "Per-class precision, recall, F1 and support."

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, list[Any]]:
        precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
            references, predictions, labels=self._all_labels, zero_division=0
        )
        return {
            "precision": [float(x) for x in precision],
            "recall": [float(x) for x in recall],
            "f1": [float(x) for x in f1],
            "support": [int(x) for x in support],
        }


class ConfusionMatrix(_Metric):
    """Counts of shape (n labels, n labels): rows are references, columns are predictions."""

    description = "Confusion matrix."

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, list[list[int]]]:
        matrix = sklearn_metrics.confusion_matrix(references, predictions, labels=self._all_labels)
        return {"confusion_matrix": [[int(x) for x in row] for row in matrix]}


class ExpectedCalibrationError(_Metric):
    """Top-label expected calibration error with equal-width bins (Guo et al. 2017, eq. 3).

    The mean over bins, weighted by their size, of |accuracy - confidence|. The plain estimator is
    biased upwards on small samples; ``DebiasedCalibrationError`` is not.
    """

    description = "Expected calibration error, 15 equal-width bins."
    citation = "Guo et al. (2017). On Calibration of Modern Neural Networks. ICML."
    inputs = _PROBABILITIES

    def _compute(self, predictions: Sequence[Sequence[float]], references: Sequence[int]) -> dict[str, float]:
        confidence, correct = top_label(np.asarray(predictions, float), references)
        return {"ece_plain": float(plain_errors(confidence, correct[None, :])[0])}


class DebiasedCalibrationError(_Metric):
    """Top-label calibration error without the bias of small samples (Kumar, Liang & Ma 2019, section 4).

    The root of the mean over bins of equal size, weighted by their size, of (accuracy - confidence)² less the
    variance of the accuracy, acc (1 - acc) / (n - 1); 0 where that is negative, as it is for half of all samples
    of a perfect model.
    """

    description = "Debiased root mean squared calibration error, 15 bins of equal size."
    citation = "Kumar, Liang & Ma (2019). Verified Uncertainty Calibration. NeurIPS."
    inputs = _PROBABILITIES

    def _compute(self, predictions: Sequence[Sequence[float]], references: Sequence[int]) -> dict[str, float]:
        return {"ece": debiased_error(np.asarray(predictions, float), references)}


class BrierScore(_Metric):
    """Mean over sentences of Σ (p - y)² over the labels (Brier 1950): 0 is perfect, 2 is the worst."""

    description = "Brier score over all labels."
    citation = "Brier (1950). Verification of forecasts expressed in terms of probability. Monthly Weather Review 78."
    inputs = _PROBABILITIES

    def _compute(self, predictions: Sequence[Sequence[float]], references: Sequence[int]) -> dict[str, float]:
        return {"brier": float(brier_losses(np.asarray(predictions, float), references).mean())}


class LogLoss(_Metric):
    """Mean over sentences of -ln(probability of the right label), probabilities of at least 1e-12."""

    description = "Log loss (negative log likelihood)."
    inputs = _PROBABILITIES

    def _compute(self, predictions: Sequence[Sequence[float]], references: Sequence[int]) -> dict[str, float]:
        return {"log_loss": float(log_losses(np.asarray(predictions, float), references).mean())}


def all_metrics(probabilities: npt.NDArray[Any], references: Sequence[int]) -> dict[str, Any]:
    """Every metric of one classifier.

    Args:
        probabilities: shape (n sentences, n labels), rows sum to 1.
        references: the right labels as places, length n.

    Returns:
        ``macro_f1, accuracy, mcc, ece, ece_plain, brier, log_loss`` (numbers), ``precision, recall, f1,
        support`` (lists by label) and ``confusion_matrix`` (rows are references).
    """
    n_labels = probabilities.shape[1]
    predictions = probabilities.argmax(axis=1).tolist()
    result: dict[str, Any] = {}
    for metric in (MacroF1, Accuracy, MatthewsCorrelation, PerClass, ConfusionMatrix):
        result.update(metric(n_labels).compute(predictions=predictions, references=list(references)))
    rows = probabilities.tolist()
    for metric in (DebiasedCalibrationError, ExpectedCalibrationError, BrierScore, LogLoss):
        result.update(metric(n_labels).compute(predictions=rows, references=list(references)))
    return result
