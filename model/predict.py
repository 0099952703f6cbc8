"""Label every row of files and write a predictions file."""

import errno
import itertools
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.errors import UserError
from ..data.sentences import split_sentences
from ..data.tables import (
    STDIN,
    BadRow,
    Format,
    Row,
    arrow_type,
    check_table_name,
    display_name,
    format_of,
    missing_column,
    open_writer,
    parquet_schema,
    read_table,
    read_text,
    require_file,
)
from .abstain import Abstention
from .backbone import file_sha256
from .calibration import missing_calibration
from .classifier import WINDOW, CheckpointClassifier, Prediction
from .drift import Drift, Reservoir, measure_drift
from .metadata import metadata_file, write_metadata
from .priors import KeptPosteriors, PriorEstimate, adapt, estimate_priors
from .queue import QUEUE_COLUMNS, Queue

_INT64 = 2**63


@dataclass(frozen=True)
class PredictOptions:
    """How to read the input, what to choose among and when to abstain.

    Attributes:
        text_column: the column that holds the sentences.
        encoding: of text formats.
        input_format: overrides what the names of the inputs say; standard input needs it, and is
            taken as the text of an article without.
        among: choose among these labels only (see ``CheckpointClassifier.predict``).
        abstain_below: abstain from answers with a lower score.
        max_error: abstain so that at most this share of the answered is wrong (see ``abstain``).
        adapt_priors: adapt the probabilities to the label shares of the input (see ``priors``).
        queue: a table of the least sure abstained rows, for people to label.
        queue_size: at most so many.
        drift: compare the input with the model's training text.
    """

    text_column: str = "text"
    encoding: str = "utf-8"
    input_format: Format | None = None
    among: Sequence[str] | None = None
    abstain_below: float | None = None
    max_error: float | None = None
    adapt_priors: bool = False
    queue: Path | None = None
    queue_size: int = 1000
    drift: bool = True


@dataclass
class PredictReport:
    """What became of the rows: ``read`` is always ``written + rejected``.

    Attributes:
        abstention: the threshold; None where none was asked for.
        void: why the promise of ``abstention`` does not hold for this input; empty where it does.
        queue: the queue's file, and ``queued`` the rows in it.
        priors: the label shares that the probabilities were adapted to.
        drift: how far the input is from the training text; None where it was not asked for or the model has
            nothing to compare with.
    """

    output: Path
    rejected_file: Path
    read: int = 0
    written: int = 0
    rejected: int = 0
    truncated: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    abstained: int = 0
    abstention: Abstention | None = None
    void: list[str] = field(default_factory=list)
    queue: Path | None = None
    queued: int = 0
    priors: PriorEstimate | None = None
    drift: Drift | None = None

    def metadata(self, labels: Sequence[str]) -> dict[str, Any]:
        """The sections of ``<output>.meta.json``."""
        sections: dict[str, Any] = {
            "counts": {
                **{name: getattr(self, name) for name in ("read", "written", "rejected", "truncated")},
                "labels": dict(self.labels),
            },
            "drift": self.drift.to_json() if self.drift else None,
        }
        if self.abstention:
            guarantee = self.abstention.guarantee(self.void)
            counts = {"rows": self.written, "abstained": self.abstained}
            sections["abstention"] = {**self.abstention.to_json(), "guarantee": guarantee, **counts}
        if self.priors:
            sections["priors"] = self.priors.to_json(labels)
        return sections


def prediction_columns(prediction: Prediction) -> dict[str, Any]:
    """The columns that a prediction adds to its row: ``label, score, p_<label>…, abstained, truncated``."""
    return {
        "label": prediction.label,
        "score": round(prediction.score, 6),
        **{f"p_{name}": round(value, 6) for name, value in prediction.probabilities.items()},
        "abstained": prediction.abstained,
        "truncated": prediction.truncated,
    }


