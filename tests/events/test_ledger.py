"""The ledger: what counts, what a correction does, where a newcomer starts."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.events.domain import ledger
from services.events.domain.ledger import Entry, Total, median, opening, totals
from services.events.domain.meeting import Meeting
from services.events.domain.member import Network, Representative
from services.events.domain.venue import Venue
from shared.contracts.events import AttendanceRecorded, Attended, RecordAttendance
from shared.refusal import Refusal

HELD = date(2027, 1, 13)
AT = datetime(2027, 1, 14, 9, tzinfo=UTC)


def line(network: str, meeting: str | None, travelled: int, on: date = HELD, forgone: int = 0) -> Entry:
    return Entry(network, meeting, on, travelled, forgone)


def test_a_total_is_where_a_network_started_and_what_it_travelled_since() -> None:
    lines = [line("n", None, 50, date(2026, 1, 1)), line("n", "m1", 100), line("n", "m2", 70, forgone=5)]
    assert totals(lines) == {"n": Total(opening=50, travelled=170, forgone=5)}
    assert totals(lines)["n"].minutes == 225


def test_of_several_lines_for_one_meeting_the_last_counts() -> None:
    assert totals([line("n", "m1", 100), line("n", "m1", 90)])["n"].minutes == 90


def test_a_network_admitted_again_starts_anew() -> None:
    again = HELD + timedelta(days=400)
    lines = [line("n", "m1", 1_000), line("n", None, 300, again)]
    assert totals(lines)["n"].minutes == 300
    late_correction = [*lines, line("n", "m1", 999)]
    assert totals(late_correction)["n"].minutes == 300
    assert totals([*lines, line("n", "m2", 10, again)])["n"].minutes == 310


@pytest.mark.parametrize(
    ("minutes", "middle"), [([], 0), ([7], 7), ([300, 100], 200), ([1, 2], 2), ([900, 100, 200], 200)]
)
def test_a_newcomer_starts_at_the_median_of_those_who_are_members(minutes: list[int], middle: int) -> None:
    assert median(minutes) == middle
    assert opening("u", "new", minutes, HELD, AT).travelled == middle


@given(st.lists(st.integers(0, 5_000), min_size=1))
def test_a_newcomer_is_never_worse_off_than_all_others_nor_better(minutes: list[int]) -> None:
    assert min(minutes) <= median(minutes) <= max(minutes)


# ---- attendance ----------------------------------------------------------------------------------------------------


@pytest.fixture
def meeting(country: Any) -> Meeting:
    starts = datetime(2027, 1, 13, 11, tzinfo=UTC)
    return Meeting(
        id=country.id("meeting"),
        umbrella=country.id("umbrella"),
        plan=country.id("plan"),
        number=1,
        date=HELD,
        starts_at=starts,
        ends_at=starts + timedelta(hours=4),
        venue=country.hall("Leeds"),
        venue_name="Hall",
        place="Leeds",
        region="Yorkshire and The Humber",
        host=country.id("host Leeds"),
        invited=(),
        revised_at=AT,
    )


@pytest.fixture
def record(country: Any, meeting: Meeting) -> Any:
    known = country.venue("Leeds")
    hall = Venue(id=known.venue, name="Hall", **known.model_dump(exclude={"venue"}))
    people = {
        country.id("ada"): Representative(office=country.office("London")),
        country.id("ben"): Representative(office=None, stood_down=True),
    }
    network = Network(id=country.id("n"), name="North", office=country.office("Manchester"), representatives=people)

    def record(*attended: Attended, correction: str | None = None, **others: Any) -> Any:
        command = RecordAttendance(meeting=meeting.id, network=network.id, attended=attended, correction=correction)
        given = {"meeting": meeting, "network": network, "venue": hall, "known": {}, "at": AT}
        given |= {"member": True, "earlier": False} | others
        return ledger.record_attendance(command, **given)

    return record


def recorded(decision: Any) -> AttendanceRecorded:
    assert not isinstance(decision, Refusal), decision.sentence
    [event] = decision
    assert isinstance(event, AttendanceRecorded)
    return event


def code(decision: Any) -> str:
    assert isinstance(decision, Refusal), decision
    return decision.code


def test_a_delegation_counts_by_its_mean(record: Any, country: Any) -> None:
    event = recorded(
        record(
            Attended(representative=country.id("ada"), mode="in-person", minutes=180),
            Attended(representative=country.id("ben"), mode="in-person", minutes=61),
        )
    )
    assert (event.travelled, event.forgone, event.in_person, event.estimated) == (121, 0, 2, False)


def test_who_took_part_remotely_was_not_spared(record: Any, country: Any) -> None:
    event = recorded(record(Attended(representative=country.id("ada"), mode="remote")))
    assert event.travelled == 0
    assert event.forgone > 100
    assert event.remote == 1
    assert event.estimated


def test_a_person_without_an_office_of_their_own_set_out_from_the_networks(record: Any, country: Any) -> None:
    manchester_to_leeds = recorded(record(Attended(representative=country.id("ben"), mode="in-person")))
    assert 60 <= manchester_to_leeds.travelled <= 110


def test_that_nobody_came_is_recorded_as_well(record: Any) -> None:
    event = recorded(record())
    assert (event.in_person, event.remote, event.travelled, event.forgone) == (0, 0, 0, 0)


def test_attendance_is_corrected_by_saying_why(record: Any, country: Any) -> None:
    ada = Attended(representative=country.id("ada"), mode="in-person", minutes=180)
    assert code(record(ada, earlier=True)) == "attendance-already-recorded"
    assert code(record(ada, correction="miscounted")) == "nothing-to-correct"
    assert recorded(record(ada, earlier=True, correction="miscounted")).correction == "miscounted"


def test_attendance_is_recorded_of_meetings_that_have_begun(record: Any, meeting: Meeting) -> None:
    assert code(record(at=meeting.starts_at - timedelta(minutes=1))) == "meeting-not-held"
    assert code(record(meeting=meeting.model_copy(update={"state": "cancelled"}))) == "meeting-not-held"
    assert code(record(meeting=None)) == "meeting-unknown"


def test_attendance_is_recorded_of_member_networks_and_their_representatives(record: Any, country: Any) -> None:
    stranger = Attended(representative=country.id("eve"), mode="in-person", minutes=10)
    ada = Attended(representative=country.id("ada"), mode="in-person", minutes=10)
    assert code(record(member=False)) == "not-a-member-network"
    refusal = record(ada, stranger)
    assert (code(refusal), refusal.field) == ("not-a-representative", "attended.1.representative")
    assert code(record(ada, ada)) == "representative-named-twice"


def test_minutes_are_asked_for_where_no_office_is_known(record: Any, country: Any) -> None:
    nowhere = Network(
        id=country.id("n"), name="Nowhere", representatives={country.id("ada"): Representative(office=None)}
    )
    travelled = Attended(representative=country.id("ada"), mode="in-person")
    assert code(record(travelled, network=nowhere)) == "office-unknown"
    told = Attended(representative=country.id("ada"), mode="in-person", minutes=45)
    assert recorded(record(told, network=nowhere)).travelled == 45
