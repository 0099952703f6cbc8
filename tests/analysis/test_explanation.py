import io

import pytest
from rich.console import Console

from conflict_framing.analysis import print_explanation
from conflict_framing.analysis.explanation import completeness, pieces, shaded, strengths, strongest
from conflict_framing.data import Codebook
from conflict_framing.model.explain import Explanation, Word

CODEBOOK = Codebook.from_labels(["calm", "attack"])


def explanation(*attributions: float, gap: float = 0.0, truncated: bool = False) -> Explanation:
    text = " ".join(f"[w{number}]" for number in range(len(attributions))) + " rest"
    words = tuple(Word(f"[w{n}]", 5 * n, 5 * n + 4, value) for n, value in enumerate(attributions))
    return Explanation(text, "calm", 0.9, words, 0.25, sum(attributions) + 0.25, gap, 50, truncated)


def shown(found: Explanation, **options: object) -> str:
    buffer = io.StringIO()
    print_explanation(found, CODEBOOK, Console(file=buffer, width=100, **options))  # type: ignore[arg-type]
    return buffer.getvalue()


def test_pieces_are_the_whole_text() -> None:
    found = explanation(2.0, -1.0, 0.5)
    assert "".join(piece for piece, _ in pieces(found)) == found.text
    assert [strength for piece, strength in pieces(found) if piece.startswith("[")] == [1.0, -0.5, 0.25]
    assert shaded(found).plain == found.text


def test_where_nothing_moved_the_model_nothing_looks_strong() -> None:
    assert strengths(explanation(0.02, -0.01)) == [0.02, -0.01]
    assert strengths(explanation()) == []


def test_terminal_shows_sentence_strongest_words_and_caveat() -> None:
    text = shown(explanation(2.0, -3.0, *[0.1] * 10))
    assert "[w0] [w1] [w2]" in text
    rows = [
        line.split() for line in text.splitlines() if line.startswith("[w") and ("for" in line or "against" in line)
    ]
    assert [row[:2] for row in rows[:3]] == [["[w1]", "-3.00"], ["[w0]", "+2.00"], ["[w2]", "+0.10"]]
    assert [row[2] for row in rows[:2]] == ["against", "for"]
    assert len(rows[0][3]) > len(rows[1][3]) > len(rows[2][3]) == 1
    assert len(rows) == 8
    assert "calm  90%" in text
    assert "special tokens have +0.25" in text
    assert "not why the label is right" in text
    assert "WARNING" not in text
    assert "[cut]" not in text
    assert "[cut]" in shown(explanation(1.0, truncated=True))


def test_colours_say_side_and_size() -> None:
    text = shaded(explanation(2.0, -2.0, 0.0))
    first, second, none = (text.get_style_at_offset(Console(), 5 * n) for n in range(3))
    assert (first.bold, first.underline, second.underline, none.bold) == (True, False, True, False)
    assert first.color is not None
    assert second.color is not None
    assert none.color is not None
    assert len({first.color.name, second.color.name, none.color.name}) == 3


def test_a_wide_gap_is_told() -> None:
    found = explanation(2.0, -1.0, gap=0.3)
    assert not found.complete
    assert "miss 0.300 of it (24.0%, 50 steps)" in completeness(found)
    assert "WARNING: that is more than 5%" in completeness(found)
    assert "WARNING" not in completeness(explanation(2.0, gap=0.05))


def test_strongest_words_are_of_either_sign() -> None:
    assert [word.attribution for word in strongest(explanation(1.0, -4.0, 2.0), 2)] == [-4.0, 2.0]


@pytest.mark.parametrize("width", [45, 200])
def test_any_width_of_the_terminal_will_do(width: int) -> None:
    buffer = io.StringIO()
    print_explanation(explanation(2.0, -1.0), CODEBOOK, Console(file=buffer, width=width))
    assert "-1.00" in buffer.getvalue()
