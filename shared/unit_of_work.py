"""How a batch of messages reads and writes a store: loaded set by set, decided in memory, written set by set.

``Batch`` is what one transaction has in hand. ``Work`` is one message's view of it: what the message changes is kept
apart until its handler has agreed, so a message that is refused or fails leaves no trace, and costs no savepoint.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property, lru_cache
from typing import Any, Generic, TypeVar, cast

import uuid_utils
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from sqlalchemy import JSON, Connection, Row, Select, Table
from sqlalchemy.sql import visitors

from shared import outbox, tasks, timers
from shared.contracts import cloudevent
from shared.contracts.cloudevent import Envelope
from shared.contracts.message import Delivery, Event, Message, subject_of
from shared.contracts.platform import Done, InboundRefused
from shared.database import LOOP, change, insert, lock_counters, lots, remove, rows_among, upsert
from shared.outbox import COUNTERS, Unsent
from shared.refusal import Refusal
from shared.streams import event_stream
from shared.testing.fault_points import fault_point
from shared.timers import Timer

MAX_MESSAGE_BYTES = cloudevent.MAX_PAYLOAD_BYTES - 4096
"""What the server takes, less room for headers. A larger one must fail where it is decided, or it stops the relay."""

ANNOUNCEMENTS = uuid_utils.UUID("7d1c4a52-6f0e-4f2b-9a38-0f5f6a1f9f57")
"""The namespace of the ids of announcements."""

_TOKEN = re.compile(r"[^\s.*>]+").fullmatch
"""A key that is not one word of a subject would reach no stream, and stop the relay like a message too large."""

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, eq=False)
class Aggregate(Generic[S]):
    """Which state lies in which table.

    ``table`` has the columns ``id`` and ``sequence`` and one for each field of ``state``; a field named in ``parts``
    (``dict[str, Part]``) lies in a table of its own with ``owner``, ``key`` and one column for each field of the part.
    """

    state: type[S]
    table: Table
    evolve: Callable[[S | None, Any], S] | None = None
    parts: Mapping[str, Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own = {"id", "sequence"} | (set(self.state.model_fields) - set(self.parts))
        _agree(self.table, own, self.state)

    @cached_property
    def tables(self) -> list[Table]:
        """The main table and those of the parts."""
        return [self.table, *self.parts.values()]

    @cached_property
    def columns(self) -> list[str]:
        """The fields that lie in the main table."""
        return [name for name in self.state.model_fields if name not in self.parts and name != "id"]


def _agree(table: Table, fields: set[str], state: type[BaseModel]) -> None:
    columns = {column.name for column in table.columns}
    if columns != fields:
        raise TypeError(
            f"table {table.name} and {state.__name__} disagree: "
            f"no column for {sorted(fields - columns)}, no field for {sorted(columns - fields)}"
        )


def _row(model: BaseModel, names: Iterable[str], table: Table) -> dict[str, Any]:
    values = {name: getattr(model, name) for name in names}
    for name in _documents(table):
        values[name] = to_jsonable_python(values[name])
    return values


@cache
def _documents(table: Table) -> list[str]:
    return [column.name for column in table.columns if isinstance(column.type, JSON)]


@dataclass(slots=True)
class Held:
    """An aggregate in hand: its state, its last sequence, and what of it the store already has."""

    state: BaseModel | None
    sequence: int
    stored: BaseModel | None


Place = tuple[Aggregate[Any], str]


@dataclass(slots=True)
class Changes:
    """What a message wants written."""

    held: dict[Place, tuple[BaseModel | None, int]] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    timers: dict[tuple[str, str], Timer | None] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.held or self.messages or self.timers or self.tasks)


class NotWritten(Exception):
    """What messages before this one decided cannot be written: a constraint says no, or a value fits no column."""


class Batch:
    """One transaction's worth of aggregates, and what has been agreed to be written."""

    def __init__(self, connection: Connection, now: datetime, service: str) -> None:
        self.connection = connection
        self.now = now
        self.service = service
        self._held: dict[Place, Held] = {}
        self.fresh: set[str] = set()  # ids made in this transaction: there is nothing to load for them
        self._dirty: dict[Place, None] = {}
        self._dirty_tables: set[Table] = set()
        self._agreed = Changes()
        self.recorded: list[Unsent] = []
        self.wrote_tasks = self.wrote_timers = False

    def prefetch(self, places: Iterable[Place]) -> None:
        """Loads and locks what the messages at hand said they will need, one statement a table."""
        wanted: dict[Aggregate[Any], list[str]] = {}
        for aggregate, id_ in places:
            if (aggregate, id_) in self._held:
                continue
            if id_ in self.fresh:
                self._held[aggregate, id_] = Held(None, 0, stored=None)
            else:
                wanted.setdefault(aggregate, []).append(id_)
        for aggregate, ids in wanted.items():
            found = load(self.connection, aggregate, ids, lock=True)
            for id_ in ids:
                state, sequence = found.get(id_, (None, 0))
                self._held[aggregate, id_] = Held(state, sequence, stored=state)

    def held(self, place: Place) -> Held:
        """An aggregate as the messages before this one left it."""
        if place not in self._held:
            self.prefetch([place])
        return self._held[place]

    def counters(self, keys: Collection[str]) -> dict[str, int]:
        """The last sequence announced to each receiver."""
        missing = [key for key in keys if key not in self._agreed.counters]
        self._agreed.counters |= lock_counters(self.connection, COUNTERS, "last", missing)
        return {key: self._agreed.counters[key] for key in keys}

    def agree(self, changes: Changes) -> None:
        """Takes over what a message decided."""
        for place, (state, sequence) in changes.held.items():
            held = self.held(place)
            held.state, held.sequence = state, sequence
            self._dirty[place] = None
            self._dirty_tables.update(place[0].tables)
        self._agreed.messages += changes.messages
        self._agreed.timers |= changes.timers
        self._agreed.tasks += changes.tasks
        self._agreed.counters |= changes.counters

    def flush_for(self, read: Collection[Table]) -> None:
        """Writes what is agreed if a statement that reads these tables could see it."""
        if self._dirty_tables.intersection(read) or any(table.metadata is LOOP for table in read):
            self.flush()

    def flush(self) -> None:
        """Writes everything agreed, one statement a table; ``NotWritten`` as soon as something cannot be."""
        try:
            self._write_agreed()
        except Exception as error:
            raise NotWritten("what was decided cannot be written") from error

    def _write_agreed(self) -> None:
        agreed = self._agreed
        self._flush_aggregates()
        fault_point("before-outbox")
        self.recorded += outbox.record(self.connection, agreed.messages)
        fault_point("after-outbox")
        timers.write(self.connection, agreed.timers)
        tasks.write(self.connection, agreed.tasks)
        upsert(self.connection, COUNTERS, [{"key": k, "last": v} for k, v in sorted(agreed.counters.items())])
        self.wrote_timers |= bool(agreed.timers)
        self.wrote_tasks |= bool(agreed.tasks)
        self._agreed = Changes()

    def _flush_aggregates(self) -> None:
        if not self._dirty:
            return
        plan = _Plan()
        for aggregate, id_ in self._dirty:
            held = self._held[aggregate, id_]
            plan.add(aggregate, id_, held)
            held.stored = held.state
        self._dirty.clear()
        self._dirty_tables.clear()
        plan.carry_out(self.connection)


