"""``concord top``: how every replica of every service is, as it changes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy.cli import options
from deploy.cli.options import AsJson, Data
from deploy.cli.output import complaining, screen, working
from shared.contracts.platform import Reply
from shared.identity import SERVICES

LATE = 60
"""Seconds after which an event that is not sent, or a timer that has not struck, is red, as alerts have it too."""


@complaining
def top(
    once: Annotated[
        bool, typer.Option("--once", help="Show one picture and end; it takes two looks, a second apart.")
    ] = False,
    data: Data = options.DATA,
    principal: options.As = options.AS,
    as_json: AsJson = False,
) -> None:
    """Show how every replica of every service is, anew each second, until q or Ctrl-C.

    state: ready if it commits, its events get out and NATS is there.

    handled/s, published/s: messages since the last look.

    lag: messages that wait for it in streams.

    oldest unsent: how long an event has waited to get into its stream.

    dead: messages that could not be handled (`concord dead-letters list`).

    to deliver: notifications on their way.

    timers late: how long a deadline has been due.

    Below the table stands why one is not ready, and what else is undone.
    Replicas of a service share a store, so that only their state, handled/s
    and published/s differ. In a pipe each picture is a plain table, and with
    --json a line of its own.
    """
    from deploy.cli import roll_call, wire  # noqa: PLC0415  help need not wait for what speaks to NATS

    console = screen()
    lively = console.is_terminal and not (once or as_json)

    async def run(nc: Any) -> None:
        first = True
        async with aclosing(roll_call.looks(nc, SERVICES)) as pictures:
            with Live(console=console, screen=True, auto_refresh=False) if lively else working("Looking twice") as live:
                async for rows in pictures:
                    if isinstance(live, Live):
                        live.update(Group(_heading(), picture(rows)), refresh=True)
                    elif not (once and first):
                        _write(rows, console, as_json=as_json)
                        if once:
                            return
                    first = False

    wire.on_stack(data, principal, run)


def _write(rows: list[dict[str, Any]], console: Console, *, as_json: bool) -> None:
    if as_json:
        typer.echo(Reply(outcome="answered", answer=rows).model_dump_json())
    else:
        console.print(picture(rows))


def _heading() -> Text:
    at = datetime.now().astimezone().strftime("%H:%M:%S")
    return Text.assemble(("Concord", "bold"), f" at {at}, anew each second; ", ("q", "bold"), " leaves")


def picture(rows: Sequence[dict[str, Any]]) -> Group:
    """A table with a line for each replica, and in sentences below it what keeps whom from what."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0))
    shown: list[Callable[[dict[str, Any]], Text]] = []
    services = [row["service"] for row in rows]
    for name, show in COLUMNS.items():
        cells = [str(show(row)) for row in rows]
        # Nobody looks for the name of a replica that is the only one, or for a column of dashes.
        if (name == "replica" and len(set(services)) == len(services)) or set(cells) == {UNKNOWN}:
            continue
        table.add_column(name, justify="left" if name in ON_THE_LEFT else "right", no_wrap=True)
        shown.append(show)
    for row in rows:
        table.add_row(*(show(row) for show in shown))
    said = dict.fromkeys(sentence for row in rows for sentence in _sentences(row))
    return Group(table, *map(Text, said))


def _sentences(row: dict[str, Any]) -> Iterator[str]:
    service = row["service"]
    yield from (f"{' '.join(filter(None, (service, _short(row))))}: {reason}" for reason in row["reasons"])
    for name, what in IN_SENTENCES.items():
        figure = row.get(name, 0)
        for of, count in figure.items() if isinstance(figure, dict) else (("", figure),):
            if count:
                yield f"{service} has {what.format(count=count, of=of)}"


def _short(row: dict[str, Any]) -> str:
    """The end of a replica's id: its beginning is the moment of its start, which replicas may share."""
    return str(row.get("replica", ""))[-4:]


def _state(row: dict[str, Any]) -> Text:
    return Text("ready", style="green") if row["ready"] else Text("unready", style="bold red")


def _number(name: str, *, bad: bool = False) -> Callable[[dict[str, Any]], Text]:
    """Shows a figure, or of several their sum; in red above 0 where that is ``bad``."""

    def show(row: dict[str, Any]) -> Text:
        value = row.get(name)
        if isinstance(value, dict):
            value = sum(value.values())
        return Text(UNKNOWN if value is None else f"{value:g}", style="bold red" if bad and value else "")

    return show


def _age(name: str) -> Callable[[dict[str, Any]], Text]:
    def show(row: dict[str, Any]) -> Text:
        seconds = row.get(name)
        if seconds is None:
            return Text(UNKNOWN)
        unit, size = next((unit, size) for unit, size in UNITS.items() if seconds >= size or size == 1)
        return Text(f"{seconds / size:.0f} {unit}", style="bold red" if seconds > LATE else "")

    return show


UNKNOWN = "—"
UNITS = {"d": 86400, "h": 3600, "min": 60, "s": 1}
ON_THE_LEFT = ("service", "replica", "state")
COLUMNS: dict[str, Callable[[dict[str, Any]], Text]] = {
    "service": lambda row: Text(row["service"]),
    "replica": lambda row: Text(_short(row) or UNKNOWN),
    "state": _state,
    "handled\n/s": _number("handled_per_second"),
    "published\n/s": _number("published_per_second"),
    "lag": _number("lag"),
    "oldest\nunsent": _age("oldest_unsent_seconds"),
    "dead": _number("dead_letters", bad=True),
    "to\ndeliver": _number("deliveries_waiting"),
    "timers\nlate": _age("timers_overdue_seconds"),
}
IN_SENTENCES = {
    "lag": "{count} messages of {of} before it",
    "unsent_events": "{count} events that are not in their stream yet",
    "waiting_events": "{count} events of other services that wait for one before them",
    "deliveries_waiting": "{count} notifications to deliver by {of}",
    "tasks_waiting": "{count} long computations or deliveries under way",
}
"""What is said below the table, where there is any; by the fields of ``ServiceHealth``."""
