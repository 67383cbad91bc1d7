"""E-mail: whose address it is, when the next mail goes, what is in it, when it is given up.

A mailbox is a place in the sequence of what its subscriber was told, as a webhook is. One mail has everything that
waits, so that ten things that happen together are one mail; which notices are in it is settled before it is first sent,
and stays so in every attempt, so that a mail that comes twice is the same mail.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field

from services.notifications.domain.progress import Progress, failed
from shared.contracts.message import Event
from shared.contracts.notifications import (
    ChangeMailbox,
    ConfirmMailbox,
    MailboxChanged,
    MailboxConfirmed,
    MailboxEnded,
    MailboxRegistered,
    MailboxResumed,
    MailboxStopped,
    RegisterMailbox,
    ResumeMailbox,
    Rhythm,
)
from shared.refusal import Refusal

GATHERED = timedelta(seconds=10)
"""What is told within so long comes in one mail."""
DIGEST_AT, DIGEST_DAY = time(8), 0
"""When a daily digest goes, by the subscriber's clock, and on which day (Monday) a weekly one."""
AHEAD = timedelta(days=2)
"""What has a date is mailed so long before it at the latest, whatever the rhythm."""
MUST_BE_LEFT = timedelta(hours=12)
"""If less than this would be left once the quiet hours are over, mail comes in them."""
MOST_IN_A_MAIL = 100
CODE_LASTS = timedelta(days=1)
MAX_CODES_A_DAY = 5
"""A code goes to an address that nobody has confirmed: it may be a stranger's."""

Stop = Literal["refused", "given-up", "ended"]


class Mailbox(Progress, frozen=True):
    """Where somebody is mailed to, and what becomes of it. There is one for each subscriber, and it stays when it ends.

    Until it is confirmed it has a ``code``, and is forgotten at ``code_until``; ``codes`` were sent since
    ``codes_since``. ``turn`` counts the tasks, so that one is known that came too late; ``up_to`` is the last notice of
    the mail that is under way or failed. ``due_at`` is the nearest date of what waits. ``token`` is in the link that
    ends it.
    """

    address: str = Field(repr=False)
    token: str = Field(repr=False)
    rhythm: Rhythm
    quiet_from: str
    quiet_until: str
    time_zone: str
    code: str | None = Field(default=None, repr=False)
    code_until: datetime | None = None
    codes: int = 0
    codes_since: datetime | None = None
    confirmed_at: datetime | None = None
    turn: int = 0
    up_to: int | None = None
    due_at: datetime | None = None
    stopped: Stop | None = None


class Mailed(BaseModel, frozen=True):
    """What came of a task: of the notices of a mail some were ``missed``, and it has a ``trouble`` unless it went out.

    ``status`` is the mail server's, ``chance`` a number drawn from 0 to 1; ``stop``: it is of no use to go on. A
    trouble that is ``ours``, of the platform and its mail server, says nothing of this mailbox: it is never given up
    for it.
    """

    missed: int = 0
    status: int | None = None
    trouble: str | None = None
    chance: float = 0
    ours: bool = False
    stop: Literal["refused"] | None = None


# ---- whose it is ---------------------------------------------------------------------------------------------------


def register(
    command: RegisterMailbox,
    before: Mailbox | None,
    *,
    mailbox: str,
    subscriber: str,
    code: str,
    token: str,
    last: int,
    at: datetime,
) -> tuple[Mailbox, Event] | Refusal:
    """A mailbox that is yet to be confirmed; ``before`` is what the subscriber has or had."""
    if refusal := _unknown_time_zone(command.time_zone):
        return refusal
    runs = before is not None and before.stopped != "ended"
    if before and runs and before.confirmed_at and not before.stopped and before.address == command.address:
        return Refusal(
            code="already-confirmed",
            sentence=f"{command.address} is confirmed already; change-mailbox changes when mail comes there.",
            field="address",
        )
    codes, since = (before.codes, before.codes_since or at) if before else (0, at)
    if not since <= at < since + timedelta(days=1):
        codes, since = 0, at
    if codes >= MAX_CODES_A_DAY:
        return Refusal(
            code="too-many-codes",
            sentence=f"{codes} codes were sent since {since:%d %B %Y at %H:%M} UTC, and {MAX_CODES_A_DAY} a day are "
            "allowed; try again a day after the first, or confirm with the latest.",
            data={"codes": codes, "max": MAX_CODES_A_DAY, "again_at": (since + timedelta(days=1)).isoformat()},
        )
    # Whoever corrects an address, or has another code sent, misses nothing of what is told meanwhile; and the link in
    # mails that came already goes on ending what comes.
    goes_on = before if before and runs else None
    made = Mailbox(
        id=before.id if before else mailbox,
        subscriber=subscriber,
        since=at,
        last=last,
        after=goes_on.after if goes_on else last,
        due_at=goes_on.due_at if goes_on else None,
        turn=before.turn if before else 0,
        token=goes_on.token if goes_on else token,
        code=code,
        code_until=at + CODE_LASTS,
        codes=codes + 1,
        codes_since=since,
        **command.model_dump(),
    )
    return begun(made), MailboxRegistered(mailbox=made.id, subscriber=subscriber)


