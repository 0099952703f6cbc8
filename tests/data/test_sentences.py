import pytest
from hypothesis import given
from hypothesis import strategies as st

from conflict_framing.data import split_sentences
from conflict_framing.data.sentences import is_byline, split_words


def texts(article: str) -> list[str]:
    return [span.text for span in split_sentences(article)]


@pytest.mark.parametrize(
    "sentences",
    [
        ["GOMA, Feb. 3 (Reuters) - Rebels took the town, Gen. J. K. Mbeki said.", "The U.N. mission withdrew."],
        ["The convoy left at 5 p.m. Monday.", "It had not arrived by 9 p.m. on Tuesday."],
        ["He waited...", "Nobody came."],
        ["Nothing moved …", "Then the guns began."],
        ["“The situation is stable. It is under control,” the minister said.", "He left."],
        ['"We are safe," he said.', '"For now."'],
        ["Sgt. Roy met Maj. Gen. Sow in Ft. Lamy.", "Dr. Ali of St. Paul left."],
        ["The law, Art. 5 para. 3, is clear.", "No. 7 battalion moved approx. 3.5 km."],
        ["He left the U.S. Army in 1994.", "The U.N. Security Council met."],
        ["What?!", "Yes."],
    ],
)
def test_hard_boundaries(sentences: list[str]) -> None:
    assert texts(" ".join(sentences)) == sentences


def test_wrapped_lines_are_joined_and_headlines_stand_alone() -> None:
    article = (
        "KELMAR, 3 May – The ministry said that the whole of the valley\n"
        "was calm, and that the army, which had sent reinforcements,\n"
        "would stay.\n"
        "Residents disagree\n"
        "Shells fell on Monday night near the mill, people reached by\n"
        "telephone said.\n"
    )
    assert texts(article) == [
        "KELMAR, 3 May – The ministry said that the whole of the valley was calm, and that the army, "
        "which had sent reinforcements, would stay.",
        "Residents disagree",
        "Shells fell on Monday night near the mill, people reached by telephone said.",
    ]


def test_list_items_and_blank_lines_part_sentences() -> None:
    assert texts("SUMMARY\n\n- first thing\n- second thing\n12:40 Siren in the north\n") == [
        "SUMMARY",
        "- first thing",
        "- second thing",
        "12:40 Siren in the north",
    ]


def test_offsets_count_characters_not_bytes() -> None:
    article = "  Évacuation – “L’été” 😀 est fini.\n\nThen it rained. "
    spans = split_sentences(article)
    assert [article[span.start : span.end] for span in spans] == [
        "Évacuation – “L’été” 😀 est fini.",
        "Then it rained.",
    ]
    assert [span.paragraph for span in spans] == [0, 1]


@given(st.text(alphabet=st.sampled_from('aB .!?…\n\t"“”–-,1é😀'), max_size=200))
def test_spans_cover_all_text_in_order_without_overlap(article: str) -> None:
    spans = split_sentences(article)
    at = 0
    for span in spans:
        assert article[at : span.start].strip() == ""
        assert span.start < span.end
        assert span.text == " ".join(article[span.start : span.end].split())
        at = span.end
    assert article[at:].strip() == ""


def test_words_are_told_from_punctuation_in_any_script() -> None:
    text = "The U.N. said 4,200 men's cease-fire, “held”... हमले में 国防 قال،"
    words = [text[start:end] for start, end in split_words(text)]
    assert words == [
        "The", "U.N", ".", "said", "4,200", "men's", "cease-fire", ",", "“", "held", "”...",
        "हमले", "में", "国", "防", "قال", "،",
    ]  # fmt: skip


@given(st.text(max_size=80))
def test_words_cover_all_but_white_space(text: str) -> None:
    bounds = split_words(text)
    assert bounds == sorted(bounds)
    assert "".join(text[start:end] for start, end in bounds) == "".join(text.split())


def test_quotations_numbers_and_titles_do_not_hide_or_make_ends() -> None:
    def texts(article: str) -> list[str]:
        return [span.text for span in split_sentences(article)]

    assert texts('"I stay," she said. "It is quiet." The guard had gone.') == [
        '"I stay," she said.',
        '"It is quiet."',
        "The guard had gone.",
    ]
    assert texts("17. The mission left. 18 men stayed.\n\nII. Security") == [
        "17. The mission left.",
        "18 men stayed.",
        "II. Security",
    ]
    assert texts("Briefing members, Ms. Rautio warned of war.") == ["Briefing members, Ms. Rautio warned of war."]


@pytest.mark.parametrize(
    "line",
    [
        "By Anna Rossi",
        "BY ANNA ROSSI",
        "By: Anna Rossi",
        "By A. B. Rossi",
        "By Anna Rossi, Ben Okri and Carla de la Cruz",
        "By Hafiz al-Asadi in Kabul and Ben Okri in Herat",
        "By our correspondent",
        "By a Special Correspondent in Kabul",
        "By Anna Rossi, our correspondent in Kabul",
        "By Jean-Paul O'Neill for Valley News | Nov. 12, 2024",
        "By Anna Rossi (Valley News) - 2024-11-12.",
    ],
)
def test_bylines(line: str) -> None:
    assert is_byline(line)


@pytest.mark.parametrize(
    "line",
    [
        "By",
        "Anna Rossi",
        "By Kabul",
        "By Monday Morning",
        "By 12 November 2024",
        "By nightfall the town was calm.",
        "By Monday the army had left.",
        "By John Smith was wounded",
        "By Anna Rossi's account, the town was calm.",
        "By the end of the day",
        "By " + "Anna Rossi, " * 12 + "Ben Okri",
    ],
)
def test_what_is_no_byline(line: str) -> None:
    assert not is_byline(line)


def test_a_byline_is_a_line_of_its_own() -> None:
    spans = split_sentences("Shelling stops in the valley, schools reopen\nBy Anna Rossi\nThe army left on Monday.")
    assert [span.paragraph for span in spans] == [0, 1, 2]
