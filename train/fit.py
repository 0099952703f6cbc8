"""Fine-tune a backbone on a corpus and write a run."""

import itertools
import json
import math
import os
import platform
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..data.corpus import Corpus
from ..data.errors import MissingExtraError, UserError
from ..data.split import Split, split_corpus, split_units
from ..model.backbone import Backbone, hub_failure, resolve_backbone
from ..model.calibration import read_calibration
from ..model.classifier import CheckpointClassifier
from ..model.drift import Reference
from ..model.folder import ModelFacts
from ..model.layout import ModelLayout, RunLayout
from ..model.torch_runtime import TorchRuntime, pick_device, quiet_transformers, window_of
from .recipe import Recipe, TrainingSettings

try:
    import torch
    from accelerate import PartialState
    from datasets import Dataset
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        EarlyStoppingCallback,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        set_seed,
    )

    from .behaviour import groups_for
    from .calibration import calibrate
    from .card import write_card
    from .contrastive import fit_few
    from .distil import NO_LABEL, Teacher, taught_labels, teaching_loss
    from .evaluation import Evaluation, evaluate_run
    from .frozen import FrozenPart, KeptSentences, freeze, layers_of, pad_kept
    from .mean_layer import append_mean_layer, embed, start_head
    from .metrics import MacroF1
    from .noise import noisy_copies
    from .precision import uses_bf16
    from .progress import InterruptCallback, ProgressCallback, bar
    from .reference import make_reference, sampled
    from .report import write_evaluation
    from .swaps import swapped_copies
    from .turns import turned_copies
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "train", "Training") from None


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its classifier and what was measured."""

    layout: RunLayout
    classifier: CheckpointClassifier
    evaluation: Evaluation | None


class Interrupted(Exception):  # noqa: N818 - no error: the user asked for it
    """Training was stopped by Ctrl-C after a checkpoint was written."""


def train_run(
    corpus: Corpus,
    recipe: Recipe,
    output: str | Path,
    *,
    device: str = "auto",
    teacher: Teacher | None = None,
    resume: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
    callbacks: Sequence[TrainerCallback] = (),
) -> Run:
    """Split, fine-tune, evaluate and write one run.

    The run grows in ``<output>.partial`` and is renamed at the end, so ``output`` is either whole or
    not there.

    Args:
        corpus: annotated sentences.
        recipe: all settings.
        output: the run's folder.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        teacher: whose soft labels are learnt from besides the corpus (see ``load_teacher``).
        resume: go on with an unfinished run of the same corpus, recipe and teacher.
        overwrite: replace a finished run, or start an unfinished one anew.
        say: takes one line at a time for the user to read.
        callbacks: what else follows the training.

    Raises:
        UserError: the output exists, nothing to resume, the corpus cannot be split, no such backbone
            or device, or no disk space.
        Interrupted: Ctrl-C; a checkpoint was written.
    """
    started = time.monotonic()
    output = Path(output)
    _set_visible_device(device)
    state = PartialState(cpu=device == "cpu")
    folder = RunLayout(output.with_name(output.name + ".partial"))
    say = say if state.is_main_process else _say_nothing
    if state.is_main_process:
        _check_output(folder, output, _state(corpus, recipe, teacher), resume, overwrite)
    state.wait_for_everyone()
    earlier = _earlier_seconds(folder.log) if resume else 0.0

    set_seed(recipe.seed)
    split = split_corpus(limit_corpus(corpus, recipe), **recipe.split.model_dump(), seed=recipe.seed)
    for part in (split.train, split.validation):
        if not len(part):
            raise UserError("Too few sentences to split into train and validation.")
    backbone = resolve_backbone(recipe.backbone)
    say(_describe(recipe, backbone, split))
    few = has_few_labels(recipe, split, teacher)
    tuned = recipe
    if not teacher and recipe.trains_whole(len(split.train)):
        tuned = recipe.whole()
        rate = "" if few else f", at a learning rate of {tuned.training.learning_rate:g}"
        say(f"Small corpus: all layers are trained{rate}. As the recipe says instead: --set small_corpus.up_to=null")
    model, tokenizer = _load(backbone, corpus, tuned)
    max_length = min(recipe.max_length, window_of(model, tokenizer))

    if few and not append_mean_layer(model):
        say(f"note: few labels, but the layers of {backbone.name} are unknown here, so it is fine-tuned all the same.")
        few = False
    if few:
        # Labels are scarce: what would be held out for calibration is learnt from too.
        split = split.calibration_in_train()
    if state.is_main_process and not resume:
        _open_run(folder, _state(corpus, recipe, teacher), recipe, split)
    state.wait_for_everyone()
    if few:
        training = _fit_few(model, tokenizer, split, recipe, max_length, folder, say)
    else:
        parts = _parts(split, teacher, recipe)
        if recipe.training.pooling == "mean":
            _start_from_mean(model, tokenizer, split.train, max_length, backbone, recipe.training.class_weights)
        sentences = _sentences(model, tokenizer, parts, tuned, max_length)
        loss = _loss(split.train, recipe, taught=teacher is not None)
        trainer = _trainer(model, tokenizer, sentences, loss, tuned, folder, say, started)
        for callback in callbacks:
            trainer.add_callback(callback)
        model = _fine_tune(trainer, sentences, folder, resume, say)
        training = _training_facts(trainer)
    if not state.is_main_process:
        state.wait_for_everyone()
        return Run(RunLayout(output), CheckpointClassifier.from_pretrained(output), None)

    facts = ModelFacts(
        max_length=max_length,
        backbone=backbone.name,
        corpus_fingerprint=corpus.fingerprint,
        corpus_counts={name: len(part) for name, part in split.parts().items()},
        recipe=recipe.model_dump(mode="json"),
        training=training
        | {"seconds": round(earlier + time.monotonic() - started, 1)}
        | _versions()
        | (teacher.facts() if teacher else {}),
    )
    classifier = CheckpointClassifier(
        TorchRuntime(cast(Any, model), tokenizer, max_length), codebook=corpus.codebook, facts=facts
    )
    classifier.calibration = calibrate(classifier, split)
    facts.training["temperature"] = classifier.calibration.temperature if classifier.calibration else None
    # A run with few labels holds nothing out that limits could be measured on.
    if recipe.reference and not few:
        classifier.reference = _reference(classifier, split, recipe.seed)
    classifier.save_pretrained(folder.model)
    if classifier.calibration is None and recipe.split.calibration:
        why = "with few labels all are learnt from" if few else "too few sentences are left for it, or an unknown head"
        say(f"note: the probabilities are not calibrated ({why}); they stay as they came out of training.")
    if recipe.export:
        facts.training["graph"] = _graph(folder.model, classifier, split, recipe.seed, say)
        if recipe.cascade.most_changed is not None and "failed" not in facts.training["graph"]:
            facts.training["cascade"] = _cascade(folder.model, classifier, split, recipe, teacher, say)
        facts.write(ModelLayout(folder.model).facts)
    elif recipe.cascade.most_changed is not None:
        say("note: no first stage was made: it goes before a graph, and export=false makes none.")
    evaluation = _evaluate(folder, split, classifier, device, say)
    if evaluation:
        facts.metrics = evaluation.headline()
        facts.write(ModelLayout(folder.model).facts)
    write_card(classifier, evaluation, split, ModelLayout(folder.model).card)
    if output.exists():
        shutil.rmtree(output)
    folder.folder.rename(output)
    # What only resuming needs goes last, so that a run cut off before this line can be resumed.
    finished = RunLayout(output)
    shutil.rmtree(finished.checkpoints, ignore_errors=True)
    finished.state.unlink()
    state.wait_for_everyone()
    return Run(finished, classifier, evaluation)


def _reference(classifier: CheckpointClassifier, split: Split, seed: int) -> Reference:
    train, held_out = sampled(split, seed)
    with bar("Reference", len(train) + len(held_out), "sentences") as advance:
        return make_reference(classifier, train, held_out, seed, advance)


def _graph(
    folder: Path, classifier: CheckpointClassifier, split: Split, seed: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Add the graph to the model folder; a run goes on without where that fails."""
    try:
        from .export import ExportFailed, describe, export_graph, headline, measure_on
    except MissingExtraError as missing:
        say(f"note: no graph was made: {missing}")
        return {"failed": str(missing)}
    kept = classifier.calibration
    known = dict(zip(split.calibration.texts, kept.probabilities, strict=True)) if kept else {}
    say("Exporting the graph …")
    try:
        measured = measure_on(classifier, split.validation.texts + split.calibration.texts, known, seed)
        facts = export_graph(classifier, folder, measured, (split.calibration, kept) if kept else None)
    except ExportFailed as failed:
        say(f"note: no graph was made: {failed}. The model runs in PyTorch all the same.")
        return {"failed": str(failed)}
    say(f"Graph {describe(facts.chosen)}; PyTorch {facts.torch_sentences_per_second:.0f} sentences/s")
    return headline(facts)


