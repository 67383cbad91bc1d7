"""Which state of events lies in which table, the reads that decisions need, and those that questions need."""

from collections.abc import Iterable
from datetime import date
from itertools import starmap

from sqlalchemy import func, or_, select, tuple_

from services.events import tables
from services.events.domain import ledger, meeting, plan, venue
from services.events.domain.ledger import Entry, Line, Total
from services.events.domain.meeting import Meeting, Standing
from services.events.domain.member import Member, Network
from services.events.domain.plan import Plan, WorkedFrom
from services.events.domain.plan_inputs import ClosedFor, Inputs, MemberInputs, PastMeeting, VenueInputs
from services.events.domain.rotation import LONDON_ONE_IN
from services.events.domain.travel import KnownTimes, known_times, place_key
from services.events.domain.venue import Blackout, TravelTable, Venue
from shared.contracts.events import (
    BlackoutPage,
    BlackoutView,
    LedgerLine,
    LedgerPage,
    LedgerTotal,
    ListMeetings,
    ListVenues,
    MeetingPage,
    MeetingView,
    PlanMeetings,
    ShowLedger,
    TravelTime,
    VenuePage,
    VenueView,
)
from shared.refusal import Refusal
from shared.unit_of_work import Aggregate, Reader, Work

VENUES = Aggregate(Venue, tables.venues, venue.evolve_venue)
BLACKOUTS = Aggregate(Blackout, tables.blackouts, venue.evolve_blackout)
TRAVEL_TABLES = Aggregate(TravelTable, tables.travel_tables, venue.evolve_table)
PLANS = Aggregate(Plan, tables.plans, plan.evolve)
WORKED_FROM = Aggregate(WorkedFrom, tables.worked_from)
MEETINGS = Aggregate(Meeting, tables.meetings, meeting.evolve)
LEDGER = Aggregate(Line, tables.ledger)
NETWORKS = Aggregate(Network, tables.networks, parts={"representatives": tables.representatives})
MEMBERS = Aggregate(Member, tables.member_networks)


# ---- what decisions need -------------------------------------------------------------------------------------------


def namesake(work: Work, name: str, place: str) -> str | None:
    """The venue of this name in this place."""
    c = tables.venues.c
    found = work.select(select(c.id).where(c.place == place, c.name == name))
    return found[0].id if found else None


def members(source: Work | Reader, umbrella: str) -> list[str]:
    """The networks that are members of an umbrella now, by id."""
    c = tables.member_networks.c
    rows = source.select(select(c.network).where(c.umbrella == umbrella, c.admitted).order_by(c.network))
    return [row.network for row in rows]


def ever_member(work: Work, umbrella: str, network: str) -> bool:
    """Whether a network is or was a member of an umbrella."""
    c = tables.member_networks.c
    return bool(work.select(select(c.id).where(c.umbrella == umbrella, c.network == network).limit(1)))


def totals(source: Work | Reader, umbrella: str) -> dict[str, Total]:
    """What the ledger of an umbrella says of each network."""
    c = tables.ledger.c
    counted = select(*(c[name] for name in Entry._fields)).where(c.umbrella == umbrella)
    return ledger.totals(starmap(Entry, source.select(counted.order_by(c.written_at, c.id))))


def minutes_of_members(work: Work, umbrella: str) -> list[int]:
    """The totals of those who are members of an umbrella now."""
    c = tables.ledger.c
    if not work.select(select(c.id).where(c.umbrella == umbrella, c.meeting.is_not(None)).limit(1)):
        return []  # nobody has travelled yet, so everybody starts at nothing: the ledger need not be read
    known = totals(work, umbrella)
    return [known.get(network, Total()).minutes for network in members(work, umbrella)]


def attendance_recorded(work: Work, meeting: str, network: str) -> bool:
    """Whether a network's part in a meeting stands in the ledger."""
    c = tables.ledger.c
    return bool(work.select(select(c.id).where(c.meeting == meeting, c.network == network).limit(1)))


def standing_meetings(work: Work, umbrella: str) -> list[Standing]:
    """The meetings of an umbrella that are not cancelled, by date."""
    c = tables.meetings.c
    rows = work.select(
        select(c.id, c.plan, c.number).where(c.umbrella == umbrella, c.state == "booked").order_by(c.date, c.id)
    )
    return [Standing(row.id, row.plan, row.number) for row in rows]


def known_journeys(work: Work) -> list[TravelTime]:
    """Every loaded journey, those loaded later after those loaded earlier."""
    rows = work.select(select(tables.travel_tables.c.journeys).order_by(tables.travel_tables.c.id))
    return [TravelTime.model_validate(journey) for row in rows for journey in row.journeys]


def known(work: Work) -> KnownTimes:
    """Loaded times by place."""
    return known_times(known_journeys(work))


