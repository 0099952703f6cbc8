"""Search the settings that matter most within a time budget, and train with the best of them."""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any, cast

from ..data.corpus import Corpus
from ..data.errors import MissingExtraError, UserError
from ..data.split import split_corpus
from ..model.backbone import Backbone, hub_failure, resolve_backbone
from ..model.layout import RunLayout
from ..model.torch_runtime import quiet_transformers
from .fit import (
    Interrupted,
    Run,
    check_finished,
    check_unfinished,
    copies_of,
    has_few_labels,
    limit_corpus,
    passes_of,
    train_run,
)
from .recipe import Recipe
from .report import render

try:
    import optuna
    import torch
    from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
    from transformers import AutoConfig, AutoModelForSequenceClassification, TrainerCallback

    from .distil import Teacher
    from .frozen import layers_of
except ImportError as error:
    raise MissingExtraError(error.name or "optuna", "train", "Searching settings") from None

SEARCH_FILE = "search.json"
TABLE_FILE = "search.md"
# Learning rates from the recipe's own divided by it to the recipe's own times it.
_FACTOR = 5.0
_MOST_EPOCHS = 10
# Trials before the sampler draws its conclusions and a hopeless one may be stopped. The sampler's own
# default, 10, is all that most budgets hold.
_FIRST = 5
# A trial whose validation macro-F1 is not among so many per cent after the same epoch is hopeless.
_KEPT = 75.0


@dataclass(frozen=True)
class Trial:
    """One setting, and what it gave.

    Attributes:
        number: from 1; the first is the recipe's own setting.
        settings: ``learning_rate``, ``freeze_layers`` and ``epochs`` of ``Recipe.training``.
        macro_f1: of the best epoch, on the validation part.
        epochs: validation macro-F1 after each.
        seconds: that the trial took.
        stopped: why it was not trained to its end; None where it was.
    """

    number: int
    settings: dict[str, Any]
    macro_f1: float
    epochs: list[float]
    seconds: float
    stopped: str | None

    @property
    def words(self) -> str:
        return _words(self.settings)


