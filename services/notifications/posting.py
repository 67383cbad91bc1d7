"""Posts to webhooks what their subscribers are told, signed and in order, as Standard Webhooks 1.0 has it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

The body is the CloudEvents document that the delivery subject carries, and ``webhook-id`` its id: the same in every
attempt, so that a receiver can keep to one effect. A receiver is a stranger: how much of it is read, for how long it is
waited for and where it may be are all limited here, and nothing it says is taken for more than an answer.
"""

import asyncio
import random
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import h11
import structlog
from standardwebhooks import Webhook as Signer

from services.notifications import store
from services.notifications.domain.webhook import Posted, Webhook
from services.notifications.store import ToPost, Waiting
from shared import clock
from shared.contracts.cloudevent import STRUCTURED_HEADERS
from shared.settings import Settings
from shared.tasks import Read

POSTED_IN_A_ROW = 20
"""Notices that are posted to one webhook before how far it is is written down, and whether it is still wanted read."""
SECONDS_IN_A_ROW = 2.0
"""After so many seconds too: who takes its time stands at the end of the queue again."""
ANSWER_WITHIN = 15.0
"""Seconds that a receiver has to be reached and to answer; Standard Webhooks recommends 15 to 30."""
LEAVE_WITHIN = 2.0
"""Seconds that a post in hand may take when the service is told to stop."""
MOST_READ = 32 * 1024
"""Bytes of an answer that are read; where it is longer, its connection is not used again."""
READ_AT_ONCE = 4096
REST_WITHIN = 1.0
"""Seconds for the rest of an answer whose status is known."""
NAMES_AT_ONCE = 64
"""Names that are looked up at a time, apart from everything else: a name server may take its time too."""

Network = IPv4Network | IPv6Network

GLOBAL_UNICAST = IPv6Network("2000::/3")
"""RFC 4291. Not in it are, among others, the ways to IPv4 addresses of RFC 6052 (NAT64)."""
SPECIAL: Sequence[Network] = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "3fff::/20", "2620:4f:8000::/48"))
)
"""What Python does not count as special yet: IANA's registries of special-purpose addresses, and Azure's host."""

log = structlog.get_logger()


class NotAllowed(OSError):
    """An address may not be posted to."""


class BrokenOff(OSError):
    """The receiver closed the connection without an answer."""


class Unreadable(OSError):
    """What came is no answer of HTTP, or has no end."""


@dataclass(frozen=True)
class Heard:
    """What came of one post: the status of the answer if there was one, and what is wrong unless it was taken.

    ``asked`` is the pause the receiver asks for (seconds); with ``stop`` it is of no use to try again.
    """

    status: int | None = None
    trouble: str | None = None
    asked: float = 0
    stop: Literal["gone", "not-allowed"] | None = None


TROUBLES: Sequence[tuple[type[Exception], str]] = (
    (TimeoutError, "no answer in time"),
    (socket.gaierror, "its name could not be looked up"),
    (ssl.SSLCertVerificationError, "its certificate is not valid"),
    (ssl.SSLError, "no secure connection"),
    (BrokenOff, "the connection was closed without an answer"),
    (Unreadable, "an answer that is not HTTP, or too long"),
    (OSError, "no connection"),
)
"""What is said of a failure, the first that fits; never the error's own words, which may have the address in them."""


# ---- one webhook -----------------------------------------------------------------------------------------------------


async def post_waiting(args: Mapping[str, Any], read: Read) -> dict[str, Any]:
    """Posts what a ``webhook`` has not taken yet, until one is not taken; answers a ``Posted`` as plain data."""
    networks = _networks()
    found = await read(partial(store.to_post, webhook=args["webhook"], limit=POSTED_IN_A_ROW))
    if found is None:
        return Posted(up_to=0).model_dump()  # nobody will ask
    return (await post_in_order(found, networks)).model_dump()


@cache
def _networks() -> Sequence[Network]:
    return Settings.from_environment().webhook_networks


