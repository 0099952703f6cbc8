"""Label every row of files and write a predictions file."""

import errno
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..data.articles import OUTLET_OF_TABLES
from ..data.errors import UserError
from ..data.files import SyncedFile, partial_of, put_in_place
from ..data.inputs import find_inputs
from ..data.tables import STDIN, arrow_type, check_table_name, format_of, free_names, open_writer
from ..data.urls import Place, UrlPath, facts_of, is_url, place_of, same_object, scheme_of, shown
from .abstain import Abstention
from .backbone import file_sha256
from .calibration import missing_calibration
from .cascade import CascadeFacts
from .classifier import CheckpointClassifier, Prediction
from .drift import Drift, Reservoir, measure_drift
from .layout import READY
from .metadata import metadata_file, metadata_notes, write_metadata
from .priors import KeptPosteriors, PriorEstimate, adapt, estimate_priors
from .queue import QUEUE_COLUMNS, Queue
from .rows import ReadOptions, Source, Survey, survey_sources
from .shards import SHARD_ROWS, Engine, Job, JobFolder, Labeller, LocalEngine, ShardRange
from .stored import StoredJob

_MODEL_FILES = (".json", ".safetensors", ".onnx", ".txt", ".model", ".yaml")


@dataclass(frozen=True)
class PredictOptions(ReadOptions):
    """How to read the input (see ``ReadOptions``), what to choose among and when to abstain.

    Attributes:
        among: choose among these labels only (see ``CheckpointClassifier.predict``).
        abstain_below: abstain from answers with a lower score.
        max_error: abstain so that at most this share of the answered is wrong (see ``abstain``).
        adapt_priors: adapt the probabilities to the label shares of the input (see ``priors``).
        queue: a table of the least sure abstained rows, for people to label.
        queue_size: at most so many.
        drift: compare the input with the model's training text.
        runtime: how the classifier was set up (device, batch size …). Told in the metadata, and a job is resumed
            only with the same: the last digit of a probability may hang on it.
    """

    among: Sequence[str] | None = None
    abstain_below: float | None = None
    max_error: float | None = None
    adapt_priors: bool = False
    queue: Place | None = None
    queue_size: int = 1000
    drift: bool = True
    runtime: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self, inputs: Sequence[str | Path]) -> dict[str, Any]:
        queue = str(self.queue) if self.queue else None
        told = asdict(replace(self, queue=None))
        return {"inputs": [shown(path) for path in inputs], **told, "queue": queue, "runtime": dict(self.runtime)}


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        stage: ``survey`` (the inputs are read once for columns and counts), ``label``, ``join`` (the output is
            written from the finished shards).
        rows: done in this stage.
        total: rows of this stage; None while they are counted.
        rejected: rows without usable text so far.
        shard: the number of finished shards.
        shards: in all.
        resumed: rows that were done before this call; no measure of its speed.
    """

    stage: Literal["survey", "label", "join"]
    rows: int
    total: int | None = None
    rejected: int = 0
    shard: int = 0
    shards: int = 0
    resumed: int = 0


OnProgress = Callable[[Progress], None]


@dataclass
class PredictReport:
    """What became of the rows: ``read`` is always ``written + rejected``.

    Attributes:
        cascade: of the first stage that was asked before the graph; None where none was.
        by_first_stage: rows that it answered.
        abstention: the threshold; None where none was asked for.
        void: why the promises of ``abstention`` and ``cascade`` do not hold for this input; empty where they do.
        queue: the queue's file, and ``queued`` the rows in it.
        priors: the label shares that the probabilities were adapted to.
        drift: how far the input is from the training text; None where it was not asked for or the model has
            nothing to compare with.
        resumed: how many of the rows had been labelled when the job was resumed.
        articles: text files, ``without_year`` those without a date because their dateline has no year, and
            ``without_date`` those with neither.
        left_out: names of the files that could not be used, with the reason; each is one rejected row.
    """

    output: Place
    rejected_file: Place
    read: int = 0
    written: int = 0
    rejected: int = 0
    truncated: int = 0
    cascade: CascadeFacts | None = None
    by_first_stage: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    abstained: int = 0
    abstention: Abstention | None = None
    void: list[str] = field(default_factory=list)
    queue: Place | None = None
    queued: int = 0
    priors: PriorEstimate | None = None
    drift: Drift | None = None
    resumed: int = 0
    articles: int = 0
    without_year: int = 0
    without_date: int = 0
    left_out: dict[str, str] = field(default_factory=dict)

    def metadata(self, labels: Sequence[str]) -> dict[str, Any]:
        """The sections of ``<output>.meta.json``."""
        sections: dict[str, Any] = {
            "counts": {
                **{name: getattr(self, name) for name in ("read", "written", "rejected", "truncated")},
                "labels": dict(self.labels),
            },
            "drift": self.drift.to_json() if self.drift else None,
        }
        if self.left_out:
            sections["left_out"] = self.left_out
        if self.abstention:
            guarantee = self.abstention.guarantee(self.void)
            counts = {"rows": self.written, "abstained": self.abstained}
            sections["abstention"] = {**self.abstention.to_json(), "guarantee": guarantee, **counts}
        if self.cascade:
            promise = f"void: {'; '.join(self.void)}" if self.void else self.cascade.promise
            sections["cascade"] = {
                "rows": self.written,
                "by_first_stage": self.by_first_stage,
                "threshold": self.cascade.threshold,
                "promise": promise,
                "probabilities": "of what answered the row: the first stage's own, calibrated, or the graph's",
            }
        if self.priors:
            sections["priors"] = self.priors.to_json(labels)
        return sections

    def count(self, predictions: Sequence[Prediction]) -> None:
        """Take some predictions into the counts."""
        self.written += len(predictions)
        self.truncated += sum(prediction.truncated for prediction in predictions)
        self.by_first_stage += sum(prediction.by_first_stage for prediction in predictions)
        self.abstained += sum(prediction.abstained for prediction in predictions)
        self.labels.update(prediction.label for prediction in predictions)


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
    output: str | Place,
    *,
    options: PredictOptions | None = None,
    overwrite: bool = False,
    resume: bool = False,
    engine: Engine | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> PredictReport:
    """Label the rows of files, in order, into one predictions file, in constant memory.

    Text files are articles: they are split into sentences, a row each, with ``document``,
    ``sentence`` (counts from 1), ``start`` and ``end`` (character offsets), ``kind`` (headline, heading, body), and
    ``outlet``, ``date`` and ``place`` as far as dateline and byline tell, which are cut off. Tables keep their
    columns; one whose name a prediction needs becomes ``input_<name>``. Rows that cannot be labelled
    go to ``<output>.rejected.jsonl`` with the reason, and so does a file that cannot be read, as one row with line 0.
    ``<output>.meta.json`` tells version, model, options, counts, drift, and what was done besides labelling
    (abstention, adapted probabilities); a Parquet file has the same in its footer.

    What is done is kept in the folder ``<output>.partial`` (see ``shards``) until all is, and the output then
    appears at once. A job that was broken off, in whatever way, goes on with ``resume``; its output is that of
    one that was not, byte for byte. Inputs and output may be URLs of stores (see ``urls``).

    Args:
        classifier: what labels.
        inputs: files, folders, patterns, each also as a URL; ``-`` is standard input.
        output: a path or a URL; its name says the format: .jsonl, .csv, .tsv (each also .gz or .zst) or .parquet.
        options: how to read, what to choose among.
        overwrite: replace an existing output, and begin an unfinished one anew.
        resume: go on with what was begun; begin where nothing was.
        engine: what labels the shards (see ``ray_engine``); None does it here.
        on_progress: called now and then.

    Raises:
        UserError: no input can be read, the output exists, no disk space, or what is to be resumed
            was begun with another model, other options or other inputs.
        KeyboardInterrupt: Ctrl-C; its message tells what is kept.
    """
    options = options or PredictOptions()
    output = place_of(output)
    options = replace(options, queue=place_of(options.queue) if options.queue else None)
    report = PredictReport(output, _rejected_file(output))
    found = check_paths(inputs, output, options=options, overwrite=overwrite, resume=resume)
    engine = engine or LocalEngine()
    if engine.elsewhere:
        _check_shared([*found, output])
    report.abstention = _abstention(classifier, options)
    report.cascade = classifier.cascade if options.among is None else None
    if options.adapt_priors and classifier.calibration is None:
        raise missing_calibration("--adapt-priors")
    probe = classifier.predict("A probe.", among=options.among)  # wrong labels in `among` fail before any work
    if isinstance(output, Path):
        output.parent.mkdir(parents=True, exist_ok=True)
    folder = _job_at(output)
    job = _job(classifier, inputs, found, options, probe)
    try:
        with _kept(folder):
            sources, survey = _open_job(output, folder, job, found, options, overwrite, resume, on_progress)
            task = _Task(classifier, options, report, folder, on_progress, sources, survey)
            report.resumed = folder.rows_done
            report.articles, report.without_year = survey.articles, survey.without_year
            report.without_date, report.left_out = survey.without_date, survey.left_out
            task.label(engine)
            if _facts_of_inputs(found) != job["inputs"]:
                raise UserError(
                    "An input was changed while it was read. Nothing was put in place; start again with --overwrite."
                )
            task.join(_model_facts(classifier), options.to_json(inputs))
            task.put_in_place()
    finally:
        folder.close()
    folder.remove()
    return report


# --- the job -------------------------------------------------------------------------------------


def _job_at(output: Place) -> Job:
    """The job, begun or not, of an output."""
    return StoredJob(partial_of(output)) if isinstance(output, UrlPath) else JobFolder(partial_of(output))


def _job(
    classifier: CheckpointClassifier,
    inputs: Sequence[str | Path],
    found: Sequence[str],
    options: PredictOptions,
    probe: Prediction,
) -> dict[str, Any]:
    """All that the output depends on; a job is resumed only where it is the same."""
    source = classifier.source
    files = sorted(path for path in source.iterdir() if path.suffix in _MODEL_FILES) if source else []
    return {
        "package": _version(),
        "model": {
            "labels": list(classifier.classes_),
            "runtime": classifier.runtime.name,
            "sha256": {path.name: file_sha256(path) for path in files},
            # A model in memory has no files to know it by.
            "probabilities_of_a_probe": None if source else [round(p, 4) for p in probe.probabilities.values()],
        },
        "options": options.to_json(inputs),
        "inputs": _facts_of_inputs(found),
    }


def _version() -> str:
    try:
        return version("conflict-framing")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0"


def _facts_of_inputs(found: Sequence[str]) -> dict[str, Any]:
    """What changes when a file does. The content is not hashed: that would read everything once more."""
    urls = [name for name in found if is_url(name)]
    facts: dict[str, Any] = dict.fromkeys(map(shown, found))  # in order
    facts |= dict(zip(map(shown, urls), facts_of(urls), strict=True))
    for name in found:
        if is_url(name):
            continue
        if name == STDIN:
            facts[name] = {}  # its copy is part of the job
            continue
        stat = Path(name).stat()
        seconds, nanoseconds = divmod(stat.st_mtime_ns, 10**9)
        modified = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
        facts[name] = {"bytes": stat.st_size, "modified": f"{modified}.{nanoseconds:09d} UTC"}
    return facts


def _open_job(
    output: Place,
    folder: Job,
    job: Mapping[str, Any],
    found: Sequence[str],
    options: PredictOptions,
    overwrite: bool,
    resume: bool,
    on_progress: OnProgress,
) -> tuple[list[Source], Survey]:
    """Take up an unfinished job, or begin one: its sources, and what is in them."""
    if folder.exists:
        folder.lock()
        if resume and folder.has_begun:
            survey = folder.resume(job)
            if not folder.joined:  # later, what stands there is ours
                _check_targets(output, options, folder.overwrite)
            return survey.usable([Source.of(name, options, folder.spool) for name in found]), survey
    folder.remove()  # of an older job, or of one that ended before it began
    folder.create()
    try:
        sources = [Source.of(name, options, folder.spool) for name in found]
        survey = survey_sources(sources, options, lambda rows: on_progress(Progress("survey", rows)))
        folder.begin(job, survey, SHARD_ROWS, overwrite)
    except BaseException:  # nothing was labelled yet
        folder.remove()
        raise
    return survey.usable(sources), survey


@contextmanager
def _kept(folder: Job) -> Iterator[None]:
    """Say what is kept when a job is broken off."""

    def kept() -> str:
        if not folder.has_begun:
            return "No row was labelled yet."
        return f"{folder.rows_done:,} rows are done and kept in {folder.path}."

    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"No space left on the disk of {folder.disk}. {kept()} Free some space, then give the same command "
            f"with --resume."
        ) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Stopped. {kept()}") from None


@dataclass
class _Task:
    """Label all rows, then write what follows from them."""

    classifier: CheckpointClassifier
    options: PredictOptions
    report: PredictReport
    folder: Job
    on_progress: OnProgress
    sources: list[Source]
    survey: Survey

    def __post_init__(self) -> None:
        self.kind = format_of(self.report.output)
        self.files = self.folder.shards("parquet" if self.kind == "parquet" else "jsonl", self.survey.columns)
        self.labeller = Labeller(self.classifier, self.options.text_column, self.options.among)
        self.shards = -(-self.survey.rows // self.folder.shard_rows)
        # Whole files, in the folder until all of them are; on the disk of where they belong.
        self.finished: list[tuple[Path, Place]] = [
            (self.folder.finished / target.name, target)
            for target in (self.report.rejected_file, metadata_file(self.report.output), self.report.output)
        ]
        if self.options.queue:
            queue = self.options.queue
            here = partial_of(queue) if isinstance(queue, Path) else self.folder.finished / f"queue.{queue.name}"
            self.finished.insert(0, (here, queue))

    def _tell(self, stage: Literal["label", "join"], rows: int, rejected: int) -> None:
        done = len(self.folder.entries)
        self.on_progress(
            Progress(
                stage,
                rows,
                self.survey.rows,
                rejected,
                done,
                self.shards,
                self.report.resumed if stage == "label" else 0,
            )
        )

    def label(self, engine: Engine) -> None:
        """Label the shards that are not done."""
        folder = self.folder
        self._tell("label", folder.rows_done, folder.rejected)
        ranges = [
            ShardRange(first, last, folder.shard_rows, self.sources, self.survey.counts, self.options)
            for first, last in folder.ranges(self.shards, engine.longest)
        ]

        def on_rows(read: int, rejected: int) -> None:
            self._tell("label", folder.rows_done + read, folder.rejected + rejected)

        for entry in engine(ranges, self.labeller, self.files, on_rows):
            folder.add(entry)
            on_rows(0, 0)
        folder.check(self.shards, self.survey.rows)

    def join(self, model: dict[str, Any], options: dict[str, Any]) -> None:
        """Write all that is to be put in place, from the shards alone, into the folder."""
        report, folder = self.report, self.folder
        shutil.rmtree(folder.finished, ignore_errors=True)
        folder.finished.mkdir()
        report.read, report.rejected = folder.rows_done, folder.rejected
        labels = self.labeller.labels
        report.priors = self._estimate_priors() if self.options.adapt_priors else None
        if report.priors:
            report.void.append("the probabilities were adapted to other label shares")
        threshold = report.abstention.threshold if report.abstention else None
        example = prediction_columns(Prediction.of(labels, np.zeros(len(labels), np.float32), False, None))
        renamed = free_names(self.survey.columns, list(example))
        columns = {renamed[name]: type_ for name, type_ in self.survey.columns.items()}
        columns |= {name: arrow_type({type(value)}) for name, value in example.items()}
        queue = Queue(self.options.queue_size, free_names(self.survey.columns, QUEUE_COLUMNS))
        sample = Reservoir()
        writer = open_writer(folder.finished / report.output.name, self.kind, columns)
        for shard in range(self.shards):
            for rows, scores in self.files.read_windows(shard):
                probabilities = scores["probabilities"]
                if report.priors:
                    probabilities = adapt(probabilities, report.priors)
                predictions = [
                    Prediction.of(labels, row, cut, threshold, first)
                    for row, cut, first in zip(
                        probabilities, scores["truncated"], scores["by_first_stage"], strict=True
                    )
                ]
                writer.write(
                    [
                        {renamed[name]: value for name, value in row.items()} | prediction_columns(prediction)
                        for row, prediction in zip(rows, predictions, strict=True)
                    ]
                )
                report.count(predictions)
                if self.options.queue:
                    queue.add(rows, predictions)
                if self.options.drift:
                    for row in rows:
                        sample.add(row[self.options.text_column])
                self._tell("join", report.written + report.rejected, report.rejected)
        if report.written + report.rejected != report.read:
            raise self.files.damaged(
                f"{report.read} rows were read, but {report.written} written and {report.rejected} rejected"
            )
        self._join_rejected(folder.finished / report.rejected_file.name)
        if self.options.queue:
            report.queue, report.queued = self.options.queue, len(queue)
            queue_file = self.finished[0][0]
            queue_file.parent.mkdir(parents=True, exist_ok=True)
            queue.write(queue_file, self._queue_types())
        report.drift = measure_drift(self.classifier, sample.items)
        if report.drift and report.drift.warning:
            report.void.append("the input differs from the training text")
        # No time: the same inputs give the same files, byte for byte, whenever and however often they are labelled.
        sections = {"version": _version(), "model": model, "options": options} | report.metadata(
            self.classifier.classes_
        )
        writer.close(metadata_notes(sections))
        write_metadata(folder.finished / metadata_file(report.output).name, sections)

    def _estimate_priors(self) -> PriorEstimate:
        if self.classifier.calibration is None:
            raise missing_calibration("--adapt-priors")
        kept = KeptPosteriors(self.folder.finished / "posteriors", len(self.labeller.labels))
        for shard in range(self.shards):
            scores = self.files.read_scores(shard)
            kept.add(scores["probabilities"], scores["block"])
        rows = kept.read()
        if not len(rows):
            self.folder.remove()  # labelling once more would come to the same
            raise UserError("--adapt-priors: no row has usable text, so there are no label shares to estimate.")
        return estimate_priors(rows["probabilities"], self.classifier.calibration.source_shares, rows["block"])

    def _join_rejected(self, path: Path) -> None:
        if not self.folder.rejected:
            return
        with SyncedFile(path) as joined:
            for shard in range(self.shards):
                if self.folder.entries[shard].rejected:
                    self.files.copy_rejected(shard, joined)

    def _queue_types(self) -> dict[str, Any]:
        """The types of the rows' columns as the shards keep them: JSON has no dates and the like."""
        import pyarrow.types as kinds

        def kept(type_: Any) -> bool:
            tests = (kinds.is_boolean, kinds.is_integer, kinds.is_floating, kinds.is_string, kinds.is_null)
            return self.kind == "parquet" or any(test(type_) for test in tests)

        return {name: type_ if kept(type_) else arrow_type({str}) for name, type_ in self.survey.columns.items()}

    def put_in_place(self) -> None:
        """Rename what is finished, the output last; broken off in between, it is done again on resuming."""
        if not self.folder.joined:
            _check_targets(self.report.output, self.options, self.folder.overwrite)
        self.folder.note_joined()
        if not self.report.rejected:
            self.report.rejected_file.unlink(missing_ok=True)  # of an output that is replaced
        for finished, target in self.finished:
            if finished.exists():
                put_in_place(finished, target)


