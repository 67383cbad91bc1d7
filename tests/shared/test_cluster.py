"""Streams and durables on a real cluster of three NATS servers, and what is said where there are too few."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.broker import Connection
from shared.cluster import ClusterError, cluster_conf
from shared.consumer import EXPIRES, SILENT_AFTER, UNREADY_AFTER, Consumer
from shared.contracts.membership import NetworkRegistered
from shared.contracts.message import subject_of
from shared.streams import Drift, Stream, api, durables, platform_streams, reconcile
from shared.testing.nats import NatsServer
from shared.testing.nats_cluster import NAMES, NatsCluster

SERVICE = "notifications"
DURABLES = durables(SERVICE, ["membership"])
CHANGES_WITHIN = 60
"""Seconds for a cluster to copy, to choose a leader or to notice that it cannot have one."""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NatsCluster]:
    async with NatsCluster(tmp_path) as running:
        yield running


async def holders(nc: Connection, address: str) -> set[str]:
    """The servers that hold a current copy of a stream or durable."""
    told: dict[str, Any] = (await api(nc, address)).get("cluster", {})  # not said while a durable moves
    return {told.get("leader", ""), *(each["name"] for each in told.get("replicas", []) if each["current"])}


async def test_streams_on_one_server_are_spread_over_three_and_their_durables_with_them(cluster: NatsCluster) -> None:
    nc = await cluster.connect(SERVICE)
    await reconcile(nc, platform_streams(1), DURABLES)
    done = await reconcile(nc, platform_streams(3), DURABLES)
    assert "changed stream MEMBERSHIP: num_replicas is 1 and should be 3" in done
    async with asyncio.timeout(CHANGES_WITHIN):
        for address in ("STREAM.INFO.MEMBERSHIP", f"CONSUMER.INFO.MEMBERSHIP.{SERVICE}"):
            while await holders(nc, address) != set(NAMES):  # noqa: ASYNC110  said by no event
                await asyncio.sleep(0.1)
    assert await reconcile(nc, platform_streams(3), DURABLES) == []


async def test_three_copies_are_refused_by_a_single_server_and_the_setting_is_named(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        nc = await server.connect(SERVICE)
        with pytest.raises(Drift, match="replicas > 1 not supported"):
            await reconcile(nc, platform_streams(3), [])
        await reconcile(nc, platform_streams(1), [])
        with pytest.raises(Drift, match="Set CONCORD_STREAM_REPLICAS to no more than there are NATS servers") as drift:
            await reconcile(nc, platform_streams(3), [])
        assert "delete" not in str(drift.value)


async def test_streams_wait_until_the_servers_have_a_leader(tmp_path: Path) -> None:
    cluster = NatsCluster(tmp_path)
    servers = list(cluster.servers.values())
    for server in servers:
        server.directory.mkdir(parents=True, exist_ok=True)
    try:
        servers[0].start()
        nc = await cluster.connect(SERVICE, urls=[servers[0].url])
        declaring = asyncio.create_task(reconcile(nc, platform_streams(3), DURABLES))
        servers[1].start()
        await asyncio.wait({declaring}, timeout=5)  # the first leader takes all three
        assert not declaring.done()
        servers[2].start()
        assert "created stream MEMBERSHIP" in await asyncio.wait_for(declaring, CHANGES_WITHIN)
    finally:
        await cluster.__aexit__(None, None, None)


async def test_streams_wait_for_servers_that_can_hold_them_and_say_so(cluster: NatsCluster) -> None:
    """As in the moments in which a cluster begins and its leader has not heard of all servers yet."""
    nc = await cluster.connect(SERVICE)
    nowhere = Stream("MEMBERSHIP", {"num_replicas": 3, "placement": {"tags": ["nowhere"]}})
    with capture_logs() as logs:
        declaring = asyncio.create_task(reconcile(nc, [nowhere], []))
        async with asyncio.timeout(CHANGES_WITHIN):
            while not any("CONCORD_STREAM_REPLICAS" in line.get("reason", "") for line in logs):
                assert not declaring.done()
                await asyncio.sleep(0.1)
    declaring.cancel()


async def test_a_consumer_says_that_nothing_comes_in_while_the_majority_is_lost(cluster: NatsCluster) -> None:
    nc = await cluster.connect(SERVICE)

    async def restore() -> None:
        await reconcile(nc, platform_streams(3), DURABLES)

    async def room() -> None:
        return

    await restore()
    consumer = Consumer(nc, "MEMBERSHIP", SERVICE, lambda _: None, room, restore)
    pulling = asyncio.create_task(consumer.run())
    await asyncio.sleep(UNREADY_AFTER + 1)  # as long as silence would need to be noticed
    assert consumer.trouble is None
    for name in NAMES[:2]:
        cluster.servers[name].kill()
    async with asyncio.timeout(CHANGES_WITHIN):
        while consumer.trouble is None:  # noqa: ASYNC110  said by no event
            await asyncio.sleep(0.1)
        assert "no messages come in" in consumer.trouble
        await asyncio.to_thread(cluster.servers[NAMES[0]].start)
        while consumer.trouble is not None:  # noqa: ASYNC110  said by no event
            await asyncio.sleep(0.1)
    pulling.cancel()
    await asyncio.gather(pulling, return_exceptions=True)


async def test_a_consumer_follows_its_durable_to_another_leader(cluster: NatsCluster) -> None:
    nc = await cluster.connect(SERVICE)
    owner = await cluster.connect("membership")
    breaker = await cluster.connect_breaker()
    heard = asyncio.Event()

    async def restore() -> None:
        await reconcile(nc, platform_streams(3), DURABLES)

    async def room() -> None:
        return

    await restore()
    pulling = asyncio.create_task(Consumer(nc, "MEMBERSHIP", SERVICE, lambda _: heard.set(), room, restore).run())
    # It has asked and waits, and is not about to ask again: what the old leader hears while it steps down is lost.
    await asyncio.sleep(2.5 * EXPIRES)
    await api(breaker, f"CONSUMER.LEADER.STEPDOWN.MEMBERSHIP.{SERVICE}")
    await owner.request(subject_of(NetworkRegistered, "n"), b"{}", timeout=10)
    await asyncio.wait_for(heard.wait(), SILENT_AFTER - 1)  # before silence would be noticed
    pulling.cancel()
    await asyncio.gather(pulling, return_exceptions=True)


@pytest.mark.parametrize("hosts", [["one"], ["one", "two"], ["one", "one", "two"], ["a", "b", "c", "d"]])
def test_a_cluster_has_three_or_five_different_servers(hosts: list[str]) -> None:
    with pytest.raises(ClusterError, match="3 or 5 different servers"):
        cluster_conf(hosts, "secret")
