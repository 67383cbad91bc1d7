"""What one measurement runs on: a NATS server, stores and processes of its own, all gone at its end."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import Engine, text

from shared.broker import Connection
from shared.database import open_store, reading
from shared.streams import api, durables, platform_streams, reconcile
from shared.testing.nats import NatsServer
from shared.testing.stores import Backend, new_store
from tests.performance.messages import PUBLISHER

FOLLOWED: dict[str, tuple[str, ...]] = {"membership": (), "notifications": ("membership",)}

START_WITHIN = 60.0
STOP_WITHIN = 20.0
BYTECODE = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(Path("build/bytecode").absolute())}
"""Services start from compiled code, as they do where the package is installed, also where compiling is turned off."""
TICKS = os.sysconf("SC_CLK_TCK")


class Program:
    """A process that was started; what it says on standard error is in ``log``."""

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str], directory: Path) -> None:
        self.name = name
        self._log = directory / f"{name}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env={**os.environ, **BYTECODE, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for the bench, which then ends this in its own order
            )
        self.started = time.monotonic()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def wait_ready(self) -> float:
        """Waits for its ready line; seconds since it was started."""
        while '"ready"' not in self.log:
            self.must_be_alive()
            if time.monotonic() - self.started > START_WITHIN:
                raise RuntimeError(f"{self.name} is not ready after {START_WITHIN:g} s:\n{self.log}")
            time.sleep(0.005)
        return time.monotonic() - self.started

    def must_be_alive(self) -> None:
        if self.process.poll() not in (None, 0):
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log[-4000:]}")

    def tell(self, line: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The next line it says on standard output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(STOP_WITHIN)
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log[-4000:]}")
        said: dict[str, Any] = json.loads(line)
        return said

    def cpu_seconds(self) -> float:
        """Processor time it has used so far, all threads."""
        return _cpu_seconds(self.process.pid)

    def resident_megabytes(self) -> float:
        """Memory it holds, shared libraries included."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"{self.name} has ended")

    def stop(self) -> None:
        """Ends it as an operator would."""
        self.process.terminate()
        self.process.wait(STOP_WITHIN)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_WITHIN)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Stage:
    """Streams and durables are declared as the platform declares them, whoever is measured."""

    def __init__(self, directory: Path, backend: Backend = "sqlite") -> None:
        self.server = NatsServer(directory)
        self.backend = backend
        self._directory = directory
        self._programs: list[Program] = []
        self._engines: dict[str, Engine] = {}
        self._over = False
        self.stores: dict[str, str] = {}
        self.observer: Connection

    async def __aenter__(self) -> "Stage":
        await self.server.__aenter__()
        try:
            self.observer = await self.server.connect("operator", "observer")
            for service, follows in FOLLOWED.items():
                nc = await self.server.connect(service)
                await reconcile(nc, platform_streams(), durables(service, follows))
                await nc.close()
        except BaseException:
            await self.server.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        for program in self._programs:
            program.kill()
        for engine in self._engines.values():
            engine.dispose()
        await self.server.__aexit__(kind, error, trace)

    def start(self, name: str, *arguments: str, **environment: str) -> Program:
        """Starts ``python -m arguments``."""
        program = Program(name, list(arguments), environment, self._directory)
        self._programs.append(program)
        return program

    def start_sender(self, way: str, *arguments: object) -> Program:
        """Starts one of the ways of ``load.py``, as the publisher or, for commands, as a member."""
        role = ("member", "client") if way == "command" else ("publisher", PUBLISHER)
        creds = str(self.server.creds(*role))
        return self.start(way, "tests.performance.load", way, self.server.url, creds, *map(str, arguments))

    def start_service(self, service: str, *arguments: str, program: str | None = None, **environment: str) -> Program:
        """Starts a service on a store of its own; the same store if it is started again.

        A ``program`` of another name is a further one of the same service.
        """
        return self.start(
            program or service,
            *arguments,
            CONCORD_NATS=self.server.url,
            CONCORD_CREDENTIALS=str(self.server.creds(service, service)),
            CONCORD_STORE=self.store(service),
            **environment,
        )

    def must_be_alive(self) -> None:
        """Raises what a program that has ended said last."""
        for program in self._programs:
            program.must_be_alive()

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time that the server and each program have used so far."""
        assert self.server.process is not None
        used = {program.name: program.cpu_seconds() for program in self._programs}
        return {**used, "nats": _cpu_seconds(self.server.process.pid)}

    def program(self, name: str) -> Program:
        """The last program that was started under this name."""
        return next(program for program in reversed(self._programs) if program.name == name)

    def until_ready(self, service: str) -> None:
        """Waits for a service's ready line."""
        self.program(service).wait_ready()

    def store(self, service: str) -> str:
        """The address of a service's store."""
        if service not in self.stores:
            self.stores[service] = new_store(self.backend, self._directory)
        return self.stores[service]

    def ask(self, service: str, statement: str, **values: object) -> Any:
        """The single value a statement gives in a service's store."""
        return self.rows(service, statement, **values)[0][0]

    def rows(self, service: str, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """The rows a statement gives in a service's store."""
        if self._over:  # a thread that still looks after the measurement was given up
            raise RuntimeError("the stage is gone")
        if service not in self._engines:
            self._engines[service] = open_store(self.store(service))
        with reading(self._engines[service]) as connection:
            return [tuple(row) for row in connection.execute(text(statement), values)]

    async def stream(self, name: str) -> dict[str, Any]:
        """The state of a stream: ``messages``, ``first_ts``, ``last_ts`` and more."""
        state: dict[str, Any] = (await api(self.observer, f"STREAM.INFO.{name}"))["state"]
        return state

    async def durable(self, stream: str, name: str) -> dict[str, Any]:
        """What the server knows of a durable."""
        return await api(self.observer, f"CONSUMER.INFO.{stream}.{name}")

    async def until(self, done: Callable[[], bool], within: float) -> None:
        """Waits for something to become true; the programs must live meanwhile."""
        give_up_at = time.monotonic() + within
        while not done():
            self.must_be_alive()
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"not done within {within:g} s")
            await asyncio.sleep(0.02)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
