"""The HTML report: what stands in it, for whom, and that no text can break it."""

import math
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from conflict_framing.data import Codebook, Corpus, Sentence
from conflict_framing.data.codebook import LabelDefinition
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.abstain import Abstention
from conflict_framing.model.folder import ModelFacts
from conflict_framing.train import pictures
from conflict_framing.train.calibration import with_temperature
from conflict_framing.train.evaluation import Evaluation, Part, Scored, evaluate_run
from conflict_framing.train.fit import Run
from conflict_framing.train.report import to_html, write_evaluation
from conflict_framing.train.selective import Kept, RiskCoverage, Selective

ALL_SECTIONS = [
    "headline",
    "baselines",
    "labels",
    "probabilities",
    "abstaining",
    "learning",
    "slices",
    "behaviour",
    "errors",
    "corpus",
    "recipe",
    "reading",
]
HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(2)> ' & שלום \u202e🔥 {{ 7 * 7 }} $\\frac{$"
LABELS = ("calm", "attack", "move")


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        self.text += " " if tag in ("td", "th") else ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def sections(self) -> list[str | None]:
        return [attributes["id"] for attributes in self.of("h2")]


def evaluation_of(codebook: Codebook, n: int = 300, text: str = "sentence", data: str = "my test", **more: Any) -> Any:
    """An evaluation of chance predictions that lean to the right label; no more is known than of a foreign model."""
    chance = np.random.default_rng(3)
    names = codebook.label_names
    references = np.arange(n) % len(names)
    sentences = tuple(
        Sentence(f"{text} {place}", names[label], f"{text} {place // 5}", None, None, {}, "f", place)
        for place, label in enumerate(references.tolist())
    )
    corpus = Corpus(sentences, codebook)
    logits = chance.normal(size=(n, len(names))) * 2 + 3 * np.eye(len(names))[references]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    rows = [
        {
            "text": sentence.text,
            "input_label": sentence.label,
            "document": sentence.document,
            "label": names[int(row.argmax())],
            "score": float(row.max()),
        }
        for sentence, row in zip(corpus.sentences, probabilities, strict=True)
    ]
    known: dict[str, Any] = {
        "data": data,
        "n": n,
        "measured": Part.of(corpus),
        "codebook": codebook,
        "facts": ModelFacts(max_length=64, backbone="organisation/model"),
        "model": Scored.of("model", probabilities, corpus),
        "uncalibrated": None,
        "baselines": [],
        "notes": [],
        "rows": rows,
    }
    if more.pop("whole", False):
        known |= {
            "facts": facts(text),
            "uncalibrated": Scored.of("model, uncalibrated", with_temperature(probabilities, 0.5), corpus),
            "baselines": [Scored.of("majority", np.full_like(probabilities, 1 / len(names)), corpus)],
            "notes": [text],
            "parts": {"train": Part.of(corpus), "test": Part.of(corpus.select(range(30)))},
            "history": history(),
        }
    return Evaluation(**(known | more))


def facts(text: str) -> ModelFacts:
    return ModelFacts(
        max_length=64,
        backbone=text,
        corpus_fingerprint="ab" * 32,
        corpus_counts={"train": 1000, "calibration": 120},
        recipe={"name": text, "seed": 13, "training": {"epochs": 2, "learning_rate": 2e-4, "swaps": None}},
        training={"device": "cpu", "seconds": 12.5, "torch": "2.13.0", "temperature": 1.3, "teacher": text},
    )


def history() -> list[dict[str, Any]]:
    losses = [{"step": 10 * k, "seconds": k, "epoch": k / 4, "loss": 1 / k} for k in range(1, 9)]
    scores = [{"step": 40 * k, "seconds": 5 * k, "epoch": k, "eval_macro_f1": 0.6 + k / 10} for k in (1, 2)]
    return [*losses, *scores, {"step": 80, "seconds": 12, "train_loss": 0.4, "epoch": 2}]


