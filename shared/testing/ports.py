"""Ports that nobody listens on, for servers under test: not those that a stack in use looks for first."""

import random
import socket
from contextlib import ExitStack, closing

APART = range(20_000, 32_000)
"""Where no system takes the ports it gives out by itself (Linux from 32,768 on): one that is yet to be started would
lose its own to any connection that somebody makes meanwhile."""


def free_ports(count: int) -> list[int]:
    """All taken at once, so that no two are the same."""
    with ExitStack() as taken:
        found: list[int] = []
        while len(found) < count:
            probe = taken.enter_context(closing(socket.socket()))
            try:
                probe.bind(("127.0.0.1", port := random.choice(APART)))  # noqa: S311  it guards nothing
            except OSError:
                continue
            found.append(port)
        return found


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