def _cascade(
    folder: Path,
    classifier: CheckpointClassifier,
    split: Split,
    recipe: Recipe,
    teacher: Teacher | None,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Add a first stage to the model folder; a run goes on without where that fails."""
    from .cascade import Unlabelled, add_cascade, describe_cascade
    from .export import ExportFailed

    texts = teacher.texts if teacher else []
    parts = {name: part for name in ("train", "validation", "calibration") if len(part := getattr(split, name))}
    try:
        facts = add_cascade(
            classifier,
            folder,
            parts,
            Unlabelled(texts, [None] * len(texts)),
            recipe.cascade,
            of_graph=read_calibration(folder, classifier.classes_, graph=True),
            seed=recipe.seed,
            say=say,
        )
    except ExportFailed as failed:
        say(f"note: no first stage was made: {failed} ('conflict-framing export --cascade').")
        return {"failed": str(failed)}
    for line in describe_cascade(facts):
        say(line)
    return facts.model_dump()


def has_few_labels(recipe: Recipe, split: Split, teacher: Teacher | None) -> bool:
    """Whether a run starts by contrast instead of fine-tuning: the rule of ``few_labels`` in the recipe.

    It does with at most ``few_labels.up_to`` annotated sentences per label on average and no teacher.
    """
    most = recipe.few_labels.up_to
    if most is None or teacher:
        return False
    annotated = len(split.train) + len(split.validation) + len(split.calibration)
    return annotated <= most * len(split.train.label_names)


def _fit_few(
    model: Any,
    tokenizer: Any,
    split: Split,
    recipe: Recipe,
    max_length: int,
    folder: RunLayout,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Train on few labels; nothing is chosen on the validation part, so it is learnt from too."""
    settings = recipe.few_labels
    texts = split.train.texts + split.validation.texts
    labels = split.train.label_ids + split.validation.label_ids
    # All layers frozen leaves nothing to draw together.
    layers = layers_of(model)
    trained = layers is not None and any(p.requires_grad for layer in layers.modules for p in layer.parameters())
    steps = settings.steps_for(len(texts)) if trained else 0
    say(
        f"Few labels ({len(texts)} sentences for {len(split.train.label_names)} labels): {steps} contrastive steps, "
        f"then a logistic regression as the head. Fine-tune instead with --set few_labels.up_to=null"
    )
    state = PartialState()
    model.to(state.device)
    bf16 = uses_bf16(recipe.training.precision, state.device.type)
    counts = Counter(labels)
    weights = label_weights(
        [counts[place] for place in range(len(split.train.label_names))], recipe.training.class_weights
    )
    with bar("Training", steps, "steps") as advance:

        def on_step(step: int, loss: float) -> None:
            advance(1)
            if state.is_main_process and (step % 10 == 0 or step == steps):
                with folder.log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps({"step": step, "contrastive_loss": loss}) + "\n")

        fit_few(
            model, tokenizer, texts, labels,
            steps=steps, learning_rate=settings.learning_rate, max_length=max_length, seed=recipe.seed, bf16=bf16,
            label_weights=weights, on_step=on_step,
        )  # fmt: skip
    precision = "bf16" if bf16 else "fp32"
    return {"start": "contrastive", "steps": steps, "device": str(model.device), "precision": precision}


