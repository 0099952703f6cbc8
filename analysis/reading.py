"""Read an article with its sentences labelled: in the terminal and as one self-contained HTML page."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ..data.articles import Article, is_heading, parse_article
from ..data.codebook import Codebook
from ..data.sentences import Span
from ..model.classifier import CheckpointClassifier, Prediction
from ..model.explain import Explanation
from .explanation import AGAINST, CAVEAT, FOR, completeness, pieces, shaded, strongest
from .sources import Attribution, attribute

# Fainter words are not marked in the page.
_FAINT = 0.1
_NAMED = 4
_SOURCE_WIDTH = 28


class ReadSentence(NamedTuple):
    """A sentence with what is known of it."""

    span: Span
    prediction: Prediction
    explanation: Explanation | None
    source: Attribution | None


@dataclass(frozen=True)
class Reading:
    """An article with one prediction per sentence.

    Attributes:
        title: shown above the article, e.g. the file's name.
        sentences: each span with its prediction, in order.
        codebook: of the labels, in the order of the legend.
        explanations: of the sentences, in the same order; None where they were not asked for.
        sources: who each sentence is attributed to, in the same order; None where it was not asked for.
        article: whether the sentences are an article, which may have headings; else they are single texts.
        dateline: of the article, with its byline, which are no part of its sentences; empty where there is none.
    """

    title: str
    sentences: list[tuple[Span, Prediction]]
    codebook: Codebook
    explanations: list[Explanation] | None = None
    sources: list[Attribution] | None = None
    article: bool = True
    dateline: str = ""

    def counts(self) -> dict[str, int]:
        """Sentences per label, in the codebook's order."""
        found = Counter(prediction.label for _, prediction in self.sentences)
        return {name: found[name] for name in self.codebook.label_names}

    def paragraphs(self) -> list[list["ReadSentence"]]:
        grouped: dict[int, list[ReadSentence]] = {}
        for (span, prediction), explanation, source in zip(
            self.sentences, self._explanations(), self._sources(), strict=True
        ):
            grouped.setdefault(span.paragraph, []).append(ReadSentence(span, prediction, explanation, source))
        return list(grouped.values())

    def _sources(self) -> Sequence[Attribution | None]:
        return self.sources or [None] * len(self.sentences)

    def _explanations(self) -> Sequence[Explanation | None]:
        return self.explanations or [None] * len(self.sentences)


