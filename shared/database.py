"""How a store is opened, and the column types all tables are made of. SQLite and PostgreSQL, one code for both."""

import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import Any

import uuid_utils
from pydantic_core import to_json
from sqlalchemy import (
    ARRAY,
    CTE,
    JSON,
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    DateTime,
    Delete,
    Dialect,
    Engine,
    FromClause,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    Update,
    and_,
    any_,
    bindparam,
    column,
    create_engine,
    delete,
    event,
    exists,
    func,
    select,
    table,
    tuple_,
    values,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.types import TypeDecorator

LOOP = MetaData()
"""The tables every store has beside its service's own: inbox, outbox, timers, tasks, dead letters, leases."""

LOCK_TIMEOUT = 5.0
"""Seconds a transaction waits for a lock before it is rolled back and tried again."""

CHECKPOINT_PAGES = 4_000
"""Pages that SQLite's log holds until they are copied into the database: 16 MB. A full transaction writes some 300, and
most of them the next one writes anew."""

LOT = 30_000
"""Values that are named in one statement: SQLite takes 32 766 parameters, PostgreSQL 65 535."""

WITHOUT_VALUES = ("23", "42")
"""PostgreSQL's classes of errors about a constraint and about what a statement names: their first line has no value."""

NAMES_NOTHING = re.compile(r"no such (table|column): \S+|table \S+ has no column named \S+")
"""SQLite's word of a statement that names what is not there."""

TOO_MUCH_ASKED = "54"
"""PostgreSQL's class of errors about a statement or a row that goes beyond a limit of the program."""


BY_INDEX = "-c enable_seqscan=off -c jit=off"
"""Has PostgreSQL look up what is asked for by key: left alone, it reads whole tables that it has not analysed yet, or
that were empty when it did (``docs/decisions/postgresql.md``). Statements it then deems dear shall not be compiled."""


BACK_WITHIN = 10
"""Seconds within which everybody whom PostgreSQL cut off has opened a session again."""

OURS = "concord "
"""How the names of our sessions begin."""

NAME = "name"
"""The option of an engine that has the name of its sessions."""


class Moment(TypeDecorator[datetime]):
    """An instant, UTC in and out. SQLite keeps no zone: it is taken off on the way in and put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone: a store keeps instants")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# PostgreSQL's "C" collation orders by bytes as SQLite does, so that pages have one order everywhere.
Key = String().with_variant(String(collation="C"), "postgresql")
"""An id or a name that is looked up: text ordered by bytes."""

Document = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""Anything nested, as JSON."""


def open_store(url: str, *, readers: int = 4) -> Engine:
    """An engine for the store at ``url`` (``sqlite:///file`` or ``postgresql+psycopg://…``).

    SQLite runs in WAL mode with ``synchronous=FULL``: a commit that returned survives a power cut, and readers never
    wait for the writer. Transactions are begun explicitly (``writing``/``reading`` below).
    """
    parsed, name = make_url(url), f"{OURS}{uuid_utils.uuid7()}"
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(
            parsed,
            pool_size=readers + 2,
            max_overflow=4,
            hide_parameters=True,  # errors are logged and kept, and values may be personal
            execution_options={NAME: name},
            connect_args={"check_same_thread": False, "cached_statements": PREPARED},
        )
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    return create_engine(
        parsed,
        pool_size=readers + 2,
        max_overflow=4,
        pool_pre_ping=True,
        hide_parameters=True,
        execution_options={NAME: name},
        connect_args={
            "application_name": name,
            "options": f"-c lock_timeout={int(LOCK_TIMEOUT * 1000)} {BY_INDEX}",
            "connect_timeout": 5,
        },
    )


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver would begin transactions of its own, and late
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA busy_timeout = {int(LOCK_TIMEOUT * 1000)}")
    connection.execute("PRAGMA cache_size = -32768")
    connection.execute("PRAGMA temp_store = MEMORY")  # what a savepoint needs to undo goes to a file otherwise
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that will write, on a connection from the pool."""
    with engine.connect() as connection, transaction(connection):
        yield connection


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """A transaction that will write: committed at the end, rolled back on any exception.

    On SQLite it takes the write lock at once, so that it cannot fail half way for another writer's sake.
    """
    with connection.begin():
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that only reads, from one consistent state, and never waits for the writer."""
    with engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            yield connection


def own_name(connection: Connection) -> str:
    """By what name others know whoever opened the store here: each opening has one of its own."""
    return str(connection.get_execution_options()[NAME])


def has_left(connection: Connection, name: ColumnElement[str | None]) -> ColumnElement[bool]:
    """Whether whoever had this name has the store open no more: most often a process that was killed or stopped.

    A SQLite store has one process at a time. PostgreSQL knows its sessions by name: whoever has none has left, or was
    cut off. After a start, a crash or a change of server everybody was; so nobody counts as gone for one who has not
    been there for ``BACK_WITHIN`` seconds without a break.
    """
    if connection.dialect.name == "sqlite":
        return name != own_name(connection)
    session = table("pg_stat_activity", column("application_name"), column("backend_start")).c
    long_ago = func.clock_timestamp() - timedelta(seconds=BACK_WITHIN)
    return and_(
        name.like(f"{OURS}%"),  # the version before gave its sessions no name
        exists().where(session.application_name == own_name(connection), session.backend_start < long_ago),
        ~exists().where(session.application_name == name),
    )


def trouble_behind(error: BaseException | None) -> DBAPIError | None:
    """The trouble the store itself is in, if that is what an error comes from.

    It may stand behind another: SQLite ends the whole transaction when the disk is full, so that undoing a part of it
    fails in its turn.
    """
    while error is not None:
        if isinstance(error, DBAPIError) and store_in_trouble(error):
            return error
        error = error.__context__
    return None


def reason_without_values(error: BaseException) -> str:
    """What an error says; of a database's no more than which rule of a table stood against it: never what was given."""
    # Known by what it has: to import psycopg takes a seventh of a second, also where the store is SQLite.
    if hasattr(error, "sqlstate"):
        diagnosis: Any = getattr(error, "diag", None)
        tellable = str(error.sqlstate).startswith(WITHOUT_VALUES)
        return str(diagnosis.message_primary if tellable else f"SQLSTATE {error.sqlstate}")
    if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
        said = str(error)
        return said if NAMES_NOTHING.fullmatch(said) else str(getattr(error, "sqlite_errorname", "of SQLite"))
    return str(error)


def store_in_trouble(error: DBAPIError) -> bool:
    """Whether the store itself is in trouble (locked, full, away, a deadlock): wait and try again, blame no message."""
    if isinstance(error.orig, sqlite3.Error):
        # SQLite reports a missing table or column as an OperationalError too; only that is a message's own fault.
        code = getattr(error.orig, "sqlite_errorcode", None)
        return not isinstance(error, IntegrityError | DataError) and code not in (None, sqlite3.SQLITE_ERROR)
    if error.connection_invalidated:
        return True
    # A statement that goes beyond a limit, the server's or the client's, would do so again and for ever.
    state = getattr(error.orig, "sqlstate", None)
    beyond = state.startswith(TOO_MUCH_ASKED) if state else error.statement is not None
    return isinstance(error, OperationalError | InterfaceError) and not beyond


def lots(values: Iterable[str]) -> Iterator[list[str]]:
    """The values sorted, each once, and at most ``LOT`` at a time: what a statement can name with ``IN``."""
    ordered = sorted(set(values))
    return (ordered[start : start + LOT] for start in range(0, len(ordered), LOT))


def insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes new rows in one statement, in their order; all have the same columns."""
    if rows:
        write(connection, insert_statement, table, rows)


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, replace: bool = True) -> None:
    """Writes rows by primary key in one statement: ``replace`` those that exist, or leave them as they are."""
    if rows:
        write(connection, _insert_or_replace if replace else _insert_or_keep, table, rows)


def change(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows that exist, by primary key and in one statement."""
    if rows:
        write(connection, _update, table, rows)


def remove(connection: Connection, table: Table, keys: Sequence[Mapping[str, Any]]) -> None:
    """Deletes rows by primary key, in one statement."""
    if keys:
        write(connection, _delete, table, keys)


def rows_among(
    connection: Connection,
    columns: tuple[Column[Any], ...],
    column: Column[Any],
    values: Sequence[Any],
    *,
    lock: bool = False,
) -> Sequence[Any]:
    """Those rows in which a column holds one of many values, in its order; locked until the commit if so wanted."""
    statement = _select_among(columns, column, connection.dialect.name, lock)
    return connection.execute(statement, listed(connection, values)).all()


def remove_among(connection: Connection, column: Column[Any], values: Sequence[Any]) -> None:
    """Deletes the rows in which a column holds one of many values."""
    connection.execute(_delete_among(column, connection.dialect.name), listed(connection, values))


def among(connection: Connection, column: Column[Any]) -> ColumnElement[bool]:
    """Whether a column holds one of many values: those that the statement is executed with, as ``listed``."""
    return _among(column, connection.dialect.name)


def listed(connection: Connection, values: Sequence[Any]) -> dict[str, Any]:
    """Many values as one parameter, for ``among``: a list of any length is cheap."""
    return {LISTED: to_json(values).decode() if connection.dialect.name == "sqlite" else values}


LISTED = "listed values"

# To build a statement takes several times as long as to look up a row with it, so those that every transaction needs
# are built once.


@lru_cache(maxsize=1024)
def _among(column: Column[Any], dialect: str) -> ColumnElement[bool]:
    if dialect == "sqlite":
        values = func.json_each(bindparam(LISTED, type_=String())).table_valued("value")
        return column.in_(select(values.c.value))
    return column == any_(bindparam(LISTED, type_=ARRAY(column.type)))


@lru_cache(maxsize=1024)
def _select_among(columns: tuple[Column[Any], ...], column: Column[Any], dialect: str, lock: bool) -> Select[Any]:
    statement = select(*columns).where(_among(column, dialect)).order_by(column)
    return statement.with_for_update() if lock else statement


@lru_cache(maxsize=1024)
def _delete_among(column: Column[Any], dialect: str) -> Delete:
    return delete(column.table).where(_among(column, dialect))


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """A part of a transaction that is undone on any exception. SQLAlchemy's own costs six times as much."""
    connection.exec_driver_sql("SAVEPOINT part")
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT part")
        connection.exec_driver_sql("RELEASE SAVEPOINT part")
        raise
    connection.exec_driver_sql("RELEASE SAVEPOINT part")


# The statements below are made of a table, the columns that rows were given for, and the rows. Both stores are handed
# many rows in one statement: PostgreSQL because each that it is sent costs it as much as the row itself, SQLite because
# the interpreter's lock is let go around each, and whoever else wants it takes it for milliseconds.


def insert_statement(table: Table, names: tuple[str, ...], rows: FromClause) -> Any:
    return _given(table.insert(), names, rows)


def _insert_or_keep(table: Table, names: tuple[str, ...], rows: FromClause) -> Any:
    return _given(_own_insert(table, rows), names, rows).on_conflict_do_nothing(index_elements=list(table.primary_key))


def _insert_or_replace(table: Table, names: tuple[str, ...], rows: FromClause) -> Any:
    statement = _given(_own_insert(table, rows), names, rows)
    others = {name: statement.excluded[name] for name in names if not table.c[name].primary_key}
    if not others:
        return _insert_or_keep(table, names, rows)
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others)


