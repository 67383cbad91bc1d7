"""Work that is too slow for the loop, and effects on the outside: rows that are claimed, done elsewhere, and reported.

A long computation runs in a process of its own, an effect (a webhook, a mail) as a coroutine among many. Either way the
row is written by the decision that asked for it, claimed for a lease, and deleted in the transaction that handles its
outcome. What a process that is gone had claimed is done again at once; what one that went silent had, when its lease
lapses.
"""

import asyncio
import importlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import structlog
from sqlalchemy import Column, Connection, Integer, Row, Table, Update, delete, func, or_, select, update

from shared import clock
from shared.database import LOOP, Document, Key, Moment, has_left, own_name
from shared.telemetry import about
from shared.testing.fault_points import fault_point

if TYPE_CHECKING:  # it imports this module
    from shared.unit_of_work import Reader

LEASE = timedelta(seconds=60)
"""How long a claim holds without a sign of life; the runner renews it while the work goes on."""

PROCESSES_AT_ONCE = 1
EFFECTS_AT_ONCE = 512

log = structlog.get_logger()

TASKS = Table(
    "tasks",
    LOOP,
    Column("id", Key, primary_key=True),
    Column("name", Key, nullable=False),
    Column("key", Key, nullable=False),
    Column("args", Document, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Moment, nullable=False, index=True),
    Column("claimed_until", Moment),
    Column("claimed_by", Key),
    Column("created_at", Moment, nullable=False),
    # Of the message that asked for it, so that its outcome goes on in the same story and the same trace.
    Column("correlationid", Key),
    Column("traceparent", Key),
)

Answer = TypeVar("Answer")


class Read(Protocol):
    """Asks the service's own store, from one consistent state and beside the loop."""

    async def __call__(self, question: "Callable[[Reader], Answer]", /) -> Answer: ...


Effect = Callable[[Mapping[str, Any], Read], Awaitable[Any]]
"""What is done on the outside, given its arguments and a way to ask the store: what it needs to know may have changed,
and some of it, such as a secret, has no place in a row that operators may read. Answers plain JSON data."""


class ProcessFailed(RuntimeError):
    """A process of ours failed; ``kind`` is the type of its error, the message its last line."""

    def __init__(self, run: str, complaint: str) -> None:
        super().__init__(f"{run}: {complaint}")
        self.kind = complaint.partition(":")[0]


@dataclass(frozen=True)
class Retries:
    """How often and how long to try: exponential backoff with full jitter."""

    first: timedelta = timedelta(seconds=1)
    longest: timedelta = timedelta(hours=1)
    give_up_after: timedelta = timedelta(days=3)

    def delay(self, attempt: int) -> timedelta:
        """The pause after the ``attempt``-th failure (from 1)."""
        ceiling = min(self.longest, self.first * float(2 ** min(attempt - 1, 30)))
        return ceiling * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True)
class TaskKind:
    """What ``name`` means: a ``module:function`` for a process of its own, or a coroutine function."""

    name: str
    run: str | Effect
    retries: Retries = field(default_factory=Retries)
    at_once: int = EFFECTS_AT_ONCE
    """How many of it are under way at a time: of effects, so that one sort that is slow leaves room for the others."""


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """How a task ended: ``result`` (plain JSON data), or ``error`` when it was given up.

    ``correlationid`` and ``traceparent`` are those of the message that asked for it.
    """

    task: str
    name: str
    key: str
    args: Mapping[str, Any]
    attempts: int
    result: Any = None
    error: str | None = None
    correlationid: str | None = None
    traceparent: str | None = None