def _tables_of(statement: Select[Any]) -> frozenset[Table]:
    """Every table a statement reads."""
    return frozenset(part for part in visitors.iterate(statement) if isinstance(part, Table))


_tables_of_one_made_once = lru_cache(maxsize=256)(_tables_of)


class _Plan:
    """The inserts, updates and deletes of a batch, gathered by table."""

    def __init__(self) -> None:
        self._inserts: dict[Table, list[dict[str, Any]]] = {}
        self._updates: dict[Table, list[dict[str, Any]]] = {}
        self._deletes: dict[Table, list[dict[str, Any]]] = {}

    def add(self, aggregate: Aggregate[Any], id_: str, held: Held) -> None:
        table, before, after = aggregate.table, held.stored, held.state
        for name, part_table in aggregate.parts.items():
            self._add_parts(part_table, id_, getattr(before, name, {}), getattr(after, name, {}))
        if after is None:
            if before is not None:
                self._deletes.setdefault(table, []).append({"id": id_})
            return
        row = {"id": id_, "sequence": held.sequence, **_row(after, aggregate.columns, table)}
        (self._inserts if before is None else self._updates).setdefault(table, []).append(row)

    def _add_parts(
        self, table: Table, owner: str, before: Mapping[str, BaseModel], after: Mapping[str, BaseModel]
    ) -> None:
        for key in before.keys() - after.keys():
            self._deletes.setdefault(table, []).append({"owner": owner, "key": key})
        for key, part in after.items():
            if before.get(key) != part:
                names = [column.name for column in table.columns if column.name not in ("owner", "key")]
                row = {"owner": owner, "key": key, **_row(part, names, table)}
                (self._updates if key in before else self._inserts).setdefault(table, []).append(row)

    def carry_out(self, connection: Connection) -> None:
        # Parents before their parts on the way in, parts before their parents on the way out.
        order = sorted({*self._inserts, *self._updates, *self._deletes}, key=_place_in_order)
        for table in reversed(order):
            remove(connection, table, self._deletes.get(table, ()))
        for table in order:
            insert(connection, table, self._inserts.get(table, ()))
            change(connection, table, self._updates.get(table, ()))


