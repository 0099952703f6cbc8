"""From labels to reading: articles with their sentences labelled."""

from .explanation import print_explanation
from .findings import Findings, findings_of, write_findings
from .reading import Reading, print_reading, read_article, read_texts, to_html

__all__ = [
    "Findings",
    "Reading",
    "findings_of",
    "print_explanation",
    "print_reading",
    "read_article",
    "read_texts",
    "to_html",
    "write_findings",
]
