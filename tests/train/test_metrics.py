import socket

import evaluate
import numpy as np
import pytest

from conflict_framing.train import metrics
from conflict_framing.train.metrics import ExpectedCalibrationError, all_metrics


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a metric reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_every_metric_is_an_evaluate_metric() -> None:
    for metric in (
        metrics.MacroF1,
        metrics.Accuracy,
        metrics.MatthewsCorrelation,
        metrics.PerClass,
        metrics.ConfusionMatrix,
        metrics.ExpectedCalibrationError,
    ):
        assert issubclass(metric, evaluate.Metric)


def test_figures_of_a_small_case_worked_by_hand() -> None:
    # references 0 0 1 1 2; predictions 0 1 1 1 0
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.9, 0.0], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2]])
    result = all_metrics(probabilities, [0, 0, 1, 1, 2])
    assert result["confusion_matrix"] == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert result["accuracy"] == pytest.approx(3 / 5)
    assert result["precision"] == pytest.approx([1 / 2, 2 / 3, 0])
    assert result["recall"] == pytest.approx([1 / 2, 1, 0])
    assert result["f1"] == pytest.approx([1 / 2, 4 / 5, 0])
    assert result["support"] == [2, 2, 1]
    assert result["macro_f1"] == pytest.approx((1 / 2 + 4 / 5 + 0) / 3)
    # (c*s - sum p_k t_k) / sqrt((s² - sum p_k²)(s² - sum t_k²)) with c=3, s=5, p=(2,3,0), t=(2,2,1)
    assert result["mcc"] == pytest.approx((15 - 10) / np.sqrt((25 - 13) * (25 - 9)))
    # each confidence falls in a bin of its own: mean of |correct - confidence|
    assert result["ece_plain"] == pytest.approx((0.2 + 0.7 + 0.1 + 0.4 + 0.5) / 5)


def test_calibration_error_of_extreme_models() -> None:
    sure = [[1.0, 0.0]] * 10
    metric = ExpectedCalibrationError(2)
    assert metric.compute(predictions=sure, references=[0] * 10)["ece_plain"] == pytest.approx(0)
    assert metric.compute(predictions=sure, references=[1] * 10)["ece_plain"] == pytest.approx(1)
    half = [[0.5, 0.5]] * 10
    assert metric.compute(predictions=half, references=[0, 1] * 5)["ece_plain"] == pytest.approx(0)


def test_labels_that_nothing_has_do_not_lower_macro_f1() -> None:
    perfect = np.eye(3)[[0, 1, 0]]
    assert all_metrics(perfect, [0, 1, 0])["macro_f1"] == pytest.approx(1)