def of_principal(mailbox: Mailbox | None, principal: str) -> Mailbox | Refusal:
    """The mailbox of somebody who has one."""
    if mailbox is not None and mailbox.stopped != "ended":
        return mailbox
    return Refusal(code="no-mailbox", sentence=f"{principal} has no mailbox; register-mailbox gives one.")


def confirm(mailbox: Mailbox, command: ConfirmMailbox, last: int, at: datetime) -> tuple[Mailbox, Event] | Refusal:
    """The mailbox once its code has come back: what was told since it was registered comes first."""
    if mailbox.confirmed_at is not None:
        return Refusal(code="already-confirmed", sentence="The mailbox is confirmed; nothing more is needed.")
    given = command.code.upper().replace("-", "").replace(" ", "")
    if mailbox.code is None or given != mailbox.code.replace("-", ""):
        return Refusal(
            code="wrong-code",
            sentence="This is not the code of the latest mail. Look at it again, or have another one sent with "
            "register-mailbox.",
            field="code",
        )
    if mailbox.code_until is None or at >= mailbox.code_until:
        return Refusal(
            code="code-too-old",
            sentence="The code was good for a day; have another one sent with register-mailbox.",
            field="code",
        )
    said = MailboxConfirmed(mailbox=mailbox.id, subscriber=mailbox.subscriber, after=mailbox.after)
    well = _well(mailbox) | {"code": None, "code_until": None, "confirmed_at": at, "last": last, "stopped": None}
    return _scheduled(mailbox.model_copy(update=well), at), said


def change(mailbox: Mailbox, command: ChangeMailbox, at: datetime) -> tuple[Mailbox, Event] | Refusal:
    """The mailbox with another rhythm or other quiet hours; what waits for its time waits by these."""
    if command.time_zone is not None and (refusal := _unknown_time_zone(command.time_zone)):
        return refusal
    changed = mailbox.model_copy(update=command.model_dump(exclude_none=True))
    said = MailboxChanged(mailbox=mailbox.id, subscriber=mailbox.subscriber)
    waits = changed.next_attempt_at is not None and not changed.failures and changed.confirmed_at is not None
    return (_scheduled(changed.model_copy(update={"next_attempt_at": None}), at) if waits else changed), said


def resume(mailbox: Mailbox, command: ResumeMailbox) -> tuple[Mailbox, Event] | Refusal:
    """The mailbox that goes on at once, with what waits or without."""
    if mailbox.confirmed_at is None:
        return Refusal(
            code="not-confirmed",
            sentence="The mailbox is not confirmed, so there is nothing to go on with; register-mailbox sends a code.",
        )
    if mailbox.under_way:
        return Refusal(
            code="under-way", sentence="A mail is being sent at this moment; show-mailbox tells what came of it."
        )
    rests = mailbox.next_attempt_at is not None or mailbox.after >= mailbox.last
    if not mailbox.stopped and mailbox.failing_since is None and rests:
        return Refusal(
            code="nothing-to-resume",
            sentence="Mail has not stopped and does not fail; show-mailbox tells when the next one goes.",
        )
    after = mailbox.last if command.skip else mailbox.after
    fresh = _well(mailbox) | {"after": after, "stopped": None}
    if command.skip:
        fresh |= {"up_to": None, "due_at": None}
    resumed = mailbox.model_copy(update=fresh)
    said = MailboxResumed(mailbox=mailbox.id, subscriber=mailbox.subscriber, after=after)
    return (begun(resumed) if after < resumed.last else resumed), said


def end(mailbox: Mailbox) -> tuple[Mailbox, Event]:
    """What is left of a mailbox that ends: no address, and how many codes it asked for today."""
    gone = _well(mailbox) | {"address": "", "token": "", "code": None, "code_until": None, "stopped": "ended"}
    ended = mailbox.model_copy(update=gone | {"confirmed_at": None, "due_at": None, "up_to": None})
    return ended, MailboxEnded(mailbox=mailbox.id, subscriber=mailbox.subscriber)


def _unknown_time_zone(name: str) -> Refusal | None:
    if _zone(name) is not None:
        return None
    return Refusal(
        code="unknown-time-zone",
        sentence=f"There is no time zone {name!r}; give one by its IANA name, such as Europe/London.",
        field="time_zone",
    )


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _well(mailbox: Mailbox) -> dict[str, Any]:
    """Nothing is under way (the outcome of a task that is comes too late), and nothing fails."""
    return {
        "under_way": False,
        "turn": mailbox.turn + 1,
        "failures": 0,
        "failing_since": None,
        "next_attempt_at": None,
        "trouble": None,
        "status": None,
    }


# ---- when the next mail goes ---------------------------------------------------------------------------------------


def after_telling(mailbox: Mailbox, last: int, due_at: datetime | None, at: datetime) -> Mailbox:
    """The mailbox once its subscriber was told more; ``due_at`` is the date it has, if any."""
    nearest = min((moment for moment in (mailbox.due_at, due_at) if moment is not None and moment > at), default=None)
    told = mailbox.model_copy(update={"last": last, "due_at": nearest})
    rests = mailbox.under_way or mailbox.stopped or mailbox.failures or mailbox.confirmed_at is None
    return told if rests else _scheduled(told, at)