def predict_files(
    classifier: CheckpointClassifier,
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    options: PredictOptions | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> PredictReport:
    """Label the rows of files, in order, into one predictions file.

    Text files are articles: they are split into sentences, a row each, with ``document``,
    ``sentence`` (counts from 1), ``start`` and ``end`` (character offsets). Tables keep their
    columns; one whose name a prediction needs becomes ``input_<name>``. Rows that cannot be labelled
    go to ``<output>.rejected.jsonl`` with the reason. ``<output>.meta.json`` tells model, options, counts,
    drift, and what was done besides labelling (abstention, adapted probabilities).

    Args:
        classifier: what labels.
        inputs: files; ``-`` is standard input.
        output: its name says the format: .jsonl, .csv, .tsv (each also .gz) or .parquet.
        options: how to read, what to choose among.
        overwrite: replace an existing output.
        on_progress: called with rows done and rows in all.

    Raises:
        UserError: an input as a whole cannot be read, the output exists, no disk space.
    """
    options = options or PredictOptions()
    output = Path(output)
    report = PredictReport(output, _rejected_file(output))
    kind = check_paths(inputs, output, options=options, overwrite=overwrite)
    report.abstention = _abstention(classifier, options)
    if options.adapt_priors and classifier.calibration is None:
        raise missing_calibration("--adapt-priors")
    output.parent.mkdir(parents=True, exist_ok=True)
    sample = Reservoir()
    probe = classifier.predict("A probe.", among=options.among)  # wrong labels in `among` fail before any work
    with tempfile.TemporaryDirectory() as spool:
        sources = [_Source.of(path, options, Path(spool)) for path in inputs]
        survey = _survey(sources, options)
        renamed = _free_names(survey.columns, list(prediction_columns(probe)))
        columns = {renamed[name]: type_ for name, type_ in survey.columns.items()}
        columns |= {name: arrow_type({type(value)}) for name, value in prediction_columns(probe).items()}
        labelling = _Labelling(classifier, sources, options, report.abstention.threshold if report.abstention else None)
        labelled = labelling.windows()
        if options.adapt_priors and classifier.calibration is not None:
            shares = classifier.calibration.source_shares
            labelled, report.priors = labelling.adapted(
                shares, Path(spool), lambda done: on_progress(done, survey.rows)
            )
            report.void.append("the probabilities were adapted to other label shares")
        queue = Queue(options.queue_size, _free_names(survey.columns, QUEUE_COLUMNS))
        partial = _partial(output)
        rejected_partial = _partial(report.rejected_file)
        writer = open_writer(partial, kind, columns)
        rejects = open_writer(rejected_partial, "jsonl", {})
        try:
            for good, bad, predictions in labelled:
                writer.write(
                    [
                        {renamed[name]: value for name, value in row.values.items()} | prediction_columns(prediction)
                        for row, prediction in zip(good, predictions, strict=True)
                    ]
                )
                rejects.write([{"path": r.path, "line": r.line, "reason": r.reason, "raw": r.raw} for r in bad])
                if options.queue:
                    queue.add([row.values for row in good], predictions)
                report.read += len(good) + len(bad)
                report.written += len(good)
                report.rejected += len(bad)
                report.truncated += sum(prediction.truncated for prediction in predictions)
                report.abstained += sum(prediction.abstained for prediction in predictions)
                report.labels.update(prediction.label for prediction in predictions)
                if options.drift:
                    for row in good:
                        sample.add(row.values[options.text_column])
                on_progress(report.read, survey.rows)
            writer.close()
            rejects.close()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(
                    f"No space left on the disk of {output}. The first {report.written} rows are in {partial}. "
                    f"Free some space, or write elsewhere with --output."
                ) from None
            raise
        except KeyboardInterrupt:
            writer.close()
            raise KeyboardInterrupt(
                f"Stopped. The first {report.written} rows are in {partial}; keep it under another name, "
                f"or start again with --overwrite."
            ) from None
    partial.replace(output)
    if report.rejected:
        rejected_partial.replace(report.rejected_file)
    else:
        rejected_partial.unlink()
        report.rejected_file.unlink(missing_ok=True)
    if options.queue:
        report.queue, report.queued = options.queue, len(queue)
        queue.write(options.queue, survey.columns)
    # When all rows are safe: it computes once more, and may be broken off.
    report.drift = measure_drift(classifier, sample.items)
    if report.drift and report.drift.warning:
        report.void.append("the input differs from the training text")
    facts = {"model": _model_facts(classifier), "options": _options(inputs, options)}
    write_metadata(metadata_file(output), facts | report.metadata(classifier.classes_))
    return report


_Labelled = Iterator[tuple[list[Row], list[BadRow], list[Prediction]]]


@dataclass(frozen=True)
class _Labelling:
    """Window by window: the usable rows, the others, and the predictions of the usable."""

    classifier: CheckpointClassifier
    sources: Sequence["_Source"]
    options: PredictOptions
    abstain_below: float | None

    def windows(self) -> _Labelled:
        for good, bad in self._rows():
            texts = [row.values[self.options.text_column] for row in good]
            yield (
                good,
                bad,
                self.classifier.predict(texts, among=self.options.among, abstain_below=self.abstain_below),
            )

    def adapted(
        self, source_shares: npt.NDArray[np.float64], spool: Path, on_progress: Callable[[int], None]
    ) -> tuple[_Labelled, PriorEstimate]:
        """Label all rows first, estimate their label shares, and give the windows with adapted predictions.

        The probabilities lie in a file meanwhile, and the inputs are read once more for the other columns.
        """
        kept = KeptPosteriors(spool / "posteriors", len(self.classifier.classes_))
        done = 0
        try:
            for good, bad, predictions in self.windows():
                kept.add(
                    [list(prediction.probabilities.values()) for prediction in predictions],
                    [prediction.truncated for prediction in predictions],
                    ["" if row.values.get("document") is None else str(row.values["document"]) for row in good],
                )
                done += len(good) + len(bad)
                on_progress(done)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "Stopped. No row was written: with --adapt-priors all are labelled first."
            ) from None
        rows = kept.read()
        if not len(rows):
            raise UserError("--adapt-priors: no row has usable text, so there are no label shares to estimate.")
        estimate = estimate_priors(rows["probabilities"], source_shares, rows["block"])
        return self._readapted(rows, estimate), estimate

    def _readapted(self, rows: Any, estimate: PriorEstimate) -> _Labelled:
        first = 0
        for good, bad in self._rows():
            mine = rows[first : first + len(good)]
            first += len(good)
            predictions = [
                Prediction.of(self.classifier.classes_, row, cut, self.abstain_below)
                for row, cut in zip(adapt(mine["probabilities"], estimate), mine["truncated"], strict=True)
            ]
            yield good, bad, predictions

    def _rows(self) -> Iterator[tuple[list[Row], list[BadRow]]]:
        for window in _in_windows(_usable(self.sources, self.options)):
            good = [row for row in window if isinstance(row, Row)]
            yield good, [row for row in window if isinstance(row, BadRow)]


