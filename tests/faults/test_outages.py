"""NATS killed, rolled back, robbed of streams; services stopped, the clock stepped: a short set, on two platforms.

On either of them one disturbance follows another, and everything is checked in the end. ``make faults`` runs each of
them for longer, on a platform of its own and on both kinds of store, and what takes long by its nature.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from shared.testing.stores import Backend, postgres
from tests.faults.outages import (
    DAY,
    FILLED_AGAIN,
    delete_streams,
    kill_nats,
    roll_nats_back,
    step_clock,
    stop_services,
)
from tests.faults.under_load import Check, UnderLoad, under_load

SEED = 1
Disturb = Callable[[UnderLoad], Awaitable[str]]

KEEPING_THE_ORDER: Sequence[Disturb] = (
    partial(stop_services, times=8),
    partial(kill_nats, times=2),
    partial(step_clock, steps=(DAY, -DAY), planning=False),
)
LOSING_WHAT_STREAMS_HOLD: Sequence[Disturb] = (
    partial(roll_nats_back, stopped=False),
    partial(delete_streams, streams=("MEMBERSHIP", "DELIVERIES")),
)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[Backend, list[str]]:
    """The problems of each platform; they are disturbed beside one another, since each waits most of the time."""

    async def both() -> tuple[list[str], list[str]]:
        return await asyncio.gather(
            _disturbed(tmp_path_factory.mktemp("one"), "sqlite", KEEPING_THE_ORDER),
            _disturbed(tmp_path_factory.mktemp("other"), "postgresql", LOSING_WHAT_STREAMS_HOLD, but=FILLED_AGAIN),
        )

    postgres()  # made ready here, where nobody waits for an answer meanwhile
    one, other = asyncio.run(both())
    return {"sqlite": one, "postgresql": other}


async def _disturbed(
    directory: Path, store: Backend, disturbances: Sequence[Disturb], *, but: Sequence[Check] = ()
) -> list[str]:
    async with under_load(directory, store, SEED) as platform:
        for disturb in disturbances:
            await disturb(platform)
        await platform.end(but=but)
        return platform.found


def test_nothing_is_lost_or_done_twice_when_services_stop_nats_is_killed_and_the_clock_is_stepped(
    found: dict[Backend, list[str]],
) -> None:
    assert not found["sqlite"]


def test_reconcile_heals_what_streams_have_lost(found: dict[Backend, list[str]]) -> None:
    assert not found["postgresql"]
