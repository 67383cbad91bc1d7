"""How a store is asked, where PostgreSQL has a mind of its own."""

from pathlib import Path

import uuid_utils
from sqlalchemy import Connection, text

from shared import clock, inbox
from shared.database import LOOP, open_store, transaction
from shared.testing.stores import new_store


def rows_read_one_after_another(connection: Connection, table: str) -> int:
    """In this transaction, without an index."""
    counted = "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_xact_user_tables WHERE relname = :table"
    return int(connection.scalar(text(counted), {"table": table}) or 0)


def test_what_was_handled_is_looked_up_in_postgresql_and_not_searched_for_while_a_new_store_grows(
    tmp_path: Path,
) -> None:
    engine = open_store(new_store("postgresql", tmp_path))
    LOOP.create_all(engine)
    with engine.connect() as connection:  # one and the same, as the loop has: statements are prepared, plans kept
        for _ in range(20):
            keys = [str(uuid_utils.uuid7()) for _ in range(200)]
            with transaction(connection):
                assert inbox.handled(connection, keys) == {}
                assert rows_read_one_after_another(connection, "inbox") == 0
                inbox.remember(
                    connection, [{"key": key, "digest": b"", "reply": None, "handled_at": clock.now()} for key in keys]
                )
    engine.dispose()
