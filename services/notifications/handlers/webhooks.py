"""Webhooks: registered, posted to, resumed, ended. The posting itself is ``posting.py``'s."""

import base64
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
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
    EndAllWebhooks,
    EndWebhook,
    ListAllWebhooks,
    ListWebhooks,
    RegisterWebhook,
    ResumeWebhook,
    ShowWebhookSecret,
    WebhookList,
    WebhookOverview,
    WebhookOverviewPage,
    WebhookSecret,
    WebhookState,
    WebhookView,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.tasks import TaskOutcome
from shared.timers import Timer
from shared.unit_of_work import Reader, Work

TRY_AGAIN = "try-webhook-again"
LOOK_AGAIN, LOOK_AGAIN_AFTER = "look-again-at-new-webhook", timedelta(seconds=5)
SECRET_BYTES = 32
"""Standard Webhooks asks for 24 to 64."""


@on.command(RegisterWebhook)
def register_webhook(command: RegisterWebhook, work: Work) -> Done | Refusal:
    # Locked, so that nobody registers two at once. Those there are stay unlocked, since whoever tells locks webhooks
    # before sequences.
    last = work.last_announced([work.principal])[work.principal]
    others = store.webhooks(work, work.principal)
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    made = webhook.register(
        command, others, webhook=work.new_id(), subscriber=work.principal, secret=secret, last=last, at=work.now
    )
    if isinstance(made, Refusal):
        return made
    work.set_timer(LOOK_AGAIN, made.id, work.now + LOOK_AGAIN_AFTER)
    return _keep(work, made, made, [webhook.registered(made)])


@on.timer(LOOK_AGAIN, loads=lambda timer: [(WEBHOOKS, timer.key)])
def look_again(timer: Timer, work: Work) -> None:
    """Finds what another replica told its subscriber when it had not seen the new webhook yet, and waited for us."""
    new = work.load(WEBHOOKS, timer.key)
    if new is not None and (last := work.last_announced([new.subscriber])[new.subscriber]) > new.last:
        _keep(work, new, webhook.after_telling(new, last))


@on.command(ResumeWebhook, loads=lambda command: [(WEBHOOKS, command.webhook)])
def resume_webhook(command: ResumeWebhook, work: Work) -> Done | Refusal:
    mine = webhook.of_principal(work.load(WEBHOOKS, command.webhook), command.webhook, work.principal)
    if isinstance(mine, Refusal):
        return mine
    if mine.under_way and not store.is_at_work(work, store.POST, mine.id):  # its outcome became a dead letter
        mine = mine.model_copy(update={"under_way": False})
    decided = webhook.resume(mine, command)
    return decided if isinstance(decided, Refusal) else _keep(work, mine, decided[0], [decided[1]])


@on.command(EndWebhook, loads=lambda command: [(WEBHOOKS, command.webhook)])
def end_webhook(command: EndWebhook, work: Work) -> Done | Refusal:
    mine = webhook.of_principal(work.load(WEBHOOKS, command.webhook), command.webhook, work.principal)
    return mine if isinstance(mine, Refusal) else Done(id=mine.id, events=(_end(work, mine).wire.name,))


@on.command(EndAllWebhooks)
def end_all_webhooks(command: EndAllWebhooks, work: Work) -> Done:
    found = work.load_all(WEBHOOKS, [one.id for one in store.webhooks(work, command.subscriber)])
    ended = [_end(work, one) for one in found.values()]
    return Done(counts={"ended": len(ended)}, events=tuple(event.wire.name for event in ended))


def _end(work: Work, one: Webhook) -> Event:
    said = webhook.ended(one)
    work.save(WEBHOOKS, one.id, [said], state=one)
    work.put(WEBHOOKS, one.id, None)
    work.cancel_timer(TRY_AGAIN, one.id)
    work.cancel_timer(LOOK_AGAIN, one.id)
    return said


# ---- posting -------------------------------------------------------------------------------------------------------


