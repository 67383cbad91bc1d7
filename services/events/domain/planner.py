"""Where the next meetings are held: the leximin choice of venues, by complete enumeration with pruning.

*Leximin*: of two choices the better one leaves the worst-off network with a lower total; if these are equal, the next
worst off, and so on. So totals are compared as vectors sorted from high to low. Equal vectors are told apart by the
minutes of all people together, then by the numbers of the venues.

Totals depend on which venues are taken, not in which order, so sets of venues are enumerated, each as a *left half*
(its lower numbers) and a *right half*. What keeps that fast, and never loses the best:

- a network whose journey to every venue is the same adds the same figure to every vector: it is left out;
- left halves are taken by the bound they set on the highest total with any right half; once it exceeds what has been
  found, nothing better is left, and the result is proven optimal;
- most sets fail on a few *critical* networks, learnt on the way, so these are added up first, for all right halves
  at once;
- only sets that pass are held against the rules of order, and only the best of those are sorted.
"""

from collections.abc import Iterator
from itertools import combinations_with_replacement, permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

EFFORT = 4_000_000_000
"""Figures added and compared before the search stops and states its bound: some twenty seconds. Counted, not timed, so
that a replay stops in the same place. A thousand networks, 200 venues and four meetings take a quarter of it."""
SORTING = 10
"""What sorting a figure costs, in additions."""
UNLIMITED = np.iinfo(np.int64).max

Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]


class Problem(NamedTuple):
    """The figures of a plan: N networks, V venues, K meetings. Whole minutes, none negative."""

    burden: Ints
    """N: what each network has borne already."""
    minutes: Ints
    """N × V: the journey of a network's mean representative to each venue."""
    person_minutes: Ints
    """V: the journeys of all representatives together."""
    apart: Ints
    """V × V, symmetric: how many places two venues must lie apart in the row of meetings, 0 if it does not matter."""
    allowed: Bools
    """V × K: whether a venue may be taken for a meeting, as far as past meetings are concerned."""


class Pace(NamedTuple):
    """How the search goes about it. No pace changes what it finds, only how long that takes."""

    warm_up: int = 64
    """Halves on either side that are tried with one another before all else."""
    critical_at_first: int = 16
    """Critical networks tried on all right halves at once, and learnt at a time."""
    critical: int = 64
    """Critical networks in all: the rest are tried on what is left."""
    at_once: int = 4_096
    """Sets whose totals of all networks are in memory together."""


USUAL_PACE = Pace()


class Choice(NamedTuple):
    """A venue for each meeting, by number, and the highest total it leaves any network with."""

    venues: tuple[int, ...]
    worst: int


class Solution(NamedTuple):
    """The best choice, the best one with another set of venues if there is one, and what is proven of it."""

    best: Choice
    runner_up: Choice | None
    bound: int
    """No choice has a lower highest total than this."""
    optimal: bool


class _Found(NamedTuple):
    """A set of venues that the rules allow; the better of two is the lesser."""

    totals: bytes
    """Sorted from high to low, four bytes each, the highest byte first: bytes compare as the figures do."""
    person_minutes: int
    venues: tuple[int, ...]

    @property
    def worst(self) -> int:
        return int.from_bytes(self.totals[:4], "big")


def solve(problem: Problem, effort: int = EFFORT, pace: Pace = USUAL_PACE) -> Solution | None:
    """The leximin-best venues, or ``None`` if no choice keeps the rules."""
    first = any_choice(problem)
    if first is None:
        return None
    search = _Search(problem, pace, np.array([sorted(first)]))
    open_bound = None
    for left, bound in search.left_halves():
        if bound > search.threshold:
            break
        if search.effort >= effort:
            open_bound = bound
            break
        search.look(left)
    search.keep_waiting()
    best, *others = (_in_order(problem, found.venues) for found in search.found)
    bound = best.worst if open_bound is None else min(best.worst, max(open_bound, search.floor))
    proven = open_bound is None or open_bound > search.found[0].worst
    return Solution(best, others[0] if others else None, bound, optimal=proven)


