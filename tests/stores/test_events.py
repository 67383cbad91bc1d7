"""Events from message to row to answer, on SQLite and on PostgreSQL alike."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

import pytest
import uuid_utils
from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from services.events import planning, tables
from services.events.handlers import on
from shared import clock, dead_letters
from shared.contracts import cloudevent, membership
from shared.contracts.events import (
    Attended,
    BookMeeting,
    CalendarFile,
    CancelMeeting,
    DeclareBlackout,
    GivenTravelTime,
    LiftBlackout,
    ListBlackouts,
    ListMeetings,
    ListVenues,
    LoadTravelTimes,
    PlanMeetings,
    RecordAttendance,
    RegisterVenue,
    ShowLedger,
    ShowPlan,
    ShowPlanInputs,
)
from shared.contracts.membership import Office, Region, nation_of
from shared.contracts.message import Command, Event, Message, Query, subject_of
from shared.database import reading, writing
from shared.outbox import OUTBOX
from shared.refusal import Refusal
from shared.surface import Arrival, Received
from shared.tasks import TASKS, TaskOutcome
from shared.transaction import Transaction
from shared.unit_of_work import Reader
from tests.conftest import StoreOf

TOWNS: dict[str, tuple[Region, float, float]] = {
    "London": ("London", 51.5085, -0.1257),
    "Leeds": ("Yorkshire and The Humber", 53.7965, -1.5478),
    "Manchester": ("North West", 53.4809, -2.2374),
    "Birmingham": ("West Midlands", 52.4814, -1.8998),
    "Bristol": ("South West", 51.4552, -2.5966),
    "Cardiff": ("Wales", 51.48, -3.18),
    "Edinburgh": ("Scotland", 55.9521, -3.1965),
    "Newcastle": ("North East", 54.9733, -1.6139),
}


def new_id() -> str:
    return str(uuid_utils.uuid7())


def office(town: str) -> Office:
    region, latitude, longitude = TOWNS[town]
    return Office(place=town, region=region, nation=nation_of(region), latitude=latitude, longitude=longitude)


class Service:
    """Events on one store, without the wire: what membership says to it, and the planner run at once."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.umbrella = new_id()
        self.sequences: dict[str, int] = {}
        self.people: dict[str, str] = {}
        self.hear(self.registered(self.umbrella, "Umbrella", umbrella=membership.UmbrellaRules()))

    # ---- in

    def run(self, *arrivals: Arrival) -> list[dict[str, Any]]:
        with writing(self.engine) as connection:
            replies = Transaction(connection, on, 500).run(arrivals, []).replies
        with reading(self.engine) as connection:
            assert [letter.error for letter in dead_letters.page(connection, None, 10)] == []
        return [json.loads(reply or b"null") for reply in replies]

    def send(self, command: Command) -> dict[str, Any]:
        return self.run(self._read(command, subject_of(type(command), "sam"), source="/sam", subject=None))[0]

    def do(self, command: Command) -> str:
        """Sends a command that has to succeed; the id it answers with."""
        reply = self.send(command)
        assert reply["outcome"] == "done", reply
        return str(reply["done"]["id"])

    def refused(self, command: Command) -> str:
        reply = self.send(command)
        assert reply["outcome"] == "refused", reply
        return str(reply["refusal"]["code"])

    def hear(self, *said: Event) -> None:
        self.run(*(self._event(each) for each in said))

    def work(self) -> None:
        """Does every task there is, as the runner would in another process."""
        with reading(self.engine) as connection:
            rows: Sequence[Any] = connection.execute(select(TASKS)).all()
        for row in rows:
            outcome = TaskOutcome(row.id, row.name, row.key, row.args, 1, result=planning.run(row.args))
            self.end(outcome)

    def end(self, outcome: TaskOutcome) -> None:
        received = Received(f"task.{outcome.name}.{outcome.task}", {}, json.dumps(asdict(outcome)).encode())
        self.run(on.read(received))

    def _event(self, said: Event) -> Arrival:
        about = said.aggregate
        self.sequences[about] = self.sequences.get(about, 0) + 1
        to = subject_of(type(said), about)
        return self._read(said, to, source="/concord/membership", subject=about, sequence=self.sequences[about])

    @staticmethod
    def _read(message: Message, to: str, **attributes: Any) -> Arrival:
        payload = cloudevent.write(message, id=new_id(), time=clock.now(), **attributes)
        return on.read(Received(to, {"content-type": cloudevent.STRUCTURED}, payload))

    # ---- out

    def ask(self, query: Query[Any]) -> Any:
        with reading(self.engine) as connection:
            answer = on.queries[query.wire.name].run(query, Reader(connection, clock.now(), "sam"))
        if not isinstance(answer, Refusal):
            type(answer).model_validate_json(answer.model_dump_json())  # as the wire would carry it
        return answer

    def told(self, about: str) -> list[str]:
        """The names of the event messages that are to go out about something, in order."""
        with reading(self.engine) as connection:
            statement = select(OUTBOX.c.payload).where(OUTBOX.c.aggregate == about).order_by(OUTBOX.c.position)
            rows = connection.scalars(statement).all()
        return [json.loads(row)["type"].split(".")[2] for row in rows]

    # ---- what most stories begin with

    @staticmethod
    def registered(network: str, name: str, **others: Any) -> membership.NetworkRegistered:
        given = {"organisation": None, "parent": None, "office": None, "umbrella": None, "steering_group": None}
        return membership.NetworkRegistered(
            network=network, name=name, reach="national", steward="sam", **(given | others)
        )

    def member(self, name: str, town: str, people: int = 1) -> tuple[str, str]:
        """A network with representatives in a town, admitted; its id and that of its membership."""
        network, admission = new_id(), new_id()
        self.people[network] = new_id()
        persons = [self.people[network], *(new_id() for _ in range(people - 1))]
        self.hear(
            self.registered(network, name),
            *(
                membership.RepresentativeAppointed(
                    network=network, person=person, principal=f"p{number}", office=office(town)
                )
                for number, person in enumerate(persons)
            ),
        )
        self.admit(network, admission, name)
        return network, admission

    def admit(self, network: str, admission: str, name: str = "again") -> None:
        self.hear(
            membership.MemberNetworkAdmitted(
                membership=admission,
                umbrella=self.umbrella,
                network=network,
                name=name,
                reach="national",
                organisation=None,
                office=None,
            )
        )

    def venue(self, town: str, **others: Any) -> str:
        hall = {"name": "Town Hall", "host": new_id(), "capacity": 50, "step_free": True}
        return self.do(RegisterVenue(**(hall | office(town).model_dump() | others)))

    def country(self) -> dict[str, str]:
        """Three member networks and five venues; the networks by name."""
        for town in ("London", "Leeds", "Manchester", "Birmingham", "Cardiff"):
            self.venue(town)
        towns = {"north": "Newcastle", "south": "Bristol", "east": "Leeds"}
        return {name: self.member(name, town)[0] for name, town in towns.items()}

    def planned(self, **asked: Any) -> str:
        plan = self.do(PlanMeetings(umbrella=self.umbrella, **asked))
        self.work()
        return plan

    def held(self, plan: str, number: int = 1) -> str:
        """Books a meeting and has its time come."""
        meeting = self.do(BookMeeting(plan=plan, number=number))
        now = clock.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        began = max(now - timedelta(hours=1), midnight)  # yesterday nobody was a member yet
        with writing(self.engine) as connection:
            connection.execute(
                update(tables.meetings)
                .where(tables.meetings.c.id == meeting)
                .values(starts_at=began, ends_at=began + timedelta(hours=4), date=began.date())
            )
        return meeting


