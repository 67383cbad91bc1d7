"""``concord demo``: the whole platform at work, told as a tale."""

from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

import typer
from rich.console import Console

from deploy.cli.options import AsJson
from deploy.cli.output import Complaint, complaining, finish, log_from
from shared.contracts.platform import Reply

WIDTH_IN_A_PIPE = 100


@complaining
def demo(
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="DIR",
            file_okay=False,
            help="Also write the meeting certificate, the calendar file and a benchmark standing there.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            file_okay=False,
            help="Keep the data there, for a look later; a directory not used yet.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the whole platform at work on made-up networks of real public bodies; stops by itself within a minute."""
    from deploy import demo as demonstration  # noqa: PLC0415  help need not wait for it
    from deploy.local_stack import StackError  # noqa: PLC0415
    from deploy.people import WentOtherwise  # noqa: PLC0415

    if data is not None and data.exists() and any(data.iterdir()):
        raise typer.BadParameter(f"{data} is not empty; the demonstration starts from nothing.", param_hint="--data")
    if report is not None:
        try:
            report.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=report):
                pass
        except OSError as error:
            raise typer.BadParameter(f"{report} cannot be written: {error.strerror}.", param_hint="--report") from None
    log_from(40)  # errors only: the tale speaks for itself
    console = Console(highlight=False, quiet=as_json)
    if not console.is_terminal:
        console.width = WIDTH_IN_A_PIPE
    try:
        performed = demonstration.perform(console, data, report)
    except (StackError, WentOtherwise) as error:
        raise Complaint(f"The demonstration failed: {error}") from None
    if as_json:
        told = {"seconds": round(performed.seconds, 1), "notices": performed.notices}
        answer = told | {"written": [str(path) for path in performed.written]}
        raise finish(Reply(outcome="answered", answer=answer), as_json=True)
