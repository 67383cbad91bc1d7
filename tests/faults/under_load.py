"""A platform under load for a disturbance to disturb; afterwards it comes to rest, and everything is accounted for."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import uuid_utils
from nats import errors

from shared import clock
from shared.broker import BrokerError, request
from shared.contracts.cloudevent import STRUCTURED_HEADERS, write
from shared.contracts.message import Command, Query, subject_of
from shared.contracts.platform import Health, Reconcile, Reply, ServiceHealth
from shared.identity import SERVICES
from shared.streams import ApiError, Durable, NotNow, api, durables
from shared.testing.nats import PLENTY
from shared.testing.nats_cluster import NatsCluster
from shared.testing.stores import BACKENDS, Backend
from tests.faults.checker import CHECKS, Facts, gather, problems
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.rounds import ENDED_WITHIN, LOOK_EVERY, READY_WITHIN, SETTLED_WITHIN, settled
from tests.faults.schedule import PLATFORM, Round
from tests.faults.stack import Stack
from tests.faults.teller import Platform

Check = Callable[[Facts], Iterable[str]]

DURABLES: Mapping[str, list[Durable]] = {name: durables(name, each.follows) for name, each in PLATFORM.items()}
"""Of each service."""
FLOWS_WITHIN = 60.0
"""Seconds after which one no longer waits for a flow to resume."""

TIMES = 3 if "PYTEST_XDIST_WORKER" in os.environ else 1
"""How often over a recovery may take its time where other tests run on the same processors. ``make faults`` runs each
disturbance alone, and holds it to its limit."""


class UnderLoad:
    """Everything of one disturbance: the stack, its load, what was accepted and what was found."""

    def __init__(self, stack: Stack, round_: Round) -> None:
        self.stack = stack
        self.round = round_
        self.random = round_.random("disturbance")
        self.ledger = Ledger()
        self.platform = Platform(stack.nats, self.ledger, stack.receiver.url, stack.mail)
        self.load = Load(round_, self.platform)
        self.load.planning = False  # a core's second for each plan is others' time
        self.found: list[str] = []
        self.facts: Facts | None = None
        self.telling: asyncio.Task[None] | None = None

    async def pause(self, least: float, most: float) -> None:
        """Leaves the load alone for as long as chance says (seconds)."""
        await asyncio.sleep(self.random.uniform(least, most))

    async def ready(self) -> None:
        """Returns when every service says that it is ready."""
        while [name for name in SERVICES if await self.why_not_ready(name)]:  # noqa: ASYNC110  said by no event
            await asyncio.sleep(LOOK_EVERY)

    async def why_not_ready(self, service: str) -> str | None:
        """What a service itself says, or what keeps it from answering; ``None`` if it is ready."""
        try:
            reply = await self._ask(service, Health(), timeout=1)
        except BrokerError as error:
            return str(error)
        if reply.failure is not None:
            return reply.failure.sentence
        health = ServiceHealth.model_validate(reply.answer)
        return None if health.ready else "; ".join(health.reasons)

    async def reconcile(self) -> int:
        """Does what ``concord reconcile`` does; how many messages were to be sent again, of all streams."""
        asked = (self._ask(name, Reconcile(), timeout=30) for name in SERVICES)
        answers = dict(zip(SERVICES, await asyncio.gather(*asked, return_exceptions=True), strict=True))
        done = {name: answer.done for name, answer in answers.items() if isinstance(answer, Reply) and answer.done}
        self.found += [f"{name} could not reconcile: {answers[name]}" for name in SERVICES if name not in done]
        return sum(sum(each.counts.values()) for each in done.values())

    async def _ask(self, service: str, message: Command | Query[Any], timeout: float) -> Reply:  # noqa: ASYNC109  passed on
        asked = write(message, id=str(uuid_utils.uuid7()), source="/operator", time=clock.now())
        subject = subject_of(type(message), "operator", service)
        answer = await request(self.stack.operator, subject, asked, dict(STRUCTURED_HEADERS), timeout)
        return Reply.model_validate_json(answer.data)

    async def resumes(self, what: str, within: float) -> float:
        """Waits until every service is ready and every durable hands out what came after now; how long that took.

        It is a problem if it takes longer than ``within`` seconds.
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(FLOWS_WITHIN):
                await self.ready()
                await asyncio.gather(*(self._flows(durable) for each in DURABLES.values() for durable in each))
        except TimeoutError:
            why = "; ".join(self.stack.dead()) or await self.in_hand()
            self.found.append(f"{what}: the flow did not resume within {FLOWS_WITHIN:g} s: {why}")
            return FLOWS_WITHIN
        if (took := time.monotonic() - began) > within:
            self.found.append(f"{what}: the flow took {took:.1f} s to resume, and should take {within:g} s at most")
        return took

    async def _flows(self, durable: Durable) -> None:
        beyond: int | None = None
        while True:
            try:
                if beyond is None:
                    told = await api(self.stack.operator, f"STREAM.INFO.{durable.stream}")
                    beyond = int(told["state"]["last_seq"])
                told = await api(self.stack.operator, f"CONSUMER.INFO.{durable.stream}.{durable.name}")
                if told["delivered"]["stream_seq"] > beyond:
                    return
            except (ApiError, NotNow, errors.Error):
                beyond = None  # it is not there yet, or not there any more
            await asyncio.sleep(LOOK_EVERY)

    async def stop(self, service: str, within: float) -> float:
        """Tells a service to stop, as an operator does; how long it took. To leave late or badly is a problem."""
        program, began = self.stack.programs[service], time.monotonic()
        program.process.terminate()
        try:
            code = await asyncio.wait_for(program.ended(), within)
        except TimeoutError:
            self.found.append(f"{service} did not leave within {within:g} s: {program.last_words}")
            await self.stack.kill(service)
        else:
            if code:
                self.found.append(f"{service} left with {code}: {program.last_words}")
        return time.monotonic() - began

    async def in_hand(self) -> str:
        """What is not ready, or still to be done."""
        unready = [f"{name}: {why}" for name in SERVICES if (why := await self.why_not_ready(name))]
        return "; ".join(unready or await self.stack.in_hand())

    async def end(self, *, but: Iterable[Check] = ()) -> str:
        """Ends the load, waits until nothing is in hand, and checks all ``but`` these; what was counted."""
        self.load.ending = True
        if self.telling is not None:
            await self._within(ENDED_WITHIN, self.telling, "the load did not end")
        await self._within(SETTLED_WITHIN, settled(self.stack), "there is still something in hand")
        self.found += [*await self.stack.in_hand(), *self.stack.dead()]
        self.facts = await gather(self.stack, self.ledger)
        for check in CHECKS:
            if check not in but:
                self.found += [f"{check.__name__.replace('_', ' ')}: {found}" for found in problems(check, self.facts)]
        told = len(self.facts.told)
        return f"{len(self.ledger.asked)} commands, {len(self.facts.sent) - told} events, {told} deliveries"

    async def _within(self, seconds: float, work: Awaitable[None], otherwise: str) -> None:
        try:
            await asyncio.wait_for(work, seconds)
        except TimeoutError:
            self.found.append(f"{otherwise} after {seconds:g} s")


@asynccontextmanager
async def under_load(
    directory: Path,
    store: Backend,
    seed: int,
    room: int = PLENTY,
    nats: NatsCluster | None = None,
    settings: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> AsyncIterator[UnderLoad]:
    """A platform whose load has just begun; whatever happens, nothing of it is left afterwards."""
    round_ = Round(seed, BACKENDS.index(store))
    async with Stack(directory, store, room, nats, settings) as stack:
        under = UnderLoad(stack, round_)
        await asyncio.wait_for(under.load.prepare(lambda: settled(stack)), READY_WITHIN)
        async with asyncio.TaskGroup() as group:  # a load that breaks off breaks off everything
            under.telling = group.create_task(under.load.run())
            try:
                yield under
            finally:
                under.telling.cancel()