def _abstention(classifier: CheckpointClassifier, options: PredictOptions) -> Abstention | None:
    if options.max_error is not None:
        return classifier.abstention(options.max_error)
    return None if options.abstain_below is None else Abstention(options.abstain_below)


def _model_facts(classifier: CheckpointClassifier) -> dict[str, Any]:
    """Which model this is: the SHA-256 of its weights, where they stand in a folder."""
    return {
        "folder": str(classifier.source) if classifier.source else None,
        "ready": classifier.source == READY,
        "runtime": classifier.runtime.name,
        "weights_sha256": {path.name: file_sha256(path) for path in classifier.weights},
        "backbone": classifier.facts.backbone,
        "recipe": classifier.facts.recipe.get("name"),
        "corpus_fingerprint": classifier.facts.corpus_fingerprint,
    }


# --- what can be told from names ------------------------------------------------------------------


def check_paths(
    inputs: Sequence[str | Path],
    output: str | Place,
    *,
    options: PredictOptions,
    overwrite: bool = False,
    resume: bool = False,
) -> list[str]:
    """What can be told from names alone, so that nobody waits for a model to learn of a typing error.

    Returns:
        The files that the inputs mean.

    Raises:
        UserError: an input is missing, empty or of no known format, the output exists or is of none,
            options contradict each other, or an unfinished job is there and nobody said what to do with it.
    """
    output = place_of(output)
    check_table_name(output)
    _check_options(options)
    if options.queue:
        check_table_name(options.queue)
        if _same(options.queue, output):
            raise UserError(f"{options.queue} is the output too. Name another --queue.")
    if overwrite and resume:
        raise UserError("--resume goes on with what was begun, --overwrite begins anew. Give one of them.")
    written: list[Place] = [output, *([options.queue] if options.queue else [])]
    ours = [*written, _rejected_file(output)]
    found = find_inputs(inputs, any_format=options.input_format is not None, leave_out=ours)
    for source in found:
        if source == STDIN:
            continue
        for path in ours:
            if _is_input(path, source):
                option = "--queue" if path == options.queue else "--output"
                raise UserError(f"{path} is an input too, and would be lost. Name another {option}.")
        if options.input_format is None:
            format_of(source)
    kinds = {options.input_format or ("text" if source == STDIN else format_of(source)) for source in found}
    if options.outlet and "text" not in kinds:
        raise UserError(OUTLET_OF_TABLES)
    if options.year and "text" not in kinds:
        raise UserError(
            "--year is for datelines of articles in files of their own; a table tells the date in a column (date). Of "
            "a table with an article a row, make sentences with 'sources --year' first."
        )
    folder = _job_at(output)
    if folder.exists and not folder.is_ours:
        raise UserError(f"{folder.path} exists, and is no unfinished work of this command. Move it away.")
    if folder.has_begun and resume:
        return found
    if folder.has_begun and not overwrite:
        raise UserError(
            f"{folder.path} exists: this output was begun and not finished. Go on with --resume, or begin anew with "
            f"--overwrite."
        )
    _check_targets(output, options, overwrite)
    return found


