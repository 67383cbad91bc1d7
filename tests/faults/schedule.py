"""Which process is killed where: drawn from a seed, so that every round can be run again.

A round is one platform on one kind of store. Of all the pairs of a service and a point it can meet, a round takes every
second one, as on a chequerboard, and every point with it; four rounds in a row take every pair on both kinds of store.
"""

import importlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from shared.identity import SERVICES
from shared.service import Service
from shared.streams import durables
from shared.testing.fault_points import POINTS
from shared.testing.stores import BACKENDS, Backend

PLATFORM: Mapping[str, Service] = {name: importlib.import_module(f"services.{name}.main").SERVICE for name in SERVICES}

OF_CONSUMERS = ("before-ack", "after-ack")
OF_DEAD_LETTERS = ("before-dead-letter", "after-dead-letter")
OF_TASKS = ("task-begin", "task-done")

MOST_PASSES = 8
"""A process dies the first to eighth time it comes to its point: on its way up, or in the middle of the load."""
OF_BATCHES = ("before-batch-part", "after-batch-part", "before-batch-commit", "after-batch-commit")
FEWER_PASSES = {**dict.fromkeys((*OF_DEAD_LETTERS, *OF_TASKS), 1), **dict.fromkeys(OF_BATCHES, 4)}


@dataclass(frozen=True)
class Fault:
    """A process of ``service`` dies when it comes to ``point`` for the ``nth`` time."""

    service: str
    point: str
    nth: int

    @property
    def setting(self) -> str:
        """The value of CONCORD_FAULT."""
        return f"{self.point}:{self.nth}"

    def __str__(self) -> str:
        return f"{self.service} at {self.setting}"


@dataclass(frozen=True)
class Round:
    """One platform, its load and its deaths: all of it follows from ``seed`` and ``number``, its stores as well."""

    seed: int
    number: int
    kills: int | None = None
    """Fewer than there are, for a short run."""

    @property
    def store(self) -> Backend:
        """The kind of store of every service."""
        return BACKENDS[self.number % len(BACKENDS)]

    @property
    def faults(self) -> list[Fault]:
        """In the order each service meets its own; between services there is none, they die beside one another."""
        random = self.random("faults")
        chosen = _each_point_once(self._takes, random)
        others = [pair for pair in every_pair() if self._takes(*pair) and pair not in chosen]
        random.shuffle(others)
        pairs = [*chosen, *others][: self.kills]
        return [Fault(name, point, random.randint(1, FEWER_PASSES.get(point, MOST_PASSES))) for name, point in pairs]

    def random(self, what: str) -> Random:
        """A source of chance for one purpose, the same whenever this round is run."""
        return Random(f"{self.seed} {self.number} {what}")  # noqa: S311  it draws a test

    def _takes(self, service: str, point: str) -> bool:
        if len(who_meets(point)) == 1:
            return True
        # The second term deals before and after of each step to both colours, the last brings the board to both stores.
        field = SERVICES.index(service) + 3 * POINTS.index(point) // 2
        return (field + self.number // 2 + self.number) % 2 == 0


def _each_point_once(takes: Callable[[str, str], bool], random: Random) -> list[tuple[str, str]]:
    """A service for each point, with as much to die for each, since they die beside one another."""
    deaths = Counter(dict.fromkeys(SERVICES, 0))
    points = sorted(random.sample(POINTS, len(POINTS)), key=lambda point: len(who_meets(point)))
    pairs = []
    for point in points:
        service = min((name for name in who_meets(point) if takes(name, point)), key=lambda name: deaths[name])
        deaths[service] += 1
        pairs.append((service, point))
    random.shuffle(pairs)
    return pairs


def every_pair() -> list[tuple[str, str]]:
    """Every service with every point it can meet."""
    return [(service, point) for point in POINTS for service in who_meets(point)]


def who_meets(point: str) -> tuple[str, ...]:
    """The services that can come to a point: only who consumes acknowledges, only who has kinds of tasks does one."""
    if point in OF_CONSUMERS:
        return tuple(name for name, service in PLATFORM.items() if durables(name, service.follows))
    if point in OF_TASKS:
        return tuple(name for name, service in PLATFORM.items() if service.surface.task_kinds)
    return SERVICES