def write(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds tasks to be done."""
    if rows:
        connection.execute(TASKS.insert(), list(rows))


def claim(connection: Connection, names: Sequence[str], now: datetime, limit: int) -> Sequence[Row[Any]]:
    """Takes up to ``limit`` due tasks for a lease. A task whose lease lapsed, or whose claimer left, is due again.

    The clock may have been stepped back meanwhile: only one that is to be tried again waits for its moment, and a claim
    that reaches further than any lease holds nobody up.
    """
    claimed_until = TASKS.c.claimed_until
    due = or_(TASKS.c.due_at <= now, TASKS.c.attempts == 0, claimed_until.is_not(None))
    lapsed = or_(claimed_until < now, claimed_until > now + 2 * LEASE)
    free = or_(claimed_until.is_(None), lapsed, has_left(connection, TASKS.c.claimed_by))
    statement = select(TASKS).where(TASKS.c.name.in_(names), due, free)
    rows = connection.execute(
        statement.order_by(TASKS.c.due_at, TASKS.c.id).limit(limit).with_for_update(skip_locked=True)
    ).all()
    if rows:
        mine = TASKS.c.id.in_([row.id for row in rows])
        claim = {"claimed_until": now + LEASE, "claimed_by": own_name(connection), "attempts": TASKS.c.attempts + 1}
        connection.execute(update(TASKS).where(mine).values(**claim))
    return rows


def renew(connection: Connection, ids: Sequence[str], now: datetime) -> None:
    """Holds on to tasks for another lease, as long as they are ours."""
    connection.execute(_ours(connection, ids).values(claimed_until=now + LEASE))


def postpone(connection: Connection, task: str, due_at: datetime) -> None:
    """Lets go of a task of ours until ``due_at``."""
    connection.execute(_ours(connection, [task]).values(claimed_until=None, claimed_by=None, due_at=due_at))


def _ours(connection: Connection, ids: Sequence[str]) -> Update:
    return update(TASKS).where(TASKS.c.id.in_(ids), TASKS.c.claimed_by == own_name(connection))


def still_open(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those tasks whose outcome has not been handled yet, locked until the commit."""
    if not ids:
        return set()
    return set(connection.scalars(select(TASKS.c.id).where(TASKS.c.id.in_(ids)).with_for_update()))


def finish(connection: Connection, ids: Sequence[str]) -> None:
    """Lets go of tasks whose outcome has been handled."""
    if ids:
        connection.execute(delete(TASKS).where(TASKS.c.id.in_(ids)))


def count(connection: Connection) -> int:
    """How many tasks are not finished: to be done, being done, or to be tried again."""
    return connection.scalar(select(func.count()).select_from(TASKS)) or 0


def asked_for_first(connection: Connection) -> datetime | None:
    """When the first of the tasks was asked for that are not finished."""
    first: datetime | None = connection.scalar(select(func.min(TASKS.c.created_at)))
    return first


class Caller(Protocol):
    """What the runner needs of the loop."""

    async def call(self, function: Callable[[Connection], Any]) -> Any:
        """Runs a function in the loop's next transaction."""

    def offer_task_outcome(self, outcome: TaskOutcome) -> None:
        """Hands over how a task ended."""


class Runner:
    """Claims tasks, does them outside the loop and reports how they ended."""

    def __init__(self, kinds: Sequence[TaskKind], loop: Caller, read: Read) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        self._loop = loop
        self._read = read
        self._woken = asyncio.Event()
        self._at_work: dict[str, asyncio.Task[None]] = {}
        self._names_at_work: dict[str, str] = {}

    def wake(self) -> None:
        """Says that there may be something to claim."""
        self._woken.set()

    async def run(self) -> None:
        """Claims and works until cancelled; what is at work then is for whoever comes next."""
        if not self._kinds:
            return
        try:
            while True:
                await self._claim()
                self._woken.clear()
                try:
                    async with asyncio.timeout(1.0):  # leases lapse and retries fall due without a wake
                        await self._woken.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._at_work.values():
                task.cancel()
            await asyncio.gather(*self._at_work.values(), return_exceptions=True)

    async def _claim(self) -> None:
        """Claims no more than can begin at once: the rest is for another replica."""
        in_process = [kind.name for kind in self._kinds.values() if isinstance(kind.run, str)]
        effects = [([kind.name], kind.at_once) for kind in self._kinds.values() if kind.name not in in_process]
        for names, at_once in ((in_process, PROCESSES_AT_ONCE), *effects):
            room = at_once - sum(name in names for name in self._names_at_work.values())
            if names and room > 0:
                self._begin(await self._loop.call(partial(claim, names=names, now=clock.now(), limit=room)))

    def _begin(self, rows: Sequence[Row[Any]]) -> None:
        for row in rows:
            if row.id in self._at_work:
                continue  # our own, whose lease lapsed while we were still at it
            work = asyncio.create_task(self._do(row, self._kinds[row.name]))
            self._at_work[row.id] = work
            self._names_at_work[row.id] = row.name
            work.add_done_callback(partial(self._done, row.id))

    async def _do(self, row: Row[Any], kind: TaskKind) -> None:
        attempts = row.attempts + 1
        outcome = TaskOutcome(
            row.id, row.name, row.key, row.args, attempts, correlationid=row.correlationid, traceparent=row.traceparent
        )
        keep_alive = asyncio.create_task(self._hold(row.id))
        fault_point("task-begin")
        try:
            if isinstance(kind.run, str):
                result = await run_in_process(kind.run, row.args)
            else:
                result = await kind.run(row.args, self._read)
            fault_point("task-done")
            self._loop.offer_task_outcome(replace(outcome, result=result))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            now = clock.now()
            due = now + kind.retries.delay(attempts)
            told = {"task": row.id, "name": row.name, "attempts": attempts, **about(row)}
            if due - row.created_at > kind.retries.give_up_after:
                log.error("a task was given up", error=_loggable(error), **told)
                self._loop.offer_task_outcome(replace(outcome, error=str(error)))
            else:
                log.warning("a task will be tried again", error=_loggable(error), **told)
                await self._loop.call(lambda connection: postpone(connection, row.id, due))
        finally:
            keep_alive.cancel()

    def _done(self, task: str, work: asyncio.Task[None]) -> None:
        self._at_work.pop(task, None)
        self._names_at_work.pop(task, None)
        self._woken.set()
        if not work.cancelled() and (error := work.exception()):
            said = _loggable(error)
            log.error("a task was lost hold of; it is done again when its lease lapses", task=task, error=said)

    async def _hold(self, task: str) -> None:
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            await self._loop.call(lambda connection: renew(connection, [task], clock.now()))


def _loggable(error: BaseException) -> str:
    """Of an error no more than its type: its words may hold what the task was about."""
    return error.kind if isinstance(error, ProcessFailed) else type(error).__name__


async def run_in_process(run: str, args: Mapping[str, Any]) -> Any:
    """Calls ``module:function`` with ``args`` in a Python process of its own; JSON in, JSON out.

    Raises ``ProcessFailed`` if it fails.
    """
    child = _start(run)
    # Shielded: a thread that is cancelled before it began would leave the child to nobody.
    talk = asyncio.create_task(asyncio.to_thread(child.communicate, json.dumps(args).encode()))
    try:
        out, err = await asyncio.shield(talk)
    except asyncio.CancelledError:
        child.kill()
        await asyncio.shield(talk)  # the thread hears of it at once, and takes the child's leave
        raise
    if child.returncode:
        complaint = err.decode(errors="replace").strip().splitlines() or [f"ended with {child.returncode}"]
        raise ProcessFailed(run, complaint[-1])
    return json.loads(out)


def _start(run: str) -> "subprocess.Popen[bytes]":
    # Not the event loop's own: cancelled while the child starts, that one waits for ever or loses the child.
    # Imported, not run as a module: what the function imports may import this one again, and its table is made once.
    # -P: no file that lies where the service was started is taken for a module.
    command = (sys.executable, "-P", "-c", "from shared.tasks import main; main()", run, str(os.getpid()))
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)  # noqa: S603 - our own program


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def main() -> None:
    """What a task's process runs. It does not outlive the service that waits for it, however that ended."""
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    module, function = sys.argv[1].split(":")
    result = getattr(importlib.import_module(module), function)(json.load(sys.stdin))
    json.dump(result, sys.stdout)
