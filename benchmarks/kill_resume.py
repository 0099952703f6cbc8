"""Kill the command at random points, resume it, and compare what comes out with an uninterrupted run, byte for byte.

    python benchmarks/kill_resume.py --times 200
    python benchmarks/kill_resume.py --times 200 --model runs/default --rows 3000

Each job labels a folder of files of all formats, some of whose rows are unusable, with abstention, a queue and
adapted priors. Without --model a stand-in labels (see pseudo.py), so that a start takes a second; all else is
the command itself, in a process of its own. Every kill is SIGKILL; the process then starts again with --resume,
until it ends by itself. A job counts when at least one kill hit it; kills are counted, not jobs.
"""

import argparse
import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pyarrow
import pyarrow.parquet

from conflict_framing.data.files import partial_of
from conflict_framing.data.tables import write_table

OUTPUTS = ("out.jsonl", "out.csv.gz", "out.tsv.zst", "out.parquet")
SHARD_ROWS = 128  # small, so that a short job has many
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


def child(arguments: list[str], seconds: float) -> None:
    """The command, with the stand-in for a model unless there is one."""
    from conflict_framing import cli
    from conflict_framing.model import CheckpointClassifier, predict, shards
    from pseudo import PseudoClassifier

    # Small windows and shards make many points to be killed at.
    predict.SHARD_ROWS = SHARD_ROWS
    shards.WINDOW = 32
    if seconds >= 0:
        CheckpointClassifier.from_pretrained = classmethod(  # type: ignore[assignment,method-assign]
            lambda *_, **__: PseudoClassifier(seconds=seconds)
        )
    cli.main(arguments)


def command(work: Path, output: str, model: str | None, seconds: float) -> list[str]:
    return [
        sys.executable, __file__, "--child", str(-1 if model else seconds), "predict", str(work / "in"),
        "--model", model or "stand-in", "--output", str(work / output), "--abstain", "0.8", "--adapt-priors",
        "--queue", str(work / "queue.jsonl"), "--queue-size", "40", "--device", "cpu", "--log-json",
    ]  # fmt: skip


def digests(work: Path) -> dict[str, str]:
    """SHA-256 of every file that the command left."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(work.iterdir()) if path.is_file()
    }


def clean(work: Path) -> None:
    for path in work.iterdir():
        if path.is_file():
            path.unlink()


def stage_of(log: bytes) -> str:
    """What the killed process was last known to do."""
    for line in reversed(log.decode("utf-8", "replace").splitlines()):
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if "stage" in told:
            return str(told["stage"])
    return "start"


def run_killed(work: Path, output: str, model: str | None, seconds: float, span: tuple[float, float],
               chance: random.Random, most: int) -> Counter[str]:  # fmt: skip
    """Run a job that is killed again and again, at most so often; the stages in which it was.

    Args:
        span: of an uninterrupted run the second in which it begins to work and the one in which it ends. One kill
            in ten comes before.
    """
    hit: Counter[str] = Counter()
    while True:
        started = [*command(work, output, model, seconds), "--resume"]
        process = subprocess.Popen(started, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            earliest = 0 if chance.random() < 0.1 else span[0]
            deadline = chance.uniform(earliest, span[1]) if hit.total() < most else None
            _, log = process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            _, log = process.communicate()
            hit[stage_of(log)] += 1
            continue
        if process.returncode in (0, 3):
            return hit
        if (work / output).exists() and not partial_of(work / output).exists():
            return hit  # killed when all was in place
        sys.exit(f"the command failed with status {process.returncode}:\n{log.decode('utf-8', 'replace')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200, help="kills (default: 200)")
    parser.add_argument("--rows", type=int, default=2000, help="of each job (default: 2000)")
    parser.add_argument("--model", help="a run or model folder (default: a stand-in without a model)")
    parser.add_argument("--seconds", type=float, default=0.0005, help="a sentence takes with the stand-in")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    stages: Counter[str] = Counter()
    jobs = 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_inputs(work / "in", options.rows)
        expected, span = {}, (0.0, 0.0)
        for output in OUTPUTS:
            begin = time.time()
            done = subprocess.run(
                command(work, output, options.model, options.seconds), capture_output=True, check=False
            )
            if done.returncode not in (0, 3):
                sys.exit(done.stderr.decode("utf-8", "replace"))
            first = datetime.fromisoformat(json.loads(done.stderr.splitlines()[0])["time"]).timestamp()
            span = (max(span[0], first - begin), max(span[1], time.time() - begin))
            expected[output] = digests(work)
            clean(work)
        print(f"an uninterrupted job takes {span[1]:.1f} s, {span[0]:.1f} s of them until it works", flush=True)
        while stages.total() < options.times:
            output = OUTPUTS[jobs % len(OUTPUTS)]
            stages += run_killed(
                work, output, options.model, options.seconds, span, chance, min(8, options.times - stages.total())
            )
            found = digests(work)
            if found != expected[output] or partial_of(work / output).exists():
                sys.exit(f"{output}: expected {expected[output]}, came {found}")
            clean(work)
            jobs += 1
            print(f"{stages.total()} kills, {jobs} jobs finished, all as uninterrupted: {dict(stages)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        child(sys.argv[3:], float(sys.argv[2]))
    else:
        main()
