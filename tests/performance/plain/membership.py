"""The first service written plainly: FastStream hands over one message, the ORM keeps it, the handler publishes.

It does less than ours: a message that comes twice is booked twice, an event is lost if the process dies between the
commit and the publish, and nothing keeps the order or what failed.
"""

import os

import uvloop
from faststream import AckPolicy, FastStream
from faststream.nats import JStream, NatsBroker, PullSub
from pydantic import BaseModel

from shared.streams import INBOUND
from tests.performance.plain.cloudevent import decode
from tests.performance.plain.store import Account, create_tables, open_store

broker = NatsBroker(
    os.environ["CONCORD_NATS"],
    user_credentials=os.environ["CONCORD_CREDENTIALS"],
    inbox_prefix="_INBOX.membership",
    logger=None,
    decoder=decode,
)
app = FastStream(broker, logger=None)
engine, new_session = open_store(os.environ["CONCORD_STORE"])


class Payment(BaseModel):
    account: str
    amount: int
    filler: str


class Paid(BaseModel):
    """The CloudEvent as it comes in."""

    id: str
    source: str
    type: str
    data: Payment


@broker.subscriber(
    "inbound.v1.*.paid",
    durable="membership",
    inbox_prefix=b"_INBOX.membership.",
    stream=JStream(INBOUND, declare=False),
    pull_sub=PullSub(batch_size=int(os.environ["PLAIN_AT_ONCE"])),
    ack_policy=AckPolicy.NACK_ON_ERROR,
)
async def paid(message: Paid) -> None:
    payment = message.data
    async with new_session() as session, session.begin():
        account = await session.get(Account, payment.account, with_for_update=True)
        if account is None:
            account = Account(id=payment.account, balance=0)
            session.add(account)
        account.balance += payment.amount
    await broker.publish(message, f"membership.v1.event.paid-in.{payment.account}", stream="MEMBERSHIP")


@app.on_startup
async def prepare() -> None:
    await create_tables(engine)


@app.after_startup
async def ready() -> None:
    os.write(2, b'{"message": "ready"}\n')


if __name__ == "__main__":
    uvloop.run(app.run())
