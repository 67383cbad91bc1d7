"""NATS and services that go away and come back: killed, rolled back, robbed of a stream, stopped, out of time."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from deploy.local_stack import Program
from shared import clock
from shared.broker import Connection
from shared.database import reading
from shared.identity import SERVICES
from shared.streams import ApiError, api
from shared.testing.stores import Backend
from shared.unit_of_work import load
from tests.faults import checker
from tests.faults.disturbance import Disturbance, Run
from tests.faults.rounds import LOOK_EVERY, Said
from tests.faults.under_load import DURABLES, FLOWS_WITHIN, TIMES, Check, UnderLoad, under_load

RESUMES_WITHIN = 10.0 * TIMES
"""Seconds after NATS is back, or a stream was deleted, until everybody reads again."""

CUT_RESUMES_WITHIN = 30.0
"""Seconds after everything is started again."""
STOPS_WITHIN = 5.0
"""Seconds a service that is told to stop has, to finish what is in its hands."""
MOST_OF_A_CORE = 0.05
"""What a service may use of a core while there is nobody to work for."""
MOST_LINES = 5
"""A service may log about one outage: that it began, why no event gets out, and that it is over."""


# ---- NATS is killed ------------------------------------------------------------------------------------------------


async def kill_nats(platform: UnderLoad, *, times: int) -> str:
    longest = 0.0
    for number in range(1, times + 1):
        await platform.pause(0.5, 2)
        platform.stack.nats.kill()
        await platform.pause(0, 1.5)
        await asyncio.to_thread(platform.stack.nats.start)
        longest = max(longest, await platform.resumes(f"after kill {number}", RESUMES_WITHIN))
    return f"{times} kills, back to work within {longest:.1f} s"


async def take_nats_away(platform: UnderLoad, *, seconds: float) -> str:
    await platform.pause(1, 2)
    programs = platform.stack.programs
    lines = {name: _lines(programs[name]) for name in SERVICES}
    platform.stack.nats.kill()
    await asyncio.sleep(2)  # what was in hand is done
    began, used = time.monotonic(), {name: _processor_seconds(programs[name]) for name in SERVICES}
    await asyncio.sleep(seconds)
    away = time.monotonic() - began
    shares = {name: (_processor_seconds(programs[name]) - used[name]) / away for name in SERVICES}
    platform.found += [f"{name} used {share:.1%} of a core" for name, share in shares.items() if share > MOST_OF_A_CORE]
    for name in SERVICES:
        spoken = _lines(programs[name])[len(lines[name]) :]
        if sum("connection to NATS lost" in line for line in spoken) != 1 or len(spoken) > MOST_LINES:
            platform.found.append(f"{name} wrote {len(spoken)} lines while NATS was away: {spoken[:20]}")
    platform.found += platform.stack.dead()
    await asyncio.to_thread(platform.stack.nats.start)
    took = await platform.resumes(f"after NATS was away for {away:.0f} s", RESUMES_WITHIN)
    return f"{away:.0f} s at {max(shares.values()):.1%} of a core at most, back to work in {took:.1f} s"


def _lines(program: Program) -> list[str]:
    return program.log.read_text().splitlines()


def _processor_seconds(program: Program) -> float:
    """What a process has used so far (proc(5): utime and stime)."""
    fields = Path(f"/proc/{program.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- what a stream holds is lost -----------------------------------------------------------------------------------


async def roll_nats_back(platform: UnderLoad, *, stopped: bool) -> str:
    """``stopped``: as an operator would, with the services stopped meanwhile; otherwise under their feet."""
    await platform.pause(1, 2)
    copy = _copy_of_nats(platform)
    await platform.pause(2, 4)
    await _everything_inbound_is_read(platform)
    if stopped:
        await asyncio.gather(*(platform.stop(name, STOPS_WITHIN) for name in SERVICES))
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
    return f"{lost} messages filled in again, back to work within {took:.1f} s"


async def delete_streams(platform: UnderLoad, *, streams: Sequence[str] = checker.STREAMS) -> str:
    breaker = await platform.stack.nats.connect_breaker()
    longest, lost = 0.0, 0
    for stream in platform.random.sample(streams, len(streams)):
        await platform.pause(1, 2)
        await api(breaker, f"STREAM.DELETE.{stream}")
        deleted_at = clock.now()
        longest = max(longest, await platform.resumes(f"after {stream} was deleted", RESUMES_WITHIN))
        lost += await platform.reconcile()
        if await _made_at(breaker, stream) < deleted_at:  # its files go with the old one's, whatever it has confirmed
            platform.found.append(f"{stream} was made anew while the server was still deleting it")
    if not lost:
        platform.found.append("nothing was in the streams, so nothing was shown")
    return f"{len(streams)} streams, {lost} messages filled in again, back to work within {longest:.1f} s"


async def _made_at(nc: Connection, stream: str) -> datetime:
    """When a stream was made: one that nobody follows, once there is something to put into it."""
    async with asyncio.timeout(FLOWS_WITHIN):
        while True:
            try:
                return datetime.fromisoformat((await api(nc, f"STREAM.INFO.{stream}"))["created"])
            except ApiError:
                await asyncio.sleep(LOOK_EVERY)


async def delete_durables(platform: UnderLoad, *, times: int) -> str:
    """All of them, again and again: everything is delivered once more, and has no effect once more."""
    breaker = await platform.stack.nats.connect_breaker()
    longest = 0.0
    every = [durable for each in DURABLES.values() for durable in each]
    for _ in range(times):
        await platform.pause(1, 2)
        for durable in platform.random.sample(every, len(every)):
            await api(breaker, f"CONSUMER.DELETE.{durable.stream}.{durable.name}")
        longest = max(longest, await platform.resumes("after every durable was deleted", RESUMES_WITHIN))
    if refilled := await platform.reconcile():
        platform.found.append(f"{refilled} messages were filled in again, and none was lost")
    return f"{times * len(every)} durables, back to work within {longest:.1f} s"


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


# ---- services are stopped ------------------------------------------------------------------------------------------


BURST = 100
"""Events that are on their way to those who follow when they are told to stop."""


async def stop_services(platform: UnderLoad, *, times: int) -> str:
    """Beside one another, each as soon as it is back at work: a clean stop leaves nothing to be delivered again."""
    took: list[float] = []

    async def stop_again_and_again(service: str, times: int) -> None:
        random = platform.round.random(f"stopping {service}")
        for _ in range(times):
            while await platform.why_not_ready(service):  # noqa: ASYNC110  said by no event
                await asyncio.sleep(LOOK_EVERY)
            await platform.load.read_register(random, BURST)
            await asyncio.sleep(random.uniform(0, 0.1))
            took.append(await platform.stop(service, STOPS_WITHIN))
            platform.found += await _left_behind(platform, service)
            platform.stack.start(service)

    await asyncio.gather(*(stop_again_and_again(name, times // len(SERVICES)) for name in SERVICES))
    for durable in (durable for each in DURABLES.values() for durable in each):
        told = await api(platform.stack.operator, f"CONSUMER.INFO.{durable.stream}.{durable.name}")
        delivered = told["delivered"]
        if (again := delivered["consumer_seq"] - delivered["stream_seq"]) != 0:
            platform.found.append(f"{durable.name} was given {again} messages of {durable.stream} once more")
    return f"{len(took)} stops, each within {max(took):.1f} s"


async def _left_behind(platform: UnderLoad, service: str) -> list[str]:
    """What the server still waits to hear of a service that has gone; it takes in the last words a little later."""
    found: list[str] = []
    for _ in range(10):
        found = []
        for durable in DURABLES[service]:
            told = await api(platform.stack.operator, f"CONSUMER.INFO.{durable.stream}.{durable.name}")
            if told["num_ack_pending"] or told["num_redelivered"]:
                found.append(
                    f"{service} left {told['num_ack_pending']} messages of {durable.stream} unacknowledged, "
                    f"{told['num_redelivered']} of them delivered more than once"
                )
        if not found:
            break
        await asyncio.sleep(0.1)
    return found


# ---- the power is cut ----------------------------------------------------------------------------------------------

DISK_BYTES = 2**30


async def power_is_cut(directory: Path, store: Backend, seed: int, said: Said, *, times: int) -> list[str]:
    """Everything lies on a disk of its own, which loses whatever was written and not flushed: NATS and all stores."""
    if why_not := Disk.why_not():
        said(f"not run: {why_not}")
        return []
    with Disk(directory) as disk:

        async def cut_power(platform: UnderLoad) -> str:
            for number in range(times):
                await platform.resumes(f"after cut {number}", CUT_RESUMES_WITHIN)
                disk.keep(platform.stack.nats.directory / "creds")  # not written by anybody on the platform
                await platform.pause(0.5, 2)
                await _cut_power(platform, disk)
            return f"{times} cuts"

        return await _alone(cut_power)(disk.path, store, seed, said)


async def _cut_power(platform: UnderLoad, disk: "Disk") -> None:
    for name in SERVICES:
        platform.stack.programs[name].kill()
    platform.stack.nats.kill()
    await asyncio.gather(*(platform.stack.programs[name].ended() for name in SERVICES))
    await asyncio.to_thread(disk.fail)
    for engine in platform.stack.engines.values():
        engine.dispose()  # the last to close a store writes it out: that comes too late here
    await asyncio.to_thread(disk.come_back)
    await asyncio.to_thread(platform.stack.nats.start)
    for name in SERVICES:
        platform.stack.start(name)


class Disk:
    """A file system in a file. What the system still holds in memory is not in that file: a copy of it is what a power
    cut leaves behind. Journal and memory are written out as late as can be, so that as much as can be is lost.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "disk"
        self._directory = directory
        self._cuts = 0

    @staticmethod
    def why_not() -> str | None:
        """What this machine lacks to mount a disk."""
        if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
            return "to mount a disk takes root and loop devices"
        missing = [tool for tool in ("mkfs.ext4", "mount", "umount") if shutil.which(tool) is None]
        return f"there is no {' and no '.join(missing)}" if missing else None

    def __enter__(self) -> "Disk":
        self.path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(DISK_BYTES)
        _run("mkfs.ext4", "-q", "-F", self._image)
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", self.path)

    def fail(self) -> None:
        """Keeps what was flushed so far: what is written after this is lost with the rest."""
        before = self._image
        self._cuts += 1
        _run("cp", "--sparse=always", before, self._image)

    def come_back(self) -> None:
        """Turns the power on again, as it was when it failed; nobody may have a file open."""
        _run("umount", self.path)
        (self._directory / f"disk-{self._cuts - 1}.ext4").unlink()
        self._mount()

    def keep(self, directory: Path) -> None:
        """Keeps what the harness itself has written, and nobody else's files."""
        for path in [*directory.iterdir(), directory, directory.parent]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    @property
    def _image(self) -> Path:
        return self._directory / f"disk-{self._cuts}.ext4"

    def _mount(self) -> None:
        _run("mount", "-o", "loop,commit=600,data=writeback,noauto_da_alloc", self._image, self.path)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


