"""How many labelled sentences it takes: train on a few of each label, test on the whole test part.

    python benchmarks/few_labels.py
    python benchmarks/few_labels.py --only trec6 --labels 8 16 --seeds 1 --rivals tfidf embeddings

From the training part of each corpus, so many sentences a label are drawn by the seed (a smaller draw is
part of a larger one), and every classifier gets them and no others. All learn from all of them: this
package starts by contrast, which chooses nothing on a validation part.

Predictions are kept as OUTPUT/CORPUS/LABELS/CLASSIFIER-SEED.json as soon as they are there, and table and
picture (OUTPUT/few_labels.png) are made of all that is kept: what was broken off goes on, and seeds and
rivals can be added later. They do not know of changes in the code: after one, give another OUTPUT.
SetFit is not among this package's dependencies; benchmarks/requirements.txt says how to install it.
"""

import argparse
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from common import SHARED, print_table, require
from conflict_framing import load_corpus
from conflict_framing.data import Corpus
from conflict_framing.data.split import Split
from conflict_framing.train import load_recipe
from results import measure, read_results, scores, spread, title_of
from rivals import all_classifiers, installed

CORPORA = ("trec6", "cameo_pentacode")
RIVALS = ("setfit", "embeddings", "tfidf")
_COLOURS = {"ours": "#0072b2", "setfit": "#d55e00", "embeddings": "#e69f00", "tfidf": "#8a8f98"}

Scores = Mapping[tuple[str, str], Mapping[int, Sequence[float]]]
"""Macro-F1 by classifier (name and title) and labels a class, one number per seed."""


def draw_few(train: Corpus, count: int, seed: int) -> Corpus:
    """So many sentences of every label (all, where there are fewer), those of smaller counts among them."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, label in enumerate(train.labels):
        places[label].append(place)
    drawn: list[int] = []
    for label in train.label_names:
        # Of each label on its own, so that one label's size does not change what is drawn of another.
        random.Random(f"{seed} {label}").shuffle(places[label])
        drawn += places[label][:count]
    return train.select(sorted(drawn))


def draw_picture(found: Mapping[str, Scores], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8 * len(found), 4.4), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False)[0]
    for axis, (corpus, by_classifier) in zip(axes, found.items(), strict=True):
        for (name, title), by_count in by_classifier.items():
            counts = sorted(by_count)
            means = [statistics.mean(by_count[count]) for count in counts]
            sds = [statistics.stdev(by_count[count]) if len(by_count[count]) > 1 else 0.0 for count in counts]
            axis.plot(counts, means, marker="o", color=_COLOURS[name], label=title)
            low = [mean - sd for mean, sd in zip(means, sds, strict=True)]
            high = [mean + sd for mean, sd in zip(means, sds, strict=True)]
            axis.fill_between(counts, low, high, color=_COLOURS[name], alpha=0.15, linewidth=0)
        ticks = sorted({count for by_count in by_classifier.values() for count in by_count})
        axis.set_xscale("log", base=2)
        axis.set_xticks(ticks, [str(count) for count in ticks])
        axis.minorticks_off()
        axis.set_xlabel("labelled sentences a class")
        axis.set_ylabel("macro-F1 on the test part")
        axis.set_title(f"{corpus}; band: ± one standard deviation over seeds", fontsize=9, loc="left")
        axis.grid(axis="y", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    shown = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown.keys(), frameon=False, loc="outside lower center", ncols=len(found), fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def read_scores(folder: Path, test: Corpus) -> Scores:
    """What is kept of one corpus."""
    found: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(dict)
    for place in sorted(folder.iterdir(), key=lambda place: int(place.name)):
        results = read_results(place)
        for name in [name for name in _COLOURS if name in results]:
            predictions = [one["predictions"] for one in results[name].values()]
            found[name, title_of(results[name])][int(place.name)] = scores(predictions, test, "macro_f1")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=SHARED / "benchmarks", help="holds one folder per corpus")
    parser.add_argument("--only", nargs="+", metavar="CORPUS", default=CORPORA, help=f"default: {' '.join(CORPORA)}")
    parser.add_argument("--labels", nargs="+", type=int, default=[8, 16, 32, 64], help="sentences a class")
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=RIVALS, help="what to train (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from the recipe's seed on (default: 3)")
    parser.add_argument("--max-steps", type=int, default=1000, help="of SetFit, at most (default: 1000)")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=v")
    parser.add_argument("--output", type=Path, default=Path("runs/few_labels"))
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.set)
    classifiers = all_classifiers(recipe, max_steps=options.max_steps)
    names = installed(["ours", *options.rivals])
    found: dict[str, Scores] = {}
    for corpus_name in options.only:
        folder = require(options.folder / corpus_name, f"The labelled corpus {corpus_name}")
        corpus = load_corpus(folder / "train.jsonl", folder / "test.jsonl")
        train, test = (
            corpus.select([place for place, sentence in enumerate(corpus.sentences) if sentence.split == part])
            for part in ("train", "test")
        )
        kept = options.output / corpus_name
        for count in options.labels:
            short = [f"{label} {size}" for label, size in train.counts().items() if size < count]
            if short:
                print(f"note: {corpus_name} has fewer than {count} sentences of {', '.join(short)}", file=sys.stderr)
            for seed in range(recipe.seed, recipe.seed + options.seeds):
                none = train.select([])
                split = Split(draw_few(train, count, seed), validation=none, calibration=none, test=test)
                for name in names:
                    measure(kept / str(count), name, classifiers[name], split, recipe.model_copy(update={"seed": seed}))
        found[corpus_name] = read_scores(kept, test)
        counts = sorted({count for by_count in found[corpus_name].values() for count in by_count})
        print(f"\n{corpus_name}, macro-F1 on {len(test)} test sentences by labelled sentences a class;")
        print("mean ± standard deviation over seeds and draws:\n")
        rows = [
            [title, *(spread(by_count[count]) if count in by_count else "" for count in counts)]
            for (_, title), by_count in found[corpus_name].items()
        ]
        print_table(["classifier", *map(str, counts)], rows)
        sys.stdout.flush()
    picture = options.output / "few_labels.png"
    draw_picture(found, picture)
    print(f"\nPicture: {picture}")


if __name__ == "__main__":
    main()
