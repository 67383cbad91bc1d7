"""Looks up how a service is, for whoever asks for its metrics: beside the loop, now and then, and without waiting long.

A store or a server that does not answer holds nobody up. What it would have said is left out.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog
from nats import errors
from nats.aio.client import Client
from sqlalchemy import Connection, Engine

from shared import clock, figures
from shared.database import reading, trouble_behind
from shared.figures import Figures
from shared.streams import ApiError, Durable, NotNow, api

FRESH = 2.0
"""Seconds for which an answer is given again, however many ask."""
PATIENCE = 1.0
"""Seconds to wait for an answer; a question that takes longer is not asked again until it is answered."""

Waiting = Callable[[Connection], Mapping[str, int]]
"""Counts deliveries that wait, by channel."""

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True)
class Seen:
    """How a service is at one moment; what could not be found out in time is ``None`` or left out.

    ``troubles`` has every reason there could be for not being ready, and whether it holds. ``lag`` is by stream,
    ``deliveries_waiting`` by channel.
    """

    troubles: Mapping[str, bool] = field(default_factory=dict)
    lag: Mapping[str, int] = field(default_factory=dict)
    figures: Figures | None = None
    deliveries_waiting: Mapping[str, int] = field(default_factory=dict)


class Answer(Generic[T]):
    """A question that is asked when somebody wants to know, at most every ``FRESH`` seconds."""

    def __init__(self, ask: Callable[[], Awaitable[T | None]]) -> None:
        self._ask = ask
        self._asking: asyncio.Future[T | None] | None = None
        self._known: T | None = None
        self._asked_at = -FRESH

    async def get(self) -> T | None:
        """What is known, ``None`` where it cannot be found out now."""
        if self._asking is None:
            if time.monotonic() - self._asked_at < FRESH:
                return self._known
            self._asked_at = time.monotonic()
            self._asking = asyncio.ensure_future(self._ask())
        asking = self._asking
        await asyncio.wait({asking}, timeout=PATIENCE)
        if not asking.done():
            return None
        self._asking, self._known = None, asking.result()
        return self._known


class Observer:
    """Asks the store and the server how a service is."""

    def __init__(
        self,
        engine: Engine,
        nc: Client,
        durables: Sequence[Durable],
        troubles: Callable[[], Mapping[str, bool]],
        deliveries_waiting: Waiting | None,
    ) -> None:
        self._engine = engine
        self._nc = nc
        self._durables = durables
        self._troubles = troubles
        self._deliveries_waiting = deliveries_waiting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="figures")
        self._store = Answer(self._ask_store)
        self._server = Answer(self._ask_server)

    async def look(self) -> Seen:
        """How the service is now, or was a moment ago."""
        store, lag = await asyncio.gather(self._store.get(), self._server.get())
        known, waiting = store or (None, {})
        return Seen(self._troubles(), lag or {}, known, waiting)

    async def lag(self) -> Mapping[str, int]:
        """Messages before the service by stream, now or a moment ago; empty where the server does not say."""
        return await self._server.get() or {}

    async def _ask_store(self) -> tuple[Figures, Mapping[str, int]] | None:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._read_store)
        except Exception as error:
            if trouble_behind(error) is None:
                log.error("the figures of the store cannot be read", error=type(error).__name__)
            return None

    def _read_store(self) -> tuple[Figures, Mapping[str, int]]:
        with reading(self._engine) as connection:
            waiting = self._deliveries_waiting(connection) if self._deliveries_waiting else {}
            return figures.read(connection, clock.now()), waiting

    async def _ask_server(self) -> Mapping[str, int] | None:
        if not self._nc.is_connected:
            return None  # the client would keep the question until it is connected again
        counts = await asyncio.gather(*(self._lag(durable) for durable in self._durables))
        return {durable.stream: n for durable, n in zip(self._durables, counts, strict=True) if n is not None}

    async def _lag(self, durable: Durable) -> int | None:
        try:
            told = await api(self._nc, f"CONSUMER.INFO.{durable.stream}.{durable.name}")
        except (errors.Error, ApiError, NotNow, OSError):
            return None  # the stream or the durable is gone, or the server is
        return int(told["num_pending"]) + int(told["num_ack_pending"])
