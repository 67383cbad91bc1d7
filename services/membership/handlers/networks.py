"""Networks, who speaks for them, and the umbrellas they join."""

from dataclasses import dataclass

from services.membership import store
from services.membership.domain import membership, network, starter_path, steering_group
from services.membership.domain.membership import Membership
from services.membership.domain.network import Network
from services.membership.domain.steering_group import SteeringGroup
from services.membership.handlers import leaving, starter_paths
from services.membership.handlers.steering_groups import view
from services.membership.handlers.surface import on
from services.membership.store import MEMBERSHIPS, NETWORKS, ORGANISATIONS, PAST, STEERING_GROUPS
from shared.contracts.membership import (
    AdmitMemberNetwork,
    ApplyForMembership,
    AppointRepresentative,
    AppointSteward,
    ConfirmNetworkHome,
    DeclineMemberNetwork,
    GiveUpStewardship,
    HandOverStewardship,
    ListNetworks,
    MoveOffice,
    NetworkPage,
    NetworkView,
    RegisterNetwork,
    RepresentativeView,
    ShowNetwork,
    StandDownRepresentative,
    WithdrawMemberNetwork,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.unit_of_work import Place, Reader, Work


def _home_of(command: RegisterNetwork) -> list[Place]:
    """Locked: of two networks of one name that are registered at once, one comes first."""
    if command.organisation:
        return [(ORGANISATIONS, command.organisation)]
    return [(NETWORKS, command.parent)] if command.parent else []


@on.command(RegisterNetwork, loads=_home_of)
def register_network(command: RegisterNetwork, work: Work) -> Done | Refusal:
    if refusal := starter_path.cannot_form(command):
        return refusal
    has = store.topics_asked(work, work.principal) if command.forming else {}
    id_ = work.new_id()
    decision = network.register(
        command,
        work.principal,
        network_id=id_,
        group_id=work.new_id(),
        organisation=work.load(ORGANISATIONS, command.organisation) if command.organisation else None,
        parent=work.load(NETWORKS, command.parent) if command.parent else None,
        beside=store.names_at(work, command.organisation, command.parent),
    )
    done = work.save(NETWORKS, id_, decision)
    return starter_paths.begin(done, work, has=has) if command.forming and isinstance(done, Done) else done


@on.command(MoveOffice, loads=lambda command: [(NETWORKS, command.network)])
def move_office(command: MoveOffice, work: Work) -> Done | Refusal:
    state = work.load(NETWORKS, command.network)
    return work.save(NETWORKS, command.network, network.move_office(state, command, work.principal))


@on.command(AppointRepresentative, loads=lambda command: [(NETWORKS, command.network)])
def appoint_representative(command: AppointRepresentative, work: Work) -> Done | Refusal:
    state = work.load(NETWORKS, command.network)
    return work.save(NETWORKS, command.network, network.appoint_representative(state, command, work.principal))


@on.command(StandDownRepresentative, loads=lambda command: [(NETWORKS, command.network)])
def stand_down_representative(command: StandDownRepresentative, work: Work) -> Done | Refusal:
    state = work.load(NETWORKS, command.network)
    decision = network.stand_down_representative(state, command, work.principal)
    if isinstance(decision, Refusal):
        return decision
    decided = leaving.with_what_follows(work, {command.network: decision})
    return Done(id=command.network, events=leaving.save(work, decided))


@on.command(HandOverStewardship, loads=lambda command: [(NETWORKS, command.network)])
@on.command(AppointSteward, loads=lambda command: [(NETWORKS, command.network)])
def hand_over_stewardship(command: HandOverStewardship | AppointSteward, work: Work) -> Done | Refusal:
    state = work.load(NETWORKS, command.network)
    return work.save(NETWORKS, command.network, network.hand_over(state, command, work.principal))


@on.command(GiveUpStewardship, loads=lambda command: [(NETWORKS, command.network)])
def give_up_stewardship(command: GiveUpStewardship, work: Work) -> Done | Refusal:
    state = work.load(NETWORKS, command.network)
    return work.save(NETWORKS, command.network, network.give_up(state, command, work.principal))


@on.command(ConfirmNetworkHome, loads=lambda command: [(NETWORKS, command.network)])
def confirm_network_home(command: ConfirmNetworkHome, work: Work) -> Done | Refusal:
    state = work.load(NETWORKS, command.network)
    home = work.load(ORGANISATIONS, state.organisation) if state and state.organisation else None
    return work.save(NETWORKS, command.network, network.confirm_home(state, command, home))


# ---- joining an umbrella -------------------------------------------------------------------------------------------

Joining = ApplyForMembership | AdmitMemberNetwork | DeclineMemberNetwork | WithdrawMemberNetwork


@dataclass(frozen=True)
class _Pair:
    """A network and an umbrella, and what the one is to the other."""

    umbrella: Network
    group: SteeringGroup
    network: Network
    membership: Membership | None


def _networks(command: Joining) -> list[Place]:
    return [(NETWORKS, command.umbrella), (NETWORKS, command.network)]


def _load_pair(command: Joining, work: Work) -> _Pair | Refusal:
    umbrella = store.load_umbrella(work, command.umbrella, "umbrella")
    if isinstance(umbrella, Refusal):
        return umbrella
    other = work.load(NETWORKS, command.network)
    if other is None:
        return network.unknown(command.network)
    return _Pair(*umbrella, other, store.membership_of(work, command.umbrella, command.network))


@on.command(ApplyForMembership, loads=_networks)
def apply_for_membership(command: ApplyForMembership, work: Work) -> Done | Refusal:
    pair = _load_pair(command, work)
    if isinstance(pair, Refusal):
        return pair
    home = work.load(ORGANISATIONS, pair.network.organisation) if pair.network.organisation else None
    id_ = pair.membership.id if pair.membership else work.new_id()
    decision = membership.apply(pair.umbrella, pair.network, pair.membership, work.principal, new_id=id_, home=home)
    return work.save(MEMBERSHIPS, id_, decision)


@on.command(AdmitMemberNetwork, loads=_networks)
def admit_member_network(command: AdmitMemberNetwork, work: Work) -> Done | Refusal:
    pair = _load_pair(command, work)
    if isinstance(pair, Refusal):
        return pair
    may_admit = steering_group.may_steer(pair.umbrella, pair.group, work.principal)
    decision = membership.admit(pair.umbrella, pair.network, pair.membership, may_admit=may_admit)
    return work.save(MEMBERSHIPS, pair.membership.id if pair.membership else "", decision)


@on.command(DeclineMemberNetwork, loads=_networks)
def decline_member_network(command: DeclineMemberNetwork, work: Work) -> Done | Refusal:
    pair = _load_pair(command, work)
    if isinstance(pair, Refusal):
        return pair
    may_admit = steering_group.may_steer(pair.umbrella, pair.group, work.principal)
    decision = membership.decline(pair.umbrella, pair.network, pair.membership, command, may_admit=may_admit)
    return work.save(MEMBERSHIPS, pair.membership.id if pair.membership else "", decision)


@on.command(WithdrawMemberNetwork, loads=_networks)
def withdraw_member_network(command: WithdrawMemberNetwork, work: Work) -> Done | Refusal:
    pair = _load_pair(command, work)
    if isinstance(pair, Refusal):
        return pair
    decision = membership.withdraw(pair.umbrella, pair.network, pair.membership, work.principal)
    if isinstance(decision, Refusal) or pair.membership is None:
        return decision if isinstance(decision, Refusal) else Done()
    members = store.electorate(work, pair.umbrella.id)
    vacated = steering_group.end_with_networks(pair.group, [pair.network.id], members)
    decided: leaving.Decided = [(MEMBERSHIPS, pair.membership.id, decision), (STEERING_GROUPS, pair.group.id, vacated)]
    return Done(id=pair.membership.id, events=leaving.save(work, decided))


# ---- questions -----------------------------------------------------------------------------------------------------


@on.query(ListNetworks, as_of_from=PAST)
def list_networks(query: ListNetworks, reader: Reader) -> NetworkPage:
    return store.network_page(reader, query)


@on.query(ShowNetwork)
def show_network(query: ShowNetwork, reader: Reader) -> NetworkView | Refusal:
    found = reader.load(NETWORKS, query.network)
    if found is None:
        return network.unknown(query.network)
    group = reader.load(STEERING_GROUPS, found.steering_group) if found.steering_group else None
    representatives = tuple(
        RepresentativeView(person=person, **dict(who)) for person, who in found.representatives.items()
    )
    return NetworkView(
        **found.model_dump(exclude={"representatives", "steering_group", "steward_left", "steward_person"}),
        without_steward=found.steward_left,
        representatives=representatives,
        members=store.members(reader, found.id),
        member_of=store.member_of(reader, found.id),
        declined=store.declined(reader, found.id) if network.acts_for(found, reader.principal) else (),
        steering_group=view(found, group),
    )