# ---- the clock is stepped ------------------------------------------------------------------------------------------

DAY = timedelta(days=1)
SOON = timedelta(seconds=3)
STRIKES_WITHIN = 10.0 * TIMES
"""Seconds after its start in which a service does what fell due before."""


async def step_clock(platform: UnderLoad, *, steps: Sequence[timedelta], planning: bool) -> str:
    """At restarts, since nothing else steps the clock of a process; deadlines lie before, between and beyond.

    With ``planning`` there are tasks at work when a service stops, which are taken up again by either clock.
    """
    platform.load.planning = planning
    hours = [platform.random.uniform(*each) for each in ((1, 12), (12, 23.9), (24.1, 36), (36, 47.9), (49, 99))]
    deadlines = {
        await platform.load.open_proposal(deadline): deadline
        for deadline in [clock.now() + timedelta(hours=each) for each in hours]
    }
    latest = timedelta()
    for offset in (*steps, timedelta()):
        await asyncio.gather(*(platform.stop(name, STOPS_WITHIN) for name in SERVICES))
        for name in SERVICES:
            platform.stack.start(name, clock_offset=offset)
        await platform.ready()
        latest = max(latest, offset)
        if offset < timedelta():  # what is set by a clock that runs behind strikes when that clock says so
            deadline = clock.now() + offset + SOON
            deadlines[await platform.load.open_proposal(deadline)] = deadline
            await asyncio.sleep(SOON.total_seconds())
        platform.found += await _not_as_due(platform, deadlines, latest)
    return f"{len(steps)} steps, {len(deadlines)} deadlines"


