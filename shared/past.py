"""A store as it was at a moment, so that what is asked of the present can be asked of the past by the same code.

The events an aggregate had by then are put together with its own ``evolve`` and written into a store in memory, which
has the tables of the present; there the question is asked. ``docs/decisions/as-of.md`` says what that costs.
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from datetime import datetime
from typing import Any

from pydantic_core import from_json
from sqlalchemy import NullPool, Row, Select, Table, create_engine, select
from sqlalchemy.sql import visitors

from shared import history
from shared.contracts.message import REGISTER, Query
from shared.database import lots
from shared.refusal import Refusal
from shared.streams import event_stream
from shared.unit_of_work import Aggregate, Reader, S, write_new

_IN_MEMORY = create_engine("sqlite://", poolclass=NullPool)
"""Each connection is a store of its own, gone once it is closed."""

Answer = Callable[[Any, Reader], Any]


class Past(Reader):
    """What a query sees that asks how things stood at a moment; ``present`` is what it would see otherwise.

    A table is made and filled as soon as a statement names it. One whose aggregate has no events cannot be.
    """

    def __init__(self, present: Reader, moment: datetime, service: str, aggregates: Collection[Aggregate[Any]]) -> None:
        super().__init__(_IN_MEMORY.connect(), moment, present.principal)
        self._present = present
        self._stream = event_stream(service)
        self._kept = {table: each for each in aggregates for table in (each.table, *each.parts.values())}
        self._filled: set[Aggregate[Any]] = set()

    @property
    def present(self) -> Reader:
        """The store as it is now."""
        return self._present

    def load_all(self, aggregate: Aggregate[S], ids: Collection[str]) -> dict[str, S]:
        """Those of ``ids`` that existed."""
        found: dict[str, S] = {}
        for lot in lots(ids):
            among = select(aggregate.table.c.id).where(aggregate.table.c.id.in_(lot))
            found |= {id_: state for id_, (state, _) in self._fold(aggregate, among).items()}
        return found

    def select(self, statement: Select[Any]) -> Any:
        """The rows of any select."""
        for named in visitors.iterate(statement):
            if isinstance(named, Table):
                self._fill(named)
        return super().select(statement)

    def _fill(self, named: Table) -> None:
        aggregate = self._kept.get(named)
        if aggregate is None:
            raise LookupError(f"the past of {named.name} is not among what this query may read")
        if aggregate in self._filled:
            return
        self._filled.add(aggregate)
        aggregate.table.metadata.create_all(self.connection, aggregate.tables, checkfirst=False)
        write_new(self.connection, aggregate, self._fold(aggregate, select(aggregate.table.c.id)))

    def _fold(self, aggregate: Aggregate[S], ids: Select[Any]) -> dict[str, tuple[S, int]]:
        return fold(aggregate, history.stories(self._present.connection, self._stream, ids, until=self.now))


def fold(aggregate: Aggregate[S], happened: Iterable[Row[Any]]) -> dict[str, tuple[S, int]]:
    """The states, with their last sequences, that events of one kind of aggregate come to; each story in order.

    A story ends before a gap: where clocks differ or were set back, a later event may bear an earlier moment than the
    one before it, and does not count until that does.
    """
    if aggregate.evolve is None:
        raise TypeError(f"{aggregate.state.__name__} has no events, so nobody knows how it was")
    found: dict[str, tuple[S, int]] = {}
    for row in happened:
        state, sequence = found.get(row.aggregate, (None, 0))
        if row.sequence == sequence + 1:
            message = from_json(row.payload)
            event = REGISTER[message["type"]].model_validate(message["data"])
            found[row.aggregate] = aggregate.evolve(state, event), row.sequence
    return found


def answering(answer: Answer, contract: type[Query[Any]], service: str, known: Collection[Aggregate[Any]]) -> Answer:
    """The same answer, and that of the past where the query has an ``as_of``."""
    if "as_of" not in contract.model_fields:
        raise TypeError(f"{contract.__name__} has no as_of, by which the past could be asked for")

    def answer_as_of(query: Any, reader: Reader) -> Any:
        if query.as_of is None:
            return answer(query, reader)
        if query.as_of > reader.now:
            return Refusal(
                code="as-of-ahead",
                sentence=f"How things stand at {query.as_of:%d %B %Y at %H:%M:%S} UTC was asked, which lies ahead; any "
                f"moment up to {reader.now:%d %B %Y at %H:%M:%S} UTC can be asked for, and without as_of the present.",
                field="as_of",
                data={"latest": reader.now.isoformat()},
            )
        past = Past(reader, query.as_of, service, known)
        with closing(past.connection):
            then = answer(query, past)
        if isinstance(then, Refusal):
            return then.model_copy(
                update={"sentence": f"As of {query.as_of:%d %B %Y at %H:%M:%S} UTC: {then.sentence}"}
            )
        return then

    return answer_as_of
