"""From labels to reading: articles with their sentences labelled."""

from .reading import Reading, print_reading, read_article, to_html

__all__ = ["Reading", "print_reading", "read_article", "to_html"]