@dataclass(frozen=True)
class _Trials:
    """All trials so far, and which of them is chosen (None where none came to its end)."""

    trials: list[Trial]

    @property
    def chosen(self) -> Trial | None:
        ended = [trial for trial in self.trials if trial.stopped is None]
        return max(ended, key=lambda trial: trial.macro_f1, default=None)

    @property
    def longest(self) -> float:
        """Seconds; 0 before the first."""
        return max((trial.seconds for trial in self.trials), default=0.0)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("trial", "learning rate", "frozen", "passes", "macro-F1", "seconds", "")

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The table of the trials, as text; narrow enough for a terminal of 80 columns."""
        return [
            (
                str(trial.number),
                f"{trial.settings['learning_rate']:.3g}",
                str(trial.settings["freeze_layers"]),
                str(trial.settings["epochs"]),
                f"{trial.macro_f1:.3f}",
                f"{trial.seconds:.0f}",
                self._note(trial),
            )
            for trial in self.trials
        ]

    def _note(self, trial: Trial) -> str:
        notes = ["own setting"] if trial.number == 1 else []
        notes += [trial.stopped] if trial.stopped else []
        notes += ["chosen"] if trial is self.chosen else []
        return ", ".join(notes)


@dataclass(frozen=True)
class Search(_Trials):
    """A finished search: its trials, and the run with the chosen settings."""

    run: Run


def run_search(
    corpus: Corpus,
    recipe: Recipe,
    output: str | Path,
    *,
    minutes: float,
    device: str = "auto",
    teacher: Teacher | None = None,
    resume: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> Search:
    """Try settings for so many minutes, the final training included; then train with the best.

    Tried are learning rates, numbers of frozen layers and of passes, beginning with the recipe's own. Each
    is measured by its macro-F1 on the validation part; the test part is kept from all trials.
    ``training.max_sentences``, a limit on time, gives way to the minutes where it allows a whole pass.

    Args:
        corpus: annotated sentences.
        recipe: all other settings; its seed is also that of the search.
        output: of the final run; the trials are told in ``<output>.search``.
        minutes: for all trials and the final training; its evaluation comes on top.
        device: as in ``train_run``.
        teacher: as in ``train_run``.
        resume: go on: finished trials of the same corpus and recipe are kept, an unfinished one begins
            anew; the time that the finished ones took counts.
        overwrite: replace a finished run, search anew.
        say: takes one line at a time for the user to read.

    Raises:
        UserError: as ``train_run``, or a search is there and neither ``resume`` nor ``overwrite`` is set.
        Interrupted: Ctrl-C in the final run.
        KeyboardInterrupt: Ctrl-C in a trial.
    """
    run = RunLayout(Path(output))
    final = RunLayout(run.folder.with_name(run.folder.name + ".partial"))
    _check(run, final, resume, overwrite)
    split = split_corpus(limit_corpus(corpus, recipe), **recipe.split.model_dump(), seed=recipe.seed)
    if has_few_labels(recipe, split, teacher):
        raise UserError(
            "--search tunes fine-tuning, but so few labels are trained by contrast (few_labels in the recipe). Train "
            "without --search, or search for a fine-tuned one with --set few_labels.up_to=null"
        )
    seen = split.without("calibration", "test").marked()
    state = {
        "corpus": corpus.fingerprint,
        "recipe": recipe.model_dump(mode="json"),
        **(teacher.state if teacher else {}),
    }
    found = _Trials(_read(run.search / SEARCH_FILE, state) if resume else [])
    if not teacher and recipe.trains_whole(len(split.train)):
        recipe = recipe.whole()
    copies = copies_of(split.train, recipe)
    recipe = _in_passes(recipe, len(split.train) + len(copies) + (len(teacher.texts) if teacher else 0))
    space = _space(recipe, _count_layers(resolve_backbone(recipe.backbone)))
    for stale in run.search.glob("trial-*.partial") if resume else (run.search, final.folder):
        if stale.exists():
            shutil.rmtree(stale)
    if found.trials:
        say(f"Trials finished before: {len(found.trials)}")

    before = sum(trial.seconds for trial in found.trials)
    began = monotonic()

    def left() -> float:
        return minutes * 60 - before - (monotonic() - began)

    # A final run that has begun has its settings.
    while not final.state.exists() and left() >= 2 * found.longest:
        number = len(found.trials) + 1
        asked, settings = _ask(found.trials, space, recipe)
        say(f"trial {number}: {_words(settings)}")
        trial_began = monotonic()

        def out_of_time(trial_began: float = trial_began) -> bool:
            # The final run is as long as its trial, which may be this one.
            return left() < max(found.longest, monotonic() - trial_began)

        watch = _Watch(asked, out_of_time)
        # Without its calibration part a corpus may look like one of few labels, which was asked above.
        few = recipe.few_labels.model_copy(update={"up_to": None})
        own = _changed(recipe, settings).uncalibrated()
        own = own.model_copy(update={"baselines": False, "reference": False, "few_labels": few})
        folder = run.search / f"trial-{number}"
        try:
            tried = train_run(
                seen, own, folder, device=device, teacher=teacher, overwrite=True, say=_say_nothing, callbacks=[watch]
            )
        except Interrupted:  # its checkpoint is of no use: a trial begins anew, so that its seconds are its own
            raise KeyboardInterrupt from None
        seconds = round(monotonic() - trial_began, 1)
        trial = Trial(number, settings, max(watch.epochs), watch.epochs, seconds, watch.stopped)
        found.trials.append(trial)
        # Heavy, or the same in all trials; the recipe and the log stay.
        shutil.rmtree(tried.layout.model)
        shutil.rmtree(tried.layout.splits)
        _write(run.search, state, found)
        ended = f" (stopped: {trial.stopped})" if trial.stopped else ""
        say(f"  validation macro-F1 {trial.macro_f1:.3f} in {trial.seconds:,.0f} s{ended}")

    chosen = found.chosen
    if chosen is None:
        say(f"Too little time for a trial and the final run ({minutes:g} min), so the recipe's own setting stays.")
    else:
        say(f"\nChosen: trial {chosen.number} ({chosen.words}). Training the final run …")
    trained = train_run(
        corpus,
        _changed(recipe, chosen.settings) if chosen else recipe,
        run.folder,
        device=device,
        teacher=teacher,
        resume=resume and final.state.exists(),
        overwrite=overwrite,
        say=say,
    )
    return Search(found.trials, trained)


def _say_nothing(line: str) -> None:
    pass


def _words(settings: Mapping[str, Any]) -> str:
    layers, epochs = settings["freeze_layers"], settings["epochs"]
    return (
        f"learning rate {settings['learning_rate']:.3g}, {layers} frozen layer{'s' * (layers != 1)}, "
        f"{epochs} pass{'es' * (epochs != 1)}"
    )


def _check(run: RunLayout, final: RunLayout, resume: bool, overwrite: bool) -> None:
    """Refuse before the search what the final run would refuse after it; nothing is written here."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "--search runs in one process. Start it with conflict-framing train, then train with what it found in "
            "several: accelerate launch -m conflict_framing train --recipe RUN/recipe.yaml"
        )
    check_finished(run.folder, overwrite)
    there = run.search.exists() and any(run.search.iterdir())
    if there and not ((run.search / SEARCH_FILE).exists() or any(run.search.glob("trial-*"))):
        raise UserError(f"{run.search} exists and is no search. Name another --output.")
    if resume:
        if not there:
            raise UserError(f"--resume: no unfinished search at {run.search}.")
        return
    check_unfinished(final, overwrite)
    if there and not overwrite:
        raise UserError(f"A search is at {run.search}. Go on with it with --resume, or search anew with --overwrite.")


