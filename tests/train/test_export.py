import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    MPNetConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from conflict_framing import cli
from conflict_framing.data import Corpus, UserError, load_corpus
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.layout import ModelLayout, RunLayout
from conflict_framing.model.onnx_runtime import read_graph_facts
from conflict_framing.train import export, train_run
from conflict_framing.train.fit import Run
from conflict_framing.train.mean_layer import append_mean_layer
from conflict_framing.train.recipe import Recipe

from ..conftest import tiny_rows

_SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 48,
    "initializer_range": 0.2,
    "num_labels": 3,
}
_DISTIL: dict[str, Any] = {
    "vocab_size": 60, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 48,
    "initializer_range": 0.2, "num_labels": 3,
}  # fmt: skip
CONFIGS = {
    "bert with a layer of means": BertConfig(**_SIZES),
    "mpnet": MPNetConfig(**_SIZES),
    "distilbert": DistilBertConfig(**_DISTIL),
    "roberta": RobertaConfig(**_SIZES, pad_token_id=1),
    "xlm-roberta": XLMRobertaConfig(**_SIZES, pad_token_id=1),
    "of unknown layers": AlbertConfig(**_SIZES, embedding_size=16),
}


@pytest.mark.parametrize("architecture", CONFIGS)
def test_graphs_of_many_architectures_agree_with_pytorch(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(CONFIGS[architecture]).eval()
    if "means" in architecture:
        assert append_mean_layer(model)
    export.export_model(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [value.name for value in session.get_inputs()]
    assert names == (["input_ids"] if "unknown" in architecture else ["input_ids", "positions"])
    for shape in ((1, 2), (1, 30), (5, 11)):
        ids = torch.randint(5, 60, shape)
        with torch.no_grad():
            expected = model(input_ids=ids, output_hidden_states=True)
        feed = {"input_ids": ids.numpy(), "positions": np.arange(shape[1])}
        logits, embeddings = session.run(["logits", "embeddings"], {name: feed[name] for name in names})
        np.testing.assert_allclose(logits, expected.logits, atol=1e-4)
        np.testing.assert_allclose(embeddings, expected.hidden_states[-1].mean(dim=1), atol=1e-4)
        first = session.run(["logits"], {name: (feed | {"positions": np.zeros(1, int)})[name] for name in names})
        np.testing.assert_allclose(first[0], expected.logits, atol=1e-4)


def test_training_ends_with_a_graph(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    said: list[str] = []
    own = recipe.model_copy(update={"baselines": False, "behaviour": False, "reference": False, "export": True})
    run = train_run(corpus, own, tmp_path / "run", device="cpu", say=said.append)
    layout = ModelLayout(run.layout.model)
    facts, graph = read_graph_facts(layout.folder), run.classifier.facts.training["graph"]
    assert graph["name"] == facts.precision
    assert graph["agreement"] >= export.LEAST_AGREEMENT
    assert {candidate.name for candidate in facts.candidates} == {"fp32", "int8", "int8-blocks"}
    assert json.loads(layout.facts.read_text("utf-8"))["training"]["graph"] == graph
    assert f"Graph for ONNX Runtime (`model.onnx`, {facts.precision})" in layout.card.read_text("utf-8")
    assert any(line.startswith(f"Graph {facts.precision}: ") for line in said)
    assert {path.suffix for path in layout.folder.iterdir()} <= {
        ".json",
        ".md",
        ".onnx",
        ".safetensors",
        ".yaml",
        ".txt",
    }
    loaded = CheckpointClassifier.from_pretrained(run.layout.folder)
    texts = [str(row["text"]) for row in tiny_rows(60, seed=8)]
    ours, theirs = loaded.predict_proba(texts), run.classifier.predict_proba(texts)
    assert loaded.runtime.name == "onnx"
    assert np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1)) > 0.95


def test_training_goes_on_where_no_graph_can_be_made(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(model: Any, path: Path) -> None:
        try:
            raise RuntimeError("Aten::strange is not supported\nsome advice")
        except RuntimeError as error:
            raise ValueError("a page of advice") from error

    monkeypatch.setattr(export, "export_model", fail)
    said: list[str] = []
    own = recipe.model_copy(update={"baselines": False, "behaviour": False, "reference": False, "export": True})
    run = train_run(corpus, own, tmp_path / "run", device="cpu", say=said.append)
    assert "note: no graph was made: Aten::strange is not supported. The model runs in PyTorch all the same." in said
    assert run.classifier.facts.training["graph"] == {"failed": "Aten::strange is not supported"}
    assert not ModelLayout(run.layout.model).graph.exists()
    assert CheckpointClassifier.from_pretrained(run.layout.folder).runtime.name == "torch"


def _two(graphs: dict[str, Path]) -> dict[str, Path]:
    return {name: graphs[name] for name in ("fp32", "int8")}


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.layout.folder, tmp_path / "run"))


