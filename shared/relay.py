"""From the outbox into the streams: in order, in atomic batches, again until the stream has confirmed.

One relay at a time for each store (a lease), so that the order of decisions is the order of the stream also with
replicas. It is woken by the commit, and looks by itself after a start and when it hears nothing.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import groupby
from operator import attrgetter

import structlog
import uuid_utils
from nats import errors
from sqlalchemy import Column, Connection, Engine, Table, or_, update
from sqlalchemy.exc import DBAPIError

from shared import clock, metrics, outbox, tracing
from shared.broker import Connection as Nats
from shared.contracts.cloudevent import STRUCTURED
from shared.database import LOOP, Key, Moment, has_left, own_name, reading, trouble_behind, upsert
from shared.loop import SILENT_AFTER, Loop
from shared.outbox import Unsent
from shared.settings import Settings
from shared.testing.fault_points import fault_point, fault_point_once_sent

BATCH_SIZE = 500
"""Messages of one atomic batch; the server takes at most 1000."""

SINGLY: int = Settings.model_fields["publish_singly"].default
"""Messages up to which each is published by itself. An atomic batch takes the server some 8 ms before its first message
is counted, a message by itself some 0.2 ms: they cross at about 50 (``docs/decisions/relay.md``)."""

PARTS_AT_ONCE = 100
"""Messages of a batch that are written to the connection together."""

LEASE = timedelta(seconds=10)
"""How long a relay that went silent keeps others from taking over."""

MARK_WITHIN = 0.05
"""Seconds until what was published is marked as sent. Nobody waits for it, and alone it would cost a transaction."""

LOOK_EVERY = 1.0
"""Seconds after which the relay looks into the outbox without having been woken."""

HOLES_CLOSE_WITHIN = 10.0
"""Seconds within which whoever was given a position has committed it, or never will."""

TIMEOUT = 5.0
"""Seconds to wait for the stream to confirm; after that nobody knows, and the batch is sent again."""

RETRY_PAUSES = (0.05, 0.2, 1.0)

LEASES = Table(
    "leases",
    LOOP,
    Column("name", Key, primary_key=True),
    Column("holder", Key),
    Column("held_until", Moment),
)

log = structlog.get_logger()


class NotConfirmed(Exception):
    """The stream did not confirm a batch: it was ``refused``, or what became of it is not known."""

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


def take_lease(connection: Connection, name: str) -> bool:
    """Takes or renews a lease; whether we have it now.

    That of a process that is gone is free at once, that of one that went silent when it lapses. One that reaches
    further than any lease is free too: the clock was stepped back since it was taken.
    """
    now, me = clock.now(), own_name(connection)
    upsert(connection, LEASES, [{"name": name, "holder": None, "held_until": None}], replace=False)
    lapsed = or_(LEASES.c.held_until < now, LEASES.c.held_until > now + 2 * LEASE)
    free = or_(LEASES.c.holder.is_(None), LEASES.c.holder == me, lapsed, has_left(connection, LEASES.c.holder))
    mine = update(LEASES).where(LEASES.c.name == name, free).values(holder=me, held_until=now + LEASE)
    return bool(connection.execute(mine).rowcount)


def drop_lease(connection: Connection, name: str) -> None:
    """Lets the next one in at once."""
    mine = (LEASES.c.name == name, LEASES.c.holder == own_name(connection))
    connection.execute(update(LEASES).where(*mine).values(holder=None, held_until=None))


class Relay:
    """Publishes what the loop has committed."""

    def __init__(
        self,
        nc: Nats,
        loop: Loop,
        engine: Engine,
        reader: Executor,
        restore: Callable[[], Awaitable[None]],
        *,
        singly: int = SINGLY,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self._nc = nc
        self._loop = loop
        self._engine = engine
        self._reader = reader
        self._restore = restore
        self._singly = singly
        self._batch_size = batch_size
        self._alone = engine.dialect.name == "sqlite"  # whose stores have one process each
        self._woken = asyncio.Event()
        self._marking: dict[int, None] = {}  # published, and on the way to being marked as sent
        self._fresh: deque[Unsent] = deque(maxlen=2 * batch_size)  # committed a moment ago: need not be read again
        self._ahead: asyncio.Task[list[Unsent]] | None = None  # the reading of what follows the batch on its way
        self._last = 0  # the highest position that was published
        self._look_at = 0.0  # when the table must be looked into, however much is fresh
        self._holes_until = 0.0  # until when it must be each time
        self._marker: asyncio.Task[None] | None = None
        self._much_to_mark = asyncio.Event()
        self._renew_at = 0.0
        self._troubles = 0  # of the loop's store, when the lease was taken
        self._stopping = False
        self._trouble: str | None = None
        self._asked_at: float | None = None  # since when a stream has something to confirm

    @property
    def trouble(self) -> str | None:
        """Why no event gets out, if none does."""
        silent = 0.0 if self._asked_at is None else time.monotonic() - self._asked_at
        if self._trouble is None and silent > SILENT_AFTER:
            return f"events do not get out: the stream has not confirmed them for {silent:.1f} s"
        return self._trouble

    def hand_over(self, messages: Iterable[Unsent]) -> None:
        """Takes what was committed a moment ago, in the order of its positions. The table has it too, and decides."""
        if self._trouble is None:
            self._fresh.extend(messages)
        self.wake()

    def wake(self) -> None:
        """Says that there may be something in the outbox."""
        self._woken.set()

    def stop(self) -> None:
        """Asks the relay to end with the batch in hand."""
        self._stopping = True
        self._woken.set()
        self._much_to_mark.set()

    async def run(self) -> None:
        """Relays until ``stop``; then what was published is marked as sent, and the next one may relay."""
        try:
            await self._run()
        finally:
            self._drop_ahead()
        if self._marker is not None:
            await self._marker
        await self._loop.call(lambda connection: drop_lease(connection, "relay"))

    async def _run(self) -> None:
        attempt = 0
        while not self._stopping:
            self._woken.clear()
            try:
                idle = not await self._hold_lease() or not await self._relay_some()
            except (errors.Error, NotConfirmed, OSError, DBAPIError) as error:
                if isinstance(error, DBAPIError) and trouble_behind(error) is None:
                    raise
                if self._trouble is None:
                    log.error("events do not get out; trying again until they do", reason=_said(error))
                self._trouble = f"events do not get out: {_said(error)}"
                await asyncio.sleep(RETRY_PAUSES[min(attempt, len(RETRY_PAUSES) - 1)])
                attempt += 1
                self._drop_ahead()
                if isinstance(error, errors.NoRespondersError):
                    await self._restore()  # nobody takes it in: the stream may be gone, and may have no follower
                continue
            if self._trouble is not None:
                log.info("events get out again")
            self._trouble = self._asked_at = None
            attempt = 0
            if idle and not self._stopping:
                try:
                    async with asyncio.timeout(LOOK_EVERY):
                        await self._woken.wait()
                except TimeoutError:
                    continue

    async def _hold_lease(self) -> bool:
        asked_at = asyncio.get_running_loop().time()  # from before the call, and by a clock that nobody steps
        if asked_at >= self._renew_at or self._loop.troubles != self._troubles:
            self._troubles = self._loop.troubles
            self._fresh.clear()  # should another have had the lease meanwhile, the table knows what it sent
            self._drop_ahead()
            held = await self._loop.call(lambda connection: take_lease(connection, "relay"))
            self._renew_at = asked_at + LEASE.total_seconds() / 2 if held else 0.0
            return held
        return True

    async def _relay_some(self) -> bool:
        if self._marker is not None and self._marker.done():
            self._marker.result()  # a store that cannot mark as sent would have everything sent again, and again
        if not self._nc.is_connected:
            raise NotConfirmed("not connected to NATS")  # the client would keep it, and send it a second time
        # What was read ahead may have been read before the commit that woke us: of itself it says not that all is sent.
        ahead = await self._ahead if self._ahead else []
        self._ahead = None
        fresh = [] if ahead else self._take_fresh()
        rows = ahead or fresh or await self._look()
        if not fresh:
            self._note_holes(rows)
            self._read_ahead(rows)
        for stream, run in groupby(rows, key=attrgetter("stream")):
            batch, began = list(run), time.time_ns()
            await self._publish(stream, batch)
            metrics.published(stream, len(batch))
            tracing.published(stream, batch, began)
            self._last = max(self._last, batch[-1].position)
            self._mark([row.position for row in batch])
        return bool(self._fresh if fresh else rows)

    def _take_fresh(self) -> list[Unsent]:
        """What follows directly on what was published last.

        Where a position is left out, there is something that only the table tells of: what another replica committed,
        or what could not be published. What a stream lost again stands before all of it, so the table has its turn.
        """
        rows: list[Unsent] = []
        if time.monotonic() >= self._look_at or time.monotonic() < self._holes_until:
            return rows
        next_one = self._last + 1
        while self._fresh and len(rows) < self._batch_size and self._fresh[0].position <= next_one:
            row = self._fresh.popleft()
            if row.position == next_one:
                rows.append(row)
                next_one += 1
        return rows

    def _note_holes(self, rows: Sequence[Unsent]) -> None:
        """Has only the table followed for as long as somebody may yet commit a position that these rows left out.

        PostgreSQL gives positions out before the commit. What is decided on an event that stands in a hole is handed
        over behind the last of these rows, and would go out before it.
        """
        consecutive = range(self._last + 1, self._last + 1 + len(rows))
        if not self._alone and any(row.position != place for row, place in zip(rows, consecutive, strict=True)):
            self._holes_until = time.monotonic() + HOLES_CLOSE_WITHIN

    def _read_ahead(self, batch: Sequence[Unsent]) -> None:
        """Reads what follows a whole batch from the table while that one is on its way, unless it was handed over.

        It looks at the whole table, not behind the batch: what another replica commits meanwhile may stand before it.
        """
        if len(batch) < self._batch_size or (self._fresh and self._fresh[0].position <= batch[-1].position + 1):
            return
        self._ahead = asyncio.create_task(self._look([row.position for row in batch]))

    def _drop_ahead(self) -> None:
        """Forgets what was read ahead: what became of the batch before it is not known."""
        if self._ahead is None:
            return
        if not self._ahead.cancel():
            self._ahead.exception()  # it met the same trouble, or will meet it again
        self._ahead = None
        self._look_at = 0.0

    async def _look(self, on_its_way: Sequence[int] = ()) -> list[Unsent]:
        self._look_at = time.monotonic() + LOOK_EVERY
        known = [*self._marking, *on_its_way]  # before the look: a mark committed meanwhile is not in what we see
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._unsent, known)

    def _unsent(self, known: Sequence[int]) -> list[Unsent]:
        with reading(self._engine) as connection:
            return outbox.unsent(connection, self._batch_size, known)

    def _mark(self, positions: list[int]) -> None:
        """Has these rows marked as sent, while the next batch is already on its way."""
        self._marking |= dict.fromkeys(positions)
        if len(self._marking) >= self._batch_size:
            self._much_to_mark.set()
        if self._marker is None or (self._marker.done() and not self._marker.exception()):
            self._marker = asyncio.create_task(self._mark_sent())

    async def _mark_sent(self) -> None:
        while self._marking:
            with suppress(TimeoutError):
                async with asyncio.timeout(MARK_WITHIN):
                    await self._much_to_mark.wait()
            if not self._stopping:
                self._much_to_mark.clear()
            positions = list(self._marking)
            fault_point("before-mark-sent")
            await self._loop.call(partial(outbox.mark_sent, positions=positions))
            for position in positions:
                del self._marking[position]
            fault_point("after-mark-sent")

    async def _publish(self, stream: str, batch: Sequence[Unsent]) -> None:
        at_once = self._singly
        if len(batch) > self._singly:
            try:
                await self._publish_atomically(stream, batch)
            except NotConfirmed as error:
                # Part of it may be in the stream already, sent before a crash or a timeout; or the server has no place
                # left to stage a batch. Of single messages the stream tells which it has. Each waits for the one
                # before, so that none overtakes one that is refused.
                if not error.refused:
                    raise
                at_once = 1
            else:
                return
        for start in range(0, len(batch), at_once):
            await self._publish_singly(stream, batch[start : start + at_once])

    async def _publish_singly(self, stream: str, few: Sequence[Unsent]) -> None:
        """In their order and without waiting in between.

        Should one not be confirmed, those behind it may be: all are sent again, the stream passes over what it has, and
        ``sequence`` tells whoever follows the order.
        """
        await self._confirmed(stream, [(row, {}) for row in few])

    async def _publish_atomically(self, stream: str, batch: Sequence[Unsent]) -> None:
        """JetStream atomic batch (ADR-50): all of it becomes visible with the last message, or none."""
        batch_id = str(uuid_utils.uuid7())
        parts = [
            (row.subject, _headers(row, {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}), row.payload)
            for number, row in enumerate(batch[:-1], start=1)
        ]
        for start in range(0, len(parts), PARTS_AT_ONCE):
            await fault_point_once_sent("before-batch-part", self._nc.flush)
            await self._nc.publish_all(parts[start : start + PARTS_AT_ONCE])
            await fault_point_once_sent("after-batch-part", self._nc.flush)
        await fault_point_once_sent("before-batch-commit", self._nc.flush)
        last = {"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(len(batch)), "Nats-Batch-Commit": "1"}
        await self._confirmed(stream, [(batch[-1], last)], "after-batch-commit")

    async def _confirmed(self, stream: str, rows: Sequence[tuple[Unsent, dict[str, str]]], *points: str) -> None:
        """Publishes and waits for the answers; ``points`` are fault points to be met in between."""
        self._asked_at = time.monotonic()
        # The stream's name turns a message that strayed into the wrong one into an error. Of a batch it is enough for
        # the last message to say it: a part that strayed is missing in the batch.
        expected = {"Nats-Expected-Stream": stream}

        async def on_its_way() -> None:
            for point in (*points, "before-puback"):
                await fault_point_once_sent(point, self._nc.flush)

        asked = [(row.subject, _headers(row, expected | headers), row.payload) for row, headers in rows]
        answers = await self._nc.ask_server(asked, TIMEOUT, on_its_way)
        fault_point("after-puback")
        for (row, _), answer in zip(rows, answers, strict=True):
            if error := json.loads(answer.data).get("error"):
                raise NotConfirmed(f"{stream}: {error.get('description')} ({row.subject})", refused=True)


def _headers(row: Unsent, more: dict[str, str]) -> dict[str, str]:
    return {"content-type": STRUCTURED, "Nats-Msg-Id": row.id, **more}


def _said(error: Exception) -> str:
    if isinstance(error, DBAPIError):
        return f"the store is in trouble: {str(error.orig).strip()}"
    return str(error) or type(error).__name__
