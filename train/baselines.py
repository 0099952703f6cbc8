"""What any classifier has to beat: majority, TF-IDF and frozen embeddings with logistic regression.

All three are fitted on the same training sentences as the model and tune nothing on the data that
they are measured on.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..data.corpus import Corpus
from ..model.backbone import Backbone, hub_failure
from ..model.torch_runtime import pick_device, quiet_transformers

_SEED = 0


class _Estimator(Protocol):
    def predict_proba(self, features: Any) -> npt.NDArray[Any]: ...


class Baseline(Protocol):
    """Fitted on a training corpus; gives probabilities for any texts."""

    name: str

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[Any]: ...


class Majority:
    """Gives every sentence the label shares of the training corpus."""

    name = "majority"

    def __init__(self, train: Corpus) -> None:
        counts = np.array(list(train.counts().values()), float)
        self._shares = counts / counts.sum()

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[Any]:
        return np.tile(self._shares, (len(texts), 1))


class TfidfRegression:
    """TF-IDF of words and word pairs, logistic regression with balanced class weights."""

    name = "TF-IDF + logistic regression"

    def __init__(self, train: Corpus) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        self._n_labels = len(train.label_names)
        self._pipeline = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1),
            LogisticRegression(C=10.0, max_iter=2000, class_weight="balanced", random_state=_SEED),
        ).fit(train.texts, train.label_ids)

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[Any]:
        return _spread(self._pipeline.predict_proba(list(texts)), self._pipeline.classes_, self._n_labels)


class EmbeddingRegression:
    """Mean-pooled, normalised embeddings of the untouched backbone, logistic regression on top."""

    name = "frozen embeddings + logistic regression"

    def __init__(self, train: Corpus, embedder: "Embedder", embeddings: npt.NDArray[Any] | None = None) -> None:
        self._embedder = embedder
        features = embedder.embed(train.texts) if embeddings is None else embeddings
        self._regression = regress(features, np.array(train.label_ids), len(train.label_names))

    def predict_proba(self, texts: Sequence[str]) -> npt.NDArray[Any]:
        return self._regression(self._embedder.embed(texts))


def regress(
    features: npt.NDArray[Any], labels: npt.NDArray[Any], n_labels: int
) -> Callable[[npt.NDArray[Any]], npt.NDArray[Any]]:
    """Fit a class-balanced logistic regression; what is returned maps features to probabilities.

    Args:
        features: shape (n, d).
        labels: places of the labels, shape (n,); some labels may be missing.
        n_labels: how many columns the probabilities have.
    """
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=10.0, max_iter=2000, class_weight="balanced", random_state=_SEED)
    regression.fit(features, labels)
    return lambda other: _spread(regression.predict_proba(other), regression.classes_, n_labels)


def _spread(probabilities: npt.NDArray[Any], classes: npt.NDArray[Any], n_labels: int) -> npt.NDArray[Any]:
    """Columns for all labels, also those that no training sentence had."""
    full = np.zeros((len(probabilities), n_labels))
    full[:, classes] = probabilities
    return full


class Embedder:
    """Sentence embeddings of a backbone: mean over tokens, scaled to length 1 (Reimers & Gurevych 2019)."""

    def __init__(self, backbone: Backbone, max_length: int, device: str = "auto") -> None:
        from transformers import AutoModel, AutoTokenizer

        with quiet_transformers():
            try:
                model = AutoModel.from_pretrained(
                    backbone.source, use_safetensors=True, trust_remote_code=False, local_files_only=backbone.local
                )
                self._tokenizer = AutoTokenizer.from_pretrained(
                    backbone.source, trust_remote_code=False, local_files_only=backbone.local
                )
            except (OSError, ValueError) as error:
                raise hub_failure(backbone.name, error) from None
        self._model: Any = model.to(pick_device(device)).eval()
        self._max_length = max_length

    def embed(self, texts: Sequence[str], batch_size: int = 32) -> npt.NDArray[np.float32]:
        """Embeddings of shape (n texts, hidden size)."""
        import torch

        from .progress import bar

        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        rows = np.empty((len(texts), self._model.config.hidden_size), np.float32)
        with torch.inference_mode(), bar("Embedding", len(order), "sentences") as advance:
            for first in range(0, len(order), batch_size):
                places = order[first : first + batch_size]
                inputs = self._tokenizer(
                    [texts[place] for place in places],
                    truncation=True,
                    max_length=self._max_length,
                    padding=True,
                    return_tensors="pt",
                ).to(self._model.device)
                hidden = self._model(**inputs).last_hidden_state
                mask = inputs["attention_mask"].unsqueeze(-1)
                mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
                rows[places] = torch.nn.functional.normalize(mean, dim=1).cpu().numpy()
                advance(len(places))
        return rows


def fit_baselines(
    train: Corpus, backbone: Backbone | None, max_length: int, *, device: str = "auto", cache: Path | None = None
) -> list[Baseline]:
    """Fit all baselines on a training corpus.

    Args:
        train: the same sentences that the model was trained on.
        backbone: for the frozen embeddings; None leaves that baseline out.
        max_length: of the backbone's input, in tokens.
        device: of the backbone.
        cache: a ``.npy`` file that keeps the training embeddings between calls.
    """
    baselines: list[Baseline] = [Majority(train), TfidfRegression(train)]
    if backbone is not None:
        embedder = Embedder(backbone, max_length, device)
        embeddings: npt.NDArray[Any] | None = None
        if cache is not None and cache.exists():
            embeddings = np.load(cache, allow_pickle=False)
        if embeddings is None or len(embeddings) != len(train):
            embeddings = embedder.embed(train.texts)
            if cache is not None:
                # Only saves time, so a run that may not be written to is evaluated all the same.
                with contextlib.suppress(OSError):
                    cache.parent.mkdir(parents=True, exist_ok=True)
                    np.save(cache, embeddings, allow_pickle=False)
        baselines.append(EmbeddingRegression(train, embedder, embeddings))
    return baselines