async def _not_as_due(platform: UnderLoad, deadlines: Mapping[str, datetime], latest: timedelta) -> list[str]:
    """Deadlines that lie before what a clock has shown, and did not strike; and those beyond, that did."""
    found: list[str] = []
    give_up_at = time.monotonic() + STRIKES_WITHIN
    while time.monotonic() < give_up_at:
        states = await asyncio.to_thread(_states, platform, deadlines)
        should_be = {id_: "closed" if due <= clock.now() + latest else "open" for id_, due in deadlines.items()}
        found = [
            f"a proposal due at {deadlines[id_]} is {states.get(id_)}, after a clock was ahead by {latest}"
            for id_ in deadlines
            if states.get(id_) != should_be[id_]
        ]
        if not found:
            break
        await asyncio.sleep(LOOK_EVERY)
    return found


def _states(platform: UnderLoad, proposals: Iterable[str]) -> dict[str, str]:
    with reading(platform.stack.engines["membership"]) as connection:
        found = load(connection, checker.AGGREGATES["membership"]["PROPOSALS"], list(proposals))
    return {id_: state.state for id_, (state, _) in found.items()}


# ---- each on a platform of its own ---------------------------------------------------------------------------------


def _alone(disturb: Callable[[UnderLoad], Awaitable[str]], *, but: Sequence[Check] = ()) -> Run:
    """Disturbs a platform, lets it come to rest and checks everything ``but`` these."""

    async def run(directory: Path, store: Backend, seed: int, said: Said) -> list[str]:
        async with under_load(directory, store, seed) as platform:
            counted = await disturb(platform)
            said(f"{counted}; {await platform.end(but=but)}")
            return platform.found

    return run


