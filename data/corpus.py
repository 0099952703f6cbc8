"""Labelled corpora: read, check and carry annotated sentences."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from .codebook import Codebook, normalise_label
from .errors import UserError
from .tables import BadRow, Row, missing_column, read_table, write_jsonl

_SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "calibration": "calibration",
    "test": "test",
}
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Sentence:
    """One annotated sentence.

    Attributes:
        text: the sentence as published.
        label: its label, one of the codebook's.
        document: the document it stands in, or None when it stands alone.
        group: the contrast group it belongs to, or None.
        split: ``train``, ``validation``, ``calibration`` or ``test`` where the corpus itself says so.
        extras: every other column, kept as it came.
        path, line: where it was read.
    """

    text: str
    label: str
    document: str | None
    group: str | None
    split: str | None
    extras: Mapping[str, Any]
    path: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"

    def to_row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"text": self.text, "label": self.label}
        for name in ("document", "group", "split"):
            if getattr(self, name) is not None:
                row[name] = getattr(self, name)
        # A column of that name beside --text-column or --label-column gives way.
        return row | {name: value for name, value in self.extras.items() if name not in row}


class CorpusError(UserError):
    """A corpus cannot be used as it is; ``problems`` holds one ``path:line: what`` per problem."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        shown = "\n".join(problems[:_SHOWN])
        more = f"\n… and {len(problems) - _SHOWN} more." if len(problems) > _SHOWN else ""
        super().__init__(shown + more)


@dataclass(frozen=True)
class Corpus:
    """Annotated sentences with the codebook of their labels."""

    sentences: tuple[Sentence, ...]
    codebook: Codebook

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def texts(self) -> list[str]:
        return [sentence.text for sentence in self.sentences]

    @property
    def labels(self) -> list[str]:
        return [sentence.label for sentence in self.sentences]

    @property
    def label_names(self) -> list[str]:
        return self.codebook.label_names

    @property
    def label_ids(self) -> list[int]:
        """The labels as their places in ``label_names``."""
        places = {name: place for place, name in enumerate(self.label_names)}
        return [places[label] for label in self.labels]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over texts, labels, groups, documents and splits: equal for equal training data."""
        digest = hashlib.sha256()
        for s in self.sentences:
            digest.update(json.dumps([s.text, s.label, s.document, s.group, s.split]).encode())
        digest.update(json.dumps(self.label_names).encode())
        return digest.hexdigest()

    def select(self, places: Iterable[int]) -> "Corpus":
        return Corpus(tuple(self.sentences[place] for place in places), self.codebook)

    def marked(self, part: str) -> "Corpus":
        """The same sentences, all of them put into one part of the split (see ``split.PARTS``)."""
        return Corpus(tuple(replace(sentence, split=part) for sentence in self.sentences), self.codebook)

    def counts(self) -> dict[str, int]:
        """Sentences per label, in the codebook's order."""
        found = Counter(self.labels)
        return {name: found[name] for name in self.label_names}

    def write(self, path: Path) -> None:
        """Write the corpus as JSONL."""
        write_jsonl(path, [sentence.to_row() for sentence in self.sentences])


def bundled_corpus_files() -> list[Path]:
    """The files of the corpus that comes with the package."""
    folder = Path(str(files("conflict_framing.data").joinpath("corpus")))
    return sorted(folder.glob("*.jsonl"))


