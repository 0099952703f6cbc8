"""Several runs that answer one question: how good on what was never seen, how much by chance."""

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from ..data.corpus import Corpus, load_corpus
from ..data.errors import UserError
from ..data.split import Split, split_corpus, split_folds, split_units
from ..data.tables import write_jsonl
from ..model.layout import ModelLayout, RunLayout
from .fit import limit_corpus, train_run
from .recipe import Recipe
from .report import METRICS_FILE, PREDICTIONS_FILE, render
from .uncertainty import Figures

STUDY_FILE = "study.json"
TABLE_FILE = "study.md"


@dataclass(frozen=True)
class PlainRun:
    """What a run with a random split reached on its test part, for a study to stand beside.

    Attributes:
        run: its folder.
        macro_f1, interval: on its test part, with the 95 % interval.
        unlike: how its training differs from the study's, in words; empty where it does not.
    """

    run: str
    macro_f1: float
    interval: list[float]
    unlike: str


@dataclass(frozen=True)
class Study:
    """What several runs gave.

    Attributes:
        question: in words.
        labels: names, in the order of ``Figures.f1``.
        runs: folders of the runs.
        seeds: one pooled result per seed.
        values: by held-out value, of the first seed; empty where no column was held out.
        against: a plain run beside it, or None.
    """

    question: str
    labels: list[str]
    runs: list[str]
    seeds: list[Figures]
    values: list[Figures]
    against: PlainRun | None = None

    @property
    def mean(self) -> float:
        """Mean macro-F1 over seeds."""
        return fmean(figures.macro_f1 for figures in self.seeds)

    @property
    def spread(self) -> float | None:
        """Standard deviation of macro-F1 over seeds; None with one seed."""
        return stdev([figures.macro_f1 for figures in self.seeds]) if len(self.seeds) > 1 else None

    @property
    def drop(self) -> str:
        """In words, how much worse than the plain run it is; empty without one."""
        if self.against is None:
            return ""
        low, high = self.against.interval
        own = self.seeds[0].interval if len(self.seeds) == 1 else f"mean of {len(self.seeds)} seeds"
        line = (
            f"Macro-F1, random split: {self.against.macro_f1:.3f} ({low:.3f}–{high:.3f}), "
            f"held out: {self.mean:.3f} ({own}), drop: {self.against.macro_f1 - self.mean:.3f}"
        )
        return f"{line}. {self.against.unlike}" if self.against.unlike else line

    def to_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "labels": self.labels,
            "macro_f1_mean": self.mean,
            "macro_f1_sd": self.spread,
            "seeds": [vars(figures) for figures in self.seeds],
            "values": [vars(figures) for figures in self.values],
            "against": None if self.against is None else vars(self.against),
            "runs": self.runs,
        }


def run_study(
    corpus: Corpus,
    recipe: Recipe,
    output: str | Path,
    *,
    folds: int | None = None,
    held_out: str | None = None,
    seeds: int = 1,
    against: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = print,
) -> Study:
    """Train once per fold and seed, pool the predictions on what was held out, and measure them.

    Args:
        corpus: annotated sentences.
        recipe: of every run; its seed is the first, and that of the folds.
        output: a folder with one run per fold and seed, ``study.json``, ``study.md`` and the pooled
            predictions.
        folds: cross-validation with so many folds; None is 5 folds with ``held_out``, else one split.
        held_out: a column whose values are held out whole (``register``, ``theatre``); None splits by
            document.
        seeds: how many training seeds; all see the same folds.
        against: a run with a random split, to tell how much worse the held-out values are than its test part.
        device: as in ``train_run``.
        resume: go on: finished runs of the same corpus and recipe are kept, an unfinished one goes on.
        overwrite: train all runs anew.
        say: takes one line at a time for the user to read.

    Raises:
        UserError: as ``train_run``, or the output exists and neither ``resume`` nor ``overwrite`` is set, or
            ``against`` is no run with a measured test part.
    """
    output = Path(output)
    _check_output(output, resume, overwrite)
    corpus = limit_corpus(corpus, recipe)  # once, so that all runs share it
    plain = _plain_run(Path(against), corpus, recipe) if against is not None else None
    splits, question = _splits(corpus, recipe, folds, held_out)
    if overwrite and output.exists():
        shutil.rmtree(output)
    pooled: dict[int, list[tuple[RunLayout, Corpus]]] = defaultdict(list)
    for place, split in enumerate(splits):
        for seed in range(recipe.seed, recipe.seed + seeds):
            name = f"fold-{place + 1}-seed-{seed}" if len(splits) > 1 else f"seed-{seed}"
            run = RunLayout(output / name)
            marked, own = split.marked(), recipe.model_copy(update={"seed": seed})
            if _is_finished(run, marked, own):
                say(f"{name}: finished before")
            else:
                total = len(splits) * seeds
                say(f"\n{name} (run {place * seeds + seed - recipe.seed + 1} of {total})")
                partial = run.folder.with_name(run.folder.name + ".partial")
                train_run(
                    marked, own, run.folder, device=device, say=say,
                    resume=resume and RunLayout(partial).state.exists(),
                )  # fmt: skip
            pooled[seed].append((run, load_corpus(run.split("test"), codebook=corpus.codebook)))
    return _measure(question, corpus, pooled, held_out, plain, output)


