import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from transformers import pipeline

from conflict_framing import cli
from conflict_framing.data import UserError, load_corpus
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.layout import ModelLayout, RunLayout
from conflict_framing.model.onnx_runtime import read_graph_facts
from conflict_framing.train import export
from conflict_framing.train.fit import Run
from conflict_framing.train.pack import pack_model

from ..conftest import tiny_rows, write_jsonl

TEXTS = [str(row["text"]) for row in tiny_rows(90, seed=8)]


@pytest.fixture(scope="module")
def taught(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run as if a model somewhere on this machine had taught it."""
    folder = Path(shutil.copytree(run.layout.folder, tmp_path_factory.mktemp("taught") / "run"))
    _change(
        folder,
        {"teacher": "/somewhere/runs/large", "teacher_fingerprint": "ab" * 32}
        | {"unlabelled_sentences": 15_000, "unlabelled_sha256": "cd" * 32},
        "Speeches (CC0); releases (CC BY 4.0)",
    )
    return folder


def _change(run: Path, training: dict[str, Any], attribution: str | None) -> None:
    path = ModelLayout(RunLayout(run).model).facts
    facts = json.loads(path.read_text("utf-8"))
    facts["training"] |= training
    facts["recipe"]["distillation"]["attribution"] = attribution
    path.write_text(json.dumps(facts), "utf-8")


@pytest.fixture(scope="module")
def packed(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "ready"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as left:
        patch.setattr(export, "_LARGE", 500)  # the tiny model's table of embeddings
        cli.main(["export", "--model", str(taught), "--output", str(folder)])
    assert left.value.code == cli.EXIT_OK
    return folder


def test_weights_are_stored_in_half_and_loaded_in_single_precision(packed: Path, run: Run) -> None:
    layout = ModelLayout(packed)
    assert json.loads(layout.config.read_text("utf-8"))["dtype"] == "float32"
    with safe_open(layout.weights, "np") as stored:
        assert {stored.get_slice(name).get_dtype() for name in stored.keys()} == {"F16"}  # noqa: SIM118
    classifier = CheckpointClassifier.from_pretrained(packed, runtime="torch", device="cpu")
    assert {str(values.dtype) for values in classifier.model.parameters()} == {"torch.float32"}
    found = classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(found, run.classifier.predict_proba(TEXTS), atol=0.02)
    (best,) = pipeline("text-classification", model=str(packed))(TEXTS[0])
    assert best["score"] == pytest.approx(float(found[0].max()), abs=1e-5)


def test_the_graph_reads_its_embeddings_from_the_weights(packed: Path, tmp_path: Path) -> None:
    facts = read_graph_facts(packed)
    assert facts.weights_sha256 is not None
    assert facts.chosen.faithful
    graph = CheckpointClassifier.from_pretrained(packed, runtime="onnx")
    torch = CheckpointClassifier.from_pretrained(packed, runtime="torch", device="cpu")
    ours, theirs = graph.predict_proba(TEXTS), torch.predict_proba(TEXTS)
    assert np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1)) > 0.95
    assert graph.calibration and torch.calibration
    assert [path.name for path in graph.weights] == ["model.onnx", "model.safetensors"]
    # Kept through saving, which would write other weights for PyTorch alone.
    graph.save_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(CheckpointClassifier.from_pretrained(tmp_path / "saved").predict_proba(TEXTS), ours)
    weights = ModelLayout(tmp_path / "saved").weights
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"model\.safetensors: expected SHA-256 "):
        CheckpointClassifier.from_pretrained(tmp_path / "saved")
    weights.unlink()
    with pytest.raises(UserError, match="came no file"):
        CheckpointClassifier.from_pretrained(tmp_path / "saved")


def test_it_says_what_it_was_made_from_and_how_good_it_is(packed: Path, taught: Path) -> None:
    layout = ModelLayout(packed)
    facts, before = (
        json.loads(path.read_text("utf-8")) for path in (layout.facts, ModelLayout(taught / "model").facts)
    )
    notice, card = layout.notice.read_text("utf-8"), layout.card.read_text("utf-8")
    told = ("Speeches (CC0); releases (CC BY 4.0)", "15,000", "ab" * 32, "cd" * 32, facts["corpus_fingerprint"])
    assert [part for part in told if part not in notice] == []
    assert "Weights stored in half precision" in card
    assert "Taught by `large`" in card and "Speeches (CC0)" in card
    assert not [path.name for path in packed.iterdir() if b"/somewhere" in path.read_bytes()]
    assert facts["training"]["metrics_before_packing"] == before["metrics"]
    assert facts["metrics"]["macro_f1"] == pytest.approx(before["metrics"]["macro_f1"], abs=0.1)
    assert facts["training"]["half_precision"]["agreement"] >= export.LEAST_AGREEMENT
    assert {path.suffix for path in packed.iterdir()} <= {".json", ".md", ".onnx", ".safetensors", ".yaml", ""}


def test_with_a_first_stage(taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, source = tmp_path / "ready", write_jsonl(tmp_path / "more.jsonl", tiny_rows(420, seed=21))
    command = ["export", "--model", str(taught), "--output", str(folder)]
    command += ["--cascade", "0.1", "--unlabelled", str(source)]
    with pytest.raises(SystemExit) as left:
        cli.main(command)
    assert left.value.code == cli.EXIT_USER_ERROR  # whose text?
    assert not folder.exists()
    with pytest.raises(SystemExit) as left:
        cli.main([*command, "--attribution", "Letters (CC0)"])
    assert left.value.code == cli.EXIT_OK
    layout, classifier = ModelLayout(folder), CheckpointClassifier.from_pretrained(folder)
    cascade = classifier.cascade
    assert cascade is not None
    assert cascade.attribution == "Letters (CC0)"
    assert cascade.unlabelled == len({str(row["text"]) for row in tiny_rows(420, seed=21)})
    assert classifier.calibration
    assert classifier.facts.training["cascade"] == cascade.model_dump()
    assert classifier.facts.training["macro_f1_without_cascade"] > 0.5
    test = load_corpus(RunLayout(taught).split("test"))
    assert classifier.facts.metrics["macro_f1"] == pytest.approx(classifier.score(test.texts, test.labels))
    notice, card = layout.notice.read_text("utf-8"), layout.card.read_text("utf-8")
    assert f"first_stage.onnx): Letters (CC0); {cascade.unlabelled} sentences" in notice
    assert str(cascade.unlabelled_sha256) in notice
    assert cascade.promise.split(" (")[0].replace("10%", "10 %") in card
    assert "- Unlabelled text of the first stage: Letters (CC0)" in card
    assert "with its first stage\n" in card
    lines = card.split("## Training")[1].split("## Limits")[0].strip().splitlines()
    assert not [line for line in lines[:-2] if not line.startswith("- ")]

    # Another one for the folder that is there: weights and graph stay.
    before = {path: path.read_bytes() for path in (layout.weights, layout.graph, layout.graph_facts)}
    again = ["export", "--model", str(folder), "--cascade", "0.2", "--unlabelled", str(source), "--parts", str(taught)]
    with pytest.raises(SystemExit) as left:
        cli.main(again)
    assert left.value.code == cli.EXIT_USER_ERROR
    with pytest.raises(SystemExit) as left:
        cli.main([*again, "--attribution", "Diaries (CC0)"])
    assert left.value.code == cli.EXIT_OK
    assert before == {path: path.read_bytes() for path in before}
    with pytest.raises(UserError, match="was packed from a run: its README and NOTICE"):
        export.export_folder(folder, overwrite=True)
    assert "Diaries (CC0)" in layout.notice.read_text("utf-8")
    card = layout.card.read_text("utf-8")
    assert "at most 20 % of sentences" in card
    assert "Letters" not in card


def test_what_cannot_be_packed(
    taught: Path, packed: Path, graphs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="replace it with --overwrite"):
        pack_model(taught, packed)
    with pytest.raises(UserError, match="expected a run of 'train' with its splits/"):
        pack_model(packed, tmp_path / "out")
    uncredited = Path(shutil.copytree(taught, tmp_path / "uncredited"))
    _change(uncredited, {}, None)
    with pytest.raises(UserError, match="its recipe credits nobody for"):
        pack_model(uncredited, tmp_path / "out")
    monkeypatch.setattr(export, "make_candidates", lambda classifier, folder: {"fp32": graphs["fp32"]})
    with pytest.raises(UserError, match=r"more than --max-mb 0\.01"):
        pack_model(taught, tmp_path / "out", most_mb=0.01, say=lambda line: None)
    assert sorted(path.name for path in tmp_path.glob("out*")) == []
