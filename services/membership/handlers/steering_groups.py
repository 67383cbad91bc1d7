"""The steering group of an umbrella network, and its work streams."""

from collections.abc import Collection

from services.membership import store
from services.membership.domain import steering_group
from services.membership.domain.network import Network
from services.membership.domain.steering_group import HUNDREDTHS, SteeringGroup, free_fte, seat_key, vacancies
from services.membership.handlers.surface import on
from services.membership.store import NETWORKS, PAST, STEERING_GROUPS
from shared.contracts.membership import (
    AppointSteeringMember,
    CloseWorkStream,
    ListSteeringGroups,
    OpenWorkStream,
    SeatView,
    StandDownSteeringMember,
    SteeringGroupLine,
    SteeringGroupPage,
    SteeringGroupView,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.timers import Timer
from shared.unit_of_work import Place, Reader, Work

END_TERM = "end-steering-term"

Steering = AppointSteeringMember | StandDownSteeringMember | OpenWorkStream | CloseWorkStream


def _umbrella(command: Steering) -> list[Place]:
    return [(NETWORKS, command.network)]


@on.command(AppointSteeringMember, loads=_umbrella)
def appoint_steering_member(command: AppointSteeringMember, work: Work) -> Done | Refusal:
    found = store.load_umbrella(work, command.network)
    if isinstance(found, Refusal):
        return found
    umbrella, group = found
    networks = store.spoken_for_by(work, umbrella.id, command.person, command.principal)
    decision = steering_group.appoint(umbrella, group, command, work.principal, work.now, networks)
    if command.until is not None:
        seat = seat_key(command.role, command.person, command.work_stream)
        work.set_timer(END_TERM, f"{group.id} {seat}", command.until, {"group": group.id, "seat": seat})
    return work.save(STEERING_GROUPS, group.id, decision)


@on.timer(END_TERM, loads=lambda timer: [(STEERING_GROUPS, timer.data["group"])])
def end_term(timer: Timer, work: Work) -> None:
    group = work.load(STEERING_GROUPS, timer.data["group"])
    if group:
        work.save(STEERING_GROUPS, group.id, steering_group.end_term(group, timer.data["seat"], work.now))


@on.command(StandDownSteeringMember, loads=_umbrella)
def stand_down_steering_member(command: StandDownSteeringMember, work: Work) -> Done | Refusal:
    found = store.load_umbrella(work, command.network)
    if isinstance(found, Refusal):
        return found
    umbrella, group = found
    return work.save(STEERING_GROUPS, group.id, steering_group.stand_down(umbrella, group, command, work.principal))


@on.command(OpenWorkStream, loads=_umbrella)
def open_work_stream(command: OpenWorkStream, work: Work) -> Done | Refusal:
    found = store.load_umbrella(work, command.network)
    if isinstance(found, Refusal):
        return found
    umbrella, group = found
    id_ = work.new_id()
    decision = steering_group.open_work_stream(umbrella, group, command, work.principal, id_)
    done = work.save(STEERING_GROUPS, group.id, decision)
    # Answered with the id of the work stream, by which its lead is appointed.
    return done if isinstance(done, Refusal) else done.model_copy(update={"id": id_})


@on.command(CloseWorkStream, loads=_umbrella)
def close_work_stream(command: CloseWorkStream, work: Work) -> Done | Refusal:
    found = store.load_umbrella(work, command.network)
    if isinstance(found, Refusal):
        return found
    umbrella, group = found
    decision = steering_group.close_work_stream(umbrella, group, command, work.principal)
    return work.save(STEERING_GROUPS, group.id, decision)


# ---- questions -----------------------------------------------------------------------------------------------------


@on.query(ListSteeringGroups, as_of_from=PAST)
def list_steering_groups(query: ListSteeringGroups, reader: Reader) -> SteeringGroupPage:
    umbrellas, total, more = store.umbrella_page(reader, query)
    ids = [umbrella.steering_group for umbrella in umbrellas if umbrella.steering_group]
    groups, groups_now = reader.load_all(STEERING_GROUPS, ids), reader.present.load_all(STEERING_GROUPS, ids)
    lines = []
    for umbrella in umbrellas:
        group, now = (found.get(umbrella.steering_group or "") for found in (groups, groups_now))
        shown = view(umbrella, group, unnamed=steering_group.left_since(group, now))
        if shown:
            lines.append(SteeringGroupLine(network=umbrella.id, name=umbrella.name, steering_group=shown))
    return SteeringGroupPage(steering_groups=tuple(lines), total=total, next=lines[-1].network if more else None)


def view(umbrella: Network, group: SteeringGroup | None, unnamed: Collection[str] = ()) -> SteeringGroupView | None:
    """The steering group of a network, its vacancies among the seats, leads first; of seats ``unnamed`` nobody."""
    if umbrella.steering_group is None:
        return None
    group = group or SteeringGroup(id=umbrella.steering_group, network=umbrella.id)
    held = [
        SeatView(
            **seat.model_dump(exclude={"hundredths", "person", "principal", "networks"}),
            name=group.work_streams[seat.work_stream].name if seat.work_stream else None,
            person=None if key in unnamed else seat.person,
            principal=None if key in unnamed else seat.principal,
            networks=() if key in unnamed else seat.networks,  # they could tell who it was
            fte=seat.hundredths / HUNDREDTHS,
        )
        for key, seat in group.seats.items()
    ]
    vacant = [SeatView(**each.model_dump(), person=None, principal=None, fte=0) for each in vacancies(group)]
    return SteeringGroupView(
        id=group.id,
        total_fte=group.total_hundredths / HUNDREDTHS,
        free_fte=free_fte(group),
        seats=tuple(sorted(held + vacant, key=lambda seat: seat.role)),
    )
