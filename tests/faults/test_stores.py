"""Stores that are locked or full: the short set. ``make faults`` lets each last for a minute.

It also takes PostgreSQL away, which the other tests of this process would miss: they share the server, and after
hundreds of stores it comes back too slowly for them.
"""

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest

from shared.testing.stores import Backend, postgres
from tests.faults.stores import Trouble, disk_full, in_trouble, jetstream_full, locked

SEED = 1
SHORT = 6.0
"""Seconds a trouble lasts: more than a service waits for a lock."""

CASES: tuple[tuple[Backend, tuple[Trouble, ...]], ...] = (
    ("sqlite", (locked, disk_full)),
    ("sqlite", (jetstream_full,)),
    ("postgresql", (locked,)),
)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """What was found in each case; most of the time each of them waits, so that they are run beside one another."""

    def one(number: int, store: Backend, troubles: tuple[Trouble, ...]) -> Awaitable[list[str]]:
        directory: Path = tmp_path_factory.mktemp(f"trouble-{number}")
        return in_trouble(troubles, SHORT, directory, store, SEED, print)

    postgres()  # made ready here, where nobody waits for an answer meanwhile

    async def every() -> list[list[str]]:
        return await asyncio.gather(*(one(number, *case) for number, case in enumerate(CASES)))

    return asyncio.run(every())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", range(len(CASES)), ids=["locked, disk full", "JetStream full", "PostgreSQL locked"])
def test_a_store_in_trouble_under_load(case: int, found: list[list[str]]) -> None:
    store, troubles = CASES[case]
    names = {"locked": "database-locked"}
    again = [
        f"python -m tests.faults.run --only {names.get(each.__name__, each.__name__.replace('_', '-'))} "
        f"--store {store} --seed {SEED}"
        for each in troubles
    ]
    assert not found[case], "\n".join([*found[case], "To run it again:", *again])
