"""The parser is loaded once a session: ``load_parser`` keeps it."""

import subprocess
import sys

import pytest

from conflict_framing.analysis import Attribution, article_rows, attribute, parse_article
from conflict_framing.analysis.articles import ArticleColumns, article_of_rows
from conflict_framing.analysis.quotations import find_quotations
from conflict_framing.analysis.source_types import SOURCE_TYPES, lexicon, source_type
from conflict_framing.data import MissingExtraError


def sources(text: str) -> list[str | None]:
    return [found.source for found in attribute(parse_article(text))]


@pytest.mark.parametrize(
    ("sentence", "source", "cue", "construction"),
    [
        ('"The valley is calm," the mayor said on Monday.', "the mayor", "said", "direct"),
        ('"The valley is calm," said Colonel Idris Bakari.', "Colonel Idris Bakari", "said", "inverted"),
        ("The defence ministry said that the valley was calm.", "The defence ministry", "said", "indirect"),
        ("The valley, the ministry said, was calm.", "the ministry", "said", "indirect"),
        ("The valley is calm, residents told this newspaper.", "residents", "told", "indirect"),
        ("According to the governor, the valley is calm.", "the governor", "According to", "according_to"),
        ("The valley is calm, as noted by the ministry.", "the ministry", "noted", "according_to"),
        ("The envoy urged both sides to hold their fire.", "The envoy", "urged", "speech_act"),
        ("The rebels denied that they had shelled the town.", "The rebels", "denied", "indirect"),
        ("A spokesman was quoted as saying that the road was open.", "A spokesman", "quoted", "passive"),
        ("A report by the Red Cross says that nine people died.", "the Red Cross", "says", "document"),
    ],
)
def test_constructions(sentence: str, source: str, cue: str, construction: str) -> None:
    (found,) = attribute(parse_article(sentence))
    assert (found.source, found.cue, found.construction) == (source, cue, construction)
    assert sentence[found.start : found.end] == source


@pytest.mark.parametrize(
    "sentence",
    [
        "Shells fell on the market before dawn.",
        "The army did not comment on the claim.",
        "The general, who said little, left for the capital.",
        "The mayor would say that the valley is calm.",
        "We said that it was calm.",
        'The "liberated" town is empty.',
        "Nobody said where the trucks went.",
    ],
)
def test_the_outlets_own_voice(sentence: str) -> None:
    assert attribute(parse_article(sentence)) == [Attribution()]


def test_hearsay_points_to_a_source_without_a_name() -> None:
    (found,) = attribute(parse_article("It is believed that 90 people died in the raid."))
    assert (found.source, found.source_type, found.cue) == ("unnamed", "unknown", "believed")
    assert found.start is None


def test_a_pronoun_means_the_last_speaker_that_fits() -> None:
    text = (
        "The interior ministry said the road was open. It added that buses were running. "
        "Anna Kovar, a baker, came back on Monday. She said the oven still worked."
    )
    assert sources(text) == ["The interior ministry", "The interior ministry", None, "Anna Kovar"]


def test_a_quotation_goes_on_over_sentences_and_a_bare_one_follows_its_speaker() -> None:
    text = '"The road is open," said Colonel Bakari. "Nobody needs to leave."\n\nThe market was empty.'
    assert sources(text) == ["Colonel Bakari", "Colonel Bakari", None]


def test_the_speaker_at_the_end_of_a_quotation_is_that_of_its_beginning() -> None:
    texts = ['"The guns are silent.', 'The road is open," said Colonel Bakari.', "The market was empty."]
    rows = [{"document": "a", "text": text} for text in texts]
    found = attribute(article_of_rows(rows, ArticleColumns()))
    assert [item.source for item in found] == ["Colonel Bakari", "Colonel Bakari", None]
    assert (found[0].start, found[0].cue, found[0].construction) == (None, None, "continuation")


def test_names_of_one_person_are_one_source_whatever_the_spelling() -> None:
    text = (
        "Anton Parvek, director of the Eastern Department at the foreign ministry, said the valley was stable. "
        "Barvek explained that the roads were open. The Orestan official confirmed that buses ran. "
        "Parvek thanked the army."
    )
    found = attribute(parse_article(text))
    assert {item.source for item in found} == {"Anton Parvek"}
    assert {item.source_type for item in found} == {"government_or_military"}