def _read(path: Path, state: Mapping[str, Any]) -> list[Trial]:
    if not path.exists():  # stopped in the first trial
        return []
    told = json.loads(path.read_text("utf-8"))
    if told["state"] != state:
        changed = [key for key in {**told["state"], **state} if told["state"].get(key) != state.get(key)]
        raise UserError(
            f"--resume: the search at {path.parent} began with something else as {', '.join(changed)}. Give the same "
            f"as then, or search anew with --overwrite."
        )
    return [Trial(**trial) for trial in told["trials"]]


def _write(folder: Path, state: Mapping[str, Any], found: _Trials) -> None:
    told = {
        "state": state,
        "chosen": found.chosen.number if found.chosen else None,
        "trials": [asdict(trial) for trial in found.trials],
    }
    # Whole or not at all: hours of trials are read back from it.
    partial = folder / f"{SEARCH_FILE}.partial"
    partial.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")
    partial.replace(folder / SEARCH_FILE)
    (folder / TABLE_FILE).write_text(render("search.md.j2", search=found), "utf-8")


def _changed(recipe: Recipe, training: Mapping[str, Any]) -> Recipe:
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=dict(training))})


def _in_passes(recipe: Recipe, sentences: int) -> Recipe:
    """The same training, its limit on sentences told as ``epochs``, where that is possible."""
    passes = passes_of(recipe.training, sentences)
    if passes < 1:  # part of a pass stays what it is, and only the other settings are searched
        return _changed(recipe, {"epochs": 1})
    return _changed(recipe, {"epochs": int(passes), "max_sentences": None, "min_sentences": None})


def _space(recipe: Recipe, layers: int) -> dict[str, BaseDistribution]:
    """What may be tried; the recipe's own setting is always part of it."""
    own = recipe.training
    return {
        "learning_rate": FloatDistribution(
            _rounded(own.learning_rate / _FACTOR), _rounded(own.learning_rate * _FACTOR), log=True
        ),
        # All layers frozen would leave nothing but the head to train.
        "freeze_layers": IntDistribution(0, max(layers - 1, own.freeze_layers)),
        "epochs": IntDistribution(1, max(_MOST_EPOCHS, own.epochs) if own.max_sentences is None else 1),
    }


def _rounded(rate: float) -> float:
    """Three digits, which a person can copy."""
    return float(f"{rate:.2e}")


def _count_layers(backbone: Backbone) -> int:
    """The layers that can be frozen, found without loading weights; 0 for an architecture that hides them."""
    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(
                backbone.source, trust_remote_code=False, local_files_only=backbone.local
            )
            with torch.device("meta"):
                layers = layers_of(cast(Any, AutoModelForSequenceClassification).from_config(config))
        except (OSError, ValueError) as error:
            raise hub_failure(backbone.name, error) from None
    return len(layers.modules) if layers else 0


def _ask(
    trials: Sequence[Trial], space: dict[str, BaseDistribution], recipe: Recipe
) -> tuple[optuna.Trial, dict[str, Any]]:
    """The next trial, as the sampler follows it, and its settings.

    Made from the finished trials and a seed of its own each time, so that a resumed search tries the
    same as one that was not broken off.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=(recipe.seed + len(trials)) % 2**32, n_startup_trials=_FIRST),
        # Not before the second epoch: after the first, a low learning rate looks worse than it is.
        pruner=optuna.pruners.PercentilePruner(_KEPT, n_startup_trials=_FIRST, n_warmup_steps=2, n_min_trials=3),
    )
    for trial in trials:
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.PRUNED if trial.stopped else optuna.trial.TrialState.COMPLETE,
                value=trial.macro_f1,
                params=trial.settings,
                distributions=space,
                intermediate_values=dict(enumerate(trial.epochs, start=1)),
            )
        )
    if not trials:
        own = {name: getattr(recipe.training, name) for name in space}
        study.enqueue_trial(own)
        return study.ask(space), own
    asked = study.ask(space)
    return asked, {**asked.params, "learning_rate": _rounded(asked.params["learning_rate"])}


class _Watch(TrainerCallback):
    """Keeps a trial's validation macro-F1 after each epoch, and stops it where it is of no use."""

    def __init__(self, asked: optuna.Trial, out_of_time: Callable[[], bool]) -> None:
        self._asked = asked
        self._out_of_time = out_of_time
        self.epochs: list[float] = []
        self.stopped: str | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        return self._stop(control, "no time") if self._out_of_time() else control

    def on_evaluate(self, args: Any, state: Any, control: Any, **more: Any) -> Any:
        self.epochs.append(float(more["metrics"]["eval_macro_f1"]))
        self._asked.report(self.epochs[-1], len(self.epochs))
        return self._stop(control, "hopeless") if self._asked.should_prune() else control

    def _stop(self, control: Any, why: str) -> Any:
        control.should_training_stop = True
        self.stopped = self.stopped or why
        return control
