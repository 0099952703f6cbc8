"""Training spread over processes: the same command under torchrun."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

from conflict_framing import FramingClassifier
from conflict_framing.data import Corpus
from conflict_framing.data.split import split_corpus
from conflict_framing.model.layout import RunLayout
from conflict_framing.train.recipe import Recipe


def test_two_processes_write_one_run(recipe: Recipe, corpus_file: Path, corpus: Corpus, tmp_path: Path) -> None:
    settings, run = tmp_path / "recipe.yaml", RunLayout(tmp_path / "run")
    settings.write_text(recipe.model_copy(update={"baselines": False, "reference": False}).to_yaml(), "utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "conflict_framing", "train", "--corpus", str(corpus_file), "--recipe", str(settings)]
    command += ["--set", "training.epochs=2", "--device", "cpu", "--output", str(run.folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr

    split = split_corpus(corpus, **recipe.split.model_dump(), seed=recipe.seed)
    log = [json.loads(line) for line in run.log.read_text("utf-8").splitlines()]
    evaluated = [entry for entry in log if "eval_macro_f1" in entry]
    # Two processes take twice the sentences a step, and one of them alone writes and speaks.
    assert [entry["epoch"] for entry in evaluated] == [1.0, 2.0]
    assert evaluated[-1]["step"] == 2 * math.ceil(len(split.train) / (2 * recipe.training.batch_size))
    assert done.stdout.count(str(run.model)) == 1
    assert not run.folder.with_name("run.partial").exists()
    # The split does not hang on the number of processes, and the model is as good as any.
    tested = [json.loads(line)["text"] for line in run.split("test").read_text("utf-8").splitlines()]
    assert tested == split.test.texts
    assert len(FramingClassifier.from_pretrained(run.folder).predict(tested)) == len(tested)
