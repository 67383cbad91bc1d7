"""What events says and hears: venues, travel times, planned and booked meetings, the ledger of burden.

A representative appears as an opaque id. Minutes are whole minutes door to door, one way.
"""

from datetime import date, time
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from shared.contracts.membership import Latitude, Longitude, Nation, Region, nation_of
from shared.contracts.message import Command, Event, Id, Line, Moment, Query, Role

Minutes = Annotated[int, Field(ge=0, description="whole minutes")]
Rule = Literal["capacity", "step-free", "london", "host-turn", "region-turn"]
"""Why a venue cannot be had: too small, not step-free, London too often, its host or its region too soon again."""

PlanState = Literal["in-hand", "planned", "failed"]
MeetingState = Literal["booked", "cancelled"]
AttendanceMode = Literal["in-person", "remote"]
Proof = Literal["optimal", "bounded"]


# Venues, travel times, blackouts ------------------------------------------------------------------------------------


class RegisterVenue(Command):
    """Registers a place where meetings can be held."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    name: Line
    place: Line = Field(description="town or city")
    region: Region
    nation: Nation
    latitude: Latitude
    longitude: Longitude
    host: Id = Field(description="the organisation that offers it")
    capacity: int = Field(ge=1, le=100_000, description="people it holds")
    step_free: bool = Field(description="whether every room and its way in can be reached without a step")

    @model_validator(mode="after")
    def _region_lies_in_nation(self) -> "RegisterVenue":
        if nation_of(self.region) != self.nation:
            raise ValueError(f"the region {self.region} lies in {nation_of(self.region)}, not in {self.nation}")
        return self


class VenueRegistered(Event):
    """A venue can be chosen from now on."""

    key = "venue"
    venue: Id
    name: Line
    place: Line
    region: Region
    nation: Nation
    latitude: float
    longitude: float
    host: Id
    capacity: int
    step_free: bool


class TravelTime(BaseModel, frozen=True):
    """A known journey between two places, the same in both directions."""

    origin: Line = Field(description="town or city, as offices and venues name theirs")
    destination: Line
    minutes: int = Field(ge=0, le=2_880, description="door to door, one way")


class GivenTravelTime(TravelTime, frozen=True, extra="forbid"):
    """A journey as an operator gives it."""


class LoadTravelTimes(Command):
    """Loads known journeys; they replace the estimates between the same places, and earlier loaded ones."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    source: Line = Field(description="where the figures are from")
    journeys: tuple[GivenTravelTime, ...] = Field(min_length=1, max_length=5_000)


class TravelTimesLoaded(Event):
    """Known journeys take the place of estimates in every plan from now on."""

    key = "table"
    table: Id
    source: Line
    journeys: tuple[TravelTime, ...]


class DeclareBlackout(Command):
    """Names days on which no meeting is held, such as a period before an election."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    name: Line
    first: date
    last: date = Field(description="the last such day, itself included")
    umbrella: Id | None = Field(default=None, description="the umbrella network it holds for; left out, for all")

    @model_validator(mode="after")
    def _first_before_last(self) -> "DeclareBlackout":
        if self.last < self.first:
            raise ValueError(f"it would end on {self.last}, before it begins on {self.first}")
        return self


class LiftBlackout(Command):
    """Takes a blackout back."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    blackout: Id


class BlackoutDeclared(Event):
    """No meeting is held on these days."""

    key = "blackout"
    blackout: Id
    name: Line
    first: date
    last: date
    umbrella: Id | None


class BlackoutLifted(Event):
    """The days of a blackout are free again."""

    key = "blackout"
    blackout: Id


# Plans --------------------------------------------------------------------------------------------------------------


class PlanMeetings(Command):
    """Plans the next face-to-face meetings of an umbrella network together: a date and a venue for each.

    Answered at once with the id of the plan; what came of it is told by ``meetings-planned`` or ``plan-failed``.
    """

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    umbrella: Id
    meetings: int = Field(default=2, ge=1, le=4, description="how many to plan together")
    earliest: date | None = Field(default=None, description="none of them before this day")
    seats: int | None = Field(
        default=None, ge=1, description="people a venue must hold; left out, one for each representative"
    )
    notice_days: int = Field(default=42, ge=0, le=365, description="days between the asking and the first meeting")
    host_window: int = Field(
        default=4,
        ge=0,
        le=100,
        description="a host is not asked again for this many meetings, or until all other hosts had their turn",
    )
    region_window: int = Field(
        default=3,
        ge=0,
        le=100,
        description="a region is not visited again for this many meetings, or until all others had their turn",
    )


class PlanningStarted(Event):
    """A plan is being worked out."""

    key = "plan"
    plan: Id
    umbrella: Id
    meetings: int
    follows: tuple[Id, ...] = Field(description="the meetings, oldest first, that it carries on from")
    asked_at: Moment


class PlannedMeeting(BaseModel, frozen=True):
    """One meeting of a plan."""

    number: int = Field(ge=1, description="its place in the plan")
    date: date
    venue: Id


