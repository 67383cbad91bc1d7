"""The yardstick: a process that pulls one durable as fast as it can and acknowledges, and does nothing else.

It pulls with our own ``Consumer`` because that is the strongest way to consume we know in Python: the client's own
``fetch`` reached little more than half of it. Acknowledgements go out together whenever the server pauses for breath.
"""

import asyncio
import sys
from pathlib import Path

import uvloop
from nats.aio.msg import Msg

from shared import broker
from shared.consumer import Consumer, acknowledge
from shared.streams import INBOUND


async def main(url: str, creds: str) -> None:
    """Consumes until it is killed."""
    nc = await broker.connect([url], Path(creds), patience=20)
    received: list[str] = []
    arrived = asyncio.Event()

    def deliver(message: Msg) -> None:
        received.append(message.reply)
        arrived.set()

    async def room() -> None:
        """There always is."""

    async def restore() -> None:
        raise RuntimeError("the durable is gone")

    consuming = asyncio.create_task(Consumer(nc, INBOUND, nc.principal, deliver, room, restore).run())
    sys.stderr.write('{"message": "ready"}\n')
    while not consuming.done():
        await arrived.wait()
        arrived.clear()
        replies = received[:]
        received.clear()
        await acknowledge(nc, replies)
    await consuming


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
