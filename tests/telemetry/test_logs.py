"""What services log: one JSON object a line, with the ids of the message it is about, and nothing of what was sent."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from shared.contracts.membership import OrganisationListed, OrganisationRow, RegisterNetwork, RegisterOrganisation
from shared.contracts.platform import DiscardDeadLetter, ListDeadLetters
from shared.database import writing
from shared.identity import DELIVERIES
from shared.telemetry import opaque
from tests.telemetry.watched import Platform, new_id, new_traceparent, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PERSON = "Philippa Fotheringham"
ADDRESS = "p.fotheringham@example.org"
LOGIN = "philippa-f"
ABOUT_A_MESSAGE = ("a message became a dead letter", "a rule refused a message", "a dead letter was let go")


class Log:
    """What the services of a platform have written so far."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for _, line in self._platform.log_lines()]

    async def line(self, message: str, **fields: Any) -> dict[str, Any]:
        """A line of the log that says this, once it is there."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            wanted = {"message": message, **fields}
            found[:] = [line for line in self.lines() if wanted.items() <= line.items()]
            return bool(found)

        await until(f"a line says {message!r} with {fields}", there)
        return found[0]


async def use(platform: Platform) -> None:
    """A minute in the life of the platform, shortened: what is done, what is refused, and what goes wrong."""
    named: Sequence[dict[str, Any]] = ({"id": ADDRESS}, {"id": new_id(), "correlationid": ADDRESS})
    organisation = await platform.send("operator", RegisterOrganisation(key="home", name=PERSON, type="charity"))
    assert organisation.done is not None
    for attributes in named:
        command = RegisterNetwork(name=f"{PERSON} of {attributes['id']}", reach="local", organisation=new_id())
        assert (await platform.send(LOGIN, command, **attributes)).outcome == "refused"
        row = OrganisationRow(key=ADDRESS, name=PERSON, format="charity")
        await platform.publish("register", OrganisationListed(organisation=row), **attributes)

    platform.refuse_to_store(ADDRESS)
    failing = RegisterOrganisation(key="dead", name=ADDRESS, type="charity")
    assert (await platform.send("operator", failing, id=ADDRESS, correlationid=PERSON)).failure is not None
    traced = new_traceparent()
    assert (await platform.send("operator", failing, id=new_id(), traceparent=traced)).failure is not None
    for letter in (await platform.send("operator", ListDeadLetters(), "membership")).answer["letters"]:
        discard = DiscardDeadLetter(letter=letter["id"], reason=PERSON)
        assert (await platform.send("operator", discard, "membership")).outcome == "done"

    nc = await platform.enter(LOGIN)
    await nc.publish(f"membership.v1.command.register-network.{LOGIN}", PERSON.encode(), reply="not.mine")
    await nc.publish(f"membership.v1.query.show-network.{LOGIN}", PERSON.encode(), reply="not.mine")
    with writing(platform.engines["notifications"]) as connection:
        wall = "CREATE TRIGGER wall BEFORE INSERT ON announcements BEGIN SELECT RAISE(ABORT, 'unforeseen'); END"
        connection.execute(text(wall))
    await platform.let_in(DELIVERIES, 1)
    command = RegisterNetwork(name=PERSON, reach="local", organisation=organisation.done.id)
    assert (await platform.send(LOGIN, command, traceparent=traced)).outcome == "done"
    with platform.store_locked("events"):
        await Log(platform).line("the store is in trouble; trying again until it is not", service="events")
    platform.nats.kill()
    await platform.becomes(1, "events", "concord_unready", reason="nats")
    platform.nats.start()
    await platform.becomes(1, "events", "concord_ready")


async def test_every_line_is_an_object_with_the_ids_of_its_message_and_nothing_that_was_sent_in(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory: Path = tmp_path_factory.mktemp("logs")
    async with Platform(directory) as platform:
        await platform.ready()
        log = Log(platform)
        await use(platform)

        dead = await log.line("a message became a dead letter", service="membership", correlationid=opaque(PERSON))
        assert dead["error"] == "IntegrityError"
        followed = await log.line("a message became a dead letter", service="notifications")
        assert re.fullmatch("[0-9a-f]{8}-.*", followed["correlationid"])
        assert re.fullmatch("[0-9a-f]{32}", followed["trace_id"])
        await log.line("a rule refused a message", kind="inbound", correlationid=opaque(ADDRESS))
        await log.line("a dead letter was let go", service="membership")
        await log.line("a reply was asked for on a subject that is not the sender's own", sender=opaque(LOGIN))
        await log.line("the store is in trouble; trying again until it is not", service="events")
        await log.line("connection to NATS lost, trying again", service="events")

        for line in log.lines():
            assert {"time", "level", "service", "message"} <= line.keys(), line
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line["time"])
            if line["message"] in ABOUT_A_MESSAGE:
                assert "correlationid" in line, line
        whole = "\n".join(line for _, line in platform.log_lines())
        for personal in (PERSON, ADDRESS, LOGIN, "otheringham"):
            assert personal not in whole
