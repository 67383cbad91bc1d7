"""Everything a plan is worked out from: gathered by the service, handed to the planning process, kept for a replay."""

import json
from collections.abc import Mapping
from datetime import date
from hashlib import sha256

from pydantic import BaseModel

from shared.contracts.events import TravelTime
from shared.contracts.membership import Nation, Office, Region


class MemberInputs(BaseModel, frozen=True):
    """One member network: what it has borne, and the office each of its representatives sets out from.

    A network that has named no representative yet counts as one person from its own office. ``offices`` is empty where
    none is known.
    """

    network: str
    burden: int
    offices: tuple[Office, ...]


class VenueInputs(BaseModel, frozen=True):
    """One venue."""

    venue: str
    place: str
    region: Region
    nation: Nation
    latitude: float
    longitude: float
    host: str
    capacity: int
    step_free: bool


class PastMeeting(BaseModel, frozen=True):
    """A meeting held or booked already."""

    meeting: str
    date: date
    host: str
    region: Region


class ClosedFor(BaseModel, frozen=True):
    """Days on which no meeting is held."""

    name: str
    first: date
    last: date


class BankHoliday(BaseModel, frozen=True):
    """A bank holiday of one nation."""

    nation: Nation
    date: date
    name: str


class Inputs(BaseModel, frozen=True):
    """One question to the planner. Lists are in an order that does not depend on a store: by id, by date."""

    umbrella: str
    today: date
    meetings: int
    earliest: date | None
    seats: int
    notice_days: int
    host_window: int
    region_window: int
    members: tuple[MemberInputs, ...]
    venues: tuple[VenueInputs, ...]
    past: tuple[PastMeeting, ...]
    blackouts: tuple[ClosedFor, ...]
    known_times: tuple[TravelTime, ...]


class Holidays(BaseModel, frozen=True):
    """The bank holidays a plan takes account of, and the last day up to which they are known."""

    days: tuple[BankHoliday, ...]
    known_until: date


def digest(inputs: Mapping[str, object]) -> str:
    """SHA-256 of plain data as canonical JSON (sorted keys, no spaces), in hexadecimal."""
    return sha256(json.dumps(inputs, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
