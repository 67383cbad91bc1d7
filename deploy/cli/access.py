"""``concord access``: credentials for people and programs."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli import options
from deploy.cli.options import AsJson, Data, RoleName
from deploy.cli.output import Complaint, complaining, finish, say
from deploy.cli.stack import not_running
from shared.contracts.platform import Reply
from shared.identity import IdentityError, Keys, write_creds

group = typer.Typer(help="Give people and programs access.", no_args_is_help=True)


@group.callback()
def access() -> None:
    """Give people and programs access."""


@group.command()
@complaining
def issue(
    name: Annotated[str, typer.Argument(help="The principal: the word that stands for it in subjects.")],
    role: Annotated[RoleName, typer.Option("--role", help="What it may do; the server enforces it.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write; DIR/creds/NAME.creds if not given.")
    ] = None,
    data: Data = options.DATA,
    as_json: AsJson = False,
) -> None:
    """Issue credentials to a principal in a role: a file that holds its key, and is all it needs.

    Issued again, the earlier credentials go on being valid.
    """
    if not (data / "keys").is_dir():
        raise not_running(data)
    file = out or data / "creds" / f"{name}.creds"
    try:
        write_creds(file, Keys.load(data / "keys").issue(role, name))
    except IdentityError as error:
        raise Complaint(str(error)) from None
    except OSError as error:
        raise Complaint(f"{file} cannot be written: {error.strerror}.") from None
    if as_json:
        raise finish(
            Reply(outcome="answered", answer={"principal": name, "role": role, "file": str(file)}), as_json=True
        )
    say(f"{name} may connect as {role} with {file}.")
