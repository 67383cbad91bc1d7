"""Every replica of every service, asked at once how it is."""

import asyncio
import os
import signal
import sys
import termios
import time
import tty
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from nats.aio.msg import Msg
from pydantic import ValidationError

from deploy.cli.wire import new_id
from shared import clock
from shared.broker import Connection, NotPermitted
from shared.contracts import cloudevent
from shared.contracts.message import subject_of
from shared.contracts.platform import HealthOfEach, Reply, ServiceHealth

ANSWER_WITHIN = 2.0
"""Seconds; a service none of whose replicas has answered by then is shown as silent."""
STRAGGLERS = 0.15
"""Seconds that are left, once every service has answered, for the other replicas: nobody knows how many there are."""
EVERY = 1.0
"""Seconds from one look to the next."""
LEAVE = b"q"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Answered:
    """What one replica said, and when by the monotonic clock. Without ``health``, ``sentence`` says why."""

    service: str
    at: float
    health: ServiceHealth | None = None
    sentence: str = ""


@dataclass(frozen=True)
class Look:
    """All that was answered to one question, and those that were silent."""

    answers: Sequence[Answered] = ()

    def rows(self, before: "Look | None" = None) -> list[dict[str, object]]:
        """A row for each replica; messages a second are those since ``before``, ``None`` for one that is new."""
        known = {each.health.replica: each for each in before.answers if each.health} if before else {}
        ordered = sorted(self.answers, key=lambda each: each.health.replica if each.health else "")
        services = dict.fromkeys(each.service for each in self.answers)
        return [_row(each, known) for service in services for each in ordered if each.service == service]


def _row(now: Answered, known: dict[str, Answered]) -> dict[str, object]:
    if now.health is None:
        return {"service": now.service, "ready": False, "reasons": [now.sentence]}
    row: dict[str, object] = now.health.model_dump(exclude={"handled", "published"}, mode="json")
    then = known.get(now.health.replica)
    for name in ("handled", "published"):
        per_second = None
        if then is not None and then.health is not None:
            per_second = round((getattr(now.health, name) - getattr(then.health, name)) / (now.at - then.at), 1)
        row[f"{name}_per_second"] = per_second
    return row


async def look(
    nc: Connection, services: Sequence[str], *, answer_within: float = ANSWER_WITHIN, stragglers: float = STRAGGLERS
) -> Look:
    """Asks everybody once. ``NotPermitted`` if these credentials may not ask."""
    if not nc.is_connected:
        return Look([Answered(service, 0, sentence="there is no connection to NATS") for service in services])
    answers: dict[str, list[Answered]] = {service: [] for service in services}
    everybody = asyncio.Event()

    async def hear(message: Msg) -> None:
        service = message.subject.rsplit(".", 1)[-1]
        answers[service].append(_answered(service, message))
        if all(answers.values()):
            everybody.set()

    inbox = nc.new_inbox()
    subscription = await nc.subscribe(f"{inbox}.*", cb=hear)
    forbidden = asyncio.create_task(nc.forbidden(subject_of(HealthOfEach, nc.principal, services[0])))
    await asyncio.sleep(0)  # so that it waits before the server can answer
    for service in services:
        asked = cloudevent.write(HealthOfEach(), id=new_id(), source=f"/{nc.principal}", time=clock.now())
        subject = subject_of(HealthOfEach, nc.principal, service)
        await nc.publish(subject, asked, reply=f"{inbox}.{service}", headers=dict(cloudevent.STRUCTURED_HEADERS))
    answered = asyncio.create_task(everybody.wait())
    try:
        await asyncio.wait({answered, forbidden}, timeout=answer_within, return_when=asyncio.FIRST_COMPLETED)
        if forbidden.done():
            raise NotPermitted(f"Not permitted: {nc.principal} may not ask the services how they are.")
        await asyncio.sleep(stragglers)
    finally:
        forbidden.cancel()
        answered.cancel()
        await asyncio.gather(forbidden, answered, return_exceptions=True)
        await subscription.unsubscribe()
    for service, said in answers.items():
        if not said:
            said.append(Answered(service, 0, sentence=f"it does not answer within {answer_within:g} s"))
    return Look([each for said in answers.values() for each in said])


def _answered(service: str, message: Msg) -> Answered:
    now = time.monotonic()
    if (message.headers or {}).get("Status") == "503":
        return Answered(service, now, sentence="it is not running")
    try:
        reply = Reply.model_validate_json(message.data)
        if reply.outcome == "answered":
            return Answered(service, now, ServiceHealth.model_validate(reply.answer))
    except ValidationError:
        return Answered(service, now, sentence="it answers with something that is not Concord's")
    said = reply.refusal or reply.failure
    return Answered(service, now, sentence=said.sentence if said else "it does not say how it is")


async def looks(nc: Connection, services: Sequence[str]) -> AsyncGenerator[list[dict[str, object]], None]:
    """A picture each second until Ctrl-C, SIGTERM or the key q; the first knows no messages a second."""
    before = Look()
    with _leaving() as told:
        while now := await _unless(told, look(nc, services)):
            yield now.rows(before)
            before = now
            await _unless(told, asyncio.sleep(EVERY - STRAGGLERS))


async def _unless(told: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Does something; ``None`` at once where somebody wants to leave."""
    doing, leaving = asyncio.ensure_future(work), asyncio.create_task(told.wait())
    await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if told.is_set():
        doing.cancel()
    await asyncio.wait({doing})
    return None if told.is_set() else doing.result()


@contextmanager
def _leaving() -> Iterator[asyncio.Event]:
    """An event that is set once somebody wants to leave. The terminal hands keys over one by one meanwhile."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for each in signals:
        loop.add_signal_handler(each, told.set)
    keys = sys.stdin.fileno() if sys.stdin.isatty() and sys.stdout.isatty() else None
    as_it_was = termios.tcgetattr(keys) if keys is not None else None

    def pressed() -> None:
        typed = os.read(sys.stdin.fileno(), 64)
        if LEAVE in typed or not typed:
            told.set()

    try:
        if keys is not None:
            tty.setcbreak(keys)
            loop.add_reader(keys, pressed)
        yield told
    finally:
        if keys is not None and as_it_was is not None:
            loop.remove_reader(keys)
            termios.tcsetattr(keys, termios.TCSADRAIN, as_it_was)
        for each in signals:
            loop.remove_signal_handler(each)
