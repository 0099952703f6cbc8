"""Abstention, the queue and adapted priors in a predictions file."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conflict_framing import FramingClassifier
from conflict_framing.data import UserError
from conflict_framing.data.tables import read_table
from conflict_framing.model import CheckpointClassifier, Prediction
from conflict_framing.model.classifier import WINDOW
from conflict_framing.model.layout import ModelLayout
from conflict_framing.model.predict import PredictOptions, predict_files
from conflict_framing.model.priors import adapt, estimate_priors
from conflict_framing.model.queue import Queue
from conflict_framing.train.fit import Run

from ..conftest import tiny_rows, write_jsonl


@pytest.fixture(scope="module")
def classifier(calibrated: Path) -> CheckpointClassifier:
    return CheckpointClassifier.from_pretrained(calibrated, device="cpu")


def values(path: Path) -> list[dict[str, object]]:
    return [row.values for row in read_table(path)]


def metadata(path: Path) -> dict[str, dict[str, object]]:
    return json.loads(path.with_name(path.name + ".meta.json").read_text("utf-8"))  # type: ignore[no-any-return]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [row for row in tiny_rows(400, seed=6) if row["label"] != "calm" or int(str(row["id"])) % 4 == 0]
    return write_jsonl(tmp_path / "in.jsonl", rows)


def test_unsure_predictions_abstain_and_keep_their_label(classifier: CheckpointClassifier) -> None:
    texts = [str(row["text"]) for row in tiny_rows(60, seed=2)]
    plain = classifier.predict(texts)
    middle = sorted(prediction.score for prediction in plain)[30]
    marked = classifier.predict(texts, abstain_below=middle)
    assert [p.abstained for p in marked] == [p.score < middle for p in plain]
    assert [(p.label, p.probabilities) for p in marked] == [(p.label, p.probabilities) for p in plain]
    assert not any(p.abstained for p in plain)
    assert classifier.predict(texts[0], abstain_below=math.inf).abstained


def test_calibration_travels_with_the_model(calibrated: Path, tmp_path: Path) -> None:
    framing = FramingClassifier.from_pretrained(calibrated, device="cpu")
    found = framing.abstention(0.05)
    assert 0.3 < found.coverage < 0.7
    framing.save_pretrained(tmp_path / "again")
    assert CheckpointClassifier.from_pretrained(tmp_path / "again", device="cpu").abstention(0.05) == found
    ModelLayout(tmp_path / "again").calibration.unlink()
    with pytest.raises(UserError, match=r"--max-error needs calibration\.json .* with --abstain 0\.8"):
        CheckpointClassifier.from_pretrained(tmp_path / "again", device="cpu").abstention(0.05)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_max_error_marks_rows_and_tells_its_promise(
    classifier: CheckpointClassifier, source: Path, tmp_path: Path, suffix: str
) -> None:
    output = tmp_path / f"out{suffix}"
    report = predict_files(classifier, [source], output, options=PredictOptions(max_error=0.05))
    assert report.abstention == classifier.abstention(0.05)
    rows = values(output)
    abstained = [row["abstained"] in (True, "true") for row in rows]
    assert abstained == [float(str(row["score"])) < report.abstention.threshold - 1e-6 for row in rows]
    assert 0 < sum(abstained) == report.abstained < len(rows)
    told = metadata(output)["abstention"]
    assert told["guarantee"] == "holds for text drawn like the calibration part, each document counting once"
    assert (told["rows"], told["abstained"]) == (len(rows), report.abstained)
    assert told["threshold"] == report.abstention.threshold


def test_where_nothing_qualifies_everything_abstains(
    classifier: CheckpointClassifier, source: Path, tmp_path: Path
) -> None:
    report = predict_files(classifier, [source], tmp_path / "o.csv", options=PredictOptions(max_error=0.001))
    assert report.abstained == report.written
    told = metadata(tmp_path / "o.csv")["abstention"]
    assert told["threshold"] is None
    assert "takes at least 2995 calibration documents" in str(told["reason"])


def test_without_options_none_are_told(classifier: CheckpointClassifier, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.meta.json").write_text("{}", "utf-8")
    with pytest.raises(UserError, match=r"meta\.json exists"):
        predict_files(classifier, [source], tmp_path / "out.jsonl")
    predict_files(classifier, [source], tmp_path / "out.jsonl", overwrite=True)
    told = json.loads((tmp_path / "out.jsonl.meta.json").read_text("utf-8"))
    assert set(told) == {"version", "model", "options", "counts", "drift"}
    assert told["counts"]["read"] == told["counts"]["written"] == len(values(tmp_path / "out.jsonl"))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv.gz", ".parquet"])
def test_queue_holds_the_least_sure_first(
    classifier: CheckpointClassifier, source: Path, tmp_path: Path, suffix: str
) -> None:
    queue = tmp_path / "new" / f"queue{suffix}"
    options = PredictOptions(abstain_below=0.99, queue=queue, queue_size=7)
    report = predict_files(classifier, [source], tmp_path / "out.jsonl", options=options)
    asked = values(queue)
    assert report.queued == len(asked) == 7
    assert list(asked[0]) == ["text", "input_label", "document", "id", "suggested", "score", "label"]
    assert {row["label"] for row in asked} == {""}
    predicted = sorted((row for row in values(tmp_path / "out.jsonl") if row["abstained"]), key=lambda r: r["score"])  # type: ignore[arg-type,return-value]
    assert [str(row["id"]) for row in asked] == [str(row["id"]) for row in predicted[:7]]
    assert [row["suggested"] for row in asked] == [row["label"] for row in predicted[:7]]
    assert not list(queue.parent.glob("*.partial"))


def test_a_queue_that_exists_is_never_replaced(classifier: CheckpointClassifier, source: Path, tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("labels of somebody", "utf-8")
    options = PredictOptions(abstain_below=0.01, queue=tmp_path / "q.csv")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"q\.csv exists, and may hold labels"):
            predict_files(classifier, [source], tmp_path / "out.jsonl", options=options, overwrite=overwrite)
    assert (tmp_path / "q.csv").read_text("utf-8") == "labels of somebody"


def test_a_queue_of_nothing_is_a_table_without_rows(
    classifier: CheckpointClassifier, source: Path, tmp_path: Path
) -> None:
    options = PredictOptions(abstain_below=0.01, queue=tmp_path / "q.csv")
    assert predict_files(classifier, [source], tmp_path / "out.jsonl", options=options).queued == 0
    (header,) = (tmp_path / "q.csv").read_text("utf-8").splitlines()
    assert header.endswith("suggested,score,label")


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.4, 0.5, 0.6, 0.7]), st.booleans()), max_size=40), st.integers(1, 10))
def test_queue_is_the_head_of_the_sorted_rows(scored: list[tuple[float, bool]], size: int) -> None:
    queue = Queue(size, {"id": "id"})
    for number, (score, abstained) in enumerate(scored):
        queue.add([{"id": number}], [Prediction("a", score, {"a": score}, abstained)])
    expected = sorted((score, number) for number, (score, abstained) in enumerate(scored) if abstained)[:size]
    kept = sorted(queue._kept, key=lambda entry: entry[:2], reverse=True)
    assert [(entry["score"], entry["id"]) for _, _, entry in kept] == expected


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_adapted_file_equals_adaptation_in_memory(
    classifier: CheckpointClassifier, tmp_path: Path, suffix: str
) -> None:
    rows = [row for row in tiny_rows(WINDOW * 3, seed=6) if row["label"] != "calm"][: WINDOW + 300]
    source = write_jsonl(tmp_path / "in.jsonl", [{k: v for k, v in row.items() if k != "document"} for row in rows])
    with source.open("a", encoding="utf-8") as stream:
        stream.write('{broken\n{"text": ""}\n')
    plain, adapted = tmp_path / f"plain{suffix}", tmp_path / f"adapted{suffix}"
    before = predict_files(classifier, [source], plain)
    done: list[int] = []
    report = predict_files(
        classifier,
        [source],
        adapted,
        options=PredictOptions(adapt_priors=True, abstain_below=0.8),
        on_progress=lambda progress: done.append(progress.rows),
    )
    assert (report.read, report.written, report.rejected) == (before.read, before.written, before.rejected)
    assert done[-1] == report.read
    left, right = values(plain), values(adapted)
    assert [list(row) for row in left] == [list(row) for row in right]
    for name in ("text", "input_label", "id", "truncated"):
        assert [row[name] for row in left] == [row[name] for row in right]
    if suffix == ".parquet":
        assert pyarrow.parquet.read_schema(plain) == pyarrow.parquet.read_schema(adapted)

    posteriors = classifier.predict_proba([str(row["text"]) for row in rows])
    assert classifier.calibration is not None
    estimate = estimate_priors(posteriors, classifier.calibration.source_shares)
    assert report.priors is not None
    np.testing.assert_array_equal(report.priors.shares, estimate.shares)
    assert estimate.shares[1] < 0.1 < classifier.calibration.source_shares[1]  # hardly any "calm" is there
    expected = adapt(posteriors, estimate)
    written = np.array([[float(str(row[f"p_{name}"])) for name in classifier.classes_] for row in right])
    np.testing.assert_allclose(written, expected, atol=1e-6)
    assert [row["label"] for row in right] == [classifier.classes_[place] for place in expected.argmax(axis=1)]
    abstained = [row["abstained"] in (True, "true") for row in right]
    assert abstained == (expected.max(axis=1) < 0.8).tolist()
    told = metadata(adapted)["priors"]
    assert told["rows"] == len(rows)
    assert told["shares"]["calm"]["estimated"] == pytest.approx(estimate.shares[1], abs=1e-6)  # type: ignore[index]
    assert told["shares"]["calm"]["interval"] is not None  # type: ignore[index]


def test_adapted_priors_void_the_promise(classifier: CheckpointClassifier, source: Path, tmp_path: Path) -> None:
    options = PredictOptions(adapt_priors=True, max_error=0.05)
    report = predict_files(classifier, [source], tmp_path / "out.jsonl", options=options)
    assert report.void
    guarantee = metadata(tmp_path / "out.jsonl")["abstention"]["guarantee"]
    assert guarantee == "void: the probabilities were adapted to other label shares"


def test_articles_are_documents_of_the_interval(classifier: CheckpointClassifier, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text("The town was calm. A raid began. Trucks arrived.", "utf-8")
    articles = [tmp_path / f"{number}.txt" for number in range(12)]
    options = PredictOptions(adapt_priors=True)
    assert predict_files(classifier, articles[:1], tmp_path / "one.csv", options=options).priors.intervals is None  # type: ignore[union-attr]
    intervals = predict_files(classifier, articles, tmp_path / "all.csv", options=options).priors.intervals  # type: ignore[union-attr]
    assert intervals is not None
    np.testing.assert_allclose(np.diff(intervals), 0, atol=0.01)  # all documents are the same


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"max_error": 0.05, "among": ["calm", "move"]},
            "--max-error does not go with --among: the error was",
        ),
        ({"adapt_priors": True, "among": ["calm", "move"]}, "--adapt-priors does not go with --among"),
        ({"max_error": 0.05, "abstain_below": 0.5}, "Give one of them"),
        ({"queue": Path("q.csv")}, "--queue takes the rows that are abstained from"),
        ({"queue": Path("q.txt"), "abstain_below": 0.5}, "expected a table's name"),
        ({"queue": Path("q.xlsx"), "abstain_below": 0.5}, "expected a table's name"),
    ],
)
def test_options_that_mean_nothing_together_are_refused(
    classifier: CheckpointClassifier, source: Path, tmp_path: Path, options: dict[str, object], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        predict_files(classifier, [source], tmp_path / "out.jsonl", options=PredictOptions(**options))  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_queue_never_replaces_an_input_or_the_output(
    classifier: CheckpointClassifier, source: Path, tmp_path: Path
) -> None:
    for queue, expected in ((source, "is an input too"), (tmp_path / "out.jsonl", "is the output too")):
        options = PredictOptions(abstain_below=0.5, queue=queue)
        with pytest.raises(UserError, match=expected):
            predict_files(classifier, [source], tmp_path / "out.jsonl", options=options, overwrite=True)


def test_adaptation_needs_a_calibration_part_and_usable_rows(
    run: Run, classifier: CheckpointClassifier, source: Path, tmp_path: Path
) -> None:
    options = PredictOptions(adapt_priors=True)
    bare = CheckpointClassifier.from_pretrained(run.layout.folder, device="cpu")
    bare.calibration = None
    with pytest.raises(UserError, match=r"--adapt-priors needs calibration\.json"):
        predict_files(bare, [source], tmp_path / "out.jsonl", options=options)
    empty = write_jsonl(tmp_path / "empty.jsonl", [{"text": ""}])
    with pytest.raises(UserError, match="no row has usable text"):
        predict_files(classifier, [empty], tmp_path / "out.jsonl", options=options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.jsonl", "in.jsonl"]
