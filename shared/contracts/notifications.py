"""What notifications says and hears: subscriptions, what subscribers receive, and the log of who was told what.

A notice is thin: what happened, to which network, and why the reader was told. Who wants to know more asks the service
it happened in, where the rules of that service say what may be seen.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, HttpUrl, model_validator

from shared.contracts.membership import Region
from shared.contracts.message import (
    TIME_OF_DAY_PATTERN,
    Command,
    Delivery,
    Event,
    Id,
    MailAddress,
    Moment,
    Principal,
    Query,
    Role,
    subject_of,
)

Topic = Literal["membership", "steering", "decisions", "meetings", "benchmark"]
Channel = Literal["nats"]
Standing = Literal["representative", "steward", "steering-member", "data-steward"]
"""What somebody is to a network or an organisation; membership and benchmark decide who is what."""

DeliveryState = Literal["waiting", "published"]
"""``waiting`` is durable in the store and not yet confirmed by the stream; ``published`` is there to be read."""


def delivery_subject(subscriber: str, topic: str) -> str:
    """Where a subscriber receives what it is told about a topic. Pass ``"*"`` for the subscription to all of them."""
    return subject_of(Notice, subscriber, topic=topic)


# Subscriptions ------------------------------------------------------------------------------------------------------


class Subscribe(Command):
    """Subscribes whoever sends it to a topic: all of it, or only what fits every limit given.

    Without limits it also takes back an earlier unsubscribing from the whole topic.
    """

    topic: Topic
    network: Id | None = Field(default=None, description="only what concerns this network")
    region: Region | None = Field(default=None, description="only what concerns a network whose office is in it")
    role: Standing | None = Field(
        default=None, description="only what concerns a network or organisation in which the subscriber has this role"
    )
    channel: Channel = "nats"


class Unsubscribe(Command):
    """Ends one subscription, or with ``topic`` everything about it: what comes by default to a role as well."""

    subscription: Id | None = None
    topic: Topic | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Unsubscribe":
        if (self.subscription is None) == (self.topic is None):
            raise ValueError("either subscription, to end one, or topic, to end everything about it")
        return self


class SubscriptionMade(Event):
    """A principal wants to hear of a topic, within the limits given."""

    key = "subscriber"
    subscriber: Principal
    subscription: Id
    topic: Topic
    network: Id | None
    region: Region | None
    role: Standing | None
    channel: Channel
    made_at: Moment


class SubscriptionEnded(Event):
    """A subscription is over."""

    key = "subscriber"
    subscriber: Principal
    subscription: Id
    topic: Topic


class TopicMuted(Event):
    """A principal is no longer told of a topic by default."""

    key = "subscriber"
    subscriber: Principal
    topic: Topic
    muted_at: Moment


class TopicUnmuted(Event):
    """A principal is told of a topic by default again."""

    key = "subscriber"
    subscriber: Principal
    topic: Topic


# What subscribers receive -------------------------------------------------------------------------------------------


class Notice(Delivery):
    """Something happened that concerns the subscriber.

    The CloudEvents ``subject`` is the subscriber, ``sequence`` counts what it was sent, from 1 without gaps, and
    ``causationid`` is the id of the event message it tells of.
    """

    topic: Topic
    sentence: str = Field(description="what happened, for a person to read; nothing sensitive in it")
    event: str = Field(description="the CloudEvents type of the event message it tells of")
    about: str = Field(description="the id of what it happened to; ask the owning service for more")
    network: Id | None = Field(description="the network it happened in, where it happened in one")
    happened_at: Moment
    why: tuple[str, ...] = Field(description="why you received this, one reason a line, from the nearest to the last")
    due_at: Moment | None = Field(
        default=None, description="until when something is asked, or when it takes place; none where nothing presses"
    )


# Webhooks -----------------------------------------------------------------------------------------------------------

WebhookStop = Annotated[str, Field(pattern=r"^[a-z]+(-[a-z]+)*$")]
"""Why nothing is posted any more. ``gone``: it answered 410. ``given-up``: it did not take one notice within three
days. ``not-allowed``: its address is not one that may be posted to, such as a private one. More may come in time."""


class RegisterWebhook(Command):
    """Has everything that whoever sends it is told posted to an address as well, in order, from now on.

    ``show-webhook-secret`` gives what the receiver checks the signature with.
    """

    url: HttpUrl = Field(
        description="https; http only into networks that the operator allows. Redirects are not followed"
    )


class ResumeWebhook(Command):
    """Goes on posting to a webhook that stopped, or tries one now that fails.

    With ``after`` it goes on behind that sequence: what is posted already is posted again, what is not is skipped.
    """

    webhook: Id
    after: int | None = Field(default=None, ge=0, description="a sequence; none to go on where it stands")


class EndWebhook(Command):
    """Ends a webhook of whoever sends it. What is in hand at that moment, for some seconds, may still be posted."""

    webhook: Id


class EndAllWebhooks(Command):
    """Ends all webhooks of a subscriber, such as one whose access was taken back; what is in hand as above."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    subscriber: Principal


