"""One trace from a command to the delivery at the end, whatever comes in between; none where nobody asked for it."""

import asyncio
import json
import signal
import socket
import time
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from sqlalchemy import text

from shared.contracts.cloudevent import Envelope, read
from shared.contracts.membership import RegisterNetwork, RegisterOrganisation
from shared.contracts.notifications import Subscribe
from shared.contracts.platform import ListDeadLetters, ReplayDeadLetter
from shared.database import writing
from shared.refusal import Refusal
from shared.span_export import LEAVE_WITHIN
from tests.telemetry.watched import ANSWERS_WITHIN, PATIENCE, Platform, Receiver, Spotted, new_traceparent, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMMAND = "process membership.v1.command.register-network"
EVENT = "process membership.v1.event.network-registered"
CONSUMER, PRODUCER = Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_PRODUCER


class Subscriber:
    """A program that subscribed to what happens to networks, and reads what it is sent."""

    def __init__(self, platform: Platform, name: str) -> None:
        self._platform = platform
        self._name = name
        self._read: asyncio.Queue[Envelope] = asyncio.Queue()

    async def subscribe(self) -> None:
        nc = await self._platform.enter(self._name, "subscriber")
        own = f"notifications.v1.delivery.{self._name}.>"

        async def hear(message: object) -> None:
            envelope = read(message.headers, message.data)  # type: ignore[attr-defined]
            assert not isinstance(envelope, Refusal)
            self._read.put_nowait(envelope)

        await nc.subscribe(own, cb=hear)
        await nc.flush()
        assert (await self._platform.send(self._name, Subscribe(topic="membership"))).outcome == "done"

    async def reads(self) -> Envelope:
        return await asyncio.wait_for(self._read.get(), PATIENCE)


async def subscriber(platform: Platform, name: str) -> Subscriber:
    found = Subscriber(platform, name)
    await found.subscribe()
    return found


async def an_organisation(platform: Platform, name: str) -> str:
    reply = await platform.send("operator", RegisterOrganisation(key=name, name=name, type="charity"))
    assert reply.done is not None
    assert reply.done.id is not None
    return reply.done.id


async def a_network(platform: Platform, name: str, traceparent: str, organisation: str | None = None) -> None:
    """Registers one, which the platform tells everybody who subscribed."""
    home = organisation or await an_organisation(platform, name)
    command = RegisterNetwork(name=name, reach="local", organisation=home)
    reply = await platform.send("steward", command, traceparent=traceparent)
    assert reply.outcome == "done", reply


async def spans_of(receiver: Receiver, traceparent: str, *expected: tuple[str, str]) -> dict[tuple[str, str], Spotted]:
    """The spans of a trace by service and name, once those expected have come."""
    trace = traceparent[3:35]

    async def there() -> bool:
        return set(expected) <= {(span.service, span.name) for span in receiver.of(trace)}

    await until(f"{expected} are received", there)
    return {(span.service, span.name): span for span in receiver.of(trace)}


async def test_a_trace_goes_from_a_command_through_three_services_to_the_delivery(
    platform: Platform, receiver: Receiver
) -> None:
    reader, sent = await subscriber(platform, "reader"), new_traceparent()
    await a_network(platform, "traced", sent)
    delivery = await reader.reads()
    assert delivery.traceparent is not None
    assert delivery.traceparent[:36] == sent[:36]

    spans = await spans_of(
        receiver, sent,
        ("membership", COMMAND), ("membership", "send membership.v1.event.network-registered"),
        ("events", EVENT), ("notifications", EVENT), ("notifications", "send notifications.v1.delivery"),
    )  # fmt: skip
    command, told = spans["membership", COMMAND], spans["notifications", EVENT]
    assert command.parent == sent[36:52]
    assert command.kind == told.kind == CONSUMER
    for follower in ("events", "notifications"):
        assert spans[follower, EVENT].parent == command.id
    announced = spans["membership", "send membership.v1.event.network-registered"]
    delivered = spans["notifications", "send notifications.v1.delivery"]
    assert announced.kind == delivered.kind == PRODUCER
    assert (announced.parent, delivered.parent) == (command.id, told.id)
    assert delivery.traceparent[36:52] == told.id
    assert told.attributes["messaging.system"] == "nats"
    assert told.attributes["messaging.destination.name"] == "MEMBERSHIP"
    assert told.attributes["messaging.operation.type"] == "process"
    assert told.attributes["messaging.message.conversation_id"] == delivery.correlationid

    transactions = [span for span in receiver.spans if (sent[3:35], told.id) in span.links]
    assert [(span.name, span.service) for span in transactions] == [("transaction", "notifications")]
    assert transactions[0].trace != told.trace
    assert not [span for span in receiver.spans if any(who in str(span) for who in ("operator", "steward", "reader"))]


async def test_what_nobody_wants_to_be_sampled_leaves_no_span_and_its_trace_goes_on_unchanged(
    platform: Platform, receiver: Receiver
) -> None:
    reader, sent, after = await subscriber(platform, "unsampled"), new_traceparent("00"), new_traceparent()
    await a_network(platform, "not-traced", sent)
    assert (await reader.reads()).traceparent == sent
    await a_network(platform, "traced-after", after)
    await spans_of(receiver, after, ("notifications", "send notifications.v1.delivery"))
    assert receiver.of(sent[3:35]) == []


async def test_a_refusal_is_told_by_its_code_and_is_no_error(platform: Platform, receiver: Receiver) -> None:
    sent = new_traceparent()
    command = RegisterNetwork(name="of nobody", reach="local")
    reply = await platform.send("steward", command, traceparent=sent)
    assert reply.refusal is not None
    span = (await spans_of(receiver, sent, ("membership", COMMAND)))["membership", COMMAND]
    assert span.attributes["concord.refusal.code"] == reply.refusal.code
    assert not span.failed


