"""Messages that could not be handled for a technical reason: kept before they are acknowledged, listed, replayed."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Connection, LargeBinary, Row, String, Table, delete, func, select

from shared.database import LOOP, Document, Key, Moment, upsert

DEAD_LETTERS = Table(
    "dead_letters",
    LOOP,
    Column("id", Key, primary_key=True),
    # What identifies the message itself, so that its redelivery does not leave a second letter.
    Column("message", Key, nullable=False, unique=True),
    Column("kind", Key, nullable=False),
    Column("name", Key, nullable=False),
    Column("subject", Key, nullable=False),
    Column("headers", Document, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("error", String, nullable=False),
    Column("trace", String, nullable=False),
    Column("kept_at", Moment, nullable=False),
)


def keep(connection: Connection, row: Mapping[str, Any]) -> str:
    """Keeps one dead letter; its id, or that of the letter this very message left before."""
    known = connection.scalar(select(DEAD_LETTERS.c.id).where(DEAD_LETTERS.c.message == row["message"]))
    if known:
        return str(known)
    upsert(connection, DEAD_LETTERS, [row], replace=False)
    return str(row["id"])


def let_go(connection: Connection, letter: str) -> None:
    """Deletes a dead letter that was handled or given up."""
    connection.execute(delete(DEAD_LETTERS).where(DEAD_LETTERS.c.id == letter))


def find(connection: Connection, letter: str, *, lock: bool = False) -> Row[Any] | None:
    """One dead letter; locked until the commit when it is to be replayed."""
    statement = select(DEAD_LETTERS).where(DEAD_LETTERS.c.id == letter)
    return connection.execute(statement.with_for_update() if lock else statement).one_or_none()


def page(connection: Connection, after: str | None, limit: int) -> Sequence[Row[Any]]:
    """Dead letters in the order they were kept (ids are time-ordered)."""
    statement = select(DEAD_LETTERS).order_by(DEAD_LETTERS.c.id).limit(limit)
    return connection.execute(statement.where(DEAD_LETTERS.c.id > after) if after else statement).all()


def count(connection: Connection) -> int:
    """How many dead letters the store holds."""
    return connection.scalar(select(func.count()).select_from(DEAD_LETTERS)) or 0
