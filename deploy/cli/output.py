"""How the command line speaks: tables and sentences for people, one JSON document for programs, and an exit code.

What was asked for goes to standard output, everything else to standard error. Nothing is coloured or animated unless a
terminal reads it, and lines are not folded in a pipe.
"""

import functools
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import typer
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from shared.contracts.cloudevent import what_is_wrong
from shared.contracts.platform import Done, Failure, Reply
from shared.refusal import Refusal

DONE, FAILED, REFUSED = 0, 1, 3  # 2 is a wrong use of the command line, found by typer
EXIT_CODES = {"done": DONE, "answered": DONE, "refused": REFUSED, "failed": FAILED}
MAX_PROBLEMS = 20
"""Lines of a long refusal (a file of the wrong kind); a program gets them all."""
WIDTH_IN_A_PIPE = 10_000

COLUMNS_TO_FOLD = 3
"""A table of more columns that is too wide for its terminal is shown as blocks instead."""
EMPTY: tuple[Any, ...] = (None, [], {})

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Complaint(Exception):
    """Something that can be expected to go wrong; its message is a whole sentence for whoever typed the command."""

    @property
    def reply(self) -> Reply:
        return Reply(outcome="failed", failure=Failure(sentence=str(self)))


class NotAllowed(Complaint):
    """The NATS server does not let these credentials do it."""

    @property
    def reply(self) -> Reply:
        sentence = f"{self} The role of these credentials decides that; --as names others."
        return Reply(outcome="refused", refusal=Refusal(code="not-permitted", sentence=sentence))


def complaining(command: Callable[Given, Result]) -> Callable[Given, Result]:
    """Turns a ``Complaint`` of a command into its sentence, or with ``--json`` into a reply, and an exit code."""

    @functools.wraps(command)
    def run(*args: Given.args, **given: Given.kwargs) -> Result:
        try:
            return command(*args, **given)
        except Complaint as complaint:
            raise finish(complaint.reply, as_json=bool(given.get("as_json"))) from None

    return run


class CommandLine(TyperGroup):
    """The whole command line. With ``--json`` it says in a reply too that it was used wrongly; exit code 2."""

    def main(self, args: Sequence[str] | None = None, *positional: Any, **named: Any) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        if "--json" not in given:
            return super().main(given, *positional, **named)
        try:
            sys.exit(super().main(given, *positional, **{**named, "standalone_mode": False}))
        except typer.TyperException as wrong:
            show_json(Reply(outcome="failed", failure=Failure(sentence=wrong.format_message())).model_dump(mode="json"))
            sys.exit(wrong.exit_code)


def finish(reply: Reply, *, as_json: bool, done: str = "") -> typer.Exit:
    """Shows a reply, and answers with the exit to raise. ``done`` is what to say instead of its events."""
    if as_json:
        show_json(reply.model_dump(mode="json"))
    elif reply.refusal is not None:
        _show_refusal(reply.refusal)
    elif reply.failure is not None:
        complain(reply.failure.sentence)
    elif reply.done is not None:
        say(done or _done_in_words(reply.done))
    else:
        show(reply.answer)
    return typer.Exit(EXIT_CODES[reply.outcome])


