"""The whole platform on one machine, in one directory: NATS from its wheel and the four services, a process each.

DIR/keys         private keys, who was given access    DIR/creds        credentials: operator and services
DIR/nats.conf    written anew at every start of NATS   DIR/jetstream    streams
DIR/NAME.sqlite  the store of a service                DIR/logs         a file for each program
DIR/stack.json   {"url", "port"}: where NATS listens   DIR/lock         held for as long as the stack runs
"""

import asyncio
import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TextIO

import structlog
import uuid_utils
from pydantic import ValidationError

from shared import clock
from shared.broker import SERVER_BINARY, BrokerError, Connection, connect, request
from shared.contracts.cloudevent import STRUCTURED_HEADERS, write
from shared.contracts.message import subject_of
from shared.contracts.platform import Health, Reply, ServiceHealth
from shared.identity import OPERATOR, SERVICES, IdentityError, Keys, keep_credentials

HOST = "127.0.0.1"
FIRST_PORT = 4222
HEALTH_PORT = "CONCORD_HEALTH_PORT"
PORTS_TRIED = 100
PORTS = range(1, 65_536)
START_WITHIN = 60.0
"""Seconds for NATS to listen; it reads its streams first."""
STOP_WITHIN = 15.0
"""Seconds a program has to leave by itself; longer than a service needs to finish what it has in hand."""
RESTART_PAUSES = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds before a program that died is started again; the last one for ever after."""
STEADY_AFTER = 30.0
"""Seconds a program must have run for its earlier deaths not to count any more."""
DEATHS_TO_GIVE_UP_WAITING = 3
ASK_EVERY = 0.05
LOOK_EVERY = 0.05

log = structlog.get_logger()


class StackError(Exception):
    """The stack cannot be started, or is not ready; the message is a sentence for whoever started it."""


class Program:
    """A process of the stack, started as soon as it is made, after ``prepare``; what it writes goes to its log."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self.command = command
        self.log = log
        self.environment = environment
        self.prepare = prepare
        self.deaths = 0
        self.keeper: asyncio.Task[None] | None = None
        self.process = self._started()

    def start_again(self) -> None:
        """Starts it once more after its end."""
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        self.prepare()
        with self.log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603  programs of our own
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
                umask=0o077,  # stores and streams hold what nobody else on this machine is to read
                start_new_session=True,  # Ctrl-C reaches this process alone, which stops the others in order
                preexec_fn=_dying_with(os.getpid()),  # noqa: PLW1509  it makes two system calls and takes no lock
            )

    async def ended(self) -> int:
        """Its exit code, once it has ended.

        Looks now and then: asyncio's own processes wait for ever when they are cancelled in the moment of their start.
        """
        while (code := self.process.poll()) is None:  # noqa: ASYNC110  as said
            await asyncio.sleep(LOOK_EVERY)
        return code

    def kill(self) -> None:
        """Ends it at once, with whatever it has started."""
        with suppress(ProcessLookupError):  # nothing is left of it
            os.killpg(self.process.pid, signal.SIGKILL)

    @property
    def last_words(self) -> str:
        """The end of its log."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 2000))
            return file.read().decode(errors="replace").strip()


class LocalStack:
    """Starts everything, keeps it running, and stops it all. For one event loop, on the main thread.

    Whoever called ``start`` calls ``stop``, also when something fails in between.

    ``programs`` says how each service is started: name → command; with none NATS runs alone. A new stack listens on
    ``first_port`` or the next one that is free. A program that has not left ``stop_within`` seconds after it was asked
    to is killed.
    """

    def __init__(
        self,
        directory: Path,
        programs: Mapping[str, Sequence[str]] | None = None,
        *,
        first_port: int = FIRST_PORT,
        stop_within: float = STOP_WITHIN,
    ) -> None:
        self.directory = directory.resolve()
        self._first_port = first_port
        self._stop_within = stop_within
        if programs is None:
            # -P: no file that lies where the stack is started, such as a token.py, is taken for a module.
            programs = {name: (sys.executable, "-P", "-m", f"services.{name}.main") for name in SERVICES}
        self._commands = programs
        self.programs: dict[str, Program] = {}
        self.url = ""
        self._lock: TextIO | None = None
        self._nc: Connection | None = None

    @property
    def credentials(self) -> Path:
        """The credentials of the operator."""
        return self._creds(OPERATOR)

    async def start(self) -> None:
        """Makes what is missing and starts every program; ``StackError`` if that cannot be."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._take_lock()
            await self._start()
        except BaseException as error:
            await self.stop()
            if isinstance(error, IdentityError | BrokerError):
                raise StackError(str(error)) from None
            if isinstance(error, OSError) and error.filename:
                raise StackError(f"{error.filename} cannot be used: {error.strerror}.") from None
            raise

    async def ready(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109  the sentence names who is late
        """Returns when every service says that it is ready; ``StackError`` names the one that is not."""
        give_up_at = asyncio.get_running_loop().time() + timeout
        await asyncio.gather(*(self._ready(self.programs[name], give_up_at) for name in self._commands))

    async def run_until_stopped(self, begun: Callable[[], None] = lambda: None) -> None:
        """Returns after SIGINT or SIGTERM, with everything stopped; ``begun`` is called once these are waited for."""
        told = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, told.set)
        try:
            begun()
            await told.wait()
        finally:
            await self.stop()
            for each in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(each)

    async def stop(self) -> None:
        """Stops the services, then NATS; no process is left. A second call does nothing."""
        await asyncio.gather(*(self._end(program) for name, program in self.programs.items() if name != "nats"))
        if self._nc is not None:
            await self._nc.close()
        if "nats" in self.programs:
            await self._end(self.programs["nats"])
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # ---- starting ------------------------------------------------------------------------------------------------

    def _take_lock(self) -> None:
        # The system lets go of the lock when the process ends, however it ends.
        lock = (self.directory / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise StackError(
                f"A stack runs in {self.directory} already (process {holder}): use it, stop it first, "
                "or name another directory with --data."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    async def _start(self) -> None:
        keys = Keys.create(self.directory / "keys")
        keep_credentials(keys, self._creds(OPERATOR), OPERATOR)
        conf = self.directory / "nats.conf"

        def prepare() -> None:  # before each start, since access may have been taken back meanwhile
            conf.write_text(keys.server_conf(self.directory / "jetstream"))

        self._check_health_ports()
        port = self._port()
        self.url = f"nats://{HOST}:{port}"
        written = self.directory / "stack.json.new"
        written.write_text(json.dumps({"url": self.url, "port": port}) + "\n")
        written.replace(self.directory / "stack.json")  # so that nobody ever reads half of it
        (self.directory / "logs").mkdir(exist_ok=True, mode=0o700)

        server = [str(SERVER_BINARY), "--config", str(conf), "--addr", HOST, "--port", str(port)]
        nats = self._keep("nats", server, prepare)
        await self._listening(nats, port)
        self._nc = await connect([self.url], self.credentials, patience=START_WITHIN)
        for name, command in self._commands.items():
            self._keep(
                name,
                command,
                partial(keep_credentials, keys, self._creds(name), name),
                **self._health_port(name),
                CONCORD_NATS=self.url,
                CONCORD_CREDENTIALS=str(self._creds(name)),
                CONCORD_STORE=f"sqlite:///{self.directory / name}.sqlite",
            )

    def _check_health_ports(self) -> None:
        for name in self._commands:
            for port in self._health_port(name).values():
                if int(port) in PORTS and not _is_free(int(port)):
                    raise StackError(
                        f"{HEALTH_PORT}={os.environ[HEALTH_PORT]} gives {name} the port {port}, which is taken by "
                        "another program: set another, or none."
                    )

    def _health_port(self, name: str) -> dict[str, str]:
        """Of what is set for one process, the port each of them takes: that one, and those after it."""
        first = os.environ.get(HEALTH_PORT, "")
        return {HEALTH_PORT: str(int(first) + list(self._commands).index(name))} if first.isdigit() else {}

    def _creds(self, principal: str) -> Path:
        return self.directory / "creds" / f"{principal}.creds"

    def _port(self) -> int:
        """The port of the last start, so that what knows the stack's address finds it again; else the next free one."""
        described = self.directory / "stack.json"
        if described.exists():
            try:
                port = int(json.loads(described.read_text())["port"])
                if port not in PORTS:
                    raise ValueError(f"{port} is none")
            except (ValueError, KeyError, TypeError) as error:
                raise StackError(
                    f"{described} does not say on which port NATS listened ({type(error).__name__}: {error}). "
                    "Delete it, so that a port is chosen anew."
                ) from None
            if not _is_free(port):
                raise StackError(
                    f"Port {port}, on which the stack in {self.directory} listens, is taken by another program: "
                    f"stop that one, or delete {described} so that another port is chosen."
                )
            return port
        tried = range(self._first_port, self._first_port + PORTS_TRIED)
        for port in tried:
            if _is_free(port):
                return port
        raise StackError(f"None of the ports {tried[0]} to {tried[-1]} is free for NATS.")

    async def _listening(self, nats: Program, port: int) -> None:
        give_up_at = asyncio.get_running_loop().time() + START_WITHIN
        while _is_free(port):
            if nats.deaths >= DEATHS_TO_GIVE_UP_WAITING or asyncio.get_running_loop().time() >= give_up_at:
                raise StackError(f"NATS did not start. The end of {nats.log}:\n{nats.last_words}")
            await asyncio.sleep(0.005)

    # ---- keeping running -----------------------------------------------------------------------------------------

    def _keep(self, name: str, command: Sequence[str], prepare: Callable[[], object], **environment: str) -> Program:
        try:
            program = Program(name, command, self.directory / "logs" / f"{name}.log", environment, prepare)
        except OSError as error:
            raise StackError(f"{name} cannot be started: {error}.") from None
        self.programs[name] = program
        program.keeper = asyncio.create_task(self._keep_running(program))
        return program

    async def _keep_running(self, program: Program) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started_at = loop.time()
            saying = asyncio.create_task(self._say_when_well(program)) if program.deaths else None
            try:
                code = await program.ended()
            finally:
                if saying:
                    saying.cancel()
            program.deaths = 1 if loop.time() - started_at > STEADY_AFTER else program.deaths + 1
            pause = RESTART_PAUSES[min(program.deaths, len(RESTART_PAUSES)) - 1]
            log.warning("a program died, starting it again", program=program.name, code=code, after_seconds=pause)
            program.kill()
            await asyncio.sleep(pause)
            try:
                program.start_again()
            except (OSError, IdentityError) as error:  # out of memory or processes: it counts as one more death
                log.error("a program cannot be started", program=program.name, reason=str(error))

    async def _say_when_well(self, program: Program) -> None:
        began = time.monotonic()
        while await self._why_not_well(program.name) is not None:  # noqa: ASYNC110  it says so only when asked
            await asyncio.sleep(ASK_EVERY)
        log.info("a program is well again", program=program.name, after_seconds=round(time.monotonic() - began, 1))

    async def _why_not_well(self, name: str) -> str | None:
        if name in SERVICES:
            return await self._why_not_ready(name)
        return None if self._nc is not None and self._nc.is_connected else "there is no connection to it"

    async def _end(self, program: Program) -> None:
        if program.keeper is not None:
            program.keeper.cancel()
            await asyncio.gather(program.keeper, return_exceptions=True)
        program.process.terminate()
        try:
            async with asyncio.timeout(self._stop_within):
                await program.ended()
        except TimeoutError:
            log.warning("a program did not stop and is killed", program=program.name, seconds=self._stop_within)
        program.kill()
        await program.ended()

    # ---- being ready ---------------------------------------------------------------------------------------------

    async def _ready(self, program: Program, give_up_at: float) -> None:
        loop = asyncio.get_running_loop()
        deaths = program.deaths
        while (reason := await self._why_not_ready(program.name)) is not None:
            died = program.deaths - deaths
            if loop.time() >= give_up_at or died >= DEATHS_TO_GIVE_UP_WAITING:
                said = f" It died {died} times." if died else ""
                raise StackError(
                    f"{program.name} is not ready: {reason}.{said} The end of {program.log}:\n{program.last_words}"
                )
            await asyncio.sleep(ASK_EVERY)

    async def _why_not_ready(self, service: str) -> str | None:
        if self._nc is None:
            return "the stack was not started"
        asked = write(Health(), id=str(uuid_utils.uuid7()), source=f"/concord/{OPERATOR}", time=clock.now())
        try:
            answer = await request(
                self._nc, subject_of(Health, OPERATOR, service), asked, dict(STRUCTURED_HEADERS), timeout=1
            )
        except BrokerError as error:
            return str(error).rstrip(".")
        try:
            health = ServiceHealth.model_validate(Reply.model_validate_json(answer.data).answer)
        except ValidationError:
            return f"it answers {answer.data.decode(errors='replace')}"
        return None if health.ready else "; ".join(health.reasons) or "it does not say why"


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _dying_with(parent: int) -> Callable[[], None] | None:
    """What a child does before it becomes its program: asks the system to be killed when this process ends.

    So a stack that is itself killed leaves nothing behind. Only Linux offers this.
    """
    libc = _libc
    if libc is None:
        return None

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the request
            os._exit(1)

    return ask
