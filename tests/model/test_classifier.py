import hashlib
import json
import random
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conflict_framing.data import UserError
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model import backbone as backbone_module
from conflict_framing.model.backbone import WHEEL_BACKBONES, Backbone, WheelBackbone, hub_failure, resolve_backbone
from conflict_framing.model.classifier import WINDOW, renormalise
from conflict_framing.model.folder import read_facts
from conflict_framing.model.layout import FORMAT_VERSION, ModelLayout
from conflict_framing.train.fit import Run

from ..conftest import tiny_rows

TEXTS = [str(row["text"]) for row in tiny_rows(70, seed=5)]


@pytest.fixture(scope="module")
def classifier(run: Run) -> CheckpointClassifier:
    return CheckpointClassifier.from_pretrained(run.layout.folder, device="cpu")


def test_transformers_pipeline_gives_the_same_labels_and_probabilities(
    run: Run, classifier: CheckpointClassifier
) -> None:
    from transformers import pipeline

    theirs = pipeline("text-classification", model=str(run.layout.model), top_k=None, device="cpu")(TEXTS)
    for ours, rows in zip(classifier.predict(TEXTS), theirs, strict=True):
        assert ours.label == rows[0]["label"]
        assert ours.probabilities == pytest.approx({row["label"]: row["score"] for row in rows}, abs=1e-5)


def test_no_result_depends_on_its_batch(classifier: CheckpointClassifier) -> None:
    together = classifier.predict_proba(TEXTS)
    alone = np.concatenate([classifier.predict_proba([text]) for text in TEXTS])
    order = list(range(len(TEXTS)))
    random.Random(1).shuffle(order)
    shuffled = classifier.predict_proba([TEXTS[place] for place in order])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together[order], shuffled, atol=1e-5)


def test_shapes_types_and_sums(classifier: CheckpointClassifier) -> None:
    assert classifier.classes_ == ["attack", "calm", "move"]
    probabilities = classifier.predict_proba(TEXTS)
    assert probabilities.shape == (len(TEXTS), 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    one = classifier.predict(TEXTS[0])
    assert one.label == classifier.classes_[int(probabilities[0].argmax())]
    assert one.score == max(one.probabilities.values())
    assert classifier.predict([]) == []
    assert classifier.predict_proba([]).shape == (0, 3)


def test_the_tiny_model_has_learnt_its_words(classifier: CheckpointClassifier) -> None:
    rows = tiny_rows(60, seed=9)
    assert classifier.score([str(r["text"]) for r in rows], [str(r["label"]) for r in rows]) > 0.6


def test_among_renormalises_over_some_labels(classifier: CheckpointClassifier) -> None:
    full = classifier.predict(TEXTS)
    some = classifier.predict(TEXTS, among=["move", "calm"])
    for one, other in zip(full, some, strict=True):
        assert list(other.probabilities) == ["calm", "move"]
        total = one.probabilities["calm"] + one.probabilities["move"]
        assert other.probabilities["calm"] == pytest.approx(one.probabilities["calm"] / total, rel=1e-4)
        assert other.label == max(other.probabilities, key=other.probabilities.__getitem__)
    with pytest.raises(UserError, match=r"at least two of the model.s labels \(attack, calm, move\).*: peace\."):
        classifier.predict(TEXTS, among=["calm", "peace"])


def test_renormalising_survives_underflow() -> None:
    np.testing.assert_allclose(renormalise(np.array([[0, 0], [0.1, 0.3]], np.float32)), [[0.5, 0.5], [0.25, 0.75]])


def test_long_sentences_are_cut_and_marked(classifier: CheckpointClassifier) -> None:
    long = "calm " * 200
    predictions = classifier.predict(["calm .", long])
    assert [p.truncated for p in predictions] == [False, True]


def test_stream_takes_one_window_at_a_time(classifier: CheckpointClassifier) -> None:
    taken = 0

    def source() -> object:
        nonlocal taken
        for number in range(WINDOW * 2 + 5):
            taken += 1
            yield TEXTS[number % len(TEXTS)]

    stream = classifier.stream(source())  # type: ignore[arg-type]
    next(stream)
    assert taken == WINDOW
    assert 1 + sum(1 for _ in stream) == WINDOW * 2 + 5


@pytest.mark.parametrize(("wrong", "name"), [(5, "int"), (None, "NoneType"), (b"calm", "bytes")])
def test_what_is_no_text_and_no_texts_is_refused(classifier: CheckpointClassifier, wrong: object, name: str) -> None:
    with pytest.raises(TypeError, match=f"expected a sentence or an iterable of sentences, came {name}"):
        classifier.predict(wrong)  # type: ignore[call-overload]


def test_wrong_types_are_refused(classifier: CheckpointClassifier) -> None:
    with pytest.raises(TypeError, match="sentence 1: expected str, came int"):
        classifier.predict(["a", 3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="came one string"):
        classifier.predict_proba("one string")


def test_blank_sentences_are_refused_with_their_place(classifier: CheckpointClassifier) -> None:
    with pytest.raises(UserError, match=r"sentence 0 \(the first is 0\): expected text, came ''"):
        classifier.predict("")
    later = ["calm"] * WINDOW + [" \n"]
    with pytest.raises(UserError, match=rf"sentence {WINDOW} .*expected text, came ' \\n'"):
        classifier.predict_proba(later)
    with pytest.raises(UserError, match="sentence 0"):
        classifier.explain(" ")
    assert classifier.predict([]) == []


def test_saved_folder_loads_again_with_facts_and_codebook(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path / "again")
    again = CheckpointClassifier.from_pretrained(tmp_path / "again")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert again.facts == classifier.facts
    assert again.codebook == classifier.codebook
    assert not [p for p in (tmp_path / "again").iterdir() if p.suffix in (".bin", ".pt", ".pkl", ".joblib")]


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.layout.model, tmp_path / "model"))


