"""The measurements: each one sets its stage, warms up, measures, checks that nothing is missing, and gives figures."""

import asyncio
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import Engine

from shared import clock, outbox
from shared.contracts.message import subject_of
from shared.database import LOOP, open_store, writing
from shared.streams import INBOUND
from shared.testing.stores import Backend
from tests.performance.messages import BATCH_SIZE, accounts, payload
from tests.performance.pipeline.membership import PaidIn
from tests.performance.stage import FOLLOWED, Program, Stage

EVENTS = "MEMBERSHIP"
SERVICES = tuple(FOLLOWED)

WARM_UP = 500
"""Messages that go the whole way before anything is counted, for every variant."""

AHEAD = 20_000
"""Messages that the publisher is ahead of the last effect, so that it works for as long as what is measured."""

LOOK_EVERY = 0.1
"""Seconds between two looks at how many effects there are."""

PATIENCE = 300.0

Figures = dict[str, float]
"""What was measured → how much of it."""


class NotRight(Exception):
    """Something is missing or there twice, so its figure is worth nothing."""


@dataclass(frozen=True)
class Flow:
    """A way from a publisher to effects: how it is started, and how many effects there are and should be."""

    start: Callable[[Stage], None]
    count: Callable[[Stage], Awaitable[int]]
    check: Callable[[Stage, int], Awaitable[None]]


async def throughput(
    directory: Path, flow: Flow, count: int, backend: Backend = "sqlite", warm_up: int = WARM_UP
) -> Figures:
    """Effects a second, from the first to the last of ``count`` after the warm-up, while the publisher publishes."""
    async with Stage(directory, backend) as stage:
        publisher = await _warmed_up(flow, stage, warm_up, most=warm_up + count)
        began_at, began_with = time.monotonic(), warm_up
        used = stage.cpu_seconds()
        goal, seen = warm_up + count, warm_up
        while seen < goal:
            publisher.tell(seen + AHEAD)
            stage.must_be_alive()
            await asyncio.sleep(LOOK_EVERY if began_with > warm_up else LOOK_EVERY / 10)
            now, seen = time.monotonic(), await flow.count(stage)
            if began_with == warm_up < seen:
                began_at, began_with = now, seen
                used = stage.cpu_seconds()
            if now - began_at > PATIENCE:
                raise NotRight(f"{seen} of {goal} effects after {PATIENCE:g} s")
        cost = {name: (after - used[name]) / (goal - began_with) for name, after in stage.cpu_seconds().items()}
        await flow.check(stage, goal)
        seconds = now - began_at
        return {
            "rate": (goal - began_with) / seconds,
            "seconds": seconds,
            "messages": count,
            **{f"microseconds of {name}": seconds_each * 1e6 for name, seconds_each in cost.items()},
        }


async def _warmed_up(flow: Flow, stage: Stage, count: int, most: int) -> Program:
    """Starts the flow and sends the first messages the whole way; the publisher, who will send ``most`` (0: no end)."""
    flow.start(stage)
    publisher = stage.start_sender("publish", most)
    await asyncio.to_thread(publisher.hear)
    publisher.tell(count)
    await _reached(flow, stage, count)
    await asyncio.sleep(0.2)
    return publisher


async def _reached(flow: Flow, stage: Stage, goal: int) -> None:
    give_up_at = time.monotonic() + PATIENCE
    while await flow.count(stage) < goal:
        stage.must_be_alive()
        if time.monotonic() > give_up_at:
            raise NotRight(f"not {goal} effects within {PATIENCE:g} s")
        await asyncio.sleep(0.02)


# ---- the flows ---------------------------------------------------------------------------------------------------


def raw(consumer: Literal["raw", "raw_by_client"] = "raw") -> Flow:
    """Publish and consume, nothing else: what is acknowledged counts. ``consumer`` is a module beside this one."""

    def start(stage: Stage) -> None:
        creds = str(stage.server.creds("membership", "membership"))
        stage.start("raw", f"tests.performance.{consumer}", stage.server.url, creds).wait_ready()

    async def count(stage: Stage) -> int:
        acknowledged: int = (await stage.durable(INBOUND, "membership"))["ack_floor"]["stream_seq"]
        return acknowledged

    async def check(stage: Stage, goal: int) -> None:
        durable = await stage.durable(INBOUND, "membership")
        _same("acknowledged", durable["ack_floor"]["stream_seq"], goal)
        _same("delivered again", durable["num_redelivered"], 0)
        _same("left over", durable["num_pending"] + durable["num_ack_pending"], 0)

    return Flow(start, count, check)


