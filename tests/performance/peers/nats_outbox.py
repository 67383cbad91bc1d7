"""The two services on ``nats-outbox`` (PyPI, 0.1.0): its outbox transaction, its inbox on both sides, its relay.

PostgreSQL only. The package does not consume; its one client, nats-py, does, with a durable pull subscription.

Tuned as far as its documentation goes, each option tried beside the others on two cores:

- ``AT_ONCE`` 16 messages in hand in each service, which makes little difference: from one to 32 the processors are
  full, nearly all of it in the async session and the driver; with one the relay finds less at a time.
- ``BATCH_SIZE`` 1000, the most it takes. A tick publishes one message after the other, so this saves only selects.
- One relay, a process of its own as its documentation has it. Four relays were slower at every batch size: they take
  rows from one another, and the processors are needed elsewhere.
- ``POLLING_INTERVAL`` 10 ms instead of a second; it sleeps only when it finds nothing.
- The effect is one prepared upsert instead of loading and saving an object, metrics are off, and uvloop runs it.

One transaction for each message, as everywhere in its documentation. Many in one would be a loop of one's own on top of
it, and one message that fails would take the others with it.

What it does not promise: order for an account, neither with several messages in hand nor after a publish that failed
(it comes again later than those behind it); anything for a message whose handler fails.
"""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import Awaitable, Callable

import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats_outbox.core.inbox import InboxDeduplicator  # type: ignore[import-untyped]  # it ships no types
from nats_outbox.core.models import create_tables as create_outbox  # type: ignore[import-untyped]
from nats_outbox.core.outbox import outbox_transaction  # type: ignore[import-untyped]
from nats_outbox.publishers.nats_publisher import NatsPublisher  # type: ignore[import-untyped]
from nats_outbox.relay.polling import PollingRelay  # type: ignore[import-untyped]
from nats_outbox.settings import OutboxSettings  # type: ignore[import-untyped]
from sqlalchemy.ext.asyncio import async_sessionmaker

from shared.identity import inbox_prefix
from shared.streams import INBOUND, event_stream
from tests.performance.peers.store import ADD_TO_ACCOUNT, ADD_TO_COPY, open_store
from tests.performance.plain.store import create_tables

AT_ONCE = 16
BATCH_SIZE = 1000
POLLING_INTERVAL = 0.01
FETCHED = 100
"""Messages asked for at a time; they wait in memory for one of ``AT_ONCE``."""

engine = open_store(os.environ["CONCORD_STORE"], AT_ONCE)
new_session = async_sessionmaker(engine, expire_on_commit=False)


async def paid(message: Msg) -> None:
    """First service: changes an account and writes the event, once for each message id."""
    event = json.loads(message.data)
    payment = event["data"]
    async with new_session() as session, outbox_transaction(session) as work:
        if not await InboxDeduplicator(session, "membership").is_duplicate(uuid.UUID(event["id"])):
            await session.execute(ADD_TO_ACCOUNT, {"id": payment["account"], "balance": payment["amount"]})
            work.publish_event(f"membership.v1.event.paid-in.{payment['account']}", event)


async def paid_in(message: Msg) -> None:
    """Second service: keeps the copy, once for each event."""
    payment = json.loads(message.data)["data"]
    event_id = uuid.UUID((message.headers or {})["Nats-Msg-Id"])
    async with new_session() as session, session.begin():
        if not await InboxDeduplicator(session, "notifications").is_duplicate(event_id):
            await session.execute(ADD_TO_COPY, {"id": payment["account"], "balance": payment["amount"]})


async def consume(nc: Client, stream: str, durable: str, handle: Callable[[Msg], Awaitable[None]]) -> None:
    """Handles ``AT_ONCE`` messages at a time and acknowledges each after its commit."""
    subscription = await nc.jetstream().pull_subscribe_bind(durable, stream)
    waiting: asyncio.Queue[Msg] = asyncio.Queue(FETCHED)

    async def work() -> None:
        while True:
            message = await waiting.get()
            await handle(message)
            await message.ack()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
        while True:
            try:
                messages = await subscription.fetch(FETCHED, timeout=1)
            except TimeoutError:  # none came
                continue
            for message in messages:
                await waiting.put(message)


async def relay(nc: Client) -> None:
    """Publishes what the first service has written."""
    settings = OutboxSettings(
        database_url=engine.url.render_as_string(hide_password=False),
        batch_size=BATCH_SIZE,
        polling_interval=POLLING_INTERVAL,
    )
    await PollingRelay(new_session, await NatsPublisher.from_nats_client(nc), settings).start()


async def main(part: str) -> None:
    """Runs ``membership``, its ``relay`` or ``notifications`` until it is killed."""
    service = "notifications" if part == "notifications" else "membership"
    if part == service:
        await create_outbox(engine)
        await create_tables(engine)
    nc = Client()
    await nc.connect(
        os.environ["CONCORD_NATS"],
        user_credentials=os.environ["CONCORD_CREDENTIALS"],
        inbox_prefix=inbox_prefix(service),
    )
    os.write(2, b'{"message": "ready"}\n')
    if part == "relay":
        await relay(nc)
    elif part == "membership":
        await consume(nc, INBOUND, service, paid)
    else:
        await consume(nc, event_stream("membership"), service, paid_in)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