def when_due(mailbox: Mailbox, at: datetime) -> tuple[Mailbox, list[Event]]:
    """The mailbox once its moment has come: of its next mail, or of forgetting an address that nobody confirmed."""
    if mailbox.next_attempt_at is None:
        return mailbox, []
    if mailbox.code_until is not None and at >= mailbox.code_until:
        ended, said = end(mailbox)
        return ended, [said]
    return begun(mailbox), []


def begun(mailbox: Mailbox) -> Mailbox:
    """The mailbox that is mailed to now; a mail that failed is the same one again."""
    begins: dict[str, Any] = {"under_way": True, "next_attempt_at": None, "turn": mailbox.turn + 1}
    if mailbox.confirmed_at is not None and mailbox.up_to is None:
        begins["up_to"] = min(mailbox.after + MOST_IN_A_MAIL, mailbox.last)
        if begins["up_to"] == mailbox.last:  # whatever has a date is in it
            begins["due_at"] = None
    return mailbox.model_copy(update=begins)


def after_mailing(mailbox: Mailbox, mailed: Mailed, at: datetime) -> tuple[Mailbox, list[Event]]:
    """The mailbox after a task has ended."""
    heard: Mapping[str, Any] = {
        "under_way": False, "status": mailed.status, "trouble": mailed.trouble, "answered_at": at,
    }  # fmt: skip
    settled = mailbox.model_copy(update=heard)
    if mailed.stop is not None:
        return _stopped(settled, mailed.stop)
    if mailed.trouble is not None:
        retried = failed(settled, at, chance=mailed.chance, for_ever=mailed.ours)
        return _stopped(settled, "given-up") if retried is None else (settled.model_copy(update=retried), [])
    settled = settled.model_copy(update={"failures": 0, "failing_since": None})
    if mailbox.confirmed_at is None or mailbox.up_to is None:
        return settled.model_copy(update={"next_attempt_at": mailbox.code_until}), []
    went = {"after": mailbox.up_to, "up_to": None, "missed": mailbox.missed + mailed.missed}
    settled = settled.model_copy(update=went)
    if settled.after - mailbox.after >= MOST_IN_A_MAIL and settled.after < settled.last:
        return begun(settled), []  # what did not fit into this one
    return _scheduled(settled, at), []


def _stopped(mailbox: Mailbox, reason: Stop) -> tuple[Mailbox, list[Event]]:
    said = {"mailbox": mailbox.id, "subscriber": mailbox.subscriber, "after": mailbox.after}
    stopped = mailbox.model_copy(update={"stopped": reason, "failures": 0, "failing_since": None})
    return stopped, [MailboxStopped(reason=reason, **said)]


def _scheduled(mailbox: Mailbox, at: datetime) -> Mailbox:
    """The mailbox that waits for its next mail, if there is something to mail."""
    if mailbox.after >= mailbox.last:
        return mailbox
    due = goes_at(mailbox, at)
    if mailbox.next_attempt_at is not None:
        due = min(due, mailbox.next_attempt_at)
    return mailbox.model_copy(update={"next_attempt_at": due})


def goes_at(mailbox: Mailbox, at: datetime) -> datetime:
    """When what waits is mailed: by the rhythm and outside the quiet hours, and in time for what has a date."""
    zone = _zone(mailbox.time_zone) or ZoneInfo("UTC")  # of a zone that is no more, nobody's notices may fail
    soon = at + GATHERED
    due = _rested(mailbox, soon if mailbox.rhythm == "as-it-happens" else _next_digest(at, zone, mailbox.rhythm), zone)
    if mailbox.due_at is None or mailbox.due_at <= at:
        return due
    in_time = max(soon, mailbox.due_at - AHEAD)
    rested = _rested(mailbox, in_time, zone)
    return min(due, rested if mailbox.due_at - rested >= MUST_BE_LEFT else in_time)


def _next_digest(at: datetime, zone: ZoneInfo, rhythm: Rhythm) -> datetime:
    day = at.astimezone(zone).date()
    while (due := _moment(day, DIGEST_AT, zone)) <= at or (rhythm == "weekly" and day.weekday() != DIGEST_DAY):
        day += timedelta(days=1)
    return due


def _rested(mailbox: Mailbox, moment: datetime, zone: ZoneInfo) -> datetime:
    """The moment itself, or the end of the quiet hours it lies in."""
    begin, end = time.fromisoformat(mailbox.quiet_from), time.fromisoformat(mailbox.quiet_until)
    local = moment.astimezone(zone)
    now, day = local.time(), local.date()
    if begin <= now < end:
        return _moment(day, end, zone)
    if begin > end and (now >= begin or now < end):  # over midnight
        return _moment(day + timedelta(days=now >= begin), end, zone)
    return moment


def _moment(day: date, time_of_day: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time_of_day, zone).astimezone(UTC)
