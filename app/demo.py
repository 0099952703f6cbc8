"""The whole tool in one go: train, evaluate, read a sample article, turn articles of four outlets into findings."""

import json
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console

from conflict_framing.analysis import (
    Reading,
    findings_of,
    print_reading,
    read_article,
    source_files,
    to_html,
    write_findings,
)
from conflict_framing.data import MissingExtraError, UserError, load_corpus
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.folder import has_ready_model, read_facts
from conflict_framing.model.layout import RunLayout
from conflict_framing.model.predict import predict_files
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
    _print_ready_model(reading, out)
    _print_headline(layout, out)
    findings = _write_findings(output, say)
    for name, path in (
        ("report", layout.evaluation / "report.html"),
        ("model", layout.model),
        ("reading view", page),
        *([("findings", findings)] if findings else []),
    ):
        out.print(f"{name:13} {path}", soft_wrap=True, markup=False)
    return 0


def _print_ready_model(reading: Reading, out: Console) -> None:
    """What the model that comes with the package makes of the same sentences, where it is there."""
    if not has_ready_model():
        return
    others = CheckpointClassifier.from_pretrained().predict([span.text for span, _ in reading.sentences])
    differing = [
        (span.text, own.label, other.label)
        for (span, own), other in zip(reading.sentences, others, strict=True)
        if own.label != other.label
    ]
    out.print(
        f"The ready model, which comes with the package, labels {len(differing)} of these {len(others)} sentences "
        f"otherwise{':' if differing else '.'}",
        soft_wrap=True,
    )
    for text, own, other in differing:
        out.print(f"  {own} here, {other} there: {text}", markup=False, soft_wrap=True)
    out.print()


def _print_headline(layout: RunLayout, out: Console) -> None:
    measured = json.loads((layout.evaluation / "metrics.json").read_text("utf-8"))
    out.print(f"On {measured['sentences']} held-out sentences of the corpus (macro-F1, accuracy):")
    for name, metrics in measured["classifiers"].items():
        out.print(f"  {name:42} {metrics['macro_f1']:.3f}  {metrics['accuracy']:.3f}", markup=False)
    out.print()


def _write_findings(run: Path, say: Callable[[str], None]) -> Path | None:
    """Articles of four outlets: who says what, labelled, as shares over time and claims against reports."""
    folder = run / "findings"
    sentences, labelled = folder / "sentences.jsonl", folder / "labelled.jsonl"
    articles = files("conflict_framing.data").joinpath("samples", "outlets.jsonl")
    try:
        with as_file(articles) as path:
            source_files([path], sentences, overwrite=True)
        predict_files(CheckpointClassifier.from_pretrained(run), [sentences], labelled, overwrite=True)
        # By quarter: a month has too few documents for intervals.
        return write_findings(findings_of([labelled], ["outlet", "quarter"], model=run), folder)
    except (MissingExtraError, UserError) as error:  # without the extra [analysis], or a model without calibration
        say(f"note: no findings from the sample articles: {error}")
        return None
