"""The second service written plainly: it keeps a copy of every account from the first one's events."""

import os

import uvloop
from faststream import AckPolicy, FastStream
from faststream.nats import JStream, NatsBroker, PullSub
from pydantic import BaseModel

from tests.performance.plain.cloudevent import decode
from tests.performance.plain.store import Copy, create_tables, open_store

broker = NatsBroker(
    os.environ["CONCORD_NATS"],
    user_credentials=os.environ["CONCORD_CREDENTIALS"],
    inbox_prefix="_INBOX.notifications",
    logger=None,
    decoder=decode,
)
app = FastStream(broker, logger=None)
engine, new_session = open_store(os.environ["CONCORD_STORE"])


class Payment(BaseModel):
    account: str
    amount: int
    filler: str


class PaidIn(BaseModel):
    """The event as the first service publishes it."""

    id: str
    data: Payment


@broker.subscriber(
    "membership.v1.event.>",
    durable="notifications",
    inbox_prefix=b"_INBOX.notifications.",
    stream=JStream("MEMBERSHIP", declare=False),
    pull_sub=PullSub(batch_size=int(os.environ["PLAIN_AT_ONCE"])),
    ack_policy=AckPolicy.NACK_ON_ERROR,
)
async def paid_in(message: PaidIn) -> None:
    payment = message.data
    async with new_session() as session, session.begin():
        copy = await session.get(Copy, payment.account, with_for_update=True)
        if copy is None:
            copy = Copy(id=payment.account, balance=0)
            session.add(copy)
        copy.balance += payment.amount


@app.on_startup
async def prepare() -> None:
    await create_tables(engine)


@app.after_startup
async def ready() -> None:
    os.write(2, b'{"message": "ready"}\n')


if __name__ == "__main__":
    uvloop.run(app.run())
