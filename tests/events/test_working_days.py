"""Days: six months apart give or take six weeks, and on a day that is free everywhere."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.events.domain.working_days import LEEWAY, ClosedDays, Day, choose_days, closed_days, months_after
from services.events.planning import bank_holidays
from shared.refusal import Refusal

NOTHING_CLOSED = closed_days([], [], date(2030, 12, 31))
NO_NOTICE = timedelta(0)


def days(count: int, today: date, previous: date | None = None, **others: object) -> list[date]:
    settings = {"notice": NO_NOTICE, "earliest": None, "closed": NOTHING_CLOSED, **others}
    chosen = choose_days(count, today, previous=previous, **settings)  # type: ignore[arg-type]
    assert not isinstance(chosen, Refusal), chosen.sentence
    return [day.day for day in chosen]


def test_meetings_are_six_months_apart() -> None:
    assert days(3, date(2027, 1, 4), previous=date(2026, 10, 14)) == [
        date(2027, 4, 14),
        date(2027, 10, 14),
        date(2028, 4, 14),
    ]


def test_a_meeting_is_never_on_a_weekend() -> None:
    assert date(2027, 5, 15).strftime("%A") == "Saturday"
    assert days(1, date(2027, 1, 4), previous=date(2026, 11, 15)) == [date(2027, 5, 14)]


def test_a_bank_holiday_of_one_nation_is_kept_by_all() -> None:
    closed = closed_days([("Scotland", date(2027, 4, 14), "A holiday")], [], date(2030, 12, 31))
    chosen = choose_days(1, date(2027, 1, 4), NO_NOTICE, date(2026, 10, 14), None, closed)
    assert chosen == [
        Day(date(2027, 4, 13), "six months after 14 October 2026; not on 14 April 2027 (A holiday in Scotland)")
    ]


def test_nothing_is_held_in_a_blackout() -> None:
    closed = closed_days([], [("Election", date(2027, 4, 1), date(2027, 5, 7))], date(2030, 12, 31))
    assert days(1, date(2027, 1, 4), previous=date(2026, 10, 14), closed=closed) == [date(2027, 3, 31)]


def test_a_window_with_no_open_day_is_refused_with_its_limits() -> None:
    closed = closed_days([], [("Purdah", date(2027, 1, 1), date(2027, 12, 31))], date(2030, 12, 31))
    refusal = choose_days(1, date(2027, 1, 4), NO_NOTICE, date(2026, 10, 14), None, closed)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "no-open-day"
    assert refusal.data == {"first": "2027-03-03", "last": "2027-05-26"}


def test_notice_is_given_of_the_first_meeting() -> None:
    assert days(1, date(2027, 3, 1), previous=date(2026, 10, 14), notice=timedelta(days=60)) == [date(2027, 4, 30)]


def test_the_first_meeting_of_all_comes_as_soon_as_the_notice_allows() -> None:
    assert days(1, date(2027, 3, 1), notice=timedelta(days=42)) == [date(2027, 4, 12)]


def test_an_overdue_meeting_comes_as_soon_as_the_notice_allows_and_says_so() -> None:
    chosen = choose_days(1, date(2027, 9, 1), timedelta(days=42), date(2026, 1, 14), None, NOTHING_CLOSED)
    assert isinstance(chosen, list)
    assert chosen[0].day == date(2027, 10, 13)
    assert chosen[0].why.startswith("overdue")


def test_a_wish_for_a_later_day_does_not_stretch_the_spacing() -> None:
    refusal = choose_days(1, date(2027, 1, 4), NO_NOTICE, date(2026, 10, 14), date(2027, 6, 1), NOTHING_CLOSED)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "spacing"
    assert refusal.data["latest_allowed"] == "2027-05-26"


def test_no_day_is_chosen_beyond_the_bank_holidays_that_are_known() -> None:
    known = ClosedDays({}, date(2027, 12, 31))
    refusal = choose_days(2, date(2027, 6, 1), NO_NOTICE, date(2027, 1, 14), None, known)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "bank-holidays-unknown"


def test_months_end_where_there_is_no_such_day() -> None:
    assert months_after(date(2027, 8, 31), 6) == date(2028, 2, 29)
    assert months_after(date(2027, 8, 31), 4) == date(2027, 12, 31)


def test_the_nations_keep_different_days() -> None:
    known = bank_holidays(date(2027, 1, 1))
    on = {nation: {day.date for day in known.days if day.nation == nation} for nation in ("England", "Scotland")}
    easter_monday, saint_andrew = date(2027, 3, 29), date(2027, 11, 30)
    assert easter_monday in on["England"] - on["Scotland"]
    assert saint_andrew in on["Scotland"] - on["England"]
    assert known.known_until >= date(2028, 12, 31)


@given(st.dates(date(2026, 1, 1), date(2028, 1, 1)), st.integers(1, 4), st.integers(0, 90))
def test_every_chosen_day_is_open_and_in_its_window(previous: date, count: int, notice: int) -> None:
    today = previous + timedelta(days=90)
    holidays = [(day.nation, day.date, day.name) for day in bank_holidays(today).days]
    closed = closed_days(holidays, [], date(2031, 1, 1))
    before = previous
    for day in days(count, today, previous=previous, notice=timedelta(days=notice), closed=closed):
        assert day.weekday() < 5
        assert day not in closed.reasons
        assert abs(day - months_after(before, 6)) <= LEEWAY
        before = day


@pytest.mark.parametrize("year", [2025, 2026, 2027, 2028])
def test_the_packaged_bank_holidays_are_those_published(year: int, real_data: Path) -> None:
    published = json.loads((real_data / "bank_holidays_2026-08.json").read_text())
    ours = {(day.nation, day.date.isoformat()) for day in bank_holidays(date(year, 1, 1)).days if day.date.year == year}
    for division, nations in (
        ("england-and-wales", ("England", "Wales")),
        ("scotland", ("Scotland",)),
        ("northern-ireland", ("Northern Ireland",)),
    ):
        days_published = {
            event["date"] for event in published[division]["events"] if event["date"].startswith(str(year))
        }
        for nation in nations:
            assert {day for of, day in ours if of == nation} == days_published
