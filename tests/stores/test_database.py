"""How a store is asked, where PostgreSQL has a mind of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import uuid_utils
from sqlalchemy import Connection, text

from shared import clock, inbox, outbox
from shared.database import LOOP, open_store, transaction
from shared.testing.stores import new_store


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """One and the same, as the loop has: statements are prepared, and plans kept."""
    engine = open_store(new_store("postgresql", tmp_path))
    LOOP.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def rows_read(connection: Connection, table: str, how: str) -> int:
    """One after another (``seq_tup_read``) or by an index (``idx_tup_fetch``).

    Since the server last took the counts of this connection in, so at least in this transaction.
    """
    counted = f"SELECT coalesce(sum({how}), 0) FROM pg_stat_xact_user_tables WHERE relname = :table"  # noqa: S608
    return int(connection.scalar(text(counted), {"table": table}) or 0)


def test_what_was_handled_is_looked_up_and_not_searched_for_while_a_new_store_grows(connection: Connection) -> None:
    for _ in range(20):
        keys = [str(uuid_utils.uuid7()) for _ in range(200)]
        with transaction(connection):
            assert inbox.handled(connection, keys) == {}
            assert rows_read(connection, "inbox", "seq_tup_read") == 0
            rows = [{"key": key, "digest": b"", "reply": None, "handled_at": clock.now()} for key in keys]
            inbox.remember(connection, rows)


def test_what_is_unsent_is_found_without_reading_all_that_was_ever_sent(connection: Connection) -> None:
    for _ in range(20):
        rows = [
            {"id": str(uuid_utils.uuid7()), "stream": "MEMBERSHIP", "subject": "membership.v1.event.told",
             "aggregate": str(uuid_utils.uuid7()), "sequence": 1, "payload": b"{}", "recorded_at": clock.now()}
            for _ in range(200)
        ]  # fmt: skip
        with transaction(connection):
            written = outbox.record(connection, rows)
        with transaction(connection):
            assert outbox.unsent(connection, 50) == written[:50]
            read = rows_read(connection, "outbox", "idx_tup_fetch") + rows_read(connection, "outbox", "seq_tup_read")
            outbox.mark_sent(connection, [row.position for row in written])
    assert 0 < read <= 20 * 50
