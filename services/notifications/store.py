"""Which state of notifications lies in which table, and the reads that routing and the questions need.

Every read is one statement for a whole audience, however large.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Connection,
    Integer,
    Row,
    Select,
    String,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    tuple_,
    union_all,
)

from services.notifications import tables
from services.notifications.domain import routing, subscriber
from services.notifications.domain.delivery_log import Announcement
from services.notifications.domain.known import (
    DataSteward,
    Meeting,
    MemberNetwork,
    Network,
    Proposal,
    SteeringGroup,
)
from services.notifications.domain.mailbox import Mailbox
from services.notifications.domain.progress import Progress
from services.notifications.domain.routing import ROLE_OF, Audience, Bond, Relation, Rule, Wish
from services.notifications.domain.subscriber import Subscriber, Subscription
from services.notifications.domain.webhook import Webhook
from shared import clock
from shared.contracts.notifications import Standing, Topic
from shared.database import lots
from shared.figures import unsent_of
from shared.identity import DELIVERIES
from shared.outbox import OUTBOX, UNSENT
from shared.settings import Settings
from shared.tasks import TASKS
from shared.unit_of_work import Aggregate, Reader, Work

FORGOTTEN_AT_ONCE = 2000
"""Lines of the delivery log that one transaction forgets at most, and at most so many announcements."""

SUBSCRIBERS = Aggregate(
    Subscriber,
    tables.subscribers,
    subscriber.evolve,
    parts={"subscriptions": tables.subscriptions, "muted": tables.mutes},
)
WEBHOOKS = Aggregate(Webhook, tables.webhooks)
POST = "post-to-webhook"
"""The task that posts to a webhook; its key is the webhook."""
MAILBOXES = Aggregate(Mailbox, tables.mailboxes)
MAIL = "send-mail"
"""The task that sends a mail to a mailbox, its key."""
ANNOUNCEMENTS = Aggregate(Announcement, tables.announcements, parts={"told": tables.tellings})

NETWORKS = Aggregate(Network, tables.networks, parts={"representatives": tables.representatives})
MEMBER_NETWORKS = Aggregate(MemberNetwork, tables.member_networks)
STEERING_GROUPS = Aggregate(SteeringGroup, tables.steering_groups, parts={"seats": tables.seats})
DATA_STEWARDS = Aggregate(DataSteward, tables.data_stewards)
PROPOSALS = Aggregate(Proposal, tables.proposals)
MEETINGS = Aggregate(Meeting, tables.meetings)


# ---- the audience of an event --------------------------------------------------------------------------------------


def audience(work: Work, rule: Rule, facts: Mapping[str, Any]) -> Audience:
    """Everybody who might hear of an event. Before the first ``save`` or ``put`` of its message."""
    concerned = work.load_all(NETWORKS, routing.networks_concerned(rule, facts))
    wishes = [] if rule.confidential else _wishes(work, rule.topic, list(concerned.values()))
    names = {network.id: network.name for network in concerned.values()}
    bonds = [
        Bond(tell, principal)
        for tell in rule.tells
        if tell.who == "person" and tell.fact is not None and routing.holds(tell, facts)
        for principal in routing.named_by(facts, tell.fact)
    ]
    for row in _bonds(work, rule, facts):
        bonds.append(Bond(rule.tells[row.tell], row.principal, row.network, row.via))
        if row.network is not None:
            names[row.network] = row.name
    return Audience(
        bonds=bonds,
        wishes=wishes,
        muted=_muted(work, rule.topic, {bond.principal for bond in bonds}),
        concerned={network.id: network.region for network in concerned.values()},
        roles=_roles(work, {wish.subscriber for wish in wishes if wish.subscription.role}, list(concerned)),
        names=names,
    )


def _wishes(work: Work, topic: Topic, concerned: Sequence[Network]) -> list[Wish]:
    """The subscriptions to a topic; those limited to other networks or regions are left where they are."""
    given = {
        "topic": topic,
        "networks": sorted(network.id for network in concerned),
        "regions": sorted({network.region for network in concerned if network.region}),
    }
    return [
        Wish(
            row.owner,
            Subscription(
                topic=row.topic,
                network=row.network,
                region=row.region,
                role=row.role,
                channel=row.channel,
                since=row.since,
            ),
        )
        for row in work.select(_who_wishes(), given)
    ]


@cache
def _who_wishes() -> Select[Any]:
    # Two lookups, since an OR of the two has every subscription to the topic read.
    c = tables.subscriptions.c
    wanted = (c.topic == bindparam("topic"), or_(c.region.is_(None), c.region.in_(_list("regions"))))
    of_any, of_these = c.network.is_(None), c.network.in_(_list("networks"))
    found = union_all(*(select(tables.subscriptions).where(*wanted, limit) for limit in (of_any, of_these))).subquery()
    return select(found).order_by(found.c.owner, found.c.key)


def _list(name: str) -> BindParameter[Sequence[str]]:
    return bindparam(name, expanding=True)


def _bonds(work: Work, rule: Rule, facts: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Who is something to the networks a rule names: tell (its place in the rule), principal, network, name, via."""
    asked: list[tuple[int, Relation, str | None]] = []
    given = {}
    for place, tell in enumerate(rule.tells):
        ids = None if tell.fact is None else routing.named_by(facts, tell.fact)
        if tell.who == "person" or ids == () or not routing.holds(tell, facts):
            continue
        networks = None if ids is None else f"networks_{place}"
        asked.append((place, tell.who, networks))
        if networks is not None:
            given[networks] = sorted(ids or ())
    return work.select(_who_is_bound(tuple(asked)), given) if asked else []


