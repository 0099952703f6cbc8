import io
import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow
import pyarrow.parquet
import pytest

from conflict_framing.analysis import Article, ArticleColumns, article_rows, parse_article, read_articles
from conflict_framing.analysis.articles import read_html
from conflict_framing.data import UserError
from conflict_framing.data.articles import dates_missing, find_dateline
from conflict_framing.data.tables import BadRow, Row
from conflict_framing.model.rows import ReadOptions, Source

from ..conftest import write_jsonl

TEXT = """\
Shelling stops, schools reopen

DRESK, 3 May 2021 (AFW) — The valley was quiet
on Monday, the mayor said. "We slept," a baker told us.

Bread again

Nine shops opened.
"""

PAGE = """<html><head><title>Shelling stops</title><meta property="og:site_name" content="Valley News">
<meta property="article:published_time" content="2021-05-03T10:00:00Z"></head><body><nav><a href="/">Home</a></nav>
<article><h1>Shelling stops</h1><p>DRESK (AFW) — The valley was quiet on Monday after a week of shelling that emptied
many villages, the mayor said to a small crowd.</p><p>Nine shops opened, and the buses to the capital ran again for the
first time since the road was mined in the spring.</p></article><footer>Imprint</footer></body></html>"""


def articles(*paths: str | Path, **options: object) -> list[Article]:
    return [item for item in read_articles(list(paths), **options) if isinstance(item, Article)]  # type: ignore[arg-type]


def test_headline_heading_and_dateline_are_told_and_offsets_are_the_articles() -> None:
    article = parse_article(TEXT, document="d", outlet="o")
    assert [(s.kind, s.text) for s in article.sentences] == [
        ("headline", "Shelling stops, schools reopen"),
        ("body", "The valley was quiet on Monday, the mayor said."),
        ("body", '"We slept," a baker told us.'),
        ("heading", "Bread again"),
        ("body", "Nine shops opened."),
    ]
    for sentence in article.sentences:
        assert " ".join(TEXT[sentence.start : sentence.end].split()) == sentence.text
    assert (article.place, article.date, article.outlet) == ("Dresk", "2021-05-03", "o")
    assert article.dateline == "DRESK, 3 May 2021 (AFW) —"
    assert article.headline == "Shelling stops, schools reopen"


def test_what_is_given_goes_before_what_the_dateline_tells() -> None:
    article = parse_article(TEXT, date="2021-05-04", place="Upper Dresk")
    assert (article.date, article.place) == ("2021-05-04", "Upper Dresk")


@pytest.mark.parametrize(
    ("text", "place", "date"),
    [
        ("KYIV, May 3 (Agency) — It rained.", "Kyiv", None),
        ("GORI, Georgia, Aug. 14, 2008 (ED) — It rained.", "Gori", "2008-08-14"),
        ("PORT-AU-PRINCE, Haiti (CPA) -- It rained.", "Port-Au-Prince", None),
        ("Moscow, Russia – Russia announced rain.", "Moscow", None),
        ("(Bogotá) – It rained.", "Bogotá", None),
        ("BANNU, Oct 27: It rained.", "Bannu", None),
        ("SRINAGAR: It rained.", "Srinagar", None),
        ("Kabul, 2024-11-12 (Khyber Online): It rained.", "Kabul", "2024-11-12"),
        ("Dresk, 12 November 2024 (Valley News): It rained.", "Dresk", "2024-11-12"),
        ("Kabul, Nov. 12, 2024: It rained.", "Kabul", "2024-11-12"),
        ("Tel Hamin, SNA – It rained.", "Tel Hamin", None),
        ("NYALAVUR, 14 March – The ministry said so.", "Nyalavur", None),
    ],
)
def test_datelines(text: str, place: str, date: str | None) -> None:
    found = find_dateline(text)
    assert found is not None
    assert (found.place, found.date) == (place, date)
    assert text[len(found.text) :].startswith(("It rained", "Russia announced", "The ministry"))


