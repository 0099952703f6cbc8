import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from conflict_framing.data import Corpus, UserError, load_corpus
from conflict_framing.model.backbone import resolve_backbone
from conflict_framing.model.layout import RunLayout
from conflict_framing.train import Interrupted, Recipe, Search, run_search, search
from conflict_framing.train.fit import passes_of
from conflict_framing.train.search import Trial


def silent(line: str) -> None:
    pass


def changed(recipe: Recipe, **training: object) -> Recipe:
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=training)})


class Pretended:
    """Stands in for ``train_run``: its clock and its scores follow from the settings, and nothing is trained."""

    def __init__(self, seconds: Callable[[Any], float], macro_f1: Callable[[Any], float]) -> None:
        self.now = 0.0
        self.runs: list[tuple[str, Recipe, Corpus]] = []
        self.interrupt_at: int | None = None
        self._seconds = seconds
        self._macro_f1 = macro_f1

    def __call__(self, corpus: Corpus, recipe: Recipe, output: Path, **options: Any) -> Any:
        if len(self.runs) + 1 == self.interrupt_at:
            self.interrupt_at = None
            (RunLayout(output.with_name(output.name + ".partial")).folder).mkdir(parents=True)
            raise Interrupted("somewhere")
        self.runs.append((output.name, recipe, corpus))
        layout = RunLayout(output)
        for folder in (layout.model, layout.splits):
            folder.mkdir(parents=True)
        layout.recipe.write_text(recipe.to_yaml(), "utf-8")
        epochs = recipe.training.epochs
        for epoch in range(1, epochs + 1):
            self.now += self._seconds(recipe.training) / epochs
            control = SimpleNamespace(should_training_stop=False)
            # Better with each pass, best with the last.
            metrics = {"eval_macro_f1": self._macro_f1(recipe.training) - 0.01 * (epochs - epoch)}
            for callback in options.get("callbacks", ()):
                callback.on_step_end(None, None, control)
                callback.on_evaluate(None, None, control, metrics=metrics)
            if control.should_training_stop:
                break
        return SimpleNamespace(layout=layout, evaluation=None)


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Pretended]:
    def start(
        seconds: Callable[[Any], float] = lambda training: 60.0,
        macro_f1: Callable[[Any], float] = lambda training: 0.9 - abs(training.learning_rate - 8e-3) * 10,
    ) -> Pretended:
        made = Pretended(seconds, macro_f1)
        monkeypatch.setattr(search, "train_run", made)
        monkeypatch.setattr(search, "monotonic", lambda: made.now)
        return made

    return start


def test_the_recipes_own_setting_is_first_and_the_best_is_trained(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, pretend: Callable[..., Pretended]
) -> None:
    made = pretend()
    said: list[str] = []
    found = run_search(corpus, recipe, tmp_path / "run", minutes=12, say=said.append)
    own = {"learning_rate": 4e-3, "freeze_layers": 0, "epochs": 6}
    assert found.trials[0].settings == own
    for trial in found.trials:
        assert 4e-3 / 5 <= trial.settings["learning_rate"] <= 4e-3 * 5
        assert trial.settings["freeze_layers"] in (0, 1)  # the tiny model has two layers
        assert 1 <= trial.settings["epochs"] <= 10
    assert found.chosen is not None
    assert found.chosen.macro_f1 == max(trial.macro_f1 for trial in found.trials) > found.trials[0].macro_f1
    name, last, whole = made.runs[-1]
    assert (name, whole) == ("run", corpus)
    assert {key: getattr(last.training, key) for key in own} == found.chosen.settings
    assert last.baselines == recipe.baselines
    assert f"Chosen: trial {found.chosen.number} (" in said[-1]


def test_the_test_part_is_kept_from_all_trials(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, run: Any, pretend: Callable[..., Pretended]
) -> None:
    made = pretend()
    run_search(corpus, recipe, tmp_path / "run", minutes=4.01, say=silent)
    tested = set(load_corpus(run.layout.split("test")).texts)  # as train_run splits the same corpus
    trained = load_corpus(run.layout.split("train")).texts
    assert len(made.runs) > 1
    for _, own, seen in made.runs[:-1]:
        assert not tested & set(seen.texts)
        assert [s.text for s in seen.sentences if s.split == "train"] == trained
        assert {s.split for s in seen.sentences} == {"train", "validation"}
        assert own.baselines is False


def test_max_corpus_draws_once_for_trials_and_final_run(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, pretend: Callable[..., Pretended]
) -> None:
    made = pretend()
    run_search(corpus, recipe.model_copy(update={"max_corpus": 120}), tmp_path / "run", minutes=4.01, say=silent)
    assert len(made.runs[0][2]) < 120  # 120 less the test part
    assert made.runs[-1][2] is corpus


