"""Steering groups: offices, seats, work streams."""

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator

from shared.contracts.membership.organisation import Latitude, Longitude, Nation, Region, nation_of
from shared.contracts.message import AsOf, Command, Event, Id, Line, Moment, Principal, Query

SteeringRole = Literal["lead", "work-stream-lead"]
VacantBecause = Literal["stood-down", "work-stream-closed", "term-ended", "network-left"]


def _at_most_whole(share: str) -> str:
    if Fraction(share) > 1:
        raise ValueError(f"a share is at most the whole: {share} is more than 1/1")
    return share


Share = Annotated[
    str,
    StringConstraints(pattern=r"^[1-9][0-9]?/[1-9][0-9]?$"),
    AfterValidator(_at_most_whole),
    Field(description="an exact share as a fraction, such as 1/3"),
]


# A reader of events passes over a field it does not know yet; only what a command gives is held to the letter. Put into
# an event, a given office is an office again.
class Office(BaseModel, frozen=True, revalidate_instances="subclass-instances"):
    """Where people set out from to a meeting: the place of an office, never of a home."""

    place: Line = Field(description="town or city")
    region: Region
    nation: Nation
    latitude: Latitude
    longitude: Longitude

    @model_validator(mode="after")
    def _region_lies_in_nation(self) -> "Office":
        if nation_of(self.region) != self.nation:
            raise ValueError(f"the region {self.region} lies in {nation_of(self.region)}, not in {self.nation}")
        return self


class GivenOffice(Office, frozen=True, extra="forbid"):
    """An office as a command gives it: a field nobody knows is an error there."""


class OpenWorkStream(Command):
    """Opens a work stream of an umbrella network. Sent by its steward or one of its steering group."""

    network: Id = Field(description="the umbrella network")
    name: Line


class CloseWorkStream(Command):
    """Closes a work stream; the seat of its lead is vacated."""

    network: Id = Field(description="the umbrella network")
    work_stream: Id


class AppointSteeringMember(Command):
    """Seats a person in a steering group: as lead (two co-leads share at most 1.0 FTE) or to lead a work stream."""

    network: Id = Field(description="the umbrella network whose steering group it is")
    person: Id = Field(description="opaque id of the person")
    principal: Principal = Field(description="the credentials the person acts with")
    role: SteeringRole
    work_stream: Id | None = Field(default=None, description="the work stream a work-stream lead leads")
    fte: float = Field(
        gt=0, le=1, description="full-time equivalents: a share of a full post, 0.01 to 1, at most two decimals"
    )
    until: Moment | None = Field(
        default=None, description="end of the term, when the seat falls vacant; without it the seat has no end"
    )


class StandDownSteeringMember(Command):
    """A person leaves a seat. Sent by that person, the umbrella's steward or another of its steering group."""

    network: Id = Field(description="the umbrella network whose steering group it is")
    person: Id
    role: SteeringRole
    work_stream: Id | None = Field(default=None, description="the work stream, for a work-stream lead")


class WorkStreamOpened(Event):
    """An umbrella network has a new work stream, which has no lead yet."""

    key = "group"
    group: Id
    network: Id
    work_stream: Id
    name: Line


class WorkStreamClosed(Event):
    """A work stream is at its end."""

    key = "group"
    group: Id
    network: Id
    work_stream: Id
    name: Line


class SteeringMemberAppointed(Event):
    """A person took a seat in a steering group."""

    key = "group"
    group: Id
    network: Id = Field(description="the umbrella network")
    person: Id
    principal: Principal
    role: SteeringRole
    work_stream: Id | None
    fte: float
    until: Moment | None = Field(default=None, description="end of the term")
    networks: tuple[Id, ...] = Field(
        default=(), description="the member networks the person spoke for then; the seat ends with the last of them"
    )


class SteeringMemberStoodDown(Event):
    """A seat in a steering group is free again. ``stood-down`` is whoever stood down or left."""

    key = "group"
    group: Id
    network: Id = Field(description="the umbrella network")
    person: Id
    principal: Principal
    role: SteeringRole
    work_stream: Id | None
    because: Literal["stood-down", "work-stream-closed", "term-ended"]
    left_with: Id | None = Field(
        default=None, description="the member network that left, where the seat ended because it did"
    )


class SeatView(BaseModel, frozen=True):
    """A seat in a steering group; without a person it is vacant."""

    role: SteeringRole
    work_stream: Id | None
    name: str | None = Field(description="the work stream's name")
    person: Id | None
    principal: Principal | None
    fte: float
    until: Moment | None = Field(default=None, description="end of the term")
    networks: tuple[Id, ...] = Field(default=(), description="the member networks it is held for, and ends with")
    vacant_because: VacantBecause | None = Field(
        default=None, description="of a vacant seat: how the last one in it went; none where nobody was"
    )


class SteeringGroupView(BaseModel, frozen=True):
    """Who steers an umbrella network, vacancies included."""

    id: Id
    total_fte: float
    free_fte: float
    seats: tuple[SeatView, ...]


class SteeringGroupLine(BaseModel, frozen=True):
    """The steering group of one umbrella network in a list.

    Of the past: a seat whose holder has left it since shows its FTE and term, and no person.
    """

    network: Id = Field(description="the umbrella network")
    name: str = Field(description="the umbrella network's name")
    steering_group: SteeringGroupView


class SteeringGroupPage(BaseModel, frozen=True):
    """Steering groups in the order their networks were registered."""

    steering_groups: tuple[SteeringGroupLine, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListSteeringGroups(Query[SteeringGroupPage]):
    """Lists who holds which seat and until when, and which seats are vacant, an umbrella network after another."""

    network: Id | None = Field(default=None, description="that of this umbrella network")
    ends_by: Moment | None = Field(default=None, description="only groups in which a term ends by then")
    limit: int = Field(default=50, ge=1, le=100)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None
