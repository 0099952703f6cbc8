"""Who says each sentence of articles, where spaCy is there to tell."""

import importlib.util
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from conflict_framing.analysis.sources import PARSER, attribute, load_parser
from conflict_framing.data.articles import Article, ArticleSentence


def names_sources() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("spacy", PARSER))


def add_sources(path: Path, on_article: Callable[[int], None]) -> None:
    """Add the columns of ``Attribution`` to the sentences of articles.

    Args:
        path: JSONL as ``intake`` makes it of articles.
        on_article: called with the number of sentences that are done since the last call; may raise to stop.
    """
    done = path.with_name(f"{path.name}.sourced")
    with path.open(encoding="utf-8") as rows, done.open("w", encoding="utf-8") as stream:
        for _, group in itertools.groupby(map(json.loads, rows), key=lambda row: row["article"]):
            sentences = list(group)
            with load_parser().memory_zone():  # else spaCy remembers every word that it ever met
                stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in _with_sources(sentences))
            on_article(len(sentences))
    done.replace(path)


def _with_sources(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    sentences = [
        ArticleSentence(row["text"], row["start"], row["end"], row["paragraph"] - 1, row["kind"]) for row in rows
    ]
    for row, found in zip(rows, attribute(Article("", sentences)), strict=True):
        yield row | found.columns()
