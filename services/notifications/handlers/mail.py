"""E-mail: a mailbox is registered, confirmed, mailed to, ended. The mails themselves are ``mailing.py``'s."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.notifications import mailing, store
from services.notifications.domain import mailbox
from services.notifications.domain.mailbox import Mailbox, Mailed
from services.notifications.handlers.surface import on
from services.notifications.store import MAILBOXES
from shared import metrics
from shared.contracts.message import Event
from shared.contracts.notifications import (
    ChangeMailbox,
    ConfirmMailbox,
    EndMailbox,
    EndMailboxOf,
    ListAllMailboxes,
    MailboxOverview,
    MailboxOverviewPage,
    MailboxShown,
    MailboxState,
    MailboxView,
    RegisterMailbox,
    ResumeMailbox,
    ShowMailbox,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.tasks import TaskOutcome
from shared.timers import Timer
from shared.unit_of_work import Reader, Work

IS_DUE = "mail-is-due"
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Of codes: none that is taken for another."""


@on.command(RegisterMailbox)
def register_mailbox(command: RegisterMailbox, work: Work) -> Done | Refusal:
    if refusal := mailing.cannot_mail_to(command.address, mailing.post_office()):
        return refusal
    before = store.mailbox_of(work, work.principal)
    decided = mailbox.register(
        command,
        before,
        mailbox=work.new_id(),
        subscriber=work.principal,
        code="-".join("".join(secrets.choice(LETTERS) for _ in range(5)) for _ in range(2)),
        token=secrets.token_urlsafe(24),
        last=work.last_announced([work.principal])[work.principal],
        at=work.now,
    )
    return _carry_out(work, before, decided)


@on.command(ConfirmMailbox)
def confirm_mailbox(command: ConfirmMailbox, work: Work) -> Done | Refusal:
    mine = _mine(work)
    if isinstance(mine, Refusal):
        return mine
    last = work.last_announced([work.principal])[work.principal]
    return _carry_out(work, mine, mailbox.confirm(mine, command, last, work.now))


@on.command(ChangeMailbox)
def change_mailbox(command: ChangeMailbox, work: Work) -> Done | Refusal:
    mine = _mine(work)
    if isinstance(mine, Refusal):
        return mine
    return _carry_out(work, mine, mailbox.change(mine, command, work.now))


@on.command(ResumeMailbox)
def resume_mailbox(command: ResumeMailbox, work: Work) -> Done | Refusal:
    mine = _mine(work)
    if isinstance(mine, Refusal):
        return mine
    if mine.under_way and not store.is_at_work(work, store.MAIL, mine.id):  # its outcome became a dead letter
        mine = mine.model_copy(update={"under_way": False})
    return _carry_out(work, mine, mailbox.resume(mine, command))


@on.command(EndMailbox)
def end_mailbox(_: EndMailbox, work: Work) -> Done | Refusal:
    return _end(work, work.principal)


@on.command(EndMailboxOf)
def end_mailbox_of(command: EndMailboxOf, work: Work) -> Done | Refusal:
    return _end(work, command.subscriber)


def _end(work: Work, subscriber: str) -> Done | Refusal:
    found = mailbox.of_principal(store.mailbox_of(work, subscriber), subscriber)
    return found if isinstance(found, Refusal) else _carry_out(work, found, mailbox.end(found))


def _carry_out(work: Work, before: Mailbox | None, decided: tuple[Mailbox, Event] | Refusal) -> Done | Refusal:
    return decided if isinstance(decided, Refusal) else _keep(work, before, decided[0], [decided[1]])


def _mine(work: Work) -> Mailbox | Refusal:
    return mailbox.of_principal(store.mailbox_of(work, work.principal), work.principal)


# ---- mailing -------------------------------------------------------------------------------------------------------


def tell(work: Work, found: Collection[Mailbox], last: Mapping[str, int], due_at: datetime | None) -> None:
    """Has mailboxes mailed to; ``last`` has for each subscriber the sequence of what it was told last."""
    for one in found:
        _keep(work, one, mailbox.after_telling(one, last[one.subscriber], due_at, work.now))


@on.timer(IS_DUE, loads=lambda timer: [(MAILBOXES, timer.key)])
def mail_is_due(timer: Timer, work: Work) -> None:
    """The moment of a mail has come: by its rhythm, or because the pause after a failure is over."""
    before = work.load(MAILBOXES, timer.key)
    if before is not None and before.next_attempt_at is not None:
        after, events = mailbox.when_due(before, work.now)
        _keep(work, before, after, events)


@on.task(store.MAIL, mailing.send_mail, loads=lambda outcome: [(MAILBOXES, outcome.key)], at_once=mailing.AT_ONCE)
def mailed(outcome: TaskOutcome, work: Work) -> None:
    """A mail went out, or did not."""
    before = work.load(MAILBOXES, outcome.key)
    if before is None or not before.under_way or outcome.args["turn"] != before.turn:
        return  # it was ended or changed meanwhile
    came_of_it = Mailed(trouble="it could not be mailed", ours=True)
    if outcome.error is None and outcome.result is not None:
        came_of_it = Mailed.model_validate(outcome.result)
    after, events = mailbox.after_mailing(before, came_of_it, work.now)
    if came_of_it.trouble is None:
        metrics.delivered("mail", "delivered", after.after - before.after - came_of_it.missed)
    if after.stopped is not None:
        metrics.delivered("mail", "failed" if after.stopped == "given-up" else "disabled")
    _keep(work, before.model_copy(update={"under_way": False}), after, events)  # that task is no more


def _keep(work: Work, before: Mailbox | None, after: Mailbox, events: Sequence[Event] = ()) -> Done | Refusal:
    """Keeps a mailbox, says what happened to it, and has done what it waits for."""
    due, was_due = after.next_attempt_at, before.next_attempt_at if before else None
    if due is not None and due != was_due:
        work.set_timer(IS_DUE, after.id, due)
    elif due is None and was_due is not None:
        work.cancel_timer(IS_DUE, after.id)
    if after.under_way and (before is None or not before.under_way or before.turn != after.turn):
        work.start_task(store.MAIL, after.id, {"mailbox": after.id, "turn": after.turn})
    return work.save(MAILBOXES, after.id, events, state=after)


# ---- questions -----------------------------------------------------------------------------------------------------


@on.query(ShowMailbox)
def show_mailbox(_: ShowMailbox, reader: Reader) -> MailboxShown:
    found = store.mailboxes(reader, reader.principal)
    return MailboxShown(mailbox=MailboxView(address=found[0].address, **_state(found[0])) if found else None)


@on.query(ListAllMailboxes)
def list_all_mailboxes(query: ListAllMailboxes, reader: Reader) -> MailboxOverviewPage:
    found = store.mailboxes(reader, query.subscriber, query.after, query.limit + 1)
    shown = found[: query.limit]
    lines = tuple(MailboxOverview(domain=one.address.rpartition("@")[2], **_state(one)) for one in shown)
    return MailboxOverviewPage(mailboxes=lines, next=shown[-1].id if len(found) > len(shown) else None)


def _state(one: Mailbox) -> dict[str, Any]:
    waiting = one.last - one.after if one.confirmed_at else 0
    return {**one.model_dump(include=set(MailboxState.model_fields)), "waiting": waiting}