def inputs(work: Work, command: PlanMeetings, today: date) -> Inputs:
    """Everything a plan is worked out from, in an order that does not depend on the store."""
    borne = totals(work, command.umbrella)
    networks = work.load_all(NETWORKS, members(work, command.umbrella))
    counted = [
        MemberInputs(network=id_, burden=borne.get(id_, Total()).minutes, offices=network.offices)
        for id_, network in sorted(networks.items())
    ]
    venues = [
        VenueInputs(venue=row.id, **{name: row._mapping[name] for name in VenueInputs.model_fields if name != "venue"})
        for row in work.select(select(tables.venues).order_by(tables.venues.c.id))
    ]
    places = {place_key(office.place) for member in counted for office in member.offices}
    places |= {place_key(each.place) for each in venues}
    return Inputs(
        umbrella=command.umbrella,
        today=today,
        meetings=command.meetings,
        earliest=command.earliest,
        seats=command.seats or sum(network.people for network in networks.values()),
        notice_days=command.notice_days,
        host_window=command.host_window,
        region_window=command.region_window,
        members=tuple(counted),
        venues=tuple(venues),
        past=_past(work, command.umbrella, max(command.host_window, command.region_window, LONDON_ONE_IN - 1)),
        blackouts=tuple(
            ClosedFor(name=each.name, first=each.first, last=each.last)
            for each in blackouts_in_force(work, command.umbrella)
        ),
        known_times=tuple(
            TravelTime(origin=origin, destination=destination, minutes=minutes)
            for (origin, destination), minutes in sorted(known(work).items())
            if origin <= destination and {origin, destination} <= places
        ),
    )


def _past(work: Work, umbrella: str, most: int) -> tuple[PastMeeting, ...]:
    c = tables.meetings.c
    statement = select(c.id, c.date, c.host, c.region).where(c.umbrella == umbrella, c.state == "booked")
    rows = work.select(statement.order_by(c.date.desc(), c.id.desc()).limit(most))
    return tuple(PastMeeting(meeting=row.id, date=row.date, host=row.host, region=row.region) for row in reversed(rows))


def blackouts_in_force(source: Work | Reader, umbrella: str | None) -> list[Blackout]:
    """Blackouts for all, and those of one umbrella, by their first day."""
    c = tables.blackouts.c
    statement = select(tables.blackouts).where(~c.lifted, or_(c.umbrella.is_(None), c.umbrella == umbrella))
    return [Blackout.model_validate(dict(row._mapping)) for row in source.select(statement.order_by(c.first, c.id))]


# ---- what questions need -------------------------------------------------------------------------------------------


def venue_page(reader: Reader, query: ListVenues) -> VenuePage:
    """Venues in the order they were registered."""
    statement = select(tables.venues)
    if query.region is not None:
        statement = statement.where(tables.venues.c.region == query.region)
    total = reader.select(select(func.count()).select_from(statement.subquery()))[0][0]
    if query.after is not None:
        statement = statement.where(tables.venues.c.id > query.after)
    rows = reader.select(statement.order_by(tables.venues.c.id).limit(query.limit + 1))
    views = tuple(VenueView.model_validate(dict(row._mapping)) for row in rows[: query.limit])
    return VenuePage(venues=views, total=total, next=views[-1].id if len(rows) > query.limit else None)


def blackout_page(reader: Reader, umbrella: str | None) -> BlackoutPage:
    """The blackouts in force."""
    found = blackouts_in_force(reader, umbrella)
    return BlackoutPage(blackouts=tuple(BlackoutView(**each.model_dump(exclude={"lifted"})) for each in found))


def meeting_page(reader: Reader, query: ListMeetings) -> MeetingPage | Refusal:
    """The meetings of an umbrella by date."""
    c = tables.meetings.c
    statement = select(tables.meetings).where(c.umbrella == query.umbrella)
    if not query.cancelled:
        statement = statement.where(c.state == "booked")
    total = reader.select(select(func.count()).select_from(statement.subquery()))[0][0]
    if query.after is not None:
        last = reader.load(MEETINGS, query.after)
        if last is None:
            return meeting.unknown_meeting(query.after)
        statement = statement.where(tuple_(c.date, c.id) > (last.date, last.id))
    rows = reader.select(statement.order_by(c.date, c.id).limit(query.limit + 1))
    views = tuple(MeetingView.model_validate(dict(row._mapping)) for row in rows[: query.limit])
    return MeetingPage(meetings=views, total=total, next=views[-1].id if len(rows) > query.limit else None)


def ledger_page(reader: Reader, query: ShowLedger) -> LedgerPage:
    """What each member network has borne, the worst off first, and the lines of the network asked for."""
    borne, present = totals(reader, query.umbrella), members(reader, query.umbrella)
    named = names(reader, present)
    views = [
        LedgerTotal(network=network, name=named.get(network, network), **total._asdict(), total=total.minutes)
        for network in present
        for total in (borne.get(network, Total()),)
    ]
    c = tables.ledger.c
    lines = select(tables.ledger).where(c.umbrella == query.umbrella, c.network == query.network)
    return LedgerPage(
        totals=tuple(sorted(views, key=lambda view: (-view.total, view.network))),
        lines=tuple(
            LedgerLine.model_validate(dict(row._mapping)) for row in reader.select(lines.order_by(c.written_at, c.id))
        ),
    )


def worked_from(reader: Reader, plan: str) -> WorkedFrom | None:
    """What a plan was worked out from."""
    rows = reader.select(select(tables.worked_from).where(tables.worked_from.c.plan == plan))
    return WorkedFrom.model_validate(dict(rows[0]._mapping)) if rows else None


def names(reader: Reader, ids: Iterable[str]) -> dict[str, str]:
    """What networks are called, and venues with their place, as far as we know."""
    wanted, network, hall = sorted(set(ids)), tables.networks.c, tables.venues.c
    networks = select(network.id, network.name).where(network.id.in_(wanted), network.name.is_not(None))
    venues = select(hall.id, (hall.name + ", " + hall.place).label("name")).where(hall.id.in_(wanted))
    return {row.id: row.name for statement in (networks, venues) for row in reader.select(statement)}
