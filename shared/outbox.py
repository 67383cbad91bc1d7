"""Messages decided but not yet known to be in a stream: written with their effect, published by the relay.

Rows stay for a retention time after they were sent, so that a stream that lost its tail can be rebuilt from them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Row,
    Table,
    UniqueConstraint,
    delete,
    func,
    select,
    update,
)

from shared.database import LOOP, Key, Moment, among, insert

OUTBOX = Table(
    "outbox",
    LOOP,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", Key, nullable=False, unique=True),
    Column("stream", Key, nullable=False),
    Column("subject", Key, nullable=False),
    Column("aggregate", Key, nullable=False),
    Column("sequence", BigInteger),
    Column("payload", LargeBinary, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("sent_at", Moment),
    # The second wall behind "sequence counts from 1 without gaps": no two events can claim the same place.
    UniqueConstraint("stream", "aggregate", "sequence"),
    sqlite_autoincrement=True,
)
Index(
    "outbox_unsent",
    OUTBOX.c.position,
    sqlite_where=OUTBOX.c.sent_at.is_(None),
    postgresql_where=OUTBOX.c.sent_at.is_(None),
)
Index("outbox_sent", OUTBOX.c.sent_at)

COUNTERS = Table("counters", LOOP, Column("key", Key, primary_key=True), Column("last", BigInteger, nullable=False))
"""The last sequence given to each receiver of announcements, which have no aggregate of their own to count by."""


def record(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes messages to be sent, in their order."""
    insert(connection, OUTBOX, rows)


def unsent(
    connection: Connection, limit: int, being_marked: Sequence[int] = ()
) -> Sequence[Row[Any, Any, Any, Any, Any]]:
    """The oldest rows not yet confirmed by their stream, in order: position, id, stream, subject, payload.

    Without those at the positions ``being_marked``, of which we know better.
    """
    columns = (OUTBOX.c.position, OUTBOX.c.id, OUTBOX.c.stream, OUTBOX.c.subject, OUTBOX.c.payload)
    statement = select(*columns).where(OUTBOX.c.sent_at.is_(None)).order_by(OUTBOX.c.position).limit(limit)
    if being_marked:
        statement = statement.where(~among(connection, OUTBOX.c.position, being_marked))
    return connection.execute(statement).all()


def count_unsent(connection: Connection) -> int:
    """How many messages no stream has confirmed yet."""
    return connection.scalar(select(func.count()).select_from(OUTBOX).where(OUTBOX.c.sent_at.is_(None))) or 0


def mark_sent(connection: Connection, positions: Sequence[int], at: datetime) -> None:
    """Notes that the stream confirmed these rows. By list: another replica may yet commit inside a range."""
    if positions:
        connection.execute(update(OUTBOX).where(among(connection, OUTBOX.c.position, positions)).values(sent_at=at))


def mark_unsent(connection: Connection, ids: Sequence[str]) -> None:
    """Notes that a stream has lost these messages: the relay sends them again."""
    if ids:
        connection.execute(update(OUTBOX).where(among(connection, OUTBOX.c.id, ids)).values(sent_at=None))


def prune(connection: Connection, sent_before: datetime, limit: int) -> int:
    """Deletes at most ``limit`` rows sent before a moment; how many it deleted."""
    old = select(OUTBOX.c.position).where(OUTBOX.c.sent_at < sent_before).limit(limit)
    return connection.execute(delete(OUTBOX).where(OUTBOX.c.position.in_(old))).rowcount