def ours() -> Flow:
    """Our two services; what the second one has committed counts."""

    def start(stage: Stage) -> None:
        for service in SERVICES:
            stage.start_service(service, "tests.performance.pipeline.run", service, CONCORD_LOG_LEVEL="info")
        for service in SERVICES:
            stage.until_ready(service)

    async def check(stage: Stage, goal: int) -> None:
        await _check_accounts(stage, goal)
        for service in SERVICES:
            _same(f"dead letters of {service}", stage.ask(service, "SELECT count(*) FROM dead_letters"), 0)
        _same("remembered", stage.ask("membership", "SELECT count(*) FROM inbox"), goal)

    return Flow(start, _copied, check)


def plain(at_once: int) -> Flow:
    """The two services written plainly; ``at_once`` messages are asked for, and handled, at a time."""

    def start(stage: Stage) -> None:
        for service in SERVICES:
            stage.start_service(service, f"tests.performance.plain.{service}", PLAIN_AT_ONCE=str(at_once))
        for service in SERVICES:
            stage.until_ready(service)

    return Flow(start, _copied, _check_accounts)


Peer = Literal["nats-outbox", "faststream-outbox"]
PEERS: tuple[Peer, ...] = ("nats-outbox", "faststream-outbox")
PEERS_BACKEND: Backend = "postgresql"
"""The only database that either of them knows."""


def peer(name: Peer) -> Flow:
    """The two services on a published package that does the same job; how it is tuned stands in ``peers/``."""
    module = f"tests.performance.peers.{name.replace('-', '_')}"

    def start(stage: Stage) -> None:
        for service in SERVICES:
            stage.start_service(service, module, service)
        for service in SERVICES:
            stage.until_ready(service)
        if name == "nats-outbox":
            stage.start_service("membership", module, "relay", program="relay").wait_ready()

    return Flow(start, _copied, _check_accounts)


async def _copied(stage: Stage) -> int:
    return int(stage.ask("notifications", "SELECT coalesce(sum(balance), 0) FROM copies"))


async def _check_accounts(stage: Stage, goal: int) -> None:
    """Every message moved one balance by one, in both stores, and went through the stream between them once."""
    held = stage.rows("membership", "SELECT id, balance FROM accounts ORDER BY id")
    copied = stage.rows("notifications", "SELECT id, balance FROM copies ORDER BY id")
    _same("effects in the first service", sum(balance for _, balance in held), goal)
    _same("effects in the second service", sum(balance for _, balance in copied), goal)
    _same("accounts that differ", set(held) ^ set(copied), set())
    _same("events in the stream", (await stage.stream(EVENTS))["messages"], goal)


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise NotRight(f"{what}: {found}, and should be {expected}")


# ---- for long ----------------------------------------------------------------------------------------------------

MARK_EVERY = 10.0
"""Seconds from one mark to the next."""
STANDSTILL = 60.0
"""After this many seconds without an effect a long measurement is given up."""


@dataclass(frozen=True)
class Mark:
    """How a long measurement stands: seconds since its start, messages a second since the last mark, and memory."""

    seconds: float
    rate: float
    megabytes: Mapping[str, float]


async def sustained(
    directory: Path,
    say: Callable[[Mark], None],
    backend: Backend,
    seconds: float,
    every: float = MARK_EVERY,
    ahead: int = AHEAD,
) -> None:
    """As many messages as go through in ``seconds``; then what is still under way is waited for and checked.

    The publisher is ``ahead`` of the last effect by so many messages.
    """
    async with Stage(directory, backend) as stage:
        flow, sent = ours(), WARM_UP
        publisher = await _warmed_up(flow, stage, sent, most=0)

        def feed(seen: int) -> None:
            nonlocal sent
            sent = seen + ahead
            publisher.tell(sent)

        await _course(flow, stage, feed, lambda elapsed, _: elapsed >= seconds, say, every)
        await _reached(flow, stage, sent)
        await flow.check(stage, sent)


