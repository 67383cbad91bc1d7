"""The processes that send, each by itself so that nothing measured shares its thread.

``publish`` sends inbound messages in atomic batches, as far as it is told to; ``offer`` sends them one by one at a
steady rate; ``command`` asks and waits for replies. They read and write lines of JSON on standard input and output.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import uuid_utils
import uvloop
from nats.js.errors import APIError

from shared import broker, clock
from shared.contracts import cloudevent
from shared.contracts.message import subject_of
from tests.performance.messages import BATCH_SIZE, HEADERS, SUBJECT, accounts, payload, renewed
from tests.performance.pipeline.membership import PayIn

PATIENCE = 20.0

PREPARED = 200_000
"""Messages that are made before the first is sent, so that making them costs nothing while something is measured."""


def say(**what: Any) -> None:
    """One line to whoever started this."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def publish(url: str, creds: str, most: str) -> None:
    """Sends messages in atomic batches; each line read says how many may have been sent in all.

    No more than ``most``, after which it says so; 0 knows no end. Past those prepared, they come again with new ids.
    """
    nc = await broker.connect([url], Path(creds), patience=PATIENCE)
    end = int(most)
    prepared = [payload(account) for account in islice(accounts(seed=1), min(end or PREPARED, PREPARED))]
    say(ready=True)
    sent = 0
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        allowed = min(int(line), end) if end else int(line)
        while sent < allowed:
            at = sent % len(prepared)
            batch = prepared[at : min(at + BATCH_SIZE, at + allowed - sent)]
            await publish_atomically(nc, SUBJECT, batch if sent < len(prepared) else [*map(renewed, batch)])
            sent += len(batch)
        if sent == end:
            say(sent=sent)
    await nc.close()


async def publish_atomically(nc: broker.Connection, subject: str, batch: Sequence[bytes]) -> None:
    """The strongest way to publish durably that the server knows (ADR-50), with the fewest headers it needs."""
    batch_id = str(uuid_utils.uuid7())
    await nc.publish_all(
        (subject, {**HEADERS, "Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}, message)
        for number, message in enumerate(batch[:-1], start=1)
    )
    headers = {
        **HEADERS,
        "Nats-Batch-Id": batch_id,
        "Nats-Batch-Sequence": str(len(batch)),
        "Nats-Batch-Commit": "1",
    }
    answer = json.loads((await nc.request(subject, batch[-1], timeout=PATIENCE, headers=headers)).data)
    if error := answer.get("error"):
        raise APIError.from_error(error)


async def offer(url: str, creds: str, rate: str, count: str) -> None:
    """Sends ``count`` messages at ``rate`` a second, one by one, each to an account of its own.

    Says when the first was due. Message n was due n/rate later and is late only through this process's fault, which
    counts: its latency is taken from when it was due. Nothing waits for the confirmations, but all must come.
    """
    nc = await broker.connect([url], Path(creds), patience=PATIENCE)
    js = nc.jetstream(publish_async_max_pending=int(count))
    prepared = [payload(offered_account(number)) for number in range(int(count))]
    interval = 1 / float(rate)
    confirmations = []
    begin = time.monotonic() + 0.2
    say(begin=begin)
    for number, message in enumerate(prepared):
        if (early := begin + number * interval - time.monotonic()) > 0:
            await asyncio.sleep(early)
        confirmations.append(await js.publish_async(SUBJECT, message, headers=HEADERS))
    await asyncio.gather(*confirmations)
    say(sent=len(confirmations))
    await nc.close()


def offered_account(number: int) -> str:
    """The account of message ``number`` of ``offer``; ids stand in the order of the numbers."""
    return f"offered-{number:07}"


async def command(url: str, creds: str, clients: str, count: str) -> None:
    """Sends ``count`` commands from ``clients`` connections, each of which waits for its reply before the next.

    Says how long each took, in seconds, and how long all took.
    """
    connections = [await broker.connect([url], Path(creds), patience=PATIENCE) for _ in range(int(clients))]
    principal = connections[0].principal
    subject = subject_of(PayIn, principal)
    source = accounts(seed=2)

    async def send(nc: broker.Connection, share: int) -> list[float]:
        took = []
        for _ in range(share):
            message = cloudevent.write(
                PayIn(account=next(source), amount=1),
                id=str(uuid_utils.uuid7()),
                source=f"/{principal}",
                time=clock.now(),
            )
            began = time.perf_counter()
            reply = await nc.request(subject, message, timeout=PATIENCE, headers=HEADERS)
            took.append(time.perf_counter() - began)
            if json.loads(reply.data)["outcome"] != "done":
                raise RuntimeError(reply.data)
        return took

    await asyncio.gather(*(send(nc, WARM_UP_COMMANDS // len(connections) + 1) for nc in connections))
    share = int(count) // len(connections)
    began = time.perf_counter()
    took = await asyncio.gather(*(send(nc, share) for nc in connections))
    seconds = time.perf_counter() - began
    warmed_up = (WARM_UP_COMMANDS // len(connections) + 1) * len(connections)
    say(seconds=seconds, took=[one for share in took for one in share], warmed_up=warmed_up)
    for nc in connections:
        await nc.close()


WARM_UP_COMMANDS = 200

WAYS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {"publish": publish, "offer": offer, "command": command}

if __name__ == "__main__":
    uvloop.run(WAYS[sys.argv[1]](*sys.argv[2:]))
