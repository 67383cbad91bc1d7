"""The relay on a real server and both stores: a lease, a loop, the marks it leaves, and what is sent once more."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uuid_utils
from sqlalchemy import Connection as SQLConnection
from sqlalchemy import Engine, create_engine, select, text, update

from shared import clock, outbox
from shared.broker import Connection
from shared.contracts.membership import NetworkRegistered
from shared.contracts.message import subject_of
from shared.database import LOOP, NAME, open_store, reading, writing
from shared.loop import Loop, LoopEnded
from shared.outbox import OUTBOX
from shared.reconcile import reconcile as reconcile_store
from shared.relay import LEASES, LOOK_EVERY, TIMEOUT, Relay, drop_lease, take_lease
from shared.streams import api, platform_streams, reconcile
from shared.surface import Surface
from shared.testing.nats import NatsServer
from shared.testing.stores import killed

STREAM = "MEMBERSHIP"


@pytest.fixture
def store(engine: Engine) -> Engine:
    LOOP.create_all(engine)
    return engine


@pytest.fixture
async def loop(store: Engine) -> AsyncIterator[Loop]:
    with ThreadPoolExecutor(1) as writer:
        loop = Loop(Surface("membership"), store, writer)
        running = asyncio.create_task(loop.run())
        yield loop
        loop.stop()
        await running


def record(store: Engine, count: int, **more: object) -> list[dict[str, Any]]:
    with writing(store) as connection:
        return written(connection, count, **more)


def written(connection: SQLConnection, count: int, **more: object) -> list[dict[str, Any]]:
    group = str(uuid_utils.uuid7())
    rows = [
        {"id": str(uuid_utils.uuid7()), "stream": STREAM, "subject": subject_of(NetworkRegistered, group),
         "aggregate": group, "sequence": sequence, "payload": b"{}", "recorded_at": clock.now(), **more}
        for sequence in range(1, count + 1)
    ]  # fmt: skip
    outbox.record(connection, rows)
    return rows


async def nothing_to_restore() -> None:
    raise AssertionError("the streams are there")


@asynccontextmanager
async def relaying(
    store: Engine, loop: Loop, directory: Path, **options: int
) -> AsyncIterator[tuple[Relay, NatsServer, Connection]]:
    """A relay at work on a server whose streams are there; it leaves at the end."""
    async with NatsServer(directory) as server:
        nc = await server.connect("membership")
        await reconcile(nc, platform_streams(), [])
        with ThreadPoolExecutor(1) as reader:
            relay = Relay(nc, loop, store, reader, nothing_to_restore, **options)
            running = asyncio.create_task(relay.run())
            yield relay, server, nc
            relay.stop()
            await running


async def relay_everything(
    nc: Connection, loop: Loop, store: Engine, restore: Callable[[], Awaitable[None]] = nothing_to_restore
) -> None:
    """Returns when everything is marked as sent, and the relay has left."""
    with ThreadPoolExecutor(1) as reader:
        relay = Relay(nc, loop, store, reader, restore)
        running = asyncio.create_task(relay.run())
        await everything_sent(store)
        relay.stop()
        await running


async def in_trouble(relay: Relay, within: float = 10) -> str:
    """Why no event gets out, once that is so."""
    async with asyncio.timeout(within):
        while relay.trouble is None:  # noqa: ASYNC110  the relay tells nobody
            await asyncio.sleep(0.02)
    return relay.trouble


async def everything_sent(store: Engine) -> None:
    """Returns when everything is marked as sent."""
    async with asyncio.timeout(20):
        while unsent(store):  # noqa: ASYNC110  the relay tells nobody
            await asyncio.sleep(0.02)


def unsent(store: Engine) -> int:
    with reading(store) as connection:
        return outbox.count_unsent(connection)


def takes_lease(store: Engine) -> bool:
    with writing(store) as connection:
        return take_lease(connection, "relay")


@pytest.mark.parametrize("backend", ["postgresql"])
def test_one_relay_at_a_time_holds_the_lease(store: Engine, another: Engine) -> None:
    assert takes_lease(store)
    assert not takes_lease(another)
    assert takes_lease(store)
    with writing(store) as connection:
        drop_lease(connection, "relay")
    assert takes_lease(another)
    with writing(store) as connection:
        connection.execute(update(LEASES).values(held_until=clock.now() + timedelta(hours=1)))
    assert takes_lease(store), "a lease from before the clock was stepped back holds nobody up"


def test_the_lease_of_a_process_that_was_killed_is_free_at_once(store: Engine, another: Engine) -> None:
    assert takes_lease(store)
    killed(store)
    assert takes_lease(another)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_whoever_has_just_come_takes_nobody_for_gone(store: Engine, store_url: str) -> None:
    assert takes_lease(store)
    killed(store)  # or cut off, with everybody else
    newcomer = open_store(store_url)
    assert not takes_lease(newcomer)
    newcomer.dispose()


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_lease_whose_holder_has_no_name_among_the_sessions_is_kept_until_it_lapses(
    store: Engine, another: Engine
) -> None:
    assert takes_lease(store)
    with writing(store) as connection:
        connection.execute(update(LEASES).values(holder=str(uuid_utils.uuid7())))  # as the version before wrote it
    assert not takes_lease(another)
    with writing(store) as connection:
        connection.execute(update(LEASES).values(held_until=clock.now() - timedelta(seconds=1)))
    assert takes_lease(another)


async def test_a_relay_makes_a_stream_anew_that_nobody_follows_and_ends_with_everything_marked(
    store: Engine, loop: Loop, tmp_path: Path
) -> None:
    record(store, 700)
    async with NatsServer(tmp_path) as server:
        nc = await server.connect("membership")

        async def restore() -> None:
            await reconcile(nc, platform_streams(), [])

        await relay_everything(nc, loop, store, restore)
        told = await api(nc, f"STREAM.INFO.{STREAM}")
    assert told["state"]["messages"] == 700
    with reading(store) as connection:
        assert connection.scalar(select(LEASES.c.holder)) is None


async def test_what_a_server_cannot_stage_as_a_batch_goes_out_one_by_one(
    store: Engine, loop: Loop, tmp_path: Path
) -> None:
    async with relaying(store, loop, tmp_path) as (relay, server, nc):
        [directory] = server.directory.glob(f"jetstream/jetstream/*/streams/{STREAM}")
        directory.rename(tmp_path / "gone")  # as a deletion did that was not over when the stream was made anew
        record(store, 700)
        relay.wake()
        await everything_sent(store)
        told = await api(nc, f"STREAM.INFO.{STREAM}")
    assert told["state"]["messages"] == 700


@pytest.mark.parametrize("backend", ["postgresql"])
async def test_a_relay_that_was_cut_off_leaves_the_rest_to_whoever_took_its_lease(
    store: Engine, another: Engine, loop: Loop, tmp_path: Path
) -> None:
    cut = text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = :name")
    async with relaying(store, loop, tmp_path) as (relay, _, _):
        record(store, 1)
        relay.wake()
        await everything_sent(store)
        with writing(another) as connection:
            connection.execute(cut, {"name": store.get_execution_options()[NAME]})
        assert takes_lease(another)
        await loop.call(lambda connection: connection.scalar(text("SELECT 1")))
        record(store, 1)
        relay.wake()
        await asyncio.sleep(2 * LOOK_EVERY)
        assert unsent(store) == 1


async def test_a_relay_does_not_wait_for_an_answer_that_was_lost_with_its_connection(
    store: Engine, loop: Loop, tmp_path: Path
) -> None:
    async with relaying(store, loop, tmp_path) as (relay, server, _):
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        record(store, 1)
        relay.wake()
        await in_trouble(relay, TIMEOUT)
        server.kill()
        server.start()
        async with asyncio.timeout(TIMEOUT / 2):
            while unsent(store) or relay.trouble:  # noqa: ASYNC110  the relay tells nobody
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("known", [[0], [2], [0, 1, 4]])
async def test_a_batch_of_which_the_stream_has_a_part_is_completed_and_marked(
    store: Engine, loop: Loop, tmp_path: Path, known: list[int]
) -> None:
    rows = record(store, 5)
    async with NatsServer(tmp_path) as server:
        nc = await server.connect("membership")
        await reconcile(nc, platform_streams(), [])
        for number in known:
            row = rows[number]
            await nc.request(row["subject"], row["payload"], headers={"Nats-Msg-Id": row["id"]})

        await relay_everything(nc, loop, store)
        ids = [await id_in_stream(nc, place) for place in range(1, 6)]
    before, after = [rows[n]["id"] for n in known], [row["id"] for n, row in enumerate(rows) if n not in known]
    assert ids == before + after


@pytest.mark.parametrize("handed_over", [range(0), range(3, 50), range(50)], ids=["nothing", "a part", "everything"])
async def test_what_is_handed_over_goes_out_behind_what_only_the_table_tells_of(
    store: Engine, loop: Loop, tmp_path: Path, handed_over: range
) -> None:
    first = record(store, 1)
    async with relaying(store, loop, tmp_path) as (relay, _, nc):
        await everything_sent(store)
        rows = record(store, 50)
        with reading(store) as connection:
            behind = outbox.unsent(connection, 50)
        relay.hand_over(behind[place] for place in handed_over)
        await everything_sent(store)
        ids = [await id_in_stream(nc, place) for place in range(1, 52)]
    assert ids == [row["id"] for row in [*first, *rows]]


async def test_what_stands_behind_a_message_that_its_stream_refused_is_not_sent_twice(
    store: Engine, loop: Loop, tmp_path: Path
) -> None:
    subject = subject_of(NetworkRegistered, "0b1c")
    rows = [*record(store, 1), *record(store, 1, subject="inbound-refused.v1.stray"), *record(store, 1)]
    async with relaying(store, loop, tmp_path) as (relay, _, nc):
        assert "expected stream does not match" in await in_trouble(relay)
        with writing(store) as connection:
            connection.execute(update(OUTBOX).where(OUTBOX.c.id == rows[1]["id"]).values(subject=subject))
        await everything_sent(store)
        ids = [await id_in_stream(nc, place) for place in range(1, 4)]
        assert (await api(nc, f"STREAM.INFO.{STREAM}"))["state"]["messages"] == 3
    assert ids == [rows[0]["id"], rows[2]["id"], rows[1]["id"]]


async def test_what_is_committed_while_a_whole_batch_is_on_its_way_does_not_wait_for_the_next_look(
    store: Engine, loop: Loop, tmp_path: Path
) -> None:
    async with relaying(store, loop, tmp_path, batch_size=100) as (relay, server, _):
        await asyncio.sleep(0.1)  # it has looked, and found nothing
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        record(store, 100)
        relay.wake()
        await asyncio.sleep(0.3)  # the batch is on its way, and what follows has been read: nothing
        [last] = record(store, 1)
        with reading(store) as connection:
            relay.hand_over(row for row in outbox.unsent(connection, 101) if row.id == last["id"])
        server.process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(0.95 * LOOK_EVERY):
            while relay._last < 101:  # noqa: ASYNC110  the relay tells nobody
                await asyncio.sleep(0.01)
        await everything_sent(store)


async def test_what_was_decided_on_an_event_that_was_committed_late_goes_out_behind_it(
    loop: Loop, store: Engine, tmp_path: Path
) -> None:
    if store.dialect.name == "sqlite":
        pytest.skip("positions are given out in the order of the commits")
    async with relaying(store, loop, tmp_path) as (relay, _, nc):
        with writing(store) as slow:
            [late] = written(slow, 1)
            [early] = record(store, 1)  # of another replica
            relay.wake()
            await everything_sent(store)
        [behind] = record(store, 1)
        with reading(store) as connection:
            relay.hand_over(outbox.unsent(connection, 2))
        await everything_sent(store)
        ids = [await id_in_stream(nc, place) for place in (1, 2, 3)]
    assert ids == [early["id"], late["id"], behind["id"]]


async def test_what_was_read_ahead_waits_for_a_batch_that_its_stream_refused(
    store: Engine, loop: Loop, tmp_path: Path
) -> None:
    rows = [*record(store, 150), *record(store, 1, subject="inbound-refused.v1.stray"), *record(store, 349)]
    async with relaying(store, loop, tmp_path, batch_size=100) as (relay, _, nc):
        await in_trouble(relay)
        with writing(store) as connection:
            mended = update(OUTBOX).where(OUTBOX.c.id == rows[150]["id"])
            connection.execute(mended.values(subject=rows[0]["subject"]))
        await everything_sent(store)
        assert (await api(nc, f"STREAM.INFO.{STREAM}"))["state"]["messages"] == len(rows)
        ids = [await id_in_stream(nc, place) for place in range(1, len(rows) + 1)]
    assert ids == [row["id"] for row in rows]


async def id_in_stream(nc: Connection, place: int) -> str:
    answer = await nc.request(f"$JS.API.DIRECT.GET.{STREAM}", json.dumps({"seq": place}).encode())
    return (answer.headers or {})["Nats-Msg-Id"]


async def test_reconcile_sends_again_what_a_stream_lost_and_not_what_it_let_go_of(
    store: Engine, loop: Loop, tmp_path: Path
) -> None:
    of_deliveries = {"stream": "DELIVERIES", "subject": "notifications.v1.delivery.kim.meetings"}
    record(store, 3, **of_deliveries, recorded_at=clock.now() - timedelta(days=31))
    lost = record(store, 2, **of_deliveries, recorded_at=clock.now() - timedelta(days=29))
    with writing(store) as connection:
        outbox.mark_sent(connection, [row.position for row in outbox.unsent(connection, 9)])
    async with NatsServer(tmp_path) as server:
        nc = await server.connect("notifications")
        await reconcile(nc, platform_streams(), [])
        assert await reconcile_store(nc, store, loop) == {"DELIVERIES": 2}
    with reading(store) as connection:
        assert [row.id for row in outbox.unsent(connection, 9)] == [row["id"] for row in lost]


def test_what_is_no_longer_kept_is_not_waited_for(store: Engine) -> None:
    record(store, 3)
    with writing(store) as connection:
        first, second, third = (row.position for row in outbox.unsent(connection, 3))
        outbox.mark_sent(connection, [first, second, third])
        outbox.forget(connection, [first])
        outbox.mark_unsent(connection, [first, second, third])
        outbox.forget(connection, [second])
        assert outbox.count_unsent(connection) == 1
        assert [row.position for row in outbox.unsent(connection, 3)] == [third]


async def test_a_relay_outlives_a_store_that_is_away(store: Engine, loop: Loop, tmp_path: Path) -> None:
    if store.dialect.name == "sqlite":
        pytest.skip("a file is not away")
    async with relaying(store, loop, tmp_path) as (relay, *_):
        record(store, 1)
        await everything_sent(store)
        shut(store, away=True)
        try:
            assert "not currently accepting connections" in await in_trouble(relay)
        finally:
            shut(store, away=False)
        record(store, 7)
        async with asyncio.timeout(10):
            while unsent(store) or relay.trouble:  # noqa: ASYNC110  the relay tells nobody
                await asyncio.sleep(0.02)


def shut(store: Engine, *, away: bool) -> None:
    """Lets nobody into a store, and those who are in out; or opens it again."""
    name = store.url.database
    server = create_engine(store.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {not away}')
        if away:
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
            )
    server.dispose()


async def test_a_call_to_a_loop_that_has_ended_is_told_so(store: Engine) -> None:
    with ThreadPoolExecutor(1) as writer:
        loop = Loop(Surface("membership"), store, writer)
        loop.stop()
        await loop.run()
        with pytest.raises(LoopEnded):
            await loop.call(outbox.count_unsent)
