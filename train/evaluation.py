"""Measure a classifier on labelled sentences, beside baselines trained on the same split."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..data.behaviour import BehaviourGroup
from ..data.codebook import Codebook
from ..data.corpus import Corpus, load_corpus
from ..data.errors import UserError
from ..data.split import PARTS, split_units
from ..model.backbone import resolve_backbone
from ..model.classifier import CheckpointClassifier
from ..model.folder import ModelFacts
from ..model.layout import RunLayout
from ..model.predict import prediction_columns
from .baselines import fit_baselines
from .behaviour import BehaviourResult, run_behaviour
from .calibration import with_temperature
from .metrics import all_metrics
from .reliability import perfect_plain_error, probability_intervals, reliability
from .selective import Selective
from .slices import SliceTable, slice_metrics
from .uncertainty import document_intervals

_FEW_SENTENCES = 100

HEADLINE = ("macro_f1", "accuracy", "mcc", "ece")


@dataclass(frozen=True)
class Scored:
    """All metrics of one classifier.

    Attributes:
        name: of the classifier.
        metrics: those of ``all_metrics``, their ``intervals``, the points of its ``reliability`` diagram, and
            ``ece_plain_perfect``, what ``ece_plain`` would read for a perfect model.
    """

    name: str
    metrics: dict[str, Any]

    @classmethod
    def of(cls, name: str, probabilities: npt.NDArray[Any], corpus: Corpus) -> Self:
        """Score probabilities of shape (n sentences, n labels)."""
        references = corpus.label_ids
        metrics = all_metrics(probabilities, references)
        predictions = probabilities.argmax(axis=1).tolist()
        units = split_units(corpus)
        metrics["intervals"] = document_intervals(predictions, references, units, len(corpus.label_names))
        metrics["intervals"] |= probability_intervals(probabilities, references, units)
        metrics["ece_plain_perfect"] = perfect_plain_error(probabilities)
        metrics["reliability"] = reliability(probabilities, references)
        return cls(name, metrics)


@dataclass(frozen=True)
class Part:
    """How much a part of a corpus holds: sentences by label, and documents (or other units that stay whole)."""

    sentences: dict[str, int]
    documents: int

    @classmethod
    def of(cls, corpus: Corpus) -> Self:
        return cls(corpus.counts(), len(set(split_units(corpus))))


@dataclass(frozen=True)
class Evaluation:
    """What was measured on one set of labelled sentences.

    Attributes:
        data: what the sentences are.
        n: how many.
        measured: the same sentences, counted.
        codebook: of the labels.
        facts: of the model that was measured.
        model: the classifier that was asked for.
        uncalibrated: the same before its temperature was applied; None for a model without one.
        baselines: in order of expected strength; empty where no training split is at hand.
        notes: what a reader should know, e.g. why baselines are missing.
        rows: each sentence with its own label (``input_label``) and the prediction.
        slices: the model's figures on parts of the sentences, e.g. by register.
        behaviour: how the model did in the behaviour tests; None where they were not run.
        selective: how the model's error falls where it answers only what it is sure of.
        parts: of the corpus that the model was trained on; empty for a model without its run.
        history: the run's log, an entry per line; empty for a model without its run.
    """

    data: str
    n: int
    measured: Part
    codebook: Codebook
    facts: ModelFacts
    model: Scored
    uncalibrated: Scored | None
    baselines: list[Scored]
    notes: list[str]
    rows: list[dict[str, Any]]
    slices: list[SliceTable] = field(default_factory=list)
    behaviour: BehaviourResult | None = None
    selective: Selective | None = None
    parts: dict[str, Part] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def headline(self) -> dict[str, float]:
        return {name: float(self.model.metrics[name]) for name in HEADLINE}

    def to_json(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "sentences": self.n,
            "documents": self.measured.documents,
            "labels": self.codebook.label_names,
            "classifiers": {scored.name: scored.metrics for scored in (self.model, *self.baselines)},
            "uncalibrated": self.uncalibrated.metrics if self.uncalibrated else None,
            "slices": [table.to_json() for table in self.slices],
            "behaviour": [tally.to_json() for tally in self.behaviour.kinds] if self.behaviour else None,
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
        behaviour: Sequence[BehaviourGroup] = (),
        parts: dict[str, Part] | None = None,
        history: Sequence[dict[str, Any]] = (),
    ) -> Self:
        """Score a classifier's predictions and the baselines' probabilities on a corpus."""
        predictions = classifier.predict(corpus.texts)
        probabilities = np.array([list(p.probabilities.values()) for p in predictions])
        temperature = classifier.facts.training.get("temperature")
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
            measured=Part.of(corpus),
            codebook=corpus.codebook,
            facts=classifier.facts,
            model=Scored.of("model", probabilities, corpus),
            uncalibrated=Scored.of("model, uncalibrated", with_temperature(probabilities, 1 / temperature), corpus)
            if temperature
            else None,
            baselines=[Scored.of(name, scores, corpus) for name, scores in baselines],
            notes=list(notes),
            rows=rows,
            slices=slice_metrics(corpus, probabilities),
            behaviour=run_behaviour(classifier, behaviour) if behaviour else None,
            selective=Selective.of(probabilities, corpus.label_ids, split_units(corpus), classifier.calibration),
            parts=parts or {},
            history=list(history),
        )


def evaluate_run(
    run: RunLayout | None,
    corpus: Corpus,
    classifier: CheckpointClassifier,
    *,
    name: str,
    baselines: bool = True,
    behaviour: Sequence[BehaviourGroup] = (),
    device: str = "auto",
) -> Evaluation:
    """Evaluate a classifier and, where its run keeps the training split, the baselines.

    Args:
        run: the run that the classifier comes from; None for a bare model folder or a hub model.
        corpus: labelled sentences, with the classifier's labels.
        classifier: what is measured.
        name: what the sentences are, for the report.
        baselines: whether to train the baselines too.
        behaviour: tests to run besides.
        device: of the frozen embeddings.
    """
    notes = []
    fitted: list[tuple[str, npt.NDArray[Any]]] = []
    recipe = classifier.facts.recipe
    split = {
        name: load_corpus(run.split(name), codebook=classifier.codebook)
        for name in PARTS
        if run and run.split(name).exists()
    }
    if run is None or "train" not in split:
        notes.append("No baselines: the training split of this model is not at hand (give a run, not a bare model).")
    elif not baselines or not recipe.get("baselines", True):
        notes.append("No baselines: left out on demand.")
    else:
        train = split["train"]
        if classifier.facts.training.get("start") == "contrastive":  # it learnt from both parts, so they may too
            train = Corpus(train.sentences + split["validation"].sentences, train.codebook)
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
    if len(corpus) < _FEW_SENTENCES:
        notes.append(
            f"Only {len(corpus)} sentences: the figures are rough, their intervals too narrow, and the calibration "
            f"error reads 0 by chance as often as not."
        )
    parts = {name: Part.of(part) for name, part in split.items()}
    history = _history(run) if run else []
    return Evaluation.of(corpus, classifier, fitted, name, notes, behaviour, parts, history)


def _history(run: RunLayout) -> list[dict[str, Any]]:
    """The entries of the run's log; a line that a crash tore off is passed over."""
    entries = []
    for line in run.log.read_text("utf-8").splitlines() if run.log.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            entries.append(json.loads(line))
    return entries


def run_of(model: str | Path | None) -> RunLayout | None:
    """The run that ``--model`` names, directly or by its model folder; None for anything else."""
    if model is None:
        return None
    path = Path(model)
    for folder in (path, path.parent):
        if RunLayout(folder).recipe.exists() and RunLayout(folder).model.is_dir():
            return RunLayout(folder)
    return None
