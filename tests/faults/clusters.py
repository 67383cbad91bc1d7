"""A cluster of three NATS servers loses one after the other, and then two at once: services on it, under load."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from nats import errors

from shared.identity import SERVICES
from shared.streams import ApiError, NotNow, api, event_stream
from shared.testing.nats_cluster import NatsCluster
from shared.testing.stores import Backend
from tests.faults.checker import STREAMS
from tests.faults.disturbance import Disturbance, Run
from tests.faults.rounds import LOOK_EVERY, Said
from tests.faults.under_load import TIMES, UnderLoad, under_load

RESUMES_WITHIN = 30.0 * TIMES
"""Seconds: those that are left wait for 4 to 9 until they choose a leader anew, for each stream and each durable."""
RECOVERS_WITHIN = 60.0
"""Seconds once there is a majority again: those who were silent are asked anew only after a while."""
UNREADY_WITHIN = 30.0 * TIMES
"""Seconds: a leader steps down 10 after it last heard of a majority."""
CAUGHT_UP_WITHIN = 60.0 * TIMES
"""Seconds until a server that came back has whatever it missed."""


async def lose_one_after_the_other(platform: UnderLoad, cluster: NatsCluster, *, times: int) -> str:
    """In turn the one that leads a stream, the one that leads the cluster, and any; each is back before the next."""
    longest = 0.0
    for number in range(times):
        await platform.pause(0.5, 2)
        lost = await _who(platform, cluster, number)
        cluster.servers[lost].kill()
        longest = max(longest, await platform.resumes(f"after {lost} was lost, loss {number + 1}", RESUMES_WITHIN))
        await asyncio.to_thread(cluster.servers[lost].start)
        await _caught_up(platform)
    return f"{times} losses, back to work within {longest:.1f} s"


async def lose_two_at_once(platform: UnderLoad, cluster: NatsCluster) -> str:
    """The one that is left can confirm nothing: every service says so, and goes on when one of the two is back."""
    await platform.pause(0.5, 2)
    two = platform.random.sample(list(cluster.servers), 2)
    for name in two:
        cluster.servers[name].kill()
    unready = await _every_service_says_why(platform)
    await asyncio.to_thread(cluster.servers[two[0]].start)
    back = await platform.resumes("after one of two was back", RECOVERS_WITHIN)
    await asyncio.to_thread(cluster.servers[two[1]].start)
    await _caught_up(platform)
    return f"unready within {unready:.1f} s, back to work {back:.1f} s after one was back"


async def _who(platform: UnderLoad, cluster: NatsCluster, number: int) -> str:
    if number % 3 == 0:
        stream = platform.random.choice(SERVICES)
        told = await api(platform.stack.operator, f"STREAM.INFO.{event_stream(stream)}")
        return str(told["cluster"]["leader"])
    return cluster.meta_leader() if number % 3 == 1 else platform.random.choice(list(cluster.servers))


async def _every_service_says_why(platform: UnderLoad) -> float:
    """Whether each is unready for want of JetStream; how long that took."""
    began = time.monotonic()
    ready = dict.fromkeys(SERVICES, "ready")
    while ready and time.monotonic() - began < UNREADY_WITHIN:
        said = {name: await platform.why_not_ready(name) or "ready" for name in ready}
        ready = {name: why for name, why in said.items() if "no messages come in" not in why}
        await asyncio.sleep(LOOK_EVERY)
    platform.found += [f"with two of three servers lost {name} said: {why}" for name, why in ready.items()]
    return time.monotonic() - began


async def _caught_up(platform: UnderLoad) -> None:
    """Returns once every server holds all of every stream: another may be lost then."""

    async def behind(stream: str) -> bool:
        try:
            cluster = (await api(platform.stack.operator, f"STREAM.INFO.{stream}"))["cluster"]
        except (ApiError, NotNow, errors.Error):
            return True
        return "leader" not in cluster or not all(each["current"] for each in cluster["replicas"])

    try:
        async with asyncio.timeout(CAUGHT_UP_WITHIN):
            while [stream for stream in STREAMS if await behind(stream)]:  # noqa: ASYNC110  said by no event
                await asyncio.sleep(LOOK_EVERY)
    except TimeoutError:
        platform.found.append(f"a server that came back had not caught up after {CAUGHT_UP_WITHIN:g} s")


def _alone(*disturbances: Callable[[UnderLoad, NatsCluster], Awaitable[str]]) -> Run:
    """Disturbs a platform on a cluster in one way after the other, lets it come to rest and checks everything."""

    async def run(directory: Path, store: Backend, seed: int, said: Said) -> list[str]:
        cluster = NatsCluster(directory / "nats")
        async with under_load(directory, store, seed, nats=cluster) as platform:
            counted = [await disturb(platform, cluster) for disturb in disturbances]
            said("; ".join([*counted, await platform.end()]))
            return platform.found

    return run


SHORT = _alone(partial(lose_one_after_the_other, times=1), lose_two_at_once)

DISTURBANCES: tuple[Disturbance, ...] = (
    Disturbance(
        "cluster-server-lost",
        "One of three NATS servers is lost, 12 times, leaders too: the flow resumes, nothing is lost, nothing twice",
        _alone(partial(lose_one_after_the_other, times=12)),
    ),
    Disturbance(
        "cluster-majority-lost",
        "Two of three NATS servers are lost: services say that they are not ready, and go on when one is back",
        _alone(lose_two_at_once, lose_two_at_once),
    ),
)
