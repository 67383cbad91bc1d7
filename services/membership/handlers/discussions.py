"""Discussion on proposals. The proposal is loaded, so locked, with each contribution: none comes after its close."""

from services.membership import store
from services.membership.domain import discussion, network, proposal
from services.membership.handlers.surface import on
from services.membership.store import CONTRIBUTIONS, NETWORKS, PROPOSALS
from shared.contracts.membership import (
    ContributeToProposal,
    ContributionPage,
    ListContributions,
    WithdrawContribution,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.unit_of_work import Reader, Work


@on.command(ContributeToProposal, loads=lambda command: [(PROPOSALS, command.proposal), (NETWORKS, command.network)])
def contribute_to_proposal(command: ContributeToProposal, work: Work) -> Done | Refusal:
    state, speaker = work.load(PROPOSALS, command.proposal), work.load(NETWORKS, command.network)
    if state is None:
        return proposal.unknown(command.proposal)
    if speaker is None:
        return network.unknown(command.network)
    first_of_day = not store.discussed_since(work, state.id, discussion.day_began(work.now))
    said = discussion.contribute(
        state,
        speaker,
        command,
        work.principal,
        work.now,
        new_id=work.new_id(),
        is_member=store.is_member_of(work, state.umbrella, speaker.id),
        said=store.contributions_of(work, state.id, speaker.id),
    )
    return _keep(said, state, work, first_of_day=first_of_day)


@on.command(
    WithdrawContribution, loads=lambda command: [(PROPOSALS, command.proposal), (CONTRIBUTIONS, command.contribution)]
)
def withdraw_contribution(command: WithdrawContribution, work: Work) -> Done | Refusal:
    state, said = work.load(PROPOSALS, command.proposal), work.load(CONTRIBUTIONS, command.contribution)
    if state is None:
        return proposal.unknown(command.proposal)
    speaker = work.load(NETWORKS, said.network) if said else None
    return _keep(discussion.withdraw(said, speaker, command, work.principal, work.now), state, work, first_of_day=False)


def _keep(
    said: discussion.Contribution | Refusal, state: proposal.Proposal, work: Work, *, first_of_day: bool
) -> Done | Refusal:
    if isinstance(said, Refusal):
        return said
    # In confidence: it stands under the network's name, so the story of the proposal names no person for it.
    done = work.save(PROPOSALS, state.id, discussion.told(said, state, first_of_day=first_of_day), in_confidence=True)
    work.put(CONTRIBUTIONS, said.id, said)
    return done if isinstance(done, Refusal) else Done(id=said.id, events=done.events)


@on.query(ListContributions)
def list_contributions(query: ListContributions, reader: Reader) -> ContributionPage | Refusal:
    state = reader.load(PROPOSALS, query.proposal)
    if state is None:
        return proposal.unknown(query.proposal)
    found = store.load_umbrella(reader, state.umbrella)
    if isinstance(found, Refusal):
        return found
    speaks = store.speaks_on(reader, state, reader.principal)
    return discussion.not_for(*found, reader.principal, speaks=speaks) or store.contribution_page(reader, query)