@pytest.mark.parametrize(("minutes", "trials"), [(2.01, 1), (3.99, 2), (4.01, 3), (10.01, 9)])
def test_trials_leave_time_for_the_final_run(
    corpus: Corpus,
    recipe: Recipe,
    tmp_path: Path,
    pretend: Callable[..., Pretended],
    minutes: float,
    trials: int,
) -> None:
    made = pretend(macro_f1=lambda training: 0.5)
    found = run_search(corpus, recipe, tmp_path / "run", minutes=minutes, say=silent)
    assert len(found.trials) == trials
    assert made.now <= minutes * 60 + 0.001
    assert found.chosen is found.trials[0]  # of equals the first


def test_a_trial_that_takes_too_long_is_stopped_and_not_chosen(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, pretend: Callable[..., Pretended]
) -> None:
    own = recipe.training.learning_rate
    made = pretend(
        seconds=lambda training: 60 if training.learning_rate == own else 6000,
        macro_f1=lambda training: 0.5 if training.learning_rate == own else 0.9,
    )
    found = run_search(corpus, recipe, tmp_path / "run", minutes=10, say=silent)
    assert [trial.stopped for trial in found.trials] == [None, "no time"]
    assert found.chosen is found.trials[0]
    assert made.runs[-1][1].training.learning_rate == own


def test_with_too_little_time_the_recipes_own_setting_is_trained(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, pretend: Callable[..., Pretended]
) -> None:
    made = pretend()
    said: list[str] = []
    found = run_search(corpus, recipe, tmp_path / "run", minutes=1, say=said.append)
    assert found.chosen is None
    assert made.runs[-1][1] == recipe
    assert "Too little time" in said[-1]
    assert "No trial ended" in (tmp_path / "run.search" / "search.md").read_text("utf-8")


def test_a_hopeless_trial_is_stopped_early(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, pretend: Callable[..., Pretended]
) -> None:
    pretend(macro_f1=lambda training: 0.9 - training.freeze_layers * 0.5 - abs(training.learning_rate - 4e-3))
    found = run_search(corpus, recipe, tmp_path / "run", minutes=40, say=silent)
    stopped = [trial for trial in found.trials if trial.stopped]
    assert stopped
    assert {trial.stopped for trial in stopped} == {"hopeless"}
    assert all(trial.number > 5 and len(trial.epochs) >= 2 for trial in stopped)
    assert found.chosen is not None
    assert found.chosen.settings["freeze_layers"] == 0


def test_a_resumed_search_tries_the_same_and_counts_the_time(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, pretend: Callable[..., Pretended]
) -> None:
    pretend()
    whole = run_search(corpus, recipe, tmp_path / "whole", minutes=10, say=silent)
    made = pretend()
    made.interrupt_at = 4
    with pytest.raises(KeyboardInterrupt):
        run_search(corpus, recipe, tmp_path / "run", minutes=10, say=silent)
    with pytest.raises(UserError, match=r"A search is at .* --resume"):
        run_search(corpus, recipe, tmp_path / "run", minutes=10, say=silent)
    with pytest.raises(UserError, match="began with something else as recipe"):
        run_search(corpus, changed(recipe, warmup=0.2), tmp_path / "run", minutes=10, resume=True, say=silent)
    said: list[str] = []
    found = run_search(corpus, recipe, tmp_path / "run", minutes=10, resume=True, say=said.append)
    assert said[0] == "Trials finished before: 3"
    assert not [*(tmp_path / "run.search").glob("*.partial")]
    assert found.trials == whole.trials
    assert found.chosen == whole.chosen


def test_stopped_in_the_first_trial_it_begins_again(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, pretend: Callable[..., Pretended]
) -> None:
    with pytest.raises(UserError, match="no unfinished search"):
        run_search(corpus, recipe, tmp_path / "run", minutes=4.01, resume=True, say=silent)
    made = pretend()
    made.interrupt_at = 1
    with pytest.raises(KeyboardInterrupt):
        run_search(corpus, recipe, tmp_path / "run", minutes=4.01, say=silent)
    found = run_search(corpus, recipe, tmp_path / "run", minutes=4.01, resume=True, say=silent)
    assert len(found.trials) == 3


def break_off_the_final_run(corpus: Corpus, recipe: Recipe, tmp_path: Path, made: Pretended) -> None:
    """Leave a search with three trials behind whose final run has begun."""
    made.interrupt_at = 4
    with pytest.raises(Interrupted):
        run_search(corpus, recipe, tmp_path / "run", minutes=4.01, say=silent)
    RunLayout(tmp_path / "run.partial").state.write_text("{}", "utf-8")


