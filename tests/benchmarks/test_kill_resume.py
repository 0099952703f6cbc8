import random
from pathlib import Path

import kill_resume

from pseudo import PseudoClassifier


def test_the_command_killed_five_times_leaves_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    kill_resume.make_inputs(tmp_path / "in", 600)
    status, told = kill_resume.start(tmp_path, "out.csv.gz", PseudoClassifier(), None)
    assert status == 3  # some rows are rejected
    expected = kill_resume.digests(tmp_path)
    assert set(expected) == {"out.csv.gz", "out.csv.gz.rejected.jsonl", "out.csv.gz.meta.json", "queue.jsonl"}
    kill_resume.clean(tmp_path)
    stages = kill_resume.run_killed(
        tmp_path, "out.csv.gz", PseudoClassifier(), told[-1]["calls"], random.Random(0), most=5
    )
    assert 1 <= stages.total() <= 5
    assert kill_resume.digests(tmp_path) == expected
    assert not (tmp_path / "out.csv.gz.partial").exists()
