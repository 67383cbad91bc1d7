"""What events hears, and what it does with it: load, decide, save."""

from datetime import timedelta

from services.events import store
from services.events.domain import ledger, meeting, member, plan, venue
from services.events.domain.calendar_file import calendar_file
from services.events.domain.member import Member
from services.events.domain.plan import Worked, WorkedFrom
from services.events.store import (
    BLACKOUTS,
    LEDGER,
    MEETINGS,
    MEMBERS,
    NETWORKS,
    PLANS,
    TRAVEL_TABLES,
    VENUES,
    WORKED_FROM,
)
from shared.contracts import membership
from shared.contracts.events import (
    AttendanceRecorded,
    BlackoutPage,
    BookMeeting,
    CalendarFile,
    CalendarText,
    CancelMeeting,
    DeclareBlackout,
    LedgerPage,
    LiftBlackout,
    ListBlackouts,
    ListMeetings,
    ListVenues,
    LoadTravelTimes,
    MeetingPage,
    PlanInputs,
    PlanMeetings,
    PlanView,
    RecordAttendance,
    RegisterVenue,
    ShowLedger,
    ShowPlan,
    ShowPlanInputs,
    VenuePage,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.surface import Surface
from shared.tasks import Retries, TaskOutcome
from shared.unit_of_work import Reader, Work

on = Surface("events")

PLANNER_RETRIES = Retries(longest=timedelta(minutes=1), give_up_after=timedelta(minutes=5))
"""Somebody waits for a plan: better told soon that it failed, and asked again."""


# ---- venues, blackouts, travel times -------------------------------------------------------------------------------


@on.command(RegisterVenue)
def register_venue(command: RegisterVenue, work: Work) -> Done | Refusal:
    id_, namesake = work.new_id(), store.namesake(work, command.name, command.place)
    return work.save(VENUES, id_, venue.register(command, id_, namesake))


@on.command(DeclareBlackout)
def declare_blackout(command: DeclareBlackout, work: Work) -> Done | Refusal:
    id_ = work.new_id()
    return work.save(BLACKOUTS, id_, venue.declare_blackout(command, id_))


@on.command(LiftBlackout, loads=lambda command: [(BLACKOUTS, command.blackout)])
def lift_blackout(command: LiftBlackout, work: Work) -> Done | Refusal:
    state = work.load(BLACKOUTS, command.blackout)
    return work.save(BLACKOUTS, command.blackout, venue.lift_blackout(state, command.blackout))


@on.command(LoadTravelTimes)
def load_travel_times(command: LoadTravelTimes, work: Work) -> Done | Refusal:
    id_ = work.new_id()
    return work.save(TRAVEL_TABLES, id_, venue.load_travel_times(command, id_))


# ---- plans ---------------------------------------------------------------------------------------------------------


@on.command(PlanMeetings, loads=lambda command: [(NETWORKS, command.umbrella)])
def plan_meetings(command: PlanMeetings, work: Work) -> Done | Refusal:
    umbrella, inputs = work.load(NETWORKS, command.umbrella), store.inputs(work, command, work.now.date())
    id_ = work.new_id()
    done = work.save(PLANS, id_, plan.start(command, id_, umbrella, inputs, work.now))
    if isinstance(done, Done):
        work.start_task("plan-meetings", id_, {"inputs": inputs.model_dump(mode="json")})
    return done


@on.task(
    "plan-meetings",
    run="services.events.planning:run",
    loads=lambda outcome: [(PLANS, outcome.key)],
    retries=PLANNER_RETRIES,
)
def meetings_planned(outcome: TaskOutcome, work: Work) -> None:
    state = work.load(PLANS, outcome.key)
    if state is None:
        raise LookupError(f"{outcome.task} was done for {outcome.key}, which is no plan")
    if outcome.error is not None:
        work.save(PLANS, state.id, plan.finish(state, outcome.error))
        return
    worked = Worked.model_validate(outcome.result)
    work.save(PLANS, state.id, plan.finish(state, worked))
    work.put(WORKED_FROM, work.new_id(), WorkedFrom(plan=state.id, digest=worked.digest, inputs=worked.worked_from))


@on.query(ShowPlan)
def show_plan(query: ShowPlan, reader: Reader) -> PlanView | Refusal:
    state = reader.load(PLANS, query.plan)
    if state is None:
        return plan.unknown_plan(query.plan)
    names = store.names(reader, plan.speaks_of(state))
    return PlanView(names=names, **state.model_dump(exclude={"follows"}))


@on.query(ShowPlanInputs)
def show_plan_inputs(query: ShowPlanInputs, reader: Reader) -> PlanInputs | Refusal:
    found = store.worked_from(reader, query.plan)
    return PlanInputs(**found.model_dump()) if found else plan.not_worked_out(query.plan)


# ---- meetings ------------------------------------------------------------------------------------------------------


@on.command(BookMeeting, loads=lambda command: [(PLANS, command.plan)])
def book_meeting(command: BookMeeting, work: Work) -> Done | Refusal:
    state = work.load(PLANS, command.plan)
    if state is None:
        return plan.unknown_plan(command.plan)
    work.load(NETWORKS, state.umbrella)  # locked: the meetings of an umbrella are booked one after the other
    standing, invited = store.standing_meetings(work, state.umbrella), store.members(work, state.umbrella)
    venues = work.load_all(VENUES, [planned.venue for planned in state.meetings])
    id_ = work.new_id()
    return work.save(MEETINGS, id_, meeting.book(command, id_, state, venues, standing, invited, work.now))


@on.command(CancelMeeting, loads=lambda command: [(MEETINGS, command.meeting)])
def cancel_meeting(command: CancelMeeting, work: Work) -> Done | Refusal:
    state = work.load(MEETINGS, command.meeting)
    if state is not None:
        work.load(NETWORKS, state.umbrella)  # locked: the next meeting is booked before or after this one is cancelled
    return work.save(MEETINGS, command.meeting, meeting.cancel(state, command, work.now))


@on.query(ListMeetings)
def list_meetings(query: ListMeetings, reader: Reader) -> MeetingPage | Refusal:
    return store.meeting_page(reader, query)


@on.query(CalendarFile)
def show_calendar_file(query: CalendarFile, reader: Reader) -> CalendarText | Refusal:
    state = reader.load(MEETINGS, query.meeting)
    where = None if state is None else reader.load(VENUES, state.venue)
    if state is None or where is None:
        return meeting.unknown_meeting(query.meeting)
    return calendar_file(state, where, store.names(reader, [state.umbrella, *state.invited]))


@on.query(ListVenues)
def list_venues(query: ListVenues, reader: Reader) -> VenuePage:
    return store.venue_page(reader, query)


@on.query(ListBlackouts)
def list_blackouts(query: ListBlackouts, reader: Reader) -> BlackoutPage:
    return store.blackout_page(reader, query.umbrella)


# ---- the ledger ----------------------------------------------------------------------------------------------------


@on.command(RecordAttendance, loads=lambda command: [(MEETINGS, command.meeting), (NETWORKS, command.network)])
def record_attendance(command: RecordAttendance, work: Work) -> Done | Refusal:
    state, network = work.load(MEETINGS, command.meeting), work.load(NETWORKS, command.network)
    all_told = all(person.minutes is not None for person in command.attended)
    decision = ledger.record_attendance(
        command,
        state,
        network,
        venue=work.load(VENUES, state.venue) if state else None,
        known={} if all_told else store.known(work),  # every journey ever loaded
        at=work.now,
        member=state is not None and store.ever_member(work, state.umbrella, command.network),
        earlier=store.attendance_recorded(work, command.meeting, command.network),
    )
    done = work.save(MEETINGS, command.meeting, decision)
    if state is not None and not isinstance(decision, Refusal):
        for event in decision:
            if isinstance(event, AttendanceRecorded):
                work.put(LEDGER, work.new_id(), ledger.line(event, state, work.now))
    return done


@on.query(ShowLedger)
def show_ledger(query: ShowLedger, reader: Reader) -> LedgerPage:
    return store.ledger_page(reader, query)


# ---- what membership says ------------------------------------------------------------------------------------------


@on.event(membership.NetworkRegistered, loads=lambda event: [(NETWORKS, event.network)])
def network_registered(event: membership.NetworkRegistered, work: Work) -> None:
    work.put(NETWORKS, event.network, member.registered(work.load(NETWORKS, event.network), event))


@on.event(membership.RepresentativeAppointed, loads=lambda event: [(NETWORKS, event.network)])
def representative_appointed(event: membership.RepresentativeAppointed, work: Work) -> None:
    work.put(NETWORKS, event.network, member.appointed(work.load(NETWORKS, event.network), event))


@on.event(membership.RepresentativeStoodDown, loads=lambda event: [(NETWORKS, event.network)])
def representative_stood_down(event: membership.RepresentativeStoodDown, work: Work) -> None:
    work.put(NETWORKS, event.network, member.stood_down(work.load(NETWORKS, event.network), event))


@on.event(membership.OfficeMoved, loads=lambda event: [(NETWORKS, event.network)])
def office_moved(event: membership.OfficeMoved, work: Work) -> None:
    work.put(NETWORKS, event.network, member.moved(work.load(NETWORKS, event.network), event))


@on.event(
    membership.MemberNetworkAdmitted, loads=lambda event: [(MEMBERS, event.membership), (NETWORKS, event.network)]
)
def member_network_admitted(event: membership.MemberNetworkAdmitted, work: Work) -> None:
    others = store.minutes_of_members(work, event.umbrella)
    since = (work.envelope.time or work.now).date()
    start = ledger.opening(event.umbrella, event.network, others, since, work.now)
    work.put(NETWORKS, event.network, member.named(work.load(NETWORKS, event.network), event))
    work.put(MEMBERS, event.membership, Member(id=event.membership, umbrella=event.umbrella, network=event.network))
    work.put(LEDGER, work.new_id(), start)


@on.event(membership.MemberNetworkWithdrawn, loads=lambda event: [(MEMBERS, event.membership)])
def member_network_withdrawn(event: membership.MemberNetworkWithdrawn, work: Work) -> None:
    _left(event.membership, work)


@on.event(membership.MemberNetworkLapsed, loads=lambda event: [(MEMBERS, event.membership)])
def member_network_lapsed(event: membership.MemberNetworkLapsed, work: Work) -> None:
    _left(event.membership, work)


def _left(id_: str, work: Work) -> None:
    state = work.load(MEMBERS, id_)
    if state is not None:  # an application that was taken back never was a membership
        work.put(MEMBERS, id_, state.model_copy(update={"admitted": False}))
