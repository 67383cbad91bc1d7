"""Posts to webhooks what their subscribers are told, signed and in order, as Standard Webhooks 1.0 has it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

The body is the CloudEvents document that the delivery subject carries, and ``webhook-id`` its id: the same in every
attempt, so that a receiver can keep to one effect.
"""

import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from functools import cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import aiohttp
from standardwebhooks import Webhook as Signer
from yarl import URL

from services.notifications import store
from services.notifications.domain.webhook import Posted, Webhook
from services.notifications.store import Waiting
from shared import clock
from shared.contracts.cloudevent import STRUCTURED_HEADERS
from shared.settings import Settings
from shared.tasks import Read, Retries

POSTED_IN_A_ROW = 100
"""Notices that are posted to one webhook before how far it is is written down."""
SECONDS_IN_A_ROW = 20.0
"""After so many seconds too."""
ANSWER_WITHIN = 15.0
"""Seconds that a receiver has to answer; Standard Webhooks recommends 15 to 30."""
RETRIES = Retries(first=timedelta(seconds=2), longest=timedelta(hours=1))
LONGEST_ASKED = timedelta(days=1)
"""A receiver that asks for a longer pause is asked again after this one."""

TROUBLES: Sequence[tuple[type[Exception], str]] = (
    (aiohttp.ClientConnectorDNSError, "its name is not known"),
    (aiohttp.ClientConnectorCertificateError, "its certificate is not valid"),
    (aiohttp.ClientSSLError, "no secure connection"),
    (aiohttp.ClientConnectorError, "no connection"),
    (TimeoutError, "no answer in time"),
    (aiohttp.ClientError, "no answer: the connection broke off"),
)
"""What is said of a failure, the first that fits; never the error's own words, which have the address in them."""

Networks = Sequence[IPv4Network | IPv6Network]

GLOBAL_UNICAST = IPv6Network("2000::/3")
"""RFC 4291. Not in it are, among others, the ways to IPv4 addresses of RFC 6052 (NAT64)."""


class NotAllowed(OSError):
    """An address may not be posted to; to whoever connects a failure like others, so that another one is tried."""


@dataclass(frozen=True)
class Answer:
    """How a receiver answered, in a few words; ``took`` if it took the notice, ``pause`` if it asked for one."""

    said: str
    took: bool = False
    gone: bool = False
    allowed: bool = True
    pause: timedelta | None = None


async def post_waiting(args: Mapping[str, Any], read: Read) -> dict[str, Any]:
    """Posts what a ``webhook`` has not taken yet, until it takes one not; answers a ``Posted`` as plain data."""
    networks = _networks()
    found = await read(partial(store.to_post, webhook=args["webhook"], limit=POSTED_IN_A_ROW))
    if found is None:
        return Posted(up_to=0).model_dump()
    return (await post_in_order(*found, networks)).model_dump()


@cache
def _networks() -> Networks:
    return Settings.from_environment().webhook_networks


async def post_in_order(
    webhook: Webhook, notices: Sequence[Waiting], networks: Networks, within: float = ANSWER_WITHIN
) -> Posted:
    """Posts some notices, each once the one before it was taken; the receiver answers ``within`` so many seconds."""
    up_to, answer, ends = webhook.posted_up_to, None, time.monotonic() + SECONDS_IN_A_ROW
    async with _session(URL(webhook.url), networks, within) as session:
        for notice in notices:
            answer = await _post(session, webhook, notice)
            if answer.gone or not answer.allowed:
                return Posted(up_to=up_to, answer=answer.said, stop="gone" if answer.gone else "not-allowed")
            if not answer.took:
                failed_before = webhook.failures if up_to == webhook.posted_up_to else 0
                pause = RETRIES.delay(failed_before + 1, answer.pause)
                return Posted(up_to=up_to, answer=answer.said, pause=pause.total_seconds())
            up_to = notice.sequence
            if time.monotonic() > ends:
                break
    return Posted(up_to=up_to, answer=answer.said if answer else None)


async def _post(session: aiohttp.ClientSession, webhook: Webhook, notice: Waiting) -> Answer:
    now = clock.now()
    headers = {
        **STRUCTURED_HEADERS,
        "webhook-id": notice.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Signer(webhook.secret).sign(notice.id, now, notice.payload.decode()),
    }
    try:
        # Redirects would lead to addresses that nobody registered.
        async with session.post(
            URL(webhook.url), data=notice.payload, headers=headers, allow_redirects=False
        ) as response:
            return _understood(response)
    except (aiohttp.ClientError, TimeoutError) as error:
        if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, NotAllowed):
            return Answer(str(error.os_error), allowed=False)
        return Answer(next(words for kind, words in TROUBLES if isinstance(error, kind)))


def _understood(response: aiohttp.ClientResponse) -> Answer:
    said = str(response.status)
    if 200 <= response.status < 300:
        return Answer(said, took=True)
    if response.status == 410:
        return Answer(said, gone=True)
    if 300 <= response.status < 400:
        return Answer(f"{said}, a redirect, which is not followed")
    return Answer(said, pause=_asked(response.headers.get("Retry-After")))


def _asked(retry_after: str | None) -> timedelta | None:
    """The pause that a receiver asks for: whole seconds, or a date (RFC 9110, 10.2.3). Anything else is passed over."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return min(LONGEST_ASKED, timedelta(seconds=min(int(retry_after), 10**9)))
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(timedelta(0), min(LONGEST_ASKED, until - clock.now()))


def _session(url: URL, networks: Networks, within: float) -> aiohttp.ClientSession:
    """Connections to one address, each looked at when it is made: a name may mean another address by then."""

    def connect(found: Any) -> socket.socket:
        family, kind, protocol, _, address = found
        must_be_allowed(ip_address(address[0]), networks, secure=url.scheme == "https")
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(limit=1, ssl=_trusted(), socket_factory=connect)
    timeout = aiohttp.ClientTimeout(total=within)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, headers={"User-Agent": "Concord"})


def must_be_allowed(address: IPv4Address | IPv6Address, networks: Networks, *, secure: bool) -> None:
    """Raises ``NotAllowed`` unless an address is public and posted to ``secure``ly, or lies in one of ``networks``."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(address in network for network in networks):
        return
    if not _is_public(address):
        raise NotAllowed("its address is private, and no network that may be posted into")
    if not secure:
        raise NotAllowed("its address is public, and needs https")


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    leads_elsewhere = address.sixtofour or address.teredo  # to an IPv4 address, which may be private
    return address.is_global and address in GLOBAL_UNICAST and not leads_elsewhere


@cache
def _trusted() -> ssl.SSLContext:
    return ssl.create_default_context()
