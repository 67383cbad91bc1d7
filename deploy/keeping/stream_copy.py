"""A stream as the NATS server itself writes it out and reads it in, chunk by chunk (JetStream's snapshot API).

Messages keep their place and their moment. https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, Any

from nats import errors
from nats.aio.msg import Msg

from shared.broker import BrokerError, Connection, request
from shared.streams import ApiError, Config, NotNow, api

CHUNK = 128 * 1024
"""Bytes of a chunk; the server sends the next ones as these are acknowledged."""
COMPLETE = "204"
"""The status with which the server ends a copy, where it does not end it with an empty chunk alone."""
WITHIN = 60.0
"""Seconds for the server to come up with the next chunk, or to take one."""


class NotCopied(Exception):
    """The server broke off; the message says why."""


async def copy(nc: Connection, stream: str, out: IO[bytes]) -> tuple[Config, Config]:
    """Writes a stream as it is now, without its consumers; its configuration and state.

    The server would write their positions after the messages, so that one could lie beyond the last of these, and what
    comes there next would be passed over. ``durables_of``, asked before, is on the safe side.
    """
    chunks: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = nc.new_inbox()
    subscription = await nc.subscribe(inbox, cb=chunks.put)
    try:
        told = await api(
            nc,
            f"STREAM.SNAPSHOT.{stream}",
            {"deliver_subject": inbox, "no_consumers": True, "chunk_size": CHUNK},
        )
        while True:
            async with asyncio.timeout(WITHIN):
                chunk = await chunks.get()
            if chunk.headers and chunk.headers.get("Status") != COMPLETE:
                raise NotCopied(f"{stream} was not copied: {chunk.headers.get('Description', chunk.headers)}.")
            if not chunk.data:
                return told["config"], told["state"]
            await asyncio.to_thread(out.write, chunk.data)
            if chunk.reply:
                await nc.publish(chunk.reply)
    except TimeoutError:
        raise NotCopied(f"{stream} was not copied: the server said nothing for {WITHIN:g} s.") from None
    finally:
        await subscription.unsubscribe()


async def load(nc: Connection, config: Config, state: Config, chunks: Iterable[bytes]) -> None:
    """Makes a stream from a copy; there must be none of its name.

    It is made on one server; the services spread it over as many as they are told to.
    """
    name = config["name"]
    try:
        to = (await api(nc, f"STREAM.RESTORE.{name}", {"config": {**config, "num_replicas": 1}, "state": state}))[
            "deliver_subject"
        ]
        for chunk in chunks:
            await _hand_over(nc, to, chunk)
        await _hand_over(nc, to, b"")
    except (ApiError, NotNow, BrokerError) as error:
        raise NotCopied(f"{name} was not restored: {error}") from None


async def _hand_over(nc: Connection, to: str, chunk: bytes) -> None:
    answer = (await request(nc, to, chunk, timeout=WITHIN)).data
    told: Any = json.loads(answer) if answer else {}
    if error := told.get("error"):
        raise ApiError(error.get("err_code", error["code"]), error.get("description", ""))


async def durables_of(nc: Connection, stream: str) -> list[tuple[Config, int]]:
    """The durables of a stream: the configuration of each, and the place up to which everything is acknowledged."""
    found = []
    for name in await _pages(nc, f"CONSUMER.NAMES.{stream}", "consumers"):
        told = await api(nc, f"CONSUMER.INFO.{stream}.{name}")
        if told["config"].get("durable_name"):
            found.append((told["config"], told["ack_floor"]["stream_seq"]))
    return found


async def make_durable(nc: Connection, stream: str, config: Config, position: int) -> None:
    """Makes a durable that goes on behind ``position``; on a server before 2.14, which cannot, from the beginning."""
    address = f"{stream}.{config['durable_name']}"
    await api(nc, f"CONSUMER.CREATE.{address}", {"stream_name": stream, "config": {**config, "num_replicas": 0}})
    if position:
        with suppress(ApiError, errors.NoRespondersError, errors.TimeoutError):
            await api(nc, f"CONSUMER.RESET.{address}", {"seq": position + 1})


async def streams_of(nc: Connection) -> list[str]:
    """The names of all streams there are."""
    return await _pages(nc, "STREAM.NAMES", "streams")


async def _pages(nc: Connection, subject: str, what: str) -> list[str]:
    found: list[str] = []
    while True:
        page = await api(nc, subject, {"offset": len(found)})
        found += page[what] or []
        if len(found) >= page["total"] or not page[what]:
            return found