def _fine_tune(
    trainer: Trainer, sentences: "_Sentences", folder: RunLayout, resume: bool, say: Callable[[str], None]
) -> Any:
    """Run the Trainer, from the last checkpoint where there is one; returns the whole model in full precision."""
    checkpoint = _last_checkpoint(folder) if resume else None
    if checkpoint:
        say(f"Going on from {checkpoint}")
    with quiet_transformers():
        trainer.train(resume_from_checkpoint=checkpoint)
    if any(
        isinstance(callback, InterruptCallback) and callback.interrupted
        for callback in trainer.callback_handler.callbacks
    ):
        raise Interrupted(str(folder.checkpoints))
    if sentences.frozen:
        sentences.frozen.put_back()
    # Without the half precision that accelerate wraps around it: evaluated as it will be used.
    return trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)


def _say_nothing(line: str) -> None:
    pass


def _earlier_seconds(log: Path) -> float:
    """What the broken-off attempts at a run took, as far as its log tells; each begins to count anew."""
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    seconds = [*(value for line in lines if (value := _seconds(line)) is not None), 0.0]
    return float(sum(now for now, then in itertools.pairwise(seconds) if then < now))


def _seconds(line: str) -> float | None:
    """What a line of the log tells of the time; nothing where a kill cut it off, or training was by contrast."""
    try:
        found: float | None = json.loads(line).get("seconds")
    except ValueError:
        return None
    return found


