"""Where the quotations of an article stand, also those that go on over several sentences."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..data.articles import ArticleSentence

_OPENING, _CLOSING, _EITHER = "“«„", "”»", '"'
# A quotation that nobody closes shall not swallow the rest of a text that knows no paragraphs.
_LONGEST = 8


@dataclass(frozen=True, slots=True)
class Quoted:
    """A stretch of a sentence's text inside quotation marks.

    Attributes:
        start: in the sentence's text, after the mark.
        end: before the mark that closes it, or the end of the text.
        quotation: counts the quotations of the article; the same number in two sentences is one quotation.
    """

    start: int
    end: int
    quotation: int


def find_quotations(sentences: Sequence[ArticleSentence]) -> list[list[Quoted]]:
    """For each sentence, its stretches in quotation marks, in order.

    A quotation ends at its mark, and with its paragraph at the latest; a paragraph that begins with a mark
    while the one before left one open is told as a new quotation.
    """
    found: list[list[Quoted]] = []
    open_, count, age = False, 0, 0
    paragraph = None
    for sentence in sentences:
        if sentence.paragraph != paragraph or age > _LONGEST:
            open_, age = False, 0
        paragraph = sentence.paragraph
        text = sentence.text
        start = 0
        inside: list[Quoted] = []
        for place, sign in enumerate(text):
            if not _is_mark(text, place, sign, open_):
                continue
            if not open_:
                open_, start, age, count = True, place + 1, 0, count + 1
            else:
                open_ = False
                inside.append(Quoted(start, place, count))
        if open_:
            inside.append(Quoted(start, len(text), count))
            age += 1
        found.append(inside)
    return found


def _is_mark(text: str, place: int, sign: str, open_: bool) -> bool:
    """Whether the sign at a place opens a quotation (none is open) or closes the open one."""
    before, after = text[place - 1 : place], text[place + 1 : place + 2]
    if sign in _EITHER:
        if open_:
            # A mark before a word at the beginning of a sentence opens anew: the last was never closed.
            return bool(before) and not (before.isspace() and after.isalnum())
        return not before or not before.isalnum() or after == ""
    if sign == "‘":
        return not open_ and (not before or before.isspace() or before in "([—–")
    if sign == "’":
        return open_ and "‘" in text[:place] and bool(before) and before in ".,!?…" and not after.isalnum()
    return sign in (_CLOSING if open_ else _OPENING)


def quoted_share(text: str, inside: Sequence[Quoted]) -> float:
    """Share of a text's letters and digits that stand in quotation marks."""
    total = sum(character.isalnum() for character in text)
    return sum(c.isalnum() for quoted in inside for c in text[quoted.start : quoted.end]) / total if total else 0.0
