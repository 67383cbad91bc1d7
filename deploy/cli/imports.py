"""``concord import``: files of other bodies, read here and sent to the service as one command, all or nothing."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deploy import organisation_file, people_survey_file
from deploy.cli import options
from deploy.cli.options import AsJson, Data
from deploy.cli.output import complaining, finish, say, show_json, working
from shared.contracts.benchmark import CompareWithPublished, PublishedComparison
from shared.contracts.message import Command, Query
from shared.contracts.platform import Reply
from shared.refusal import Refusal

IMPORT_WITHIN = 120.0

group = typer.Typer(help="Take in files of other bodies.", no_args_is_help=True)

File = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help="The CSV file, as published.")
]


@group.callback()
def imports() -> None:
    """Take in files of other bodies."""


@group.command("organisations")
@complaining
def organisations(
    file: File,
    register: Annotated[
        str | None,
        typer.Option(
            "--register",
            help="The register it is of, which alone changes its rows later; told by the headings if not given.",
        ),
    ] = None,
    data: Data = options.DATA,
    principal: options.As = options.AS,
    timeout: options.Patience = IMPORT_WITHIN,
    as_json: AsJson = False,
) -> None:
    """Take in a register: organisations as GOV.UK lists them, local authorities, NHS trusts or integrated care boards.

    Which one it is follows from the headings. New organisations are registered, changed ones changed; all or nothing.
    """
    read = organisation_file.read(file.read_bytes(), register)
    raise finish(_sent(data, principal, read, file, timeout), as_json=as_json)


@group.command("people-survey")
@complaining
def people_survey(
    file: File,
    label: Annotated[
        str | None, typer.Option("--label", help="The round (2023); the year in the file's name if not given.")
    ] = None,
    data: Data = options.DATA,
    principal: options.As = options.AS,
    timeout: options.Patience = IMPORT_WITHIN,
    as_json: AsJson = False,
) -> None:
    """Take in a round of the Civil Service People Survey from its organisation file, close it, and check its medians.

    The medians of organisations are compared with those the file states; those that differ are named with the reason.
    """
    label = label or people_survey_file.round_of(file.name)
    if label is None:
        raise typer.BadParameter(f"{file.name} does not name one year; say which round it is.", param_hint="--label")
    reply = _sent(data, principal, people_survey_file.read(file.read_bytes(), label), file, timeout)
    if reply.done is None or reply.done.id is None:
        raise finish(reply, as_json=as_json)
    compared = _answered(data, principal, CompareWithPublished(round=reply.done.id), timeout)
    if compared.answer is None:
        raise finish(compared, as_json=as_json)
    if as_json:
        show_json({**reply.model_dump(mode="json"), "comparison": compared.answer})
        return
    finish(reply, as_json=False)
    sentence, differing = people_survey_file.in_words(PublishedComparison.model_validate(compared.answer))
    say(sentence)
    for measure, reason in differing:
        say(f"{measure}\n  {reason}")


def _sent(data: Path, principal: str, read: Command | Refusal, file: Path, timeout: float) -> Reply:
    if isinstance(read, Refusal):
        return Reply(outcome="refused", refusal=read)
    from deploy.cli import wire  # noqa: PLC0415  help need not wait for what speaks to NATS

    with working(f"Taking in {file.name}"):
        return wire.send(data, principal, read, timeout=timeout)


def _answered(data: Path, principal: str, query: Query[Any], timeout: float) -> Reply:
    from deploy.cli import wire  # noqa: PLC0415  as above

    return wire.send(data, principal, query, timeout=timeout)
