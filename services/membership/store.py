"""Which state of membership lies in which table, the reads that decisions need, and those that questions need."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, Text, and_, case, cast, func, or_, select

from services.membership import tables
from services.membership.domain import (
    concern,
    leaver,
    membership,
    network,
    organisation,
    partner,
    peer_support,
    proposal,
    starter_path,
    statement,
    steering_group,
)
from services.membership.domain.concern import Concern, Crowd, WithdrawalKey
from services.membership.domain.discussion import Contribution
from services.membership.domain.leaver import PublisherLink
from services.membership.domain.membership import PRESENT, Membership
from services.membership.domain.network import Network
from services.membership.domain.organisation import Organisation
from services.membership.domain.partner import Partner
from services.membership.domain.peer_support import BUSY, HelpRequest, Offer
from services.membership.domain.proposal import Proposal
from services.membership.domain.starter_path import StarterPath
from services.membership.domain.statement import SETTLED, Statement
from services.membership.domain.steering_group import SteeringGroup
from shared.contracts.membership import (
    CommentPage,
    CommentView,
    ConcernPage,
    ConcernSummary,
    ContributionPage,
    ContributionView,
    FindOrganisation,
    Helped,
    ListComments,
    ListConcerns,
    ListContributions,
    ListNetworks,
    ListOrganisations,
    ListPartners,
    ListProposals,
    ListPublisherLinks,
    ListRecommendations,
    ListSignatures,
    ListStarterPaths,
    ListStatements,
    ListSteeringGroups,
    MembershipView,
    NetworkPage,
    NetworkSummary,
    OrganisationMatch,
    OrganisationMatches,
    OrganisationPage,
    OrganisationRow,
    OrganisationStep,
    OrganisationStory,
    OrganisationView,
    PartnerLinkView,
    PartnerPage,
    PartnerView,
    PeerTopic,
    ProposalPage,
    ProposalSummary,
    PublisherLinkPage,
    PublisherLinkView,
    RecommendationLine,
    RecommendationPage,
    SignaturePage,
    SignatureView,
    StarterPathPage,
    StarterPathSummary,
    StatementPage,
    StatementSummary,
)
from shared.database import lots
from shared.refusal import Refusal
from shared.unit_of_work import Aggregate, Reader, Work

ORGANISATIONS = Aggregate(Organisation, tables.organisations, organisation.evolve)
NETWORKS = Aggregate(Network, tables.networks, network.evolve, parts={"representatives": tables.representatives})
MEMBERSHIPS = Aggregate(Membership, tables.memberships, membership.evolve)
STEERING_GROUPS = Aggregate(
    SteeringGroup,
    tables.steering_groups,
    steering_group.evolve,
    parts={"seats": tables.seats, "work_streams": tables.work_streams},
)
PROPOSALS = Aggregate(Proposal, tables.proposals, proposal.evolve, parts={"voices": tables.voices})
STATEMENTS = Aggregate(
    Statement,
    tables.statements,
    statement.evolve,
    parts={
        "comments": tables.statement_comments,
        "signatures": tables.signatures,
        "recommendations": tables.recommendations,
    },
)
OFFERS = Aggregate(Offer, tables.peer_offers, peer_support.evolve)
# Without events: nothing of a request for help goes anywhere.
HELP_REQUESTS = Aggregate(HelpRequest, tables.help_requests)
PARTNERS = Aggregate(Partner, tables.partners, partner.evolve, parts={"links": tables.partner_links})
CONCERNS = Aggregate(Concern, tables.concerns, concern.evolve, parts={"endorsements": tables.endorsements})
WITHDRAWAL_KEYS = Aggregate(WithdrawalKey, tables.withdrawal_keys)
# Without events of its own: what is told of a contribution happens to its proposal, and holds none of its words.
CONTRIBUTIONS = Aggregate(Contribution, tables.contributions)
STARTER_PATHS = Aggregate(StarterPath, tables.starter_paths, starter_path.evolve)
PUBLISHER_LINKS = Aggregate(PublisherLink, tables.publisher_links, leaver.evolve)

PAST = (ORGANISATIONS, NETWORKS, MEMBERSHIPS, STEERING_GROUPS, PROPOSALS, STATEMENTS, PARTNERS, CONCERNS)
"""What may be asked of as it was. Who offered to be a mentor and no longer does is nobody's to look up."""


