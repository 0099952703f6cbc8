from pathlib import Path

import pytest

from conflict_framing.data import UserError
from conflict_framing.train import load_recipe, recipe_names
from conflict_framing.train.recipe import Recipe


def test_all_bundled_recipes_are_valid_and_named_after_their_file() -> None:
    assert recipe_names() == ["accurate", "default", "distilled", "smoke"]
    assert [load_recipe(name).name for name in recipe_names()] == recipe_names()


def test_default_lists_every_setting() -> None:
    """The defaults live in default.yaml alone: no field of the recipe may have one in code."""

    def fields(model: type) -> list[object]:
        return list(model.model_fields.values())  # type: ignore[attr-defined]

    settings = [*fields(Recipe), *(f for s in ("split", "training") for f in fields(Recipe.model_fields[s].annotation))]  # type: ignore[arg-type]
    assert all(field.is_required() for field in settings)  # type: ignore[attr-defined]


def test_a_file_is_a_set_of_changes_to_default(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ntraining:\n  epochs: 3\n", "utf-8")
    recipe = load_recipe(str(path))
    default = load_recipe("default")
    assert (recipe.name, recipe.training.epochs) == ("mine", 3)
    assert recipe.training.learning_rate == default.training.learning_rate


def test_set_overrides_one_setting() -> None:
    recipe = load_recipe(
        "default", ["training.learning_rate=1e-4", "backbone=org/model", "training.max_sentences=null"]
    )
    assert recipe.training.learning_rate == 1e-4
    assert recipe.backbone == "org/model"
    assert recipe.training.max_sentences is None


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("default", ["training.epochs=0", "sed=1", "training.class_weights=heavy", "split.test=0.9"])
    message = str(caught.value)
    for part in ("training.epochs", "sed: no such setting", "class_weights", "leave something to train on"):
        assert part in message


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("nothing", [], "neither a bundled recipe"),
        ("default", ["epochs"], "expected key=value"),
        ("default", ["seed.x=1"], "'seed' is a setting, not a section"),
        ("default", ["seed=[1"], "not YAML"),
    ],
)
def test_wrong_names_and_settings(name: str, settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe(name, settings)


def test_a_small_corpus_is_trained_whole_unless_something_else_is_asked_for(tmp_path: Path) -> None:
    default = load_recipe("default")
    assert default.trains_whole(5000) and not default.trains_whole(5001)
    whole = default.whole().training
    assert (whole.freeze_embeddings, whole.freeze_layers, whole.learning_rate) == (False, 0, 1e-4)
    assert not default.whole().trains_whole(1)
    assert load_recipe("default", ["training.epochs=3"]).trains_whole(100)
    for setting in ("training.learning_rate=1e-4", "training.freeze_layers=1", "training.freeze_embeddings=false"):
        assert not load_recipe("default", [setting]).trains_whole(100)
        assert load_recipe("default", [setting, "small_corpus.up_to=200"]).trains_whole(100)
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ntraining:\n  freeze_layers: 1\n", "utf-8")
    assert not load_recipe(str(path)).trains_whole(100)
    # A file that holds every setting, as "recipe default" prints it.
    path.write_text(default.to_yaml(), "utf-8")
    assert load_recipe(str(path)).trains_whole(100)
    assert not load_recipe(str(path), ["training.learning_rate=2e-4"]).trains_whole(100)
    path.write_text(default.to_yaml().replace("freeze_layers: 3", "freeze_layers: 5"), "utf-8")
    assert not load_recipe(str(path)).trains_whole(100)
    assert load_recipe(str(path), ["small_corpus.up_to=200"]).trains_whole(100)
    with pytest.raises(UserError, match="small_corpus"):
        load_recipe("default", ["small_corpus=null", "training.learning_rate=1e-4"])
