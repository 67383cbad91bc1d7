"""``concord access``: credentials for people and programs."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli import options
from deploy.cli.options import AsJson, Data, RoleName
from deploy.cli.output import Complaint, complaining, finish, say
from deploy.cli.stack import not_reached
from shared.contracts.platform import Reply
from shared.identity import IdentityError, Keys, write_creds
from shared.refusal import Refusal

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

    Issued again, the earlier credentials go on being valid. A principal has one role.
    """
    if not (data / "keys").is_dir():
        raise not_reached(data)
    own = data / "creds" / f"{name}.creds"
    file = out or own
    try:
        keys = Keys.load(data / "keys")
    except IdentityError as error:
        raise Complaint(str(error)) from None
    try:
        creds = keys.issue(role, name)
    except IdentityError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
    try:
        for kept in (own, file):
            if kept.exists() and (held := keys.holder(kept.read_text(errors="replace"))) != (name, role):
                raise finish(Reply(outcome="refused", refusal=_kept(kept, held, name, role)), as_json=as_json)
        write_creds(file, creds)
    except OSError as error:
        raise Complaint(f"{file} cannot be written: {error.strerror}.") from None
    if as_json:
        raise finish(
            Reply(outcome="answered", answer={"principal": name, "role": role, "file": str(file)}), as_json=True
        )
    say(f"{name} may connect as {role} with {file}.")


def _kept(file: Path, held: tuple[str, str] | None, name: str, role: str) -> Refusal:
    """Why credentials are not issued beside, or in place of, what is in a file."""
    what = f"credentials of {held[0]} as {held[1]}" if held else "no credentials of this platform"
    if held and held[0] == name:
        way_out = f"A principal has one role: issue {role} to another name, or delete that file first."
    else:
        way_out = "It is not overwritten: name another file with --out, or move it away first."
    return Refusal(code="credentials-in-the-way", sentence=f"{file} holds {what}. {way_out}", data={"file": str(file)})
