"""``concord access``: credentials for people and programs."""

import logging
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any

import typer

from deploy.cli import options
from deploy.cli.options import AsJson, Data, RoleName
from deploy.cli.output import Complaint, complaining, finish, log_from, say
from deploy.cli.stack import holder, not_reached, stack_in
from shared.access_register import Credentials
from shared.contracts.platform import Reply
from shared.identity import OPERATOR, AnotherRole, IdentityError, Keys, RegisterUnusable, check_principal, write_creds
from shared.refusal import Refusal

group = typer.Typer(help="Give people and programs access, and take it back.", no_args_is_help=True)


@group.callback()
def access() -> None:
    """Give people and programs access, and take it back."""


@group.command()
@complaining
def issue(
    name: Annotated[str, typer.Argument(help="The principal: the word that stands for it in subjects.")],
    role: Annotated[RoleName, typer.Option("--role", help="What it may do; the server enforces it.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", dir_okay=False, help="Where to write; DIR/creds/NAME.creds if left out."),
    ] = None,
    data: Data = options.DATA,
    as_json: AsJson = False,
) -> None:
    """Issue credentials to a principal in a role: a file that holds its key, and is all it needs.

    Issued again, the earlier credentials go on being valid; `revoke` first, if they are lost. A principal has one role.
    """
    keys, own = _keys(data), data / "creds" / f"{name}.creds"
    file = out or own
    try:
        check_principal(role, name)
        for kept in (own, file):
            if kept.exists() and (held := keys.holder(_text(kept))) != (name, role):
                raise finish(Reply(outcome="refused", refusal=_kept(kept, held, name, role)), as_json=as_json)
        if own.exists():
            keys.take_in(_text(own))  # it may be from before the register, and is replaced
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}."):
            pass  # what could not be handed out would stand in the register
        write_creds(file, keys.issue(role, name))
    except AnotherRole as error:
        raise finish(Reply(outcome="refused", refusal=_has_a_role(error.valid, role)), as_json=as_json) from None
    except RegisterUnusable as error:
        raise Complaint(str(error)) from None
    except IdentityError as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
    except OSError as error:
        raise Complaint(f"{file} cannot be written: {error.strerror}.") from None
    if as_json:
        raise finish(
            Reply(outcome="answered", answer={"principal": name, "role": role, "file": str(file)}), as_json=True
        )
    say(f"{name} may connect as {role} with {file}.")


@group.command()
@complaining
def revoke(
    name: Annotated[str, typer.Argument(help="The principal whose credentials are lost, or who is to have none.")],
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            dir_okay=False,
            exists=True,
            help="Credentials of NAME that the register does not have, as after a restore.",
        ),
    ] = None,
    data: Data = options.DATA,
    as_json: AsJson = False,
) -> None:
    """Take access back from a principal: all credentials issued to it so far, for good.

    Whoever is connected with them is cut off at once. `issue` lets the principal in again, with new ones.
    """
    keys, own, is_local = _keys(data), data / "creds" / f"{name}.creds", (data / "lock").exists()
    try:
        if own.exists():
            keys.take_in(_text(own))  # it may be from before the register
        if refusal := _cannot_revoke(keys, name, file, data):
            raise finish(Reply(outcome="refused", refusal=refusal), as_json=as_json)
        with keys.locked():
            count = keys.revoke(name)
            runs = not is_local or holder(data)  # a local stack that does not goes by it when it starts
            servers = _tell(data, keys) if runs else 0
            if own.exists() and keys.is_void(_text(own)):
                own.unlink()
    except IdentityError as error:
        raise Complaint(str(error)) from None
    except OSError as error:
        raise Complaint(f"It is done, but {own}, which opens nothing now, stays: {error.strerror}.") from None
    if as_json:
        answer = {"principal": name, "revoked": count, "servers": servers}
        raise finish(Reply(outcome="answered", answer=answer), as_json=True)
    say(
        f"Access is taken back from {name}: all that the register has of it is void. If it has webhooks or mail, that "
        f"goes on until it is ended: concord send notifications end-all-webhooks --subscriber {name}, and "
        f"concord send notifications end-mailbox-of --subscriber {name}"
    )
    if not is_local:
        say(
            f"{servers} NATS {'server goes' if servers == 1 else 'servers go'} by it. For those that start or reload, "
            "have the configuration written anew (`concord init`)."
        )


