"""Measure a classifier on labelled sentences, beside baselines trained on the same split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..data.codebook import Codebook
from ..data.corpus import Corpus, load_corpus
from ..data.errors import UserError
from ..data.split import split_units
from ..model.backbone import resolve_backbone
from ..model.classifier import CheckpointClassifier
from ..model.layout import RunLayout
from ..model.predict import prediction_columns
from .baselines import fit_baselines
from .metrics import all_metrics
from .selective import Selective
from .uncertainty import document_intervals

HEADLINE = ("macro_f1", "accuracy", "mcc", "ece")


@dataclass(frozen=True)
class Scored:
    """All metrics (see ``all_metrics``) of one classifier, and their ``intervals``."""

    name: str
    metrics: dict[str, Any]

    @classmethod
    def of(cls, name: str, probabilities: npt.NDArray[Any], corpus: Corpus) -> Self:
        """Score probabilities of shape (n sentences, n labels)."""
        references = corpus.label_ids
        metrics = all_metrics(probabilities, references)
        predictions = probabilities.argmax(axis=1).tolist()
        metrics["intervals"] = document_intervals(predictions, references, split_units(corpus), len(corpus.label_names))
        return cls(name, metrics)


@dataclass(frozen=True)
class Evaluation:
    """What was measured on one set of labelled sentences.

    Attributes:
        data: what the sentences are.
        n: how many.
        codebook: of the labels.
        model: the classifier that was asked for.
        baselines: in order of expected strength; empty where no training split is at hand.
        notes: what a reader should know, e.g. why baselines are missing.
        rows: each sentence with its own label (``input_label``) and the prediction.
        selective: how the model's error falls where it answers only what it is sure of.
    """

    data: str
    n: int
    codebook: Codebook
    model: Scored
    baselines: list[Scored]
    notes: list[str]
    rows: list[dict[str, Any]]
    selective: Selective | None = None

    def headline(self) -> dict[str, float]:
        return {name: float(self.model.metrics[name]) for name in HEADLINE}

    def to_json(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "sentences": self.n,
            "labels": self.codebook.label_names,
            "classifiers": {scored.name: scored.metrics for scored in (self.model, *self.baselines)},
            "notes": self.notes,
            "selective": self.selective.to_json() if self.selective else None,
        }

    def errors(self, count: int) -> list[dict[str, Any]]:
        """The wrongly labelled sentences of which the model was surest, surest first."""
        wrong = [row for row in self.rows if row["label"] != row["input_label"]]
        return sorted(wrong, key=lambda row: -row["score"])[:count]

    @classmethod
    def of(
        cls,
        corpus: Corpus,
        classifier: CheckpointClassifier,
        baselines: Sequence[tuple[str, npt.NDArray[Any]]],
        data: str,
        notes: Sequence[str] = (),
    ) -> Self:
        """Score a classifier's predictions and the baselines' probabilities on a corpus."""
        predictions = classifier.predict(corpus.texts)
        probabilities = np.array([list(p.probabilities.values()) for p in predictions])
        rows = [
            {
                "text": sentence.text,
                "input_label": sentence.label,
                **({"document": sentence.document} if sentence.document else {}),
                **prediction_columns(prediction),
            }
            for sentence, prediction in zip(corpus.sentences, predictions, strict=True)
        ]
        return cls(
            data=data,
            n=len(corpus),
            codebook=corpus.codebook,
            model=Scored.of("model", probabilities, corpus),
            baselines=[Scored.of(name, scores, corpus) for name, scores in baselines],
            notes=list(notes),
            rows=rows,
            selective=Selective.of(probabilities, corpus.label_ids, split_units(corpus), classifier.calibration),
        )


def evaluate_run(
    run: RunLayout | None,
    corpus: Corpus,
    classifier: CheckpointClassifier,
    *,
    name: str,
    baselines: bool = True,
    device: str = "auto",
) -> Evaluation:
    """Evaluate a classifier and, where its run keeps the training split, the baselines.

    Args:
        run: the run that the classifier comes from; None for a bare model folder or a hub model.
        corpus: labelled sentences, with the classifier's labels.
        classifier: what is measured.
        name: what the sentences are, for the report.
        baselines: whether to train the baselines too.
        device: of the frozen embeddings.
    """
    notes = []
    fitted: list[tuple[str, npt.NDArray[Any]]] = []
    recipe = classifier.facts.recipe
    if run is None or not run.split("train").exists():
        notes.append("No baselines: the training split of this model is not at hand (give a run, not a bare model).")
    elif not baselines or not recipe.get("baselines", True):
        notes.append("No baselines: left out on demand.")
    else:
        train = load_corpus(run.split("train"), codebook=classifier.codebook)
        if classifier.facts.training.get("start") == "contrastive":  # it learnt from both parts, so they may too
            validation = load_corpus(run.split("validation"), codebook=classifier.codebook)
            train = Corpus(train.sentences + validation.sentences, train.codebook)
        backbone = None
        try:
            backbone = resolve_backbone(str(recipe["backbone"]))
        except UserError as error:
            notes.append(f"No frozen-embedding baseline: {error}")
        cache = run.folder / "baselines" / "train_embeddings.npy"
        fitted = [
            (baseline.name, baseline.predict_proba(corpus.texts))
            for baseline in fit_baselines(train, backbone, classifier.facts.max_length, device=device, cache=cache)
        ]
    absent = [label for label, count in corpus.counts().items() if not count]
    if absent:
        notes.append(
            f"No sentence here has the label {', '.join(absent)}; macro-F1 is over the labels that occur "
            f"in the data or in a classifier's predictions."
        )
    return Evaluation.of(corpus, classifier, fitted, name, notes)


def run_of(model: str | Path) -> RunLayout | None:
    """The run that ``--model`` names, directly or by its model folder; None for anything else."""
    path = Path(model)
    for folder in (path, path.parent):
        if RunLayout(folder).recipe.exists() and RunLayout(folder).model.is_dir():
            return RunLayout(folder)
    return None
