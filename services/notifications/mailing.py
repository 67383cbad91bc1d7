"""Mails what subscribers are told, by the operator's mail server (SMTP, RFC 5321).

A mail has the same ``Message-ID`` in every attempt, so that one that comes twice can be told for what it is; it says of
itself that a program wrote it (RFC 3834) and how to end it with one click (RFC 8058).
"""

import asyncio
import json
import random
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, formataddr
from functools import cache, partial
from textwrap import wrap
from typing import Any, Literal, get_args
from urllib.parse import unquote, urlsplit

import aiosmtplib
import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from services.notifications import store
from services.notifications.domain.mailbox import Mailbox, Mailed
from services.notifications.posting import in_time, trusted
from services.notifications.store import ToMail
from shared import clock
from shared.contracts.notifications import Notice, Topic
from shared.refusal import Refusal
from shared.settings import Settings
from shared.tasks import Read

AT_ONCE = 8
"""Mails handed in at a time: mail servers limit how often they are connected to."""
ANSWER_WITHIN = 30.0
"""Seconds the mail server has for each of its answers but the last."""
TAKEN_WITHIN = 600.0
"""Seconds it has to say that it took a mail: who gives up earlier sends it twice (RFC 5321, 4.5.3.2.6)."""
SENDER_NAME = "Concord"
LONGEST_SUBJECT = 120
WIDTH = 76

NOT_THERE = ("5.1.", "5.2.1")
"""RFC 3463: there is no such mailbox, or it is closed. Without such a status it is one of these replies (RFC 5321):"""
NOT_THERE_REPLIES = (550, 551, 553)

TEMPLATES = Environment(
    loader=PackageLoader("services.notifications", "templates"),
    autoescape=select_autoescape(["html"]),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
    keep_trailing_newline=True,
)
TEMPLATES.filters["wrapped"] = lambda text, first="", rest="": "\n".join(
    wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False)
)

log = structlog.get_logger()


@dataclass(frozen=True)
class PostOffice:
    """Where mail is handed in, who it is from, and where it may go to."""

    host: str
    port: int
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Literal["at-once", "by-starttls", "none"] = "by-starttls"
    domains: Sequence[str] = ()
    public_url: str | None = None


@cache
def post_office() -> PostOffice | None:
    """That of the settings; ``None`` if this platform sends no mail."""
    settings = Settings.from_environment()
    if settings.mail_server is None or settings.mail_from is None:
        return None
    parts = urlsplit(settings.mail_server)
    secure = {"smtps": "at-once", "smtp": "by-starttls"}.get(parts.scheme, "none")
    return PostOffice(
        host=parts.hostname or "",
        port=parts.port or {"at-once": 465, "by-starttls": 587}.get(secure, 25),
        sender=settings.mail_from,
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=secure,  # type: ignore[arg-type]  # one of the three
        domains=settings.mail_domains,
        public_url=settings.public_url.rstrip("/") if settings.public_url else None,
    )


async def send_mail(args: Mapping[str, Any], read: Read) -> dict[str, Any] | None:
    """Sends the next mail to a ``mailbox`` in its ``turn``; answers a ``Mailed`` as plain data."""
    found = await read(partial(store.to_mail, mailbox=args["mailbox"], turn=args["turn"]))
    if found is None:
        return None  # nobody will ask
    sending = asyncio.create_task(hand_in(found, post_office()))
    try:
        return (await asyncio.shield(sending)).model_dump()
    except asyncio.CancelledError:
        if not await in_time(sending):
            raise
        return sending.result().model_dump()


def cannot_mail_to(address: str, office: PostOffice | None) -> Refusal | None:
    """Why nothing is mailed to an address, whatever its mail server says."""
    if office is None:
        return Refusal(
            code="no-mail",
            sentence="This platform sends no mail: its operator has named no mail server. What you are told comes on "
            "your delivery subject, and to webhooks.",
        )
    if not may_be_mailed_to(address, office.domains):
        domains = ", ".join(office.domains)
        return Refusal(
            code="address-not-allowed",
            sentence=f"{address} was asked for, and this platform mails only to {domains}, and what is below them.",
            field="address",
            data={"domains": list(office.domains)},
        )
    return None


