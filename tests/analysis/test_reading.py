import io

from rich.console import Console

from conflict_framing.analysis import print_reading, read_article, to_html
from conflict_framing.train.fit import Run

ARTICLE = "Quiet returns\n\nThe town was calm. A raid began near the river.\n\nTrucks arrived <b>on</b> monday."


def test_every_sentence_is_read_once_in_order(run: Run) -> None:
    reading = read_article(ARTICLE, run.classifier, title="t")
    assert [span.text for span, _ in reading.sentences] == [
        "Quiet returns",
        "The town was calm.",
        "A raid began near the river.",
        "Trucks arrived <b>on</b> monday.",
    ]
    assert sum(reading.counts().values()) == 4
    assert [len(paragraph) for paragraph in reading.paragraphs()] == [1, 2, 1]


def test_page_has_legend_counts_probabilities_and_escaped_text(run: Run) -> None:
    reading = read_article(ARTICLE, run.classifier, title='<img src=x onerror="1">')
    page = to_html(reading)
    assert "<img" not in page
    assert "<b>on</b>" not in page
    assert "&lt;b&gt;on&lt;/b&gt;" in page
    assert '<h2 dir="auto">' in page
    for name, count in reading.counts().items():
        assert f"</span>{name} <b>{count}</b>" in page
    assert page.count('role="tooltip"') == 4
    assert f"{reading.sentences[0][1].score:.0%}" in page
    assert "src=" not in page.replace("&lt;img src=", "")


def test_among_leaves_the_other_labels_out(run: Run) -> None:
    reading = read_article(ARTICLE, run.classifier, among=["calm", "move"])
    assert list(reading.counts()) == ["calm", "move"]
    assert ">attack" not in to_html(reading)


def test_terminal_shows_label_probability_and_sentence(run: Run) -> None:
    buffer = io.StringIO()
    reading = read_article(ARTICLE, run.classifier, title="[brackets] stay")
    print_reading(reading, Console(file=buffer, width=100))
    shown = buffer.getvalue()
    assert "[brackets] stay" in shown
    for span, prediction in reading.sentences:
        assert f"{prediction.score:.0%}" in shown
        assert span.text in shown
