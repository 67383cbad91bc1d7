"""Measures Concord beside raw JetStream and beside a plain version of itself, in one run: ``make bench``.

Every round measures everything once, one after the other, so that what else the machine does falls on all alike; the
figures are medians of the rounds. Each measurement has a NATS server, stores and processes of its own, and is checked
at its end: an effect that is missing or there twice fails the run.
"""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from shared.testing.stores import BACKENDS, Backend, postgres
from tests.performance import measures
from tests.performance.measures import Figures
from tests.performance.messages import ACCOUNTS, BATCH_SIZE, MESSAGE_BYTES
from tests.performance.results import Reach, Row, compare, save, show

BUILD = Path("build")
ROUNDS = 3
SECONDS = 6.0

EXPECTED = {"raw": 20_000, "sqlite": 5_000, "postgresql": 3_000, "plain": 250}
"""Messages a second, to choose how many make a measurement of the wanted length; nothing else hangs on them."""

PLAIN_AT_ONCE = 1
"""Messages the plain version has in hand at a time. One keeps the order, as ours does; with more, two handlers meet at
one account, which SQLite answers with waiting and PostgreSQL with a failed insert."""

CLIENTS = 64
OFFERED = 1_000
"""Messages a second that are offered one by one to see the latency."""

RAW, RAW_PUBLISH = "raw JetStream, publish → consume", "raw JetStream, publish alone"
SHOWN: Mapping[Backend, str] = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
SERVICES = ("membership", "events", "benchmark", "notifications")


def ours(backend: Backend) -> str:
    return f"ours across two services, {SHOWN[backend]}"


def plain(backend: Backend) -> str:
    return f"plain across two services, {SHOWN[backend]}"


def drains(backend: Backend) -> str:
    return f"relay drains a backlog, {SHOWN[backend]}"


def many(backend: Backend) -> str:
    return f"commands, {CLIENTS} clients, {SHOWN[backend]}"


def one(backend: Backend, what: str) -> str:
    return f"command, one client, {SHOWN[backend]}, {what}"


def offered(backend: Backend, what: str) -> str:
    return f"latency at {OFFERED}/s, {SHOWN[backend]}, {what}"


@dataclass(frozen=True)
class Measurement:
    """How something is measured in a directory of its own, and which of its figures make which rows."""

    name: str
    run: Callable[[Path], Awaitable[Figures]]
    rows: Mapping[str, tuple[str, str]]
    """Name of the row → its unit, and the figure."""


def plan(seconds: float) -> list[Measurement]:
    """Everything that is measured in a round, in order: what is compared stands together."""

    def count(kind: str) -> int:
        return max(BATCH_SIZE, round(seconds * EXPECTED[kind] / BATCH_SIZE) * BATCH_SIZE)

    rate = ("messages/s", "rate")
    run = measures.throughput
    found = [Measurement("raw", partial(run, flow=measures.raw(), count=count("raw")), {RAW: rate})]
    for b in BACKENDS:
        for name, flow, kind in ((ours(b), measures.ours(), b), (plain(b), measures.plain(PLAIN_AT_ONCE), "plain")):
            found.append(Measurement(name, partial(run, flow=flow, count=count(kind), backend=b), {name: rate}))
    found.append(Measurement("publish", partial(measures.publish_alone, count=count("raw")), {RAW_PUBLISH: rate}))
    for b in BACKENDS:
        found.append(Measurement(drains(b), partial(measures.drain, backend=b, count=count("raw")), {drains(b): rate}))
    for b in BACKENDS:
        asked = partial(measures.commands, backend=b, clients=CLIENTS, count=count(b) // 2)
        found.append(Measurement(many(b), asked, {many(b): ("commands/s", "rate")}))
        asked = partial(measures.commands, backend=b, clients=1, count=round(100 * seconds))
        shown = {one(b, "p50"): ("ms", "p50"), one(b, "p99"): ("ms", "p99")}
        found.append(Measurement("one client", asked, shown))
        waited = partial(measures.latency, backend=b, rate=OFFERED, count=round(OFFERED * seconds))
        shown = {offered(b, "p50"): ("ms", "p50"), offered(b, "p99"): ("ms", "p99")}
        found.append(Measurement("latency", waited, shown))
    found.append(
        Measurement(
            "footprint",
            partial(measures.footprint, services=SERVICES),
            {
                "start-up on a new store, slowest service": ("s", "start_new"),
                "start-up on a known store, slowest service": ("s", "start"),
                "resident memory, largest service": ("MB", "memory"),
                "processor while idle, busiest service": ("% of a core", "idle"),
            },
        )
    )
    return found


def reaches(rows: Mapping[str, Row]) -> list[Reach]:
    """What is to be reached, where it was measured."""
    wanted = [(ours(b), "to_raw", "× raw", 0.3) for b in BACKENDS]
    wanted += [(ours(b), "to_plain", "× plain on the same database", 15) for b in BACKENDS]
    wanted += [(drains(b), "to_raw", "× raw publishing", 0.6) for b in BACKENDS]
    found = [Reach(f"{name}: {what}", getattr(rows[name], ratio), limit) for name, ratio, what, limit in wanted
             if name in rows]  # fmt: skip
    at_least = [(drains(b), 20_000.0) for b in BACKENDS] + [(ours(b), 5_000.0) for b in BACKENDS]
    at_least += [(many(b), 3_000.0) for b in BACKENDS]
    at_most = [(one(b, "p50"), 5.0) for b in BACKENDS]
    at_most += [(offered(b, what), limit) for b in BACKENDS for what, limit in (("p50", 10.0), ("p99", 50.0))]
    at_most += [("resident memory, largest service", 150.0), ("processor while idle, busiest service", 1.0)]
    for limits, is_least in ((at_least, True), (at_most, False)):
        found += [Reach(f"{name}, {rows[name].unit}", rows[name].median, limit, is_least) for name, limit in limits
                  if name in rows]  # fmt: skip
    return found


def set_ratios(rows: Mapping[str, Row]) -> None:
    """Each against what does the same job."""
    pairs = [(ours(b), RAW, plain(b)) for b in BACKENDS] + [(plain(b), RAW, None) for b in BACKENDS]
    for name, raw, other in [*pairs, *((drains(b), RAW_PUBLISH, None) for b in BACKENDS)]:
        if name in rows:
            compare(rows[name], raw=rows.get(raw), plain=rows.get(other or ""))


def context(disk: Figures, rounds: int) -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "machine": f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}",
        "fsync_milliseconds": {"p50": disk["p50"], "p99": disk["p99"]},
        "load_average_at_start": os.getloadavg()[0],
        "rounds": rounds,
        "message_bytes": MESSAGE_BYTES,
        "accounts": ACCOUNTS,
    }


