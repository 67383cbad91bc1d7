"""A store as lines of JSON, alike for SQLite and PostgreSQL: out of one consistent state, and into an empty store.

The first line says whose store it is, its level, and the last position its outbox gave out. Then for each table a line
with its name and its columns (name and kind), and one for each row: its values, in the order of the columns. Moments
and dates are in ISO 8601, bytes in base64.
"""

import base64
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from itertools import chain, islice
from typing import IO, Any

from pydantic_core import from_json, to_json
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    inspect,
    select,
    text,
)
from sqlalchemy.types import TypeEngine

from shared.database import LOOP, Document, Key, Moment, insert, writing
from shared.migration import config
from shared.relay import LEASES

AT_ONCE = 1000
"""Rows that are read or written together."""

TOLD_EVERY = 20_000
"""Rows after which somebody who watches is told how many there are."""

KINDS: Mapping[str, tuple[type[TypeEngine[Any]], TypeEngine[Any]]] = {
    "moment": (Moment, Moment()),
    "date": (Date, Date()),
    "document": (JSON, Document),
    "bytes": (LargeBinary, LargeBinary()),
    "boolean": (Boolean, Boolean()),
    "integer": (Integer, BigInteger()),
    "number": (Float, Float()),
    "text": (String, Key),
}
"""Kind → the type of a column that it is found by, and the one it is written as."""

_READ: Mapping[str, Callable[[Any], Any]] = {
    "moment": datetime.fromisoformat,
    "date": date.fromisoformat,
    "bytes": base64.urlsafe_b64decode,
}

Told = Callable[[int], None]
"""Hears how many rows there are so far."""


class NotEmpty(Exception):
    """A store that is to be filled has tables already."""


def copy(connection: Connection, service: str, level: str, out: IO[bytes], told: Told) -> dict[str, int]:
    """Writes what a store holds, as the transaction of ``connection`` sees it; how many rows each table has.

    The store must be at the ``level`` whose tables this program knows. Leases stay behind: who held them is gone.
    """
    rows: dict[str, int] = {}
    _write(out, {"service": service, "level": level, "last_position": _last_position(connection)})
    for table in _tables(service):
        _write(out, {"table": table.name, "columns": [(column.name, _kind(column)) for column in table.columns]})
        rows[table.name] = 0
        for row in connection.execute(select(table), execution_options={"yield_per": AT_ONCE}):
            _write(out, tuple(row))
            rows[table.name] += 1
            if rows[table.name] % TOLD_EVERY == 0:
                told(sum(rows.values()))
    return rows


def load(engine: Engine, service: str, lines: Iterable[bytes], told: Told) -> dict[str, int]:
    """Fills an empty store with a copy, all of it or nothing; how many rows each table was given.

    The store is made at the level the copy was taken at, which this program must know; its service brings it further
    when it starts. ``NotEmpty`` if there is anything in it.
    """
    parsed: Iterator[Any] = map(from_json, lines)
    head = next(parsed)
    rows: dict[str, int] = {}
    with writing(engine) as connection:
        if inspect(connection).get_table_names():
            raise NotEmpty(f"{service}'s store is not empty")
        _make_tables(connection, service, head["level"])
        with _constraints_deferred(connection):
            table, kinds = Table("none", MetaData()), list[str]()
            for is_row, lot in _lots(parsed):
                if not is_row:
                    table, kinds = _table(lot[0])
                    rows[table.name] = 0
                    continue
                names = table.columns.keys()
                insert(connection, table, [dict(zip(names, _values(kinds, row), strict=True)) for row in lot])
                rows[table.name] += len(lot)
                told(sum(rows.values()))
        _go_on_behind(connection, head["last_position"])
    return rows


def _tables(service: str) -> Iterator[Table]:
    own: MetaData = importlib.import_module(f"services.{service}.tables").metadata
    return (table for table in chain(own.sorted_tables, LOOP.sorted_tables) if table is not LEASES)


def _write(out: IO[bytes], line: Any) -> None:
    out.write(to_json(line, bytes_mode="base64") + b"\n")


def _kind(column: Column[Any]) -> str:
    return next(kind for kind, (found_by, _) in KINDS.items() if isinstance(column.type, found_by))


def _table(header: Mapping[str, Any]) -> tuple[Table, list[str]]:
    columns = [Column(name, KINDS[kind][1]) for name, kind in header["columns"]]
    return Table(header["table"], MetaData(), *columns), [kind for _, kind in header["columns"]]


def _values(kinds: list[str], row: list[Any]) -> list[Any]:
    return [
        _READ[kind](value) if value is not None and kind in _READ else value
        for kind, value in zip(kinds, row, strict=True)
    ]


def _lots(lines: Iterator[Any]) -> Iterator[tuple[bool, list[Any]]]:
    """Headers one by one, rows in lots: whether it is rows, and what they are."""
    lot: list[Any] = []
    while read := list(islice(lines, AT_ONCE)):
        for line in read:
            if isinstance(line, list):
                lot.append(line)
                continue
            if lot:
                yield True, lot
                lot = []
            yield False, [line]
        if lot:
            yield True, lot
            lot = []


def _make_tables(connection: Connection, service: str, level: str) -> None:
    from alembic import command  # noqa: PLC0415  loading it takes a quarter of a second

    settings = config(service)
    settings.attributes["connection"] = connection
    command.upgrade(settings, level)


class _constraints_deferred:  # noqa: N801  a context manager is read as a verb
    """Foreign keys are looked at once every row is there: a row may name one of its own table that comes later."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        if self._connection.dialect.name == "sqlite":
            self._connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        else:
            self._alter("DEFERRABLE INITIALLY DEFERRED")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._connection.dialect.name != "sqlite":
            self._connection.exec_driver_sql("SET CONSTRAINTS ALL IMMEDIATE")
            self._alter("NOT DEFERRABLE")

    def _alter(self, how: str) -> None:
        found = inspect(self._connection)
        quote = self._connection.dialect.identifier_preparer.quote
        for table in found.get_table_names():
            for key in found.get_foreign_keys(table):
                self._connection.exec_driver_sql(
                    f"ALTER TABLE {quote(table)} ALTER CONSTRAINT {quote(str(key['name']))} {how}"
                )


def _last_position(connection: Connection) -> int:
    if connection.dialect.name == "sqlite":
        return connection.scalar(text("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")) or 0
    last = text("SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence('outbox', 'position') AS regclass))")
    return connection.scalar(last) or 0


def _go_on_behind(connection: Connection, last: int) -> None:
    """The outbox goes on giving out positions where it was, also when its last rows are gone."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = 'outbox'"))
        connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox', :last)"), {"last": last})
    elif last:
        connection.execute(text("SELECT setval(pg_get_serial_sequence('outbox', 'position'), :last)"), {"last": last})
