"""The only place that reads the time. Everything else is handed a moment."""

import os
from datetime import UTC, datetime, timedelta

# A test steps the wall clock of a whole process with this, in seconds, without touching the machine's clock.
_OFFSET = timedelta(seconds=float(os.environ.get("CONCORD_CLOCK_OFFSET_SECONDS", "0")))


def now() -> datetime:
    """The current moment in UTC, with microseconds."""
    return datetime.now(UTC) + _OFFSET