def _agreeing(names: dict[str, float], speeds: dict[str, float], patch: pytest.MonkeyPatch) -> None:
    """Candidates of these agreements and speeds, whatever they are."""

    def compare(name: str, found: Any, expected: Any, speed: float, graph: Path) -> Any:
        return export.Candidate(
            name=name, agreement=names[name], mean_difference=0.0, largest_difference=0.0, sentences_per_second=speed,
            bytes=1, faithful=names[name] >= export.LEAST_AGREEMENT,
        )  # fmt: skip

    patch.setattr(export, "compare", compare)
    patch.setattr(export, "measure_speeds", lambda runtimes, texts: speeds | {"torch": 1.0})


@pytest.mark.parametrize(
    ("agreements", "speeds", "chosen"),
    [
        ({"fp32": 1.0, "int8": 0.996}, {"fp32": 100.0, "int8": 200.0}, "int8"),
        ({"fp32": 1.0, "int8": 0.994}, {"fp32": 100.0, "int8": 200.0}, "fp32"),
        ({"fp32": 1.0, "int8": 1.0}, {"fp32": 100.0, "int8": 90.0}, "fp32"),
    ],
)
def test_the_faster_of_the_faithful_is_kept(
    agreements: dict[str, float],
    speeds: dict[str, float],
    chosen: str,
    folder: Path,
    graphs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(export, "make_candidates", lambda classifier, scratch: _two(graphs))
    _agreeing(agreements, speeds, monkeypatch)
    facts = export.export_folder(folder, say=lambda line: None)
    assert facts.precision == chosen
    assert facts.alone is (chosen == "int8")
    held_out = [load_corpus(RunLayout(folder).split(part)) for part in ("validation", "calibration")]
    assert facts.sentences == sum(map(len, held_out))
    assert CheckpointClassifier.from_pretrained(folder).runtime.name == "onnx"
    with pytest.raises(UserError, match=r"model\.onnx exists. Make it anew with --overwrite"):
        export.export_folder(folder)


def test_no_unfaithful_graph_is_kept(folder: Path, graphs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "make_candidates", lambda classifier, scratch: _two(graphs))
    _agreeing({"fp32": 0.9, "int8": 0.9}, {"fp32": 100.0, "int8": 200.0}, monkeypatch)
    with pytest.raises(UserError, match=r"no graph agrees with PyTorch \(fp32: 90\.0% equal labels"):
        export.export_folder(folder, say=lambda line: None)
    assert not ModelLayout(RunLayout(folder).model).graph.exists()


def test_a_checkpoint_from_elsewhere_gets_a_graph_by_command(
    run: Run,
    graphs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "foreign"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(run.layout.model / name, folder)
    monkeypatch.setattr(export, "make_candidates", lambda classifier, scratch: {"fp32": graphs["fp32"]})
    sentences = tmp_path / "article.txt"
    sentences.write_text("The town is calm. The army said so on monday.", "utf-8")
    with pytest.raises(SystemExit) as left:
        cli.main(["export", "--model", str(folder), "--data", str(sentences)])
    assert left.value.code == cli.EXIT_OK
    assert "* fp32: 100.0% equal labels" in capsys.readouterr().out
    facts = read_graph_facts(folder)
    assert (facts.sentences, facts.temperature) == (2, None)
    loaded = CheckpointClassifier.from_pretrained(folder, runtime="onnx")
    assert loaded.calibration is None
    assert not ModelLayout(folder).facts.exists()
    theirs = CheckpointClassifier.from_pretrained(folder, runtime="torch").predict_proba(["The town is calm."])
    np.testing.assert_allclose(loaded.predict_proba(["The town is calm."]), theirs, atol=1e-5)


def test_large_tables_are_kept_in_half_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    graph = helper.make_model(
        helper.make_graph(
            [helper.make_node("Gather", ["table", "ids"], ["rows"], axis=0)],
            "tables",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
            [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 8])],
            [numpy_helper.from_array(weights, "table")],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    monkeypatch.setattr(export, "_LARGE", 400)
    export.shrink_tables(graph)
    assert [value.data_type for value in graph.graph.initializer] == [TensorProto.FLOAT16]
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    (rows,) = session.run(None, {"ids": np.arange(50)})
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, weights, rtol=1e-3)


@pytest.mark.parametrize("representable", [True, False])
def test_what_half_precision_holds_is_stored_in_it(representable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    weights = weights.astype(np.float16).astype(np.float32) if representable else weights
    graph = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["rows", "weights"], ["products"])],
            "product",
            [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 50])],
            [helper.make_tensor_value_info("products", TensorProto.FLOAT, ["n", 8])],
            [numpy_helper.from_array(weights, "weights")],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    before = onnxruntime.InferenceSession(graph.SerializeToString())
    monkeypatch.setattr(export, "_WORTH_A_CAST", 400)
    export.halve_exactly(graph)
    stored = TensorProto.FLOAT16 if representable else TensorProto.FLOAT
    assert [value.data_type for value in graph.graph.initializer] == [stored]
    after = onnxruntime.InferenceSession(graph.SerializeToString())
    feed = {"rows": np.eye(50, dtype=np.float32)}
    np.testing.assert_array_equal(after.run(None, feed)[0], before.run(None, feed)[0])
