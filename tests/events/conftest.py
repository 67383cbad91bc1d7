"""A small country to plan meetings in."""

from datetime import date
from uuid import UUID

import pytest

from services.events.domain.plan_inputs import Inputs, MemberInputs, PastMeeting, VenueInputs
from shared.contracts.membership import Office, Region, nation_of

TOWNS: dict[str, tuple[Region, float, float]] = {
    "London": ("London", 51.5085, -0.1257),
    "Leeds": ("Yorkshire and The Humber", 53.7965, -1.5478),
    "York": ("Yorkshire and The Humber", 53.9576, -1.0827),
    "Manchester": ("North West", 53.4809, -2.2374),
    "Birmingham": ("West Midlands", 52.4814, -1.8998),
    "Bristol": ("South West", 51.4552, -2.5966),
    "Cardiff": ("Wales", 51.48, -3.18),
    "Edinburgh": ("Scotland", 55.9521, -3.1965),
    "Belfast": ("Northern Ireland", 54.5968, -5.9254),
    "Newcastle": ("North East", 54.9733, -1.6139),
    "Nottingham": ("East Midlands", 52.9536, -1.1505),
}


class Country:
    """Towns, each with one hall; ids that are always the same for the same name."""

    def id(self, name: str) -> str:
        return str(UUID(int=int.from_bytes(name.encode()[:16].ljust(16, b"\0"), "big")))

    def hall(self, town: str) -> str:
        return self.id(f"hall {town}")

    def office(self, town: str) -> Office:
        region, latitude, longitude = TOWNS[town]
        return Office(place=town, region=region, nation=nation_of(region), latitude=latitude, longitude=longitude)

    def venue(self, town: str, host: str | None = None, capacity: int = 100, step_free: bool = True) -> VenueInputs:
        """The hall of a town; its host is named after the town unless another is given."""
        return VenueInputs(
            venue=self.hall(town),
            host=self.id(host or f"host {town}"),
            capacity=capacity,
            step_free=step_free,
            **self.office(town).model_dump(),
        )

    def member(self, name: str, *towns: str, burden: int = 0) -> MemberInputs:
        """A member network with one representative in each of the towns named."""
        return MemberInputs(network=self.id(name), burden=burden, offices=tuple(map(self.office, towns)))

    def past(self, *meetings: tuple[date, str]) -> tuple[PastMeeting, ...]:
        """Meetings held already, each on a day in a town."""
        return tuple(
            PastMeeting(meeting=self.id(f"met {day}"), date=day, host=self.id(f"host {town}"), region=TOWNS[town][0])
            for day, town in meetings
        )

    def inputs(self, members: list[MemberInputs], venues: list[VenueInputs], **others: object) -> Inputs:
        """What a plan is worked out from: members and venues as given, all else as usual."""
        usual: dict[str, object] = {
            "umbrella": self.id("umbrella"),
            "today": date(2026, 11, 23),
            "meetings": 2,
            "earliest": None,
            "seats": 10,
            "notice_days": 42,
            "host_window": 4,
            "region_window": 3,
            "past": (),
            "blackouts": (),
            "known_times": (),
        }
        return Inputs.model_validate({**usual, "members": tuple(members), "venues": tuple(venues), **others})


@pytest.fixture(scope="session")
def country() -> Country:
    return Country()
