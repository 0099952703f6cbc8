"""Kill the command at random points, resume it, and compare what comes out with an uninterrupted run, byte for byte.

    python benchmarks/kill_resume.py --times 200
    python benchmarks/kill_resume.py --times 200 --model runs/default --rows 1000

Each job labels a folder of files of all formats, some of whose rows are unusable, with abstention, a queue and
adapted priors. Each start of the command is a process of its own (a fork, so that nothing is imported again),
and each kill is SIGKILL, up to 50 ms after a call drawn at random from those that put something on the disk (at
a time drawn at random, a busy machine would be killed while it starts, and an idle one when it has ended). The
command starts again with --resume until it ends by itself. Without --model a stand-in labels (see pseudo.py).
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import random
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from conflict_framing import cli
from conflict_framing.data.files import partial_of
from conflict_framing.data.tables import write_table
from conflict_framing.model import CheckpointClassifier, predict, shards
from conflict_framing.progress import log_event
from pseudo import PseudoClassifier

OUTPUTS = ("out.jsonl", "out.csv.gz", "out.tsv.zst", "out.parquet")
WORDS = ["the", "town", "army", "said", "calm", "raid", "convoy", "river", "north", "ministry", "road", "quiet"]


def make_inputs(folder: Path, rows: int, seed: int = 0) -> None:
    """Files of all formats, with rows that cannot be labelled among them."""
    folder.mkdir(parents=True)
    chance = random.Random(seed)

    def row(number: int) -> dict[str, object]:
        text = "" if chance.random() < 0.03 else " ".join(chance.choices(WORDS, k=chance.randint(3, 15)))
        return {"id": number, "text": text, "document": f"d{number // 5}", "label": "x"}

    part = rows // 4
    table = [row(number) for number in range(rows)]
    with gzip.open(folder / "a.jsonl.gz", "wt", encoding="utf-8") as stream:
        for number, values in enumerate(table[:part]):
            stream.write("{broken\n" if number % 50 == 7 else json.dumps(values) + "\n")
    write_table(folder / "b.csv", table[part : 2 * part])
    write_table(folder / "c.tsv.zst", table[2 * part : 3 * part])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table[3 * part :]), folder / "d.parquet")
    for number in range(5):
        text = "\n\n".join(" ".join(chance.choices(WORDS, k=9)).capitalize() + "." for _ in range(20))
        (folder / f"e{number}.txt").write_text(text, "utf-8")


def arguments(work: Path, output: str) -> list[str]:
    return [
        "predict", str(work / "in"), "--model", "model", "--output", str(work / output), "--abstain", "0.8",
        "--adapt-priors", "--queue", str(work / "queue.jsonl"), "--queue-size", "40", "--resume", "--log-json",
    ]  # fmt: skip


def start(work: Path, output: str, classifier: Any, kill: tuple[int, float] | None) -> tuple[int, list[dict[str, Any]]]:
    """Run the command in a process of its own.

    Args:
        kill: after which call that puts something on the disk, and how many seconds after it.

    Returns:
        Its exit status, negative where it was killed, and what it told on standard error.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        status = 1
        try:
            os.close(reader)
            sys.stderr, sys.stdout = os.fdopen(writer, "w", encoding="utf-8"), io.StringIO()
            status = child(arguments(work, output), classifier, kill)
        finally:
            os._exit(status)  # whatever happens, it must not go on as its parent
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        lines = stream.read().decode("utf-8", "replace").splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return status, [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def child(arguments: list[str], classifier: Any, kill: tuple[int, float] | None) -> int:
    """The command, in a process that is to be killed; with small windows and shards, so that there are many."""
    calls = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if kill and calls == kill[0]:
                timer = threading.Timer(kill[1], os.kill, (os.getpid(), signal.SIGKILL))
                timer.daemon = True
                timer.start()
            return call(*given, **named)

        return wrapped

    for name in ("fsync", "replace", "rename", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    predict.SHARD_ROWS, shards.WINDOW = 128, 32
    CheckpointClassifier.from_pretrained = classmethod(lambda *_, **__: classifier)  # type: ignore[assignment,method-assign]
    status = 1
    try:
        cli.main(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
        log_event("end", calls=calls)
    return status


def digests(work: Path) -> dict[str, str]:
    """SHA-256 of every file that the command left."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(work.iterdir()) if path.is_file()
    }


def clean(work: Path) -> None:
    for path in work.iterdir():
        if path.is_file():
            path.unlink()


def run_killed(work: Path, output: str, classifier: Any, calls: int, chance: random.Random, most: int) -> Counter[str]:
    """Run a job that is killed again and again, at most so often.

    Args:
        calls: of an uninterrupted job; each kill comes after one of them, and fewer are left each time.

    Returns:
        The stages in which it was killed.
    """
    hit: Counter[str] = Counter()
    while True:
        kill = (chance.randint(1, max(2, calls // 3)), chance.uniform(0, 0.05)) if hit.total() < most else None
        status, told = start(work, output, classifier, kill)
        if status == -signal.SIGKILL:
            hit[next((event["stage"] for event in reversed(told) if "stage" in event), "start")] += 1
            if (work / output).exists() and not partial_of(work / output).exists():
                return hit  # all was in place
        elif status in (0, 3):
            return hit
        else:
            sys.exit(f"the command failed with status {status}: {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200, help="kills (default: 200)")
    parser.add_argument("--rows", type=int, default=2000, help="of each job (default: 2000)")
    parser.add_argument("--model", help="a run or model folder (default: a stand-in without a model)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    classifier: Any = PseudoClassifier()
    if options.model:
        classifier = CheckpointClassifier.from_pretrained(options.model, device="cpu")
    chance = random.Random(options.seed)
    stages: Counter[str] = Counter()
    jobs = 0
    expected, calls = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_inputs(work / "in", options.rows)
        for output in OUTPUTS:
            status, told = start(work, output, classifier, None)
            if status not in (0, 3):
                sys.exit(f"the command failed with status {status}: {told}")
            expected[output], calls[output] = digests(work), told[-1]["calls"]
            clean(work)
        while stages.total() < options.times:
            output = OUTPUTS[jobs % len(OUTPUTS)]
            most = min(8, options.times - stages.total())
            stages += run_killed(work, output, classifier, calls[output], chance, most)
            found = digests(work)
            if found != expected[output] or partial_of(work / output).exists():
                sys.exit(f"{output}: expected {expected[output]}, came {found}")
            clean(work)
            jobs += 1
            print(f"{stages.total()} kills, {jobs} jobs finished, all as uninterrupted: {dict(stages)}", flush=True)


if __name__ == "__main__":
    main()
