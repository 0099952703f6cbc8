import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from conflict_framing import cli
from conflict_framing.data import Corpus, UserError, load_corpus
from conflict_framing.data.split import split_units
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.abstain import binomial_tail
from conflict_framing.model.cascade import is_sure
from conflict_framing.model.layout import ModelLayout, RunLayout
from conflict_framing.train import cascade, export, train_run
from conflict_framing.train.cascade import Unlabelled, cascade_folder
from conflict_framing.train.recipe import CascadeSettings, Recipe

from ..conftest import tiny_rows, write_jsonl

SETTINGS = CascadeSettings(most_changed=0.1, max_sentences=None)


def exit_status(command: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(command)
    return int(ended.value.code or 0)


def compared(scores: list[float], changed: list[bool]) -> "cascade._Compared":
    first = np.array([[score, 1 - score] for score in scores], np.float32)
    return cascade._Compared(first, np.array(changed))


def test_the_threshold_leaves_so_many_changes() -> None:
    found = compared([0.9, 0.8, 0.8, 0.7, 0.6], [False, True, True, False, True])
    thresholds = [cascade._above(found, allowed) for allowed in range(4)]
    assert thresholds == pytest.approx([0.8, 0.8, 0.6, 0.0])
    for allowed, threshold in enumerate(thresholds):
        assert (is_sure(found.first, threshold) & found.changed).sum() <= allowed
    assert is_sure(found.first, thresholds[0]).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(("draws", "most", "allowed"), [(299, 0.01, 0), (472, 0.01, 0), (473, 0.01, 1), (59, 0.05, 0)])
def test_how_many_changes_the_promise_allows(draws: int, most: float, allowed: int) -> None:
    assert cascade._allowed(draws, most) == allowed
    assert binomial_tail(allowed, draws, most) <= 0.05 < binomial_tail(allowed + 1, draws, most)


def test_the_promise_is_broken_in_one_of_twenty_choices_at_most() -> None:
    """Scores uniform on 0.5 to 1, and an answer of score s changes the label with probability 1 - s."""
    chance = np.random.default_rng(1)
    most, draws, trials = 0.05, 200, 2000
    allowed = cascade._allowed(draws, most)
    broken = 0
    for _ in range(trials):
        scores = chance.uniform(0.5, 1, draws)
        changed = chance.random(draws) < (1 - scores)
        threshold = cascade._above(compared(scores.tolist(), changed.tolist()), allowed)
        # P(score > t and changed) for a score that is uniform on 0.5 to 1.
        broken += (1 - max(threshold, 0.5)) ** 2 > most
    assert broken / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
    assert broken  # it is not far from what is allowed


def test_documents_of_the_threshold_are_not_taught(run_parts: dict[str, Corpus]) -> None:
    rows = tiny_rows(300, seed=3)
    unlabelled = Unlabelled([str(row["text"]) for row in rows], [str(row["document"]) for row in rows])
    taught, draws = cascade._divide(run_parts, unlabelled, SETTINGS, 0)
    document = {str(row["text"]): row["document"] for row in rows}
    validation = run_parts["validation"]
    own = len(set(split_units(validation)))
    assert set(draws[:own]) <= set(validation.texts)
    assert len(draws) == own + 50
    held_out = {document[text] for text in draws[own:]}
    assert len(held_out) == 50
    assert not held_out & {document.get(text) for text in taught}
    assert not set(validation.texts) & set(taught)
    assert set(run_parts["train"].texts) - set(validation.texts) - set(draws) <= set(taught)
    assert cascade._divide(run_parts, unlabelled, SETTINGS, 0) == (taught, draws)
    few, _ = cascade._divide({}, unlabelled, CascadeSettings(most_changed=0.1, max_sentences=20), 0)
    assert len(few) == 20
    everything, none = cascade._divide({}, Unlabelled(["a", "b"], [None, None]), SETTINGS, 0)
    assert (sorted(everything), none) == (["a", "b"], [])


@pytest.fixture(scope="module")
def run_parts(cascaded: Path) -> dict[str, Corpus]:
    return {name: load_corpus(RunLayout(cascaded).split(name)) for name in ("train", "validation", "calibration")}


def test_what_was_measured_is_kept(cascaded: Path, run_parts: dict[str, Corpus]) -> None:
    classifier = CheckpointClassifier.from_pretrained(cascaded)
    facts = classifier.cascade
    assert facts is not None
    assert set(facts.measured) == {"drawn documents", "validation", "calibration"}
    share = facts.measured["calibration"]
    whole = CheckpointClassifier.from_pretrained(cascaded, cascade=False)
    texts = run_parts["calibration"].texts
    found = classifier.runtime.score(texts)
    assert found.by_first_stage is not None
    assert share.sentences == len(texts)
    assert share.answered == pytest.approx(found.by_first_stage.mean())
    changed = found.probabilities.argmax(axis=1) != whole.predict_proba(texts).argmax(axis=1)
    assert share.changed == pytest.approx(changed.mean())
    assert facts.measured["drawn documents"].changed * facts.documents <= facts.allowed + 1e-9
    assert facts.measured["validation"].changed <= facts.most_changed
    assert set(facts.sentences_per_second) == {"cascade", "graph"}
    assert classifier.facts.training["cascade"] == facts.model_dump()


def test_it_is_the_same_when_made_again(cascaded: Path, tmp_path: Path) -> None:
    rows = tiny_rows(420, seed=21)
    unlabelled = Unlabelled([str(row["text"]) for row in rows], [str(row["document"]) for row in rows])
    folder = Path(shutil.copytree(cascaded, tmp_path / "run"))
    first = CheckpointClassifier.from_pretrained(cascaded).cascade
    again = cascade_folder(folder, unlabelled, SETTINGS, say=lambda line: None)
    assert first is not None
    assert again.sha256 == first.sha256
    assert again.threshold == first.threshold


def test_too_few_documents_are_told(cascaded: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cascaded, tmp_path / "run"))
    with pytest.raises(UserError, match=r"--cascade: .* at most 1% .* takes at least 299 documents .* there are \d+"):
        cascade_folder(folder, Unlabelled(), CascadeSettings(most_changed=0.01, max_sentences=None))
    # What was there before still is.
    assert (
        CheckpointClassifier.from_pretrained(folder).cascade == CheckpointClassifier.from_pretrained(cascaded).cascade
    )


