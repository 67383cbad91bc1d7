"""The published form of the contracts: a JSON Schema for each message and one AsyncAPI document for the platform.

Everything is made from ``shared/contracts``; ``make contracts`` writes it to ``docs/contracts``:

asyncapi.json                AsyncAPI 3.0: every channel, operation and message
schemas/cloudevent.json      the envelope, the same for all
schemas/<owner>/<name>.json  one message. Its root describes the data (the CloudEvents ``dataschema``), ``#message`` the
                             whole structured CloudEvent, and for a query ``#answer`` the answer
released/<major>.json        the last released state, which a change within the major version may only add to
"""

import functools
import inspect
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter

import shared.contracts  # fills the register
from shared.contracts.cloudevent import MAX_ATTRIBUTE_LENGTH, MAX_SEQUENCE, STRUCTURED, schema_address
from shared.contracts.message import MAJOR, REGISTER, Kind, Message, Query, subject_of
from shared.contracts.platform import Reply
from shared.identity import SERVICES

if TYPE_CHECKING:
    from shared.service import Service
    from shared.streams import Durable, Stream

DIALECT = "https://json-schema.org/draft/2020-12/schema"
CLOUDEVENT = "urn:concord:schema:cloudevent"
DIRECTORY = Path(__file__).parents[1] / "docs" / "contracts"

Schema = dict[str, Any]
KEYS: dict[Kind, tuple[str, str]] = {
    "command": ("principal", "who sends it; the server lets nobody else publish here"),
    "query": ("principal", "who asks; the server lets nobody else publish here"),
    "event": ("aggregate", "id of what it happened to"),
    "inbound": ("publisher", "the system that publishes it; the server lets nobody else publish here"),
    "inbound-refused": ("publisher", "whose message was refused; the server lets nobody else read here"),
    "delivery": ("subscriber", "who it is for; the server lets nobody else read here"),
}
"""What the variable token of a subject is called, and means."""


def summary(documented: type[BaseModel]) -> str:
    """The first sentence or line of a contract's docstring."""
    return (inspect.getdoc(documented) or "").split("\n\n")[0].replace("\n", " ")


def all_contracts() -> list[type[Message]]:
    """Every contract of the platform, by owner and name. Those that tests declare for themselves are not among them."""
    public = [contract for contract in REGISTER.values() if contract.__module__.startswith(shared.contracts.__name__)]
    return sorted(public, key=lambda contract: (contract.wire.owner, contract.wire.name))


def address(contract: type[Message]) -> str:
    """The subject with its variable tokens in braces: ``membership.v1.event.network-registered.{aggregate}``."""
    key, _ = KEYS[contract.wire.kind]
    service = "{service}" if contract.wire.owner == "platform" else None
    return subject_of(contract, f"{{{key}}}", service, topic="{topic}")


# ---- JSON Schema ---------------------------------------------------------------------------------------------------


def envelope_schema() -> Schema:
    """The CloudEvents envelope as Concord reads and writes it in structured mode."""
    text = {"type": "string", "minLength": 1, "maxLength": MAX_ATTRIBUTE_LENGTH}
    return {
        "$schema": DIALECT,
        "$id": CLOUDEVENT,
        "title": "CloudEvent",
        "description": "CloudEvents 1.0 in structured JSON, with the extensions Concord uses.",
        "type": "object",
        "required": ["specversion", "id", "source", "type", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {**text, "description": "the same id is handled once; Concord's own are UUIDv7"},
            "source": {**text, "description": "/concord/<service>, or the publisher's own"},
            "type": {**text, "description": f"concord.<owner>.<name>.{MAJOR}"},
            "subject": {**text, "description": "id of the aggregate an event happened to"},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"type": "string", "description": "application/json"},
            "dataschema": {"type": "string", "format": "uri"},
            "sequence": {
                "description": "position among the events of its aggregate, from 1, without gaps",
                "anyOf": [
                    {"type": "integer", "minimum": 0, "maximum": MAX_SEQUENCE},
                    {"type": "string", "pattern": "^[0-9]+$"},
                ],
            },
            "correlationid": {**text, "description": "id of the message that started it all"},
            "causationid": {**text, "description": "id of the message that caused this one"},
            "traceparent": {"type": "string", "description": "W3C Trace Context"},
            "data": {"type": "object"},
        },
    }


def data_schema(contract: type[Message]) -> Schema:
    """What the data of a message may be."""
    return contract.model_json_schema()


def answer_schema(contract: type[Message]) -> Schema | None:
    """What a query is answered with; ``None`` for anything else."""
    return TypeAdapter(contract.result()).json_schema(mode="serialization") if issubclass(contract, Query) else None


