"""Jobs whose output is on a store: as on a disk, broken off anywhere, and never two in one."""

import errno
import gzip
import hashlib
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pyarrow.parquet
import pytest

from conflict_framing.data import UserError
from conflict_framing.data.urls import UrlPath, place_of
from conflict_framing.model import predict as predict_module
from conflict_framing.model import rows as model_rows
from conflict_framing.model import shards
from conflict_framing.model.predict import PredictOptions, PredictReport, Progress, predict_files
from conflict_framing.model.ray_engine import RayEngine
from conflict_framing.model.stored import StoredJob
from pseudo import PseudoClassifier
from shared_store import SharedStore

from ..conftest import tiny_rows, write_inputs
from .test_shards import killed

ROWS = 150


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(predict_module, "SHARD_ROWS", 64)
    monkeypatch.setattr(shards, "WINDOW", 16)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("scratch")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_inputs(tmp_path / "in", ROWS)


@pytest.fixture
def store(folder: Path) -> Iterator[Any]:
    """The same inputs in memory."""
    fs = fsspec.filesystem("memory")
    for path in folder.iterdir():
        fs.put_file(str(path), f"/in/{path.name}")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def run(given: Any, output: Any, *, salt: int = 0, **more: Any) -> PredictReport:
    passed = {key: more.pop(key) for key in ("overwrite", "resume", "on_progress", "engine") if key in more}
    settings = {"abstain_below": 0.8, "adapt_priors": True, "queue_size": 9}
    inputs = given if isinstance(given, list) else [given]
    options = PredictOptions(**settings | more)
    return predict_files(PseudoClassifier(salt=salt), inputs, output, options=options, **passed)  # type: ignore[arg-type]


def broken_off(given: Any, output: Any, shard: int = 1, **more: Any) -> None:
    def press(progress: Progress) -> None:
        if progress.stage == "label" and progress.shard == shard:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"64 rows are done and kept in .*\.partial"):
        run(given, output, on_progress=press, **more)


def digests(store: Any) -> dict[str, str]:
    return {name.removeprefix("/out/"): hashlib.sha256(store.cat_file(name)).hexdigest() for name in store.find("/out")}


@pytest.mark.parametrize("output", ["out.jsonl", "out.csv.gz", "out.tsv.zst", "out.parquet"])
def test_the_output_is_that_of_a_run_on_a_disk(folder: Path, store: Any, tmp_path: Path, output: str) -> None:
    here = run(folder, tmp_path / output, queue=tmp_path / "queue.csv")
    there = run("memory://in", f"memory://out/{output}", queue=place_of("memory://out/queue.csv"))
    assert (there.read, there.written, there.rejected, there.queued) == (ROWS, ROWS - 3, 3, here.queued)
    assert sorted(digests(store)) == [output, f"{output}.meta.json", f"{output}.rejected.jsonl", "queue.csv"]
    store.get_file(f"/out/{output}", str(tmp_path / "copy"))
    if output.endswith("parquet"):
        assert pyarrow.parquet.read_table(tmp_path / "copy").equals(pyarrow.parquet.read_table(tmp_path / output))
    else:
        assert (tmp_path / "copy").read_bytes() == (tmp_path / output).read_bytes()
    assert store.cat_file("/out/queue.csv") == (tmp_path / "queue.csv").read_bytes()
    rejected = (tmp_path / f"{output}.rejected.jsonl").read_text("utf-8").replace(str(folder), "memory://in")
    assert store.cat_file(f"/out/{output}.rejected.jsonl").decode() == rejected
    told = json.loads(store.cat_file(f"/out/{output}.meta.json"))
    expected = json.loads((tmp_path / f"{output}.meta.json").read_text("utf-8"))
    assert told.pop("options") == expected.pop("options") | {
        "inputs": ["memory://in"],
        "queue": "memory://out/queue.csv",
    }
    assert told == expected


def test_stores_and_disks_are_mixed(folder: Path, store: Any, tmp_path: Path) -> None:
    store.pipe_file("/news/d.txt", b"The town was calm.\n\nA raid began. Trucks arrived.")
    given = [f"file://{folder}/a.jsonl", "memory://in/b.*", folder / "c.parquet", "memory://news/d.txt"]
    assert run(given, tmp_path / "here.jsonl").written == ROWS
    last = (tmp_path / "here.jsonl").read_text("utf-8").splitlines()[-1]
    assert json.loads(last)["document"] == "memory://news/d.txt"
    run(given, "memory://out/there.jsonl")
    assert store.cat_file("/out/there.jsonl") == (tmp_path / "here.jsonl").read_bytes()
    report = run(folder, f"file://{tmp_path}/new/url.jsonl")
    assert report.output == tmp_path / "new" / "url.jsonl"
    assert report.output.exists()


class Died(BaseException):
    """What ends the process."""


