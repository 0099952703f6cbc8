"""The whole tool in one go: train, evaluate, read a sample article."""

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from rich.console import Console

from conflict_framing.analysis import print_reading, read_article, to_html
from conflict_framing.data import load_corpus
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.folder import read_facts
from conflict_framing.model.layout import RunLayout
from conflict_framing.train import load_recipe, train_run


def run_demo(output: Path, recipe_name: str, out: Console, say: Callable[[str], None]) -> int:
    """Train unless the run at ``output`` is of the same corpus and recipe; then read the sample article."""
    layout = RunLayout(output)
    corpus = load_corpus()
    recipe = load_recipe(recipe_name)
    facts = read_facts(layout.model) if layout.model.is_dir() else None
    same = facts is not None and facts.corpus_fingerprint == corpus.fingerprint
    if facts is not None and same and facts.recipe == recipe.model_dump(mode="json"):
        say(f"Using the model trained before in {output}")
        classifier = CheckpointClassifier.from_pretrained(output)
    else:
        say(f"Training on the bundled corpus ({len(corpus):,} sentences); this takes some minutes on a laptop …")
        classifier = train_run(corpus, recipe, output, overwrite=True, say=say).classifier
    article = files("conflict_framing.data").joinpath("samples", "article.txt").read_text("utf-8")
    reading = read_article(article, classifier, title="A sample article, written for this project")
    page = output / "reading.html"
    page.write_text(to_html(reading), "utf-8")
    out.print()
    print_reading(reading, out)
    out.print()
    _print_headline(layout, out)
    for name, path in (
        ("report", layout.evaluation / "report.html"),
        ("model", layout.model),
        ("reading view", page),
    ):
        out.print(f"{name:13} {path}", soft_wrap=True, markup=False)
    return 0


def _print_headline(layout: RunLayout, out: Console) -> None:
    measured = json.loads((layout.evaluation / "metrics.json").read_text("utf-8"))
    out.print(f"On {measured['sentences']} held-out sentences of the corpus (macro-F1, accuracy):")
    for name, metrics in measured["classifiers"].items():
        out.print(f"  {name:42} {metrics['macro_f1']:.3f}  {metrics['accuracy']:.3f}", markup=False)
    out.print()
