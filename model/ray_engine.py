"""Label the shards of a job with Ray Data: on this machine's processors, or on those of a cluster.

The driver hands out ranges of shards, a few at a time; actors that each hold a classifier read the rows of a
range themselves, label them and write the shards. So no row passes through the driver, no more ranges are under
way than there are actors to work on them, and an actor that dies costs one range, which Ray gives to the next.
On several machines, the inputs and the output must be on storage that all of them share: a disk, or a store (URLs).
A range is read from the beginning of the file that it is in (Parquet passes over whole row groups), so many files of
some 100,000 rows suit it better than one of millions.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..data.errors import MissingExtraError, UserError
from .classifier import CheckpointClassifier
from .rows import RowCursor
from .shards import Labeller, OnRows, ShardEntry, ShardRange, Shards


@dataclass(frozen=True)
class RayEngine:
    """Labels with Ray Data.

    Attributes:
        load: makes the classifier, in each actor; must be picklable.
        workers: actors, each of them on ``cpus`` processors.
        longest: shards that an actor takes at a time, at most. What it has not finished is lost with it, and with
            Ctrl-C; a shard takes it seconds, and the shards between its own it passes over in reading.
    """

    load: Callable[[], CheckpointClassifier]
    workers: int
    cpus: float = 1
    longest: int = 1

    @property
    def elsewhere(self) -> bool:
        return True

    def __call__(
        self, ranges: Iterable[ShardRange], labeller: Labeller, files: Shards, on_rows: OnRows
    ) -> Iterator[ShardEntry]:
        """See ``shards.label_here``; shards come as they are finished, and progress with them.

        Raises:
            MissingExtraError: Ray is not installed.
            UserError: Ray has fewer processors than the workers need.
        """
        try:
            import ray
            import ray.data
        except ImportError:
            raise MissingExtraError("ray", "ray", "--engine ray") from None
        pending = list(ranges)
        if not pending:
            return
        started_here = not ray.is_initialized()
        if started_here:
            # Ray's workers give way to all else on the machine (15), which on a busy one is to stand still.
            os.environ.setdefault("RAY_worker_niceness", "0")
            ray.init(log_to_driver=False, include_dashboard=False)
        try:
            there = ray.cluster_resources().get("CPU", 0)
            if self.workers * self.cpus > there:
                raise UserError(
                    f"--workers {self.workers}: Ray has {there:g} processors here. Give fewer workers, or start Ray "
                    f"with more (ray start --head --num-cpus …)."
                )
            context = ray.data.DataContext.get_current()
            context.enable_progress_bars = False
            dataset = ray.data.from_items(
                [{"range": place} for place in range(len(pending))], override_num_blocks=len(pending)
            )
            labelled = dataset.map_batches(
                _Worker,
                fn_constructor_args=(self.load, labeller.text_column, labeller.among, files, pending),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=self.workers, max_tasks_in_flight_per_actor=2),
                num_cpus=self.cpus,
                batch_format="numpy",
            )
            for row in labelled.iter_rows():
                yield ShardEntry(**{name: int(row[name]) for name in ("shard", "read", "written", "rejected")})
        finally:
            if started_here:
                ray.shutdown()


class _Worker:
    """An actor: holds the classifier between ranges."""

    def __init__(
        self,
        load: Callable[[], CheckpointClassifier],
        text_column: str,
        among: Any,
        files: Shards,
        ranges: list[ShardRange],
    ) -> None:
        self._labeller = Labeller(load(), text_column, among)
        self._files = files
        self._ranges = ranges
        self._cursor = RowCursor(ranges[0].sources, ranges[0].reading, ranges[0].counts)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        entries = [
            entry
            for place in batch["range"]
            for entry in self._ranges[place].label(self._labeller, self._files, cursor=self._cursor)
        ]
        return {name: [getattr(entry, name) for entry in entries] for name in ("shard", "read", "written", "rejected")}
