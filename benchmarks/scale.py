"""Rows a second and peak memory of the command as the input grows: 10,000, 100,000 and 1,000,000 rows.

    python benchmarks/scale.py --fake --output docs/scale
    python benchmarks/scale.py --model runs/default --sizes 10000 100000 --output docs/scale_model

The rows are sentences of ../shared/real/sentences.jsonl.gz, repeated with a running number, so that all of them
differ. With --fake a stand-in labels in no time (see pseudo.py), and what is measured is all else: reading,
shards, joining, writing. Each size runs in a process of its own. Memory is the peak resident set that the
system counts; seconds are those of the whole command, and of its stages as --log-json tells them. Writes
OUTPUT.json and OUTPUT.png.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from common import SHARED, print_table, require

LIMIT_MIB = 1536


def make_rows(source: Path, path: Path, rows: int) -> None:
    """A file of so many distinct rows."""
    with gzip.open(source, "rt", encoding="utf-8") as stream:
        sentences = [json.loads(line) for line in stream]
    with path.open("w", encoding="utf-8") as out:
        for number in range(rows):
            row = sentences[number % len(sentences)]
            text = row["text"] if number < len(sentences) else f"{row['text']} {number}"
            out.write(
                json.dumps({"id": number, "document": row.get("document"), "text": text}, ensure_ascii=False) + "\n"
            )


def child(arguments: list[str]) -> None:
    """The command with the stand-in for a model."""
    from conflict_framing import cli
    from conflict_framing.model import CheckpointClassifier
    from pseudo import PseudoClassifier

    CheckpointClassifier.from_pretrained = classmethod(  # type: ignore[assignment,method-assign]
        lambda *_, **__: PseudoClassifier()
    )
    cli.main(arguments)


def measure(source: Path, output: Path, model: str | None, more: list[str]) -> dict[str, float]:
    """Label one file; seconds of the whole and of its stages, peak resident memory in MiB."""
    head = [sys.executable, "-m", "conflict_framing"] if model else [sys.executable, __file__, "--child"]
    arguments = ["predict", str(source), "--model", model or "stand-in", "--output", str(output), "--log-json", *more]
    log = output.with_name(output.name + ".log")
    begin = time.time()
    with log.open("wb") as stream:
        process = subprocess.Popen([*head, *arguments], stderr=stream, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.time() - begin
    told = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line.startswith("{")]
    if os.waitstatus_to_exitcode(status):
        sys.exit(log.read_text("utf-8"))
    last = begin
    stages = {}
    for event in told:
        if "stage" in event:
            moment = datetime.fromisoformat(event["time"]).timestamp()
            stages[event["stage"]] = stages.get(event["stage"], 0) + moment - last
            last = moment
    return {
        "seconds": round(seconds, 1),
        "peak_mib": round(usage.ru_maxrss / (1 if sys.platform == "linux" else 1024) / 1024, 1),
        **{f"{stage}_seconds": round(took, 1) for stage, took in stages.items()},
    }


def draw(points: list[dict[str, float]], path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    speed, memory = figure.subplots(1, 2)
    rows = [point["rows"] for point in points]
    speed.plot(rows, [point["rows_per_second"] for point in points], marker="o", color="#0072b2")
    speed.set_ylabel("rows a second, all stages")
    memory.plot(rows, [point["peak_mib"] for point in points], marker="o", color="#0072b2")
    memory.axhline(LIMIT_MIB, color="#8a8f98", linestyle="--")
    memory.annotate("1.5 GiB", (rows[0], LIMIT_MIB), xytext=(0, 4), textcoords="offset points", color="#5a5f68")
    memory.set_ylabel("peak resident memory (MiB)")
    for axis in (speed, memory):
        axis.set_xscale("log")
        axis.set_xticks(rows, [f"{int(count):,}" for count in rows])
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.set_xlabel("rows")
        axis.spines[["top", "right"]].set_visible(False)
    memory.set_ylim(top=1.15 * max(LIMIT_MIB, *(point["peak_mib"] for point in points)))
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", help="a run or model folder")
    which.add_argument("--fake", action="store_true", help="a stand-in without a model")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="ROWS")
    parser.add_argument(
        "--format", default=".jsonl", help="of the predictions: .jsonl, .csv.gz, .parquet … (default: .jsonl)"
    )
    parser.add_argument("--output", default="scale", help="OUTPUT.json and OUTPUT.png (default: scale)")
    parser.add_argument("options", nargs="*", help="further options of predict, after --")
    options = parser.parse_args()
    sentences = require(SHARED / "real" / "sentences.jsonl.gz", "The unlabelled real sentences")
    points = []
    for rows in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "in.jsonl"
            make_rows(sentences, source, rows)
            size = source.stat().st_size
            found = measure(source, Path(folder) / f"out{options.format}", options.model, options.options)
            points.append({"rows": rows, "input_mib": round(size / 2**20, 1), **found})
            points[-1]["rows_per_second"] = round(rows / found["seconds"], 1)
            print(json.dumps(points[-1]), flush=True)
    names = ("rows_per_second", "peak_mib", "seconds", "survey_seconds", "label_seconds", "join_seconds", "input_mib")
    print_table(
        ["rows", "rows/s", "peak MiB", "seconds", "reading", "labelling", "writing", "input MiB"],
        [[f"{int(point['rows']):,}", *(f"{point.get(name, 0):,.0f}" for name in names)] for point in points],
    )
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".json").write_text(json.dumps(points, indent=2) + "\n", "utf-8")
    labelled = "a stand-in for a model" if options.fake else f"the model {Path(options.model).name}"
    draw(points, output.with_suffix(".png"), f"predict with {labelled}, {options.format}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    else:
        main()
