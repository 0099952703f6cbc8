import hashlib
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import yaml
from transformers import AutoModelForSequenceClassification, TrainerCallback

from conflict_framing.data import Codebook, Corpus, UserError, load_corpus
from conflict_framing.data.split import split_corpus
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.layout import ModelLayout, RunLayout
from conflict_framing.train import Interrupted, fit, train_run
from conflict_framing.train.fit import (
    LengthGroupedSampler,
    Run,
    _decayed_optimizer,
    _parts,
    label_weights,
    passes_of,
)
from conflict_framing.train.recipe import Recipe

from ..conftest import tiny_rows, write_jsonl


def quiet(line: str) -> None:
    pass


def weights(run: Run) -> str:
    return hashlib.sha256(ModelLayout(run.layout.model).weights.read_bytes()).hexdigest()


def changed(recipe: Recipe, **training: object) -> Recipe:
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=training)})


def test_a_run_holds_what_a_person_can_open(run: Run, corpus: Corpus) -> None:
    layout = run.layout
    assert yaml.safe_load(layout.recipe.read_text("utf-8"))["name"] == "default"
    parts = [load_corpus(layout.split(part)) for part in ("train", "validation", "calibration", "test")]
    assert sorted(text for part in parts for text in part.texts) == sorted(corpus.texts)
    log = [json.loads(line) for line in layout.log.read_text("utf-8").splitlines()]
    assert any("eval_macro_f1" in entry for entry in log)
    seconds = [entry["seconds"] for entry in log]
    assert seconds == sorted(seconds)
    evaluating = sum(entry.get("eval_runtime", 0) for entry in log)
    assert evaluating < seconds[-1] < run.classifier.facts.training["seconds"] + 0.1
    assert {p.name for p in layout.evaluation.iterdir()} == {
        "confusion_matrix.png",
        "metrics.json",
        "predictions.jsonl",
        "report.html",
        "report.md",
    }
    assert not layout.checkpoints.exists()
    assert not layout.folder.with_name("tiny.partial").exists()
    pickles = [p for p in layout.folder.rglob("*") if p.suffix in (".bin", ".pt", ".pth", ".pkl", ".joblib")]
    assert pickles == []


def test_own_label_names_are_kept_everywhere(run: Run) -> None:
    config = json.loads(ModelLayout(run.layout.model).config.read_text("utf-8"))
    assert config["id2label"] == {"0": "attack", "1": "calm", "2": "move"}
    metrics = json.loads((run.layout.evaluation / "metrics.json").read_text("utf-8"))
    assert metrics["labels"] == ["attack", "calm", "move"]
    assert set(metrics["classifiers"]) == {
        "model",
        "majority",
        "TF-IDF + logistic regression",
        "frozen embeddings + logistic regression",
    }