@pytest.fixture
def service(store_of: StoreOf) -> Service:
    return Service(store_of("events"))


# ---- plans ---------------------------------------------------------------------------------------------------------


def test_a_plan_is_answered_at_once_and_told_when_it_is_worked_out(service: Service) -> None:
    networks = service.country()
    plan = service.do(PlanMeetings(umbrella=service.umbrella))
    assert service.ask(ShowPlan(plan=plan)).state == "in-hand"
    service.work()
    shown = service.ask(ShowPlan(plan=plan))
    assert service.told(plan) == ["planning-started", "meetings-planned"]
    assert (shown.state, len(shown.meetings)) == ("planned", 2)
    assert {burden.network for burden in shown.certificate.burdens} == set(networks.values())
    assert {shown.names[network] for network in networks.values()} == set(networks)
    assert all(shown.names[meeting.venue].startswith("Town Hall, ") for meeting in shown.meetings)
    assert shown.names[service.umbrella] == "Umbrella"


def test_what_a_plan_was_worked_out_from_gives_the_same_plan_again(service: Service) -> None:
    service.country()
    service.do(
        LoadTravelTimes(source="t", journeys=(GivenTravelTime(origin="Leeds", destination="London", minutes=9),))
    )
    service.do(DeclareBlackout(name="Recess", first=date(2027, 1, 1), last=date(2027, 1, 31)))
    plan = service.planned()
    kept, shown = service.ask(ShowPlanInputs(plan=plan)), service.ask(ShowPlan(plan=plan))
    again = planning.run(kept.inputs)
    assert again["digest"] == kept.digest == shown.certificate.digest
    assert again["planned"] == json.loads(shown.model_dump_json(include={"meetings", "certificate"}))


