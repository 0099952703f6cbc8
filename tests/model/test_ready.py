"""The model that comes with the package: taken where no other is named, told of, and small enough."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from conflict_framing import FramingClassifier, UserError, cli
from conflict_framing.model import folder as folder_module
from conflict_framing.model import predict as predict_module
from conflict_framing.model.layout import READY, ModelLayout
from conflict_framing.model.onnx_runtime import read_graph_facts

from ..conftest import tiny_rows, write_jsonl


def call(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def put_ready(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    for module in (folder_module, predict_module):
        patch.setattr(module, "READY", folder)
    return folder


@pytest.fixture
def ready(calibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return put_ready(Path(shutil.copytree(calibrated, tmp_path / "ready")), monkeypatch)


def test_it_is_taken_where_no_model_is_named(ready: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [str(row["text"]) for row in tiny_rows(30, seed=4)]
    classifier = FramingClassifier.from_pretrained()
    assert classifier.source == ready
    named = FramingClassifier.from_pretrained(ready)
    np.testing.assert_array_equal(classifier.predict_proba(texts), named.predict_proba(texts))

    article = tmp_path / "a.txt"
    article.write_text("The town was calm. The army said so on monday.", "utf-8")
    assert call("predict", article, "--output", tmp_path / "out.jsonl") == cli.EXIT_OK
    model = json.loads((tmp_path / "out.jsonl.meta.json").read_text("utf-8"))["model"]
    assert (model["ready"], model["folder"]) == (True, str(ready))
    assert call("predict", article, "--model", FramingClassifier.from_pretrained(ready).source or "", "--output",
                tmp_path / "same.jsonl") == cli.EXIT_OK  # fmt: skip
    assert (tmp_path / "same.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
    assert call("read", article) == cli.EXIT_OK
    assert "The town was calm." in capsys.readouterr().out
    assert call("explain", "calm and quiet", "--json") == cli.EXIT_OK


@pytest.mark.parametrize("there", [True, False])
def test_a_model_that_is_not_there_need_not_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    put_ready(tmp_path / "ready", monkeypatch)
    if there:
        (tmp_path / "ready").mkdir()
        ModelLayout(tmp_path / "ready").config.write_text("{}", "utf-8")
    for name in ("nomodel", str(tmp_path / "none"), f"{tmp_path.name}/none"):
        monkeypatch.chdir(tmp_path.parent)
        with pytest.raises(UserError, match="no such folder") as told:
            folder_module.find_model(name)
        assert ("Or name none: where no model is named, the ready one" in str(told.value)) == there


def test_shares_of_what_it_labelled_need_no_name(
    ready: Path, calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"text": row["text"], "document": n // 3} for n, row in enumerate(tiny_rows(300, seed=4))]
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    assert call("predict", source, "--output", tmp_path / "out.jsonl", "--no-drift") == cli.EXIT_OK
    assert call("shares", tmp_path / "out.jsonl") == cli.EXIT_OK
    assert "Shares, model-based" in capsys.readouterr().out
    assert call("predict", source, "--model", calibrated, "--output", tmp_path / "other.jsonl") == cli.EXIT_OK
    capsys.readouterr()
    assert call("shares", tmp_path / "other.jsonl") == cli.EXIT_USER_ERROR
    assert f"--model {calibrated}" in capsys.readouterr().err.replace("\n", "")
    # A later version of the package brings another model.
    weights = ModelLayout(ready).weights
    weights.write_bytes(weights.read_bytes() + b" ")
    assert call("shares", tmp_path / "out.jsonl") == cli.EXIT_USER_ERROR
    assert "was made by another model" in capsys.readouterr().err


def test_where_there_is_none_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_ready(tmp_path / "nothing", monkeypatch)
    with pytest.raises(UserError, match=r"has no ready one\. Name one with --model RUN .* conflict-framing train"):
        FramingClassifier.from_pretrained()
    article = tmp_path / "a.txt"
    article.write_text("The town was calm.", "utf-8")
    assert call("predict", article, "--output", tmp_path / "out.jsonl") == cli.EXIT_USER_ERROR
    assert "this installation has no ready one" in capsys.readouterr().err


def test_what_comes_with_the_package_is_small_and_plain() -> None:
    """Of every file that is there; in a checkout from before the weights were added, of none."""
    files = [path for path in READY.glob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 75e6
    layout = ModelLayout(READY)
    needed = (layout.config, layout.weights, layout.tokenizer, layout.facts, layout.codebook, layout.reference)
    expected = {*needed, *layout.of_graph, layout.calibration, layout.card, layout.notice} if files else set()
    assert expected - set(files) == set()
    assert {path.suffix for path in files} <= {".json", ".md", ".onnx", ".safetensors", ".yaml", ""}
    for path in files and [layout.facts]:
        facts = json.loads(path.read_text("utf-8"))
        assert facts["recipe"]["name"] == "distilled"
        assert facts["recipe"]["distillation"]["attribution"]
        assert "/" not in facts["training"]["teacher"]
        assert json.loads(layout.config.read_text("utf-8"))["dtype"] == "float32"
        assert read_graph_facts(READY).chosen.faithful
