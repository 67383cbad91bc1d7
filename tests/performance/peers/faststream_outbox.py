"""The two services on ``faststream-outbox`` (PyPI, 0.19.0), with FastStream's own NATS broker on both sides.

PostgreSQL only. The relay is a subscriber of the outbox that publishes to NATS, in the process of the first service, as
its documentation shows it; the subject is the account's, so the handler publishes instead of a publisher decorator.

Tuned as far as its documentation goes, each option tried beside the others on two cores:

- ``AT_ONCE`` 16 messages in hand in each service (``max_workers`` of FastStream's subscriber), 8 workers of the outbox.
  One at a time was half as fast, 32 and 16 no faster: the processors are full, nearly all of it in FastStream's call of
  a handler, in the async session and in the driver.
- ``fetch_batch_size`` and ``terminal_flush_batch_size`` 500: rows are claimed and deleted together, which its page on
  performance names as the lever for throughput.
- ``min_fetch_interval`` 10 ms; asyncpg, so that a commit wakes the relay; its settings for autovacuum.
- The effect is one prepared upsert instead of loading and saving an object, logging is off, and uvloop runs it.

One transaction for each message, as everywhere in its documentation. Many in one would be a loop of one's own on top of
it, and one message that fails would take the others with it.

What it does not promise: that a message that comes twice has one effect, for it has no inbox; order for an account,
with several messages in hand. The message id we give NATS makes a repeated publish one event within two minutes.
"""

import os
import sys

import uvloop
from faststream import AckPolicy, FastStream
from faststream.nats import JStream, NatsBroker, PullSub
from faststream_outbox import OutboxBroker, make_outbox_table, outbox_autovacuum_ddl
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker

from shared.identity import inbox_prefix
from shared.streams import INBOUND, event_stream
from tests.performance.peers.store import ADD_TO_ACCOUNT, ADD_TO_COPY, open_store
from tests.performance.plain.cloudevent import decode
from tests.performance.plain.store import Base, create_tables

AT_ONCE = 16
FETCHED = 100
"""Messages asked for at a time; they wait in memory for one of ``AT_ONCE``."""
RELAYED_AT_ONCE = 8
ROWS = 500
QUEUE = "paid-in"
CONFIRMED_WITHIN = 5.0
"""Seconds that a publish waits for the server; FastStream's half a second is short while a disk syncs every write."""

service = sys.argv[1]
outbox = make_outbox_table(Base.metadata)
engine = open_store(os.environ["CONCORD_STORE"], AT_ONCE + RELAYED_AT_ONCE + 1)
new_session = async_sessionmaker(engine, expire_on_commit=False)
nats_broker = NatsBroker(
    os.environ["CONCORD_NATS"],
    user_credentials=os.environ["CONCORD_CREDENTIALS"],
    inbox_prefix=inbox_prefix(service),
    logger=None,
    decoder=decode,
)
outbox_broker = OutboxBroker(engine, outbox_table=outbox, logger=None)


class Payment(BaseModel):
    account: str
    amount: int
    filler: str


class Paid(BaseModel):
    """The CloudEvent as it comes in and goes on."""

    id: str
    source: str
    type: str
    data: Payment


async def paid(message: Paid) -> None:
    """First service: changes an account and writes the event."""
    payment = message.data
    async with new_session() as session, session.begin():
        await session.execute(ADD_TO_ACCOUNT, {"id": payment.account, "balance": payment.amount})
        await outbox_broker.publish(message, queue=QUEUE, session=session)


async def relay(message: Paid) -> None:
    """First service: publishes what it has written."""
    await nats_broker.publish(
        message,
        f"membership.v1.event.paid-in.{message.data.account}",
        stream=event_stream("membership"),
        headers={"Nats-Msg-Id": message.id},
        timeout=CONFIRMED_WITHIN,
    )


async def paid_in(message: Paid) -> None:
    """Second service: keeps the copy."""
    payment = message.data
    async with new_session() as session, session.begin():
        await session.execute(ADD_TO_COPY, {"id": payment.account, "balance": payment.amount})


if service == "membership":
    heard, stream, handler = "inbound.v1.*.paid", INBOUND, paid
    outbox_broker.subscriber(
        QUEUE,
        max_workers=RELAYED_AT_ONCE,
        fetch_batch_size=ROWS,
        terminal_flush_batch_size=ROWS,
        min_fetch_interval=0.01,
        max_fetch_interval=0.1,
    )(relay)
else:
    heard, stream, handler = "membership.v1.event.>", event_stream("membership"), paid_in

nats_broker.subscriber(
    heard,
    durable=service,
    inbox_prefix=f"{inbox_prefix(service)}.".encode(),
    stream=JStream(stream, declare=False),
    pull_sub=PullSub(batch_size=FETCHED),
    max_workers=AT_ONCE,
    ack_policy=AckPolicy.NACK_ON_ERROR,
)(handler)

app = FastStream(nats_broker, outbox_broker, logger=None)


@app.on_startup
async def prepare() -> None:
    await create_tables(engine)
    async with engine.begin() as connection:
        await connection.execute(text(outbox_autovacuum_ddl(outbox.name)))


@app.after_startup
async def ready() -> None:
    os.write(2, b'{"message": "ready"}\n')


if __name__ == "__main__":
    uvloop.run(app.run())
