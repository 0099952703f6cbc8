"""Check a labelled corpus for what would make training or evaluation on it untrustworthy."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .codebook import Codebook
from .corpus import Corpus, CorpusError, Sentence, load_corpus
from .errors import MissingExtraError

Kind = Literal["unreadable", "duplicate", "near-duplicate", "leak"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding, its place as ``path:line``."""

    kind: Kind
    message: str


def check_files(
    *paths: str | Path,
    codebook: Codebook | None = None,
    threshold: float = 0.7,
    text_column: str = "text",
    label_column: str = "label",
    encoding: str = "utf-8",
) -> tuple[Corpus | None, list[Problem]]:
    """Read corpus files and check them.

    Returns:
        The corpus (None where it cannot be read at all) and every problem found, in file order.
    """
    try:
        corpus = load_corpus(
            *paths, codebook=codebook, text_column=text_column, label_column=label_column, encoding=encoding
        )
    except CorpusError as error:
        return None, [Problem("unreadable", problem) for problem in error.problems]
    return corpus, check_corpus(corpus, threshold=threshold)


def check_corpus(corpus: Corpus, *, threshold: float = 0.7) -> list[Problem]:
    """Find exact duplicates, near-duplicates across documents, and units torn apart by the split column.

    Near-duplicates are pairs of sentences whose sets of three-word shingles have a Jaccard
    similarity of at least ``threshold``; candidates come from MinHash LSH (Broder 1997, datasketch)
    and are verified exactly. Sentences that share a ``group`` are contrast pairs and exempt; so are
    sentences of one document (speakers repeat themselves).
    """
    return [*_duplicates(corpus), *_near_duplicates(corpus, threshold), *_torn_units(corpus)]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _shingles(text: str) -> set[str]:
    words = _words(text)
    return {" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def _duplicates(corpus: Corpus) -> Iterator[Problem]:
    first: dict[str, Sentence] = {}
    for sentence in corpus.sentences:
        other = first.setdefault(" ".join(_words(sentence.text)), sentence)
        if other is not sentence:
            label = "" if other.label == sentence.label else f", labelled {other.label} there and {sentence.label} here"
            place = f"{sentence.place}: the same sentence as {other.place}"
            yield Problem("duplicate", f"{place}{label}{_across(sentence, other)}: {_cut(sentence)}")


def _exempt(one: Sentence, other: Sentence) -> bool:
    same_group = one.group is not None and one.group == other.group
    same_document = one.document is not None and one.document == other.document
    return same_group or same_document


def _across(one: Sentence, other: Sentence) -> str:
    """Says so where two alike sentences stand in different parts of the split: a score would be too good."""
    if one.split is None or other.split is None or one.split == other.split:
        return ""
    return f", across the split ({other.split} there, {one.split} here)"


def _near_duplicates(corpus: Corpus, threshold: float) -> Iterator[Problem]:
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError:
        raise MissingExtraError("datasketch", "train", "Finding near-duplicates") from None

    shingles = [_shingles(sentence.text) for sentence in corpus.sentences]
    # A lower threshold for candidates than for the verdict, so that LSH misses next to none.
    index = MinHashLSH(threshold=max(0.1, threshold - 0.2), num_perm=128)
    for place, sentence in enumerate(corpus.sentences):
        sketch = MinHash(num_perm=128, seed=1)
        sketch.update_batch([shingle.encode() for shingle in shingles[place]])
        for candidate in sorted(index.query(sketch)):
            other = corpus.sentences[candidate]
            alike = _jaccard(shingles[place], shingles[candidate])
            # Equal word sequences are told as duplicates already.
            if threshold <= alike and not _exempt(sentence, other) and _words(sentence.text) != _words(other.text):
                yield Problem(
                    "near-duplicate",
                    f"{sentence.place}: nearly the same as {other.place} (similarity {alike:.2f})"
                    f"{_across(sentence, other)}: {_cut(sentence)} / {_cut(other)}",
                )
        index.insert(place, sketch)


def _torn_units(corpus: Corpus) -> Iterator[Problem]:
    for kind in ("document", "group"):
        parts: dict[str, dict[str, Sentence]] = defaultdict(dict)
        for sentence in corpus.sentences:
            value = getattr(sentence, kind)
            if value is not None and sentence.split is not None:
                parts[value].setdefault(sentence.split, sentence)
        for value, found in parts.items():
            if len(found) > 1:
                places = ", ".join(f"{part} at {sentence.place}" for part, sentence in found.items())
                yield Problem("leak", f"{kind} {value!r} stands in more than one part of the split: {places}")


def _jaccard(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def _cut(sentence: Sentence, width: int = 60) -> str:
    text = sentence.text if len(sentence.text) <= width else sentence.text[: width - 1] + "…"
    return f"“{text}”"