async def post_in_order(found: ToPost, networks: Sequence[Network], within: float = ANSWER_WITHIN) -> Posted:
    """Posts some notices, each once the one before it was taken; the receiver answers ``within`` so many seconds.

    Told to stop it leaves the rest, and says how far it came.
    """
    webhook, ends, stopping = found.webhook, time.monotonic() + SECONDS_IN_A_ROW, False
    first = found.notices[0].sequence if found.notices else webhook.last + 1
    up_to = first - 1  # what is missing before it is kept no longer
    heard, line = Heard(), Line(webhook.url, networks)
    try:
        for notice in found.notices:
            post = asyncio.create_task(_post(line, webhook, notice, within))
            try:
                heard = await asyncio.shield(post)
            except asyncio.CancelledError:
                stopping = True
                if not await in_time(post):
                    break
                heard = post.result()
            if heard.trouble is not None:
                break
            up_to = notice.sequence
            if stopping or time.monotonic() > ends:
                break
    finally:
        line.close()
    return Posted(
        up_to=up_to,
        missed=first - 1 - webhook.after,
        chance=random.random(),  # noqa: S311  it spreads load, and guards nothing
        **asdict(heard),
    )


async def in_time(sending: "asyncio.Task[Any]") -> bool:
    """Lets what is in hand end when the service is told to stop, for a moment; whether it did."""
    done, _ = await asyncio.wait({sending}, timeout=LEAVE_WITHIN)
    if not done:
        sending.cancel()
        await asyncio.wait({sending})
    return bool(done)


async def _post(line: "Line", webhook: Webhook, notice: Waiting, within: float) -> Heard:
    now = clock.now()
    headers = {
        **STRUCTURED_HEADERS,
        "user-agent": "Concord",
        "webhook-id": notice.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Signer(webhook.secret).sign(notice.id, now, notice.payload.decode()),
    }
    try:
        async with asyncio.timeout(within):
            return _understood(await line.post(headers, notice.payload))
    except NotAllowed as error:
        return Heard(trouble=str(error), stop="not-allowed")
    except OSError as error:
        return Heard(trouble=next(words for kind, words in TROUBLES if isinstance(error, kind)))
    except Exception as error:  # ours, and yet how far it came must not be lost
        log.error("a notice could not be posted", webhook=webhook.id, error=type(error).__name__)
        return Heard(trouble="it could not be posted")


def _understood(response: h11.Response) -> Heard:
    status = response.status_code
    if 200 <= status < 300:
        return Heard(status)
    if status == 410:
        return Heard(status, "it is gone", stop="gone")
    if 300 <= status < 400:  # it would lead to an address that nobody registered
        return Heard(status, "a redirect, which is not followed")
    return Heard(status, "it was not taken", asked=_asked(dict(response.headers).get(b"retry-after")))


def _asked(retry_after: bytes | None) -> float:
    """The pause that a receiver asks for: whole seconds, or a date (RFC 9110, 10.2.3). Anything else is passed over."""
    said = (retry_after or b"").decode("ascii", errors="replace").strip()[:64]
    if said.isdecimal():
        return float(said)
    try:
        until = parsedate_to_datetime(said)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (until - clock.now()).total_seconds())
    except (ValueError, OverflowError, TypeError, IndexError):
        return 0.0


# ---- one connection --------------------------------------------------------------------------------------------------