def test_a_final_run_that_was_broken_off_goes_on_without_new_trials(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, pretend: Callable[..., Pretended]
) -> None:
    break_off_the_final_run(corpus, recipe, tmp_path, pretend())
    made = pretend()
    found = run_search(corpus, recipe, tmp_path / "run", minutes=400, resume=True, say=silent)
    assert len(found.trials) == 3
    assert [name for name, _, _ in made.runs] == ["run"]


def test_nothing_is_lost_by_mistake(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, pretend: Callable[..., Pretended], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pretend()

    def refused(what: str, **options: Any) -> None:
        with pytest.raises(UserError, match=what):
            run_search(corpus, recipe, tmp_path / "run", minutes=4.01, say=silent, **options)
        assert not made.runs

    (tmp_path / "run.partial").mkdir()
    refused("An unfinished run is at")
    (tmp_path / "run.search").mkdir()
    (tmp_path / "run.search" / "thesis.txt").write_text("years of work", "utf-8")
    refused("is no search", overwrite=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work", "utf-8")
    refused(r"run exists\. .*--overwrite")
    refused("is no run", overwrite=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused("one process")


def test_overwrite_searches_anew(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, pretend: Callable[..., Pretended]
) -> None:
    break_off_the_final_run(corpus, recipe, tmp_path, pretend())
    made = pretend()
    run_search(corpus, recipe, tmp_path / "run", minutes=4.01, overwrite=True, say=silent)
    assert [name for name, _, _ in made.runs] == ["trial-1", "trial-2", "trial-3", "run"]


def test_the_limit_on_sentences_gives_way_to_the_minutes(recipe: Recipe) -> None:
    for limit, sentences, epochs in ((28_000, 9_000, 3), (28_000, 1_000, 6), (None, 9_000, 6)):
        told = search._in_passes(changed(recipe, max_sentences=limit), sentences)
        assert (told.training.epochs, told.training.max_sentences) == (epochs, None)
    small = changed(recipe, max_sentences=5_000)
    kept = search._in_passes(small, 10_000)
    assert passes_of(kept.training, 10_000) == passes_of(small.training, 10_000) == 0.5
    assert search._space(kept, 6)["epochs"].single()


def test_layers_are_counted_without_weights(backbone: Path, tmp_path: Path) -> None:
    assert search._count_layers(resolve_backbone(str(backbone))) == 2
    config = {"model_type": "gpt2", "n_layer": 2, "n_embd": 8, "n_head": 2}  # keeps them in transformer.h
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    (tmp_path / "model.safetensors").touch()
    assert search._count_layers(resolve_backbone(str(tmp_path))) == 0


def test_a_small_search_from_end_to_end(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A minute for each finished trial, however fast the machine is.
    monkeypatch.setattr(search, "monotonic", lambda: 60.0 * len([*(tmp_path / "run.search").glob("trial-?")]))
    found = run_search(corpus, recipe, tmp_path / "run", minutes=4, device="cpu", say=silent)
    assert isinstance(found, Search)
    assert len(found.trials) == 3
    assert found.chosen is not None
    folder = tmp_path / "run.search"
    kept = json.loads((folder / "search.json").read_text("utf-8"))
    assert [Trial(**trial) for trial in kept["trials"]] == found.trials
    assert kept["chosen"] == found.chosen.number
    table = (folder / "search.md").read_text("utf-8")
    assert f"| {found.chosen.macro_f1:.3f} |" in table
    assert table.count("chosen") == 1
    assert not [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".pt", ".bin")]
    assert (folder / "trial-1" / "log.jsonl").exists()
    own = yaml.safe_load(RunLayout(tmp_path / "run").recipe.read_text("utf-8"))
    assert {key: own["training"][key] for key in found.chosen.settings} == found.chosen.settings
    # The same split, seed and settings, so the same training again.
    facts = found.run.classifier.facts.training
    assert facts["validation_macro_f1"] == pytest.approx(found.chosen.macro_f1)
    assert found.run.evaluation is not None


def test_few_labels_are_not_searched(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    own = recipe.model_copy(update={"few_labels": recipe.few_labels.model_copy(update={"up_to": 64})})
    with pytest.raises(UserError, match=r"few_labels\.up_to=null"):
        run_search(corpus.select(range(90)), own, tmp_path / "run", minutes=1, say=lambda line: None)
    assert not any(tmp_path.iterdir())
