"""``concord backup``, ``restore`` and ``upgrade-check``: what keeps a platform through losses and new versions."""

import json
import logging
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.text import Text

from deploy.cli import options
from deploy.cli.options import AsJson, Data
from deploy.cli.output import Complaint, complaining, finish, log_from, note, say, screen, show
from deploy.cli.stack import holder, stack_in
from shared.contracts.platform import Reply
from shared.identity import SERVICES
from shared.refusal import Refusal

if TYPE_CHECKING:
    from deploy.keeping.backup import Manifest, Place

LOCAL_STORES = "sqlite:///{data}/{service}.sqlite"

Result = TypeVar("Result")

Stores = Annotated[
    str,
    typer.Option(
        "--stores",
        rich_help_panel=options.COMMON,
        envvar="CONCORD_STORES",
        metavar="ADDRESS",
        help="Address of each service's store, with {service} for its name and {data} for the directory.",
    ),
]
Backup = Annotated[Path, typer.Argument(metavar="DIRECTORY", file_okay=False, help="The directory of the backup.")]


@complaining
def backup(
    directory: Backup,
    data: Data = options.DATA,
    stores: Stores = LOCAL_STORES,
    as_json: AsJson = False,
) -> None:
    """Write a backup of the whole platform into an empty DIRECTORY, while it runs and is used.

    It holds every store, every stream, and the private keys and credentials of the platform: whoever has it has
    everything, so keep it as you keep the keys. What was accepted before it began is in it.
    """
    from deploy.keeping import backup as backups  # noqa: PLC0415  help need not wait for what speaks to NATS

    place = _place(data, stack_in(data).urls, stores)
    with _told() as told:
        manifest = _carried_out(lambda: _run(backups.make(place, directory, told)), as_json=as_json)
    answer = {"directory": str(directory), **manifest.counted()}
    if as_json:
        raise finish(Reply(outcome="answered", answer=answer), as_json=True)
    say(f"{directory} holds {_in_words(manifest)}, as of {manifest.begun_at:%d %B %Y at %H:%M:%S} UTC.")
    note("The private keys of the platform are in it: let nobody else read it.")


