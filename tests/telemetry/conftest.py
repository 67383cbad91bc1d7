"""One platform for all tests of a file."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.telemetry.watched import Platform, Receiver


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """A collector that takes every span in."""
    listening = Receiver()
    yield listening
    listening.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> AsyncIterator[Platform]:
    """The four services, ready; they begin no trace by themselves."""
    async with Platform(tmp_path_factory.mktemp("platform"), receiver.endpoint) as running:
        await running.ready()
        yield running