_AFTER = "posting goes on after this sequence"


class WebhookRegistered(Event):
    """A subscriber has what it is told posted to an address. The address may hold a secret and is not said."""

    key = "webhook"
    webhook: Id
    subscriber: Principal
    after: int = Field(description=_AFTER)


class WebhookStopped(Event):
    """Nothing is posted to a webhook any more until its subscriber resumes it."""

    key = "webhook"
    webhook: Id
    subscriber: Principal
    reason: WebhookStop
    after: int = Field(description=_AFTER)


class WebhookResumed(Event):
    """Posting to a webhook goes on."""

    key = "webhook"
    webhook: Id
    subscriber: Principal
    after: int = Field(description=_AFTER)


class WebhookEnded(Event):
    """A webhook is no more."""

    key = "webhook"
    webhook: Id
    subscriber: Principal


# E-mail -------------------------------------------------------------------------------------------------------------

Rhythm = Literal["as-it-happens", "daily", "weekly"]
TimeOfDay = Annotated[str, Field(pattern=TIME_OF_DAY_PATTERN, description="such as 07:30")]
TimeZone = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        description="the time zone of these times, by its IANA name, such as Europe/London",
    ),
]
MailboxStop = Annotated[str, Field(pattern=r"^[a-z]+(-[a-z]+)*$")]
"""Why nothing is mailed any more. ``refused``: the mail server says that there is no such mailbox. ``given-up``: it did
not take one mail within three days. More may come in time."""

_QUIET = "no mail comes in these hours unless it could not wait; give the same time twice to have none"


class RegisterMailbox(Command):
    """Has what whoever sends it is told mailed as well. A code is sent to the address; ``confirm-mailbox`` takes it.

    Another address takes the place of the one before at once; what is told meanwhile waits for its code.
    """

    address: MailAddress
    rhythm: Rhythm = Field(
        default="as-it-happens",
        description="daily, or weekly on Monday, at 08:00; what has a date comes two days before it at the latest",
    )
    quiet_from: TimeOfDay = Field(default="19:00", description=_QUIET)
    quiet_until: TimeOfDay = Field(default="07:00", description="when they end")
    time_zone: TimeZone = "Europe/London"


class ConfirmMailbox(Command):
    """Says that the mailbox is one's own, with the code that was sent there."""

    code: str = Field(min_length=1, max_length=40, description="as it stands in the mail; small letters do as well")


class ChangeMailbox(Command):
    """Changes when mail comes; what is left out stays."""

    rhythm: Rhythm | None = None
    quiet_from: TimeOfDay | None = Field(default=None, description=_QUIET)
    quiet_until: TimeOfDay | None = Field(default=None, description="when they end")
    time_zone: TimeZone | None = None

    @model_validator(mode="after")
    def _something(self) -> "ChangeMailbox":
        if not self.model_dump(exclude_none=True):
            raise ValueError("give rhythm, quiet_from, quiet_until or time_zone: what is to change")
        return self


