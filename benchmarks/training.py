"""How long training takes to the same quality: this package beside the plain transformers.Trainer.

    python benchmarks/training.py --pairs 3
    python benchmarks/training.py --target 0.85 --epochs 4 --learning-rate 1e-4

Both train on the same sentences with the same backbone weights and batch size; the figure is the seconds
until each first reaches a macro-F1 on the validation part (--target, else the best that the plain Trainer
reaches), and their ratio. Counted is everything from loading the backbone on, the keeping of frozen
layers' outputs included; taken out is the time of evaluating, for both. This package evaluates at the end
of its epochs, as its recipe does, the plain Trainer --evaluations times an epoch: the coarser steps can
only make this package look slower.

Each pair has its own seed (split, order, dropout) and the pairs take turns in who goes first. Curves are
kept as OUTPUT/pair-SEED.json as soon as a pair is done, so a run that was broken off goes on; OUTPUT also
gets training.png. Measure on a machine that has nothing else to do.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from common import print_table
from conflict_framing import load_corpus
from conflict_framing.data import Corpus
from conflict_framing.data.split import Split, split_corpus
from conflict_framing.model.backbone import resolve_backbone
from conflict_framing.train import Recipe, load_recipe, train_run
from conflict_framing.train.fit import limit_corpus
from conflict_framing.train.metrics import MacroF1
from conflict_framing.train.progress import ProgressCallback
from results import held, keep
from rivals import plain_trainer

Curve = Sequence[Mapping[str, float]]
"""Evaluations in their order: ``epoch``, ``seconds`` without evaluating, ``macro_f1``."""


class EvaluateOften(TrainerCallback):
    """Evaluates every so many steps, and after the last."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if state.global_step % self._steps == 0 or state.global_step == state.max_steps:
            control.should_evaluate = True
        return control


def read_curve(log: Path) -> Curve:
    """The evaluations in a ``log.jsonl``."""
    points, evaluating = [], 0.0
    for line in log.read_text("utf-8").splitlines():
        entry = json.loads(line)
        if "eval_macro_f1" in entry:
            evaluating += entry["eval_runtime"]
            seconds = round(entry["seconds"] - evaluating, 2)
            points.append({"epoch": entry["epoch"], "seconds": seconds, "macro_f1": entry["eval_macro_f1"]})
    return points


def train_ours(split: Split, recipe: Recipe) -> Curve:
    with tempfile.TemporaryDirectory() as place:
        run = train_run(split.marked(), recipe.uncalibrated(), Path(place) / "run", say=lambda line: None)
        return read_curve(run.layout.log)


def train_plain(split: Split, recipe: Recipe, options: argparse.Namespace) -> Curve:
    def macro_f1(output: Any) -> dict[str, float]:
        predictions = output.predictions.argmax(axis=-1)
        return dict(metric.compute(predictions=predictions, references=output.label_ids))

    started = time.monotonic()
    metric = MacroF1(len(split.train.label_names))
    batch_size = recipe.training.batch_size
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log.jsonl"
        trainer = plain_trainer(
            split,
            recipe,
            Path(place) / "trainer",
            epochs=options.epochs,
            batch_size=batch_size,
            learning_rate=options.learning_rate,
            compute_metrics=macro_f1,
            callbacks=[
                EvaluateOften(math.ceil(len(split.train) / batch_size / options.evaluations)),
                ProgressCallback(log, lambda line: None, started),
            ],
        )
        trainer.train()
        return read_curve(log)


def reached(curve: Curve, target: float) -> float | None:
    """Seconds until the target is first reached; None if it never is."""
    return next((point["seconds"] for point in curve if point["macro_f1"] >= target), None)


def measure_pair(corpus: Corpus, recipe: Recipe, options: argparse.Namespace, ours_first: bool) -> dict[str, Any]:
    """Both curves of one seed, from the file that keeps them or by training."""
    split = split_corpus(limit_corpus(corpus, recipe), **recipe.split.model_dump(), seed=recipe.seed)
    split = split.without("calibration", "test")  # nobody looks at them here
    trainer = {name: getattr(options, name) for name in ("epochs", "learning_rate", "evaluations")}
    basis = {
        "data": split.marked().fingerprint,
        "settings": {"recipe": recipe.model_dump(mode="json"), "trainer": trainer},
    }
    path = options.output / f"pair-{recipe.seed}.json"
    pair = held(path, basis)
    if pair is None:
        resolve_backbone(recipe.backbone)  # checks its weights, once per process: not at the cost of who goes first
        train: dict[str, Callable[[], Curve]] = {
            "ours": lambda: train_ours(split, recipe),
            "trainer": lambda: train_plain(split, recipe, options),
        }
        order = list(train) if ours_first else list(reversed(train))
        curves = {name: train[name]() for name in order}
        pair = {**basis, "seed": recipe.seed, "train_sentences": len(split.train), "order": order, "curves": curves}
        keep(path, pair)
    return pair