@lru_cache(maxsize=1024)
def _who_is_bound(asked: tuple[tuple[int, Relation, str | None], ...]) -> Select[Any]:
    """For each tell its place, its relation, and what the list of its networks is called if there is one."""
    parts = (
        _holders(who, _list(networks) if networks else None).add_columns(literal(place, Integer).label("tell"))
        for place, who, networks in asked
    )
    found = union_all(*parts).subquery().c
    order = (found.tell, found.principal, found.name, found.network)
    return select(found.tell, found.principal, found.network, found.name, found.via).order_by(*order)


def _muted(work: Work, topic: Topic, principals: Collection[str]) -> frozenset[str]:
    """Those of these people who do not want to hear of a topic."""
    asked = ({"topic": topic, "principals": lot} for lot in lots(principals))
    return frozenset(row.owner for given in asked for row in work.select(_who_is_deaf(), given))


@cache
def _who_is_deaf() -> Select[Any]:
    c = tables.mutes.c
    return select(c.owner).where(c.owner.in_(_list("principals")), c.key == bindparam("topic"))


def _roles(work: Work, principals: Collection[str], networks: Collection[str]) -> dict[str, frozenset[Standing]]:
    """What these people are in these networks; a data steward is one everywhere."""
    roles: dict[str, frozenset[Standing]] = {}
    for lot in lots(principals):
        for row in work.select(_roles_of_some(), {"principals": lot, "networks": sorted(networks)}):
            roles[row.principal] = roles.get(row.principal, frozenset()) | {row.role}
    return roles


@cache
def _roles_of_some() -> Select[Any]:
    found = _all_roles(_list("networks")).subquery().c
    return select(found.principal, found.role).where(found.principal.in_(_list("principals"))).distinct()


def _all_roles(networks: BindParameter[Sequence[str]] | None) -> CompoundSelect[Any]:
    return union_all(
        *(
            _holders(relation, None if relation == "data-steward" else networks).add_columns(
                literal(role, String).label("role")
            )
            for relation, role in ROLE_OF.items()
            if not (relation == "members" and networks is None)  # anybody's members are somebody's representatives
        )
    )


def _holders(relation: Relation, networks: BindParameter[Sequence[str]] | None) -> Select[Any]:
    """Who stands in a relation to these networks, or to any: principal, network, name, via."""
    network, speaker, member = tables.networks.c, tables.representatives.c, tables.member_networks.c
    group, seat, steward = tables.steering_groups.c, tables.seats.c, tables.data_stewards.c
    none = cast(null(), String)

    def row(principal: Any, network_id: Any, name: Any, via: Any = none) -> Select[Any]:
        return select(principal.label("principal"), network_id.label("network"), name.label("name"), via.label("via"))

    match relation:
        case "representative":
            found, where = row(speaker.principal, network.id, network.name), network.id
            found = found.join_from(tables.representatives, tables.networks, speaker.owner == network.id)
        case "members":
            found, where = row(speaker.principal, network.id, network.name, member.umbrella), member.umbrella
            found = found.join_from(tables.member_networks, tables.networks, member.network == network.id)
            found = found.join(tables.representatives, speaker.owner == network.id)
        case "steward":
            found, where = row(network.steward, network.id, network.name), network.id
            found = found.where(network.steward.is_not(None))
        case "steering-member":
            found, where = row(seat.principal, network.id, network.name), network.id
            found = found.join_from(tables.seats, tables.steering_groups, seat.owner == group.id)
            found = found.join(tables.networks, group.network == network.id)
        case _:
            return row(steward.principal, none, none).select_from(tables.data_stewards)
    return found if networks is None else found.where(where.in_(networks))


