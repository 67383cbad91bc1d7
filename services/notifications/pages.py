"""What people open in a browser: the link in a mail that ends it (RFC 8058).

Looking at it changes nothing, since programs that look through mail follow links; ``POST`` ends it, from the page as
from a mail program. Whoever has the link needs nothing else.

The port is open to everybody, so what one connection can cost is limited here: one request, so long, so much.
"""

import asyncio
import re
from contextlib import suppress
from hmac import compare_digest
from http import HTTPStatus

import h11
import structlog
import uuid_utils

from services.notifications.domain.mailbox import Mailbox
from services.notifications.mailing import TEMPLATES
from services.notifications.store import MAILBOXES
from shared.contracts.notifications import EndMailbox
from shared.service import Door

ASKED_WITHIN = 5.0
"""Seconds in which a request has to be whole."""
MOST_READ = 8192
"""Bytes of a request; ``List-Unsubscribe=One-Click`` has 26."""
MOST_CONNECTIONS = 100
"""Connections at a time: others are closed as they come, before they cost anything."""
ENDINGS = uuid_utils.UUID("4a0b9a86-2f0c-4a1c-8a30-4f7c9a8f5c1d")
"""The namespace of the ids of what ends mail: one link is one command, however often it is followed."""
LINK = re.compile(r"/unsubscribe/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/([\w-]{20,64})", re.ASCII).fullmatch
HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "connection": "close",
}

Page = tuple[HTTPStatus, str]

log = structlog.get_logger()


async def serve(door: Door, port: int) -> asyncio.Server:
    """Answers on every address of this machine until it is closed."""
    open_now = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            if open_now <= MOST_CONNECTIONS:
                with suppress(OSError, TimeoutError):
                    await _exchange(door, reader, writer)
        finally:
            open_now -= 1
            writer.transport.abort() if open_now > MOST_CONNECTIONS else writer.close()

    return await asyncio.start_server(answer, port=port, limit=MOST_READ)


async def _exchange(door: Door, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads one request and answers it."""
    protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_READ)
    try:
        async with asyncio.timeout(ASKED_WITHIN):
            request = await _request(protocol, reader)
    except h11.RemoteProtocolError as error:
        status, text = HTTPStatus(error.error_status_hint), ""
        head = False
    else:
        status, text = await _page_for(door, request)
        head = request.method == b"HEAD"
    if protocol.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    body = text.encode()
    fields = [*HEADERS.items(), ("content-length", str(len(body)))]
    writer.write(protocol.send(h11.Response(status_code=status.value, headers=fields, reason=status.phrase)) or b"")
    if body and not head:
        writer.write(protocol.send(h11.Data(data=body)) or b"")
    async with asyncio.timeout(ASKED_WITHIN):
        await writer.drain()


async def _request(protocol: h11.Connection, reader: asyncio.StreamReader) -> h11.Request:
    """A request, once all of it has come; what its body says is of no interest."""
    read, request = 0, None
    while not isinstance(event := protocol.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Request):
            request = event
        elif event is h11.NEED_DATA:
            data = await reader.read(MOST_READ)
            read += len(data)
            if not data or read > MOST_READ:
                raise h11.RemoteProtocolError("not a whole request, or too much of one", error_status_hint=400)
            protocol.receive_data(data)
        elif not isinstance(event, h11.Data):
            raise ConnectionError
    if request is None:
        raise ConnectionError
    return request


async def _page_for(door: Door, request: h11.Request) -> Page:
    found = LINK(request.target.decode("ascii", errors="replace"))
    if found is None:
        return _page("There is nothing here", status=HTTPStatus.NOT_FOUND)
    if request.method not in (b"GET", b"HEAD", b"POST"):
        return _page("That cannot be done here", status=HTTPStatus.METHOD_NOT_ALLOWED)
    try:
        return await _answer(door, *found.groups(), end=request.method == b"POST")
    except TimeoutError:
        return _later()
    except Exception as error:  # such as a store that is away
        log.warning("a page could not be answered", error=type(error).__name__)
        return _later()


async def _answer(door: Door, id_: str, token: str, *, end: bool) -> Page:
    mailbox: Mailbox | None = await door.read(lambda reader: reader.load(MAILBOXES, id_))
    if mailbox is None or not mailbox.token or not compare_digest(mailbox.token, token):
        return _over()
    if not end:
        local, _, domain = mailbox.address.rpartition("@")  # enough to know one's own by, and for nobody behind one
        said = f"What happens in your networks is mailed to {local[0]}…@{domain}."
        return _page("Stop mail from Concord", said, asks="Stop these mails")
    reply = await door.ask(mailbox.subscriber, EndMailbox(), str(uuid_utils.uuid5(ENDINGS, mailbox.token)))
    ended = reply.done is not None or (reply.refusal is not None and reply.refusal.code == "no-mailbox")
    return _over() if ended else _later()


def _over() -> Page:
    """The same for a link that did its work and for one that never was: nobody learns which there are."""
    return _page(
        "These mails have stopped",
        "If this was your address, it is forgotten.",
        "What you are told still comes on your delivery subject. To have mail again, send register-mailbox.",
    )


def _later() -> Page:
    return _page("That did not work", "Please try again in a while.", status=HTTPStatus.SERVICE_UNAVAILABLE)


def _page(title: str, *sentences: str, asks: str | None = None, status: HTTPStatus = HTTPStatus.OK) -> Page:
    return status, TEMPLATES.get_template("page.html").render(title=title, sentences=sentences, asks=asks)
