"""Who says it: precision and recall of (attributed, right source) on the hand-written documents.

    python benchmarks/attribution.py            # both halves; the patterns were developed on the first alone
    python benchmarks/attribution.py --errors   # and each sentence that is wrong
    python benchmarks/attribution.py --third    # by the labels of an annotator who knew neither patterns nor labels

A sentence counts as found where it is attributed to the source that the labels name, under any of the names
that the document has for it. Intervals are percentiles of a bootstrap over documents.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from sklearn.metrics import cohen_kappa_score

from common import print_table
from conflict_framing.analysis import Article, Attribution, attribute, parse_article
from conflict_framing.analysis.sources import name_words

HALVES = ("development", "test")
_DRAWS = 2000


@dataclass(frozen=True)
class Judged:
    """One sentence: its labels, what was found, and whether that is the right source."""

    gold: dict[str, Any]
    found: Attribution
    right: bool


def read_documents(half: str) -> Iterator[tuple[Article, list[dict[str, Any]]]]:
    """The labelled documents of a half: each as the article that a reader would have, and its rows."""
    text = files("conflict_framing.data").joinpath("attribution", f"{half}.jsonl").read_text("utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    for name, group in itertools.groupby(rows, key=lambda row: row["document"]):
        document = list(group)
        parts: list[str] = []
        for before, row in zip([None, *document], document, strict=False):
            if before is not None:
                parts.append(" " if before["paragraph"] == row["paragraph"] else "\n\n")
            parts.append(f"{row['dateline']} {row['text']}" if row.get("dateline") else row["text"])
        article = parse_article("".join(parts), document=name, outlet=document[0]["outlet"])
        if [s.text for s in article.sentences] != [row["text"] for row in document]:
            raise ValueError(f"{name}: the splitter's sentences are not those that are labelled")
        yield article, document


def by_third(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the third annotator's labels; a source takes the names that the document's labels know of it."""
    known = {row["source"]: row["source_names"] for row in rows if row["source"]}
    found = []
    for row in rows:
        name = row["annotator_3"]
        source = assigned(name, known) or name
        names = [*known.get(source, []), name] if name else []
        third = {"source": source, "source_names": names, "source_type": row["annotator_3_type"]}
        found.append({**row, **third, "construction": row["construction"] if name else None})
    return found


def agreement(documents: Sequence[Sequence[dict[str, Any]]]) -> list[list[str]]:
    """The third annotator's labels beside the adjudicated ones."""
    pairs = [pair for rows in documents for pair in zip(rows, by_third(rows), strict=True)]
    kappa = cohen_kappa_score(*zip(*((a["source"] is None, b["source"] is None) for a, b in pairs), strict=True))
    both = [(a, b) for a, b in pairs if a["source"] is not None and b["source"] is not None]
    same = [(a, b) for a, b in both if a["source"] == b["source"]]
    return [
        ["attributed or not, kappa", f"{kappa:.3f}", f"of {len(pairs)}"],
        ["same source where both attribute", f"{len(same) / len(both):.3f}", f"of {len(both)}"],
        [
            "same type where the source is the same",
            f"{sum(a['source_type'] == b['source_type'] for a, b in same) / len(same):.3f}",
            f"of {len(same)}",
        ],
    ]


def judge(article: Article, rows: Sequence[dict[str, Any]]) -> list[Judged]:
    entities = {row["source"]: row["source_names"] for row in rows if row["source"]}
    return [
        Judged(row, found, row["source"] is not None and assigned(found.source, entities) == row["source"])
        for row, found in zip(rows, attribute(article), strict=True)
    ]


def assigned(name: str | None, entities: dict[str, list[str]]) -> str | None:
    """Which of a document's labelled sources a found name means: that with the most words in common."""
    if name is None:
        return None
    words = set(name_words(name))
    best: tuple[float, str | None] = (0.0, None)
    for entity, names in entities.items():
        for other in (set(name_words(known)) for known in names):
            common = len(words & other)
            share = common / len(words | other) if common else 0.0
            if (share >= 0.5 or (common and common in (len(words), len(other)))) and share > best[0]:
                best = (share, entity)
    return best[1]