def _last_checkpoint(folder: RunLayout) -> str | None:
    """The newest checkpoint that was written whole (the Trainer writes its state last)."""
    whole = [path.parent for path in folder.checkpoints.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None


def _set_visible_device(device: str) -> None:
    # The Trainer spreads over all GPUs that it sees; one of them is chosen by hiding the others.
    if device.startswith("cuda:") and "CUDA_VISIBLE_DEVICES" not in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = device.removeprefix("cuda:")
        device = "cuda"
    pick_device(device if not device.startswith("cuda:") else "cuda")


def _state(corpus: Corpus, recipe: Recipe, teacher: Teacher | None) -> dict[str, Any]:
    taught = teacher.state if teacher else {}
    # Checkpoints hold the layers that were trained, which differ with the device (see ``_sentences``).
    device = PartialState().device.type
    return {
        "corpus": corpus.fingerprint,
        "recipe": recipe.model_dump(mode="json"),
        "device": device,
        # Half precision makes other weights.
        "precision": "bf16" if uses_bf16(recipe.training.precision, device) else "fp32",
        **taught,
    }


def _check_output(folder: RunLayout, output: Path, state: dict[str, Any], resume: bool, overwrite: bool) -> None:
    """Refuse what would lose something; nothing is written here."""
    check_finished(output, overwrite)
    if resume:
        if not folder.state.exists():
            raise UserError(f"--resume: no unfinished run at {folder.folder}.")
        before = json.loads(folder.state.read_text("utf-8"))
        if before["corpus"] != state["corpus"]:
            raise UserError(
                "--resume: the corpus is not the one that the run began with. Give the same --corpus, or start anew "
                "with --overwrite."
            )
        if before["recipe"] != state["recipe"]:
            changed = [key for key in state["recipe"] if before["recipe"].get(key) != state["recipe"][key]]
            raise UserError(
                f"--resume: the recipe has changed since the run began ({', '.join(changed)}). "
                f"Give the same recipe and settings, or start anew with --overwrite."
            )
        if before.get("device") != state["device"]:
            raise UserError(
                f"--resume: the run began on {before.get('device')}, this is {state['device']}. Go on with "
                f"--device {before.get('device')}, or start anew with --overwrite."
            )
        if before.get("precision") != state["precision"]:
            raise UserError(
                f"--resume: the run began in {before.get('precision', 'fp32')}, this machine would go on in "
                f"{state['precision']}. Go on where it began, or start anew with --overwrite."
            )
        if before != state:
            raise UserError(
                "--resume: the run began with another teacher or other unlabelled text. Give the same --teacher and "
                "--unlabelled, or start anew with --overwrite."
            )
    else:
        check_unfinished(folder, overwrite)


def check_finished(output: Path, overwrite: bool) -> None:
    """Refuse to replace a finished run without ``overwrite``, or what is no run."""
    if RunLayout(output).recipe.exists() and not overwrite:
        raise UserError(f"{output} exists: a finished run. Name another --output, or train it anew with --overwrite.")
    if output.exists() and not overwrite:
        raise UserError(f"{output} exists. Name another --output, or replace it with --overwrite.")
    if output.exists() and not (RunLayout(output).recipe.exists() or (output.is_dir() and not any(output.iterdir()))):
        raise UserError(f"{output} is no run, so --overwrite does not delete it. Name another --output.")


def check_unfinished(folder: RunLayout, overwrite: bool) -> None:
    """Refuse to start an unfinished run anew without ``overwrite``."""
    if folder.folder.exists() and not overwrite:
        raise UserError(
            f"An unfinished run is at {folder.folder}. Go on with it with --resume, or start anew with --overwrite."
        )


def _open_run(folder: RunLayout, state: dict[str, Any], recipe: Recipe, split: Split) -> None:
    if folder.folder.exists():
        shutil.rmtree(folder.folder)
    folder.splits.mkdir(parents=True)
    for name, part in split.parts().items():
        if len(part):
            part.marked(name).write(folder.split(name))
    folder.recipe.write_text(recipe.to_yaml(), "utf-8")
    folder.state.write_text(json.dumps(state, indent=2) + "\n", "utf-8")


def limit_corpus(corpus: Corpus, recipe: Recipe) -> Corpus:
    """At most ``max_corpus`` sentences: whole units, drawn by the seed."""
    if recipe.max_corpus is None or len(corpus) <= recipe.max_corpus:
        return corpus
    units = split_units(corpus)
    order = sorted(set(units))
    random.Random(recipe.seed).shuffle(order)  # noqa: S311 - no secret
    sizes = Counter(units)
    kept: set[int] = set()
    total = 0
    for unit in order:
        if total + sizes[unit] <= recipe.max_corpus:
            kept.add(unit)
            total += sizes[unit]
    return corpus.select([place for place, unit in enumerate(units) if unit in kept])


def _describe(recipe: Recipe, backbone: Backbone, split: Split) -> str:
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in split.parts().items())
    labels = ", ".join(f"{name} {count:,}" for name, count in split.train.counts().items())
    return f"Recipe {recipe.name}, backbone {backbone.name}\nSentences: {sizes}\nTraining labels: {labels}"


