"""Runs one round: a platform under load, its services killed one after another, and what is left of it checked."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from shared.identity import SERVICES
from tests.faults.checker import CHECKS, Facts, gather, problems
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.schedule import OF_DEAD_LETTERS, OF_TASKS, PLATFORM, Fault, Round
from tests.faults.stack import Stack
from tests.faults.teller import UNSTORABLE, Platform

READY_WITHIN = 60.0
REACHED_WITHIN = 90.0
"""Seconds a process has to come to its fault point under load; one that does not is a test that tested nothing."""
ENDED_WITHIN = 60.0
"""Seconds for the last commands to be answered."""
SETTLED_WITHIN = 150.0
"""Seconds until nothing is in hand: redelivery takes 30."""
LOOK_EVERY = 0.3

REACHED = "every_armed_point_was_reached"
AT_REST = "everything_comes_to_rest_with_every_service_up"
ALL_CHECKS = (REACHED, AT_REST, *(check.__name__ for check in CHECKS))


@dataclass
class Outcome:
    """What became of a round. ``found`` has the problems of each check by its name."""

    round: Round
    killed: list[Fault] = field(default_factory=list)
    found: dict[str, list[str]] = field(default_factory=lambda: {name: [] for name in ALL_CHECKS})
    facts: Facts | None = None
    seconds: float = 0

    @property
    def sound(self) -> bool:
        """Whether every fault was met and no check found anything."""
        return not any(self.found.values())

    @property
    def replay(self) -> str:
        """The command that runs this round again."""
        kills = "" if self.round.kills is None else f" --kills {self.round.kills}"
        return f"python -m tests.faults.run --seed {self.round.seed} --round {self.round.number}{kills}"

    def __str__(self) -> str:
        said = f"round {self.round.number} on {self.round.store}: {len(self.killed)} kills in {self.seconds:.0f} s"
        if self.facts is None:
            return said
        asked, told = self.facts.ledger.asked.values(), len(self.facts.told)
        unanswered = sum(each.attempts - len(each.replies) for each in asked)
        return (
            f"{said}, {len(asked)} commands ({unanswered} attempts without an answer), "
            f"{len(self.facts.sent) - told} events, {told} deliveries, {self.facts.repeats} repeats in the streams"
        )


Said = Callable[[str], None]
"""Hears what happens, as it happens."""


async def run(round_: Round, directory: Path, turn: asyncio.Lock, said: Said = lambda _: None) -> Outcome:
    """Runs a round. ``turn`` keeps two rounds from killing at once: one waits for redelivery while the other kills."""
    outcome = Outcome(round_)
    ledger = Ledger()
    async with Stack(directory, round_.store) as stack:
        load = Load(round_, Platform(stack.nats, ledger, stack.receiver.url, stack.mail))
        async with turn:
            began = time.monotonic()
            await asyncio.wait_for(load.prepare(lambda: settled(stack)), READY_WITHIN)
            stack.refuse_to_store(UNSTORABLE)
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(load.run())
                await asyncio.gather(*(_kill(stack, load, name, outcome, said) for name in SERVICES))
                load.ending = True
                await _within(ENDED_WITHIN, telling, outcome, "the load did not end")
        await _within(SETTLED_WITHIN, settled(stack), outcome, "there is still something in hand")
        outcome.found[AT_REST] += [*await stack.in_hand(), *stack.dead()]
        outcome.facts = await gather(stack, ledger)
    outcome.found |= {check.__name__: problems(check, outcome.facts) for check in CHECKS}
    outcome.seconds = time.monotonic() - began
    return outcome


async def _kill(stack: Stack, load: Load, service: str, outcome: Outcome, said: Said) -> None:
    """Has a service die at each of its points in turn; each time it is started again at once, to die at the next."""
    faults = [fault for fault in outcome.round.faults if fault.service == service]
    for fault in faults:
        await stack.kill(service)
        program = stack.start(service, fault.setting)
        if fault.point in OF_DEAD_LETTERS:
            await load.plant_poison(service)
        if "plan-meetings" in PLATFORM[service].surface.task_kinds:
            load.planning = outcome.round.kills is None or fault.point in OF_TASKS
        try:
            code = await asyncio.wait_for(program.ended(), REACHED_WITHIN)
        except TimeoutError:
            _complain(outcome, said, f"{fault} was not reached within {REACHED_WITHIN:g} s")
            continue
        if code != -signal.SIGKILL:
            _complain(outcome, said, f"{fault} was not reached, it ended with {code}: {program.last_words}")
            continue
        outcome.killed.append(fault)
        said(f"killed {fault}")
    if faults:
        await stack.kill(service)
        stack.start(service)


def _complain(outcome: Outcome, said: Said, complaint: str) -> None:
    outcome.found[REACHED].append(complaint)
    said(complaint)


async def settled(stack: Stack) -> None:
    """Returns once nothing is in hand, at two looks one after the other."""
    quiet = 0
    while quiet < 2:
        await asyncio.sleep(LOOK_EVERY)
        quiet = 0 if await stack.in_hand() else quiet + 1


async def _within(seconds: float, work: Awaitable[None], outcome: Outcome, otherwise: str) -> None:
    try:
        await asyncio.wait_for(work, seconds)
    except TimeoutError:
        outcome.found[AT_REST] += [f"{otherwise} after {seconds:g} s"]
