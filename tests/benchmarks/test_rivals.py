import pytest

import rivals
from conflict_framing.data import Corpus
from conflict_framing.data.split import Split
from conflict_framing.train.recipe import Recipe
from rivals import Outcome, all_classifiers, fit_plain, installed, setfit_steps


def test_steps_of_setfit() -> None:
    # Three labels, eight sentences each: 3 * 36 pairs of the same label, 3 * 64 of others; the rarer repeated.
    assert setfit_steps([0, 1, 2] * 8) == (2 * 192 // 16, None)
    assert setfit_steps([0, 1, 2] * 9) == (-(-40 * 27 // 16), 20)


def test_setfit_is_left_out_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rivals, "find_spec", lambda name: None)
    assert installed(["ours", "setfit", "tfidf"]) == ["ours", "tfidf"]
    assert "pip install --constraint constraints.txt" in capsys.readouterr().out
    assert installed(["ours", "tfidf"]) == ["ours", "tfidf"]
    assert capsys.readouterr().out == ""


def test_every_rival_labels_the_test_part(corpus: Corpus, recipe: Recipe) -> None:
    split = Split(corpus.select(range(90)), corpus.select([]), corpus.select([]), corpus.select(range(180, 240)))
    short = recipe.model_copy(update={"training": recipe.training.model_copy(update={"epochs": 1})})
    classifiers = all_classifiers(short, epochs=1)
    for name in ("ours", "trainer", "embeddings", "tfidf"):
        outcome = classifiers[name].fit(split, short)
        assert isinstance(outcome, Outcome)
        assert len(outcome.predictions) == 60
        assert set(outcome.predictions) <= {0, 1, 2}
        assert outcome.seconds > 0


def test_the_plain_trainer_follows_its_seed(corpus: Corpus, recipe: Recipe) -> None:
    split = Split(corpus.select(range(60)), corpus.select([]), corpus.select([]), corpus.select(range(180, 240)))
    first, again, other = (
        fit_plain(split, recipe.model_copy(update={"seed": seed}), epochs=1).predictions for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
