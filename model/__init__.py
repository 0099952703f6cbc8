"""Backbones, checkpoints and prediction."""

from .classifier import CheckpointClassifier, Prediction
from .explain import Explanation

__all__ = ["CheckpointClassifier", "Explanation", "Prediction"]