@pytest.mark.parametrize(
    ("text", "outlet"),
    [
        ("KYIV (Herald) — It rained.", "Herald"),
        ("MOSCOW, May 3 (Interfax) - It rained.", "Interfax"),
        ("Kabul, 2024-11-12 (Khyber Online): It rained.", "Khyber Online"),
        ("GORI, Georgia, Aug. 14, 2008 (Agence France-Presse) — It rained.", "Agence France-Presse"),
        ("PARIS (the Voice of the Gulf) — It rained.", "the Voice of the Gulf"),
        ("PARIS (Updates with quotes) — It rained.", None),
        ("PARIS (Corrected) — It rained.", None),
        ("PARIS (by telephone) — It rained.", None),
        ("(Bogotá) – It rained.", None),
        ("PARIS, 3 May — It rained.", None),
    ],
)
def test_the_outlet_stands_in_the_brackets_of_a_dateline(text: str, outlet: str | None) -> None:
    found = find_dateline(text)
    assert found is not None and found.outlet == outlet
    assert parse_article(text).outlet == outlet
    assert parse_article(text, outlet="Own").outlet == "Own"


def test_a_year_is_never_guessed() -> None:
    without, named = "KYIV, Feb. 29 (Herald) — It rained.", "KYIV, 3 May 2021 — It rained."
    article = parse_article(without)
    assert article.date is None and article.lacks_year
    assert parse_article(without, year=2024).date == "2024-02-29"
    assert parse_article(without, year=2023).date is None  # there was no such day
    assert not parse_article(without, year=2024).lacks_year
    assert not parse_article(without, date="2020").lacks_year
    article = parse_article(named, year=1999)
    assert article.date == "2021-05-03" and not article.lacks_year
    assert not parse_article("KYIV (Herald) — It rained.").lacks_year
    assert parse_article("KYIV (Herald) — It rained.").lacks_date
    assert not parse_article(without).lacks_date and not article.lacks_date


def test_what_is_said_of_articles_without_a_date() -> None:
    assert dates_missing(0, 2) == ""
    assert dates_missing(1, 2).startswith(
        "1 of 2 articles has no date, which 'shares' needs to group by month or year."
    )
    assert dates_missing(1200, 2000).startswith("1,200 of 2,000 articles have no date")


