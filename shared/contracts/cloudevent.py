"""CloudEvents 1.0 on NATS: read in structured and binary mode, written in both.

Sources: CloudEvents 1.0.2 (specification, JSON event format) and its NATS protocol binding 1.0.3. Beyond these,
Concord asks that ``data`` is a JSON object and that attributes keep to the limits below. ``sequence`` is written as a
CloudEvents Integer; a string of digits is read as well, since that is how the binary mode carries it.
"""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NamedTuple, NotRequired, Required, TypeVar, Unpack, get_args
from urllib.parse import quote, unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails, from_json, to_json
from typing_extensions import TypedDict  # of the standard library's, pydantic takes only that of Python 3.12

from shared.contracts.message import MAIL_ADDRESS_PATTERN, PRINCIPAL_PATTERN, TIME_OF_DAY_PATTERN, Message
from shared.refusal import Refusal

MAX_PAYLOAD_BYTES = 1024 * 1024  # the largest message NATS takes with its default settings
MAX_ATTRIBUTE_LENGTH = 256
MAX_SEQUENCE = 2**63 - 1  # what a database integer holds
MAX_PROBLEMS = 20  # of a message with more, the first are told and the rest counted
MAX_ECHO = 60  # characters of a name that came from outside; values that came from outside are never told back

STRUCTURED: Final = "application/cloudevents+json"
JSON: Final = "application/json"
STRUCTURED_HEADERS: Final[Mapping[str, str]] = {"content-type": STRUCTURED}

_TEXT_ATTRIBUTES = ("id", "source", "type", "subject", "correlationid", "causationid")
_REQUIRED = frozenset(("id", "source", "type"))
_control_character = re.compile(r"[\x00-\x1f\x7f-\x9f]").search
_rfc3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)").fullmatch
_json_media_type = re.compile(r"[^/;\s]+/([^/;\s]+\+)?json\s*(;.*)?", re.IGNORECASE | re.DOTALL).fullmatch
TRACEPARENT = r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
_traceparent = re.compile(TRACEPARENT).fullmatch
_position = re.compile(r"(.*) at line (\d+) column (\d+)", re.DOTALL).fullmatch
_quoted_pair = re.compile(r"\\(.)")
# Every printable ASCII character except space, double quote and percent stands for itself in a header.
_SAFE_IN_HEADERS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')

M = TypeVar("M", bound=Message)


class Envelope(NamedTuple):
    """One CloudEvent: its attributes and its data, which is a JSON object already parsed but not yet validated."""

    id: str
    source: str
    type: str
    data: dict[str, Any]
    subject: str | None = None
    time: datetime | None = None
    sequence: int | None = None
    correlationid: str | None = None
    causationid: str | None = None
    traceparent: str | None = None


def schema_address(contract: type[Message]) -> str:
    """The CloudEvents ``dataschema`` of a contract: a name for its JSON Schema, not a place to fetch it from."""
    return f"urn:concord:schema:{contract.wire.type}"


# ---- reading -------------------------------------------------------------------------------------------------------


