"""Sentences turned round: copies with a negation, a denial or a condition, for a teacher to label.

What such a copy should be labelled hangs on the whole sentence, so no rule can say; the teacher does, as it labels
augmented text in TinyBERT (Jiao et al. 2020, section 3.2). The rules are for English; other text is left alone.
"""

import random
import re
from collections.abc import Sequence

_NEGATED = r"(?!\s+(?:not|no|never|hardly|far)\b)"
_BE = re.compile(rf"\b(is|are|was|were)\b{_NEGATED}")
_AUXILIARY = re.compile(rf"\b(has|have|had|will|would|can|could)\b{_NEGATED}")
_STATE = re.compile(
    r"\b(is|are|was|were|remains|remain|remained)\s+((?:now|again|largely|mostly|fully|relatively)\s+)?"
    r"(?=(?:calm|quiet|stable|safe|secure|peaceful|normal|open|under control|over|contained|secured|restored)\b)"
)
_FRAMES = (
    "It is not true that {}.",
    "Residents denied that {}.",
    "Nobody there would say that {}.",
    "Claims that {} were rejected the same day.",
    "If {}, the talks could resume.",
    "It remains to be seen whether {}.",
    "The delegation hopes for the day when {}.",
)
# A name keeps its capital inside a frame.
_OPENING = re.compile(
    r"(?:the|an?|in|on|at|no|any|all|every|two|three|several|both|some|most|more|there|it|they|we|s?he|this|these"
    r"|its|their|his|her)\b",
    re.IGNORECASE,
)
_MOST_WORDS = 25  # of a sentence that can still be read inside a frame


def _state(text: str, chance: random.Random) -> str:
    return _STATE.sub(lambda m: f"{m[1]} {chance.choice(('far from', 'anything but', 'no longer'))} ", text, count=1)


def _be(text: str, chance: random.Random) -> str:
    return _BE.sub(lambda m: f"{m[1]} {chance.choice(('not', 'no longer', 'not yet'))}", text, count=1)


def _auxiliary(text: str, chance: random.Random) -> str:
    return _AUXILIARY.sub(lambda m: f"{m[1]} {chance.choice(('not', 'never'))}", text, count=1)


def _frame(text: str, chance: random.Random) -> str:
    if len(text.split()) > _MOST_WORDS or text[-1] != "." or '"' in text or "“" in text:
        return text
    if _OPENING.match(text):
        text = text[0].lower() + text[1:]
    return chance.choice(_FRAMES).format(text.rstrip("."))


def turned_copies(texts: Sequence[str], share: float, seed: int) -> list[str]:
    """Copies of some sentences with a negation in them or inside a denial, a doubt, a wish or a condition.

    Args:
        texts: the training sentences.
        share: of them that get a copy, where a rule fits.
        seed: of the drawing.
    """
    if not share:
        return []
    chance = random.Random(seed)  # noqa: S311 - no secret
    copies = []
    for text in texts:
        if chance.random() < share:
            # A statement about a state first: its turn is what most often changes the label.
            rules = [_state, *chance.sample((_be, _auxiliary, _frame), 3)]
            if chance.random() < 1 / 3:
                rules.insert(0, _frame)
            turned = next((new for rule in rules if (new := rule(text, chance)) != text), None)
            if turned:
                copies.append(turned)
    return copies
