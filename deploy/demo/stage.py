"""What the demonstration stands on: a local stack, a connection for each of its people, and a way to tell the tale."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import uuid_utils
from nats.aio.msg import Msg
from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from shared import clock
from shared.broker import Connection, connect, request
from shared.contracts import cloudevent
from shared.contracts.message import Command, Query, subject_of
from shared.contracts.notifications import Notice, delivery_subject
from shared.contracts.platform import Done, Reply
from shared.identity import Keys, write_creds
from shared.refusal import Refusal

ANSWER_WITHIN = 20.0
PATIENCE = 20.0
"""Seconds the tale waits for something that happens by itself."""

Answer = TypeVar("Answer", bound=BaseModel)


class DemonstrationFailed(Exception):
    """Something went otherwise than the tale has it; the message says what."""


class Stage:
    """The people of the demonstration, each with credentials of their own, and what the audience sees."""

    def __init__(self, directory: Path, url: str, console: Console) -> None:
        self._directory = directory
        self._url = url
        self._keys = Keys.load(directory / "keys")
        self._people: dict[str, Connection] = {}
        self._notices: list[Notice] = []
        self.console = console

    async def enter(self, principal: str, role: str = "member") -> None:
        """Gives somebody credentials and connects them."""
        creds = self._directory / "creds" / f"{principal}.creds"
        write_creds(creds, self._keys.issue(role, principal))
        self._people[principal] = await connect([self._url], creds, patience=ANSWER_WITHIN)

    async def leave(self) -> None:
        """Everybody goes."""
        await asyncio.gather(*(connection.close() for connection in self._people.values()))

    # ---- doing ---------------------------------------------------------------------------------------------------

    async def tell(self, principal: str, command: Command) -> Done:
        """Sends a command that is to be carried out."""
        reply = await self._ask(principal, command)
        if reply.done is None:
            raise DemonstrationFailed(f"{command.wire.name} by {principal}: {_why_not(reply)}")
        return reply.done

    async def make(self, principal: str, command: Command) -> str:
        """Sends a command that makes something; the id of what it made."""
        done = await self.tell(principal, command)
        if done.id is None:
            raise DemonstrationFailed(f"{command.wire.name} by {principal} made nothing")
        return done.id

    async def try_in_vain(self, principal: str, command: Command) -> Refusal:
        """Sends a command that a rule refuses."""
        reply = await self._ask(principal, command)
        if reply.refusal is None:
            raise DemonstrationFailed(f"{command.wire.name} by {principal} was not refused: {reply.outcome}")
        return reply.refusal

    async def ask(self, principal: str, query: Query[Answer]) -> Answer:
        """Sends a query; its answer."""
        reply = await self._ask(principal, query)
        if reply.answer is None:
            raise DemonstrationFailed(f"{query.wire.name} by {principal}: {_why_not(reply)}")
        return type(query).result().model_validate(reply.answer)  # type: ignore[return-value]

    async def _ask(self, principal: str, message: Command | Query[Any]) -> Reply:
        payload = cloudevent.write(
            message, id=str(uuid_utils.uuid7()), source=f"/{principal}", time=clock.now()
        )
        subject = subject_of(type(message), principal)
        headers = dict(cloudevent.STRUCTURED_HEADERS)
        answer = await request(self._people[principal], subject, payload, headers, timeout=ANSWER_WITHIN)
        return Reply.model_validate_json(answer.data)

    async def until(self, what: str, holds: Callable[[], Awaitable[bool]]) -> None:
        """Waits for something the services do by themselves, from each other's events."""
        give_up_at = clock.now() + timedelta(seconds=PATIENCE)
        while not await holds():
            if clock.now() > give_up_at:
                raise DemonstrationFailed(f"waited {PATIENCE:.0f} s in vain until {what}")
            await asyncio.sleep(0.05)

    # ---- showing -------------------------------------------------------------------------------------------------

    async def listen(self, subscriber: str) -> None:
        """Shows every notice that reaches a subscriber, as it comes."""

        async def show(message: Msg) -> None:
            envelope = cloudevent.read(message.headers, message.data)
            notice = cloudevent.parse(envelope, Notice) if isinstance(envelope, cloudevent.Envelope) else envelope
            if isinstance(notice, Refusal):
                raise DemonstrationFailed(f"a notice cannot be read: {notice.sentence}")
            self._notices.append(notice)
            self.console.print(f"  [cyan]✉ {subscriber}[/]  [dim]{escape(notice.sentence)}[/]", soft_wrap=True)

        await self._people[subscriber].subscribe(delivery_subject(subscriber, "*"), cb=show)
        await self._people[subscriber].flush()

    @property
    def notices(self) -> Sequence[Notice]:
        """What has reached subscribers so far."""
        return tuple(self._notices)

    def chapter(self, number: int, title: str) -> None:
        """Begins a part of the tale."""
        self.console.print()
        self.console.rule(f"[bold]{number}. {title}[/]", align="left", style="blue")

    def say(self, sentence: str) -> None:
        """A sentence to the audience."""
        self.console.print(Padding(sentence, (0, 0, 0, 0)))

    def show_refusal(self, what: str, refusal: Refusal) -> None:
        """What was tried, and why a rule said no."""
        self.console.print(f"{what}")
        self.console.print(f"  [yellow]✗ refused ({refusal.code}):[/] {escape(refusal.sentence)}")

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> None:
        """A small table; ``numbers`` are the columns to align right."""
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for index, heading in enumerate(headings):
            table.add_column(heading, justify="right" if index in numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self.console.print(Padding(table, (0, 0, 0, 2)))


def _why_not(reply: Reply) -> str:
    if reply.refusal:
        return f"{reply.refusal.code}: {reply.refusal.sentence}"
    return reply.failure.sentence if reply.failure else reply.outcome
