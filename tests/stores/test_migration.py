"""A store is brought to the level its service needs, once."""

import subprocess
import sys

import pytest
from sqlalchemy import Engine, inspect, text

from shared.database import writing
from shared.identity import SERVICES
from shared.migration import newest, upgrade

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


def test_a_store_at_its_level_is_left_alone_without_loading_what_migrates(store_url: str) -> None:
    assert loads_alembic(store_url) == "True"
    assert loads_alembic(store_url) == "False"


def loads_alembic(store_url: str) -> str:
    start = [sys.executable, "-c", START, store_url, "membership"]
    return subprocess.run(start, check=True, capture_output=True, text=True).stdout.strip()
