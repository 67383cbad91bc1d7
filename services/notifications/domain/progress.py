"""A place in the sequence of what a subscriber was told, from which a channel goes on; what is tried again, how long.

What lies between the place and the last notice is in the outbox, so nothing is kept for a notice (``docs/decisions/``,
webhooks). A place has one task at most that delivers from it, or one moment at which it goes on.
"""

from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

GIVE_UP_AFTER = timedelta(days=3)
"""How long the same thing is tried before its channel is stopped."""
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=2), timedelta(hours=1)
"""The pause after a first failure, doubled with each further one; of each, chance takes away up to a half."""
LONGEST_ASKED = timedelta(days=1)
"""A receiver that asks for a longer pause is asked again after this one."""


class Progress(BaseModel, frozen=True):
    """How far somebody is with what it is told.

    ``last`` is the sequence of what the subscriber was told last, and delivery goes on after the sequence ``after``.
    ``under_way``: a task is at it; else it goes on at ``next_attempt_at``, or rests. ``missed`` counts what was no
    longer kept when its turn came.
    """

    id: str
    subscriber: str
    since: datetime
    last: int
    after: int
    under_way: bool = False
    missed: int = 0
    status: int | None = None
    trouble: str | None = None
    answered_at: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    next_attempt_at: datetime | None = None


def failed(
    progress: Progress, at: datetime, *, chance: float, asked: float = 0, for_ever: bool = False
) -> dict[str, Any] | None:
    """What changes with one more failure; ``None`` if that was tried for long enough, unless it is tried ``for_ever``.

    ``asked`` is the pause the receiver asks for (seconds), ``chance`` a number drawn from 0 to 1.
    """
    failing_since = progress.failing_since or at
    if at - failing_since >= GIVE_UP_AFTER and not for_ever:
        return None
    failures = progress.failures + 1
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * float(2 ** min(failures - 1, 30))) * (1 - chance / 2)
    wanted = timedelta(seconds=min(LONGEST_ASKED.total_seconds(), asked))
    return {"failures": failures, "failing_since": failing_since, "next_attempt_at": at + max(pause, wanted)}