def load_corpus(
    *paths: str | Path,
    codebook: Codebook | str | Path | None = None,
    text_column: str = "text",
    label_column: str = "label",
    encoding: str = "utf-8",
) -> Corpus:
    """Read one labelled corpus from one or more files.

    Args:
        paths: JSONL, CSV, TSV or Parquet files, each also gzipped; none means the bundled corpus.
        codebook: the labels that may occur. Without one, the bundled codebook serves where all
            labels are its own; else the labels are those of the corpus, in alphabetical order.
        text_column: the column that holds the sentences.
        label_column: the column that holds the labels.
        encoding: of the text formats.

    Returns:
        The corpus, sentences in the order of the files.

    Raises:
        CorpusError: rows that cannot be used (malformed, no text, no or unknown label), each with
            ``path:line``.
        UserError: a file as a whole cannot be read, or lacks a column.
    """
    if not paths:
        paths = tuple(bundled_corpus_files())
        codebook = codebook or Codebook.bundled()
    if codebook is not None and not isinstance(codebook, Codebook):
        codebook = Codebook.load(codebook)
    problems: list[str] = []
    sentences: list[Sentence] = []
    for path in paths:
        before = len(sentences) + len(problems)
        for row in read_table(path, encoding=encoding):
            sentence = _sentence(row, text_column, label_column)
            if isinstance(sentence, Sentence):
                sentences.append(sentence)
            else:
                problems.append(sentence)
        if len(sentences) + len(problems) == before:
            raise UserError(f"{path}: no rows in it.")
    if problems:
        raise CorpusError(problems)
    codebook = codebook or _guess_codebook(sentences)
    unknown = [unknown_label(s.place, s.label, codebook) for s in sentences if s.label not in codebook.label_names]
    if unknown:
        raise CorpusError(unknown)
    return Corpus(tuple(sentences), codebook)


def _sentence(row: Row | BadRow, text_column: str, label_column: str) -> Sentence | str:
    if isinstance(row, BadRow):
        return f"{row.place}: {row.reason}"
    values = dict(row.values)
    for column, option in ((text_column, "--text-column"), (label_column, "--label-column")):
        if column not in values:
            raise missing_column(column, list(values), f"{row.path}:{row.line}", option)
    place = f"{row.path}:{row.line}"
    text, label = values.pop(text_column), values.pop(label_column)
    if not isinstance(text, str) or not text.strip():
        return f"{place}: expected text in column '{text_column}', came {text!r}"
    if isinstance(label, bool) or not isinstance(label, (str, int)) or not str(label).strip():
        return f"{place}: expected a label in column '{label_column}', came {label!r}"
    split = _blank_as_none(values.pop("split", None))
    if split is not None and split.lower() not in _SPLITS:
        return f"{place}: expected split train, validation, calibration or test, came {split!r}"
    return Sentence(
        text=text,
        label=str(label),
        document=_blank_as_none(values.pop("document", None)),
        group=_blank_as_none(values.pop("group", None)),
        split=None if split is None else _SPLITS[split.lower()],
        extras=values,
        path=row.path,
        line=row.line,
    )


def _blank_as_none(value: Any) -> str | None:
    return None if value is None or not str(value).strip() else str(value).strip()


def _guess_codebook(sentences: Sequence[Sentence]) -> Codebook:
    """The bundled codebook where the corpus uses its labels (even misspelt in case or spaces), else a bare one."""
    found = sorted({s.label for s in sentences})
    bundled = Codebook.bundled()
    known = {normalise_label(name): name for name in bundled.label_names}
    if all(normalise_label(name) in known for name in found):
        used = bundled.only(known[normalise_label(name)] for name in found)
        return used if len(used.labels) > 1 else bundled
    first_of: dict[str, str] = {}
    for name, _ in Counter(s.label for s in sentences).most_common():
        first_of.setdefault(normalise_label(name), name)
    variants = {name for name in found if first_of[normalise_label(name)] != name}
    if variants:
        raise CorpusError(
            [
                f"{s.place}: label {s.label!r} differs from {first_of[normalise_label(s.label)]!r} "
                f"only in case or spaces"
                for s in sentences
                if s.label in variants
            ]
        )
    return Codebook.from_labels(found)


def unknown_label(place: str, label: str, codebook: Codebook) -> str:
    """What to say of a label that the codebook does not have."""
    known = {normalise_label(name): name for name in codebook.label_names}
    match = known.get(normalise_label(label))
    if match:
        return f"{place}: label {label!r} differs from {match!r} only in case or spaces; write {match!r}"
    return f"{place}: unknown label {label!r}; the codebook has: {', '.join(codebook.label_names)}"
