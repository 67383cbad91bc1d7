"""What happened to an aggregate, from its first event on: the outbox says it, and what is pruned there is kept here.

With each event stands who caused it, unless that was decided in confidence (``Work.save``).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    Result,
    Row,
    Select,
    Table,
    insert,
    select,
    union_all,
)

from shared import outbox
from shared.database import LOOP, Key, Moment, among, listed
from shared.outbox import OUTBOX

READ_AT_ONCE = 1_000
"""Rows in hand of a story that may be long."""

HISTORY = Table(
    "history",
    LOOP,
    Column("aggregate", Key, primary_key=True),
    Column("sequence", BigInteger, primary_key=True),
    Column("payload", LargeBinary, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("principal", Key),
)


def _keep(connection: Connection, positions: Sequence[int], stream: str) -> None:
    columns = [OUTBOX.c[column.name] for column in HISTORY.columns]
    leaving = select(*columns).where(among(connection, OUTBOX.c.position), OUTBOX.c.stream == stream)
    keep = insert(HISTORY).from_select([column.name for column in HISTORY.columns], leaving)
    connection.execute(keep, listed(connection, positions))


def prune_outbox(connection: Connection, recorded_before: datetime, limit: int, stream: str) -> int:
    """Lets go of at most ``limit`` rows of the outbox recorded before a moment and sent; how many it let go of.

    Those in ``stream``, which holds the service's own events, are kept here.
    """
    positions = outbox.old(connection, recorded_before, limit)
    if positions:
        _keep(connection, positions, stream)
        outbox.forget(connection, positions)
    return len(positions)


def page(
    connection: Connection,
    stream: str,
    aggregate: str,
    *,
    after: int,
    until: datetime | None = None,
    limit: int = READ_AT_ONCE,
) -> Sequence[Row[Any]]:
    """The events of an aggregate behind the sequence ``after`` and up to a moment: sequence, payload, principal."""
    kept = select(HISTORY.c.sequence, HISTORY.c.payload, HISTORY.c.recorded_at, HISTORY.c.principal)
    fresh = select(OUTBOX.c.sequence, OUTBOX.c.payload, OUTBOX.c.recorded_at, OUTBOX.c.principal)
    both = union_all(
        kept.where(HISTORY.c.aggregate == aggregate),
        fresh.where(OUTBOX.c.stream == stream, OUTBOX.c.aggregate == aggregate),
    ).subquery()
    statement = select(both).where(both.c.sequence > after).order_by(both.c.sequence).limit(limit)
    return connection.execute(statement if until is None else statement.where(both.c.recorded_at <= until)).all()


def stories(connection: Connection, stream: str, aggregates: Select[Any], *, until: datetime) -> Result[Any]:
    """The events of many aggregates up to a moment: aggregate, sequence, payload; one story after another, in order.

    ``aggregates`` selects their ids. The rows come as they are read, since there may be many.
    """
    parts = [
        select(table.c.aggregate, table.c.sequence, table.c.payload).where(
            table.c.aggregate.in_(aggregates), table.c.recorded_at <= until
        )
        for table in (HISTORY, OUTBOX)
    ]
    both = union_all(parts[0], parts[1].where(OUTBOX.c.stream == stream)).subquery()
    statement = select(both).order_by(both.c.aggregate, both.c.sequence)
    return connection.execute(statement, execution_options={"yield_per": READ_AT_ONCE})
