"""NATS and services that go away and come back: killed, rolled back, robbed of a stream, stopped, out of time."""

import asyncio
import shutil
import signal
from functools import partial
from pathlib import Path

from shared.identity import SERVICES
from shared.streams import api
from shared.testing.stores import Backend
from tests.faults import checker
from tests.faults.disturbance import Disturbance
from tests.faults.rounds import Said
from tests.faults.under_load import UnderLoad, under_load

RESUMES_WITHIN = 10.0
"""Seconds after NATS is back, or a stream was deleted, until everybody reads again."""


# ---- NATS is killed ------------------------------------------------------------------------------------------------


async def nats_is_killed(directory: Path, store: Backend, seed: int, said: Said, *, times: int = 25) -> list[str]:
    async with under_load(directory, store, seed) as platform:
        longest = 0.0
        for number in range(1, times + 1):
            await platform.pause(0.5, 2)
            platform.stack.nats.kill()
            await platform.pause(0, 1.5)
            await asyncio.to_thread(platform.stack.nats.start)
            longest = max(longest, await platform.resumes(f"after kill {number}", RESUMES_WITHIN))
        said(f"{times} kills, back to work within {longest:.1f} s; {await platform.end()}")
        return platform.found


# ---- what a stream holds is lost -----------------------------------------------------------------------------------


async def nats_is_rolled_back(directory: Path, store: Backend, seed: int, said: Said, *, stopped: bool) -> list[str]:
    """``stopped``: as an operator would, with the services stopped meanwhile; otherwise under their feet."""
    async with under_load(directory, store, seed) as platform:
        await platform.pause(1, 2)
        copy = _copy_of_nats(platform)
        await platform.pause(2, 4)
        await _everything_inbound_is_read(platform)
        if stopped:
            for name in SERVICES:
                platform.stack.programs[name].process.terminate()
            await asyncio.gather(*(platform.stack.programs[name].ended() for name in SERVICES))
        platform.stack.nats.kill()
        shutil.rmtree(copy.with_name("jetstream"))
        copy.rename(copy.with_name("jetstream"))
        await asyncio.to_thread(platform.stack.nats.start)
        if stopped:
            for name in SERVICES:
                platform.stack.start(name)
        platform.load.publishing = True
        took = await platform.resumes("after NATS was rolled back", RESUMES_WITHIN)
        lost = await platform.reconcile()
        if not lost:
            platform.found.append("the older copy lacked nothing, so nothing was shown")
        counted = await platform.end(but=(checker.streams_keep_the_order,))
        said(f"{lost} messages filled in again, back to work within {took:.1f} s; {counted}")
        return platform.found


async def streams_are_deleted(
    directory: Path, store: Backend, seed: int, said: Said, *, streams: tuple[str, ...] = checker.STREAMS
) -> list[str]:
    async with under_load(directory, store, seed) as platform:
        breaker = await platform.stack.nats.connect_breaker()
        longest, lost = 0.0, 0
        for stream in platform.random.sample(streams, len(streams)):
            await platform.pause(1, 2)
            await api(breaker, f"STREAM.DELETE.{stream}")
            longest = max(longest, await platform.resumes(f"after {stream} was deleted", RESUMES_WITHIN))
            lost += await platform.reconcile()
        if not lost:
            platform.found.append("nothing was in the streams, so nothing was shown")
        counted = await platform.end(but=(checker.streams_keep_the_order,))
        said(f"{len(streams)} streams, {lost} messages filled in again, back to work within {longest:.1f} s; {counted}")
        return platform.found


async def _everything_inbound_is_read(platform: UnderLoad) -> None:
    """No store could fill in again what nobody has read: it is lost with its stream, as with any publisher's queue."""
    platform.load.publishing = False
    quiet = 0
    while quiet < 3:
        await asyncio.sleep(0.3)
        told = await api(platform.stack.operator, "CONSUMER.INFO.INBOUND.membership")
        quiet = 0 if told["num_pending"] + told["num_ack_pending"] else quiet + 1


def _copy_of_nats(platform: UnderLoad) -> Path:
    """What a snapshot of the disk would hold: the server is halted while its files are copied."""
    nats = platform.stack.nats
    assert nats.process is not None
    nats.process.send_signal(signal.SIGSTOP)
    copy = nats.directory / "jetstream-as-it-was"
    shutil.copytree(nats.directory / "jetstream", copy)
    nats.process.send_signal(signal.SIGCONT)
    return copy


DISTURBANCES: tuple[Disturbance, ...] = (
    Disturbance(
        "nats-killed",
        "NATS is killed and started again, 25 times: the flow resumes by itself, nothing is lost, nothing twice",
        nats_is_killed,
    ),
    Disturbance(
        "nats-rolled-back",
        "NATS is set back to an older copy under running services: reconcile heals, nothing is lost, nothing twice",
        partial(nats_is_rolled_back, stopped=False),
    ),
    Disturbance(
        "nats-rolled-back-services-stopped",
        "NATS is set back to an older copy while the services are stopped: reconcile heals",
        partial(nats_is_rolled_back, stopped=True),
    ),
    Disturbance(
        "streams-deleted",
        "Each stream is deleted: the flow resumes by itself, reconcile fills the stream again",
        streams_are_deleted,
    ),
)
