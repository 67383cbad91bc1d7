"""The choice of venues is held against a plain reading of the rules: every choice is tried, by nothing but Python."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.events.domain.planner import Choice, Pace, Problem, Solution, solve

PACES = [Pace(), Pace(warm_up=1, critical_at_first=1, critical=2, at_once=1), Pace(2, 2, 3, 2)]
"""The usual one takes a small problem at one gulp; the small ones have it go every way that a large one goes."""


def plainly(problem: Problem) -> tuple[Choice, Choice | None] | None:
    """The best choice and the best with another set of venues, found by trying all of them."""
    venues, meetings = problem.allowed.shape

    def keeps_rules(row: tuple[int, ...]) -> bool:
        return all(problem.allowed[venue, place] for place, venue in enumerate(row)) and all(
            problem.apart[row[a], row[b]] <= b - a for b in range(meetings) for a in range(b)
        )

    def totals(row: tuple[int, ...]) -> list[int]:
        return sorted((int(b + sum(m[v] for v in row)) for b, m in zip(*problem[:2], strict=True)), reverse=True)

    def merit(row: tuple[int, ...]) -> tuple[object, ...]:
        people = sum(int(problem.person_minutes[venue]) for venue in row)
        on_the_way = [totals(row[: number + 1]) for number in range(meetings)]
        return totals(row), people, sorted(row), on_the_way, row

    rows = sorted((row for row in product(range(venues), repeat=meetings) if keeps_rules(row)), key=merit)
    if not rows:
        return None
    others = [row for row in rows if sorted(row) != sorted(rows[0])]
    best, runner_up = Choice(rows[0], totals(rows[0])[0]), None
    if others:
        runner_up = Choice(others[0], totals(others[0])[0])
    return best, runner_up


@st.composite
def problems(draw: st.DrawFn, figures: int = 5) -> Problem:
    """Small problems with many ties, since ties are where a leximin goes wrong."""
    networks, meetings = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    venues = draw(st.integers(1, 6 if meetings < 4 else 4))

    def ints(*shape: int, highest: int) -> np.ndarray:
        count = int(np.prod(shape))
        return np.array(draw(st.lists(st.integers(0, highest), min_size=count, max_size=count))).reshape(shape)

    apart = ints(venues, venues, highest=meetings)
    return Problem(
        burden=ints(networks, highest=figures),
        minutes=ints(networks, venues, highest=figures),
        person_minutes=ints(venues, highest=2),
        apart=np.maximum(apart, apart.T) * ints(1, 1, highest=1),
        allowed=ints(venues, meetings, highest=4) > 0,
    )


def drawn(seed: int, networks: int, venues: int, meetings: int, regions: int) -> Problem:
    """A problem on a map, with a region to each venue that may return after three meetings."""
    dice = np.random.default_rng(seed)
    offices, halls = dice.uniform(0, 500, (networks, 2)), dice.uniform(0, 500, (venues, 2))
    minutes = (40 + np.linalg.norm(offices[:, None] - halls[None], axis=2) / 1.5).astype(int)
    region = dice.integers(0, regions, venues)
    return Problem(
        burden=dice.integers(0, 600, networks),
        minutes=minutes,
        person_minutes=minutes.sum(axis=0),
        apart=np.where(region[:, None] == region[None], 3, 0),
        allowed=dice.random((venues, meetings)) > 0.1,
    )


@settings(max_examples=400, deadline=None)
@given(problems(), st.sampled_from(PACES))
def test_the_choice_is_the_one_that_trying_them_all_finds(problem: Problem, pace: Pace) -> None:
    found = solve(problem, pace=pace)
    assert (found and (found.best, found.runner_up)) == plainly(problem)
    if found:
        assert found.optimal
        assert found.bound == found.best.worst


@settings(max_examples=100, deadline=None)
@given(problems(figures=20_000), st.sampled_from(PACES))
def test_large_figures_do_not_run_over(problem: Problem, pace: Pace) -> None:
    found = solve(problem, pace=pace)
    assert (found and (found.best, found.runner_up)) == plainly(problem)


@pytest.mark.parametrize("meetings", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_pruning_loses_nothing(seed: int, meetings: int) -> None:
    problem = drawn(seed, networks=40, venues=24 if meetings < 3 else 18, meetings=meetings, regions=6)
    expected = plainly(problem)
    for pace in PACES:
        found = solve(problem, pace=pace)
        assert found
        assert (found.best, found.runner_up) == expected


def test_the_worst_off_network_comes_before_the_sum_of_all() -> None:
    # Venue 0 costs 10 + 0 + 0 minutes, venue 1 costs 9 + 9 + 9.
    problem = Problem(
        burden=np.zeros(3, int),
        minutes=np.array([[10, 9], [0, 9], [0, 9]]),
        person_minutes=np.array([10, 27]),
        apart=np.zeros((2, 2), int),
        allowed=np.ones((2, 1), bool),
    )
    assert solve(problem) == Solution(Choice((1,), 9), Choice((0,), 10), bound=9, optimal=True)


def test_what_was_borne_before_decides_between_equal_journeys() -> None:
    problem = Problem(
        burden=np.array([100, 0]),
        minutes=np.array([[0, 60], [60, 0]]),
        person_minutes=np.array([60, 60]),
        apart=np.zeros((2, 2), int),
        allowed=np.ones((2, 1), bool),
    )
    found = solve(problem)
    assert found
    assert found.best == Choice((0,), 100)


def test_no_choice_is_said_when_no_order_keeps_the_rules() -> None:
    problem = drawn(1, networks=3, venues=4, meetings=2, regions=1)
    assert solve(problem._replace(apart=np.full((4, 4), 3))) is None


def test_a_search_that_stops_early_states_a_bound_that_holds() -> None:
    problem = drawn(2, networks=60, venues=20, meetings=4, regions=8)
    optimum = solve(problem)
    stopped = solve(problem, effort=1, pace=Pace(warm_up=1))
    assert optimum
    assert stopped
    assert not stopped.optimal
    assert stopped.bound <= optimum.best.worst <= stopped.best.worst


def test_the_same_problem_gives_the_same_answer() -> None:
    problem = drawn(3, networks=50, venues=20, meetings=3, regions=8)
    assert solve(problem) == solve(problem)


def test_no_pace_changes_what_is_found() -> None:
    problem = drawn(4, networks=80, venues=16, meetings=4, regions=9)
    assert len({solve(problem, pace=pace) for pace in PACES}) == 1
