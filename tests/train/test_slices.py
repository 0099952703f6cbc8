from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conflict_framing.data import Corpus, load_corpus
from conflict_framing.train.slices import SliceTable, is_negated, is_reported, slice_metrics

from ..conftest import write_jsonl


def corpus_of(folder: Path, rows: list[dict[str, Any]]) -> Corpus:
    return load_corpus(write_jsonl(folder / "c.jsonl", rows))


def right(corpus: Corpus, wrong: set[int] = frozenset()) -> Any:  # type: ignore[assignment]
    """Probabilities that give every sentence its label, but for these places."""
    n_labels = len(corpus.label_names)
    places = [(label + (place in wrong)) % n_labels for place, label in enumerate(corpus.label_ids)]
    return np.eye(n_labels)[places]


def by_name(tables: list[SliceTable]) -> dict[str, dict[str, Any]]:
    return {table.by: {part.name: part for part in table.slices} for table in tables}


def test_figures_are_those_of_the_parts(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "text": f"Sentence {n}",
            "label": "ab"[n % 2],
            "document": f"d{n // 2}",
            "register": ["wire", "speech"][n >= 40],
        }
        for n in range(50)
    ]
    corpus = corpus_of(tmp_path, rows)
    tables = slice_metrics(corpus, right(corpus, wrong={0, 2, 4, 6, 41}))
    assert [table.by for table in tables] == ["register"]  # lengths and words do not differ; no theatre, no outlet
    parts = by_name(tables)["register"]
    wire, speech = parts["wire"], parts["speech"]
    assert (wire.n, wire.documents, wire.accuracy) == (40, 20, pytest.approx(0.9))
    # Of a, 16 of 20 found and none else; of b, all 20 found and 4 else.
    assert wire.macro_f1 == pytest.approx((2 * 16 / 36 + 2 * 20 / 44) / 2)
    low, high = wire.intervals["accuracy"]
    assert low < 0.9 < high
    assert (speech.n, speech.documents, speech.accuracy) == (10, 5, pytest.approx(0.9))
    told = tables[0].to_json()["slices"]
    assert [part["value"] for part in told] == ["wire", "speech"]
    assert told[0]["intervals"] == {"macro_f1": wire.intervals["macro_f1"], "accuracy": [low, high]}
    assert told[1]["intervals"] is None  # five documents


def test_small_values_are_pooled_and_missing_ones_stand_last(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": f"Word {n}", "label": "ab"[n % 2], "outlet": f"o{n % 17}"} for n in range(171)
    ]
    rows += [{"text": f"Void {n}", "label": "ab"[n % 2], "outlet": ""} for n in range(7)]
    corpus = corpus_of(tmp_path, rows)
    parts = by_name(slice_metrics(corpus, right(corpus)))["outlet"]
    assert list(parts) == ["o0", *sorted(f"o{n}" for n in range(1, 17))[:14], "other (2 values)", "(none given)"]
    assert parts["o0"].n == 11
    assert parts["other (2 values)"].n == 20
    assert parts["(none given)"].n == 7
    assert sum(part.n for part in parts.values()) == len(corpus)


def test_lengths_are_cut_at_their_quartiles(tmp_path: Path) -> None:
    rows = [{"text": f"{'word ' * (n // 10)}{n}", "label": "ab"[n % 2]} for n in range(80)]  # 1 to 8 words, 10 of each
    corpus = corpus_of(tmp_path, rows)
    parts = by_name(slice_metrics(corpus, right(corpus)))["length"]
    assert {name: part.n for name, part in parts.items()} == {
        "1 to 2 words": 20,
        "3 to 4 words": 20,
        "5 to 6 words": 20,
        "7 to 8 words": 20,
    }
    same = [{"text": f"{'one ' * (n > 70)}{n}", "label": "ab"[n % 2]} for n in range(80)]  # edges coincide
    corpus = corpus_of(tmp_path, same)
    parts = by_name(slice_metrics(corpus, right(corpus)))["length"]
    assert {name: part.n for name, part in parts.items()} == {"1 word": 71, "2 words": 9}


@pytest.mark.parametrize(
    "text",
    [
        "The ministry said the road was open.",
        "According to the governor, calm has returned.",
        "The army stressed on Monday that it holds the town.",
        "The road was cleared overnight, the General Staff announced.",
        "“We are going home at last,” and she closed the door.",
        'The ministry confirmed the "neutralisation" of nine men.',
        "The unit reportedly crossed the river.",
    ],
)
def test_reported_speech_is_found(text: str) -> None:
    assert is_reported(text)


@pytest.mark.parametrize(
    "text",
    [
        "Shells fell on the market at noon.",
        'The ferry "Marmara" reached the port.',
        "The school year goes according to plan.",
        "The state that emerged was weak.",
        "He lives near Saidnaya.",
    ],
)
def test_plain_statements_are_not_taken_for_reported_speech(text: str) -> None:
    assert not is_reported(text)


@pytest.mark.parametrize(
    "text",
    [
        "The road is no longer safe.",
        "The army did not shell the town.",
        "They don't patrol at night.",
        "We can’t go home.",
        "Neither side fired.",
        "The situation is far from calm.",
        "The ministry denied the attack.",
        "The convoy passed without incident.",
        "NEVER AGAIN",
    ],
)
def test_negation_is_found(text: str) -> None:
    assert is_negated(text)


@pytest.mark.parametrize(
    "text", ["The note was read.", "Battery No. 5 fired.", "Not only the road was hit.", "A knot of men stood there."]
)
def test_other_words_are_not_taken_for_negation(text: str) -> None:
    assert not is_negated(text)