# ---- webhooks ------------------------------------------------------------------------------------------------------


def webhook_ids_of(work: Work, subscribers: Collection[str]) -> list[str]:
    """The ids of the webhooks of these people."""
    asked = ({"subscribers": lot} for lot in lots(subscribers))
    return [row.id for given in asked for row in work.select(_whose(), given)]


@cache
def _whose() -> Select[Any]:
    c = tables.webhooks.c
    return select(c.id).where(c.subscriber.in_(_list("subscribers"))).order_by(c.id)


def webhooks(
    reader: Reader | Work, subscriber: str | None = None, after: str | None = None, limit: int | None = None
) -> list[Webhook]:
    """Everybody's webhooks or those of one subscriber, after that of an id, the oldest first; not locked."""
    c = tables.webhooks.c
    statement = select(tables.webhooks).order_by(c.id).limit(limit)
    if subscriber is not None:
        statement = statement.where(c.subscriber == subscriber)
    if after is not None:
        statement = statement.where(c.id > after)
    return [Webhook.model_validate(dict(row._mapping)) for row in reader.select(statement)]


def is_at_work(work: Work, task: str, key: str) -> bool:
    """Whether there is such a task for a webhook or a mailbox; one whose outcome became a dead letter is gone."""
    return bool(work.select(select(TASKS.c.id).where(TASKS.c.name == task, TASKS.c.key == key)))


class Waiting(NamedTuple):
    """A notice that is to be posted."""

    sequence: int
    id: str
    payload: bytes


class ToPost(NamedTuple):
    """A webhook, and the first notices it has not taken that are still kept, in order."""

    webhook: Webhook
    notices: Sequence[Waiting]


def to_post(reader: Reader, webhook: str, limit: int) -> ToPost | None:
    """What is to be posted to a webhook; ``None`` if it was ended."""
    state = reader.load(WEBHOOKS, webhook)
    if state is None:
        return None
    return ToPost(state, _told(reader, state, limit))


def _told(reader: Reader, progress: Progress, limit: int) -> list[Waiting]:
    """The first notices after a place that are still kept."""
    c = OUTBOX.c
    mine = (c.stream == DELIVERIES, c.aggregate == progress.subscriber, c.sequence > progress.after)
    statement = select(c.sequence, c.id, c.payload).where(*mine).order_by(c.sequence).limit(limit)
    return [Waiting(row.sequence, row.id, row.payload) for row in reader.select(statement)]


# ---- e-mail --------------------------------------------------------------------------------------------------------


def mailbox_of(work: Work, subscriber: str) -> Mailbox | None:
    """The mailbox of somebody, locked; an ended one as well."""
    return next(iter(work.load_all(MAILBOXES, _mailbox_ids(work, [subscriber])).values()), None)


def mailboxes_of(work: Work, subscribers: Collection[str]) -> list[Mailbox]:
    """The mailboxes of these people that have not ended, locked."""
    return [one for one in work.load_all(MAILBOXES, _mailbox_ids(work, subscribers)).values() if one.stopped != "ended"]


def _mailbox_ids(work: Work, subscribers: Collection[str]) -> list[str]:
    asked = ({"subscribers": lot} for lot in lots(subscribers))
    return [row.id for given in asked for row in work.select(_whose_mailbox(), given)]


@cache
def _whose_mailbox() -> Select[Any]:
    c = tables.mailboxes.c
    return select(c.id).where(c.subscriber.in_(_list("subscribers"))).order_by(c.id)


def mailboxes(
    reader: Reader, subscriber: str | None = None, after: str | None = None, limit: int | None = None
) -> list[Mailbox]:
    """Everybody's mailboxes that have not ended, or that of one subscriber, after that of an id, the oldest first."""
    c = tables.mailboxes.c
    statement = select(tables.mailboxes).where(c.address != "").order_by(c.id).limit(limit)
    if subscriber is not None:
        statement = statement.where(c.subscriber == subscriber)
    if after is not None:
        statement = statement.where(c.id > after)
    return [Mailbox.model_validate(dict(row._mapping)) for row in reader.select(statement)]