def notes(about: Mapping[str, object], sizes: Mapping[str, Figures]) -> list[str]:
    """What a reader must know to read the table."""
    disk = about["fsync_milliseconds"]
    lines = [
        f"{about['machine']}; one fsync of 4 kB {disk['p50']:.2f} ms (p99 {disk['p99']:.2f}); load average "  # type: ignore[index]
        f"{about['load_average_at_start']:.1f} at the start; medians of {about['rounds']} rounds.",
        f"Messages of {MESSAGE_BYTES} bytes to {ACCOUNTS} accounts at random, published by a process of its own in "
        f"atomic batches of {BATCH_SIZE} while they are handled; {measures.WARM_UP} before anything counts. JetStream "
        "syncs always, SQLite FULL, PostgreSQL as it comes. Every effect is counted at the end.",
        "Raw consumes with our own pull consumer and acknowledges each message; × raw is against that, for the relay "
        "against raw publishing. × plain is against the plain version on the same database.",
        f"Latency runs from when a message was due to be sent to when its effect was read in the second store; the "
        f"reading adds {measures.POLL_EVERY * 500:.0f} ms on average and {measures.POLL_EVERY * 1000:.0f} at most.",
    ]
    lines += [f"{name}: {int(size['messages'])} messages in {size['seconds']:.1f} s" for name, size in sizes.items()]
    return lines


async def bench(work: Path, rounds: int, seconds: float, only: str) -> bool:
    """Measures, shows and saves; whether everything was reached."""
    chosen = [measurement for measurement in plan(seconds) if only in measurement.name]
    rows: dict[str, Row] = {}
    sizes: dict[str, Figures] = {}
    about = context(measures.fsync(work), rounds)
    for number in range(1, rounds + 1):
        for measurement in chosen:
            began = time.monotonic()
            directory = Path(tempfile.mkdtemp(dir=work))
            figures = await measurement.run(directory)
            shutil.rmtree(directory)
            if "seconds" in figures:
                sizes[measurement.name] = figures
            for name, (unit, figure) in measurement.rows.items():
                rows.setdefault(name, Row(name, unit)).rounds.append(figures[figure])
            if sys.stderr.isatty():
                sys.stderr.write(f"round {number} of {rounds}: {measurement.name}, {time.monotonic() - began:.0f} s\n")
    set_ratios(rows)
    reached = reaches(rows)
    ordered = list(rows.values())
    show("Concord, side by side", ordered, reached, notes(about, sizes))
    save(BUILD, ordered, reached, about)
    return all(reach.reached for reach in reached)


def _end(*_: object) -> None:
    """Leaves so that everything that was started is ended, and is not disturbed at it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="about how long each flow is measured")
    parser.add_argument("--only", default="", help="measure only what has this in its name, such as SQLite")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD.absolute(), prefix="bench-", ignore_cleanup_errors=True) as work:
        tempfile.tempdir = work  # PostgreSQL's files too lie on the disk that is measured
        try:
            uvloop.run(bench(Path(work), arguments.rounds, arguments.seconds, arguments.only))
        finally:
            if postgres.cache_info().currsize:  # it is running: end it before its files go
                postgres().cleanup()


if __name__ == "__main__":
    main()
