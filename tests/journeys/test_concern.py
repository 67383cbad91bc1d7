"""A concern that networks raise together: put before HR, chased, answered; and one that nobody knows who raised."""

import re
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
from shared.contracts import cloudevent, membership
from shared.contracts.membership import GivenUmbrellaRules
from shared.contracts.message import subject_of
from shared.contracts.notifications import DeliveryView, ListDeliveries
from shared.contracts.platform import ListDeadLetters, ShowDeadLetter, ShowHistory
from shared.identity import inbox_prefix
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
        await people.tell("operator", membership.ConfirmNetworkHome(network=members[name]))
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
    js = people.connection("operator").jetstream()
    found = []
    for stream in platform_streams():
        state = (await js.stream_info(stream.name)).state
        for sequence in range(state.first_seq or 1, state.last_seq + 1):
            message = await js.get_msg(stream.name, sequence)
            # Which messages shared a batch on their way to the stream is chance, and the same for nobody.
            headers = {name: value for name, value in (message.headers or {}).items() if "Nats-Batch" not in name}
            found.append(f"{stream.name} {message.subject} {headers} {(message.data or b'').decode()}")
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
        now = await self._everything()
        return {place: list((found - self._before[place]).elements()) for place, found in now.items()}

    async def _everything(self) -> dict[str, Counter[str]]:
        found = {store.stem: Counter(rows(store)) for store in self._directory.glob("*.sqlite")}
        found |= {log.name: Counter(log.read_text().splitlines()) for log in self._directory.glob("logs/*.log")}
        return found | {"streams": Counter(await messages(self._people))}


UNLIKE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32}|\d+")
"""Ids, digests, moments, places in an order: what tells two messages of the same kind apart."""


async def ask_for_the_reply_elsewhere(network: Network, title: str) -> None:
    """A concern without a name whose raiser is careless: nothing is answered there, and a line of the log says so."""
    people = network.people
    concern = membership.RaiseConcern(
        umbrella=network.umbrella, title=title, text="None.", suggestion="One.", anonymous=True
    )
    payload = cloudevent.write(concern, id=new_id(), source=f"/{RAISER}", time=clock.now())
    subject, elsewhere = subject_of(membership.RaiseConcern, RAISER), f"{inbox_prefix('amber')}.here"
    await people.connection(RAISER).publish(subject, payload, elsewhere, dict(cloudevent.STRUCTURED_HEADERS))

    async def is_raised() -> bool:
        page = await people.ask("operator", membership.ListConcerns(umbrella=network.umbrella))
        return any(each.title == title for each in page.concerns)

    await people.until("the concern is raised", is_raised)


async def test_nobody_finds_who_raised_a_concern_without_a_name_and_its_raiser_is_told_and_can_take_it_back(
    stack: LocalStack, network: Network
) -> None:
    people, traces = network.people, Traces(stack, network.people)
    with closing(sqlite3.connect(stack.directory / "membership.sqlite", timeout=20)) as store:
        store.execute(
            "CREATE TRIGGER stores_no_lifts BEFORE INSERT ON concerns WHEN NEW.title = 'Lifts' "
            "BEGIN SELECT RAISE(ABORT, 'no lifts'); END"
        )
        store.commit()
    await traces.note()

    anonymous = {"anonymous": True, "withdrawal_phrase": PHRASE}
    concern = await network.raise_(RAISER, **anonymous)
    await network.endorse(concern, "cedar")
    wrong = membership.WithdrawConcern(concern=concern, reason="Mine.", withdrawal_phrase="eight herons on a roof")
    assert (await people.try_in_vain(RAISER, wrong)).code == "not-the-raiser"
    await network.submit(concern, within=timedelta(days=28))
    await people.tell("secretariat", membership.RecordConcernResponse(concern=concern, response="No."))
    closing_ = membership.CloseConcern(concern=concern, outcome="unresolved", reason="They will not.")
    await people.tell("secretariat", closing_)

    await ask_for_the_reply_elsewhere(network, "Stairs")
    second = await network.raise_(RAISER, **anonymous)
    taking_back = membership.WithdrawConcern(concern=second, reason="It is settled.", withdrawal_phrase=PHRASE)
    await people.tell(RAISER, taking_back)
    lifts = membership.RaiseConcern(
        umbrella=network.umbrella, title="Lifts", text="None.", suggestion="One.", anonymous=True
    )
    failure = (await people.send(RAISER, lifts)).failure
    assert failure is not None
    assert failure.dead_letter is not None

    happened = (
        (membership.ConcernRaised.wire.type, concern),
        (membership.ConcernAnswered.wire.type, concern),
        (membership.ConcernClosed.wire.type, concern),
        (membership.ConcernWithdrawn.wire.type, second),
    )
    audience = (*MEMBERS, "second-of-birch", "secretariat")
    told = [(name, event, about) for name in audience for event, about in happened]
    notices = {(name, event): await network.told(name, event, about) for name, event, about in told}

    async def all_are_published() -> bool:
        pages = [await people.ask(name, ListDeliveries(limit=500)) for name in audience]
        return all(delivery.state == "published" for page in pages for delivery in page.deliveries)

    await people.until("everybody's notices lie in the stream", all_are_published)
    new = await traces.new()
    traces_of = {name: re.compile(f"(The )?{name}( network)?|{network.members[name]}") for name in (RAISER, BYSTANDER)}

    def found(name: str, lines: list[str]) -> Counter[str]:
        """Where somebody or their network is found, with what is particular to one or another left out."""
        return Counter(
            UNLIKE.sub("#", traces_of[name].sub("WHO", line)) for line in lines if traces_of[name].search(line)
        )

    # What they were told they were told as anybody was. Beyond that they are nowhere.
    deliveries = [line for line in new["streams"] if line.startswith("DELIVERIES ")]
    for place, lines in (("the stream of deliveries", deliveries), ("notifications", new["notifications"])):
        assert found(RAISER, lines), place
        assert found(RAISER, lines) == found(BYSTANDER, lines), place
    new["streams"] = [line for line in new["streams"] if line not in deliveries]
    del new["notifications"]
    assert {"membership", "events", "benchmark", "streams", "membership.log", "nats.log"} <= new.keys()
    assert [line for line in new["membership"] if concern in line]
    for said in (failure.dead_letter, "a reply was asked for"):
        assert [line for line in new["membership.log"] if said in line]
    for place, lines in new.items():
        assert not found(RAISER, lines), place
        assert not [line for line in lines if PHRASE in line], place
    for event, _ in happened:
        why = [tuple(traces_of[name].sub("WHO", link) for link in notices[name, event].why) for name in traces_of]
        assert why[0] == why[1]

    # Nor do the answers to questions name them, of whoever asks.
    for answer in (
        await people.ask("operator", membership.ShowConcern(concern=concern)),
        await people.ask("operator", membership.ShowConcern(concern=second)),
        await people.ask("operator", membership.ListConcerns()),
        await people.ask("operator", ShowHistory(aggregate=concern), "membership"),
        await people.ask("operator", ShowHistory(aggregate=second), "membership"),
        await people.ask("operator", ListDeadLetters(), "membership"),
        await people.ask("operator", ShowDeadLetter(letter=failure.dead_letter), "membership"),
        await people.ask(RAISER, membership.ShowConcern(concern=concern)),
    ):
        assert not traces_of[RAISER].search(answer.model_dump_json())
