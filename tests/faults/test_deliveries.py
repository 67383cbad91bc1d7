"""Messages that come several times, out of order, or broken: the short set. ``make faults`` has a million of them."""

import asyncio
from pathlib import Path

import pytest

from shared.testing.stores import Backend
from tests.faults.deliveries import duplicates, poisoned, reordered

SEED = 1
REPLAY = "To run it again: python -m tests.faults.run --only {} --store {} --seed {}"

pytestmark = pytest.mark.timeout(300)


def test_everything_that_is_said_three_times_has_its_effect_once(tmp_path: Path) -> None:
    found = asyncio.run(duplicates(1.0, tmp_path, "sqlite", SEED, print, wait=False))
    assert not found, "\n".join([*found, REPLAY.format("duplicates", "sqlite", SEED)])


def test_events_in_any_order_are_handled_in_order(tmp_path: Path, backend: Backend) -> None:
    found = asyncio.run(reordered(200, 100, tmp_path, backend, SEED, print))
    assert not found, "\n".join([*found, REPLAY.format("reordered", backend, SEED)])


def test_poison_is_kept_once_and_replayed_after_the_mend(tmp_path: Path, backend: Backend) -> None:
    found = asyncio.run(poisoned(1, 2.0, tmp_path, backend, SEED, print, timed=False))
    assert not found, "\n".join([*found, REPLAY.format("poison", backend, SEED)])
