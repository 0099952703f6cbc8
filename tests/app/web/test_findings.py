"""Findings of several jobs at the same time, on fakes."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from conflict_framing.web.findings import JobFindings
from conflict_framing.web.intake import Order
from conflict_framing.web.jobs import Job
from conflict_framing.web.limits import Limits

_PATIENCE = 10.0  # seconds, until a test fails


def _job(id: str, folder: Path) -> Job:
    return Job(id, "session", id, Order("", "", ""), folder)


def test_a_job_waits_for_its_own_findings_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, release = threading.Event(), threading.Event()
    computed = []

    def find(self: JobFindings, job: Job, *_: Any) -> Any:
        computed.append(job.id)
        if job.id == "large":
            begun.set()
            assert release.wait(_PATIENCE), "the other job waits for this one"
        return SimpleNamespace(of=job.id)

    monkeypatch.setattr(JobFindings, "_find", find)
    findings: Any = JobFindings(None, Limits())  # type: ignore[arg-type]
    large, small = _job("large", tmp_path), _job("small", tmp_path)
    with ThreadPoolExecutor(2) as threads:
        twice = [threads.submit(findings.find, large, None, [], "date") for _ in range(2)]
        assert begun.wait(_PATIENCE)
        assert findings.find(small, None, [], "date").of == "small"
        release.set()
        first, second = (one.result() for one in twice)
    assert first is second and computed == ["large", "small"]


def test_nothing_is_kept_of_a_job_that_was_deleted_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []

    def find(self: JobFindings, job: Job, *_: Any) -> Any:
        computed.append(job.id)
        if job.folder.exists():
            job.folder.rmdir()
            self.forget(job.id)
        return SimpleNamespace()

    monkeypatch.setattr(JobFindings, "_find", find)
    findings: Any = JobFindings(None, Limits())  # type: ignore[arg-type]
    job = _job("a", tmp_path / "a")
    job.folder.mkdir()
    findings.find(job, None, [], "date")
    findings.find(job, None, [], "date")
    assert computed == ["a", "a"]
