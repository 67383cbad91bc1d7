"""Networks, and what they are to each other: members of an umbrella, its electorate, who speaks for them."""

import json
from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, func, or_, select

from services.membership import tables
from services.membership.domain import membership, network
from services.membership.domain.membership import PRESENT, Membership
from services.membership.domain.network import Network
from services.membership.domain.steering_group import SteeringGroup
from services.membership.store.aggregates import MEMBERSHIPS, NETWORKS, STEERING_GROUPS
from services.membership.store.pages import page
from shared import history
from shared.contracts.membership import (
    DeclinedApplication,
    ListNetworks,
    MemberNetworkDeclined,
    MembershipView,
    NetworkPage,
    NetworkSummary,
)
from shared.refusal import Refusal
from shared.streams import event_stream
from shared.unit_of_work import Reader, Work


def load_umbrella(
    work: Work | Reader, umbrella: str, field: str = "network"
) -> tuple[Network, SteeringGroup] | Refusal:
    """An umbrella network with its steering group, or why there is none. ``field`` is what the command calls it."""
    found = work.load(NETWORKS, umbrella)
    if found is None:
        return network.unknown(umbrella, field)
    if found.steering_group is None:
        return membership.not_an_umbrella(found, field)
    group = work.load(STEERING_GROUPS, found.steering_group)
    return found, group or SteeringGroup(id=found.steering_group, network=found.id)


def names_at(work: Work, organisation: str | None, parent: str | None) -> dict[str, str]:
    """Id → name of the networks whose home is an organisation, or that stand under a network without any other home."""
    c = tables.networks.c
    home = c.organisation == organisation if organisation else and_(c.organisation.is_(None), c.parent == parent)
    return {row.id: row.name for row in work.select(select(c.id, c.name).where(home))}


def membership_of(work: Work, umbrella: str, network: str) -> Membership | None:
    """What a network is to an umbrella."""
    c = tables.memberships.c
    found = work.select(select(c.id).where(c.umbrella == umbrella, c.network == network))
    return work.load(MEMBERSHIPS, found[0].id) if found else None


def memberships_of(work: Work, network: str) -> Collection[Membership]:
    """Everything a network is to any umbrella."""
    c = tables.memberships.c
    rows = work.select(select(c.id).where(c.network == network))
    return work.load_all(MEMBERSHIPS, [row.id for row in rows]).values()


def is_member_of(work: Work, umbrella: str, network: str) -> bool:
    """Whether an umbrella has admitted a network."""
    c = tables.memberships.c
    wanted = (c.umbrella == umbrella, c.network == network, c.state == "admitted")
    return bool(work.select(select(c.id).where(*wanted)))


def is_member_somewhere(work: Work, network: str) -> bool:
    """Whether some umbrella has admitted a network."""
    c = tables.memberships.c
    return bool(work.select(select(c.id).where(c.network == network, c.state == "admitted").limit(1)))


def electorate(work: Work | Reader, umbrella: str) -> list[str]:
    """The networks that are members of an umbrella at this moment."""
    c = tables.memberships.c
    statement = select(c.network).where(c.umbrella == umbrella, c.state == "admitted").order_by(c.network)
    return [row.network for row in work.select(statement)]


def speaks_in(work: Work, umbrella: str, principal: str) -> bool:
    """Whether a principal speaks for a member network of an umbrella, as a representative or a deputy."""
    member, speaker = tables.memberships.c, tables.representatives.c
    speaks = or_(speaker.principal == principal, speaker.deputy_principal == principal)
    statement = (
        select(member.id)
        .join_from(tables.memberships, tables.representatives, speaker.owner == member.network)
        .where(member.umbrella == umbrella, member.state == "admitted", speaks)
    )
    return bool(work.select(statement.limit(1)))


def spoken_for_by(work: Work, umbrella: str, person: str, principal: str) -> list[str]:
    """The member networks of an umbrella that a person represents with these credentials.

    Not those they are a deputy in: anybody may be named one, and must not be tied to a network by it.
    """
    member, speaker = tables.memberships.c, tables.representatives.c
    speaks = and_(speaker.key == person, speaker.principal == principal)
    statement = (
        select(member.network)
        .join_from(tables.memberships, tables.representatives, speaker.owner == member.network)
        .where(member.umbrella == umbrella, member.state == "admitted", speaks)
    )
    return [row.network for row in work.select(statement.order_by(member.network))]


