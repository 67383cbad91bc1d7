"""A long run of the fault harness: ``python -m tests.faults.run --kills 100 --seed 7``, or ``make faults KILLS=100``.

First the kills, then every disturbance there is, one after another; ``--kills 0`` leaves out the kills, ``--only NAME``
runs one disturbance, and ``--only kills`` the kills alone. Exit code 1 if anything was lost, doubled, made up or not
reached; whatever failed says how to run it again.
"""

import asyncio
import logging
import secrets
import shutil
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from shared.identity import SERVICES
from shared.testing.fault_points import POINTS
from shared.testing.stores import BACKENDS, Backend
from tests.faults import alerts, clusters, deliveries, outages, replicas, stores
from tests.faults.disturbance import Disturbance, Told
from tests.faults.rounds import Outcome, run
from tests.faults.schedule import Round, who_meets

DEFAULT_KILLS = 2000
ALIVE_AT_ONCE = 2
"""Rounds: one kills while the other waits for redelivery."""

KILLS = "kills"
"""What ``--only`` calls them."""

DISTURBANCES: tuple[Disturbance, ...] = (
    *outages.DISTURBANCES,
    *clusters.DISTURBANCES,
    *deliveries.DISTURBANCES,
    *stores.DISTURBANCES,
    *replicas.DISTURBANCES,
    *alerts.DISTURBANCES,
)

console = Console()


