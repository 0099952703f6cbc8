"""Sentences whose label is likely wrong: confident learning on cross-validated probabilities."""

from dataclasses import dataclass

import numpy as np

from ..data.corpus import Corpus, Sentence
from ..data.errors import MissingExtraError, UserError
from ..data.split import split_units
from ..model.backbone import Backbone
from .baselines import Embedder, regress

_FOLDS = 5


@dataclass(frozen=True, slots=True)
class LabelError:
    """A sentence whose label a person should look at again.

    Attributes:
        sentence: as annotated.
        suggested: the label that the cross-validated classifier finds likeliest.
        p_label, p_suggested: its probabilities of the annotated and of the suggested label.
    """

    sentence: Sentence
    suggested: str
    p_label: float
    p_suggested: float


def likely_label_errors(
    corpus: Corpus, backbone: Backbone, *, max_length: int = 256, device: str = "auto", seed: int = 13
) -> list[LabelError]:
    """Rank the sentences that are likely mislabelled, the likeliest first.

    Each sentence gets probabilities from a logistic regression on frozen embeddings that was fitted
    without its document (five folds); cleanlab then finds the labels that those probabilities
    contradict (Northcutt, Jiang & Chuang 2021, "Confident Learning", JAIR 70). They are suggestions
    for a person to read: hard sentences rightly labelled are among them.

    Raises:
        UserError: a label has too few independent documents for five folds.
    """
    try:
        from cleanlab.filter import find_label_issues
        from sklearn.model_selection import StratifiedGroupKFold
    except ImportError as error:
        raise MissingExtraError(error.name or "cleanlab", "train", "Finding likely label errors") from None

    units = split_units(corpus)
    for name in corpus.label_names:
        own = {unit for unit, label in zip(units, corpus.labels, strict=True) if label == name}
        if len(own) < _FOLDS:
            raise UserError(
                f"Likely label errors need at least {_FOLDS} independent sentences or documents of every label; "
                f"'{name}' has {len(own)}."
            )
    embeddings = Embedder(backbone, max_length, device).embed(corpus.texts)
    labels = np.array(corpus.label_ids)
    probabilities = np.zeros((len(corpus), len(corpus.label_names)))
    dealer = StratifiedGroupKFold(n_splits=_FOLDS, shuffle=True, random_state=seed)
    for rest, fold in dealer.split(embeddings, labels, units):
        probabilities[fold] = regress(embeddings[rest], labels[rest], probabilities.shape[1])(embeddings[fold])
    ranked = find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    found = []
    for place in ranked:
        best = int(probabilities[place].argmax())
        if best != labels[place]:
            found.append(
                LabelError(
                    sentence=corpus.sentences[place],
                    suggested=corpus.label_names[best],
                    p_label=float(probabilities[place, labels[place]]),
                    p_suggested=float(probabilities[place, best]),
                )
            )
    return found
