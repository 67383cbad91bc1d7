"""One message over the wire and its reply: what the commands of the command line come down to."""

import asyncio
import json
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import uuid_utils
from nats.aio.msg import Msg
from pydantic import ValidationError

from deploy.cli.output import Complaint, NotAllowed, log_from
from deploy.cli.stack import not_reached, stack_in
from shared import clock
from shared.broker import BrokerError, Connection, NobodyAnswers, NotPermitted, TimedOut, Unreachable, connect, request
from shared.contracts import cloudevent
from shared.contracts.message import MAJOR, Message, Query, subject_of
from shared.contracts.platform import DiscardDeadLetter, Failure, InboundRefused, Reconcile, ReplayDeadLetter, Reply

CONNECT_WITHIN = 3.0
"""Seconds to wait for a local server, which answers in milliseconds where it runs."""

LOOK_EVERY = 0.5
"""Seconds between two looks whether there is a connection."""

Result = TypeVar("Result")


def on_stack(data: Path, principal: str, do: Callable[[Connection], Awaitable[Result]]) -> Result:
    """Does something with a connection to the local stack; what can go wrong there is a ``Complaint``."""
    # Everything the connection has to say to a person comes back as an error with a sentence.
    log_from(logging.CRITICAL)
    stack = stack_in(data)
    creds = stack.credentials(principal)

    async def run() -> Result:
        nc = await connect(stack.urls, creds, patience=CONNECT_WITHIN)
        doing, lost = asyncio.ensure_future(do(nc)), asyncio.create_task(nc.lost.wait())
        try:
            await asyncio.wait({doing, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise Complaint(f"NATS ended the connection of {principal} for good ({nc.last_error}).")
            return doing.result()
        finally:
            doing.cancel()
            lost.cancel()
            await asyncio.gather(doing, lost, return_exceptions=True)
            await nc.close()

    try:
        return asyncio.run(run())
    except Unreachable:
        raise not_reached(data, stack.urls) from None
    except NotPermitted as error:
        raise NotAllowed(str(error)) from None
    except BrokerError as error:
        raise Complaint(str(error)) from None


async def ask(nc: Connection, message: Message, *, timeout: float, service: str = "", id: str = "") -> Reply:  # noqa: ASYNC109
    """Sends a command or query and answers with the reply; ``BrokerError`` where none comes."""
    id = id or new_id()
    try:
        answer = await request(
            nc,
            subject_of(type(message), nc.principal, service or None),
            cloudevent.write(message, id=id, source=f"/{nc.principal}", time=clock.now()),
            dict(cloudevent.STRUCTURED_HEADERS),
            timeout,
        )
    except TimedOut as error:
        raise TimedOut(f"{error} {_what_to_do(message, id)}") from None
    try:
        return Reply.model_validate_json(answer.data)
    except ValidationError as error:
        raise BrokerError(f"The reply on {answer.subject} is not one of Concord's: {error}.") from None


def _what_to_do(message: Message, id: str) -> str:
    if isinstance(message, Query):
        return "Ask again."
    if isinstance(message, _REPEATABLE):
        return "It may have been carried out all the same; to do it once more does no harm."
    return f"It may have been carried out all the same: send it again with the same message id, --id {id}."


_REPEATABLE = (Reconcile, ReplayDeadLetter, DiscardDeadLetter)
"""Commands that have a command line of their own, which gives each an id of its own."""


def send(data: Path, principal: str, message: Message, *, timeout: float, service: str = "", id: str = "") -> Reply:
    """Sends one command or query on a connection of its own."""
    return on_stack(data, principal, lambda nc: ask(nc, message, timeout=timeout, service=service, id=id))


def send_to_each(
    data: Path, principal: str, message: Message, services: Iterable[str], *, timeout: float
) -> dict[str, Reply]:
    """Sends the same command or query to several services at once; one that does not answer has ``failed``."""

    async def run(nc: Connection) -> dict[str, Reply]:
        async def one(service: str) -> Reply:
            try:
                return await ask(nc, message, timeout=timeout, service=service)
            except NobodyAnswers:
                return _failed(f"{service} is not running.")
            except NotPermitted as error:
                return NotAllowed(str(error)).reply
            except BrokerError as error:
                return _failed(str(error))

        asked = list(services)
        return dict(zip(asked, await asyncio.gather(*map(one, asked)), strict=True))

    return on_stack(data, principal, run)


def _failed(sentence: str) -> Reply:
    return Reply(outcome="failed", failure=Failure(sentence=sentence))


def publish(data: Path, principal: str, message: Message, *, timeout: float, id: str, wait: float) -> Reply:
    """Publishes an inbound message; the refusal that comes within ``wait`` seconds, or else what the stream said."""

    async def run(nc: Connection) -> Reply:
        refused: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        async def hear(told: Msg) -> None:
            said = cloudevent.read(told.headers, told.data)
            if isinstance(said, cloudevent.Envelope):
                refusal = InboundRefused.model_validate(said.data)
                if refusal.message == id and not refused.done():
                    refused.set_result(Reply(outcome="refused", refusal=refusal.refusal))

        await nc.subscribe(subject_of(InboundRefused, nc.principal), cb=hear)
        kept = await request(
            nc,
            subject_of(type(message), nc.principal),
            cloudevent.write(message, id=id, source=f"/{nc.principal}", time=clock.now()),
            {**cloudevent.STRUCTURED_HEADERS, "Nats-Msg-Id": id},
            timeout,
        )
        answered = json.loads(kept.data)
        if error := answered.get("error"):
            raise BrokerError(f"The stream did not keep the message: {error.get('description', error)}.")
        taken = {"id": id, "stream": answered["stream"], "sequence": answered["seq"]}
        if answered.get("duplicate"):
            return Reply(outcome="answered", answer=taken | {"taken_before": True, "unrefused_for_seconds": None})
        try:
            return await asyncio.wait_for(refused, wait)
        except TimeoutError:
            return Reply(outcome="answered", answer=taken | {"taken_before": False, "unrefused_for_seconds": wait})

    return on_stack(data, principal, run)


def watch(
    data: Path,
    principal: str,
    subject: str | None,
    *,
    hear: Callable[[str, Any], None],
    ready: Callable[[list[str]], None],
    hear_of_connection: Callable[[bool], None],
    count: int | None,
) -> None:
    """Hands on what is published on a subject (by default on all the principal may read) until it is interrupted.

    ``ready`` is told the subjects once they are subscribed to, ``hear`` each message's subject and content,
    ``hear_of_connection`` whether there is one, when that changes; it ends by itself after ``count`` messages.
    """

    async def run(nc: Connection) -> None:
        enough = asyncio.Event()
        heard, unheard = 0, None

        async def on_message(message: Msg) -> None:
            nonlocal heard, unheard
            try:
                if not enough.is_set():
                    heard += 1
                    hear(message.subject, _content(message.data))
            except (OSError, SystemExit) as error:  # whoever reads it has gone; this is a task of the client's
                unheard = error
                enough.set()
            if heard == count:
                enough.set()

        for interruption in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(interruption, enough.set)
        choices = [[subject]] if subject else _readable(nc.principal)
        for subjects in choices:
            if allowed := await _subscribe(nc, subjects, on_message):
                break
        else:
            tried = subject or " and ".join(choices[-1])
            raise NotPermitted(f"Not permitted: {nc.principal} may not read {tried}.")
        ready(allowed)
        connected = True
        while not enough.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await enough.wait()
            if nc.is_connected != connected:
                connected = not connected
                hear_of_connection(connected)
        if unheard is not None:
            raise unheard

    on_stack(data, principal, run)


async def _subscribe(nc: Connection, subjects: list[str], hear: Callable[[Msg], Awaitable[None]]) -> list[str]:
    """Subscribes to those of the subjects that the principal may read, and answers with them."""
    allowed = []
    for subject in subjects:
        forbidden = asyncio.create_task(nc.forbidden(subject))
        await asyncio.sleep(0)  # so that it waits before the server can answer
        subscription = await nc.subscribe(subject, cb=hear)
        await nc.flush()  # the server answers in order: a refusal comes before the answer to this
        await asyncio.sleep(0)
        if forbidden.done():
            await subscription.unsubscribe()
        else:
            forbidden.cancel()
            allowed.append(subject)
    return allowed


def _readable(principal: str) -> list[list[str]]:
    """What a principal may be able to read: everything, or else what is its own."""
    return [
        [f"*.{MAJOR}.event.>", f"inbound-refused.{MAJOR}.>", f"notifications.{MAJOR}.delivery.>"],
        [f"inbound-refused.{MAJOR}.{principal}", f"notifications.{MAJOR}.delivery.{principal}.>"],
    ]


def _content(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")


def new_id() -> str:
    """An id for a message."""
    return str(uuid_utils.uuid7())