async def backlog(
    directory: Path, say: Callable[[Mark], None], backend: Backend, count: int, every: float = MARK_EVERY
) -> None:
    """``count`` messages wait in the stream when the services start."""
    async with Stage(directory, backend) as stage:
        await _publish_all(stage, count)
        flow = ours()
        flow.start(stage)
        await _course(flow, stage, lambda _: None, lambda _, seen: seen >= count, say, every)
        await flow.check(stage, count)


async def _course(
    flow: Flow,
    stage: Stage,
    feed: Callable[[int], None],
    over: Callable[[float, int], bool],
    say: Callable[[Mark], None],
    every: float,
) -> None:
    """Looks on until it is ``over``, by the seconds and the effects so far, and says a mark now and again.

    A last piece of less than half a mark is not worth a figure.
    """
    seen = counted = await flow.count(stage)
    began = moved = marked = time.monotonic()
    ended = False
    while not ended:
        feed(seen)
        stage.must_be_alive()
        await asyncio.sleep(LOOK_EVERY)
        before, seen, now = seen, await flow.count(stage), time.monotonic()
        ended = over(now - began, seen)
        if seen > before:
            moved = now
        elif now - moved > STANDSTILL:
            raise NotRight(f"no effect within {STANDSTILL:g} s, after {seen}")
        if now - marked >= (every / 2 if ended else every) or (ended and marked == began):
            memory = {service: stage.program(service).resident_megabytes() for service in SERVICES}
            say(Mark(now - began, (seen - counted) / (now - marked), memory))
            marked, counted = now, seen


# ---- commands ----------------------------------------------------------------------------------------------------


async def commands(directory: Path, backend: Backend, clients: int, count: int) -> Figures:
    """Commands a second and their latency in milliseconds; each is answered after its commit."""
    async with Stage(directory, backend) as stage:
        stage.start_service("membership", "tests.performance.pipeline.run", "membership", CONCORD_LOG_LEVEL="info")
        stage.until_ready("membership")
        said = await asyncio.to_thread(stage.start_sender("command", clients, count).hear)
        took = said["took"]
        _same(
            "effects of commands",
            int(stage.ask("membership", "SELECT sum(balance) FROM accounts")),
            len(took) + said["warmed_up"],
        )
        return {"rate": len(took) / said["seconds"], **_percentiles(took)}


def _percentiles(seconds: Sequence[float]) -> Figures:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": cuts[49] * 1000, "p99": cuts[98] * 1000, "most": max(seconds) * 1000}


# ---- latency -----------------------------------------------------------------------------------------------------

POLL_EVERY = 0.002
"""Seconds between two looks for new effects: a latency is overstated by half of that on average, by all of it at most,
and by the look itself (a tenth of a millisecond on SQLite, half of one on PostgreSQL)."""


async def latency(directory: Path, backend: Backend, rate: int, count: int) -> Figures:
    """Milliseconds from when a message was due to be handed over until its effect can be read in the second store.

    Every message has an account of its own, and ids stand in the order of the messages, so that asking for whatever
    stands after the last one seen is one look into the primary key.
    """
    async with Stage(directory, backend) as stage:
        flow = ours()
        await _warmed_up(flow, stage, WARM_UP, most=WARM_UP)
        stage.ask("notifications", "SELECT 1")
        sender = stage.start_sender("offer", rate, count)
        begin = (await asyncio.to_thread(sender.hear))["begin"]
        seen = await asyncio.to_thread(_watch, stage, count)
        _same("sent", (await asyncio.to_thread(sender.hear))["sent"], count)
        await flow.check(stage, WARM_UP + count)
        took = [at - (begin + number / rate) for number, at in sorted(seen.items())]
        return {**_percentiles(took), "messages": count}


def _watch(stage: Stage, count: int) -> dict[int, float]:
    """When each offered message was first seen in the second store."""
    seen: dict[int, float] = {}
    last, give_up_at = "offered-", time.monotonic() + PATIENCE
    while len(seen) < count:
        rows = stage.rows("notifications", "SELECT id FROM copies WHERE id > :last ORDER BY id", last=last)
        now = time.monotonic()
        for (account,) in rows:
            seen[int(account.removeprefix("offered-"))] = now
            last = account
        if now > give_up_at:
            raise NotRight(f"{len(seen)} of {count} effects after {PATIENCE:g} s")
        time.sleep(POLL_EVERY)
    return seen