def _cannot_revoke(keys: Keys, name: str, file: Path | None, data: Path) -> Refusal | None:
    """Why not, if so. What the file holds is in the register afterwards."""
    if name == OPERATOR and holder(data):
        return Refusal(
            code="stack-runs-as-operator",
            sentence="The local stack runs with these credentials: stop it, take them back, and start it again; it "
            "makes itself new ones.",
            field="name",
        )
    if file is not None:
        creds = _text(file)
        held = keys.holder(creds)
        if held is None or held[0] != name:
            what = f"credentials of {held[0]}, and none of {name}" if held else "no credentials of this platform"
            return Refusal(code="not-theirs", sentence=f"{file} holds {what}.", field="file")
        keys.take_in(creds)
    if not any(each.principal == name for each in keys.issued()):
        return Refusal(
            code="nothing-issued",
            sentence=f"The register has no credentials of {name}; `concord access list` shows whose it has. What was "
            "issued before it was kept, or after the backup that was restored, it does not have: give it with --file.",
            field="name",
        )
    return None


def _tell(data: Path, keys: Keys) -> int:
    """Has NATS go by it at once; how many servers do."""
    import asyncio  # noqa: PLC0415  help need not wait for what speaks to NATS

    from deploy.keeping.keeper import renew_account  # noqa: PLC0415  as above
    from shared.broker import BrokerError  # noqa: PLC0415  as above

    log_from(logging.CRITICAL)  # what goes wrong comes back as a sentence
    try:
        return asyncio.run(renew_account(stack_in(data).urls, keys))
    except (Complaint, BrokerError) as error:
        why = str(error)
    except KeyboardInterrupt:
        why = "Interrupted."
    raise Complaint(
        f"It is noted, but NATS does not know all of it yet: {why} Revoke it once more, before anything new is issued."
    )


@group.command("list")
@complaining
def list_(data: Data = options.DATA, as_json: AsJson = False) -> None:
    """List who was issued credentials, in which role, when, and from whom they were taken back."""
    try:
        issued = sorted(_keys(data).issued(), key=attrgetter("principal", "role", "issued_at"))
    except IdentityError as error:
        raise Complaint(str(error)) from None
    rows = [_row(list(each)) for _, each in groupby(issued, key=attrgetter("principal", "role"))]
    raise finish(Reply(outcome="answered", answer=rows), as_json=as_json)


def _row(issued: list[Credentials]) -> dict[str, Any]:
    revoked = [each.revoked_at for each in issued if each.revoked_at is not None]
    return {
        "principal": issued[0].principal,
        "role": issued[0].role,
        "valid": len(issued) - len(revoked),
        "last_issued_at": _moment(issued[-1].issued_at),
        "last_revoked_at": _moment(max(revoked)) if revoked else None,
    }


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _keys(data: Path) -> Keys:
    if not (data / "keys").is_dir():
        raise not_reached(data)
    try:
        return Keys.load(data / "keys")
    except IdentityError as error:
        raise Complaint(str(error)) from None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError as error:
        raise Complaint(f"{file} cannot be read: {error.strerror}.") from None


def _has_a_role(valid: Credentials, role: str) -> Refusal:
    name = valid.principal
    return Refusal(
        code="another-role",
        sentence=f"{name} has valid credentials as {valid.role}. A principal has one role: issue {role} to another "
        f"name, or revoke {name} first.",
        data={"role": valid.role},
    )


def _kept(file: Path, held: tuple[str, str] | None, name: str, role: str) -> Refusal:
    """Why credentials are not issued beside, or in place of, what is in a file."""
    what = f"credentials of {held[0]} as {held[1]}" if held else "no credentials of this platform"
    if held and held[0] == name:
        way_out = f"A principal has one role: issue {role} to another name, or revoke {name} first."
    else:
        way_out = "It is not overwritten: name another file with --out, or move it away first."
    return Refusal(code="credentials-in-the-way", sentence=f"{file} holds {what}. {way_out}", data={"file": str(file)})