def measures(judged: Sequence[Judged]) -> dict[str, float]:
    found = [j for j in judged if j.found.source is not None]
    gold = [j for j in judged if j.gold["source"] is not None]
    right = [j for j in judged if j.right]
    typed = sum(j.found.source_type == j.gold["source_type"] for j in right)
    both = sum(j.gold["source"] is not None for j in found)
    return {
        "precision": len(right) / len(found) if found else float("nan"),
        "recall": len(right) / len(gold) if gold else float("nan"),
        "attributed or not": sum((j.found.source is None) == (j.gold["source"] is None) for j in judged) / len(judged),
        "right source where both attribute": len(right) / both if both else float("nan"),
        "type, where the source is right": typed / len(right) if right else float("nan"),
    }


def interval(
    documents: Sequence[Sequence[Judged]], measure: Callable[[Sequence[Judged]], dict[str, float]], seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals over documents drawn with replacement (Efron & Tibshirani 1993)."""
    chance = np.random.default_rng(seed)
    draws = [
        measure([j for place in chance.integers(len(documents), size=len(documents)) for j in documents[place]])
        for _ in range(_DRAWS)
    ]
    return {name: tuple(np.nanpercentile([draw[name] for draw in draws], [2.5, 97.5])) for name in draws[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=HALVES, help="this half only")
    parser.add_argument("--errors", action="store_true", help="show each sentence that is wrong")
    parser.add_argument("--third", action="store_true", help="judge by the third annotator's labels")
    options = parser.parse_args()
    read = {half: list(read_documents(half)) for half in HALVES if options.half in (None, half)}
    if options.third:
        labelled = [rows for documents in read.values() for _, rows in documents]
        print_table(["third annotator and the labels", "", "sentences"], agreement(labelled))
        print()
        read = {half: [(article, by_third(rows)) for article, rows in documents] for half, documents in read.items()}
    halves = {half: [judge(*pair) for pair in documents] for half, documents in read.items()}
    rows = []
    for half, documents in halves.items():
        judged = [j for document in documents for j in document]
        bounds = interval(documents, measures)
        print(
            f"{half}: {len(documents)} documents, {len(judged)} sentences, "
            f"{sum(j.gold['source'] is not None for j in judged)} attributed"
        )
        rows += [
            [f"{half}: {name}", f"{value:.3f}", f"{bounds[name][0]:.3f}–{bounds[name][1]:.3f}"]
            for name, value in measures(judged).items()
        ]
    print_table(["half", "value", "95 % interval"], rows)
    for title, column in (("construction", "construction"), ("source type", "source_type"), ("register", "register")):
        print()
        _print_groups(title, column, halves)
    if options.errors:
        for half, documents in halves.items():
            print(f"\n{half}")
            for j in (j for document in documents for j in document if not _good(j)):
                print(f"  {j.gold['document']} {j.gold['sentence']}: {j.gold['text']}")
                print(f"    labels: {j.gold['source']} ({j.gold['source_type']}, {j.gold['construction']})")
                print(f"    found:  {j.found.source} ({j.found.source_type}, {j.found.construction}, {j.found.cue})")


def _good(judged: Judged) -> bool:
    if judged.gold["source"] is None:
        return judged.found.source is None
    return judged.right and judged.gold["source_type"] == judged.found.source_type


def _print_groups(title: str, column: str, halves: dict[str, list[list[Judged]]]) -> None:
    names = sorted({j.gold[column] for ds in halves.values() for d in ds for j in d if j.gold[column]})
    rows = []
    for name in names:
        cells = [name]
        for documents in halves.values():
            group = [j for document in documents for j in document if j.gold[column] == name]
            gold = [j for j in group if j.gold["source"] is not None]
            right = sum(j.right for j in gold)
            typed = sum(j.right and j.found.source_type == j.gold["source_type"] for j in gold)
            cells += [
                str(len(gold)),
                f"{right / len(gold):.2f}" if gold else "–",
                f"{typed / right:.2f}" if right else "–",
            ]
        rows.append(cells)
    header = [title, *(part for half in halves for part in (f"{half}: n", "recall", "type right"))]
    print_table(header, rows)


if __name__ == "__main__":
    main()
