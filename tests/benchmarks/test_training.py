import json
import math
from argparse import Namespace
from pathlib import Path

import pytest
from training import compare, draw_picture, measure_pair, reached, read_curve

from conflict_framing.data import Corpus
from conflict_framing.train.recipe import Recipe

CURVE = [
    {"epoch": 1.0, "seconds": 10.0, "macro_f1": 0.5},
    {"epoch": 2.0, "seconds": 20.0, "macro_f1": 0.8},
    {"epoch": 3.0, "seconds": 30.0, "macro_f1": 0.7},
]
SLOW = [{**point, "seconds": 3 * point["seconds"], "macro_f1": point["macro_f1"] - 0.05} for point in CURVE]


def pair(ours: list[dict[str, float]], trainer: list[dict[str, float]]) -> dict[str, object]:
    return {"train_sentences": 600, "curves": {"ours": ours, "trainer": trainer}}


def test_evaluating_is_taken_out_of_the_seconds(tmp_path: Path) -> None:
    entries = [
        {"step": 10, "seconds": 4.0, "loss": 1.0, "epoch": 0.5},
        {"step": 20, "seconds": 10.0, "eval_macro_f1": 0.5, "eval_runtime": 2.0, "epoch": 1.0},
        {"step": 40, "seconds": 18.0, "eval_macro_f1": 0.6, "eval_runtime": 3.0, "epoch": 2.0},
        {"step": 40, "seconds": 19.0, "train_runtime": 18.0, "epoch": 2.0},
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps(entry) + "\n" for entry in entries), "utf-8")
    assert read_curve(log) == [
        {"epoch": 1.0, "seconds": 8.0, "macro_f1": 0.5},
        {"epoch": 2.0, "seconds": 13.0, "macro_f1": 0.6},
    ]


def test_ratio_of_the_seconds_to_the_same_quality() -> None:
    assert reached(CURVE, 0.6) == 20
    assert reached(CURVE, 0.9) is None
    found = compare(pair(CURVE, SLOW), None)
    assert found["target"] == pytest.approx(0.75)
    assert found["ratio"] == 3
    assert found["ours"] == {"seconds": 20, "best": 0.8, "speed": 60}
    assert compare(pair(CURVE, SLOW), 0.4)["ratio"] == 3
    assert compare(pair(SLOW, CURVE), None)["ratio"] == 0  # ours never gets as good
    assert compare(pair(CURVE, SLOW), 0.78)["ratio"] == math.inf
    assert compare(pair(CURVE, SLOW), 0.9)["ratio"] is None


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw_picture([pair(CURVE, SLOW), pair(SLOW, CURVE)], None, tmp_path / "training.png")
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")


def test_a_pair_trains_both_on_the_same_sentences_and_is_kept(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Namespace(output=tmp_path, epochs=1.0, learning_rate=1e-3, evaluations=2)
    once = recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": 1})})
    found = measure_pair(corpus, once, options, ours_first=False)
    assert found["order"] == ["trainer", "ours"]
    assert [point["epoch"] for point in found["curves"]["trainer"]] == pytest.approx([0.5, 1], abs=0.05)
    assert [point["epoch"] for point in found["curves"]["ours"]] == [1]
    monkeypatch.setattr("training.train_ours", None)
    assert measure_pair(corpus, once, options, ours_first=False) == found
    with pytest.raises(SystemExit, match="other settings"):
        measure_pair(corpus, recipe, options, ours_first=False)
