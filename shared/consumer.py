"""A continuous pull from a JetStream durable: something is always asked for, so the server never waits for us.

The client's own ``fetch`` asks, waits and asks again, stalls now and then, and loses what arrives between two calls.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from shared.broker import Connection
from shared.streams import RETRY_PAUSE
from shared.testing.fault_points import fault_point, fault_point_once_sent

MOST_ASKED = 1000
"""Messages that are asked for at most; when half of them have come, we ask for as many again."""
EXPIRES = 0.5
"""Seconds after which the server says how much of a request it did not serve, and a consumer that stops may leave.

Nothing shorter than its word is safe: a server that stores a burst has handed out messages that it sends much later,
and what it hands out to one who has left is redelivered.
"""
SILENT_AFTER = 7.0
"""Seconds without a word from the server after which we ask anew: one that deletes a durable may forget to say so."""
RESTORED_WITHIN = 5.0
"""Seconds after which we ask again, whether or not what is gone could be declared."""
UNREADY_AFTER = 3.0
"""Seconds without that word after which messages count as not coming in."""
LAST_WORDS = 3.0
"""Seconds a consumer that stops waits for that word at most."""

log = structlog.get_logger()


class Consumer:
    """Pulls one durable and hands each message on, in order, for as long as there is room for more."""

    def __init__(
        self,
        nc: Connection,
        stream: str,
        durable: str,
        deliver: Callable[[Msg], None],
        room: Callable[[], Awaitable[None]],
        restore: Callable[[], Awaitable[None]],
        *,
        last_words: float = LAST_WORDS,
    ) -> None:
        self._nc = nc
        self.name = f"{stream}.{durable}"
        self._deliver = deliver
        self._room = room
        self._restore = restore
        self._last_words = last_words
        self._subscription: Subscription | None = None
        self._wanted = 0
        self._heard = 0.0
        self._reconnects = 0
        self._needs_restoring = False
        self._forgotten = False  # the server no longer knows what was asked of it
        self._refused = 0  # requests since the last one that somebody took
        self._change = asyncio.Event()

    @property
    def trouble(self) -> str | None:
        """Why no message comes in, if none does."""
        if self._refused:
            return f"no messages come in: nobody at NATS hands out those of {self.name}"
        if (silent := self._silent) > UNREADY_AFTER:
            return f"no messages come in: NATS has not said a word of {self.name} for {silent:.1f} s"
        return None

    @property
    def _silent(self) -> float:
        """Seconds since the server last said a word, if it owes us one."""
        return time.monotonic() - self._heard if self._wanted > 0 else 0.0

    async def run(self) -> None:
        """Pulls until cancelled."""
        try:
            while True:
                if self._needs_restoring:
                    with suppress(TimeoutError):  # a cluster may hand out messages again before it can declare anything
                        async with asyncio.timeout(RESTORED_WITHIN):
                            await self._restore()
                    self._needs_restoring = False
                    if self._refused > 1:  # it is there, and without a leader: a cluster needs seconds to choose one
                        await asyncio.sleep(RETRY_PAUSE)
                if self._must_begin_anew():
                    await self._begin_anew()
                await self._room()
                if self._wanted == 0:  # nothing was asked, so silence meant nothing
                    self._heard = time.monotonic()
                self._change.clear()
                if self._wanted <= MOST_ASKED // 2:
                    await self._request(MOST_ASKED - self._wanted)
                with suppress(TimeoutError):
                    async with asyncio.timeout(2 * EXPIRES):
                        await self._change.wait()
        finally:
            if self._subscription is not None and self._nc.is_connected:
                await self._run_out()
                await self._subscription.drain()  # type: ignore[no-untyped-call]  # the client leaves it untyped

    async def _run_out(self) -> None:
        """Takes in what was asked for, until the server has said of each request that no more of it comes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._last_words):
                while self._wanted > 0:
                    self._change.clear()
                    await self._change.wait()

    def _must_begin_anew(self) -> bool:
        if self._subscription is None:
            return True
        if not self._nc.is_connected:
            return False
        if self._forgotten or self._nc.stats["reconnects"] != self._reconnects:
            return True
        if silent := self._silent > SILENT_AFTER:
            log.warning("no word from the server; asking anew", durable=self.name)
        return silent

    async def _begin_anew(self) -> None:
        """A new inbox: what an old request may still bring is not counted against a new one."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
        self._reconnects = self._nc.stats["reconnects"]
        self._forgotten = False
        self._inbox = self._nc.new_inbox()
        self._wanted = 0
        self._heard = time.monotonic()
        self._subscription = await self._nc.subscribe_directly(self._inbox, self._arrived)

    async def _request(self, count: int) -> None:
        wish = {"batch": count, "expires": int(EXPIRES * 1e9)}
        self._wanted += count
        await self._nc.publish(f"$JS.API.CONSUMER.MSG.NEXT.{self.name}", json.dumps(wish).encode(), reply=self._inbox)

    def _arrived(self, message: Msg) -> None:
        self._heard = time.monotonic()
        if not message.reply.startswith("$JS.ACK"):
            headers = message.headers or {}
            if status := headers.get("Status"):
                self._told(status, headers)
                return
        self._refused = 0
        self._wanted -= 1
        if self._wanted in (MOST_ASKED // 2, 0):
            self._change.set()
        self._deliver(message)

    def _told(self, status: str, headers: dict[str, str]) -> None:
        self._wanted = max(0, self._wanted - int(headers.get("Nats-Pending-Messages", 0)))
        description = headers.get("Description", "")
        if status in ("404", "503") or (status == "409" and "deleted" in description.lower()):
            if not self._refused:
                log.error(
                    "nobody hands out a durable; declaring it", durable=self.name, status=status, reason=description
                )
            self._refused += 1
            self._needs_restoring = self._forgotten = True
        else:
            self._refused = 0
            if status == "409" and "leadership" in description.lower():
                self._forgotten = True  # what was asked of the server that led is not known to the one that does now
        self._change.set()


async def acknowledge(nc: Connection, replies: list[str]) -> None:
    """Tells the server that these messages are handled and durable."""
    fault_point("before-ack")
    await nc.publish_all((reply, {}, b"+ACK") for reply in replies)
    await fault_point_once_sent("after-ack", nc.flush)


def place_of(message: Msg) -> str:
    """The place of a message in its stream, which every delivery of it shares."""
    tokens = message.reply.split(".")
    return tokens[5] if len(tokens) == 9 else tokens[7]