FILLED_AGAIN = (checker.streams_keep_the_order,)
"""What a stream that lost something cannot keep: what is filled in again comes behind what came meanwhile."""

DISTURBANCES: tuple[Disturbance, ...] = (
    Disturbance(
        "nats-killed",
        "NATS is killed and started again, 25 times: the flow resumes by itself, nothing is lost, nothing twice",
        _alone(partial(kill_nats, times=25)),
    ),
    Disturbance(
        "nats-rolled-back",
        "NATS is set back to an older copy under running services: reconcile heals, nothing is lost, nothing twice",
        _alone(partial(roll_nats_back, stopped=False), but=FILLED_AGAIN),
    ),
    Disturbance(
        "nats-rolled-back-services-stopped",
        "NATS is set back to an older copy while the services are stopped: reconcile heals",
        _alone(partial(roll_nats_back, stopped=True), but=FILLED_AGAIN),
    ),
    Disturbance(
        "streams-deleted",
        "Each stream is deleted: the flow resumes by itself, reconcile fills the stream again",
        _alone(delete_streams, but=FILLED_AGAIN),
    ),
    Disturbance(
        "durables-deleted",
        "Every durable is deleted, five times: the flow resumes by itself, nothing has its effect twice",
        _alone(partial(delete_durables, times=5)),
    ),
    Disturbance(
        "nats-away",
        "NATS is away for ten minutes: services stay up below 5 % of a core, say so once, and resume within seconds",
        _alone(partial(take_nats_away, seconds=600)),
        stores=("sqlite",),
    ),
    Disturbance(
        "services-stopped",
        "SIGTERM under load, 250 times on each store: out within five seconds, nothing is delivered again",
        _alone(partial(stop_services, times=252)),
    ),
    Disturbance(
        "clock-stepped",
        "The clock is stepped by a day and by two, forth and back: no deadline is lost, none strikes early",
        _alone(partial(step_clock, steps=(DAY, timedelta(), -DAY, 2 * DAY, -DAY), planning=True)),
    ),
    Disturbance(
        "power-cut",
        "The power is cut, ten times: what was not flushed is gone from every store, nothing acknowledged is lost",
        partial(power_is_cut, times=10),
        stores=("sqlite",),
    ),
)
