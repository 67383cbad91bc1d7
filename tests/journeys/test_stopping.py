"""Services that are told to stop, NATS that dies, streams and durables that vanish: nothing is lost or done twice."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from deploy.local_stack import LocalStack
from deploy.people import People, new_id
from shared.broker import BrokerError, Connection, connect
from shared.contracts.membership import (
    ImportOrganisations,
    ListOrganisations,
    OrganisationListed,
    OrganisationRow,
    RegisterOrganisation,
)
from shared.contracts.notifications import ListDeliveries, Subscribe
from shared.contracts.platform import Health
from shared.identity import INBOUND_REFUSED, SERVICES, Keys
from shared.streams import ApiError, api, durables
from shared.testing.nats import write_breakers_creds

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONCORD = Path(sys.executable).parent / "concord"
FOLLOWS = {"membership": (), "events": ("membership",), "benchmark": ("membership",),
           "notifications": ("membership", "events", "benchmark")}  # fmt: skip
BURST = 800
"""Events that one command causes, so that those who follow are in the middle of them when they are told to stop."""
LEAVES_WITHIN = 5.0
PATIENCE = 30.0

Answer = TypeVar("Answer")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def breaker(stack: LocalStack) -> AsyncIterator[Connection]:
    """Somebody who may delete streams and durables, as nobody on the platform may."""
    creds = stack.directory / "creds" / "breaker.creds"
    write_breakers_creds(Keys.load(stack.directory / "keys"), creds)
    connection = await connect([stack.url], creds, patience=PATIENCE)
    yield connection
    await connection.close()


class Load:
    """Organisations registered by command and listed by a register, as fast as both are answered.

    A command that was not answered is sent again with its id until it is.
    """

    def __init__(self, people: People, name: str) -> None:
        self._people = people
        self._name = name
        self._enough = False
        self._workers: list[asyncio.Task[None]] = []
        self.keys: set[str] = set()

    async def begin(self) -> None:
        """Returns when it is under way: a burst of events is on its way to those who follow."""
        await self._people.enter("register", "publisher")
        self._workers = [
            asyncio.create_task(work(number)) for work in (self._register, self._list) for number in range(4)
        ]
        keys = [f"{self._name}-imported-{number}" for number in range(BURST)]
        self.keys.update(keys)
        rows = tuple(OrganisationRow(key=key, name=key, format="charity") for key in keys)
        await self._people.tell("operator", ImportOrganisations(register_name=self._name, rows=rows))

    def enough(self) -> None:
        """Asks for no more."""
        self._enough = True

    async def end(self) -> None:
        """Returns when every command was answered."""
        self.enough()
        await asyncio.gather(*self._workers)

    async def _register(self, worker: int) -> None:
        number = 0
        while not self._enough:
            number += 1
            key = f"{self._name}-registered-{worker}-{number}"
            self.keys.add(key)
            command, id_ = RegisterOrganisation(key=key, name=key, type="charity"), new_id()
            reply = await self._until_answered(partial(self._people.send, "operator", command, id=id_))
            assert reply.outcome == "done", reply

    async def _list(self, worker: int) -> None:
        number = 0
        while not self._enough:
            number += 1
            key = f"{self._name}-listed-{worker}-{number}"
            self.keys.add(key)
            message, id_ = (
                OrganisationListed(organisation=OrganisationRow(key=key, name=key, format="charity")),
                new_id(),
            )
            await self._until_answered(partial(self._people.publish, "register", message, id=id_))
            await asyncio.sleep(0.02)  # each is looked up among all there are

    async def _until_answered(self, send: Callable[[], Awaitable[Answer]]) -> Answer:
        while True:
            try:
                return await send()
            except BrokerError:
                await asyncio.sleep(0.05)


async def organisations(people: People) -> list[str]:
    """The key of every organisation."""
    keys: list[str] = []
    after: str | None = None
    while True:
        page = await people.ask("operator", ListOrganisations(limit=500, after=after))
        keys += [organisation.key for organisation in page.organisations]
        if (after := page.next) is None:
            return keys


async def state_of_durables(people: People, service: str) -> list[Any]:
    """What the server says of every durable of a service."""
    asked = [f"CONSUMER.INFO.{durable.stream}.{service}" for durable in durables(service, FOLLOWS[service])]
    return [await api(people.connection("operator"), subject) for subject in asked]


async def undelivered(people: People) -> dict[str, tuple[int, int]]:
    """Durables that have something to deliver, or to hear an acknowledgement of."""
    found = {}
    for service in SERVICES:
        for durable in await state_of_durables(people, service):
            if durable["num_pending"] or durable["num_ack_pending"]:
                found[f"{durable['stream_name']}/{service}"] = (durable["num_pending"], durable["num_ack_pending"])
    return found


async def all_delivered(people: People) -> bool:
    """Whether everybody has read everything."""
    return not await undelivered(people)


@pytest.mark.parametrize("victim", SERVICES)
async def test_a_service_told_to_stop_under_load_leaves_with_nothing_in_hand(
    stack: LocalStack, people: People, victim: str
) -> None:
    load = Load(people, f"stop-{victim}")
    await load.begin()
    process = stack.programs[victim].process
    told_at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    while process.poll() is None:  # noqa: ASYNC110  as the stack itself waits
        await asyncio.sleep(0.01)
    load.enough()
    assert process.returncode == 0
    assert time.monotonic() - told_at < LEAVES_WITHIN
    for durable in await state_of_durables(people, victim):  # before it is back
        assert (durable["num_ack_pending"], durable["num_redelivered"]) == (0, 0), durable

    await stack.ready(PATIENCE)
    await load.end()
    await people.until("everybody has read everything", lambda: all_delivered(people))
    for durable in await state_of_durables(people, victim):
        assert durable["delivered"]["consumer_seq"] == durable["delivered"]["stream_seq"], durable
    keys = [key for key in await organisations(people) if key.startswith(f"stop-{victim}")]
    assert sorted(keys) == sorted(load.keys)  # each of them once
    said = [json.loads(line)["message"] for line in stack.programs[victim].log.read_text().splitlines()]
    assert "stopped" in said
    assert "stopped with work in hand; it is delivered or sent again" not in said


async def test_a_service_that_cannot_finish_leaves_all_the_same_and_loses_nothing(
    stack: LocalStack, people: People
) -> None:
    process, id_ = stack.programs["membership"].process, new_id()
    command = RegisterOrganisation(key="locked-out", name="Locked out", type="charity")
    with closing(sqlite3.connect(stack.directory / "membership.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        asked = asyncio.create_task(people.send("operator", command, id=id_))

        async def in_trouble() -> bool:
            health = await people.ask("operator", Health(), "membership")
            return any("the store is in trouble" in reason for reason in health.reasons)

        await people.until("the command is in hand", in_trouble)
        told_at = time.monotonic()
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:  # noqa: ASYNC110  as the stack itself waits
            await asyncio.sleep(0.01)
        assert time.monotonic() - told_at < LEAVES_WITHIN
        assert process.returncode == 0
        with pytest.raises(BrokerError):
            await asked
    said = stack.programs["membership"].log.read_text()
    assert "stopped with work in hand; it is delivered or sent again" in said
    await stack.ready(PATIENCE)
    reply = await people.send("operator", command, id=id_)
    assert reply.outcome == "done", reply


async def test_services_outlive_nats_and_carry_on_by_themselves(stack: LocalStack, people: People) -> None:
    pids = {name: stack.programs[name].process.pid for name in SERVICES}
    load = Load(people, "nats")
    await load.begin()
    nats = stack.programs["nats"].process.pid
    os.kill(nats, signal.SIGKILL)

    async def is_another() -> bool:
        return stack.programs["nats"].process.pid != nats

    await people.until("NATS was started again", is_another)
    load.enough()
    await stack.ready(PATIENCE)
    await load.end()
    assert {name: stack.programs[name].process.pid for name in SERVICES} == pids
    for name in SERVICES:
        assert "connection to NATS lost, trying again" in stack.programs[name].log.read_text()
    await people.until("everybody has read everything", lambda: all_delivered(people))
    keys = [key for key in await organisations(people) if key.startswith("nats-")]
    assert len(keys) == len(set(keys))
    assert load.keys - set(keys) == set()


async def test_a_durable_that_is_deleted_is_declared_again_and_the_flow_goes_on(
    stack: LocalStack, people: People, breaker: Connection
) -> None:
    await people.enter("zoe", "subscriber")
    await people.tell("zoe", Subscribe(topic="membership"))
    before = len((await people.ask("zoe", ListDeliveries())).deliveries)
    for service in ("events", "benchmark", "notifications"):
        await api(breaker, f"CONSUMER.DELETE.MEMBERSHIP.{service}")
    await people.make("operator", RegisterOrganisation(key="durable", name="Durable", type="charity"))

    async def everybody_follows_again() -> bool:
        try:
            return await all_delivered(people)
        except ApiError:
            return False  # a durable is still missing

    await people.until("everybody has read everything", everybody_follows_again)
    health = [await people.ask("operator", Health(), service) for service in SERVICES]
    assert [(one.ready, one.dead_letters, one.waiting_events) for one in health] == [(True, 0, 0)] * len(SERVICES)
    # What was read before is read again, and nobody is told of it a second time.
    assert len((await people.ask("zoe", ListDeliveries())).deliveries) == before


async def test_a_stream_that_is_deleted_is_filled_again_from_the_store(
    stack: LocalStack, people: People, breaker: Connection
) -> None:
    await api(breaker, "STREAM.DELETE.MEMBERSHIP")
    await people.make("operator", RegisterOrganisation(key="after-the-loss", name="After the loss", type="charity"))
    command = [CONCORD, "reconcile", "--data", stack.directory]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr

    async def as_in_the_outbox() -> bool:
        return sorted(await ids_in(breaker, "MEMBERSHIP")) == outbox_ids(stack, "MEMBERSHIP")

    await people.until("the stream holds what the outbox says, each once", as_in_the_outbox)
    await people.until("everybody has read everything", lambda: all_delivered(people))
    health = [await people.ask("operator", Health(), service) for service in SERVICES]
    assert [(one.ready, one.dead_letters, one.waiting_events) for one in health] == [(True, 0, 0)] * len(SERVICES)


async def test_reconcile_also_fills_a_stream_that_nobody_has_missed_yet(
    stack: LocalStack, people: People, breaker: Connection
) -> None:
    """Nobody follows it, and nobody had anything to say on it since."""
    await people.enter("register", "publisher")
    circus = OrganisationListed(organisation=OrganisationRow(key="circus", name="Circus", format="circus"))
    await people.publish("register", circus)

    async def as_in_the_outbox() -> bool:
        told = outbox_ids(stack, INBOUND_REFUSED)
        return told != [] and sorted(await ids_in(breaker, INBOUND_REFUSED)) == told

    await people.until("the publisher was told of the refusal", as_in_the_outbox)
    await api(breaker, f"STREAM.DELETE.{INBOUND_REFUSED}")
    command = [CONCORD, "reconcile", "membership", "--data", stack.directory]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    await people.until("the stream holds what the outbox says, each once", as_in_the_outbox)


async def test_a_service_whose_events_do_not_get_out_says_that_it_is_not_ready_and_reconcile_heals_it(
    stack: LocalStack, people: People, breaker: Connection
) -> None:
    """Nobody who follows it is there to declare the stream again."""
    followers = [name for name in SERVICES if name != "membership"]
    for name in followers:
        os.kill(stack.programs[name].process.pid, signal.SIGSTOP)
    try:
        await api(breaker, "STREAM.DELETE.MEMBERSHIP")
        await people.make("operator", RegisterOrganisation(key="unready", name="Unready", type="charity"))

        async def unready() -> bool:
            health = await people.ask("operator", Health(), "membership")
            return not health.ready and health.unsent_events > 0 and "events do not get out" in health.reasons[0]

        await people.until("membership says that it is not ready", unready)
        command = [CONCORD, "reconcile", "membership", "--data", stack.directory]
        ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr

        async def healed() -> bool:
            health = await people.ask("operator", Health(), "membership")
            return health.ready and sorted(await ids_in(breaker, "MEMBERSHIP")) == outbox_ids(stack, "MEMBERSHIP")

        await people.until("membership is ready, and the stream holds what the outbox says", healed)
    finally:
        for name in followers:
            os.kill(stack.programs[name].process.pid, signal.SIGCONT)
    await stack.ready(PATIENCE)


def outbox_ids(stack: LocalStack, stream: str) -> list[str]:
    """The id of every message that membership has for a stream."""
    with closing(sqlite3.connect(f"file:{stack.directory / 'membership.sqlite'}?mode=ro", uri=True)) as store:
        return sorted(id_ for (id_,) in store.execute("SELECT id FROM outbox WHERE stream = ?", [stream]))


async def ids_in(nc: Connection, stream: str) -> list[str]:
    """The id of every message in a stream, as often as it is there."""
    state = (await api(nc, f"STREAM.INFO.{stream}"))["state"]
    jetstream = nc.jetstream()
    ids = []
    for sequence in range(max(1, state["first_seq"]), state["last_seq"] + 1):  # an empty one says 0 to 0
        message = await jetstream.get_msg(stream, sequence, direct=True)
        assert message.headers is not None
        ids.append(message.headers["Nats-Msg-Id"])
    return ids
