"""A real NATS server for tests, in operator mode, on a port and in a directory of its own.

>>> async with NatsServer(tmp_path) as server:
...     member = await server.connect("member", "alice")
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import nkeys  # type: ignore[import-untyped]  # it ships no types

from shared import identity
from shared.broker import SERVER_BINARY, Connection, connect
from shared.identity import Keys, write_creds

START_WITHIN = 20.0
STOP_WITHIN = 20.0
PLENTY = 1 << 40
"""Bytes: as much as nobody stores."""

_SYNC = "sync_interval: always"


class NatsServer:
    """Starts, stops, kills and restarts one server; a restart keeps its store and its port.

    The account's permissions are made from the contracts at each start. ``url`` is valid after the first start.
    ``room`` is how many bytes it stores at most. One of a cluster (``shared/testing/nats_cluster.py``) has a name, the
    keys all of them share, and what it is told of the others.
    """

    stream_replicas = 1

    def __init__(
        self, directory: Path, room: int = PLENTY, *, name: str = "", keys: Keys | None = None, cluster: str = ""
    ) -> None:
        self.directory = directory
        self.room = room
        self.name = name
        self.keys = keys or Keys.create(directory / "keys")
        self._cluster = cluster
        self.port = -1  # the server chooses
        self.process: subprocess.Popen[bytes] | None = None
        self._connections: list[Connection] = []

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        return (self.directory / "nats.log").read_text()

    def start(self) -> None:
        """Starts the server and waits until it accepts connections (tens of milliseconds)."""
        conf = self.directory / "nats.conf"
        text = self.keys.server_conf(self.directory / "jetstream")
        conf.write_text(text.replace(_SYNC, f"{_SYNC}, max_file_store: {self.room}") + self._cluster)
        log = self.directory / "nats.log"
        log.touch()
        said_before = log.stat().st_size
        command: list[str | Path] = [SERVER_BINARY, "--config", conf, "--addr", "127.0.0.1", "--port", str(self.port)]
        command += ["--name", self.name] if self.name else []
        with log.open("ab") as output:
            # In a session of its own: Ctrl-C is for whoever started it, who then ends it in order.
            self.process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)  # noqa: S603
        give_up_at = time.monotonic() + START_WITHIN
        while "Server is ready" not in (said := self.log[said_before:]):
            if self.process.poll() is not None or time.monotonic() > give_up_at:
                self.kill()
                raise RuntimeError(f"nats-server did not start:\n{said}")
            time.sleep(0.002)
        self.port = int(said.split("Listening for client connections on 127.0.0.1:", 1)[1].split("\n", 1)[0])

    def stop(self) -> None:
        """Ends the server as an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the server without giving it a chance to tidy up."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stops and starts on the same store and port; permissions of contracts made since then hold."""
        self.stop()
        self.start()

    def make_room(self) -> None:
        """Has the running server store as much as there is, as an operator who changes its configuration."""
        conf = self.directory / "nats.conf"
        conf.write_text(conf.read_text().replace(f"max_file_store: {self.room}", f"max_file_store: {PLENTY}"))
        self.room = PLENTY
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)

    def creds(self, role: str, name: str) -> Path:
        """A credentials file for a principal; the same file for the same principal in the same role."""
        path = self.directory / "creds" / f"{role}-{name}.creds"
        if not path.exists():
            write_creds(path, self.keys.issue(role, name))
        return path

    async def connect(self, role: str, name: str | None = None, urls: Sequence[str] = ()) -> Connection:
        """A connection as a principal (a service's name is its role); closed with the server."""
        connection = await connect(urls or [self.url], self.creds(role, name or role), patience=START_WITHIN)
        self._connections.append(connection)
        return connection

    async def connect_breaker(self) -> Connection:
        """A connection of somebody who may delete streams and durables; closed with the server."""
        path = self.directory / "creds" / "breaker.creds"
        write_breakers_creds(self.keys, path)
        connection = await connect([self.url], path, patience=START_WITHIN)
        self._connections.append(connection)
        return connection

    async def __aenter__(self) -> "NatsServer":
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await asyncio.gather(*(connection.close() for connection in self._connections))
        finally:  # whoever uses it may be cancelled here
            if self.process is not None:
                self.stop()

    def _end(self, by: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(by)
            self.process.wait(STOP_WITHIN)
            self.process = None


def write_breakers_creds(keys: Keys, path: Path) -> None:
    """Credentials of somebody who may delete streams and durables, as nobody on the platform may."""
    user = nkeys.from_seed(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
    unlimited = {"type": "user", "subs": -1, "data": -1, "payload": -1}
    jwt = identity._encode(
        {"sub": identity._public(user), "name": "breaker"}, nats=unlimited, signer=keys._pairs["account"]
    )
    write_creds(
        path,
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n",
    )
