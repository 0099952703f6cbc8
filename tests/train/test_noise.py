import random

import pytest

from conflict_framing.train.noise import _KINDS, noisy_copies

TEXT = 'The ministry said "calm has returned" to the province, and the markets opened.'


def test_copies_differ_and_follow_the_seed() -> None:
    texts = [TEXT] * 200
    copies = noisy_copies(texts, 1.0, seed=1)
    assert len(copies) > 180
    assert all(text != TEXT for _, text in copies)
    assert len({text for _, text in copies}) > 50
    assert copies == noisy_copies(texts, 1.0, seed=1) != noisy_copies(texts, 1.0, seed=2)
    assert 30 < len(noisy_copies(texts, 0.25, seed=1)) < 75
    assert noisy_copies(texts, 0.0, seed=1) == []


@pytest.mark.parametrize("kind", _KINDS)
def test_each_kind_keeps_the_words_apart(kind: object) -> None:
    for seed in range(30):
        noisy = kind(TEXT, random.Random(seed))  # type: ignore[operator]
        kept = set(noisy.lower().replace("<br/>", " ").replace('"', " ").split()) & set(TEXT.lower().split())
        assert len(kept) >= 8
        assert "ok" in kind("Ok", random.Random(seed)).lower()  # type: ignore[operator]
