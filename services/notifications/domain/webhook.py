"""Posting what a subscriber is told to an address of its own: who may, how it goes, when it is given up.

A webhook is a place in the sequence of what its subscriber was told. Everything after it is posted in order, by one
task at a time, so that what a receiver does not take holds up nothing but itself.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from services.notifications.domain.progress import Progress, failed
from shared.contracts.message import Event
from shared.contracts.notifications import (
    RegisterWebhook,
    ResumeWebhook,
    WebhookEnded,
    WebhookRegistered,
    WebhookResumed,
    WebhookStopped,
)
from shared.refusal import Refusal

MAX_WEBHOOKS = 10

Stop = Literal["gone", "given-up", "not-allowed"]


class Webhook(Progress, frozen=True):
    """Where somebody is posted to, and what becomes of it.

    ``resume_at``: it is to go on after that sequence once the task under way has ended. It may have ``stopped``.
    """

    url: str = Field(repr=False)
    secret: str = Field(repr=False)
    resume_at: int | None = None
    stopped: Stop | None = None


class Posted(BaseModel, frozen=True):
    """What came of a task: everything up to a sequence was taken, but for those ``missed``; and how the last post went.

    A post that failed has a ``trouble``, what pause the receiver ``asked`` for (seconds), and a number drawn by
    ``chance`` (0 to 1); ``stop`` says that it is of no use to go on.
    """

    up_to: int
    missed: int = 0
    status: int | None = None
    trouble: str | None = None
    asked: float = 0
    chance: float = 0
    stop: Literal["gone", "not-allowed"] | None = None


def register(
    command: RegisterWebhook,
    others: Sequence[Webhook],
    *,
    webhook: str,
    subscriber: str,
    secret: str,
    last: int,
    at: datetime,
) -> Webhook | Refusal:
    """A webhook for everything after ``last``, the sequence of what its subscriber was told last."""
    url = str(command.url)
    if command.url.username or command.url.password or command.url.fragment:
        return Refusal(
            code="unusable-address",
            sentence="The address holds a user, a password or a fragment, which are not posted; leave them out, and "
            "check the signature to know who posts.",
            field="url",
        )
    for other in others:
        if other.url == url:
            return Refusal(
                code="already-registered",
                sentence=f"The webhook {other.id} posts to this address already. To have a new secret, end it, "
                f"register it anew, and resume the new one with after {other.after}, so that nothing is left out.",
                field="url",
                data={"webhook": other.id, "after": other.after},
            )
    if len(others) >= MAX_WEBHOOKS:
        return Refusal(
            code="too-many-webhooks",
            sentence=f"{subscriber} has {len(others)} webhooks and asked for one more; {MAX_WEBHOOKS} are allowed: "
            "end one.",
            data={"webhooks": len(others), "max": MAX_WEBHOOKS},
        )
    return Webhook(id=webhook, subscriber=subscriber, url=url, secret=secret, since=at, last=last, after=last)


def registered(webhook: Webhook) -> Event:
    """What is said of a new one."""
    return WebhookRegistered(webhook=webhook.id, subscriber=webhook.subscriber, after=webhook.after)


def ended(webhook: Webhook) -> Event:
    """What is said of one that is ended."""
    return WebhookEnded(webhook=webhook.id, subscriber=webhook.subscriber)


def of_principal(webhook: Webhook | None, id_: str, principal: str) -> Webhook | Refusal:
    """The webhook if it is the principal's. Nobody is told whether one of somebody else's exists."""
    if webhook is not None and webhook.subscriber == principal:
        return webhook
    return Refusal(
        code="unknown-webhook",
        sentence=f"{principal} has no webhook {id_}; list-webhooks shows which there are.",
        field="webhook",
    )


def after_telling(webhook: Webhook, last: int) -> Webhook:
    """The webhook once its subscriber was told more: begun if it rests. Else it is gone on with when its time comes."""
    told = webhook.model_copy(update={"last": last})
    return told if webhook.under_way or webhook.next_attempt_at or webhook.stopped else begun(told)


def begun(webhook: Webhook) -> Webhook:
    """The webhook that is posted to from now on."""
    return webhook.model_copy(update={"under_way": True, "next_attempt_at": None})


def after_posting(webhook: Webhook, posted: Posted, at: datetime) -> tuple[Webhook, list[Event]]:
    """The webhook after a task has ended."""
    settled = webhook.model_copy(
        update={
            "after": posted.up_to,
            "under_way": False,
            "missed": webhook.missed + posted.missed,
            "failures": 0,
            "failing_since": None,
        }
    )
    if posted.status is not None or posted.trouble is not None:  # else there was nothing to post
        answered = {"status": posted.status, "trouble": posted.trouble, "answered_at": at}
        settled = settled.model_copy(update=answered)
    if webhook.resume_at is not None:  # asked for while this was under way, so what came of this is past
        return begun(settled.model_copy(update={"after": webhook.resume_at, "resume_at": None})), []
    if posted.stop is not None:
        return _stopped(settled, posted.stop)
    if posted.trouble is None:
        return (begun(settled) if settled.after < settled.last else settled), []
    moved_on = posted.up_to != webhook.after  # so this is another notice's first failure
    retried = failed(settled if moved_on else webhook, at, chance=posted.chance, asked=posted.asked)
    if retried is None:
        return _stopped(settled, "given-up")
    return settled.model_copy(update=retried), []


def _stopped(webhook: Webhook, reason: Stop) -> tuple[Webhook, list[Event]]:
    said = {"webhook": webhook.id, "subscriber": webhook.subscriber, "after": webhook.after}
    return webhook.model_copy(update={"stopped": reason}), [WebhookStopped(reason=reason, **said)]


def resume(webhook: Webhook, command: ResumeWebhook) -> tuple[Webhook, Event] | Refusal:
    """The webhook that goes on where it stands, or after another sequence."""
    last = webhook.last
    if command.after is not None and command.after > last:
        return Refusal(
            code="unknown-sequence",
            sentence=f"after is {command.after}, and the last notice was {last}; give {last} or less.",
            field="after",
            data={"last": last},
        )
    well = not webhook.stopped and webhook.failing_since is None
    if command.after is None and well and (webhook.under_way or webhook.after >= last):
        return Refusal(
            code="nothing-to-resume",
            sentence="The webhook has not stopped and does not fail. To have notices posted again, give after: those "
            f"behind it are posted, up to {last}.",
            data={"last": last},
        )
    go_on = webhook.after if command.after is None else command.after
    resumed = WebhookResumed(webhook=webhook.id, subscriber=webhook.subscriber, after=go_on)
    if webhook.under_way:
        return webhook.model_copy(update={"resume_at": go_on}), resumed
    fresh = {"after": go_on, "resume_at": None, "stopped": None, "failures": 0, "failing_since": None}
    return begun(webhook.model_copy(update=fresh)), resumed