def _load(backbone: Backbone, corpus: Corpus, recipe: Recipe) -> tuple[Any, Any]:
    names = corpus.label_names
    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                backbone.source, trust_remote_code=False, local_files_only=backbone.local
            )
            model = AutoModelForSequenceClassification.from_pretrained(
                backbone.source,
                num_labels=len(names),
                id2label=dict(enumerate(names)),
                label2id={name: place for place, name in enumerate(names)},
                ignore_mismatched_sizes=True,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=backbone.local,
                dtype=torch.float32,
            )
        except (OSError, ValueError) as error:
            raise hub_failure(backbone.name, error) from None
    settings = recipe.training
    freeze(model, freeze_embeddings=settings.freeze_embeddings, freeze_layers=settings.freeze_layers)
    return model, tokenizer


class LengthGroupedSampler(torch.utils.data.Sampler[int]):
    """Orders sentences so that batches hold similar lengths, and the batches come in random order.

    transformers' own sampler takes the batches of each stretch from long to short. Short sentences
    have other labels than long ones, so every stretch ends by teaching the model their label shares
    (validation macro-F1 after one epoch at a learning rate of 1e-4: 0.37 against 0.79). Its order also
    follows the global random state, so that a run resumed in mid-epoch would see some sentences
    twice and others never; here it follows from seed and epoch alone.
    """

    _STRETCH = 50  # batches that are sorted by length together

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        chance = np.random.default_rng([self._seed, self._epoch])
        order = chance.permutation(len(self._lengths))
        stretch = self._STRETCH * self._batch_size
        batches = []
        for first in range(0, len(order), stretch):
            part = order[first : first + stretch]
            part = part[np.argsort(self._lengths[part], kind="stable")]
            batches += [part[i : i + self._batch_size] for i in range(0, len(part), self._batch_size)]
        whole = [batch for batch in batches if len(batch) == self._batch_size]
        # Batches are cut from this order again, so a short one may only come last.
        short = [batch for batch in batches if len(batch) < self._batch_size]
        shuffled = [whole[place] for place in chance.permutation(len(whole))] + short
        return iter(np.concatenate(shuffled).tolist())


