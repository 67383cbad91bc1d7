"""``concord send``, ``ask`` and ``publish``: one command for each contract, made from the contract.

Each field is an option, with its type, its meaning and whether it must be given; nested values are written as JSON.
The contract checks what was given before anything is sent, with the same refusal the service would answer with.
"""

import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.markup import escape

from deploy import schemas
from deploy.cli import fields, options
from deploy.cli.options import AsJson, Data
from deploy.cli.output import complaining, finish, say
from shared.contracts import cloudevent
from shared.contracts.message import Kind, Message, contracts
from shared.contracts.platform import Reply
from shared.identity import SERVICES

M = TypeVar("M", bound=Message)

RESERVED = {"body", "id", "json", "data", "as", "timeout", "wait", "help"}

Body = Annotated[
    str | None,
    typer.Option(
        "--body",
        rich_help_panel=options.COMMON,
        metavar="JSON|@FILE|-",
        help="The whole payload: JSON, a file, or - for standard input. Options go on top.",
    ),
]
MessageId = Annotated[
    str | None,
    typer.Option(
        "--id",
        rich_help_panel=options.COMMON,
        metavar="ID",
        help="The message's id. The same command with the same id is carried out once. A new UUIDv7 if not given.",
    ),
]
Wait = Annotated[
    float,
    typer.Option(
        "--wait", min=0, metavar="SECONDS", rich_help_panel=options.COMMON, help="How long to listen for a refusal."
    ),
]
Publisher = Annotated[
    str,
    typer.Option(
        "--as",
        envvar="CONCORD_AS",
        metavar="NAME",
        rich_help_panel=options.COMMON,
        help="The publisher whose credentials to use.",
    ),
]


def groups() -> dict[str, typer.Typer]:
    """The groups ``send`` and ``ask`` with one group for each service, and ``publish`` with the inbound messages."""
    send = _group("Send a command to a service.")
    ask = _group("Ask a service a question.")
    publish = _group("Publish a message as another system would.")
    for service in SERVICES:
        commands = _group(f"What {service} can be told to do.")
        queries = _group(f"What {service} can be asked.")
        asked: list[tuple[typer.Typer, Kind]] = [(commands, "command"), (queries, "query")]
        for group, kind in asked:
            for contract in [*contracts(kind, service), *contracts(kind, "platform")]:
                _add(group, contract, _request(contract, service))
        send.add_typer(commands, name=service)
        ask.add_typer(queries, name=service)
    for contract in contracts("inbound"):
        _add(publish, contract, _publication(contract))
    return {"send": send, "ask": ask, "publish": publish}


def _group(help: str) -> typer.Typer:
    return typer.Typer(help=help, no_args_is_help=True)


def _add(group: typer.Typer, contract: type[Message], run: Callable[..., None]) -> None:
    text = escape(_prose(inspect.getdoc(contract) or ""))
    group.command(
        contract.wire.name,
        help=text,
        short_help=escape(_prose(schemas.summary(contract))),
        epilog=_what_is_nested(contract) or None,
        no_args_is_help=False,
    )(run)


def _prose(documented: str) -> str:
    return documented.replace("``", "")


def _request(contract: type[Message], service: str) -> Callable[..., None]:
    def run(
        body: Body = None,
        id: MessageId = None,
        data: Data = options.DATA,
        principal: options.As = options.AS,
        timeout: options.Patience = options.PATIENCE,
        as_json: AsJson = False,
        **given: Any,
    ) -> None:
        message = _message(contract, body, given, as_json=as_json)
        from deploy.cli import wire  # noqa: PLC0415  help and refusals need not wait for what speaks to NATS

        reply = wire.send(data, principal, message, service=service, id=id or "", timeout=timeout)
        raise finish(reply, as_json=as_json)

    if contract.wire.kind == "query":
        return _with_fields(run, contract, leave_out="id")
    return _with_fields(run, contract)


def _publication(contract: type[Message]) -> Callable[..., None]:
    def run(
        principal: Publisher,
        body: Body = None,
        id: MessageId = None,
        wait: Wait = 1.0,
        data: Data = options.DATA,
        timeout: options.Patience = options.PATIENCE,
        as_json: AsJson = False,
        **given: Any,
    ) -> None:
        message = _message(contract, body, given, as_json=as_json)
        from deploy.cli import wire  # noqa: PLC0415  as above

        reply = wire.publish(data, principal, message, id=id or wire.new_id(), timeout=timeout, wait=wait)
        if reply.answer is None or as_json:
            raise finish(reply, as_json=as_json)
        say(_published(reply.answer))

    return _with_fields(run, contract)


