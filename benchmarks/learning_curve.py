"""How much the size of the corpus matters: train on an eighth, a quarter, a half and all of it.

    python benchmarks/learning_curve.py --output docs/learning_curve

The test and validation sentences stay the same; the training documents of a smaller share are a
subset of those of a larger one. Writes OUTPUT.json and OUTPUT.png; finished points are kept, so a run
that was broken off goes on.
"""

import argparse
import json
import random
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from common import print_table
from conflict_framing import load_corpus
from conflict_framing.data import Corpus
from conflict_framing.data.split import split_corpus, split_units
from conflict_framing.train import load_recipe, train_run

SHARES = (0.125, 0.25, 0.5, 1.0)


def part_of(train: Corpus, share: float, seed: int) -> Corpus:
    """About ``share`` of the training sentences, whole documents, nested in the parts of larger shares."""
    units = split_units(train)
    order = sorted(set(units))
    random.Random(seed).shuffle(order)
    sizes = Counter(units)
    kept: set[int] = set()
    total = 0
    for unit in order:
        if total >= share * len(train):
            break
        kept.add(unit)
        total += sizes[unit]
    return train.select([place for place, unit in enumerate(units) if unit in kept])


def draw(points: list[dict[str, object]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axis = figure.subplots()
    sizes = [point["train_sentences"] for point in points]
    for name, colour in (("model", "#0072b2"), ("frozen embeddings + logistic regression", "#e69f00"),
                         ("TF-IDF + logistic regression", "#8a8f98")):  # fmt: skip
        scores = [point["classifiers"][name] for point in points]  # type: ignore[index]
        values = [score["macro_f1"] for score in scores]
        low = [value - score["interval"][0] for value, score in zip(values, scores, strict=True)]
        high = [score["interval"][1] - value for value, score in zip(values, scores, strict=True)]
        axis.errorbar(sizes, values, yerr=[low, high], marker="o", capsize=3, color=colour, label=name)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    axis.set_xlabel("training sentences")
    axis.set_ylabel("macro-F1 on the test split")
    axis.set_title("95 % intervals by bootstrap over documents", fontsize=9, loc="left")
    axis.grid(axis="y", alpha=0.3)
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="+", default=[], metavar="FILE", help="default: the bundled corpus")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=v")
    parser.add_argument("--output", type=Path, default=Path("runs/learning_curve"))
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, options.set)
    corpus = load_corpus(*options.corpus)
    whole = split_corpus(corpus, **recipe.split.model_dump(), seed=recipe.seed)
    found = options.output.with_suffix(".json")
    points = json.loads(found.read_text("utf-8")) if found.exists() else []
    for share in SHARES:
        part = part_of(whole.train, share, recipe.seed)
        if any(point["train_sentences"] == len(part) for point in points):
            continue
        marked = replace(whole, train=part).marked()
        with tempfile.TemporaryDirectory() as place:
            run = train_run(marked, recipe, Path(place) / "run")
        assert run.evaluation is not None
        scores = {
            scored.name: {"macro_f1": scored.metrics["macro_f1"], "interval": scored.metrics["intervals"]["macro_f1"]}
            for scored in (run.evaluation.model, *run.evaluation.baselines)
        }
        points.append({"share": share, "train_sentences": len(part), "classifiers": scores})
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_text(json.dumps(points, indent=2) + "\n", "utf-8")
    draw(points, options.output.with_suffix(".png"))
    print_table(
        ["training sentences", *points[0]["classifiers"]],
        [
            [f"{point['train_sentences']:,}", *(f"{s['macro_f1']:.3f}" for s in point["classifiers"].values())]
            for point in points
        ],
    )


if __name__ == "__main__":
    main()