def test_plain_hugging_face_folder_works_without_side_cars(folder: Path) -> None:
    ModelLayout(folder).facts.unlink()
    ModelLayout(folder).codebook.unlink()
    plain = CheckpointClassifier.from_pretrained(folder)
    assert plain.classes_ == ["attack", "calm", "move"]
    assert plain.facts.max_length == 48


def test_later_format_is_refused(folder: Path) -> None:
    facts = json.loads(ModelLayout(folder).facts.read_text("utf-8"))
    ModelLayout(folder).facts.write_text(json.dumps({**facts, "format_version": FORMAT_VERSION + 1}), "utf-8")
    with pytest.raises(UserError, match="pip install --upgrade conflict-framing"):
        CheckpointClassifier.from_pretrained(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    ModelLayout(folder).weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled, and those are not loaded"):
        CheckpointClassifier.from_pretrained(folder)


def test_incomplete_and_damaged_folders_are_refused(folder: Path) -> None:
    weights = ModelLayout(folder).weights.read_bytes()
    assert ModelLayout(folder).weights.stat().st_mode == ModelLayout(folder).config.stat().st_mode
    ModelLayout(folder).weights.write_bytes(weights[:5000])
    with pytest.raises(UserError, match="cannot be loaded"):
        CheckpointClassifier.from_pretrained(folder)
    ModelLayout(folder).weights.write_bytes(weights)
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(UserError, match="no tokenizer in"):
        CheckpointClassifier.from_pretrained(folder)


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="not a model: neither"):
        CheckpointClassifier.from_pretrained(tmp_path / "empty")
    with pytest.raises(UserError, match="no such folder"):
        CheckpointClassifier.from_pretrained(tmp_path / "nothing")
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(UserError, match="expected a folder"):
        CheckpointClassifier.from_pretrained(tmp_path / "file")
    with pytest.raises(UserError) as told:
        CheckpointClassifier.from_pretrained(tmp_path / "none")
    assert str(told.value).startswith(f"{tmp_path / 'none'}: no such folder") and "--model" not in str(told.value)