def test_a_plan_that_cannot_be_had_says_which_rules_conflict(service: Service) -> None:
    service.member("north", "Newcastle", people=3)
    service.venue("Leeds", capacity=2)
    plan = service.planned()
    shown = service.ask(ShowPlan(plan=plan))
    assert (shown.state, shown.code, shown.conflicting) == ("failed", "no-venues-keep-the-rules", ("capacity",))
    assert service.told(plan) == ["planning-started", "plan-failed"]
    assert service.refused(BookMeeting(plan=plan, number=1)) == "plan-not-ready"


def test_a_planner_that_breaks_down_fails_its_plan_and_says_so(service: Service) -> None:
    service.country()
    plan = service.do(PlanMeetings(umbrella=service.umbrella))
    with reading(service.engine) as connection:
        [row] = connection.execute(select(TASKS)).all()
    service.end(TaskOutcome(row.id, row.name, row.key, row.args, 3, error="out of memory"))
    assert service.ask(ShowPlan(plan=plan)).code == "planner-failed"
    assert service.ask(ShowPlanInputs(plan=plan)).code == "plan-not-worked-out"


def test_an_outcome_that_comes_twice_is_told_once(service: Service) -> None:
    service.country()
    plan = service.do(PlanMeetings(umbrella=service.umbrella))
    with reading(service.engine) as connection:
        [row] = connection.execute(select(TASKS)).all()
    for _ in range(2):
        service.end(TaskOutcome(row.id, row.name, row.key, row.args, 1, result=planning.run(row.args)))
    assert service.told(plan) == ["planning-started", "meetings-planned"]


def test_nothing_is_planned_for_nobody_or_nowhere(service: Service) -> None:
    assert service.refused(PlanMeetings(umbrella=new_id())) == "not-an-umbrella"
    assert service.refused(PlanMeetings(umbrella=service.umbrella)) == "no-member-networks"
    network, _ = service.member("north", "Newcastle")
    assert service.refused(PlanMeetings(umbrella=network)) == "not-an-umbrella"
    assert service.refused(PlanMeetings(umbrella=service.umbrella)) == "no-venues"
    assert service.ask(ShowPlan(plan=new_id())).code == "plan-unknown"