def test_same_seed_same_weights_other_seed_other_weights(
    run: Run, corpus: Corpus, recipe: Recipe, tmp_path: Path
) -> None:
    again = train_run(corpus, recipe, tmp_path / "again", device="cpu", say=quiet)
    other = train_run(corpus, recipe.model_copy(update={"seed": 14}), tmp_path / "other", device="cpu", say=quiet)
    assert weights(again) == weights(run)
    assert weights(other) != weights(run)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Press Ctrl-C as a step begins."""

    class PressCtrlC(TrainerCallback):
        def on_step_begin(self, args: object, state: object, control: object, **_: object) -> None:
            if state.global_step == step:  # type: ignore[attr-defined]
                signal.raise_signal(signal.SIGINT)

    trainer = fit._trainer

    def trainer_with_ctrl_c(*arguments: object) -> object:
        made = trainer(*arguments)  # type: ignore[arg-type]
        made.add_callback(PressCtrlC())
        return made

    monkeypatch.setattr(fit, "_trainer", trainer_with_ctrl_c)


@pytest.mark.parametrize("step", [3, 30])
def test_ctrl_c_leaves_a_checkpoint_and_resuming_gives_the_same_weights(
    run: Run, corpus: Corpus, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    interrupt_at(monkeypatch, step)
    with pytest.raises(Interrupted):
        train_run(corpus, recipe, tmp_path / "run", device="cpu", say=quiet)
    monkeypatch.undo()
    assert not (tmp_path / "run").exists()
    checkpoints = [p.name for p in (tmp_path / "run.partial" / "checkpoints").iterdir()]
    assert f"checkpoint-{step + 1}" in checkpoints
    resumed = train_run(corpus, recipe, tmp_path / "run", device="cpu", resume=True, say=quiet)
    assert weights(resumed) == weights(run)


def test_resume_refuses_what_has_changed(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no unfinished run"):
        train_run(corpus, recipe, tmp_path / "run", resume=True, say=quiet)

    def fail(*_: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(fit, "_trainer", fail)
    with pytest.raises(RuntimeError):
        train_run(corpus, recipe, tmp_path / "run", say=quiet)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"An unfinished run is at .* --resume"):
        train_run(corpus, recipe, tmp_path / "run", say=quiet)
    with pytest.raises(UserError, match=r"the recipe has changed .*\(training\)"):
        train_run(corpus, changed(recipe, epochs=9), tmp_path / "run", resume=True, say=quiet)
    with pytest.raises(UserError, match="the corpus is not the one that the run began with"):
        train_run(corpus.select(range(200)), recipe, tmp_path / "run", resume=True, say=quiet)
    resumed = train_run(corpus, recipe, tmp_path / "run", device="cpu", resume=True, say=quiet)
    assert ModelLayout(resumed.layout.model).weights.exists()


def test_resume_refuses_another_precision(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    begun = {
        "corpus": corpus.fingerprint,
        "recipe": with_training(recipe, precision="fp32").model_dump(mode="json"),
        "device": "cpu",
        "precision": "bf16",
    }
    (tmp_path / "run.partial").mkdir()
    (tmp_path / "run.partial" / "state.json").write_text(json.dumps(begun), "utf-8")
    with pytest.raises(UserError, match="began in bf16, this machine would go on in fp32"):
        train_run(corpus, with_training(recipe, precision="fp32"), tmp_path / "run", device="cpu", resume=True)


def test_finished_run_is_kept_without_overwrite(run: Run, corpus: Corpus, recipe: Recipe) -> None:
    with pytest.raises(UserError, match=r"tiny exists: a finished run\. .*--overwrite"):
        train_run(corpus, recipe, run.layout.folder, say=quiet)


def test_overwrite_never_deletes_what_is_no_run(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work", "utf-8")
    with pytest.raises(UserError, match="is no run, so --overwrite does not delete it"):
        train_run(corpus, recipe, tmp_path / "thesis", overwrite=True, say=quiet)
    assert (tmp_path / "thesis" / "chapter.txt").exists()


def test_the_best_epoch_is_kept(run: Run) -> None:
    log = [json.loads(line) for line in run.layout.log.read_text("utf-8").splitlines()]
    best = max(entry["eval_macro_f1"] for entry in log if "eval_macro_f1" in entry)
    validation = load_corpus(run.layout.split("validation"), codebook=run.classifier.codebook)
    classifier = CheckpointClassifier.from_pretrained(run.layout.folder, device="cpu")
    assert classifier.score(validation.texts, validation.labels) == pytest.approx(best, abs=1e-6)
    assert run.classifier.facts.training["validation_macro_f1"] == pytest.approx(best)


def test_training_stops_early_without_progress(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    stuck = changed(recipe, epochs=9, learning_rate=1e-12, patience=2)
    run = train_run(corpus, stuck, tmp_path / "run", device="cpu", say=quiet)
    assert run.classifier.facts.training["epochs_run"] == 3


def test_max_sentences_bounds_the_work(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    run = train_run(corpus, changed(recipe, max_sentences=80), tmp_path / "run", device="cpu", say=quiet)
    assert run.classifier.facts.training["epochs_run"] < 1


def test_own_split_without_test_is_trained_but_not_evaluated(recipe: Recipe, tmp_path: Path) -> None:
    rows = [{**row, "split": "train" if n < 60 else "dev"} for n, row in enumerate(tiny_rows(90))]
    said: list[str] = []
    corpus = load_corpus(write_jsonl(tmp_path / "c.jsonl", rows))
    run = train_run(corpus, changed(recipe, epochs=1), tmp_path / "run", device="cpu", say=said.append)
    assert run.evaluation is None
    assert any("no evaluation" in line for line in said)
    assert "Not measured" in ModelLayout(run.layout.model).card.read_text("utf-8")


def test_frozen_parts_stay_as_they_were(corpus: Corpus, recipe: Recipe, backbone: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    frozen = changed(recipe, epochs=1, freeze_embeddings=True, freeze_layers=1)
    run = train_run(corpus, frozen, tmp_path / "run", device="cpu", say=quiet)
    before, after = load_file(backbone / "model.safetensors"), load_file(ModelLayout(run.layout.model).weights)
    moved = {name for name, value in before.items() if (after[f"bert.{name}"] != value).any()}
    assert not any(name.startswith(("embeddings.", "encoder.layer.0.")) for name in moved)
    assert any(name.startswith("encoder.layer.1.") for name in moved)
    with pytest.raises(UserError, match="has 2 layers"):
        train_run(corpus, changed(recipe, freeze_layers=7), tmp_path / "deep", device="cpu", say=quiet)


def test_a_run_on_kept_activations_resumes_to_the_same_weights(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = changed(recipe, freeze_embeddings=True, freeze_layers=1, epochs=3)
    whole = train_run(corpus, frozen, tmp_path / "whole", device="cpu", say=quiet)
    interrupt_at(monkeypatch, 12)
    with pytest.raises(Interrupted):
        train_run(corpus, frozen, tmp_path / "cut", device="cpu", say=quiet)
    monkeypatch.undo()
    cut = train_run(corpus, frozen, tmp_path / "cut", device="cpu", resume=True, say=quiet)
    assert weights(cut) == weights(whole)


def test_length_groups_hold_every_sentence_once_in_random_order() -> None:
    lengths = [n % 97 for n in range(1005)]
    sampler = LengthGroupedSampler(lengths, batch_size=8, seed=3)
    order = list(sampler)
    assert sorted(order) == list(range(1005))
    assert list(sampler) == order
    batches = [[lengths[place] for place in order[i : i + 8]] for i in range(0, 1000, 8)]
    assert sum(max(batch) - min(batch) for batch in batches) / len(batches) < 10
    # Not from long to short: the mean length of a batch says nothing about its place.
    means = np.array([sum(batch) / 8 for batch in batches])
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3
    sampler.set_epoch(1)
    assert list(sampler) != order


def test_class_weights_are_scaled_to_a_mean_of_one() -> None:
    assert label_weights([10, 30], "none") is None
    assert label_weights([10, 30], "balanced") == pytest.approx([2.0, 2 / 3])
    values = label_weights([10, 30], "sqrt")
    assert values is not None
    assert (10 * values[0] + 30 * values[1]) / 40 == pytest.approx(1)
    assert values[0] / values[1] == pytest.approx(3**0.5)


def test_class_weights_change_the_outcome(run: Run, corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    kept = [place for place, label in enumerate(corpus.labels) if label != "calm" or place % 4 == 0]
    plain = train_run(corpus.select(kept), changed(recipe, epochs=1), tmp_path / "a", device="cpu", say=quiet)
    weighted = train_run(
        corpus.select(kept),
        changed(recipe, epochs=1, class_weights="balanced"),
        tmp_path / "b",
        device="cpu",
        say=quiet,
    )
    assert weights(plain) != weights(weighted)


def test_backbone_that_is_nowhere(
    corpus: Corpus, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    nowhere = recipe.model_copy(update={"backbone": "no-such-organisation/no-such-model"})
    with pytest.raises(UserError, match="the model hub did not give it"):
        train_run(corpus, nowhere, tmp_path / "run", device="cpu", say=quiet)
    assert RunLayout(tmp_path / "run").folder.exists() is False


def with_training(recipe: Recipe, **settings: object) -> Recipe:
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=settings)})


def test_small_corpora_are_passed_more_often(recipe: Recipe) -> None:
    settings = with_training(recipe, epochs=3, max_sentences=None, min_sentences=None).training
    assert passes_of(settings, 100) == 3
    assert passes_of(settings.model_copy(update={"min_sentences": 1000}), 100) == 10
    assert passes_of(settings.model_copy(update={"min_sentences": 1000}), 600) == 3
    assert passes_of(settings.model_copy(update={"min_sentences": 1000, "max_sentences": 500}), 100) == 5
    assert passes_of(settings.model_copy(update={"max_sentences": 250}), 100) == 2
    assert passes_of(settings.model_copy(update={"max_sentences": 50}), 100) == 0.5


def test_lower_layers_learn_more_slowly(recipe: Recipe, backbone: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(backbone, num_labels=3)
    assert _decayed_optimizer(model, recipe.training) is None
    settings = with_training(recipe, layer_decay=0.5, learning_rate=0.1, weight_decay=0.01).training
    optimizer = _decayed_optimizer(model, settings)
    assert optimizer is not None
    found = {id(group["params"][0]): group for group in optimizer.param_groups}
    base = model.base_model
    for module, rate in (
        (model.classifier, 0.1),
        (base.pooler.dense, 0.1),
        (base.encoder.layer[1].output.dense, 0.1),
        (base.encoder.layer[0].output.dense, 0.05),
        (base.embeddings.word_embeddings, 0.025),
    ):
        assert found[id(module.weight)]["lr"] == pytest.approx(rate)
        assert found[id(module.weight)]["weight_decay"] == 0.01
    assert found[id(model.classifier.bias)]["weight_decay"] == 0.0
    assert len(found) == len(list(model.parameters()))


def test_swapped_copies_are_trained_on_too(recipe: Recipe, tmp_path: Path) -> None:
    names = Codebook.bundled().label_names
    rows = [{**row, "text": f"Mali {row['text']}", "label": names[n % 4]} for n, row in enumerate(tiny_rows(120))]
    for row in rows:
        del row["document"]
    corpus = load_corpus(write_jsonl(tmp_path / "corpus.jsonl", rows))
    split = split_corpus(corpus, validation=0.15, calibration=0.1, test=0.15, seed=1)
    (texts, labels), (validation, _) = _parts(split, None, with_training(recipe, swaps=1.0))
    half = len(split.train)
    assert len(texts) == len(labels) == 2 * half
    assert labels[half:] == labels[:half]
    assert all("Mali" in text for text in texts[:half])
    assert not any("Mali " in text for text in texts[half:])
    assert validation == split.validation.texts


def test_places_stay_where_other_labels_may_hang_on_them(recipe: Recipe, tmp_path: Path) -> None:
    rows = [{**row, "text": f"Mali {row['text']}"} for row in tiny_rows(90)]
    split = split_corpus(
        load_corpus(write_jsonl(tmp_path / "corpus.jsonl", rows)), validation=0.15, calibration=0.1, test=0.15, seed=1
    )
    (texts, _), _ = _parts(split, None, with_training(recipe, swaps=1.0))
    assert texts == split.train.texts


def test_training_from_the_mean_starts_where_the_regression_is(corpus: Corpus, recipe: Recipe, tmp_path: Path) -> None:
    scores = {}
    for pooling, layers in (("first", 2), ("mean", 3)):
        own = with_training(recipe, pooling=pooling, epochs=1, learning_rate=1e-5)
        run = train_run(corpus, own, tmp_path / pooling, device="cpu", say=lambda line: None)
        assert run.classifier.model.config.num_hidden_layers == layers
        assert run.evaluation is not None
        scores[pooling] = run.evaluation.model.metrics["macro_f1"]
    # One pass at such a rate leaves a random head random.
    assert scores["mean"] > scores["first"] + 0.1


def test_the_seconds_of_broken_off_attempts_count(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert fit._earlier_seconds(log) == 0
    log.touch()
    assert fit._earlier_seconds(log) == 0
    log.write_text("".join(f'{{"step": 1, "seconds": {seconds}}}\n' for seconds in (1, 4.5, 2, 3, 0.5)), "utf-8")
    assert fit._earlier_seconds(log) == 4.5 + 3 + 0.5
    with log.open("a", encoding="utf-8") as stream:  # training by contrast tells no time, and a kill cuts lines off
        stream.write('{"step": 2, "contrastive_loss": 0.1}\n{"step": 3, "seco')
    assert fit._earlier_seconds(log) == 4.5 + 3 + 0.5
