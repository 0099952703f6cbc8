import csv
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conflict_framing import UserError
from conflict_framing.analysis.audit import intra_document_correlation, plan_audit, read_audit, write_audit
from conflict_framing.analysis.shares import FEWEST_AUDITED, prediction_powered
from conflict_framing.analysis.table import PredictionTable, read_predictions
from conflict_framing.model.metadata import metadata_file

LABELS = ["calm", "attack", "none"]


def predictions_file(path: Path, n_documents: int = 120, seed: int = 0) -> tuple[Path, np.ndarray]:
    """Predictions of two outlets, and the true label of each row."""
    chance = np.random.default_rng(seed)
    truth = []
    with path.open("w", encoding="utf-8") as stream:
        for document in range(n_documents):
            own = chance.dirichlet([0.4, 1.0, 1.2])
            for sentence in range(int(chance.integers(3, 12))):
                label = int(chance.choice(3, p=own))
                odds = np.exp(chance.normal(size=3) + 2.2 * (np.arange(3) == label))
                p = odds / odds.sum()
                truth.append(label)
                row = {
                    "document": f"d{document}",
                    "sentence": sentence,
                    "outlet": "agency" if document % 3 else "blog",
                    "text": f"=Sentence {sentence} of {document}, said the army",
                    "label": LABELS[int(p.argmax())],
                    "score": float(p.max()),
                    **{f"p_{name}": round(float(value), 6) for name, value in zip(LABELS, p, strict=True)},
                    "abstained": False,
                    "truncated": False,
                }
                stream.write(json.dumps(row) + "\n")
    return path, np.array(truth)


@pytest.fixture
def predictions(tmp_path: Path) -> tuple[PredictionTable, np.ndarray]:
    path, truth = predictions_file(tmp_path / "predictions.jsonl")
    return read_predictions([path], ["outlet"]), truth


