"""The loop every service runs on: whatever is waiting, one transaction, and only then replies and acknowledgements.

``Loop`` collects on the event loop's thread and settles there; what it collected is decided on and written on the one
writer thread (``shared/transaction.py``). Nobody else commits.
"""

import asyncio
import json
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine

from shared import clock, metrics, tracing
from shared.database import transaction, trouble_behind
from shared.outbox import Unsent
from shared.refusal import Refusal
from shared.surface import Arrival, Received, Surface
from shared.tasks import TaskOutcome
from shared.telemetry import about
from shared.testing.fault_points import fault_point
from shared.transaction import Call, Committed, Transaction, Turn, carefully_if_need_be, reply_to

BATCH_SIZE = 500
"""Messages one transaction takes at most."""

MOST_WAITING = 20
"""Full batches that may wait before another command is refused: what cannot be done in time need not be kept."""

FEW = 64
"""Messages that wait a little for others, if they came while a transaction was under way."""

LONGEST_WAIT = 0.005
"""Seconds at most; else half as long as that transaction took (docs/decisions/one-transaction-for-many.md)."""

LONGEST_PAUSE = 1.0
"""Seconds between two looks at the timers: the wall clock may be stepped, so no sleep is longer."""

RETRY_PAUSES = (0.02, 0.1, 0.5, 1.0)
"""Seconds to wait before a transaction is tried again while the store is in trouble; the last one for ever after."""

SILENT_AFTER = 1.5
"""Seconds a transaction may take before whoever asks is told that the store is in trouble: it is locked, or away."""

log = structlog.get_logger()

T = TypeVar("T")


class LoopEnded(Exception):
    """A call came too late: the loop has stopped or broken down."""