def _update(table: Table, names: tuple[str, ...], rows: FromClause) -> Update:
    values = {name: rows.c[name] for name in names if not table.c[name].primary_key}
    return table.update().where(*(key == rows.c[key.name] for key in table.primary_key)).values(values)


def _delete(table: Table, _names: tuple[str, ...], rows: FromClause) -> Delete:
    keys = list(table.primary_key)
    return table.delete().where(tuple_(*keys).in_(select(*(rows.c[key.name] for key in keys))))


def _own_insert(table: Table, rows: FromClause) -> Any:
    return sqlite_insert(table) if isinstance(rows, CTE) else postgresql_insert(table)


def _given(statement: Any, names: tuple[str, ...], rows: FromClause) -> Any:
    if isinstance(rows, CTE):  # SQLite is quicker when it need not choose from them first
        return statement.values({name: bindparam(name) for name in names}).inline()
    chosen = select(*(rows.c[name] for name in names))
    return statement.from_select(names, chosen.order_by(rows.c[NTH]))  # positions are given out in this order


def _rows(table: Table, names: tuple[str, ...], dialect: Dialect) -> FromClause:
    """The rows as a statement sees them: for SQLite their values one by one, for PostgreSQL a list for each column."""
    columns = [column(name, table.c[name].type) for name in names]
    if dialect.name == "sqlite":
        one = tuple(bindparam(name, type_=table.c[name].type) for name in names)
        return values(*columns, name="given").data([one]).cte("given")
    lists = [bindparam(name, type_=ARRAY(table.c[name].type)) for name in names]
    return func.unnest(*lists).table_valued(*columns, with_ordinality=NTH).render_derived(name="given")


