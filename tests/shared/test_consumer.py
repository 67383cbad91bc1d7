"""A continuous pull on a real server: what it was handed is kept, and it finds its way back after whatever happens."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from shared.broker import Connection
from shared.consumer import LAST_WORDS, SILENT_AFTER, Consumer, acknowledge
from shared.contracts.membership import NetworkRegistered
from shared.contracts.message import subject_of
from shared.streams import api, durables, platform_streams, reconcile
from shared.testing.nats import NatsServer

SERVICE, STREAM = "notifications", "MEMBERSHIP"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path) as running:
        yield running


async def until(holds: Callable[[], bool], within: float) -> None:
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110  what it waits for is said by no event
            await asyncio.sleep(0.01)


class Follower:
    """A consumer that acknowledges what it hears and keeps the order of it."""

    def __init__(self, nc: Connection) -> None:
        self.nc = nc
        self.heard: list[int] = []
        self.acks: list[str] = []
        self.restored = 0

    async def restore(self) -> None:
        await reconcile(self.nc, platform_streams(), durables(SERVICE, ["membership"]))
        self.restored += 1

    def deliver(self, message: Msg) -> None:
        self.heard.append(json.loads(message.data))
        self.acks.append(message.reply)

    def start(self, last_words: float = LAST_WORDS) -> asyncio.Task[None]:
        async def room() -> None:
            return

        consumer = Consumer(self.nc, STREAM, SERVICE, self.deliver, room, self.restore, last_words=last_words)
        return asyncio.create_task(consumer.run())


async def publish(nc: Connection, numbers: range) -> None:
    for number in numbers:
        await nc.publish(subject_of(NetworkRegistered, "n"), str(number).encode())
    await nc.flush()


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def follower(server: NatsServer) -> Follower:
    found = Follower(await server.connect(SERVICE))
    await found.restore()
    return found


@pytest.fixture
async def owner(server: NatsServer) -> Connection:
    return await server.connect("membership")


async def test_a_consumer_that_stops_under_load_hands_on_everything_it_was_sent(
    follower: Follower, owner: Connection
) -> None:
    await publish(owner, range(5_000))
    task = follower.start(last_words=60)  # a slow disk may take that long to store what stands before them
    await until(lambda: bool(follower.heard), 60)
    await stop(task)
    await acknowledge(follower.nc, follower.acks)
    await follower.nc.flush()
    told = await api(follower.nc, f"CONSUMER.INFO.{STREAM}.{SERVICE}")
    assert told["delivered"]["consumer_seq"] == len(follower.heard)
    assert follower.heard == list(range(len(follower.heard)))


async def test_a_consumer_goes_on_soon_after_the_server_came_back(
    server: NatsServer, follower: Follower, owner: Connection
) -> None:
    task = follower.start()
    await publish(owner, range(1))
    await until(lambda: len(follower.heard) == 1, 5)
    server.restart()
    await until(lambda: owner.stats["reconnects"] == follower.nc.stats["reconnects"] == 1, 10)
    await publish(owner, range(1, 2))
    await until(lambda: len(follower.heard) == 2, 8)
    await stop(task)


async def test_a_durable_that_was_deleted_is_made_again(
    server: NatsServer, follower: Follower, owner: Connection
) -> None:
    task = follower.start()
    await publish(owner, range(1))
    await until(lambda: len(follower.heard) == 1, 5)
    server.stop()
    for file in sorted((server.directory / "jetstream").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    server.start()
    await until(lambda: follower.restored == 2, 25)
    await publish(owner, range(1, 2))
    await until(lambda: 1 in follower.heard, 8)
    await stop(task)


async def test_a_durable_of_whose_deletion_the_server_says_nothing_is_missed_all_the_same(
    server: NatsServer, follower: Follower, owner: Connection
) -> None:
    breaker, task = await server.connect_breaker(), follower.start()
    for time in range(1, 4):  # every second time, a server in the middle of a burst drops what it was asked for
        await publish(owner, range(20_000))
        await asyncio.sleep(0.4)
        await api(breaker, f"STREAM.DELETE.{STREAM}")
        await until(lambda seen=time: follower.restored > seen, SILENT_AFTER + 2)  # type: ignore[misc]
    await stop(task)
