"""Messages decided but not yet known to be in a stream: written with their effect, published by the relay.

Rows stay for a retention time after they were sent, so that a stream that lost its tail can be rebuilt from them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import starmap
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    FromClause,
    Integer,
    LargeBinary,
    Table,
    UniqueConstraint,
    func,
    select,
)

from shared.database import (
    LOOP,
    Key,
    Moment,
    among,
    insert,
    insert_statement,
    listed,
    remove_among,
    rows_among,
    upsert,
    write,
)

OUTBOX = Table(
    "outbox",
    LOOP,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", Key, nullable=False),
    Column("stream", Key, nullable=False),
    Column("subject", Key, nullable=False),
    Column("aggregate", Key, nullable=False),
    Column("sequence", BigInteger),
    Column("payload", LargeBinary, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("principal", Key),
    # The second wall behind "sequence counts from 1 without gaps": no two events can claim the same place.
    UniqueConstraint("stream", "aggregate", "sequence"),
    sqlite_autoincrement=True,
)

UNSENT = Table(
    "unsent",
    LOOP,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
)
"""Which rows of the outbox no stream has confirmed yet. Apart from them, so that noting it does not write them anew."""

COUNTERS = Table("counters", LOOP, Column("key", Key, primary_key=True), Column("last", BigInteger, nullable=False))
"""The last sequence given to each receiver of announcements, which have no aggregate of their own to count by."""


class Unsent(NamedTuple):
    """A message on its way to its stream."""

    position: int
    id: str
    stream: str
    subject: str
    payload: bytes


def record(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[Unsent]:
    """Writes messages to be sent, in their order, and says where they stand."""
    if not rows:
        return []
    if connection.dialect.name == "sqlite":
        last = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").scalar() or 0
        positions: Sequence[int] = range(last + 1, last + 1 + len(rows))
        insert(connection, OUTBOX, [{"position": place, **row} for place, row in zip(positions, rows, strict=True)])
        insert(connection, UNSENT, [{"position": position} for position in positions])
    else:
        placed = write(connection, _insert_and_note, OUTBOX, rows).scalars()
        positions = sorted(placed)  # they were given out in the order of the rows
    return [
        Unsent(position, row["id"], row["stream"], row["subject"], row["payload"])
        for position, row in zip(positions, rows, strict=True)
    ]


def _insert_and_note(table: Table, names: tuple[str, ...], rows: FromClause) -> Any:
    """Both tables in one statement, since PostgreSQL is asked over a network; the positions come back."""
    placed = insert_statement(table, names, rows).returning(table.c.position).cte("placed")
    return UNSENT.insert().from_select(["position"], select(placed.c.position)).returning(UNSENT.c.position)


def unsent(connection: Connection, limit: int, being_marked: Sequence[int] = ()) -> list[Unsent]:
    """The oldest rows not yet confirmed by their stream, in order.

    Without those at the positions ``being_marked``, of which we know better.
    """
    waiting = select(UNSENT.c.position).where(~among(connection, UNSENT.c.position)).order_by(UNSENT.c.position)
    positions = connection.scalars(waiting.limit(limit), listed(connection, being_marked)).all()
    # Not joined: PostgreSQL may then read all that was ever sent to find the few that were not.
    columns = tuple(OUTBOX.c[name] for name in Unsent._fields)
    return list(starmap(Unsent, rows_among(connection, columns, OUTBOX.c.position, positions)))


def count_unsent(connection: Connection) -> int:
    """How many messages no stream has confirmed yet."""
    return connection.scalar(select(func.count()).select_from(UNSENT)) or 0


def mark_sent(connection: Connection, positions: Sequence[int]) -> None:
    """Notes that the stream confirmed these rows. By list: another replica may yet commit inside a range."""
    if positions:
        remove_among(connection, UNSENT.c.position, positions)


def mark_unsent(connection: Connection, positions: Sequence[int]) -> None:
    """Notes that a stream has lost these messages: the relay sends again those that are still kept."""
    kept = rows_among(connection, (OUTBOX.c.position,), OUTBOX.c.position, positions, lock=True)
    upsert(connection, UNSENT, [{"position": row.position} for row in kept], replace=False)


def old(connection: Connection, recorded_before: datetime, limit: int) -> Sequence[int]:
    """Those of the ``limit`` oldest rows that were recorded before a moment and sent."""
    oldest = select(OUTBOX.c.position).order_by(OUTBOX.c.position).limit(limit)
    mine = (OUTBOX.c.position.in_(oldest), OUTBOX.c.recorded_at < recorded_before)
    return connection.scalars(
        select(OUTBOX.c.position).where(*mine, OUTBOX.c.position.not_in(select(UNSENT.c.position)))
    ).all()


def forget(connection: Connection, positions: Sequence[int]) -> None:
    """Deletes rows, those too that were to be sent again meanwhile: they are past being kept."""
    remove_among(connection, OUTBOX.c.position, positions)
    remove_among(connection, UNSENT.c.position, positions)
