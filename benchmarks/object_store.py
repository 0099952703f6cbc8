"""``predict`` against a real S3 protocol: killed with SIGKILL again and again, resumed, the same bytes as from a disk.

A server of moto's on this machine plays S3. It is no part of the extra [dev], because what it needs (botocore) asks
for an older python-dateutil than constraints.txt has. In an environment of its own:

    pip install -e . s3fs "moto[s3]" flask flask-cors
    python benchmarks/object_store.py [--ray]
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kill_resume import make_inputs

WORK = """
import sys
from pseudo import PseudoClassifier
from conflict_framing.model import predict, shards
predict.SHARD_ROWS, shards.WINDOW = 256, 64
given, output, seconds, ray = sys.argv[1:]
engine = None
if ray:
    from conflict_framing.model.ray_engine import RayEngine

    engine = RayEngine(PseudoClassifier, workers=2)
options = predict.PredictOptions(adapt_priors=True, abstain_below=0.8)

def tell(progress):
    print(progress.stage, flush=True)

report = predict.predict_files(
    PseudoClassifier(float(seconds)), [given], output, options=options, resume=True, engine=engine, on_progress=tell
)
print(report.read, report.written, report.rejected, report.resumed)
"""


def start(given: str, output: str, seconds: float, ray: bool = False) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WORK, given, output, str(seconds), "ray" if ray else ""]
    return subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True)


def finish(given: str, output: str, ray: bool = False) -> list[int]:
    """Run to the end: rows read, written, rejected, and resumed."""
    process = start(given, output, 0, ray)
    told = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"the run ended with status {process.returncode}")
    return [int(number) for number in told.splitlines()[-1].split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true", help="finish with --engine ray what was killed")
    options = parser.parse_args()

    import fsspec
    from moto.server import ThreadedMotoServer

    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # for Ray's workers
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        store = fsspec.filesystem("s3")
        store.mkdir("press")
        with tempfile.TemporaryDirectory() as scratch:
            here = Path(scratch)
            make_inputs(here / "in", options.rows, options.seed)
            for path in sorted((here / "in").rglob("*")):
                # Articles are called by their path, so only tables give the same bytes.
                if path.is_file() and path.suffix != ".txt":
                    store.put_file(str(path), f"press/in/{path.relative_to(here / 'in').as_posix()}")
                elif path.is_file():
                    path.unlink()
            chance = random.Random(options.seed)
            for name in ("out.jsonl",) if options.ray else ("out.jsonl", "out.csv.gz", "out.tsv.zst"):
                read, written, rejected, _ = finish(str(here / "in"), str(here / name))
                kills = resumed = 0
                for _ in range(options.kills):
                    process = start("s3://press/in", f"s3://press/{name}", 0.005)
                    for line in process.stdout or ():
                        if line == "label\n":  # starting takes longer than all else
                            break
                    time.sleep(chance.uniform(0, options.rows * 0.005 / 2))
                    if process.poll() is None:
                        process.send_signal(signal.SIGKILL)
                        kills += 1
                    process.communicate()
                    store.invalidate_cache()
                    if store.exists(f"press/{name}"):
                        break
                if not store.exists(f"press/{name}") or store.exists(f"press/{name}.partial/manifest.jsonl"):
                    again = finish("s3://press/in", f"s3://press/{name}", options.ray)
                    resumed = again[3]
                    if again[:3] != [read, written, rejected]:
                        raise SystemExit(f"{name}: counts differ: {again[:3]}, expected {[read, written, rejected]}")
                if store.cat_file(f"press/{name}") != (here / name).read_bytes():
                    raise SystemExit(f"{name}: not the bytes of the run on a disk")
                left = [path for path in store.find("press") if ".partial/" in path]
                print(
                    f"{name}: {read} rows read, {written} written, {rejected} rejected; killed {kills} times, "
                    f"{resumed} rows there at the last start; same bytes as from a disk; left behind: {len(left)}"
                )
    finally:
        server.stop()


if __name__ == "__main__":
    main()
