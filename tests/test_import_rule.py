"""The import rule: data <- model <- train, analysis <- app; and nothing heavy before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "configs": set(),
    "data": set(),
    "model": {"data"},
    "train": {"data", "model"},
    "analysis": {"data", "model"},
}


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / package).glob("*.py"))
    assert found, package
    return found


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_packages_import_only_what_is_below_them(package: str) -> None:
    for path in modules(package):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level >= 2:
                target = (node.module or "").split(".")[0]
                assert target in MAY_IMPORT[package], f"{path.name}:{node.lineno} imports {target}"
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            assert not [name for name in names if name.startswith("conflict_framing")], f"{path.name}:{node.lineno}"


def test_app_imports_absolutely() -> None:
    for path in (*modules("app"), *modules("app/web")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path.name}:{node.lineno}"


def imported_after(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import conflict_framing",
        "from conflict_framing import FramingClassifier, Prediction, load_corpus, train_classifier",
        "import conflict_framing.cli; conflict_framing.cli.build_parser()",
        "from conflict_framing import load_corpus; load_corpus()",
        "import conflict_framing.model.predict, conflict_framing.analysis",
        "import conflict_framing.train",
        "import conflict_framing.web.intake",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    heavy = {"torch", "transformers", "datasets", "evaluate", "sklearn", "matplotlib", "captum", "py3langid"}
    heavy |= {"fastapi", "uvicorn", "starlette"}
    assert imported_after(code) & heavy == set()


def test_prediction_never_imports_training_code() -> None:
    found = imported_after(
        "import conflict_framing.model.predict, conflict_framing.model.classifier, conflict_framing.analysis"
    )
    assert not [name for name in found if name.startswith("conflict_framing.train")]
