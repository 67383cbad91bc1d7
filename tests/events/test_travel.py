"""Journeys: known times before estimates, and estimates near what people know."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.events.domain.travel import Journey, Spot, journey, known_times, landmass, mean_minutes
from shared.contracts.events import TravelTime

LONDON = Spot("London", 51.5085, -0.1257)
BIRMINGHAM = Spot("Birmingham", 52.4814, -1.8998)
MANCHESTER = Spot("Manchester", 53.4809, -2.2374)
LEEDS = Spot("Leeds", 53.7965, -1.5478)
CARDIFF = Spot("Cardiff", 51.4800, -3.1800)
EDINBURGH = Spot("Edinburgh", 55.9521, -3.1965)
PENZANCE = Spot("Penzance", 50.1186, -5.5371)
CROYDON = Spot("Croydon", 51.3727, -0.1099)
BELFAST = Spot("Belfast", 54.5968, -5.9254)
DERRY = Spot("Derry", 54.9981, -7.3093)
LERWICK = Spot("Lerwick", 60.1545, -1.1494)
NEWPORT_WIGHT = Spot("Newport", 50.7010, -1.2910)
SOUTHAMPTON = Spot("Southampton", 50.9040, -1.4043)


@pytest.mark.parametrize(
    ("origin", "destination", "least", "most"),
    [
        (LONDON, CROYDON, 40, 75),
        (LONDON, BIRMINGHAM, 115, 160),
        (LONDON, MANCHESTER, 160, 210),
        (LONDON, LEEDS, 165, 215),
        (LONDON, CARDIFF, 140, 190),
        (LONDON, EDINBURGH, 280, 350),
        (LONDON, PENZANCE, 240, 370),
        (LEEDS, MANCHESTER, 70, 110),
        (LONDON, BELFAST, 210, 270),
        (EDINBURGH, BELFAST, 190, 250),
        (BELFAST, DERRY, 100, 150),
        (LONDON, LERWICK, 300, 420),
        (SOUTHAMPTON, NEWPORT_WIGHT, 90, 140),
    ],
)
def test_familiar_journeys_take_about_as_long_as_they_do(
    origin: Spot, destination: Spot, least: int, most: int
) -> None:
    made = journey(origin, destination, {})
    assert made.estimated
    assert least <= made.minutes <= most


@pytest.mark.parametrize(
    ("spot", "expected"),
    [
        (BELFAST, "Northern Ireland"),
        (DERRY, "Northern Ireland"),
        (LERWICK, "Shetland"),
        (NEWPORT_WIGHT, "Isle of Wight"),
        (Spot("Stornoway", 58.2093, -6.3865), "Western Isles"),
        (Spot("Kirkwall", 58.9809, -2.9605), "Orkney"),
        (Spot("Douglas", 54.1500, -4.4833), "Isle of Man"),
        (Spot("Portree, which has a bridge", 57.4125, -6.1964), "Great Britain"),
        (Spot("Holyhead, which has one too", 53.3090, -4.6330), "Great Britain"),
        (Spot("Stranraer", 54.9026, -5.0273), "Great Britain"),
        (Spot("Campbeltown", 55.4241, -5.6053), "Great Britain"),
        (Spot("Lymington", 50.7583, -1.5451), "Great Britain"),
        (Spot("Portsmouth", 50.7989, -1.0912), "Great Britain"),
        (Spot("Thurso", 58.5936, -3.5221), "Great Britain"),
    ],
)
def test_who_lives_on_an_island_is_known(spot: Spot, expected: str) -> None:
    assert landmass(spot) == expected


def test_a_loaded_time_replaces_the_estimate_in_both_directions_and_is_no_estimate() -> None:
    known = known_times([TravelTime(origin="London", destination="LEEDS", minutes=133)])
    assert journey(LONDON, LEEDS, known) == journey(LEEDS, LONDON, known) == Journey(133, estimated=False)
    assert journey(LONDON, CARDIFF, known).estimated


def test_of_two_loaded_times_the_later_counts() -> None:
    times = [TravelTime(origin="Leeds", destination="London", minutes=minutes) for minutes in (150, 140)]
    assert journey(LONDON, LEEDS, known_times(times)).minutes == 140


def test_who_is_there_already_travels_no_time() -> None:
    assert journey(LEEDS, LEEDS, {}) == Journey(0, estimated=True)


@pytest.mark.parametrize(
    ("minutes", "mean"), [([7], 7), ([1, 2], 2), ([1, 1, 2], 1), ([10, 11, 13], 11), ([0, 0, 0, 2], 1)]
)
def test_a_mean_is_in_whole_minutes_with_a_half_rounded_up(minutes: list[int], mean: int) -> None:
    assert mean_minutes(minutes) == mean


spots = st.builds(Spot, st.just("somewhere"), st.floats(49.9, 60.8), st.floats(-8, 1.7))


@given(spots, spots)
def test_the_way_back_takes_as_long_as_the_way_there(one: Spot, other: Spot) -> None:
    there, back = journey(one, other, {}), journey(other, one, {})
    assert there == back
    assert 0 <= there.minutes < 1_500
