from pathlib import Path

import pytest

from conflict_framing.data import Corpus, UserError, load_corpus
from conflict_framing.data.balance import count_by, draw_balance, lengths, one_sided

from ..conftest import write_jsonl


def test_parts_by_a_column_hold_every_sentence_once(tmp_path: Path) -> None:
    rows = [{"text": str(n), "label": "ab"[n % 2], "mood": [None, "grim", "glad"][n % 3]} for n in range(12)]
    corpus = load_corpus(write_jsonl(tmp_path / "c.jsonl", rows))
    parts = count_by(corpus, "mood")
    assert [(name, len(part)) for name, part in parts.items()] == [
        ("all", 12),
        ("(none given)", 4),
        ("glad", 4),
        ("grim", 4),
    ]
    assert sorted(text for name, part in parts.items() if name != "all" for text in part.texts) == sorted(corpus.texts)
    with pytest.raises(UserError, match="column 'weather'"):
        count_by(corpus, "weather")


def sentences(tmp_path: Path, *rows: tuple[str, str, int], **columns: str) -> Corpus:
    """(text, label, how many of them), each made different by a number."""
    made = [
        {"text": f"{text} {number}", "label": label, **columns}
        for text, label, count in rows
        for number in range(count)
    ]
    return load_corpus(write_jsonl(tmp_path / "c.jsonl", made))


def test_sentences_are_counted_by_the_actors_that_they_mention(tmp_path: Path) -> None:
    corpus = sentences(
        tmp_path,
        ("The Militia met the mayor", "a", 2),
        ("Unarmyish weather", "a", 1),  # no word of the list as a whole
        ("Soldiers left", "b", 3),
    )
    counted = {name: len(part) for name, part in count_by(corpus, "actor").items()}
    assert counted == {"all": 6, "armed group": 2, "army": 3, "government": 2}


def test_a_column_actor_counts_instead_of_words(tmp_path: Path) -> None:
    corpus = sentences(tmp_path, ("Soldiers left", "a", 2), ("Soldiers came", "b", 2), actor="Navy")
    assert list(count_by(corpus, "actor")) == ["all", "Navy"]


def test_an_actor_that_goes_with_one_label_is_told(tmp_path: Path) -> None:
    corpus = sentences(
        tmp_path,
        ("Gunmen came", "b", 24),
        ("The police came", "a", 15),
        ("The police went", "b", 15),
        ("Nobody came", "a", 60),
    )
    assert one_sided(corpus) == [
        "actor 'armed group' goes with one label: 100% of 24 sentences are b",
        "actor 'gunmen (armed group)' goes with one label: 100% of 24 sentences are b",
    ]


def test_a_value_no_more_one_sided_than_the_corpus_is_not_told(tmp_path: Path) -> None:
    corpus = sentences(tmp_path, ("Gunmen came", "a", 27), ("Gunmen went", "b", 3), ("So", "a", 90), ("No", "b", 10))
    assert one_sided(corpus) == []


def test_lengths_are_in_words(tmp_path: Path) -> None:
    found = lengths(sentences(tmp_path, ("one two", "a", 1), ("one two three four", "b", 1)))
    assert (found.mean, found.quantiles[2], found.longest) == (4.0, 4.0, 5)


@pytest.mark.parametrize("name", ["balance.png", "balance.svg"])
def test_picture_of_the_balance(tmp_path: Path, corpus: Corpus, name: str) -> None:
    draw_balance(corpus, tmp_path / name, ["document", "actor"])
    start = (tmp_path / name).read_bytes()[:100]
    assert start.startswith(b"\x89PNG" if name.endswith("png") else b"<?xml")
