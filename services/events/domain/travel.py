"""How long a journey takes, door to door: a known time where one was loaded, otherwise an estimate.

The estimate needs nothing but coordinates. On one landmass it is the quicker of walking and a journey by public
transport: some minutes to reach it, wait and leave it, then the straight line at a speed that grows with the distance
as a railway's does (48 km/h over 20 km, 85 over 110, 110 over 500). Between landmasses it is the quicker of flying and
the ferry. The figures below were set by judgement so that well-known journeys come out near their usual door-to-door
times (tests/events/test_travel.py names them); they are no timetable, and an estimate is always labelled as one.
Inner islands without a table entry (Mull, say) count as mainland: load their times.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from shared.contracts.events import TravelTime

EARTH_RADIUS_KM = 6371.0
WALKING_KMH = 4.8
ACCESS_MINUTES = 40.0
"""To the first stop, waiting, changing, and from the last stop."""
SLOWEST_KMH = 30.0
SPEED_GAIN_KMH = 95.0
"""What the longest journeys gain over the slowest; half of it is gained at ``HALF_GAIN_KM``."""
HALF_GAIN_KM = 80.0
FLYING_KMH = 500.0

MAINLAND = "Great Britain"


class Crossing(NamedTuple):
    """What leaving an island costs: minutes on top of the flight, or on top of the journey over land."""

    air: float | None
    ferry: float


class Box(NamedTuple):
    """A rectangle of coordinates, in degrees, that holds an island and no inhabited shore of another."""

    landmass: str
    south: float
    north: float
    west: float
    east: float


CROSSINGS: Mapping[str, Crossing] = {
    "Northern Ireland": Crossing(air=180, ferry=240),
    "Isle of Man": Crossing(air=180, ferry=270),
    "Channel Islands": Crossing(air=180, ferry=420),
    "Isle of Wight": Crossing(air=None, ferry=60),
    "Isles of Scilly": Crossing(air=240, ferry=240),
    "Islay": Crossing(air=240, ferry=180),
    "Western Isles": Crossing(air=240, ferry=240),
    "Orkney": Crossing(air=240, ferry=150),
    "Shetland": Crossing(air=240, ferry=840),
}
"""``air``: reaching the airport, security, boarding, and from the airport, with a change where no flight is direct.
``ferry``: check-in, the crossing and the detour to the port."""

BOXES: Sequence[Box] = (
    Box("Northern Ireland", 54.00, 55.30, -8.20, -5.40),
    Box("Isle of Man", 54.03, 54.43, -4.85, -4.28),
    Box("Channel Islands", 49.10, 49.78, -2.75, -1.95),
    Box("Isle of Wight", 50.57, 50.77, -1.53, -1.05),
    Box("Isles of Scilly", 49.85, 50.00, -6.45, -6.20),
    Box("Islay", 55.55, 55.95, -6.55, -6.00),
    Box("Western Isles", 57.75, 58.55, -7.20, -6.10),
    Box("Western Isles", 56.75, 57.75, -7.75, -6.95),
    Box("Orkney", 58.70, 59.45, -3.50, -2.30),
    Box("Shetland", 59.80, 60.90, -2.20, -0.70),
)


class Spot(NamedTuple):
    """A town and a point in it."""

    place: str
    latitude: float
    longitude: float


class Journey(NamedTuple):
    """Whole minutes door to door, one way, and whether they are an estimate."""

    minutes: int
    estimated: bool


KnownTimes = Mapping[tuple[str, str], int]


def known_times(journeys: Iterable[TravelTime]) -> KnownTimes:
    """Loaded times by place, in both directions; of several for the same two places the last one counts."""
    known = {}
    for journey in journeys:
        origin, destination = place_key(journey.origin), place_key(journey.destination)
        known[origin, destination] = known[destination, origin] = journey.minutes
    return known


def journey(origin: Spot, destination: Spot, known: KnownTimes) -> Journey:
    """The known time between the two places, or else an estimate from their coordinates."""
    minutes = known.get((place_key(origin.place), place_key(destination.place)))
    return Journey(_estimate(origin, destination), True) if minutes is None else Journey(minutes, False)


def place_key(place: str) -> str:
    """What a place is known by, however it is spaced and capitalised."""
    return " ".join(place.casefold().split())


def mean_minutes(minutes: Sequence[int]) -> int:
    """The mean in whole minutes, a half rounded up."""
    return (2 * sum(minutes) + len(minutes)) // (2 * len(minutes))


def landmass(spot: Spot) -> str:
    """What it stands on: an island of the table, or else Great Britain."""
    for box in BOXES:
        if box.south <= spot.latitude <= box.north and box.west <= spot.longitude <= box.east:
            return box.landmass
    return MAINLAND


def _estimate(origin: Spot, destination: Spot) -> int:
    km = _distance_km(origin, destination)
    islands = {landmass(origin), landmass(destination)}
    if len(islands) == 1:
        return round(_over_land(km))
    crossings = [CROSSINGS[island] for island in islands - {MAINLAND}]
    ways = [_over_land(km) + sum(crossing.ferry for crossing in crossings)]
    by_air = [crossing.air for crossing in crossings if crossing.air is not None]
    if len(by_air) == len(crossings):
        ways.append(max(by_air) + km / FLYING_KMH * 60)
    return round(min(ways))


def _over_land(km: float) -> float:
    speed = SLOWEST_KMH + SPEED_GAIN_KMH * km / (km + HALF_GAIN_KM)
    return min(km / WALKING_KMH, ACCESS_MINUTES / 60 + km / speed) * 60


def _distance_km(a: Spot, b: Spot) -> float:
    south, north = math.radians(a.latitude), math.radians(b.latitude)
    across = math.radians(b.longitude - a.longitude)
    haversine = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * math.sin(across / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, haversine)))
