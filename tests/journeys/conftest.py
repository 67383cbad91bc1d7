"""The whole platform, running, once for all tests of a file; and people to use it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deploy.local_stack import LocalStack
from deploy.people import People
from shared.testing.ports import free_port

READY_WITHIN = 60.0


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