async def hand_in(
    found: ToMail, office: PostOffice | None, within: float = ANSWER_WITHIN, taken_within: float = TAKEN_WITHIN
) -> Mailed:
    """Hands in one mail; what came of it.

    The mail server has ``within`` seconds for each of its answers, and ``taken_within`` for whether it took the mail.
    """
    mailbox, chance = found.mailbox, random.random()  # noqa: S311  it spreads load, and guards nothing
    missed = 0
    if mailbox.confirmed_at is not None:
        missed = (mailbox.up_to or mailbox.after) - mailbox.after - len(found.notices)
        if not found.notices:
            return Mailed(missed=missed)
    if office is None or cannot_mail_to(mailbox.address, office):  # the settings are others by now
        trouble = "the settings of this platform do not have it mailed to this address"
        return Mailed(missed=missed, trouble=trouble, chance=chance, ours=True)
    heard = await _heard(found, office, within, taken_within)
    if heard.ours:
        log.warning("a mail could not be handed in", mailbox=mailbox.id, trouble=heard.trouble, status=heard.status)
    return Mailed(missed=missed, chance=chance, **asdict(heard))


def may_be_mailed_to(address: str, domains: Sequence[str]) -> bool:
    """Whether an address is of one of these domains or below it; of any if there are none."""
    domain = address.rpartition("@")[2].lower()
    return not domains or any(domain == each or domain.endswith(f".{each}") for each in domains)


# ---- handing in ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heard:
    """What came of handing in: the server's status, what is wrong unless it took the mail, whether that is final.

    A trouble is ``ours`` where it says nothing of the mail or its reader.
    """

    status: int | None = None
    trouble: str | None = None
    ours: bool = False
    stop: Literal["refused"] | None = None


TROUBLES: Sequence[tuple[type[Exception], str]] = (
    (ssl.SSLError, "no secure connection to the mail server"),
    (TimeoutError, "no answer of the mail server in time"),
    (aiosmtplib.SMTPAuthenticationError, "the mail server does not let us in"),
    (aiosmtplib.SMTPConnectError, "no connection to the mail server"),
    (aiosmtplib.SMTPServerDisconnected, "the mail server closed the connection"),
    (aiosmtplib.SMTPResponseException, "the mail server did not take it"),
    (aiosmtplib.SMTPException, "the mail server offers no secure connection, or no way to log in"),
    (OSError, "no connection to the mail server"),
)
"""What is said of a failure, the first that fits; never the server's own words, which may have the address in them."""


async def _heard(found: ToMail, office: PostOffice, within: float, taken_within: float) -> Heard:
    mailbox = found.mailbox
    try:
        message = notices_mail(found, office) if mailbox.confirmed_at else code_mail(mailbox, office)
        await _hand_in(message, mailbox.address, office, within, taken_within)
    except aiosmtplib.SMTPRecipientRefused as error:
        return _refused(error)
    except aiosmtplib.SMTPDataError as error:
        return Heard(error.code, "the mail server did not take it")
    except (OSError, aiosmtplib.SMTPException) as error:
        said = next(words for kind, words in TROUBLES if isinstance(error, kind) or isinstance(error.__cause__, kind))
        return Heard(error.code if isinstance(error, aiosmtplib.SMTPResponseException) else None, said, ours=True)
    except Exception as error:  # a mistake of ours: it is tried again, and must be seen
        log.error("a mail could not be written", mailbox=mailbox.id, error=type(error).__name__)
        return Heard(trouble="it could not be written", ours=True)
    return Heard(250)


