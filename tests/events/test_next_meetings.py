"""A plan from its inputs to its certificate: which rules reject which venue, what it costs whom, and a replay."""

import json
from datetime import date
from typing import Any

import pytest

from services.events import planning
from services.events.domain.plan import Impossible, Planned, Worked
from services.events.domain.plan_inputs import Inputs
from shared.contracts.events import TravelTime

# A network in each corner, so that the fair places lie between them.
CORNERS = [("north", "Newcastle"), ("south", "Bristol"), ("east", "Nottingham"), ("west", "Manchester")]


def plan(inputs: Inputs) -> Planned:
    worked = Worked.model_validate(planning.run({"inputs": inputs.model_dump(mode="json")}))
    assert worked.planned is not None, worked.impossible
    return worked.planned


def failure(inputs: Inputs) -> Impossible:
    worked = Worked.model_validate(planning.run({"inputs": inputs.model_dump(mode="json")}))
    assert worked.impossible is not None
    return worked.impossible


@pytest.fixture
def corners(country: Any) -> list[Any]:
    return [country.member(name, town) for name, town in CORNERS]


def venues_of(planned: Planned) -> list[str]:
    return [meeting.venue for meeting in planned.meetings]


def rules_against(planned: Planned, venue: str, number: int = 1) -> tuple[str, ...]:
    return next(v.rules for v in planned.certificate.verdicts if v.venue == venue and v.number == number)


def test_meetings_are_held_where_the_worst_off_network_travels_least(country: Any, corners: list[Any]) -> None:
    towns = ["Newcastle", "Bristol", "Birmingham"]
    planned = plan(country.inputs(corners, [country.venue(town) for town in towns], meetings=1))
    assert venues_of(planned) == [country.hall("Birmingham")]
    assert planned.certificate.proof == "optimal"
    assert planned.certificate.bound == planned.certificate.worst


def test_a_network_that_bore_much_before_has_meetings_come_to_it(country: Any) -> None:
    members = [country.member("north", "Newcastle", burden=600), country.member("south", "Bristol")]
    planned = plan(country.inputs(members, [country.venue("Newcastle"), country.venue("Bristol")], meetings=1))
    assert venues_of(planned) == [country.hall("Newcastle")]


def test_a_large_delegation_does_not_pull_meetings_towards_itself(country: Any) -> None:
    venues = [country.venue(town) for town in ("Newcastle", "Bristol", "Leeds")]
    alone = [country.member("north", "Newcastle"), country.member("south", "Bristol")]
    crowd = [country.member("north", *["Newcastle"] * 40), country.member("south", "Bristol")]
    assert venues_of(plan(country.inputs(alone, venues))) == venues_of(plan(country.inputs(crowd, venues, seats=41)))


def test_london_is_not_chosen_twice_within_three_meetings_however_fair_it_would_be(country: Any) -> None:
    members = [country.member("a", "London"), country.member("b", "London", burden=5)]
    venues = [country.venue(town) for town in ("London", "Birmingham", "Leeds", "Cardiff")]
    planned = plan(country.inputs(members, venues, meetings=4))
    assert venues_of(planned).count(country.hall("London")) == 1 or [
        number for number, venue in enumerate(venues_of(planned)) if venue == country.hall("London")
    ] == [0, 3]
    held = country.past((date(2026, 5, 12), "London"))
    planned = plan(country.inputs(members, venues, past=held))
    assert country.hall("London") not in venues_of(planned)
    assert "london" in rules_against(planned, country.hall("London"), number=2)


def test_a_venue_too_small_or_with_steps_is_rejected_by_that_rule(country: Any, corners: list[Any]) -> None:
    venues = [
        country.venue("Birmingham", capacity=9),
        country.venue("Leeds", step_free=False),
        country.venue("Newcastle"),
    ]
    planned = plan(country.inputs(corners, venues, meetings=1))
    assert venues_of(planned) == [country.hall("Newcastle")]
    assert rules_against(planned, country.hall("Birmingham")) == ("capacity",)
    assert rules_against(planned, country.hall("Leeds")) == ("step-free",)


def test_a_host_that_just_had_its_turn_is_passed_over_and_the_certificate_says_so(
    country: Any, corners: list[Any]
) -> None:
    venues = [country.venue("Birmingham"), country.venue("Leeds"), country.venue("Bristol")]
    held = country.past((date(2026, 5, 12), "Birmingham"))
    planned = plan(country.inputs(corners, venues, meetings=1, past=held))
    assert venues_of(planned) == [country.hall("Leeds")]
    assert rules_against(planned, country.hall("Birmingham")) == ("host-turn", "region-turn")
    assert rules_against(planned, country.hall("Bristol")) == ()