# ---- what decisions need -------------------------------------------------------------------------------------------


def concerned_by(work: Work, rows: Collection[OrganisationRow]) -> Collection[Organisation]:
    """The organisations that rows of a register name, as themselves or as parents, and all these belong to; locked.

    Whoever closes a circle of parents is among them.
    """
    c = tables.organisations.c
    keys = lots(key.strip() for row in rows for key in (row.key, *row.parents))
    ids = {row.id for lot in keys for row in work.select(select(c.id).where(c.key.in_(lot)))}
    found: dict[str, Organisation] = {}
    while ids:
        loaded = work.load_all(ORGANISATIONS, sorted(ids))
        found |= loaded
        ids = {parent for organisation in loaded.values() for parent in organisation.parents} - found.keys()
    return found.values()


def with_key(work: Work, key: str) -> str | None:
    """The id of the organisation that has a key."""
    found = work.select(select(tables.organisations.c.id).where(tables.organisations.c.key == key))
    return found[0].id if found else None


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


def umbrellas_seating(work: Work, person: str) -> list[str]:
    """The umbrella networks in whose steering group a person sits."""
    group, seat = tables.steering_groups.c, tables.seats.c
    statement = select(group.network).join_from(tables.seats, tables.steering_groups, seat.owner == group.id)
    return [row.network for row in work.select(statement.where(seat.person == person).distinct())]


def link_of(work: Work, publisher: str) -> PublisherLink | None:
    """Which organisation a publisher speaks for, or once did."""
    c = tables.publisher_links.c
    found = work.select(select(c.id).where(c.publisher == publisher))
    return work.load(PUBLISHER_LINKS, found[0].id) if found else None


def publisher_link_page(reader: Reader, query: ListPublisherLinks) -> PublisherLinkPage:
    """Which publishers speak for which organisations."""
    c, organisations = tables.publisher_links.c, tables.organisations.c
    statement = select(c.publisher, c.organisation, organisations.name).join_from(
        tables.publisher_links, tables.organisations, organisations.id == c.organisation
    )
    if query.organisation is not None:
        statement = statement.where(c.organisation == query.organisation)
    rows, total, more = _page(reader, statement, c.publisher, query.after, query.limit)
    links = tuple(PublisherLinkView.model_validate(row._mapping) for row in rows)
    return PublisherLinkPage(links=links, total=total, next=links[-1].publisher if more else None)


def at_home_in(work: Work, organisations: Collection[str]) -> dict[str, Network]:
    """The networks whose home is one of these organisations, by id; locked.

    Nobody can register another there meanwhile, if the organisations are locked before this is asked.
    """
    c = tables.networks.c
    rows = work.select(select(c.id).where(c.organisation.in_(organisations)).order_by(c.id))
    return work.load_all(NETWORKS, [row.id for row in rows])


# ---- what questions need -------------------------------------------------------------------------------------------


def _page(
    reader: Reader, statement: Select[Any], order: ColumnElement[Any], after: str | None, limit: int
) -> tuple[Sequence[Row[Any]], int, bool]:
    """The rows after ``after``, how many there are in all pages, and whether more follow."""
    total = reader.select(select(func.count()).select_from(statement.order_by(None).subquery()))[0][0]
    statement = statement.order_by(order).limit(limit + 1)
    rows = reader.select(statement if after is None else statement.where(order > after))
    return rows[:limit], total, len(rows) > limit


