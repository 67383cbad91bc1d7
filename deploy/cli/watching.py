"""``concord watch``: what happens, as it happens."""

import json
import re
from typing import Annotated, Any

import typer
from rich.text import Text

from deploy.cli import options
from deploy.cli.options import Data
from deploy.cli.output import EMPTY, cell, complaining, note, screen

# Words between dots, each of which may be *, the last one also >.
_SUBJECT = re.compile(r"(?:(?:\*|[^\s.*>]+)\.)*(?:>|\*|[^\s.*>]+)")


def _subject(given: str | None) -> str | None:
    if given is not None and not _SUBJECT.fullmatch(given):
        raise typer.BadParameter(
            f"{given!r} is not a NATS subject: words with dots between them, in place of a word *, and of the last >."
        )
    return given


@complaining
def watch(
    subject: Annotated[
        str | None,
        typer.Argument(
            callback=_subject, help="A NATS subject, * and > as wildcards. All that may be read if not given."
        ),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="Stop after so many messages.")] = None,
    data: Data = options.DATA,
    principal: options.As = options.AS,
    as_json: Annotated[
        bool,
        typer.Option("--json", rich_help_panel=options.COMMON, help="Write each message as JSON, a line of its own."),
    ] = False,
) -> None:
    """Show events, deliveries and refusals as they come, until Ctrl-C."""
    from deploy.cli import wire  # noqa: PLC0415  help need not wait for what speaks to NATS

    def ready(subjects: list[str]) -> None:
        note(f"Watching {', '.join(subjects)}. Ctrl-C stops.")

    def hear_of_connection(connected: bool) -> None:
        note("Connected again." if connected else "The connection to NATS is lost; until it is back nothing is shown.")

    hear = _as_json if as_json else _as_text
    wire.watch(data, principal, subject, hear=hear, ready=ready, hear_of_connection=hear_of_connection, count=count)


def _as_json(subject: str, content: Any) -> None:
    typer.echo(json.dumps({"subject": subject, "message": content}, ensure_ascii=False))


def _as_text(subject: str, content: Any) -> None:
    is_event = isinstance(content, dict) and isinstance(content.get("data"), dict)
    time = str(content.get("time", ""))[11:19] if is_event else ""
    told = content["data"] if is_event else content
    begin = ((time.ljust(8), "dim"), "  ", (subject, "bold"), "  ")
    if isinstance(told, dict) and "sentence" in told:  # a notice is read to its end
        screen().print(Text.assemble(*begin, told["sentence"], "  ", (" ".join(told.get("why", ())), "dim")))
        return
    if isinstance(told, dict):
        told = {name: value for name, value in told.items() if value not in EMPTY}
    screen().print(Text.assemble(*begin, cell(told)), no_wrap=True, overflow="ellipsis")
