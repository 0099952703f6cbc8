import pytest

from conflict_framing.train.turns import turned_copies


def turns(text: str) -> set[str]:
    return set(turned_copies([text] * 300, 1.0, seed=3))


def test_a_state_is_negated_in_several_ways() -> None:
    found = turns("The Ridge Road is now calm.")
    assert {
        "The Ridge Road is far from calm.",
        "The Ridge Road is anything but calm.",
        "The Ridge Road is no longer calm.",
    } < found
    assert "Residents denied that the Ridge Road is now calm." in found


@pytest.mark.parametrize(
    ("text", "one"),
    [
        ("The army has retaken the bridge.", "The army has not retaken the bridge."),
        ("Two men were detained.", "Two men were no longer detained."),
        ("Patrols will resume.", "Patrols will never resume."),
        ("Karsan fell quiet.", "It is not true that Karsan fell quiet."),
    ],
)
def test_other_verbs_and_whole_sentences(text: str, one: str) -> None:
    assert one in turns(text)


def test_what_no_rule_fits_is_left_alone() -> None:
    assert not turns("La ville reste calme !")
    assert not turns('"Go home," the sergeant said twice to the crowd')
    negated = turns("The town is not safe and was never safe.")
    assert all("not not" not in text and "not no longer" not in text for text in negated)


def test_share_and_seed() -> None:
    texts = ["The road is open.", "Nothing here"] * 200
    copies = turned_copies(texts, 1.0, seed=1)
    assert len(copies) == 200
    assert copies == turned_copies(texts, 1.0, seed=1) != turned_copies(texts, 1.0, seed=2)
    assert 60 < len(turned_copies(texts, 0.5, seed=1)) < 140
    assert turned_copies(texts, 0.0, seed=1) == []
