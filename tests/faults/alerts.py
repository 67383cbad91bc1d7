"""What an operator is told of a fault: a real Prometheus asks real services under load and judges by the shipped rules.

Each fault has a platform of its own, lasts as long as the most patient rule that could fire waits, and is mended;
what fires meanwhile and after it must be its own alert and no other. Faults whose alerts look back for a quarter of an
hour and more, and a clock, which cannot be stepped under a process alone, are tried by promtool on written figures
(``deploy/prometheus/tests``).
"""

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import yaml

from shared.identity import SERVICES
from shared.streams import api
from shared.testing.nats import PLENTY
from shared.testing.ports import free_port, free_ports
from shared.testing.stores import BACKENDS, Backend
from tests.faults.disturbance import Disturbance
from tests.faults.rounds import Said
from tests.faults.stores import ROOM, Trouble, disk_full, jetstream_full, locked, postgresql_stopped
from tests.faults.teller import UNSTORABLE
from tests.faults.under_load import DURABLES, UnderLoad, under_load

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "prometheus"
PROGRAM = ROOT / "build" / "prometheus"

LASTS = 240.0
"""Seconds of a fault: the rules for what stands still wait for two minutes at most, behind one that looks for one."""
WATCHED_AFTER = 120.0
"""Seconds in which nothing else may fire once a fault is mended, and in which its alert ends."""
STARTS_WITHIN = 60.0
LOOK_EVERY = 2.0

Alert = tuple[str, str]
"""Its name, and the service or stream it names; empty if it names none."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and what the operator hears of it."""

    name: str
    sentence: str
    trouble: Trouble
    raises: str | None
    """Name of the only alert that may fire, and must."""
    about: str = ""
    """The service or stream it must name; empty if it names none, or whichever was met."""
    stays: bool = False
    """Whether it goes on firing after the fault: until somebody has acted, or for as long as it looks back."""
    room: int = PLENTY
    stores: tuple[Backend, ...] = ("sqlite",)


class Prometheus:
    """The shipped rules and intervals, asking the ports of one platform instead of a Docker engine's names."""

    def __init__(self, program: str, directory: Path, services: Mapping[str, int]) -> None:
        self._port = free_port()
        directory.mkdir()
        asked: dict[str, Any] = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
        asked["rule_files"] = [str(SHIPPED / "rules" / "*.yml")]
        del asked["alerting"]
        (job,) = asked["scrape_configs"]
        asked["scrape_configs"] = [
            {
                "job_name": job["job_name"],
                "static_configs": [
                    {"targets": [f"127.0.0.1:{port}"], "labels": {"service": service}}
                    for service, port in services.items()
                ],
            }
        ]
        configuration = directory / "prometheus.yml"
        configuration.write_text(yaml.safe_dump(asked))
        with (directory / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={configuration}",
                    f"--storage.tsdb.path={directory / 'figures'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=log,
            )

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    async def asked(self, path: str) -> Any:
        """What it answers; ``None`` while it does not."""
        return await asyncio.to_thread(self._asked, path)

    def _asked(self, path: str) -> Any:
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    async def sees_every_service(self) -> None:
        """Returns when it has heard from all of them."""
        async with asyncio.timeout(STARTS_WITHIN):
            while True:
                found = await self.asked("query?query=up%20==%201")
                if found and len(found["result"]) == len(SERVICES):
                    return
                await asyncio.sleep(LOOK_EVERY)

    async def firing(self) -> set[Alert]:
        """What fires now."""
        found = await self.asked("alerts")
        assert found is not None, "Prometheus does not answer"
        return {
            (labels["alertname"], labels.get("service") or labels.get("messaging_destination_name") or "")
            for alert in found["alerts"]
            if alert["state"] == "firing" and (labels := alert["labels"])
        }


def where_it_is() -> str | None:
    """The program, if it is on PATH or was fetched by ``make prometheus``."""
    return shutil.which("prometheus") or (str(PROGRAM) if PROGRAM.exists() else None)


async def raised(fault: Fault, directory: Path, store: Backend, seed: int, said: Said) -> list[str]:
    """The fault under load; what should have fired and did not, and what fired and should not have."""
    if (program := where_it_is()) is None:
        said("not run: there is no Prometheus; `make prometheus` fetches it on Debian")
        return []
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    settings = {service: {"CONCORD_HEALTH_PORT": str(port)} for service, port in ports.items()}
    async with under_load(directory, store, seed, fault.room, settings=settings) as platform:
        prometheus = Prometheus(program, directory / "prometheus", ports)
        try:
            await prometheus.sees_every_service()
            began = time.monotonic()
            async with fault.trouble(platform):
                during = await _watched(prometheus, LASTS)
            after = await _watched(prometheus, WATCHED_AFTER)
            at_the_end = await prometheus.firing()
        finally:
            prometheus.end()
    heard = after | during  # when each was first seen
    first = min(heard.values(), default=began) - began
    told = ", ".join(sorted(" ".join(alert).strip() for alert in heard)) or "no alert"
    said(f"{told}" + (f", {first:.0f} s after the fault began" if heard else ""))
    return _problems(fault, set(heard), at_the_end)


