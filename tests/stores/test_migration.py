"""A store is brought to the level its service needs, once."""

import importlib
import subprocess
import sys

import pytest
import uuid_utils
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, inspect, text

from shared import clock, outbox
from shared.database import LOOP, writing
from shared.identity import SERVICES
from shared.migration import config, newest, upgrade

START = """
import sys
from shared.database import open_store
from shared.migration import upgrade
engine = open_store(sys.argv[1])
upgrade(engine, sys.argv[2])
print("alembic" in sys.modules)
"""


@pytest.mark.parametrize("service", SERVICES)
def test_a_new_store_is_brought_to_the_newest_level(engine: Engine, service: str) -> None:
    upgrade(engine, service)
    with writing(engine) as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == newest(service)
        assert inspect(connection).has_table("outbox")


@pytest.mark.parametrize("service", SERVICES)
def test_what_the_migrations_make_is_what_the_tables_say(engine: Engine, service: str) -> None:
    upgrade(engine, service)
    tables = importlib.import_module(f"services.{service}.tables")
    with writing(engine) as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, [tables.metadata, LOOP]) == []
        made = inspect(connection)
        for table in (*tables.metadata.sorted_tables, *LOOP.sorted_tables):  # alembic passes over checks
            declared = sorted(str(check.name) for check in table.constraints if isinstance(check, CheckConstraint))
            found = sorted(str(check["name"]) for check in made.get_check_constraints(table.name))
            assert found == declared, table.name


@pytest.mark.parametrize("service", SERVICES)
def test_a_store_of_the_first_level_keeps_what_it_had_to_send(engine: Engine, service: str) -> None:
    with writing(engine) as connection:
        settings = config(service)
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0001")
        for sequence, sent_at in ((1, clock.now()), (2, None), (3, None)):
            connection.execute(
                text(
                    "INSERT INTO outbox (id, stream, subject, aggregate, sequence, payload, recorded_at, sent_at) "
                    "VALUES (:id, 'S', 's', 'a', :sequence, :payload, :now, :sent_at)"
                ),
                {"id": str(uuid_utils.uuid7()), "sequence": sequence, "payload": b"{}", "now": clock.now(),
                 "sent_at": sent_at},
            )  # fmt: skip
    upgrade(engine, service)
    with writing(engine) as connection:
        assert [row.position for row in outbox.unsent(connection, 9)] == [2, 3]
        row = {"stream": "S", "subject": "s", "aggregate": "a", "sequence": 4, "payload": b"{}"}
        outbox.record(connection, [{"id": str(uuid_utils.uuid7()), "recorded_at": clock.now(), **row}])
        assert [row.position for row in outbox.unsent(connection, 9)] == [2, 3, 4]


def test_a_store_at_its_level_is_left_alone_without_loading_what_migrates(store_url: str) -> None:
    assert loads_alembic(store_url) == "True"
    assert loads_alembic(store_url) == "False"


def loads_alembic(store_url: str) -> str:
    start = [sys.executable, "-c", START, store_url, "membership"]
    return subprocess.run(start, check=True, capture_output=True, text=True).stdout.strip()
