"""The ledger of burden: what each member network has travelled, line by line, and where a newcomer starts.

Lines are only ever added. A correction is one more line for the same meeting, with its reason; the last one counts.
Who was left to take part remotely did not travel, but was not spared either: the journeys it stands for are kept apart
as *forgone* and count towards the total, so that the planner does not move meetings away from them.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

from pydantic import BaseModel

from services.events.domain.meeting import Meeting, begun, unknown_meeting
from services.events.domain.member import Network
from services.events.domain.travel import Journey, KnownTimes, Spot, journey, mean_minutes
from services.events.domain.venue import Venue
from shared.contracts.events import AttendanceRecorded, Attended, RecordAttendance
from shared.contracts.membership import Office
from shared.contracts.message import Event
from shared.refusal import Refusal


class Line(BaseModel, frozen=True):
    """One line: a network's part in a meeting, or where it started when it was admitted (``meeting`` is none)."""

    umbrella: str
    network: str
    meeting: str | None
    held_on: date
    """The day of the meeting, or of the admission."""
    travelled: int
    forgone: int = 0
    in_person: int = 0
    remote: int = 0
    estimated: bool = False
    correction: str | None = None
    written_at: datetime


class Entry(NamedTuple):
    """What of a line counts for a total: an umbrella that meets for years has tens of thousands."""

    network: str
    meeting: str | None
    held_on: date
    travelled: int
    forgone: int


class Total(NamedTuple):
    """Minutes a network has borne: where it started, and what it travelled and was left out of since."""

    opening: int = 0
    travelled: int = 0
    forgone: int = 0

    @property
    def minutes(self) -> int:
        return sum(self)


def totals(lines: Iterable[Entry]) -> dict[str, Total]:
    """The total of each network, from the lines of one umbrella in the order they were written.

    A network that left and was admitted again starts anew: meetings before its last admission no longer count.
    """
    openings: dict[str, Entry] = {}
    meetings: dict[str, dict[str, Entry]] = {}
    for line in lines:
        if line.meeting is None:
            openings[line.network] = line
        else:
            meetings.setdefault(line.network, {})[line.meeting] = line
    return {network: _total(openings.get(network), meetings.get(network, {})) for network in {**openings, **meetings}}


def _total(opening: Entry | None, meetings: Mapping[str, Entry]) -> Total:
    counted = [line for line in meetings.values() if opening is None or line.held_on >= opening.held_on]
    return Total(
        opening=opening.travelled if opening else 0,
        travelled=sum(line.travelled for line in counted),
        forgone=sum(line.forgone for line in counted),
    )


def opening(umbrella: str, network: str, members: Sequence[int], since: date, at: datetime) -> Line:
    """Where a newcomer starts: the median total of those who are member networks already, 0 where there are none.

    So it neither pays nor collects for years before it came.
    """
    return Line(
        umbrella=umbrella, network=network, meeting=None, held_on=since, travelled=median(members), written_at=at
    )


def median(minutes: Sequence[int]) -> int:
    """The median in whole minutes, a half rounded up; 0 of nothing."""
    if not minutes:
        return 0
    ordered = sorted(minutes)
    middle = len(ordered) // 2
    return mean_minutes(ordered[middle : middle + 1] if len(ordered) % 2 else ordered[middle - 1 : middle + 1])


