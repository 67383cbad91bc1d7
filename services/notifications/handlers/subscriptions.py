"""What somebody asked to be told, and what comes by default."""

from services.notifications import store
from services.notifications.domain import routing, subscriber
from services.notifications.handlers.surface import on
from services.notifications.store import NETWORKS, SUBSCRIBERS
from shared.contracts.notifications import (
    DefaultView,
    ListSubscriptions,
    Subscribe,
    SubscriptionPage,
    SubscriptionView,
    Unsubscribe,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.unit_of_work import Reader, Work


@on.command(Subscribe)
def subscribe(command: Subscribe, work: Work) -> Done | Refusal:
    mine = work.load(SUBSCRIBERS, work.principal) or subscriber.Subscriber(id=work.principal)
    is_known = command.network is not None and work.load(NETWORKS, command.network) is not None
    id_ = work.new_id()
    decision = subscriber.subscribe(mine, command, subscription=id_, network_is_known=is_known, at=work.now)
    done = work.save(SUBSCRIBERS, work.principal, decision)
    # Answered with the id of the subscription, by which it can be ended.
    return done if isinstance(done, Refusal) else done.model_copy(update={"id": id_})


@on.command(Unsubscribe)
def unsubscribe(command: Unsubscribe, work: Work) -> Done | Refusal:
    mine = work.load(SUBSCRIBERS, work.principal) or subscriber.Subscriber(id=work.principal)
    return work.save(SUBSCRIBERS, work.principal, subscriber.unsubscribe(mine, command, work.now))


@on.query(ListSubscriptions)
def list_subscriptions(_: ListSubscriptions, reader: Reader) -> SubscriptionPage:
    mine = reader.load(SUBSCRIBERS, reader.principal) or subscriber.Subscriber(id=reader.principal)
    by_default = tuple(
        DefaultView(
            role=row.role,
            network=row.network,
            network_name=row.name,
            topics=tuple(topic for topic in routing.topics_by_default(row.role) if topic not in mine.muted),
        )
        for row in store.roles_of(reader, reader.principal)
    )
    return SubscriptionPage(
        subscriptions=tuple(SubscriptionView(id=id_, **dict(one)) for id_, one in mine.subscriptions.items()),
        by_default=by_default,
        muted=tuple(sorted(mine.muted)),
    )
