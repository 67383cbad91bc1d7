"""A process dies where its fault point says: what had left it by then is at the server, and nothing else is."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uuid_utils
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NothingCame

from shared import clock
from shared.broker import connect
from shared.contracts import cloudevent
from shared.contracts.message import subject_of
from shared.database import open_store
from shared.streams import INBOUND
from tests.performance.measures import EVENTS, fill_outbox
from tests.performance.messages import HEADERS, SUBJECT, payload
from tests.performance.pipeline.membership import PaidIn, PayIn
from tests.performance.stage import Program, Stage

BATCH = 300
"""Events of one atomic batch: two hundreds of parts, one of 99, and the last, which commits it."""
DIES_WITHIN = 20.0
HEARD_WITHIN = 5.0


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with Stage(tmp_path) as made:
        yield made


def start(stage: Stage, fault: str) -> Program:
    program = stage.start_service("membership", "tests.performance.pipeline.run", "membership", CONCORD_FAULT=fault)
    if not fault.startswith(
        ("before-batch", "after-batch", "before-puback", "after-puback", "before-mark", "after-mark")
    ):
        program.wait_ready()  # the others die on their way up
    return program


async def died(program: Program) -> None:
    async with asyncio.timeout(DIES_WITHIN):
        code = await asyncio.to_thread(program.process.wait)
    assert code == -signal.SIGKILL, program.log


@pytest.mark.parametrize(
    ("fault", "published", "stored", "unsent"),
    [
        ("before-batch-part:1", 0, 0, BATCH),
        ("after-batch-part:1", 100, 0, BATCH),
        ("before-batch-part:3", 200, 0, BATCH),
        ("after-batch-part:3", BATCH - 1, 0, BATCH),
        ("before-batch-commit", BATCH - 1, 0, BATCH),
        ("after-batch-commit", BATCH, BATCH, BATCH),
        ("before-puback", BATCH, BATCH, BATCH),
        ("after-puback", BATCH, BATCH, BATCH),
        ("before-mark-sent", BATCH, BATCH, BATCH),
        ("after-mark-sent", BATCH, BATCH, 0),
    ],
)
async def test_of_a_batch_so_much_was_out(stage: Stage, fault: str, published: int, stored: int, unsent: int) -> None:
    engine = open_store(stage.store("membership"))
    fill_outbox(engine, BATCH)
    engine.dispose()
    heard: list[Msg] = []

    async def hear(message: Msg) -> None:
        heard.append(message)

    await stage.observer.subscribe(subject_of(PaidIn, "*"), cb=hear)
    await stage.observer.flush()
    await died(start(stage, fault))
    async with asyncio.timeout(HEARD_WITHIN):
        while len(heard) < published or (await stage.stream(EVENTS))["messages"] < stored:  # noqa: ASYNC110  a stream tells nobody
            await asyncio.sleep(0.02)
    assert (len(heard), (await stage.stream(EVENTS))["messages"]) == (published, stored)
    assert stage.ask("membership", "SELECT count(*) FROM unsent") == unsent


@pytest.mark.parametrize(("fault", "acknowledged"), [("before-ack", False), ("after-ack", True)])
async def test_an_acknowledgement_was_out_or_was_not(stage: Stage, fault: str, *, acknowledged: bool) -> None:
    program = start(stage, fault)
    publisher = await stage.server.connect("publisher", "bank")
    await publisher.jetstream().publish(SUBJECT, payload("account-1"), headers=dict(HEADERS))
    await died(program)
    await asyncio.sleep(0.2)  # one that was sent by mistake would be there by now
    assert ((await stage.durable(INBOUND, "membership"))["ack_floor"]["stream_seq"] == 1) is acknowledged
    assert stage.ask("membership", "SELECT balance FROM accounts") == 1


@pytest.mark.parametrize(("fault", "answered"), [("before-reply", False), ("after-reply", True)])
async def test_a_reply_was_out_or_was_not(stage: Stage, fault: str, *, answered: bool) -> None:
    program = start(stage, fault)
    client = await connect([stage.server.url], stage.server.creds("member", "client"), patience=5)
    command = cloudevent.write(
        PayIn(account="account-1", amount=1), id=str(uuid_utils.uuid7()), source="/client", time=clock.now()
    )
    try:
        reply = await client.request(subject_of(PayIn, "client"), command, timeout=2, headers=dict(HEADERS))
        heard = b'"done"' in reply.data
    except NothingCame:
        heard = False
    await client.close()
    await died(program)
    assert heard is answered
    assert stage.ask("membership", "SELECT balance FROM accounts") == 1