class NetworkBurden(BaseModel, frozen=True):
    """What one member network bears by a plan. A network counts by the mean of its representatives."""

    network: Id
    representatives: int
    before: Minutes = Field(description="its total in the ledger before the plan")
    minutes: tuple[Minutes, ...] = Field(description="its journey to each meeting of the plan")
    after: Minutes = Field(description="its total once the plan has been carried out")
    by_alternative: Minutes | None = Field(description="its total by the best alternative, if there is one")
    estimated: bool = Field(description="whether any of these journeys is an estimate and not a known time")


class VenueVerdict(BaseModel, frozen=True):
    """Why a venue is not where a meeting of the plan is held, the other meetings being as planned."""

    venue: Id
    number: int = Field(description="the meeting")
    rules: tuple[Rule, ...] = Field(description="the rules that reject it; none: allowed, and the burden decided")
    worst: Minutes | None = Field(description="the highest total of any network if it were taken, where allowed")


class Alternative(BaseModel, frozen=True):
    """The best plan with another set of venues."""

    venues: tuple[Id, ...] = Field(description="for each meeting")
    worst: Minutes = Field(description="the highest total of any network")
    person_minutes: Minutes


class Windows(BaseModel, frozen=True):
    """The figures the rules were applied with."""

    seats: int
    notice_days: int
    host_window: int
    region_window: int


class Certificate(BaseModel, frozen=True):
    """Why a plan is what it is. The same inputs give the same certificate."""

    digest: str = Field(description="SHA-256 of the inputs as canonical JSON, in hexadecimal")
    proof: Proof
    bound: Minutes = Field(description="no plan has a lower highest total than this; proven optimal, it equals `worst`")
    worst: Minutes = Field(description="the highest total of any network after the plan")
    person_minutes: Minutes = Field(description="what all representatives together travel to the planned meetings")
    rules: Windows
    burdens: tuple[NetworkBurden, ...] = Field(description="the worst off first")
    not_counted: tuple[Id, ...] = Field(description="member networks of which no office is known")
    verdicts: tuple[VenueVerdict, ...]
    alternative: Alternative | None
    dates: tuple[str, ...] = Field(description="for each meeting, why this day, in words")


class MeetingsPlanned(Event):
    """The next meetings are planned, with the certificate that explains them. Nothing is booked yet."""

    key = "plan"
    plan: Id
    umbrella: Id
    meetings: tuple[PlannedMeeting, ...]
    certificate: Certificate


class PlanFailed(Event):
    """No plan keeps all the rules, or it could not be worked out."""

    key = "plan"
    plan: Id
    umbrella: Id
    code: str = Field(description="kebab-case, names the reason")
    sentence: str
    conflicting: tuple[Rule, ...] = Field(description="each of these rules, given up alone, would allow a plan")


# Meetings -----------------------------------------------------------------------------------------------------------


class BookMeeting(Command):
    """Books a meeting as planned. The meetings of a plan are booked in their order."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    plan: Id
    number: int = Field(ge=1, le=4, description="its place in the plan")
    starts: time = Field(default=time(11, 0), description="local time in the United Kingdom")
    ends: time = Field(default=time(15, 30), description="local time in the United Kingdom")

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> "BookMeeting":
        if self.starts.tzinfo or self.ends.tzinfo:
            raise ValueError("starts and ends are local times: give them without an offset")
        if self.ends <= self.starts:
            raise ValueError(f"it would end at {self.ends}, before it starts at {self.starts}")
        return self


class MeetingBooked(Event):
    """A face-to-face meeting will be held."""

    key = "meeting"
    meeting: Id
    umbrella: Id
    plan: Id
    number: int
    date: date
    starts_at: Moment
    ends_at: Moment
    venue: Id
    venue_name: Line
    place: Line
    region: Region
    host: Id
    invited: tuple[Id, ...] = Field(description="the member networks at the time of booking")
    booked_at: Moment


class CancelMeeting(Command):
    """Cancels a booked meeting that has not begun."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    meeting: Id
    reason: Line = Field(description="told to everyone invited: name nobody")


class MeetingCancelled(Event):
    """A booked meeting will not be held."""

    key = "meeting"
    meeting: Id
    umbrella: Id
    reason: Line
    cancelled_at: Moment


# The ledger ---------------------------------------------------------------------------------------------------------


class Attended(BaseModel, frozen=True, extra="forbid"):
    """How one representative took part."""

    representative: Id
    mode: AttendanceMode
    minutes: int | None = Field(
        default=None,
        ge=0,
        le=2_880,
        description="what the journey really took, door to door, one way; left out, the known or estimated time",
    )

    @model_validator(mode="after")
    def _nobody_travels_remotely(self) -> "Attended":
        if self.mode == "remote" and self.minutes is not None:
            raise ValueError("who takes part remotely travels no minutes: leave minutes out")
        return self


class RecordAttendance(Command):
    """Records who of one member network took part in a meeting, once it has begun.

    The ledger only grows: to correct what was recorded, record it again with the reason for the correction.
    """

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    meeting: Id
    network: Id
    attended: tuple[Attended, ...] = Field(max_length=1_000, description="empty: nobody took part")
    correction: Line | None = Field(default=None, description="why an earlier record is corrected: name nobody")


