"""Measures Concord beside raw JetStream, a plain version of itself and its peers, in one run: ``make bench``.

Every round measures everything once, one after the other, so that what else the machine does falls on all alike; the
figures are medians of the rounds. Each measurement has a NATS server, stores and processes of its own, and is checked
at its end: an effect that is missing or there twice fails the run. After every round, and also when it is ended or
fails, what was measured so far is written to ``build/``.

``--sustained`` and ``--backlog`` measure ours alone, for long, and say how it goes every ten seconds.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from shared.testing.stores import BACKENDS, Backend, postgres
from tests.performance import measures
from tests.performance.measures import PEERS, PEERS_BACKEND, Figures, Mark
from tests.performance.messages import ACCOUNTS, BATCH_SIZE, MESSAGE_BYTES
from tests.performance.progress import Show
from tests.performance.results import JSON, PAGE, Outcome, Reach, Row, load, print_table, save, say, show, write

BUILD = Path("build")
ROUNDS = 3
SECONDS = 5.0
OVERHEAD = 5.0
"""Seconds that a measurement takes besides what it measures, until the first round has shown it."""
ENDED = 130
"""Exit status of a run that was told to end."""
TOLD_EVERY = 5.0
"""Seconds until a run that was told to end, and goes on, is told again."""
SUSTAINED = 5_000.0
"""Messages a second that the pipeline should reach, for as long as it is asked to."""
SUSTAINED_SECONDS = 60.0
BACKLOG = 1_000_000

EXPECTED = {"raw": 20_000, "sqlite": 5_000, "postgresql": 3_000, "plain": 250}
"""Messages a second, to choose how many make a measurement of the wanted length; nothing else hangs on them."""

PLAIN_AT_ONCE = 1
"""Messages the plain version has in hand at a time. One keeps the order, as ours does; with more, two handlers meet at
one account, which SQLite answers with waiting and PostgreSQL with a failed insert."""

CLIENTS = 64
OFFERED = 1_000
"""Messages a second that are offered one by one to see the latency."""

RAW, RAW_BY_CLIENT, RAW_PUBLISH = "raw", "raw, client's fetch", "raw, publishing"
MEMORY, IDLE = "memory", "idle"
SHOWN: Mapping[Backend, str] = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
SERVICES = ("membership", "events", "benchmark", "notifications")


def ours(backend: Backend) -> str:
    return f"pipeline, {SHOWN[backend]}"


def plain(backend: Backend) -> str:
    return f"plain, {SHOWN[backend]}"


def drains(backend: Backend) -> str:
    return f"relay, {SHOWN[backend]}"


def many(backend: Backend) -> str:
    return f"{CLIENTS} clients, {SHOWN[backend]}"


def one(backend: Backend, what: str = "") -> str:
    return f"1 client{what}, {SHOWN[backend]}"


def offered(backend: Backend, what: str = "") -> str:
    return f"latency{what}, {SHOWN[backend]}"


LEGEND: Mapping[tuple[str, ...], str] = {
    (RAW,): f"raw: one process publishes in atomic batches of {BATCH_SIZE}, another consumes with our own pull "
    "consumer and acknowledges each message; nothing else. raw, client's fetch: consumed as the client's documentation "
    f"has it, by fetches of {BATCH_SIZE} and an ack for each message. raw, publishing: the former process alone.",
    ("pipeline",): "pipeline: an inbound message changes an account in one service and causes an event, from which a "
    "second service keeps a copy; what the second has committed counts.",
    ("plain",): "plain: the same two services written plainly: a FastStream handler and the ORM, one message "
    "at a time.",
    PEERS: "nats-outbox, faststream-outbox: the same two services on these packages, on the only database they know, "
    "tuned as tests/performance/peers says.",
    ("relay",): "relay: a service that starts with a full outbox publishes it.",
    (f"{CLIENTS} clients", "1 client"): f"{CLIENTS} clients, 1 client: commands, each answered after its commit.",
    ("latency",): f"latency: of the pipeline at {OFFERED:,}/s, from when a message was due to be sent to when its "
    f"effect was read in the second store; the reading adds {measures.POLL_EVERY * 500:.0f} ms on average and "
    f"{measures.POLL_EVERY * 1000:.0f} at most.",
    ("start", MEMORY, IDLE): "start, memory, idle: the slowest, the largest and the busiest of the four services.",
    (
        "pipeline",
        "relay",
    ): "× raw: against raw, for the relay against raw publishing. × plain, × peer: against the "
    "plain version and the stronger of the two packages on the same database.",
}
"""How names of rows begin → what the reader of those rows must know."""


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
    found = [
        Measurement(name, partial(run, flow=measures.raw(consumer), count=count("raw")), {name: rate})
        for name, consumer in ((RAW, "raw"), (RAW_BY_CLIENT, "raw_by_client"))
    ]
    for b in BACKENDS:
        for name, flow, kind in ((ours(b), measures.ours(), b), (plain(b), measures.plain(PLAIN_AT_ONCE), "plain")):
            found.append(Measurement(name, partial(run, flow=flow, count=count(kind), backend=b), {name: rate}))
    for peer in PEERS:
        measured = partial(run, flow=measures.peer(peer), count=count("plain"), backend=PEERS_BACKEND)
        found.append(Measurement(peer, measured, {peer: rate}))
    found.append(Measurement(RAW_PUBLISH, partial(measures.publish_alone, count=count("raw")), {RAW_PUBLISH: rate}))
    for b in BACKENDS:
        found.append(Measurement(drains(b), partial(measures.drain, backend=b, count=count("raw")), {drains(b): rate}))
    for b in BACKENDS:
        asked = partial(measures.commands, backend=b, clients=CLIENTS, count=count(b) // 2)
        found.append(Measurement(many(b), asked, {many(b): ("commands/s", "rate")}))
        asked = partial(measures.commands, backend=b, clients=1, count=round(100 * seconds))
        shown = {one(b, f" {what}"): ("ms", what) for what in ("p50", "p99")}
        found.append(Measurement(one(b), asked, shown))
        waited = partial(measures.latency, backend=b, rate=OFFERED, count=round(OFFERED * seconds))
        shown = {offered(b, f" {what}"): ("ms", what) for what in ("p50", "p99")}
        found.append(Measurement(offered(b), waited, shown))
    found.append(
        Measurement(
            "footprint",
            partial(measures.footprint, services=SERVICES),
            {
                "start, new store": ("s", "start_new"),
                "start, known store": ("s", "start"),
                MEMORY: ("MB", "memory"),
                IDLE: ("% of core", "idle"),
            },
        )
    )
    return found


def set_ratios(rows: Mapping[str, Row]) -> None:
    """Each against what does the same job."""
    for b in BACKENDS:
        peers = [rows[peer] for peer in PEERS if peer in rows and b == PEERS_BACKEND]
        if ours(b) in rows:
            rows[ours(b)].set_ratios(rows.get(RAW), rows.get(plain(b)), peers)
        if plain(b) in rows:
            rows[plain(b)].set_ratios(rows.get(RAW))
        if drains(b) in rows:
            rows[drains(b)].set_ratios(rows.get(RAW_PUBLISH))
    for name in (RAW_BY_CLIENT, *PEERS):
        if name in rows:
            rows[name].set_ratios(rows.get(RAW))


def reaches(rows: Mapping[str, Row]) -> list[Reach]:
    """What is to be reached, where it was measured."""
    ratios = [(ours(b), "to_raw", "× raw", 0.5) for b in BACKENDS]
    ratios += [(ours(b), "to_plain", "× plain", 30) for b in BACKENDS]
    ratios += [(ours(b), "to_peer", "× peer", 30) for b in BACKENDS]
    ratios += [(drains(b), "to_raw", "× raw publishing", 0.6) for b in BACKENDS]
    found = [
        Reach(f"{name}: {what}", ratio, limit)
        for name, which, what, limit in ratios
        if name in rows and (ratio := getattr(rows[name], which)) is not None
    ]
    found += [
        Reach(f"{ours(b)}: × {RAW_BY_CLIENT}", rows[ours(b)].median / rows[RAW_BY_CLIENT].median, 0.5)
        for b in BACKENDS
        if ours(b) in rows and RAW_BY_CLIENT in rows
    ]
    at_least = [(drains(b), 20_000.0) for b in BACKENDS] + [(ours(b), SUSTAINED) for b in BACKENDS]
    at_least += [(many(b), 3_000.0) for b in BACKENDS]
    at_most = [(one(b, " p50"), 5.0) for b in BACKENDS]
    at_most += [(offered(b, what), limit) for b in BACKENDS for what, limit in ((" p50", 10.0), (" p99", 50.0))]
    at_most += [(MEMORY, 150.0), (IDLE, 1.0)]
    for limits, is_least in ((at_least, True), (at_most, False)):
        found += [Reach(f"{name}: {rows[name].unit}", rows[name].median, limit, is_least) for name, limit in limits
                  if name in rows]  # fmt: skip
    return found


def context(disk: Figures) -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "machine": f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}",
        "fsync_milliseconds": {"p50": disk["p50"], "p99": disk["p99"]},
        "load_average_at_start": os.getloadavg()[0],
        "message_bytes": MESSAGE_BYTES,
        "accounts": ACCOUNTS,
    }


def conditions(about: Mapping[str, Any]) -> list[str]:
    """What a reader must know of the machine and of what is sent."""
    disk = about["fsync_milliseconds"]
    return [
        f"{about['machine']}; one fsync of 4 kB {disk['p50']:.2f} ms (p99 {disk['p99']:.2f}); load average "
        f"{about['load_average_at_start']:.1f} at the start.",
        f"Messages of {MESSAGE_BYTES} bytes to {ACCOUNTS:,} accounts at random, published by a process of its own in "
        f"atomic batches of {BATCH_SIZE} while they are handled; {measures.WARM_UP} before anything counts. JetStream "
        "syncs always, SQLite FULL, PostgreSQL as it comes. Every effect is counted at the end.",
    ]


class Bench:
    """One run of the rounds, and what it has found so far."""

    def __init__(self, work: Path, rounds: int, seconds: float, chosen: Sequence[Measurement]) -> None:
        self.at = "the beginning"
        self._work = work
        self._rounds = rounds
        self._chosen = chosen
        self._took = {measurement.name: OVERHEAD + seconds for measurement in chosen}
        self._about = context(measures.fsync(work))
        self._rows: dict[str, Row] = {}
        self._sizes: dict[str, Figures] = {}
        self._whole = 0

    async def run(self) -> None:
        """Measures every round, and saves after each."""
        left = [*self._chosen] * self._rounds
        with Show(len(left)) as progress:
            for number in range(1, self._rounds + 1):
                for measurement in self._chosen:
                    self.at = f"round {number} of {self._rounds}, {measurement.name}"
                    progress.now(self.at, sum(self._took[m.name] for m in left))
                    await self._measure(measurement)
                    left.pop(0)
                    progress.step()
                self._whole = number
                save(BUILD, self.outcome(f"round {number} of {self._rounds} is done" if left else None))

    async def _measure(self, measurement: Measurement) -> None:
        began = time.monotonic()
        directory = Path(tempfile.mkdtemp(dir=self._work))
        figures = await measurement.run(directory)
        shutil.rmtree(directory)
        self._took[measurement.name] = time.monotonic() - began
        if "seconds" in figures:
            self._sizes[measurement.name] = figures
        for name, (unit, figure) in measurement.rows.items():
            self._rows.setdefault(name, Row(name, unit)).rounds.append(figures[figure])

    def outcome(self, breaks_off: str | None) -> Outcome:
        """What there is so far."""
        set_ratios(self._rows)
        about = {**self._about, "rounds": self._whole, "sizes": self._sizes}
        legend = [told for names, told in LEGEND.items() if any(name.startswith(names) for name in self._rows)]
        notes = [*conditions(about), f"Medians of the rounds: {self._whole} whole ones.", *legend]
        return Outcome([*self._rows.values()], reaches(self._rows), notes, about, breaks_off)

    def report(self, breaks_off: str | None) -> None:
        """Shows and saves what there is."""
        if not self._rows:
            say(f"Nothing was measured: {breaks_off}.")
            return
        outcome = self.outcome(breaks_off)
        show(outcome)
        say("", f"Written: {', '.join(map(str, save(BUILD, outcome)))}.")


class Watch:
    """A long measurement of ours, on one database after the other, and the marks it has made so far."""

    def __init__(
        self, title: str, file: Path, runs: Mapping[str, "Course"], seconds: float, at_least: float | None
    ) -> None:
        """``seconds`` is the estimate for each of the runs, ``at_least`` what the slowest stretch should reach."""
        self.at = "the beginning"
        self._at_least = at_least
        self._title = title
        self._file = file
        self._runs = runs
        self._seconds = seconds
        self._marks: dict[str, list[Mark]] = {name: [] for name in runs}

    async def run(self, work: Path) -> None:
        """Measures one after the other."""
        with Show(len(self._runs)) as progress:
            for number, (name, course) in enumerate(self._runs.items()):
                began = time.monotonic()
                left = (len(self._runs) - number) * self._seconds

                def mark(mark: Mark, name: str = name, ends: float = began + left) -> None:
                    self._marks[name].append(mark)
                    self.at = f"{name} at {mark.rate:,.0f}/s after {mark.seconds:.0f} s"
                    progress.now(self.at, ends - time.monotonic())

                self.at = name
                progress.now(name, left)
                await course(Path(tempfile.mkdtemp(dir=work)), mark)
                progress.step()

    def report(self, breaks_off: str | None) -> None:
        """Shows and saves the marks."""
        if not any(self._marks.values()):
            say(f"Nothing was measured: {breaks_off}.")
            return
        headings = ("measure", "seconds", "messages/s", *(f"{service}, MB" for service in measures.SERVICES))
        cells = [
            (name, f"{mark.seconds:.0f}", f"{mark.rate:,.0f}", *(f"{mark.megabytes[s]:.0f}" for s in measures.SERVICES))
            for name, marks in self._marks.items()
            for mark in marks
        ]
        print_table(self._title, headings, cells, words=1)
        for name, marks in self._marks.items():
            if not marks:
                continue
            begins = [0.0, *(mark.seconds for mark in marks)]
            count = sum(mark.rate * (mark.seconds - begin) for mark, begin in zip(marks, begins, strict=False))
            lasted, slowest = marks[-1].seconds, min(mark.rate for mark in marks)
            say(f"{name}: {count:,.0f} messages in {lasted:.0f} s, {count / lasted:,.0f}/s; slowest {slowest:,.0f}/s")
            if self._at_least is not None:
                reach = Reach(f"{name}: the slowest stretch, messages/s", slowest, self._at_least)
                say(f"{reach.verdict:>11}  {reach.what} {reach.aim}")
        if breaks_off:
            say("", f"This is not all: {breaks_off}.")
        told = {"marks": {n: [asdict(m) for m in marks] for n, marks in self._marks.items()}, "breaks_off": breaks_off}
        say("", f"Written: {write(self._file, json.dumps(told, indent=1) + chr(10))}.")


Course = Callable[[Path, Callable[[Mark], None]], Awaitable[None]]


async def until_told(work: Coroutine[Any, Any, None], every: float = TOLD_EVERY) -> bool:
    """Runs something to its end, or until Ctrl-C or SIGTERM, of which only the first counts; whether it was ended.

    What fails after it has not failed by itself. For that to be known at once, also while something blocks the loop,
    the handlers are Python's own and not the loop's. It is told again, ``every`` so many seconds, until it ends:
    ``asyncio.wait_for`` of Python 3.11 forgets a cancellation that comes together with what it waits for.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)
    told = False

    def end(*_: object) -> None:
        nonlocal told
        if not told:
            told = True
            loop.call_soon_threadsafe(cancel)

    def cancel() -> None:
        if not task.done():
            task.cancel()
            loop.call_later(every, cancel)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    try:
        await task
    except (asyncio.CancelledError, Exception):
        if not told:
            raise
    return told


