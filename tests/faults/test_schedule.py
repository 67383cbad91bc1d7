"""The schedule of kills: complete over four rounds, whole in the short set, and the same whenever it is drawn."""

from collections import Counter

from shared.testing.fault_points import POINTS
from shared.testing.stores import BACKENDS
from tests.faults.schedule import Round, every_pair


def test_four_rounds_kill_every_service_at_every_point_it_can_meet_on_both_kinds_of_store() -> None:
    rounds = [Round(7, number) for number in range(4)]
    met = Counter((round_.store, fault.service, fault.point) for round_ in rounds for fault in round_.faults)
    assert met.keys() == {(store, *pair) for store in BACKENDS for pair in every_pair()}


def test_every_point_is_met_by_some_service() -> None:
    assert {point for _, point in every_pair()} == set(POINTS)


def test_a_short_round_has_every_point_once() -> None:
    for number in range(4):
        assert sorted(fault.point for fault in Round(7, number, len(POINTS)).faults) == sorted(POINTS)


def test_a_round_is_the_same_whenever_it_is_drawn_and_unlike_others() -> None:
    assert Round(7, 3).faults == Round(7, 3).faults
    assert Round(7, 3).faults != Round(8, 3).faults
    assert Round(7, 3).faults != Round(7, 7).faults