@complaining
def restore(
    directory: Backup,
    data: Data = options.DATA,
    stores: Stores = LOCAL_STORES,
    only_keys: Annotated[
        bool,
        typer.Option("--keys", help="Only the keys and credentials: the first step where NATS is not ours to start."),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Only look at the backup, and say what would be done.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fill an empty platform from the backup in DIRECTORY; the services must not have been started yet.

    Every part of the backup is verified first, and nothing is ever overwritten. Then start the platform as always.
    """
    from deploy.keeping import backup as backups  # noqa: PLC0415  as above

    if not directory.is_dir():
        raise typer.BadParameter(f"there is no directory {directory}.", param_hint="DIRECTORY")
    with _told() as told:
        manifest = _carried_out(lambda: backups.verify(directory, told), as_json=as_json)
    answer: dict[str, Any] = {"data": str(data), **manifest.counted()}
    where = str(data) if stores == LOCAL_STORES else "the platform"
    if check:
        against = _what_stands_against(directory, data)
        if as_json:
            told_of = {**answer, "restored": False, "against": against}
            raise finish(Reply(outcome="answered", answer=told_of), as_json=True)
        say(f"The backup in {directory} is sound. `concord restore` would put {_in_words(manifest)} into {where}.")
        if against:
            note(f"Not yet: {against}")
        return
    _carried_out(lambda: backups.restore_keys(directory, data), as_json=as_json)
    if only_keys:
        if as_json:
            raise finish(Reply(outcome="answered", answer={"keys": str(data / "keys")}), as_json=True)
        say(f"{data} now holds the keys and credentials of the backup.")
        return
    with _told() as told:
        missing = _carried_out(lambda: _run(_restore(data, stores, directory, manifest, told)), as_json=as_json)
    if as_json:
        raise finish(
            Reply(outcome="answered", answer={**answer, "restored": True, "sent_again": missing}), as_json=True
        )
    say(f"There are {_in_words(manifest)} in {where} again. Start the services: they go on from there.")
    if (address := _address(data)) is not None:
        say(f"It listens at {address}; programs that know another address must be told.")


def _what_stands_against(directory: Path, data: Path) -> str | None:
    from deploy.keeping import backup as backups  # noqa: PLC0415  as above

    if process := holder(data):
        return f"A stack runs in {data} (process {process}); stop it first, or name another directory with --data."
    try:
        backups.check_keys(directory, data)
    except backups.Refused as refused:
        return refused.refusal.sentence
    return None


async def _restore(
    data: Path, stores: str, directory: Path, manifest: "Manifest", told: Callable[[str], None]
) -> dict[str, int]:
    """On NATS where it runs, as in containers; on one's own computer it is started for as long as this takes."""
    from deploy.keeping import backup as backups  # noqa: PLC0415  as above
    from deploy.local_stack import LocalStack  # noqa: PLC0415

    described = data / "stack.json"
    if described.exists() and _address(data) is None:
        return await backups.restore(_place(data, stack_in(data).urls, stores), directory, manifest, told)
    stack = LocalStack(data, {})
    await stack.start()
    try:
        return await backups.restore(_place(data, (stack.url,), stores), directory, manifest, told)
    finally:
        await stack.stop()


def _address(data: Path) -> str | None:
    """Where a local stack will listen; of one in containers Compose says it."""
    described = json.loads((data / "stack.json").read_text(encoding="utf-8"))
    return str(described["url"]) if "port" in described else None


def _place(data: Path, urls: tuple[str, ...], stores: str) -> "Place":
    from deploy.keeping.backup import Place  # noqa: PLC0415  as above

    return Place(urls, data, addresses(data, stores))


def addresses(data: Path, stores: str) -> dict[str, str]:
    """The address of each service's store."""
    if "{service}" not in stores:
        raise typer.BadParameter(
            f"{stores!r} is the same for every service: say {{service}} where its name belongs.", param_hint="--stores"
        )
    return {name: stores.replace("{service}", name).replace("{data}", str(data.resolve())) for name in SERVICES}


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    import asyncio  # noqa: PLC0415  as above

    return asyncio.run(work)


def _carried_out(do: Callable[[], Result], *, as_json: bool) -> Result:
    """Does it; what can be expected to go wrong becomes a sentence."""
    from sqlalchemy.exc import ArgumentError, DBAPIError  # noqa: PLC0415  as above

    from deploy.keeping.backup import Refused  # noqa: PLC0415
    from deploy.keeping.stream_copy import NotCopied  # noqa: PLC0415
    from deploy.local_stack import StackError  # noqa: PLC0415
    from shared.broker import BrokerError, Unreachable  # noqa: PLC0415
    from shared.identity import IdentityError  # noqa: PLC0415

    try:
        return do()
    except Refused as error:
        raise finish(Reply(outcome="refused", refusal=error.refusal), as_json=as_json) from None
    except (NotCopied, StackError, IdentityError, Unreachable, BrokerError) as error:
        raise Complaint(str(error)) from None
    except DBAPIError as error:
        raise Complaint(f"A store cannot be read or written: {str(error.orig).strip()}.") from None
    except ArgumentError as error:
        raise Complaint(f"An address of a store cannot be used: {error}.") from None
    except OSError as error:
        whose = f" It must belong to user {os.geteuid()}." if isinstance(error, PermissionError) else ""
        raise Complaint(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.{whose}") from None


@contextmanager
def _told() -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being done; shows nothing in a pipe."""
    log_from(logging.CRITICAL)  # what goes wrong comes back as a sentence
    console = screen(to_error=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        yield lambda what: status.update(Text(what))


def _in_words(manifest: "Manifest") -> str:
    rows = sum(sum(part.rows.values()) for part in manifest.stores.values())
    messages = sum(part.state["messages"] for part in manifest.streams.values())
    stores, streams = len(manifest.stores), len(manifest.streams)
    return f"{stores} stores with {rows:,} rows and {streams} streams with {messages:,} messages"


@complaining
def upgrade_check(data: Data = options.DATA, stores: Stores = LOCAL_STORES, as_json: AsJson = False) -> None:
    """Say what this version would do to a platform on which another one runs, before it is started. Changes nothing.

    Which migrations are before each store and whether the version that runs would notice them, which streams change,
    whether what was said can be read, whether there is room, and how long services are away. Ends with 0 if the upgrade
    can be begun, with 3 if not.
    """
    from deploy.keeping import upgrade  # noqa: PLC0415  help need not wait for what speaks to NATS

    place = _place(data, stack_in(data).urls, stores)
    with _told() as told:
        outlook = _carried_out(lambda: _run(upgrade.look(place, told)), as_json=as_json)
    answer = outlook.model_dump(mode="json")
    if not outlook.ready:
        refusal = Refusal(code="not-ready-to-upgrade", sentence=outlook.verdict, data=answer)
        raise finish(Reply(outcome="refused", refusal=refusal), as_json=as_json)
    if as_json:
        raise finish(Reply(outcome="answered", answer=answer), as_json=True)
    shown = ("service", "state", "level", "brings", "steps", "disturbing")
    show([{name: store[name] for name in shown} for store in answer["stores"]])
    for what, change in outlook.streams.items():
        say(f"{what}: {change}")
    say(outlook.verdict)