def message_schema(contract: type[Message]) -> Schema:
    """The schema file of one message: data at the root, ``#message`` and ``#answer`` beside it."""
    data = data_schema(contract)
    definitions = data.pop("$defs", {})
    definitions["message"] = {
        "$anchor": "message",
        "allOf": [{"$ref": CLOUDEVENT}],
        "properties": {"type": {"const": contract.wire.type}, "data": {"$ref": "#"}},
    }
    if answer := answer_schema(contract):
        definitions |= answer.pop("$defs", {})
        definitions["answer"] = {"$anchor": "answer", **answer}
    return {"$schema": DIALECT, "$id": schema_address(contract), **data, "$defs": definitions}


# ---- AsyncAPI ------------------------------------------------------------------------------------------------------


class _Components:
    """Collects the schemas of an AsyncAPI document under names of their own, ``<owner>.<Model>``."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self.messages: dict[str, Schema] = {}

    def add(self, owner: str, name: str, schema: Schema) -> Schema:
        """Keeps a schema with its definitions, and answers with a reference to it."""
        for part, definition in {**schema.pop("$defs", {}), name: schema}.items():
            self.keep(f"{owner}.{part}", _for_asyncapi(definition, owner))
        return {"$ref": f"#/components/schemas/{owner}.{name}"}

    def keep(self, name: str, schema: Schema) -> None:
        if self.schemas.setdefault(name, schema) != schema:
            raise TypeError(f"two different schemas would be called {name}; rename one of the models")


def _for_asyncapi(schema: Any, owner: str) -> Any:
    """Points references at the components, and writes a discriminator as AsyncAPI has it: the field's name alone."""
    if isinstance(schema, list):
        return [_for_asyncapi(part, owner) for part in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: _for_asyncapi(part, owner) for name, part in schema.items()}
    if isinstance(reference := changed.get("$ref"), str):
        changed["$ref"] = reference.replace("#/$defs/", f"#/components/schemas/{owner}.")
    if isinstance(discriminator := changed.get("discriminator"), dict) and "propertyName" in discriminator:
        changed["discriminator"] = discriminator["propertyName"]
    return changed


