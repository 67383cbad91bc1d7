"""The steering group: six full-time equivalents, one lead or two who share, one lead for each ongoing work stream."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.membership.domain import steering_group
from services.membership.domain.network import Network
from services.membership.domain.steering_group import SteeringGroup
from shared.contracts.membership import (
    AppointSteeringMember,
    CloseWorkStream,
    OpenWorkStream,
    StandDownSteeringMember,
    SteeringMemberStoodDown,
    UmbrellaRules,
)
from shared.contracts.message import Event
from shared.refusal import Refusal


def an_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


UMBRELLA = Network(
    id=an_id(1),
    name="Cross-government network",
    reach="national",
    organisation=an_id(2),
    parent=None,
    office=None,
    umbrella=UmbrellaRules(),
    steering_group=an_id(3),
    steward="sam",
)
NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
EMPTY = SteeringGroup(id=an_id(3), network=UMBRELLA.id)


def person(number: int) -> dict[str, str]:
    return {"person": an_id(100 + number), "principal": f"person-{number}"}


def stream(number: int) -> str:
    return an_id(200 + number)


def after(decision: list[Event] | Refusal, group: SteeringGroup | None) -> SteeringGroup:
    assert not isinstance(decision, Refusal), decision
    for event in decision:
        group = steering_group.evolve(group, event)
    assert group is not None
    return group


def code(decision: list[Event] | Refusal) -> str:
    assert isinstance(decision, Refusal)
    return decision.code


def lead(number: int, fte: float) -> AppointSteeringMember:
    return AppointSteeringMember(network=UMBRELLA.id, role="lead", fte=fte, **person(number))


def stream_lead(number: int, work_stream: int, fte: float) -> AppointSteeringMember:
    return AppointSteeringMember(
        network=UMBRELLA.id, role="work-stream-lead", work_stream=stream(work_stream), fte=fte, **person(number)
    )


def appoint(group: SteeringGroup, command: AppointSteeringMember, by: str = "sam") -> list[Event] | Refusal:
    return steering_group.appoint(UMBRELLA, group, command, by, NOW)


def seated(group: SteeringGroup, *commands: AppointSteeringMember) -> SteeringGroup:
    for command in commands:
        group = after(appoint(group, command), group)
    return group


def with_streams(count: int) -> SteeringGroup:
    group = EMPTY
    for number in range(count):
        command = OpenWorkStream(network=UMBRELLA.id, name=f"Stream {number}")
        group = after(steering_group.open_work_stream(UMBRELLA, group, command, "sam", stream(number)), group)
    return group


def test_six_full_time_equivalents_are_allowed_and_not_a_hundredth_more() -> None:
    full = seated(
        with_streams(7), lead(0, 1.0), *[stream_lead(n, n, 1.0) for n in range(1, 5)], stream_lead(5, 5, 0.99)
    )
    assert full.total_hundredths == 599
    refusal = appoint(full, stream_lead(6, 6, 0.02))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == ("six-fte-exceeded", "fte")
    assert refusal.data == {"asked": 0.02, "most": 6, "taken": 5.99, "free": 0.01}
    assert seated(full, stream_lead(6, 6, 0.01)).total_hundredths == 600


def test_sums_of_hundredths_are_exact() -> None:
    group = with_streams(60)
    for number in range(10):
        group = seated(group, stream_lead(number, number, 0.1))
    assert group.total_hundredths == 100


@pytest.mark.parametrize("fte", [0.001, 0.125, 0.333])
def test_an_fte_is_given_in_whole_hundredths(fte: float) -> None:
    assert code(appoint(EMPTY, lead(0, fte))) == "fte-in-hundredths"


def test_the_figures_the_help_gives_for_an_fte_are_the_least_and_the_most_that_are_taken() -> None:
    said = AppointSteeringMember.model_fields["fte"].description or ""
    figures = [float(figure) for figure in re.findall(r"\d+(?:\.\d+)?", said)]
    assert figures == [0.01, 1]
    assert [seated(EMPTY, lead(0, figure)).total_hundredths for figure in figures] == [1, 100]
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        lead(0, 50)


def test_two_co_leads_share_one_full_time_equivalent() -> None:
    shared = seated(EMPTY, lead(0, 0.6))
    assert code(appoint(shared, lead(1, 0.41))) == "lead-is-one-fte"
    assert seated(shared, lead(1, 0.4)).total_hundredths == 100


def test_there_is_no_third_lead() -> None:
    assert code(appoint(seated(EMPTY, lead(0, 0.3), lead(1, 0.3)), lead(2, 0.3))) == "two-co-leads-at-most"


def test_a_person_leads_once() -> None:
    assert code(appoint(seated(EMPTY, lead(0, 0.3)), lead(0, 0.3))) == "seated-already"


def test_a_person_in_several_seats_is_still_one_person() -> None:
    group = seated(with_streams(2), lead(0, 0.6), stream_lead(0, 0, 0.4))
    assert code(appoint(group, stream_lead(0, 1, 0.1))) == "person-is-one-fte"


def test_a_work_stream_has_one_lead_and_has_to_be_ongoing() -> None:
    group = seated(with_streams(1), stream_lead(0, 0, 0.5))
    assert code(appoint(group, stream_lead(1, 0, 0.5))) == "work-stream-has-a-lead"
    refusal = appoint(group, stream_lead(1, 7, 0.5))
    assert isinstance(refusal, Refusal)
    assert refusal.code == "no-such-work-stream"
    assert refusal.data == {"ongoing": {stream(0): "Stream 0"}}
    without = AppointSteeringMember(network=UMBRELLA.id, role="work-stream-lead", fte=0.5, **person(1))
    assert code(appoint(group, without)) == "no-such-work-stream"


def test_a_lead_leads_no_single_work_stream() -> None:
    command = lead(0, 0.5).model_copy(update={"work_stream": stream(0)})
    assert code(appoint(with_streams(1), command)) == "lead-has-no-work-stream"


def test_a_person_acts_with_one_principal_in_all_their_seats() -> None:
    group = seated(with_streams(1), lead(0, 0.5))
    for mistaken in ({"person": an_id(100), "principal": "other"}, {"person": an_id(999), "principal": "person-0"}):
        command = stream_lead(0, 0, 0.1).model_copy(update=mistaken)
        assert code(appoint(group, command)) == "person-and-principal-differ"


def test_closing_a_work_stream_vacates_its_seat_and_frees_its_time() -> None:
    group = seated(with_streams(2), lead(0, 1.0), stream_lead(1, 0, 0.5), stream_lead(2, 1, 0.5))
    command = CloseWorkStream(network=UMBRELLA.id, work_stream=stream(0))
    events = steering_group.close_work_stream(UMBRELLA, group, command, "sam")
    assert not isinstance(events, Refusal)
    assert isinstance(events[0], SteeringMemberStoodDown)
    assert (events[0].person, events[0].because) == (an_id(101), "work-stream-closed")
    closed = after(events, group)
    assert closed.total_hundredths == 150
    assert code(appoint(closed, stream_lead(1, 0, 0.5))) == "no-such-work-stream"
    assert code(steering_group.close_work_stream(UMBRELLA, closed, command, "sam")) == "no-such-work-stream"


def test_two_ongoing_work_streams_do_not_share_a_name() -> None:
    command = OpenWorkStream(network=UMBRELLA.id, name="stream 0")
    decision = steering_group.open_work_stream(UMBRELLA, with_streams(1), command, "sam", stream(9))
    assert code(decision) == "work-stream-open-already"


def test_vacant_are_the_lead_and_the_ongoing_work_streams_without_one() -> None:
    lead_vacant, *streams_vacant = steering_group.vacancies(with_streams(2))
    assert (lead_vacant.role, lead_vacant.work_stream) == ("lead", None)
    assert [(each.role, each.work_stream, each.name) for each in streams_vacant] == [
        ("work-stream-lead", stream(0), "Stream 0"),
        ("work-stream-lead", stream(1), "Stream 1"),
    ]
    led = seated(with_streams(2), lead(0, 0.5), stream_lead(1, 0, 0.5))
    assert [each.work_stream for each in steering_group.vacancies(led)] == [stream(1)]


def test_one_of_two_co_leads_leaves_no_vacancy_and_a_closed_work_stream_has_none() -> None:
    group = seated(with_streams(1), lead(0, 0.5), lead(1, 0.5))
    one_lead = StandDownSteeringMember(network=UMBRELLA.id, person=an_id(100), role="lead")
    group = after(steering_group.stand_down(UMBRELLA, group, one_lead, "sam"), group)
    closing = CloseWorkStream(network=UMBRELLA.id, work_stream=stream(0))
    group = after(steering_group.close_work_stream(UMBRELLA, group, closing, "sam"), group)
    assert steering_group.vacancies(group) == []


def test_what_is_free_is_what_may_still_be_given_to_the_hundredth() -> None:
    full = seated(
        with_streams(6), lead(0, 1.0), *[stream_lead(n, n, 1.0) for n in range(1, 5)], stream_lead(5, 5, 0.99)
    )
    assert steering_group.free_fte(full) == 0.01
    assert steering_group.free_fte(EMPTY) == 6


def test_a_seat_is_left_by_whoever_holds_it_a_colleague_or_the_steward() -> None:
    group = seated(with_streams(1), lead(0, 0.5), stream_lead(1, 0, 0.5))
    command = StandDownSteeringMember(network=UMBRELLA.id, person=an_id(100), role="lead")
    for by in ("person-0", "person-1", "sam"):
        left = after(steering_group.stand_down(UMBRELLA, group, command, by), group)
        assert (left.total_hundredths, len(left.seats)) == (50, 1)
    assert code(steering_group.stand_down(UMBRELLA, group, command, "stranger")) == "not-of-the-steering-group"
    mistaken = command.model_copy(update={"person": an_id(101)})
    assert code(steering_group.stand_down(UMBRELLA, group, mistaken, "sam")) == "not-in-that-seat"


def test_only_the_steward_and_the_steering_group_steer() -> None:
    group = seated(with_streams(1), lead(0, 0.5))
    assert code(appoint(group, stream_lead(1, 0, 0.5), by="stranger")) == "not-of-the-steering-group"
    assert after(appoint(group, stream_lead(1, 0, 0.5), by="person-0"), group).total_hundredths == 100


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["lead", "stream", "down", "close"]),
            st.integers(0, 9),
            st.integers(0, 7),
            st.integers(1, 100).map(lambda hundredths: hundredths / 100),
        ),
        max_size=40,
    )
)
def test_no_sequence_of_appointments_breaks_a_limit(steps: list[tuple[str, int, int, float]]) -> None:
    group = with_streams(8)
    for what, who, which, fte in steps:
        decision: Any
        if what == "lead":
            decision = appoint(group, lead(who, fte))
        elif what == "stream":
            decision = appoint(group, stream_lead(who, which, fte))
        elif what == "down":
            command = StandDownSteeringMember(network=UMBRELLA.id, role="lead", person=person(who)["person"])
            decision = steering_group.stand_down(UMBRELLA, group, command, "sam")
        else:
            closing = CloseWorkStream(network=UMBRELLA.id, work_stream=stream(which))
            decision = steering_group.close_work_stream(UMBRELLA, group, closing, "sam")
        if not isinstance(decision, Refusal):
            group = after(decision, group)
        leads = [seat for seat in group.seats.values() if seat.role == "lead"]
        assert group.total_hundredths == sum(seat.hundredths for seat in group.seats.values()) <= 600
        assert len(leads) <= 2
        assert sum(seat.hundredths for seat in leads) <= 100
        for seat in group.seats.values():
            assert sum(s.hundredths for s in group.seats.values() if s.person == seat.person) <= 100
            assert seat.work_stream is None or group.work_streams[seat.work_stream].ongoing


def with_a_lead_until(until: datetime) -> SteeringGroup:
    return seated(EMPTY, lead(0, 0.5).model_copy(update={"until": until}))


def test_a_seat_falls_vacant_when_its_term_is_over_and_no_earlier() -> None:
    end = NOW + timedelta(days=365)
    group = with_a_lead_until(end)
    [key] = group.seats
    assert steering_group.end_term(group, key, end - timedelta(seconds=1)) == []
    [ended] = steering_group.end_term(group, key, end)
    assert isinstance(ended, SteeringMemberStoodDown)
    assert ended.because == "term-ended"
    after_it = after([ended], group)
    assert (after_it.seats, after_it.total_hundredths) == ({}, 0)
    assert [vacancy.role for vacancy in steering_group.vacancies(after_it)] == ["lead"]


def test_the_end_of_a_term_unseats_nobody_who_was_seated_anew_or_has_no_end() -> None:
    end = NOW + timedelta(days=365)
    group = with_a_lead_until(end + timedelta(days=1))
    [key] = group.seats
    assert steering_group.end_term(group, key, end) == []
    assert steering_group.end_term(seated(EMPTY, lead(0, 0.5)), key, end) == []
    assert steering_group.end_term(EMPTY, key, end) == []


def test_a_term_that_is_past_is_refused() -> None:
    assert code(appoint(EMPTY, lead(0, 0.5).model_copy(update={"until": NOW}))) == "term-over-already"


# ---- networks that leave, people who leave -------------------------------------------------------------------------

LEEDS, YORK, HULL = an_id(301), an_id(302), an_id(303)


def held_for(*networks: str) -> SteeringGroup:
    """A lead who spoke for these networks when they were seated, and a second one who spoke for none."""
    decision = steering_group.appoint(UMBRELLA, EMPTY, lead(0, 0.5), "sam", NOW, networks)
    return seated(after(decision, EMPTY), lead(1, 0.5))


def persons(group: SteeringGroup) -> set[str]:
    return {seat.person for seat in group.seats.values()}


def test_a_seat_ends_when_the_network_of_its_holder_leaves_and_says_with_which() -> None:
    group = held_for(LEEDS)
    [ended] = steering_group.end_with_networks(group, [LEEDS], [LEEDS, YORK])
    assert isinstance(ended, SteeringMemberStoodDown)
    assert (ended.person, ended.because, ended.left_with) == (person(0)["person"], "stood-down", LEEDS)
    left = after([ended], group)
    assert (persons(left), left.total_hundredths) == ({person(1)["person"]}, 50)


def test_a_seat_of_somebody_who_spoke_for_two_networks_ends_with_the_last_of_them() -> None:
    group = held_for(LEEDS, YORK)
    assert steering_group.end_with_networks(group, [LEEDS], [LEEDS, YORK]) == []
    for members in ([YORK], [LEEDS, YORK], []):
        assert len(steering_group.end_with_networks(group, [LEEDS, YORK], members)) == 1
    assert len(steering_group.end_with_networks(group, [YORK], [HULL])) == 1


def test_a_seat_of_somebody_who_spoke_for_no_network_outlasts_every_network() -> None:
    assert steering_group.end_with_networks(held_for(), [LEEDS, YORK], [LEEDS, YORK]) == []


def test_a_vacancy_says_how_the_last_one_went_and_a_seat_nobody_held_says_nothing() -> None:
    group = with_streams(2)
    decision = steering_group.appoint(UMBRELLA, group, stream_lead(0, 0, 0.5), "sam", NOW, [LEEDS])
    group = seated(after(decision, group), lead(1, 0.5))
    group = after(steering_group.end_with_networks(group, [LEEDS], [LEEDS]), group)
    command = StandDownSteeringMember(network=UMBRELLA.id, person=person(1)["person"], role="lead")
    group = after(steering_group.stand_down(UMBRELLA, group, command, "sam"), group)
    assert [(vacancy.name, vacancy.vacant_because) for vacancy in steering_group.vacancies(group)] == [
        (None, "stood-down"),
        ("Stream 0", "network-left"),
        ("Stream 1", None),
    ]


def test_who_leaves_an_employer_loses_the_seats_held_for_its_networks_and_in_its_umbrella_those_held_for_nobody() -> (
    None
):
    group, who = held_for(LEEDS), person(0)["person"]
    members = [LEEDS, YORK]
    assert steering_group.end_with_person(group, who, [YORK], members) == []
    assert steering_group.end_with_person(group, who, [UMBRELLA.id], members) == []
    for seated_as, homes in ((group, [LEEDS]), (held_for(), [UMBRELLA.id])):
        [ended] = steering_group.end_with_person(seated_as, who, homes, members)
        assert isinstance(ended, SteeringMemberStoodDown)
        assert (ended.because, ended.left_with) == ("stood-down", None)
    assert steering_group.end_with_person(held_for(LEEDS, YORK), who, [LEEDS], members) == []
    secretary = person(1)["person"]
    assert steering_group.end_with_person(group, secretary, [LEEDS], members) == []