async def _hand_in(message: EmailMessage, to: str, office: PostOffice, within: float, taken_within: float) -> None:
    async with aiosmtplib.SMTP(
        hostname=office.host,
        port=office.port,
        username=office.user,
        password=office.password,
        use_tls=office.tls == "at-once",
        start_tls=office.tls == "by-starttls",
        tls_context=None if office.tls == "none" else trusted(),
        timeout=within,
    ) as server:
        await server.mail(office.sender)
        await server.rcpt(to)
        await server.data(message.as_bytes(), timeout=taken_within)


def _refused(refusal: aiosmtplib.SMTPRecipientRefused) -> Heard:
    """Only what says that there is no such mailbox is final: a server may refuse for its operator's mistake too."""
    status, words = refusal.code, refusal.message.strip()
    detailed = words[:2] in ("5.", "4.")
    gone = words.startswith(NOT_THERE) if detailed else status in NOT_THERE_REPLIES
    if gone:
        return Heard(status, "the mail server says that there is no such mailbox", stop="refused")
    return Heard(status, "the mail server did not take it")


# ---- what is in it -------------------------------------------------------------------------------------------------


def code_mail(mailbox: Mailbox, office: PostOffice) -> EmailMessage:
    """Asks whoever reads it to confirm that the mailbox is theirs."""
    number = f"code-{int(mailbox.since.timestamp())}"
    message = _message(mailbox, office, number, "Confirm that Concord may write to you")
    said = {"code": mailbox.code, "until": mailbox.code_until, "subscriber": mailbox.subscriber}
    _fill(message, "code", subject=message["Subject"], **said)
    return message


def notices_mail(found: ToMail, office: PostOffice) -> EmailMessage:
    """Says what happened since the last mail."""
    mailbox, notices = found.mailbox, [_read(waiting.payload) for waiting in found.notices]
    message = _message(mailbox, office, str(mailbox.up_to), _subject(notices))
    first, last = found.notices[0].sequence, found.notices[-1].sequence
    message["X-Concord-Sequence"] = f"{first}-{last}"
    unsubscribe = None
    if office.public_url is not None:
        unsubscribe = f"{office.public_url}/unsubscribe/{mailbox.id}/{mailbox.token}"
        message["List-Unsubscribe"] = f"<{unsubscribe}>"
        if unsubscribe.startswith("https://"):  # RFC 8058, 3.1
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    topics = {topic: [one for one in notices if one.topic == topic] for topic in get_args(Topic)}
    rhythm = {"as-it-happens": "as it happens", "daily": "once a day", "weekly": "once a week"}[mailbox.rhythm]
    said = {"subject": message["Subject"], "unsubscribe": unsubscribe, "rhythm": rhythm}
    _fill(message, "notices", topics={topic: some for topic, some in topics.items() if some}, **said)
    return message


def _read(payload: bytes) -> Notice:
    return Notice.model_validate(json.loads(payload)["data"])


def _subject(notices: Sequence[Notice]) -> str:
    """What presses most, and how much more there is."""
    now = clock.now()
    pressing = sorted((one.due_at, n) for n, one in enumerate(notices) if one.due_at is not None and one.due_at > now)
    sentence = " ".join(notices[pressing[0][1] if pressing else 0].sentence.split())
    more = f" (and {len(notices) - 1} more)" if len(notices) > 1 else ""
    if more:
        sentence = sentence.removesuffix(".")
    room = LONGEST_SUBJECT - len(more)
    return (sentence if len(sentence) <= room else f"{sentence[: room - 1].rstrip()}…") + more


def _message(mailbox: Mailbox, office: PostOffice, number: str, subject: str) -> EmailMessage:
    domain = office.sender.rpartition("@")[2]
    message = EmailMessage(policy=SMTP)
    message["From"] = formataddr((SENDER_NAME, office.sender))
    message["To"] = Address(addr_spec=mailbox.address)
    message["Subject"] = subject
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = f"<{mailbox.id}.{number}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["Content-Language"] = "en-GB"
    return message


def _fill(message: EmailMessage, template: str, **said: Any) -> None:
    message.set_content(TEMPLATES.get_template(f"{template}.txt").render(said))
    message.add_alternative(TEMPLATES.get_template(f"{template}.html").render(said), subtype="html")
