"""Train on other people's labelled corpora, beside the usual tools on the same backbone and the published scores.

    python benchmarks/labelled_corpora.py
    python benchmarks/labelled_corpora.py --only trec6 --seeds 1 --rivals tfidf embeddings
    python benchmarks/labelled_corpora.py --set training.epochs=4 --output runs/four_epochs

Each folder holds train.jsonl, validation.jsonl and test.jsonl (text, label, split) and a SOURCE.md
whose line "published:" is printed as it stands. The folders are not part of this repository.

All are trained on the training part; the validation part serves this package alone, for early stopping.
Predictions are kept as OUTPUT/CORPUS/CLASSIFIER-SEED.json as soon as they are there, and the tables are
made of all that is kept: what was broken off goes on, and seeds and rivals can be added later. They do
not know of changes in the code: after one, give another OUTPUT. SetFit is not among this package's
dependencies; benchmarks/requirements.txt says how to install it.

Differences are in macro-F1, seed by seed, with a 95 % interval by paired bootstrap over the documents of
the test part (its sentences, where it has no documents).
"""

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path

from common import SHARED, print_table, require
from conflict_framing import load_corpus
from conflict_framing.data import Corpus
from conflict_framing.data.split import split_corpus
from conflict_framing.train import load_recipe
from results import Results, measure, pair_seeds, paired_difference, read_results, scores, spread, title_of
from rivals import Classifier, all_classifiers, installed

RIVALS = ("setfit", "trainer", "embeddings", "tfidf")
HEADER = ("classifier", "seeds", "macro-F1", "accuracy", "ours − it, macro-F1", "95 %", "seconds")


def published(folder: Path) -> str:
    lines = (folder / "SOURCE.md").read_text("utf-8").splitlines()
    return next((line for line in lines if line.startswith("published")), "published: nothing in SOURCE.md")


def table(results: Results, classifiers: Mapping[str, Classifier], test: Corpus) -> list[list[str]]:
    """One row per classifier that something is kept of."""
    rows = []
    for name, classifier in classifiers.items():
        by_seed = results.get(name, {})
        if not by_seed:
            continue
        predictions = [one["predictions"] for one in by_seed.values()]
        pairs = [] if name == "ours" else pair_seeds(results.get("ours", {}), by_seed, classifier.seeded)
        difference, interval = "", ""
        if pairs:
            mean, low, high = paired_difference([(a["predictions"], b["predictions"]) for a, b in pairs], test)
            difference, interval = f"{mean:+.3f}", f"{low:+.3f} to {high:+.3f}"
        rows.append(
            [
                title_of(by_seed),
                str(len(by_seed)) if classifier.seeded else "any",
                spread(scores(predictions, test, "macro_f1")),
                spread(scores(predictions, test, "accuracy")),
                difference,
                interval,
                f"{statistics.mean(one['seconds'] for one in by_seed.values()):,.0f}",
            ]
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=SHARED / "benchmarks", help="holds one folder per corpus")
    parser.add_argument("--only", nargs="+", metavar="CORPUS", help="names of corpora (default: all)")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=RIVALS, help="what to train (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from the recipe's seed on (default: 3)")
    parser.add_argument("--epochs", type=float, default=3.0, help="of the plain Trainer (default: 3)")
    parser.add_argument("--max-steps", type=int, default=1000, help="of SetFit, at most (default: 1000)")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=v")
    parser.add_argument("--output", type=Path, default=Path("runs/labelled_corpora"))
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.set)
    classifiers = all_classifiers(recipe, epochs=options.epochs, max_steps=options.max_steps)
    names = installed(["ours", *options.rivals])
    folders = sorted(path for path in require(options.folder, "The labelled corpora").iterdir() if path.is_dir())
    if options.only:
        folders = [require(options.folder / name, f"The labelled corpus {name}") for name in options.only]
    for folder in folders:
        corpus = load_corpus(*(folder / f"{part}.jsonl" for part in ("train", "validation", "test")))
        split = split_corpus(corpus, **recipe.split.model_dump(), seed=recipe.seed)
        kept = options.output / folder.name
        for seed in range(recipe.seed, recipe.seed + options.seeds):
            for name in names:
                if classifiers[name].seeded or seed == recipe.seed:
                    measure(kept, name, classifiers[name], split, recipe.model_copy(update={"seed": seed}))
        # Printed corpus by corpus, so that nothing is lost when a long run is broken off.
        print(f"\n{folder.name}, {len(split.test)} test sentences; mean ± standard deviation over seeds:\n")
        print_table(HEADER, table(read_results(kept), classifiers, split.test))
        print(f"\n{published(folder)}", flush=True)


if __name__ == "__main__":
    main()
