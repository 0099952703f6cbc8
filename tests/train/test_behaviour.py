import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from conflict_framing.data import Corpus
from conflict_framing.data.behaviour import (
    BehaviourGroup,
    Case,
    DirectionalGroup,
    InvarianceGroup,
    MinimumFunctionalityGroup,
    load_behaviour,
)
from conflict_framing.model import Prediction
from conflict_framing.train.behaviour import TARGETS, BehaviourResult, Tally, run_behaviour, write_behaviour
from conflict_framing.train.fit import Run

from ..conftest import write_jsonl


class Stub:
    """Labels a sentence by its first word, and remembers what it was asked."""

    def __init__(self, *labels: str) -> None:
        self.classes_ = list(labels)
        self.asked: list[list[str]] = []

    def predict(self, sentences: Iterable[str]) -> list[Prediction]:
        self.asked.append(list(sentences))
        return [Prediction(text.split()[0], 0.75, {}) for text in self.asked[-1]]


def run(groups: list[BehaviourGroup], *labels: str) -> BehaviourResult:
    stub: Any = Stub(*(labels or ("calm", "war", "move")))
    return run_behaviour(stub, groups)


def invariance(name: str, base: str, *variants: str, capability: str = "actors") -> InvarianceGroup:
    return InvarianceGroup(id=name, kind="invariance", capability=capability, base=base, variants=list(variants))


def directional(name: str, base: str, base_label: str, changed: str, expected: str) -> DirectionalGroup:
    return DirectionalGroup(
        id=name,
        kind="directional",
        capability="no longer",
        base=base,
        base_label=base_label,
        changed=changed,
        expected=expected,
    )


def functionality(name: str, *cases: tuple[str, str]) -> MinimumFunctionalityGroup:
    found = [Case(text=text, label=label) for text, label in cases]
    return MinimumFunctionalityGroup(id=name, kind="minimum_functionality", capability="rule", cases=found)


def test_invariance_compares_with_the_bases_own_prediction() -> None:
    result = run([invariance("a", "calm a", "calm b", "calm c"), invariance("b", "calm d", "war e", "calm f")])
    assert [outcome.passed for outcome in result.outcomes] == [True, False]
    (failure,) = result.failures
    assert [(answer.text, answer.expected, answer.label) for answer in failure.failing] == [("war e", "calm", "war")]
    assert failure.base is not None
    assert (failure.base.text, failure.base.label) == ("calm d", "calm")


def test_directional_is_decided_by_the_changed_sentence_alone() -> None:
    result = run(
        [
            directional("a", "calm a", "calm", "war b", "war"),
            directional("b", "move c", "calm", "war d", "war"),
            directional("c", "calm e", "calm", "calm f", "war"),
        ]
    )
    assert [outcome.passed for outcome in result.outcomes] == [True, True, False]
    (tally,) = result.kinds
    assert (tally.passed, tally.groups, tally.bases_right) == (2, 3, 2)
    assert [outcome.base.right for outcome in result.outcomes if outcome.base] == [True, False, True]


def test_minimum_functionality_needs_every_case() -> None:
    result = run([functionality("a", ("war a", "war"), ("calm b", "calm")), functionality("b", ("war c", "war")),
                  functionality("c", ("war d", "war"), ("calm e", "move"), ("calm f", "war"))])  # fmt: skip
    assert [outcome.passed for outcome in result.outcomes] == [True, True, False]
    assert [answer.text for answer in result.failures[0].failing] == ["calm e", "calm f"]
    assert result.kinds[0].bases_right is None


def test_each_distinct_sentence_is_predicted_once_in_one_call() -> None:
    stub: Any = Stub("calm", "war")
    groups = [invariance("a", "calm a", "calm b"), directional("b", "calm b", "calm", "war c", "war")]
    run_behaviour(stub, [*groups, functionality("c", ("war c", "war"), ("calm a", "calm"))])
    assert stub.asked == [["calm a", "calm b", "war c"]]


def test_groups_with_labels_that_the_model_does_not_have_are_left_out_and_told() -> None:
    groups = [
        invariance("a", "calm a", "calm b"),
        directional("b", "calm c", "calm", "none d", "none"),
        functionality("c", ("war e", "war"), ("peace f", "peace")),
    ]
    result = run(groups, "calm", "war")
    assert [outcome.id for outcome in result.outcomes] == ["a"]
    assert result.left_out == ("b", "c")
    assert result.notes == ["2 group(s) left out: the model does not have the label(s) none, peace."]
    assert run([groups[0]]).notes == []
    assert run([groups[1]], "calm", "war").kinds == []


@pytest.mark.parametrize(
    ("passed", "groups", "low", "high"),
    [(9, 10, 0.5550, 0.9975), (10, 10, 0.6915, 1.0), (0, 5, 0.0, 0.5218), (50, 100, 0.3983, 0.6017)],
)
def test_interval_is_that_of_clopper_and_pearson(passed: int, groups: int, low: float, high: float) -> None:
    # Reference values: binom.test(passed, groups) of R.
    assert Tally("directional", None, groups, passed, None).interval == pytest.approx((low, high), abs=5e-5)