def test_device_that_is_not_there(run: Run) -> None:
    with pytest.raises(UserError, match="--device toaster: not usable"):
        CheckpointClassifier.from_pretrained(run.layout.folder, device="toaster")


def test_facts_of_a_trained_model(run: Run) -> None:
    facts = read_facts(run.layout.model)
    assert facts is not None
    assert facts.format_version == FORMAT_VERSION
    assert facts.corpus_counts["train"] > facts.corpus_counts["test"] > 0
    assert set(facts.metrics) == {"macro_f1", "accuracy", "mcc", "ece"}


def test_wheel_backbone_is_checked_by_its_sha256(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_backbone("all-MiniLM-L6-v2").local
    monkeypatch.setattr(backbone_module, "file_sha256", lambda path: "0" * 64)
    with pytest.raises(UserError, match=f"expected {WHEEL_BACKBONES['all-MiniLM-L6-v2'].sha256}"):
        resolve_backbone("all-MiniLM-L6-v2")


def test_backbone_in_parts_is_joined_unpacked_safely_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("parts/config.json", "{}")
        writer.writestr("parts/model.safetensors", "weights")
        writer.writestr("parts/run.py", "print('not wanted')")
        writer.writestr("../escaped.txt", "outside")
        writer.writestr("parts/deep/config.json", "not wanted")
    whole = archive.read_bytes()
    (tmp_path / "x.001").write_bytes(whole[:100])
    (tmp_path / "x.002").write_bytes(whole[100:])
    wheel = WheelBackbone(
        extra="accurate",
        distributions=("a==1", "b==1"),
        members=("x.001", "x.002"),
        sha256=hashlib.sha256(b"weights").hexdigest(),
        hub_name="organisation/parts",
        licence="Apache-2.0",
    )
    monkeypatch.setitem(backbone_module.WHEEL_BACKBONES, "parts", wheel)
    monkeypatch.setattr(backbone_module, "cache_folder", lambda: tmp_path / "cache")
    assert resolve_backbone("parts") == Backbone("organisation/parts", "organisation/parts", local=False)

    here = SimpleNamespace(locate_file=lambda member: tmp_path / member)
    monkeypatch.setattr(backbone_module.metadata, "distribution", lambda name: here)
    found = resolve_backbone("parts")
    assert found == Backbone(str(tmp_path / "cache" / "parts"), "organisation/parts", local=True)
    assert sorted(path.name for path in Path(found.source).iterdir()) == ["config.json", "model.safetensors"]
    assert not list(tmp_path.rglob("escaped.txt"))
    assert resolve_backbone("parts") == found  # from the cache
    (tmp_path / "cache" / "parts" / "model.safetensors").unlink()
    (tmp_path / "x.002").write_bytes(b"damaged")
    with pytest.raises(UserError, match="are damaged"):
        resolve_backbone("parts")
    (tmp_path / "x.002").write_bytes(whole[100:])
    assert resolve_backbone("parts") == found


def test_a_hub_that_cannot_be_reached_names_the_wheels() -> None:
    message = str(hub_failure("sentence-transformers/all-mpnet-base-v2", OSError("no route")))
    assert 'pip install "conflict-framing[accurate]"' in message


def test_backbones_by_folder_and_hub_name(backbone: Path, tmp_path: Path) -> None:
    assert resolve_backbone(str(backbone)).source == str(backbone)
    assert not resolve_backbone("organisation/model").local
    with pytest.raises(UserError, match="no such folder"):
        resolve_backbone("./nowhere")
    with pytest.raises(UserError, match=r"no config\.json"):
        resolve_backbone(str(tmp_path))
    (tmp_path / "config.json").write_text("{}", "utf-8")
    with pytest.raises(UserError, match=r"no \.safetensors weights"):
        resolve_backbone(str(tmp_path))
