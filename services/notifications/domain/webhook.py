"""Posting what a subscriber is told to an address of its own: who may, how it goes, when it is given up.

A webhook is a place in the sequence of what its subscriber was told. Everything after it is posted in order; so there
is never more than one post to it under way, and what it does not take holds up nothing but itself.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel

from shared.contracts.message import Event
from shared.contracts.notifications import (
    RegisterWebhook,
    ResumeWebhook,
    WebhookEnded,
    WebhookRegistered,
    WebhookResumed,
    WebhookStop,
    WebhookStopped,
)
from shared.refusal import Refusal

MAX_WEBHOOKS = 10
GIVE_UP_AFTER = timedelta(days=3)
"""How long one notice is tried before its webhook is stopped."""


class Webhook(BaseModel, frozen=True):
    """Where somebody is posted to, up to which sequence that is done, and what becomes of it.

    While something is posted to it, or is to be tried again at ``next_attempt_at``, whoever adds to the sequence need
    not say so. ``go_back_to`` is where posting goes on once what is under way has ended.
    """

    id: str
    subscriber: str
    url: str
    secret: str
    since: datetime
    posted_up_to: int
    under_way: bool = False
    answered: str | None = None
    answered_at: datetime | None = None
    failures: int = 0
    failing_since: datetime | None = None
    next_attempt_at: datetime | None = None
    stopped: WebhookStop | None = None
    go_back_to: int | None = None


class Posted(BaseModel, frozen=True):
    """What came of posting: the last sequence that was taken, and the last answer, none if there was nothing to post.

    ``pause`` is how many seconds to wait after a failure, and ``stop`` why it is of no use to wait.
    """

    up_to: int
    answer: str | None = None
    pause: float | None = None
    stop: WebhookStop | None = None


def register(
    command: RegisterWebhook,
    mine: Sequence[Webhook],
    *,
    webhook: str,
    subscriber: str,
    secret: str,
    last: int,
    at: datetime,
) -> Webhook | Refusal:
    """A webhook for everything after ``last``, the sequence of what its subscriber was told last."""  # fmt: skip
    url = str(command.url)
    if command.url.username or command.url.password or command.url.fragment:
        return Refusal(
            code="unusable-address",
            sentence="The address holds a user, a password or a fragment, which are not posted; leave them out, and "
            "check the signature to know who posts.",
            field="url",
        )
    for other in mine:
        if other.url == url:
            return Refusal(
                code="already-registered",
                sentence=f"The webhook {other.id} posts to this address already; end it first to have a new secret.",
                field="url",
                data={"webhook": other.id},
            )
    if len(mine) >= MAX_WEBHOOKS:
        return Refusal(
            code="too-many-webhooks",
            sentence=f"{subscriber} has {len(mine)} webhooks and asked for one more; {MAX_WEBHOOKS} are allowed: "
            "end one.",
            data={"webhooks": len(mine), "max": MAX_WEBHOOKS},
        )
    return Webhook(id=webhook, subscriber=subscriber, url=url, secret=secret, since=at, posted_up_to=last)


def registered(webhook: Webhook) -> Event:
    """What is said of a new one."""
    return WebhookRegistered(webhook=webhook.id, subscriber=webhook.subscriber, after=webhook.posted_up_to)


def ended(webhook: Webhook) -> Event:
    """What is said of one that is ended."""
    return WebhookEnded(webhook=webhook.id, subscriber=webhook.subscriber)


def mine(webhook: Webhook | None, id_: str, principal: str) -> Webhook | Refusal:
    """The webhook if it is the principal's. Nobody is told whether one of somebody else's exists."""
    if webhook is not None and webhook.subscriber == principal:
        return webhook
    return Refusal(
        code="unknown-webhook",
        sentence=f"{principal} has no webhook {id_}; list-webhooks shows which there are.",
        field="webhook",
    )


def after_telling(webhook: Webhook) -> Webhook:
    """The webhook once there is more to post: begun, unless it has stopped or will look for more anyway."""
    if webhook.stopped or webhook.under_way or webhook.next_attempt_at:
        return webhook
    return webhook.model_copy(update={"under_way": True})


def after_posting(webhook: Webhook, posted: Posted, last: int, at: datetime) -> tuple[Webhook, list[Event]]:
    """The webhook after something was posted to it; ``last`` is the sequence of what its subscriber was told last."""
    up_to = max(webhook.posted_up_to, posted.up_to)
    failing = posted.pause is not None
    in_a_row = webhook.failures if up_to == webhook.posted_up_to else 0
    failing_since = (webhook.failing_since if in_a_row else at) if failing else None
    stop = posted.stop
    if failing_since is not None and at - failing_since >= GIVE_UP_AFTER:
        stop = "given-up"
    go_on_at = up_to if webhook.go_back_to is None else webhook.go_back_to
    retried = failing and stop is None and webhook.go_back_to is None
    after = webhook.model_copy(
        update={
            "posted_up_to": go_on_at,
            "under_way": stop is None and not retried and go_on_at < last,
            "answered": posted.answer or webhook.answered,
            "answered_at": at if posted.answer else webhook.answered_at,
            "failures": in_a_row + 1 if retried else 0,
            "failing_since": failing_since if stop is None else None,
            "next_attempt_at": at + timedelta(seconds=posted.pause or 0) if retried else None,
            "stopped": stop,
            "go_back_to": None,
        }
    )
    if stop is None:
        return after, []
    said = {"webhook": webhook.id, "subscriber": webhook.subscriber, "posted_up_to": go_on_at}
    return after, [WebhookStopped(reason=stop, **said)]


def resume(webhook: Webhook, command: ResumeWebhook, last: int) -> tuple[Webhook, Event] | Refusal:
    """The webhook that goes on, from where it stands or from an earlier or later place; ``last`` as above."""
    if command.after is not None and command.after > last:
        return Refusal(
            code="unknown-sequence",
            sentence=f"after is {command.after}, and the last notice was {last}; give {last} or less.",
            field="after",
            data={"last": last},
        )
    go_on_at = webhook.posted_up_to if command.after is None else command.after
    if command.after is None and not webhook.stopped and not webhook.next_attempt_at:
        return Refusal(
            code="nothing-to-resume",
            sentence=f"The webhook has not stopped and does not fail; to have notices posted again, give after: those "
            f"after it are posted, up to {last}.",
            data={"last": last},
        )
    resumed = WebhookResumed(webhook=webhook.id, subscriber=webhook.subscriber, after=go_on_at)
    if webhook.under_way:
        return webhook.model_copy(update={"go_back_to": go_on_at}), resumed
    fresh = {"failures": 0, "failing_since": None, "next_attempt_at": None, "stopped": None}
    return webhook.model_copy(update={**fresh, "posted_up_to": go_on_at, "under_way": go_on_at < last}), resumed
