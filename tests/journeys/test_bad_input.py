"""Whatever is wrong with a message or a file: its sender hears what, where and what would be right, and nothing stays.

Commands, queries and inbound messages come in by three ways and must be met alike, so most tests here go all three.
"""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy.local_stack import LocalStack
from deploy.people import People, new_id
from shared.broker import NobodyAnswers, NotPermitted, TooLarge
from shared.contracts import cloudevent
from shared.contracts.cloudevent import STRUCTURED, STRUCTURED_HEADERS
from shared.contracts.membership import FindOrganisation, OrganisationListed, RegisterNetwork, RegisterOrganisation
from shared.contracts.message import Message, subject_of
from shared.contracts.platform import Health, InboundRefused
from shared.refusal import Refusal
from shared.streams import api

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONCORD = Path(sys.executable).parent / "concord"
PATIENCE = 20.0
MEGABYTE = 1_000_000
REMEMBERED = ("inbox", "outbox", "unsent", "sqlite_sequence", "counters", "leases")
"""Tables of the loop that may say that a message was seen and its publisher told; everything else is an effect."""

DATA: dict[type[Message], dict[str, Any]] = {
    RegisterOrganisation: {"key": "leeds-partners", "name": "Leeds Partners", "type": "charity"},
    FindOrganisation: {"words": "Leeds"},
    OrganisationListed: {"organisation": {"key": "leeds", "name": "Leeds City Council", "format": "council"}},
}
SENDER: dict[type[Message], str] = {
    RegisterOrganisation: "operator",
    FindOrganisation: "alice",
    OrganisationListed: "register",
}
NAME: dict[type[Message], tuple[str, ...]] = {
    RegisterOrganisation: ("name",),
    FindOrganisation: ("words",),
    OrganisationListed: ("organisation", "name"),
}
"""The field of each that takes words."""

every_way = pytest.mark.parametrize("contract", list(DATA), ids=["command", "query", "inbound"])


def envelope(contract: type[Message], **changed: Any) -> dict[str, Any]:
    """A message with nothing wrong, but for what is changed."""
    right = {
        "specversion": "1.0", "id": new_id(), "source": f"/{SENDER[contract]}", "type": contract.wire.type,
        "data": DATA[contract],
    }  # fmt: skip
    return {**right, **changed}


def with_name(contract: type[Message], name: Any) -> dict[str, Any]:
    """A message with nothing wrong but its name."""
    *outer, field = NAME[contract]
    data: dict[str, Any] = json.loads(json.dumps(DATA[contract]))
    inner = data
    for part in outer:
        inner = inner[part]
    inner[field] = name
    return envelope(contract, data=data)