def _abstention(classifier: CheckpointClassifier, options: PredictOptions) -> Abstention | None:
    if options.max_error is not None:
        return classifier.abstention(options.max_error)
    return None if options.abstain_below is None else Abstention(options.abstain_below)


def _model_facts(classifier: CheckpointClassifier) -> dict[str, Any]:
    """Which model this is: the SHA-256 of its weights, where they stand in a folder."""
    return {
        "folder": str(classifier.source) if classifier.source else None,
        "runtime": classifier.runtime.name,
        "weights_sha256": {path.name: file_sha256(path) for path in classifier.weights},
        "backbone": classifier.facts.backbone,
        "corpus_fingerprint": classifier.facts.corpus_fingerprint,
    }


def _options(inputs: Sequence[str | Path], options: PredictOptions) -> dict[str, Any]:
    return {"inputs": [str(path) for path in inputs], **asdict(options)}


def read_texts(inputs: Sequence[str | Path], options: PredictOptions) -> Iterator[str]:
    """The sentences of text files and tables, in order; rows without usable text are passed over.

    Raises:
        UserError: an input is missing, of no known format, unreadable, or has no column of texts.
    """
    for path in inputs:
        require_file(path)
        source = _Source(str(path), str(path), options.input_format or format_of(path))
        if source.format != "text":
            _survey([source], options)
        for row in _usable([source], options):
            if isinstance(row, Row):
                yield str(row.values[options.text_column])


def check_paths(
    inputs: Sequence[str | Path], output: str | Path, *, options: PredictOptions, overwrite: bool
) -> Format:
    """What can be told from names alone, so that nobody waits for a model to learn of a typing error.

    Returns:
        The output's format.

    Raises:
        UserError: an input is missing, empty or of no known format, the output exists or is of none, or
            options contradict each other.
    """
    output = Path(output)
    kind = format_of(output)
    if kind == "text":
        raise UserError(f"{output}: predictions are rows; name the output .jsonl, .csv, .tsv or .parquet.")
    _check_options(options)
    if options.queue:
        check_table_name(options.queue)
        if options.queue.absolute() == output.absolute():
            raise UserError(f"{options.queue} is the output too. Name another --queue.")
    for path in (output, _rejected_file(output), metadata_file(output), _partial(output)):
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists. Name another --output, or replace it with --overwrite.")
    for source in inputs:
        if str(source) != STDIN:
            require_file(source)
            for written, option in ((output, "--output"), (options.queue, "--queue")):
                if written and written.exists() and written.samefile(source):
                    raise UserError(f"{written} is an input too, and would be lost. Name another {option}.")
            if options.input_format is None:
                format_of(source)
    if options.queue and options.queue.exists():  # whatever overwrite says
        raise UserError(f"{options.queue} exists, and may hold labels that somebody gave. Name another --queue.")
    return kind


def _check_options(options: PredictOptions) -> None:
    """Refuse what cannot mean anything together."""
    if options.max_error is not None and options.abstain_below is not None:
        raise UserError("--abstain and --max-error both set the threshold. Give one of them.")
    if options.max_error is not None and options.among is not None:
        raise UserError(
            "--max-error does not go with --among: the error was measured on answers among all labels, and a sentence "
            "of a label that may not be chosen is always answered wrongly. Abstain below a score with --abstain."
        )
    if options.adapt_priors and options.among is not None:
        raise UserError(
            "--adapt-priors does not go with --among: it estimates the shares of all labels. Leave one of them out."
        )
    if options.queue and options.max_error is None and options.abstain_below is None:
        raise UserError("--queue takes the rows that are abstained from. Say which with --abstain or --max-error.")


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _rejected_file(output: Path) -> Path:
    return output.with_name(output.name + ".rejected.jsonl")