class _Open(NamedTuple):
    """A connection that is open, and what is to be read and written on it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: h11.Connection


class Line:
    """Posts to one address, over one connection for as long as it lasts."""

    def __init__(self, url: str, networks: Sequence[Network]) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._secure else 80)
        self._called = parts.netloc
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")  # as it was registered
        self._networks = networks
        self._open: _Open | None = None

    async def post(self, headers: Mapping[str, str], body: bytes) -> h11.Response:
        """The final answer to a post. Raises ``OSError``: ``NotAllowed``, ``BrokenOff``, ``Unreadable`` or another."""
        used_before = self._open is not None
        try:
            return await self._exchange(headers, body)
        except (BrokenOff, ConnectionError):
            if not used_before:
                raise
            return await self._exchange(headers, body)  # it was closed between two posts

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._open is not None:
            self._open.writer.transport.abort()  # whatever the other side still has to say is not waited for
            self._open = None

    async def _exchange(self, headers: Mapping[str, str], body: bytes) -> h11.Response:
        fields = {"host": self._called, "content-length": str(len(body)), **headers}
        line = self._open = self._open or await self._connect()
        whole = False
        try:
            for event in (
                h11.Request(method="POST", target=self._target, headers=list(fields.items())),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                line.writer.write(line.protocol.send(event) or b"")
            await line.writer.drain()
            response, read = await _response(line, 0)
            whole = await _rest(line, read)
        except h11.ProtocolError as error:
            raise Unreadable from error
        finally:
            if not whole:
                self.close()
        return response

    async def _connect(self) -> _Open:
        """Tries the addresses one after another; each is looked at, since a name can lead elsewhere by now."""
        trouble: OSError = socket.gaierror()
        for family, kind, protocol, _, address in await _addresses(self._host, self._port):
            connection = socket.socket(family, kind, protocol)
            try:
                must_be_allowed(ip_address(address[0]), self._networks, secure=self._secure)
                connection.setblocking(False)
                await asyncio.get_running_loop().sock_connect(connection, address)
                secure, called = (trusted(), self._host) if self._secure else (None, None)
                reader, writer = await asyncio.open_connection(
                    sock=connection, limit=MOST_READ, ssl=secure, server_hostname=called
                )
            except BaseException as error:
                connection.close()
                if not isinstance(error, OSError):
                    raise
                trouble = error
            else:
                return _Open(reader, writer, h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_READ))
        raise trouble


async def _response(line: _Open, read: int) -> tuple[h11.Response, int]:
    """The status and headers, after whatever was only provisional, and how many bytes they took."""
    while not isinstance(event := line.protocol.next_event(), h11.Response):
        if event is h11.NEED_DATA:
            read = await _more(line, read)
        elif not isinstance(event, h11.InformationalResponse):
            raise BrokenOff
    return event, read


async def _rest(line: _Open, read: int) -> bool:
    """Whether the whole answer came, so that the connection can be used again; what it says is of no interest."""
    try:
        async with asyncio.timeout(REST_WITHIN):
            while not isinstance(event := line.protocol.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    read = await _more(line, read)
                elif not isinstance(event, h11.Data):
                    return False
        line.protocol.start_next_cycle()
    except (OSError, h11.ProtocolError):
        return False
    return True


async def _more(line: _Open, read: int) -> int:
    """Reads a little more, as long as it is not too much; how much that is by now."""
    if read > MOST_READ:
        raise Unreadable
    if not (data := await line.reader.read(READ_AT_ONCE)):
        raise BrokenOff
    line.protocol.receive_data(data)
    await asyncio.sleep(0)  # a receiver that has much to say is not the only one
    return read + len(data)


_NAMES = ThreadPoolExecutor(NAMES_AT_ONCE, thread_name_prefix="names")


async def _addresses(host: str, port: int) -> Sequence[Any]:
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        return await asyncio.get_running_loop().run_in_executor(_NAMES, look_up)
    except UnicodeError:  # no name could be so
        raise socket.gaierror from None


# ---- where may be posted to ------------------------------------------------------------------------------------------


def must_be_allowed(address: IPv4Address | IPv6Address, networks: Sequence[Network], *, secure: bool) -> None:
    """Raises ``NotAllowed`` unless an address is public and posted to ``secure``ly, or lies in one of ``networks``."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(address in network for network in networks):
        return
    if not _is_public(address):
        raise NotAllowed("its address is private, and in no network that the operator allows")
    if not secure:
        raise NotAllowed("its address is public: only https goes there")


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if not address.is_global or address.is_multicast or any(address in network for network in SPECIAL):
        return False
    if isinstance(address, IPv4Address):
        return True
    leads_elsewhere = address.sixtofour or address.teredo  # to an IPv4 address, which may be private
    return address in GLOBAL_UNICAST and not leads_elsewhere


@cache
def trusted() -> ssl.SSLContext:
    """Whom to believe who a receiver is: the authorities of the system, or of ``SSL_CERT_FILE``."""
    return ssl.create_default_context()