class AttendanceRecorded(Event):
    """One member network's part in a meeting stands in the ledger."""

    key = "meeting"
    meeting: Id
    umbrella: Id
    network: Id
    in_person: int = Field(description="representatives who travelled")
    remote: int = Field(description="representatives who took part remotely")
    travelled: Minutes = Field(description="the mean journey of those who took part, counting only journeys made")
    forgone: Minutes = Field(description="the same for the journeys of those who were left to take part remotely")
    estimated: bool = Field(description="whether any minute of it is an estimate")
    correction: str | None


# Questions ----------------------------------------------------------------------------------------------------------


class VenueView(BaseModel, frozen=True):
    """One venue."""

    id: Id
    name: str
    place: str
    region: Region
    nation: Nation
    latitude: float
    longitude: float
    host: Id
    capacity: int
    step_free: bool


class VenuePage(BaseModel, frozen=True):
    """Venues in the order they were registered."""

    venues: tuple[VenueView, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListVenues(Query[VenuePage]):
    """Lists venues, all or those of one region."""

    region: Region | None = None
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")


class BlackoutView(BaseModel, frozen=True):
    """Days on which no meeting is held."""

    id: Id
    name: str
    first: date
    last: date
    umbrella: Id | None


class BlackoutPage(BaseModel, frozen=True):
    """Blackouts by their first day."""

    blackouts: tuple[BlackoutView, ...]


class ListBlackouts(Query[BlackoutPage]):
    """Lists the blackouts in force: those for all, and those of one umbrella network if it is given."""

    umbrella: Id | None = None


class PlanView(BaseModel, frozen=True):
    """A plan and all that explains it."""

    id: Id
    umbrella: Id
    state: PlanState
    asked_at: Moment
    meetings: tuple[PlannedMeeting, ...]
    certificate: Certificate | None
    code: str | None = Field(description="why it failed, if it did")
    sentence: str | None
    conflicting: tuple[Rule, ...]
    names: dict[Id, str] = Field(description="of the umbrella, the networks and the venues it speaks of")


class ShowPlan(Query[PlanView]):
    """Shows a plan with its certificate, or why there is none."""

    plan: Id


class PlanInputs(BaseModel, frozen=True):
    """Everything a plan was worked out from, as it was."""

    plan: Id
    digest: str
    inputs: dict[str, object] = Field(description="plain data; worked out again it gives the same plan")


class ShowPlanInputs(Query[PlanInputs]):
    """Shows what a plan was worked out from, so that anybody can check it."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    plan: Id


class MeetingView(BaseModel, frozen=True):
    """One meeting."""

    id: Id
    umbrella: Id
    plan: Id
    number: int
    state: MeetingState
    date: date
    starts_at: Moment
    ends_at: Moment
    venue: Id
    venue_name: str
    place: str
    region: Region
    host: Id
    invited: tuple[Id, ...]
    reason: str | None = Field(description="why it was cancelled, if it was")


class MeetingPage(BaseModel, frozen=True):
    """Meetings by date."""

    meetings: tuple[MeetingView, ...]
    total: int = Field(default=0, description="in all pages")
    next: str | None = Field(default=None, description="give it as `after` for the next page; none on the last")


class ListMeetings(Query[MeetingPage]):
    """Lists the meetings of an umbrella network by date."""

    umbrella: Id
    cancelled: bool = Field(default=False, description="cancelled ones too")
    limit: int = Field(default=20, ge=1, le=500, description="each has everybody invited: 20 with 1,000 fit one answer")
    after: Id | None = Field(default=None, description="`next` of the page before")


class LedgerLine(BaseModel, frozen=True):
    """One line of the ledger, in the order written. Of several for one meeting the last one counts."""

    network: Id
    meeting: Id | None = Field(description="none for where a newcomer starts")
    travelled: Minutes
    forgone: Minutes
    in_person: int
    remote: int
    estimated: bool
    correction: str | None
    written_at: Moment


class LedgerTotal(BaseModel, frozen=True):
    """What one member network has borne since it was admitted."""

    network: Id
    name: str
    opening: Minutes = Field(description="where it started: the median of the ledger when it was admitted")
    travelled: Minutes
    forgone: Minutes = Field(description="journeys it was left out of, which count as if travelled")
    total: Minutes


class LedgerPage(BaseModel, frozen=True):
    """The ledger of an umbrella network: the totals, the worst off first, and every line."""

    totals: tuple[LedgerTotal, ...]
    lines: tuple[LedgerLine, ...] = Field(description="those of the network asked for; none if none was")


class ShowLedger(Query[LedgerPage]):
    """Shows what each member network has borne, and the lines of one network if it is given."""

    umbrella: Id
    network: Id | None = None


class CalendarText(BaseModel, frozen=True):
    """An iCalendar object (RFC 5545, RFC 5546)."""

    file_name: str
    method: Literal["REQUEST", "CANCEL"]
    uid: str
    sequence: int
    text: str = Field(description="lines end in CRLF")


class CalendarFile(Query[CalendarText]):
    """A meeting as a calendar file: an invitation, or its withdrawal once it is cancelled."""

    meeting: Id
