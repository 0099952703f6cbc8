"""Runs and the baselines of the first on labelled real text: macro-F1 and F1 of every label, calibration before and
after, and what abstaining for a promised error gives, with 95 % intervals by bootstrap over documents.

    python benchmarks/real_text.py --model runs/demo
    python benchmarks/real_text.py --model runs/demo --sample
    python benchmarks/real_text.py --model runs/demo my_labelled_file.csv
    python benchmarks/real_text.py --model runs/demo runs/distilled runs/accurate --setfit

--setfit also trains SetFit on the training part of the first run, with the same backbone (minutes).

Without a file: the labelled real sentences beside this repository, which are for measuring only. With --sample:
sentences that we labelled ourselves (ids and labels in benchmarks/real_sample.jsonl) to choose settings by; they
were picked where a small model leaned to a label, so they are harder than text as it comes.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from common import SHARED, print_table, real_sample, require
from conflict_framing import FramingClassifier, load_corpus
from conflict_framing.data import Corpus
from conflict_framing.data.split import Split
from conflict_framing.train import load_recipe
from conflict_framing.train.evaluation import Evaluation, Scored, evaluate_run, run_of
from rivals import INSTALL_SETFIT, fit_setfit, installed

DEV = SHARED / "real" / "dev.jsonl"


def interval(bounds: list[float]) -> str:
    return f"{bounds[0]:.2f}–{bounds[1]:.2f}"


def measure(data: Path, models: list[str], setfit: bool) -> None:
    corpus = load_corpus(data, codebook=FramingClassifier.from_pretrained(models[0]).codebook)
    evaluations = {
        model: evaluate_run(
            run_of(model),
            corpus,
            FramingClassifier.from_pretrained(model),
            name=data.name,
            baselines=model == models[0],
        )
        for model in models
    }
    first = evaluations[models[0]]
    rivals = [_setfit(models[0], corpus)] if setfit else []
    own = {f"{evaluation.facts.recipe.get('name', '')} ({m})": evaluation for m, evaluation in evaluations.items()}
    print(f"\n{data.name}: {len(corpus)} sentences, {corpus.counts()}\n")
    rows = [*((name, found.model) for name, found in own.items()), *((s.name, s) for s in (*rivals, *first.baselines))]
    print_table(
        ["classifier", "macro-F1", "95 %", "accuracy", "MCC", *(f"F1 {name}" for name in corpus.label_names)],
        [
            [
                name,
                f"{scored.metrics['macro_f1']:.3f}",
                interval(scored.metrics["intervals"]["macro_f1"]),
                *(f"{scored.metrics[key]:.3f}" for key in ("accuracy", "mcc")),
                *(
                    f"{value:.3f} ({interval(bounds)})"
                    for value, bounds in zip(scored.metrics["f1"], scored.metrics["intervals"]["f1"], strict=True)
                ),
            ]
            for name, scored in rows
        ],
    )
    print("\nProbabilities (lower is better):\n")
    names = ("ece", "brier", "log_loss")
    sides = [
        (f"{name}{', uncalibrated' if scored is found.uncalibrated else ''}", scored)
        for name, found in own.items()
        for scored in (found.uncalibrated, found.model)
        if scored
    ]
    print_table(
        ["classifier", *(f"{name} (95 %)" for name in names), "plain ECE", "of a perfect model"],
        [
            [
                name,
                *(f"{scored.metrics[key]:.3f} ({interval(scored.metrics['intervals'][key])})" for key in names),
                *(f"{scored.metrics[key]:.3f}" for key in ("ece_plain", "ece_plain_perfect")),
            ]
            for name, scored in [*sides, *((scored.name, scored) for scored in first.baselines)]
        ],
    )
    for name, evaluation in own.items():
        _print_abstention(name, evaluation)
        for note in evaluation.notes:
            print(f"note: {name}: {note}")


def _setfit(model: str, corpus: Corpus) -> Scored:
    """SetFit on what the run was trained on. It gives labels here, no probabilities."""
    run = run_of(model)
    if run is None:
        sys.exit(f"{model}: --setfit needs a run with its training part, not a bare model folder.")
    if not installed(["setfit"]):
        sys.exit(f"--setfit: SetFit is not installed: {INSTALL_SETFIT}")
    train, none = load_corpus(run.split("train"), codebook=corpus.codebook), corpus.select([])
    print("Training SetFit …", file=sys.stderr, flush=True)
    outcome = fit_setfit(Split(train, none, none, corpus), load_recipe(str(run.recipe)))
    name = f"SetFit ({outcome.note or 'one epoch'}, {outcome.seconds:,.0f} s)"
    return Scored.of(name, np.eye(len(corpus.label_names))[outcome.predictions], corpus)


def _print_abstention(name: str, evaluation: Evaluation) -> None:
    if not evaluation.selective or not evaluation.selective.kept:
        return
    print(f"\n{name}, abstaining for a promised error (the promise is made for text like the corpus):\n")
    print_table(
        ["--max-error", "answered", "95 %", "wrong among them", "95 %"],
        [
            [
                f"{kept.abstention.max_error:.2f}",
                f"{kept.coverage:.3f}",
                interval(kept.coverage_interval),
                "–" if kept.error is None else f"{kept.error:.3f}",
                interval(kept.error_interval) if kept.error_interval else "–",
            ]
            for kept in evaluation.selective.kept
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=DEV, help="labelled file")
    parser.add_argument("--sample", action="store_true", help="measure on our own sample of real text instead")
    parser.add_argument("--model", required=True, nargs="+", help="runs of 'conflict-framing train'")
    parser.add_argument("--setfit", action="store_true", help="also train SetFit on the first run's training part")
    options = parser.parse_args()
    if options.sample and options.data != DEV:
        parser.error("give either a file or --sample")
    with tempfile.TemporaryDirectory() as folder:
        path = real_sample(Path(folder)) if options.sample else require(options.data, "The labelled real text")
        measure(path, options.model, options.setfit)


if __name__ == "__main__":
    main()