NTH = "nth"

AT_ONCE = 64
"""Rows that SQLite is handed in one statement."""

PREPARED = 256
"""Statements that SQLite keeps prepared. One about 64 rows takes some 30 kB."""

Make = Callable[[Table, tuple[str, ...], FromClause], Any]


@dataclass(frozen=True)
class _Place:
    """What a placeholder of a statement stands for: a column, and what its values go through on their way in."""

    name: str
    process: Callable[[Any], Any] | None
    is_moment: bool


@lru_cache(maxsize=1024)
def _prepared(make: Make, table: Table, names: tuple[str, ...], dialect: Dialect) -> tuple[str, list[_Place]]:
    """The text of a statement and its placeholders, in order."""
    is_sqlite = dialect.name == "sqlite"
    by_position: Any = type(dialect)
    statement = make(table, names, _rows(table, names, dialect))
    compiled: Any = statement.compile(dialect=by_position(paramstyle="qmark" if is_sqlite else "format"))
    places = []
    for name in compiled.positiontup:
        kind = compiled.binds[name].type if is_sqlite else compiled.binds[name].type.item_type
        # Both drivers take bytes as they are; SQLAlchemy would wrap each of them first.
        process = None if isinstance(kind, LargeBinary) else kind.dialect_impl(dialect).bind_processor(dialect)
        places.append(_Place(name, process, isinstance(kind, Moment)))
    return str(compiled).replace("%s", "%b"), places  # %b: lists go in binary, a text of a list would have to be read


