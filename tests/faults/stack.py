"""A platform to be killed: a real NATS server and the four services as processes, each on a store of its own."""

import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType, TracebackType

from sqlalchemy import Engine, func, select, text

from deploy.local_stack import Program
from shared import clock
from shared.broker import Connection
from shared.database import open_store, reading, writing
from shared.identity import SERVICES
from shared.outbox import count_unsent
from shared.relay import SINGLY
from shared.streams import ApiError, api, durables
from shared.tasks import TASKS
from shared.testing.mail_server import MailServer
from shared.testing.nats import PLENTY, NatsServer
from shared.testing.nats_cluster import NatsCluster
from shared.testing.receiver import Receiver
from shared.testing.stores import Backend, new_store
from shared.timers import next_due
from tests.faults.schedule import PLATFORM

ROOT = Path(__file__).parents[2]
BYTECODE = ROOT / "build" / "bytecode"
SOMETIMES_BUSY = (*([204] * 199 + [503]) * 1000, 204)
"""How the receiver of webhooks answers: now and then it has to be tried again."""
SOMETIMES_FULL = (*(["250 OK"] * 9 + ["452 4.3.1 later"]) * 1000, "250 OK")
"""How the mail server answers: now and then it has to be tried again."""
SOON = 15.0
"""Seconds: a timer due within them is still to be waited for."""


class Stack:
    """Starts, kills and restarts services; ``engines`` look into their stores from outside.

    ``room`` is how many bytes NATS stores at most. ``nats`` is another than one server with that room. ``settings`` has
    those of a service beyond what it needs to run.
    """

    def __init__(
        self,
        directory: Path,
        store: Backend,
        room: int = PLENTY,
        nats: NatsServer | NatsCluster | None = None,
        settings: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> None:
        self.directory = directory
        self.nats = nats or NatsServer(directory / "nats", room)
        self.receiver = Receiver(answers=SOMETIMES_BUSY)
        self.mail = MailServer(to_mails=SOMETIMES_FULL)
        self.programs: dict[str, Program] = {}
        self._settings = settings
        self._stores = {name: new_store(store, directory) for name in SERVICES}
        self.engines: dict[str, Engine] = {name: open_store(url) for name, url in self._stores.items()}

    async def __aenter__(self) -> "Stack":
        self.nats.start()
        await self.receiver.__aenter__()
        await self.mail.__aenter__()
        for name in SERVICES:
            self.start(name)
        self.operator: Connection = await self.nats.connect("operator", "operator")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in self.programs.values():
            program.kill()
        for program in self.programs.values():
            await program.ended()
        for engine in self.engines.values():
            engine.dispose()
        await self.nats.__aexit__(kind, error, trace)
        await self.receiver.__aexit__(kind, error, trace)
        await self.mail.__aexit__(kind, error, trace)

    def start(
        self, service: str, fault: str = "", *, clock_offset: timedelta = timedelta(), replica: str = ""
    ) -> Program:
        """Starts a service that does not run, to die at ``fault`` if one is given, by a clock that is wrong.

        A ``replica`` is one more process of it, known by the service's name with this behind it.
        """
        name = service + replica
        environment = {
            "CONCORD_NATS": self.nats.url,
            "CONCORD_CREDENTIALS": str(self.nats.creds(service, service)),
            "CONCORD_STORE": self._stores[service],
            "CONCORD_STREAM_REPLICAS": str(self.nats.stream_replicas),
            "CONCORD_FAULT": fault,
            "CONCORD_WEBHOOK_NETWORKS": "127.0.0.0/8",
            # The load seldom fills a batch as large as one must be to go out as one.
            "CONCORD_PUBLISH_SINGLY": "2" if "batch" in fault else str(SINGLY),
            "CONCORD_CLOCK_OFFSET_SECONDS": str(clock_offset.total_seconds()),
        }
        if sys.dont_write_bytecode:  # a second for each of many starts, where nothing compiled lies beside the sources
            environment |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(BYTECODE)}
        if self.mail.port:  # it was started
            environment |= {"CONCORD_MAIL_SERVER": self.mail.url, "CONCORD_MAIL_FROM": "concord@example.org"}
        environment |= self._settings.get(service, {})
        command = (sys.executable, "-m", f"services.{service}.main")
        program = Program(name, command, self.directory / f"{name}.log", environment)
        self.programs[name] = program
        return program

    def refuse_to_store(self, name: str) -> None:
        """Has membership's store refuse an organisation of this name: what no rule foresees is a dead letter."""
        if self.engines["membership"].dialect.name == "sqlite":
            wall = (
                f"CREATE TRIGGER wall BEFORE INSERT ON organisations WHEN NEW.name = '{name}' "
                "BEGIN SELECT RAISE(ABORT, 'a wall nobody foresaw'); END"
            )
        else:
            wall = f"ALTER TABLE organisations ADD CONSTRAINT wall CHECK (name <> '{name}') NOT VALID"
        with writing(self.engines["membership"]) as connection:
            connection.execute(text(wall))

    async def kill(self, service: str) -> None:
        """Ends a service, and whatever it has started, without a word."""
        self.programs[service].kill()
        await self.programs[service].ended()

    async def in_hand(self) -> list[str]:
        """What is still to be done, in sentences: deliveries, events not sent, tasks, timers about to fall due."""
        found = []
        for name, service in PLATFORM.items():
            for durable in durables(name, service.follows):
                try:
                    told = await api(self.operator, f"CONSUMER.INFO.{durable.stream}.{durable.name}")
                except ApiError as error:
                    found.append(f"{name} is not ready: {error}")
                    continue
                if left := told["num_pending"] + told["num_ack_pending"]:
                    found.append(f"{name} has {left} messages of {durable.stream} before it")
        for name, engine in self.engines.items():
            with reading(engine) as connection:
                if unsent := count_unsent(connection):
                    found.append(f"{name} has {unsent} events to send")
                if tasks := connection.scalar(select(func.count()).select_from(TASKS)):
                    found.append(f"{name} has {tasks} tasks to do")
                due = next_due(connection)
                if due is not None and (due - clock.now()).total_seconds() < SOON:
                    found.append(f"{name} has a timer due at {due}")
        return found

    def dead(self) -> list[str]:
        """The services that do not run, with their last words."""
        return [f"{name} ended: {p.last_words}" for name, p in self.programs.items() if p.process.poll() is not None]