async def carry_out(what: Bench | Watch, work: Coroutine[Any, Any, None]) -> int:
    """Runs and reports, however it ends; the exit status."""
    breaks_off: str | None = "it broke off"
    try:
        ended = await until_told(work)
        breaks_off = f"it was ended at {what.at}" if ended else None
    except Exception:
        breaks_off = f"it failed at {what.at}"
        raise
    finally:
        what.report(breaks_off)
    return ENDED if ended else 0


def run(work: Path, arguments: argparse.Namespace) -> int:
    """Measures what was asked for; the exit status."""
    if not (arguments.sustained or arguments.backlog):
        seconds = arguments.seconds or SECONDS
        chosen = [measurement for measurement in plan(seconds) if arguments.only in measurement.name]
        if not chosen:
            names = "; ".join(measurement.name for measurement in plan(seconds))
            say(f"No measurement has {arguments.only!r} in its name; there are: {names}.")
            return 2
        bench = Bench(work, arguments.rounds, seconds, chosen)
        return uvloop.run(carry_out(bench, bench.run()))
    backends = [b for b in BACKENDS if arguments.only in ours(b)]
    if arguments.sustained:
        seconds = arguments.seconds or SUSTAINED_SECONDS
        every = min(measures.MARK_EVERY, seconds / 2)
        runs = {ours(b): partial(measures.sustained, backend=b, seconds=seconds, every=every) for b in backends}
        title, file, each = "As much as goes through, sustained", "bench-sustained.json", seconds + 2 * OVERHEAD
        at_least: float | None = SUSTAINED
    else:
        count = arguments.backlog
        runs = {ours(b): partial(measures.backlog, backend=b, count=count) for b in backends}
        title, file = f"A backlog of {count:,} messages", "bench-backlog.json"
        each, at_least = count / EXPECTED["sqlite"] + count / EXPECTED["raw"] + OVERHEAD, None
    watch = Watch(title, BUILD / file, runs, each, at_least)
    return uvloop.run(carry_out(watch, watch.run(work)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, help="about how long each flow is measured")
    parser.add_argument("--only", default="", help="measure only what has this in its name, such as SQLite")
    parser.add_argument("--sustained", action="store_true", help="ours alone, at full load, for a minute")
    parser.add_argument(
        "--backlog", type=int, nargs="?", const=BACKLOG, metavar="COUNT", help="ours alone, with a million waiting"
    )
    parser.add_argument("--markdown", action="store_true", help=f"write {BUILD / PAGE} from the last run, and no more")
    arguments = parser.parse_args()
    if arguments.markdown:
        if not (BUILD / JSON).exists():
            say(f"There is no {BUILD / JSON} yet: run make bench first.")
            return 2
        say(f"Written: {', '.join(map(str, save(BUILD, load(BUILD))))}.")
        return 0
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD.absolute(), prefix="bench-", ignore_cleanup_errors=True) as work:
        tempfile.tempdir = work  # PostgreSQL's files too lie on the disk that is measured
        try:
            return run(Path(work), arguments)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)  # what was started is being ended
            if postgres.cache_info().currsize:  # it is running: end it before its files go
                postgres().cleanup()


if __name__ == "__main__":
    sys.exit(main())