def record_attendance(
    command: RecordAttendance,
    meeting: Meeting | None,
    network: Network | None,
    venue: Venue | None,
    known: KnownTimes,
    at: datetime,
    *,
    member: bool,
    earlier: bool,
) -> list[Event] | Refusal:
    """Writes one network's part in a meeting.

    ``member``: the network is or was a member of the meeting's umbrella; ``earlier``: its part is written already.
    """
    if meeting is None or venue is None:
        return unknown_meeting(command.meeting)
    if meeting.state == "cancelled" or not begun(meeting, at):
        return Refusal(
            code="meeting-not-held",
            sentence=f"The meeting of {meeting.date} "
            + ("was cancelled" if meeting.state == "cancelled" else f"begins at {meeting.starts_at:%Y-%m-%d %H:%M} UTC")
            + "; attendance is recorded of meetings that have begun.",
            field="meeting",
        )
    if network is None or not member:
        return Refusal(
            code="not-a-member-network",
            sentence=f"{command.network} is no member network of the umbrella that met; "
            "attendance is recorded for its member networks.",
            field="network",
        )
    if refusal := _not_a_correction(command, network, earlier):
        return refusal
    journeys = _journeys(command.attended, network, venue, known)
    if isinstance(journeys, Refusal):
        return journeys
    return [
        AttendanceRecorded(
            meeting=meeting.id,
            umbrella=meeting.umbrella,
            network=network.id,
            in_person=sum(person.mode == "in-person" for person in command.attended),
            remote=sum(person.mode == "remote" for person in command.attended),
            travelled=_mean(command.attended, journeys, "in-person"),
            forgone=_mean(command.attended, journeys, "remote"),
            estimated=any(to.estimated for to in journeys),
            correction=command.correction,
        )
    ]


def _not_a_correction(command: RecordAttendance, network: Network, earlier: bool) -> Refusal | None:
    if earlier and command.correction is None:
        return Refusal(
            code="attendance-already-recorded",
            sentence=f"What {network.name} travelled to this meeting stands in the ledger; "
            "to correct it, record it again and give the reason in correction.",
            field="correction",
        )
    if command.correction is not None and not earlier:
        return Refusal(
            code="nothing-to-correct",
            sentence=f"Nothing is recorded of {network.name} for this meeting; leave correction out to record it.",
            field="correction",
        )
    return None


def line(event: AttendanceRecorded, meeting: Meeting, at: datetime) -> Line:
    """The line an attendance makes."""
    return Line(held_on=meeting.date, written_at=at, **event.model_dump())


def _journeys(
    attended: Sequence[Attended], network: Network, venue: Venue, known: KnownTimes
) -> list[Journey] | Refusal:
    """The journey each person made, or would have made."""
    journeys: list[Journey] = []
    seen: set[str] = set()
    for number, person in enumerate(attended):
        field = f"attended.{number}.representative"
        representative = network.representatives.get(person.representative)
        if representative is None:
            return Refusal(
                code="not-a-representative",
                sentence=f"{person.representative} never was a representative of {network.name}; "
                "record those who speak or spoke for it.",
                field=field,
            )
        if person.representative in seen:
            return Refusal(
                code="representative-named-twice",
                sentence=f"{person.representative} is named twice; name each representative once, "
                "in-person if they travelled at all.",
                field=field,
            )
        seen.add(person.representative)
        made = _journey(person, representative.office or network.office, venue, known)
        if made is None:
            return Refusal(
                code="office-unknown",
                sentence=f"No office of {person.representative} or of {network.name} is known, so the journey cannot "
                "be estimated; give minutes.",
                field=f"attended.{number}.minutes",
            )
        journeys.append(made)
    return journeys


def _journey(person: Attended, office: Office | None, venue: Venue, known: KnownTimes) -> Journey | None:
    if person.minutes is not None:
        return Journey(person.minutes, estimated=False)
    if office is not None:
        origin = Spot(office.place, office.latitude, office.longitude)
        return journey(origin, Spot(venue.place, venue.latitude, venue.longitude), known)
    # Of a network without any office no journey can be told, so it is in no plan either.
    return Journey(0, estimated=True) if person.mode == "remote" else None


def _mean(attended: Sequence[Attended], journeys: Sequence[Journey], mode: str) -> int:
    """Minutes of those who took part in this way, spread over all of the network who took part."""
    minutes = [to.minutes if person.mode == mode else 0 for person, to in zip(attended, journeys, strict=True)]
    return mean_minutes(minutes) if minutes else 0