class ResumeMailbox(Command):
    """Goes on mailing where it stopped, or tries again now where it fails."""

    skip: bool = Field(default=False, description="leave out what was told meanwhile, and begin with what comes")


class EndMailbox(Command):
    """Has nothing mailed any more; the address is forgotten."""


class EndMailboxOf(Command):
    """Has nothing mailed any more to somebody, such as one whose access was taken back; the address is forgotten."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    subscriber: Principal


class MailboxRegistered(Event):
    """A subscriber gave an address to be mailed to, and has yet to confirm it. The address is personal and not said."""

    key = "mailbox"
    mailbox: Id
    subscriber: Principal


class MailboxConfirmed(Event):
    """What a subscriber is told after a sequence is mailed to it from now on."""

    key = "mailbox"
    mailbox: Id
    subscriber: Principal
    after: int


class MailboxChanged(Event):
    """A subscriber wants mail in another rhythm, or has other quiet hours."""

    key = "mailbox"
    mailbox: Id
    subscriber: Principal


class MailboxStopped(Event):
    """Nothing is mailed to a subscriber any more, until it says otherwise."""

    key = "mailbox"
    mailbox: Id
    subscriber: Principal
    reason: MailboxStop
    after: int


class MailboxResumed(Event):
    """A subscriber is mailed to again."""

    key = "mailbox"
    mailbox: Id
    subscriber: Principal
    after: int


class MailboxEnded(Event):
    """A subscriber wants no mail any more, and its address is forgotten."""

    key = "mailbox"
    mailbox: Id
    subscriber: Principal


# Questions ----------------------------------------------------------------------------------------------------------


class SubscriptionView(BaseModel, frozen=True):
    """One subscription."""

    id: Id
    topic: Topic
    network: Id | None
    region: Region | None
    role: Standing | None
    channel: Channel
    since: Moment


class DefaultView(BaseModel, frozen=True):
    """What somebody is told without having asked: by which role, and of which topics, muted ones left out."""

    role: Standing
    network: Id | None = Field(description="the network in which the role is held; none for a data steward")
    network_name: str | None
    topics: tuple[Topic, ...]


class SubscriptionPage(BaseModel, frozen=True):
    """Everything that decides what one principal is told."""

    subscriptions: tuple[SubscriptionView, ...] = Field(description="in the order they were made")
    by_default: tuple[DefaultView, ...]
    muted: tuple[Topic, ...] = Field(description="topics of which nothing comes by default")


class ListSubscriptions(Query[SubscriptionPage]):
    """Lists what whoever asks is told: subscriptions, what comes by default, and what was muted."""


class DeliveryView(BaseModel, frozen=True):
    """Who was told what, when, by which channel, and what became of it."""

    subscriber: Principal
    sequence: int = Field(description="its place among everything this subscriber was sent")
    topic: Topic
    sentence: str
    event: str
    event_id: str
    about: str
    network: Id | None
    told_at: Moment
    channel: Channel
    state: DeliveryState
    why: tuple[str, ...]


class DeliveryPage(BaseModel, frozen=True):
    """Deliveries: the latest announcement first, those told of it by their handle."""

    deliveries: tuple[DeliveryView, ...]
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListDeliveries(Query[DeliveryPage]):
    """Lists what whoever asks was told, the latest first."""

    topic: Topic | None = None
    limit: int = Field(default=50, ge=1, le=500)
    after: str | None = Field(default=None, max_length=200, description="`next` of the page before")


class ListAllDeliveries(Query[DeliveryPage]):
    """Lists who was told what, the latest first; of everybody, or of those that fit every filter given."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    subscriber: Principal | None = None
    topic: Topic | None = None
    event_id: str | None = Field(default=None, max_length=256, description="the id of the event message told of")
    limit: int = Field(default=50, ge=1, le=500)
    after: str | None = Field(default=None, max_length=200, description="`next` of the page before")


