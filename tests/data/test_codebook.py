from pathlib import Path

import pytest

from conflict_framing.data import Codebook, UserError


def test_bundled_codebook_has_the_four_labels_in_order() -> None:
    codebook = Codebook.bundled()
    assert codebook.label_names == ["stabilisation_claim", "escalation_report", "operational_description", "none"]
    assert all(label.definition and label.examples for label in codebook.labels)
    assert len({codebook.colour(name) for name in codebook.label_names}) == 4


def test_round_trip_through_yaml(tmp_path: Path) -> None:
    path = tmp_path / "codebook.yaml"
    path.write_text(Codebook.bundled().to_yaml(), "utf-8")
    assert Codebook.load(path) == Codebook.bundled()


def test_only_keeps_the_order() -> None:
    assert Codebook.bundled().only(["none", "escalation_report"]).label_names == ["escalation_report", "none"]


def test_all_errors_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "codebook.yaml"
    path.write_text("name: mine\ncolour: red\nlabels:\n- {name: a, colour: blue}\n- {nam: b}\n", "utf-8")
    with pytest.raises(UserError) as caught:
        Codebook.load(path)
    message = str(caught.value)
    assert "colour: no such setting" in message
    assert "labels.0.colour" in message
    assert "labels.1.name" in message


def test_labels_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(UserError, match="nothing but case or spaces"):
        Codebook.parse("name: x\nlabels: [{name: calm}, {name: 'Calm '}]", "x.yaml")


def test_one_label_is_too_few() -> None:
    with pytest.raises(UserError, match="at least two labels"):
        Codebook.from_labels(["only"])


def test_titles_and_colours_have_fallbacks() -> None:
    codebook = Codebook.from_labels(["some_label", "none"])
    assert codebook.title("some_label") == "some label"
    assert codebook.colour("some_label").startswith("#")
    assert codebook.colour("some_label") != codebook.colour("none")