def read_article(
    article: str | Article,
    classifier: CheckpointClassifier,
    *,
    title: str = "",
    among: list[str] | None = None,
    explained: bool = False,
    sources: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Reading:
    """Split an article into sentences and label each, without its dateline.

    Args:
        article: plain text, or an article that was read before.
        classifier: what labels.
        title: shown above the article.
        among: choose among these labels only.
        explained: also attribute each label to the words of its sentence, which takes a second a sentence.
        sources: also tell who each sentence is attributed to, which needs the extra ``analysis``.
        on_progress: called with sentences explained and sentences in all.

    Raises:
        UserError: no sentence in the text, or an unknown label in ``among``.
    """
    if isinstance(article, str):
        article = parse_article(article, document=title)
    attributions = attribute(article) if sources else None
    spans = [Span(s.text, s.start, s.end, s.paragraph) for s in article.sentences]
    predictions = classifier.predict([span.text for span in spans], among=among)
    names = among or classifier.classes_
    sentences = list(zip(spans, predictions, strict=True))
    explanations = []
    for place, (span, prediction) in enumerate(sentences if explained else [], start=1):
        explanations.append(classifier.explain(span.text, prediction.label, among=among))
        on_progress(place, len(spans))
    return Reading(
        title,
        sentences,
        classifier.codebook.only(names),
        explanations if explained else None,
        attributions,
        dateline=article.cut_off,
    )


def read_texts(texts: Sequence[str], explanations: Sequence[Explanation], classifier: CheckpointClassifier) -> Reading:
    """Texts that are explained one by one, as a reading with a paragraph each."""
    spans = [Span(text, 0, len(text), place) for place, text in enumerate(texts)]
    predictions = classifier.predict(list(texts), among=classifier.classes_)  # as they were explained
    sentences = list(zip(spans, predictions, strict=True))
    return Reading("What moved the model", sentences, classifier.codebook, list(explanations), article=False)


def to_terminal(reading: Reading) -> RenderableType:
    """The article as a rich renderable: label and probability in front of each sentence, and counts."""
    codebook = reading.codebook
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    if reading.sources is not None:
        table.add_column(max_width=_SOURCE_WIDTH, overflow="fold")
    table.add_column(ratio=1, overflow="fold")
    for number, paragraph in enumerate(reading.paragraphs()):
        if number:
            table.add_row()
        for span, prediction, explanation, source in paragraph:
            style = _style(codebook, prediction.label)
            table.add_row(
                Text(codebook.title(prediction.label), style=style),
                Text(f"{prediction.score:.0%}", style="dim"),
                *([] if source is None else [Text(source.source or "", style="italic")]),
                (shaded(explanation) if explanation else Text(span.text, style=style)).append(
                    " [cut]" * prediction.truncated
                ),
            )
    legend = Text("  ").join(
        Text(f"{codebook.title(name)} {count}", style=_style(codebook, name))
        for name, count in reading.counts().items()
    )
    dateline = [Text(reading.dateline, style="dim")] if reading.dateline else []
    return Group(Text(reading.title, style="bold"), *dateline, Padding(table, (1, 0)), legend)


def _style(codebook: Codebook, label: str) -> Style:
    return Style(dim=True) if label == "none" else Style(color=codebook.colour(label), bold=True)


def print_reading(reading: Reading, console: Console) -> None:
    console.print(to_terminal(reading), soft_wrap=False)


def to_html(reading: Reading) -> str:
    """One HTML page without any outside resource; every text in it is escaped."""
    codebook = reading.codebook
    counts = reading.counts()
    labels = [
        {
            "name": name,
            "title": codebook.title(name),
            "colour": codebook.colour(name),
            "count": count,
            "share": count / len(reading.sentences),
            "definition": next(label.definition for label in codebook.labels if label.name == name),
            "place": place,
        }
        for place, (name, count) in enumerate(counts.items())
    ]
    places = {label["name"]: label["place"] for label in labels}
    paragraphs = [
        {
            "heading": reading.article and is_heading([sentence.span for sentence in sentences]),
            "sentences": [
                {
                    "pieces": list(pieces(explanation)) if explanation else [(span.text, 0.0)],
                    "place": places[prediction.label],
                    "score": prediction.score,
                    "truncated": prediction.truncated,
                    "bars": [(places[name], value) for name, value in prediction.probabilities.items()],
                    "moved": _moved(explanation, codebook) if explanation else None,
                    "source": _source(source) if source else None,
                }
                for span, prediction, explanation, source in sentences
            ],
        }
        for sentences in reading.paragraphs()
    ]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda value: f"{value:.0%}"
    source = files("conflict_framing.analysis").joinpath("templates", "reading.html.j2").read_text("utf-8")
    return environment.from_string(source).render(
        title=reading.title,
        dateline=reading.dateline,
        labels=labels,
        paragraphs=paragraphs,
        total=len(reading.sentences),
        explained=reading.explanations is not None,
        attributed=reading.sources is not None,
        shaded=not reading.article,
        caveat=CAVEAT,
        hues={"for": FOR, "against": AGAINST},
        faint=_FAINT,
    )


def _moved(explanation: Explanation, codebook: Codebook) -> dict[str, Any]:
    return {
        "title": codebook.title(explanation.label),
        "words": [(word.text, word.attribution) for word in strongest(explanation, _NAMED)],
        "completeness": completeness(explanation),
        "complete": explanation.complete,
    }


def _source(attribution: Attribution) -> dict[str, str]:
    """Who says it, for the page; a sentence in the outlet's own voice has no name and no type."""
    return {
        "name": attribution.source or "",
        "type": (attribution.source_type or "").replace("_", " "),
        "cue": attribution.cue or "",
    }
