"""Deadlines, reminders and expiries: rows with a due moment, handled by the loop like any message."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Table, bindparam, delete, func, select

from shared.database import LOOP, Document, Key, Moment, upsert

TIMERS = Table(
    "timers",
    LOOP,
    Column("name", Key, primary_key=True),
    Column("key", Key, primary_key=True),
    Column("due_at", Moment, nullable=False, index=True),
    Column("data", Document, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Timer:
    """One timer that fell due: its ``name`` chose the handler, ``key`` says for what."""

    name: str
    key: str
    due_at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)


def take_due(connection: Connection, now: datetime, limit: int) -> list[Timer]:
    """Takes timers due by ``now`` off the list, the longest overdue first; those of another replica are passed over.

    They are gone with the commit. A timer that is set anew meanwhile is another one, and stays.
    """
    statement = select(TIMERS).where(TIMERS.c.due_at <= now).order_by(TIMERS.c.due_at, TIMERS.c.name, TIMERS.c.key)
    rows = connection.execute(statement.limit(limit).with_for_update(skip_locked=True))
    due = [Timer(row.name, row.key, row.due_at, row.data) for row in rows]
    write(connection, {(timer.name, timer.key): None for timer in due})
    return due


def write(connection: Connection, changes: Mapping[tuple[str, str], Timer | None]) -> None:
    """Sets each timer, or cancels it where the change is ``None``."""
    if not changes:
        return
    gone = [{"gone_name": name, "gone_key": key} for (name, key), timer in sorted(changes.items()) if timer is None]
    if gone:
        where = (TIMERS.c.name == bindparam("gone_name"), TIMERS.c.key == bindparam("gone_key"))
        connection.execute(delete(TIMERS).where(*where), gone)
    kept: Sequence[Timer] = [timer for _, timer in sorted(changes.items(), key=lambda item: item[0]) if timer]
    upsert(
        connection,
        TIMERS,
        [{"name": t.name, "key": t.key, "due_at": t.due_at, "data": dict(t.data)} for t in kept],
    )


def next_due(connection: Connection) -> datetime | None:
    """When the next timer falls due."""
    next_one: datetime | None = connection.execute(select(func.min(TIMERS.c.due_at))).scalar_one()
    return next_one
