"""The other yardstick: as ``raw``, but as the client's documentation has it: ``fetch``, and ``ack`` for each message.

This is what whoever writes against NATS in Python has without an engine; ``raw`` has ours beneath it.
"""

import sys

import nats
import uvloop
from nats.errors import TimeoutError as NothingCame

from shared.identity import inbox_prefix
from shared.streams import INBOUND
from tests.performance.messages import BATCH_SIZE

SERVICE = "membership"


async def main(url: str, creds: str) -> None:
    """Consumes until it is killed."""
    nc = await nats.connect(url, user_credentials=creds, inbox_prefix=inbox_prefix(SERVICE).encode())
    subscription = await nc.jetstream().pull_subscribe_bind(durable=SERVICE, stream=INBOUND)
    sys.stderr.write('{"message": "ready"}\n')
    sys.stderr.flush()
    while True:
        try:
            messages = await subscription.fetch(BATCH_SIZE)
        except NothingCame:
            continue
        for message in messages:
            await message.ack()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