def test_two_persons_of_like_names_stay_two() -> None:
    text = (
        "Anna Morris, a teacher, said the school was open. Peter Norris, a driver, said the road was closed. "
        "Norris added that the bridge was mined. Morris said she would wait."
    )
    assert sources(text) == ["Anna Morris", "Peter Norris", "Peter Norris", "Anna Morris"]


def test_an_acronym_is_its_institution_and_a_title_its_bearer() -> None:
    text = (
        "The World Food Programme (WFP) said trucks were stuck. Governor Ilka Dobren said they would move. "
        "WFP warned of hunger. The governor said there was food."
    )
    programme, governor = "The World Food Programme (WFP)", "Governor Ilka Dobren"
    first, second, third, fourth = sources(text)
    assert first == third
    assert first in (programme, "The World Food Programme")
    assert second == fourth == governor


def test_turns_of_a_transcript_are_their_speakers() -> None:
    text = "VERA: Why did you leave?\n\nOTTO: They shot at us. We ran.\n\nVERA: And now?\n\nOTTO: We wait for news."
    assert sources(text) == ["VERA", "OTTO", "OTTO", "VERA", "OTTO"]


def test_a_dateline_is_no_speaker_and_the_span_is_the_rows() -> None:
    rows = [
        {"document": "a", "text": "ADEN, May 3 (AFW) — The army said it had left."},
        {"document": "a", "text": "Shells fell."},
    ]
    article = article_of_rows(rows, ArticleColumns())
    first, second = attribute(article)
    columns = first.columns(article.sentences[0].cut)
    assert rows[0]["text"][columns["source_start"] : columns["source_end"]] == columns["source"] == "The army"
    assert second.columns() == dict.fromkeys(columns)
    assert article_rows(article) == rows


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("the defence ministry", "government_or_military"),
        ("the Ministry of Defence", "government_or_military"),
        ("Col. Idris Bakari", "government_or_military"),
        ("a spokesman for the rebels", "armed_group"),
        ("a rebel commander", "armed_group"),
        ("a UN official", "international_organisation"),
        ("the International Organization for Migration", "international_organisation"),
        ("the Hamas-run health ministry", "government_or_military"),
        ("researcher at Human Rights Watch", "ngo"),
        ("aid officials", "ngo"),
        ("state television", "media"),
        ("a teacher", "civilian"),
        ("women who fled", "civilian"),
        ("analysts", "unknown"),
    ],
)
def test_source_types(phrase: str, expected: str) -> None:
    assert source_type([phrase]) == expected


def test_who_is_the_organisation_only_in_capitals() -> None:
    assert source_type(["the WHO"]) == "international_organisation"
    assert source_type(["a man who"]) == "civilian"


def test_every_type_of_the_lexicon_is_a_type() -> None:
    assert set(lexicon()["types"]) | {"unknown"} == set(SOURCE_TYPES)
    assert all(isinstance(word, str) for words in lexicon()["types"].values() for word in words)


def test_quotations_end_with_their_paragraph() -> None:
    article = parse_article('He said "go.\n\nThe town is calm. "Stay," she said.')
    inside = find_quotations(article.sentences)
    assert [[article.sentences[n].text[q.start : q.end] for q in found] for n, found in enumerate(inside)] == [
        ["go."],
        [],
        ["Stay,"],
    ]


def test_odd_text_is_borne() -> None:
    for text in (
        "!!! a",
        "«»“” b ”",
        "1. ",
        "- – x",
        "said said said.",
        "says: :: x",
        "I, and, and, he and x said and.",
    ):
        article = parse_article(text)
        assert len(attribute(article)) == len(article.sentences)


def test_a_missing_parser_names_the_command() -> None:
    code = (
        "import sys; sys.modules['spacy'] = None\n"
        "from conflict_framing.analysis import attribute, parse_article\n"
        "try:\n    attribute(parse_article('It is calm.'))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(MissingExtraError.__name__)
    assert 'pip install "conflict-framing[analysis]"' in done.stdout
