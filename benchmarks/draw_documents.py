"""Unlabelled documents to teach a first stage on: UN General Debate (CC0) and Kremlin releases (CC BY 4.0) from the
collection beside this repository, whole documents drawn at random, 15,000 sentences at most.

    python benchmarks/draw_documents.py --output runs/documents.jsonl
    conflict-framing export --model runs/demo --cascade --unlabelled runs/documents.jsonl
    python benchmarks/throughput.py --model runs/demo --sentences 512

Left out are documents that benchmarks/throughput.py draws from, and those with a sentence in
benchmarks/real_sample.jsonl, so that both can measure what comes of it.
"""

import argparse
import gzip
import json
import random
from pathlib import Path

from draw_unlabelled import FEWEST_WORDS, OUTLETS
from throughput import draw

from common import HERE, SHARED, require


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON lines: id, document, outlet, text")
    parser.add_argument("--most", type=int, default=15_000, help="sentences at most (default: 15,000)")
    parser.add_argument("--timed", type=int, default=512, help="--sentences of throughput.py (default: 512)")
    parser.add_argument("--seed", type=int, default=1, help="of this and of throughput.py (default: 1)")
    options = parser.parse_args()
    source = require(SHARED / "real" / "sentences.jsonl.gz", "The unlabelled real sentences")
    timed = set(draw(source, options.timed, options.seed))
    with gzip.open(source, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    sampled = {json.loads(line)["id"] for line in (HERE / "real_sample.jsonl").read_text("utf-8").splitlines()}
    kept_out = {row["document"] for row in rows if row["text"] in timed or row["id"] in sampled}
    documents: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row["outlet"] in OUTLETS and row["document"] not in kept_out and len(row["text"].split()) >= FEWEST_WORDS:
            documents.setdefault(row["document"], []).append(row)
    chosen: set[str] = set()
    left = options.most
    for name in random.Random(options.seed).sample(sorted(documents), len(documents)):
        left -= len(documents[name])
        if left < 0:
            break
        chosen.add(name)
    rows = [row for name in documents if name in chosen for row in documents[name]]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    counts = {outlet: sum(row["outlet"] == outlet for row in rows) for outlet in OUTLETS}
    print(f"{options.output}: {len(rows):,} sentences of {len(chosen):,} documents, {counts}")


if __name__ == "__main__":
    main()
