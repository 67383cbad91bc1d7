"""Who may claim a task, and when, on SQLite and on PostgreSQL alike."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from shared import clock, tasks
from shared.database import LOOP, writing

DAY = timedelta(days=1)


@pytest.fixture
def store(engine: Engine) -> Engine:
    """A store with one task, as a handler has just written it."""
    LOOP.create_all(engine)
    now = clock.now()
    task = {"id": "1", "name": "double", "key": "a", "args": {}, "attempts": 0}
    with writing(engine) as connection:
        tasks.write(connection, [{**task, "due_at": now, "claimed_until": None, "created_at": now}])
    return engine


def claimed(store: Engine, *, after: timedelta = timedelta()) -> bool:
    """Whether somebody who comes so much later, by the wall clock, can claim it."""
    with writing(store) as connection:
        return bool(tasks.claim(connection, ["double"], clock.now() + after, 10))


def test_a_task_is_claimed_by_one_until_the_lease_lapses(store: Engine) -> None:
    assert claimed(store)
    assert not claimed(store, after=tasks.LEASE / 2)
    assert claimed(store, after=2 * tasks.LEASE)


def test_a_task_that_is_to_be_tried_again_waits_until_then(store: Engine) -> None:
    assert claimed(store)
    with writing(store) as connection:
        tasks.postpone(connection, "1", clock.now() + timedelta(hours=1))
    assert not claimed(store)
    assert claimed(store, after=timedelta(hours=2))


def test_a_task_nobody_has_begun_does_not_wait_for_a_clock_that_was_stepped_back(store: Engine) -> None:
    assert claimed(store, after=-DAY)


def test_a_claim_from_before_the_clock_was_stepped_back_holds_nobody_up(store: Engine) -> None:
    assert claimed(store)
    assert claimed(store, after=-DAY)
