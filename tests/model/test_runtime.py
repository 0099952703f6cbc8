import json
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from conflict_framing import FramingClassifier
from conflict_framing.data import MissingExtraError, UserError, load_corpus
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model import classifier as classifier_module
from conflict_framing.model.calibration import Calibration
from conflict_framing.model.classifier import WINDOW
from conflict_framing.model.drift import embed
from conflict_framing.model.layout import ModelLayout, RunLayout
from conflict_framing.model.onnx_runtime import OnnxRuntime, read_graph_facts
from conflict_framing.model.runtime import Scores, count_threads
from conflict_framing.train.calibration import with_temperature
from conflict_framing.train.fit import Run

from ..conftest import tiny_rows, write_jsonl

TEXTS = [str(row["text"]) for row in tiny_rows(40, seed=5)]
LONG = "calm " * 200


def load(folder: Path, runtime: str = "auto") -> CheckpointClassifier:
    return CheckpointClassifier.from_pretrained(folder, device="cpu", runtime=runtime)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def classifier(exported: Path) -> CheckpointClassifier:
    return load(exported)


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(RunLayout(exported).model, tmp_path / "model"))


# --- what comes out ------------------------------------------------------------------------------


def test_the_graph_agrees_with_pytorch(exported: Path, classifier: CheckpointClassifier) -> None:
    facts = read_graph_facts(RunLayout(exported).model)
    assert facts.temperature is not None
    expected = with_temperature(load(exported, "torch").predict_proba(TEXTS), facts.temperature)
    found = classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5 if facts.precision == "fp32" else 0.05)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert found.dtype == np.float32


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.integers(0, len(TEXTS)), min_size=1, max_size=60), cut=st.integers(1, 59))
def test_no_result_depends_on_its_batch(exported: Path, places: list[int], cut: int) -> None:
    """Alone, together, in any order, repeated and in shards."""
    classifier = _LOADED.setdefault(exported, load(exported))
    alone = _ALONE.setdefault(exported, np.concatenate([classifier.predict_proba([text]) for text in [*TEXTS, LONG]]))
    texts = [[*TEXTS, LONG][place] for place in places]
    for folded in (True, False):
        classifier.fold_duplicates = folded
        shards = [classifier.predict_proba(part) for part in (texts[:cut], texts[cut:])]
        for found in (classifier.predict_proba(texts), np.concatenate(shards)):
            np.testing.assert_allclose(found, alone[places], atol=1e-5)
            np.testing.assert_array_equal(found.argmax(axis=1), alone[places].argmax(axis=1))


