"""One service as a process: its surface on NATS, its loop on its store, and a clean way in and out.

``main.py`` of a service names its parts and calls ``run``.
"""

import asyncio
import gc
import importlib
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

import structlog
import uvloop
from faststream import FastStream
from faststream.nats import NatsMessage
from nats.aio.msg import Msg
from sqlalchemy import Connection, Engine

from shared import clock, health, history, inbox, metrics, queries
from shared.broker import Connection as Nats
from shared.consumer import Consumer, acknowledge, place_of
from shared.contracts import cloudevent
from shared.contracts.cloudevent import STRUCTURED_HEADERS
from shared.contracts.message import MAJOR, Command, subject_of
from shared.contracts.platform import (
    Done,
    Failure,
    Health,
    HealthOfEach,
    Reconcile,
    Reply,
)
from shared.database import open_store, reading, trouble_behind
from shared.identity import may_be_answered
from shared.loop import Loop
from shared.migration import upgrade
from shared.observer import Observer, Waiting
from shared.outbox import Unsent
from shared.reconcile import reconcile
from shared.refusal import Refusal
from shared.relay import Relay
from shared.service_broker import ServiceBroker
from shared.settings import Settings
from shared.streams import durables, event_stream, platform_streams
from shared.streams import reconcile as reconcile_streams
from shared.surface import SEALED, Arrival, Received, Surface
from shared.tasks import Answer, Runner
from shared.telemetry import configure_logging, opaque
from shared.testing.fault_points import fault_point, fault_point_once_sent
from shared.transaction import trace_of, without_values
from shared.unit_of_work import Reader, new_id

READERS = 4
"""Threads that answer queries, each on a connection of its own."""

PAGE_WITHIN = 10.0
"""Seconds that whoever opened a page waits for what it asked for."""

PRUNE_EVERY = timedelta(minutes=10)
PRUNED_AT_ONCE = 5000

MOST_QUERIES = 1000
"""Queries that may be in hand before another is refused."""

STORE_PAUSE = 1.0
"""Seconds between two attempts to reach a store that is away when the service starts."""

GARBAGE_THRESHOLD = 100_000
"""Objects that are made before Python looks for cycles among them. A batch makes tens of thousands that are no garbage
and not in any cycle; with Python's own 700 a fifth of a service's processor time goes into looking at them."""

GONE_WITHIN = 1.0
"""Seconds within which a server that says a stream is gone has removed its files. One made anew before that loses its
own with them, and still confirms what is put into it (``docs/decisions/streams.md``)."""

STOP_WITHIN = 4.0
"""Seconds a stopping service takes to finish what it has in hand, before it leaves the rest to redelivery."""

log = structlog.get_logger()


class Door(Protocol):
    """How the pages of a service reach it."""

    async def read(self, question: Callable[[Reader], Answer], /) -> Answer:
        """Asks its store, from one consistent state."""

    async def ask(self, principal: str, command: Command, id_: str) -> Reply:
        """Has a command carried out for a principal whom the page knows; durable once it is answered.

        Raises ``TimeoutError`` after ``PAGE_WITHIN`` seconds: it may be carried out yet.
        """


@dataclass(frozen=True)
class Service:
    """What makes one service: what it hears, whose events it follows, and how its store is made ready.

    ``deliveries_waiting`` counts, by channel, what is to be delivered and is not yet, where a service delivers.
    ``pages`` is the ``module:function`` that serves a service's pages for people, given a ``Door`` and a port; it needs
    CONCORD_PUBLIC_PORT, and is loaded with it.
    """

    surface: Surface
    follows: tuple[str, ...] = ()
    prepare_store: Callable[[Engine, str], None] = upgrade
    deliveries_waiting: Waiting | None = None
    forget: Callable[[Settings, Connection], int] | None = None
    """Forgets a little of what the service itself keeps for a time only; how much it forgot."""
    pages: str | None = None

    @property
    def name(self) -> str:
        """The service's name, the first token of its subjects."""
        return self.surface.service


def run(service: Service) -> None:
    """Runs a service until SIGTERM or SIGINT; its settings come from the environment."""
    settings = Settings.from_environment()
    configure_logging(service.name, settings.log_level)
    gc.freeze()  # what is loaded by now stays until the end
    gc.set_threshold(GARBAGE_THRESHOLD)
    code = uvloop.run(Process(service, settings).run())
    # Whatever could be finished in order is finished. A thread may be in a transaction yet, which is undone.
    sys.stderr.flush()
    os._exit(code)


