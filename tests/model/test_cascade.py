import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conflict_framing import FramingClassifier, cli
from conflict_framing.analysis import read_article
from conflict_framing.data import UserError, load_corpus
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model import predict as predict_module
from conflict_framing.model.calibration import Calibration
from conflict_framing.model.cascade import Cascade, CascadeFacts
from conflict_framing.model.layout import ModelLayout, RunLayout
from conflict_framing.model.metadata import metadata_file
from conflict_framing.model.predict import PredictOptions, Progress, predict_files
from conflict_framing.model.ray_engine import RayEngine

from ..conftest import tiny_rows, write_jsonl

TEXTS = [*(str(row["text"]) for row in tiny_rows(60, seed=31)), "calm " * 200, "unknown words only", "."]


def exit_status(command: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(command)
    return int(ended.value.code or 0)


@pytest.fixture
def folder(cascaded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(cascaded, tmp_path / "run"))


@pytest.fixture(scope="module")
def classifier(cascaded: Path) -> CheckpointClassifier:
    return CheckpointClassifier.from_pretrained(cascaded)


def runtime_of(classifier: CheckpointClassifier) -> Cascade:
    assert isinstance(classifier.runtime, Cascade)
    return classifier.runtime


def with_threshold(classifier: CheckpointClassifier, threshold: float) -> CheckpointClassifier:
    own = runtime_of(classifier)
    facts = own.facts.model_copy(update={"threshold": threshold})
    return CheckpointClassifier(
        Cascade(own.graph, own.first_stage, facts), codebook=classifier.codebook, facts=classifier.facts
    )


# --- what comes out ------------------------------------------------------------------------------


def test_the_first_stage_answers_what_it_is_sure_of_and_the_graph_the_rest(classifier: CheckpointClassifier) -> None:
    runtime = runtime_of(classifier)
    first = runtime.first_stage.score(runtime.graph.encode(TEXTS)[0])
    whole = runtime.graph.score(TEXTS).probabilities
    threshold = float(np.median(first.max(axis=1)))
    found = with_threshold(classifier, threshold).runtime.score(TEXTS)
    sure = first.max(axis=1) > threshold
    assert found.by_first_stage is not None
    assert 0 < sure.sum() < len(TEXTS)
    np.testing.assert_array_equal(found.by_first_stage, sure)
    np.testing.assert_array_equal(found.probabilities[sure], first[sure])
    np.testing.assert_allclose(found.probabilities[~sure], whole[~sure], atol=1e-5)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    assert found.truncated.tolist() == runtime.graph.score(TEXTS).truncated.tolist()


def test_no_result_depends_on_its_batch_even_at_the_threshold(classifier: CheckpointClassifier) -> None:
    runtime = runtime_of(classifier)
    scores = runtime.first_stage.score(runtime.graph.encode(TEXTS)[0]).max(axis=1)
    chance = np.random.default_rng(0)
    for threshold in np.sort(scores)[[10, 30, 50]]:  # a score exactly at it
        at = with_threshold(classifier, float(threshold))
        alone = [at.predict(text) for text in TEXTS]
        for _ in range(3):
            places = chance.integers(0, len(TEXTS), 100)
            for fold in (True, False):
                at.fold_duplicates = fold
                found = at.predict([TEXTS[place] for place in places])
                assert [p.by_first_stage for p in found] == [alone[place].by_first_stage for place in places]
                assert [p.label for p in found] == [alone[place].label for place in places]
                np.testing.assert_allclose(
                    [list(p.probabilities.values()) for p in found],
                    [list(alone[place].probabilities.values()) for place in places],
                    atol=1e-5,
                )
    assert at.predict([]) == []


def test_the_promise_holds_on_text_of_the_kind(classifier: CheckpointClassifier) -> None:
    texts = [str(row["text"]) for row in tiny_rows(900, seed=77)]
    found = classifier.runtime.score(texts)
    changed = found.probabilities.argmax(axis=1) != runtime_of(classifier).graph.score(texts).probabilities.argmax(
        axis=1
    )
    facts = classifier.cascade
    assert facts is not None
    assert changed.mean() <= facts.most_changed
    assert found.by_first_stage is not None
    assert found.by_first_stage.mean() > 0.3
    assert not changed[~found.by_first_stage].any()


def test_among_and_explaining_leave_the_first_stage_out(cascaded: Path, classifier: CheckpointClassifier) -> None:
    sure = with_threshold(classifier, 0.0)  # answers everything
    alone = CheckpointClassifier.from_pretrained(cascaded, cascade=False)
    names = classifier.classes_[:2]
    assert sure.predict(TEXTS, among=names) == alone.predict(TEXTS, among=names)
    assert all(p.by_first_stage for p in sure.predict(TEXTS))
    sure.source = alone.source
    pytest.importorskip("captum")
    assert sure.explain(TEXTS[0]).score == pytest.approx(alone.explain(TEXTS[0]).score)


def test_embeddings_are_those_of_the_graph(cascaded: Path, classifier: CheckpointClassifier) -> None:
    alone = CheckpointClassifier.from_pretrained(cascaded, cascade=False)
    for ours, theirs in zip(
        classifier.runtime.embed(TEXTS, lambda n: None), alone.runtime.embed(TEXTS, lambda n: None), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


# --- loading and saving --------------------------------------------------------------------------


def test_a_first_stage_is_used_where_there_is_one(cascaded: Path, exported: Path) -> None:
    assert FramingClassifier.from_pretrained(cascaded).cascade is not None
    assert CheckpointClassifier.from_pretrained(cascaded, cascade=False).cascade is None
    assert CheckpointClassifier.from_pretrained(cascaded, runtime="torch").cascade is None
    assert CheckpointClassifier.from_pretrained(exported).cascade is None
    with pytest.raises(UserError, match=r"--cascade: no first stage in .*export .* --cascade"):
        CheckpointClassifier.from_pretrained(exported, cascade=True)
    with pytest.raises(UserError, match="--cascade goes before a graph"):
        CheckpointClassifier.from_pretrained(cascaded, runtime="torch", cascade=True)


def test_thresholds_are_found_on_what_the_cascade_says(cascaded: Path, classifier: CheckpointClassifier) -> None:
    part = load_corpus(RunLayout(cascaded).split("calibration"))
    own, of_graph = classifier.calibration, CheckpointClassifier.from_pretrained(cascaded, cascade=False).calibration
    assert isinstance(own, Calibration)
    assert isinstance(of_graph, Calibration)
    np.testing.assert_allclose(own.probabilities, classifier.predict_proba(part.texts), atol=1e-6)
    assert own.references == of_graph.references
    assert own.units == of_graph.units
    assert own.probabilities != of_graph.probabilities


def test_a_saved_folder_keeps_its_first_stage(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    classifier.save_pretrained(tmp_path / "again")
    again = CheckpointClassifier.from_pretrained(tmp_path / "again")
    assert again.cascade == classifier.cascade
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert again.calibration == classifier.calibration
    assert {path.name for path in again.weights} == {"model.onnx", "first_stage.onnx"}


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("missing", r"first_stage\.onnx: missing.*--no-cascade"),
        ("bytes", r"first_stage\.onnx: damaged: .*--no-cascade"),
        ("graph", "made for another graph.*--no-cascade"),
        ("facts", r"cascade\.json: damaged model folder"),
    ],
)
def test_a_damaged_first_stage_is_told(folder: Path, damage: str, expected: str) -> None:
    layout = ModelLayout(RunLayout(folder).model)
    if damage == "missing":
        layout.first_stage.unlink()
    elif damage == "bytes":
        layout.first_stage.write_bytes(layout.first_stage.read_bytes()[:-1])
    else:
        facts = json.loads(layout.cascade.read_text("utf-8"))
        facts["graph_sha256" if damage == "graph" else "threshold"] = "another"
        layout.cascade.write_text(json.dumps(facts), "utf-8")
    with pytest.raises(UserError, match=expected):
        CheckpointClassifier.from_pretrained(folder)
    assert CheckpointClassifier.from_pretrained(folder, cascade=False).cascade is None


# --- files ---------------------------------------------------------------------------------------


def predict(classifier: CheckpointClassifier, folder: Path, name: str = "out.jsonl", **options: Any) -> dict[str, Any]:
    source = write_jsonl(folder / "in.jsonl", [{"text": text, "document": str(n)} for n, text in enumerate(TEXTS)])
    predict_files(classifier, [source], folder / name, options=PredictOptions(**options))
    metadata: dict[str, Any] = json.loads((folder / f"{name}.meta.json").read_text("utf-8"))
    return metadata


def test_the_metadata_tell_what_the_first_stage_answered(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    told = predict(classifier, tmp_path, drift=False)
    facts = classifier.cascade
    assert isinstance(facts, CascadeFacts)
    answered = sum(p.by_first_stage for p in classifier.predict(TEXTS))
    assert told["cascade"] == {
        "rows": len(TEXTS), "by_first_stage": answered, "threshold": facts.threshold, "promise": facts.promise,
        "probabilities": "of what answered the row: the first stage's own, calibrated, or the graph's",
    }  # fmt: skip
    assert "first_stage.onnx" in told["model"]["weights_sha256"]
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [row["label"] for row in rows] == [p.label for p in classifier.predict(TEXTS)]
    told = predict(classifier, tmp_path, "adapted.jsonl", drift=False, adapt_priors=True)
    assert told["cascade"]["promise"] == "void: the probabilities were adapted to other label shares"
    told = predict(classifier, tmp_path, "among.jsonl", drift=False, among=classifier.classes_[:2])
    assert "cascade" not in told


def test_shards_and_engines_change_nothing(
    cascaded: Path, classifier: CheckpointClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(classifier, tmp_path, "whole.jsonl")
    monkeypatch.setattr(predict_module, "SHARD_ROWS", 7)
    predict(classifier, tmp_path, "parts.jsonl")
    whole, parts, by_ray = (tmp_path / f"{name}.jsonl" for name in ("whole", "parts", "ray"))
    assert parts.read_bytes() == whole.read_bytes()
    engine = RayEngine(partial(CheckpointClassifier.from_pretrained, cascaded), workers=1)
    predict_files(classifier, [tmp_path / "in.jsonl"], by_ray, engine=engine)
    assert by_ray.read_bytes() == whole.read_bytes()
    told = [json.loads(metadata_file(path).read_text("utf-8")) for path in (whole, parts, by_ray)]
    assert told[0]["cascade"]["by_first_stage"] > 0
    assert told[0]["cascade"] == told[1]["cascade"] == told[2]["cascade"]


def test_another_first_stage_is_noticed_on_resuming(folder: Path, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in TEXTS])
    output = tmp_path / "out.jsonl"

    def press(progress: Progress) -> None:
        if progress.stage == "label":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_files(CheckpointClassifier.from_pretrained(folder), [source], output, on_progress=press)
    facts = ModelLayout(RunLayout(folder).model).cascade
    facts.write_text(facts.read_text("utf-8").replace('"threshold": 0.', '"threshold": 0.9'), "utf-8")
    with pytest.raises(UserError, match=r"model, sha256, cascade\.json: was "):
        predict_files(CheckpointClassifier.from_pretrained(folder), [source], output, resume=True)


def test_drift_is_measured_with_the_graph(cascaded: Path, classifier: CheckpointClassifier, tmp_path: Path) -> None:
    alone = CheckpointClassifier.from_pretrained(cascaded, cascade=False)
    ours, theirs = predict(classifier, tmp_path)["drift"], predict(alone, tmp_path, "alone.jsonl")["drift"]
    assert ours["distance"] == theirs["distance"]


def test_words_are_shaded_for_the_label_that_is_shown(classifier: CheckpointClassifier) -> None:
    sure = with_threshold(classifier, 0.0)
    sure.source = classifier.source
    reading = read_article(" ".join(TEXTS[:5]), sure, explained=True)
    assert reading.explanations is not None
    shown = [prediction.label for _, prediction in reading.sentences]
    assert [explanation.label for explanation in reading.explanations] == shown


def test_the_command_takes_it_or_leaves_it(cascaded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in TEXTS])
    command = ["predict", str(source), "--model", str(cascaded), "--no-drift", "--output"]
    assert exit_status([*command, str(tmp_path / "with.jsonl")]) == 0
    assert "The first stage answered" in capsys.readouterr().err
    assert exit_status([*command, str(tmp_path / "without.jsonl"), "--no-cascade"]) == 0
    assert "first stage" not in capsys.readouterr().err
    with_, without = (
        json.loads((tmp_path / f"{name}.jsonl.meta.json").read_text("utf-8")) for name in ("with", "without")
    )
    assert "cascade" in with_
    assert "cascade" not in without
    assert with_["options"]["runtime"]["cascade"] is None
    assert without["options"]["runtime"]["cascade"] is False


def test_other_commands_leave_it_out_too(cascaded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(cascaded, tmp_path / "run"))
    ModelLayout(RunLayout(folder).model).first_stage.unlink()
    article = tmp_path / "article.txt"
    article.write_text(" ".join(TEXTS[:3]), "utf-8")
    labelled = write_jsonl(tmp_path / "labelled.jsonl", tiny_rows(12, seed=5))
    for command in (["read", str(article)], ["evaluate", str(labelled), "--no-baselines"]):
        command += ["--model", str(folder)]
        assert exit_status(command) != 0
        assert "do without it: --no-cascade" in capsys.readouterr().err
        assert exit_status([*command, "--no-cascade"]) == 0
