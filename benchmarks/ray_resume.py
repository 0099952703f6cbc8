"""Label a folder with Ray Data while workers and the command itself are killed, and compare with the local engine.

    python benchmarks/ray_resume.py --model runs/default --rows 200000
    python benchmarks/ray_resume.py --model model/ready --rows 2000 --files 4

The folder holds sentences of ../shared/real/sentences.jsonl.gz, repeated with a running number, so that all of them
differ. Two workers label it. When a quarter is done, one of them gets SIGKILL, and Ray starts another; when half is
done, the command and all of Ray get it, and the command starts again with --resume. Then every row must be
there once, in order, with the label of the local engine and probabilities within 1e-5 of its own. Linux only:
processes are found in /proc.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from scale import make_rows

from common import SHARED, require

_WORKER = b"ray::MapWorker"
_TOLERANCE = 1e-5


def make_folder(source: Path, folder: Path, rows: int, files: int) -> None:
    folder.mkdir()
    whole = folder.with_suffix(".jsonl")
    make_rows(source, whole, rows)
    lines = whole.read_text("utf-8").splitlines(keepends=True)
    size = -(-rows // files)
    for number in range(files):
        (folder / f"{number:03}.jsonl").write_text("".join(lines[number * size : (number + 1) * size]), "utf-8")
    whole.unlink()


def command(model: str, folder: Path, output: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "conflict_framing", "predict", str(folder), "--model", model),
        *("--output", str(output), "--log-json", *more),
    ]


def labelled(line: str, rows: int) -> float:
    """The share of rows that a line of the log tells as labelled; 0 for other lines."""
    if not line.startswith("{"):
        return 0.0
    event = json.loads(line)
    return float(event.get("rows", 0)) / rows if event.get("stage") == "label" else 0.0


def ray_processes() -> list[tuple[int, bytes]]:
    """Process ids and command lines of all of Ray's processes of this user."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            line = (place / "cmdline").read_bytes()
            mine = place.stat().st_uid == os.getuid()
        except OSError:  # it has ended
            continue
        if mine and (line.startswith(b"ray::") or b"/ray/" in line.split(b"\0")[0] or b"ray/core" in line):
            found.append((int(place.name), line))
    return found


def kill_one_worker() -> int | None:
    workers = [pid for pid, line in ray_processes() if line.startswith(_WORKER)]
    if workers:
        os.kill(workers[0], signal.SIGKILL)
    return workers[0] if workers else None


def run_and_kill(arguments: list[str], rows: int) -> dict[str, Any]:
    """Start the command, kill a worker at a quarter and everything at half; what was killed, and when."""
    told: dict[str, Any] = {}
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    for line in process.stderr:
        done = labelled(line, rows)
        if done >= 0.25 and "worker_killed_at" not in told and kill_one_worker():
            told["worker_killed_at"] = round(done, 3)
        if done >= 0.5 and "worker_killed_at" in told:
            told["command_killed_at"] = round(done, 3)
            os.killpg(process.pid, signal.SIGKILL)
            for pid, _ in ray_processes():
                os.kill(pid, signal.SIGKILL)
            break
    process.wait()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a run or model folder")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--files", type=int, default=8, help="that the rows are spread over (default: 8)")
    options = parser.parse_args()
    source = require(SHARED / "real" / "sentences.jsonl.gz", "The unlabelled real sentences")
    model = str(Path(options.model).resolve())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "in"
        make_folder(source, folder, options.rows, options.files)
        here, there = Path(place) / "here.parquet", Path(place) / "ray.parquet"
        began = time.monotonic()
        subprocess.run(command(model, folder, here), check=True, stderr=subprocess.DEVNULL)
        local = time.monotonic() - began
        with_ray = command(model, folder, there, "--engine", "ray", "--workers", "2")
        began = time.monotonic()
        told = run_and_kill(with_ray, options.rows)
        if set(told) != {"worker_killed_at", "command_killed_at"}:
            sys.exit(f"Not all was killed ({told}): give more rows.")
        subprocess.run([*with_ray, "--resume"], check=True, stderr=subprocess.DEVNULL)
        ray = time.monotonic() - began
        a, b = pyarrow.parquet.read_table(here), pyarrow.parquet.read_table(there)
    assert a.column_names == b.column_names and a.num_rows == b.num_rows == options.rows
    for name in ("id", "text", "label"):
        assert a[name].equals(b[name]), name
    names = [name for name in a.column_names if name == "score" or name.startswith("p_")]
    apart = max(float(np.abs(a[name].to_numpy() - b[name].to_numpy()).max()) for name in names)
    assert apart <= _TOLERANCE, apart
    print(f"{options.rows:,} rows in {options.files} files, 2 workers; one killed at {told['worker_killed_at']:.0%},")
    print(f"the command and Ray at {told['command_killed_at']:.0%}, then resumed.")
    print(f"Every row once and in order, all labels equal, probabilities at most {apart:.1e} apart.")
    print(f"Local engine {local:,.0f} s, Ray with both kills {ray:,.0f} s.")


if __name__ == "__main__":
    main()
