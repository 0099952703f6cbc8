from pathlib import Path

import pytest

from conflict_framing.analysis import Article, ArticleColumns, article_rows, parse_article, read_articles
from conflict_framing.analysis.articles import find_dateline
from conflict_framing.data import UserError

from ..conftest import write_jsonl

WIRE = """Shells fall on Marvik again

MARVIK, May 3, 2024 (Northline) — Two shells fell on the market. Nobody was hurt.

Roads closed

The coast road was closed at noon.
"""


def articles(*paths: Path, **columns: str) -> list[Article]:
    found = list(read_articles(paths, columns=ArticleColumns(**columns)))
    assert all(isinstance(item, Article) for item in found)
    return [item for item in found if isinstance(item, Article)]


def test_headline_heading_and_dateline_are_told_from_the_sentences() -> None:
    article = parse_article(WIRE)
    assert [(s.kind, s.text) for s in article.sentences] == [
        ("headline", "Shells fall on Marvik again"),
        ("body", "Two shells fell on the market."),
        ("body", "Nobody was hurt."),
        ("heading", "Roads closed"),
        ("body", "The coast road was closed at noon."),
    ]
    assert (article.headline, article.place, article.date) == ("Shells fall on Marvik again", "Marvik", "2024-05-03")
    assert article.dateline is not None and article.dateline.startswith("MARVIK, May 3, 2024 (Northline)")
    for sentence in article.sentences:
        assert article.text[sentence.start : sentence.end] == sentence.text


def test_what_is_given_stands_above_the_dateline() -> None:
    article = parse_article(WIRE, date="2024-05-04", place="Upper Marvik", outlet="Northline")
    assert (article.date, article.place, article.outlet) == ("2024-05-04", "Upper Marvik", "Northline")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("KYIV, May 3 (Agency) — The road is open.", "KYIV"),
        ("GENEVA (7 June 2023) – The office said the truce held.", "GENEVA"),
        ("Marvik - The town is quiet.", None),
        ("The army — all of it — left.", None),
        ("He said: go home.", None),
    ],
)
def test_datelines(text: str, place: str | None) -> None:
    found = find_dateline(text)
    assert (found.place.upper() if found and found.place else None) == place


def test_no_sentence_is_an_error() -> None:
    with pytest.raises(UserError, match="no sentence in it"):
        parse_article(" \n ", document="empty.txt")


def test_a_folder_of_text_and_html(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(WIRE, "utf-8")
    page = "<html><head><title>Calm in Tesna</title></head><body><nav>Home | Sport</nav><article><h1>Calm in Tesna</h1>"
    told = "The district of Tesna was calm on Tuesday, the mayor said in a long statement to the council of the town. "
    (tmp_path / "b.html").write_text(f"{page}<p>{told * 3}</p><p>{told}</p></article></body></html>", "utf-8")
    text, html = articles(tmp_path)
    assert text.document.endswith("a.txt") and html.document.endswith("b.html")
    assert any("calm on Tuesday" in sentence.text for sentence in html.sentences)
    assert not any("Sport" in sentence.text for sentence in html.sentences)


def test_a_table_of_articles_and_one_of_sentences(tmp_path: Path) -> None:
    whole = write_jsonl(
        tmp_path / "articles.jsonl",
        [
            {"body": "The road is open. Trucks pass.", "id": "a", "outlet": "Wire", "date": "2024-01-02", "desk": 7},
            {"body": "Shots were heard.", "id": "b", "outlet": "Wire", "date": "2024-01-03", "desk": 8},
        ],
    )
    first, second = articles(whole, text="body", document="id")
    assert [s.text for s in first.sentences] == ["The road is open.", "Trucks pass."]
    assert (second.outlet, second.date) == ("Wire", "2024-01-03")
    row = article_rows(first)[1]
    assert (row["document"], row["sentence"], row["outlet"], row["desk"]) == ("a", 2, "Wire", 7)
    rows = [
        {"text": "The road is open.", "document": "a", "label": "none"},
        {"text": "Trucks pass.", "document": "a", "label": "operational_description"},
    ]
    (article,) = articles(write_jsonl(tmp_path / "sentences.jsonl", rows))
    assert article.by_rows
    assert article_rows(article) == rows


def test_a_missing_column_is_told(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "articles.jsonl", [{"body": "The road is open."}])
    with pytest.raises(UserError, match="no column 'text'"):
        articles(path)
