"""What people open in a browser: the link in a mail that ends it (RFC 8058).

Looking at it changes nothing, since programs that look through mail follow links; ``POST`` ends it, from the page as
from a mail program. Whoever has the link needs nothing else.
"""

from functools import partial
from hmac import compare_digest

import uuid_utils
from aiohttp import web

from services.notifications.domain.mailbox import Mailbox
from services.notifications.mailing import TEMPLATES
from services.notifications.store import MAILBOXES
from shared.contracts.notifications import EndMailbox
from shared.service import Door

MOST_READ = 4096
"""Bytes of a request's body; ``List-Unsubscribe=One-Click`` has 26."""
ENDINGS = uuid_utils.UUID("4a0b9a86-2f0c-4a1c-8a30-4f7c9a8f5c1d")
"""The namespace of the ids of what ends mail: one link is one command, however often it is followed."""
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def pages(door: Door) -> web.Application:
    """The pages of notifications, which ask and end by way of the service."""
    application = web.Application(client_max_size=MOST_READ)
    application.router.add_get("/unsubscribe/{mailbox}/{token}", partial(_ask, door))
    application.router.add_post("/unsubscribe/{mailbox}/{token}", partial(_end, door))
    return application


async def _ask(door: Door, request: web.Request) -> web.Response:
    mailbox = await _of_link(door, request)
    if mailbox is None:
        return _over()
    said = f"What happens in your networks is mailed to {_hinted(mailbox.address)}."
    return _page("End mail from Concord", said, asks="End these mails")


async def _end(door: Door, request: web.Request) -> web.Response:
    mailbox = await _of_link(door, request)
    if mailbox is None:
        return _over()
    id_ = str(uuid_utils.uuid5(ENDINGS, mailbox.token))
    reply = await door.ask(mailbox.subscriber, EndMailbox(), id_)
    if reply.outcome == "failed":
        return _page("That did not work", "Please try again in a while.", status=503)
    return _over()


async def _of_link(door: Door, request: web.Request) -> Mailbox | None:
    """The mailbox that a link is of."""
    id_, token = request.match_info["mailbox"], request.match_info["token"]
    found = await door.read(lambda reader: reader.load(MAILBOXES, id_))
    if found is None or not found.token or not compare_digest(found.token.encode(), token.encode()):
        return None
    return found


def _hinted(address: str) -> str:
    """Enough of an address to know one's own by, for whoever looks over a shoulder."""
    local, _, domain = address.rpartition("@")
    return f"{local[0]}…@{domain}"


def _over() -> web.Response:
    """The same for a link that did its work and for one that never was: nobody learns which there are."""
    return _page(
        "No mail is sent by this link any more",
        "If this was your address, it is forgotten.",
        "What you are told still comes on your delivery subject; register-mailbox has it mailed again.",
    )


def _page(title: str, *sentences: str, asks: str | None = None, status: int = 200) -> web.Response:
    text = TEMPLATES.get_template("page.html").render(title=title, sentences=sentences, asks=asks)
    return web.Response(status=status, text=text, content_type="text/html", charset="utf-8", headers=HEADERS)