class _Search:
    """The best two sets found so far, and the tables that make looking for better ones quick."""

    def __init__(self, problem: Problem, pace: Pace, first: Ints) -> None:
        self.problem = problem
        self.pace = pace
        meetings = problem.allowed.shape[1]
        differs = (problem.minutes != problem.minutes[:, :1]).any(axis=1)
        constant = problem.burden[~differs] + meetings * problem.minutes[~differs, 0]
        self.floor = int(constant.max(initial=0))
        """The highest total among networks for which all choices are the same."""
        differs[0] |= not differs.any()
        burden, minutes = problem.burden[differs], problem.minutes[differs]
        highest = int(burden.max()) + meetings * int(minutes.max())
        figures = np.int16 if highest < 2**15 else np.int32
        self.burden = burden.astype(figures)
        self.to_venue = np.ascontiguousarray(minutes.T, dtype=figures)  # V × N
        self.never = problem.apart >= meetings
        self.left, self.right = self._halves((meetings + 1) // 2), self._halves(meetings // 2)
        self._right_across = np.ascontiguousarray(self.right.T)
        self.found: list[_Found] = []
        self.bar: Ints | None = None
        """The totals of the second best set, from high to low: what is above it is not wanted."""
        self.effort = 0
        self._waiting: list[Ints] = [first]
        self._critical: list[int] = []
        self._right_critical: Ints = np.empty((0, len(self.right)), dtype=figures)

    @property
    def threshold(self) -> int:
        """The highest total a set may have and still be among the best two."""
        return UNLIMITED if self.bar is None else int(self.bar[0])

    def left_halves(self) -> Iterator[tuple[Ints, int]]:
        """Left halves, each with a bound on the highest total of all its sets; the lowest bound first."""
        left, right = self._bounds(self.left, self.right), self._bounds(self.right, self.left)
        by_bound = np.argsort(left, kind="stable")
        first = slice(self.pace.warm_up)
        self._try_together(self.left[by_bound[first]], self.right[np.argsort(right, kind="stable")[first]])
        for place in by_bound:
            yield self.left[place], int(left[place])

    def look(self, left: Ints) -> None:
        """Looks at every set with this left half."""
        start = int(np.searchsorted(self.right[:, 0], left[-1])) if self.right.shape[1] else 0
        right = self.right[start:]
        can = ~self.never[left].any(axis=0)[self._right_across[:, start:]].any(axis=0)
        self.effort += len(right) * self.pace.critical_at_first
        if self.bar is not None and self._critical:
            so_far = self.burden[self._critical] + self.to_venue[left][:, self._critical].sum(axis=0, dtype=np.int32)
            can &= ~self._above_bar(self.bar, so_far[: self.pace.critical_at_first], slice(start, None))
            rest = np.flatnonzero(can)
            can[rest] = ~self._above_bar(self.bar, so_far, start + rest)
        if can.any():
            self._wait(left, right[can])

    def keep_waiting(self) -> None:
        """Takes over those of the sets in waiting that are among the best two."""
        waiting, self._waiting = self._waiting, []
        if waiting:
            for sets in self._parts(np.vstack(waiting)):
                self._keep(sets)

    def _wait(self, left: Ints, right: Ints) -> None:
        self._waiting.append(np.hstack([np.broadcast_to(left, (len(right), len(left))), right]))
        if sum(map(len, self._waiting)) >= self.pace.at_once:
            self.keep_waiting()

    def _try_together(self, left: Ints, right: Ints) -> None:
        """Tries a few promising halves with one another first, so that there is something to measure the rest by."""
        for half in left:
            fits = (right >= half[-1]).all(axis=1) & ~self.never[half].any(axis=0)[right].any(axis=1)
            self._wait(half, right[fits])
        self.keep_waiting()

    def _halves(self, size: int) -> Ints:
        every = list(combinations_with_replacement(range(len(self.never)), size))
        halves = np.array(every, dtype=np.int32).reshape(len(every), size)
        for one in range(size):
            for other in range(one + 1, size):
                halves = halves[~self.never[halves[:, one], halves[:, other]]]
        return halves

    def _bounds(self, halves: Ints, others: Ints) -> Ints:
        """For each half, no set it is part of has a lower highest total than this."""
        if not len(halves) or not len(others):
            return np.empty(0, dtype=np.int64)
        least = np.min([self._sums(part).min(axis=0) for part in self._parts(others)], axis=0) + self.burden
        return np.concatenate([(self._sums(part) + least).max(axis=1) for part in self._parts(halves)])

    def _parts(self, sets: Ints) -> Iterator[Ints]:
        return (sets[start : start + self.pace.at_once] for start in range(0, len(sets), self.pace.at_once))

    def _sums(self, sets: Ints) -> Ints:
        """Minutes of each network (columns) to all venues of each set (rows)."""
        sums: Ints = np.zeros((len(sets), len(self.burden)), dtype=self.burden.dtype)
        for venues in sets.T:
            sums += self.to_venue[venues]
        return sums

    def _keep(self, sets: Ints) -> None:
        self.effort += sets.shape[0] * len(self.burden)
        every = self._sums(sets) + self.burden
        worst = every.max(axis=1)
        passed = np.flatnonzero(worst <= self.threshold)
        passed = passed[_has_order(self.problem, sets[passed])]
        if len(passed) > 2:
            passed = passed[worst[passed] <= np.partition(worst[passed], 1)[1]]
        self.effort += len(passed) * len(self.burden) * SORTING
        totals, sets = np.sort(every[passed], axis=1)[:, ::-1], sets[passed]
        people = self.problem.person_minutes[sets].sum(axis=1)
        left = np.arange(len(passed))
        for _ in range(min(2, len(passed))):
            best = _least(np.column_stack([people, sets]), _least(totals, left))[0]
            found = _Found(totals[best].astype(">u4").tobytes(), int(people[best]), tuple(map(int, sets[best])))
            self.found = sorted({*self.found, found})[:2]
            left = left[left != best]
        if len(self.found) == 2:
            self.bar = np.frombuffer(self.found[1].totals, dtype=">u4").astype(self.burden.dtype)
            if len(self._critical) < self.pace.critical:
                self._learn(self.bar, every)

    def _above_bar(self, bar: Ints, so_far: Ints, right: Ints | slice) -> Bools:
        """Which right halves take the first critical networks, which bear ``so_far``, above the bar."""
        totals = self._right_critical[: len(so_far), right] + so_far.astype(self.burden.dtype)[:, None]
        worst = totals.max(axis=0)
        above = np.asarray(worst > bar[0])
        level = np.flatnonzero(worst == bar[0])
        above[level] = _above(np.sort(totals[:, level].T, axis=1)[:, ::-1], bar)
        return above

    def _learn(self, bar: Ints, totals: Ints) -> None:
        """Adds the networks by which the most of these sets are above the bar, one after the other, to the critical."""
        wanted = min(len(self._critical) + self.pace.critical_at_first, self.pace.critical)
        critical = list(self._critical)
        for height in bar:
            above = totals > height
            above = above[~above[:, critical].any(axis=1)]
            while len(critical) < wanted and len(above) and above.any():
                critical.append(int(above.sum(axis=0).argmax()))
                above = above[~above[:, critical[-1]]]
            # What is level with the bar so far is decided at the next height, by the networks that are not level.
            totals = totals[totals.max(axis=1) == height]
            if len(critical) >= wanted or not len(totals):
                break
            level = totals.argmax(axis=1)
            critical += sorted(set(level.tolist()) - set(critical))[: wanted - len(critical)]
            totals[np.arange(len(totals)), level] = -1
        if critical != self._critical:
            self._critical = critical
            by_venue = np.ascontiguousarray(self.to_venue[:, critical].T)
            self._right_critical = by_venue[:, self.right].sum(axis=2, dtype=self.burden.dtype)


def _above(totals: Ints, bar: Ints) -> Bools:
    """Which rows of totals of some networks, sorted from high to low, show that those of all are above the bar.

    The k-th highest of some is at most the k-th highest of all, so a first difference upwards is one for all as well.
    """
    height = bar[: totals.shape[1]]
    first = (totals != height).argmax(axis=1)
    return np.asarray(totals[np.arange(len(totals)), first] > height[first])


def _least(rows: Ints, among: Ints) -> Ints:
    """Which of the rows ``among`` are least when read from left to right."""
    for column in rows.T:
        if len(among) == 1:
            break
        figures = column[among]
        among = among[figures == figures.min()]
    return among


def _has_order(problem: Problem, sets: Ints) -> Bools:
    """Which of the sets can be put in an order that keeps the rules."""
    can = np.zeros(len(sets), dtype=np.bool_)
    for order in permutations(range(sets.shape[1])):
        can |= _keeps_rules(problem, sets[:, order])
    return can


def _keeps_rules(problem: Problem, rows: Ints) -> Bools:
    meetings = rows.shape[1]
    keeps = np.asarray(problem.allowed[rows, np.arange(meetings)].all(axis=1))
    for one in range(meetings):
        for other in range(one + 1, meetings):
            keeps &= problem.apart[rows[:, one], rows[:, other]] <= other - one
    return keeps


def _in_order(problem: Problem, venues: tuple[int, ...]) -> Choice:
    """The order that is fairest after the first meeting, then after the second, and so on."""

    def fairness(row: tuple[int, ...]) -> tuple[list[list[int]], tuple[int, ...]]:
        after = problem.burden[:, None] + problem.minutes[:, row].cumsum(axis=1)
        return [sorted(column.tolist(), reverse=True) for column in after.T], row

    allowed = [row for row in set(permutations(venues)) if _keeps_rules(problem, np.array([row]))[0]]
    totals = problem.burden + problem.minutes[:, venues].sum(axis=1)
    return Choice(min(allowed, key=fairness), int(totals.max()))


def any_choice(problem: Problem) -> tuple[int, ...] | None:
    """Any choice that keeps the rules. Meetings with the fewest venues to choose from are filled first."""
    meetings = problem.allowed.shape[1]
    # Venues that the rules treat alike stand for one another.
    alike = np.unique(np.hstack([problem.apart, problem.allowed]), axis=0, return_index=True)[1]
    by_scarcity = sorted(range(meetings), key=lambda meeting: int(problem.allowed[alike, meeting].sum()))

    def fill(taken: dict[int, int]) -> dict[int, int] | None:
        if len(taken) == meetings:
            return taken
        meeting = by_scarcity[len(taken)]
        can = problem.allowed[alike, meeting]
        for other, venue in taken.items():
            can &= problem.apart[alike, venue] <= abs(meeting - other)
        for venue in alike[can]:
            if filled := fill({**taken, meeting: int(venue)}):
                return filled
        return None

    filled = fill({})
    return None if filled is None else tuple(filled[meeting] for meeting in range(meetings))
