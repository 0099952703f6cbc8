"""From labels to reading: articles with their sentences labelled."""

from .explanation import print_explanation
from .reading import Reading, print_reading, read_article, read_texts, to_html

__all__ = ["Reading", "print_explanation", "print_reading", "read_article", "read_texts", "to_html"]