class Mail:
    """Sends anything at all by any of the ways in, and brings back the refusal."""

    def __init__(self, people: People) -> None:
        self.people = people

    async def refused(
        self, contract: type[Message], message: Any, headers: Mapping[str, str] = STRUCTURED_HEADERS
    ) -> Refusal:
        """``message`` is bytes as they are, or plain data to be written as JSON."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        sender = SENDER[contract]
        subject = subject_of(contract, sender)
        if contract.wire.kind == "inbound":
            return await self._refused_inbound(sender, subject, payload, headers)
        reply = await self.people.send_bytes(sender, subject, payload, headers)
        assert reply.refusal is not None, reply
        return reply.refusal

    async def _refused_inbound(
        self, publisher: str, subject: str, payload: bytes, headers: Mapping[str, str]
    ) -> Refusal:
        told = await self.people.connection(publisher).subscribe(subject_of(InboundRefused, publisher))
        try:
            await self.people.publish_bytes(publisher, subject, payload, headers)
            heard = await told.next_msg(PATIENCE)
        finally:
            await told.unsubscribe()
        read = cloudevent.read(heard.headers, heard.data)
        assert isinstance(read, cloudevent.Envelope)
        notice = cloudevent.parse(read, InboundRefused)
        assert isinstance(notice, InboundRefused)
        assert (notice.publisher, notice.name) == (publisher, subject.rsplit(".", 1)[1])
        return notice.refusal


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everybody(people: People) -> People:
    """A member and a register; a name is taken, so that the tables are not empty."""
    await people.enter("alice")
    await people.enter("bob")
    await people.enter("register", "publisher")
    await people.make("operator", RegisterOrganisation(key="york", name="York Council", type="council"))

    async def told() -> bool:
        return await events_told(people) == 1

    await people.until("the event is in the stream", told)
    return people


def effects(stack: LocalStack) -> dict[str, list[Any]]:
    """Every row of every table of membership that is an effect of something."""
    with closing(sqlite3.connect(f"file:{stack.directory / 'membership.sqlite'}?mode=ro", uri=True)) as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: store.execute(f"SELECT * FROM {name}").fetchall() for name in tables if name not in REMEMBERED}  # noqa: S608


async def events_told(people: People) -> int:
    """How many event messages of membership there are."""
    info = await api(people.connection("operator"), "STREAM.INFO.MEMBERSHIP")
    return int(info["state"]["messages"])


@pytest_asyncio.fixture(loop_scope="module")
async def mail(stack: LocalStack, everybody: People) -> AsyncIterator[Mail]:
    """Afterwards everything is as it was: no row, no event, no dead letter, the service ready and never restarted."""
    before = effects(stack), await events_told(everybody), stack.programs["membership"].process.pid
    yield Mail(everybody)
    health = await everybody.ask("operator", Health(), "membership")
    assert (health.ready, health.dead_letters, health.waiting_events) == (True, 0, 0)
    assert (effects(stack), await events_told(everybody), stack.programs["membership"].process.pid) == before


# ---- what is no message at all -------------------------------------------------------------------------------------


@every_way
async def test_a_wrong_content_type_is_told_with_the_right_one(mail: Mail, contract: type[Message]) -> None:
    refusal = await mail.refused(contract, envelope(contract), {"content-type": "text/xml"})
    assert (refusal.code, refusal.field) == ("wrong-content-type", "content-type")
    assert "'text/xml'" in refusal.sentence
    assert STRUCTURED in refusal.sentence


@every_way
async def test_a_message_that_does_not_say_what_it_is_is_told_what_to_say(mail: Mail, contract: type[Message]) -> None:
    refusal = await mail.refused(contract, envelope(contract), {"x-sent-by": "a program"})
    assert (refusal.code, refusal.field) == ("content-type-missing", "content-type")
    assert STRUCTURED in refusal.sentence


@every_way
async def test_data_in_binary_mode_that_is_no_json_is_told_so(mail: Mail, contract: type[Message]) -> None:
    headers = {f"ce-{name}": value for name, value in envelope(contract).items() if name != "data"}
    refusal = await mail.refused(contract, b"<network/>", {**headers, "content-type": "application/xml"})
    assert (refusal.code, refusal.field) == ("wrong-data-content-type", "datacontenttype")
    assert "application/json" in refusal.sentence


@every_way
async def test_a_header_that_is_wrongly_encoded_is_named(mail: Mail, contract: type[Message]) -> None:
    headers = {f"ce-{name}": value for name, value in envelope(contract).items() if name != "data"}
    refusal = await mail.refused(contract, b"{}", {**headers, "ce-subject": "%ff", "content-type": "application/json"})
    assert (refusal.code, refusal.field) == ("bad-header-encoding", "ce-subject")


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda right: right[:-5],
    "empty": lambda _: b"",
    "not UTF-8": lambda right: right.replace(b"Leeds", b"Le\xffds"),
    "half a character": lambda right: right.replace(b"Leeds", rb"Le\ud800ds"),
    "a NUL in the raw": lambda right: right.replace(b"Leeds", b"Le\x00ds"),
    "infinity": lambda right: right.replace(b'"Leeds', b'-Infinity, "a": "'),
    "nested 100 000 deep": lambda right: right.replace(b'"data": {', b'"data": {"a": ' + b"[" * 100_000),
    "nested 100 000 deep and closed": lambda right: right.replace(
        b'"data": {', b'"data": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b", "
    ),
}


@every_way
@pytest.mark.parametrize("how", BROKEN)
async def test_broken_json_is_told_with_its_line_and_column(mail: Mail, contract: type[Message], how: str) -> None:
    right = json.dumps(envelope(contract)).encode()
    broken = BROKEN[how](right)
    assert broken != right
    refusal = await mail.refused(contract, broken)
    assert refusal.code == "broken-json"
    assert refusal.sentence.endswith("Send one JSON object in UTF-8.")
    assert set(refusal.data) == {"line", "column"}


@every_way
@pytest.mark.parametrize("other", [[], "text", 7, None], ids=repr)
async def test_json_that_is_no_object_is_told_so(mail: Mail, contract: type[Message], other: Any) -> None:
    refusal = await mail.refused(contract, other)
    assert refusal.code == "not-an-object"
    assert "send one JSON object" in refusal.sentence


UNREADABLE_HEADERS = (
    b"NATS/1.0 \xff\xff \xff\r\n\r\n",
    b"NATS/1.0 503 \xff\r\n\r\n",
    b"NATS/1.0",
    b"NATS/1.0\r\n\xff:\xff\r\n\r\n",
)


@every_way
async def test_headers_that_are_no_text_do_not_throw_the_service_off_its_connection(
    mail: Mail, contract: type[Message]
) -> None:
    """No client sends such headers; a publisher that means harm can, and the server hands them on."""
    sender = SENDER[contract]
    nc = mail.people.connection(sender)
    answers = await nc.subscribe(f"_INBOX.{sender}.raw")
    told = await nc.subscribe(subject_of(InboundRefused, sender)) if contract.wire.kind == "inbound" else answers
    await nc.flush()  # what is written below does not wait for what the client has yet to send
    try:
        for head in UNREADABLE_HEADERS:
            line = f"HPUB {subject_of(contract, sender)} _INBOX.{sender}.raw {len(head)} {len(head) + 2}\r\n".encode()
            nc._transport.write(line + head + b"{}\r\n")
            heard = await told.next_msg(PATIENCE)
            assert b'"content-type-missing"' in heard.data
    finally:
        await answers.unsubscribe()
        if told is not answers:
            await told.unsubscribe()


# ---- what is no CloudEvent -----------------------------------------------------------------------------------------

ENVELOPES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    # what is changed, code, field, what would be right
    "no id": ({"id": None}, "id-missing", "id", "every CloudEvent has an id"),
    "an empty id": ({"id": ""}, "id-missing", "id", "every CloudEvent has an id"),
    "a numeric id": ({"id": 7}, "id-not-text", "id", "send text"),
    "an endless id": ({"id": "x" * 300}, "id-too-long", "id", "at most 256"),
    "a NUL in the id": ({"id": "a\0b"}, "control-character", "id", "leave it out"),
    "no source": ({"source": None}, "source-missing", "source", "every CloudEvent has an id, a source"),
    "no type": ({"type": None}, "type-missing", "type", "every CloudEvent has an id, a source and a type"),
    "another version": ({"specversion": "0.3"}, "wrong-specversion", "specversion", "CloudEvents 1.0"),
    "no such day": ({"time": "2026-02-30T10:00:00Z"}, "bad-time", "time", "2026-03-09T14:30:00Z"),
    "a sequence beyond all numbers": (
        {"sequence": 10**40},
        "bad-sequence",
        "sequence",
        "from 0 to 9223372036854775807",
    ),
    "no data": ({"data": None}, "data-not-an-object", "data", "send a JSON object"),
    "data as text": ({"data": "name=Leeds"}, "data-not-an-object", "data", "send a JSON object"),
    "data as bytes": ({"data_base64": "AA=="}, "data-is-binary", "data_base64", "as a JSON object in data"),
}


@every_way
@pytest.mark.parametrize("what", ENVELOPES)
async def test_an_attribute_that_is_wrong_is_named_with_what_would_be_right(
    mail: Mail, contract: type[Message], what: str
) -> None:
    changed, code, field, right = ENVELOPES[what]
    refusal = await mail.refused(contract, envelope(contract, **changed))
    assert (refusal.code, refusal.field) == (code, field)
    assert right in refusal.sentence


@every_way
async def test_an_unknown_type_is_told_with_the_one_that_is_expected(mail: Mail, contract: type[Message]) -> None:
    refusal = await mail.refused(contract, envelope(contract, type="concord.membership.no-such-thing.v1"))
    assert (refusal.code, refusal.field) == ("wrong-type", "type")
    assert refusal.data["expected"] == contract.wire.type
    assert contract.wire.type in refusal.sentence


# ---- what is not what the contract says ----------------------------------------------------------------------------


@every_way
async def test_an_unknown_field_is_named_with_the_one_that_was_probably_meant(
    mail: Mail, contract: type[Message]
) -> None:
    [*outer, field] = NAME[contract]
    misspelt = f"{field[:-1]}ee"
    message = with_name(contract, "x")
    inner = message["data"]
    for part in outer:
        inner = inner[part]
    inner[misspelt] = inner.pop(field)
    refusal = await mail.refused(contract, message)
    problems = {problem["field"]: problem for problem in refusal.data["problems"]}
    assert refusal.code == "invalid-fields"
    assert problems[".".join([*outer, misspelt])]["expected"] == f"perhaps {field}"


@every_way
async def test_a_missing_field_is_named(mail: Mail, contract: type[Message]) -> None:
    refusal = await mail.refused(contract, envelope(contract, data={}))
    problems = {problem["field"]: problem["problem"] for problem in refusal.data["problems"]}
    assert refusal.code == "invalid-fields"
    assert problems[NAME[contract][0]] == "is missing"
    assert f"the field {refusal.field} is missing" in refusal.sentence


@every_way
async def test_a_megabyte_of_text_is_told_how_much_is_taken_and_not_sent_back(
    mail: Mail, contract: type[Message]
) -> None:
    refusal = await mail.refused(contract, with_name(contract, "x" * MEGABYTE))
    assert (refusal.code, refusal.field) == ("invalid-fields", ".".join(NAME[contract]))
    assert refusal.data["problems"][0]["problem"] == "is too long"
    assert "characters" in refusal.data["problems"][0]["expected"]
    assert len(refusal.model_dump_json()) < 1_000


@every_way
async def test_more_than_the_server_takes_is_told_before_it_is_sent(mail: Mail, contract: type[Message]) -> None:
    with pytest.raises(TooLarge, match=r"has \d+ bytes; the server takes at most 1048576"):
        await mail.refused(contract, with_name(contract, "x" * 2 * MEGABYTE))


@every_way
async def test_a_nul_character_in_a_field_is_named(mail: Mail, contract: type[Message]) -> None:
    refusal = await mail.refused(contract, with_name(contract, "Le\0eds"))
    assert (refusal.code, refusal.field) == ("nul-character", ".".join(NAME[contract]))
    assert "leave it out" in refusal.sentence


@every_way
@pytest.mark.parametrize("number", ["1" + "0" * 10_000, "1e999999", "-1.5e308", "0." + "9" * 10_000])
async def test_a_number_beyond_all_bounds_is_refused(mail: Mail, contract: type[Message], number: str) -> None:
    written = json.dumps(with_name(contract, "HERE")).replace('"HERE"', number).encode()
    refusal = await mail.refused(contract, written)
    assert refusal.code in ("invalid-fields", "broken-json")
    if refusal.code == "invalid-fields":
        assert refusal.field == ".".join(NAME[contract])
    assert len(refusal.model_dump_json()) < 1_000


@pytest.mark.parametrize("degrees", ["1e999", "91.5", "-1e300"])
async def test_a_place_off_the_map_is_refused_also_when_it_is_infinitely_far(mail: Mail, degrees: str) -> None:
    message = envelope(OrganisationListed, data={"organisation": {
        **DATA[OrganisationListed]["organisation"], "latitude": "HERE", "longitude": -1.5
    }})  # fmt: skip
    refusal = await mail.refused(OrganisationListed, json.dumps(message).replace('"HERE"', degrees).encode())
    assert "latitude" in refusal.model_dump_json()


async def test_every_problem_of_a_query_is_told_at_once(mail: Mail) -> None:
    subject = "membership.v1.query.list-organisations.alice"
    message = {"specversion": "1.0", "id": "1", "source": "/alice", "type": "concord.membership.list-organisations.v1",
               "data": {"limit": 501, "nation": "Narnia", "parent": "me"}}  # fmt: skip
    reply = await mail.people.send_bytes("alice", subject, json.dumps(message).encode(), STRUCTURED_HEADERS)
    assert reply.refusal is not None
    expected = {problem["field"]: problem["expected"] for problem in reply.refusal.data["problems"]}
    assert expected["limit"] == "at most 500"
    assert "'Scotland'" in expected["nation"]
    assert expected["parent"] == "a UUID in lower case"


async def test_a_circle_of_parents_is_found_however_far_up_it_closes(everybody: People) -> None:
    def listed(key: str, parent: str) -> dict[str, Any]:
        organisation = {"key": key, "name": key.title(), "format": "charity", "parents": [parent]}
        return envelope(OrganisationListed, data={"organisation": organisation})

    line = ("great-grandparent", "grandparent", "parent", "child")
    for parent, child in pairwise(("york", *line)):
        payload = json.dumps(listed(child, parent)).encode()
        await everybody.publish_bytes(
            "register", subject_of(OrganisationListed, "register"), payload, STRUCTURED_HEADERS
        )
    refusal = await Mail(everybody).refused(OrganisationListed, listed(line[0], line[-1]))
    assert refusal.data["by_code"] == {"parents-in-a-circle": 1}
    assert "a body cannot belong to itself" in refusal.sentence


# ---- names nobody knows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["command", "query"])
async def test_an_unknown_name_is_told_with_those_that_are_known(mail: Mail, kind: str) -> None:
    subject = f"membership.v1.{kind}.no-such-thing.alice"
    reply = await mail.people.send_bytes("alice", subject, b"{}", STRUCTURED_HEADERS)
    assert reply.refusal is not None
    assert reply.refusal.code == f"unknown-{kind}"
    known = {"command": "register-network", "query": "list-networks"}[kind]
    assert known in reply.refusal.data["known"]
    assert known in reply.refusal.sentence


async def test_an_inbound_name_nobody_takes_is_known_to_its_publisher_at_once(mail: Mail) -> None:
    with pytest.raises(NobodyAnswers, match=r"Nobody answers on inbound\.v1\.register\.no-such-thing"):
        await mail.people.publish_bytes("register", "inbound.v1.register.no-such-thing", b"{}", STRUCTURED_HEADERS)


# ---- in somebody else's name ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("principal", "subject"),
    [
        ("alice", "membership.v1.command.register-network.bob"),
        ("alice", "membership.v1.query.list-networks.bob"),
        ("alice", "membership.v1.command.register-organisation.alice"),
        ("alice", "inbound.v1.register.organisation-listed"),
        ("alice", "membership.v1.event.network-registered.00000000-0000-7000-8000-000000000000"),
        ("register", "inbound.v1.another.organisation-listed"),
        ("register", "membership.v1.command.register-network.register"),
    ],
)
async def test_the_server_forbids_what_is_not_ones_own(mail: Mail, principal: str, subject: str) -> None:
    with pytest.raises(NotPermitted, match=f"{principal} may not publish to {subject}"):
        await mail.people.send_bytes(principal, subject, b"{}", STRUCTURED_HEADERS)


@pytest.mark.parametrize("source", ["/another", "/registers", "register", "/concord/membership"])
async def test_a_source_that_is_not_the_publisher_is_refused(mail: Mail, source: str) -> None:
    refusal = await mail.refused(OrganisationListed, envelope(OrganisationListed, source=source))
    assert (refusal.code, refusal.field) == ("foreign-source", "source")
    assert "send /register" in refusal.sentence


@pytest.mark.parametrize(
    "reply_to",
    ["_INBOX.bob.x", "membership.v1.event.network-registered.x", "inbound-refused.v1.register", "_INBOX.alice"],
)
async def test_a_service_answers_only_to_an_inbox_of_the_sender(mail: Mail, stack: LocalStack, reply_to: str) -> None:
    """It may publish where its callers may not, so it must not do it for them (a confused deputy)."""
    heard = []
    for listener, subject in (("bob", "_INBOX.bob.x"), ("register", "inbound-refused.v1.register")):
        heard.append(await mail.people.connection(listener).subscribe(subject))
    alice = mail.people.connection("alice")
    bad, question = envelope(FindOrganisation, type=RegisterNetwork.wire.type, data={}), envelope(FindOrganisation)
    log = stack.directory / "logs" / "membership.log"
    said_before = log.read_text().count("not the sender's own")
    for message, contract in ((bad, RegisterNetwork), (question, FindOrganisation)):
        subject = subject_of(contract, "alice")
        await alice.publish(subject, json.dumps(message).encode(), reply=reply_to, headers=dict(STRUCTURED_HEADERS))

    async def said() -> bool:
        return log.read_text().count("not the sender's own") == said_before + 2

    await mail.people.until("the service has said so of both", said)
    for subscription in heard:
        await mail.people.connection("bob").flush()
        assert subscription.pending_msgs == 0
        await subscription.unsubscribe()


# ---- files ---------------------------------------------------------------------------------------------------------

HEADINGS = "slug,title,format,latitude\n"
FILES = {
    "rows of the wrong length and a number that is none": (
        HEADINGS + "leeds,Leeds City Council,council,53.8\nhull,Hull City Council,council\nbath,Bath,council,north\n",
        (("Line 3", "the row has 3 fields"), ("Line 4, column 4", "degrees with a decimal point are right")),
    ),
    "rows the rules refuse": (
        HEADINGS + "leeds,Leeds City Council,council,\nHull!,Hull City Council,council,\nbath,Bath,spa,\n",
        (("Line 3", "hm-treasury"), ("Line 4", "spa")),
    ),
}


@pytest.mark.parametrize("what", FILES)
async def test_a_file_with_two_bad_lines_is_refused_whole_and_both_are_named(
    mail: Mail, stack: LocalStack, tmp_path: Path, what: str
) -> None:
    content, problems = FILES[what]
    file = tmp_path / "organisations.csv"
    file.write_text(content)
    command = [CONCORD, "import", "organisations", file, "--data", stack.directory]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (3, "")
    for where, said in problems:
        assert any(where in line and said in line for line in ran.stderr.splitlines()), ran.stderr


# ---- and with nothing wrong ----------------------------------------------------------------------------------------


async def test_the_same_messages_with_nothing_wrong_are_taken(everybody: People) -> None:
    async def found(words: str) -> bool:
        message = json.dumps(with_name(FindOrganisation, words)).encode()
        reply = await everybody.send_bytes("alice", subject_of(FindOrganisation, "alice"), message, STRUCTURED_HEADERS)
        assert reply.answer is not None, reply
        return bool(reply.answer["matches"])

    assert not await found("Leeds Partners")
    command = json.dumps(envelope(RegisterOrganisation)).encode()
    subject = subject_of(RegisterOrganisation, "operator")
    assert (await everybody.send_bytes("operator", subject, command, STRUCTURED_HEADERS)).outcome == "done"
    assert await found("Leeds Partners")

    inbound = json.dumps(envelope(OrganisationListed)).encode()
    await everybody.publish_bytes("register", subject_of(OrganisationListed, "register"), inbound, STRUCTURED_HEADERS)
    await everybody.until("what was published is taken in", lambda: found("Leeds City Council"))
