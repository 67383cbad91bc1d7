"""Three replicas on one store: a few kills. ``make faults`` has many more."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.replicas import replicas_killed

SEED = 1
KILLS = 3


@pytest.mark.timeout(300)
def test_three_replicas_that_are_killed_keep_the_rules_that_need_a_total_view(tmp_path: Path) -> None:
    found = asyncio.run(replicas_killed(KILLS, tmp_path, "postgresql", SEED, print))
    replay = f"python -m tests.faults.run --only replicas-killed --store postgresql --seed {SEED}"
    assert not found, "\n".join([*found, f"To run it again, with more kills: {replay}"])
