import re
from collections import Counter
from pathlib import Path

import pytest

from conflict_framing.data import Codebook, Corpus, Sentence, UserError, load_corpus
from conflict_framing.data.behaviour import BehaviourError, BehaviourGroup, bundled_behaviour_files, load_behaviour
from conflict_framing.data.check import check_corpus

from ..conftest import write_jsonl


def invariance(**changes: object) -> dict[str, object]:
    group = {"id": "i1", "kind": "invariance", "capability": "actors", "base": "Rebels fired.", "variants": ["Troops."]}
    return group | changes


def directional(**changes: object) -> dict[str, object]:
    group = {
        "id": "d1",
        "kind": "directional",
        "capability": "no longer",
        "base": "It is calm.",
        "base_label": "stabilisation_claim",
        "changed": "It is no longer calm.",
        "expected": "escalation_report",
    }
    return group | changes


def functionality(**changes: object) -> dict[str, object]:
    case = {"text": "A patrol went out.", "label": "operational_description"}
    return {"id": "m1", "kind": "minimum_functionality", "capability": "patrols", "cases": [case]} | changes


def sentences(group: BehaviourGroup) -> list[str]:
    return list(group.sentences)


@pytest.fixture(scope="module")
def bundled() -> tuple[BehaviourGroup, ...]:
    return load_behaviour()


def test_bundled_groups_are_many_and_of_all_kinds(bundled: tuple[BehaviourGroup, ...]) -> None:
    assert len(bundled) >= 400
    assert len({group.id for group in bundled}) == len(bundled)
    by_file = {
        path.stem: {group.kind for group in load_behaviour(path, codebook=Codebook.bundled())}
        for path in bundled_behaviour_files()
    }
    kinds = ("directional", "invariance", "minimum_functionality")
    assert by_file == {kind: {kind} for kind in kinds} | {"fresh": set(kinds)}
    assert min(Counter(group.kind for group in bundled).values()) >= 50
    assert sum(group.capability == "actors" for group in bundled) >= 100


def test_datasheet_tells_their_counts(bundled: tuple[BehaviourGroup, ...]) -> None:
    datasheet = (Path(__file__).parents[2] / "data" / "DATASHEET.md").read_text("utf-8")
    distinct = {text for group in bundled for text in sentences(group)}
    assert f"{len(bundled)} groups of sentences ({len(distinct):,} in all)" in datasheet


def test_no_bundled_sentence_stands_in_the_corpus_nor_nearly(bundled: tuple[BehaviourGroup, ...]) -> None:
    corpus = load_corpus()
    # Spellings of one sentence are the same words, which the check would call duplicates.
    distinct = {" ".join(re.findall(r"\w+", text.casefold())): text for group in bundled for text in sentences(group)}
    tests = tuple(
        Sentence(text, "none", None, "behaviour", None, {}, "behaviour", place)
        for place, text in enumerate(distinct.values(), start=1)
    )
    assert len(tests) > len(bundled)
    assert check_corpus(Corpus(corpus.sentences + tests, corpus.codebook)) == []


def test_kinds_may_be_mixed_in_a_file_and_files_follow_each_other(tmp_path: Path) -> None:
    one = write_jsonl(tmp_path / "one.jsonl", [functionality(), invariance()])
    two = write_jsonl(tmp_path / "two.jsonl", [directional()])
    groups = load_behaviour(one, two)
    assert [group.id for group in groups] == ["m1", "i1", "d1"]
    assert [sentences(group) for group in groups] == [
        ["A patrol went out."],
        ["Rebels fired.", "Troops."],
        ["It is calm.", "It is no longer calm."],
    ]
    assert [group.labels for group in groups] == [
        {"operational_description"},
        set(),
        {"stabilisation_claim", "escalation_report"},
    ]


def test_labels_of_another_codebook_may_occur_beside_the_bundled(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "c.jsonl", [directional(), directional(id="d2", base_label="calm", expected="war")])
    assert len(load_behaviour(path, codebook=Codebook.from_labels(["calm", "war"]))) == 2
    with pytest.raises(BehaviourError, match=r"c.jsonl:2: unknown label 'calm'; the codebook has: stabilisation_claim"):
        load_behaviour(path)


def test_all_errors_are_told_together_with_path_and_line(tmp_path: Path) -> None:
    case = {"text": "a", "label": "none"}
    wrong: list[tuple[dict[str, object], str]] = [
        (invariance(), ""),
        (invariance(base="x"), "id 'i1' stands already at {path}:1"),
        (invariance(id="i3", variants=[]), "variants: List should have at least 1 item after validation, not 0"),
        (invariance(id="i4", variants=["Troops.", " "]), "variants.1: expected text (came ' ')"),
        (invariance(id="i5", variants=["Rebels fired."]), "variants: a variant is the same as its base"),
        (invariance(id="i6", variants=["a", "a"]), "variants: two variants are the same"),
        (invariance(id="i7", variant="a"), "variant: no such field"),
        (invariance(id="i8", kind="other"), "expected kind invariance, directional, minimum_functionality, came 'oth"),
        (directional(id="d9", changed="It is calm."), "changed: the changed sentence is the same as its base"),
        (directional(id="d10", expected="None"), "label 'None' differs from 'none' only in case or spaces; write"),
        (functionality(id="m11", cases=[case] * 5), "cases: List should have at most 4 items after validation"),
        (functionality(id="m12", cases=[{"text": "a"}]), "cases.0.label: Field required"),
        (functionality(id="m13", cases=[case, case | {"label": "weather"}]), "unknown label 'weather'; the codebook"),
        (functionality(id=" ", capability=3), "id: expected text (came ' ')"),
    ]
    path = write_jsonl(tmp_path / "c.jsonl", [group for group, _ in wrong])
    with path.open("a", encoding="utf-8") as stream:
        stream.write("{broken\n")
    with pytest.raises(BehaviourError) as caught:
        load_behaviour(path)
    expected = [f"{path}:{line}: {said}".format(path=path) for line, (_, said) in enumerate(wrong, start=1) if said]
    expected += [f"{path}:14: capability: Input should be a valid string (came 3)", f"{path}:15: not JSON"]
    assert len(caught.value.problems) == len(expected)
    for problem, start in zip(caught.value.problems, expected, strict=True):
        assert problem.startswith(start)


def test_an_id_is_refused_in_a_second_file_too(tmp_path: Path) -> None:
    one = write_jsonl(tmp_path / "one.jsonl", [invariance()])
    two = write_jsonl(tmp_path / "two.jsonl", [functionality(id="i1")])
    with pytest.raises(BehaviourError, match=rf"two.jsonl:1: id 'i1' stands already at {re.escape(str(one))}:1"):
        load_behaviour(one, two)


def test_files_that_hold_no_groups(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.jsonl: no such file"):
        load_behaviour(tmp_path / "none.jsonl")
    (tmp_path / "blank.jsonl").write_text("\n\n", "utf-8")
    with pytest.raises(UserError, match=r"blank.jsonl: no groups in it"):
        load_behaviour(tmp_path / "blank.jsonl")
    with pytest.raises(UserError, match=r"c.csv: expected test cases as JSONL"):
        load_behaviour(tmp_path / "c.csv")
