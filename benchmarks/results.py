"""Keep what was measured in one JSON file per classifier and seed, and make figures of it.

A file is written as soon as its classifier is done, so a run that was broken off goes on, and classifiers
and seeds can be measured in several calls. Predictions are kept, not scores, so that classifiers can be
compared sentence by sentence.
"""

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conflict_framing.data import Corpus
from conflict_framing.data.split import Split, split_units
from conflict_framing.train import Recipe
from conflict_framing.train.uncertainty import confusion_metrics, document_confusions, paired_differences
from rivals import Classifier

Results = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""What a folder holds: by name of the classifier, then by seed."""


def keep(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(values) + "\n", "utf-8")
    partial.replace(path)


def held(path: Path, basis: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a file holds, None where there is none; stops where it was measured on another basis."""
    if not path.exists():
        return None
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    changed = [key for key in basis if values.get(key) != basis[key]]
    if changed:
        sys.exit(
            f"{path} was measured with other {' and '.join(changed)}.\n"
            f"Delete it to measure anew, or give another --output."
        )
    return values


def measure(folder: Path, name: str, classifier: Classifier, split: Split, recipe: Recipe) -> None:
    """Fit a classifier and keep its predictions in a folder, unless they are there."""
    path = folder / f"{name}-{recipe.seed}.json"
    basis = {"data": split.marked().fingerprint, "settings": classifier.settings}
    if held(path, basis) is not None:
        return
    print(f"{folder}: {classifier.title}, seed {recipe.seed} …", file=sys.stderr, flush=True)
    outcome = classifier.fit(split, recipe)
    keep(path, {"classifier": name, "title": classifier.title, "seed": recipe.seed, **basis, **vars(outcome)})


def read_results(folder: Path) -> Results:
    """All that a folder holds; stops where the seeds of one classifier were measured with unlike settings."""
    results: dict[str, dict[int, Any]] = defaultdict(dict)
    for path in sorted(folder.glob("*-*.json")):
        values = json.loads(path.read_text("utf-8"))
        results[values["classifier"]][values["seed"]] = values
        if values["settings"] != next(iter(results[values["classifier"]].values()))["settings"]:
            sys.exit(f"{path} was measured with other settings than the seeds beside it. Delete those that are old.")
    return {name: dict(sorted(by_seed.items())) for name, by_seed in results.items()}


def scores(predictions: Sequence[Sequence[int]], test: Corpus, metric: str) -> list[float]:
    """Macro-F1 or accuracy of each of several classifiers' predictions."""
    n_labels = len(test.label_names)
    confusions = [document_confusions(own, test.label_ids, [0] * len(test), n_labels)[0] for own in predictions]
    return [float(value) for value in confusion_metrics(np.array(confusions))[metric]]


def title_of(by_seed: Mapping[int, Mapping[str, Any]]) -> str:
    """What a classifier is called in a table, with what has to be known of its training."""
    one = next(iter(by_seed.values()))
    return f"{one['title']} ({one['note']})" if one["note"] else str(one["title"])


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds; a single value alone."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def pair_seeds(ours: Mapping[int, Any], rival: Mapping[int, Any], seeded: bool) -> list[tuple[Any, Any]]:
    """Ours and the rival's of the same seed; a rival without chance stands beside every seed of ours."""
    if not seeded:
        return [(own, next(iter(rival.values()))) for own in ours.values()] if rival else []
    return [(ours[seed], rival[seed]) for seed in ours if seed in rival]


def paired_difference(pairs: Sequence[tuple[Sequence[int], Sequence[int]]], test: Corpus) -> tuple[float, float, float]:
    """How much higher the macro-F1 of the first of each pair is, and the ends of its 95 % interval."""
    units, n_labels = split_units(test), len(test.label_names)
    found = paired_differences(pairs, test.label_ids, units, n_labels)["macro_f1"]
    return found.value, found.low, found.high