def test_sentences_of_unknown_documents_are_not_held_out(cascaded: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cascaded, tmp_path / "run"))
    rows = tiny_rows(900, seed=8)
    table = write_jsonl(tmp_path / "one_article.jsonl", [{"text": row["text"]} for row in rows])
    command = ["export", "--model", str(folder), "--cascade", "0.01", "--unlabelled", str(table)]
    assert exit_status(command) == 2  # 900 sentences of perhaps one document are no 299 documents


def test_only_the_run_that_it_came_from_serves(cascaded: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cascaded, tmp_path / "run"))
    packed = Path(shutil.copytree(RunLayout(folder).model, tmp_path / "packed"))
    with pytest.raises(UserError, match=r"its calibration part is not beside it.*--parts RUN"):
        cascade_folder(packed, Unlabelled(), SETTINGS)
    part = RunLayout(folder).split("calibration")
    rows = part.read_text("utf-8").splitlines()
    part.write_text("\n".join(rows[:-1]) + "\n", "utf-8")
    with pytest.raises(UserError, match=r"is not the one that .* was calibrated on"):
        cascade_folder(packed, Unlabelled(), SETTINGS, run=folder)


def test_another_graph_takes_the_first_stage_away(cascaded: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cascaded, tmp_path / "run"))
    export.export_folder(folder, overwrite=True, say=lambda line: None)
    layout = ModelLayout(RunLayout(folder).model)
    assert not any(path.exists() for path in layout.of_cascade)
    assert "cascade" not in json.loads(layout.facts.read_text("utf-8"))["training"]


def test_training_makes_it_where_the_recipe_says_so(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    off = {"baselines": False, "behaviour": False, "reference": False, "export": True}
    for most, works in ((0.5, True), (0.01, False)):
        own = recipe.model_copy(update={**off, "cascade": CascadeSettings(most_changed=most, max_sentences=None)})
        said: list[str] = []
        run = train_run(corpus, own, tmp_path / str(most), device="cpu", say=said.append)
        kept = run.classifier.facts.training["cascade"]
        layout = ModelLayout(run.layout.model)
        assert layout.cascade.exists() == layout.cascade_calibration.exists() == works
        assert json.loads(layout.facts.read_text("utf-8"))["training"]["cascade"] == kept
        assert any(line.startswith("First stage: at most 50%") for line in said) == works
        assert any(line.startswith("note: no first stage was made: ") for line in said) != works


def test_the_command(cascaded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(cascaded, tmp_path / "run"))
    unlabelled = write_jsonl(tmp_path / "more.jsonl", tiny_rows(420, seed=21))
    command = ["export", "--model", str(folder)]
    assert exit_status([*command, "--cascade", "0.1", "--unlabelled", str(unlabelled)]) == 0
    told = capsys.readouterr().out
    assert "First stage: at most 10% of sentences get another label" in told
    assert "calibration: " in told
    assert exit_status([*command, "--unlabelled", str(unlabelled)]) == 2
    assert "go with --cascade" in capsys.readouterr().err
    packed = shutil.copytree(RunLayout(folder).model, tmp_path / "packed")
    parts = ["export", "--model", str(packed), "--cascade", "0.1", "--unlabelled", str(unlabelled), "--parts"]
    assert exit_status([*parts, str(folder)]) == 0
    assert "validation: " in capsys.readouterr().out
    facts = ModelLayout(packed).facts
    facts.write_text(facts.read_text("utf-8").replace('"corpus_fingerprint": "', '"corpus_fingerprint": "0'), "utf-8")
    assert exit_status([*parts, str(folder)]) == 2
    assert "its corpus is another" in capsys.readouterr().err