@lru_cache(maxsize=1024)
def _for_many(text: str, width: int, rows: int) -> str:
    """SQLite's statement about one row of so many values, for several."""
    one = f"({', '.join('?' * width)})"
    return text.replace(f"VALUES {one}", f"VALUES {', '.join([one] * rows)}", 1)


def write(connection: Connection, make: Make, table: Table, rows: Sequence[Mapping[str, Any]]) -> CursorResult[Any]:
    """Hands rows to the driver as they are: taken through SQLAlchemy one by one, they cost more than the database.

    There must be some, all with the same columns; ``make`` builds the statement, once for each set of columns.
    """
    text, places = _prepared(make, table, tuple(rows[0]), connection.dialect)
    columns = []
    for place in places:
        cells = [row[place.name] for row in rows]
        if place.process and place.is_moment:
            known = {cell: place.process(cell) for cell in set(cells)}  # most often it is one and the same
            cells = [known[cell] for cell in cells]
        elif place.process:
            cells = [place.process(cell) for cell in cells]
        columns.append(cells)
    if connection.dialect.name != "sqlite":
        return connection.exec_driver_sql(text, tuple(columns))
    given = list(zip(*columns, strict=True))
    for start in range(0, len(given), AT_ONCE):
        lot = given[start : start + AT_ONCE]
        values_of_lot = tuple(chain.from_iterable(lot))
        result = connection.exec_driver_sql(_for_many(text, len(places), len(lot)), values_of_lot)
    return result


def lock_counters(connection: Connection, table: Table, column: str, keys: Collection[str]) -> dict[str, int]:
    """The counters of ``keys``, made at 0 where missing, and locked until the commit.

    ``table`` has the columns ``key`` and ``column``. Making the rows first is what lets two replicas that meet a key
    for the first time wait for each other.
    """
    found = dict.fromkeys(keys, 0)
    for lot in lots(keys):
        if connection.dialect.name != "sqlite":  # SQLite has one writer: whoever is here holds every lock there is
            upsert(connection, table, [{"key": key, column: 0} for key in lot], replace=False)
        rows = rows_among(connection, (table.c.key, table.c[column]), table.c.key, lot, lock=True)
        found |= {row[0]: row[1] for row in rows}
    return found
