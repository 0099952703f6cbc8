"""A model folder to pass on: half the size, with its graph, and a notice of all that it was made from.

The weights are rounded to half precision in the file alone: ``config.json`` says float32, so that they are loaded and
computed with in single precision. The graph reads the table of embeddings, its largest part, from the same file
(``export.share_tables``). As rounding changes the checkpoint a little, temperature, calibration and graph are made
anew, and both are measured against the run's own checkpoint. A first stage (``cascade.py``) is made where it is asked
for: one that the run has was bounded for another graph.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.corpus import load_corpus
from ..data.errors import MissingExtraError, UserError
from ..data.files import partial_of
from ..data.split import PARTS, Split
from ..model.backbone import WHEEL_BACKBONES
from ..model.calibration import read_calibration
from ..model.cascade import CascadeFacts
from ..model.classifier import CheckpointClassifier
from ..model.folder import ModelFacts, find_model
from ..model.layout import ModelLayout
from ..model.onnx_runtime import Candidate, GraphFacts
from .calibration import fit_temperature, fold_temperature
from .card import write_card
from .evaluation import evaluate_run, run_of
from .recipe import CascadeSettings
from .report import render

try:
    from safetensors.numpy import load_file, save_file

    from .cascade import NoCascade, Unlabelled, add_cascade, cascade_folder
    from .export import ExportFailed, compare, export_graph, headline, measure_on
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "train", "Packing a model") from None

MOST_MB = 75


@dataclass(frozen=True)
class Packed:
    """A packed model folder.

    Attributes:
        layout: of the folder.
        agreement: of the rounded checkpoint with the run's, in words.
        graph: the graph's facts; it was measured against the run's checkpoint too.
        cascade: of the first stage; None where none was asked for.
        bytes: of all files together.
    """

    layout: ModelLayout
    agreement: str
    graph: GraphFacts
    cascade: CascadeFacts | None
    bytes: int


def pack_model(
    name: str | Path,
    folder: str | Path,
    *,
    most_mb: float = MOST_MB,
    cascade: CascadeSettings | None = None,
    unlabelled: Unlabelled | None = None,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> Packed:
    """Write a run's model as a folder to pass on; it is whole or not there.

    Args:
        name: a run of ``train``; what is written is measured and calibrated on its parts.
        folder: where to.
        most_mb: refuse to write more than so many megabytes (of 10^6 bytes).
        cascade: put a first stage before the graph; None leaves it out.
        unlabelled: to make the first stage with.
        overwrite: replace a folder that is there.
        say: takes one line at a time for the user to read.

    Raises:
        UserError: no run, or without its parts; text that nobody is credited for; the rounded checkpoint or
            every graph departs too far from the run's checkpoint; no first stage keeps its promise; or the
            folder exists or would be too large.
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise UserError(f"{folder} exists. Name another --output, or replace it with --overwrite.")
    run = run_of(name)
    if run is None:
        raise UserError(f"--model {name}: expected a run of 'train' with its splits/, to measure and calibrate on.")
    classifier = CheckpointClassifier.from_pretrained(run.folder, device="cpu", runtime="torch")
    unlabelled = unlabelled or Unlabelled()
    _check_credit(name, classifier.facts, unlabelled)
    split = Split(**{part: load_corpus(run.split(part), codebook=classifier.codebook) for part in PARTS})
    partial = partial_of(folder)
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        packed = _pack(classifier, split, ModelLayout(partial), cascade, unlabelled, say)
        _check_size(packed, most_mb)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return replace(packed, layout=ModelLayout(folder))


def _pack(
    classifier: CheckpointClassifier,
    split: Split,
    layout: ModelLayout,
    cascade: CascadeSettings | None,
    unlabelled: Unlabelled,
    say: Callable[[str], None],
) -> Packed:
    kept, facts = classifier.calibration, classifier.facts
    known = dict(zip(split.calibration.texts, kept.probabilities, strict=True)) if kept else {}
    say("Measuring the run's own checkpoint …")
    measured = measure_on(classifier, split.validation.texts + split.calibration.texts, known)

    say("Rounding the weights to half precision …")
    _round_weights(classifier.model)
    if kept:
        _calibrate_anew(classifier, split)
    for of_run in ("cascade", "macro_f1_without_cascade"):  # of another graph, and not carried along
        facts.training.pop(of_run, None)
    if "teacher" in facts.training:  # a path of the machine that it stood on
        facts.training["teacher"] = Path(facts.training["teacher"]).name
    classifier.save_pretrained(layout.folder)
    _halve(layout.weights)
    rounded = CheckpointClassifier.from_pretrained(layout.folder, device="cpu", runtime="torch")
    found = rounded.predict_proba(measured.texts)
    checkpoint = compare("checkpoint", found, measured.expected, 0.0, layout.weights)
    if not checkpoint.faithful:
        raise UserError(f"In half precision the weights no longer give what they gave: {_agreement(checkpoint)}.")

    say("Exporting the graph …")
    calibration = rounded.calibration
    try:
        graph = export_graph(
            rounded, layout.folder, measured, (split.calibration, calibration) if calibration else None
        )
    except ExportFailed as failed:
        raise UserError(f"No graph could be made: {failed}.") from None
    first_stage = None
    if cascade:
        of_graph = read_calibration(layout.folder, rounded.classes_, graph=True)
        parts = {name: part for name, part in split.parts().items() if name != "test" and len(part)}
        try:
            first_stage = add_cascade(rounded, layout.folder, parts, unlabelled, cascade, of_graph=of_graph, say=say)
        except NoCascade as none:
            raise UserError(f"--cascade: {none}.") from None
    more = {
        "graph": headline(graph),
        "half_precision": checkpoint.model_dump(include={"agreement", "mean_difference", "largest_difference"}),
        "metrics_before_packing": facts.metrics,
    }
    _describe(layout, split, more, say)
    size = sum(path.stat().st_size for path in layout.folder.iterdir())
    return Packed(layout, _agreement(checkpoint), graph, first_stage, size)


