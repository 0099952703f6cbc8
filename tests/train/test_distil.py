import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conflict_framing.data import Codebook, Corpus, UserError
from conflict_framing.model import CheckpointClassifier
from conflict_framing.train import Recipe, train_run
from conflict_framing.train import distil as distil_module
from conflict_framing.train.distil import NO_LABEL, Teacher, load_teacher, taught_labels, teaching_loss
from conflict_framing.train.fit import Run
from conflict_framing.train.precision import has_bf16

from ..conftest import tiny_rows, write_jsonl


def silent(line: str) -> None:
    pass


def hard(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


def with_settings(recipe: Recipe, **changes: object) -> Recipe:
    return recipe.model_copy(update={"distillation": recipe.distillation.model_copy(update=changes)})


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distil_module, "cache_folder", lambda: tmp_path / "cache")


@pytest.fixture
def unlabelled(tmp_path: Path) -> Path:
    rows = [{"statement": row["text"]} for row in tiny_rows(150, seed=9)]
    return write_jsonl(tmp_path / "unlabelled.jsonl", [*rows, rows[0], {"statement": None}])


@pytest.fixture
def teacher(run: Run, corpus: Corpus, recipe: Recipe, unlabelled: Path) -> Teacher:
    return load_teacher(run.layout.folder, [unlabelled], corpus, recipe, text_column="statement", device="cpu")


def test_loss_is_that_of_hinton(recipe: Recipe) -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]])
    taught = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    labels = torch.tensor(taught_labels([0, NO_LABEL], taught))
    loss = teaching_loss(with_settings(recipe, temperature=2.0, gold_weight=0.25), hard)
    softened = np.sqrt(taught) / np.sqrt(taught).sum(axis=1, keepdims=True)  # temperature 2
    student = torch.log_softmax(logits / 2, dim=-1).numpy()
    soft = -(softened * student).sum(axis=1) * 4
    told = float(hard(logits[:1], torch.tensor([0])))
    expected = (0.25 * told + 0.75 * soft[0] + soft[1]) / 2
    assert float(loss(SimpleNamespace(logits=logits), labels)) == pytest.approx(expected, rel=1e-5)
    plain = loss(SimpleNamespace(logits=logits), torch.tensor([0, 2]))
    assert float(plain) == pytest.approx(float(hard(logits, torch.tensor([0, 2])).mean()))


def test_unlabelled_texts_are_read_once_each_and_drawn_by_the_seed(
    run: Run, corpus: Corpus, recipe: Recipe, unlabelled: Path, teacher: Teacher
) -> None:
    assert len(teacher.texts) == len(set(teacher.texts))
    assert not set(teacher.texts) & set(corpus.texts)
    few = load_teacher(
        run.layout.folder, [unlabelled], corpus, with_settings(recipe, max_sentences=20), text_column="statement"
    )
    assert len(few.texts) == 20
    assert set(few.texts) < set(teacher.texts)


def test_soft_labels_are_kept_between_calls(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    first = teacher.label(teacher.texts, "Teacher")
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16("cpu")):
        assert first == pytest.approx(teacher.classifier.predict_proba(teacher.texts), abs=1e-6)

    def fail(self: object, texts: object) -> None:
        raise AssertionError("labelled again")

    monkeypatch.setattr(CheckpointClassifier, "predict_proba", fail)
    assert (teacher.label(teacher.texts, "Teacher") == first).all()
    with pytest.raises(AssertionError, match="labelled again"):
        teacher.label(teacher.texts[:-1], "Teacher")


def test_a_student_learns_from_unlabelled_text(
    corpus: Corpus, recipe: Recipe, teacher: Teacher, tmp_path: Path
) -> None:
    """Sixty gold labels alone do not teach it what its teacher knows; the teacher does."""
    few = corpus.select(range(60))
    longer = recipe.training.model_copy(update={"epochs": 12, "patience": 12})
    settings = with_settings(recipe, gold_weight=0.0).model_copy(update={"baselines": False, "training": longer})
    run = train_run(few, settings, tmp_path / "student", teacher=teacher, device="cpu", say=silent)
    alone = train_run(few, settings, tmp_path / "alone", device="cpu", say=silent)
    probe = [str(row["text"]) for row in tiny_rows(90, seed=77)]
    expected = [prediction.label for prediction in teacher.classifier.predict(probe)]

    def agreement(other: Run) -> float:
        return sum(p.label == q for p, q in zip(other.classifier.predict(probe), expected, strict=True)) / 90

    assert agreement(run) > 0.8
    assert agreement(run) > agreement(alone) + 0.1
    facts = run.classifier.facts.training
    assert facts["unlabelled_sentences"] == len(teacher.texts)
    assert facts["teacher_fingerprint"] == teacher.fingerprint


def test_teacher_with_other_labels_is_refused(run: Run, recipe: Recipe, corpus: Corpus) -> None:
    other = Corpus(corpus.sentences, Codebook.from_labels(["x", "y"]))
    with pytest.raises(UserError, match="the same labels in the same order"):
        load_teacher(run.layout.folder, [], other, recipe, device="cpu")


def test_a_teacher_of_another_split_is_told(run: Run, recipe: Recipe, corpus: Corpus) -> None:
    said: list[str] = []
    load_teacher(run.layout.folder, [], corpus, recipe, device="cpu", say=said.append)
    assert said == []
    load_teacher(run.layout.folder, [], corpus.select(range(90)), recipe, device="cpu", say=said.append)
    other_seed = recipe.model_copy(update={"seed": recipe.seed + 1})
    load_teacher(run.layout.folder, [], corpus, other_seed, device="cpu", say=said.append)
    assert ["may have seen the test sentences" in line for line in said] == [True, True]


def test_resuming_with_another_teacher_is_refused(
    corpus: Corpus, recipe: Recipe, teacher: Teacher, tmp_path: Path
) -> None:
    folder = tmp_path / "run.partial"
    folder.mkdir()
    begun = {"corpus": corpus.fingerprint, "recipe": recipe.model_dump(mode="json"), "device": "cpu"}
    begun["precision"] = "bf16" if has_bf16("cpu") else "fp32"
    state = {**begun, **teacher.state, "teacher": "x"}
    (folder / "state.json").write_text(json.dumps(state), "utf-8")
    with pytest.raises(UserError, match="another teacher"):
        train_run(corpus, recipe, tmp_path / "run", teacher=teacher, resume=True, device="cpu", say=silent)
    # Checkpoints of another device may hold other layers.
    (folder / "state.json").write_text(json.dumps({**begun, **teacher.state, "device": "cuda"}), "utf-8")
    with pytest.raises(UserError, match="--device cuda"):
        train_run(corpus, recipe, tmp_path / "run", teacher=teacher, resume=True, device="cpu", say=silent)
