"""What the demonstration stands on: a local stack, a connection for each of its people, and a way to tell the tale."""

from collections.abc import Sequence
from pathlib import Path

from nats.aio.msg import Msg
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from deploy.people import People, WentOtherwise
from shared.contracts import cloudevent
from shared.contracts.message import Event
from shared.contracts.notifications import Notice, delivery_subject
from shared.refusal import Refusal


class DemonstrationFailed(WentOtherwise):
    """Something went otherwise than the tale has it; the message says what."""


class Stage(People):
    """The people of the demonstration, each with credentials of their own, and what the audience sees."""

    def __init__(self, directory: Path, url: str, console: Console) -> None:
        super().__init__(directory, url)
        self._notices: list[Notice] = []
        self.console = console

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

        await self.connection(subscriber).subscribe(delivery_subject(subscriber, "*"), cb=show)
        await self.connection(subscriber).flush()

    async def until_heard(self, event: type[Event], times: int = 1) -> None:
        """Waits until a subscriber was told so often of an event, so that the tale and the notices go together."""

        async def heard() -> bool:
            return sum(notice.event == event.wire.type for notice in self._notices) >= times

        await self.until(f"a subscriber has heard of {event.wire.name}", heard)

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
        self.console.print(sentence)

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
