"""Streams and durables on a real server are brought in line with what is declared, or it is said why not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats import errors

from shared.broker import Connection
from shared.contracts.membership import NetworkRegistered
from shared.contracts.message import subject_of
from shared.identity import DELIVERIES, SERVICES
from shared.streams import (
    INBOUND,
    Drift,
    Durable,
    Stream,
    api,
    durables,
    event_stream,
    platform_streams,
    reconcile,
)
from shared.testing.nats import NatsServer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path) as running:
        yield running


@pytest.fixture
async def nc(server: NatsServer) -> Connection:
    return await server.connect("notifications")


def changed(declared: list[Any], name: str, **settings: Any) -> list[Any]:
    """The declarations with some settings of one of them replaced."""
    return [
        Stream(d.name, {**d.settings, **settings})
        if isinstance(d, Stream) and d.name == name
        else Durable(d.stream, d.name, {**d.settings, **settings})
        if isinstance(d, Durable) and d.stream == name
        else d
        for d in declared
    ]


async def settings(nc: Connection, stream: str) -> dict[str, Any]:
    config: dict[str, Any] = (await api(nc, f"STREAM.INFO.{stream}"))["config"]
    return config


FOLLOWED = ["membership", "events", "benchmark"]


async def test_what_is_missing_is_created_and_then_nothing_changes_any_more(nc: Connection) -> None:
    streams, followed = platform_streams(), durables("notifications", FOLLOWED)
    done = await reconcile(nc, streams, followed)
    assert done[: len(streams)] == [f"created stream {stream.name}" for stream in streams]
    assert "created durable notifications of stream MEMBERSHIP" in done
    assert await reconcile(nc, streams, followed) == []
    assert await reconcile(nc, streams, followed) == []


async def test_every_service_has_a_stream_that_takes_its_events_in_atomic_batches(nc: Connection) -> None:
    await reconcile(nc, platform_streams(), [])
    for service in SERVICES:
        made = await settings(nc, event_stream(service))
        assert made["subjects"] == [f"{service}.v1.event.>"]
        assert made["allow_atomic"] is True
        assert made["allow_direct"] is True
        assert made["storage"] == "file"
        assert made["duplicate_window"] == 120 * 10**9
        assert made["max_age"] == 0


async def test_a_changed_setting_is_applied_and_said(nc: Connection) -> None:
    await reconcile(nc, platform_streams(), [])
    day = 24 * 3600 * 10**9
    done = await reconcile(nc, changed(platform_streams(), DELIVERIES, max_age=day), [])
    assert done == [f"changed stream DELIVERIES: max_age is {30 * day} and should be {day}"]
    assert (await settings(nc, DELIVERIES))["max_age"] == day


async def test_what_somebody_else_switched_off_is_switched_on_again(nc: Connection) -> None:
    """As a client does that declares a stream without knowing the setting."""
    await reconcile(nc, platform_streams(), [])
    before = await settings(nc, "EVENTS")
    await api(nc, "STREAM.UPDATE.EVENTS", {**before, "allow_atomic": False})
    done = await reconcile(nc, platform_streams(), [])
    assert done == ["changed stream EVENTS: allow_atomic is not set and should be True"]
    assert await settings(nc, "EVENTS") == before


async def test_a_setting_that_is_not_declared_is_left_as_it_is(nc: Connection) -> None:
    await reconcile(nc, platform_streams(), [])
    await api(nc, "STREAM.UPDATE.EVENTS", {**await settings(nc, "EVENTS"), "max_msg_size": 4096})
    assert await reconcile(nc, platform_streams(), []) == []
    await reconcile(nc, changed(platform_streams(), "EVENTS", max_age=10**12), [])
    kept = await settings(nc, "EVENTS")
    assert (kept["max_msg_size"], kept["allow_atomic"]) == (4096, True)


async def test_a_change_that_the_server_refuses_is_reported_with_what_to_do(nc: Connection) -> None:
    await reconcile(nc, platform_streams(), [])
    with pytest.raises(Drift) as drift:
        await reconcile(nc, changed(platform_streams(), "EVENTS", storage="memory"), [])
    said = str(drift.value)
    assert said.startswith("The stream EVENTS is not as declared: storage is 'file' and should be 'memory'.")
    assert "The server refuses the change" in said
    assert "delete it while its services are stopped" in said
    assert (await settings(nc, "EVENTS"))["storage"] == "file"


async def test_more_replicas_than_servers_are_refused_at_the_first_start(nc: Connection) -> None:
    with pytest.raises(Drift, match=r"The stream MEMBERSHIP cannot be made: .*replicas"):
        await reconcile(nc, platform_streams(replicas=3), [])


async def test_a_durable_that_drifted_is_seen_and_set_right(nc: Connection) -> None:
    await reconcile(nc, platform_streams(), durables("notifications", FOLLOWED))
    info = await api(nc, "CONSUMER.INFO.EVENTS.notifications")
    config = {**info["config"], "ack_wait": 1_000_000_000, "max_ack_pending": 1}
    body = {"stream_name": "EVENTS", "config": config, "action": "update"}
    await api(nc, "CONSUMER.CREATE.EVENTS.notifications", body)
    [done] = await reconcile(nc, platform_streams(), durables("notifications", FOLLOWED))
    assert done == (
        "changed durable notifications of stream EVENTS: ack_wait is 1000000000 and should be 30000000000; "
        "max_ack_pending is 1 and should be 5000"
    )


async def test_a_durable_that_cannot_be_set_right_is_reported(nc: Connection) -> None:
    await reconcile(nc, platform_streams(), durables("notifications", FOLLOWED))
    wanted = changed(durables("notifications", FOLLOWED), "EVENTS", deliver_policy="new")
    with pytest.raises(Drift, match="The durable notifications of stream EVENTS is not as declared: deliver_policy is"):
        await reconcile(nc, [], wanted)


async def test_a_durable_follows_only_the_inbound_messages_its_service_owns(nc: Connection) -> None:
    inbound = Stream(INBOUND, {"subjects": ["inbound.v1.*.one", "inbound.v1.*.two", "inbound.v1.*.three"]})
    for subjects in (["inbound.v1.*.one"], ["inbound.v1.*.one", "inbound.v1.*.two"], ["inbound.v1.*.two"]):
        own = Durable(INBOUND, "notifications", {"filter_subjects": subjects, "ack_policy": "explicit"})
        assert len(await reconcile(nc, [inbound], [own])) >= 1
        assert await reconcile(nc, [inbound], [own]) == []


async def test_an_inbound_name_that_nobody_knows_is_refused_by_the_server_at_once(
    server: NatsServer, nc: Connection
) -> None:
    payroll = await server.connect("publisher", "payroll")
    await reconcile(nc, [Stream(INBOUND, {"subjects": ["inbound.v1.*.staff-joined"]})], [])
    await payroll.request("inbound.v1.payroll.staff-joined", b"{}", timeout=5)
    with pytest.raises(errors.NoRespondersError):
        await payroll.request("inbound.v1.payroll.staff-jioned", b"{}", timeout=5)


async def test_streams_and_durables_outlive_the_server(server: NatsServer, nc: Connection) -> None:
    await reconcile(nc, platform_streams(), durables("notifications", FOLLOWED))
    server.kill()
    server.start()
    again = await server.connect("notifications")
    assert await reconcile(again, platform_streams(), durables("notifications", FOLLOWED)) == []


async def test_streams_are_declared_once_the_server_is_there_again(server: NatsServer, nc: Connection) -> None:
    server.kill()
    declaring = asyncio.create_task(reconcile(nc, platform_streams(), []))
    await asyncio.sleep(0.2)
    assert not declaring.done()
    server.start()
    async with asyncio.timeout(30):
        assert "created stream EVENTS" in await declaring


async def test_what_the_server_is_still_deleting_is_made_once_it_is_gone(server: NatsServer, nc: Connection) -> None:
    owner, breaker = await server.connect("membership"), await server.connect_breaker()
    followers = {name: await server.connect(name) for name in ("events", "benchmark", "notifications")}

    async def declare(name: str) -> list[str]:
        return await reconcile(followers[name], platform_streams(), durables(name, ["membership"]))

    for _ in range(30):  # one deletion in four comes in somebody's way
        await asyncio.gather(*map(declare, followers))
        for number in range(200):
            await owner.publish(subject_of(NetworkRegistered, "n"), str(number).encode())
        await owner.flush()
        deleting = asyncio.create_task(api(breaker, "STREAM.DELETE.MEMBERSHIP"))
        while not deleting.done():
            await asyncio.gather(*map(declare, followers))
