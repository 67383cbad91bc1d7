"""Calendar files: read back by a reader, in local time, one entry for one meeting."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from icalendar import Calendar

from services.events.domain.calendar_file import calendar_file
from services.events.domain.meeting import LOCAL_TIME, Meeting
from services.events.domain.venue import Venue
from shared.contracts.events import CalendarText


def made(country: Any, day: date = date(2027, 7, 14), **changed: Any) -> CalendarText:
    known = country.venue("Leeds")
    hall = Venue(id=known.venue, name="Town Hall; north door", **known.model_dump(exclude={"venue"}))
    starts = datetime(day.year, day.month, day.day, 11, tzinfo=LOCAL_TIME).astimezone(UTC)
    state = Meeting(
        id=country.id("meeting"),
        umbrella=country.id("umbrella"),
        plan=country.id("plan"),
        number=1,
        date=day,
        starts_at=starts,
        ends_at=starts + timedelta(hours=4),
        venue=hall.id,
        venue_name=hall.name,
        place="Leeds",
        region="Yorkshire and The Humber",
        host=hall.host,
        invited=(country.id("one"), country.id("two")),
        revised_at=datetime(2026, 11, 23, 9, tzinfo=UTC),
    )
    names = {country.id("umbrella"): "Wellbeing Networks", country.id("one"): "Un, deux"}
    return calendar_file(state.model_copy(update=changed), hall, names)


def entry(text: str) -> Any:
    [event] = Calendar.from_ical(text).walk("VEVENT")
    return event


def test_an_invitation_says_what_when_and_where(country: Any) -> None:
    file = made(country)
    event = entry(file.text)
    assert file.method == Calendar.from_ical(file.text)["METHOD"] == "REQUEST"
    assert event["SUMMARY"] == "Meeting of Wellbeing Networks"
    assert event["LOCATION"] == "Town Hall; north door, Leeds"
    assert event["DTSTART"].dt == datetime(2027, 7, 14, 11, tzinfo=LOCAL_TIME)
    assert event["DTSTART"].params["TZID"] == "Europe/London"
    assert [str(guest.params["CN"]) for guest in event["ATTENDEE"]] == ["Un, deux", "a member network"]
    assert file.file_name == "meeting-2027-07-14.ics"


def test_a_cancellation_has_the_same_uid_and_a_higher_sequence(country: Any) -> None:
    invitation = made(country)
    withdrawn = made(country, state="cancelled", reason="the hall is flooded", revision=1)
    assert withdrawn.uid == invitation.uid
    assert withdrawn.sequence > invitation.sequence
    assert withdrawn.method == "CANCEL"
    assert entry(withdrawn.text)["STATUS"] == "CANCELLED"


def test_every_line_ends_and_folds_as_rfc_5545_asks(country: Any) -> None:
    text = made(country).text
    assert text.endswith("END:VCALENDAR\r\n")
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    assert "\n" not in text.replace("\r\n", "")


@pytest.mark.parametrize("year", range(2026, 2031))
def test_the_zone_in_the_file_changes_when_london_does(country: Any, year: int) -> None:
    """Summer time begins and ends at 01:00 UTC: each observance begins at that moment, told in the time before it."""
    [zone] = Calendar.from_ical(made(country).text).walk("VTIMEZONE")
    for observance in zone.subcomponents:
        before, after = observance["TZOFFSETFROM"].td, observance["TZOFFSETTO"].td
        [rule] = [observance["RRULE"]]
        month = rule["BYMONTH"][0]
        last_sunday = max(
            day
            for offset in range(31)
            for day in (date(year, month, 1) + timedelta(days=offset),)
            if day.month == month and day.weekday() == 6
        )
        local = datetime.combine(last_sunday, observance["DTSTART"].dt.time())
        moment = (local - before).replace(tzinfo=UTC)
        assert (moment - timedelta(seconds=1)).astimezone(LOCAL_TIME).utcoffset() == before
        assert moment.astimezone(LOCAL_TIME).utcoffset() == after
        assert rule["BYDAY"] == ["-1SU"]
