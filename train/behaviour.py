"""Behaviour tests: does a classifier do what the codebook asks in cases made to show it?

After CheckList (Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models", ACL).
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.behaviour import BehaviourGroup, DirectionalGroup, InvarianceGroup, Kind, load_behaviour
from ..data.codebook import Codebook
from ..data.errors import MissingExtraError
from ..data.tables import write_jsonl
from ..model.classifier import CheckpointClassifier, Prediction
from .uncertainty import LEVEL

try:
    from scipy.stats import binomtest
except ImportError:
    raise MissingExtraError("scipy", "train", "Running behaviour tests") from None

# The pass rates to reach: of invariance to other actors, and else of the three kinds. They only mark what
# is reached; nothing is chosen or refused by them.
TARGETS = {"actors": 0.99, "invariance": 0.95, "directional": 0.80, "minimum_functionality": 0.80}

RESULT_FILE = "behaviour.json"
FAILURES_FILE = "behaviour.jsonl"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the classifier said of one sentence.

    Attributes:
        text: the sentence.
        expected: the label that it should get.
        label, score: what it got, and with which probability.
    """

    text: str
    expected: str
    label: str
    score: float

    @property
    def right(self) -> bool:
        return self.label == self.expected

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "expected": self.expected, "label": self.label, "score": round(self.score, 6)}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One group and how it went.

    Attributes:
        id, kind, capability: of the group.
        base: the sentence that the others are compared with; it does not decide (an invariance group's is
            right by definition). None in minimum functionality groups.
        answers: to the sentences that decide.
    """

    id: str
    kind: Kind
    capability: str
    base: Answer | None
    answers: tuple[Answer, ...]

    @property
    def passed(self) -> bool:
        return all(answer.right for answer in self.answers)

    @property
    def failing(self) -> list[Answer]:
        return [answer for answer in self.answers if not answer.right]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many groups of one kind, or of one capability of it, passed.

    Attributes:
        kind: of the groups.
        capability: of the groups; None for all of the kind.
        groups, passed: how many.
        bases_right: directional groups whose base got its label too; None for the other kinds.
    """

    kind: Kind
    capability: str | None
    groups: int
    passed: int
    bases_right: int | None

    @classmethod
    def of(cls, kind: Kind, capability: str | None, outcomes: Sequence[Outcome]) -> "Tally":
        bases = [outcome.base for outcome in outcomes if outcome.base is not None]
        return cls(
            kind=kind,
            capability=capability,
            groups=len(outcomes),
            passed=sum(outcome.passed for outcome in outcomes),
            bases_right=sum(base.right for base in bases) if kind == "directional" else None,
        )

    @property
    def rate(self) -> float:
        return self.passed / self.groups

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95 % interval of the rate (Clopper & Pearson 1934), groups taken as independent."""
        found = binomtest(self.passed, self.groups).proportion_ci(confidence_level=LEVEL, method="exact")
        return float(found.low), float(found.high)

    @property
    def target(self) -> float:
        own = TARGETS.get(self.capability or "") if self.kind == "invariance" else None
        return TARGETS[self.kind] if own is None else own

    @property
    def reached(self) -> bool:
        return self.rate >= self.target

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "capability": self.capability,
            "groups": self.groups,
            "passed": self.passed,
            "rate": self.rate,
            "interval": list(self.interval),
            "target": self.target,
            "reached": self.reached,
            **({} if self.bases_right is None else {"bases_right": self.bases_right}),
        }


@dataclass(frozen=True)
class BehaviourResult:
    """How a classifier did in the groups.

    Attributes:
        outcomes: of every group that was run, in the order given.
        left_out: ids of groups with labels that the classifier does not have.
        unknown_labels: those labels.
    """

    outcomes: tuple[Outcome, ...]
    left_out: tuple[str, ...]
    unknown_labels: tuple[str, ...]

    @property
    def kinds(self) -> list[Tally]:
        """One tally per kind, in order of first appearance."""
        found: dict[Kind, list[Outcome]] = defaultdict(list)
        for outcome in self.outcomes:
            found[outcome.kind].append(outcome)
        return [Tally.of(kind, None, outcomes) for kind, outcomes in found.items()]

    def capabilities(self, kind: Kind) -> list[Tally]:
        """One tally per capability of a kind, in order of first appearance."""
        found: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in self.outcomes:
            if outcome.kind == kind:
                found[outcome.capability].append(outcome)
        return [Tally.of(kind, capability, outcomes) for capability, outcomes in found.items()]

    @property
    def failures(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.passed]

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures should know."""
        if not self.left_out:
            return []
        labels = ", ".join(self.unknown_labels)
        return [f"{len(self.left_out):,} group(s) left out: the model does not have the label(s) {labels}."]

    def rows(self) -> Iterator[dict[str, Any]]:
        """A row for each failing sentence: its group, what was expected, what came, and the base's label."""
        for outcome in self.failures:
            group = {"id": outcome.id, "kind": outcome.kind, "capability": outcome.capability}
            base = {} if outcome.base is None else {"base": outcome.base.text, "base_label": outcome.base.label}
            for answer in outcome.failing:
                yield group | answer.to_json() | base

    def to_json(self) -> dict[str, Any]:
        return {
            "kinds": [tally.to_json() for tally in self.kinds],
            "capabilities": [tally.to_json() for kind in self.kinds for tally in self.capabilities(kind.kind)],
            "left_out": list(self.left_out),
            "notes": self.notes,
            "failures": [
                {
                    "id": outcome.id,
                    "kind": outcome.kind,
                    "capability": outcome.capability,
                    "base": outcome.base.to_json() if outcome.base else None,
                    "failing": [answer.to_json() for answer in outcome.failing],
                }
                for outcome in self.failures
            ],
        }


