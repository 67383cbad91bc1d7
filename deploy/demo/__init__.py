"""The demonstration: a cross-government network is founded, decides, plans its meetings and looks at its wellbeing."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from deploy.demo.stage import DemonstrationFailed, Stage
from deploy.demo.tale import Tale
from deploy.local_stack import LocalStack
from deploy.pages import certificate, standing
from shared.contracts import events

__all__ = ["DemonstrationFailed", "Performed", "perform"]


@dataclass(frozen=True)
class Performed:
    """A demonstration that came to its end: how long it took, the notices the news desk heard, and what was written."""

    seconds: float
    notices: int
    written: list[Path]


def perform(console: Console, data: Path | None = None, report: Path | None = None) -> Performed:
    """Starts a stack of its own, tells the tale and stops. Raises ``DemonstrationFailed`` or ``StackError``.

    ``data`` keeps the stack's data there, for a look afterwards with ``concord up --data``. ``report`` gets the meeting
    certificate, the calendar file and the standing of one body.
    """
    with _directory(data) as directory:
        return asyncio.run(_perform(console, directory, report))


async def _perform(console: Console, directory: Path, report: Path | None) -> Performed:
    began = time.monotonic()
    stack = LocalStack(directory)
    console.print("Starting NATS and the four services, each a process with a store of its own …")
    await stack.start()
    try:
        await stack.ready()
        console.print(f"Ready after {time.monotonic() - began:.1f} s.")
        stage = Stage(directory, stack.url, console)
        try:
            tale = Tale(stage)
            await tale.tell()
            seconds = time.monotonic() - began
            console.print()
            console.print(
                f"[bold]That was Concord in {seconds:.0f} s:[/] {len(stage.notices)} notices reached "
                "the news desk, each saying why, none with anything sensitive in it."
            )
            written = await _report(stage, tale, report) if report is not None else []
            for path in written:
                console.print(f"  written: {path}", soft_wrap=True)
        finally:
            await stage.leave()
    finally:
        await stack.stop()
    console.print("[dim]Everything is stopped.[/]")
    return Performed(seconds, len(stage.notices), written)


async def _report(stage: Stage, tale: Tale, directory: Path) -> list[Path]:
    if tale.plan is None or tale.standing is None:
        raise DemonstrationFailed("the tale ended early")
    invitation = await stage.ask("operator", events.CalendarFile(meeting=tale.meeting))
    pages = {
        "meeting-certificate.html": certificate.render(tale.plan),
        invitation.file_name: invitation.text,
        "benchmark-standing.html": standing.render(tale.standing),
    }
    try:
        return await asyncio.to_thread(_write, directory, pages)
    except OSError as error:
        raise DemonstrationFailed(f"{error.filename} cannot be written: {error.strerror}.") from None


def _write(directory: Path, pages: Mapping[str, str]) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in pages.items():
        (directory / name).write_text(content, encoding="utf-8", newline="")
    return [directory / name for name in pages]


@contextlib.contextmanager
def _directory(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="concord-demo-") as directory:
        yield Path(directory)