def compare(pair: Mapping[str, Any], target: float | None) -> dict[str, Any]:
    """The target, and of each side the seconds to it, the best macro-F1 and the sentences per second.

    The ratio is 0 where this package never reaches the target and infinite where only the plain Trainer does
    not, so that a median over pairs leaves no failure out; it is None where neither does.
    """
    ours, trainer = pair["curves"]["ours"], pair["curves"]["trainer"]
    target = max(point["macro_f1"] for point in trainer) if target is None else target
    found: dict[str, Any] = {"target": target, "ratio": None}
    for name, curve in (("ours", ours), ("trainer", trainer)):
        found[name] = {
            "seconds": reached(curve, target),
            "best": max(point["macro_f1"] for point in curve),
            "speed": curve[-1]["epoch"] * pair["train_sentences"] / curve[-1]["seconds"],
        }
    own, other = found["ours"]["seconds"], found["trainer"]["seconds"]
    if own is not None:
        found["ratio"] = math.inf if other is None else other / own
    elif other is not None:
        found["ratio"] = 0.0
    return found


def draw_picture(pairs: Sequence[Mapping[str, Any]], target: float | None, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axis = figure.subplots()
    sides = (("ours", "conflict-framing", "#0072b2"), ("trainer", "plain Trainer", "#d55e00"))
    for number, pair in enumerate(pairs):
        for name, title, colour in sides:
            curve = pair["curves"][name]
            axis.plot(
                [point["seconds"] for point in curve],
                [point["macro_f1"] for point in curve],
                marker="o",
                markersize=4,
                color=colour,
                label=None if number else title,
            )
        axis.axhline(compare(pair, target)["target"], color="#8a8f98", linewidth=0.8, linestyle="--")
    axis.set_xlabel("seconds of training, without evaluating")
    axis.set_ylabel("macro-F1 on the validation part")
    axis.set_title("one line per seed; dashed: the target", fontsize=9, loc="left")
    axis.grid(axis="y", alpha=0.3)
    axis.legend(frameon=False, loc="lower right")
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="+", default=[], metavar="FILE", help="default: the bundled corpus")
    parser.add_argument("--pairs", type=int, default=1, help="how many, from the recipe's seed on (default: 1)")
    parser.add_argument("--target", type=float, help="validation macro-F1 (default: the plain Trainer's best)")
    parser.add_argument("--epochs", type=float, default=3.0, help="of the plain Trainer (default: 3)")
    parser.add_argument("--learning-rate", type=float, default=5e-5, help="of the plain Trainer (default: 5e-5)")
    parser.add_argument("--evaluations", type=int, default=4, help="of the plain Trainer, an epoch (default: 4)")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=v")
    parser.add_argument("--output", type=Path, default=Path("runs/training"))
    options = parser.parse_args()
    recipe = load_recipe(options.recipe, ["few_labels.up_to=null", "small_corpus.up_to=null", *options.set])
    corpus = load_corpus(*options.corpus)
    pairs = [
        measure_pair(
            corpus, recipe.model_copy(update={"seed": recipe.seed + number}), options, ours_first=number % 2 == 0
        )
        for number in range(options.pairs)
    ]
    found = [compare(pair, options.target) for pair in pairs]

    def seconds(value: float | None) -> str:
        return "not reached" if value is None else f"{value:,.0f}"

    header = ["seed", "target", "seconds, ours", "Trainer", "ratio", "best, ours", "Trainer"]
    header += ["sentences/s, ours", "Trainer"]
    rows = [
        [
            str(pair["seed"]),
            f"{one['target']:.3f}",
            *(seconds(one[name]["seconds"]) for name in ("ours", "trainer")),
            "" if one["ratio"] is None else f"{one['ratio']:.2f}",
            *(f"{one[name]['best']:.3f}" for name in ("ours", "trainer")),
            *(f"{one[name]['speed']:.0f}" for name in ("ours", "trainer")),
        ]
        for pair, one in zip(pairs, found, strict=True)
    ]
    print(f"\nTraining to the same validation macro-F1, {pairs[0]['train_sentences']:,} training sentences:\n")
    print_table(header, rows)
    ratios = [one["ratio"] for one in found if one["ratio"] is not None]
    if ratios:
        print(f"\nMedian ratio of {len(ratios)}: {statistics.median(ratios):.2f} (0 where ours never gets there)")
    draw_picture(pairs, options.target, options.output / "training.png")
    print(f"Picture: {options.output / 'training.png'}")


if __name__ == "__main__":
    main()