def test_a_network_that_left_is_planned_for_no_longer(service: Service) -> None:
    networks = service.country()
    gone, admission = service.member("gone", "Edinburgh")
    service.hear(
        membership.MemberNetworkWithdrawn(membership=admission, umbrella=service.umbrella, network=gone),
        membership.MemberNetworkWithdrawn(membership=new_id(), umbrella=service.umbrella, network=new_id()),
    )
    shown = service.ask(ShowPlan(plan=service.planned()))
    assert {burden.network for burden in shown.certificate.burdens} == set(networks.values())


def test_who_stood_down_is_planned_for_no_longer(service: Service) -> None:
    networks = service.country()
    person = service.people[networks["north"]]
    service.hear(
        membership.RepresentativeAppointed(
            network=networks["north"], person=new_id(), principal="new", office=office("Edinburgh")
        ),
        membership.RepresentativeStoodDown(network=networks["north"], person=person, principal="p0"),
    )
    inputs: Any = service.ask(ShowPlanInputs(plan=service.planned())).inputs
    offices = {member["network"]: member["offices"] for member in inputs["inputs"]["members"]}
    assert [place["place"] for place in offices[networks["north"]]] == ["Edinburgh"]


def test_whoever_moves_is_planned_for_from_where_they_are_now(service: Service) -> None:
    networks = service.country()
    person = service.people[networks["north"]]
    service.hear(
        membership.OfficeMoved(network=networks["north"], person=None, office=office("Cardiff")),
        membership.OfficeMoved(network=networks["north"], person=person, office=office("Edinburgh")),
    )
    inputs: Any = service.ask(ShowPlanInputs(plan=service.planned())).inputs
    offices = {member["network"]: member["offices"] for member in inputs["inputs"]["members"]}
    assert [place["place"] for place in offices[networks["north"]]] == ["Edinburgh"]
    service.hear(membership.RepresentativeStoodDown(network=networks["north"], person=person, principal="p0"))
    inputs = service.ask(ShowPlanInputs(plan=service.planned())).inputs
    offices = {member["network"]: member["offices"] for member in inputs["inputs"]["members"]}
    assert [place["place"] for place in offices[networks["north"]]] == ["Cardiff"]


def test_a_blackout_of_one_umbrella_leaves_others_alone_and_ends_when_it_is_lifted(service: Service) -> None:
    days = {"first": date(2027, 1, 1), "last": date(2027, 1, 31)}
    mine = service.do(DeclareBlackout(name="Mine", umbrella=service.umbrella, **days))
    service.do(DeclareBlackout(name="Theirs", umbrella=new_id(), **days))
    service.do(DeclareBlackout(name="All", **days))

    def in_force() -> set[str]:
        return {each.name for each in service.ask(ListBlackouts(umbrella=service.umbrella)).blackouts}

    assert in_force() == {"Mine", "All"}
    service.do(LiftBlackout(blackout=mine))
    assert in_force() == {"All"}
    assert service.refused(LiftBlackout(blackout=mine)) == "no-such-blackout"


# ---- venues --------------------------------------------------------------------------------------------------------


def test_a_venue_is_registered_once(service: Service) -> None:
    venue = service.venue("Leeds")
    again = RegisterVenue(name="Town Hall", host=new_id(), capacity=5, step_free=True, **office("Leeds").model_dump())
    assert service.refused(again) == "venue-already-registered"
    assert service.told(venue) == ["venue-registered"]


def test_venues_are_listed_page_by_page(service: Service) -> None:
    venues = [service.venue(town) for town in ("Leeds", "London", "Cardiff")]
    first = service.ask(ListVenues(limit=2))
    assert ([view.id for view in first.venues], first.total, first.next) == (venues[:2], 3, venues[1])
    last = service.ask(ListVenues(limit=2, after=first.next))
    assert ([view.id for view in last.venues], last.next) == (venues[2:], None)
    assert [view.place for view in service.ask(ListVenues(region="Wales")).venues] == ["Cardiff"]


# ---- meetings ------------------------------------------------------------------------------------------------------