@pytest.mark.parametrize("output", ["memory://out/out.jsonl", "memory://out/out.parquet"])
def test_broken_off_before_anything_that_is_put_and_resumed_the_objects_are_the_same(store: Any, output: str) -> None:
    run("memory://in", output, queue=place_of("memory://out/queue.csv"))
    expected = digests(store)
    resumed = set()
    for point in itertools.count(1):
        store.rm("/out", recursive=True)
        calls = 0

        def dying(name: str, point: int = point) -> Any:
            plain = getattr(UrlPath, name)

            def call(*arguments: Any, **named: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls >= point:  # nothing more is done by a process that has died
                    raise Died
                return plain(*arguments, **named)

            return call

        with pytest.MonkeyPatch.context() as patch:
            for name in ("put", "unlink", "remove_all"):
                patch.setattr(UrlPath, name, dying(name))
            try:
                run("memory://in", output, queue=place_of("memory://out/queue.csv"), resume=True)
                break
            except Died:
                pass
        if output.rpartition("/")[2] not in digests(store) or StoredJob(UrlPath(f"{output}.partial")).has_begun:
            report = run("memory://in", output, queue=place_of("memory://out/queue.csv"), resume=True)
            resumed.add(report.resumed)
        left = digests(store)
        assert {name: digest for name, digest in left.items() if ".partial/" not in name} == expected, point
    assert point > 15
    assert {0, 64, 128, ROWS} <= resumed
    assert digests(store) == expected


def test_killed_and_resumed_the_objects_are_the_same(folder: Path, tmp_path: Path) -> None:
    assert SharedStore.protocol == "shared"
    output = f"shared://{tmp_path}/out/out.jsonl"

    def work() -> PredictReport:
        return run(f"shared://{folder}/*", output, resume=True)

    def found() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}

    work()
    expected = found()
    assert len(expected) == 3
    point, kills = 1, 0
    for path in expected:
        Path(path).unlink()
    while killed(work, point):
        kills += 1
        point += 9
    assert kills >= 2
    assert found() == expected


def test_an_unfinished_job_is_neither_lost_nor_taken_up_unasked(store: Any) -> None:
    output = "memory://out/out.csv"
    broken_off("memory://in", output)
    with pytest.raises(UserError, match=r"memory://out/out\.csv\.partial exists: this output was begun and not"):
        run("memory://in", output)
    with pytest.raises(UserError, match=r"begun with something else(.|\n)*abstain_below: was 0\.8, is 0\.7"):
        run("memory://in", output, resume=True, abstain_below=0.7)
    with pytest.raises(UserError, match=r"begun with something else(.|\n)*model, probabilities"):
        run("memory://in", output, resume=True, salt=1)
    store.pipe_file("/in/a.jsonl", store.cat_file("/in/a.jsonl"))
    with pytest.raises(UserError, match=r"begun with something else(.|\n)*inputs, memory://in/a\.jsonl, created: was"):
        run("memory://in", output, resume=True)
    report = run("memory://in", output, overwrite=True)
    assert (report.resumed, report.written) == (0, ROWS - 3)
    with pytest.raises(UserError, match=r"memory://out/out\.csv exists"):
        run("memory://in", output)
    with pytest.raises(UserError, match=r"out\.csv is an input too, and would be lost"):
        run(output, output, overwrite=True)


def test_an_input_that_changes_meanwhile_is_noticed(store: Any) -> None:
    def change(progress: Progress) -> None:
        if progress.stage == "label" and progress.shard == 1:
            store.pipe_file("/in/a.jsonl", store.cat_file("/in/a.jsonl") + b'{"text": "late"}\n')

    with pytest.raises(UserError, match=r"changed while it was read\. Nothing was put in place"):
        run("memory://in", "memory://out/out.csv", on_progress=change)
    assert not store.exists("/out/out.csv")


def test_who_was_overtaken_puts_nothing_in_place(store: Any) -> None:
    def overtake(progress: Progress) -> None:
        if progress.stage == "label" and progress.shard == 1:
            broken_off("memory://in", "memory://out/out.csv", overwrite=True, salt=1)

    with pytest.raises(UserError, match="another process has begun this output anew"):
        run("memory://in", "memory://out/out.csv", on_progress=overtake)
    assert not store.exists("/out/out.csv")
    other = run("memory://in", "memory://out/out.csv", resume=True, salt=1)
    assert (other.resumed, other.written) == (64, ROWS - 3)
    assert [name for name in digests(store) if "partial" in name] == []


def test_a_folder_of_somebody_else_is_never_removed(store: Any) -> None:
    store.pipe_file("/out/out.csv.partial/thesis.docx", b"precious")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"no unfinished work of this command\. Move it away"):
            run("memory://in", "memory://out/out.csv", overwrite=overwrite)
    assert store.cat_file("/out/out.csv.partial/thesis.docx") == b"precious"


def test_standard_input_is_kept_for_resuming(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    content = gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in tiny_rows(100)))
    reads = [content, b""]
    monkeypatch.setattr(
        model_rows.sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(read=lambda size: reads.pop(0)))
    )
    broken_off("-", "memory://out/out.csv", input_format="jsonl")
    report = run("-", "memory://out/out.csv", input_format="jsonl", resume=True)
    assert (report.resumed, report.written) == (64, 100)


def test_the_memory_of_one_process_is_not_for_ray(store: Any, tmp_path: Path) -> None:
    engine = RayEngine(PseudoClassifier, workers=1)  # type: ignore[arg-type]
    for given, output in (("memory://in", tmp_path / "out.csv"), (tmp_path / "in", "memory://out/out.csv")):
        with pytest.raises(UserError, match=r"the memory of one process, which the workers of --engine ray do not"):
            run(given, output, engine=engine)
    assert not (tmp_path / "out.csv.partial").exists()
    assert digests(store) == {}


def test_a_full_disk_is_that_of_this_machine(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: UrlPath, file: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(UrlPath, "put", full)
        with pytest.raises(
            UserError, match=f"No space left on the disk of {tempfile.gettempdir()}. No row was labelled"
        ):
            run("memory://in", "memory://out/out.csv")
    assert run("memory://in", "memory://out/out.csv", resume=True).written == ROWS - 3
    assert list(Path(tempfile.gettempdir()).iterdir()) == []