def groups_for(codebook: Codebook) -> tuple[BehaviourGroup, ...]:
    """The bundled tests, where the labels are those that they are about; else none."""
    return load_behaviour() if codebook.has_bundled_labels else ()


def run_behaviour(classifier: CheckpointClassifier, groups: Sequence[BehaviourGroup]) -> BehaviourResult:
    """Predict the sentences of test groups, each distinct one once, and compare with what is expected.

    Args:
        classifier: what is measured; groups with labels that it does not have are left out.
        groups: as ``load_behaviour`` reads them.
    """
    labels = set(classifier.classes_)
    run = [group for group in groups if group.labels <= labels]
    sentences = list(dict.fromkeys(sentence for group in run for sentence in group.sentences))
    predictions = dict(zip(sentences, classifier.predict(sentences), strict=True))
    return BehaviourResult(
        outcomes=tuple(_outcome(group, predictions) for group in run),
        left_out=tuple(group.id for group in groups if not group.labels <= labels),
        unknown_labels=tuple(sorted({label for group in groups for label in group.labels - labels})),
    )


def _outcome(group: BehaviourGroup, predictions: dict[str, Prediction]) -> Outcome:
    def answer(text: str, expected: str) -> Answer:
        return Answer(text, expected, predictions[text].label, predictions[text].score)

    base: Answer | None
    if isinstance(group, InvarianceGroup):
        same = predictions[group.base].label
        base, answers = answer(group.base, same), [answer(text, same) for text in group.variants]
    elif isinstance(group, DirectionalGroup):
        base, answers = answer(group.base, group.base_label), [answer(group.changed, group.expected)]
    else:
        base, answers = None, [answer(case.text, case.label) for case in group.cases]
    return Outcome(group.id, group.kind, group.capability, base, tuple(answers))


def write_behaviour(result: BehaviourResult, folder: Path) -> None:
    """Write ``behaviour.json`` (figures, failing groups) and ``behaviour.jsonl`` (a row for each failing sentence)."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result.to_json(), indent=2, ensure_ascii=False)
    (folder / RESULT_FILE).write_text(text + "\n", "utf-8")
    write_jsonl(folder / FAILURES_FILE, list(result.rows()))
