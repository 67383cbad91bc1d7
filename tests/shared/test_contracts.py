"""The published contracts: up to date, valid, and within a major version only ever added to."""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import BaseModel, Field
from referencing import Registry, Resource

from deploy import compatibility, schemas
from shared.contracts import cloudevent
from shared.contracts.message import Message
from shared.contracts.platform import ListDeadLetters, ReplayDeadLetter, Reply

ROOT = Path(__file__).parents[2]
NODE_MODULES = ROOT / "build" / "node" / "node_modules"
AN_ID = "0190a6f0-0000-7000-8000-000000000000"


# ---- what is checked in --------------------------------------------------------------------------------------------


def test_the_published_contracts_are_those_of_the_code_and_only_add_to_the_last_release() -> None:
    # A process of its own, since tests declare contracts for themselves, which then stand in the register.
    program = Path(sys.executable).parent / "concord"
    checked = subprocess.run([program, "contracts", "check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_stale_contract_is_found_whether_changed_missing_or_left_over(tmp_path: Path) -> None:
    schemas.write(tmp_path)
    assert schemas.stale(tmp_path) == []
    (tmp_path / "asyncapi.json").write_text("{}")
    (tmp_path / "schemas/platform/health.json").unlink()
    (tmp_path / "schemas/platform/forgotten.json").write_text("{}")
    found = ["asyncapi.json", "schemas/platform/forgotten.json", "schemas/platform/health.json"]
    assert schemas.stale(tmp_path) == found
    assert schemas.write(tmp_path) == found
    assert schemas.stale(tmp_path) == []


# ---- JSON Schema ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def registry() -> Registry[Any]:
    documents = [schemas.envelope_schema(), *(schemas.message_schema(c) for c in schemas.all_contracts())]
    return Registry().with_resources((d["$id"], Resource.from_contents(d)) for d in documents)


def validator(registry: Registry[Any], contract: type[Message], part: str = "") -> Draft202012Validator:
    schema = {"$ref": cloudevent.schema_address(contract) + part}
    return Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())


@pytest.mark.parametrize("contract", schemas.all_contracts(), ids=lambda c: c.wire.type)
def test_each_schema_is_valid_json_schema(contract: type[Message], registry: Registry[Any]) -> None:
    schema = schemas.message_schema(contract)
    Draft202012Validator.check_schema(schema)
    refused = validator(registry, contract).is_valid("a message is an object")
    assert refused is False


def test_a_message_as_it_is_written_keeps_to_its_schema(registry: Registry[Any]) -> None:
    at = datetime(2026, 3, 9, 14, 30, tzinfo=UTC)
    payload = cloudevent.write(ReplayDeadLetter(letter=AN_ID), id="a", source="/operator", time=at, sequence=3)
    written = json.loads(payload)
    assert written["dataschema"] == schemas.message_schema(ReplayDeadLetter)["$id"]
    whole = validator(registry, ReplayDeadLetter, "#message")
    assert list(whole.iter_errors(written)) == []
    for spoilt in ({"specversion": "0.3"}, {"type": "concord.platform.health.v1"}, {"data": {"letter": 7}}, {"id": ""}):
        assert not whole.is_valid(written | spoilt), spoilt


def test_the_schema_of_a_query_holds_its_answer(registry: Registry[Any]) -> None:
    answer = validator(registry, ListDeadLetters, "#answer")
    assert answer.is_valid({"letters": [], "total": 0})
    assert not answer.is_valid({"letters": [{"id": "x"}], "total": 1})


# ---- AsyncAPI ------------------------------------------------------------------------------------------------------


def test_every_contract_has_a_channel_and_an_operation_and_requests_have_a_reply() -> None:
    document = schemas.asyncapi()
    for contract in schemas.all_contracts():
        name = f"{contract.wire.owner}.{contract.wire.name}"
        channel, operation = document["channels"][name], document["operations"][name]
        parameters = {f"{{{parameter}}}" for parameter in channel["parameters"]}
        assert parameters == {token for token in channel["address"].split(".") if token.startswith("{")}
        asks = contract.wire.kind in ("command", "query")
        assert ("reply" in operation) is asks
        assert ("x-nats-stream" in channel) is not asks, "what is not a request is kept in a stream"


def test_a_stream_stands_in_the_document_as_it_is_declared() -> None:
    stream = schemas.asyncapi()["channels"]["platform.inbound-refused"]["x-nats-stream"]
    assert stream["name"] == "INBOUND-REFUSED"
    assert stream["allow_atomic"] is True


def test_the_reference_parser_finds_nothing_wrong_with_the_document() -> None:
    diagnostics = parse(ROOT / "docs/contracts/asyncapi.json")
    # The one thing it says is that a later version of AsyncAPI exists.
    assert [d for d in diagnostics if d["code"] != "asyncapi-latest-version"] == []


def test_the_reference_parser_would_find_a_mistake(tmp_path: Path) -> None:
    document = schemas.asyncapi()
    document["operations"]["platform.health"]["channel"] = {"$ref": "#/channels/nowhere"}
    (tmp_path / "asyncapi.json").write_text(json.dumps(document))
    assert any(d["severity"] == 0 for d in parse(tmp_path / "asyncapi.json"))


def parse(document: Path) -> list[dict[str, Any]]:
    if shutil.which("node") is None:
        pytest.skip("Node is not on this machine: the AsyncAPI document is not checked with @asyncapi/parser")
    if not NODE_MODULES.is_dir():
        pytest.skip("the npm packages are not installed (run `make node`): @asyncapi/parser is missing")
    program = ROOT / "tests/deploy/node/validate.mjs"
    ran = subprocess.run(["node", program, document, NODE_MODULES], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    diagnostics: list[dict[str, Any]] = json.loads(ran.stdout)
    return diagnostics


# ---- additions and breaks ------------------------------------------------------------------------------------------


class Seat(BaseModel):
    name: str = Field(max_length=20)
    fte: float = Field(gt=0, le=1)


class Part(BaseModel):
    name: str
    parts: list["Part"] = []


class Appoint(BaseModel, extra="forbid"):
    person: str = Field(pattern="^[a-z]+$")
    seat: Literal["lead", "work-stream-lead"]
    size: int = Field(default=1, ge=1, le=6)
    note: str | None = None
    seats: tuple[Seat, ...] = Field(default=(), max_length=5)
    by_name: dict[str, Seat] = {}
    tree: Part | None = None


Change = Callable[[dict[str, Any]], Any]


def field(name: str, **changes: Any) -> Change:
    return lambda schema: schema["properties"][name].update(changes)


def model(name: str, change: Change) -> Change:
    return lambda schema: change(schema["$defs"][name])


def without(name: str) -> Change:
    return lambda schema: schema["properties"].pop(name)


def required(*names: str) -> Change:
    return lambda schema: schema["required"].extend(names)


def optional(name: str) -> Change:
    return lambda schema: schema["required"].remove(name)


def added(name: str, *, is_required: bool = False) -> Change:
    def change(schema: dict[str, Any]) -> None:
        schema["properties"][name] = {"type": "string"}
        schema["required"].extend([name] if is_required else [])

    return change


# What is changed, how, and whether that breaks what is read and what is written.
CHANGES: list[tuple[str, Change, bool, bool]] = [
    ("nothing", lambda schema: schema.update({}), False, False),
    ("a description", field("size", description="how many"), False, False),
    ("an optional field is added", added("reason"), False, False),
    ("a required field is added", added("reason", is_required=True), True, False),
    ("a field is removed", without("note"), True, True),
    ("an optional field becomes required", required("note"), True, False),
    ("a required field becomes optional", optional("person"), False, True),
    ("a choice is taken away", field("seat", enum=["lead"]), True, False),
    ("a choice is added", field("seat", enum=["lead", "work-stream-lead", "co-lead"]), False, True),
    ("choices become free text", lambda s: s["properties"]["seat"].pop("enum"), False, True),
    ("a whole number becomes a number", field("size", type="number"), False, True),
    ("a number becomes text", field("size", type="string"), True, True),
    ("a null is no longer taken", field("note", anyOf=[{"type": "string"}]), True, False),
    ("a limit is drawn closer", field("size", maximum=5), True, False),
    ("a limit is loosened", field("size", maximum=7), False, True),
    ("a limit becomes exclusive", field("size", exclusiveMaximum=6), True, False),
    ("a form is asked for", field("note", anyOf=[{"type": "string", "pattern": "x"}, {"type": "null"}]), True, False),
    ("a form is another", field("person", pattern="^[A-Z]+$"), True, True),
    ("fewer entries", field("seats", maxItems=4), True, False),
    ("a field of a part is removed", model("Seat", without("fte")), True, True),
    ("a field of a part is added", model("Seat", added("from")), False, False),
    ("text of a part is longer", model("Seat", field("name", maxLength=30)), False, True),
    ("the parts of a mapping are numbers", field("by_name", additionalProperties={"type": "number"}), True, True),
    ("a model within itself loses a field", model("Part", without("parts")), True, True),
    ("a model within itself gains a field", model("Part", added("kind")), False, False),
    ("a keyword nobody here knows", field("person", **{"not": {"const": "x"}}), True, False),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "breaks_reading", "breaks_writing"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_a_change_breaks_reading_or_writing_as_the_table_says(
    change: Change, breaks_reading: bool, breaks_writing: bool
) -> None:
    old = Appoint.model_json_schema()
    new = copy.deepcopy(old)
    change(new)
    assert bool(broken(read=(old, new))) is breaks_reading, broken(read=(old, new))
    assert bool(broken(written=(old, new))) is breaks_writing, broken(written=(old, new))


def broken(**schemas_by_direction: tuple[Any, Any]) -> list[str]:
    def side(index: int) -> compatibility.Snapshot:
        parts = {direction: pair[index] for direction, pair in schemas_by_direction.items()}
        return {"appoint": {"kind": "command", "roles": [], "read": None, "written": None, **parts}}

    return compatibility.breaks(side(0), side(1))


def test_a_break_says_where_what_it_was_and_what_it_is() -> None:
    old = Appoint.model_json_schema()
    new = copy.deepcopy(old)
    field("seat", enum=["lead"])(new)
    added("reason", is_required=True)(new)
    without("note")(new)
    model("Seat", field("fte", maximum=0.5))(new)
    assert broken(read=(old, new)) == [
        "appoint, as read: by_name.*.fte: the most was 1, and is 0.5.",
        "appoint, as read: note: the field was there, and is gone.",
        "appoint, as read: reason: the field was unknown, and is required.",
        'appoint, as read: seat: the choice was ["lead", "work-stream-lead"], and is ["lead"].',
        "appoint, as read: seats.*.fte: the most was 1, and is 0.5.",
    ]


def test_a_message_that_is_gone_or_turned_into_another_kind_or_closed_to_a_role_is_a_break() -> None:
    old = {"a": {"kind": "command", "roles": ["operator", "member"], "read": {}, "written": None}}
    assert compatibility.breaks(old, {}) == ["a is gone."]
    changed = {"a": {"kind": "query", "roles": ["operator"], "read": {}, "written": None}, "b": old["a"]}
    assert compatibility.breaks(old, changed) == [
        "a was of the kind command, and is query.",
        "a may no longer be sent by member.",
    ]
    assert compatibility.breaks(old, {**old, "b": old["a"]}) == []


def test_the_contracts_only_add_to_themselves(tmp_path: Path) -> None:
    compatibility.release(tmp_path / "v1.json")
    assert compatibility.breaks(compatibility.released(tmp_path / "v1.json"), compatibility.snapshot()) == []


def test_a_message_or_a_field_that_is_not_in_the_baseline_is_found(tmp_path: Path) -> None:
    compatibility.release(tmp_path / "v1.json")
    then, now = compatibility.released(tmp_path / "v1.json"), compatibility.snapshot()
    assert compatibility.unguarded(then, now) == []
    name = "concord.membership.raise-concern.v1"
    before = copy.deepcopy(then)
    del before[name]["read"]["properties"]["suggestion"]
    assert compatibility.unguarded(before, now) == [name]
    del before[name]
    assert compatibility.unguarded(before, now) == [name]


def test_a_reply_without_its_refusal_would_be_found() -> None:
    old = compatibility.snapshot()
    new = copy.deepcopy(old)
    del new["reply"]["written"]["properties"]["refusal"]
    assert compatibility.breaks(old, new) == ["reply, as written: refusal: the field was there, and is gone."]
    assert Reply.model_fields.keys() >= {"refusal"}


# Small schemas, and values of them, to hold the comparison against a validator.
def _whole(low: int, span: int) -> Any:
    return {"type": "integer", "minimum": low, "maximum": low + span}


def _above(low: int, span: int) -> Any:
    return {"type": "number", "exclusiveMinimum": low, "maximum": low + span}


def _closed(properties: dict[str, Any], named: set[str]) -> Any:
    required = sorted(named & properties.keys())
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


NAMES = st.sampled_from("pqr")
LEAVES = st.one_of(
    st.builds(_whole, st.integers(-3, 3), st.integers(0, 3)),
    st.builds(_above, st.integers(-3, 3), st.integers(1, 3)),
    st.builds(lambda choices: {"enum": sorted(choices)}, st.sets(st.sampled_from("abc"), min_size=1)),
    st.builds(lambda longest: {"type": "string", "maxLength": longest}, st.integers(0, 3)),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"const": 1}, {"const": "b"}, {"type": "string"}, {}]),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(_closed, st.dictionaries(NAMES, inner, max_size=3), st.sets(NAMES)),
        st.builds(lambda part: {"type": "object", "additionalProperties": part}, inner),
        st.builds(lambda part, most: {"type": "array", "items": part, "maxItems": most}, inner, st.integers(0, 2)),
        st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner),
    ),
    max_leaves=4,
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-4, 7), st.sampled_from(["", *"abc", "abcd"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=5,
)


def altered(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The schema with something about it changed, or not: a field, a limit, a choice, a part, an alternative."""
    changes = [st.just(schema), SCHEMAS, SCHEMAS.map(lambda other: {"anyOf": [other, schema]})]
    for limit in schema.keys() & {"minimum", "exclusiveMinimum", "maximum", "maxLength", "maxItems"}:
        changes.append(st.integers(-1, 1).map(lambda by, limit=limit: {**schema, limit: max(schema[limit] + by, -4)}))
    for part in schema.keys() & {"items", "additionalProperties"}:
        if isinstance(schema[part], dict):
            changes.append(altered(schema[part]).map(lambda inner, part=part: {**schema, part: inner}))
    if "anyOf" in schema:
        changes.append(st.tuples(*map(altered, schema["anyOf"])).map(lambda parts: {"anyOf": list(parts)}))
    if "enum" in schema:
        changes.append(st.sets(st.sampled_from("abc"), min_size=1).map(lambda choices: {"enum": sorted(choices)}))
    if "properties" in schema:
        fields = {name: altered(part) for name, part in schema["properties"].items()}
        changes.append(st.builds(_closed, st.fixed_dictionaries({}, optional=fields), st.sets(NAMES)))
        changes.append(st.builds(_closed, st.fixed_dictionaries(fields), st.just(set(schema["required"]))))
    return st.one_of(changes)


def values_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:  # noqa: PLR0911  each return is one kind of schema
    """Values that the schema takes; of an open end, those of the small world of this test."""
    if "anyOf" in schema:
        return st.one_of([values_of(part) for part in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    match schema.get("type"):
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            low, high = schema["exclusiveMinimum"], schema["maximum"]
            return st.one_of(st.just(high), st.floats(low, high, exclude_min=True))
        case "string":
            return st.text("ab", max_size=schema.get("maxLength", 4))
        case "array":
            return st.lists(values_of(schema["items"]), max_size=schema["maxItems"])
        case "object" if "properties" in schema:
            fields = {name: values_of(part) for name, part in schema["properties"].items()}
            kept = {name: fields.pop(name) for name in schema["required"]}
            return st.fixed_dictionaries(kept, optional=fields)
        case "object":
            return st.dictionaries(NAMES, values_of(schema["additionalProperties"]), max_size=3)
        case _:
            return ANYTHING


@settings(max_examples=500, deadline=None)
@given(st.data(), SCHEMAS)
def test_what_is_called_an_addition_takes_every_value_that_was_taken(data: st.DataObject, old: dict[str, Any]) -> None:
    new = data.draw(altered(old), label="new")
    if not broken(read=(old, new)):
        for value in data.draw(st.lists(values_of(old), min_size=1, max_size=5), label="values"):
            assert Draft202012Validator(new).is_valid(value)


@settings(max_examples=100, deadline=None)
@given(SCHEMAS)
def test_no_schema_breaks_itself(schema: dict[str, Any]) -> None:
    assert broken(read=(schema, schema), written=(schema, schema)) == []
