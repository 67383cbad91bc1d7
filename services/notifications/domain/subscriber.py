"""What one principal asked to be told, and what it asked not to be told."""

from datetime import datetime

from pydantic import BaseModel

from shared.contracts.membership import Region
from shared.contracts.message import Event
from shared.contracts.notifications import (
    Channel,
    Standing,
    Subscribe,
    SubscriptionEnded,
    SubscriptionMade,
    Topic,
    TopicMuted,
    TopicUnmuted,
    Unsubscribe,
)
from shared.refusal import Refusal

MAX_SUBSCRIPTIONS = 100


class Subscription(BaseModel, frozen=True):
    """One topic, and the limits within which it is wanted."""

    topic: Topic
    network: str | None
    region: Region | None
    role: Standing | None
    channel: Channel
    since: datetime

    @property
    def wish(self) -> tuple[str | None, ...]:
        """What makes it the same as another."""
        return (self.topic, self.network, self.region, self.role, self.channel)


class Mute(BaseModel, frozen=True):
    """Since when nothing of a topic comes by default."""

    since: datetime


class Subscriber(BaseModel, frozen=True):
    """One principal: its subscriptions by id, and the topics it muted."""

    id: str
    subscriptions: dict[str, Subscription] = {}
    muted: dict[str, Mute] = {}


def subscribe(
    subscriber: Subscriber, command: Subscribe, *, subscription: str, network_is_known: bool, at: datetime
) -> list[Event] | Refusal:
    """Adds a subscription; ``subscription`` is its id."""
    if command.network is not None and not network_is_known:
        return Refusal(
            code="unknown-network",
            sentence=f"The subscription names the network {command.network}, which is not registered; "
            "give the id of a registered network, or none for all.",
            field="network",
        )
    wanted = Subscription(since=at, **command.model_dump())
    for known, other in subscriber.subscriptions.items():
        if other.wish == wanted.wish:
            return Refusal(
                code="already-subscribed",
                sentence=f"The same subscription to {command.topic} exists as {known}; there is nothing to add.",
                data={"subscription": known},
            )
    if len(subscriber.subscriptions) >= MAX_SUBSCRIPTIONS:
        return Refusal(
            code="too-many-subscriptions",
            sentence=f"{subscriber.id} has {len(subscriber.subscriptions)} subscriptions and asked for one more; "
            f"{MAX_SUBSCRIPTIONS} are allowed: end one, or subscribe to a whole topic.",
            data={"subscriptions": len(subscriber.subscriptions), "max": MAX_SUBSCRIPTIONS},
        )
    events: list[Event] = []
    if command.topic in subscriber.muted and not (command.network or command.region or command.role):
        events.append(TopicUnmuted(subscriber=subscriber.id, topic=command.topic))
    made = command.model_dump() | {"subscriber": subscriber.id, "subscription": subscription, "made_at": at}
    return [*events, SubscriptionMade(**made)]


def unsubscribe(subscriber: Subscriber, command: Unsubscribe, at: datetime) -> list[Event] | Refusal:
    """Ends one subscription, or everything about a topic; once more ends nothing."""
    mine = subscriber.subscriptions
    if command.subscription is not None and command.subscription not in mine:
        return Refusal(
            code="unknown-subscription",
            sentence=f"{subscriber.id} has no subscription {command.subscription}; list-subscriptions shows which "
            "there are, and topic ends what comes by default.",
            field="subscription",
        )
    events: list[Event] = [
        SubscriptionEnded(subscriber=subscriber.id, subscription=id_, topic=one.topic)
        for id_, one in mine.items()
        if id_ == command.subscription or one.topic == command.topic
    ]
    if command.topic is not None and command.topic not in subscriber.muted:
        events.append(TopicMuted(subscriber=subscriber.id, topic=command.topic, muted_at=at))
    return events


def evolve(subscriber: Subscriber | None, event: Event) -> Subscriber:
    """The subscriber after one event."""
    subscriber = subscriber or Subscriber(id=event.aggregate)
    subscriptions, muted = subscriber.subscriptions, subscriber.muted
    match event:
        case SubscriptionMade():
            subscription = Subscription(since=event.made_at, **event.model_dump(include=_LIMITS))
            subscriptions = {**subscriptions, event.subscription: subscription}
        case SubscriptionEnded():
            subscriptions = {id_: one for id_, one in subscriptions.items() if id_ != event.subscription}
        case TopicMuted():
            muted = {**muted, event.topic: Mute(since=event.muted_at)}
        case TopicUnmuted():
            muted = {topic: mute for topic, mute in muted.items() if topic != event.topic}
    return Subscriber(id=subscriber.id, subscriptions=subscriptions, muted=muted)


_LIMITS = {"topic", "network", "region", "role", "channel"}