def test_the_certificate_adds_up(country: Any, corners: list[Any]) -> None:
    members = [*corners, country.member("pair", "London", "Edinburgh", burden=77)]
    towns = ["Newcastle", "Bristol", "Birmingham", "Leeds", "York", "Cardiff"]
    certificate = plan(country.inputs(members, [country.venue(town) for town in towns])).certificate
    assert [burden.after for burden in certificate.burdens] == sorted(
        (burden.before + sum(burden.minutes) for burden in certificate.burdens), reverse=True
    )
    assert certificate.worst == certificate.burdens[0].after
    assert certificate.alternative
    alternative = [burden.by_alternative for burden in certificate.burdens]
    assert certificate.alternative.worst == max(alternative)
    assert sorted(alternative, reverse=True) >= [burden.after for burden in certificate.burdens]
    assert len(certificate.verdicts) == 2 * (len(towns) - 1)
    allowed = [verdict for verdict in certificate.verdicts if not verdict.rules]
    assert allowed
    assert all(verdict.worst is not None and verdict.worst >= certificate.worst for verdict in allowed)
    assert [burden.representatives for burden in certificate.burdens if burden.before == 77] == [2]


def test_a_loaded_time_changes_the_plan_and_is_no_estimate(country: Any) -> None:
    members = [country.member("north", "Newcastle"), country.member("south", "Bristol")]
    venues = [country.venue("Birmingham"), country.venue("Cardiff")]
    assert venues_of(plan(country.inputs(members, venues, meetings=1))) == [country.hall("Birmingham")]
    loaded = [
        TravelTime(origin=origin, destination="Cardiff", minutes=60).model_dump() for origin in ("Newcastle", "Bristol")
    ]
    planned = plan(country.inputs(members, venues, meetings=1, known_times=loaded))
    assert venues_of(planned) == [country.hall("Cardiff")]
    assert [burden.estimated for burden in planned.certificate.burdens] == [False, False]


def test_a_network_of_no_known_office_is_named_and_not_counted(country: Any, corners: list[Any]) -> None:
    planned = plan(country.inputs([*corners, country.member("lost")], [country.venue("Leeds")], meetings=1))
    assert planned.certificate.not_counted == (country.id("lost"),)
    assert len(planned.certificate.burdens) == len(corners)


def test_no_bank_holiday_of_any_attending_nation_is_taken(country: Any) -> None:
    # Six months after 1 November 2027 come the early May bank holiday and, in Scotland, nothing else near it.
    held = country.past((date(2027, 5, 30), "Leeds"))
    english = [country.member("north", "Newcastle")]
    venues = [country.venue("Birmingham"), country.venue("York")]
    planned = plan(country.inputs(english, venues, meetings=1, past=held, today=date(2027, 9, 1)))
    assert [meeting.date for meeting in planned.meetings] == [date(2027, 11, 30)]
    scottish = [*english, country.member("scots", "Edinburgh")]
    planned = plan(country.inputs(scottish, venues, meetings=1, past=held, today=date(2027, 9, 1)))
    assert [meeting.date for meeting in planned.meetings] == [date(2027, 11, 29)]
    assert "Andrew" in planned.certificate.dates[0]


def test_when_no_plan_keeps_the_rules_those_that_stand_in_the_way_are_named(country: Any, corners: list[Any]) -> None:
    small = [country.venue("Leeds", capacity=5), country.venue("Bristol", capacity=5)]
    failed = failure(country.inputs(corners, small))
    assert failed.code == "no-venues-keep-the-rules"
    assert failed.conflicting == ("capacity",)
    only_london = failure(country.inputs(corners, [country.venue("London")]))
    assert only_london.conflicting == ("london",)


def test_when_no_office_is_known_there_is_nothing_to_plan_by(country: Any) -> None:
    assert failure(country.inputs([country.member("lost")], [country.venue("Leeds")])).code == "no-office-known"


def test_turns_of_hosts_and_of_regions_that_exclude_each_other_are_both_named(country: Any, corners: list[Any]) -> None:
    # After Bristol and Leeds it is the turn of Wales, but its host has just had one.
    venues = [country.venue("Bristol"), country.venue("Leeds"), country.venue("Cardiff", host="host Leeds")]
    held = country.past((date(2026, 5, 12), "Bristol"), (date(2026, 11, 12), "Leeds"))
    failed = failure(country.inputs(corners, venues, meetings=1, past=held))
    assert failed.conflicting == ("host-turn", "region-turn")


def test_the_same_inputs_give_the_same_plan_and_digest_also_when_replayed_from_what_was_kept(
    country: Any, corners: list[Any]
) -> None:
    towns = ["Newcastle", "Bristol", "Birmingham", "Leeds", "York", "Cardiff", "Edinburgh", "London"]
    args = {"inputs": country.inputs(corners, [country.venue(town) for town in towns]).model_dump(mode="json")}
    first = planning.run(args)
    kept = json.loads(json.dumps(first["worked_from"]))
    assert planning.run(kept) == first
    assert first["digest"] == first["planned"]["certificate"]["digest"]
    other = planning.run({**kept, "inputs": {**kept["inputs"], "seats": 11}})
    assert other["digest"] != first["digest"]


def test_the_order_in_which_venues_and_members_are_given_changes_no_choice(country: Any, corners: list[Any]) -> None:
    venues = [country.venue(town) for town in ("Newcastle", "Bristol", "Birmingham", "Leeds", "Cardiff")]
    one = plan(country.inputs(corners, venues))
    other = plan(country.inputs(corners[::-1], venues[::-1]))
    assert one.meetings == other.meetings
    assert one.certificate.burdens == other.certificate.burdens
