"""The command ``serve``: what it refuses, and a whole life of it."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from conflict_framing import cli
from conflict_framing.train.fit import Run


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--annotations", "labels.csv"], "FILE.jsonl"),
        (["--model", "nowhere", "--port", "0"], "nowhere: no such folder"),
        (["--host", "no.such.host.invalid"], "no.such.host.invalid"),
    ],
)
def test_mistakes_are_told(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["serve", "--model", "x", *arguments])
    assert stopped.value.code == cli.EXIT_USER_ERROR
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536", "x"])
def test_a_port_is_a_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--model", "x", "--port", port])
    assert "expected a port from 0 to 65535" in capsys.readouterr().err


def test_it_prints_its_address_answers_there_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "temp").mkdir()
    command = [sys.executable, "-m", "conflict_framing", "serve", "--model", str(run.layout.folder), "--device", "cpu"]
    with subprocess.Popen(
        [*command, "--port", "0"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path / "temp")},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address and str(tmp_path / "annotations.jsonl") in line
        with urllib.request.urlopen(f"{address[0]}/api/v1/model", timeout=60) as answer:
            assert json.load(answer)["annotations"] == str(tmp_path / "annotations.jsonl")
        assert list((tmp_path / "temp").glob("conflict-framing-*"))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == cli.EXIT_OK
    assert not list((tmp_path / "temp").iterdir())
    assert not (tmp_path / "annotations.jsonl").exists()
