"""A continuous pull from a JetStream durable: two requests are always outstanding, so the server never waits for us.

The client's own ``fetch`` asks, waits and asks again, stalls now and then, and loses what arrives between two calls.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from shared.broker import Connection
from shared.streams import ApiError, NotNow, api
from shared.testing.fault_points import fault_point

REQUESTED_AT_ONCE = 500
EXPIRES = 30
"""Seconds after which a request that nothing came for is made anew."""
HEARTBEAT = 5
"""Seconds of silence after which the server says that it is still there; after twice that we ask anew."""

LOOK = 0.05
LAST_WORDS = 2.0
"""One who leaves asks every so many seconds whether all that was handed out has come, for the last at most."""

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
    ) -> None:
        self._nc = nc
        self._name = f"{stream}.{durable}"
        self._deliver = deliver
        self._room = room
        self._restore = restore
        self._subscription: Subscription | None = None
        self._wanted = 0
        self._last = ""
        self._heard = 0.0
        self._reconnects = 0
        self._needs_restoring = False
        self._change = asyncio.Event()

    async def run(self) -> None:
        """Pulls until cancelled."""
        try:
            while True:
                if self._needs_restoring:
                    await self._restore()
                    self._needs_restoring = False
                if self._must_begin_anew():
                    await self._begin_anew()
                await self._room()
                if self._wanted == 0:  # nothing was asked, so silence meant nothing
                    self._heard = asyncio.get_running_loop().time()
                while self._wanted <= REQUESTED_AT_ONCE:
                    await self._request()
                self._change.clear()
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        await self._change.wait()
                except TimeoutError:
                    continue
        finally:
            if self._subscription is not None and self._nc.is_connected:
                await self._run_out()
                await self._subscription.drain()  # type: ignore[no-untyped-call]  # the client leaves it untyped

    async def _run_out(self) -> None:
        """Takes in what was asked for and is on its way: the server would only send it again much later.

        Silence tells nothing here: a server that stores a burst hands out messages and sends them half a second later.
        """
        try:
            async with asyncio.timeout(LAST_WORDS):
                while self._wanted > 0 and not await self._has_come():  # noqa: ASYNC110  said by no event
                    await asyncio.sleep(LOOK)
        except (TimeoutError, ApiError, NotNow, NatsError):
            return

    async def _has_come(self) -> bool:
        """Whether the last message that was handed out is the last that came, and no other waits to be."""
        told = await api(self._nc, f"CONSUMER.INFO.{self._name}")
        come = int(_tokens(self._last)[6]) if self._last else 0
        return bool(told["num_pending"] == 0 and told["delivered"]["consumer_seq"] == come)

    def _must_begin_anew(self) -> bool:
        if self._subscription is None:
            return True
        if not self._nc.is_connected:
            return False
        if self._nc.stats["reconnects"] != self._reconnects:
            return True  # with the old connection the server forgot what we asked for
        silent = asyncio.get_running_loop().time() - self._heard > 2 * HEARTBEAT
        if silent:
            log.warning("no heartbeat from the server; asking anew", durable=self._name)
        return silent

    async def _begin_anew(self) -> None:
        """A new inbox: what an old request may still bring is not counted against a new one."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
        self._reconnects = self._nc.stats["reconnects"]
        self._inbox = self._nc.new_inbox()
        self._wanted = 0
        self._heard = asyncio.get_running_loop().time()
        self._subscription = await self._nc.subscribe(self._inbox, cb=self._arrived, pending_msgs_limit=-1)

    async def _request(self) -> None:
        wish = {"batch": REQUESTED_AT_ONCE, "expires": EXPIRES * 10**9, "idle_heartbeat": HEARTBEAT * 10**9}
        self._wanted += REQUESTED_AT_ONCE
        await self._nc.publish(f"$JS.API.CONSUMER.MSG.NEXT.{self._name}", json.dumps(wish).encode(), reply=self._inbox)

    async def _arrived(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        headers = message.headers
        if headers and (status := headers.get("Status")) and not message.reply.startswith("$JS.ACK"):
            self._told(status, headers)
            return
        self._wanted -= 1
        self._last = message.reply
        if self._wanted == REQUESTED_AT_ONCE:
            self._change.set()
        self._deliver(message)

    def _told(self, status: str, headers: dict[str, str]) -> None:
        if status == "100":  # a heartbeat
            return
        self._wanted = max(0, self._wanted - int(headers.get("Nats-Pending-Messages", 0)))
        description = headers.get("Description", "")
        if status in ("404", "503") or (status == "409" and "deleted" in description.lower()):
            log.error("a durable is gone; declaring it again", durable=self._name, status=status, reason=description)
            self._needs_restoring = True
            self._heard = 0.0
        self._change.set()


async def acknowledge(nc: Connection, replies: list[str]) -> None:
    """Tells the server that these messages are handled and durable."""
    fault_point("before-ack")
    await nc.publish_all((reply, {}, b"+ACK") for reply in replies)
    fault_point("after-ack")


def place_of(message: Msg) -> str:
    """The place of a message in its stream, which every delivery of it shares."""
    return _tokens(message.reply)[5]


def _tokens(reply: str) -> list[str]:
    """``$JS.ACK.STREAM.DURABLE.times delivered.place in the stream.place in the durable.time.pending``.

    The longer form has the domain and the account before the stream, and something random at the end.
    """
    tokens = reply.split(".")
    return tokens if len(tokens) == 9 else tokens[:2] + tokens[4:]