def test_targets_mark_what_is_reached() -> None:
    assert TARGETS == {"actors": 0.99, "invariance": 0.95, "directional": 0.80, "minimum_functionality": 0.80}
    assert [
        (tally.target, tally.reached)
        for tally in (
            Tally("invariance", "actors", 100, 98, None),
            Tally("invariance", "actors", 100, 99, None),
            Tally("invariance", "typos", 100, 95, None),
            Tally("invariance", None, 100, 94, None),
            Tally("directional", "actors", 10, 8, 8),
            Tally("minimum_functionality", "a rule", 10, 7, None),
        )
    ] == [(0.99, False), (0.99, True), (0.95, True), (0.95, False), (0.80, True), (0.80, False)]


def test_tallies_are_by_kind_and_by_capability() -> None:
    result = run(
        [
            invariance("a", "calm a", "calm b"),
            invariance("b", "calm c", "war d", capability="typos"),
            directional("c", "calm e", "calm", "war f", "war"),
            invariance("d", "calm g", "war h"),
        ]
    )
    assert [(t.kind, t.capability, t.groups, t.passed) for t in result.kinds] == [
        ("invariance", None, 3, 1),
        ("directional", None, 1, 1),
    ]
    assert [(t.capability, t.groups, t.passed) for t in result.capabilities("invariance")] == [
        ("actors", 2, 1),
        ("typos", 1, 0),
    ]


def test_what_is_written_tells_figures_and_failing_sentences(tmp_path: Path) -> None:
    result = run(
        [
            invariance("a", "calm a", "war b", "calm c", "move d"),
            functionality("b", ("war e", "calm")),
            directional("c", "calm e", "calm", "war f", "war"),
            functionality("z", ("war g", "none")),
        ]
    )
    write_behaviour(result, tmp_path / "new" / "folder")
    told = json.loads((tmp_path / "new" / "folder" / "behaviour.json").read_text("utf-8"))
    assert told == result.to_json()
    assert told["left_out"] == ["z"]
    assert [(row["kind"], row["rate"], row["reached"]) for row in told["kinds"]] == [
        ("invariance", 0.0, False),
        ("minimum_functionality", 0.0, False),
        ("directional", 1.0, True),
    ]
    assert told["kinds"][2]["interval"] == pytest.approx([0.025, 1.0])
    assert told["kinds"][2]["bases_right"] == 1
    assert [failure["id"] for failure in told["failures"]] == ["a", "b"]
    rows = [
        json.loads(line) for line in (tmp_path / "new" / "folder" / "behaviour.jsonl").read_text("utf-8").splitlines()
    ]
    assert [(row["id"], row["text"], row["expected"], row["label"], row["score"]) for row in rows] == [
        ("a", "war b", "calm", "war", 0.75),
        ("a", "move d", "calm", "move", 0.75),
        ("b", "war e", "calm", "war", 0.75),
    ]
    assert rows[0]["base"] == "calm a"
    assert "base" not in rows[2]


def test_the_tiny_model_is_measured_end_to_end(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    told = run.classifier.predict(corpus.texts)
    right: dict[str, list[str]] = {label: [] for label in corpus.label_names}
    for sentence, prediction in zip(corpus.sentences, told, strict=True):
        if sentence.label == prediction.label:
            right[sentence.label].append(sentence.text)
    calm, attack, move = (right[label] for label in ("calm", "attack", "move"))
    groups = [
        {"id": "a", "kind": "invariance", "capability": "words", "base": calm[0], "variants": calm[1:3]},
        {"id": "b", "kind": "invariance", "capability": "words", "base": calm[3], "variants": [calm[4], move[0]]},
        {"id": "c", "kind": "directional", "capability": "words", "base": move[1], "base_label": "calm",
         "changed": attack[0], "expected": "attack"},
        {"id": "d", "kind": "minimum_functionality", "capability": "words",
         "cases": [{"text": move[2], "label": "move"}, {"text": attack[1], "label": "calm"}]},
        {"id": "e", "kind": "minimum_functionality", "capability": "words", "cases": [{"text": "x", "label": "none"}]},
    ]  # fmt: skip
    path = write_jsonl(tmp_path / "own.jsonl", groups)
    result = run_behaviour(run.classifier, load_behaviour(path, codebook=run.classifier.codebook))
    assert [(outcome.id, outcome.passed) for outcome in result.outcomes] == [
        ("a", True), ("b", False), ("c", True), ("d", False)
    ]  # fmt: skip
    assert [(row["id"], row["text"], row["expected"], row["label"]) for row in result.rows()] == [
        ("b", move[0], "calm", "move"),
        ("d", attack[1], "calm", "attack"),
    ]
    scores = {sentence.text: prediction.score for sentence, prediction in zip(corpus.sentences, told, strict=True)}
    assert [row["score"] for row in result.rows()] == pytest.approx([scores[move[0]], scores[attack[1]]], abs=1e-5)
    assert result.left_out == ("e",)
