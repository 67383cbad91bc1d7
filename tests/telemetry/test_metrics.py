"""Each metric moves when what it tells of happens, and none is waited for that nobody can tell."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import text

from shared import clock
from shared.contracts.membership import OrganisationListed, OrganisationRow, RegisterNetwork, RegisterOrganisation
from shared.contracts.notifications import Subscribe
from shared.contracts.platform import DiscardDeadLetter
from shared.database import LOOP, open_store, writing
from shared.identity import DELIVERIES
from shared.observer import PATIENCE, Observer
from shared.tasks import TASKS
from shared.testing.nats import NatsServer
from shared.testing.stores import new_store
from shared.timers import TIMERS
from tests.telemetry.watched import ANSWERS_WITHIN, Platform, new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMMANDS = {"messaging_destination_name": "membership.v1.command"}


def an_organisation(key: str) -> RegisterOrganisation:
    return RegisterOrganisation(key=key, name=key, type="charity")


async def a_network(platform: Platform, name: str) -> None:
    """Registers one, which whoever subscribed to the topic is told of."""
    organisation = await platform.send("operator", an_organisation(name))
    assert organisation.done is not None
    command = RegisterNetwork(name=name, reach="local", organisation=organisation.done.id)
    assert (await platform.send("steward", command)).outcome == "done"


async def test_a_service_that_is_well_says_that_it_is_ready_and_names_every_reason_that_does_not_hold(
    platform: Platform,
) -> None:
    assert await platform.metric("membership", "concord_ready") == 1
    for reason in ("store", "relay", "nats"):
        assert await platform.metric("membership", "concord_unready", reason=reason) == 0
    assert await platform.metric("membership", "concord_dead_letters_kept_total") == 0
    assert await platform.metric("membership", "concord_refusals_total", kind="inbound") == 0
    assert (await platform.metric("membership", "process_resident_memory_bytes") or 0) > 1e7
    _, page = await platform.get("membership", "/metrics")
    assert 'service_name="membership"' in page


async def test_a_command_is_counted_with_its_transaction_its_event_and_the_time_it_took(platform: Platform) -> None:
    taken = {"db_system_name": "sqlite", "db_operation_name": "transaction"}
    counts = {
        "messaging_client_consumed_messages_total": COMMANDS,
        "messaging_client_sent_messages_total": {"messaging_destination_name": "MEMBERSHIP"},
        "concord_transaction_messages_sum": {},
        "db_client_operation_duration_seconds_count": taken,
    }
    before = {name: await platform.metric("membership", name, **of) or 0 for name, of in counts.items()}
    assert (await platform.send("operator", an_organisation("counted"))).outcome == "done"
    for name, of in counts.items():
        await platform.exceeds(before[name], "membership", name, **of)
    assert await platform.metric("membership", "concord_transaction_messages_sum") == (
        before["concord_transaction_messages_sum"] + 1
    )
    followed = {"messaging_destination_name": "MEMBERSHIP"}
    await platform.exceeds(0, "notifications", "messaging_client_consumed_messages_total", **followed)


async def test_refusals_are_counted_by_what_was_refused(platform: Platform) -> None:
    name = "concord_refusals_total"
    before = await platform.metric("membership", name, kind="command") or 0
    assert (await platform.send("operator", an_organisation("twice"))).outcome == "done"
    assert (await platform.send("operator", an_organisation("twice"))).outcome == "refused"
    await platform.becomes(before + 1, "membership", name, kind="command")

    unknown = RegisterOrganisation(key="unknown", name="unknown", type="charity", parents=(new_id(),))
    await platform.send("operator", unknown, id="")  # an envelope that cannot be read is refused before it is kept
    await platform.becomes(before + 2, "membership", name, kind="command")

    await platform.publish("register", OrganisationListed(organisation=OrganisationRow(key="No Key")))
    await platform.becomes(1, "membership", name, kind="inbound")


async def test_a_dead_letter_is_counted_and_shown_for_as_long_as_it_is_kept(platform: Platform) -> None:
    platform.refuse_to_store("walled")
    failed = (await platform.send("operator", an_organisation("walled"))).failure
    assert failed is not None
    assert failed.dead_letter is not None
    await platform.becomes(1, "membership", "concord_dead_letters")
    assert await platform.metric("membership", "concord_dead_letters_kept_total") == 1
    of_it = {**COMMANDS, "error_type": "IntegrityError"}
    assert await platform.metric("membership", "messaging_client_consumed_messages_total", **of_it) == 1

    discarded = await platform.send(
        "operator", DiscardDeadLetter(letter=failed.dead_letter, reason="It was a test."), "membership"
    )
    assert discarded.outcome == "done"
    await platform.becomes(0, "membership", "concord_dead_letters")
    assert await platform.metric("membership", "concord_dead_letters_kept_total") == 1


async def test_a_service_whose_store_is_locked_lags_has_timers_overdue_and_says_that_it_is_the_store(
    platform: Platform,
) -> None:
    lag = {"messaging_destination_name": "MEMBERSHIP"}
    await platform.becomes(0, "notifications", "concord_consumer_lag", **lag)
    with writing(platform.engines["notifications"]) as connection:
        due = clock.now() + timedelta(seconds=1)
        connection.execute(TIMERS.insert(), {"name": "nobody's", "key": "x", "due_at": due, "data": {}})
    with platform.store_locked("notifications"):
        assert (await platform.send("operator", an_organisation("late"))).outcome == "done"
        await platform.becomes(0, "notifications", "concord_ready")
        await platform.becomes(1, "notifications", "concord_unready", reason="store")
        await platform.becomes(1, "notifications", "concord_consumer_lag", **lag)
        await platform.exceeds(0, "notifications", "concord_timers_overdue_seconds")
    await platform.becomes(1, "notifications", "concord_ready")
    await platform.becomes(0, "notifications", "concord_consumer_lag", **lag)
    await platform.becomes(0, "notifications", "concord_timers_overdue_seconds")


async def test_a_task_that_is_not_finished_is_shown_with_its_age(platform: Platform) -> None:
    row = {"id": new_id(), "name": "nobody's", "key": "x", "args": {}, "attempts": 0, "due_at": clock.now(),
           "claimed_until": None, "created_at": clock.now() - timedelta(hours=1)}  # fmt: skip
    with writing(platform.engines["events"]) as connection:
        connection.execute(TASKS.insert(), row)
    await platform.becomes(1, "events", "concord_tasks_waiting")
    await platform.exceeds(3600, "events", "concord_tasks_oldest_seconds")


async def test_a_delivery_waits_ages_and_is_delivered_once_its_stream_takes_it_in(platform: Platform) -> None:
    assert (await platform.send("zoe", Subscribe(topic="membership"))).outcome == "done"
    delivered = {"channel": "nats", "outcome": "delivered"}
    await a_network(platform, "told-at-once")
    await platform.exceeds(0, "notifications", "concord_deliveries_total", **delivered)
    before = await platform.metric("notifications", "concord_deliveries_total", **delivered) or 0

    await platform.let_in(DELIVERIES, 1)
    await a_network(platform, "told-later")
    await platform.exceeds(0, "notifications", "concord_deliveries_waiting", channel="nats")
    await platform.exceeds(0, "notifications", "concord_outbox_unsent")
    await platform.exceeds(1, "notifications", "concord_outbox_oldest_seconds")
    await platform.becomes(1, "notifications", "concord_unready", reason="relay")

    await platform.let_in(DELIVERIES, -1)
    await platform.exceeds(before, "notifications", "concord_deliveries_total", **delivered)
    await platform.becomes(0, "notifications", "concord_deliveries_waiting", channel="nats")
    await platform.becomes(0, "notifications", "concord_outbox_unsent")
    assert await platform.metric("notifications", "concord_outbox_oldest_seconds") == 0
    assert await platform.metric("membership", "concord_deliveries_total", **delivered) is None


async def test_metrics_are_answered_soon_while_nats_is_away_and_leave_out_what_only_it_knows(
    platform: Platform,
) -> None:
    lag = {"messaging_destination_name": "MEMBERSHIP"}
    await platform.becomes(0, "events", "concord_consumer_lag", **lag)
    platform.nats.kill()
    try:
        await platform.becomes(1, "events", "concord_unready", reason="nats")
        began = time.monotonic()
        assert await platform.metric("events", "concord_ready") == 0
        assert time.monotonic() - began < ANSWERS_WITHIN
        await platform.becomes(None, "events", "concord_consumer_lag", **lag)
        assert await platform.metric("events", "concord_outbox_unsent") == 0
    finally:
        platform.nats.start()
    await platform.becomes(1, "events", "concord_ready")
    await platform.becomes(0, "events", "concord_consumer_lag", **lag)


@pytest.fixture
async def nats(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path_factory.mktemp("nats")) as running:
        yield running


async def test_a_store_that_does_not_answer_is_asked_once_and_not_waited_for(
    tmp_path_factory: pytest.TempPathFactory, nats: NatsServer
) -> None:
    engine = open_store(new_store("postgresql", tmp_path_factory.mktemp("store")))
    with engine.begin() as connection:
        LOOP.create_all(connection)
        connection.execute(text("CREATE TABLE held (id integer)"))

    def figures_of_a_table_that_is_held(connection: object) -> dict[str, int]:
        connection.execute(text("SELECT * FROM held"))  # type: ignore[attr-defined]
        return {}

    observer = Observer(engine, await nats.connect("events"), [], lambda: {}, figures_of_a_table_that_is_held)
    with engine.connect() as holder, holder.begin():
        holder.execute(text("LOCK TABLE held IN ACCESS EXCLUSIVE MODE"))
        began = time.monotonic()
        seen = await asyncio.gather(*(observer.look() for _ in range(5)))
        assert time.monotonic() - began < 2 * PATIENCE
        assert [each.figures for each in seen] == [None] * 5
        with engine.connect() as asking:
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            assert asking.execute(waiting).scalar() == 1
    seen_again = await observer.look()
    assert seen_again.figures is not None
    assert seen_again.figures.unsent == 0
    engine.dispose()
