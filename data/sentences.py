"""Split an article into sentences with character offsets.

sentencex (Wikimedia) finds the boundaries. Around it stand two things that it does not know: which
line ends of a text are mere wrapping and which end a headline or paragraph, and a few abbreviations
after which news prose goes on ("5 p.m. Monday").
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import sentencex


@dataclass(frozen=True, slots=True)
class Span:
    """A sentence and its place: ``article[start:end]``, offsets in characters, from 0.

    ``text`` is the sentence with line wraps and runs of blanks folded to one space.
    """

    text: str
    start: int
    end: int
    paragraph: int


# Of bylines: what parts names, places and days; words inside names; and what stands for a name.
_BYLINE_MARK = re.compile(r"\s*[,|()/–—•·&]\s*(?:-\s)?|\s-\s|\s(?:and|with|in|from|at|for|of)\s")
_PARTICLE = re.compile(r"al|bin|da|del?|della|den|der|di|du|el|ibn|la|le|ter|van|von")
_STAFF = re.compile(
    r"(?i)(?:(?:our|an?|the|own|special|foreign|senior|chief|diplomatic|defence|political|regional|war|news|staff) )*"
    r"(?:correspondents?|reporters?|writers?|staff|newsroom|desk|agencies)"
)
_WEEKDAY = re.compile(r"(?i)(?:mon|tues|wednes|thurs|fri|satur|sun)day\b")
_LONGEST_BYLINE, _LONGEST_NAME = 120, 4  # characters, words

_LIST_ITEM = re.compile(r"^\s*(?:[-*•–—·▪]|\(?\d{1,2}[.)]|\[?\d{1,2}:\d{2})\s")
# After these a sentence goes on when what follows looks like the rest of a time, a name or a figure.
_GOES_ON = re.compile(
    r"""(?:\b[ap]\.m\.\s+(?=(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b|(?:GMT|UTC|E[SD]?T|CES?T|P[SD]?T|IST|MSK)\b|local\b|on\b))
    |(?:\b(?:approx|est|ca|c)\.\s+(?=\d))
    |(?:\b(?:Mr|Mrs|Ms|Mme|Dr|Prof|St|Pol|Supt|Insp|Ft|Mt|Pte|Cpl|Sgt|Maj|Capt|Lt|Col|Gen|Brig|Adm|Cmdr|Gov|Sen|Rep|Hon|Amb|Rev|Sheikh)\.\s+(?=[A-Z]))
    |(?:\b(?:No|Nos|Art|Res|para|paras)\.\s+(?=\d))""",
    re.VERBOSE,
)
# sentencex goes over these ends where marks that open and close look alike: a stop inside the marks that close a
# quotation, and a quotation that begins after a sentence. Not after "?" and "!", after which `Smith asked` may follow.
_ENDS_AT_QUOTATION = re.compile(r"""(?:\.["”]\s+(?=["“]?[A-ZÀ-Þ])|(?<=[a-z]{2})\.\s+(?=["“][A-ZÀ-Þ]))""")
# "17. The Mission …", "II. Security": the number of a paragraph is no sentence.
_NUMBER = re.compile(r"^\s*\(?(?:\d{1,3}|[IVXLC]+|[a-zA-Z])[.)]\s*$")

# Scripts without blanks between words count each sign as one. Marks that combine with a letter (Devanagari,
# Arabic) are no \w for Python, so a word is told by what it is not: white space and punctuation.
_SIGN = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_PUNCTUATION = r"""!-/:-@\[-`{-~‘-‟…–—«»‹›¿¡،؛؟।、。！，？"""
_WORD = re.compile(rf"[{_SIGN}]|[^\s{_SIGN}{_PUNCTUATION}]+(?:[-'’.,][^\s{_SIGN}{_PUNCTUATION}]+)*|[{_PUNCTUATION}]+")


def is_byline(text: str) -> bool:
    """Whether a line says who wrote the article, and nothing else.

    "By Anna Rossi", "By A. B. Rossi and Ben Okri in Kabul", "By our correspondent, 12 November 2024": a person or what
    he is, then more of them, places, days and agencies, each after a mark or a preposition.
    """
    by, _, rest = " ".join(text.split()).partition(" ")
    if by.lower().rstrip(":") != "by" or not rest or len(text) > _LONGEST_BYLINE:
        return False
    first, *others = _BYLINE_MARK.split(rest.removesuffix("."))
    return _is_writer(first) and all(_is_writer(part) or _is_capitalised(part.split()) for part in others)


def _is_writer(text: str) -> bool:
    words = text.split()
    if _STAFF.fullmatch(" ".join(words)):
        return True
    names = [word for word in words if not _PARTICLE.fullmatch(word)]
    if not 2 <= len(names) <= _LONGEST_NAME or _WEEKDAY.match(text):  # "By Monday Morning"
        return False
    return words[0] == names[0] and words[-1] == names[-1] and _is_capitalised(names) and not re.search(r"\d", text)


def _is_capitalised(words: list[str]) -> bool:
    """Names and figures alone; "al-Asadi" is a name."""
    return all(word[0].isupper() or word[0].isdigit() or word.partition("-")[2][:1].isupper() for word in words)


def split_words(text: str) -> list[tuple[int, int]]:
    """The words of a text, runs of punctuation apart: ``(start, end)`` in characters, in order.

    What is between them is white space. "cease-fire", "4,200" and "U.N" are one word each.
    """
    return [match.span() for match in _WORD.finditer(text)]


def split_sentences(article: str) -> list[Span]:
    """The sentences of an article in order.

    Blank lines part paragraphs. A single line end inside a paragraph counts as wrapping when the
    next line goes on with a small letter, when the line stops in mid-sentence at a comma, or when
    the next word would not have fitted on the line; otherwise it ends a headline, a byline, an item or a
    paragraph.

    Args:
        article: text with ``\\n`` line ends.

    Returns:
        Spans that do not overlap, in order; text between them is white space only.
    """
    spans = []
    for paragraph, (start, end) in enumerate(_paragraphs(article)):
        # Same length as the source, so offsets stay those of the article.
        flat = re.sub(r"\s", " ", article[start:end])
        for first, last in _sentence_bounds(flat):
            text = " ".join(flat[first:last].split())
            if text:
                lead = len(flat[first:last]) - len(flat[first:last].lstrip())
                tail = len(flat[first:last]) - len(flat[first:last].rstrip())
                spans.append(Span(text, start + first + lead, start + last - tail, paragraph))
    return spans


def _sentence_bounds(flat: str) -> Iterator[tuple[int, int]]:
    # sentencex takes no "…" for an end; before a capital it is one, and "." is just as long.
    flat = re.sub(r"""…(?=["'”’»)]*\s+["'“‘«(]*[A-ZÀ-Þ])""", ".", flat)
    bounds = [
        (int(first), int(last))
        for item in sentencex.get_sentence_boundaries("en", flat)
        for first, last in _parted(flat, item["start_index"], item["end_index"])
    ]
    start = None
    for place, (first, last) in enumerate(bounds):
        start = first if start is None else start
        if place + 1 < len(bounds) and _continues(flat, start, last):
            continue
        yield start, last
        start = None


def _parted(flat: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    for match in _ENDS_AT_QUOTATION.finditer(flat, first, last):
        if flat[match.end() : last].strip():
            yield first, match.end()
            first = match.end()
    yield first, last


def _continues(flat: str, start: int, cut: int) -> bool:
    near = flat[max(start, cut - 12) : cut + 14]
    offset = max(start, cut - 12)
    if any(offset + match.start() < cut <= offset + match.end() for match in _GOES_ON.finditer(near)):
        return True
    if start == 0 and _NUMBER.match(flat[start:cut]):
        return True
    # A piece without a letter or digit ("…", "”", "- ") is no sentence: keep it with what follows.
    return not any(character.isalnum() for character in flat[start:cut])


def _paragraphs(article: str) -> Iterator[tuple[int, int]]:
    """Bounds of the stretches of text inside which a line end is only wrapping."""
    for block in re.finditer(r"(?:[^\n]*\S[^\n]*(?:\n|$))+", article):
        lines = [
            (block.start() + line.start(), block.start() + line.end()) for line in re.finditer(r"[^\n]+", block.group())
        ]
        width = max(end - start for start, end in lines)
        start = lines[0][0]
        for (line_start, line_end), (next_start, next_end) in itertools.pairwise(lines):
            if not _is_wrap(article[line_start:line_end], article[next_start:next_end], width):
                yield start, line_end
                start = next_start
        yield start, lines[-1][1]


def _is_wrap(line: str, following: str, width: int) -> bool:
    if _LIST_ITEM.match(following) or is_byline(following) or is_byline(line):
        return False
    word = following.split()[0]
    if word[0].islower():
        return True
    if line.rstrip().endswith((",", "-", "–")):
        return True
    # The next word had room on this line, so the author broke it on purpose.
    return len(line.rstrip()) + 1 + len(word) > width
