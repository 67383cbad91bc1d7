"""A page of a list."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, select

from shared.unit_of_work import Reader


def page(
    reader: Reader, statement: Select[Any], order: ColumnElement[Any], after: str | None, limit: int
) -> tuple[Sequence[Row[Any]], int, bool]:
    """The rows after ``after``, how many there are in all pages, and whether more follow."""
    total = reader.select(select(func.count()).select_from(statement.order_by(None).subquery()))[0][0]
    statement = statement.order_by(order).limit(limit + 1)
    rows = reader.select(statement if after is None else statement.where(order > after))
    return rows[:limit], total, len(rows) > limit
