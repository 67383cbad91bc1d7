"""A backup made under load, everything destroyed, and the platform restored from it: nothing lost, nothing told twice.

The load is that of the faults, and so is the ledger it is held against.
"""

import asyncio
import shutil
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from deploy.keeping import backup as backups
from deploy.keeping.backup import Place
from shared.contracts.message import Inbound
from shared.identity import DELIVERIES, SERVICES
from shared.testing.stores import BACKENDS, Backend
from tests.faults import checker
from tests.faults.checker import CHECKS, Facts, gather, problems
from tests.faults.ledger import Ledger
from tests.faults.load import Load, Platform
from tests.faults.rounds import READY_WITHIN, SETTLED_WITHIN, settled
from tests.faults.schedule import Round
from tests.faults.stack import Stack

CONCORD = Path(sys.executable).parent / "concord"
SEED = 5
BEFORE, AFTER = 3.0, 2.0
"""Seconds of load before a backup is begun, and after it has ended."""


class Recording(Platform):
    """Also notes which inbound messages the stream has confirmed."""

    confirmed: set[str]

    async def hand_in(self, message: Inbound, id_: str, *, good: bool) -> None:
        await super().hand_in(message, id_, good=good)
        self.confirmed.add(id_)


async def under_load(
    stack: Stack, ledger: Ledger, round_: Round, do: Callable[[Load, Recording], Awaitable[None]], before: Load | None
) -> Load:
    """Puts a load on a platform while something is done; afterwards every command that was sent has been answered.

    The load goes on in the world of the one ``before``, or founds one.
    """
    platform = Recording(stack.nats, ledger)
    platform.confirmed = set()
    load = Load(round_, platform)
    load.planning = False
    if before is None:
        await asyncio.wait_for(load.prepare(lambda: settled(stack)), READY_WITHIN)
    else:
        load._world = before._world
        await platform.connect()
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run())
        await do(load, platform)
        load.ending = True
    return load


def place_of(stack: Stack) -> Place:
    return Place(stack.nats.url, stack.nats.directory, {name: str(stack._stores[name]) for name in SERVICES})


@pytest.mark.timeout(600)
@pytest.mark.parametrize("store", BACKENDS)
async def test_what_was_accepted_before_a_backup_is_there_after_a_restore_and_told_once(
    store: Backend, tmp_path: Path
) -> None:
    ledger, round_ = Ledger(), Round(SEED, BACKENDS.index(store))
    accepted: set[str] = set()
    kept = tmp_path / "backup"

    async def back_up(load: Load, platform: Recording) -> None:
        for service in ("events", "benchmark", "notifications"):  # each has a dead letter to keep
            await load.plant_poison(service)
        await asyncio.sleep(BEFORE)
        accepted.update(platform.confirmed)
        accepted.update(id_ for id_, asked in ledger.asked.items() if asked.reply is not None)
        await backups.make(place_of(stack), kept, print)
        await asyncio.sleep(AFTER)

    async with Stack(tmp_path / "first", store) as stack:
        load = await under_load(stack, ledger, round_, back_up, None)
        await asyncio.wait_for(settled(stack), SETTLED_WITHIN)
        lost_world = await gather(stack, ledger)
    shutil.rmtree(tmp_path / "first")

    manifest = backups.verify(kept, print)
    backups.restore_keys(kept, tmp_path / "second" / "nats")
    second = Stack(tmp_path / "second", store)
    second.nats.start()
    try:
        await backups.restore(place_of(second), kept, manifest, print)
    finally:
        second.nats.stop()

    async with second:
        await asyncio.wait_for(settled(second), READY_WITHIN)
        at_first = await gather(second, ledger)
        _forget_what_came_after(ledger, accepted, at_first)

        async def go_on(*_: object) -> None:
            await asyncio.sleep(AFTER)

        await under_load(second, ledger, Round(SEED + 1, round_.number), go_on, load)
        await asyncio.wait_for(settled(second), SETTLED_WITHIN)
        facts = await gather(second, ledger)
        found = [*await second.in_hand(), *second.dead()]
    for check in CHECKS:
        if check is not checker.streams_keep_the_order:  # what a stream lacked was sent again behind the rest
            found += [f"{check.__name__.replace('_', ' ')}: {problem}" for problem in problems(check, facts)]
    found += told_under_another_id(lost_world, facts)
    assert not found, "\n".join(found)
    assert accepted <= ledger.asked.keys() | ledger.handed.keys()
    assert len(facts.told) > len(at_first.told) > 0


def _forget_what_came_after(ledger: Ledger, accepted: set[str], facts: Facts) -> None:
    """What was accepted while the backup was made may be in it, and then whole; what came later is not."""
    there = {sent.cause for sent in facts.sent} | accepted
    ledger.asked = {id_: asked for id_, asked in ledger.asked.items() if id_ in there}
    ledger.handed = {id_: handed for id_, handed in ledger.handed.items() if id_ in there}


def told_under_another_id(before: Facts, after: Facts) -> Iterator[str]:
    """A subscriber that heard of an event before everything was lost hears of it under the same id, or not at all."""
    ids: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for facts in (before, after):
        for sent in facts.sent:
            if sent.stream == DELIVERIES:
                ids[sent.aggregate, sent.cause].add(sent.id)
    assert ids
    yield from (f"{who} is told of {cause} as {told}" for (who, cause), told in ids.items() if len(told) > 1)
