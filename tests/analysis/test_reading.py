import io
import re

from rich.console import Console

from conflict_framing.analysis import print_reading, read_article, read_texts, to_html
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


def test_page_shades_the_words_that_moved_the_model(run: Run) -> None:
    plain = to_html(read_article(ARTICLE, run.classifier, title="t"))
    assert 'class="for"' not in plain
    assert 'id="shade"' not in plain
    done: list[tuple[int, int]] = []
    reading = read_article(
        ARTICLE, run.classifier, title="t", explained=True, on_progress=lambda *counts: done.append(counts)
    )
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert reading.explanations is not None
    assert [e.label for e in reading.explanations] == [p.label for _, p in reading.sentences]
    page = to_html(reading)
    assert 'id="shade">' in page
    assert re.search(r'<span class="for" style="--a: [01]\.\d\d">calm</span>', page)
    assert "what moved the model, not why the label is right" in page
    assert page.count('class="words"') == 4
    # Every text stands in the page whole and escaped once the marks are taken off.
    bare = re.sub(r'<span class="(?:for|against)" style="--a: [01]\.\d\d">(.*?)</span>', r"\1", page)
    assert "Trucks arrived &lt;b&gt;on&lt;/b&gt; monday." in bare
    assert "<b>on</b>" not in page
    assert not re.search(r"(?:src|href)=|url\(|@import|https?:", page)


def test_among_is_what_the_explained_labels_are_chosen_from(run: Run) -> None:
    reading = read_article(ARTICLE, run.classifier, among=["calm", "move"], explained=True)
    assert {e.label for e in reading.explanations or ()} <= {"calm", "move"}


def test_single_texts_are_no_headings_and_shaded_at_once(run: Run) -> None:
    texts = ["Quiet <i>returns</i>", "A raid began."]
    reading = read_texts(texts, [run.classifier.explain(text, "calm") for text in texts], run.classifier)
    page = to_html(reading)
    assert "<h2 dir" not in page
    assert 'id="shade" checked' in page
    assert page.count("(−) <b>calm</b>") == 2
    assert "<i>returns" not in page


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
