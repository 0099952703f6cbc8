"""Unlabelled documents to teach a first stage on: UN General Debate (CC0) and Kremlin releases (CC BY 4.0) from the
collection beside this repository, all sentences of the documents that benchmarks/throughput.py draws none from.

    python benchmarks/draw_documents.py --output runs/documents.jsonl
    conflict-framing export --model runs/demo --cascade --unlabelled runs/documents.jsonl
    python benchmarks/throughput.py --model runs/demo --sentences 512
"""

import argparse
import gzip
import json
from pathlib import Path

from draw_unlabelled import FEWEST_WORDS, OUTLETS
from throughput import draw

from common import SHARED, require


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON lines: id, document, outlet, text")
    parser.add_argument("--sentences", type=int, default=512, help="as in throughput.py (default: 512)")
    parser.add_argument("--seed", type=int, default=1, help="as in throughput.py (default: 1)")
    options = parser.parse_args()
    source = require(SHARED / "real" / "sentences.jsonl.gz", "The unlabelled real sentences")
    timed = set(draw(source, options.sentences, options.seed))
    with gzip.open(source, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    kept_out = {row["document"] for row in rows if row["text"] in timed}
    rows = [row for row in rows if row["outlet"] in OUTLETS and row["document"] not in kept_out]
    rows = [row for row in rows if len(row["text"].split()) >= FEWEST_WORDS]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"{options.output}: {len(rows):,} sentences of {len({row['document'] for row in rows}):,} documents")


if __name__ == "__main__":
    main()
