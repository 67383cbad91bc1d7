"""What lies undone in a store, in figures: one place for each, whoever asks for it.

``Health`` answers with them, and ``/metrics`` shows them.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from shared import dead_letters, inbox, outbox, tasks, timers
from shared.outbox import OUTBOX, UNSENT


@dataclass(frozen=True)
class Figures:
    """Counts of rows, and ages in seconds: 0 where there is nothing that could be old."""

    unsent: int
    oldest_unsent: float
    dead_letters: int
    parked: int
    timers_overdue: float
    tasks_waiting: int
    oldest_task: float


def read(connection: Connection, now: datetime) -> Figures:
    """The figures of one store at one moment; a handful of counts, each on an index or on a short table."""
    return Figures(
        unsent=outbox.count_unsent(connection),
        oldest_unsent=_age(_recorded_first(connection), now),
        dead_letters=dead_letters.count(connection),
        parked=inbox.count_parked(connection),
        timers_overdue=_age(timers.next_due(connection), now),
        tasks_waiting=tasks.count(connection),
        oldest_task=_age(tasks.asked_for_first(connection), now),
    )


def unsent_of(connection: Connection, stream: str) -> int:
    """How many messages of one stream wait to be confirmed by it."""
    # Not joined: the few that are unsent are looked up, not sought among all that was ever sent.
    its_stream = select(OUTBOX.c.stream).where(OUTBOX.c.position == UNSENT.c.position).scalar_subquery()
    return connection.scalar(select(func.count()).select_from(UNSENT).where(its_stream == stream)) or 0


def _recorded_first(connection: Connection) -> datetime | None:
    """When the first of the rows was recorded that are not published: rows go out in the order of their positions."""
    first = select(func.min(UNSENT.c.position)).scalar_subquery()
    return connection.scalar(select(OUTBOX.c.recorded_at).where(OUTBOX.c.position == first))


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