class Process:
    """The parts of a running service, and the order in which they start and stop."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._service = service
        self._settings = settings
        self._name = new_id().encode()  # tells this replica from the others
        self._surface = service.surface
        self._surface.queries |= queries.of_every_service(service.name, self._condition, service.deliveries_waiting)
        # One connection more than there are readers, for the figures.
        self._engine: Engine = open_store(settings.store, readers=READERS + 1)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self._outbox_reader = ThreadPoolExecutor(1, thread_name_prefix="outbox")  # slow queries must not hold up events
        self._broker = ServiceBroker(settings.nats, settings.credentials, logger=None)
        self._app = FastStream(
            self._broker, logger=None, on_startup=[self._start], after_startup=[self._started], on_shutdown=[self._stop]
        )
        self._replies: list[tuple[str, bytes]] = []
        self._acks: list[str] = []
        self._queries = 0
        self._lag: Mapping[str, int] = {}
        self._looping: asyncio.Task[None] | None = None
        self._consumers: list[Consumer] = []
        self._background: list[asyncio.Task[Any]] = []
        self._in_hand: set[asyncio.Task[Any]] = set()
        self._health: asyncio.Server | None = None
        self._pages: asyncio.Server | None = None
        self._failed = False
        self._broker.subscriber(self._everything("query"), queue=service.name, no_reply=True, decoder=_as_it_came)(
            self._receive_query
        )

    async def run(self) -> int:
        """Runs until it is told to stop; the exit code."""
        with self._spans_exported():
            await self._app.run()
        self._engine.dispose()
        return 1 if self._failed else 0

    def _condition(self) -> queries.Condition:
        return queries.Condition(self._name.decode(), self.reasons, self._lag)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not ready."""
        return tuple(reason for reason in self._troubles.values() if reason)

    @property
    def _troubles(self) -> dict[str, str | None]:
        """Everything that can keep it from being ready, by a word for it, and a sentence for each that does now."""
        connected = None if self._nc.is_connected else "there is no connection to NATS"
        deaf = None if connected else next(filter(None, (each.trouble for each in self._consumers)), None)
        return {"store": self._loop.trouble, "relay": self._relay.trouble, "nats": connected, "consumer": deaf}

    @contextmanager
    def _spans_exported(self) -> Iterator[None]:
        settings = self._settings
        if settings.trace_endpoint is None:
            yield
            return
        from shared.span_export import SpanExport  # noqa: PLC0415  loaded where spans are wanted, and nowhere else

        export = SpanExport(self._service.name, self._name.decode(), settings.trace_endpoint, settings.trace_share)
        try:
            yield
        finally:
            export.close()

    # ---- in and out ----------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        await self._prepare_store()
        await self._broker.connect()
        nc = self._broker._connection  # FastStream hands it out to its own subscribers only
        if not isinstance(nc, Nats):
            raise TypeError(f"FastStream connected by itself: {nc!r}")
        self._nc = nc
        self._loop = Loop(self._surface, self._engine, self._writer, batch_size=self._settings.batch_size)
        self._relay = Relay(
            nc, self._loop, self._engine, self._outbox_reader, self._restore, singly=self._settings.publish_singly
        )
        self._observer = Observer(
            self._engine,
            nc,
            durables(self._service.name, self._service.follows),
            lambda: {word: bool(sentence) for word, sentence in self._troubles.items()},
            self._service.deliveries_waiting,
        )
        self._runner = Runner(list(self._surface.task_kinds.values()), self._loop, self.read)
        self._loop.on_messages = self._committed_messages
        self._loop.on_tasks = self._runner.wake
        self._loop.on_settled = self._send_settled
        await self._declare()
        if self._engine.dialect.name != "sqlite":  # other replicas may commit what this one relays
            await nc.subscribe(self._wake_subject, cb=self._woken)
        # Not through FastStream, which would spend more on a command than everything else together.
        self._commands = await nc.subscribe_directly(
            self._everything("command"), self._receive_command, queue=self._service.name
        )
        self._asked_each = await nc.subscribe_directly(
            subject_of(HealthOfEach, "*", self._service.name), self._receive_health_of_each
        )
        # From here on nothing is waited for: who is asked to stop finds all of it there, or none.
        self._looping = self._watch("loop", self._loop.run())
        self._consumers = [
            Consumer(
                nc, durable.stream, durable.name, self._receive_from_stream, self._loop.room,
                self._restore,
            )
            for durable in durables(self._service.name, self._service.follows)
        ]  # fmt: skip
        self._consuming = [self._watch(f"consumer of {each.name}", each.run()) for each in self._consumers]
        self._relaying = self._watch("relay", self._relay.run())
        self._background = [
            self._watch("tasks", self._runner.run()),
            self._watch("pruning", self._prune()),
            self._watch("connection", self._lost()),
        ]

    async def _prepare_store(self) -> None:
        """Makes the store ready, however long it needs to be there."""
        away = False
        while True:
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._writer, self._service.prepare_store, self._engine, self._service.name
                )
            except Exception as error:
                if (trouble := trouble_behind(error)) is None:
                    raise
                if not away:
                    log.warning("the store cannot be made ready, still trying", reason=str(trouble.orig).strip())
                away = True
            await asyncio.sleep(STORE_PAUSE)

    async def _started(self) -> None:
        if (port := self._settings.health_port) is not None:
            try:
                self._health = await health.serve(port, lambda: self.reasons, self._metrics())
            except OSError as error:
                reason = error.strerror or str(error)
                log.critical("CONCORD_HEALTH_PORT cannot be listened on; the process ends", port=port, reason=reason)
                self._failed = True
                self._app.exit()
                return
        if self._service.pages is not None and self._settings.public_port is not None:
            await self._open_pages(self._service.pages, self._settings.public_port)
        log.info("ready", store=self._engine.dialect.name, follows=self._service.follows)

    async def _open_pages(self, pages: str, port: int) -> None:
        module, function = pages.split(":")
        serve = getattr(importlib.import_module(module), function)
        try:
            self._pages = await serve(self, port)
        except OSError as error:
            reason = error.strerror or str(error)
            log.critical("CONCORD_PUBLIC_PORT cannot be listened on; the process ends", port=port, reason=reason)
            self._failed = True
            self._app.exit()

    def _metrics(self) -> health.Page:
        from shared.exposition import CONTENT_TYPE, Exposition  # noqa: PLC0415  loaded where somebody can ask for it

        exposition = Exposition(self._service.name, self._name.decode())
        metrics.begin(delivers=self._service.deliveries_waiting is not None)
        for stream in platform_streams():
            metrics.restored(stream.name, 0)  # a counter that begins at 1 has not increased, to Prometheus

        async def write() -> tuple[str, bytes]:
            return CONTENT_TYPE, await asyncio.to_thread(exposition.text, await self._observer.look())

        return write

    async def _declare(self) -> list[str]:
        """Brings streams and durables in line, however long the server needs to be able to; what it did."""
        declared = platform_streams(self._settings.stream_replicas)
        done = await reconcile_streams(self._nc, declared, durables(self._service.name, self._service.follows))
        for line in done:
            log.info(line)
        return done

    async def _restore(self) -> None:
        """The same where something was there and is gone. A stream that is made anew is empty, which must be said."""
        await asyncio.sleep(GONE_WITHIN)
        for line in await self._declare():
            if (stream := line.removeprefix("created stream ")) != line:
                log.error("a stream was gone and is made anew, empty; `concord reconcile` fills it", stream=stream)
                metrics.restored(stream)

    async def _stop(self) -> None:
        """Stops taking in, finishes what is in hand, replies, acknowledges, leaves."""
        if self._health is not None:
            self._health.close()
        if self._pages is not None:
            self._pages.close()
        if self._looping is None:
            return  # it had not begun: it waited for its store or for NATS
        try:
            async with asyncio.timeout(STOP_WITHIN):
                await self._commands.drain()  # type: ignore[no-untyped-call]  # the client leaves it untyped
                await self._asked_each.drain()  # type: ignore[no-untyped-call]  # as above
                for subscriber in self._broker.subscribers:
                    await _drain(subscriber)
                await _cancel(self._consuming)
                await asyncio.gather(*self._in_hand, return_exceptions=True)
                await _cancel(self._background)
                self._relay.stop()
                await asyncio.wait({self._relaying})
                self._loop.stop()
                await asyncio.wait({self._looping})
                await asyncio.gather(*self._in_hand, return_exceptions=True)
                await self._nc.flush()
        except TimeoutError:
            # A transaction that takes its time, a store that is locked, a server that is silent: each would hold up an
            # orderly end as well. Spans of the last second are lost, and nothing that was accepted.
            log.warning("stopped with work in hand; it is delivered or sent again", seconds=STOP_WITHIN)
            sys.stderr.flush()
            os._exit(1 if self._failed else 0)
        log.info("stopped")

    def _watch(self, what: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs a part of the service. A part that fails ends the process: whoever started it starts it anew."""
        task = asyncio.create_task(coroutine, name=what)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            said = {"error": without_values(error), "trace": trace_of(error)}
            log.critical("a part of the service failed; the process ends", part=task.get_name(), **said)
            self._failed = True
            self._app.exit()

    async def _lost(self) -> None:
        await self._nc.lost.wait()
        raise ConnectionError("NATS closed the connection for good")

    # ---- receiving -----------------------------------------------------------------------------------------------

    def _receive_command(self, message: Msg) -> None:
        if self._strayed(message, "command"):
            return
        arrival = self._surface.read(_received(message))
        arrival.settle = partial(self._reply_to, message, arrival.principal, sealed=arrival.sealed)
        if isinstance(arrival.message, Reconcile):
            self._do(self._reconcile(arrival))
        else:
            self._loop.offer(arrival)

    def _receive_from_stream(self, message: Msg) -> None:
        arrival = self._surface.read(_received(message), place=place_of(message))
        arrival.settle = lambda _: self._acks.append(message.reply)
        self._loop.offer(arrival)

    async def _receive_query(self, message: Msg) -> None:
        if self._strayed(message, "query") or _name_of(message) == HealthOfEach.wire.name:
            return  # the latter comes to every replica by itself
        if self._queries < MOST_QUERIES:
            self._queries += 1
            self._do(self._answer(message))
            return
        sentence = f"{self._service.name} has more questions before it than it can answer soon; ask again in a while."
        reply = Reply(outcome="refused", refusal=Refusal(code="overloaded", sentence=sentence))
        self._reply_to(message, message.subject.rsplit(".", 1)[-1], reply.model_dump_json(exclude_none=True).encode())
        self._send_settled()

    def _receive_health_of_each(self, message: Msg) -> None:
        if self._queries < MOST_QUERIES and not self._strayed(message, "query"):
            self._queries += 1
            self._do(self._answer(message))

    def _strayed(self, message: Msg, kind: str) -> bool:
        """Whether a message was sent on to our subscription from elsewhere, as a consumer's delivery subject can."""
        strayed = not message.subject.startswith(f"{self._service.name}.{MAJOR}.{kind}.")
        if strayed:
            subject = message.subject.rpartition(".")[0]  # its last word may be a principal
            log.warning("a message of another subject was sent on to us and is passed over", subject=subject)
        return strayed

    async def _answer(self, message: Msg) -> None:
        name, principal = _name_of(message), message.subject.rsplit(".", 1)[-1]
        try:
            if name in (Health.wire.name, HealthOfEach.wire.name):
                self._lag = await self._observer.lag()
            reply = await asyncio.get_running_loop().run_in_executor(
                self._readers, queries.answer, self._surface, self._engine, name, principal, _received(message)
            )
        finally:
            self._queries -= 1
        self._reply_to(message, principal, reply.model_dump_json(exclude_none=True).encode())
        self._send_settled()

    async def ask(self, principal: str, command: Command, id_: str) -> Reply:
        """Carries out a command that came by a page, like any other."""
        payload = cloudevent.write(command, id=id_, source=f"/{principal}", time=clock.now())
        subject = subject_of(type(command), principal, self._service.name)
        arrival = self._surface.read(Received(subject, STRUCTURED_HEADERS, payload))
        answered: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        arrival.settle = lambda reply: None if answered.done() else answered.set_result(reply)
        self._loop.offer(arrival)
        async with asyncio.timeout(PAGE_WITHIN):
            return Reply.model_validate_json(await answered or b"")

    async def read(self, question: Callable[[Reader], Answer], /) -> Answer:
        """Asks the store on a reader's thread, from one consistent state."""

        def ask() -> Answer:
            with reading(self._engine) as connection:
                return question(Reader(connection, clock.now(), self._service.name))

        return await asyncio.get_running_loop().run_in_executor(self._readers, ask)

    async def _reconcile(self, arrival: Arrival) -> None:
        try:
            await self._declare()  # one that is gone is filled again too
            counts = await reconcile(self._nc, self._engine, self._loop)
            reply = Reply(outcome="done", done=Done(counts=counts))
        except Exception as error:
            log.error("reconcile failed", error=without_values(error), trace=trace_of(error))
            reply = Reply(outcome="failed", failure=Failure(sentence=f"Reconcile failed: {error}"))
        self._relay.wake()
        if arrival.settle:
            arrival.settle(reply.model_dump_json(exclude_none=True).encode())
        self._send_settled()

    # ---- sending -------------------------------------------------------------------------------------------------

    def _reply_to(self, message: Msg, principal: str, reply: bytes | None, *, sealed: bool = False) -> None:
        if not message.reply or reply is None:
            return
        if not may_be_answered(principal, message.reply):
            sender = SEALED if sealed else opaque(principal)  # a principal may be somebody's name
            log.warning("a reply was asked for on a subject that is not the sender's own", sender=sender)
            return
        if len(reply) > self._nc.max_payload:
            sentence = f"The answer has {len(reply)} bytes; at most {self._nc.max_payload} can be sent. Ask for less."
            reply = (
                Reply(outcome="failed", failure=Failure(sentence=sentence)).model_dump_json(exclude_none=True).encode()
            )
        self._replies.append((message.reply, reply))

    def _send_settled(self) -> None:
        """Sends the replies and acknowledgements of what is now durable."""
        if self._replies or self._acks:
            replies, self._replies = self._replies, []
            acks, self._acks = self._acks, []
            self._do(self._send(replies, acks))

    async def _send(self, replies: list[tuple[str, bytes]], acks: list[str]) -> None:
        if replies:
            fault_point("before-reply")
            await self._nc.publish_all((subject, {}, payload) for subject, payload in replies)
            await fault_point_once_sent("after-reply", self._nc.flush)
        if acks:
            await acknowledge(self._nc, acks)

    def _committed_messages(self, messages: Sequence[Unsent]) -> None:
        self._relay.hand_over(messages)
        if self._engine.dialect.name != "sqlite":
            self._do(self._nc.publish(self._wake_subject, self._name))

    async def _woken(self, message: Msg) -> None:
        if message.data != self._name:  # what this one committed, its relay has
            self._relay.wake()

    def _everything(self, kind: str) -> str:
        return f"{self._service.name}.{MAJOR}.{kind}.*.*"

    @property
    def _wake_subject(self) -> str:
        return f"{self._service.name}.{MAJOR}.wake"

    def _do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._in_hand.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._in_hand.discard(task)
        if not task.cancelled() and (error := task.exception()):
            said = {"error": without_values(error), "trace": trace_of(error)}
            log.error("an answer or an acknowledgement could not be sent; it will be asked for again", **said)

    # ---- housekeeping --------------------------------------------------------------------------------------------

    async def _prune(self) -> None:
        """Forgets what nobody can ask for any more, a little at a time."""
        while True:
            handled_before = clock.now() - timedelta(days=self._settings.inbox_retention_days)
            recorded_before = clock.now() - timedelta(days=self._settings.outbox_retention_days)
            own = self._service.forget
            for forget in (
                *([partial(own, self._settings)] if own else ()),
                partial(inbox.prune, handled_before=handled_before, limit=PRUNED_AT_ONCE),
                partial(
                    history.prune_outbox,
                    recorded_before=recorded_before,
                    limit=PRUNED_AT_ONCE,
                    stream=event_stream(self._service.name),
                ),
            ):
                while await self._loop.call(forget):
                    continue
            await asyncio.sleep(PRUNE_EVERY.total_seconds())


def _name_of(query: Msg) -> str:
    """What is asked: the last but one token of its subject."""
    return query.subject.split(".")[3]


async def _as_it_came(message: NatsMessage) -> Msg:
    """FastStream's decoder, which would guess at the content; the contracts say what it is."""
    return message.raw_message


async def _drain(subscriber: Any) -> None:
    """Takes no more requests, and hands on those that have arrived."""
    if subscriber.subscription is not None:
        await subscriber.subscription.drain()
        subscriber.subscription = None
    await subscriber.stop()


async def _cancel(parts: list[asyncio.Task[Any]]) -> None:
    for part in parts:
        part.cancel()
    await asyncio.gather(*parts, return_exceptions=True)


def _received(message: Msg) -> Received:
    return Received(message.subject, {} if message.headers is None else message.headers, message.data)
