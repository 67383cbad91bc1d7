"""Says on a terminal what is being measured, for how long already and for how long still; elsewhere it says nothing."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text


class _Left(ProgressColumn):
    """The estimate for everything that is still to come, running down while something is measured."""

    def render(self, task: Task) -> Text:
        seconds = max(0.0, task.fields["ends"] - time.monotonic())
        return Text(f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left")


class Show:
    """One line on standard error for as long as it is entered; ``steps`` is what there is to do in all."""

    def __init__(self, steps: int) -> None:
        console = Console(stderr=True, highlight=False)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=12),
            TimeElapsedColumn(),
            _Left(),
        )
        self._progress = Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())
        self._task = self._progress.add_task("", total=steps, ends=time.monotonic())

    def now(self, what: str, seconds_left: float) -> None:
        """What is being measured from now on, and the estimate from here to the end of everything."""
        self._progress.update(self._task, description=what, ends=time.monotonic() + seconds_left)

    def step(self) -> None:
        """One of the steps is done."""
        self._progress.advance(self._task)

    def __enter__(self) -> "Show":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
