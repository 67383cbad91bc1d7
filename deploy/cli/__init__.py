"""The command line ``concord``: one file for each group of commands."""

from importlib.metadata import version
from typing import Annotated

import typer

from deploy.cli import (
    access,
    dead_letters,
    demonstration,
    imports,
    keeping,
    messages,
    operating,
    preparing,
    published,
    running,
    top,
    watching,
)
from deploy.cli.output import CommandLine

app = typer.Typer(
    name="concord",
    cls=CommandLine,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("concord"))
        raise typer.Exit


@app.callback()
def concord(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version, and exit.")
    ] = False,
) -> None:
    """Run and use Concord, the platform for a network of staff mental-health and wellbeing networks."""


app.command()(running.up)
app.command()(demonstration.demo)
app.command()(preparing.init)
app.command()(operating.status)
app.command()(top.top)
for _name, _group in messages.groups().items():
    app.add_typer(_group, name=_name)
app.command()(watching.watch)
app.add_typer(imports.group, name="import")
app.add_typer(dead_letters.group, name="dead-letters")
app.command()(operating.reconcile)
app.command()(keeping.backup)
app.command()(keeping.restore)
app.command()(keeping.upgrade_check)
app.add_typer(access.group, name="access")
app.add_typer(published.group, name="contracts")