def read(headers: Mapping[str, str] | None, payload: bytes) -> Envelope | Refusal:
    """Reads a CloudEvent in whichever mode it came; a refusal has its ``id`` in ``data`` where that could be read."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        return Refusal(
            code="message-too-large",
            sentence=f"The message has {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are taken.",
            data={"bytes": len(payload), "max_bytes": MAX_PAYLOAD_BYTES},
        )
    is_structured = _is_plainly_structured(headers)
    return (is_structured and _plain(payload)) or _at_length(headers or {}, payload, is_structured=is_structured)


def _at_length(headers: Mapping[str, str], payload: bytes, *, is_structured: bool) -> Envelope | Refusal:
    attributes = _structured(payload) if is_structured else _in_either_mode(headers, payload)
    if isinstance(attributes, Refusal):
        return attributes
    envelope = _envelope(attributes)
    if isinstance(envelope, Refusal):
        known = attributes.get("id")
        if type(known) is str and 0 < len(known) <= MAX_ATTRIBUTE_LENGTH and not _control_character(known):
            return envelope.model_copy(update={"data": {**envelope.data, "id": known}})
        return envelope
    if b"\\u0000" in payload and (path := _path_of_nul(envelope.data, ())):
        where = ".".join(path)
        return Refusal(
            code="nul-character",
            sentence=f"The field {where} contains the character U+0000, which cannot be stored; leave it out.",
            field=where,
            data={"id": envelope.id},
        )
    return envelope


_Text = Annotated[str, Field(min_length=1, max_length=MAX_ATTRIBUTE_LENGTH)]


@with_config(ConfigDict(extra="ignore", strict=True, allow_inf_nan=False))
class _Plain(TypedDict):
    """The attributes of a message that nothing is wrong with."""

    specversion: Literal["1.0"]
    id: _Text
    source: _Text
    type: _Text
    subject: NotRequired[_Text | None]
    time: NotRequired[str | None]
    sequence: NotRequired[Annotated[int, Field(ge=0, le=MAX_SEQUENCE)] | None]
    correlationid: NotRequired[_Text | None]
    causationid: NotRequired[_Text | None]
    traceparent: NotRequired[Annotated[str, Field(pattern=f"^{TRACEPARENT}$")] | None]
    datacontenttype: NotRequired[Literal["application/json"] | None]
    data: dict[str, Any]


_HIDING = b"\\\x7f"
"""In what is ASCII and JSON, no control character can stand without one of these."""

_read_plain = TypeAdapter(_Plain).validator.validate_json


def _plain(payload: bytes) -> Envelope | None:
    """Reads a message in one go; ``None`` if anything about it is unusual: the long way finds the words for that."""
    if not payload.isascii() or len(payload.translate(None, _HIDING)) < len(payload):
        return None
    if b"NaN" in payload or b"Infinity" in payload or b"data_base64" in payload:
        return None
    try:
        attributes = _read_plain(payload)
    except ValidationError:
        return None
    get = attributes.get
    time = get("time")
    if time is not None:
        time = _instant(time)
        if isinstance(time, Refusal):
            return None
    return Envelope(
        attributes["id"],
        attributes["source"],
        attributes["type"],
        attributes["data"],
        get("subject"),
        time,
        get("sequence"),
        get("correlationid"),
        get("causationid"),
        get("traceparent"),
    )


def _is_plainly_structured(headers: Mapping[str, str] | None) -> bool:
    return headers is not None and (
        headers.get("content-type") == STRUCTURED or headers.get("Content-Type") == STRUCTURED
    )


def _in_either_mode(headers: Mapping[str, str], payload: bytes) -> dict[str, Any] | Refusal:
    lowered = {name.lower(): value for name, value in headers.items()}
    content_type = lowered.get("content-type", "").strip()
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == STRUCTURED:
        return _structured(payload)
    is_binary = any(name.startswith("ce-") for name in lowered)
    if media_type.startswith("application/cloudevents") or (content_type and not is_binary):
        return Refusal(
            code="wrong-content-type",
            sentence=f"The content type is {_cut(content_type)!r}; "
            f"send {STRUCTURED}, or ce- headers with application/json.",
            field="content-type",
        )
    if not is_binary:
        return Refusal(
            code="content-type-missing",
            sentence=f"The message has neither a content-type header nor ce- headers; "
            f"send it as {STRUCTURED}, or with ce- headers and application/json.",
            field="content-type",
        )
    return _binary(lowered, content_type, payload)


def _structured(payload: bytes) -> dict[str, Any] | Refusal:
    attributes = _json_object(payload, "message")
    if not isinstance(attributes, Refusal) and "data_base64" in attributes:
        return Refusal(
            code="data-is-binary",
            sentence="The message carries data_base64; send its data as a JSON object in data.",
            field="data_base64",
        )
    return attributes


def _binary(lowered: Mapping[str, str], content_type: str, payload: bytes) -> dict[str, Any] | Refusal:
    attributes: dict[str, Any] = {}
    for name, value in lowered.items():
        if name.startswith("ce-"):
            try:
                attributes[name[3:]] = _from_header(value)
            except UnicodeError:
                return Refusal(
                    code="bad-header-encoding",
                    sentence=f"The header {_cut(name)} is not percent-encoded UTF-8; "
                    "encode its text as UTF-8 and each byte outside printable ASCII as %XX, once.",
                    field=_cut(name),
                )
    if content_type:
        attributes["datacontenttype"] = content_type
    # Checked before the data is read, so that XML is told that it is not JSON rather than that it is broken JSON.
    if (wrong := _wrong_data_content_type(attributes)) is not None:
        return wrong
    data = _json_object(payload, "data")
    if isinstance(data, Refusal):
        return data
    attributes["data"] = data
    return attributes


def _json_object(payload: bytes, what: str) -> dict[str, Any] | Refusal:
    try:
        value = from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        reason, position = str(error), {}
        if found := _position(reason):
            position = {"line": int(found[2]), "column": int(found[3])}
        return Refusal(
            code="broken-json",
            sentence=f"The {what} is not JSON: {reason}. Send one JSON object in UTF-8.",
            data=position,
        )
    if type(value) is not dict:
        return Refusal(
            code="not-an-object",
            sentence=f"The {what} is {_kind(value)}; send one JSON object.",
            field="data" if what == "data" else None,
        )
    return value


def _envelope(attributes: dict[str, Any]) -> Envelope | Refusal:  # noqa: PLR0911  each return is one refusal
    get = attributes.get
    if get("specversion") != "1.0":
        return Refusal(
            code="wrong-specversion",
            sentence='The attribute specversion is missing or not "1.0"; Concord speaks CloudEvents 1.0.',
            field="specversion",
        )
    for name in _TEXT_ATTRIBUTES:
        value = get(name)
        if value is None:
            if name in _REQUIRED:
                return _missing(name)
        elif type(value) is not str or not 0 < len(value) <= MAX_ATTRIBUTE_LENGTH:
            return _bad_text(name, value)
        if value is not None and not value.isprintable() and _control_character(value):  # the first is the quick one
            return _bad_text(name, value)
    time = get("time")
    if time is not None:
        time = _instant(time) if type(time) is str else _bad_time()
        if isinstance(time, Refusal):
            return time
    sequence = get("sequence")
    if sequence is not None:
        sequence = _whole_number(sequence)
        if isinstance(sequence, Refusal):
            return sequence
    if "datacontenttype" in attributes and (wrong := _wrong_data_content_type(attributes)) is not None:
        return wrong
    data = get("data")
    if type(data) is not dict:
        return Refusal(
            code="data-not-an-object" if "data" in attributes else "data-missing",
            sentence=f"The message's data is {_kind(data) if 'data' in attributes else 'missing'}; "
            "send a JSON object, {} where there is nothing to say.",
            field="data",
        )
    trace = get("traceparent")
    return Envelope(
        attributes["id"],
        attributes["source"],
        attributes["type"],
        data,
        get("subject"),
        time,
        sequence,
        get("correlationid"),
        get("causationid"),
        # W3C Trace Context: a traceparent that cannot be read is to be ignored, not to stop the message.
        trace if type(trace) is str and _traceparent(trace) else None,
    )


def _missing(name: str) -> Refusal:
    return Refusal(
        code=f"{name}-missing",
        sentence=f"The attribute {name} is missing; every CloudEvent has an id, a source and a type.",
        field=name,
    )


def _bad_text(name: str, value: Any) -> Refusal:
    if type(value) is not str:
        return Refusal(
            code=f"{name}-not-text",
            sentence=f"The attribute {name} is {_kind(value)}; send text of at most {MAX_ATTRIBUTE_LENGTH} characters.",
            field=name,
        )
    if not value:
        return _missing(name)
    if len(value) > MAX_ATTRIBUTE_LENGTH:
        return Refusal(
            code=f"{name}-too-long",
            sentence=f"The attribute {name} has {len(value)} characters; at most {MAX_ATTRIBUTE_LENGTH} are taken.",
            field=name,
            data={"length": len(value), "max_length": MAX_ATTRIBUTE_LENGTH},
        )
    return Refusal(
        code="control-character",
        sentence=f"The attribute {name} contains a control character; CloudEvents allows none, leave it out.",
        field=name,
    )


@lru_cache(maxsize=16)
def _instant(value: str) -> datetime | Refusal:
    """Everything one transaction wrote has the same time, so the same text comes many times in a row."""
    if len(value) <= MAX_ATTRIBUTE_LENGTH and _rfc3339(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # the right form, but no such day, hour or offset: refused like any other text that is no moment
    return _bad_time()


def _bad_time() -> Refusal:
    return Refusal(
        code="bad-time",
        sentence="The attribute time is not a moment by RFC 3339 with an offset; one looks like 2026-03-09T14:30:00Z.",
        field="time",
    )


def _whole_number(value: Any) -> int | Refusal:
    if type(value) is str and value.isascii() and value.isdigit() and len(value) <= len(str(MAX_SEQUENCE)):
        value = int(value)
    if type(value) is int and 0 <= value <= MAX_SEQUENCE:
        return value
    return Refusal(
        code="bad-sequence",
        sentence=f"The attribute sequence is not a whole number from 0 to {MAX_SEQUENCE}.",
        field="sequence",
    )


def _wrong_data_content_type(attributes: Mapping[str, Any]) -> Refusal | None:
    declared = attributes.get("datacontenttype")
    if declared in (None, JSON) or (type(declared) is str and _json_media_type(declared)):
        return None
    return Refusal(
        code="wrong-data-content-type",
        sentence=f"The attribute datacontenttype is {_cut(str(declared))!r}; Concord takes application/json.",
        field="datacontenttype",
    )


def _from_header(value: str) -> str:
    """Undoes a quoted string and then exactly one round of percent-encoding, as the NATS binding asks."""
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = _quoted_pair.sub(r"\1", value[1:-1])
    return unquote_to_bytes(value).decode() if "%" in value or not value.isascii() else value


def _path_of_nul(value: Any, path: tuple[str, ...]) -> tuple[str, ...] | None:
    if type(value) is str:
        return path if "\0" in value else None
    if type(value) is dict:
        for name, part in value.items():
            here = (*path, _cut(name.replace("\0", "\\u0000")))
            if found := here if "\0" in name else _path_of_nul(part, here):
                return found
    if type(value) is list:
        for position, part in enumerate(value):
            if found := _path_of_nul(part, (*path, str(position))):
                return found
    return None


def _kind(value: Any) -> str:
    names = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), "null")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_ECHO else text[: MAX_ECHO - 1] + "…"


# ---- validating ----------------------------------------------------------------------------------------------------


def parse(envelope: Envelope, contract: type[M]) -> M | Refusal:
    """The data of an envelope as the contract it claims to be; every problem of it is told in one refusal.

    No value of the message is told back, since it may be personal or a megabyte: a problem names the field and what
    would be right.
    """
    if envelope.type != contract.wire.type:
        return Refusal(
            code="wrong-type",
            sentence=f"The message is of type {_cut(envelope.type)}; {contract.wire.type} is expected on this subject.",
            field="type",
            data={"expected": contract.wire.type},
        )
    try:
        return contract.model_validate(envelope.data)
    except ValidationError as error:
        return invalid_fields(error, contract)


def invalid_fields(error: ValidationError, contract: type[Message]) -> Refusal:
    """A refusal with ``data.problems``, a list of ``{field, problem, expected}``, the first of them in its sentence.

    ``expected`` is empty where the problem says it all.
    """
    details = error.errors(include_url=False, include_input=False)
    problems = [_problem(detail, contract) for detail in details[:MAX_PROBLEMS]]
    first, count = problems[0], len(details)
    more = f" And {count - 1} more problem{'s' if count > 2 else ''}." if count > 1 else ""
    subject = f"the field {first['field']} " if first["field"] else "its content "
    return Refusal(
        code="invalid-fields",
        sentence=f"In {contract.wire.name}, {subject}{what_is_wrong(first)}.{more}",
        field=first["field"] or None,
        data={"problems": problems, "count": count},
    )


def what_is_wrong(problem: Mapping[str, str]) -> str:
    """What stands behind the name of a field in a sentence: what is wrong with it, and what would be right."""
    return f"{problem['problem']}; expected: {problem['expected']}" if problem["expected"] else problem["problem"]


_FORMS = {
    PRINCIPAL_PATTERN: "1 to 63 letters, digits, hyphens or underscores, beginning with a letter or digit",
    MAIL_ADDRESS_PATTERN: "an address such as name@example.gov.uk",
    TIME_OF_DAY_PATTERN: "a time such as 07:30",
}
_WORDS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "missing": ("is missing", lambda _: "a value"),
    "string_too_short": ("is too short", lambda given: f"at least {_characters(given['min_length'])}"),
    "string_too_long": ("is too long", lambda given: f"at most {_characters(given['max_length'])}"),
    "string_pattern_mismatch": ("is not in the right form", lambda given: _form(given["pattern"])),
    "too_short": ("has too few entries", lambda given: f"at least {given['min_length']}"),
    "too_long": ("has too many entries", lambda given: f"at most {given['max_length']}"),
    "greater_than": ("is too small", lambda given: f"more than {given['gt']}"),
    "greater_than_equal": ("is too small", lambda given: f"at least {given['ge']}"),
    "less_than": ("is too large", lambda given: f"less than {given['lt']}"),
    "less_than_equal": ("is too large", lambda given: f"at most {given['le']}"),
    "literal_error": ("is not one of the choices", lambda given: str(given["expected"])),
    "enum": ("is not one of the choices", lambda given: str(given["expected"])),
    "timezone_aware": ("has no time zone", lambda _: _MOMENT),
    "bool_parsing": ("is neither true nor false", lambda _: "true or false"),
    "url_too_long": ("is too long", lambda given: f"at most {_characters(given['max_length'])}"),
    "int_from_float": ("is not a whole number", lambda _: "a number such as 5"),
}
_MOMENT = "a moment such as 2026-12-20T12:00:00Z"
_KINDS = {
    "datetime": ("is not a moment", _MOMENT),
    "date": ("is not a date", "a date such as 2026-12-20"),
    "time": ("is not a time of day", "a time such as 14:30"),
    "float": ("is not a number", "a number such as 0.5"),
    "url": ("is not a web address", "one such as https://example.org/hook"),
    "int": ("is not a whole number", "a number such as 5"),
}
"""By the beginning of the kind of problem: ``datetime_parsing``, ``float_type``."""


def _problem(detail: ErrorDetails, contract: type[Message]) -> dict[str, str]:
    location, kind = detail["loc"], detail["type"]
    field = ".".join(_cut(str(part)) for part in location)
    if kind == "extra_forbidden":
        return {"field": field, "problem": "is not known", "expected": _known(location, contract)}
    if kind in _WORDS:
        problem, allowed = _WORDS[kind]
        return {"field": field, "problem": problem, "expected": allowed(detail.get("ctx", {}))}
    if kind in ("value_error", "assertion_error"):
        return {"field": field, "problem": f"is refused: {detail['msg'].partition(', ')[2][:200]}", "expected": ""}
    if kind in ("model_type", "model_attributes_type"):
        names = [name for model in _models_at(location, contract) for name in model.model_fields]
        return {"field": field, "problem": "is not what is taken here", "expected": _object_of(names)}
    if (first := kind.partition("_")[0]) in _KINDS:
        problem, right = _KINDS[first]
        return {"field": field, "problem": problem, "expected": right}
    expected = detail["msg"].removeprefix("Input should be ").removeprefix("Value should be ")
    return {"field": field, "problem": "is not what is taken here", "expected": expected[:200]}


def _known(location: tuple[int | str, ...], contract: type[Message]) -> str:
    """What was probably meant: the closest field of the part of the contract it stands in, or all of them."""
    names = list(dict.fromkeys(name for model in _models_at(location[:-1], contract) for name in model.model_fields))
    closest = difflib.get_close_matches(str(location[-1])[:MAX_ECHO].lower(), names, n=1)
    if closest:
        return f"perhaps {closest[0]}"
    return f"one of {', '.join(names)}" if names else "no field at all"


def _object_of(names: Sequence[str]) -> str:
    return f"an object with the fields {', '.join(names)}, as far as they are wanted" if names else "an object"


def _models_at(location: tuple[int | str, ...], contract: type[Message]) -> list[type[BaseModel]]:
    """The models that a place in a message can hold."""
    models: list[type[BaseModel]] = [contract]
    for part in location:
        if found := [m for model in models if part in model.model_fields for m in _models(model, str(part))]:
            models = found
    return models


def _models(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    """The models a field can hold, however deep in lists, mappings and choices its type names them."""
    found, waiting = [], [model.model_fields[field].annotation]
    while waiting:
        annotation = waiting.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found.append(annotation)
        waiting.extend(get_args(annotation))
    return found


def _form(pattern: str) -> str:
    if pattern.startswith("^[0-9a-f]{8}-"):
        return "a UUID in lower case"
    return _FORMS.get(pattern, f"text of the form {pattern}")


def _characters(count: int) -> str:
    return "1 character" if count == 1 else f"{count} characters"


# ---- writing -------------------------------------------------------------------------------------------------------


class Attributes(TypedDict, total=False):
    """What a writer says about its message; the type and the schema follow from the message itself."""

    id: Required[str]
    source: Required[str]
    time: Required[datetime]
    subject: str | None
    sequence: int | None
    correlationid: str | None
    causationid: str | None
    traceparent: str | None


def write(message: Message, **attributes: Unpack[Attributes]) -> bytes:
    """The message as structured JSON; publish it with ``STRUCTURED_HEADERS``."""
    own = {name: value for name, value in attributes.items() if value is not None}
    own["time"] = _said(attributes["time"])
    said = to_json(own)[1:-1]
    return b'%b,%b,"data":%b}' % (_head(type(message)), said, message.__pydantic_serializer__.to_json(message))


@lru_cache(maxsize=1024)
def _head(contract: type[Message]) -> bytes:
    """The attributes that all messages of a contract share, as the beginning of a JSON object."""
    return to_json(_shared(contract))[:-1]


def _shared(contract: type[Message]) -> dict[str, str]:
    return {
        "specversion": "1.0",
        "type": contract.wire.type,
        "datacontenttype": JSON,
        "dataschema": schema_address(contract),
    }


def binary(message: Message, **attributes: Unpack[Attributes]) -> tuple[dict[str, str], bytes]:
    """The message in binary mode: ``ce-`` headers, percent-encoded once, and its data alone as the payload."""
    written = _shared(type(message)) | _own(attributes)
    headers = {f"ce-{name}": quote(str(value), safe=_SAFE_IN_HEADERS) for name, value in written.items()}
    return headers, message.__pydantic_serializer__.to_json(message)


def _own(given: Attributes) -> dict[str, str | int]:
    own: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    own["time"] = _said(given["time"])
    return own


@lru_cache(maxsize=16)
def _said(moment: datetime) -> str:
    """A moment by RFC 3339; everything one transaction writes has the same."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