@cache
def _place_in_order(table: Table) -> int:
    return table.metadata.sorted_tables.index(table)


def load(
    connection: Connection, aggregate: Aggregate[S], ids: Collection[str], *, lock: bool = False
) -> dict[str, tuple[S, int]]:
    """Those of ``ids`` that exist, with their last sequence: one statement for the table and one for each part.

    One for every ``LOT`` of ids, that is.
    """
    found: dict[str, tuple[S, int]] = {}
    for lot in lots(ids):
        found |= _load(connection, aggregate, lot, lock=lock)
    return found


def _load(
    connection: Connection, aggregate: Aggregate[S], wanted: Sequence[str], *, lock: bool
) -> dict[str, tuple[S, int]]:
    table = aggregate.table
    rows = rows_among(connection, tuple(table.c), table.c.id, wanted, lock=lock)
    parts: dict[str, dict[str, dict[str, Any]]] = {}
    for name, part_table in aggregate.parts.items():
        columns = part_table.columns.keys()
        for row in rows_among(connection, tuple(part_table.c), part_table.c.owner, wanted):
            values = dict(zip(columns, row, strict=True))
            parts.setdefault(values.pop("owner"), {}).setdefault(name, {})[values.pop("key")] = values
    found = {}
    columns = table.columns.keys()
    has_id = "id" in aggregate.state.model_fields
    for row in rows:
        values = dict(zip(columns, row, strict=True))
        id_, sequence = values["id"] if has_id else values.pop("id"), values.pop("sequence")
        if aggregate.parts:
            mine_parts = parts.get(id_, {})
            # Sorted, so that the order in memory never hangs on the order a database happens to answer in.
            values |= {name: dict(sorted(mine_parts.get(name, {}).items())) for name in aggregate.parts}
        found[id_] = (aggregate.state.model_validate(values), sequence)
    return found


def write_new(connection: Connection, aggregate: Aggregate[S], states: Mapping[str, tuple[S, int]]) -> None:
    """Writes states, with their last sequences, that a store does not have yet: the other way of ``load``."""
    plan = _Plan()
    for id_, (state, sequence) in states.items():
        plan.add(aggregate, id_, Held(state, sequence, stored=None))
    plan.carry_out(connection)