def at_home_in(work: Work, organisations: Collection[str]) -> dict[str, Network]:
    """The networks whose home is one of these organisations, by id; locked.

    Nobody can register another there meanwhile, if the organisations are locked before this is asked.
    """
    c = tables.networks.c
    rows = work.select(select(c.id).where(c.organisation.in_(organisations)).order_by(c.id))
    return work.load_all(NETWORKS, [row.id for row in rows])


def network_page(reader: Reader, query: ListNetworks) -> NetworkPage:
    """Networks in the order they were registered, which is the order of their ids."""
    c, speaker, member = tables.networks.c, tables.representatives.c, tables.memberships.c
    speakers = select(func.count()).where(speaker.owner == c.id).scalar_subquery().label("representatives")
    statement = select(tables.networks, speakers)
    if query.member_of is not None:
        members = select(member.network).where(member.umbrella == query.member_of, member.state == "admitted")
        statement = statement.where(c.id.in_(members))
    for column, wanted in ((c.organisation, query.organisation), (c.reach, query.reach)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.umbrellas is not None:
        statement = statement.where(c.steering_group.is_not(None) if query.umbrellas else c.steering_group.is_(None))
    if query.without_steward:
        statement = statement.where(c.steward_left)
    if query.organisation_type is not None:
        home = tables.organisations.c
        statement = statement.where(c.organisation.in_(select(home.id).where(home.type == query.organisation_type)))
    for fact, wanted in (("nation", query.nation), ("region", query.region)):
        if wanted is not None:
            statement = statement.where(c.office[fact].as_string() == wanted)
    rows, total, more = page(reader, statement, c.id, query.after, query.limit)
    summaries = tuple(
        NetworkSummary(
            id=row.id,
            name=row.name,
            reach=row.reach,
            organisation=row.organisation,
            parent=row.parent,
            umbrella=row.steering_group is not None,
            representatives=row.representatives,
            without_steward=row.steward_left,
        )
        for row in rows
    )
    return NetworkPage(networks=summaries, total=total, next=summaries[-1].id if more else None)


def members(reader: Reader, umbrella: str) -> tuple[MembershipView, ...]:
    """Who is a member of an umbrella or has applied, by name."""
    c = tables.memberships.c
    return _memberships(reader, c.umbrella == umbrella, c.network)


def member_of(reader: Reader, network: str) -> tuple[MembershipView, ...]:
    """The umbrellas a network is a member of or has applied to, by name."""
    c = tables.memberships.c
    return _memberships(reader, c.network == network, c.umbrella)


def declined(reader: Reader, network: str) -> tuple[DeclinedApplication, ...]:
    """The umbrellas that declined a network when it last applied, by name, and why, as the last event says."""
    c, networks = tables.memberships.c, tables.networks.c
    statement = (
        select(c.id, c.sequence, networks.id.label("umbrella"), networks.name)
        .join_from(tables.memberships, tables.networks, networks.id == c.umbrella)
        .where(c.network == network, c.state == "declined")
        .order_by(networks.name, networks.id)
    )
    found = []
    for row in reader.select(statement):
        [last] = history.page(reader.connection, event_stream("membership"), row.id, after=row.sequence - 1)
        event = MemberNetworkDeclined.model_validate(json.loads(last.payload)["data"])
        found.append(DeclinedApplication(umbrella=row.umbrella, name=row.name, reason=event.reason))
    return tuple(found)


def _memberships(reader: Reader, where: ColumnElement[bool], other: ColumnElement[str]) -> tuple[MembershipView, ...]:
    c, networks = tables.memberships.c, tables.networks.c
    statement = (
        select(networks.id.label("network"), networks.name, c.state)
        .join_from(tables.memberships, tables.networks, networks.id == other)
        .where(where, c.state.in_(PRESENT))
        .order_by(networks.name, networks.id)
    )
    return tuple(MembershipView.model_validate(row._mapping) for row in reader.select(statement))


def names_of(reader: Reader, networks: Collection[str]) -> dict[str, str]:
    """The names of networks by id."""
    c = tables.networks.c
    return {row.id: row.name for row in reader.select(select(c.id, c.name).where(c.id.in_(sorted(networks))))}
