"""Read an article with its sentences labelled: in the terminal and as one self-contained HTML page."""

from collections import Counter
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ..data.codebook import Codebook
from ..data.errors import UserError
from ..data.sentences import Span, split_sentences
from ..model.classifier import CheckpointClassifier, Prediction


@dataclass(frozen=True)
class Reading:
    """An article with one prediction per sentence.

    Attributes:
        title: shown above the article, e.g. the file's name.
        sentences: each span with its prediction, in order.
        codebook: of the labels, in the order of the legend.
    """

    title: str
    sentences: list[tuple[Span, Prediction]]
    codebook: Codebook

    def counts(self) -> dict[str, int]:
        """Sentences per label, in the codebook's order."""
        found = Counter(prediction.label for _, prediction in self.sentences)
        return {name: found[name] for name in self.codebook.label_names}

    def paragraphs(self) -> list[list[tuple[Span, Prediction]]]:
        grouped: dict[int, list[tuple[Span, Prediction]]] = {}
        for span, prediction in self.sentences:
            grouped.setdefault(span.paragraph, []).append((span, prediction))
        return list(grouped.values())


def read_article(
    article: str, classifier: CheckpointClassifier, *, title: str = "", among: list[str] | None = None
) -> Reading:
    """Split an article into sentences and label each.

    Args:
        article: plain text.
        classifier: what labels.
        title: shown above the article.
        among: choose among these labels only.

    Raises:
        UserError: no sentence in the text, or an unknown label in ``among``.
    """
    spans = split_sentences(article)
    if not spans:
        raise UserError(f"{title or 'The article'}: no sentence in it.")
    predictions = classifier.predict([span.text for span in spans], among=among)
    names = among or classifier.classes_
    return Reading(title, list(zip(spans, predictions, strict=True)), classifier.codebook.only(names))


def to_terminal(reading: Reading) -> RenderableType:
    """The article as a rich renderable: label and probability in front of each sentence, and counts."""
    codebook = reading.codebook
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    previous = None
    for span, prediction in reading.sentences:
        if previous is not None and span.paragraph != previous:
            table.add_row()
        previous = span.paragraph
        style = _style(codebook, prediction.label)
        table.add_row(
            Text(codebook.title(prediction.label), style=style),
            Text(f"{prediction.score:.0%}", style="dim"),
            Text(span.text + (" [cut]" if prediction.truncated else ""), style=style),
        )
    legend = Text("  ").join(
        Text(f"{codebook.title(name)} {count}", style=_style(codebook, name))
        for name, count in reading.counts().items()
    )
    return Group(Text(reading.title, style="bold"), Padding(table, (1, 0)), legend)


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
            "heading": _is_heading(sentences),
            "sentences": [
                {
                    "text": span.text,
                    "place": places[prediction.label],
                    "score": prediction.score,
                    "truncated": prediction.truncated,
                    "bars": [(places[name], value) for name, value in prediction.probabilities.items()],
                }
                for span, prediction in sentences
            ],
        }
        for sentences in reading.paragraphs()
    ]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["percent"] = lambda value: f"{value:.0%}"
    source = files("conflict_framing.analysis").joinpath("templates", "reading.html.j2").read_text("utf-8")
    return environment.from_string(source).render(
        title=reading.title, labels=labels, paragraphs=paragraphs, total=len(reading.sentences)
    )


def _is_heading(sentences: list[tuple[Span, Prediction]]) -> bool:
    text = sentences[0][0].text
    return len(sentences) == 1 and len(text) <= 110 and text[-1].isalnum()
