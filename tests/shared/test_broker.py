"""Connections that find their way back, and requests that say why they were not answered."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from nats import errors
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from shared.broker import (
    BadCredentials,
    BrokerError,
    NobodyAnswers,
    NotPermitted,
    TimedOut,
    TooLarge,
    Unreachable,
    connect,
    principal_of,
    request,
)
from shared.service_broker import ServiceBroker
from shared.testing.nats import NatsServer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path) as running:
        yield running


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await happened():  # noqa: ASYNC110  what is awaited happens in another process
            await asyncio.sleep(0.02)


COMMAND = "membership.v1.command.open-proposal.alice"


async def test_a_request_that_is_not_permitted_is_told_so_at_once_and_not_by_a_timeout(server: NatsServer) -> None:
    alice = await server.connect("member", "alice")
    async with asyncio.timeout(5):
        with pytest.raises(
            NotPermitted, match=r"Not permitted: alice may not publish to membership\.v1\.command\.x\.bob\."
        ):
            await request(alice, "membership.v1.command.x.bob", timeout=60)


async def test_a_denied_publish_is_logged(server: NatsServer) -> None:
    alice = await server.connect("member", "alice")
    with capture_logs() as logs:
        await alice.publish("membership.v1.command.x.bob")
        await alice.flush()
    assert [(line["event"], line["subject"]) for line in logs] == [
        ("not permitted by NATS", "membership.v1.command.x.bob")
    ]


async def test_requests_under_way_at_once_are_told_apart(server: NatsServer) -> None:
    alice = await server.connect("member", "alice")
    asked = [request(alice, f"events.v1.query.x.{name}") for name in ("alice", "bob", "alice", "bob", "bob")]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [
        NobodyAnswers,
        NotPermitted,
        NobodyAnswers,
        NotPermitted,
        NotPermitted,
    ]


async def test_a_request_nobody_hears_says_so(server: NatsServer) -> None:
    alice = await server.connect("member", "alice")
    with pytest.raises(NobodyAnswers, match=f"Nobody answers on {COMMAND}"):
        await request(alice, COMMAND)


async def test_a_request_that_is_heard_and_not_answered_says_so(server: NatsServer) -> None:
    membership = await server.connect("membership")
    await membership.subscribe("membership.v1.command.*.*")
    await membership.flush()
    alice = await server.connect("member", "alice")
    with pytest.raises(TimedOut, match=r"No answer on membership.* within 0\.1 s\."):
        await request(alice, COMMAND, timeout=0.1)


async def test_a_message_that_is_too_large_is_refused_with_both_figures(server: NatsServer) -> None:
    alice = await server.connect("member", "alice")
    with pytest.raises(TooLarge, match="has 1048577 bytes; the server takes at most 1048576"):
        await request(alice, COMMAND, b"x" * 1_048_577)


async def test_a_request_on_a_closed_connection_says_so(server: NatsServer) -> None:
    alice = await server.connect("member", "alice")
    await alice.close()
    with pytest.raises(BrokerError, match="could not be sent"):
        await request(alice, COMMAND)


async def test_flush_returns_when_the_server_has_taken_in_what_was_sent_before(server: NatsServer) -> None:
    alice = await server.connect("member", "alice")
    with capture_logs() as logs:
        for number in range(20):
            await alice.publish(f"membership.v1.command.x.bob{number}")
            await alice.flush()
            assert logs[-1]["subject"] == f"membership.v1.command.x.bob{number}"


async def test_a_tool_does_not_wait_longer_for_a_server_than_it_said(server: NatsServer) -> None:
    creds = server.creds("member", "alice")
    server.stop()
    with pytest.raises(Unreachable, match=r"No NATS server answered at nats://127\.0\.0\.1:\d+ within 0\.3 s \(.+\)"):
        await connect([server.url], creds, patience=0.3)


async def test_a_service_waits_for_a_server_that_starts_after_it_and_says_so_once(server: NatsServer) -> None:
    creds = server.creds("membership", "membership")
    server.stop()
    with capture_logs() as logs:
        connecting = asyncio.create_task(connect([server.url], creds))
        await asyncio.sleep(1.2)  # some attempts
        assert not connecting.done()
        server.start()
        async with asyncio.timeout(20):
            nc = await connecting
    assert [line["event"] for line in logs] == ["NATS cannot be reached, still trying", "connected to NATS"]
    await nc.close()


async def test_a_connection_finds_its_way_back_with_its_subscriptions_and_says_so_once(server: NatsServer) -> None:
    membership, alice = await server.connect("membership"), await server.connect("member", "alice")

    async def answer(message: Msg) -> None:
        await message.respond(b"here")

    async def answered() -> bool:
        try:
            return (await request(alice, COMMAND, timeout=1)).data == b"here"
        except BrokerError:
            return False

    await membership.subscribe("membership.v1.command.*.*", cb=answer)
    await membership.flush()
    with capture_logs() as logs:
        server.kill()
        await asyncio.sleep(1.2)
        server.start()
        await until(answered)
    said = [line["event"] for line in logs if line["principal"] == "membership"]
    assert said[0] == "connection to NATS lost, trying again"
    assert said[-1] == "connected to NATS"
    assert len(said) <= 5  # one for each different reason, not one for each attempt


async def test_a_clean_leave_works_with_the_server_gone(server: NatsServer) -> None:
    membership = await server.connect("membership")
    server.kill()
    await until(lambda: _true(not membership.is_connected))
    await membership.drain()
    assert membership.is_closed
    assert not membership.lost.is_set()


async def _true(value: bool) -> bool:
    return value


async def test_a_connection_that_is_closed_in_the_moment_an_attempt_fails_makes_no_further_attempt(
    server: NatsServer,
) -> None:
    """Cancelled then, ``wait_for`` of Python 3.11 raises the failure, and the client's loop takes it for one more."""
    nc = await server.connect("operator")
    server.stop()
    attempt = await attempt_to_reach_a_server()
    trying = nc._reconnection_task
    assert trying is not None
    attempt.add_done_callback(lambda _: trying.cancel())  # after the callback that lets wait_for go on
    await asyncio.wait({trying}, timeout=5)
    assert trying.done()
    await nc.close()