class Loop:
    """Collects what arrives, has it committed, and settles it. One for each service process."""

    def __init__(self, surface: Surface, engine: Engine, writer: Executor, *, batch_size: int = BATCH_SIZE) -> None:
        self._surface = surface
        self._engine = engine
        self._writer = writer
        self._batch_size = batch_size
        self._arrivals: deque[Arrival] = deque()
        self._calls: deque[Call] = deque()
        self._turn: Turn | None = None
        self._connection: Connection | None = None
        self._ended = False
        self._woken = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._stopping = False
        self._timers_due_at: datetime | None = clock.now()
        self._timers_seen_at = -math.inf
        self._trouble: str | None = None
        self.troubles = 0
        """Times that the store was in trouble: each may have cut us off from it, and others may take us for gone."""
        self._asked_at: float | None = None  # since when the store has a transaction in hand
        self.on_messages: Callable[[Sequence[Unsent]], None] = lambda _: None
        self.on_tasks: Callable[[], None] = lambda: None
        self.on_settled: Callable[[], None] = lambda: None

    @property
    def trouble(self) -> str | None:
        """Why nothing is committed, if nothing is."""
        silent = 0.0 if self._asked_at is None else time.monotonic() - self._asked_at
        if self._trouble is None and silent > SILENT_AFTER:
            return f"the store is in trouble: it has not answered for {silent:.1f} s"
        return self._trouble

    # ---- in ----------------------------------------------------------------------------------------------------

    def offer(self, arrival: Arrival) -> None:
        """Takes a message in; its ``settle`` is called once it is durable."""
        if isinstance(arrival.problem, Refusal) and arrival.kind == "command":
            if arrival.settle:  # could not be read, so there is nothing to keep
                metrics.refused_at_the_door()
                arrival.settle(reply_to(arrival.problem))
                self.on_settled()
            return
        if arrival.kind == "command" and len(self._arrivals) >= MOST_WAITING * self._batch_size:
            if arrival.settle:
                metrics.refused_at_the_door()
                arrival.settle(reply_to(_overloaded(arrival, self._surface.service)))
                self.on_settled()
            return
        self._arrivals.append(arrival)
        if len(self._arrivals) >= 4 * self._batch_size:
            self._room.clear()
        self._woken.set()

    def offer_task_outcome(self, outcome: TaskOutcome) -> None:
        """Takes in how a task ended."""
        received = Received(f"task.{outcome.name}.{outcome.task}", {}, json.dumps(asdict(outcome)).encode())
        self.offer(self._surface.read(received))

    async def room(self) -> None:
        """Waits until there is room for more: consumers stop pulling while the store cannot keep up."""
        await self._room.wait()

    async def call(self, function: Callable[[Connection], T]) -> T:
        """Runs a function of the engine's own in the next transaction; its result once that is committed."""
        if self._ended:
            raise LoopEnded("the loop has ended; nothing is committed any more")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.append(Call(function, future))
        self._woken.set()
        return await future

    # ---- the loop ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Runs until ``stop``; leaves nothing half-done, and nobody waiting."""
        try:
            await self._run()
        finally:
            self._ended = True
            self._let_go()
            for call in (*(self._turn.calls if self._turn else ()), *self._calls):
                if not call.future.done():
                    call.future.set_exception(LoopEnded("the loop ended before this was committed"))

    async def _run(self) -> None:
        attempt = 0
        while True:
            await self._wait()
            if not self._anything():
                if self._stopping:
                    return
                continue
            try:
                await asyncio.get_running_loop().run_in_executor(self._writer, self._work, asyncio.get_running_loop())
            except Exception as error:
                if (trouble := trouble_behind(error)) is None:
                    raise
                self._in_trouble(str(trouble.orig).strip())
                await asyncio.sleep(RETRY_PAUSES[min(attempt, len(RETRY_PAUSES) - 1)])
                attempt += 1
            else:
                attempt = 0

    def stop(self) -> None:
        """Asks the loop to finish what it has and leave. Nothing may be offered after this."""
        self._stopping = True
        self._woken.set()

    async def _wait(self) -> None:
        if not (self._anything() or self._stopping):
            self._woken.clear()
            due_at = self._timers_due_at
            pause = LONGEST_PAUSE if due_at is None else min(LONGEST_PAUSE, (due_at - clock.now()).total_seconds())
            try:
                async with asyncio.timeout(max(0.0, pause)):
                    await self._woken.wait()
            except TimeoutError:
                return

    def _anything(self) -> bool:
        return bool(self._turn or self._arrivals or self._calls or self._timers_are_due())

    def _timers_are_due(self) -> bool:
        return self._timers_due_at is not None and self._timers_due_at <= clock.now() and not self._stopping

    def _must_look_at_timers(self) -> bool:
        """When one is due; and every so often, since another replica may have written some and gone."""
        now = time.monotonic()
        if self._timers_are_due() or now - self._timers_seen_at >= LONGEST_PAUSE:
            self._timers_seen_at = now
            return True
        return False

    def _in_trouble(self, reason: str) -> None:
        if self._trouble is None:
            log.error("the store is in trouble; trying again until it is not", reason=reason)
        self._trouble = f"the store is in trouble: {reason}"
        self.troubles += 1

    # ---- on the writer thread ------------------------------------------------------------------------------------

    def _work(self, event_loop: asyncio.AbstractEventLoop) -> None:
        """One transaction after another for as long as something waits; each is settled while the next is on its way.

        What could not be committed stays in hand and is tried again as it was.
        """
        while turn := self._turn or self._next_turn():
            self._turn = turn
            self._asked_at = self._asked_at or time.monotonic()
            began = time.perf_counter()
            committed = self._observed(turn)
            if committed.timers:
                self._timers_due_at = committed.timers_due_at
            self._turn = self._asked_at = None
            event_loop.call_soon_threadsafe(self._settle, turn, committed)
            if 0 < len(self._arrivals) < FEW:  # so many a second come that a few more are worth waiting for
                time.sleep(min((time.perf_counter() - began) / 2, LONGEST_WAIT))

    def _next_turn(self) -> Turn | None:
        if not self._anything():
            return None
        arrivals = [self._arrivals.popleft() for _ in range(min(len(self._arrivals), self._batch_size))]
        calls = [self._calls.popleft() for _ in range(len(self._calls))]
        return Turn(arrivals, calls, self._must_look_at_timers(), tracing.take_up(arrivals))

    def _observed(self, turn: Turn) -> Committed:
        """A transaction, with what there is to count and to record of it: once, however many messages it takes."""
        system, began_at, began = self._engine.dialect.name, time.time_ns(), time.perf_counter()
        try:
            committed = self._transact(turn)
        except Exception as error:
            metrics.transacted(system, time.perf_counter() - began, error)
            tracing.rolled_back(turn.sampled, system, began_at, error)
            raise
        metrics.transacted(system, time.perf_counter() - began)
        refused, buried, handled = committed.refused, committed.buried, committed.handled
        metrics.committed(self._surface.service, turn.arrivals, refused, buried, handled)
        tracing.committed([*turn.sampled, *committed.sampled], refused, buried, handled, system, began_at)
        for arrival, refusal in refused:
            if arrival.kind != "command":  # nobody waits for an answer
                log.info(
                    "a rule refused a message",
                    kind=arrival.kind, name=arrival.name, code=refusal.code, **about(arrival.envelope),
                )  # fmt: skip
        return committed

    def _transact(self, turn: Turn) -> Committed:
        return carefully_if_need_be(partial(self._attempt, turn))

    def _attempt(self, turn: Turn, *, careful: bool) -> Committed:
        fault_point("before-begin")
        with self._transaction() as connection:
            fault_point("after-begin")
            committed = Transaction(connection, self._surface, self._batch_size, careful=careful).run(
                turn.arrivals, turn.calls, look_at_timers=turn.look_at_timers
            )
            fault_point("before-commit")
        fault_point("after-commit")
        return committed

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """On one and the same connection: with each change of another, SQLite forgets every page it has read."""
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            with transaction(self._connection):
                yield self._connection
        except BaseException:
            self._let_go()  # the store may be away, and a new connection finds it when it is back
            raise

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # ---- out -----------------------------------------------------------------------------------------------------

    def _settle(self, turn: Turn, committed: Committed) -> None:
        if self._trouble is not None:
            log.info("the store is well again")
            self._trouble = None
        if len(self._arrivals) < 2 * self._batch_size:
            self._room.set()
        for arrival, reply in zip(turn.arrivals, committed.replies, strict=True):
            if arrival.settle:
                arrival.settle(reply)
        self.on_settled()
        for call in turn.calls:
            if call.future.done():  # its caller was cancelled meanwhile
                continue
            if call.error is not None:
                call.future.set_exception(call.error)
            else:
                call.future.set_result(call.outcome)
        if committed.messages:
            self.on_messages(committed.messages)
        if committed.tasks:
            self.on_tasks()


def _overloaded(arrival: Arrival, service: str) -> Refusal:
    return Refusal(
        code="overloaded",
        sentence=f"{service} has more before it than it can do soon; {arrival.name} was not carried out. "
        "Send it again in a while, with the same id.",
    )
