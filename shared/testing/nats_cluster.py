"""Three real NATS servers for tests, which form one cluster: each can be killed and started again by itself."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from shared.broker import Connection
from shared.cluster import cluster_conf
from shared.identity import Keys
from shared.testing.nats import NatsServer
from shared.testing.ports import free_ports

NAMES = ("nats-1", "nats-2", "nats-3")
ELECTED_WITHIN = 60.0
"""Seconds for the servers to choose a leader among themselves."""
_ELECTED = "JetStream cluster new metadata leader"
_PASSWORD = "of-the-routes"  # noqa: S105  servers of a test, on this machine alone


class NatsCluster:
    """What ``NatsServer`` is for one server: ``url`` has the addresses of all, separated by commas."""

    stream_replicas = len(NAMES)

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.keys = Keys.create(directory / "keys")
        routes = [f"127.0.0.1:{port}" for port in free_ports(len(NAMES))]
        self.servers = {
            name: NatsServer(
                directory / name, name=name, keys=self.keys, cluster=cluster_conf(routes, _PASSWORD, listen=route)
            )
            for name, route in zip(NAMES, routes, strict=True)
        }

    @property
    def url(self) -> str:
        return ",".join(server.url for server in self.servers.values())

    def start(self) -> None:
        """Starts every server, and waits until they have chosen a leader."""
        for server in self.servers.values():
            server.directory.mkdir(parents=True, exist_ok=True)
            server.start()
        give_up_at = time.monotonic() + ELECTED_WITHIN
        while not any(_ELECTED in server.log for server in self.servers.values()):
            if time.monotonic() > give_up_at:
                raise RuntimeError("the NATS servers have not chosen a leader:\n" + self.servers[NAMES[0]].log)
            time.sleep(0.01)

    def meta_leader(self) -> str:
        """The server that leads the cluster itself, as those that run last heard."""
        heard = [
            line
            for server in self.servers.values()
            if server.process is not None
            for line in server.log.splitlines()
            if _ELECTED in line
        ]
        newest = max(heard, key=lambda line: line.split("] ", 1)[1])  # behind the process id stands the time
        return newest.split(f"{_ELECTED}: ", 1)[1].split("/", 1)[0]

    def creds(self, role: str, name: str) -> Path:
        """A credentials file for a principal, which every server takes."""
        return self.servers[NAMES[0]].creds(role, name)

    async def connect(self, role: str, name: str | None = None, urls: Sequence[str] = ()) -> Connection:
        """A connection as a principal, to whichever server is there; closed with the cluster."""
        return await self.servers[NAMES[0]].connect(role, name, urls or self.url.split(","))

    async def connect_breaker(self) -> Connection:
        """A connection of somebody who may do more than anybody on the platform; closed with the cluster."""
        return await self.servers[NAMES[0]].connect_breaker()

    async def __aenter__(self) -> "NatsCluster":
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(server.__aexit__(kind, error, trace) for server in self.servers.values()))
