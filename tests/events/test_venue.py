"""Venues, blackouts and travel times as they are taken in."""

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from services.events.domain import venue
from shared.contracts.events import DeclareBlackout, GivenTravelTime, LoadTravelTimes, RegisterVenue, TravelTimesLoaded
from shared.refusal import Refusal


def register(country: Any, **changed: Any) -> RegisterVenue:
    known = country.venue("Leeds").model_dump(exclude={"venue"})
    return RegisterVenue(**{"name": "Town Hall", **known, **changed})


def test_a_venue_is_registered_once_under_a_name_in_a_place(country: Any) -> None:
    assert not isinstance(venue.register(register(country), country.id("new"), None), Refusal)
    refusal = venue.register(register(country), country.id("new"), country.id("old"))
    assert isinstance(refusal, Refusal)
    assert refusal.code == "venue-already-registered"


@pytest.mark.parametrize(
    "wrong", [{"nation": "Wales"}, {"capacity": 0}, {"latitude": -1.5}, {"longitude": 53.8}, {"region": "Yorkshire"}]
)
def test_a_venue_lies_where_it_says_and_holds_somebody(country: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        register(country, **wrong)


def test_a_blackout_ends_after_it_begins_and_within_a_year(country: Any) -> None:
    with pytest.raises(ValidationError, match="before it begins"):
        DeclareBlackout(name="Election", first=date(2027, 5, 1), last=date(2027, 4, 1))
    refusal = venue.declare_blackout(
        DeclareBlackout(name="Election", first=date(2027, 1, 1), last=date(2028, 6, 1)), country.id("new")
    )
    assert isinstance(refusal, Refusal)
    assert refusal.code == "blackout-too-long"


def test_a_blackout_is_lifted_once(country: Any) -> None:
    command = DeclareBlackout(name="Election", first=date(2027, 4, 1), last=date(2027, 5, 1))
    [declared] = venue.declare_blackout(command, country.id("new"))  # type: ignore[misc]
    state = venue.evolve_blackout(None, declared)
    [lifted] = venue.lift_blackout(state, state.id)  # type: ignore[misc]
    again = venue.lift_blackout(venue.evolve_blackout(state, lifted), state.id)
    assert isinstance(again, Refusal)
    assert again.code == "no-such-blackout"


def load(*journeys: tuple[str, str, int]) -> Any:
    given = tuple(GivenTravelTime(origin=one, destination=other, minutes=took) for one, other, took in journeys)
    return venue.load_travel_times(LoadTravelTimes(source="timetable", journeys=given), "table")


def test_travel_times_are_loaded_all_or_none(country: Any) -> None:
    refusal = load(("Leeds", "York", 45), ("York ", "LEEDS", 50))
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == ("journey-given-twice", "journeys.1.minutes")
    given = tuple(GivenTravelTime(origin="Leeds", destination="York", minutes=45) for _ in range(2))
    [loaded] = venue.load_travel_times(LoadTravelTimes(source="t", journeys=given), country.id("t"))  # type: ignore[misc]
    assert isinstance(loaded, TravelTimesLoaded)
