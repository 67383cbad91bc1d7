"""CloudEvents are read in both modes, written in both, and every fault is told by name, place and remedy."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from shared.contracts import cloudevent
from shared.contracts.cloudevent import JSON, MAX_ATTRIBUTE_LENGTH, MAX_ECHO, MAX_PAYLOAD_BYTES, STRUCTURED, Envelope
from shared.contracts.message import REGISTER, Command, Event, Id, Line, Principal
from shared.refusal import Refusal


class Place(BaseModel, frozen=True, extra="forbid"):
    town: str
    step_free: bool = False


class ProbeVenue(Command):
    """A message of these tests alone."""

    network: Id
    title: Line
    note: str = ""
    capacity: int = Field(default=1, gt=0, le=500)
    booker: Principal = "someone"
    kind: Literal["online", "in-person"] = "online"
    places: dict[str, Place] = Field(default_factory=dict)


class VenueProbed(Event):
    """An event message of these tests alone."""

    key = "network"
    network: Id


for contract in (ProbeVenue, VenueProbed):  # the register is for the platform's own messages
    del REGISTER[contract.wire.type]

NETWORK = "0190b0a5-0000-7000-8000-000000000001"
NOON = datetime(2026, 3, 9, 12, tzinfo=UTC)
PROBE = ProbeVenue(network=NETWORK, title="Spring meeting")
WHOLE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "one",
    "source": "/concord/membership",
    "type": ProbeVenue.wire.type,
    "time": "2026-03-09T12:00:00Z",
    "data": {"network": NETWORK, "title": "Spring meeting"},
}
IN_HEADERS = {f"ce-{name}": value for name, value in WHOLE.items() if name != "data"} | {
    "ce-datacontenttype": "application/json"
}

# What CloudEvents allows in a text attribute: anything but control characters and lone surrogates.
attribute = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=MAX_ATTRIBUTE_LENGTH)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  bounds
contexts = st.fixed_dictionaries(
    {"id": attribute, "source": attribute, "time": moments},
    optional={
        "subject": attribute,
        "sequence": st.integers(0, 2**63 - 1),
        "correlationid": attribute,
        "causationid": attribute,
        "traceparent": st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True),
    },
)
notes = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


def structured(**changes: Any) -> Envelope | Refusal:
    """The whole message with some attributes changed; ``None`` leaves one out."""
    changed = {name: value for name, value in {**WHOLE, **changes}.items() if value is not None}
    return cloudevent.read({"content-type": STRUCTURED}, json.dumps(changed).encode())


def binary(payload: bytes = b"{}", **changes: str | None) -> Envelope | Refusal:
    changed = IN_HEADERS | {f"ce-{name}": value for name, value in changes.items()}
    return cloudevent.read({name: value for name, value in changed.items() if value is not None}, payload)


def refused(answer: object) -> Refusal:
    assert isinstance(answer, Refusal)
    assert answer.sentence.endswith(".")
    return answer


def accepted(answer: Envelope | Refusal) -> Envelope:
    assert isinstance(answer, Envelope), answer
    return answer


def problems_of(data: dict[str, Any]) -> tuple[Refusal, list[dict[str, str]]]:
    answer = refused(cloudevent.parse(accepted(structured(data=data)), ProbeVenue))
    assert answer.code == "invalid-fields"
    return answer, answer.data["problems"]


# ---- round trips ---------------------------------------------------------------------------------------------------


@given(contexts, notes)
def test_what_is_written_in_structured_mode_is_read_back_the_same(context: dict[str, Any], note: str) -> None:
    message = PROBE.model_copy(update={"note": note})
    envelope = accepted(cloudevent.read(cloudevent.STRUCTURED_HEADERS, cloudevent.write(message, **context)))
    assert_carries(envelope, context, message)


@given(contexts, notes)
def test_what_is_written_in_binary_mode_is_read_back_the_same(context: dict[str, Any], note: str) -> None:
    message = PROBE.model_copy(update={"note": note})
    headers, payload = cloudevent.binary(message, **context)
    assert all(value.isascii() and value.isprintable() and not set(value) & set(' "') for value in headers.values())
    assert_carries(accepted(cloudevent.read(headers, payload)), context, message)


def assert_carries(envelope: Envelope, context: dict[str, Any], message: ProbeVenue) -> None:
    for name in ("id", "source", "subject", "time", "sequence", "correlationid", "causationid", "traceparent"):
        assert getattr(envelope, name) == context.get(name)
    assert envelope.type == "concord.test_cloudevent.probe-venue.v1"
    assert cloudevent.parse(envelope, ProbeVenue) == message


def test_a_written_message_names_its_type_its_schema_and_its_moment_in_utc() -> None:
    summer = datetime.fromisoformat("2026-07-01T13:00:00+01:00")
    written = json.loads(cloudevent.write(PROBE, id="one", source="/concord/events", time=summer))
    assert written["time"] == "2026-07-01T12:00:00Z"
    assert written["dataschema"] == "urn:concord:schema:concord.test_cloudevent.probe-venue.v1"
    assert written["datacontenttype"] == "application/json"
    assert written["data"]["title"] == "Spring meeting"
    assert "subject" not in written


# ---- the modes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/cloudevents+json; charset=utf-8"},
        {"Content-Type": "application/cloudevents+json"},
        {"CONTENT-TYPE": "Application/CloudEvents+JSON ;charset=UTF-8"},
    ],
)
def test_structured_mode_is_known_by_its_media_type_whatever_the_case_and_the_parameters(
    headers: dict[str, str],
) -> None:
    assert accepted(cloudevent.read(headers, json.dumps(WHOLE).encode())).data["title"] == "Spring meeting"


def test_the_names_of_headers_are_read_without_regard_to_case() -> None:
    shouted = {name.upper(): value for name, value in IN_HEADERS.items()}
    assert accepted(cloudevent.read(shouted, b'{"a": 1}')).data == {"a": 1}


def test_binary_mode_takes_the_content_type_header_of_http_as_well() -> None:
    headers = {name: value for name, value in IN_HEADERS.items() if name != "ce-datacontenttype"}
    assert accepted(cloudevent.read(headers | {"Content-Type": "application/json; charset=utf-8"}, b"{}")).id == "one"


def test_a_header_is_percent_decoded_exactly_once() -> None:
    assert accepted(binary(subject="Euro%20%E2%82%AC%20%F0%9F%98%80")).subject == "Euro € 😀"
    assert accepted(binary(subject="100%2525")).subject == "100%25"
    assert accepted(binary(subject="%e2%82%ac")).subject == "€"


def test_a_quoted_header_of_older_writers_is_unquoted_before_it_is_decoded() -> None:
    assert accepted(binary(subject=r'"a \"spring\" meeting%21"')).subject == 'a "spring" meeting!'


@pytest.mark.parametrize("value", ["%C0%A0", "%FF", "\udce2"])
def test_a_header_that_is_not_utf8_is_refused_by_name(value: str) -> None:
    answer = refused(binary(subject=value))
    assert (answer.code, answer.field) == ("bad-header-encoding", "ce-subject")


@pytest.mark.parametrize("headers", [None, {}, {"Nats-Msg-Id": "one"}])
def test_a_message_that_says_nothing_about_itself_is_told_how_to_say_it(headers: dict[str, str] | None) -> None:
    answer = refused(cloudevent.read(headers, json.dumps(WHOLE).encode()))
    assert answer.code == "content-type-missing"
    assert STRUCTURED in answer.sentence


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/json", "application/cloudevents+avro", "application/cloudevents-batch+json"],
)
def test_a_wrong_content_type_is_refused_with_the_right_one(content_type: str) -> None:
    answer = refused(cloudevent.read({"content-type": content_type}, json.dumps(WHOLE).encode()))
    assert (answer.code, answer.field) == ("wrong-content-type", "content-type")
    assert STRUCTURED in answer.sentence


def test_data_that_is_declared_as_something_else_than_json_is_refused_in_both_modes() -> None:
    for answer in (structured(datacontenttype="text/xml"), binary(b"<a/>", datacontenttype="text/xml")):
        assert refused(answer).code == "wrong-data-content-type"
    assert refused(structured(data=None, data_base64="e30=")).code == "data-is-binary"


# ---- faults of the envelope ----------------------------------------------------------------------------------------


def test_broken_json_is_refused_with_its_line_and_column() -> None:
    answer = refused(cloudevent.read({"content-type": STRUCTURED}, b'{"specversion": "1.0",\n "id": oops}'))
    assert answer.code == "broken-json"
    assert answer.data == {"line": 2, "column": 8}
    assert refused(binary(b"{")).code == "broken-json"


@pytest.mark.parametrize("payload", [b"", b"\xff", b"NaN", b"[" * 400 + b"]" * 400, b'{"a": "\\ud800"}', b"{} {}"])
def test_no_payload_whatever_makes_the_reader_fail(payload: bytes) -> None:
    assert refused(cloudevent.read({"content-type": STRUCTURED}, payload)).code == "broken-json"


@given(st.dictionaries(st.text(), st.text()), st.binary())
def test_reading_answers_everything_with_an_envelope_or_a_refusal(headers: dict[str, str], payload: bytes) -> None:
    assert isinstance(cloudevent.read(headers, payload), Envelope | Refusal)
    assert isinstance(cloudevent.read(IN_HEADERS | headers, payload), Envelope | Refusal)


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just("\x7f\0"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


PLAIN = {"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "data": {}}


def usual_or(*values: Any) -> st.SearchStrategy[Any]:
    """Mostly what is right, so that a message with one fault is seldom spoilt by another."""
    return st.one_of(*[st.sampled_from(values)] * 8, anything, st.just("x" * (MAX_ATTRIBUTE_LENGTH + 1)))


@given(
    st.fixed_dictionaries(
        {"specversion": usual_or("1.0"), "id": usual_or("1"), "source": usual_or("/a"), "type": usual_or("t"),
         "data": usual_or({}, {"a": [1, "é"]})},
        optional={
            "subject": usual_or("s"), "time": usual_or("2026-03-09T14:30:00Z", "2026-03-09"),
            "sequence": usual_or(1, "2", -1, 2**63), "correlationid": usual_or("c"), "causationid": usual_or("d"),
            "traceparent": usual_or(f"00-{'a' * 32}-{'b' * 16}-01", "00"),
            "datacontenttype": usual_or(JSON, "text/xml"), "data_base64": usual_or(None), "unknown": anything,
        },
    ),
    st.booleans(),
)  # fmt: skip
@example(said=PLAIN | {"data": {"a": math.nan}}, in_ascii=True)
@example(said=PLAIN | {"data": {"a": [-math.inf]}}, in_ascii=True)
@example(said=PLAIN | {"data": {"a": "\0"}}, in_ascii=True)
@example(said=PLAIN | {"id": "\n"}, in_ascii=True)
@example(said=PLAIN | {"subject": "\x7f"}, in_ascii=False)
@example(said=PLAIN | {"source": "\x85"}, in_ascii=False)
@example(said=PLAIN | {"data_base64": None}, in_ascii=True)
def test_the_short_way_to_read_a_message_says_what_the_long_way_says(said: dict[str, Any], in_ascii: bool) -> None:
    payload = json.dumps(said, ensure_ascii=in_ascii).encode(errors="surrogatepass")
    short = cloudevent.read({"content-type": STRUCTURED}, payload)
    long = cloudevent.read({"content-type": f"{STRUCTURED}; charset=utf-8"}, payload)
    assert short == long


@pytest.mark.parametrize("payload", [b"[]", b'"text"', b"null", b"3", b"true"])
def test_json_that_is_not_an_object_is_refused_in_both_modes(payload: bytes) -> None:
    assert refused(cloudevent.read({"content-type": STRUCTURED}, payload)).code == "not-an-object"
    assert refused(binary(payload)).code == "not-an-object"


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"specversion": None}, "wrong-specversion", "specversion"),
        ({"specversion": "0.3"}, "wrong-specversion", "specversion"),
        ({"id": None}, "id-missing", "id"),
        ({"id": ""}, "id-missing", "id"),
        ({"id": "x" * (MAX_ATTRIBUTE_LENGTH + 1)}, "id-too-long", "id"),
        ({"source": None}, "source-missing", "source"),
        ({"type": None}, "type-missing", "type"),
        ({"subject": "a\u0085b"}, "control-character", "subject"),
        ({"time": "yesterday"}, "bad-time", "time"),
        ({"time": "2026-03-09"}, "bad-time", "time"),
        ({"time": "2026-03-09T12:00:00"}, "bad-time", "time"),
        ({"time": "2026-02-30T12:00:00Z"}, "bad-time", "time"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "bad-time", "time"),
        ({"sequence": "-1"}, "bad-sequence", "sequence"),
        ({"sequence": "9" * 5000}, "bad-sequence", "sequence"),
    ],
)
def test_each_fault_of_an_attribute_has_its_own_code_and_names_the_attribute_in_both_modes(
    changes: dict[str, str | None], code: str, field: str
) -> None:
    answer = refused(structured(**changes))
    assert (answer.code, answer.field) == (code, field)
    encoded = {name: value and value.replace("\u0085", "%C2%85") for name, value in changes.items()}
    assert refused(binary(**encoded)).code == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"id": 7}, "id-not-text"),
        ({"source": ["a"]}, "source-not-text"),
        ({"time": 1_700_000_000}, "bad-time"),
        ({"sequence": True}, "bad-sequence"),
        ({"sequence": 1.5}, "bad-sequence"),
        ({"sequence": 2**63}, "bad-sequence"),
        ({"data": None}, "data-missing"),
        ({"data": "text"}, "data-not-an-object"),
        ({"data": [1]}, "data-not-an-object"),
    ],
)
def test_an_attribute_of_the_wrong_kind_is_refused(changes: dict[str, Any], code: str) -> None:
    assert refused(structured(**changes)).code == code


def test_a_null_attribute_counts_as_absent() -> None:
    whole = WHOLE | {"subject": None, "time": None, "sequence": None, "datacontenttype": None}
    envelope = accepted(cloudevent.read({"content-type": STRUCTURED}, json.dumps(whole).encode()))
    assert (envelope.subject, envelope.time, envelope.sequence) == (None, None, None)


def test_a_moment_with_an_offset_is_kept_in_utc() -> None:
    assert accepted(structured(time="2026-07-01T13:00:00.123456789+01:00")).time == datetime(
        2026, 7, 1, 12, 0, 0, 123456, UTC
    )
    assert accepted(structured(time="2026-07-01t12:00:00z")).time == datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_an_unreadable_traceparent_is_passed_over_as_its_standard_asks() -> None:
    assert accepted(structured(traceparent="not a trace")).traceparent is None


def test_a_message_larger_than_a_mebibyte_is_refused_before_it_is_read() -> None:
    exactly = json.dumps(WHOLE).encode()
    exactly += b" " * (MAX_PAYLOAD_BYTES - len(exactly))
    assert accepted(cloudevent.read({"content-type": STRUCTURED}, exactly)).id == "one"
    assert refused(cloudevent.read({"content-type": STRUCTURED}, exactly + b" ")).code == "message-too-large"


def test_the_character_that_no_database_keeps_is_refused_where_it_stands() -> None:
    answer = refused(structured(data={"places": [{"town": "York"}, {"town": "Y\0rk"}]}))
    assert (answer.code, answer.field) == ("nul-character", "places.1.town")
    assert refused(structured(data={"a\0b": 1})).field == "a\\u0000b"
    assert accepted(structured(data={"note": r"written as \u0000"})).data == {"note": r"written as \u0000"}


def test_a_refusal_carries_the_id_of_the_message_where_it_could_be_read() -> None:
    assert refused(structured(time="yesterday")).data["id"] == "one"
    assert "id" not in refused(structured(id=None)).data


# ---- faults of the data --------------------------------------------------------------------------------------------


def test_every_problem_of_the_data_is_told_at_once_and_the_first_in_the_sentence() -> None:
    answer, problems = problems_of({"network": "x", "capacity": 900, "booker": "a b", "kind": "hybrid"})
    assert [(each["field"], each["expected"]) for each in problems] == [
        ("network", "a UUID in lower case"),
        ("title", "a value"),
        ("capacity", "at most 500"),
        ("booker", "1 to 63 letters, digits, hyphens or underscores, beginning with a letter or digit"),
        ("kind", "'online' or 'in-person'"),
    ]
    assert answer.field == "network"
    assert "the field network is not in the right form" in answer.sentence
    assert "And 4 more problems." in answer.sentence


def test_an_unknown_field_is_named_with_the_field_that_was_probably_meant() -> None:
    answer, problems = problems_of({"network": NETWORK, "title": "Spring", "capcity": 5})
    assert problems == [{"field": "capcity", "problem": "is not known", "expected": "perhaps capacity"}]
    assert "capcity is not known; expected: perhaps capacity" in answer.sentence


def test_an_unknown_field_like_no_other_is_answered_with_all_there_are() -> None:
    _, problems = problems_of({"network": NETWORK, "title": "Spring", "zzz": 5})
    assert problems[0]["expected"] == "one of network, title, note, capacity, booker, kind, places"


def test_an_unknown_field_of_a_part_is_compared_with_the_fields_of_that_part() -> None:
    places = {"first": {"town": "York", "stepfree": True}}
    _, problems = problems_of({"network": NETWORK, "title": "Spring", "places": places})
    assert problems == [{"field": "places.first.stepfree", "problem": "is not known", "expected": "perhaps step_free"}]


def test_a_value_in_place_of_a_part_is_answered_with_the_fields_of_that_part() -> None:
    _, problems = problems_of({"network": NETWORK, "title": "Spring", "places": {"first": True}})
    [problem] = problems
    assert problem["field"] == "places.first"
    assert problem["expected"] == "an object with the fields town, step_free, as far as they are wanted"


def test_no_value_of_a_message_is_told_back_and_no_name_of_it_at_length() -> None:
    secret = "confided " * 15_000
    data = {"network": secret, "title": secret, "capacity": secret, "booker": secret, "kind": secret, secret: secret}
    answer, problems = problems_of(data)
    assert len(problems) == 6
    assert answer.model_dump_json().count("confided") <= MAX_ECHO // len("confided ")
    assert len(answer.model_dump_json()) < 3_000


def test_of_very_many_problems_the_first_are_told_and_all_are_counted() -> None:
    answer, problems = problems_of({f"field{number}": 1 for number in range(1_000)})
    assert len(problems) == cloudevent.MAX_PROBLEMS
    assert answer.data["count"] == 1_002  # network and title are missing besides


def test_a_message_of_another_type_is_refused() -> None:
    answer = refused(cloudevent.parse(accepted(structured(type="concord.membership.other.v1")), ProbeVenue))
    assert (answer.code, answer.field) == ("wrong-type", "type")
    assert ProbeVenue.wire.type in answer.sentence


def test_a_reader_of_event_messages_passes_over_a_field_it_does_not_know_yet() -> None:
    envelope = accepted(structured(type=VenueProbed.wire.type, data={"network": NETWORK, "added_later": 1}))
    assert cloudevent.parse(envelope, VenueProbed) == VenueProbed(network=NETWORK)


def test_an_envelope_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        accepted(structured()).id = "two"  # type: ignore[misc]
    assert accepted(structured(time=(NOON + timedelta(hours=1)).isoformat())).time == NOON + timedelta(hours=1)
