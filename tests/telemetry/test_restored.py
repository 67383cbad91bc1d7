"""A stream that was deleted: whoever misses it makes it anew and says so, until somebody fills it again."""

import pytest

from shared.contracts.membership import RegisterOrganisation
from shared.identity import SERVICES
from shared.streams import api
from tests.telemetry.watched import Platform, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = "concord_streams_restored_total"
BENCHMARK = {"messaging_destination_name": "BENCHMARK"}
MEMBERSHIP = {"messaging_destination_name": "MEMBERSHIP"}


async def times_restored(platform: Platform, **stream: str) -> float:
    return sum([await platform.metric(service, NAME, **stream) or 0 for service in SERVICES])


async def test_a_stream_that_was_deleted_under_the_services_is_counted_when_it_is_made_anew(platform: Platform) -> None:
    for service in SERVICES:  # at the first start streams are made, and none was lost
        assert await platform.metric(service, NAME, **MEMBERSHIP) == 0
    await api(await platform.nats.connect_breaker(), "STREAM.DELETE.MEMBERSHIP")
    command = RegisterOrganisation(key="after", name="After", type="charity")
    assert (await platform.send("operator", command)).outcome == "done"

    async def is_counted() -> bool:
        return await times_restored(platform, **MEMBERSHIP) >= 1

    await until("the stream is counted as made anew", is_counted)
    assert await times_restored(platform, **BENCHMARK) == 0


@pytest.mark.parametrize("service", SERVICES)
async def test_a_clock_that_nobody_sets_has_not_stepped(platform: Platform, service: str) -> None:
    assert await platform.metric(service, "concord_clock_stepped_seconds") == pytest.approx(0, abs=1)