class Reader:
    """What a query sees: one consistent state of the store."""

    def __init__(self, connection: Connection, now: datetime, principal: str) -> None:
        self.connection = connection
        self.now = now
        self.principal = principal

    @property
    def present(self) -> "Reader":
        """The store as it is now, also where a query asks how it was (``shared.past``)."""
        return self

    def load(self, aggregate: Aggregate[S], id_: str) -> S | None:
        """One aggregate, or ``None``."""
        return self.load_all(aggregate, [id_]).get(id_)

    def load_all(self, aggregate: Aggregate[S], ids: Collection[str]) -> dict[str, S]:
        """Those of ``ids`` that exist."""
        return {id_: state for id_, (state, _) in load(self.connection, aggregate, ids).items()}

    def select(self, statement: Select[Any]) -> Sequence[Row[Any]]:
        """The rows of any select."""
        return self.connection.execute(statement).all()


def new_id() -> str:
    """A UUIDv7."""
    return str(uuid_utils.uuid7())


class Work:
    """One message's view of the store, and everything it may ask for. See CONTRIBUTING.md, step 5."""

    def __init__(self, batch: Batch, envelope: Envelope, principal: str, *, sealed: bool = False) -> None:
        self._batch = batch
        self._sealed = sealed
        self._told: dict[str, int] = {}
        self.changes = Changes()
        self.envelope = envelope
        self.principal = principal
        self.now = batch.now

    def new_id(self) -> str:
        """A UUIDv7."""
        made = new_id()
        self._batch.fresh.add(made)
        return made

    def load(self, aggregate: Aggregate[S], id_: str) -> S | None:
        """The state, or ``None``; locked until the commit."""
        changed = self.changes.held.get((aggregate, id_))
        return cast("S | None", changed[0] if changed else self._batch.held((aggregate, id_)).state)

    def load_all(self, aggregate: Aggregate[S], ids: Collection[str]) -> dict[str, S]:
        """Those of ``ids`` that exist, with one statement a table."""
        self._batch.prefetch([(aggregate, id_) for id_ in ids])
        states = {id_: self.load(aggregate, id_) for id_ in ids}
        return {id_: state for id_, state in states.items() if state is not None}

    def select(self, statement: Select[Any], given: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        """The rows of any select, with everything that earlier messages did, written or still in hand.

        ``given``: the values of its named parameters. To make a statement takes far longer than to carry it out, so
        what each message needs is made once.
        """
        if self.changes:
            raise RuntimeError("select before the first save or put: what this message changes is in no table yet")
        self._batch.flush_for(_tables_of(statement) if given is None else _tables_of_one_made_once(statement))
        return self._batch.connection.execute(statement, given or {}).all()

    def save(
        self,
        aggregate: Aggregate[S],
        id_: str,
        decision: Sequence[Event] | Refusal,
        *,
        state: S | None = None,
        in_confidence: bool = False,
    ) -> Done | Refusal:
        """Applies the events of a decision: the new state and the messages to send. A refusal passes through.

        ``state`` is what comes of it where the events may not say everything, as where somebody's secret is part of it.
        The history of the aggregate says who caused them, unless it was ``in_confidence`` or the command was sealed.
        """
        if isinstance(decision, Refusal):
            return decision
        if state is not None:
            self.put(aggregate, id_, state)
        elif aggregate.evolve is None:
            raise TypeError(f"{aggregate.state.__name__} has no evolve: put a state instead")
        if not decision:
            return Done(id=id_)
        made = self.load(aggregate, id_)
        sequence = self._sequence((aggregate, id_))
        for event in decision:
            if event.aggregate != id_:
                raise ValueError(f"{event.wire.type} is about {event.aggregate}, saved for {id_}")
            if aggregate.evolve is not None:
                made = aggregate.evolve(made, event)
            sequence += 1
            caused_by = None if in_confidence or self._sealed else self.principal
            self._send(event_stream(self._batch.service), subject_of(type(event), id_), id_, sequence, event, caused_by)
        self.changes.held[aggregate, id_] = (made, sequence)
        return Done(id=id_, events=tuple(event.wire.name for event in decision))

    def put(self, aggregate: Aggregate[S], id_: str, state: S | None) -> None:
        """Writes a state without events: the copy of what another service said. ``None`` deletes it."""
        self.changes.held[aggregate, id_] = (state, self._sequence((aggregate, id_)))

    def last_announced(self, keys: Collection[str]) -> dict[str, int]:
        """The last sequence of each receiver, 0 before the first; locked, so that none is added until the commit."""
        mine = self.changes.counters
        mine |= self._batch.counters([key for key in keys if key not in mine])
        return {key: mine[key] for key in keys}

    def announce(self, stream: str, subject: str, key: str, message: Delivery | InboundRefused) -> int:
        """Sends a message that has no aggregate of ours: the next in the sequence of its receiver ``key``."""
        return self.announce_all(stream, [(subject, key, message)])[0]

    def announce_all(self, stream: str, items: Sequence[tuple[str, str, Delivery | InboundRefused]]) -> list[int]:
        """The same for many ``(subject, key, message)`` at once; their sequences, in order."""
        self.last_announced([key for _, key, _ in items])
        mine = self.changes.counters
        sequences = []
        for subject, key, message in items:
            mine[key] += 1
            sequences.append(mine[key])
            self._send(stream, subject, key, mine[key], message, id_=self._id_of_announcement(subject))
        return sequences

    def _id_of_announcement(self, subject: str) -> str:
        """The same whenever this message is handled: a platform restored from a backup tells nothing under a new id."""
        nth = self._told[subject] = self._told.get(subject, 0) + 1
        return str(uuid_utils.uuid5(ANNOUNCEMENTS, f"{self.envelope.source} {self.envelope.id} {subject} {nth}"))

    def set_timer(self, name: str, key: str, due: datetime, data: Mapping[str, Any] | None = None) -> None:
        """Has the handler of ``name`` called once ``due`` has come; setting it again moves it."""
        self.changes.timers[name, key] = Timer(name, key, due, data or {})

    def cancel_timer(self, name: str, key: str) -> None:
        """Forgets a timer; no harm if there is none."""
        self.changes.timers[name, key] = None

    def start_task(self, name: str, key: str, args: Mapping[str, Any]) -> str:
        """Has work done outside the loop; its outcome comes to the handler of ``name``. The id of the task."""
        task = self.new_id()
        self.changes.tasks.append(
            {"id": task, "name": name, "key": key, "args": dict(args), "attempts": 0,
             "due_at": self.now, "claimed_until": None, "created_at": self.now,
             "correlationid": self.envelope.correlationid or self.envelope.id, "traceparent": self.envelope.traceparent}
        )  # fmt: skip
        return task

    def _sequence(self, place: Place) -> int:
        changed = self.changes.held.get(place)
        return changed[1] if changed else self._batch.held(place).sequence

    def _send(
        self,
        stream: str,
        subject: str,
        key: str,
        sequence: int | None,
        message: Message,
        caused_by: str | None = None,
        id_: str | None = None,
    ) -> None:
        event_id = id_ or new_id()
        payload = cloudevent.write(
            message,
            id=event_id,
            source=f"/concord/{self._batch.service}",
            subject=key,
            time=self.now,
            sequence=sequence,
            correlationid=self.envelope.correlationid or self.envelope.id,
            causationid=self.envelope.id,
            traceparent=self.envelope.traceparent,
        )
        if not _TOKEN(key):
            raise ValueError(f"{message.wire.type} is about {key!r}, which is no word of a subject")
        if len(payload) > MAX_MESSAGE_BYTES:
            raise ValueError(f"{message.wire.type} has {len(payload)} bytes; a stream takes {MAX_MESSAGE_BYTES}")
        self.changes.messages.append(
            {"id": event_id, "stream": stream, "subject": subject, "aggregate": key, "sequence": sequence,
             "payload": payload, "recorded_at": self.now, "principal": caused_by}
        )  # fmt: skip
