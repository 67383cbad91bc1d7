"""Meetings: booked as planned, held on local time, cancelled before they begin."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from services.events.domain.plan import Plan, unknown_plan
from services.events.domain.venue import Venue
from shared.contracts.events import (
    AttendanceRecorded,
    BookMeeting,
    CancelMeeting,
    MeetingBooked,
    MeetingCancelled,
    MeetingState,
)
from shared.contracts.membership import Region
from shared.contracts.message import Event
from shared.refusal import Refusal

LOCAL_TIME = ZoneInfo("Europe/London")


class Meeting(BaseModel, frozen=True):
    """One face-to-face meeting of an umbrella network."""

    id: str
    umbrella: str
    plan: str
    number: int
    date: date
    starts_at: datetime
    ends_at: datetime
    venue: str
    venue_name: str
    place: str
    region: Region
    host: str
    invited: tuple[str, ...]
    state: MeetingState = "booked"
    reason: str | None = None
    revision: int = 0
    """Counts what calendars must be told of: it is the SEQUENCE of the calendar file."""
    revised_at: datetime


class Standing(NamedTuple):
    """A meeting that is not cancelled, as far as booking the next one is concerned."""

    id: str
    plan: str
    number: int


def book(
    command: BookMeeting,
    meeting: str,
    plan: Plan | None,
    venues: dict[str, Venue],
    standing: Sequence[Standing],
    invited: Sequence[str],
    at: datetime,
) -> list[Event] | Refusal:
    """Books one meeting of a plan.

    ``standing``: the umbrella's meetings by date, without the cancelled ones. The plan kept its rules with the meetings
    it was made after, so it can be booked only as long as those, and its own earlier ones, are what stands.
    """
    if plan is None:
        return unknown_plan(command.plan)
    planned = next((planned for planned in plan.meetings if planned.number == command.number), None)
    if planned is None:
        return _not_in_plan(command, plan)
    if refusal := _not_its_turn(command, plan, standing):
        return refusal
    starts_at, ends_at = (
        datetime.combine(planned.date, clock, LOCAL_TIME).astimezone(UTC) for clock in (command.starts, command.ends)
    )
    if starts_at <= at:
        return Refusal(
            code="meeting-day-passed",
            sentence=f"The meeting was planned for {planned.date}, {command.starts:%H:%M}, which has passed; "
            "plan the next meetings again.",
            field="number",
        )
    venue = venues[planned.venue]
    return [
        MeetingBooked(
            meeting=meeting,
            umbrella=plan.umbrella,
            plan=plan.id,
            number=planned.number,
            date=planned.date,
            starts_at=starts_at,
            ends_at=ends_at,
            venue=venue.id,
            venue_name=venue.name,
            place=venue.place,
            region=venue.region,
            host=venue.host,
            invited=tuple(invited),
            booked_at=at,
        )
    ]


def _not_its_turn(command: BookMeeting, plan: Plan, standing: Sequence[Standing]) -> Refusal | None:
    own = {held.number for held in standing if held.plan == plan.id}
    if command.number in own:
        return Refusal(
            code="meeting-already-booked",
            sentence=f"Meeting {command.number} of this plan is booked already.",
            field="number",
        )
    expected = [*plan.follows, *(held.id for held in standing if held.plan == plan.id)]
    stands = [held.id for held in standing]
    if (stands[-len(expected) :] if plan.follows else stands) != expected:
        return Refusal(
            code="plan-overtaken",
            sentence="Meetings were booked or cancelled since this plan was made, so it may break the rules of turn "
            "and spacing; plan the next meetings again.",
            field="plan",
        )
    first_open = min(set(range(1, len(plan.meetings) + 1)) - own)
    if command.number != first_open:
        return Refusal(
            code="out-of-order",
            sentence=f"Meeting {command.number} was to be booked, but the meetings of a plan are booked in their "
            f"order; the next is {first_open}.",
            field="number",
            data={"next": first_open},
        )
    return None


def cancel(meeting: Meeting | None, command: CancelMeeting, at: datetime) -> list[Event] | Refusal:
    """Cancels a meeting that has not begun."""
    if meeting is None:
        return unknown_meeting(command.meeting)
    if meeting.state == "cancelled":
        return Refusal(
            code="meeting-already-cancelled",
            sentence=f"The meeting of {meeting.date} was cancelled already: {meeting.reason}",
            field="meeting",
        )
    if begun(meeting, at):
        return Refusal(
            code="meeting-begun",
            sentence=f"The meeting of {meeting.date} has begun; a meeting can be cancelled until then.",
            field="meeting",
        )
    return [MeetingCancelled(meeting=meeting.id, umbrella=meeting.umbrella, reason=command.reason, cancelled_at=at)]


def begun(meeting: Meeting, at: datetime) -> bool:
    """Whether a meeting's time has come."""
    return at >= meeting.starts_at


def evolve(meeting: Meeting | None, event: Event) -> Meeting:
    """Applies what happened to a meeting."""
    match event, meeting:
        case MeetingBooked(), None:
            said = event.model_dump(exclude={"meeting", "booked_at"})
            return Meeting(id=event.meeting, revised_at=event.booked_at, **said)
        case MeetingCancelled(), Meeting():
            return meeting.model_copy(
                update={
                    "state": "cancelled",
                    "reason": event.reason,
                    "revision": meeting.revision + 1,
                    "revised_at": event.cancelled_at,
                }
            )
        case AttendanceRecorded(), Meeting():
            return meeting
    raise TypeError(f"{event.wire.type} does not happen to {meeting}")


def unknown_meeting(meeting: str) -> Refusal:
    """Nobody has booked it."""
    return Refusal(
        code="meeting-unknown",
        sentence=f"No meeting has the id {meeting}; list-meetings shows those of an umbrella network.",
        field="meeting",
    )


def _not_in_plan(command: BookMeeting, plan: Plan) -> Refusal:
    if plan.state != "planned":
        said = "is still being worked out" if plan.state == "in-hand" else f"failed: {plan.sentence}"
        return Refusal(code="plan-not-ready", sentence=f"The plan {plan.id} {said}", field="plan")
    return Refusal(
        code="not-in-plan",
        sentence=f"Meeting {command.number} was to be booked, but the plan has {len(plan.meetings)}.",
        field="number",
        data={"meetings": len(plan.meetings)},
    )
