"""Venues, the days nothing is held, and the journeys whose time is known: what plans are made from."""

from datetime import date

from pydantic import BaseModel

from services.events.domain.travel import place_key
from shared.contracts.events import (
    BlackoutDeclared,
    BlackoutLifted,
    DeclareBlackout,
    LoadTravelTimes,
    RegisterVenue,
    TravelTime,
    TravelTimesLoaded,
    VenueRegistered,
)
from shared.contracts.membership import Nation, Region
from shared.contracts.message import Event
from shared.refusal import Refusal

LONGEST_BLACKOUT_DAYS = 366


class Venue(BaseModel, frozen=True):
    """A place where meetings can be held."""

    id: str
    name: str
    place: str
    region: Region
    nation: Nation
    latitude: float
    longitude: float
    host: str
    capacity: int
    step_free: bool


class Blackout(BaseModel, frozen=True):
    """Named days on which no meeting is held; of one umbrella network, or of all."""

    id: str
    name: str
    first: date
    last: date
    umbrella: str | None
    lifted: bool = False


class TravelTable(BaseModel, frozen=True):
    """Known journeys, loaded together. Later tables win over earlier ones."""

    id: str
    source: str
    journeys: tuple[TravelTime, ...]


def register(command: RegisterVenue, venue: str, namesake: str | None) -> list[Event] | Refusal:
    """``namesake``: the id of a venue of the same name in the same place, if there is one."""
    if namesake is not None:
        return Refusal(
            code="venue-already-registered",
            sentence=f"{command.name} in {command.place} is registered already, as {namesake}; "
            "use that one, or give this one a name that tells them apart.",
            field="name",
            data={"venue": namesake},
        )
    return [VenueRegistered(venue=venue, **command.model_dump())]


def evolve_venue(_: Venue | None, event: Event) -> Venue:
    """A venue once registered stays as it is."""
    match event:
        case VenueRegistered():
            return Venue(id=event.venue, **event.model_dump(exclude={"venue"}))
    raise TypeError(f"{event.wire.type} does not happen to a venue")


def declare_blackout(command: DeclareBlackout, blackout: str) -> list[Event] | Refusal:
    """Names days on which nothing is held."""
    days = (command.last - command.first).days + 1
    if days > LONGEST_BLACKOUT_DAYS:
        return Refusal(
            code="blackout-too-long",
            sentence=f"{command.name} would last {days} days; a blackout lasts at most {LONGEST_BLACKOUT_DAYS}.",
            field="last",
            data={"days": days, "most": LONGEST_BLACKOUT_DAYS},
        )
    return [BlackoutDeclared(blackout=blackout, **command.model_dump())]


def lift_blackout(blackout: Blackout | None, asked: str) -> list[Event] | Refusal:
    """Takes a blackout back, once."""
    if blackout is None or blackout.lifted:
        known = "was lifted already" if blackout else "is not known"
        return Refusal(
            code="no-such-blackout",
            sentence=f"The blackout {asked} {known}; list-blackouts shows those in force.",
            field="blackout",
        )
    return [BlackoutLifted(blackout=blackout.id)]


def evolve_blackout(blackout: Blackout | None, event: Event) -> Blackout:
    """Declared, then perhaps lifted."""
    match event, blackout:
        case BlackoutDeclared(), None:
            return Blackout(id=event.blackout, **event.model_dump(exclude={"blackout"}))
        case BlackoutLifted(), Blackout():
            return blackout.model_copy(update={"lifted": True})
    raise TypeError(f"{event.wire.type} does not happen to {blackout}")


def load_travel_times(command: LoadTravelTimes, table: str) -> list[Event] | Refusal:
    """Takes over known journeys, all or none; a journey given twice must be given alike."""
    seen: dict[frozenset[str], tuple[int, int]] = {}
    for number, journey in enumerate(command.journeys):
        ends = frozenset({place_key(journey.origin), place_key(journey.destination)})
        first, minutes = seen.setdefault(ends, (number, journey.minutes))
        if minutes != journey.minutes:
            return Refusal(
                code="journey-given-twice",
                sentence=f"Between {journey.origin} and {journey.destination} journeys.{first} gives {minutes} minutes "
                f"and journeys.{number} {journey.minutes}; a journey takes the same in both directions, so give one.",
                field=f"journeys.{number}.minutes",
                data={"first": first, "second": number},
            )
    journeys = tuple(TravelTime(**journey.model_dump()) for journey in command.journeys)
    return [TravelTimesLoaded(table=table, source=command.source, journeys=journeys)]


def evolve_table(_: TravelTable | None, event: Event) -> TravelTable:
    """A table once loaded stays as it is."""
    match event:
        case TravelTimesLoaded():
            return TravelTable(id=event.table, source=event.source, journeys=event.journeys)
    raise TypeError(f"{event.wire.type} does not happen to a table of travel times")