async def test_a_dead_letter_and_its_replay_stay_in_the_trace_up_to_the_delivery(
    platform: Platform, receiver: Receiver
) -> None:
    reader, sent, asked = await subscriber(platform, "patient"), new_traceparent(), new_traceparent()
    wall = "CREATE TRIGGER wall BEFORE INSERT ON announcements BEGIN SELECT RAISE(ABORT, 'nobody foresaw it'); END"
    with writing(platform.engines["notifications"]) as connection:
        connection.execute(text(wall))
    await a_network(platform, "dead", sent)
    failed = (await spans_of(receiver, sent, ("notifications", EVENT)))["notifications", EVENT]
    assert failed.failed
    assert failed.attributes["error.type"] == "IntegrityError"
    assert "nobody foresaw it" not in str(failed)

    with writing(platform.engines["notifications"]) as connection:
        connection.execute(text("DROP TRIGGER wall"))
    listed = await platform.send("operator", ListDeadLetters(), "notifications")
    for letter in listed.answer["letters"]:
        replay = ReplayDeadLetter(letter=letter["id"])
        reply = await platform.send("operator", replay, "notifications", traceparent=asked)
        assert reply.outcome == "done", reply
    delivery = await reader.reads()
    while delivery.traceparent is None:  # of other letters than the one that was sampled
        delivery = await reader.reads()
    assert delivery.traceparent[3:35] == sent[3:35]
    await spans_of(receiver, sent, ("notifications", "send notifications.v1.delivery"))
    [again] = [span for span in receiver.of(sent[3:35], name=EVENT, service="notifications") if not span.failed]
    assert again.parent == failed.id
    assert again.id == delivery.traceparent[36:52]
    assert [trace for trace, _ in again.links] == [asked[3:35]]


async def test_a_message_that_is_tried_again_keeps_its_span_and_says_so(platform: Platform, receiver: Receiver) -> None:
    reader, sent = await subscriber(platform, "late"), new_traceparent()
    home = await an_organisation(platform, "tried-again")
    await platform.becomes(0, "notifications", "concord_consumer_lag", messaging_destination_name="MEMBERSHIP")

    async def gave_up_once() -> bool:
        return "the store is in trouble" in platform.programs["notifications"].log.read_text()

    with platform.store_locked("notifications"):
        await a_network(platform, "tried-again", sent, home)
        await until("the first attempt is over", gave_up_once)
    delivery = await reader.reads()
    spans = await spans_of(receiver, sent, ("notifications", EVENT))
    told = spans["notifications", EVENT]
    assert ("retry", {"error.type": "OperationalError"}) in told.events
    assert not told.failed
    assert delivery.traceparent is not None
    assert delivery.traceparent[36:52] == told.id


async def test_a_trace_that_a_service_begins_itself_is_kept_by_the_dead_letter_too(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    receiver = Receiver()
    async with Platform(tmp_path_factory.mktemp("share"), receiver.endpoint, share="1") as platform:
        await platform.ready()
        platform.refuse_to_store("walled")
        command = RegisterOrganisation(key="walled", name="walled", type="charity")
        failure = (await platform.send("operator", command)).failure
        assert failure is not None
        assert failure.dead_letter is not None
        with writing(platform.engines["membership"]) as connection:
            connection.execute(text("DROP TRIGGER wall"))
        replayed = await platform.send("operator", ReplayDeadLetter(letter=failure.dead_letter), "membership")
        assert replayed.outcome == "done"
        name = "process membership.v1.command.register-organisation"

        async def twice() -> bool:
            return len([span for span in receiver.spans if span.name == name]) == 2

        await until("both attempts are received", twice)
        failed, again = sorted((span for span in receiver.spans if span.name == name), key=lambda span: not span.failed)
        assert (failed.failed, again.failed) == (True, False)
        assert (again.trace, again.parent) == (failed.trace, failed.id)
    receiver.close()


@pytest.mark.parametrize("collector", ["gone", "silent"])
async def test_a_dead_collector_neither_slows_nor_stops_a_service_nor_fills_its_log(
    tmp_path_factory: pytest.TempPathFactory, collector: str
) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        if collector == "silent":
            listening.listen()
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
        directory: Path = tmp_path_factory.mktemp(collector)
        async with Platform(directory, endpoint, share="1") as platform:
            await platform.ready()

            async def said() -> bool:
                log = platform.programs["membership"].log.read_text()
                return "the collector does not take in spans" in log

            number, slowest = 0, 0.0
            while not await said() or number < 100:
                began = time.monotonic()
                key = f"body-{number}"
                reply = await platform.send("operator", RegisterOrganisation(key=key, name=key, type="charity"))
                slowest, number = max(slowest, time.monotonic() - began), number + 1
                assert reply.outcome == "done"
            assert slowest < ANSWERS_WITHIN
            assert (await platform.get("membership", "/ready"))[0] == 200

            membership = platform.programs["membership"]
            began = time.monotonic()
            membership.process.send_signal(signal.SIGTERM)
            assert await membership.ended() == 0
            assert time.monotonic() - began < LEAVE_WITHIN + ANSWERS_WITHIN
            lines = [json.loads(line)["message"] for line in membership.log.read_text().splitlines()]
            about_it = [line for line in lines if "collector" in line or "span" in line or "export" in line]
            assert about_it == ["the collector does not take in spans; they are dropped until it does"]
