"""The only place that reads the time. Everything else is handed a moment."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

# A test steps the wall clock of a whole process with this, in seconds, without touching the machine's clock.
_OFFSET = timedelta(seconds=float(os.environ.get("CONCORD_CLOCK_OFFSET_SECONDS", "0")))


def now() -> datetime:
    """The current moment in UTC, with microseconds."""
    return datetime.now(UTC) + _OFFSET


class Steps:
    """How far the wall clock was moved against one that nobody sets, since this was made; for whoever watches over it.

    ``wall`` and ``steady`` read the two in seconds. A machine that slept counts as one whose clock was set forward.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._apart = wall() - steady()

    def seconds(self) -> float:
        """Seconds forward, or where negative back."""
        return self._wall() - self._steady() - self._apart