def _check_output(output: Path, resume: bool, overwrite: bool) -> None:
    if resume or not output.exists() or not any(output.iterdir()):
        return
    ours = (output / STUDY_FILE).exists() or any(output.glob("*seed-*"))
    if not ours:
        raise UserError(f"{output} exists and is no study. Name another --output.")
    if not overwrite:
        raise UserError(
            f"{output} exists. Name another --output, go on with --resume (finished runs are kept), "
            f"or train all anew with --overwrite."
        )


def _plain_run(folder: Path, corpus: Corpus, recipe: Recipe) -> PlainRun:
    run = RunLayout(folder)
    metrics = run.evaluation / METRICS_FILE
    if not metrics.exists():
        raise UserError(
            f"--against {folder}: expected a run of 'train' with a test part, but {metrics} is not there. "
            f"Train one with 'conflict-framing train --output {folder}'."
        )
    told = json.loads(metrics.read_text("utf-8"))
    if told["labels"] != corpus.label_names:
        raise UserError(
            f"--against {folder}: its labels are {', '.join(told['labels'])}; "
            f"those of the corpus are {', '.join(corpus.label_names)}."
        )
    facts = json.loads(ModelLayout(run.model).facts.read_text("utf-8"))
    size = sum(facts["corpus_counts"].values())
    differs = [f"{size:,} sentences instead of {len(corpus):,}"] if size != len(corpus) else []
    settings = recipe.model_dump(mode="json", exclude={"name", "seed", "baselines", "behaviour", "reference"})
    if any(facts["recipe"].get(name) != value for name, value in settings.items()):
        differs.append("other settings")
    unlike = f"The plain run has {' and '.join(differs)}, which is part of the drop." if differs else ""
    model = told["classifiers"]["model"]
    return PlainRun(str(folder), model["macro_f1"], model["intervals"]["macro_f1"], unlike)


def _splits(corpus: Corpus, recipe: Recipe, folds: int | None, held_out: str | None) -> tuple[list[Split], str]:
    shares = recipe.split.model_dump()
    if held_out is None and folds is None:
        split = split_corpus(corpus, **shares, seed=recipe.seed)
        if not len(split.test):
            raise UserError("No test sentences to measure on. Set split.test above 0, or use --folds.")
        return [split], "one split, documents held out whole"
    folds = folds or 5
    question = f"{held_out}s held out whole, {folds} folds" if held_out else f"{folds} folds, documents held out whole"
    shares.pop("test")
    return split_folds(corpus, folds=folds, **shares, seed=recipe.seed, by=held_out), question


def _is_finished(run: RunLayout, corpus: Corpus, recipe: Recipe) -> bool:
    facts = ModelLayout(run.model).facts
    if not facts.exists():
        return False
    told = json.loads(facts.read_text("utf-8"))
    same = told["corpus_fingerprint"] == corpus.fingerprint and told["recipe"] == recipe.model_dump(mode="json")
    if not same:
        raise UserError(
            f"{run.folder} was trained with another corpus or recipe. Give the same, name another --output, or train "
            f"all anew with --overwrite."
        )
    return True


def _measure(
    question: str,
    corpus: Corpus,
    pooled: dict[int, list[tuple[RunLayout, Corpus]]],
    held_out: str | None,
    plain: PlainRun | None,
    output: Path,
) -> Study:
    label_names = corpus.label_names
    seeds: list[Figures] = []
    values: list[Figures] = []
    rows: list[dict[str, Any]] = []
    for seed, runs in pooled.items():
        tested = Corpus(tuple(s for _, part in runs for s in part.sentences), corpus.codebook)
        predicted = [json.loads(line) for run, _ in runs for line in _lines(run.evaluation / PREDICTIONS_FILE)]
        places = [label_names.index(row["label"]) for row in predicted]
        seeds.append(_figures(f"seed {seed}", tested, places))
        rows += [
            {**sentence.to_row(), "input_label": sentence.label, **row, "seed": seed}
            for sentence, row in zip(tested.sentences, predicted, strict=True)
        ]
        if held_out and not values:
            of_value: dict[str, list[int]] = defaultdict(list)
            for place, sentence in enumerate(tested.sentences):
                of_value[str(sentence.to_row()[held_out])].append(place)
            values = [
                _figures(value, tested.select(where), [places[place] for place in where])
                for value, where in sorted(of_value.items(), key=lambda item: -len(item[1]))
            ]
    folders = [str(run.folder) for runs in pooled.values() for run, _ in runs]
    study = Study(question, label_names, folders, seeds, values, plain)
    write_jsonl(output / PREDICTIONS_FILE, rows)
    (output / TABLE_FILE).write_text(render("study.md.j2", study=study), "utf-8")
    (output / STUDY_FILE).write_text(json.dumps(study.to_json(), indent=2, ensure_ascii=False) + "\n", "utf-8")
    return study


def _lines(path: Path) -> list[str]:
    # Not splitlines(): text may hold other line ends, such as U+2028.
    return path.read_text("utf-8").removesuffix("\n").split("\n")


def _figures(name: str, tested: Corpus, predictions: Sequence[int]) -> Figures:
    return Figures.of(name, predictions, tested.label_ids, split_units(tested), len(tested.label_names))
