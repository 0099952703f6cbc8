"""The unlabelled real sentences that the recipe "distilled" is taught on: UN General Debate (CC0) and Kremlin
releases (CC BY 4.0) from the collection beside this repository, 15,000 of them.

    python benchmarks/draw_unlabelled.py --model runs/demo --output runs/unlabelled.jsonl

Half of them are drawn at random. The other half are those that a small model is least sure to be "none":
most real sentences are plainly that, and a teacher's word on them teaches little. Documents with a sentence in
benchmarks/real_sample.jsonl are left out, so that the sample can measure what comes of it.
"""

import argparse
import gzip
import json
import random
from pathlib import Path

from common import HERE, SHARED, require
from conflict_framing import FramingClassifier

OUTLETS = ("un-general-debate", "kremlin")
FEWEST_WORDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a run with the bundled labels, e.g. of 'make demo'")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines: id, document, outlet, text")
    parser.add_argument("--sentences", type=int, default=15_000, help="how many (default: 15,000)")
    parser.add_argument("--seed", type=int, default=13, help="of the random half (default: 13)")
    options = parser.parse_args()
    source = require(SHARED / "real" / "sentences.jsonl.gz", "The unlabelled real sentences")
    with gzip.open(source, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream]
    sampled = {json.loads(line)["id"] for line in (HERE / "real_sample.jsonl").read_text("utf-8").splitlines()}
    kept_out = {row["document"] for row in rows if row["id"] in sampled}
    rows = [
        row
        for row in rows
        if row["outlet"] in OUTLETS and row["document"] not in kept_out and len(row["text"].split()) >= FEWEST_WORDS
    ]
    classifier = FramingClassifier.from_pretrained(options.model)
    none = classifier.classes_.index("none")
    print(f"{len(rows):,} sentences to choose from; labelling them with {options.model} …", flush=True)
    sure = classifier.predict_proba([row["text"] for row in rows])[:, none]
    order = sorted(range(len(rows)), key=lambda place: float(sure[place]))
    half = options.sentences // 2
    chosen = order[:half] + random.Random(options.seed).sample(order[half:], options.sentences - half)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.open("w", encoding="utf-8") as stream:
        for place in sorted(chosen):
            stream.write(json.dumps(rows[place], ensure_ascii=False) + "\n")
    counts = {outlet: sum(rows[place]["outlet"] == outlet for place in chosen) for outlet in OUTLETS}
    print(f"{options.output}: {len(chosen):,} sentences, {counts}")


if __name__ == "__main__":
    main()