@dataclass(frozen=True)
class _Source:
    """One input that can be read twice: standard input is spooled to a file first."""

    path: str
    name: str
    format: Format

    @classmethod
    def of(cls, path: str | Path, options: PredictOptions, spool: Path) -> "_Source":
        name = str(path)
        kind = options.input_format or ("text" if name == STDIN else format_of(name))
        if name != STDIN:
            return cls(name, name, kind)
        copy = spool / f"stdin{'.parquet' if kind == 'parquet' else ''}"
        with copy.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        if not copy.stat().st_size:
            raise UserError("standard input is empty.")
        with copy.open("rb") as stream:
            gzipped = stream.read(2) == b"\x1f\x8b"
        if gzipped:
            copy = copy.rename(copy.with_name(copy.name + ".gz"))
        return cls(str(copy), display_name(STDIN), kind)

    def rows(self, options: PredictOptions) -> Iterator[Row | BadRow]:
        try:
            if self.format == "text":
                yield from _article_rows(self, options)
            else:
                yield from read_table(self.path, encoding=options.encoding, format=self.format)
        except UserError as error:
            raise UserError(str(error).replace(self.path, self.name)) from None


def _article_rows(source: _Source, options: PredictOptions) -> Iterator[Row]:
    spans = split_sentences(read_text(source.path, options.encoding))
    for number, span in enumerate(spans, start=1):
        values = {
            "document": source.name,
            "sentence": number,
            "start": span.start,
            "end": span.end,
            options.text_column: span.text,
        }
        yield Row(values, source.name, number)


@dataclass
class _Survey:
    rows: int = 0
    columns: dict[str, Any] = field(default_factory=dict)


def _survey(sources: Sequence[_Source], options: PredictOptions) -> _Survey:
    """Read all inputs once: how many rows, which columns of which types, and whether anything is unreadable.

    A later row of JSONL may bring a new column, so a table's header is known only at its end; and a
    wrong encoding in the last file is told before the first hour of work.
    """
    survey = _Survey()
    seen: dict[str, set[type]] = {}
    given: dict[str, set[Any]] = {}
    for source in sources:
        before = survey.rows
        found: list[str] = []
        if source.format == "parquet":
            schema = parquet_schema(source.path)
            found = list(schema)
            for name, type_ in schema.items():
                given.setdefault(name, set()).add(type_)
                seen.setdefault(name, set())
        for row in source.rows(options):
            survey.rows += 1
            if isinstance(row, Row) and source.format != "parquet":
                for name, value in row.values.items():
                    if name not in found:
                        found.append(name)
                    seen.setdefault(name, set()).add(_kind(value))
        if survey.rows == before:
            raise UserError(f"{source.name}: no rows in it.")
        if found and options.text_column not in found:
            raise missing_column(options.text_column, found, source.name, "--text-column")
    for name, kinds in seen.items():
        types = given.get(name, set())
        survey.columns[name] = next(iter(types)) if len(types) == 1 and not kinds else arrow_type(kinds)
    if not survey.columns:
        survey.columns = {options.text_column: arrow_type({str})}
    return survey


def _kind(value: Any) -> type:
    # An integer that does not fit 64 bits can only be kept as text.
    return str if type(value) is int and not -_INT64 <= value < _INT64 else type(value)


def _free_names(columns: dict[str, Any], taken: Sequence[str]) -> dict[str, str]:
    """The input's columns under names that neither the predictions nor other columns have."""
    used = set(taken) | {name for name in columns if name not in taken}
    renamed = {}
    for name in columns:
        new = name
        while new in taken or (new != name and new in used):
            new = f"input_{new}"
        used.add(new)
        renamed[name] = new
    return renamed


def _usable(sources: Sequence[_Source], options: PredictOptions) -> Iterator[Row | BadRow]:
    for source in sources:
        for row in source.rows(options):
            yield row if isinstance(row, BadRow) else _with_text(row, options.text_column)


def _with_text(row: Row, column: str) -> Row | BadRow:
    text = row.values.get(column)
    if isinstance(text, str) and text.strip():
        return row
    came = "nothing" if text is None else "empty text" if isinstance(text, str) else f"{type(text).__name__} {text!r}"
    raw = json.dumps(row.values, ensure_ascii=False, default=str)
    return BadRow(row.path, row.line, f"expected text in column '{column}', came {came}", raw)


def _in_windows(rows: Iterator[Row | BadRow]) -> Iterator[list[Row | BadRow]]:
    while window := list(itertools.islice(rows, WINDOW)):
        yield window
