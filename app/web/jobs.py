"""Label what was sent in the background: one job at a time, with progress, to be cancelled."""

import logging
import queue
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from conflict_framing.data import UserError
from conflict_framing.model.drift import Reservoir
from conflict_framing.model.predict import PredictOptions, predict_files
from conflict_framing.web.failures import Refused, in_words_of_the_page
from conflict_framing.web.intake import Order, Taken, take_in
from conflict_framing.web.limits import Limits
from conflict_framing.web.model import SharedModel
from conflict_framing.web.results import Result, forget
from conflict_framing.web.speakers import add_sources, names_sources

State = Literal["waiting", "reading", "attributing", "labelling", "done", "failed", "cancelled"]
_OVER = ("done", "failed", "cancelled")


class _CancelledError(Exception):
    pass


@dataclass
class Job:
    """One text or table on its way; ``folder`` holds its files and goes with it.

    Attributes:
        session: whose it is; no other session is told that it exists.
        drift_warning: how the text differs from what the model was trained on; None until that is known.
        audit: the file with labels of a random sample of the rows, its metadata beside it, in a folder of their own.
        notes: what the reader must know besides.
        corrections: by row, the label that somebody gave, and ``annotation_ids`` its line in the file.
        lock: held while its findings are computed or its audit is changed.
    """

    id: str
    session: str
    title: str
    order: Order
    folder: Path
    state: State = "waiting"
    taken: Taken = field(default_factory=Taken)
    done: int = 0
    truncated: int = 0
    drift_warning: str | None = None
    audit: Path | None = None
    notes: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None
    began: float | None = None
    ended: float | None = None
    bytes: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    corrections: dict[int, str] = field(default_factory=dict)
    annotation_ids: dict[int, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def over(self) -> bool:
        return self.state in _OVER

    @property
    def output(self) -> Path:
        return self.folder / "result.parquet"

    def status(self) -> dict[str, Any]:
        seconds = 0.0 if self.began is None else (self.ended or time.monotonic()) - self.began
        rate = self.done / seconds if self.done and seconds > 0 else None
        left = (self.taken.rows - self.done) / rate if rate and self.state == "labelling" else None
        return {
            "id": self.id,
            "title": self.title,
            "state": self.state,
            "article": self.taken.article,
            "articles": self.taken.articles,
            "dateline": self.taken.dateline,
            "text_column": self.taken.text_column,
            "rows": self.taken.rows,
            "done": self.done,
            "rejected": self.taken.rejected,
            "problems": self.taken.problems,
            "truncated": self.truncated,
            "audited": self.audit is not None,
            "notes": self.notes,
            "rows_per_second": round(rate, 1) if rate else None,
            "seconds": round(seconds, 1),
            "seconds_left": round(left, 1) if left is not None else None,
            "drift_warning": self.drift_warning,
            "error": self.error,
        }


class Jobs:
    """All sessions' jobs, in the order in which they came; their files are deleted at ``close``."""

    def __init__(self, model: SharedModel, limits: Limits, on_gone: Callable[[str], None] = lambda id: None) -> None:
        """``on_gone`` is called with the id of a job whose files are deleted."""
        self._model, self._limits, self._on_gone = model, limits, on_gone
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._folder = Path(tempfile.mkdtemp(prefix="conflict-framing-"))
        self._worker = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._worker.start()

    # --- asked from outside ---------------------------------------------------------------------

    def receive(self, session: str) -> Path:
        """A new folder for what is about to be sent.

        Raises:
            Refused: too many jobs are waiting.
        """
        with self._lock:
            waiting = [job for job in self._jobs.values() if not job.over]
            mine = [job for job in waiting if job.session == session]
            if len(waiting) >= self._limits.waiting_jobs or len(mine) >= self._limits.waiting_jobs_each:
                raise Refused(429, "too_many_jobs", "Too many jobs are waiting. Wait for one to end, or cancel one.")
        return Path(tempfile.mkdtemp(dir=self._folder))

    def add(self, session: str, folder: Path, order: Order, title: str) -> Job:
        """Queue what was received."""
        job = Job(secrets.token_urlsafe(18), session, title, order, folder)
        with self._lock:
            self._jobs[job.id] = job
        self._evict()
        self._waiting.put(job)
        return job

    def find(self, session: str, id: str) -> Job:
        """A session's own job.

        Raises:
            Refused: there is none; that of another session is as good as none.
        """
        job = self._jobs.get(id)
        if job is None or not secrets.compare_digest(job.session, session):
            raise Refused(404, "no_such_job", "No such job: it never was, is another session's, or was deleted.")
        return job

    def of(self, session: str) -> list[Job]:
        """A session's jobs, the newest first."""
        return [job for job in reversed(self._jobs.copy().values()) if job.session == session]

    def ahead_of(self, job: Job) -> int:
        """How many are to end before this one begins."""
        before = 0
        for other in self._jobs.copy().values():
            if other is job:
                break
            before += not other.over
        return before if job.state == "waiting" else 0

    def result(self, session: str, id: str) -> tuple[Job, Result]:
        """A finished job and its rows.

        Raises:
            Refused: no such job, or it is not done.
        """
        job = self.find(session, id)
        if job.state != "done":
            raise Refused(409, "not_done", f"This job is {job.state}; it has no result.", state=job.state)
        return job, Result(job.output, self._model.classifier.classes_, job.corrections)

    def cancel(self, job: Job) -> None:
        job.stop.set()
        with self._lock:
            waited = job.state == "waiting"
            if waited:
                job.state = "cancelled"
        if waited:
            self._remove(job)

    def delete(self, job: Job) -> None:
        self.cancel(job)
        with self._lock:
            self._jobs.pop(job.id, None)
            over = job.over
        if over:  # else the worker does, which has its files open
            self._remove(job)

    def close(self) -> None:
        """Stop what runs and delete every file."""
        for job in self._jobs.copy().values():
            job.stop.set()
        self._waiting.put(None)
        self._worker.join(timeout=10)
        self._jobs.clear()
        forget()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- the worker -----------------------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            with self._lock:
                if job.over:
                    continue
                job.state = "reading"
            state: State
            sample = Reservoir()
            try:
                self._run(job, sample)
                state = "done"
            except _CancelledError:
                state = "cancelled"
            except Refused as error:
                job.error, state = error.to_json(), "failed"
            except UserError as error:
                message = in_words_of_the_page(str(error), str(job.folder), job.title)
                job.error, state = {"code": "failed", "message": message}, "failed"
            except Exception as error:  # the worker must outlive any job
                message = f"An error of the program ({type(error).__name__}); the server's log tells more."
                job.error, state = {"code": "bug", "message": message}, "failed"
                logging.getLogger("uvicorn.error").error("a job failed", exc_info=error)
            self._finish(job, state)
            # It computes for seconds, for which nobody shall wait who wants to see the labels.
            job.drift_warning = self._compare(sample.items) if state == "done" and not job.stop.is_set() else ""

    def _compare(self, texts: list[str]) -> str:
        try:
            return self._model.drift_warning(texts)
        except Exception as error:  # the worker must outlive it
            logging.getLogger("uvicorn.error").error("a comparison failed", exc_info=error)
            return ""

    def _run(self, job: Job, sample: Reservoir) -> None:
        taken = take_in(job.order, self._limits, job.stop.is_set)
        if taken is None:
            raise _CancelledError
        job.taken = taken
        if taken.articles and names_sources():
            self._add_sources(job)
        job.done, job.began, job.state = 0, time.monotonic(), "labelling"

        def on_piece(done: int) -> None:
            job.done += done
            if job.stop.is_set():
                raise _CancelledError

        report = predict_files(
            self._model.watched(on_piece),
            [job.order.output],
            job.output,
            # Drift is measured without the model's lock, so it is asked for later.
            options=PredictOptions(text_column=taken.text_column, drift=False),
        )
        job.truncated = report.truncated
        if job.stop.is_set():
            raise _CancelledError
        result = Result(job.output, self._model.classifier.classes_, {})
        for text in result.table[taken.text_column].to_pylist():
            sample.add(text)

    def _finish(self, job: Job, state: State) -> None:
        """Keep only the result's file, and of all jobs only so many."""
        for path in job.folder.iterdir():
            if path != job.output or state != "done":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        job.bytes = job.output.stat().st_size if job.output.exists() else 0
        job.ended = time.monotonic()
        with self._lock:
            job.state = state
            deleted = job.id not in self._jobs
        if deleted:
            self._remove(job)
        self._evict()

    def _add_sources(self, job: Job) -> None:
        """Say beside each sentence who says it; the labels do not wait for it to work."""
        if job.taken.rows > self._limits.sourced_sentences:
            job.notes.append(
                f"Who says each sentence is not told for more than {self._limits.sourced_sentences:,} sentences. Send "
                f"fewer, or what 'conflict-framing sources' wrote."
            )
            return
        job.state = "attributing"

        def on_article(sentences: int) -> None:
            job.done += sentences
            if job.stop.is_set():
                raise _CancelledError

        try:
            add_sources(Path(job.order.output), on_article)
        except _CancelledError:
            raise
        except Exception as error:
            job.notes.append("Who says each sentence could not be told; the server's log tells why.")
            logging.getLogger("uvicorn.error").error("naming sources failed", exc_info=error)

    def _remove(self, job: Job) -> None:
        shutil.rmtree(job.folder, ignore_errors=True)
        forget()
        self._on_gone(job.id)

    def _evict(self) -> None:
        with self._lock:
            over = [job for job in self._jobs.values() if job.over]
            gone = []
            while len(over) > self._limits.kept_jobs or (
                len(over) > 1 and sum(job.bytes for job in over) > self._limits.kept_bytes
            ):
                gone.append(over.pop(0))
                del self._jobs[gone[-1].id]
        for job in gone:
            self._remove(job)