def show_json(document: Any) -> None:
    """Writes one JSON document."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def say(sentence: str, style: str = "") -> None:
    """Writes a line to standard output."""
    screen().print(Text(sentence, style=style))


def complain(sentence: str) -> None:
    """Writes what went wrong to standard error."""
    screen(to_error=True).print(Text(sentence, style="red"))


def note(sentence: str) -> None:
    """Writes a remark to standard error."""
    screen(to_error=True).print(Text(sentence, style="dim"))


def log_from(level: int) -> None:
    """Writes log lines of this level and above to standard error."""
    import structlog  # noqa: PLC0415  help need not wait for it

    structlog.configure(
        processors=[
            structlog.processors.TimeStamper(fmt="%H:%M:%S"),
            structlog.processors.add_log_level,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@contextmanager
def working(on: str) -> Iterator[None]:
    """Shows on a terminal that something long is under way; shows nothing in a pipe."""
    console = screen(to_error=True)
    if console.is_terminal:
        with console.status(Text(on)):
            yield
    else:
        yield


def screen(*, to_error: bool = False) -> Console:
    """The console of standard output or standard error, as these are now."""
    stream = sys.stderr if to_error else sys.stdout
    width = None if stream.isatty() else WIDTH_IN_A_PIPE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def show(value: Any, console: Console | None = None, title: str = "") -> None:
    """Shows any plain data: fields as lines, lists of objects as tables, or as blocks where a table would not fit."""
    console = console or screen()
    if title:
        console.print(Text(title, style="bold"))
    if isinstance(value, dict):
        _show_fields(value, console)
    elif isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        _show_rows(value, console)
    elif isinstance(value, list):
        for part in value:
            console.print(Text(cell(part)))
        if not value:
            console.print(Text("none", style="dim"))
    else:
        console.print(Text(cell(value)))


def _show_fields(fields: dict[str, Any], console: Console) -> None:
    parts = {name: part for name, part in fields.items() if _is_deep(part)}
    grid = Table.grid(padding=(0, 2))
    for name, part in fields.items():
        if name not in parts:
            grid.add_row(Text(_heading(name), style="dim"), Text(cell(part), overflow="fold"))
    if grid.row_count:
        _put(grid, console)
    for name, part in parts.items():
        show(part, console, _heading(name))


def _show_rows(rows: list[dict[str, Any]], console: Console) -> None:
    # What no row has to say is left out: a column of dashes tells nobody anything.
    names = list(dict.fromkeys(name for row in rows for name, part in row.items() if part not in EMPTY))
    if any(isinstance(part, list) and part and isinstance(part[0], dict) for row in rows for part in row.values()):
        _show_blocks(rows, names, console)  # a table within a cell could not be read
        return
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    cells = {name: [cell(row.get(name)) for row in rows] for name in names}
    for name in names:
        # Ids and the like stay whole for as long as there is prose that can be folded instead.
        table.add_column(_heading(name), overflow="fold", no_wrap=not any(" " in text for text in cells[name]))
    for line in zip(*cells.values(), strict=True):
        table.add_row(*map(Text, line))
    needed = Measurement.get(console, console.options.update(width=WIDTH_IN_A_PIPE), table).maximum
    if needed <= console.width or len(names) <= COLUMNS_TO_FOLD:
        _put(table, console)
        return
    _show_blocks(rows, names, console)


def _show_blocks(rows: list[dict[str, Any]], names: list[str], console: Console) -> None:
    for row in rows:
        _show_fields({name: part for name, part in row.items() if name in names}, console)
        console.print()


def _put(table: Table, console: Console) -> None:
    """Prints a table; in a pipe without the blanks that fill its lines up to the longest."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as written:
        console.print(table)
    console.file.write("".join(f"{line.rstrip()}\n" for line in written.get().splitlines()))


def _is_deep(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(part, dict | list) for part in parts) or (isinstance(value, dict) and len(value) > 3)


def cell(value: Any) -> str:
    """Any plain value in one line of text."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{_heading(name)}: {cell(part)}" for name, part in value.items()) or "—"
    if isinstance(value, list):
        return ("; " if any(isinstance(part, dict) for part in value) else ", ").join(map(cell, value)) or "none"
    return str(value)


def _heading(name: str) -> str:
    return name.replace("_", " ")


def _done_in_words(done: Done) -> str:
    counts = ", ".join(f"{count} {_heading(name)}" for name, count in done.counts.items())
    events = ", ".join(done.events[:3]) + (" …" if len(done.events) > 3 else "")
    told = "; ".join(part for part in (counts, events) if part) or "nothing had to change"
    return f"Done: {told}." + (f" Its id is {done.id}." if done.id else "")


def _show_refusal(refusal: Refusal) -> None:
    console = screen(to_error=True)
    console.print(Text.assemble(("Refused: ", "yellow"), refusal.sentence, (f" ({refusal.code})", "dim")))
    _, *more = refusal.data.get("problems") or [None]
    for problem in more[:MAX_PROBLEMS]:
        console.print(Text(f"  {_problem(problem)}"))
    if len(more) > MAX_PROBLEMS:
        console.print(Text(f"  … and {len(more) - MAX_PROBLEMS} more; --json lists them.", style="dim"))


def _problem(problem: dict[str, Any]) -> str:
    """One of several problems: as the contracts tell them, or a refusal of its own (a row of a file)."""
    if "sentence" in problem:
        return str(problem["sentence"])
    return f"{problem['field']} {what_is_wrong(problem)}"