def test_outlet_and_year_of_files_and_a_column_wins(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("KYIV, May 3 (Herald) — It rained.", "utf-8")
    row = {"text": "KYIV, May 3 (Herald) — It rained.", "document": "r", "outlet": "Column"}
    write_jsonl(tmp_path / "b.jsonl", [row, {**row, "document": "s", "outlet": ""}])
    (tmp_path / "c.html").write_text(PAGE, "utf-8")
    found = articles(tmp_path)
    assert [a.outlet for a in found] == ["Herald", "Column", "Herald", "Valley News"]
    found = articles(tmp_path, outlet="Own", year=2021)
    assert [a.outlet for a in found] == ["Own", "Column", "Herald", "Own"]
    assert [a.date for a in found[:3]] == ["2021-05-03"] * 3


@pytest.mark.parametrize(
    "text",
    [
        "ELÍAS: That is a lie.",
        "Anna Rossi (Herald): That is a lie.",
        "Kabul: The army said it rained.",
        "The mayor – who had fled – returned.",
        "The army said on May 3 that it rained.",
        "Two soldiers, a boy and a cow – all were wounded.",
        "Kabul is quiet.",
        "TRIPOLI, July 9",  # only where it may stand alone
    ],
)
def test_what_is_no_dateline(text: str) -> None:
    assert find_dateline(text) is None


def test_a_dateline_on_a_line_of_its_own_is_no_sentence() -> None:
    article = parse_article("Planes over Tripoli\n\nTRIPOLI, July 9\n\nPlanes came.\n\nThey left.")
    assert [s.text for s in article.sentences] == ["Planes over Tripoli", "Planes came.", "They left."]
    assert article.place == "Tripoli"


def test_a_byline_is_no_sentence_and_no_heading() -> None:
    text = (
        "Shelling stops, schools reopen at last\nBy Anna Rossi and B. A. Okri in Dresk, 3 May 2021\n"
        "DRESK (AFW) — It is calm.\n\nTrucks came."
    )
    article = parse_article(text)
    assert [(s.kind, s.text) for s in article.sentences] == [
        ("headline", "Shelling stops, schools reopen at last"),
        ("body", "It is calm."),
        ("body", "Trucks came."),
    ]
    assert [text[s.start : s.end] for s in article.sentences] == [s.text for s in article.sentences]
    assert article.byline == "By Anna Rossi and B. A. Okri in Dresk, 3 May 2021"
    assert article.cut_off == f"{article.byline} DRESK (AFW) —"
    assert (article.date, article.place, article.outlet) == ("2021-05-03", "Dresk", "AFW")
    assert parse_article(text, date="2020").date == "2020"
    alone = parse_article("By our correspondent\n\nIt is calm. Trucks came.")
    assert [s.text for s in alone.sentences] == ["It is calm.", "Trucks came."]
    late = parse_article("It is calm.\n\nBy Anna Rossi\n\nTrucks came.")  # what stands among the text is text
    assert len(late.sentences) == 3 and late.byline is None and late.cut_off == ""


@pytest.mark.parametrize("text", ["TRIPOLI, July 9", "Kyiv, 3 May 2021\n"])
def test_a_dateline_alone_is_a_sentence_and_stops_no_other_article(text: str, tmp_path: Path) -> None:
    article = parse_article(text, year=2021)
    assert [(s.text, s.kind, article.text[s.start : s.end]) for s in article.sentences] == [
        (text.strip(), "body", text.strip())
    ]
    assert article.place in ("Tripoli", "Kyiv") and article.dateline == text.strip() and article.date
    table = write_jsonl(tmp_path / "a.jsonl", [{"text": text}, {"text": "It rained. It hailed. It snowed."}])
    assert [len(found.sentences) for found in articles(table)] == [1, 3]
    (tmp_path / "a.txt").write_text(text, "utf-8")
    rows = Source.of(str(tmp_path / "a.txt"), ReadOptions(), tmp_path).rows(ReadOptions())
    assert [row.values["text"] for row in rows if isinstance(row, Row)] == [text.strip()]


def test_a_day_and_a_known_headline_in_front_of_the_text_are_parted_from_it() -> None:
    text = "Wed 05 Apr 2017 Town falls silent. The guns stopped on Wednesday. Nobody knows why."
    article = parse_article(text, headline="Town falls silent")
    assert [(s.kind, s.text) for s in article.sentences] == [
        ("headline", "Town falls silent."),
        ("body", "The guns stopped on Wednesday."),
        ("body", "Nobody knows why."),
    ]
    assert [text[s.start : s.end] for s in article.sentences] == [s.text for s in article.sentences]


def test_html_gives_text_title_outlet_and_date_without_the_rest_of_the_page(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text(PAGE, "utf-8")
    (article,) = articles(path)
    assert (article.outlet, article.date, article.place) == ("Valley News", "2021-05-03", "Dresk")
    assert [s.kind for s in article.sentences] == ["headline", "body", "body"]
    assert article.headline == article.sentences[0].text == "Shelling stops"
    assert article.sentences[1].text.startswith("The valley was quiet")
    assert "Imprint" not in article.text
    assert "Home" not in article.text


def test_a_page_without_an_article_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no article was found"):
        read_html("<html><body></body></html>", "empty.html")


def test_a_row_is_an_article_and_its_columns_are_carried(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "a.jsonl",
        [
            {"id": "x", "title": "Calm", "body": "Calm. It is calm. We saw it.", "location": "Aden", "tag": 7},
            {"id": "y", "title": None, "body": "A raid. It began at noon.", "location": "", "tag": 8},
        ],
    )
    columns = ArticleColumns(text="body", document="id", place="location", headline="title")
    first, second = articles(path, columns=columns)
    assert (first.document, first.place, first.headline, first.extras) == ("x", "Aden", "Calm", {"tag": 7})
    assert [s.kind for s in first.sentences] == ["headline", "body", "body"]
    assert second.place is None
    rows = article_rows(first)
    assert list(rows[0]) == [
        "document", "sentence", "start", "end", "kind", "outlet", "date", "place", "text", "tag",
    ]  # fmt: skip
    assert [(row["document"], row["sentence"], row["tag"]) for row in rows] == [("x", 1, 7), ("x", 2, 7), ("x", 3, 7)]


@pytest.mark.parametrize("format", ["jsonl", "csv", "tsv", "parquet"])
def test_rows_that_share_a_document_are_its_sentences_and_stay_as_they_are(tmp_path: Path, format: str) -> None:
    rows = [
        {"document": "a", "text": "ADEN (AFW) — It is calm. Very calm.", "label": "calm"},
        {"document": "a", "text": "A raid began.", "label": "attack"},
        {"document": "b", "text": "Trucks came.", "label": "move"},
    ]
    path = tmp_path / f"a.{format}"
    if format == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif format == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    else:
        mark = "," if format == "csv" else "\t"
        path.write_text("\n".join(mark.join(r.values()) for r in [dict(zip(rows[0], rows[0], strict=True)), *rows]))
    found = articles(path)
    assert [row for article in found for row in article_rows(article)] == rows
    assert [len(article.sentences) for article in found] == [2, 1]
    assert found[0].sentences[0].text == "It is calm. Very calm."
    assert found[0].sentences[0].cut == len("ADEN (AFW) — ")
    assert found[0].place == "Aden"


def test_folders_are_read_in_order_and_rows_without_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("Trucks came.", "utf-8")
    (tmp_path / "sub" / "c.html").write_text(PAGE, "utf-8")
    (tmp_path / "picture.png").write_bytes(b"x")
    write_jsonl(tmp_path / "a.jsonl", [{"text": "A raid."}, {"text": None}])
    found = list(read_articles([tmp_path]))
    assert [type(item) for item in found] == [Article, BadRow, Article, Article]
    names = [Path(item.document).name for item in found if isinstance(item, Article)]
    assert names == ["a.jsonl:1", "b.txt", "c.html"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "   \n", "no text in it"),
        ("a.csv", "words\nx\n", "no column 'text'"),
        ("a.pdf", "x", "not one of"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(UserError, match=message):
        list(read_articles([tmp_path / name]))


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"without any file of a known format .*\.html"):
        list(read_articles([tmp_path]))


def test_rows_without_a_document_are_articles_of_their_own_beside_those_that_share_one(tmp_path: Path) -> None:
    rows = [{"document": name, "text": f"Line {place}."} for place, name in enumerate(["a", "a", None, None, "b"])]
    found = articles(write_jsonl(tmp_path / "a.jsonl", rows))
    assert [len(article.sentences) for article in found] == [2, 1, 1, 1]


def test_a_table_on_standard_input_is_read_whatever_must_be_known_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"document": name, "text": "A raid. It began."} for name in ("a", "b", "b")]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    found = [item for item in read_articles(["-"], format="jsonl") if isinstance(item, Article)]
    assert [article.document for article in found] == ["a", "b"]
    assert [len(article.sentences) for article in found] == [1, 2]  # rows are sentences, and stay whole


def test_two_articles_of_one_name_do_not_make_a_table_one_of_sentences(tmp_path: Path) -> None:
    names = ["a", "b", "b", "c", "d"]
    rows = [{"document": name, "text": "Calm. It was calm. We saw it. Trucks came."} for name in names]
    found = articles(write_jsonl(tmp_path / "a.jsonl", rows))
    assert [(article.document, len(article.sentences)) for article in found] == [(name, 4) for name in names]
    assert not any(article.by_rows for article in found)
