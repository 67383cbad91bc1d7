"""The whole platform, running, once for all tests of a file; and people to use it."""

import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.local_stack import LocalStack
from deploy.people import People

READY_WITHIN = 60.0


def free_port() -> int:
    """Stacks under test and in use on one machine shall not look for a port in the same place."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalStack]:
    """NATS and the four services, ready."""
    running = LocalStack(tmp_path_factory.mktemp("stack"), first_port=free_port())
    await running.start()
    try:
        await running.ready(READY_WITHIN)
        yield running
    finally:
        await running.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def people(stack: LocalStack) -> AsyncIterator[People]:
    """An operator, and whoever else a test lets in."""
    present = People(stack.directory, stack.url)
    await present.enter("operator", "operator")
    yield present
    await present.leave()
