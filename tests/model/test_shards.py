"""Jobs that are broken off: by SIGKILL at every point at which something is put on the disk, Ctrl-C, a full disk."""

import contextlib
import errno
import gzip
import hashlib
import io
import itertools
import json
import os
import random
import re
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet
import pytest

from conflict_framing.data import UserError, files
from conflict_framing.data.tables import BadRow, Row, read_table, write_table
from conflict_framing.model import predict as predict_module
from conflict_framing.model import rows as model_rows
from conflict_framing.model import shards
from conflict_framing.model.predict import PredictOptions, PredictReport, Progress, predict_files
from conflict_framing.model.rows import ReadOptions, RowCursor, Source, Survey, survey_sources, usable_rows
from conflict_framing.model.shards import JobFolder, Labeller, ShardEntry, ShardFiles
from pseudo import PseudoClassifier

from ..conftest import tiny_rows, write_inputs, write_jsonl

ROWS = 150


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict_module, "SHARD_ROWS", 64)
    monkeypatch.setattr(shards, "WINDOW", 16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Inputs of several formats, some of whose rows cannot be labelled."""
    inputs = write_inputs(tmp_path / "in", ROWS)
    with (inputs / "a.jsonl").open("a", encoding="utf-8") as stream:
        stream.write("{broken\n")
    (inputs / "d.txt").write_text("The town was calm.\n\nA raid began. Trucks arrived.", "utf-8")
    return inputs


def test_files_that_cannot_be_read_are_left_out_on_resuming_too(folder: Path) -> None:
    (folder / "a_latin.txt").write_bytes("A café.".encode("cp1252"))
    (folder / "b_latin.csv").write_bytes("text\ncalm\ncafé\n".encode("cp1252"))
    run(folder)
    whole = digests(folder)
    clean(folder)
    broken_off(folder)
    report = run(folder, resume=True)
    assert report.resumed == 64
    assert sorted(Path(name).name for name in report.left_out) == ["a_latin.txt", "b_latin.csv"]
    assert (report.read, report.rejected) == (ROWS + 4 + 2, 4 + 2)
    assert digests(folder) == whole


def options(folder: Path, **more: Any) -> PredictOptions:
    settings = {"abstain_below": 0.8, "adapt_priors": True, "queue": folder.parent / "queue.csv", "queue_size": 9}
    return PredictOptions(**settings | more)


def run(folder: Path, output: str = "out.jsonl", *, salt: int = 0, **more: Any) -> PredictReport:
    given = {key: more.pop(key) for key in ("overwrite", "resume", "on_progress") if key in more}
    return predict_files(
        PseudoClassifier(salt=salt),  # type: ignore[arg-type]
        [folder],
        folder.parent / output,
        options=options(folder, **more),
        **given,
    )


def digests(folder: Path) -> dict[str, str]:
    """Of all beside the inputs; a folder of the job, were one still there, would be among them.

    Only one that was being removed may be left: the next job removes it.
    """
    beside = [path for path in folder.parent.iterdir() if path != folder and path.suffix != ".removed"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in beside}


def clean(folder: Path) -> None:
    for path in folder.parent.iterdir():
        if path != folder:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def die_at(point: int) -> None:
    """Let this process be killed at its n-th call that puts something on the disk, just before it."""
    calls = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return wrapped

    for name in ("fsync", "replace", "rename", "unlink"):
        setattr(os, name, counted(getattr(os, name)))


def killed(work: Callable[[], object], point: int) -> bool:
    """Do the work in a process of its own; whether it was killed before it ended."""
    process = os.fork()
    if process == 0:
        try:
            die_at(point)
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


@pytest.mark.parametrize(("output", "step"), [("out.jsonl", 6), ("out.parquet", 13)])
def test_killed_at_points_all_along_and_resumed_the_files_are_the_same(folder: Path, output: str, step: int) -> None:
    """Every point takes a minute; ``benchmarks/kill_resume.py`` kills at any moment."""
    report = run(folder, output)
    assert (report.read, report.written, report.rejected) == (ROWS + 4, ROWS, 4)
    expected = digests(folder)
    assert set(expected) == {output, "queue.csv", f"{output}.rejected.jsonl", f"{output}.meta.json"}
    clean(folder)
    point, resumed = 1, set()
    while killed(lambda: run(folder, output, resume=True), point):
        if not (folder.parent / output).exists() or (folder.parent / f"{output}.partial").exists():
            resumed.add(run(folder, output, resume=True).resumed)
        assert digests(folder) == expected, point
        clean(folder)
        point += step
    assert point > 40
    assert {64, ROWS + 4} <= resumed


def test_killed_again_and_again(folder: Path) -> None:
    run(folder, "out.csv.gz")
    expected = digests(folder)
    clean(folder)
    chance, kills = random.Random(0), 0
    while killed(lambda: run(folder, "out.csv.gz", resume=True), chance.randint(1, 30)):
        kills += 1
    assert kills >= 3
    assert digests(folder) == expected


@pytest.mark.parametrize("output", ["out.jsonl.gz", "out.tsv.zst", "out.parquet"])
def test_resumed_from_each_shard_the_files_are_the_same(folder: Path, output: str) -> None:
    run(folder, output)
    expected = digests(folder)
    for stop in (0, 30, 64, 100, 128, ROWS + 4):
        clean(folder)

        def press(progress: Progress, stop: int = stop) -> None:
            if progress.stage == "label" and progress.rows >= stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt, match=r"Stopped\. [\d,]+ rows are done and kept in .*\.partial"):
            run(folder, output, on_progress=press)
        report = run(folder, output, resume=True)
        assert report.resumed <= stop
        assert digests(folder) == expected


def test_ctrl_c_before_a_row_is_labelled_leaves_nothing(folder: Path) -> None:
    def press(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"Stopped\. No row was labelled yet\."):
        run(folder, on_progress=press)
    assert digests(folder) == {}


@pytest.mark.parametrize("output", ["out.jsonl", "out.csv.gz", "out.tsv.zst", "out.parquet"])
def test_full_disk_keeps_what_is_done(folder: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    """Full after so many bytes: before the first shard, while shards are written, while the output is."""
    run(folder, output)
    expected = digests(folder)
    clean(folder)
    left = 0

    class Full(io.FileIO):
        def write(self, content: Any) -> int:
            nonlocal left
            left -= memoryview(content).nbytes
            if left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    kept = set()
    for size in itertools.count(500, 5000):
        left = size
        with monkeypatch.context() as patched, contextlib.suppress(UserError):
            patched.setattr(files.io, "FileIO", Full)
            try:
                run(folder, output)
            except UserError as error:
                assert re.fullmatch(r"No space left on the disk of .* --resume\.", str(error))
                raise
            break
        kept.add(run(folder, output, resume=True).resumed)
        assert digests(folder) == expected
        clean(folder)
    assert {0, 64, ROWS + 4} <= kept
    assert digests(folder) == expected


def broken_off(folder: Path, **more: Any) -> None:
    def press(progress: Progress) -> None:
        if progress.stage == "label" and progress.shard == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, on_progress=press, **more)


def test_an_unfinished_job_is_neither_lost_nor_taken_up_unasked(folder: Path) -> None:
    broken_off(folder)
    with pytest.raises(UserError, match=r"begun and not finished\. Go on with --resume, or begin anew with --over"):
        run(folder)
    with pytest.raises(UserError, match="Give one of them"):
        run(folder, resume=True, overwrite=True)
    assert JobFolder(folder.parent / "out.jsonl.partial").has_begun
    assert run(folder, overwrite=True).resumed == 0


def test_resume_where_nothing_was_begun_begins(folder: Path) -> None:
    assert run(folder, resume=True).written == ROWS
    with pytest.raises(UserError, match=r"out\.jsonl exists"):
        run(folder, resume=True)


def test_a_changed_model_option_or_input_is_refused_by_name(folder: Path) -> None:
    broken_off(folder)

    def refused(expected: str, **more: Any) -> None:
        with pytest.raises(UserError, match=f"begun with something else(.|\n)*{expected}(.|\n)*--overwrite"):
            run(folder, resume=True, **more)

    refused("model, probabilities_of_a_probe: was ", salt=1)
    refused("options, abstain_below: was 0.8, is 0.7", abstain_below=0.7)
    refused("options, queue_size: was 9, is 8", queue_size=8)
    refused('options, runtime, device: was not there, is "cuda"', runtime={"device": "cuda"})
    before = (folder / "a.jsonl").stat()
    os.utime(folder / "a.jsonl", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    refused(r"inputs, .*a\.jsonl, modified: was ")
    os.utime(folder / "a.jsonl", ns=(before.st_atime_ns, before.st_mtime_ns))
    (folder / "e.txt").write_text("New.", "utf-8")
    refused(r"inputs, .*e\.txt: was not there")
    (folder / "e.txt").unlink()
    assert run(folder, resume=True).resumed == 64


def test_a_model_in_a_folder_is_known_by_its_files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    classifier: Any = PseudoClassifier()
    classifier.source = tmp_path_factory.mktemp("model")
    (classifier.source / "model.safetensors").write_bytes(b"weights")

    def press(progress: Progress) -> None:
        if progress.stage == "label":
            raise KeyboardInterrupt

    arguments = (classifier, [folder], folder.parent / "out.csv")
    with pytest.raises(KeyboardInterrupt):
        predict_files(*arguments, on_progress=press)
    (classifier.source / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(UserError, match=r"model, sha256, model\.safetensors: was "):
        predict_files(*arguments, resume=True)


def test_an_input_that_changes_meanwhile_is_noticed(folder: Path) -> None:
    def append(progress: Progress) -> None:
        if progress.stage == "label" and progress.shard == 1:
            with (folder / "a.jsonl").open("a", encoding="utf-8") as stream:
                stream.write('{"text": "late"}\n')

    with pytest.raises(UserError, match=r"changed while it was read\. Nothing was put in place"):
        run(folder, on_progress=append)
    assert not (folder.parent / "out.jsonl").exists()


def test_counts_that_do_not_add_up_are_an_error(tmp_path: Path) -> None:
    job = JobFolder(tmp_path)
    job.entries = {0: ShardEntry(0, 10, 9, 1), 1: ShardEntry(1, 10, 9, 0)}
    with pytest.raises(UserError, match="shard 1: read 10, but 9 written and 0 rejected"):
        job.check(2, 20)
    job.entries[1] = ShardEntry(1, 10, 10, 0)
    job.check(2, 20)
    with pytest.raises(UserError, match="had 21 rows when they were first read, and 20 now"):
        job.check(2, 21)
    with pytest.raises(UserError, match="expected 3 shards, came 2"):
        job.check(3, 20)


def test_a_shard_that_lost_rows_is_noticed(folder: Path) -> None:
    broken_off(folder)
    job = folder.parent / "out.jsonl.partial"
    damaged = ShardFiles(job, "jsonl", {})
    rows = [row.values for row in read_table(job / "00000000.rows.jsonl.zst")]
    damaged.paths(0)[0].unlink()
    write_table(damaged.paths(0)[0], rows[:-1])
    with pytest.raises(UserError, match=r"shard 0 has fewer rows than scores\. .*--overwrite"):
        run(folder, resume=True)


def test_a_last_line_cut_off_by_a_power_cut_is_done_again(folder: Path) -> None:
    run(folder)
    expected = digests(folder)
    clean(folder)
    broken_off(folder)
    manifest = folder.parent / "out.jsonl.partial" / "manifest.jsonl"
    whole = manifest.read_bytes()
    for torn in (whole[:-5], whole + b'{"shard": 1, "re', whole + b"\0\0\0\0\n"):
        manifest.write_bytes(torn)
        job = JobFolder(manifest.parent)
        job.resume(json.loads(whole.splitlines()[0])["job"])
        assert list(job.entries) == ([] if torn == whole[:-5] else [0])
        assert torn.startswith(manifest.read_bytes())
    assert run(folder, resume=True).written == ROWS
    assert digests(folder) == expected


def test_two_processes_never_share_a_job(folder: Path) -> None:
    broken_off(folder)
    other = JobFolder(folder.parent / "out.jsonl.partial")
    other.lock()
    with pytest.raises(UserError, match="another process is at work"):
        run(folder, resume=True)
    other.close()
    assert run(folder, resume=True).written == ROWS


def test_a_folder_of_somebody_else_is_never_removed(folder: Path) -> None:
    (folder.parent / "out.jsonl.partial").mkdir()
    (folder.parent / "out.jsonl.partial" / "thesis.docx").write_text("precious", "utf-8")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"no unfinished work of this command\. Move it away"):
            run(folder, overwrite=overwrite)
    assert (folder.parent / "out.jsonl.partial" / "thesis.docx").exists()


def test_a_resumed_job_replaces_only_what_it_was_told_to(folder: Path) -> None:
    broken_off(folder)
    (folder.parent / "out.jsonl").write_text("precious", "utf-8")
    with pytest.raises(UserError, match=r"out\.jsonl exists"):
        run(folder, resume=True)
    (folder.parent / "out.jsonl").unlink()
    (folder.parent / "queue.csv").write_text("labels", "utf-8")
    with pytest.raises(UserError, match="may hold labels that somebody gave"):
        run(folder, resume=True)
    (folder.parent / "queue.csv").unlink()
    run(folder, resume=True)
    (folder.parent / "queue.csv").unlink()
    broken_off(folder, overwrite=True)
    assert run(folder, resume=True).written == ROWS


def test_standard_input_is_kept_for_resuming(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in tiny_rows(100)))
    output = folder.parent / "out.jsonl"
    given: Any = (PseudoClassifier(), ["-"], output)
    reading = PredictOptions(input_format="jsonl")

    def press(progress: Progress) -> None:
        if progress.stage == "label" and progress.shard == 1:
            raise KeyboardInterrupt

    reads = [content, b""]
    monkeypatch.setattr(
        model_rows.sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(read=lambda size: reads.pop(0)))
    )
    with pytest.raises(KeyboardInterrupt):
        predict_files(*given, options=reading, on_progress=press)
    assert reads == []
    report = predict_files(*given, options=reading, resume=True)
    assert (report.resumed, report.written) == (64, 100)


def test_parquet_tells_in_its_footer_what_stands_beside_it(folder: Path) -> None:
    run(folder, "out.parquet")
    footer = pyarrow.parquet.read_metadata(folder.parent / "out.parquet").metadata
    beside = json.loads((folder.parent / "out.parquet.meta.json").read_text("utf-8"))
    assert beside["model"]["recipe"] == "pseudo"
    assert beside["options"]["abstain_below"] == 0.8
    for name, section in beside.items():
        assert json.loads(footer[f"conflict_framing.{name}".encode()]) == section


def test_labelling_is_a_function_of_the_rows_alone(folder: Path) -> None:
    labeller = Labeller(PseudoClassifier(), "text", ["calm", "move"])  # type: ignore[arg-type]
    names = sorted(str(path) for path in folder.iterdir())
    given = [Source.of(name, ReadOptions(), folder) for name in names]
    rows = list(usable_rows(given, ReadOptions()))
    whole, again = labeller(rows), labeller(rows)
    assert whole.rows == again.rows
    assert (whole.scores == again.scores).all()
    assert whole.scores["probabilities"].shape == (ROWS, 2)
    parts = [labeller(rows[first : first + 7]) for first in range(0, len(rows), 7)]
    assert [row for part in parts for row in part.rows] == whole.rows
    assert [row for part in parts for row in part.rejected] == whole.rejected
    assert labeller([]).scores.shape == (0,)


def test_rows_can_be_read_from_any_place(folder: Path) -> None:
    names = sorted(str(path) for path in folder.iterdir())
    given = [Source.of(name, ReadOptions(), folder) for name in names]
    survey = survey_sources(given, ReadOptions())
    assert survey.counts == [61, 40, 50, 3]
    rows = list(usable_rows(given, ReadOptions()))
    for first in range(survey.rows + 1):
        assert list(usable_rows(given, ReadOptions(), survey.counts, first)) == rows[first:]
    kept = Survey.from_json(json.loads(json.dumps(survey.to_json())))
    assert (kept.counts, kept.columns) == (survey.counts, survey.columns)


def test_pending_shards_come_in_ranges(tmp_path: Path) -> None:
    job = JobFolder(tmp_path)
    job.entries = {shard: ShardEntry(shard, 1, 1, 0) for shard in (0, 3, 4)}
    assert list(job.ranges(8)) == [(1, 3), (5, 8)]
    assert list(job.ranges(8, longest=2)) == [(1, 3), (5, 7), (7, 8)]


def test_a_cursor_reads_each_file_once_for_rising_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (7, 2, 10, 1)
    paths = [
        write_jsonl(tmp_path / f"{number}.jsonl", [{"text": f"{number}-{row}"} for row in range(size)])
        for number, size in enumerate(sizes)
    ]
    sources = [Source(str(path), path.name, "jsonl") for path in paths]
    opened: list[str] = []
    plain = Source.rows

    def rows(self: Source, *given: Any) -> Iterator[Row | BadRow]:
        opened.append(self.name)
        return plain(self, *given)

    monkeypatch.setattr(Source, "rows", rows)

    def texts(found: Iterable[Row | BadRow]) -> list[str]:
        return [row.values["text"] for row in found if isinstance(row, Row)]

    whole = texts(usable_rows(sources, ReadOptions(), sizes))
    opened.clear()
    cursor = RowCursor(sources, ReadOptions(), sizes)
    for first in range(0, 20, 4):  # every other two
        assert texts(itertools.islice(cursor.rows(first), 2)) == whole[first : first + 2]
    assert sorted(opened) == sorted(set(opened))
    for first in (3, 15, 15, 0, 19, 6, 8):
        assert texts(itertools.islice(cursor.rows(first), 3)) == whole[first : first + 3]
    assert texts(cursor.rows(20)) == []