def of_audience(work: Work, subscribers: Collection[str]) -> list[Webhook]:
    """The webhooks of people who are about to be told something, locked.

    An outcome is handled under the same lock: either it finds that more was told meanwhile, or we find that it rests.
    """
    return list(work.load_all(WEBHOOKS, store.webhook_ids_of(work, subscribers)).values())


def tell(work: Work, found: Collection[Webhook], last: Mapping[str, int]) -> None:
    """Has webhooks posted to; ``last`` has for each subscriber the sequence of what it was told last."""
    for one in found:
        _keep(work, one, webhook.after_telling(one, last[one.subscriber]))


@on.task(store.POST, posting.post_waiting, loads=lambda outcome: [(WEBHOOKS, outcome.key)])
def posted(outcome: TaskOutcome, work: Work) -> None:
    """A task has posted what it could."""
    before = work.load(WEBHOOKS, outcome.key)
    if before is None or not before.under_way or outcome.args["after"] != before.after:
        return  # it was ended meanwhile, or goes on elsewhere since this outcome became a dead letter
    if outcome.error is not None:
        came_of_it = Posted(up_to=before.after, trouble="nothing could be posted")
    else:
        came_of_it = Posted.model_validate(outcome.result)
    after, events = webhook.after_posting(before, came_of_it, work.now)
    metrics.delivered("webhook", "delivered", came_of_it.up_to - before.after - came_of_it.missed)
    if after.stopped is not None:
        metrics.delivered("webhook", "failed" if after.stopped == "given-up" else "disabled")
    _keep(work, before.model_copy(update={"under_way": False}), after, events)  # that task is no more


@on.timer(TRY_AGAIN, loads=lambda timer: [(WEBHOOKS, timer.key)])
def try_again(timer: Timer, work: Work) -> None:
    """The pause after a failure is over."""
    before = work.load(WEBHOOKS, timer.key)
    if before is not None and before.next_attempt_at is not None:
        _keep(work, before, webhook.begun(before))


def _keep(work: Work, before: Webhook, after: Webhook, events: Sequence[Event] = ()) -> Done | Refusal:
    """Keeps a webhook, says what happened to it, and has done what it waits for."""
    if after.next_attempt_at is not None:
        work.set_timer(TRY_AGAIN, after.id, after.next_attempt_at)
    elif before.next_attempt_at is not None:
        work.cancel_timer(TRY_AGAIN, after.id)
    if after.under_way and not before.under_way:
        work.start_task(store.POST, after.id, {"webhook": after.id, "after": after.after})
    return work.save(WEBHOOKS, after.id, events, state=after)


# ---- questions -----------------------------------------------------------------------------------------------------


@on.query(ListWebhooks)
def list_webhooks(_: ListWebhooks, reader: Reader) -> WebhookList:
    found = store.webhooks(reader, reader.principal)
    return WebhookList(webhooks=tuple(WebhookView(url=one.url, **_state(one)) for one in found))


@on.query(ShowWebhookSecret)
def show_webhook_secret(query: ShowWebhookSecret, reader: Reader) -> WebhookSecret | Refusal:
    mine = webhook.of_principal(reader.load(WEBHOOKS, query.webhook), query.webhook, reader.principal)
    return mine if isinstance(mine, Refusal) else WebhookSecret(webhook=mine.id, url=mine.url, secret=mine.secret)


@on.query(ListAllWebhooks)
def list_all_webhooks(query: ListAllWebhooks, reader: Reader) -> WebhookOverviewPage:
    found = store.webhooks(reader, query.subscriber, query.after, query.limit + 1)
    shown = found[: query.limit]
    lines = tuple(WebhookOverview(host=urlsplit(one.url).hostname or "", **_state(one)) for one in shown)
    return WebhookOverviewPage(webhooks=lines, next=shown[-1].id if len(found) > len(shown) else None)


def _state(one: Webhook) -> dict[str, Any]:
    return {**one.model_dump(include=set(WebhookState.model_fields)), "waiting": one.last - one.after}
