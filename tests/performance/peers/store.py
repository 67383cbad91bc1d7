"""What a service built on a peer keeps: the tables of the plain version, in the one database that both peers know."""

from sqlalchemy import Insert, Table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.performance.plain.store import Base


def open_store(url: str, connections: int) -> AsyncEngine:
    """The engine for ``url``, as ``shared.database.open_store`` takes it, with the driver that both peers ask for."""
    address = make_url(url).set(drivername="postgresql+asyncpg")
    return create_async_engine(address, pool_size=connections, max_overflow=0)


def _addition(table: Table) -> Insert:
    new = insert(table)
    return new.on_conflict_do_update(
        index_elements=[table.c.id], set_={"balance": table.c.balance + new.excluded.balance}
    )


ADD_TO_ACCOUNT = _addition(Base.metadata.tables["accounts"])
"""Adds ``balance`` to the account ``id``, a new one too, in one statement: handlers that meet at one do not fail."""
ADD_TO_COPY = _addition(Base.metadata.tables["copies"])
"""The same in the second service."""
