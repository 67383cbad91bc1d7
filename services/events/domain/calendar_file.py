"""A meeting as a calendar file (RFC 5545), to be sent as an invitation or its withdrawal (RFC 5546).

The same meeting always has the same UID, and each change a higher SEQUENCE, so a calendar updates the entry it has.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from icalendar import Calendar, Timezone, TimezoneDaylight, TimezoneStandard, vCalAddress, vRecur
from icalendar import Event as Entry

from services.events.domain.meeting import LOCAL_TIME, Meeting
from services.events.domain.venue import Venue
from shared.contracts.events import CalendarText

PRODUCT = "-//Concord//Meetings//EN"


def calendar_file(meeting: Meeting, venue: Venue, names: Mapping[str, str]) -> CalendarText:
    """The file of a meeting. ``names``: of its umbrella and of the networks invited, by id."""
    cancelled = meeting.state == "cancelled"
    method = "CANCEL" if cancelled else "REQUEST"
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("method", method)
    calendar.add_component(_london())
    entry = Entry()
    uid = f"{meeting.id}@concord"
    umbrella = names.get(meeting.umbrella, "the network")
    entry.add("uid", uid)
    entry.add("sequence", meeting.revision)
    entry.add("dtstamp", meeting.revised_at)
    entry.add("dtstart", meeting.starts_at.astimezone(LOCAL_TIME))
    entry.add("dtend", meeting.ends_at.astimezone(LOCAL_TIME))
    entry.add("summary", f"Meeting of {umbrella}")
    entry.add("location", f"{venue.name}, {venue.place}")
    entry.add("geo", (venue.latitude, venue.longitude))
    entry.add("status", "CANCELLED" if cancelled else "CONFIRMED")
    if meeting.reason is not None:
        entry.add("description", f"Cancelled: {meeting.reason}")
    entry.add("organizer", _address(meeting.umbrella, umbrella))
    for network in meeting.invited:
        entry.add("attendee", _address(network, names.get(network, "a member network"), role="REQ-PARTICIPANT"))
    calendar.add_component(entry)
    return CalendarText(
        file_name=f"meeting-{meeting.date}.ics",
        method=method,
        uid=uid,
        sequence=meeting.revision,
        text=calendar.to_ical().decode(),
    )


def _address(network: str, name: str, role: str | None = None) -> vCalAddress:
    """A network by its id: we hold nobody's mail address, and a calendar address may be any URI."""
    address = vCalAddress(f"urn:uuid:{network}")
    address.params["CN"] = name
    if role is not None:
        address.params["CUTYPE"] = "GROUP"
        address.params["ROLE"] = role
    return address


def _london() -> Timezone:
    """Europe/London since 1996: summer time from the last Sunday of March to the last of October, at 01:00 UTC.

    Written out, because icalendar 7.3 derives the start of summer time an hour late.
    """
    zone = Timezone()
    zone.add("tzid", str(LOCAL_TIME))
    for observance, name, month, clock, before, after in (
        (TimezoneDaylight(), "BST", 3, datetime.fromisoformat("1996-03-31T01:00"), 0, 1),
        (TimezoneStandard(), "GMT", 10, datetime.fromisoformat("1996-10-27T02:00"), 1, 0),
    ):
        observance.add("dtstart", clock)
        observance.add("tzname", name)
        observance.add("tzoffsetfrom", timedelta(hours=before))
        observance.add("tzoffsetto", timedelta(hours=after))
        observance.add("rrule", vRecur(freq="YEARLY", bymonth=month, byday="-1SU"))
        zone.add_component(observance)
    return zone
