"""Corpora, codebooks, tables of rows and sentences of articles."""

from .codebook import Codebook, LabelDefinition
from .corpus import Corpus, CorpusError, Sentence, load_corpus
from .errors import MissingExtraError, UserError
from .sentences import Span, split_sentences

__all__ = [
    "Codebook",
    "Corpus",
    "CorpusError",
    "LabelDefinition",
    "MissingExtraError",
    "Sentence",
    "Span",
    "UserError",
    "load_corpus",
    "split_sentences",
]
