from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from conflict_framing import demo
from conflict_framing.analysis import Reading, read_article
from conflict_framing.model import folder as folder_module
from conflict_framing.train.fit import Run


def shown(reading: Reading) -> str:
    out = Console(file=StringIO(), width=200)
    demo._print_ready_model(reading, out)
    assert isinstance(out.file, StringIO)
    return out.file.getvalue()


def test_the_demo_tells_where_the_ready_model_differs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = read_article("The town was calm and quiet. A convoy arrived near the river.", run.classifier, title="a")
    monkeypatch.setattr(folder_module, "READY", tmp_path / "nothing")
    assert shown(reading) == ""
    monkeypatch.setattr(folder_module, "READY", run.layout.model)
    assert shown(reading).strip().endswith("labels 0 of these 2 sentences otherwise.")
    (span, own), second = reading.sentences
    other = next(name for name in run.classifier.classes_ if name != own.label)
    told = shown(replace(reading, sentences=[(span, replace(own, label=other)), second]))
    assert "labels 1 of these 2 sentences otherwise:" in told
    assert f"  {other} here, {own.label} there: The town was calm and quiet." in told