def add_first_stage(
    name: str | Path,
    unlabelled: Unlabelled,
    settings: CascadeSettings,
    *,
    run: str | Path,
    say: Callable[[str], None] = print,
) -> CascadeFacts:
    """Add a first stage to a folder that was packed before; its weights and its graph stay as they are.

    Args:
        name: the packed folder.
        unlabelled, settings, say: as in ``cascade.add_cascade``.
        run: that it was packed from.

    Raises:
        UserError: as in ``cascade.cascade_folder``, or text that nobody is credited for.
    """
    classifier = CheckpointClassifier.from_pretrained(name, cascade=False)
    _check_credit(name, classifier.facts, unlabelled)
    found = run_of(run)
    if found is None:
        raise UserError(f"--parts {run}: expected the run of 'train' that {name} was packed from.")
    facts = cascade_folder(name, unlabelled, settings, run=run, say=say)
    layout = ModelLayout(find_model(name))
    split = Split(**{part: load_corpus(found.split(part), codebook=classifier.codebook) for part in PARTS})
    _describe(layout, split, {}, say)
    return facts


def _describe(layout: ModelLayout, split: Split, training: dict[str, Any], say: Callable[[str], None]) -> None:
    """Measure what is shipped on the test part, and tell of it in facts, card and notice."""
    shipped = CheckpointClassifier.from_pretrained(layout.folder, runtime="onnx")
    shipped.facts.training |= training
    evaluation = None
    if len(split.test):
        say(f"Measuring what is shipped on {len(split.test):,} test sentences …")
        evaluation = evaluate_run(None, split.test, shipped, name="test split", baselines=False)
    if shipped.cascade:
        shipped.facts.training["cascade"] = shipped.cascade.model_dump()
        if evaluation:
            whole = CheckpointClassifier.from_pretrained(layout.folder, runtime="onnx", cascade=False)
            alone = whole.score(split.test.texts, split.test.labels)
            shipped.facts.training["macro_f1_without_cascade"] = alone
    shipped.facts.metrics = evaluation.headline() if evaluation else {}
    shipped.facts.write(layout.facts)
    write_card(shipped, evaluation, split, layout.card)
    layout.notice.write_text(_notice(shipped.facts) + "\n", "utf-8")


def _round_weights(model: Any) -> None:
    """Round to what half precision can hold; the model stays in single precision."""
    for name, values in model.state_dict().items():
        if values.is_floating_point():
            rounded = values.half()
            if not rounded.isfinite().all():
                raise UserError(f"The weights do not fit into half precision: {name} has values above 65,504.")
            values.copy_(rounded)


def _calibrate_anew(classifier: CheckpointClassifier, split: Split) -> None:
    """Fit the temperature again, and take the rounded checkpoint's word on the calibration part."""
    part, before = split.calibration, classifier.calibration
    if before is None:
        return
    temperature = fit_temperature(classifier.predict_proba(part.texts), part.label_ids)
    fold_temperature(classifier.model, temperature)
    _round_weights(classifier.model)
    probabilities = classifier.predict_proba(part.texts)
    classifier.calibration = before.model_copy(
        update={
            "temperature": before.temperature * temperature,
            "probabilities": [[round(float(value), 8) for value in row] for row in probabilities],
        }
    )
    classifier.facts.training["temperature"] = classifier.calibration.temperature


def _halve(weights: Path) -> None:
    """Store rounded weights in half precision: the same numbers in half the space."""
    mode = weights.stat().st_mode
    tensors = load_file(weights)
    halved = {
        name: values.astype(np.float16) if values.dtype == np.float32 else values for name, values in tensors.items()
    }
    save_file(halved, weights, metadata={"format": "pt"})
    weights.chmod(mode)


def _agreement(found: Candidate) -> str:
    return f"{found.agreement:.1%} equal labels, mean difference {found.mean_difference:.4f}"


def _check_credit(name: str | Path, facts: ModelFacts, unlabelled: Unlabelled) -> None:
    if unlabelled.texts and not unlabelled.attribution:
        raise UserError(
            "--unlabelled: a folder to pass on names the sources of the text that it was made with, and their "
            "licences: --attribution '…'"
        )
    recipe = facts.recipe.get("distillation", {})
    if facts.training.get("unlabelled_sentences") and not recipe.get("attribution"):
        raise UserError(
            f"--model {name}: it was taught on text that its recipe credits nobody for. Name the sources and their "
            f"licences in training: --set distillation.attribution='…'"
        )


def _check_size(packed: Packed, most_mb: float) -> None:
    if packed.bytes > most_mb * 1e6:
        sizes = sorted(((path.stat().st_size, path.name) for path in packed.layout.folder.iterdir()), reverse=True)
        largest = ", ".join(f"{name} {size / 1e6:.1f}" for size, name in sizes[:2])
        raise UserError(
            f"The folder would take {packed.bytes / 1e6:.1f} MB ({largest}), more than --max-mb {most_mb:g}. Allow "
            f"more, or train a smaller backbone."
        )


def _notice(facts: ModelFacts) -> str:
    wheel = next((wheel for wheel in WHEEL_BACKBONES.values() if wheel.hub_name == facts.backbone), None)
    bundled = facts.corpus_fingerprint == load_corpus().fingerprint
    return render("notice.j2", facts=facts, wheel=wheel, bundled=bundled)