class _FramingTrainer(Trainer):
    """The Trainer with our order of the sentences."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        if self.args.train_sampling_strategy != "group_by_length" or dataset is None:
            return super()._get_train_sampler(train_dataset)
        # For all processes the same: accelerate deals the batches out to them.
        return LengthGroupedSampler(lengths_of(dataset), self.args.train_batch_size, self.args.seed)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        # The Trainer's own way looks for token ids, which kept activations do not have.
        if isinstance(eval_dataset, KeptSentences):
            return LengthGroupedSampler(eval_dataset.lengths, self.args.eval_batch_size, self.args.seed)
        return super()._get_eval_sampler(eval_dataset)


def lengths_of(dataset: Any) -> Sequence[int]:
    """The sentences' lengths in tokens."""
    return dataset.lengths if isinstance(dataset, KeptSentences) else dataset["length"]


@dataclass
class _Sentences:
    """Training and validation sentences as the Trainer wants them, and the frozen part where it was taken off."""

    train: Any
    validation: Any
    frozen: FrozenPart | None


# Texts, and what is to be learnt of each.
_Part = tuple[list[str], Sequence[Any]]


def _parts(split: Split, teacher: Teacher | None, recipe: Recipe) -> tuple[_Part, _Part]:
    """What is trained on (with changed copies and a teacher's sentences where asked for), and the validation part."""
    copies = copies_of(split.train, recipe)
    texts = split.train.texts + [text for _, text in copies]
    gold = split.train.label_ids + [split.train.label_ids[place] for place, _ in copies]
    labels: Sequence[Any] = gold
    if teacher:
        # The copies are for the teacher to label too: it may see the other names otherwise.
        unlabelled = [turned_copies(split.train.texts, recipe.distillation.turns, recipe.seed), teacher.texts]
        taught = [teacher.label(part, "Teacher") for part in (texts, *unlabelled)]
        labels = taught_labels(gold + [NO_LABEL] * sum(map(len, unlabelled)), np.concatenate(taught))
        texts = [*texts, *itertools.chain(*unlabelled)]
    return (texts, labels), (split.validation.texts, split.validation.label_ids)


def copies_of(train: Corpus, recipe: Recipe) -> list[tuple[int, str]]:
    """Changed copies of training sentences that are trained on too: the original's place, and the copy's text."""
    # Other labels may hang on the very place or party that is named.
    swaps = recipe.training.swaps if train.codebook.has_bundled_labels else 0.0
    swapped = swapped_copies(train.texts, swaps, recipe.seed)
    return swapped + noisy_copies(train.texts, recipe.training.noise, recipe.seed)


def _start_from_mean(
    model: Any, tokenizer: Any, train: Corpus, max_length: int, backbone: Backbone, class_weights: str
) -> None:
    if not append_mean_layer(model, trained=True):
        raise UserError(
            f"training.pooling=mean: not for the layers and head of {backbone.name} (for BERT, RoBERTa, XLM-RoBERTa, "
            f"CamemBERT and MPNet). Use --set training.pooling=first"
        )
    model.to(PartialState().device)
    with bar("Embedding", len(train), "sentences") as advance:
        features = embed(model, tokenizer, train.texts, max_length, advance)
    start_head(model, features, train.label_ids, label_weights(list(train.counts().values()), class_weights))
    model.to("cpu")


