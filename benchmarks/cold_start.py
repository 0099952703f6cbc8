"""Seconds from the command to the label of one sentence, beside transformers.pipeline.

    python benchmarks/cold_start.py --model runs/default
    python benchmarks/cold_start.py --repeats 15          # the ready model, the pipeline on its weights too

Starting Python, loading and labelling are all in it. Both are processes of their own, in turns; the first turn, which
fills the system's file cache, is not counted.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from common import print_table
from conflict_framing.model.folder import find_model

SENTENCE = "The situation is stable and under control."
_PIPELINE = (
    "import sys; from transformers import pipeline;"
    "print(pipeline('text-classification', model=sys.argv[1], truncation=True)(sys.argv[2]))"
)


def seconds(command: Sequence[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a run or model folder (default: the ready model)")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    model = str(find_model(options.model))
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "one.txt"
        text.write_text(SENTENCE, "utf-8")
        files = [str(text), "--output", str(Path(folder) / "one.jsonl"), "--overwrite"]
        commands = {
            "conflict-framing predict": [sys.executable, "-m", "conflict_framing", "predict", "--model", model, *files],
            "transformers.pipeline": [sys.executable, "-c", _PIPELINE, model, SENTENCE],
        }
        turns = [{name: seconds(command) for name, command in commands.items()} for _ in range(1 + options.repeats)][1:]
    rows = [
        [
            name,
            f"{statistics.median(turn[name] for turn in turns):.2f}",
            f"{min(t[name] for t in turns):.2f}–{max(t[name] for t in turns):.2f}",
        ]
        for name in commands
    ]
    print_table(["", "seconds, median", "range"], rows)
    ours, pipeline = commands
    print(f"\nPaired, the pipeline takes {statistics.median(t[pipeline] / t[ours] for t in turns):.1f} times as long.")


if __name__ == "__main__":
    main()
