"""``concord up``: the local stack in the foreground."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deploy.cli import options
from deploy.cli.options import AsJson, Data
from deploy.cli.output import Complaint, complaining, log_from, note, say, show_json, working
from shared.contracts.platform import Reply

if TYPE_CHECKING:
    from deploy.local_stack import LocalStack


INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended."""


@complaining
def up(data: Data = options.DATA, as_json: AsJson = False) -> None:
    """Run the local stack until Ctrl-C: NATS and the four services, all their data in DIR.

    A service that dies is started again. The credentials of the operator are in DIR/creds.
    """
    import asyncio  # noqa: PLC0415  help need not wait for it

    from deploy.local_stack import LocalStack, StackError  # noqa: PLC0415  as above

    log_from(logging.WARNING)
    if data.is_dir() and any(data.iterdir()) and not any((data / ours).exists() for ours in ("keys", "stack.json")):
        note(f"{data.resolve()} is not empty, and no stack has run there yet: its files are put beside the others.")
    stack = LocalStack(data)
    try:
        asyncio.run(_run(stack, as_json=as_json))
    except StackError as error:
        raise Complaint(str(error)) from None
    except KeyboardInterrupt:
        note("Interrupted before it was ready; everything is stopped.")
        raise typer.Exit(INTERRUPTED) from None


async def _run(stack: "LocalStack", *, as_json: bool) -> None:
    with working("Starting NATS and the services"):
        await stack.start()
        try:
            await stack.ready()
        except BaseException:
            await stack.stop()
            raise
    await stack.run_until_stopped(lambda: _tell(stack.url, stack.directory, as_json=as_json))
    note("Stopped.")


def _tell(url: str, directory: Path, *, as_json: bool) -> None:
    if as_json:
        answer = {"url": url, "directory": str(directory)}
        show_json(Reply(outcome="answered", answer=answer).model_dump(mode="json"))
    else:
        say(f"Concord is ready at {url}, its data in {directory}. Ctrl-C stops it.")