def test_a_meeting_is_booked_listed_and_cancelled(service: Service) -> None:
    networks = service.country()
    plan = service.planned()
    first, second = service.do(BookMeeting(plan=plan, number=1)), service.do(BookMeeting(plan=plan, number=2))
    listed = service.ask(ListMeetings(umbrella=service.umbrella)).meetings
    assert [view.id for view in listed] == [first, second]
    assert set(listed[0].invited) == set(networks.values())
    service.do(CancelMeeting(meeting=second, reason="the hall is flooded"))
    assert service.told(second) == ["meeting-booked", "meeting-cancelled"]
    assert [view.id for view in service.ask(ListMeetings(umbrella=service.umbrella)).meetings] == [first]
    everything = service.ask(ListMeetings(umbrella=service.umbrella, cancelled=True)).meetings
    assert [(view.state, view.reason) for view in everything] == [
        ("booked", None),
        ("cancelled", "the hall is flooded"),
    ]


def test_meetings_come_page_by_page_in_the_order_of_their_days(service: Service) -> None:
    service.country()
    plan = service.planned()
    flooded, later = service.do(BookMeeting(plan=plan, number=1)), service.do(BookMeeting(plan=plan, number=2))
    service.do(CancelMeeting(meeting=flooded, reason="the hall is flooded"))
    sooner = service.do(BookMeeting(plan=plan, number=1))
    first = service.ask(ListMeetings(umbrella=service.umbrella, limit=1))
    assert ([view.id for view in first.meetings], first.total, first.next) == ([sooner], 2, sooner)
    last = service.ask(ListMeetings(umbrella=service.umbrella, limit=1, after=first.next))
    assert ([view.id for view in last.meetings], last.total, last.next) == ([later], 2, None)
    service.do(CancelMeeting(meeting=sooner, reason="the hall is flooded again"))  # between two pages
    assert service.ask(ListMeetings(umbrella=service.umbrella, limit=1, after=first.next)).meetings == last.meetings


def test_a_cancelled_meeting_gives_its_place_in_the_plan_free(service: Service) -> None:
    service.country()
    plan = service.planned()
    service.do(CancelMeeting(meeting=service.do(BookMeeting(plan=plan, number=1)), reason="double booked"))
    service.do(BookMeeting(plan=plan, number=1))


def test_the_next_plan_follows_what_was_booked_and_the_one_before_it_falls(service: Service) -> None:
    service.country()
    plan, rival = service.planned(), service.planned()
    meeting = service.do(BookMeeting(plan=plan, number=1))
    assert service.refused(BookMeeting(plan=rival, number=1)) == "plan-overtaken"
    booked = service.ask(ListMeetings(umbrella=service.umbrella)).meetings[0]
    after = service.ask(ShowPlan(plan=service.planned()))
    assert after.meetings[0].date > booked.date + timedelta(weeks=18)
    assert booked.venue not in {planned.venue for planned in after.meetings}
    assert service.do(BookMeeting(plan=after.id, number=1)) != meeting


def test_of_rival_plans_one_is_booked_however_many_ask_at_once(service: Service) -> None:
    service.country()
    plans = [service.planned(notice_days=days) for days in (42, 52, 62, 72)]  # each on a day of its own
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda plan: service.send(BookMeeting(plan=plan, number=1)), plans))
    assert sorted(reply["outcome"] for reply in replies) == ["done", "refused", "refused", "refused"]
    assert len(service.ask(ListMeetings(umbrella=service.umbrella)).meetings) == 1


def test_the_table_holds_one_meeting_a_day_even_if_the_rule_did_not(service: Service) -> None:
    service.country()
    service.do(BookMeeting(plan=service.planned(), number=1))
    with reading(service.engine) as connection:
        [row] = connection.execute(select(tables.meetings)).mappings().all()
    with pytest.raises(IntegrityError), writing(service.engine) as connection:
        connection.execute(insert(tables.meetings), {**row, "id": new_id(), "plan": new_id()})


