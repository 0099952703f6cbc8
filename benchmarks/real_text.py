"""A run and its three baselines on labelled real text: macro-F1 and F1 of every label, calibration before and after,
and what abstaining for a promised error gives, with 95 % intervals by bootstrap over documents.

    python benchmarks/real_text.py --model runs/demo
    python benchmarks/real_text.py --model runs/demo --sample
    python benchmarks/real_text.py --model runs/demo my_labelled_file.csv

Without a file: the labelled real sentences beside this repository, which are for measuring only. With --sample:
sentences that we labelled ourselves (ids and labels in benchmarks/real_sample.jsonl) to choose settings by; they
were picked where a small model leaned to a label, so they are harder than text as it comes.
"""

import argparse
import tempfile
from pathlib import Path

from common import SHARED, print_table, real_sample, require
from conflict_framing import FramingClassifier, load_corpus
from conflict_framing.train.evaluation import evaluate_run, run_of

DEV = SHARED / "real" / "dev.jsonl"


def interval(bounds: list[float]) -> str:
    return f"{bounds[0]:.2f}–{bounds[1]:.2f}"


def measure(data: Path, model: str) -> None:
    classifier = FramingClassifier.from_pretrained(model)
    corpus = load_corpus(data, codebook=classifier.codebook)
    evaluation = evaluate_run(run_of(model), corpus, classifier, name=data.name)
    print(f"\n{data.name}: {len(corpus)} sentences, {corpus.counts()}\n")
    print_table(
        ["classifier", "macro-F1", "95 %", "accuracy", "MCC", *(f"F1 {name}" for name in corpus.label_names)],
        [
            [
                scored.name,
                f"{scored.metrics['macro_f1']:.3f}",
                interval(scored.metrics["intervals"]["macro_f1"]),
                *(f"{scored.metrics[key]:.3f}" for key in ("accuracy", "mcc")),
                *(
                    f"{value:.3f} ({interval(bounds)})"
                    for value, bounds in zip(scored.metrics["f1"], scored.metrics["intervals"]["f1"], strict=True)
                ),
            ]
            for scored in (evaluation.model, *evaluation.baselines)
        ],
    )
    print("\nProbabilities (lower is better):\n")
    names = ("ece", "brier", "log_loss")
    print_table(
        ["classifier", *(f"{name} (95 %)" for name in names), "plain ECE", "of a perfect model"],
        [
            [
                scored.name,
                *(f"{scored.metrics[key]:.3f} ({interval(scored.metrics['intervals'][key])})" for key in names),
                *(f"{scored.metrics[key]:.3f}" for key in ("ece_plain", "ece_plain_perfect")),
            ]
            for scored in (evaluation.uncalibrated, evaluation.model, *evaluation.baselines)
            if scored
        ],
    )
    if evaluation.selective and evaluation.selective.kept:
        print("\nAbstaining for a promised error (the promise is made for text like the corpus):\n")
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
    for note in evaluation.notes:
        print(f"note: {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=DEV, help="labelled file")
    parser.add_argument("--sample", action="store_true", help="measure on our own sample of real text instead")
    parser.add_argument("--model", required=True, help="a run of 'conflict-framing train'")
    options = parser.parse_args()
    if options.sample and options.data != DEV:
        parser.error("give either a file or --sample")
    with tempfile.TemporaryDirectory() as folder:
        path = real_sample(Path(folder)) if options.sample else require(options.data, "The labelled real text")
        measure(path, options.model)


if __name__ == "__main__":
    main()
