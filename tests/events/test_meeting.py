"""Booking as planned, and only as long as the plan still holds."""

from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from services.events.domain import meeting
from services.events.domain.meeting import Meeting, Standing
from services.events.domain.plan import Plan
from services.events.domain.venue import Venue
from shared.contracts.events import BookMeeting, CancelMeeting, MeetingBooked, PlannedMeeting
from shared.refusal import Refusal

AT = datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.fixture
def venues(country: Any) -> dict[str, Venue]:
    known = [country.venue("Leeds"), country.venue("Cardiff")]
    return {each.venue: Venue(id=each.venue, name="Hall", **each.model_dump(exclude={"venue"})) for each in known}


@pytest.fixture
def plan(country: Any) -> Plan:
    return Plan(
        id=country.id("plan"),
        umbrella=country.id("umbrella"),
        state="planned",
        asked_at=AT,
        follows=(country.id("past"),),
        meetings=(
            PlannedMeeting(number=1, date=date(2027, 1, 13), venue=country.hall("Leeds")),
            PlannedMeeting(number=2, date=date(2027, 7, 14), venue=country.hall("Cardiff")),
        ),
    )


@pytest.fixture
def book(country: Any, plan: Plan, venues: dict[str, Venue]) -> Any:
    past = Standing(country.id("past"), country.id("earlier plan"), 1)

    def book(number: int = 1, after: tuple[Standing, ...] = (past,), at: datetime = AT, **times: time) -> Any:
        command = BookMeeting(plan=plan.id, number=number, **times)
        invited = (country.id("one"), country.id("two"))
        return meeting.book(command, country.id("meeting"), plan, venues, after, invited, at)

    book.past = past  # type: ignore[attr-defined]
    return book


def code(decision: Any) -> str:
    assert isinstance(decision, Refusal), decision
    return decision.code


def test_a_meeting_is_booked_where_and_when_it_was_planned(book: Any, country: Any) -> None:
    [booked] = book()
    assert booked.venue == country.hall("Leeds")
    assert (booked.date, booked.number) == (date(2027, 1, 13), 1)
    assert booked.invited == (country.id("one"), country.id("two"))


def test_it_is_held_at_local_time_in_winter_and_in_summer(book: Any, plan: Plan) -> None:
    [winter] = book(starts=time(11), ends=time(15))
    assert (winter.starts_at, winter.ends_at) == (
        datetime(2027, 1, 13, 11, tzinfo=UTC),
        datetime(2027, 1, 13, 15, tzinfo=UTC),
    )
    [summer] = book(2, (book.past, Standing("first", plan.id, 1)), starts=time(11), ends=time(15))
    assert summer.starts_at == datetime(2027, 7, 14, 10, tzinfo=UTC)


def test_the_meetings_of_a_plan_are_booked_in_their_order(book: Any) -> None:
    refusal = book(2)
    assert code(refusal) == "out-of-order"
    assert refusal.data == {"next": 1}


def test_a_meeting_is_booked_once(book: Any, plan: Plan) -> None:
    assert code(book(1, (book.past, Standing("first", plan.id, 1)))) == "meeting-already-booked"


def test_a_plan_falls_when_another_meeting_was_booked_since(book: Any) -> None:
    assert code(book(1, (book.past, Standing("other", "other plan", 1)))) == "plan-overtaken"


def test_a_plan_falls_when_a_meeting_it_followed_was_cancelled(book: Any) -> None:
    assert code(book(1, ())) == "plan-overtaken"


def test_a_plan_made_before_any_meeting_falls_when_one_was_booked_since(
    plan: Plan, venues: dict[str, Venue], country: Any
) -> None:
    first = plan.model_copy(update={"follows": ()})
    command = BookMeeting(plan=plan.id, number=1)
    assert not isinstance(meeting.book(command, country.id("new"), first, venues, [], [country.id("one")], AT), Refusal)
    other = [Standing("other", "other plan", 1)]
    assert code(meeting.book(command, country.id("new"), first, venues, other, [], AT)) == "plan-overtaken"


def test_a_day_that_has_passed_is_not_booked(book: Any) -> None:
    assert code(book(at=datetime(2027, 1, 13, 11, tzinfo=UTC))) == "meeting-day-passed"


def test_only_what_is_in_the_plan_can_be_booked(book: Any) -> None:
    assert code(book(3)) == "not-in-plan"


def test_a_plan_in_hand_or_failed_can_not_be_booked(plan: Plan, venues: dict[str, Venue], country: Any) -> None:
    command = BookMeeting(plan=plan.id, number=1)
    for state in ("in-hand", "failed"):
        unready = plan.model_copy(update={"state": state, "meetings": (), "sentence": "no venue fits."})
        assert code(meeting.book(command, country.id("new"), unready, venues, [], [], AT)) == "plan-not-ready"
    assert code(meeting.book(command, country.id("new"), None, venues, [], [], AT)) == "plan-unknown"


@pytest.fixture
def booked(book: Any) -> Meeting:
    [event] = book()
    assert isinstance(event, MeetingBooked)
    return meeting.evolve(None, event)


def test_a_meeting_is_cancelled_until_it_begins(booked: Meeting) -> None:
    command = CancelMeeting(meeting=booked.id, reason="the hall is flooded")
    [event] = meeting.cancel(booked, command, AT)  # type: ignore[misc]
    cancelled = meeting.evolve(booked, event)
    assert (cancelled.state, cancelled.reason) == ("cancelled", "the hall is flooded")
    assert cancelled.revision == booked.revision + 1
    assert code(meeting.cancel(cancelled, command, AT)) == "meeting-already-cancelled"
    assert code(meeting.cancel(booked, command, booked.starts_at)) == "meeting-begun"
    assert code(meeting.cancel(None, command, AT)) == "meeting-unknown"