def whole(codebook: Codebook, text: str = "sentence", data: str = "my test") -> Any:
    """An evaluation with everything that a report can tell of."""
    evaluation = evaluation_of(codebook, text=text, data=data, whole=True)
    label = codebook.label_names[0]

    def figures(name: str, few: bool) -> SimpleNamespace:
        bounds = {"macro_f1": [0.5, 0.7], "accuracy": [0.6, 0.8]}
        return SimpleNamespace(name=name, n=40, documents=8, few=few, macro_f1=0.6, accuracy=0.7, intervals=bounds)

    def tally(capability: str | None) -> SimpleNamespace:
        return SimpleNamespace(
            kind="invariance", capability=capability, groups=40, passed=30, rate=0.75, interval=(0.6, 0.9), target=0.95
        )

    failure = {"id": "1", "kind": "invariance", "capability": text, "text": text, "expected": label, "label": label}
    optional = {
        "selective": Selective(
            RiskCoverage([0.25, 0.5, 1.0], [0.0, 0.1, 0.2], aurc=0.11, eaurc=0.03),
            {"aurc": [0.08, 0.15], "eaurc": [0.01, 0.05]},
            [
                Kept(Abstention(math.inf, 0.05, reason=text), 0.0, [0.0, 0.0], None, None),
                Kept(Abstention(0.9, 0.1), 0.63, [0.5, 0.7], 0.04, [0.01, 0.08]),
            ],
        ),
        "slices": [SimpleNamespace(by=text, note=text, slices=[figures(text, False), figures("few", True)])],
        "behaviour": SimpleNamespace(
            kinds=[tally(None)], capabilities=lambda kind: [tally(text)], notes=[text],
            rows=lambda: iter([{**failure, "score": 0.9}] * 120),
        ),
    }  # fmt: skip
    for name, value in optional.items():
        object.__setattr__(evaluation, name, value)
    return evaluation


@pytest.fixture(scope="module")
def codebook() -> Codebook:
    return Codebook.from_labels(LABELS)


@pytest.fixture(scope="module")
def full(codebook: Codebook) -> str:
    return to_html(whole(codebook))


def outermost_svgs(html: str) -> list[str]:
    found, depth, start = [], 0, 0
    for mark in re.finditer(r"<svg\b|</svg>", html):
        if mark.group() == "<svg":
            start = start if depth else mark.start()
            depth += 1
        else:
            depth -= 1
            if not depth:
                found.append(html[start : mark.end()])
    return found


def test_a_full_evaluation_has_every_section_in_order(full: str) -> None:
    page = Page(full)
    assert page.sections == ALL_SECTIONS
    assert [a["href"] for a in page.of("a")] == [f"#{name}" for name in ALL_SECTIONS]
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_sections_without_data_are_absent(codebook: Codebook) -> None:
    page = Page(to_html(evaluation_of(codebook)))
    assert page.sections == ["headline", "labels", "probabilities", "errors", "corpus", "reading"]
    for word in ("AURC", "Behaviour tests", "Baselines", "None", "Undefined"):
        assert word not in page.text
    assert "Whether these probabilities were calibrated is not known" in page.text


def test_the_headline_is_what_was_measured(codebook: Codebook) -> None:
    evaluation = whole(codebook)
    metrics = evaluation.model.metrics
    low, high = metrics["intervals"]["macro_f1"]
    (lead,) = re.findall(r'<p class="lead">(.*?)</p>', to_html(evaluation))
    assert lead.startswith("On 300 sentences from 60 documents")
    assert f"macro-F1 of {metrics['macro_f1']:.3f} (95 % interval {low:.3f} to {high:.3f})" in lead
    assert f"gives {100 * metrics['accuracy']:.1f} % of the sentences" in lead
    assert "the best baseline, majority, reaches" in lead


def test_figures_are_those_of_the_evaluation(codebook: Codebook) -> None:
    evaluation = whole(codebook)
    text = " ".join(Page(to_html(evaluation)).text.split())
    metrics = evaluation.model.metrics
    for place, name in enumerate(LABELS):
        low, high = metrics["intervals"]["recall"][place]
        assert f"{name} {metrics['precision'][place]:.3f}" in text
        assert f"{metrics['recall'][place]:.3f} {low:.3f}–{high:.3f}" in text
    for scored in (evaluation.model, evaluation.uncalibrated):
        low, high = scored.metrics["intervals"]["ece"]
        assert f"{scored.metrics['ece']:.3f} {low:.3f}–{high:.3f}" in text
    assert "one temperature, 1.30, because the model was too sure" in text
    assert "120 sentences of their own" in text
    assert "0.05 everything 0.000 0.000–0.000 – – 0.10 0.9000 0.630 0.500–0.700 0.040 0.010–0.080" in text
    assert "The 100 sentences that failed first, of 120" in text
    assert "training.learning_rate 0.0002" in text
    assert "training.swaps null" in text


def test_it_needs_nothing_from_outside(full: str) -> None:
    page = Page(full)
    policy = next(a["content"] for a in page.of("meta") if "http-equiv" in a)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert page.of("script", "link", "iframe", "object", "embed", "img", "base", "form") == []
    for _, attributes in page.elements:
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;base64"))
    assert re.findall(r"url\((?!#)|@import|https?:(?!//www\.w3\.org/)", full) == []


