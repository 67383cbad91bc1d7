"""A concern that networks raise together: put before HR, chased, answered; and one of which nobody learns who raised it."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local_stack import LocalStack
from deploy.people import People, new_id
from shared import clock
from shared.contracts import membership
from shared.contracts.membership import GivenUmbrellaRules
from shared.contracts.notifications import DeliveryView, ListDeliveries
from shared.contracts.platform import ListDeadLetters, ShowDeadLetter
from shared.streams import platform_streams

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMBERS = ("amber", "birch", "cedar", "dogwood", "elder", "fir")
"""Member networks by their representatives."""
RAISER, BYSTANDER = "dogwood", "elder"
"""Of the second nothing comes from anybody: whatever is to be found of the first is to be found of the second too."""
PHRASE = "seven herons on a quiet roof"


class Network:
    """An umbrella with six member networks, each with one representative."""

    def __init__(self, people: People, umbrella: str, members: dict[str, str]) -> None:
        self.people = people
        self.umbrella = umbrella
        self.members = members

    async def raise_(self, by: str, **more: object) -> str:
        said = {"title": "Quiet rooms", "text": "There is no quiet room.", "suggestion": "One on every floor."}
        concern = membership.RaiseConcern.model_validate({"umbrella": self.umbrella, **said, **more})
        return await self.people.make(by, concern)

    async def endorse(self, concern: str, by: str) -> None:
        await self.people.tell(by, membership.EndorseConcern(concern=concern, network=self.members[by]))

    async def submit(self, concern: str, within: timedelta) -> None:
        reply_by = clock.now() + within
        addressee = "HR of the Cabinet Office"
        command = membership.SubmitConcern(concern=concern, addressee=addressee, reply_by=reply_by)
        await self.people.tell("secretariat", command)

    async def told(self, principal: str, event: str, about: str) -> DeliveryView:
        """What somebody was told of an event, once it has come."""
        await self.people.until(f"{principal} is told of {event}", lambda: self.was_told(principal, event, about))
        page = await self.people.ask(principal, ListDeliveries(limit=500))
        return next(each for each in page.deliveries if (each.event, each.about) == (event, about))

    async def was_told(self, principal: str, event: str, about: str) -> bool:
        page = await self.people.ask(principal, ListDeliveries(limit=500))
        return any((each.event, each.about) == (event, about) for each in page.deliveries)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(people: People) -> Network:
    home = await people.make(
        "operator",
        membership.RegisterOrganisation(key="cabinet-office", name="Cabinet Office", type="ministerial-department"),
    )
    await people.enter("secretariat")
    founding = membership.RegisterNetwork(
        name="Umbrella", reach="national", organisation=home, umbrella=GivenUmbrellaRules(open=True)
    )
    umbrella = await people.make("secretariat", founding)
    members = {}
    for name in MEMBERS:
        await people.enter(name)
        joining = membership.RegisterNetwork(name=f"The {name} network", reach="local", organisation=home)
        members[name] = await people.make(name, joining)
        speaker = membership.AppointRepresentative(network=members[name], person=new_id(), principal=name)
        await people.tell(name, speaker)
        await people.tell(name, membership.ApplyForMembership(umbrella=umbrella, network=members[name]))
    return Network(people, umbrella, members)


async def test_a_concern_is_raised_endorsed_put_before_hr_chased_answered_and_its_outcome_told(
    network: Network,
) -> None:
    """A representative raises a concern with a suggested solution; networks endorse (one voice each); the steering
    group submits it to HR with a reply-by date; the response is recorded; overdue replies are chased; the outcome is
    told to everyone who raised or endorsed."""
    people = network.people
    concern = await network.raise_("amber")
    assert (await network.told("fir", membership.ConcernRaised.wire.type, concern)).why

    await people.enter("second-of-birch")
    second = membership.AppointRepresentative(
        network=network.members["birch"], person=new_id(), principal="second-of-birch"
    )
    await people.tell("birch", second)
    await network.endorse(concern, "birch")
    again = membership.EndorseConcern(concern=concern, network=network.members["birch"])
    assert (await people.tell("second-of-birch", again)).events == ()
    await network.endorse(concern, "cedar")

    await network.submit(concern, within=timedelta(seconds=0.5))
    notice = await network.told("secretariat", membership.ConcernReplyOverdue.wire.type, concern)
    assert "overdue since" in notice.sentence
    overdue = await people.ask("secretariat", membership.ListConcerns(umbrella=network.umbrella, overdue=True))
    assert [(each.id, each.endorsements, each.overdue_since) for each in overdue.concerns] == [
        (concern, 2, overdue.concerns[0].reply_by)
    ]
    response = membership.RecordConcernResponse(concern=concern, response="From May there will be one.")
    await people.tell("secretariat", response)
    for key, why in (("amber", "You raised this concern."), ("birch", "You represent The birch network.")):
        notice = await network.told(key, membership.ConcernAnswered.wire.type, concern)
        assert notice.why[0] == why
    assert not await network.was_told("fir", membership.ConcernAnswered.wire.type, concern)

    closing_ = membership.CloseConcern(concern=concern, outcome="resolved", reason="It is built.")
    await people.tell("secretariat", closing_)
    for key in MEMBERS:
        notice = await network.told(key, membership.ConcernClosed.wire.type, concern)
        assert notice.sentence == "A concern raised in Umbrella is closed: resolved."
    shown = await people.ask("fir", membership.ShowConcern(concern=concern))
    assert [each.name for each in shown.endorsements] == ["The birch network", "The cedar network"]
    assert (shown.raised_by, shown.response) == ("amber", "From May there will be one.")
    assert [step.step for step in shown.course] == [
        "raised", "endorsed", "endorsed", "submitted", "fell-due", "chased", "answered", "closed",
    ]  # fmt: skip


# ---- without a name ------------------------------------------------------------------------------------------------


def rows(store: Path) -> Iterator[str]:
    """Every row of every table of a store."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608  names out of the store itself
                yield f"{table} {row}"


async def messages(people: People) -> list[str]:
    """Every message of every stream, with its subject and headers."""
    js = people.connection("onlooker").jetstream()
    found = []
    for stream in platform_streams():
        state = (await js.stream_info(stream.name)).state
        for sequence in range(state.first_seq or 1, state.last_seq + 1):
            message = await js.get_msg(stream.name, sequence)
            found.append(f"{stream.name} {message.subject} {message.headers} {(message.data or b'').decode()}")
    return found


class Traces:
    """Everything that can be found anywhere: in the stores, the streams, the deliveries and the logs."""

    def __init__(self, stack: LocalStack, people: People) -> None:
        self._directory = stack.directory
        self._people = people
        self._before: dict[str, Counter[str]] = {}

    async def note(self) -> None:
        """From now on what is new is looked for."""
        self._before = await self._everything()

    async def new(self) -> dict[str, list[str]]:
        """What has come since, by the place where it is."""
        return {place: list((found - self._before[place]).elements()) for place, found in (await self._everything()).items()}

    async def _everything(self) -> dict[str, Counter[str]]:
        found = {store.stem: Counter(rows(store)) for store in self._directory.glob("*.sqlite")}
        found |= {log.name: Counter(log.read_text().splitlines()) for log in self._directory.glob("logs/*.log")}
        return found | {"streams": Counter(await messages(self._people))}
