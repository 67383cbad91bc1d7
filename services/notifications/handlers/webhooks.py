"""Webhooks: registered, posted to, resumed, ended. The posting itself is ``posting.py``'s."""

import base64
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from services.notifications import posting, store
from services.notifications.domain import webhook
from services.notifications.domain.webhook import Posted, Webhook
from services.notifications.handlers.surface import on
from services.notifications.store import WEBHOOKS
from shared import metrics
from shared.contracts.message import Event
from shared.contracts.notifications import (
    EndWebhook,
    EndWebhooksOf,
    ListAllWebhooks,
    ListWebhooks,
    OperatedWebhook,
    OperatedWebhookPage,
    RegisterWebhook,
    ResumeWebhook,
    ShowWebhookSecret,
    WebhookList,
    WebhookSecret,
    WebhookState,
    WebhookView,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.tasks import TaskOutcome
from shared.timers import Timer
from shared.unit_of_work import Reader, Work

POST = "post-to-webhook"
TRY_AGAIN = "try-webhook-again"
SECRET_BYTES = 32
"""Standard Webhooks asks for 24 to 64."""


@on.command(RegisterWebhook)
def register_webhook(command: RegisterWebhook, work: Work) -> Done | Refusal:
    # Locked first: nothing is told between the last sequence and this webhook, and nobody registers two at once.
    last = work.last_announced([work.principal])[work.principal]
    mine, id_ = store.webhooks_of(work, work.principal), work.new_id()
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    made = webhook.register(
        command, mine, webhook=id_, subscriber=work.principal, secret=secret, last=last, at=work.now
    )
    return made if isinstance(made, Refusal) else _keep(work, None, made, [webhook.registered(made)])


@on.command(ResumeWebhook, loads=lambda command: [(WEBHOOKS, command.webhook)])
def resume_webhook(command: ResumeWebhook, work: Work) -> Done | Refusal:
    mine = webhook.mine(work.load(WEBHOOKS, command.webhook), command.webhook, work.principal)
    if isinstance(mine, Refusal):
        return mine
    decided = webhook.resume(mine, command, work.last_announced([work.principal])[work.principal])
    return decided if isinstance(decided, Refusal) else _keep(work, mine, decided[0], [decided[1]])


@on.command(EndWebhook, loads=lambda command: [(WEBHOOKS, command.webhook)])
def end_webhook(command: EndWebhook, work: Work) -> Done | Refusal:
    mine = webhook.mine(work.load(WEBHOOKS, command.webhook), command.webhook, work.principal)
    return mine if isinstance(mine, Refusal) else Done(id=mine.id, events=(_end(work, mine).wire.name,))


@on.command(EndWebhooksOf)
def end_webhooks_of(command: EndWebhooksOf, work: Work) -> Done:
    ended = [_end(work, one) for one in store.webhooks_of(work, command.subscriber)]
    return Done(counts={"ended": len(ended)}, events=tuple(event.wire.name for event in ended))


def _end(work: Work, one: Webhook) -> Event:
    said = webhook.ended(one)
    work.save(WEBHOOKS, one.id, [said], state=one)
    work.put(WEBHOOKS, one.id, None)
    work.cancel_timer(TRY_AGAIN, one.id)
    return said


# ---- posting -------------------------------------------------------------------------------------------------------


def resting(work: Work, subscribers: Collection[str]) -> list[str]:
    """The webhooks that nothing is posted to, of people who are about to be told something.

    What they were told last is locked first. Whoever has just posted to one of them looks for more under the same lock,
    so either we see that it rests, or it sees what we add.
    """
    work.last_announced(subscribers)
    return store.resting_webhooks(work, subscribers)


def begin(work: Work, ids: Sequence[str]) -> None:
    """Has webhooks posted to."""
    for one in work.load_all(WEBHOOKS, ids).values():
        _keep(work, one, webhook.after_telling(one))


@on.task(POST, posting.post_waiting, loads=lambda outcome: [(WEBHOOKS, outcome.key)])
def posted(outcome: TaskOutcome, work: Work) -> None:
    """Posting has come to an end, for now."""
    before = work.load(WEBHOOKS, outcome.key)
    if before is None:
        return  # it was ended meanwhile
    if outcome.error is not None:
        came_of_it = Posted(up_to=before.posted_up_to, answer="nothing could be posted", stop="given-up")
    else:
        came_of_it = Posted.model_validate(outcome.result)
    last = work.last_announced([before.subscriber])[before.subscriber]
    after, events = webhook.after_posting(before, came_of_it, last, work.now)
    metrics.delivered("webhook", "delivered", max(0, came_of_it.up_to - before.posted_up_to))
    if after.stopped is not None:
        metrics.delivered("webhook", "failed" if after.stopped == "given-up" else "disabled")
    _keep(work, before.model_copy(update={"under_way": False}), after, events)


@on.timer(TRY_AGAIN, loads=lambda timer: [(WEBHOOKS, timer.key)])
def try_again(timer: Timer, work: Work) -> None:
    """The pause after a failure is over."""
    before = work.load(WEBHOOKS, timer.key)
    if before is not None and before.next_attempt_at is not None:
        _keep(work, before, before.model_copy(update={"next_attempt_at": None, "under_way": True}))


def _keep(work: Work, before: Webhook | None, after: Webhook, events: Sequence[Event] = ()) -> Done | Refusal:
    """Keeps a webhook, says what happened to it, and has done what it waits for."""
    if after.next_attempt_at is not None:
        work.set_timer(TRY_AGAIN, after.id, after.next_attempt_at)
    elif before is not None and before.next_attempt_at is not None:
        work.cancel_timer(TRY_AGAIN, after.id)
    if after.under_way and not (before and before.under_way):
        work.start_task(POST, after.id, {"webhook": after.id})
    return work.save(WEBHOOKS, after.id, events, state=after)


# ---- questions -----------------------------------------------------------------------------------------------------


@on.query(ListWebhooks)
def list_webhooks(_: ListWebhooks, reader: Reader) -> WebhookList:
    found = store.webhooks_of(reader, reader.principal)
    last = store.last_told(reader, [reader.principal])
    return WebhookList(webhooks=tuple(WebhookView(url=one.url, **_state(one, last)) for one in found))


@on.query(ShowWebhookSecret)
def show_webhook_secret(query: ShowWebhookSecret, reader: Reader) -> WebhookSecret | Refusal:
    mine = webhook.mine(reader.load(WEBHOOKS, query.webhook), query.webhook, reader.principal)
    return mine if isinstance(mine, Refusal) else WebhookSecret(webhook=mine.id, url=mine.url, secret=mine.secret)


@on.query(ListAllWebhooks)
def list_all_webhooks(query: ListAllWebhooks, reader: Reader) -> OperatedWebhookPage:
    found = store.all_webhooks(reader, query.subscriber, query.after, query.limit + 1)
    shown, last = found[: query.limit], store.last_told(reader, {one.subscriber for one in found})
    lines = tuple(OperatedWebhook(host=urlsplit(one.url).hostname or "", **_state(one, last)) for one in shown)
    return OperatedWebhookPage(webhooks=lines, next=shown[-1].id if len(found) > len(shown) else None)


def _state(one: Webhook, last: Mapping[str, int]) -> dict[str, Any]:
    waiting = max(0, last.get(one.subscriber, 0) - one.posted_up_to)
    return {**one.model_dump(include=set(WebhookState.model_fields)), "waiting": waiting}
