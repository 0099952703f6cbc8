"""Backbones, checkpoints and prediction."""

from .classifier import CheckpointClassifier, Prediction

__all__ = ["CheckpointClassifier", "Prediction"]