class ToMail(NamedTuple):
    """A mailbox, and what is in its next mail: none of it while the mailbox is not confirmed."""

    mailbox: Mailbox
    notices: Sequence[Waiting]


def to_mail(reader: Reader, mailbox: str, turn: int) -> ToMail | None:
    """What is to be mailed; ``None`` if the task of that ``turn`` is no longer wanted."""
    state = reader.load(MAILBOXES, mailbox)
    if state is None or not state.under_way or state.turn != turn:
        return None
    if state.confirmed_at is None or state.up_to is None:
        return ToMail(state, [])
    notices = _told(reader, state, state.up_to - state.after)
    return ToMail(state, [notice for notice in notices if notice.sequence <= state.up_to])


# ---- what is asked -------------------------------------------------------------------------------------------------


def roles_of(reader: Reader, principal: str) -> Sequence[Row[Any]]:
    """What a principal is, and where: role, network, name."""
    found = _all_roles(None).subquery().c
    statement = select(found.role, found.network, found.name).where(found.principal == principal).distinct()
    return reader.select(statement.order_by(found.role, found.name, found.network))


def deliveries(
    reader: Reader,
    *,
    subscriber: str | None,
    topic: Topic | None,
    event_id: str | None,
    after: tuple[str, str] | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Lines of the delivery log, the latest first; ``after`` is the announcement and subscriber of the last line seen.

    ``waiting`` says that the message has not been sent yet: a row that is gone from the outbox was sent long ago.
    """
    told, said = tables.tellings.c, tables.announcements.c
    message = and_(OUTBOX.c.stream == DELIVERIES, OUTBOX.c.aggregate == told.key, OUTBOX.c.sequence == told.position)
    waiting = UNSENT.c.position.label("waiting")
    statement = (
        select(tables.announcements, told.key, told.position, told.channel, told.why, waiting)
        .join_from(tables.tellings, tables.announcements, told.owner == said.id)
        .outerjoin(OUTBOX, message)
        .outerjoin(UNSENT, UNSENT.c.position == OUTBOX.c.position)
        .order_by(told.owner.desc(), told.key)
        .limit(limit)
    )
    for column, wanted in ((told.key, subscriber), (said.topic, topic), (said.event_id, event_id)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if after is not None:
        announcement, last = after
        # The first of the two is where an index is entered; of an OR alone everything newer would be read again.
        behind = or_(told.owner < announcement, told.key > last)
        statement = statement.where(told.owner <= announcement, behind)
    return reader.select(statement)


def deliveries_waiting(connection: Connection) -> dict[str, int]:
    """Deliveries that are decided and not yet made, by channel: by NATS what the stream has not confirmed.

    By webhook what those that have not stopped have not taken; by mail what is being sent, or fails: a digest that
    waits for its day does not count.
    """
    c, m = tables.webhooks.c, tables.mailboxes.c
    behind = connection.scalar(select(func.sum(c.last - c.after)).where(c.stopped.is_(None)))
    late = (m.confirmed_at.is_not(None), m.stopped.is_(None), or_(m.under_way, m.failures > 0))
    unsent = connection.scalar(select(func.sum(m.last - m.after)).where(*late))
    return {"nats": unsent_of(connection, DELIVERIES), "webhook": int(behind or 0), "mail": int(unsent or 0)}


def forget_old_announcements(settings: Settings, connection: Connection) -> int:
    """Forgets some lines of announcements older than the log is kept, and those that have none left; how many."""
    said, told = tables.announcements.c, tables.tellings.c
    before = clock.now() - timedelta(days=settings.delivery_log_days)
    oldest = select(said.id).where(said.told_at < before).order_by(said.told_at, said.id).limit(FORGOTTEN_AT_ONCE)
    lines = select(told.owner, told.key).where(told.owner.in_(oldest)).limit(FORGOTTEN_AT_ONCE)
    forgotten = connection.execute(delete(tables.tellings).where(tuple_(told.owner, told.key).in_(lines))).rowcount
    empty = ~exists().where(told.owner == said.id)
    return forgotten + connection.execute(delete(tables.announcements).where(said.id.in_(oldest), empty)).rowcount