def main(
    kills: Annotated[int | None, typer.Option(help=f"how many; {DEFAULT_KILLS} if none is given")] = None,
    seed: Annotated[int | None, typer.Option(help="what everything is drawn from; a new one, if none is given")] = None,
    round: Annotated[int | None, typer.Option(help="only this round of the kills")] = None,
    only: Annotated[str | None, typer.Option(help=f"only this disturbance, or only the {KILLS}")] = None,
    store: Annotated[str | None, typer.Option(help=f"disturbances only on one of: {', '.join(BACKENDS)}")] = None,
) -> None:
    """Kills services at every fault point under load, and disturbs them in every other way there is.

    Checks that nothing is lost, doubled or made up.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    disturbances = _chosen(only, store, round)
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    kills = 0 if only not in (None, KILLS) else DEFAULT_KILLS if kills is None else kills
    rounds = _rounds(seed, kills) if round is None else [_round(seed, round, kills)]
    console.print(
        f"Seed {seed}: {sum(len(each.faults) for each in rounds)} kills in {len(rounds)} rounds, "
        f"then {len(disturbances)} disturbances."
    )
    outcomes, told = asyncio.run(_everything(rounds, disturbances, seed))
    if outcomes:
        console.print(_table(outcomes))
    if told:
        console.print(_table_of_disturbances(told))
    for name, replay in _failed(outcomes, told):
        console.print(f"[bold red]{name} failed.[/] To run it again: {replay}", soft_wrap=True)
    sound = not list(_failed(outcomes, told))
    said = f"{sum(len(outcome.killed) for outcome in outcomes)} kills, {len(told)} disturbances"
    console.print(f"{said}; nothing lost, nothing twice, no ghosts." if sound else f"{said}; see above.")
    raise typer.Exit(0 if sound else 1)


def _chosen(only: str | None, store: str | None, round: int | None) -> list[tuple[Disturbance, Backend]]:
    if only is not None and only not in (names := [KILLS, *(each.name for each in DISTURBANCES)]):
        raise typer.BadParameter(f"There is no disturbance {only}; there are {', '.join(names)}.")
    if store is not None and store not in BACKENDS:
        raise typer.BadParameter(f"There is no store {store}; there are {', '.join(BACKENDS)}.")
    if round is not None and only is None:
        return []
    disturbances = [each for each in DISTURBANCES if only in (None, each.name)]
    return [(each, kind) for each in disturbances for kind in each.stores if store in (None, kind)]


def _failed(outcomes: Sequence[Outcome], told: Sequence[Told]) -> Iterator[tuple[str, str]]:
    """What failed, and how to run it again."""
    yield from ((f"Round {each.round.number}", each.replay) for each in outcomes if not each.sound)
    yield from ((f"{each.disturbance.name} on {each.store}", each.replay) for each in told if each.found)


async def _everything(
    rounds: Sequence[Round], disturbances: Sequence[tuple[Disturbance, Backend]], seed: int
) -> tuple[list[Outcome], list[Told]]:
    return await _run(rounds), [await _disturb(each, store, seed) for each, store in disturbances]


async def _disturb(disturbance: Disturbance, store: Backend, seed: int) -> Told:
    """Runs one disturbance; one that breaks off has found a problem too, and does not keep the others from theirs."""
    directory = Path(tempfile.mkdtemp(prefix=f"concord-faults-{disturbance.name}-"))
    told = Told(disturbance, store, seed, [], "", 0)
    began = time.monotonic()

    def said(what: str) -> None:
        told.counted = what

    with console.status(f"{disturbance.name} on {store}"):
        try:
            told.found += await disturbance.run(directory, store, seed, said)
        except Exception as error:
            told.found += [f"it broke off: {type(error).__name__}: {error}", *traceback.format_exception(error)]
    told.seconds = time.monotonic() - began
    console.print(f"{disturbance.name} on {store}: {told.counted} in {told.seconds:.0f} s", soft_wrap=True)
    for problem in told.found:
        console.print(f"  [red]problem[/]: {escape(problem)}", soft_wrap=True)
    if told.found:
        console.print(f"  stores and logs are kept in {directory}", soft_wrap=True)
    else:
        shutil.rmtree(directory)
    return told


def _rounds(seed: int, kills: int) -> list[Round]:
    rounds: list[Round] = []
    while kills > 0:
        rounds.append(_round(seed, len(rounds), kills))
        kills -= len(rounds[-1].faults)
    return rounds


def _round(seed: int, number: int, kills: int) -> Round:
    whole = Round(seed, number)
    return whole if kills >= len(whole.faults) else Round(seed, number, kills)


async def _run(rounds: Sequence[Round]) -> list[Outcome]:
    turn, room = asyncio.Lock(), asyncio.Semaphore(ALIVE_AT_ONCE)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("kills", total=sum(len(each.faults) for each in rounds))

        async def one(round_: Round) -> Outcome:
            async with room:
                directory = Path(tempfile.mkdtemp(prefix=f"concord-faults-{round_.number}-"))
                try:
                    outcome = await run(round_, directory, turn, lambda _: progress.advance(bar))
                except Exception:
                    console.print(f"Round {round_.number} broke off. To run it again: {Outcome(round_).replay}")
                    raise
                console.print(str(outcome), soft_wrap=True)
                for check, found in outcome.found.items():
                    for problem in found:
                        console.print(f"  [red]{check.replace('_', ' ')}[/]: {escape(problem)}", soft_wrap=True)
                if outcome.sound:
                    shutil.rmtree(directory)
                else:
                    console.print(f"  stores and logs are kept in {directory}", soft_wrap=True)
                outcome.facts = None  # of many rounds, too much to keep
                return outcome

        return list(await asyncio.gather(*map(one, rounds)))


def _table(outcomes: Sequence[Outcome]) -> Table:
    killed = Counter((fault.point, fault.service, each.round.store) for each in outcomes for fault in each.killed)
    table = Table("killed at", *SERVICES, title=f"Kills: on {' / on '.join(BACKENDS)}")
    for point in POINTS:
        cells = [
            " / ".join(str(killed[point, service, store]) for store in BACKENDS) if service in who_meets(point) else "–"
            for service in SERVICES
        ]
        table.add_row(point, *cells)
    return table


def _table_of_disturbances(told: Sequence[Told]) -> Table:
    table = Table("disturbance", "store", "sound", "seconds", "counted", title="Disturbances")
    for each in told:
        sound = "no" if each.found else "yes"
        table.add_row(each.disturbance.sentence, each.store, sound, f"{each.seconds:.0f}", escape(each.counted))
    return table


if __name__ == "__main__":
    typer.run(main)
