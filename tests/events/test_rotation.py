"""Turns: London at most once in three meetings, nobody twice before the others."""

from services.events.domain.rotation import Stop, broken, gap, turns

LONDON, SECOND_LONDON = Stop("treasury", "London"), Stop("cabinet-office", "London")
LEEDS, YORK = Stop("nhs-england", "Yorkshire and The Humber"), Stop("defra", "Yorkshire and The Humber")
CARDIFF, BELFAST, BRISTOL = Stop("welsh", "Wales"), Stop("ni", "Northern Ireland"), Stop("mod", "South West")
EVERYWHERE = [LONDON, SECOND_LONDON, LEEDS, YORK, CARDIFF, BELFAST, BRISTOL]


def test_london_comes_at_most_once_in_any_three_meetings() -> None:
    rules = turns(EVERYWHERE, host_window=0, region_window=0)
    assert broken([LONDON, LEEDS, SECOND_LONDON], 2, rules) == ("london",)
    assert broken([LONDON, LEEDS, CARDIFF, SECOND_LONDON], 3, rules) == ()


def test_london_never_comes_twice_running() -> None:
    rules = turns(EVERYWHERE, host_window=0, region_window=0)
    assert broken([LONDON, SECOND_LONDON], 1, rules) == ("london",)


def test_a_region_other_than_london_may_return_when_no_window_is_asked_for() -> None:
    rules = turns(EVERYWHERE, host_window=0, region_window=0)
    assert broken([LEEDS, YORK], 1, rules) == ()


def test_a_region_does_not_return_within_its_window() -> None:
    rules = turns(EVERYWHERE, host_window=0, region_window=2)
    assert broken([LEEDS, CARDIFF, YORK], 2, rules) == ("region-turn",)
    assert broken([LEEDS, CARDIFF, BELFAST, YORK], 3, rules) == ()


def test_a_host_does_not_return_within_its_window_though_it_offers_another_region() -> None:
    elsewhere = Stop(LEEDS.host, "Wales")
    rules = turns([*EVERYWHERE, elsewhere], host_window=2, region_window=0)
    assert broken([LEEDS, BELFAST, elsewhere], 2, rules) == ("host-turn",)


def test_a_window_longer_than_there_are_others_ends_when_all_of_them_had_their_turn() -> None:
    rules = turns([LEEDS, CARDIFF, BELFAST], host_window=99, region_window=99)
    assert broken([LEEDS, CARDIFF, LEEDS], 2, rules) == ("host-turn", "region-turn")
    assert broken([LEEDS, CARDIFF, BELFAST, LEEDS], 3, rules) == ()


def test_nobody_waits_for_london_to_have_its_turn() -> None:
    rules = turns([LONDON, LEEDS], host_window=99, region_window=99)
    assert broken([LEEDS, LEEDS], 1, rules) == ()
    assert broken([LONDON, LEEDS, LEEDS, LONDON], 3, rules) == ()


def test_a_later_meeting_counts_against_an_earlier_one_as_well() -> None:
    rules = turns(EVERYWHERE, host_window=0, region_window=2)
    assert broken([YORK, CARDIFF, LEEDS], 0, rules) == ("region-turn",)


def test_the_gap_of_two_stops_is_the_strictest_of_the_rules() -> None:
    rules = turns(EVERYWHERE, host_window=4, region_window=3)
    assert gap(LONDON, SECOND_LONDON, rules) == 4
    assert gap(LONDON, LONDON, rules) == 5
    assert gap(LONDON, LEEDS, rules) == 0
