"""Proposals: drafted, put to the member networks, decided by consensus."""

from services.membership import store
from services.membership.domain import network, proposal, steering_group
from services.membership.domain.network import Network
from services.membership.domain.proposal import Proposal
from services.membership.handlers.surface import on
from services.membership.store import NETWORKS, PAST, PROPOSALS
from shared.contracts.membership import (
    AmendProposal,
    CloseProposal,
    DraftProposal,
    ListProposals,
    OpenProposal,
    ProposalPage,
    ProposalView,
    ShowProposal,
    ShowVoice,
    TakePosition,
    VoiceHistory,
    VoiceView,
    WithdrawProposal,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.timers import Timer
from shared.unit_of_work import Place, Reader, Work

CLOSE = "close-proposal"

Leading = OpenProposal | AmendProposal | CloseProposal | WithdrawProposal


@on.command(DraftProposal, loads=lambda command: [(NETWORKS, command.umbrella)])
def draft_proposal(command: DraftProposal, work: Work) -> Done | Refusal:
    found = store.load_umbrella(work, command.umbrella, "umbrella")
    if isinstance(found, Refusal):
        return found
    umbrella, group = found
    may_draft = steering_group.may_steer(umbrella, group, work.principal) or store.speaks_in(
        work, umbrella.id, work.principal
    )
    id_ = work.new_id()
    return work.save(PROPOSALS, id_, proposal.draft(umbrella, command, work.principal, id_, may_draft=may_draft))


@on.command(TakePosition, loads=lambda command: [(NETWORKS, command.network), (PROPOSALS, command.proposal)])
def take_position(command: TakePosition, work: Work) -> Done | Refusal:
    state, speaker = work.load(PROPOSALS, command.proposal), work.load(NETWORKS, command.network)
    if state is None:
        return proposal.unknown(command.proposal)
    if speaker is None:
        return network.unknown(command.network)
    decision = proposal.take_position(state, speaker, command, work.principal, work.now)
    return work.save(PROPOSALS, state.id, decision)


# ---- what its author and the steering group may do -----------------------------------------------------------------


def _proposal(command: Leading) -> list[Place]:
    return [(PROPOSALS, command.proposal)]


def _load_led(command: Leading, work: Work) -> tuple[Proposal, Network] | Refusal:
    """The proposal and its umbrella, if whoever asks may lead it."""
    state = work.load(PROPOSALS, command.proposal)
    if state is None:
        return proposal.unknown(command.proposal)
    found = store.load_umbrella(work, state.umbrella)
    if isinstance(found, Refusal):
        return found
    umbrella, group = found
    return proposal.not_leading(state, umbrella, group, work.principal) or (state, umbrella)


@on.command(OpenProposal, loads=_proposal)
def open_proposal(command: OpenProposal, work: Work) -> Done | Refusal:
    led = _load_led(command, work)
    if isinstance(led, Refusal):
        return led
    state, umbrella = led
    electorate = store.electorate(work, umbrella.id)
    work.set_timer(CLOSE, state.id, command.deadline)
    return work.save(PROPOSALS, state.id, proposal.open_(state, umbrella, command, electorate, work.now))


@on.command(AmendProposal, loads=_proposal)
def amend_proposal(command: AmendProposal, work: Work) -> Done | Refusal:
    led = _load_led(command, work)
    if isinstance(led, Refusal):
        return led
    state, _ = led
    done = work.save(PROPOSALS, state.id, proposal.amend(state, command, work.now))
    amended = work.load(PROPOSALS, state.id)
    if amended and amended.deadline:
        work.set_timer(CLOSE, amended.id, amended.deadline)
    return done


@on.command(CloseProposal, loads=_proposal)
def close_proposal(command: CloseProposal, work: Work) -> Done | Refusal:
    led = _load_led(command, work)
    if isinstance(led, Refusal):
        return led
    state, _ = led
    work.cancel_timer(CLOSE, state.id)
    return work.save(PROPOSALS, state.id, proposal.close_early(state, work.now))


@on.command(WithdrawProposal, loads=_proposal)
def withdraw_proposal(command: WithdrawProposal, work: Work) -> Done | Refusal:
    led = _load_led(command, work)
    if isinstance(led, Refusal):
        return led
    state, _ = led
    work.cancel_timer(CLOSE, state.id)
    return work.save(PROPOSALS, state.id, proposal.withdraw(state, command, work.now))


@on.timer(CLOSE, loads=lambda timer: [(PROPOSALS, timer.key)])
def close_at_deadline(timer: Timer, work: Work) -> None:
    state = work.load(PROPOSALS, timer.key)
    if state:
        work.save(PROPOSALS, state.id, proposal.close_at_deadline(state, work.now))


# ---- questions -----------------------------------------------------------------------------------------------------


@on.query(ListProposals, as_of_from=PAST)
def list_proposals(query: ListProposals, reader: Reader) -> ProposalPage:
    return store.proposal_page(reader, query)


@on.query(ShowProposal, as_of_from=PAST)
def show_proposal(query: ShowProposal, reader: Reader) -> ProposalView | Refusal:
    state = reader.load(PROPOSALS, query.proposal)
    if state is None:
        return proposal.unknown(query.proposal)
    names = store.names_of(reader, state.voices.keys())
    voices = [
        VoiceView(network=id_, name=names[id_], stance=voice.stance, earlier=len(voice.earlier))
        for id_, voice in state.voices.items()
    ]
    return ProposalView(**state.model_dump(exclude={"voices"}), voices=tuple(voices))


@on.query(ShowVoice)
def show_voice(query: ShowVoice, reader: Reader) -> VoiceHistory | Refusal:
    state = reader.load(PROPOSALS, query.proposal)
    if state is None:
        return proposal.unknown(query.proposal)
    voice = state.voices.get(query.network)
    if voice is None:
        return proposal.not_asked(query.network)
    return VoiceHistory(stances=proposal.everything_said(voice))