def _check_targets(output: Place, options: PredictOptions, overwrite: bool) -> None:
    """Refuse to replace what is there."""
    for path in (output, _rejected_file(output), metadata_file(output)):
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists. Name another --output, or replace it with --overwrite.")
    if options.queue and options.queue.exists():  # whatever overwrite says
        raise UserError(f"{options.queue} exists, and may hold labels that somebody gave. Name another --queue.")


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


def _same(one: Place, other: Place) -> bool:
    if isinstance(one, UrlPath) or isinstance(other, UrlPath):
        return isinstance(one, UrlPath) and isinstance(other, UrlPath) and same_object(one.url, other.url)
    return one.absolute() == other.absolute()


def _is_input(path: Place, source: str) -> bool:
    """Whether what is there is an input."""
    if isinstance(path, UrlPath) or is_url(source):
        return isinstance(path, UrlPath) and is_url(source) and same_object(path.url, source)
    return path.exists() and path.samefile(source)


def _check_shared(places: Sequence[str | Place]) -> None:
    """Refuse what other processes do not see."""
    for place in places:
        url = place.url if isinstance(place, UrlPath) else str(place)
        if scheme_of(url) == "memory":
            raise UserError(f"{shown(url)}: the memory of one process, which the workers of --engine ray do not share.")


def _rejected_file(output: Place) -> Place:
    return output.with_name(output.name + ".rejected.jsonl")