async def attempt_to_reach_a_server() -> "asyncio.Task[object]":
    """The task in which the client opens a connection, while it does."""
    async with asyncio.timeout(5):
        while True:
            for task in asyncio.all_tasks():
                if getattr(task.get_coro(), "__name__", "") == "open_connection":
                    return task
            await asyncio.sleep(0)


async def test_a_connection_that_the_server_ends_for_good_is_reported_as_lost(server: NatsServer) -> None:
    alice = await server.connect("member", "alice")
    assert alice._transport is not None
    alice._transport.write(b"nonsense\r\n")
    async with asyncio.timeout(10):
        await alice.lost.wait()


async def test_the_broker_of_a_service_is_a_connection_like_any_other(server: NatsServer) -> None:
    broker = ServiceBroker(
        [server.url], server.creds("membership", "membership"), logger=logging.getLogger("faststream")
    )

    @broker.subscriber("membership.v1.query.health.*", "membership")
    async def health(body: bytes) -> bytes:
        return b"well"

    async with broker:
        await broker.start()
        await (await broker.connect()).flush()
        alice = await server.connect("member", "alice")
        assert (await request(alice, "membership.v1.query.health.alice")).data == b"well"


def test_credentials_say_whose_they_are(tmp_path: Path) -> None:
    server = NatsServer(tmp_path)
    assert principal_of(server.creds("member", "Alice-2")) == "Alice-2"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read: No such file or directory"),
        ("hello", "is not a credentials file"),
        ("-----BEGIN NATS USER JWT-----\na.b.c\n", "is not a credentials file"),
        ("-----BEGIN NATS USER JWT-----\na.e30.c\n", "is not a credentials file"),
    ],
)
def test_a_file_that_holds_no_credentials_is_named(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "alice.creds"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadCredentials, match=f"{path}.*{sentence}"):
        principal_of(path)


async def test_many_messages_published_at_once_arrive_as_if_published_one_by_one(server: NatsServer) -> None:
    alice = await server.connect("member", "alice")
    inbox = alice.new_inbox()
    subscription = await alice.subscribe(inbox)
    service = await server.connect("membership")
    await service.publish_all([(inbox, {"Colour": "grün"}, "grün".encode()), (inbox, {}, b""), (inbox, {}, b"last")])
    arrived = [await subscription.next_msg(timeout=5) for _ in range(3)]
    assert [message.data for message in arrived] == ["grün".encode(), b"", b"last"]
    assert [message.headers for message in arrived] == [{"Colour": "grün"}, None, None]


async def test_a_subject_that_would_end_the_line_is_not_published(server: NatsServer) -> None:
    alice = await server.connect("member", "alice")
    with pytest.raises(errors.BadSubjectError):
        await alice.publish_all([("membership.v1.command.x.alice\r\nPUB other 0", {}, b"")])
