from pathlib import Path

from few_labels import draw_few, draw_picture

from conflict_framing.data import Corpus


def ids(corpus: Corpus) -> set[int]:
    return {sentence.extras["id"] for sentence in corpus.sentences}


def test_so_many_of_each_label_smaller_draws_within_larger(corpus: Corpus) -> None:
    draws = [draw_few(corpus, count, seed=13) for count in (2, 8, 32)]
    assert [set(draw.counts().values()) for draw in draws] == [{2}, {8}, {32}]
    assert ids(draws[0]) < ids(draws[1]) < ids(draws[2])
    assert ids(draw_few(corpus, 8, seed=13)) == ids(draws[1])
    assert ids(draw_few(corpus, 8, seed=14)) != ids(draws[1])


def test_a_rare_label_gives_all_it_has_and_changes_no_other_draw(corpus: Corpus) -> None:
    seen = 0
    kept = []
    for place, label in enumerate(corpus.labels):
        seen += label == "calm"
        if label != "calm" or seen <= 5:
            kept.append(place)
    rare = draw_few(corpus.select(kept), 8, seed=13)
    assert rare.counts() == {"attack": 8, "calm": 5, "move": 8}
    usual = draw_few(corpus, 8, seed=13)
    assert {s.text for s in rare.sentences if s.label != "calm"} == {
        s.text for s in usual.sentences if s.label != "calm"
    }


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    few = {("ours", "us"): {8: [0.5, 0.6], 16: [0.7]}, ("tfidf", "words"): {8: [0.3, 0.4]}}
    draw_picture({"one": few, "other": few}, tmp_path / "new" / "few.png")
    assert (tmp_path / "new" / "few.png").read_bytes().startswith(b"\x89PNG")