async def _watched(prometheus: Prometheus, seconds: float) -> dict[Alert, float]:
    """Whatever fires in this time, and when it was first seen to."""
    found: dict[Alert, float] = {}
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        for alert in await prometheus.firing():
            found.setdefault(alert, time.monotonic())
        await asyncio.sleep(LOOK_EVERY)
    return found


def _problems(fault: Fault, heard: set[Alert], at_the_end: set[Alert]) -> list[str]:
    its_own = {alert for alert in heard if alert[0] == fault.raises and fault.about in ("", alert[1])}
    problems = [f"{' '.join(other)} fired, which is not about this" for other in sorted(heard - its_own)]
    if fault.raises and not its_own:
        problems.append(f"{fault.raises} {fault.about} did not fire")
    if not fault.stays:
        problems += [f"{' '.join(still)} still fires after the fault" for still in sorted(at_the_end & its_own)]
    return problems


# ---- the faults ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def nothing(_: UnderLoad) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def nats_away(platform: UnderLoad) -> AsyncIterator[None]:
    platform.stack.nats.kill()
    yield
    await asyncio.to_thread(platform.stack.nats.start)


@asynccontextmanager
async def stream_deleted(platform: UnderLoad, stream: str) -> AsyncIterator[None]:
    """Whoever misses it makes it anew, empty."""
    breaker = await platform.stack.nats.connect_breaker()
    await api(breaker, f"STREAM.DELETE.{stream}")
    yield


@asynccontextmanager
async def durables_deleted(platform: UnderLoad) -> AsyncIterator[None]:
    breaker = await platform.stack.nats.connect_breaker()
    for durable in (durable for each in DURABLES.values() for durable in each):
        await api(breaker, f"CONSUMER.DELETE.{durable.stream}.{durable.name}")
    yield


@asynccontextmanager
async def service_gone(platform: UnderLoad, service: str) -> AsyncIterator[None]:
    await platform.stack.kill(service)
    yield
    platform.stack.start(service)


@asynccontextmanager
async def service_killed(platform: UnderLoad, service: str, times: int) -> AsyncIterator[None]:
    """And started again at once; between two deaths it is asked at least once how it is."""
    for number in range(times):
        if number:
            await asyncio.sleep(40)
        await platform.stack.kill(service)
        platform.stack.start(service)
    yield


@asynccontextmanager
async def poison(platform: UnderLoad) -> AsyncIterator[None]:
    """What a publisher hands in, and membership's store will not have; an event would be poison to all who follow."""
    platform.stack.refuse_to_store(UNSTORABLE)
    await platform.load.plant_poison("membership")
    yield


FAULTS: tuple[Fault, ...] = (
    Fault("nothing", "Nothing is wrong, under load", nothing, None, stores=BACKENDS),
    Fault(
        "store-locked", "One store is locked", partial(locked, of=("membership",)), "ConcordStoreStuck", "membership"
    ),
    Fault(
        "store-full", "The disk of one store is full", partial(disk_full, of=("events",)), "ConcordStoreStuck", "events"
    ),
    Fault(
        "postgresql-away",
        "PostgreSQL is stopped",
        postgresql_stopped,
        "ConcordPostgresqlAway",
        stores=("postgresql",),
    ),
    Fault("nats-away", "NATS is killed", nats_away, "ConcordNatsAway"),
    Fault("jetstream-full", "JetStream has no room", jetstream_full, "ConcordOutboxStuck", room=ROOM),
    Fault(
        "stream-deleted",
        "A stream is deleted",
        partial(stream_deleted, stream="EVENTS"),
        "ConcordStreamRestored",
        "EVENTS",
        stays=True,
    ),
    Fault("durables-deleted", "Every durable is deleted, which services mend by themselves", durables_deleted, None),
    Fault(
        "service-killed",
        "A service is killed and started again at once",
        partial(service_killed, service="events", times=1),
        None,
    ),
    Fault(
        "service-restarting",
        "A service is killed five times",
        partial(service_killed, service="notifications", times=5),
        "ConcordServiceRestarting",
        "notifications",
        stays=True,
    ),
    Fault(
        "service-gone",
        "A service is killed and not started again",
        partial(service_gone, service="benchmark"),
        "ConcordServiceGone",
        "benchmark",
    ),
    Fault(
        "poison",
        "A service meets a message it cannot handle",
        poison,
        "ConcordDeadLetters",
        "membership",
        stays=True,
    ),
)

DISTURBANCES: tuple[Disturbance, ...] = tuple(
    Disturbance(
        f"alert-{fault.name}",
        f"{fault.sentence}: a real Prometheus raises {fault.raises or 'no alert'}"
        + (" and no other" if fault.raises else ""),
        partial(raised, fault),
        fault.stores,
    )
    for fault in FAULTS
)
