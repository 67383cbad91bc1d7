"""The steering group of an umbrella network: who leads, who leads which work stream, and how much time they give."""

from collections.abc import Collection, Mapping
from datetime import datetime

from pydantic import BaseModel

from services.membership.domain.network import Network, is_steward
from shared.contracts.membership import (
    AppointSteeringMember,
    CloseWorkStream,
    OpenWorkStream,
    StandDownSteeringMember,
    SteeringMemberAppointed,
    SteeringMemberStoodDown,
    SteeringRole,
    VacantBecause,
    WorkStreamClosed,
    WorkStreamOpened,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

MAX_FTE = 6
"""Full-time equivalents in a whole steering group."""
MAX_LEAD_FTE = 1
"""What a lead, or two co-leads in a job share, come to together."""
MAX_LEADS = 2
MAX_PERSON_FTE = 1
"""A person is no more than one person, whatever seats they hold."""
HUNDREDTHS = 100
"""An FTE is counted in whole hundredths, so that sums are exact."""


class Seat(BaseModel, frozen=True):
    """Who sits where, with how many hundredths of a full-time equivalent.

    ``networks`` are the member networks the person spoke for when they were seated: the seat ends with the last of
    them. Somebody who spoke for none, of the secretariat perhaps, keeps the seat whichever network leaves.
    """

    role: SteeringRole
    work_stream: str | None
    person: str
    principal: str
    hundredths: int
    until: datetime | None = None
    networks: tuple[str, ...] = ()


class WorkStream(BaseModel, frozen=True):
    """Work that goes on until it is closed; each ongoing work stream has one lead.

    ``vacated`` says how the last one who led it went.
    """

    name: str
    ongoing: bool = True
    vacated: VacantBecause | None = None


class SteeringGroup(BaseModel, frozen=True):
    """Who sits in the steering group of one umbrella network. ``network`` is the umbrella."""

    id: str
    network: str
    total_hundredths: int = 0
    lead_vacated: VacantBecause | None = None
    seats: Mapping[str, Seat] = {}
    work_streams: Mapping[str, WorkStream] = {}


class Vacancy(BaseModel, frozen=True):
    """A seat that nobody holds; ``name`` is that of its work stream, ``vacant_because`` how the last one in it went."""

    role: SteeringRole
    work_stream: str | None = None
    name: str | None = None
    vacant_because: VacantBecause | None = None


def seat_key(role: SteeringRole, person: str, work_stream: str | None) -> str:
    """What a seat is known by: two people may lead together, but a work stream has one seat."""
    return f"lead {person}" if role == "lead" else f"work-stream {work_stream}"


def may_steer(network: Network, group: SteeringGroup, principal: str) -> bool:
    """Whether a principal may act for an umbrella: its steward, or one who sits in its steering group."""
    return is_steward(network, principal) or any(seat.principal == principal for seat in group.seats.values())


def vacancies(group: SteeringGroup) -> list[Vacancy]:
    """The lead, where nobody leads, and each ongoing work stream without a lead."""
    is_led = any(seat.role == "lead" for seat in group.seats.values())
    return [
        *([] if is_led else [Vacancy(role="lead", vacant_because=group.lead_vacated)]),
        *(
            Vacancy(role="work-stream-lead", work_stream=id_, name=stream.name, vacant_because=stream.vacated)
            for id_, stream in group.work_streams.items()
            if stream.ongoing and seat_key("work-stream-lead", "", id_) not in group.seats
        ),
    ]


def left_since(then: SteeringGroup | None, now: SteeringGroup | None) -> set[str]:
    """The seats of then whose holder does not sit there any more: who it was is told to nobody who asks of the past."""
    stays = {(key, seat.person, seat.principal) for key, seat in now.seats.items()} if now else set()
    seats = then.seats if then else {}
    return {key for key, seat in seats.items() if (key, seat.person, seat.principal) not in stays}


def free_fte(group: SteeringGroup) -> float:
    """Full-time equivalents that may still be given, exact to the hundredth."""
    return (MAX_FTE * HUNDREDTHS - group.total_hundredths) / HUNDREDTHS


def appoint(
    network: Network,
    group: SteeringGroup,
    command: AppointSteeringMember,
    principal: str,
    now: datetime,
    networks: Collection[str] = (),
) -> list[Event] | Refusal:
    """Seats a person as lead, or at the head of a work stream, for a term or until somebody ends it.

    ``networks`` are the member networks the person speaks for, with the last of which the seat ends.
    """
    no_seat = _no_seat_as_lead if command.role == "lead" else _no_seat_in_work_stream
    if refusal := _not_steering(network, group, principal) or no_seat(group, command):
        return refusal
    hundredths = round(command.fte * HUNDREDTHS)
    if abs(command.fte * HUNDREDTHS - hundredths) > 1e-6 or hundredths == 0:
        return Refusal(
            code="fte-in-hundredths",
            sentence=f"{command.fte} FTE was asked; an FTE is given in whole hundredths, from 0.01 to 1.",
            field="fte",
        )
    if command.until is not None and command.until <= now:
        return Refusal(
            code="term-over-already",
            sentence=f"The term was to end at {command.until:%Y-%m-%d %H:%M} UTC, which is past; "
            "give a later moment, or none for a seat without an end.",
            field="until",
        )
    if refusal := _mistaken_person(group, command) or _too_much(group, command, hundredths):
        return refusal
    return [
        SteeringMemberAppointed(
            group=group.id,
            network=network.id,
            person=command.person,
            principal=command.principal,
            role=command.role,
            work_stream=command.work_stream,
            fte=hundredths / HUNDREDTHS,
            until=command.until,
            networks=tuple(networks),
        )
    ]


def _not_steering(network: Network, group: SteeringGroup, principal: str) -> Refusal | None:
    if may_steer(network, group, principal):
        return None
    return Refusal(
        code="not-of-the-steering-group",
        sentence=f"{principal} cannot do this: the steward of {network.name} and its steering group may.",
    )


def _no_seat_as_lead(group: SteeringGroup, command: AppointSteeringMember) -> Refusal | None:
    leads = [seat.person for seat in group.seats.values() if seat.role == "lead"]
    if command.work_stream is not None:
        return Refusal(
            code="lead-has-no-work-stream",
            sentence="A lead leads the whole steering group; leave work_stream out, or seat a work-stream-lead.",
            field="work_stream",
        )
    if command.person in leads:
        return Refusal(
            code="seated-already",
            sentence=f"The person {command.person} is lead already; stand down first to change the FTE.",
            field="person",
        )
    if len(leads) >= MAX_LEADS:
        return Refusal(
            code="two-co-leads-at-most",
            sentence=f"A third lead was asked for; there is one lead, or there are {MAX_LEADS} co-leads.",
            field="role",
            data={"leads": leads},
        )
    return None


def _no_seat_in_work_stream(group: SteeringGroup, command: AppointSteeringMember) -> Refusal | None:
    stream = group.work_streams.get(command.work_stream or "")
    if stream is None or not stream.ongoing:
        ongoing = {id_: each.name for id_, each in group.work_streams.items() if each.ongoing}
        names = ", ".join(sorted(ongoing.values())) or "none yet; open one first"
        return Refusal(
            code="no-such-work-stream",
            sentence=f"A work-stream lead leads an ongoing work stream. Ongoing are: {names}.",
            field="work_stream",
            data={"ongoing": ongoing},
        )
    if seat_key(command.role, command.person, command.work_stream) in group.seats:
        return Refusal(
            code="work-stream-has-a-lead",
            sentence=f"The work stream {stream.name} has a lead, who would stand down first.",
            field="work_stream",
        )
    return None


def _mistaken_person(group: SteeringGroup, command: AppointSteeringMember) -> Refusal | None:
    for seat in group.seats.values():
        if (seat.person == command.person) != (seat.principal == command.principal):
            return Refusal(
                code="person-and-principal-differ",
                sentence="A person acts with one principal in all their seats: "
                f"{seat.person} with {seat.principal}, unlike what was asked.",
                field="principal",
            )
    return None


def _too_much(group: SteeringGroup, command: AppointSteeringMember, hundredths: int) -> Refusal | None:
    leads = sum(seat.hundredths for seat in group.seats.values() if seat.role == "lead")
    person = sum(seat.hundredths for seat in group.seats.values() if seat.person == command.person)
    for taken, most, code, whose in (
        (leads if command.role == "lead" else 0, MAX_LEAD_FTE, "lead-is-one-fte", "the leads together"),
        (person, MAX_PERSON_FTE, "person-is-one-fte", "all seats of this person together"),
        (group.total_hundredths, MAX_FTE, "six-fte-exceeded", "the whole steering group"),
    ):
        free = most * HUNDREDTHS - taken
        if hundredths > free:
            return Refusal(
                code=code,
                sentence=f"{command.fte:g} FTE was asked for; {whose} may have {most:g} FTE, "
                f"of which {taken / HUNDREDTHS:g} are taken and {free / HUNDREDTHS:g} free.",
                field="fte",
                data={"asked": command.fte, "most": most, "taken": taken / HUNDREDTHS, "free": free / HUNDREDTHS},
            )
    return None


def stand_down(
    network: Network, group: SteeringGroup, command: StandDownSteeringMember, principal: str
) -> list[Event] | Refusal:
    """Frees a seat."""
    seat = group.seats.get(seat_key(command.role, command.person, command.work_stream))
    if seat is None or seat.person != command.person:
        return Refusal(
            code="not-in-that-seat",
            sentence=f"The person {command.person} has no such seat; show-network lists the seats and who holds them.",
            field="person",
        )
    # Whoever holds the seat is of the steering group, so one check serves them, their colleagues and the steward.
    if refusal := _not_steering(network, group, principal):
        return refusal
    return [_stood_down(group, seat, "stood-down")]


def end_term(group: SteeringGroup, key: str, now: datetime) -> list[Event]:
    """Frees a seat whose term is over; nothing if whoever sits there now has longer, or nobody does."""
    seat = group.seats.get(key)
    if seat is None or seat.until is None or seat.until > now:
        return []
    return [_stood_down(group, seat, "term-ended")]


def end_with_networks(group: SteeringGroup, left: Collection[str], members: Collection[str]) -> list[Event]:
    """Frees the seats that were held for networks which left the umbrella, and for none that is a member still.

    ``members`` are those of the umbrella, before or after the others left.
    """
    return [
        _stood_down(group, seat, "stood-down", next(network for network in seat.networks if network in left))
        for seat in group.seats.values()
        if _held_for_these_alone(seat, left, members)
    ]


def end_with_person(group: SteeringGroup, person: str, homes: Collection[str], members: Collection[str]) -> list[Event]:
    """Frees the seats of somebody who left an employer; ``homes`` are the networks that are at home there.

    Those held for these networks and for no other member network; and in the steering group of one of these, those held
    for no member network at all. Nobody's employer takes a seat that is held for the network of another.
    """
    return [
        _stood_down(group, seat, "stood-down")
        for seat in group.seats.values()
        if seat.person == person
        and (
            _held_for_these_alone(seat, homes, members)
            or (group.network in homes and not set(seat.networks) & set(members))
        )
    ]


def _held_for_these_alone(seat: Seat, networks: Collection[str], members: Collection[str]) -> bool:
    held_for = set(seat.networks)
    return bool(held_for & set(networks)) and not held_for & (set(members) - set(networks))


def open_work_stream(
    network: Network, group: SteeringGroup, command: OpenWorkStream, principal: str, new_id: str
) -> list[Event] | Refusal:
    """Opens a work stream, which from now on lacks a lead."""
    if refusal := _not_steering(network, group, principal):
        return refusal
    named = [stream.name for stream in group.work_streams.values() if stream.ongoing]
    if command.name.casefold() in (name.casefold() for name in named):
        return Refusal(
            code="work-stream-open-already",
            sentence=f"{network.name} has an ongoing work stream named {command.name}; choose another name.",
            field="name",
        )
    return [WorkStreamOpened(group=group.id, network=network.id, work_stream=new_id, name=command.name)]


def close_work_stream(
    network: Network, group: SteeringGroup, command: CloseWorkStream, principal: str
) -> list[Event] | Refusal:
    """Closes a work stream; its lead's seat goes with it."""
    if refusal := _not_steering(network, group, principal):
        return refusal
    stream = group.work_streams.get(command.work_stream)
    if stream is None or not stream.ongoing:
        return Refusal(
            code="no-such-work-stream",
            sentence=f"{network.name} has no ongoing work stream with the id {command.work_stream}.",
            field="work_stream",
        )
    closed = WorkStreamClosed(group=group.id, network=network.id, work_stream=command.work_stream, name=stream.name)
    seat = group.seats.get(seat_key("work-stream-lead", "", command.work_stream))
    return [_stood_down(group, seat, "work-stream-closed"), closed] if seat else [closed]


def _stood_down(
    group: SteeringGroup, seat: Seat, because: str, left_with: str | None = None
) -> SteeringMemberStoodDown:
    return SteeringMemberStoodDown.model_validate(
        {
            "group": group.id,
            "network": group.network,
            "because": because,
            "left_with": left_with,
            **seat.model_dump(exclude={"hundredths", "until", "networks"}),
        }
    )


def evolve(group: SteeringGroup | None, event: Event) -> SteeringGroup:
    """Applies what happened; the group comes into being with the first thing that happens to it."""
    match event:
        case SteeringMemberAppointed():
            group = group or SteeringGroup(id=event.group, network=event.network)
            seat = Seat(
                role=event.role,
                work_stream=event.work_stream,
                person=event.person,
                principal=event.principal,
                hundredths=round(event.fte * HUNDREDTHS),
                until=event.until,
                networks=event.networks,
            )
            key = seat_key(event.role, event.person, event.work_stream)
            return _seated(group, {**group.seats, key: seat})
        case SteeringMemberStoodDown() if group:
            gone = seat_key(event.role, event.person, event.work_stream)
            group = _seated(group, {key: seat for key, seat in group.seats.items() if key != gone})
            because: VacantBecause = "network-left" if event.left_with else event.because
            if event.work_stream is None:
                return group.model_copy(update={"lead_vacated": because})
            stream = group.work_streams[event.work_stream].model_copy(update={"vacated": because})
            return _streaming(group, event.work_stream, stream)
        case WorkStreamOpened():
            group = group or SteeringGroup(id=event.group, network=event.network)
            return _streaming(group, event.work_stream, WorkStream(name=event.name))
        case WorkStreamClosed() if group:
            return _streaming(group, event.work_stream, WorkStream(name=event.name, ongoing=False))
    raise TypeError(f"{event.wire.type} does not happen to {group}")


def _seated(group: SteeringGroup, seats: Mapping[str, Seat]) -> SteeringGroup:
    total = sum(seat.hundredths for seat in seats.values())
    return group.model_copy(update={"seats": seats, "total_hundredths": total})


def _streaming(group: SteeringGroup, key: str, stream: WorkStream) -> SteeringGroup:
    return group.model_copy(update={"work_streams": {**group.work_streams, key: stream}})
