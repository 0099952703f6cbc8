"""What the user sees while training, and what happens on Ctrl-C."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback


@contextmanager
def bar(title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, where that is a terminal; gives what advances it."""
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


class ProgressCallback(TrainerCallback):
    """A bar with loss, validation macro-F1 and time left; one line per epoch where there is no terminal.

    The figures are also appended to the run's ``log.jsonl``, with the seconds since ``started``, a reading of
    ``time.monotonic()``. Evaluating takes the ``eval_runtime`` of its entry, which is part of them.
    """

    def __init__(self, log: Path, say: Callable[[str], None], started: float) -> None:
        self._log = log
        self._say = say
        self._loss = float("nan")
        self._macro_f1 = float("nan")
        self._started = started
        self._progress: Progress | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        self._progress = Progress(
            TextColumn("Training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps  {task.fields[facts]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._progress.disable = not self._progress.console.is_terminal
        self._task = self._progress.add_task("train", total=state.max_steps, completed=state.global_step, facts="")
        self._progress.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._progress:
            self._progress.update(self._task, completed=state.global_step, facts=self._facts())

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not state.is_world_process_zero or not logs:
            return
        self._loss = logs.get("loss", self._loss)
        self._macro_f1 = logs.get("eval_macro_f1", self._macro_f1)
        elapsed = time.monotonic() - self._started
        with self._log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": state.global_step, "seconds": round(elapsed, 3), **logs}) + "\n")
        if "eval_macro_f1" in logs:
            line = f"epoch {state.epoch:.2f} of {args.num_train_epochs:.2f}  {self._facts()}  ({elapsed:.0f} s)"
            if self._progress and not self._progress.disable:
                self._progress.console.print(line, highlight=False)  # above the bar, not through it
            else:
                self._say(line)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._progress:
            self._progress.stop()

    def _facts(self) -> str:
        loss = "" if self._loss != self._loss else f"loss {self._loss:.3f}  "
        macro_f1 = "" if self._macro_f1 != self._macro_f1 else f"validation macro-F1 {self._macro_f1:.3f}"
        return loss + macro_f1


class InterruptCallback(TrainerCallback):
    """Turns the first Ctrl-C into: finish this step, write a checkpoint, stop. The second stops at once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.interrupted = False
        self._previous: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        try:
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
        except ValueError:  # not the main thread (a notebook's worker, a server): Ctrl-C does not come here
            self._previous = None

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self._say("Stopping after this step; the checkpoint is being written (Ctrl-C again stops at once) …")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if self.interrupted:
            control.should_save = True
            control.should_training_stop = True
        return control

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        # The Trainer takes the broken-off epoch for a finished one; evaluating and saving again would
        # move the random state past the checkpoint's, and the resumed run would differ.
        if self.interrupted:
            control.should_evaluate = control.should_save = control.should_log = False
        return control

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
