"""Concerns: raised with or without a name, endorsed, put before HR, chased, answered, closed."""

from services.membership import store
from services.membership.domain import concern, network
from services.membership.domain.concern import Concern, withdrawal_key
from services.membership.handlers.surface import on
from services.membership.store import CONCERNS, NETWORKS, PAST, WITHDRAWAL_KEYS
from shared.contracts.membership import (
    CloseConcern,
    ConcernPage,
    ConcernStepView,
    ConcernView,
    EndorseConcern,
    EndorsementView,
    ListConcerns,
    RaiseConcern,
    RecordConcernResponse,
    ShowConcern,
    SubmitConcern,
    TakeBackEndorsement,
    WithdrawConcern,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.timers import Timer
from shared.unit_of_work import Place, Reader, Work

CHASE = "chase-concern"

Steered = SubmitConcern | RecordConcernResponse | CloseConcern
Voiced = EndorseConcern | TakeBackEndorsement


@on.command(RaiseConcern, loads=lambda command: [(NETWORKS, command.umbrella)])
def raise_concern(command: RaiseConcern, work: Work) -> Done | Refusal:
    umbrella = work.load(NETWORKS, command.umbrella)
    if umbrella is None:
        return network.unknown(command.umbrella, "umbrella")
    speaks = store.speaks_in(work, umbrella.id, work.principal)
    crowd = store.crowd(work, umbrella.id)
    id_ = work.new_id()
    decision = concern.raise_(umbrella, command, work.principal, id_, work.now, speaks=speaks, crowd=crowd)
    if command.withdrawal_phrase is not None and not isinstance(decision, Refusal):
        key = withdrawal_key(id_, command.withdrawal_phrase)
        work.put(WITHDRAWAL_KEYS, key.id, key)
    return work.save(CONCERNS, id_, decision)


@on.command(WithdrawConcern, loads=lambda command: [(CONCERNS, command.concern)])
def withdraw_concern(command: WithdrawConcern, work: Work) -> Done | Refusal:
    state = work.load(CONCERNS, command.concern)
    if state is None:
        return concern.unknown(command.concern)
    key = withdrawal_key(state.id, command.withdrawal_phrase) if command.withdrawal_phrase is not None else None
    has_key = key is not None and work.load(WITHDRAWAL_KEYS, key.id) is not None
    state = concern.of_members(state, store.electorate(work, state.umbrella))
    return work.save(CONCERNS, state.id, concern.withdraw(state, command, work.principal, work.now, has_key=has_key))


# ---- the voices of networks ----------------------------------------------------------------------------------------


def _concern_and_network(command: Voiced) -> list[Place]:
    return [(CONCERNS, command.concern), (NETWORKS, command.network)]


@on.command(EndorseConcern, loads=_concern_and_network)
def endorse_concern(command: EndorseConcern, work: Work) -> Done | Refusal:
    state, speaker = work.load(CONCERNS, command.concern), work.load(NETWORKS, command.network)
    if state is None:
        return concern.unknown(command.concern)
    if speaker is None:
        return network.unknown(command.network)
    there = store.membership_of(work, state.umbrella, speaker.id)
    return work.save(CONCERNS, state.id, concern.endorse(state, speaker, there, work.principal, work.now))


@on.command(TakeBackEndorsement, loads=_concern_and_network)
def take_back_endorsement(command: TakeBackEndorsement, work: Work) -> Done | Refusal:
    state, speaker = work.load(CONCERNS, command.concern), work.load(NETWORKS, command.network)
    if state is None:
        return concern.unknown(command.concern)
    if speaker is None:
        return network.unknown(command.network)
    return work.save(CONCERNS, state.id, concern.take_back(state, speaker, work.principal))


# ---- what the steering group does ----------------------------------------------------------------------------------


def _concern(command: Steered) -> list[Place]:
    return [(CONCERNS, command.concern)]


def _load_steered(command: Steered, work: Work) -> Concern | Refusal:
    """The concern, if whoever asks steers its umbrella."""
    state = work.load(CONCERNS, command.concern)
    if state is None:
        return concern.unknown(command.concern)
    found = store.load_umbrella(work, state.umbrella)
    if isinstance(found, Refusal):
        return found
    umbrella, group = found
    members = store.electorate(work, umbrella.id)
    return concern.not_steering(umbrella, group, work.principal) or concern.of_members(state, members)


@on.command(SubmitConcern, loads=_concern)
def submit_concern(command: SubmitConcern, work: Work) -> Done | Refusal:
    state = _load_steered(command, work)
    if isinstance(state, Refusal):
        return state
    work.set_timer(CHASE, state.id, command.reply_by)
    return work.save(CONCERNS, state.id, concern.submit(state, command, work.now))


@on.command(RecordConcernResponse, loads=_concern)
def record_concern_response(command: RecordConcernResponse, work: Work) -> Done | Refusal:
    state = _load_steered(command, work)
    if isinstance(state, Refusal):
        return state
    work.cancel_timer(CHASE, state.id)
    return work.save(CONCERNS, state.id, concern.record_response(state, command, work.now))


@on.command(CloseConcern, loads=_concern)
def close_concern(command: CloseConcern, work: Work) -> Done | Refusal:
    state = _load_steered(command, work)
    if isinstance(state, Refusal):
        return state
    work.cancel_timer(CHASE, state.id)
    return work.save(CONCERNS, state.id, concern.close(state, command, work.now))


@on.timer(CHASE, loads=lambda timer: [(CONCERNS, timer.key)])
def chase_reply(timer: Timer, work: Work) -> None:
    state = work.load(CONCERNS, timer.key)
    if state is None:
        return
    work.save(CONCERNS, state.id, concern.chase(state, work.now))
    after = work.load(CONCERNS, state.id)
    if after and (due := concern.chase_at(after)):
        work.set_timer(CHASE, after.id, due)


# ---- questions -----------------------------------------------------------------------------------------------------


@on.query(ListConcerns, as_of_from=PAST)
def list_concerns(query: ListConcerns, reader: Reader) -> ConcernPage:
    return store.concern_page(reader, query)


@on.query(ShowConcern)
def show_concern(query: ShowConcern, reader: Reader) -> ConcernView | Refusal:
    state = reader.load(CONCERNS, query.concern)
    if state is None:
        return concern.unknown(query.concern)
    state = concern.of_members(state, store.electorate(reader, state.umbrella))
    names = store.names_of(reader, state.endorsements.keys())
    endorsements = [
        EndorsementView(network=id_, name=names[id_], since=endorsement.since)
        for id_, endorsement in state.endorsements.items()
    ]
    return ConcernView(
        **state.model_dump(exclude={"endorsements", "reminded_at"}),
        endorsements=tuple(sorted(endorsements, key=lambda each: (each.name, each.network))),
        overdue_since=concern.overdue_since(state, reader.now),
        course=tuple(ConcernStepView(**step._asdict()) for step in concern.course(state, reader.now)),
    )