def organisation_page(reader: Reader, query: ListOrganisations) -> OrganisationPage:
    """Organisations by key."""
    c = tables.organisations.c
    statement = select(tables.organisations)
    for column, wanted in ((c.type, query.type), (c.nation, query.nation), (c.region, query.region)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.parent is not None:
        statement = statement.where(_names(c.parents, query.parent))
    if query.with_unknown_parents:
        statement = statement.where(cast(c.unknown_parents, Text) != "[]")
    if query.without_network:
        homes = select(tables.networks.c.organisation).where(tables.networks.c.organisation.is_not(None))
        statement = statement.where(c.closed_at.is_(None), c.id.not_in(homes))
    rows, total, more = _page(reader, statement, c.key, query.after, query.limit)
    views = tuple(_organisation_view(row) for row in rows)
    return OrganisationPage(organisations=views, total=total, next=views[-1].key if more else None)


def organisations_called(reader: Reader, query: FindOrganisation) -> OrganisationMatches:
    """Organisations that the words fit exactly, upper and lower case alike, the surest match first."""
    c, words = tables.organisations.c, query.words.casefold()
    lowered = query.words.lower()
    fits = or_(
        c.key == words,
        c.name == query.words,
        func.lower(c.name) == lowered,
        c.abbreviation == query.words,
        func.lower(c.abbreviation) == lowered,
        _names(c.supersedes, words),
    )
    matches = []
    for view in map(_organisation_view, reader.select(select(tables.organisations).where(fits).order_by(c.key))):
        if view.key == words:
            matches.append(OrganisationMatch(by="key", organisation=view))
        elif view.name.casefold() == words:
            matches.append(OrganisationMatch(by="name", organisation=view))
        elif (view.abbreviation or "").casefold() == words:
            matches.append(OrganisationMatch(by="abbreviation", organisation=view))
        elif words in view.supersedes:
            matches.append(OrganisationMatch(by="former-key", organisation=view))
    surest_first = ("key", "name", "abbreviation", "former-key")
    return OrganisationMatches(matches=tuple(sorted(matches, key=lambda match: surest_first.index(match.by))))


def every_organisation(reader: Reader) -> dict[str, Organisation]:
    """All organisations by id."""
    rows = reader.select(select(tables.organisations).order_by(tables.organisations.c.key))
    return {row.id: Organisation.model_validate(row._mapping) for row in rows}


def organisation_story(reader: Reader, organisation: str) -> OrganisationStory | None:
    """One organisation with all that came before and after it, however many changes away."""
    found = reader.load(ORGANISATIONS, organisation)
    if found is None:
        return None
    networks = tables.networks.c
    at_home = reader.select(select(networks.id).where(networks.organisation == organisation).order_by(networks.id))
    return OrganisationStory(
        organisation=OrganisationView.model_validate(found.model_dump()),
        predecessors=_steps(reader, found, lambda one: one.predecessors),
        successors=_steps(reader, found, lambda one: one.successors),
        networks=tuple(row.id for row in at_home),
    )


def _steps(
    reader: Reader, start: Organisation, way: Callable[[Organisation], Collection[str]]
) -> tuple[OrganisationStep, ...]:
    steps: list[OrganisationStep] = []
    seen, next_, count = {start.id}, set(way(start)), 0
    while next_ := next_ - seen:
        count += 1
        reached = reader.load_all(ORGANISATIONS, sorted(next_))
        seen |= next_
        for one in sorted(reached.values(), key=lambda one: one.key):
            steps.append(OrganisationStep(steps=count, name=one.name, key=one.key, closed_at=one.closed_at, id=one.id))
        next_ = {id_ for one in reached.values() for id_ in way(one)}
    return tuple(steps)


def _names(column: ColumnElement[Any], key: str) -> ColumnElement[bool]:
    # A list of keys or ids lies in its column as JSON, where each stands between quotation marks.
    return cast(column, Text).contains(f'"{key}"', autoescape=True)


def _organisation_view(row: Row[Any]) -> OrganisationView:
    return OrganisationView.model_validate(row._mapping)


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
    rows, total, more = _page(reader, statement, c.id, query.after, query.limit)
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


def umbrella_page(reader: Reader, query: ListSteeringGroups) -> tuple[Collection[Network], int, bool]:
    """Umbrella networks in the order they were registered, how many in all pages, and whether more follow."""
    c, seat = tables.networks.c, tables.seats.c
    statement = select(c.id).where(c.steering_group.is_not(None))
    if query.network is not None:
        statement = statement.where(c.id == query.network)
    if query.ends_by is not None:
        statement = statement.where(c.steering_group.in_(select(seat.owner).where(seat.until <= query.ends_by)))
    rows, total, more = _page(reader, statement, c.id, query.after, query.limit)
    return reader.load_all(NETWORKS, [row.id for row in rows]).values(), total, more


def proposal_page(reader: Reader, query: ListProposals) -> ProposalPage:
    """Proposals in the order they were drafted, which is the order of their ids."""
    c, voice = tables.proposals.c, tables.voices.c
    asked = select(func.count()).where(voice.owner == c.id).scalar_subquery().label("asked")
    has_spoken = and_(voice.owner == c.id, voice.stance.is_not(None))
    spoke = select(func.count()).where(has_spoken).scalar_subquery().label("spoke")
    statement = select(c.id, c.umbrella, c.title, c.state, c.decision, c.deadline, asked, spoke)
    for column, wanted in ((c.umbrella, query.umbrella), (c.state, query.state)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.awaits is not None:
        silent = select(voice.owner).where(voice.key == query.awaits, voice.stance.is_(None))
        statement = statement.where(c.state == "open", c.id.in_(silent))
    rows, total, more = _page(reader, statement, c.id, query.after, query.limit)
    summaries = tuple(
        ProposalSummary.model_validate({**row._mapping, "outcome": row.decision["outcome"] if row.decision else None})
        for row in rows
    )
    return ProposalPage(proposals=summaries, total=total, next=summaries[-1].id if more else None)


# ---- statements ----------------------------------------------------------------------------------------------------


def statement_page(reader: Reader, query: ListStatements) -> StatementPage:
    """Statements in the order they were drafted, which is the order of their ids."""
    c, signed = tables.statements.c, tables.signatures.c
    standing = and_(signed.owner == c.id, signed.withdrawn_at.is_(None))
    signatures = select(func.count()).where(standing).scalar_subquery().label("signatures")
    statement = select(tables.statements, signatures)
    for column, wanted in ((c.umbrella, query.umbrella), (c.kind, query.kind), (c.state, query.state)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.signed_by is not None:
        body = reader.load(ORGANISATIONS, query.signed_by)
        before = _steps(reader, body, lambda one: one.predecessors) if body else ()
        signers = [query.signed_by, *(one.id for one in before if one.closed_at is not None)]
        mine = select(signed.owner).where(signed.key.in_(signers), signed.withdrawn_at.is_(None))
        statement = statement.where(c.id.in_(mine))
    rows, total, more = _page(reader, statement, c.id, query.after, query.limit)
    summaries = tuple(StatementSummary.model_validate(row._mapping) for row in rows)
    return StatementPage(statements=summaries, total=total, next=summaries[-1].id if more else None)


def comment_page(reader: Reader, query: ListComments) -> CommentPage:
    """What networks said on a statement."""
    c, networks = tables.statement_comments.c, tables.networks.c
    statement = (
        select(tables.statement_comments, c.key.label("network"), networks.name)
        .join_from(tables.statement_comments, tables.networks, networks.id == c.key)
        .where(c.owner == query.statement)
    )
    rows, total, more = _page(reader, statement, c.key, query.after, query.limit)
    comments = tuple(CommentView.model_validate(row._mapping) for row in rows)
    return CommentPage(comments=comments, total=total, next=comments[-1].network if more else None)


def signature_page(reader: Reader, query: ListSignatures) -> SignaturePage:
    """Who signed a statement."""
    c, organisations = tables.signatures.c, tables.organisations.c
    statement = (
        select(tables.signatures, c.key.label("organisation"), organisations.name, organisations.successors)
        .join_from(tables.signatures, tables.organisations, organisations.id == c.key)
        .where(c.owner == query.statement)
    )
    if not query.with_withdrawn:
        statement = statement.where(c.withdrawn_at.is_(None))
    rows, total, more = _page(reader, statement, c.key, query.after, query.limit)
    signatures = tuple(SignatureView.model_validate(row._mapping) for row in rows)
    return SignaturePage(signatures=signatures, total=total, next=signatures[-1].organisation if more else None)


def recommendation_page(reader: Reader, query: ListRecommendations) -> RecommendationPage:
    """Recommendations of issued statements in the order of their ids, the late ones alone if asked for."""
    c, whole = tables.recommendations.c, tables.statements.c
    late = and_(c.due <= reader.now, c.status.not_in(SETTLED))
    statement = (
        select(
            tables.recommendations,
            c.key.label("id"),
            c.owner.label("statement"),
            whole.umbrella,
            whole.title,
            late.label("late"),
        )
        .join_from(tables.recommendations, tables.statements, whole.id == c.owner)
        .where(whole.state == "issued")
    )
    filters = ((whole.umbrella, query.umbrella), (c.organisation, query.organisation), (c.status, query.status))
    for column, wanted in filters:
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.late:
        statement = statement.where(late)
    rows, total, more = _page(reader, statement, c.key, query.after, query.limit)
    lines = tuple(RecommendationLine.model_validate(row._mapping) for row in rows)
    return RecommendationPage(recommendations=lines, total=total, next=lines[-1].id if more else None)


# ---- peer support --------------------------------------------------------------------------------------------------


def is_member_somewhere(work: Work, network: str) -> bool:
    """Whether some umbrella has admitted a network."""
    c = tables.memberships.c
    return bool(work.select(select(c.id).where(c.network == network, c.state == "admitted").limit(1)))


def offer_of(work: Work, mentor: str) -> Offer | None:
    """What somebody offers."""
    c = tables.peer_offers.c
    found = work.select(select(c.id).where(c.mentor == mentor))
    return work.load(OFFERS, found[0].id) if found else None


def _of_members() -> Select[Any]:
    c, speaker, member = tables.peer_offers.c, tables.representatives.c, tables.memberships.c
    speaks = and_(speaker.owner == c.network, speaker.principal == c.mentor)
    admitted = select(member.network).where(member.state == "admitted")
    statement = select(c.id).join_from(tables.peer_offers, tables.representatives, speaks)
    return statement.where(c.network.in_(admitted))


_OFFERS_THAT_STAND: Final = _of_members()


def offers_that_stand(work: Work) -> Collection[Offer]:
    """The offers of all who still represent the network they made them for, while that is a member somewhere."""
    rows = work.select(_OFFERS_THAT_STAND.order_by(tables.peer_offers.c.id))
    return work.load_all(OFFERS, [row.id for row in rows]).values()


def stands(work: Work, offer: str | None) -> bool:
    """Whether an offer is one of those that stand."""
    return offer is not None and bool(work.select(_OFFERS_THAT_STAND.where(tables.peer_offers.c.id == offer)))


def help_request(work: Work, id_: str) -> HelpRequest | None:
    """A request, by its own id or by the one its peer knows it by."""
    if found := work.load(HELP_REQUESTS, id_):
        return found
    c = tables.help_requests.c
    rows = work.select(select(c.id).where(c.asked_as == id_))
    return work.load(HELP_REQUESTS, rows[0].id) if rows else None


def waiting_for_a_peer(work: Work) -> Collection[HelpRequest]:
    """The requests that no peer has been found for."""
    c = tables.help_requests.c
    rows = work.select(select(c.id).where(c.state == "waiting").order_by(c.id))
    return work.load_all(HELP_REQUESTS, [row.id for row in rows]).values()


def in_hand(work: Work) -> dict[str, int]:
    """How many requests each mentor has in hand."""
    c = tables.help_requests.c
    statement = select(c.mentor, func.count().label("held")).where(c.state.in_(BUSY)).group_by(c.mentor)
    return {row.mentor: row.held for row in work.select(statement)}


def in_hand_of(work: Work, mentor: str) -> Collection[HelpRequest]:
    """The requests a mentor has in hand."""
    c = tables.help_requests.c
    rows = work.select(select(c.id).where(c.mentor == mentor).order_by(c.id))
    return work.load_all(HELP_REQUESTS, [row.id for row in rows]).values()


def topics_asked(work: Work, asker: str) -> dict[int, PeerTopic]:
    """The topics of the requests that somebody has open, by slot."""
    c = tables.help_requests.c
    rows = work.select(select(c.slot, c.topic).where(c.asker == asker, c.slot.is_not(None)))
    return {row.slot: row.topic for row in rows}


def peer_support_of(reader: Reader, principal: str) -> tuple[Offer | None, list[HelpRequest], list[HelpRequest]]:
    """What somebody offers, their requests, and the requests in their hand that they may know of; in order."""
    offers, c = tables.peer_offers.c, tables.help_requests.c
    found = reader.select(select(offers.id).where(offers.mentor == principal))
    theirs = reader.select(select(c.id).where(c.asker == principal))
    asked = reader.select(select(c.id).where(c.mentor == principal, c.state.in_(("asked", "matched"))))
    requests = reader.load_all(HELP_REQUESTS, [row.id for row in (*theirs, *asked)])
    in_order = [requests[id_] for id_ in sorted(requests)]
    return (
        reader.load(OFFERS, found[0].id) if found else None,
        [request for request in in_order if request.asker == principal],
        # not in the order of asking for help either
        sorted(
            (requests[row.id] for row in asked if requests[row.id].mentor == principal),
            key=lambda request: request.asked_as or "",
        ),
    )


def networks_of_offers(reader: Reader, offers: Collection[str]) -> dict[str, str]:
    """The names of the networks that offers come from, by offer."""
    c, networks = tables.peer_offers.c, tables.networks.c
    statement = select(c.id, networks.name).join_from(tables.peer_offers, tables.networks, networks.id == c.network)
    return {row.id: row.name for row in reader.select(statement.where(c.id.in_(sorted(offers))))}


def closed_so_far(work: Work) -> int:
    """How many requests have ended with an answer."""
    c = tables.help_requests.c
    [row] = work.select(
        select(func.count().label("closed")).select_from(tables.help_requests).where(c.state == "closed")
    )
    return int(row.closed)


def whether_it_helped(reader: Reader) -> list[Helped]:
    """What the askers of the closed requests said, in the order of closing."""
    c = tables.help_requests.c
    return [row.helped for row in reader.select(select(c.helped).where(c.state == "closed").order_by(c.place))]


# ---- partners ------------------------------------------------------------------------------------------------------


def names_of_partners(work: Work, umbrella: str) -> list[str]:
    """The names of the partners an umbrella has at present."""
    c = tables.partners.c
    return [row.name for row in work.select(select(c.name).where(c.umbrella == umbrella, c.ended_at.is_(None)))]


def partner_page(reader: Reader, query: ListPartners) -> PartnerPage:
    """Partners in the order they were registered, which is the order of their ids."""
    c, linked, stream = tables.partners.c, tables.partner_links.c, tables.work_streams.c
    statement = select(tables.partners)
    for column, wanted in ((c.umbrella, query.umbrella), (c.type, query.type)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.work_stream is not None:
        statement = statement.where(c.id.in_(select(linked.owner).where(linked.key == query.work_stream)))
    if not query.with_ended:
        statement = statement.where(c.ended_at.is_(None))
    rows, total, more = _page(reader, statement, c.id, query.after, query.limit)
    links = (
        select(linked.owner, linked.key.label("work_stream"), linked.since, stream.name, stream.ongoing)
        .join_from(tables.partner_links, tables.work_streams, stream.key == linked.key)
        .where(linked.owner.in_([row.id for row in rows]))
        .order_by(stream.name, linked.key)
    )
    streams: dict[str, list[PartnerLinkView]] = {}
    for link in reader.select(links):
        streams.setdefault(link.owner, []).append(PartnerLinkView.model_validate(link._mapping))
    partners = tuple(
        PartnerView.model_validate({**row._mapping, "work_streams": tuple(streams.get(row.id, ()))}) for row in rows
    )
    return PartnerPage(partners=partners, total=total, next=partners[-1].id if more else None)


# ---- concerns ------------------------------------------------------------------------------------------------------


def crowd(work: Work, umbrella: str) -> Crowd:
    """Who could raise a concern in an umbrella: the representatives of its member networks.

    Their deputies could as well. They are left out, or else it took nobody but oneself to make a crowd by naming them.
    """
    member, speaker = tables.memberships.c, tables.representatives.c
    networks: ColumnElement[Any] = func.count(member.network.distinct()).label("networks")
    representatives: ColumnElement[Any] = func.count(speaker.principal.distinct()).label("representatives")
    statement = (
        select(networks, representatives)
        .join_from(tables.memberships, tables.representatives, speaker.owner == member.network)
        .where(member.umbrella == umbrella, member.state == "admitted")
    )
    [found] = work.select(statement)
    return Crowd(found.networks, found.representatives)


def concern_page(reader: Reader, query: ListConcerns) -> ConcernPage:
    """Concerns in the order they were raised, which is the order of their ids."""
    c, endorsement, member = tables.concerns.c, tables.endorsements.c, tables.memberships.c
    members = select(member.network).where(member.umbrella == c.umbrella, member.state == "admitted")
    counts = or_(c.state != "open", endorsement.key.in_(members))
    behind = select(func.count()).where(endorsement.owner == c.id, counts).scalar_subquery().label("endorsements")
    overdue = and_(c.state == "submitted", c.reply_by <= reader.now)
    since = case((overdue, c.reply_by)).label("overdue_since")
    columns = (c.id, c.umbrella, c.title, c.state, c.addressee, c.reply_by, c.outcome)
    statement = select(*columns, behind, since)
    for column, wanted in ((c.umbrella, query.umbrella), (c.state, query.state)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.overdue:
        statement = statement.where(overdue)
    rows, total, more = _page(reader, statement, c.id, query.after, query.limit)
    summaries = tuple(ConcernSummary.model_validate(row._mapping) for row in rows)
    return ConcernPage(concerns=summaries, total=total, next=summaries[-1].id if more else None)


# ---- discussion on proposals ---------------------------------------------------------------------------------------


def is_member_of(work: Work, umbrella: str, network: str) -> bool:
    """Whether an umbrella has admitted a network."""
    c = tables.memberships.c
    wanted = (c.umbrella == umbrella, c.network == network, c.state == "admitted")
    return bool(work.select(select(c.id).where(*wanted)))


def contributions_of(work: Work, proposal: str, network: str) -> int:
    """How often a network contributed to a proposal, those included that it took back."""
    c = tables.contributions.c
    return len(work.select(select(c.id).where(c.proposal == proposal, c.network == network)))


def discussed_since(work: Work, proposal: str, moment: datetime) -> bool:
    """Whether anybody contributed to a proposal from a moment on."""
    c = tables.contributions.c
    return bool(work.select(select(c.id).where(c.proposal == proposal, c.made_at >= moment).limit(1)))


def speaks_on(reader: Reader, proposal: Proposal, principal: str) -> bool:
    """Whether somebody speaks for a member network of a proposal's umbrella, or for one that has a voice on it."""
    member, speaker, voice = tables.memberships.c, tables.representatives.c, tables.voices.c
    members = select(member.network).where(member.umbrella == proposal.umbrella, member.state == "admitted")
    asked = select(voice.key).where(voice.owner == proposal.id)
    theirs = or_(speaker.owner.in_(members), speaker.owner.in_(asked))
    them = or_(speaker.principal == principal, speaker.deputy_principal == principal)
    return bool(reader.select(select(speaker.owner).where(them, theirs).limit(1)))


def contribution_page(reader: Reader, query: ListContributions) -> ContributionPage:
    """What networks said on a proposal in the order they said it, which is the order of the ids."""
    c, networks = tables.contributions.c, tables.networks.c
    statement = (
        select(tables.contributions, networks.name)
        .join_from(tables.contributions, tables.networks, networks.id == c.network)
        .where(c.proposal == query.proposal)
    )
    if query.network is not None:
        statement = statement.where(c.network == query.network)
    rows, total, more = _page(reader, statement, c.id, query.after, query.limit)
    contributions = tuple(ContributionView.model_validate(row._mapping) for row in rows)
    return ContributionPage(contributions=contributions, total=total, next=contributions[-1].id if more else None)


# ---- starter paths -------------------------------------------------------------------------------------------------


def starter_path_of(work: Work | Reader, network: str) -> StarterPath | None:
    """The starter path of a network, if it was ever forming."""
    c = tables.starter_paths.c
    found = work.select(select(c.id).where(c.network == network))
    return work.load(STARTER_PATHS, found[0].id) if found else None


def is_forming(work: Work, network: str) -> bool:
    """Whether a network has a starter path and is not established yet."""
    c = tables.starter_paths.c
    return bool(work.select(select(c.id).where(c.network == network, c.established_at.is_(None))))


def starter_path_page(reader: Reader, query: ListStarterPaths) -> StarterPathPage:
    """Starter paths in the order they were begun, which is the order of their ids."""
    c, networks = tables.starter_paths.c, tables.networks.c
    statement = select(tables.starter_paths, networks.name).join_from(
        tables.starter_paths, tables.networks, networks.id == c.network
    )
    statement = statement.where(c.established_at.is_not(None) if query.established else c.established_at.is_(None))
    rows, total, more = _page(reader, statement, c.id, query.after, query.limit)
    paths = [(StarterPath.model_validate(row._mapping), row.name) for row in rows]
    summaries = tuple(
        StarterPathSummary(
            **path.model_dump(exclude={"done"}), name=name, done=len(path.done), next=starter_path.next_step(path)
        )
        for path, name in paths
    )
    return StarterPathPage(paths=summaries, total=total, next=summaries[-1].id if more else None)