# ---- the relay ---------------------------------------------------------------------------------------------------


async def publish_alone(directory: Path, count: int) -> Figures:
    """Raw atomic batches, with nobody consuming: messages a second by the clock of the server."""
    async with Stage(directory) as stage:
        await _publish_all(stage, count)
        return _pace(await stage.stream(INBOUND), count)


async def _publish_all(stage: Stage, count: int) -> None:
    publisher = stage.start_sender("publish", count)
    await asyncio.to_thread(publisher.hear)
    publisher.tell(count)
    await asyncio.to_thread(publisher.hear)


async def drain(directory: Path, backend: Backend, count: int) -> Figures:
    """A service starts with ``count`` unsent rows: messages a second by the clock of the server."""
    async with Stage(directory, backend) as stage:
        engine = open_store(stage.store("membership"))
        fill_outbox(engine, count)
        engine.dispose()
        stage.start_service("membership", "tests.performance.pipeline.run", "membership", CONCORD_LOG_LEVEL="info")
        stage.until_ready("membership")
        await stage.until(lambda: stage.ask("membership", "SELECT count(*) FROM unsent") == 0, PATIENCE)
        return _pace(await stage.stream(EVENTS), count)


def fill_outbox(engine: Engine, count: int) -> None:
    """An outbox as a service leaves it that could not reach its stream: payloads as large as those sent raw."""
    LOOP.create_all(engine)
    source, sequences, now = accounts(seed=3), dict[str, int](), clock.now()
    for begin in range(0, count, 1000):
        rows = []
        for _ in range(min(1000, count - begin)):
            account = next(source)
            sequences[account] = sequences.get(account, 0) + 1
            message = payload(account)
            rows.append(
                {"id": json.loads(message)["id"], "stream": EVENTS, "subject": subject_of(PaidIn, account),
                 "aggregate": account, "sequence": sequences[account], "payload": message, "recorded_at": now}
            )  # fmt: skip
        with writing(engine) as connection:
            outbox.record(connection, rows)


def _pace(state: dict[str, str], count: int) -> Figures:
    """A batch has the time at which it was complete, so the first one's own making is not in the interval."""
    _same("messages in the stream", state["messages"], count)
    seconds = (_moment(state["last_ts"]) - _moment(state["first_ts"])).total_seconds()
    return {"rate": (count - BATCH_SIZE) / seconds, "seconds": seconds, "messages": count}


def _moment(said: str) -> datetime:
    return datetime.fromisoformat(said[:26].rstrip("Z").ljust(26, "0") + "+00:00")


# ---- footprint ---------------------------------------------------------------------------------------------------

IDLE_SECONDS = 10


async def footprint(directory: Path, services: Sequence[str], idle: float = IDLE_SECONDS) -> Figures:
    """The real services, each alone while it starts: seconds to ready on a new and on a known store; then idle."""
    async with Stage(directory) as stage:
        new, again = [], []
        for service in services:
            first = stage.start_service(service, f"services.{service}.main")
            new.append(first.wait_ready())
            first.stop()
            again.append(stage.start_service(service, f"services.{service}.main").wait_ready())
        await asyncio.sleep(2)
        programs = [stage.program(service) for service in services]
        before, began = [program.cpu_seconds() for program in programs], time.monotonic()
        await asyncio.sleep(idle)
        took = time.monotonic() - began
        used = [(p.cpu_seconds() - b) / took * 100 for p, b in zip(programs, before, strict=True)]
        return {
            "start_new": max(new),
            "start": max(again),
            "memory": max(program.resident_megabytes() for program in programs),
            "idle": max(used),
        }


# ---- the machine -------------------------------------------------------------------------------------------------


def fsync(directory: Path, times: int = 100) -> Figures:
    """Milliseconds the disk takes to make 4 kB durable; it bounds everything that waits for one message alone."""
    took = []
    with (directory / "fsync").open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return _percentiles(took)