def _published(answer: dict[str, Any]) -> str:
    """All that a publisher knows: what a service makes of its message comes later, if it is running at all."""
    if answer["taken_before"]:
        return (
            f"The stream {answer['stream']} had taken a message with the id {answer['id']} before; "
            "it is not published again."
        )
    return (
        f"Taken by the stream {answer['stream']} with the id {answer['id']}, and not refused within "
        f"{answer['unrefused_for_seconds']:g} s. The service it is for handles it in its own time."
    )


# ---- fields as options ---------------------------------------------------------------------------------------------


def _with_fields(
    run: Callable[..., None], contract: type[Message], leave_out: str | None = None
) -> Callable[..., None]:
    """The function with a parameter for each field in place of ``**given``, which is how typer learns of options."""
    schema = contract.model_json_schema()
    fields = [
        inspect.Parameter(
            _parameter(name), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(contract, name, schema)
        )
        for name in contract.model_fields
    ]
    signature = inspect.signature(run)
    common = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD and parameter.name != leave_out
    ]

    def command(**given: Any) -> None:
        run(**given)

    command.__signature__ = signature.replace(parameters=[*fields, *common])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*fields, *common]}
    return complaining(command)


def _parameter(field: str) -> str:
    return f"field_{field}"


def _option(contract: type[Message], name: str, schema: dict[str, Any]) -> Any:
    field = schema["properties"][name]
    kinds, flag = fields.kinds(field, schema), _flag(name)
    metavar, choices = fields.takes(kinds, schema)
    text = escape(fields.means(field, required=contract.model_fields[name].is_required(), choices=choices))
    if kinds and all(kind.get("type") == "boolean" for kind in kinds):
        return Annotated[
            bool | None, typer.Option(f"{flag}/--no-{flag.removeprefix('--')}", help=text, show_default=False)
        ]
    if fields.is_list(kinds):
        text = escape("Once for each, or all as a JSON list. ") + text
        return Annotated[
            list[str] | None,
            typer.Option(flag, help=text, metavar=metavar, show_default=False),
        ]
    return Annotated[str | None, typer.Option(flag, help=text, metavar=metavar, show_default=False)]


def _flag(field: str) -> str:
    name = field.replace("_", "-")
    return f"--field-{name}" if field in RESERVED else f"--{name}"


def _what_is_nested(contract: type[Message]) -> str:
    """For the end of the help: what stands in the fields that are written as JSON."""
    schema = contract.model_json_schema()
    told = [fields.nested(_flag(name), schema["properties"][name], schema) for name in contract.model_fields]
    return escape("\n\n".join(text for text in told if text))


# ---- from what was given to a message ------------------------------------------------------------------------------


def _message(contract: type[M], body: str | None, given: dict[str, Any], *, as_json: bool) -> M:
    """The message, or the refusal shown and the command ended."""
    payload = _body(body) if body is not None else {}
    schema = contract.model_json_schema()
    for name in contract.model_fields:
        value = given.get(_parameter(name))
        if value is not None:
            payload[name] = _value(name, value, fields.kinds(schema["properties"][name], schema))
    return validated(contract, payload, as_json=as_json)


def validated(contract: type[M], payload: dict[str, Any], *, as_json: bool) -> M:
    """The message; or its refusal is shown as if the service had answered with it, and the command ends."""
    try:
        return contract.model_validate(payload)
    except ValidationError as error:
        refusal = cloudevent.invalid_fields(error, contract)
        raise finish(Reply(outcome="refused", refusal=refusal), as_json=as_json) from None


def _body(text: str) -> dict[str, Any]:
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise typer.BadParameter(f"{text[1:]} cannot be read: {reason}.", param_hint="--body") from None
    payload = _json(text, "--body")
    if not isinstance(payload, dict):
        raise typer.BadParameter("the payload of a message is a JSON object, {…}.", param_hint="--body")
    return payload


def _value(name: str, value: Any, kinds: list[dict[str, Any]]) -> Any:
    """An option's text as JSON where the field is nested; text, numbers and moments are for the contract to read."""
    if isinstance(value, list):
        if len(value) == 1 and value[0].lstrip().startswith("["):
            return _json(value[0], name)
        return [_json(part, name) if part.lstrip().startswith("{") else part for part in value]
    if isinstance(value, str) and fields.is_nested(kinds):
        return _json(value, name)
    return value


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"that is not JSON: {error}.", param_hint=where) from None
