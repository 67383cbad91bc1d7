"""What every disturbance looks like: a story (start, disturb, wait, check) that answers with the problems it found."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from shared.testing.stores import BACKENDS, Backend
from tests.faults.rounds import Said

Run = Callable[[Path, Backend, int, Said], Awaitable[list[str]]]
"""Directory for everything it keeps, kind of store, seed of whatever is drawn, who hears what happens → the problems it
found, in sentences; none if everything is sound. The last thing it says is what it counted, for the table."""


@dataclass(frozen=True)
class Disturbance:
    """Something that goes wrong, and what must hold all the same. Each family's file lists its own as DISTURBANCES."""

    name: str
    """In kebab-case, for ``--only``."""
    sentence: str
    """What is done, and what must hold."""
    run: Run
    stores: tuple[Backend, ...] = BACKENDS
    """The kinds of store it is run on."""


@dataclass
class Told:
    """What became of one disturbance on one kind of store."""

    disturbance: Disturbance
    store: Backend
    seed: int
    found: list[str]
    counted: str
    seconds: float

    @property
    def replay(self) -> str:
        """The command that runs it again."""
        name = self.disturbance.name
        return f"python -m tests.faults.run --only {name} --store {self.store} --seed {self.seed}"
