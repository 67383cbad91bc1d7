"""Who may claim a task and when, and what becomes of one that fails, on SQLite and on PostgreSQL alike."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from shared import clock, tasks
from shared.contracts import cloudevent
from shared.contracts.message import subject_of
from shared.database import LOOP, reading, writing
from shared.loop import Loop
from shared.outbox import OUTBOX
from shared.surface import Received, Surface
from shared.tasks import Read, Retries, Runner, TaskOutcome
from shared.testing import specimen
from shared.testing.stores import killed
from shared.unit_of_work import Work, new_id

DAY = timedelta(days=1)


@pytest.fixture
def store(engine: Engine) -> Engine:
    """A store with one task, as a handler has just written it."""
    LOOP.create_all(engine)
    write(engine, "double", "1")
    return engine


def write(store: Engine, name: str, *ids: str) -> None:
    """Tasks of one sort, as a handler has just written them; the key of each is its id."""
    now = clock.now()
    row = {"name": name, "args": {}, "attempts": 0, "due_at": now, "claimed_until": None, "created_at": now}
    with writing(store) as connection:
        tasks.write(connection, [{**row, "id": id_, "key": id_} for id_ in ids])


def claimed(store: Engine, *, after: timedelta = timedelta()) -> bool:
    """Whether somebody who comes so much later, by the wall clock, can claim it."""
    with writing(store) as connection:
        return bool(tasks.claim(connection, ["double"], clock.now() + after, 10))


def test_a_task_is_claimed_by_one_until_the_lease_lapses(store: Engine) -> None:
    assert claimed(store)
    assert not claimed(store, after=tasks.LEASE / 2)
    assert claimed(store, after=2 * tasks.LEASE)


@pytest.mark.parametrize("backend", ["postgresql"])
def test_a_task_is_not_taken_from_another_that_is_at_work(store: Engine, another: Engine) -> None:
    assert claimed(store)
    assert not claimed(another)
    with writing(another) as connection:
        tasks.postpone(connection, "1", clock.now())
    assert not claimed(another), "nobody lets go of a task for somebody else"
    with writing(store) as connection:
        connection.execute(update(tasks.TASKS).values(claimed_by=None))  # as the version before left it
    assert not claimed(another)
    assert claimed(another, after=2 * tasks.LEASE)


def test_what_a_process_had_claimed_that_was_killed_is_claimed_at_once(store: Engine, another: Engine) -> None:
    assert claimed(store)
    killed(store)
    assert claimed(another)


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


def test_a_claim_that_is_renewed_reaches_further(store: Engine) -> None:
    assert claimed(store)
    with writing(store) as connection:
        tasks.renew(connection, ["1"], clock.now() + tasks.LEASE / 2)
    assert not claimed(store, after=1.25 * tasks.LEASE)
    assert claimed(store, after=2 * tasks.LEASE)


# ---- doing them ------------------------------------------------------------------------------------------------------

Attempt = Callable[[int], Awaitable[Any]]


async def nothing_read(_: Any, /) -> Any:
    raise AssertionError("no effect here asks the store")


async def outcome_of(store: Engine, attempt: Attempt, retries: Retries) -> TaskOutcome:
    """What the handler hears of the task in the store; ``attempt`` is called with the number of the attempt, from 1."""
    on, heard = Surface("specimen"), list[TaskOutcome]()
    attempts = 0

    async def effect(_: Mapping[str, Any], _read: Read) -> Any:
        nonlocal attempts
        attempts += 1
        return await attempt(attempts)

    @on.task("double", effect, retries=retries)
    def done(outcome: TaskOutcome, _: Work) -> None:
        heard.append(outcome)

    with ThreadPoolExecutor(1) as writer:
        loop = Loop(on, store, writer)
        runner = Runner(list(on.task_kinds.values()), loop, nothing_read)
        looping, running = asyncio.create_task(loop.run()), asyncio.create_task(runner.run())
        async with asyncio.timeout(20):
            while not heard:  # noqa: ASYNC110  the runner tells nobody but the handler
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.wait({running})
        loop.stop()
        await looping
    [outcome] = heard
    return outcome


async def test_effects_that_are_slow_leave_room_for_those_of_another_sort(store: Engine) -> None:
    on, heard, released = Surface("specimen"), list[str](), asyncio.Event()
    slow = 0

    async def take_time(_: Mapping[str, Any], _read: Read) -> Any:
        nonlocal slow
        slow += 1
        await released.wait()

    async def be_quick(_: Mapping[str, Any], _read: Read) -> Any:
        return None

    @on.task("slow", take_time, at_once=2)
    @on.task("quick", be_quick)
    def done(outcome: TaskOutcome, _: Work) -> None:
        heard.append(outcome.key)

    write(store, "slow", "2", "3", "4", "5")
    write(store, "quick", "6")
    with ThreadPoolExecutor(1) as writer:
        loop = Loop(on, store, writer)
        runner = Runner(list(on.task_kinds.values()), loop, nothing_read)
        looping, running = asyncio.create_task(loop.run()), asyncio.create_task(runner.run())
        async with asyncio.timeout(20):
            while heard != ["6"] or slow < 2:  # noqa: ASYNC110  the runner tells nobody but the handler
                await asyncio.sleep(0.02)
        assert slow == 2
        released.set()
        async with asyncio.timeout(20):
            while len(heard) < 5:  # noqa: ASYNC110  as above
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.wait({running})
        loop.stop()
        await looping
    assert slow == 4


def left(store: Engine) -> int:
    with reading(store) as connection:
        return connection.scalar(select(func.count()).select_from(tasks.TASKS)) or 0


AT_ONCE = Retries(first=timedelta(milliseconds=20))


async def test_a_task_that_succeeds_is_told_to_its_handler_and_gone(store: Engine) -> None:
    async def succeed(_: int) -> Any:
        return {"answer": 42}

    outcome = await outcome_of(store, succeed, AT_ONCE)
    assert (outcome.result, outcome.error, outcome.attempts, outcome.key) == ({"answer": 42}, None, 1, "1")
    assert left(store) == 0


async def test_a_task_that_fails_is_tried_again_until_it_succeeds(store: Engine) -> None:
    async def succeed_the_third_time(attempt: int) -> Any:
        if attempt < 3:
            raise ConnectionError("nobody there")
        return attempt

    outcome = await outcome_of(store, succeed_the_third_time, AT_ONCE)
    assert (outcome.result, outcome.error, outcome.attempts) == (3, None, 3)
    assert left(store) == 0


async def test_a_task_that_goes_on_failing_is_given_up_and_its_handler_told_why(store: Engine) -> None:
    async def fail(_: int) -> Any:
        raise ConnectionError("nobody there")

    outcome = await outcome_of(store, fail, Retries(timedelta(seconds=0.1), give_up_after=timedelta(seconds=5)))
    assert (outcome.result, outcome.error) == (None, "nobody there")
    assert outcome.attempts > 1
    assert left(store) == 0


def test_pauses_double_up_to_the_longest_and_are_spread() -> None:
    retries = Retries(timedelta(seconds=1), longest=timedelta(seconds=10))
    for attempt, ceiling in ((1, 1), (2, 2), (4, 8), (5, 10), (500, 10)):
        delays = {retries.delay(attempt).total_seconds() for _ in range(100)}
        assert ceiling / 2 <= min(delays) < max(delays) <= ceiling


async def test_the_outcome_of_a_task_goes_on_in_the_story_and_the_trace_of_what_asked_for_it(engine: Engine) -> None:
    LOOP.create_all(engine)
    specimen.metadata.create_all(engine)
    on, account = specimen.new_surface(), new_id()
    cause = {"correlationid": "a story", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    payload = cloudevent.write(
        specimen.Deposit(account=account, amount=5, note="double"),
        id="asked",
        source="/alice",
        time=clock.now(),
        **cause,
    )
    asked = Received(subject_of(specimen.Deposit, "alice"), dict(cloudevent.STRUCTURED_HEADERS), payload)
    with ThreadPoolExecutor(1) as writer:
        loop = Loop(on, engine, writer)
        runner = Runner(list(on.task_kinds.values()), loop, nothing_read)
        loop.on_tasks = runner.wake
        looping, running = asyncio.create_task(loop.run()), asyncio.create_task(runner.run())
        loop.offer(on.read(asked))
        async with asyncio.timeout(20):
            while len(said := announced(engine)) < 2:  # noqa: ASYNC110  said by no event
                await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.wait({running})
        loop.stop()
        await looping
    assert [event["data"]["amount"] for event in said] == [5, 10]
    assert [{name: event[name] for name in cause} for event in said] == [cause, cause]


def announced(store: Engine) -> list[Any]:
    with reading(store) as connection:
        return [json.loads(each) for each in connection.scalars(select(OUTBOX.c.payload).order_by(OUTBOX.c.position))]
