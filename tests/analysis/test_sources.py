import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from sklearn.metrics import cohen_kappa_score

from conflict_framing.analysis import Attribution, attribute, parse_article, source_files
from conflict_framing.data import UserError

from ..conftest import write_jsonl

ROOT = Path(__file__).parents[2]


def said(*sentences: str) -> list[Attribution]:
    article = parse_article(" ".join(sentences))
    assert len(article.sentences) == len(sentences)
    return attribute(article)


@pytest.mark.parametrize(
    ("sentence", "source", "type_"),
    [
        ("The defence ministry said the border was quiet.", "defence ministry", "government_or_military"),
        ('"The border is quiet," said Colonel Anders Holt.', "Anders Holt", "government_or_military"),
        ("The border was quiet, according to the United Nations.", "United Nations", "international_organisation"),
        ("Residents told reporters that shells had fallen all night.", "Residents", "civilian"),
        ("The rebels claimed that they had taken the bridge.", "rebels", "armed_group"),
        ("Amnesty International warned that more attacks would follow.", "Amnesty International", "ngo"),
    ],
)
def test_who_says_it(sentence: str, source: str, type_: str) -> None:
    (found,) = said(sentence)
    assert found.source is not None and source.casefold() in found.source.casefold()
    assert found.source_type == type_
    assert found.start is not None and found.end is not None
    assert source.split()[-1].casefold() in sentence[found.start : found.end].casefold()
    assert found.cue


@pytest.mark.parametrize(
    "sentence",
    ["Two shells fell on the market at noon.", "The army moved forty trucks to the pass.", "The truce held all day."],
)
def test_the_outlets_own_voice(sentence: str) -> None:
    assert said(sentence) == [Attribution()]


def test_an_unnamed_source() -> None:
    (found,) = said("It is reported that the bridge was blown up.")
    assert found.source == "unnamed"


def test_pronouns_titles_and_spellings_are_one_person() -> None:
    found = said(
        "Governor Anatoly Pashkin said the province was calm.",
        "He added that schools would reopen on Monday.",
        "Bashkin noted that the last checkpoint had been removed.",
        "Shells fell on the market that evening.",
    )
    assert [one.source for one in found] == ["Governor Anatoly Pashkin"] * 3 + [None]
    assert {one.source_type for one in found[:3]} == {"government_or_military"}


def test_a_quotation_goes_on_over_sentences() -> None:
    found = said('"The city is calm," said Mayor Ilse Brandt.', '"Shops are open and buses run."')
    assert [one.source for one in found] == ["Mayor Ilse Brandt"] * 2
    assert found[1].start is None


def test_two_people_stay_two() -> None:
    found = said("Colonel Anders Holt said the road was open.", "Mayor Ilse Brandt said it was closed.")
    assert len({one.source for one in found}) == 2


def test_columns_of_a_table(tmp_path: Path) -> None:
    rows = [
        {"text": "The ministry said the town was calm.", "document": "a", "source": "feed 7", "label": "none"},
        {"text": "Shells fell at noon.", "document": "a", "source": "feed 7", "label": "escalation_report"},
    ]
    output = tmp_path / "out.csv"
    report = source_files([write_jsonl(tmp_path / "in.jsonl", rows)], output)
    with output.open(encoding="utf-8", newline="") as stream:
        told = list(csv.DictReader(stream))
    assert [row["input_source"] for row in told] == ["feed 7", "feed 7"]
    assert [row["source_type"] for row in told] == ["government_or_military", ""]
    first = told[0]
    assert first["text"][int(first["source_start"]) : int(first["source_end"])] == "The ministry"
    assert [row["label"] for row in told] == ["none", "escalation_report"]
    assert (report.articles, report.sentences) == (1, 2)
    with pytest.raises(UserError, match="exists"):
        source_files([tmp_path / "in.jsonl"], output)


def test_the_labelled_documents_are_sound() -> None:
    halves = {}
    for half in ("development", "test"):
        lines = (ROOT / "data" / "attribution" / f"{half}.jsonl").read_text("utf-8").splitlines()
        halves[half] = [json.loads(line) for line in lines]
    documents = {half: {row["document"] for row in rows} for half, rows in halves.items()}
    assert not documents["development"] & documents["test"]
    rows = [row for half in halves.values() for row in half]
    assert len(rows) >= 400
    for row in rows:
        assert (row["source"] is None) == (row["source_type"] is None), row
        assert row["mention"] is None or row["mention"] in row["text"], row
    assert len({row["text"] for row in rows}) == len(rows)
    attributed = Counter(row["source"] is not None for row in rows)
    assert 0.3 < attributed[True] / len(rows) < 0.7
    first, second = (["yes" if row[name] else "no" for row in rows] for name in ("annotator_1", "annotator_2"))
    assert cohen_kappa_score(first, second) > 0.8