def filled(path: Path, truth: np.ndarray, first: int | None = None) -> list[dict[str, str]]:
    """The annotators' file with its labels, the first so many."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows[:first]:
        row["label"] = LABELS[truth[int(row["row"]) - 1]]
    save(path, rows)
    return rows


def save(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def planned(table: PredictionTable, path: Path, by: Sequence[str] = ("outlet",), **more: Any) -> Path:
    write_audit(plan_audit(table, by, 0.08, **more), table, path)
    return path


@pytest.mark.parametrize("by_label", [False, True])
def test_a_sample_is_drawn_blind_labelled_and_read_back(
    by_label: bool, predictions: tuple[PredictionTable, np.ndarray], tmp_path: Path
) -> None:
    table, truth = predictions
    path = planned(table, tmp_path / "audit.csv", by_label=by_label)
    rows = filled(path, truth)
    assert list(rows[0]) == ["row", "document", "sentence", "text", "label", "inclusion_probability", "stratum"]
    assert all(row["text"].startswith("'=") for row in rows)  # no formula for a spreadsheet
    assert [int(row["row"]) for row in rows] != sorted(int(row["row"]) for row in rows)
    assert {row["stratum"] for row in rows} == {str(n) for n in range(1, 7 if by_label else 3)}
    audit = read_audit(path, table)
    assert audit.notes == ()
    np.testing.assert_array_equal(audit.labels, truth[audit.rows])
    np.testing.assert_allclose(audit.probabilities, [float(row["inclusion_probability"]) for row in rows])
    # Horvitz and Thompson: the weights stand for all rows.
    assert (1 / audit.probabilities).sum() == pytest.approx(len(table))
    for group in prediction_powered(table, ["outlet"], audit).groups:
        assert group.audited_documents >= FEWEST_AUDITED
        assert group.intervals is not None
        assert (np.diff(group.intervals).ravel() / 2).max() < 0.11  # ±8 points were planned


def test_an_audit_comes_back_from_a_european_spreadsheet(
    predictions: tuple[PredictionTable, np.ndarray], tmp_path: Path
) -> None:
    table, truth = predictions
    path = planned(table, tmp_path / "audit.csv")
    rows = filled(path, truth)
    expected = read_audit(path, table)
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(
            {n: v.replace(".", ",") if n == "inclusion_probability" else v for n, v in r.items()} for r in rows
        )
    found = read_audit(path, table)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


def test_the_plan_takes_the_column_that_predict_was_told(tmp_path: Path) -> None:
    path, _ = predictions_file(tmp_path / "predictions.jsonl")
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    renamed = [{("statement" if name == "text" else name): value for name, value in row.items()} for row in lines]
    path.write_text("".join(json.dumps(row) + "\n" for row in renamed), "utf-8")
    with pytest.raises(UserError, match=r"no column 'text'.*--text-column"):
        read_predictions([path], ["outlet"])
    metadata_file(path).write_text(json.dumps({"options": {"text_column": "statement"}}), "utf-8")
    table = read_predictions([path], ["outlet"])
    drawn = read_csv(planned(table, tmp_path / "audit.csv"))
    assert all(row["text"].removeprefix("'") == renamed[int(row["row"]) - 1]["statement"] for row in drawn)


def test_predictions_of_several_files_may_have_other_columns(tmp_path: Path) -> None:
    first, _ = predictions_file(tmp_path / "first.jsonl")
    second, _ = predictions_file(tmp_path / "second.jsonl", seed=1)
    lines = [json.loads(line) for line in second.read_text("utf-8").splitlines()]
    for number, row in enumerate(lines):
        row["id"] = f"s{number}"
        del row["sentence"]
    second.write_text("".join(json.dumps(row) + "\n" for row in lines), "utf-8")
    for files in ([first, second], [second, first]):
        table = read_predictions(files)
        drawn = read_csv(planned(table, tmp_path / "audit.csv", by=[]))
        assert list(drawn[0])[:4] == ["row", "id", "document", "sentence"]
        of_second = [row for row in drawn if row["id"]]
        assert 0 < len(of_second) < len(drawn)
        assert all(row["document"] for row in drawn)
        assert all(bool(row["sentence"]) != bool(row["id"]) for row in drawn)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_plan_is_drawn_the_same_again_and_another_seed_draws_others(
    predictions: tuple[PredictionTable, np.ndarray],
) -> None:
    table, _ = predictions
    draws = [[s.drawn.tolist() for s in plan_audit(table, ["outlet"], 0.08, seed=seed).strata] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_shorter_intervals_take_more_sentences(predictions: tuple[PredictionTable, np.ndarray]) -> None:
    table, _ = predictions
    sizes = [plan_audit(table, [], width).sentences for width in (0.2, 0.1, 0.07)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2]
    plan = plan_audit(table, [], 0.01)
    assert "too few documents" in plan.groups[0].note
    assert plan.groups[0].half_width is not None and plan.groups[0].half_width > 0.01
    assert plan.sentences < len(table)


def test_the_plan_names_what_set_the_number(predictions: tuple[PredictionTable, np.ndarray]) -> None:
    table, _ = predictions
    fine, coarse = (plan_audit(table, [], width) for width in (0.07, 0.4))
    assert [group.limit for group in fine.groups] == ["half-width"] and fine.rules == []
    assert coarse.groups[0].limit in ("30 documents", "40 sentences")
    (rule,) = coarse.rules
    assert rule.startswith(coarse.groups[0].limit)
    whole = plan_audit(table, [], 0.4, by_document=True)
    assert whole.groups[0].limit == "30 documents" and whole.groups[0].documents >= FEWEST_AUDITED
    assert whole.rules == [
        "30 documents: an interval takes 30 audited documents; 36 are drawn on average, so that chance seldom leaves "
        "too few."
    ]


def test_planned_half_widths_are_reached_on_average(tmp_path: Path) -> None:
    reached = []
    for seed in range(8):
        path, truth = predictions_file(tmp_path / f"{seed}.jsonl", seed=seed)
        table = read_predictions([path], [])
        audit_file = tmp_path / f"{seed}.csv"
        write_audit(plan_audit(table, [], 0.08), table, audit_file)
        filled(audit_file, truth)
        (group,) = prediction_powered(table, [], read_audit(audit_file, table)).groups
        assert group.intervals is not None
        reached.append((np.diff(group.intervals) / 2).max())
    assert 0.05 < np.mean(reached) < 0.09


def test_whole_documents_are_drawn_labelled_and_read_back(
    predictions: tuple[PredictionTable, np.ndarray], tmp_path: Path
) -> None:
    table, truth = predictions
    plan = plan_audit(table, ["outlet"], 0.1, by_document=True)
    path = tmp_path / "audit.csv"
    write_audit(plan, table, path)
    rows = filled(path, truth)
    drawn = {row["document"] for row in rows}
    whole = {row["document"]: int((table.documents == table.documents[int(row["row"]) - 1]).sum()) for row in rows}
    assert all(sum(row["document"] == name for row in rows) == whole[name] for name in drawn)
    # A document stands together, in its own order, and the documents in none.
    runs = [list(group) for _, group in itertools.groupby(rows, key=lambda row: row["document"])]
    assert len(runs) == len(drawn) and [run[0]["document"] for run in runs] != sorted(drawn)
    assert all([int(row["sentence"]) for row in run] == list(range(len(run))) for run in runs)
    assert sum(group.documents for group in plan.groups) == len(drawn)
    assert sum(group.sentences for group in plan.groups) == len(rows) == plan.sentences
    # Sentences of a document are alike, so it takes more of them than of single ones.
    single = plan_audit(table, ["outlet"], 0.1)
    for group, other in zip(plan.groups, single.groups, strict=True):
        assert group.design_effect is not None and other.design_effect is not None
        assert group.design_effect > other.design_effect >= 1
        assert group.sentences > other.sentences and group.documents <= other.documents
    audit = read_audit(path, table)
    assert audit.notes == ()
    np.testing.assert_array_equal(audit.labels, truth[audit.rows])
    np.testing.assert_allclose(audit.probabilities, [float(row["inclusion_probability"]) for row in rows])
    documents = [len(np.unique(table.documents[table.groups(["outlet"]).codes == code])) for code in (0, 1)]
    assert {round(p, 9) for p in audit.probabilities} == {
        round(group.documents / of, 9) for group, of in zip(plan.groups, documents, strict=True)
    }
    for found in prediction_powered(table, ["outlet"], audit).groups:
        assert found.audited_documents >= FEWEST_AUDITED and found.intervals is not None


def test_a_document_that_is_labelled_in_part_does_not_count(
    predictions: tuple[PredictionTable, np.ndarray], tmp_path: Path
) -> None:
    table, truth = predictions
    path = tmp_path / "audit.csv"
    plan = plan_audit(table, [], 0.1, by_document=True)
    write_audit(plan, table, path)
    rows = filled(path, truth, first=0)
    ends = [place for place in range(1, len(rows)) if rows[place]["document"] != rows[place - 1]["document"]]
    rows = filled(path, truth, first=ends[29] + 1)  # thirty documents and a sentence
    audit = read_audit(path, table)
    assert len(np.unique(table.documents[audit.rows])) == 30
    assert set(audit.probabilities) == {30 / 120}
    assert audit.notes == (
        f"{plan.groups[0].documents - 30} of {plan.groups[0].documents} drawn documents are not labelled to their end "
        f"and do not count; the others stand for them.",
    )
    for row in rows[1:]:
        row["label"] = ""
    save(path, rows)
    with pytest.raises(UserError, match="no drawn document has labels for all its sentences"):
        read_audit(path, table)


def test_what_parts_a_document_does_not_go_with_whole_documents(tmp_path: Path) -> None:
    table = read_predictions([predictions_file(tmp_path / "p.jsonl")[0]], ["sentence"])
    with pytest.raises(UserError, match=r"have sentences of several groups of sentence\. .*can be grouped by them"):
        plan_audit(table, ["sentence"], 0.1, by_document=True)
    with pytest.raises(UserError, match="--stratify label parts"):
        plan_audit(table, [], 0.1, by_label=True, by_document=True)


def test_planned_half_widths_of_whole_documents_are_reached_on_average(tmp_path: Path) -> None:
    reached = []
    for seed in range(8):
        path, truth = predictions_file(tmp_path / f"{seed}.jsonl", seed=seed)
        table = read_predictions([path], [])
        write_audit(plan_audit(table, [], 0.08, by_document=True), table, tmp_path / f"{seed}.csv")
        filled(tmp_path / f"{seed}.csv", truth)
        (group,) = prediction_powered(table, [], read_audit(tmp_path / f"{seed}.csv", table)).groups
        assert group.intervals is not None
        reached.append((np.diff(group.intervals) / 2).max())
    assert 0.05 < np.mean(reached) < 0.09


def test_small_groups_share_a_stratum_and_are_told(tmp_path: Path) -> None:
    path, _ = predictions_file(tmp_path / "p.jsonl", n_documents=60)  # 20 of the blog, 40 of the agency
    table = read_predictions([path], ["outlet"])
    plan = plan_audit(table, ["outlet"], 0.1)
    assert [group.note.startswith("too few documents") for group in plan.groups] == [False, True]
    assert plan.groups[1].limit == ""
    assert sum(len(stratum.rows) for stratum in plan.strata) == len(table)
    few = read_predictions([predictions_file(tmp_path / "few.jsonl", n_documents=20)[0]], ["outlet"])
    with pytest.raises(UserError, match="coarser groups"):
        plan_audit(few, ["outlet"], 0.1)


def test_the_intra_document_correlation() -> None:
    chance = np.random.default_rng(0)
    documents = np.repeat(np.arange(300), 8)
    own = 0.5 + 0.1 * chance.normal(size=300)[documents] + 0.2 * chance.normal(size=2400)
    table = PredictionTable(
        labels=["a", "b"],
        probabilities=np.stack([own, 1 - own], axis=1).astype(np.float32),
        predicted=np.zeros(2400, np.int64),
        documents=documents,
        columns={},
        texts=np.zeros(2400, np.uint32),
    )
    found = intra_document_correlation(table, np.zeros(2400, np.int64))
    np.testing.assert_allclose(found, 0.1**2 / (0.1**2 + 0.2**2), atol=0.04)


def test_a_half_labelled_file_counts_with_what_it_has(
    predictions: tuple[PredictionTable, np.ndarray], tmp_path: Path
) -> None:
    table, truth = predictions
    path = planned(table, tmp_path / "audit.csv")
    rows = filled(path, truth, first=150)
    audit = read_audit(path, table)
    assert len(audit.rows) == 150
    assert (1 / audit.probabilities).sum() == pytest.approx(len(table))
    assert audit.notes == (
        f"{len(rows) - 150} of {len(rows)} drawn sentences have no label yet; the others stand for them.",
    )
    rows[3]["label"] = ""
    save(path, rows)
    assert "1 sentences were skipped" in read_audit(path, table).notes[1]


def test_labels_may_differ_in_case_and_blanks(predictions: tuple[PredictionTable, np.ndarray], tmp_path: Path) -> None:
    table, truth = predictions
    path = planned(table, tmp_path / "audit.csv")
    rows = filled(path, truth)
    rows[0]["label"] = f" {rows[0]['label'].upper()} "
    save(path, rows)
    np.testing.assert_array_equal(read_audit(path, table).labels, truth[read_audit(path, table).rows])


def test_a_queue_is_refused_and_so_is_a_file_without_probabilities(
    predictions: tuple[PredictionTable, np.ndarray], tmp_path: Path
) -> None:
    table, _ = predictions
    queue = tmp_path / "queue.csv"
    queue.write_text("text,suggested,score,label\nAll is calm,calm,0.4,calm\n", "utf-8")
    with pytest.raises(UserError, match=r"queue of 'predict'.*no random sample.*--plan-audit"):
        read_audit(queue, table)
    # Probabilities that somebody added do not make it one.
    queue.write_text("text,suggested,score,label,inclusion_probability\nAll is calm,calm,0.4,calm,0.1\n", "utf-8")
    with pytest.raises(UserError, match="queue of 'predict'"):
        read_audit(queue, table)
    labelled = tmp_path / "labelled.csv"
    labelled.write_text("text,label\nAll is calm,calm\n", "utf-8")
    with pytest.raises(UserError, match=r"no column 'inclusion_probability'.*random sample"):
        read_audit(labelled, table)


def test_an_audit_must_be_whole_and_of_these_predictions(
    predictions: tuple[PredictionTable, np.ndarray], tmp_path: Path
) -> None:
    table, truth = predictions
    path = planned(table, tmp_path / "audit.csv")
    with pytest.raises(UserError, match="is empty in all rows"):
        read_audit(path, table)
    rows = filled(path, truth)

    def refused(changed: list[dict[str, str]], message: str) -> None:
        save(path, changed)
        with pytest.raises(UserError, match=message):
            read_audit(path, table)

    refused(rows[1:], "1 of the .* drawn sentences are not in the file")
    refused([*rows, rows[0]], "stands there twice")
    added = next(n for n in range(1, len(table)) if str(n) not in {row["row"] for row in rows})
    refused([*rows, {**rows[0], "row": str(added)}], "was not drawn")
    refused([{**rows[0], "row": "first"}, *rows[1:]], "expected a row number")
    refused([{**rows[0], "row": "inf"}, *rows[1:]], "expected a row number")
    refused([{**rows[0], "text": "Another sentence."}, *rows[1:]], "the text differs from row")
    refused([{**rows[0], "label": "peace"}, *rows[1:]], "expected one of the labels calm, attack, none")
    refused([{k: v for k, v in row.items() if k != "stratum"} for row in rows], "no column 'stratum'")
    save(path, rows)
    longer = read_predictions([table.files[0], predictions_file(tmp_path / "more.jsonl", 3)[0]], ["outlet"])
    with pytest.raises(UserError, match="had no chance to be drawn"):
        read_audit(path, longer)
    moved = path.rename(tmp_path / "moved.csv")
    with pytest.raises(UserError, match=r"copy it there, named after moved\.csv"):
        read_audit(moved, table)
    for damaged in ("{}", "no json", "5", '{"audit": 5}', "[" * 100_000):
        (tmp_path / "moved.csv.meta.json").write_text(damaged, "utf-8")
        with pytest.raises(UserError, match="not the metadata of an audit"):
            read_audit(moved, table)


def test_an_audit_that_was_planned_by_version_1_counts(
    predictions: tuple[PredictionTable, np.ndarray], tmp_path: Path
) -> None:
    table, truth = predictions
    path = planned(table, tmp_path / "audit.csv")
    filled(path, truth)
    expected = read_audit(path, table)
    told = json.loads(metadata_file(path).read_text("utf-8"))
    # As commit b0d10fc wrote it: sentences were all that could be drawn.
    del told["audit"]["unit"]
    told["audit"]["version"] = 1
    told["audit"]["strata"] = {
        number: {"name": stratum["name"], "rows": stratum["units"], "drawn": stratum["drawn"]}
        for number, stratum in told["audit"]["strata"].items()
    }
    metadata_file(path).write_text(json.dumps(told), "utf-8")
    found = read_audit(path, table)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"order": 5}, "order: Input should be a valid list"),
        ({"order": []}, "order: List should have at least 1 item"),
        ({"order": [[10**6, 1]]}, "order: expected rows from 1 to"),
        ({"order": [[0, 1]]}, "order: expected rows from 1 to"),
        ({"strata": {}}, "order: expected strata that stand in strata"),
        ({"strata": {"1": {"units": 0}}}, "strata.1.units: Input should be greater"),
        ({"strata": {"1": 5}}, "strata.1: Input should be"),
        ({"unit": "word"}, "unit: Input should be 'sentence' or 'document'"),
        ({"version": 3}, "version: Input should be 1 or 2"),
        ({"rows": "many"}, "rows: Input should be a valid integer"),
    ],
)
def test_damaged_metadata_is_told(
    changed: dict[str, object], problem: str, predictions: tuple[PredictionTable, np.ndarray], tmp_path: Path
) -> None:
    table, truth = predictions
    path = planned(table, tmp_path / "audit.csv")
    filled(path, truth)
    told = json.loads(metadata_file(path).read_text("utf-8"))
    metadata_file(path).write_text(json.dumps({"audit": told["audit"] | changed}), "utf-8")
    with pytest.raises(UserError, match=r"not the metadata of an audit\..*") as caught:
        read_audit(path, table)
    assert problem in str(caught.value)
