from dataclasses import replace
from pathlib import Path

import pytest

from conflict_framing.data import Corpus, UserError
from conflict_framing.model.backbone import resolve_backbone
from conflict_framing.train.label_errors import likely_label_errors


def test_a_wrong_label_is_found_and_the_right_one_suggested(corpus: Corpus, backbone: Path) -> None:
    right = corpus.sentences[4].label
    wrong = next(name for name in corpus.label_names if name != right)
    spoilt = Corpus(
        tuple(replace(s, label=wrong) if place == 4 else s for place, s in enumerate(corpus.sentences)),
        corpus.codebook,
    )
    found = likely_label_errors(spoilt, resolve_backbone(str(backbone)), device="cpu")
    hit = next(error for error in found if error.sentence is spoilt.sentences[4])
    assert hit.suggested == right
    assert hit.p_suggested > hit.p_label
    assert [error.p_label for error in found] == sorted(error.p_label for error in found)


def test_too_few_documents_of_a_label_are_told(corpus: Corpus, backbone: Path) -> None:
    few = corpus.select(range(9))  # three documents
    with pytest.raises(UserError, match="at least 5 independent"):
        likely_label_errors(few, resolve_backbone(str(backbone)), device="cpu")
