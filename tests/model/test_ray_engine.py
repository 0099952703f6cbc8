"""One Ray cluster for all of these: it takes seconds to start."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from conflict_framing.data import UserError
from conflict_framing.model import predict as predict_module
from conflict_framing.model.predict import PredictOptions, PredictReport, Progress, predict_files
from conflict_framing.model.ray_engine import RayEngine
from pseudo import PseudoClassifier

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


class Mortal(PseudoClassifier):
    """Kills its process once."""

    def __init__(self, mark: Path) -> None:
        super().__init__()
        self._mark = mark

    def predict(self, sentences: Any, **options: Any) -> Any:
        if isinstance(sentences, list) and not self._mark.exists():
            self._mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(sentences, **options)


def test_rows_are_those_of_the_local_engine(folder: Path) -> None:
    run(folder, "here.jsonl", None)
    run(folder, "ray.jsonl", RayEngine(PseudoClassifier, workers=2, longest=2))  # type: ignore[arg-type]
    assert files(folder, "here.jsonl") == files(folder, "ray.jsonl")


def test_a_killed_worker_costs_nothing(folder: Path) -> None:
    run(folder, "here.jsonl", None)
    mark = folder.parent / "killed"
    run(folder, "ray.jsonl", RayEngine(lambda: Mortal(mark), workers=1, longest=2))  # type: ignore[arg-type,return-value]
    assert mark.exists()
    assert files(folder, "here.jsonl") == files(folder, "ray.jsonl")


def test_a_job_goes_on_with_either_engine(folder: Path) -> None:
    run(folder, "here.csv", None)

    def press(progress: Progress) -> None:
        if progress.stage == "label" and progress.shard == 3:
            raise KeyboardInterrupt

    engine = RayEngine(PseudoClassifier, workers=1, longest=1)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt, match="rows are done and kept"):
        run(folder, "ray.csv", engine, on_progress=press)
    assert run(folder, "ray.csv", None, resume=True).resumed == 3 * 64
    assert files(folder, "here.csv") == files(folder, "ray.csv")


def test_more_workers_than_processors_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"--workers 5: Ray has 2 processors here"):
        run(folder, "ray.csv", RayEngine(PseudoClassifier, workers=5))  # type: ignore[arg-type]
