"""Train a recipe on other people's labelled corpora, and print the scores beside the published ones.

    python benchmarks/labelled_corpora.py
    python benchmarks/labelled_corpora.py --recipe default --set training.epochs=4 --only trec6

Each folder holds train.jsonl, validation.jsonl and test.jsonl (text, label, split) and a SOURCE.md
whose line "published:" is printed as it stands. The folders are not part of this repository.
"""

import argparse
import tempfile
from pathlib import Path

from common import SHARED, print_table, require
from conflict_framing import load_corpus
from conflict_framing.train import load_recipe, train_run


def published(folder: Path) -> str:
    lines = (folder / "SOURCE.md").read_text("utf-8").splitlines()
    return next((line for line in lines if line.startswith("published")), "published: nothing in SOURCE.md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=SHARED / "benchmarks", help="holds one folder per corpus")
    parser.add_argument("--only", nargs="+", help="names of corpora (default: all)")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=v")
    options = parser.parse_args()
    folders = sorted(path for path in require(options.folder, "The labelled corpora").iterdir() if path.is_dir())
    for folder in folders:
        if options.only and folder.name not in options.only:
            continue
        corpus = load_corpus(*(folder / f"{part}.jsonl" for part in ("train", "validation", "test")))
        with tempfile.TemporaryDirectory() as place:
            run = train_run(corpus, load_recipe(options.recipe, options.set), Path(place) / "run")
        assert run.evaluation is not None
        rows = []
        for scored in (run.evaluation.model, *run.evaluation.baselines):
            name = f"recipe {options.recipe}" if scored is run.evaluation.model else scored.name
            figures = [f"{scored.metrics[key]:.3f}" for key in ("macro_f1", "accuracy", "mcc")]
            per_label = zip(corpus.label_names, scored.metrics["f1"], strict=True)
            rows.append([name, *figures, ", ".join(f"{label} {value:.3f}" for label, value in per_label)])
        # Printed corpus by corpus, so that nothing is lost when a long run is broken off.
        print(f"\n{folder.name}, {run.evaluation.n} test sentences:\n", flush=True)
        print_table(["classifier", "macro-F1", "accuracy", "MCC", "F1 by label"], rows)
        print(f"\n{published(folder)}", flush=True)


if __name__ == "__main__":
    main()
