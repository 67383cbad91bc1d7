"""Ports that nobody listens on, for servers under test: not those that a stack in use looks for first."""

import socket
from contextlib import ExitStack, closing


def free_ports(count: int) -> list[int]:
    """All taken at once, so that no two are the same."""
    with ExitStack() as taken:
        probes = [taken.enter_context(closing(socket.socket())) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
