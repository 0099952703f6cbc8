"""From labels to reading: articles with their sentences labelled, and who says them."""

from ..data.articles import Article, ArticleSentence, article_rows, parse_article
from .articles import ArticleColumns, is_html, read_articles
from .explanation import print_explanation
from .findings import Findings, findings_of, write_findings
from .reading import Reading, print_reading, read_article, read_texts, to_html
from .source_files import SourcesReport, source_files
from .sources import SOURCE_COLUMNS, Attribution, attribute

__all__ = [
    "SOURCE_COLUMNS",
    "Article",
    "ArticleColumns",
    "ArticleSentence",
    "Attribution",
    "Findings",
    "Reading",
    "SourcesReport",
    "article_rows",
    "attribute",
    "findings_of",
    "is_html",
    "parse_article",
    "print_explanation",
    "print_reading",
    "read_article",
    "read_articles",
    "read_texts",
    "source_files",
    "to_html",
    "write_findings",
]