def _sentences(model: Any, tokenizer: Any, parts: tuple[_Part, _Part], recipe: Recipe, max_length: int) -> _Sentences:
    train, validation = (_dataset(texts, labels, tokenizer, max_length) for texts, labels in parts)
    settings = recipe.training
    # A GPU runs the frozen part faster than it is fetched from memory.
    on_cpu = PartialState().device.type == "cpu"
    if not (settings.freeze_embeddings and settings.keep_activations and on_cpu):
        return _Sentences(train, validation, None)
    tokens = sum(lengths_of(train)) + sum(lengths_of(validation))
    frozen = FrozenPart.of(model, settings.freeze_layers, tokenizer, tokens)
    if frozen is None:
        return _Sentences(train, validation, None)
    bf16 = uses_bf16(settings.precision, "cpu")
    with bar("Frozen layers", len(train) + len(validation), "sentences") as advance:
        kept = [frozen.keep(texts, labels, tokenizer, max_length, advance, bf16=bf16) for texts, labels in parts]
    frozen.take_off()
    return _Sentences(kept[0], kept[1], frozen)


def _trainer(
    model: Any,
    tokenizer: Any,
    sentences: _Sentences,
    loss: Callable[..., Any] | None,
    recipe: Recipe,
    folder: RunLayout,
    say: Callable[[str], None],
    started: float,
) -> Trainer:
    settings = recipe.training
    # Where accelerate will put the model.
    device = PartialState().device
    arguments = TrainingArguments(
        output_dir=str(folder.checkpoints),
        num_train_epochs=passes_of(settings, len(sentences.train)),
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=32,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup,
        label_smoothing_factor=settings.label_smoothing,
        train_sampling_strategy="group_by_length" if settings.group_by_length else "random",
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="steps",
        logging_steps=10,
        save_total_limit=2,  # the best and the last; with 1 the Trainer drops the last one when it stops
        load_best_model_at_end=True,
        metric_for_best_model="macro_f1",
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        seed=recipe.seed,
        data_seed=recipe.seed,
        bf16=uses_bf16(settings.precision, device.type),
        use_cpu=device.type == "cpu",
        dataloader_pin_memory=False,
        remove_unused_columns=False,  # the sampler reads the lengths, the collator drops them
        disable_tqdm=True,
        report_to="none",
    )
    trainer = _FramingTrainer(
        model=model,
        args=arguments,
        train_dataset=sentences.train,
        eval_dataset=sentences.validation,
        data_collator=pad_kept if sentences.frozen else _Collator(tokenizer),
        processing_class=tokenizer,
        optimizers=(_decayed_optimizer(model, settings), None),
        compute_metrics=_validation_metrics(int(model.config.num_labels)),
        compute_loss_func=loss,
        callbacks=[
            EarlyStoppingCallback(early_stopping_patience=settings.patience),
            InterruptCallback(say),
            ProgressCallback(folder.log, say, started),
        ],
    )
    # Our own progress bar stands in for the printed dictionaries.
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer


def _decayed_optimizer(model: Any, settings: TrainingSettings) -> torch.optim.Optimizer | None:
    """AdamW with a lower learning rate for lower layers (Howard & Ruder 2018), or None for the Trainer's own.

    The head learns at ``learning_rate``, the layer i places below the highest at that times
    ``layer_decay`` to the power of i, and the embeddings one place below the lowest layer.
    """
    layers = layers_of(model)
    if settings.layer_decay == 1 or layers is None:
        return None
    # A frozen layer of means on top does not count.
    learning = [layer for layer in layers.modules if any(p.requires_grad for p in layer.parameters())]
    places = {id(p): place for place, layer in enumerate(reversed(learning)) for p in layer.parameters()}
    places |= {id(p): len(learning) for p in model.base_model.embeddings.parameters()}
    groups = []
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        # Biases and norms are not decayed, as in the Trainer.
        weight_decay = settings.weight_decay if parameter.dim() > 1 else 0.0
        rate = settings.learning_rate * settings.layer_decay ** places.get(id(parameter), 0)
        groups.append({"params": [parameter], "lr": rate, "weight_decay": weight_decay})
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def passes_of(settings: TrainingSettings, sentences: int) -> float:
    """How often so many training sentences are passed at most.

    That is ``epochs``, or what ``min_sentences`` asks for, but not more than ``max_sentences`` allows.
    """
    passes = float(settings.epochs)
    if settings.min_sentences is not None:
        passes = max(passes, math.ceil(settings.min_sentences / sentences))
    if settings.max_sentences is None:
        return passes
    affordable = settings.max_sentences / sentences
    # Whole passes where one fits: the last of a broken-off pass would hardly be learnt from.
    return min(passes, float(int(affordable)) if affordable >= 1 else affordable)