class WebhookState(BaseModel, frozen=True):
    """How posting to a webhook goes."""

    id: Id
    subscriber: Principal
    since: Moment
    after: int = Field(description="posting goes on after this sequence: everything up to it was taken, or skipped")
    waiting: int = Field(description="how many notices there are after it")
    missed: int = Field(description="how many notices were no longer kept when their turn came")
    status: int | None = Field(description="the HTTP status of its last answer; none if there was no answer")
    trouble: str | None = Field(description="what was wrong at the last attempt, in words; none if it took the notice")
    answered_at: Moment | None = Field(description="when the last attempt was heard of; none so far")
    failing_since: Moment | None = Field(description="since when it does not take the next one; none if all is well")
    next_attempt_at: Moment | None
    stopped: WebhookStop | None = Field(description="why nothing is posted to it any more; none if it is active")


class WebhookView(WebhookState, frozen=True):
    """A webhook, as its subscriber sees it."""

    url: str


class WebhookList(BaseModel, frozen=True):
    """The webhooks of one subscriber, the oldest first."""

    webhooks: tuple[WebhookView, ...]


class ListWebhooks(Query[WebhookList]):
    """Lists the webhooks of whoever asks, and how posting to them goes."""


class WebhookSecret(BaseModel, frozen=True):
    """What a receiver needs to tell our posts from anybody else's."""

    webhook: Id
    url: str
    secret: str = Field(description="`whsec_` and base64, as Standard Webhooks 1.0 has it; keep it to yourself")


class ShowWebhookSecret(Query[WebhookSecret]):
    """Shows the secret of a webhook to its subscriber."""

    webhook: Id


class WebhookOverview(WebhookState, frozen=True):
    """A webhook, as an operator sees it: of the address, which may hold a secret, only the host."""

    host: str


class WebhookOverviewPage(BaseModel, frozen=True):
    """Webhooks, the oldest first."""

    webhooks: tuple[WebhookOverview, ...]
    next: Id | None = Field(default=None, description="give it as `after` for the next page; none on the last")


class ListAllWebhooks(Query[WebhookOverviewPage]):
    """Lists everybody's webhooks, or those of one subscriber."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    subscriber: Principal | None = None
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")


class MailboxState(BaseModel, frozen=True):
    """How mailing to somebody goes."""

    id: Id
    subscriber: Principal
    since: Moment
    confirmed_at: Moment | None = Field(description="when its code came back; nothing but the code is mailed before")
    rhythm: str = Field(description="as-it-happens, daily or weekly; more may come in time")
    quiet_from: TimeOfDay
    quiet_until: TimeOfDay
    time_zone: str
    waiting: int = Field(description="how many notices are yet to be mailed")
    missed: int = Field(description="how many notices were no longer kept when their turn came")
    status: int | None = Field(description="the mail server's last answer, as a number; none if there was none")
    trouble: str | None = Field(description="what was wrong at the last attempt, in words; none if it went out")
    answered_at: Moment | None = Field(description="when the mail server was last heard of; none so far")
    failing_since: Moment | None = Field(description="since when the next mail does not go out; none if all is well")
    next_attempt_at: Moment | None = Field(description="when the next mail is sent; none if none waits for its time")
    stopped: MailboxStop | None = Field(description="why nothing is mailed any more; none if it goes on")


class MailboxView(MailboxState, frozen=True):
    """A mailbox, as its subscriber sees it."""

    address: str


class MailboxShown(BaseModel, frozen=True):
    """The mailbox of one subscriber."""

    mailbox: MailboxView | None = Field(description="none if nothing is mailed")


class ShowMailbox(Query[MailboxShown]):
    """Shows whoever asks where it is mailed to, when, and how that goes."""


class MailboxOverview(MailboxState, frozen=True):
    """A mailbox, as an operator sees it: of the address only the domain."""

    domain: str


class MailboxOverviewPage(BaseModel, frozen=True):
    """Mailboxes, the oldest first."""

    mailboxes: tuple[MailboxOverview, ...]
    next: Id | None = Field(default=None, description="give it as `after` for the next page; none on the last")


class ListAllMailboxes(Query[MailboxOverviewPage]):
    """Lists everybody's mailboxes, or that of one subscriber."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    subscriber: Principal | None = None
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
