import random
import re
from importlib.resources import files

import yaml

from conflict_framing.train.swaps import swap_parties, swap_places, swapped_copies


def test_a_country_becomes_the_same_other_one_throughout() -> None:
    text = "Malian soldiers left Bamako for the border of Mali with South Sudan."
    swapped = swap_places(text, random.Random(1))
    assert swapped is not None
    assert not any(name in swapped for name in ("Mali", "Bamako", "Sudan"))
    # The words around the names stay.
    assert swapped.split()[1:3] == ["soldiers", "left"]
    assert swapped == swap_places(text, random.Random(1))
    assert swapped != swap_places(text, random.Random(2))


def test_plurals_go_with_their_country() -> None:
    swapped = swap_places("Iraqis fled Iraq.", random.Random(4))
    assert swapped is not None
    assert "Iraq" not in swapped
    assert swapped.split()[0].endswith("s")


def test_a_list_of_half_the_world_is_left_alone() -> None:
    everything = yaml.safe_load(files("conflict_framing.data").joinpath("places.yaml").read_text("utf-8"))
    assert swap_places(", ".join(everything), random.Random(0)) is None


def test_names_are_found_whole_only() -> None:
    assert swap_places("The Malinke of the valley met in Iranshahr.", random.Random(0)) is None
    assert swap_places("Nothing happened.", random.Random(0)) is None


def test_copies_of_the_share_that_was_asked_for() -> None:
    texts = ["Clashes in Yemen.", "Clashes there."] * 100
    copies = swapped_copies(texts, 1.0, seed=3)
    assert [place for place, _ in copies] == list(range(0, 200, 2))
    assert all("Yemen" not in text for _, text in copies)
    assert 30 < len(swapped_copies(texts, 0.5, seed=3)) < 70
    assert swapped_copies(texts, 0.0, seed=3) == []


def test_parties_are_replaced_by_what_fits_the_grammar() -> None:
    lists = yaml.safe_load(files("conflict_framing.data").joinpath("parties.yaml").read_text("utf-8"))
    plural = "|".join(lists["plural"])
    for seed in range(20):
        swapped = swap_parties("Rebels fired on soldiers near the depot, and the rebels fled.", random.Random(seed))
        assert swapped is not None
        found = re.fullmatch(
            rf"({plural}) fired on ({plural}) near the depot, and the ({plural}) fled\.", swapped, re.I
        )
        assert found
        first, other, again = (name.lower() for name in found.groups())
        assert first == again != other
        assert swapped[0].isupper()
        assert not {"rebels", "soldiers"} & {first, other}


def test_sentences_without_parties_are_left_alone() -> None:
    assert swap_parties("The soldiers' widows met the rebel-held town's mayor.", random.Random(0)) is None
    assert swap_parties("Nothing happened.", random.Random(0)) is None


def test_a_name_stands_in_one_list_only() -> None:
    lists = yaml.safe_load(files("conflict_framing.data").joinpath("parties.yaml").read_text("utf-8"))
    names = [name for names in lists.values() for name in names]
    assert len(names) == len(set(names))


def test_names_with_capitals_are_parties_too() -> None:
    for text in ("A UN spokesman said the road was quiet.", "Shots fell, a UN spokesman said."):
        swapped = swap_parties(text, random.Random(1))
        assert swapped is not None
        assert "UN" not in swapped


def test_a_list_of_most_parties_is_left_alone() -> None:
    lists = yaml.safe_load(files("conflict_framing.data").joinpath("parties.yaml").read_text("utf-8"))
    for names in lists.values():
        assert swap_parties(", ".join(names), random.Random(0)) is None
