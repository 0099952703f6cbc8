"""A run and its three baselines on labelled real text: macro-F1 and F1 of every label, with 95 % intervals
by bootstrap over documents.

    python benchmarks/real_text.py --model runs/demo
    python benchmarks/real_text.py --model runs/demo my_labelled_file.csv

Without a file: the labelled real sentences beside this repository, which are for measuring only.
"""

import argparse
from pathlib import Path

from common import SHARED, print_table, require
from conflict_framing import FramingClassifier, load_corpus
from conflict_framing.train.evaluation import evaluate_run, run_of


def interval(bounds: list[float]) -> str:
    return f"{bounds[0]:.2f}–{bounds[1]:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=SHARED / "real" / "dev.jsonl", help="labelled file")
    parser.add_argument("--model", required=True, help="a run of 'conflict-framing train'")
    options = parser.parse_args()
    data = require(options.data, "The labelled real text")
    classifier = FramingClassifier.from_pretrained(options.model)
    corpus = load_corpus(data, codebook=classifier.codebook)
    evaluation = evaluate_run(run_of(options.model), corpus, classifier, name=data.name)
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
    for note in evaluation.notes:
        print(f"note: {note}")


if __name__ == "__main__":
    main()