class _Collator(DataCollatorWithPadding):
    """Pads to the longest sentence of the batch; the length column is for the sampler only."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        return super().__call__([{k: v for k, v in row.items() if k != "length"} for row in features])


def _dataset(texts: Sequence[str], labels: Sequence[Any], tokenizer: Any, max_length: int) -> Any:
    columns = dict(tokenizer(list(texts), truncation=True, max_length=max_length))
    columns["length"] = [len(ids) for ids in columns["input_ids"]]
    return Dataset.from_dict({**columns, "labels": list(labels)})


def _validation_metrics(n_labels: int) -> Callable[[Any], dict[str, float]]:
    metric = MacroF1(n_labels)

    def compute(output: Any) -> dict[str, float]:
        logits = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
        return dict(metric.compute(predictions=np.argmax(logits, axis=-1), references=output.label_ids))

    return compute


def _loss(train: Corpus, recipe: Recipe, taught: bool) -> Callable[..., Any] | None:
    """Cross entropy with class weights or a teacher, or None where the Trainer's own loss does."""
    weights = label_weights(list(train.counts().values()), recipe.training.class_weights)
    values = None if weights is None else torch.tensor(weights)

    def cross_entropy(logits: Any, labels: Any, reduction: str = "none") -> Any:
        return torch.nn.functional.cross_entropy(
            logits.float(),
            labels,
            weight=None if values is None else values.to(logits.device),
            label_smoothing=recipe.training.label_smoothing,
            reduction=reduction,
        )

    if taught:
        return teaching_loss(recipe, cross_entropy)
    if values is None:
        return None
    return lambda outputs, labels, num_items_in_batch=None: cross_entropy(outputs.logits, labels, "mean")


def label_weights(counts: Sequence[int], kind: str) -> list[float] | None:
    """Weights of the labels in the loss, scaled so that the mean over sentences is 1.

    ``balanced`` is inverse to the label's share, ``sqrt`` inverse to its square root, ``none`` is None.
    """
    if kind == "none":
        return None
    power = {"balanced": 1.0, "sqrt": 0.5}[kind]
    raw = np.array([1.0 / max(count, 1) ** power for count in counts])
    mean = float((raw * np.array(counts)).sum() / sum(counts))
    return [float(value / mean) for value in raw]


def _training_facts(trainer: Trainer) -> dict[str, Any]:
    history = [entry for entry in trainer.state.log_history if "eval_macro_f1" in entry]
    best = max(history, key=lambda entry: entry["eval_macro_f1"])
    return {
        "epochs_run": round(float(history[-1]["epoch"]), 3),
        "best_epoch": round(float(best["epoch"]), 3),
        "validation_macro_f1": float(best["eval_macro_f1"]),
        "device": str(trainer.args.device),
        "precision": "bf16" if trainer.args.bf16 else "fp32",
    }


def _versions() -> dict[str, str]:
    import transformers

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _evaluate(
    folder: RunLayout, split: Split, classifier: CheckpointClassifier, device: str, say: Callable[[str], None]
) -> Evaluation | None:
    if not len(split.test):
        say("No test sentences, so no evaluation. Measure with: conflict-framing evaluate DATA --model RUN")
        return None
    say(f"Evaluating on {len(split.test):,} test sentences …")
    behaviour = groups_for(classifier.codebook) if classifier.facts.recipe["behaviour"] else ()
    evaluation = evaluate_run(folder, split.test, classifier, name="test split", behaviour=behaviour, device=device)
    write_evaluation(evaluation, folder.evaluation)
    return evaluation
