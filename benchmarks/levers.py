"""Which settings help on text that was never seen? Each of six changes to the default recipe beside it, on
registers held out whole (three folds, every document in one of them) and on our labelled sample of real text.

    python benchmarks/levers.py                                # all of them, one seed, a third of the corpus
    python benchmarks/levers.py --seeds 3 --only "class weights" "label smoothing"     # confirm some with three seeds

Finished folds are kept under --output, so a broken-off call goes on, and more seeds add to what is there. The
differences are paired: of the same sentences and seeds, with 95 % by bootstrap over documents.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from common import print_table, real_sample
from conflict_framing.data import Corpus, load_corpus
from conflict_framing.data.split import split_units
from conflict_framing.model import CheckpointClassifier
from conflict_framing.train import load_recipe
from conflict_framing.train.report import PREDICTIONS_FILE
from conflict_framing.train.study import run_study
from conflict_framing.train.uncertainty import confusion_metrics, document_confusions
from results import keep, paired_difference, spread

BASE = "default recipe"
LEVERS = {
    BASE: [],
    "class weights": ["training.class_weights=sqrt"],
    "label smoothing": ["training.label_smoothing=0.1"],
    "layer-wise decay": ["training.layer_decay=0.8"],
    "mean pooling": ["training.pooling=mean"],
    "swapped places": ["training.swaps=1.0"],
    # About as many sentences seen as the others see, then a logistic regression as the head. It chooses nothing on
    # the validation sentences and learns from them too, which the others do not: 18 % more sentences.
    "contrast": ["few_labels.up_to=1000000", "few_labels.most_steps=376", "few_labels.passes=5"],
}
FOLDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    levers = [name for name in LEVERS if name != BASE]
    parser.add_argument("--only", nargs="+", choices=levers, help="these levers alone")
    parser.add_argument("--seeds", type=int, default=1, help="training seeds (default: 1)")
    parser.add_argument("--max-corpus", type=int, default=4255, help="sentences (default: 4,255, a third)")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the sentences (default: 5)")
    parser.add_argument("--output", type=Path, default=Path("runs/levers"), help="folder (default: runs/levers)")
    options = parser.parse_args()
    names = [BASE, *(options.only or levers)]
    corpus = load_corpus()
    with tempfile.TemporaryDirectory() as folder:
        sample = load_corpus(real_sample(Path(folder)), codebook=corpus.codebook)
    for name in names:
        recipe = load_recipe(
            "default",
            [
                f"max_corpus={options.max_corpus}",
                f"training.epochs={options.epochs}",
                "baselines=false",
                "small_corpus.up_to=null",  # it stands for the whole corpus
                *LEVERS[name],
            ],
        )
        folder = options.output / name.replace(" ", "_")
        run_study(
            corpus, recipe, folder, folds=FOLDS, held_out="register", seeds=options.seeds, resume=folder.exists(),
            say=lambda line: None,
        )  # fmt: skip
        print(f"{name}: trained", flush=True)
        label_sample(folder, sample)
    report(options.output, names, corpus, sample)


def label_sample(folder: Path, sample: Corpus) -> None:
    """Keep what each fold's model says on the sample beside its run."""
    for model in sorted(folder.glob("fold-*-seed-*/model")):
        path = folder / f"sample-{model.parent.name}.json"
        if not path.exists():
            found = CheckpointClassifier.from_pretrained(model).predict_proba(sample.texts)
            keep(path, {"predictions": found.argmax(axis=1).tolist()})


def held_out(folder: Path) -> tuple[dict[int, list[int]], list[dict[str, Any]]]:
    """Predicted places by seed, and the rows of one seed."""
    names: list[str] = json.loads((folder / "study.json").read_text("utf-8"))["labels"]
    rows = [json.loads(line) for line in (folder / PREDICTIONS_FILE).read_text("utf-8").removesuffix("\n").split("\n")]
    seeds = sorted({row["seed"] for row in rows})
    return {seed: [names.index(r["label"]) for r in rows if r["seed"] == seed] for seed in seeds}, [
        row for row in rows if row["seed"] == seeds[0]
    ]


def sample_scores(folder: Path, sample: Corpus) -> tuple[list[float], list[float]]:
    """Macro-F1 and F1 of the first label on the sample, of each fold's model."""
    found = [json.loads(path.read_text("utf-8"))["predictions"] for path in sorted(folder.glob("sample-*.json"))]
    labels = len(sample.label_names)
    metrics = confusion_metrics(
        np.array([document_confusions(own, sample.label_ids, [0] * len(sample), labels)[0] for own in found])
    )
    return metrics["macro_f1"].tolist(), metrics["f1"][:, 0].tolist()


def report(output: Path, names: list[str], corpus: Corpus, sample: Corpus) -> None:
    base, rows = held_out(output / BASE.replace(" ", "_"))
    by_id = {sentence.to_row()["id"]: place for place, sentence in enumerate(corpus.sentences)}
    tested = corpus.select([by_id[row["id"]] for row in rows])
    print(f"\n{len(tested):,} sentences in {len(set(split_units(tested))):,} documents; sample of {len(sample)}\n")
    table = []
    for name in names:
        folder = output / name.replace(" ", "_")
        own, _ = held_out(folder)
        scores = [_macro_f1(predictions, tested) for predictions in own.values()]
        difference = ""
        if name != BASE:
            mean, low, high = paired_difference([(own[seed], base[seed]) for seed in own if seed in base], tested)
            difference = f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
        macro_f1, first = sample_scores(folder, sample)
        table.append(
            [
                name,
                f"`{' '.join(LEVERS[name])}`",
                spread(scores),
                difference,
                spread(macro_f1),
                f"{statistics.mean(first):.3f}",
            ]
        )
    print_table(
        ["lever", "settings", "held-out registers", "difference (95 %)", "real sample", sample.label_names[0]], table
    )


def _macro_f1(predictions: list[int], tested: Corpus) -> float:
    whole = document_confusions(predictions, tested.label_ids, [0] * len(tested), len(tested.label_names))
    return float(confusion_metrics(whole)["macro_f1"][0])


if __name__ == "__main__":
    main()
