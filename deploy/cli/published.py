"""``concord contracts``: the messages of the platform, their schemas, and whether a change may be released."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy import compatibility, schemas
from deploy.cli.options import AsJson
from deploy.cli.output import DONE, FAILED, Complaint, complaining, finish, note, say, show, show_json
from shared.contracts.message import Message
from shared.contracts.platform import Reply

group = typer.Typer(help="List the messages of the platform, and publish their schemas.")

Directory = Annotated[
    Path, typer.Option("--to", metavar="DIR", file_okay=False, help="Where the published contracts lie.")
]


@group.callback(invoke_without_command=True)
def contracts(context: typer.Context, as_json: AsJson = False) -> None:
    """List the messages of the platform, and publish their schemas."""
    if context.invoked_subcommand is None:
        listed = [_listed(contract) for contract in schemas.all_contracts()]
        if as_json:
            raise finish(Reply(outcome="answered", answer=listed), as_json=True)
        show([{"subject": contract["subject"], "meaning": contract["meaning"]} for contract in listed])


def _listed(contract: type[Message]) -> dict[str, Any]:
    return {
        "kind": contract.wire.kind,
        "subject": schemas.address(contract),
        "for": list(getattr(contract, "roles", ())),
        "meaning": schemas.summary(contract).replace("``", ""),
    }


@group.command("show")
@complaining
def show_contract(
    name: Annotated[
        str, typer.Argument(help="A name (appoint-steering-member), with its owner if need be, or a type.")
    ],
    as_json: AsJson = False,  # noqa: ARG001  only what goes wrong is said otherwise
) -> None:
    """Write the JSON Schema of one message."""
    by_name: dict[str, list[type[Message]]] = {}
    for contract in schemas.all_contracts():
        wire = contract.wire
        for known in (wire.name, f"{wire.owner}.{wire.name}", f"{wire.owner}/{wire.name}", wire.type):
            by_name.setdefault(known, []).append(contract)
    found = by_name.get(name, [])
    if not found:
        near = difflib.get_close_matches(name, by_name, n=3)
        raise Complaint(f"There is no message {name}." + (f" Did you mean {' or '.join(near)}?" if near else ""))
    if len(found) > 1:
        owners = " and ".join(f"{contract.wire.owner}.{name}" for contract in found)
        raise Complaint(f"There are several messages {name}: {owners}. Say which one.")
    show_json(schemas.message_schema(found[0]))


@group.command()
@complaining
def write(to: Directory = schemas.DIRECTORY, as_json: AsJson = False) -> None:
    """Write the AsyncAPI document and the JSON Schemas anew."""
    try:
        changed = schemas.write(to)
    except OSError as error:
        raise Complaint(f"{error.filename} cannot be written: {error.strerror}.") from None
    if as_json:
        raise finish(Reply(outcome="answered", answer={"changed": changed}), as_json=True)
    for path in changed:
        say(path)
    note(f"{len(changed)} files changed in {to}.")


@group.command()
@complaining
def check(as_json: AsJson = False) -> None:
    """Say whether the published schemas are up to date, and whether they only add to the last release."""
    stale = schemas.stale()
    problems = [f"{len(stale)} published files are stale ({_few(stale)}): run `make contracts`."] if stale else []
    if compatibility.RELEASED.exists():
        then, now = compatibility.released(), compatibility.snapshot()
        if broken := compatibility.breaks(then, now):
            problems += broken
        elif unguarded := compatibility.unguarded(then, now):
            problems.append(f"{len(unguarded)} contracts ({_few(unguarded)}) are to be released: run `make contracts`.")
    else:
        problems.append(f"{compatibility.RELEASED} is missing: `concord contracts release` writes it.")
    if as_json:
        show_json(Reply(outcome="answered", answer={"problems": problems}).model_dump(mode="json"))
    else:
        say("\n".join(problems) or "The published contracts are up to date, and only add to the last release.")
    raise typer.Exit(FAILED if problems else DONE)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")


@group.command()
@complaining
def release(
    anyway: Annotated[
        bool, typer.Option("--breaking", help="Although something breaks: only before v1 is in use.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the contracts of today those that a later change within the major version may only add to."""
    if compatibility.RELEASED.exists() and not anyway:
        broken = compatibility.breaks(compatibility.released(), compatibility.snapshot())
        if broken:
            raise Complaint("\n".join([*broken, "Nothing was released: within a major version only additions are."]))
    compatibility.release()
    if as_json:
        raise finish(Reply(outcome="answered", answer={"released": str(compatibility.RELEASED)}), as_json=True)
    say(f"{len(schemas.all_contracts())} messages are released: {compatibility.RELEASED}")
