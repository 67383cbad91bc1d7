"""``concord dead-letters``: what could not be handled for a technical reason, over all services."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy.cli import options
from deploy.cli.messages import validated
from deploy.cli.options import AsJson, Data, ServiceName
from deploy.cli.output import complaining, finish
from shared.contracts.message import Message
from shared.contracts.platform import DiscardDeadLetter, ListDeadLetters, ReplayDeadLetter, Reply, ShowDeadLetter
from shared.identity import SERVICES
from shared.refusal import Refusal

UNKNOWN = "unknown-dead-letter"
COLUMNS = ("service", "id", "kept_at", "kind", "name", "waiting_behind", "error")

group = typer.Typer(help="List, read, replay or give up messages that could not be handled.", no_args_is_help=True)

Service = Annotated[
    ServiceName | None, typer.Option("--service", help="The service that keeps it; asks all if not given.")
]
Letter = Annotated[str, typer.Argument(help="The id of the dead letter, from `concord dead-letters list`.")]


@group.command("list")
@complaining
def list_letters(
    service: Service = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many of each service, oldest first.")] = 50,
    data: Data = options.DATA,
    principal: options.As = options.AS,
    timeout: options.Patience = options.PATIENCE,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first."""
    replies = _each(data, principal, ListDeadLetters(limit=limit), [service] if service else SERVICES, timeout)
    letters: list[dict[str, Any]] = []
    total = 0
    for name, reply in replies.items():
        if reply.outcome != "answered":
            raise finish(reply, as_json=as_json)
        letters += [{"service": name, **letter} for letter in reply.answer["letters"]]
        total += reply.answer["total"]
    listed = [{column: letter[column] for column in COLUMNS} for letter in letters]
    answer = {"total": total, "letters": sorted(listed, key=lambda letter: str(letter["kept_at"]))}
    raise finish(Reply(outcome="answered", answer=answer), as_json=as_json)


@group.command("show")
@complaining
def show_letter(
    letter: Letter,
    service: Service = None,
    data: Data = options.DATA,
    principal: options.As = options.AS,
    timeout: options.Patience = options.PATIENCE,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter whole: its content, and what went wrong with it."""
    query = validated(ShowDeadLetter, {"letter": letter}, as_json=as_json)
    raise finish(_find(data, principal, query, service, timeout)[1], as_json=as_json)


@group.command("replay")
@complaining
def replay_letter(
    letter: Letter,
    service: Service = None,
    data: Data = options.DATA,
    principal: options.As = options.AS,
    timeout: options.Patience = options.PATIENCE,
    as_json: AsJson = False,
) -> None:
    """Handle a dead letter once more; what waited behind it follows in order."""
    command = validated(ReplayDeadLetter, {"letter": letter}, as_json=as_json)
    reply = _to_its_keeper(data, principal, command, service, timeout)
    raise finish(reply, as_json=as_json, done="Replayed: it has been handled now, and the dead letter is gone.")


@group.command("discard")
@complaining
def discard_letter(
    letter: Letter,
    reason: Annotated[str, typer.Option("--reason", help="Why it is given up; stays on record.")],
    service: Service = None,
    data: Data = options.DATA,
    principal: options.As = options.AS,
    timeout: options.Patience = options.PATIENCE,
    as_json: AsJson = False,
) -> None:
    """Give a dead letter up for good; what waited behind it goes on without it."""
    command = validated(DiscardDeadLetter, {"letter": letter, "reason": reason}, as_json=as_json)
    reply = _to_its_keeper(data, principal, command, service, timeout)
    raise finish(reply, as_json=as_json, done="Given up: the dead letter is gone, and what waited behind it goes on.")


def _to_its_keeper(
    data: Path, principal: str, command: ReplayDeadLetter | DiscardDeadLetter, service: str | None, timeout: float
) -> Reply:
    """Sends the command to the service that keeps the letter."""
    if service is None:
        service, found = _find(data, principal, ShowDeadLetter(letter=command.letter), None, timeout)
        if found.outcome != "answered":
            return found
    return _each(data, principal, command, [service], timeout)[service]


def _find(data: Path, principal: str, query: ShowDeadLetter, service: str | None, timeout: float) -> tuple[str, Reply]:
    """Which service keeps a letter, and the letter; where none does, what the most helpful of them said."""
    replies = _each(data, principal, query, [service] if service else SERVICES, timeout)
    order = ("answered", "failed", "refused")  # one that did not answer may be the one that keeps it
    keeper, said = min(replies.items(), key=lambda told: order.index(told[1].outcome))
    if service is None and said.refusal is not None and said.refusal.code == UNKNOWN:
        sentence = f"No service holds a dead letter {query.letter}; `concord dead-letters list` shows those there are."
        said = Reply(outcome="refused", refusal=Refusal(code=UNKNOWN, sentence=sentence, field="letter"))
    return keeper, said


def _each(data: Path, principal: str, message: Message, services: Sequence[str], timeout: float) -> dict[str, Reply]:
    from deploy.cli import wire  # noqa: PLC0415  help need not wait for what speaks to NATS

    return wire.send_to_each(data, principal, message, services, timeout=timeout)