_LOADED: dict[Path, CheckpointClassifier] = {}
_ALONE: dict[Path, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {}


def test_long_sentences_are_cut_and_marked_as_in_pytorch(exported: Path, classifier: CheckpointClassifier) -> None:
    limit = classifier.facts.max_length
    texts = ["calm .", "calm " * (limit - 2), "calm " * (limit - 1), LONG, "?"]
    found = classifier.predict(texts)
    expected = load(exported, "torch").predict(texts)
    assert [p.truncated for p in found] == [p.truncated for p in expected] == [False, False, True, True, False]
    assert [p.label for p in found] == [p.label for p in expected]


def test_the_temperature_is_in_the_graph(
    exported: Path, graphs: dict[str, Path], classifier: CheckpointClassifier
) -> None:
    layout = ModelLayout(RunLayout(exported).model)
    facts = read_graph_facts(layout.folder)
    (stored,) = [v for v in onnx.load(layout.graph).graph.initializer if v.name == "temperature"]
    assert facts.temperature is not None
    assert float(numpy_helper.to_array(stored)) == pytest.approx(facts.temperature)
    before = OnnxRuntime(
        graphs[facts.precision], layout.tokenizer, max_length=48, hidden_size=32, alone=facts.alone
    ).score(TEXTS)
    np.testing.assert_allclose(
        classifier.predict_proba(TEXTS), with_temperature(before.probabilities, facts.temperature), atol=1e-5
    )


def test_the_graph_has_its_own_calibration(exported: Path, classifier: CheckpointClassifier) -> None:
    facts = read_graph_facts(RunLayout(exported).model)
    of_checkpoint, own = load(exported, "torch").calibration, classifier.calibration
    assert isinstance(own, Calibration)
    assert isinstance(of_checkpoint, Calibration)
    assert facts.temperature is not None
    assert own.temperature == pytest.approx(of_checkpoint.temperature * facts.temperature)
    part = load_corpus(RunLayout(exported).split("calibration"))
    np.testing.assert_allclose(own.probabilities, classifier.predict_proba(part.texts), atol=1e-5)
    assert own.references == of_checkpoint.references == part.label_ids


def test_embeddings_are_those_of_pytorch(exported: Path, classifier: CheckpointClassifier) -> None:
    steps: list[int] = []
    rows, labels = embed(classifier, TEXTS, steps.append)
    expected, _ = embed(load(exported, "torch"), TEXTS)
    exact = read_graph_facts(RunLayout(exported).model).precision == "fp32"
    np.testing.assert_allclose(rows, expected, atol=1e-4 if exact else 0.3)
    assert labels.tolist() == classifier.predict_proba(TEXTS).argmax(axis=1).tolist()
    assert sum(steps) == len(TEXTS)


def test_equal_sentences_of_a_window_are_computed_once(classifier: CheckpointClassifier) -> None:
    class Counting:
        name = "onnx"

        def __init__(self) -> None:
            self.seen: list[str] = []

        def score(self, sentences: Sequence[str]) -> Scores:
            self.seen += sentences
            return own.score(sentences)

    own = classifier.runtime
    counted = Counting()
    counting = CheckpointClassifier(counted, codebook=classifier.codebook, facts=classifier.facts)  # type: ignore[arg-type]
    texts = [*TEXTS[:3], TEXTS[1], LONG, TEXTS[0], LONG]
    folded = counting.predict(texts)
    assert sorted(counted.seen) == sorted({*TEXTS[:3], LONG})
    counted.seen.clear()
    counting.fold_duplicates = False
    assert counting.predict(texts) == folded
    assert counted.seen == texts
    assert len(counting.predict(TEXTS * (1 + WINDOW // len(TEXTS)))) > WINDOW


# --- loading and saving --------------------------------------------------------------------------


def test_auto_picks_the_graph_on_a_cpu(run: Run, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert FramingClassifier.from_pretrained(exported).runtime.name == "onnx"
    assert load(exported).runtime.name == "onnx"
    assert load(exported, "onnx").runtime.name == "onnx"
    assert load(exported, "torch").runtime.name == "torch"
    assert load(run.layout.folder).runtime.name == "torch"  # has no graph
    assert load(run.layout.folder).lacks_graph
    assert not load(exported).lacks_graph and not load(exported, "torch").lacks_graph
    with pytest.raises(UserError, match=r"--runtime onnx: no graph in .*conflict-framing export"):
        load(run.layout.folder, "onnx")
    with pytest.raises(UserError, match="--runtime onnx runs on the CPU, came --device cuda"):
        CheckpointClassifier.from_pretrained(exported, device="cuda", runtime="onnx")
    with pytest.raises(UserError, match="--runtime toaster: expected auto, onnx or torch"):
        load(exported, "toaster")
    monkeypatch.setattr(classifier_module, "find_spec", lambda name: None)
    assert load(exported).runtime.name == "torch"


def test_saved_folder_loads_again_with_its_graph(
    classifier: CheckpointClassifier, exported: Path, tmp_path: Path
) -> None:
    for target in (tmp_path / "again", tmp_path / "again"):  # the second time over itself
        classifier.save_pretrained(target)
        again = load(target)
        assert again.runtime.name == "onnx"
        np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
        assert again.calibration == classifier.calibration
        classifier = again
    torch = load(tmp_path / "again", "torch")
    assert torch.calibration == load(exported, "torch").calibration
    torch.save_pretrained(tmp_path / "again")  # its weights may be others by now, so the graph goes
    assert load(tmp_path / "again").runtime.name == "torch"
    assert not ModelLayout(tmp_path / "again").graph.exists()


def test_a_damaged_graph_is_refused(folder: Path) -> None:
    layout = ModelLayout(folder)
    whole = layout.graph.read_bytes()
    layout.graph.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match=r"expected SHA-256 .*conflict-framing export"):
        load(folder)
    assert load(folder, "torch").predict(TEXTS[0]).label
    layout.graph.write_bytes(b"no graph")
    facts = json.loads(layout.graph_facts.read_text("utf-8"))
    layout.graph_facts.write_text(json.dumps(facts | {"sha256": _sha256(layout.graph)}), "utf-8")
    with pytest.raises(UserError, match="not a graph that ONNX Runtime can run"):
        load(folder)
    layout.graph_facts.write_text("{}", "utf-8")
    with pytest.raises(UserError, match="damaged model folder"):
        load(folder)


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_graph_needs_no_facts_of_the_package(folder: Path) -> None:
    before = load(folder).predict_proba(TEXTS)
    ModelLayout(folder).facts.unlink()
    ModelLayout(folder).codebook.unlink()
    bare = load(folder)
    assert bare.classes_ == ["attack", "calm", "move"]
    assert bare.facts.max_length == 48
    np.testing.assert_array_equal(bare.predict_proba(TEXTS), before)


def test_threads_are_those_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert count_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "all")
    assert count_threads() >= 1


# --- without PyTorch -----------------------------------------------------------------------------

_BLOCKED = """
import sys
for name in ("torch", "transformers", "sklearn", "scipy", "datasets", "onnx", "captum"):
    sys.modules[name] = None
from conflict_framing.cli import main
main(sys.argv[1:])
"""


def _without_torch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", _BLOCKED, *map(str, arguments)], capture_output=True, text=True)


def test_prediction_needs_neither_pytorch_nor_transformers(
    exported: Path, classifier: CheckpointClassifier, tmp_path: Path
) -> None:
    texts = random.Random(0).sample(TEXTS, 20)
    write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    arguments = ("predict", tmp_path / "in.jsonl", "--model", exported, "--output", tmp_path / "out.jsonl")
    done = _without_torch(*arguments, "--max-error", "0.5")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [row["label"] for row in rows] == [p.label for p in classifier.predict(texts)]
    if classifier.reference is not None:
        assert json.loads((tmp_path / "out.jsonl.meta.json").read_text("utf-8"))["drift"] is not None


def test_what_needs_pytorch_says_how_to_get_it(exported: Path, tmp_path: Path) -> None:
    done = _without_torch("explain", TEXTS[0], "--model", exported)
    assert done.returncode == 2
    assert 'pip install "conflict-framing[train]"' in done.stderr
    done = _without_torch("explain", TEXTS[0], "--model", exported, "--runtime", "torch")
    assert done.returncode == 2
    assert 'pip install "conflict-framing[train]"' in done.stderr


def test_explaining_loads_the_checkpoint_of_the_folder(classifier: CheckpointClassifier, exported: Path) -> None:
    found = classifier.explain(TEXTS[0])
    assert found.score == classifier.predict(TEXTS[0]).score
    expected = load(exported, "torch").explain(TEXTS[0], found.label)
    assert [word.attribution for word in found.words] == pytest.approx(
        [w.attribution for w in expected.words], abs=1e-4
    )


def test_a_runtime_that_is_not_installed_is_named(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("onnxruntime", "tokenizers"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, library, None)
            with pytest.raises(MissingExtraError, match=library):
                load(exported, "onnx")