def test_a_calendar_file_follows_its_meeting(service: Service) -> None:
    service.country()
    meeting = service.do(BookMeeting(plan=service.planned(), number=1))
    invitation = service.ask(CalendarFile(meeting=meeting))
    service.do(CancelMeeting(meeting=meeting, reason="the hall is flooded"))
    withdrawn = service.ask(CalendarFile(meeting=meeting))
    assert (invitation.method, withdrawn.method) == ("REQUEST", "CANCEL")
    assert invitation.uid == withdrawn.uid
    assert withdrawn.sequence == invitation.sequence + 1
    assert "SUMMARY:Meeting of Umbrella" in invitation.text
    assert service.ask(CalendarFile(meeting=new_id())).code == "meeting-unknown"


# ---- the ledger ----------------------------------------------------------------------------------------------------


def attendance(service: Service, meeting: str, network: str, minutes: int, **others: Any) -> RecordAttendance:
    person = Attended(representative=service.people[network], mode="in-person", minutes=minutes)
    return RecordAttendance(meeting=meeting, network=network, attended=(person,), **others)


def test_what_was_travelled_counts_in_the_next_plan(service: Service) -> None:
    networks = service.country()
    meeting = service.held(service.planned())
    for name, minutes in (("north", 150), ("south", 90), ("east", 0)):
        service.do(attendance(service, meeting, networks[name], minutes))
    assert service.told(meeting)[-1] == "attendance-recorded"
    page = service.ask(ShowLedger(umbrella=service.umbrella, network=networks["north"]))
    assert [(total.name, total.total) for total in page.totals] == [("north", 150), ("south", 90), ("east", 0)]
    assert [(line.meeting, line.travelled) for line in page.lines] == [(None, 0), (meeting, 150)]
    certificate = service.ask(ShowPlan(plan=service.planned())).certificate
    assert {burden.network: burden.before for burden in certificate.burdens} == {
        networks["north"]: 150,
        networks["south"]: 90,
        networks["east"]: 0,
    }


def test_a_correction_is_one_more_line(service: Service) -> None:
    networks = service.country()
    meeting = service.held(service.planned())
    service.do(attendance(service, meeting, networks["north"], 150))
    again = attendance(service, meeting, networks["north"], 140)
    assert service.refused(again) == "attendance-already-recorded"
    service.do(again.model_copy(update={"correction": "the train was on time"}))
    page = service.ask(ShowLedger(umbrella=service.umbrella, network=networks["north"]))
    assert page.totals[0].total == 140
    assert [(line.travelled, line.correction) for line in page.lines] == [
        (0, None),
        (150, None),
        (140, "the train was on time"),
    ]


def test_a_newcomer_starts_at_the_median_and_so_does_who_comes_back(service: Service) -> None:
    networks = service.country()
    meeting = service.held(service.planned())
    for name, minutes in (("north", 150), ("south", 90), ("east", 0)):
        service.do(attendance(service, meeting, networks[name], minutes))
    new, _ = service.member("new", "Cardiff")
    gone, admission = service.member("gone", "Cardiff")
    leave = membership.MemberNetworkWithdrawn(membership=admission, umbrella=service.umbrella, network=gone)
    service.hear(leave)
    service.admit(gone, admission)
    totals = {total.network: total for total in service.ask(ShowLedger(umbrella=service.umbrella)).totals}
    assert (totals[new].opening, totals[new].total) == (90, 90)
    assert (totals[gone].opening, totals[gone].travelled) == (90, 0)


def test_the_founders_of_a_network_start_at_nothing(service: Service) -> None:
    service.country()
    assert {total.total for total in service.ask(ShowLedger(umbrella=service.umbrella)).totals} == {0}


def test_attendance_is_recorded_of_member_networks_alone(service: Service) -> None:
    service.country()
    meeting = service.held(service.planned())
    stranger = new_id()
    service.people[stranger] = new_id()
    service.hear(service.registered(stranger, "Stranger"))
    assert service.refused(attendance(service, meeting, stranger, 10)) == "not-a-member-network"
    assert service.refused(attendance(service, new_id(), stranger, 10)) == "meeting-unknown"
