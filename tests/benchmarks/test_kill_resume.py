import random
from pathlib import Path

import kill_resume


def test_the_command_killed_five_times_leaves_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    kill_resume.make_inputs(tmp_path / "in", 400)
    assert not kill_resume.run_killed(tmp_path, "out.csv.gz", None, 0.002, (0, 0), random.Random(0), most=0)
    expected = kill_resume.digests(tmp_path)
    assert set(expected) == {"out.csv.gz", "out.csv.gz.rejected.jsonl", "out.csv.gz.meta.json", "queue.jsonl"}
    kill_resume.clean(tmp_path)
    stages = kill_resume.run_killed(tmp_path, "out.csv.gz", None, 0.002, (0.8, 2.0), random.Random(1), most=5)
    assert stages.total() >= 1  # on a fast machine it may end before the fifth
    assert kill_resume.digests(tmp_path) == expected
    assert not (tmp_path / "out.csv.gz.partial").exists()