def asyncapi() -> Schema:
    """The AsyncAPI 3.0 document, seen from the platform: it *receives* commands and *sends* events."""
    components = _Components()
    envelope = {name: part for name, part in envelope_schema().items() if not name.startswith("$")}
    components.keep("CloudEvent", envelope)
    reply = components.add("platform", "Reply", TypeAdapter(Reply).json_schema(mode="serialization"))
    channels: dict[str, Schema] = {}
    operations: dict[str, Schema] = {}
    for contract in all_contracts():
        name = f"{contract.wire.owner}.{contract.wire.name}"
        channels[name] = _channel(contract)
        operations[name] = _operation(contract)
        components.messages[name] = _message(contract, components)
        if contract.wire.kind in ("command", "query"):
            channels[f"{name}.reply"] = {
                "address": None,
                "description": "The inbox of whoever asked, named by the request's reply subject.",
                "messages": {"reply": {"$ref": f"#/components/messages/{name}.reply"}},
            }
            components.messages[f"{name}.reply"] = _reply(contract, components, reply)
    return {
        "asyncapi": "3.0.0",
        "id": "urn:concord",
        "info": {
            "title": "Concord",
            "version": MAJOR,
            "description": "An event-driven platform for a network of staff mental-health and wellbeing networks. "
            "Within this major version messages change by addition only.",
        },
        "defaultContentType": STRUCTURED,
        "servers": {
            "local": {
                "host": "localhost:4222",
                "protocol": "nats",
                "description": "A stack that `concord up` started; stack.json in its data directory has its address.",
                "security": [{"$ref": "#/components/securitySchemes/credentials"}],
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": components.messages,
            "schemas": components.schemas,
            "securitySchemes": {
                "credentials": {
                    "type": "asymmetricEncryption",
                    "description": "A .creds file, from `concord access issue`: an NKey and a JWT signed for its role.",
                }
            },
        },
    }


def _channel(contract: type[Message]) -> Schema:
    key, meaning = KEYS[contract.wire.kind]
    parameters: Schema = {key: {"description": meaning}}
    if "{service}" in address(contract):
        parameters["service"] = {"description": "the service that is meant", "enum": list(SERVICES)}
    if "{topic}" in address(contract):
        parameters["topic"] = {"description": "what it is about, one of the subscriber's topics"}
    channel: Schema = {
        "address": address(contract),
        "description": inspect.getdoc(contract) or "",
        "parameters": parameters,
        "messages": {"message": {"$ref": f"#/components/messages/{contract.wire.owner}.{contract.wire.name}"}},
    }
    if stream := _stream(subject_of(contract, "*")):
        channel["x-nats-stream"] = {"name": stream.name, **stream.settings}
        channel["x-nats-durables"] = [
            {"name": durable.name, **durable.settings} for durable in _followers(contract, stream)
        ]
    return channel


def _followers(contract: type[Message], stream: "Stream") -> "list[Durable]":
    """The durables of the services that do something with a message."""
    from shared.streams import durables  # noqa: PLC0415  whoever only asks for a summary need not wait for NATS

    services = [service for service in _services() if _handles(service, contract)]
    found = [durable for service in services for durable in durables(service.name, service.follows)]
    return [durable for durable in found if durable.stream == stream.name]


def _handles(service: "Service", contract: type[Message]) -> bool:
    return contract.wire.type in service.surface.events or (
        contract.wire.kind == "inbound" and contract.wire.name in service.surface.inbound_messages
    )


@functools.cache
def _services() -> "list[Service]":
    # By name, so that whoever only asks for a summary does not wait for all four services to load.
    return [import_module(f"services.{name}.main").SERVICE for name in SERVICES]


def _stream(subject: str) -> "Stream | None":
    """The stream that keeps what is published on a subject; commands and queries are kept in none."""
    from shared.streams import platform_streams  # noqa: PLC0415  as above

    for stream in platform_streams():
        for pattern in stream.settings["subjects"]:
            if pattern == subject or (pattern.endswith(">") and subject.startswith(pattern[:-1])):
                return stream
    return None


def _operation(contract: type[Message]) -> Schema:
    name = f"{contract.wire.owner}.{contract.wire.name}"
    operation: Schema = {
        "action": "receive" if contract.wire.kind in ("command", "query", "inbound") else "send",
        "summary": summary(contract),
        "channel": {"$ref": f"#/channels/{name}"},
        "tags": [{"name": contract.wire.owner}, {"name": contract.wire.kind}],
    }
    if contract.wire.kind in ("command", "query"):
        operation["reply"] = {
            "address": {"location": "$message.header#/reply", "description": "the reply subject of the NATS message"},
            "channel": {"$ref": f"#/channels/{name}.reply"},
        }
        operation["x-roles"] = list(getattr(contract, "roles", ()))
    return operation


def _message(contract: type[Message], components: _Components) -> Schema:
    data = components.add(contract.wire.owner, contract.__name__, data_schema(contract))
    return {
        "name": contract.wire.type,
        "title": contract.__name__,
        "summary": summary(contract),
        "contentType": STRUCTURED,
        "payload": {
            "allOf": [{"$ref": "#/components/schemas/CloudEvent"}],
            "properties": {"type": {"const": contract.wire.type}, "data": data},
        },
        "x-dataschema": schema_address(contract),
    }


def _reply(contract: type[Message], components: _Components, reply: Schema) -> Schema:
    payload = reply
    if issubclass(contract, Query) and (answer := answer_schema(contract)):
        given = components.add(contract.wire.owner, contract.result().__name__, answer)
        payload = {"allOf": [reply], "properties": {"answer": {"anyOf": [given, {"type": "null"}]}}}
    return {"title": f"Reply to {contract.__name__}", "contentType": "application/json", "payload": payload}


# ---- files ---------------------------------------------------------------------------------------------------------


def files() -> dict[str, str]:
    """Every generated file: path under ``docs/contracts`` → text."""
    documents: dict[str, Schema] = {"asyncapi.json": asyncapi(), "schemas/cloudevent.json": envelope_schema()}
    for contract in all_contracts():
        documents[f"schemas/{contract.wire.owner}/{contract.wire.name}.json"] = message_schema(contract)
    return {path: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for path, document in documents.items()}


def stale(directory: Path = DIRECTORY) -> list[str]:
    """The files of a directory that ``write`` would change, add or remove."""
    wanted = files()
    present = {
        path.relative_to(directory).as_posix(): path.read_text(encoding="utf-8")
        for path in [directory / "asyncapi.json", *(directory / "schemas").rglob("*.json")]
        if path.is_file()
    }
    return sorted(path for path in wanted.keys() | present.keys() if wanted.get(path) != present.get(path))


def write(directory: Path = DIRECTORY) -> list[str]:
    """Brings a directory up to date, and answers with the paths it changed, added or removed."""
    wanted = files()
    changed = stale(directory)
    for path in changed:
        target = directory / path
        if path in wanted:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(wanted[path], encoding="utf-8")
        else:
            target.unlink()
    return changed
