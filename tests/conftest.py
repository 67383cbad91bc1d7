"""Fixtures every suite shares."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings
from sqlalchemy import Engine

from shared.database import BACK_WITHIN, open_store, reading
from shared.testing.stores import BACKENDS, Backend, new_store, upgraded_store

settings.register_profile("untimed", deadline=None)  # a busy machine is no counterexample
settings.load_profile("untimed")

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """The command line, run in this process, writes its log to a stream that is closed after the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def real_data() -> Path:
    """The folder of real inputs beside the checkout."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real inputs (../shared/data) are not here")
    return REAL_DATA


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each kind of store in turn: what is shown on one is shown on both."""
    kind: Backend = request.param
    return kind


@pytest.fixture
def store_url(backend: Backend, tmp_path: Path) -> str:
    """The address of an empty store."""
    return new_store(backend, tmp_path)


@pytest.fixture
def engine(store_url: str) -> Iterator[Engine]:
    """An empty store, opened."""
    opened = open_store(store_url)
    yield opened
    opened.dispose()


@pytest.fixture
def another(store_url: str, backend: Backend) -> Iterator[Engine]:
    """The same store as another process has it open, which has been there long enough to know who left."""
    opened = open_store(store_url)
    with reading(opened):
        pass
    if backend == "postgresql":
        time.sleep(BACK_WITHIN)
    yield opened
    opened.dispose()


StoreOf = Callable[[str], Engine]


@pytest.fixture
def store_of(backend: Backend, tmp_path: Path) -> Iterator[StoreOf]:
    """Opens a new store of a service, at its newest level."""
    opened: list[Engine] = []

    def open_one(service: str) -> Engine:
        opened.append(open_store(upgraded_store(backend, tmp_path, service)))
        return opened[-1]

    yield open_one
    for engine in opened:
        engine.dispose()