def test_no_text_becomes_markup() -> None:
    labels = (LabelDefinition(name=f"{HOSTILE}a", title=HOSTILE, definition=HOSTILE), LabelDefinition(name="b"))
    evaluation = whole(Codebook(name=HOSTILE, question=HOSTILE, labels=labels), text=HOSTILE, data=HOSTILE)
    page = Page(to_html(evaluation))
    assert page.of("script", "img") == []
    assert page.sections == ALL_SECTIONS
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    assert page.text.count(HOSTILE) > 40
    assert "49" not in re.findall(r"\b49\b", page.text)


def test_text_that_runs_from_right_to_left_keeps_its_own_direction(full: str) -> None:
    page = Page(full)
    sentences = [attributes for attributes in page.of("td") if attributes.get("class") == "text"]
    assert sentences
    assert all(attributes["dir"] == "auto" for attributes in sentences)


def test_pictures_are_valid_xml_with_ids_of_their_own(full: str) -> None:
    pictured = outermost_svgs(full)
    assert sum("xmlns=" in svg for svg in pictured) == 5  # two of reliability, abstaining, loss, validation
    for svg in pictured:
        ElementTree.fromstring(svg)
    assert all(a.get("aria-label") or a.get("aria-hidden") or "overflow" in a for a in Page(full).of("svg"))
    ids = Counter(attributes["id"] for _, attributes in Page(full).elements if attributes.get("id"))
    assert ids.most_common(1)[0][1] == 1
    used = re.findall(r'(?:url\(|href=")#([^)"]+)', full)
    assert used
    assert set(used) <= set(ids)


def test_tables_tell_what_their_headings_head(full: str) -> None:
    page = Page(full)
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.of("th"))
    assert len(page.of("caption")) == len(page.of("table"))


def test_on_paper_nothing_is_folded_or_torn(full: str) -> None:
    printed = full[full.index("@media print") :]
    assert "size: A4" in full
    assert "details::details-content { content-visibility: visible" in printed
    assert "break-inside: avoid" in printed
    assert "prefers-color-scheme: dark" in full


def test_the_same_evaluation_gives_the_same_bytes(codebook: Codebook, full: str) -> None:
    assert to_html(whole(codebook)) == full


def test_fifty_labels_with_long_names(tmp_path: Path) -> None:
    names = [f"label_{place:02}_{'of_a_kind_that_needs_many_words_' * 3}" for place in range(50)]
    evaluation = evaluation_of(Codebook.from_labels(names), n=600)
    path = write_evaluation(evaluation, tmp_path / "evaluation")
    html = path.read_text("utf-8")
    assert len(html) < 1_000_000
    counts = evaluation.model.metrics["confusion_matrix"]
    (picture,) = [svg for svg in outermost_svgs(html) if "Confusion matrix of 50 labels" in svg]
    ElementTree.fromstring(picture)
    most = max(count for row, line in enumerate(counts) for column, count in enumerate(line) if row != column)
    (first,) = re.findall(
        r"The most frequent confusions</caption>.*?<tr>.*?<td class=\"n\">(\d+)</td>", html, re.DOTALL
    )
    assert int(first) == most
    assert (tmp_path / "evaluation" / "confusion_matrix.png").stat().st_size < 1_000_000


def test_a_resumed_run_is_drawn_once() -> None:
    again = [*history(), {"step": 80, "seconds": 20, "epoch": 2, "loss": 0.1}]
    assert pictures._series(again, "loss")[-1] == (2, 0.1)
    assert pictures.learning_curves(again[:-1]) == pictures.learning_curves(history())
    assert pictures.learning_curves([{"step": 1}]) == []
    (contrastive,) = pictures.learning_curves([{"step": 10, "contrastive_loss": 2.0}])
    assert ">step</text>" in contrastive


def test_training_writes_it_and_a_model_without_its_run_gets_one(
    run: Run, corpus: Corpus, backbone: Path, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    written = Page((run.layout.evaluation / "report.html").read_text("utf-8"))
    for section in ("baselines", "learning", "corpus", "recipe"):
        assert section in written.sections

    labels = dict(enumerate(corpus.label_names))
    model = AutoModelForSequenceClassification.from_pretrained(backbone, num_labels=3, id2label=labels)
    model.save_pretrained(tmp_path / "foreign")
    AutoTokenizer.from_pretrained(backbone).save_pretrained(tmp_path / "foreign")
    foreign = CheckpointClassifier.from_pretrained(tmp_path / "foreign")
    some = corpus.select(range(30))
    path = write_evaluation(evaluate_run(None, some, foreign, name="some"), tmp_path / "evaluation")
    page = Page(path.read_text("utf-8"))
    assert path.name == "report.html"
    assert page.sections[:3] == ["headline", "labels", "probabilities"]
    assert not {"baselines", "learning", "recipe"} & set(page.sections)
    assert "No baselines: the training split of this model is not at hand" in page.text
