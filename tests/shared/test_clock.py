"""The clock: how far it was set is known by one that nobody sets."""

import pytest

from shared.clock import Steps


def test_a_clock_that_is_set_has_stepped_by_as_much_and_one_that_runs_has_not() -> None:
    wall, steady = 1_000.0, 50.0
    steps = Steps(lambda: wall, lambda: steady)
    assert steps.seconds() == 0
    wall, steady = wall + 10, steady + 10
    assert steps.seconds() == 0
    wall -= 3600
    assert steps.seconds() == -3600
    wall += 7200
    assert steps.seconds() == 3600


def test_the_clock_of_this_machine_was_not_set_just_now() -> None:
    assert Steps().seconds() == pytest.approx(0, abs=1)
