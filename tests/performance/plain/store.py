"""The store of a plain service: SQLAlchemy's ORM with an async session, on the same database settings as ours."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Account(Base):
    """In the first service: what an account holds."""

    __tablename__ = "accounts"
    id: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(default=0)


class Copy(Base):
    """In the second service: the copy it keeps."""

    __tablename__ = "copies"
    id: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(default=0)


def open_store(url: str) -> tuple[AsyncEngine, async_sessionmaker[AsyncSession]]:
    """The engine and the sessions for ``url``, as ``shared.database.open_store`` takes it."""
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", _begin)
    return engine, async_sessionmaker(engine, expire_on_commit=False)


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000", "cache_size = -32768"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Any) -> None:
    # A transaction that reads first and then writes must say so at its beginning, or it fails beside another one.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


async def create_tables(engine: AsyncEngine) -> None:
    """Makes the tables of both; each service uses one."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
