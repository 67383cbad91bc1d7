"""People and programs on a local stack, each with credentials of their own: they send, ask and publish."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import uuid_utils
from pydantic import BaseModel

from shared import clock
from shared.broker import Connection, connect, request
from shared.contracts import cloudevent
from shared.contracts.message import Command, Inbound, Query, subject_of
from shared.contracts.platform import Done, Reply
from shared.identity import Keys, write_creds
from shared.refusal import Refusal

ANSWER_WITHIN = 20.0
PATIENCE = 20.0
"""Seconds to wait for something that happens by itself."""

Answer = TypeVar("Answer", bound=BaseModel)


class WentOtherwise(Exception):
    """Something went otherwise than whoever asked for it had reason to expect; the message says what."""


def new_id() -> str:
    """An id for a message, or for a person nobody knows."""
    return str(uuid_utils.uuid7())


class People:
    """Principals connected to the stack in a directory; ``url`` has all addresses of NATS, separated by commas."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url
        self._keys = Keys.load(directory / "keys")
        self._people: dict[str, Connection] = {}

    async def enter(self, principal: str, role: str = "member") -> Connection:
        """Gives somebody credentials and connects them; whoever is there already stays as they are."""
        if principal not in self._people:
            creds = self.credentials(principal)
            write_creds(creds, self._keys.issue(role, principal))
            self._people[principal] = await connect(self.url.split(","), creds, patience=ANSWER_WITHIN)
        return self._people[principal]

    async def leave(self) -> None:
        """Everybody goes."""
        await asyncio.gather(*(connection.close() for connection in self._people.values()))

    def credentials(self, principal: str) -> Path:
        """Where the credentials of a principal lie."""
        return self.directory / "creds" / f"{principal}.creds"

    def connection(self, principal: str) -> Connection:
        """The connection of somebody who has entered."""
        return self._people[principal]

    # ---- commands and queries ------------------------------------------------------------------------------------

    async def tell(self, principal: str, command: Command) -> Done:
        """Sends a command that is to be carried out."""
        reply = await self.send(principal, command)
        if reply.done is None:
            raise WentOtherwise(f"{command.wire.name} by {principal}: {_why_not(reply)}")
        return reply.done

    async def make(self, principal: str, command: Command) -> str:
        """Sends a command that makes something; the id of what it made."""
        done = await self.tell(principal, command)
        if done.id is None:
            raise WentOtherwise(f"{command.wire.name} by {principal} made nothing")
        return done.id

    async def try_in_vain(self, principal: str, message: Command | Query[Any]) -> Refusal:
        """Sends a command or query that a rule refuses."""
        reply = await self.send(principal, message)
        if reply.refusal is None:
            raise WentOtherwise(f"{message.wire.name} by {principal} was not refused: {reply.outcome}")
        return reply.refusal

    async def ask(self, principal: str, query: Query[Answer], service: str | None = None) -> Answer:
        """Sends a query; its answer. ``service`` says whom, for a query that every service hears."""
        reply = await self.send(principal, query, service=service)
        if reply.answer is None:
            raise WentOtherwise(f"{query.wire.name} by {principal}: {_why_not(reply)}")
        return type(query).result().model_validate(reply.answer)  # type: ignore[return-value]

    async def send(
        self, principal: str, message: Command | Query[Any], *, service: str | None = None, id: str | None = None
    ) -> Reply:
        """Sends a command or query; the reply, whatever it says. The same ``id`` repeats the same command."""
        payload = cloudevent.write(message, id=id or new_id(), source=f"/{principal}", time=clock.now())
        subject = subject_of(type(message), principal, service)
        return await self.send_bytes(principal, subject, payload, cloudevent.STRUCTURED_HEADERS)

    async def send_bytes(self, principal: str, subject: str, payload: bytes, headers: Mapping[str, str]) -> Reply:
        """Sends a request as it stands, right or wrong."""
        answer = await request(self._people[principal], subject, payload, dict(headers), timeout=ANSWER_WITHIN)
        return Reply.model_validate_json(answer.data)

    # ---- inbound messages ----------------------------------------------------------------------------------------

    async def publish(self, publisher: str, message: Inbound, *, id: str | None = None) -> int:
        """Publishes an inbound message; its place in the stream."""
        payload = cloudevent.write(message, id=id or new_id(), source=f"/{publisher}", time=clock.now())
        subject = subject_of(type(message), publisher)
        return await self.publish_bytes(publisher, subject, payload, cloudevent.STRUCTURED_HEADERS)

    async def publish_bytes(self, publisher: str, subject: str, payload: bytes, headers: Mapping[str, str]) -> int:
        """Publishes to a stream as it stands, right or wrong; its place in the stream."""
        answer = await request(self._people[publisher], subject, payload, dict(headers), timeout=ANSWER_WITHIN)
        kept = json.loads(answer.data)
        if error := kept.get("error"):
            raise WentOtherwise(f"the stream did not keep what {publisher} published on {subject}: {error}")
        return int(kept["seq"])

    # ---- waiting -------------------------------------------------------------------------------------------------

    async def until(self, what: str, holds: Callable[[], Awaitable[bool]]) -> None:
        """Waits for something the services do by themselves, from each other's events."""
        give_up_at = clock.now() + timedelta(seconds=PATIENCE)
        while not await holds():
            if clock.now() > give_up_at:
                raise WentOtherwise(f"waited {PATIENCE:.0f} s in vain until {what}")
            await asyncio.sleep(0.05)


def _why_not(reply: Reply) -> str:
    if reply.refusal:
        return f"{reply.refusal.code}: {reply.refusal.sentence}"
    return reply.failure.sentence if reply.failure else reply.outcome
