"""What has been handled already, so that nothing is handled twice, and what has to wait for its turn.

A command or inbound message is known by its id for as long as its sender could repeat it. An event of another service
is known by its place: ``sequence`` counts from 1 for each aggregate, so one number per aggregate says which were
handled, and for ever. One that comes too early is parked until those before it have been handled.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    Row,
    Table,
    delete,
    func,
    select,
    tuple_,
)

from shared.database import LOOP, Document, Key, Moment, insert, lock_counters, lots, rows_among, upsert

INBOX = Table(
    "inbox",
    LOOP,
    Column("key", Key, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("reply", LargeBinary),
    Column("handled_at", Moment, nullable=False, index=True),
)

CURSORS = Table("cursors", LOOP, Column("key", Key, primary_key=True), Column("sequence", BigInteger, nullable=False))

PARKED = Table(
    "parked",
    LOOP,
    Column("key", Key, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("subject", Key, nullable=False),
    Column("headers", Document, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("parked_at", Moment, nullable=False),
)

_ANY_PARKED = select(PARKED.c.key).limit(1)


def handled(connection: Connection, keys: Collection[str]) -> dict[str, tuple[bytes, bytes | None]]:
    """Of these keys those handled before, with the digest of their content and the first reply."""
    found: dict[str, tuple[bytes, bytes | None]] = {}
    for lot in lots(keys):
        rows = rows_among(connection, (INBOX.c.key, INBOX.c.digest, INBOX.c.reply), INBOX.c.key, lot)
        found |= {row.key: (row.digest, row.reply) for row in rows}
    return found


def remember(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Notes messages as handled: key, digest, reply, handled_at."""
    insert(connection, INBOX, rows)


def prune(connection: Connection, handled_before: datetime, limit: int) -> int:
    """Forgets at most ``limit`` messages that nobody can repeat any more; how many it forgot."""
    old = select(INBOX.c.key).where(INBOX.c.handled_at < handled_before).limit(limit)
    return connection.execute(delete(INBOX).where(INBOX.c.key.in_(old))).rowcount


def cursors(connection: Connection, keys: Collection[str]) -> dict[str, int]:
    """The last sequence handled of each aggregate, 0 where none, locked until the commit."""
    return lock_counters(connection, CURSORS, "sequence", keys)


def advance(connection: Connection, moved: Mapping[str, int]) -> None:
    """Writes the new last sequence of each aggregate."""
    upsert(connection, CURSORS, [{"key": key, "sequence": sequence} for key, sequence in sorted(moved.items())])


def park(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keeps events that came before their turn: key, sequence, subject, headers, payload, parked_at."""
    upsert(connection, PARKED, rows, replace=False)


def next_in_turn(connection: Connection, keys: Collection[str], limit: int) -> Sequence[Row[Any]]:
    """The parked events of those of these aggregates whose turn has come, at most ``limit`` and in order.

    Those that have been handled meanwhile, having come once more, are let go.
    """
    if not keys or connection.scalar(_ANY_PARKED) is None:
        return []
    # From the cursor on: of those that wait behind one aggregate, none is looked at that stays.
    over = (CURSORS.c.key == PARKED.c.key) & (PARKED.c.sequence <= CURSORS.c.sequence)
    handled_meanwhile = select(PARKED.c.key, PARKED.c.sequence).join_from(CURSORS, PARKED, over)
    head = PARKED.alias()
    behind_one_in_turn = (
        select(PARKED)
        .join(CURSORS, CURSORS.c.key == PARKED.c.key)
        .join(head, (head.c.key == PARKED.c.key) & (head.c.sequence == CURSORS.c.sequence + 1))
        .order_by(PARKED.c.key, PARKED.c.sequence)
    )
    found: list[Row[Any]] = []
    for lot in lots(keys):
        mine = PARKED.c.key.in_(lot)
        gone = handled_meanwhile.where(CURSORS.c.key.in_(lot))
        connection.execute(delete(PARKED).where(tuple_(PARKED.c.key, PARKED.c.sequence).in_(gone)))
        found += connection.execute(behind_one_in_turn.where(mine).limit(limit - len(found))).all()
    return found


def first_parked(connection: Connection, key: str) -> int | None:
    """The lowest sequence of an aggregate that waits."""
    first: int | None = connection.execute(select(func.min(PARKED.c.sequence)).where(PARKED.c.key == key)).scalar_one()
    return first


def unpark(connection: Connection, key: str, sequence: int) -> None:
    """Lets go of a parked event that is kept elsewhere."""
    connection.execute(delete(PARKED).where(PARKED.c.key == key, PARKED.c.sequence == sequence))


def cursor_key(service: str, aggregate: str) -> str:
    """What the cursor of a service's aggregate is called."""
    return f"/concord/{service} {aggregate}"


def count_behind(connection: Connection, subject: str) -> int:
    """How many events wait behind the one with this subject."""
    service, _, _, _, aggregate = subject.split(".")
    mine = PARKED.c.key == cursor_key(service, aggregate)
    return connection.scalar(select(func.count()).select_from(PARKED).where(mine)) or 0


def count_parked(connection: Connection) -> int:
    """How many events wait for one before them."""
    return connection.scalar(select(func.count()).select_from(PARKED)) or 0
