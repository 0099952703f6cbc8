"""Measure how statements frame a conflict.

>>> from conflict_framing import FramingClassifier, load_corpus, train_classifier

Importing this package imports neither PyTorch nor transformers nor datasets; the first call that
needs them does.
"""

from importlib.metadata import PackageNotFoundError, version

from conflict_framing.classifier import FramingClassifier, train_classifier
from conflict_framing.data import Codebook, Corpus, UserError, load_corpus
from conflict_framing.model import Explanation, Prediction

try:
    __version__ = version("conflict-framing")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0"

__all__ = [
    "Codebook",
    "Corpus",
    "Explanation",
    "FramingClassifier",
    "Prediction",
    "UserError",
    "load_corpus",
    "train_classifier",
]
