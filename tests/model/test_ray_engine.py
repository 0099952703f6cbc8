"""One Ray cluster for all of these: it takes seconds to start."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray

from conflict_framing.data import UserError
from conflict_framing.model import predict as predict_module
from conflict_framing.model.predict import PredictOptions, PredictReport, Progress, predict_files
from conflict_framing.model.ray_engine import RayEngine
from pseudo import PseudoClassifier
from shared_store import load as load_with_store

from ..conftest import tiny_rows, write_jsonl

ROWS = 600
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    paths = os.pathsep.join([str(BENCHMARKS), os.environ.get("PYTHONPATH", "")])
    environment = {"env_vars": {"PYTHONPATH": paths}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict_module, "SHARD_ROWS", 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inputs = tmp_path / "in"
    inputs.mkdir()
    rows = tiny_rows(ROWS, seed=3)
    rows[5]["text"] = ""
    for number in range(3):
        write_jsonl(inputs / f"{number}.jsonl", rows[200 * number : 200 * (number + 1)])
    return inputs


def run(folder: Path, output: str, engine: RayEngine | None, **more: Any) -> PredictReport:
    options = PredictOptions(adapt_priors=True, abstain_below=0.8)
    return predict_files(
        PseudoClassifier(),  # type: ignore[arg-type]
        [folder],
        folder.parent / output,
        options=options,
        engine=engine,
        **more,
    )


def files(folder: Path, output: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.parent.glob(f"{output}*"))]


def test_begun_here_finished_by_ray_though_a_worker_is_killed_the_files_are_the_same(folder: Path) -> None:
    run(folder, "here.jsonl", None)

    def press(progress: Progress) -> None:
        if progress.stage == "label" and progress.shard == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="192 rows are done and kept"):
        run(folder, "ray.jsonl", None, on_progress=press)
    mark = folder.parent / "killed"
    load: Any = partial(PseudoClassifier, killed=mark)
    assert run(folder, "ray.jsonl", RayEngine(load, workers=2, longest=2), resume=True).resumed == 192
    assert mark.exists()
    told = files(folder, "ray.jsonl")
    assert len(told) == 3
    assert told == files(folder, "here.jsonl")


def test_on_a_store_the_output_is_the_same_though_a_worker_is_killed(folder: Path) -> None:
    run(folder, "here.jsonl", None)

    def by_url(engine: RayEngine | None, **more: Any) -> PredictReport:
        return predict_files(
            PseudoClassifier(),  # type: ignore[arg-type]
            [f"shared://{folder}/*.jsonl"],
            f"shared://{folder.parent}/out/ray.jsonl",
            options=PredictOptions(adapt_priors=True, abstain_below=0.8),
            engine=engine,
            **more,
        )

    def press(progress: Progress) -> None:
        if progress.stage == "label" and progress.shard == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="192 rows are done and kept"):
        by_url(None, on_progress=press)
    mark = folder.parent / "killed"
    load: Any = partial(load_with_store, killed=mark)
    assert by_url(RayEngine(load, workers=2, longest=2), resume=True).resumed == 192
    assert mark.exists()
    names = ["ray.jsonl", "ray.jsonl.meta.json", "ray.jsonl.rejected.jsonl"]
    assert [path.name for path in sorted((folder.parent / "out").iterdir())] == names
    assert (folder.parent / "out" / "ray.jsonl").read_bytes() == (folder.parent / "here.jsonl").read_bytes()


def test_more_workers_than_processors_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"--workers 5: Ray has 2 processors here"):
        run(folder, "ray.csv", RayEngine(PseudoClassifier, workers=5))  # type: ignore[arg-type]
