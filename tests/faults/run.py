"""A long run of the fault harness: ``python -m tests.faults.run --kills 100 --seed 7``, or ``make faults KILLS=100``.

Exit code 1 if anything was lost, doubled, made up or not reached; each round that failed says how to run it again.
"""

import asyncio
import logging
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
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
from shared.testing.stores import BACKENDS
from tests.faults.rounds import Outcome, run
from tests.faults.schedule import Round, who_meets

DEFAULT_KILLS = 2000
ALIVE_AT_ONCE = 2
"""Rounds: one kills while the other waits for redelivery."""

console = Console()


def main(
    kills: Annotated[int | None, typer.Option(help=f"how many; {DEFAULT_KILLS} if none is given")] = None,
    seed: Annotated[int | None, typer.Option(help="what everything is drawn from; a new one, if none is given")] = None,
    round: Annotated[int | None, typer.Option(help="only this round of the run")] = None,
) -> None:
    """Kills services at every fault point under load and checks that nothing is lost, doubled or made up."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    kills = DEFAULT_KILLS if kills is None else kills
    rounds = _rounds(seed, kills) if round is None else [_round(seed, round, kills)]
    console.print(f"Seed {seed}: {sum(len(each.faults) for each in rounds)} kills in {len(rounds)} rounds.")
    outcomes = asyncio.run(_run(rounds))
    console.print(_table(outcomes))
    for outcome in outcomes:
        if not outcome.sound:
            console.print(
                f"[bold red]Round {outcome.round.number} failed.[/] To run it again: {outcome.replay}", soft_wrap=True
            )
    sound = all(outcome.sound for outcome in outcomes)
    killed = sum(len(outcome.killed) for outcome in outcomes)
    console.print(
        f"{killed} kills; nothing lost, nothing twice, no ghosts." if sound else f"{killed} kills; see above."
    )
    raise typer.Exit(0 if sound else 1)


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


if __name__ == "__main__":
    typer.run(main)
