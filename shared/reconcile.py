"""Heals a stream from a store: what the outbox says was sent and the stream no longer has is sent again.

A stream loses its tail when its server is restored from an older copy, and everything when it is deleted. Those who
follow it put what comes late into its place by ``sequence``, and pass over what they have.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from sqlalchemy import Connection, Engine, func, select

from shared import clock, outbox
from shared.database import reading
from shared.outbox import OUTBOX, UNSENT
from shared.streams import api

READ_AT_ONCE = 1000
"""Messages of a stream, or rows of the outbox, that are looked at together."""

TIMEOUT = 10.0

log = structlog.get_logger()

T = TypeVar("T")


class Caller(Protocol):
    """What it needs of the loop."""

    async def call(self, function: Callable[[Connection], T]) -> T:
        """Runs a function in a transaction; its result once that is committed."""


async def reconcile(nc: Client, engine: Engine, loop: Caller) -> dict[str, int]:
    """Marks as unsent whatever a stream has lost; how many messages of each stream. The relay does the rest."""
    lost: dict[str, int] = {}
    for stream in await asyncio.to_thread(_streams, engine):
        last, unsent = await asyncio.to_thread(_not_sent_yet, engine, stream)
        kept_since = await _kept_since(nc, stream)
        present = await _ids_in(nc, stream)
        lost[stream] = 0
        after = 0
        while rows := await asyncio.to_thread(_rows, engine, stream, kept_since, after):
            after = rows[-1][0]
            sent_before = [(position, id_) for position, id_ in rows if position <= last and position not in unsent]
            missing = [position for position, id_ in sent_before if UUID(id_).bytes not in present]
            there = [position for position, id_ in rows if position in unsent and UUID(id_).bytes in present]
            if missing or there:
                await loop.call(partial(_mark, missing=missing, there=there))
                lost[stream] += len(missing)
    log.info("compared the outbox with the streams", lost=lost)
    return lost


def _mark(connection: Connection, missing: list[int], there: list[int]) -> None:
    outbox.mark_unsent(connection, missing)
    outbox.mark_sent(connection, there)  # it was confirmed, and the store had no time to note it


def _streams(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.scalars(select(OUTBOX.c.stream).distinct().order_by(OUTBOX.c.stream)))


def _not_sent_yet(engine: Engine, stream: str) -> tuple[int, set[int]]:
    """The last row there is, and those before it that are still to be sent: what goes out meanwhile is not lost."""
    mine = OUTBOX.c.stream == stream
    with reading(engine) as connection:
        last = connection.scalar(select(func.max(OUTBOX.c.position)).where(mine)) or 0
        return last, set(connection.scalars(select(UNSENT.c.position)))


async def _kept_since(nc: Client, stream: str) -> datetime:
    """A stream that keeps messages for a time only has not lost those it let go of: nobody wants them a second time."""
    max_age = timedelta(microseconds=(await api(nc, f"STREAM.INFO.{stream}"))["config"]["max_age"] / 1000)
    return clock.now() - max_age if max_age else datetime.min.replace(tzinfo=UTC)


def _rows(engine: Engine, stream: str, kept_since: datetime, after: int) -> list[tuple[int, str]]:
    mine = (OUTBOX.c.stream == stream, OUTBOX.c.recorded_at > kept_since, OUTBOX.c.position > after)
    statement = select(OUTBOX.c.position, OUTBOX.c.id).where(*mine).order_by(OUTBOX.c.position).limit(READ_AT_ONCE)
    with reading(engine) as connection:
        return [(row.position, row.id) for row in connection.execute(statement)]


async def _ids_in(nc: Client, stream: str) -> set[bytes]:
    """The ids of every message a stream holds, read in batches (ADR-31, direct get)."""
    found: set[bytes] = set()
    sequence = 1
    while True:
        last, ended = await _read_some(nc, stream, sequence, found)
        if ended:
            return found
        sequence = last + 1


async def _read_some(nc: Client, stream: str, sequence: int, found: set[bytes]) -> tuple[int, bool]:
    inbox = nc.new_inbox()
    messages: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await nc.subscribe(inbox, cb=messages.put)
    last = sequence - 1
    try:
        wish = {"seq": sequence, "batch": READ_AT_ONCE, "next_by_subj": ">"}
        await nc.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(wish).encode(), reply=inbox)
        while True:
            async with asyncio.timeout(TIMEOUT):
                message = await messages.get()
            headers = message.headers or {}
            status = headers.get("Status")
            if status == "404":
                return last, True
            if status == "204":  # the end of this batch
                return last, int(headers.get("Nats-Num-Pending", 0)) == 0
            if status is not None:
                raise RuntimeError(f"{stream} cannot be read: {status} {headers.get('Description', '')}")
            last = int(headers["Nats-Sequence"])
            if message_id := headers.get("Nats-Msg-Id"):
                found.add(UUID(message_id).bytes)
    finally:
        await subscription.unsubscribe()
