import json

import pytest
from rich.console import Console

from conflict_framing.model.predict import Progress
from conflict_framing.progress import Pace, bar_progress, json_progress


def test_pace_is_that_of_the_last_minute_and_of_this_call() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert pace(Progress("label", 5000, 10_000, resumed=5000)) == (None, None)
    now = 10.0
    assert pace(Progress("label", 6000, 10_000)) == (100.0, 40.0)
    for _ in range(12):  # it becomes slow, and the first minutes are forgotten
        now += 10
        found = pace(Progress("label", 6000 + int(now), 10_000))
    assert found[0] == pytest.approx(1.0)
    assert pace(Progress("join", 100, 10_000)) == (None, None)
    now += 1
    assert pace(Progress("join", 200, 10_000)) == (100.0, 98.0)
    now += 1
    assert pace(Progress("survey", 1000)) == (None, None)
    now += 1
    assert pace(Progress("survey", 2000)) == (1000.0, None)


def test_json_lines_tell_stages_shards_and_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with json_progress() as tell:
        tell(Progress("survey", 20))
        for rows in range(0, 21, 5):
            tell(Progress("label", rows, 20, rejected=1, shard=rows // 10, shards=2))
        tell(Progress("join", 20, 20, 1, 2, 2))
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["stage"], line["rows"]) for line in told] == [
        ("progress", "survey", 20),
        ("progress", "label", 0),
        ("shard", "label", 10),
        ("shard", "label", 20),
        ("progress", "join", 20),
    ]
    assert told[-1].keys() == {
        "event", "time", "stage", "rows", "total", "rows_per_second", "seconds_left", "rejected", "shard", "shards",
    }  # fmt: skip


def test_the_bar_tells_rows_pace_and_rejected_and_is_silent_without_a_terminal() -> None:
    for terminal in (True, False):
        console = Console(force_terminal=terminal, width=120, record=True)
        with console.capture() as shown, bar_progress(console) as tell:
            tell(Progress("label", 1000, 20_000, rejected=3))
            tell(Progress("label", 2000, 20_000, rejected=3))
        if terminal:
            assert "2,000/20,000 rows" in shown.get()
            assert "/s" in shown.get()
            assert "left" in shown.get()
            assert "3 rejected" in shown.get()
        else:
            assert shown.get().strip() == ""
