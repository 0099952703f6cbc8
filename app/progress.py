"""How far a prediction is: a bar for people, JSON lines for programs."""

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from conflict_framing.model.predict import Progress

_SPAN = 60.0  # seconds that the pace is taken over: long enough to be steady, short enough to follow
_TITLES = {"survey": "Reading", "label": "Labelling", "join": "Writing"}


class Pace:
    """Rows a second over the last minute of one stage; rows that were done before do not count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage = ""
        self._points: deque[tuple[float, int]] = deque()

    def __call__(self, progress: "Progress") -> tuple[float | None, float | None]:
        """Rows a second and seconds left; None while they cannot be told."""
        if progress.stage != self._stage:
            self._stage = progress.stage
            self._points.clear()
        now = self._clock()
        self._points.append((now, progress.rows))
        while len(self._points) > 2 and self._points[1][0] < now - _SPAN:
            self._points.popleft()
        begin, rows = self._points[0]
        if now <= begin or progress.rows <= rows:
            return None, None
        rate = (progress.rows - rows) / (now - begin)
        return rate, None if progress.total is None else (progress.total - progress.rows) / rate


def log_event(event: str, **facts: Any) -> None:
    """One line of JSON on standard error."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"event": event, "time": stamp, **facts}, ensure_ascii=False), file=sys.stderr, flush=True)


@contextmanager
def json_progress() -> Iterator[Callable[["Progress"], None]]:
    """A line of JSON at the begin of each stage, for each finished shard, and else at most once a second."""
    pace, last, told = Pace(), ("", 0), 0.0

    def tell(progress: "Progress") -> None:
        nonlocal last, told
        rate, left = pace(progress)
        now, place = time.monotonic(), (progress.stage, progress.shard)
        if place == last and now - told < 1 and progress.rows != progress.total:
            return
        finished_one = progress.stage == last[0] and progress.shard > last[1]
        event = "shard" if finished_one else "progress"
        last, told = place, now
        log_event(
            event,
            stage=progress.stage,
            rows=progress.rows,
            total=progress.total,
            rows_per_second=None if rate is None else round(rate, 1),
            seconds_left=None if left is None else round(left),
            rejected=progress.rejected,
            shard=progress.shard,
            shards=progress.shards,
        )

    yield tell


@contextmanager
def bar_progress(console: Console) -> Iterator[Callable[["Progress"], None]]:
    """A bar where there is a terminal, else nothing."""
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(_TITLES["survey"], total=None, told="")
        pace = Pace()

        def tell(progress: "Progress") -> None:
            rate, left = pace(progress)
            told = [
                f"{progress.rows:,} rows" if progress.total is None else f"{progress.rows:,}/{progress.total:,} rows"
            ]
            told += [] if rate is None else [f"{rate:,.0f}/s"]
            told += [] if left is None else [f"{timedelta(seconds=round(left))} left"]
            told += [f"{progress.rejected:,} rejected"] if progress.rejected else []
            bar.update(
                task,
                description=_TITLES[progress.stage],
                completed=progress.rows,
                total=progress.total,
                told="  ".join(told),
            )

        yield tell
