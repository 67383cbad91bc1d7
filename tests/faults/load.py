"""What people and programs do meanwhile: stories of real commands and messages, drawn from the seed of the round.

Nobody here gives up: a command without an answer is sent again, under the same id, until there is one.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from itertools import cycle
from random import Random
from typing import Any, get_args
from uuid import UUID

from nats import errors

from shared import clock
from shared.broker import Connection, NobodyAnswers, TimedOut, request
from shared.contracts import benchmark, events, membership, notifications
from shared.contracts.cloudevent import STRUCTURED_HEADERS, write
from shared.contracts.membership import GivenOffice, GivenUmbrellaRules, Office, OrganisationRow, Position
from shared.contracts.message import REGISTER, Command, Event, Inbound, Query, subject_of
from shared.contracts.platform import Done, Reply
from shared.streams import UNAVAILABLE
from shared.testing.nats import NatsServer
from shared.testing.nats_cluster import NatsCluster
from tests.faults.ledger import Asked, Handed, Ledger
from tests.faults.schedule import PLATFORM, Round

MEMBERS = ("ada", "ben", "cat", "dan", "eve")
WITNESS = "witness"
"""Subscribes to every topic before anything happens, so everything there is to tell must be told to it."""
REGISTER_NAME = "register"
"""Publishes what it knows of organisations."""

PATIENCE = 2.0
"""Seconds to wait for an answer before the command is sent again."""
PAUSE = 0.2
OVERLOADED = "overloaded"
"""The code of a refusal that is no answer: the same command is to be sent again."""
PACE = (0.02, 0.2)
"""Seconds between two steps of a story: enough to keep a service busy, and to leave it time to be started."""
ASKED_AGAIN = 0.1
"""How often a command is sent once more although it was answered, as by somebody who lost the answer."""
SHORT_DEADLINE = timedelta(seconds=4)
PLAN_PAUSE, PLAN_LOOKS = 2.0, 4
"""Seconds between two looks at a plan, and how many: each plan costs a second of a core, which others need."""

OFFICES = tuple(
    GivenOffice(place=place, region=region, nation=nation, latitude=latitude, longitude=longitude)
    for place, region, nation, latitude, longitude in (
        ("Leeds", "Yorkshire and The Humber", "England", 53.80, -1.55),
        ("Cardiff", "Wales", "Wales", 51.48, -3.18),
        ("Glasgow", "Scotland", "Scotland", 55.86, -4.25),
        ("Bristol", "South West", "England", 51.45, -2.59),
        ("Nottingham", "East Midlands", "England", 52.95, -1.15),
        ("Newcastle", "North East", "England", 54.97, -1.61),
    )
)


UNSTORABLE = "The organisation that no store will have"
"""A name that membership's rules take and its store is told to refuse (``Stack.refuse_to_store``)."""


class NotDone(Exception):
    """A command that nothing stood in the way of was not done; the checker finds it in the ledger."""


class Platform:
    """The platform as seen from outside: connections, and the ledger of what went over them."""

    def __init__(self, nats: NatsServer | NatsCluster, ledger: Ledger) -> None:
        self._nats = nats
        self.ledger = ledger
        self._as: dict[str, Connection] = {}

    async def connect(self) -> None:
        """Connects everybody there is in the stories."""
        people = {"operator": "operator", REGISTER_NAME: "publisher", "membership": "membership"}
        for name, role in people.items() | dict.fromkeys((*MEMBERS, WITNESS), "member").items():
            self._as[name] = await self._nats.connect(role, name)

    async def ask(self, principal: str, command: Command, id_: str, *, must_be_done: bool) -> Asked:
        """Sends a command until it is answered; the same id again adds one more answer."""
        asked = self.ledger.asked.setdefault(id_, Asked(id_, principal, command, must_be_done))
        payload = write(command, id=id_, source=f"/{principal}", time=clock.now())
        while True:
            asked.attempts += 1
            if (reply := await self._request(principal, command, payload)) is not None:
                asked.replies.append(reply)
                return asked

    async def query(self, principal: str, query: Query[Any], id_: str) -> Reply:
        """Asks a question until it is answered."""
        payload = write(query, id=id_, source=f"/{principal}", time=clock.now())
        while (reply := await self._request(principal, query, payload)) is None:
            continue
        return reply

    async def _request(self, principal: str, message: Command | Query[Any], payload: bytes) -> Reply | None:
        try:
            subject = subject_of(type(message), principal)
            answer = await request(self._as[principal], subject, payload, dict(STRUCTURED_HEADERS), PATIENCE)
        except (NobodyAnswers, TimedOut):
            await asyncio.sleep(PAUSE)
            return None
        reply = Reply.model_validate_json(answer.data)
        return None if reply.refusal and reply.refusal.code == OVERLOADED else reply

    async def hand_in(self, message: Inbound, id_: str, *, good: bool) -> None:
        """Publishes an inbound message until the stream confirms it."""
        self.ledger.handed.setdefault(id_, Handed(id_, message, good))
        payload = write(message, id=id_, source=f"/{REGISTER_NAME}", time=clock.now())
        await self._publish(REGISTER_NAME, subject_of(type(message), REGISTER_NAME), payload)

    async def hand_in_unstorable(self, id_: str, key: str) -> None:
        """Publishes an inbound message whose organisation membership's store refuses, and nobody foresaw that."""
        self.ledger.unstorable.append(f"inbound /{REGISTER_NAME} {id_}")
        listed = membership.OrganisationListed(organisation=OrganisationRow(key=key, name=UNSTORABLE, format="council"))
        payload = write(listed, id=id_, source=f"/{REGISTER_NAME}", time=clock.now())
        await self._publish(REGISTER_NAME, subject_of(type(listed), REGISTER_NAME), payload)

    async def plant_poison(self, follower: str, id_: str, aggregate: str) -> None:
        """Puts an event into membership's stream that breaks its contract: the envelope is sound, the data is not."""
        heard = map(REGISTER.__getitem__, PLATFORM[follower].surface.events)
        contract = next(c for c in heard if issubclass(c, Event) and c.wire.owner == "membership")
        event = {
            "specversion": "1.0", "id": id_, "source": "/concord/membership", "type": contract.wire.type,
            "subject": aggregate, "sequence": 1, "data": {"poison": True},
        }  # fmt: skip
        self.ledger.poison[id_] = contract
        await self._publish("membership", subject_of(contract, aggregate), json.dumps(event).encode(), id_)

    async def _publish(self, principal: str, subject: str, payload: bytes, message_id: str | None = None) -> None:
        headers = dict(STRUCTURED_HEADERS) | ({"Nats-Msg-Id": message_id} if message_id else {})
        while True:
            try:
                answer = json.loads((await self._as[principal].request(subject, payload, 5, headers=headers)).data)
            except errors.Error:
                await asyncio.sleep(PAUSE)
                continue
            if answer.get("error", {}).get("code") == UNAVAILABLE:
                await asyncio.sleep(PAUSE)
                continue
            if "error" in answer:
                raise RuntimeError(f"{subject} was not taken: {answer['error']}")
            return


class Teller:
    """Tells stories one after another, all drawn from one source of chance."""

    def __init__(self, load: "Load", random: Random) -> None:
        self.load = load
        self.platform = load.platform
        self.random = random

    def id(self) -> str:
        """A new id, which is the same one whenever the round is run again."""
        return str(UUID(int=self.random.getrandbits(128), version=4))

    def word(self) -> str:
        """A name nothing else has."""
        return f"n{self.random.getrandbits(60):x}"

    async def pause(self) -> None:
        await asyncio.sleep(self.random.uniform(*PACE))

    async def do(self, principal: str, command: Command) -> Done:
        """Has something done that nothing stands in the way of."""
        reply = await self._ask(principal, command, must_be_done=True)
        if reply.done is None:
            raise NotDone
        return reply.done

    async def try_to(self, principal: str, command: Command) -> None:
        """Asks for something that may be refused."""
        await self._ask(principal, command, must_be_done=False)

    async def _ask(self, principal: str, command: Command, *, must_be_done: bool) -> Reply:
        # Drawn before anything is waited for, so that it is the same however fast the answers come.
        id_, again = self.id(), self.random.random() < ASKED_AGAIN
        await self.pause()
        asked = await self.platform.ask(principal, command, id_, must_be_done=must_be_done)
        if again:
            await self.platform.ask(principal, command, id_, must_be_done=must_be_done)
        return asked.replies[0]


class World:
    """What is there before the first death, and is not changed by any story."""

    organisations: list[str]
    council: str
    """An open umbrella network, whose three members decide on proposals and meet."""
    members: list[str]
    """The member networks of the council; the n-th one's representative is the n-th of MEMBERS."""
    fair: str
    """An umbrella network that admits who applies; networks come and go."""

    async def found(self, teller: Teller) -> None:
        """Brings it about."""
        for topic in get_args(notifications.Topic):
            await teller.do(WITNESS, notifications.Subscribe(topic=topic))
        self.organisations = [
            str((await teller.do("operator", membership.RegisterOrganisation(**_organisation(teller, number)))).id)
            for number in range(6)
        ]
        self.council = await self._umbrella(teller, GivenUmbrellaRules(open=True))
        self.fair = await self._umbrella(teller, GivenUmbrellaRules())
        self.members = [
            await register_network(teller, principal, self.organisations[number], OFFICES[number])
            for number, principal in enumerate(MEMBERS[:3])
        ]
        for principal, network in zip(MEMBERS, self.members, strict=False):
            await teller.do(
                principal, membership.AppointRepresentative(network=network, person=teller.id(), principal=principal)
            )
            await teller.do("operator", membership.ConfirmNetworkHome(network=network))
            await teller.do(principal, membership.ApplyForMembership(umbrella=self.council, network=network))

    async def prepare_followers(self, teller: Teller) -> None:
        """What takes for granted that the followers know of the organisations."""
        for number, office in enumerate(OFFICES):
            await teller.do("operator", _venue(teller, office, self.organisations[number]))
        for principal, organisation in zip(MEMBERS, self.organisations, strict=False):
            named = benchmark.NameDataSteward(organisation=organisation, principal=principal)
            await teller.do("operator", named)

    async def _umbrella(self, teller: Teller, rules: GivenUmbrellaRules) -> str:
        command = membership.RegisterNetwork(
            name=teller.word(), reach="national", organisation=self.organisations[0], umbrella=rules
        )
        return str((await teller.do("operator", command)).id)


def _organisation(teller: Teller, number: int) -> dict[str, Any]:
    office = OFFICES[number % len(OFFICES)]
    kind = get_args(membership.OrganisationType)[number % 3]
    return {"key": teller.word(), "name": teller.word(), "type": kind, **office.model_dump()}


def _venue(teller: Teller, office: Office, host: str) -> events.RegisterVenue:
    return events.RegisterVenue(name=teller.word(), **office.model_dump(), host=host, capacity=50, step_free=True)


async def register_network(teller: Teller, steward: str, organisation: str, office: GivenOffice) -> str:
    """A network of a steward's own; its id."""
    command = membership.RegisterNetwork(name=teller.word(), reach="local", organisation=organisation, office=office)
    return str((await teller.do(steward, command)).id)


# ---- stories -------------------------------------------------------------------------------------------------------

Story = Callable[[Teller, World], Awaitable[None]]


async def a_network_comes_and_goes(teller: Teller, world: World) -> None:
    steward, deputy = teller.random.sample(MEMBERS, 2)
    organisation, office = teller.random.choice(world.organisations), teller.random.choice(OFFICES)
    network = await register_network(teller, steward, organisation, office)
    people = {principal: teller.id() for principal in (steward, deputy)}
    for principal, person in people.items():
        appointed = membership.AppointRepresentative(network=network, person=person, principal=principal)
        await teller.do(steward, appointed)
    await teller.do(deputy, membership.ApplyForMembership(umbrella=world.fair, network=network))
    await teller.do("operator", membership.AdmitMemberNetwork(umbrella=world.fair, network=network))
    await teller.try_to(deputy, membership.ApplyForMembership(umbrella=world.fair, network=network))
    match teller.random.randrange(3):
        case 0:
            await teller.do(steward, membership.WithdrawMemberNetwork(umbrella=world.fair, network=network))
        case 1:  # the last one leaves, and the membership lapses
            for principal, person in people.items():
                await teller.do(principal, membership.StandDownRepresentative(network=network, person=person))


async def a_register_is_read(teller: Teller, world: World) -> None:
    rows = tuple(OrganisationRow(key=teller.word(), name=teller.word(), format="council") for _ in range(4))
    await teller.do("operator", membership.ImportOrganisations(register_name="GOV.UK", rows=rows))
    again = (rows[0].model_copy(update={"name": teller.word()}), *rows[1:])
    await teller.do("operator", membership.ImportOrganisations(register_name="GOV.UK", rows=again))


async def a_register_publishes(teller: Teller, world: World) -> None:
    good = teller.random.random() < 0.8
    row = OrganisationRow(key=teller.word(), name=teller.word(), format="council" if good else "circus")
    id_, listed = teller.id(), membership.OrganisationListed(organisation=row)
    again = teller.random.random() < 0.5  # its program does not know whether it was heard
    for _ in range(1 + again):
        await teller.pause()
        if teller.load.publishing:
            await teller.platform.hand_in(listed, id_, good=good)


async def a_proposal_is_decided(teller: Teller, world: World) -> None:
    drafted = membership.DraftProposal(umbrella=world.council, title=teller.word(), text="A quiet room in each office.")
    proposal = str((await teller.do("operator", drafted)).id)
    ending = next(teller.load.endings)
    deadline = clock.now() + (SHORT_DEADLINE if ending == "deadline" else timedelta(days=30))
    opened = membership.OpenProposal(proposal=proposal, deadline=deadline)
    if ending == "deadline":  # whoever comes after the deadline is refused, with good reason
        await teller.try_to("operator", opened)
        await _take_positions(teller, world, proposal, "stand-aside", teller.try_to)
        return
    await teller.do("operator", opened)
    await _take_positions(teller, world, proposal, "block", teller.do)
    await teller.do("operator", membership.AmendProposal(proposal=proposal, text="A quiet room in most offices."))
    await _take_positions(teller, world, proposal, "reservations", teller.do)
    if ending == "early":
        await teller.do("operator", membership.CloseProposal(proposal=proposal))
    else:
        await teller.do("operator", membership.WithdrawProposal(proposal=proposal, reason="There is no room."))


async def _take_positions(
    teller: Teller, world: World, proposal: str, last: Position, ask: Callable[[str, Command], Awaitable[Any]]
) -> None:
    positions: Sequence[Position] = ("consent", "consent", last)
    await asyncio.gather(
        *(
            ask(principal, membership.TakePosition(proposal=proposal, network=network, position=position, reason="So."))
            for principal, network, position in zip(MEMBERS, world.members, positions, strict=False)
        )
    )


async def a_work_stream_runs_its_course(teller: Teller, world: World) -> None:
    opened = membership.OpenWorkStream(network=world.council, name=teller.word())
    stream = str((await teller.do("operator", opened)).id)
    person = str(UUID(int=MEMBERS.index(principal := teller.random.choice(MEMBERS)) + 1))
    seat: dict[str, Any] = {"network": world.council, "person": person, "work_stream": stream}
    appointed = membership.AppointSteeringMember(**seat, principal=principal, role="work-stream-lead", fte=0.05)
    await teller.do("operator", appointed)
    if teller.random.random() < 0.5:
        await teller.do(principal, membership.StandDownSteeringMember(**seat, role="work-stream-lead"))
    await teller.do("operator", membership.CloseWorkStream(network=world.council, work_stream=stream))


async def somebody_subscribes(teller: Teller, world: World) -> None:
    principal, topic = teller.random.choice(MEMBERS), teller.random.choice(get_args(notifications.Topic))
    region = teller.random.choice(get_args(membership.Region))
    await teller.try_to(principal, notifications.Subscribe(topic=topic, region=region))
    await teller.try_to(principal, notifications.Subscribe(topic=topic, role="steward"))
    if teller.random.random() < 0.5:
        await teller.do(principal, notifications.Unsubscribe(topic=topic))


MEASURES = tuple(benchmark.Measure(code=code, wording=f"{code} of work", unit="%") for code in ("B01", "B02"))


async def a_round_is_run(teller: Teller, world: World) -> None:
    loaded = benchmark.LoadInstrument(name=teller.word(), version="1", title="At work", measures=MEASURES)
    instrument = str((await teller.do("operator", loaded)).id)
    opened = benchmark.OpenRound(instrument=instrument, label=teller.word())
    round_ = str((await teller.do("operator", opened)).id)
    for _ in range(2):  # handed in, and amended
        await asyncio.gather(
            *(
                teller.do(principal, _scores(teller, round_, organisation))
                for principal, organisation in zip(MEMBERS, world.organisations, strict=False)
            )
        )
    await teller.do("operator", benchmark.CloseRound(round=round_))
    await teller.do("operator", benchmark.ReleaseRound(round=round_))


def _scores(teller: Teller, round_: str, organisation: str) -> benchmark.SubmitScores:
    scores = {m.code: benchmark.Score(value=teller.random.randrange(100), answers=20) for m in MEASURES}
    return benchmark.SubmitScores(round=round_, organisation=organisation, scores=scores)


async def a_survey_is_read(teller: Teller, world: World) -> None:
    rows = tuple(benchmark.SurveyRow(code=teller.word(), name=teller.word(), scores=(50.0, 60.0)) for _ in range(3))
    await teller.do(
        "operator", benchmark.ImportPeopleSurvey(label=teller.word(), source="A survey", measures=MEASURES, rows=rows)
    )


async def places_become_known(teller: Teller, world: World) -> None:
    office = teller.random.choice(OFFICES)
    host = world.organisations[OFFICES.index(office)]
    journey = events.GivenTravelTime(origin="Leeds", destination=office.place, minutes=teller.random.randrange(300))
    blackout = events.DeclareBlackout(name=teller.word(), first=date(2020, 1, 1), last=date(2020, 1, 2))
    done = await asyncio.gather(
        teller.do("operator", blackout),
        teller.do("operator", _venue(teller, office, host)),
        teller.do("operator", events.LoadTravelTimes(source="a timetable", journeys=(journey,))),
    )
    await teller.do("operator", events.LiftBlackout(blackout=str(done[0].id)))


async def a_meeting_is_planned(teller: Teller, world: World) -> None:
    """Asks for a plan and books it; one that does not come soon, since whoever worked on it died, comes unheeded."""
    if not teller.load.planning:
        await asyncio.sleep(PAUSE)
        return
    state = "in-hand"
    plan = str((await teller.do("operator", events.PlanMeetings(umbrella=world.council, meetings=1))).id)
    for _ in range(PLAN_LOOKS):
        await asyncio.sleep(PLAN_PAUSE)
        if teller.load.ending or (state := await _state_of(teller, plan)) != "in-hand":
            break
    if state == "planned":
        meeting = str((await teller.do("operator", events.BookMeeting(plan=plan, number=1))).id)
        await teller.do("operator", events.CancelMeeting(meeting=meeting, reason="The hall is flooded."))


async def _state_of(teller: Teller, plan: str) -> str:
    reply = await teller.platform.query("operator", events.ShowPlan(plan=plan), teller.id())
    if reply.answer is None:
        raise NotDone
    return str(reply.answer["state"])


STORIES: Sequence[Sequence[Story]] = (
    (a_network_comes_and_goes,),
    (a_network_comes_and_goes, a_register_is_read, a_register_publishes),
    (a_proposal_is_decided,),
    (a_work_stream_runs_its_course, a_register_publishes),
    (somebody_subscribes,),
    (a_round_is_run, a_survey_is_read),
    (places_become_known,),
    (places_become_known,),
    (a_meeting_is_planned,),
)
"""Who tells what: each line is told by somebody of its own, beside the others."""


class Load:
    """Everybody telling stories, each to its end, until ``ending`` is set."""

    def __init__(self, round_: Round, platform: Platform) -> None:
        self.platform = platform
        self.ending = False
        self.planning = True
        """Whether meetings are planned. Each plan is a core's second, and more of it if its process dies."""
        self.endings = cycle(("deadline", "early", "withdrawn"))  # in turn, so that even a slow round sees each
        self.publishing = True
        """Whether registers publish. What nobody has read is lost with its stream, and no store could fill it again."""
        self._world = World()
        self._prologue = Teller(self, round_.random("world"))
        self._tellers = [(Teller(self, round_.random(f"teller {n}")), stories) for n, stories in enumerate(STORIES)]

    async def prepare(self, settled: Callable[[], Awaitable[None]]) -> None:
        """Founds the world; ``settled`` returns once the followers know of it."""
        await self.platform.connect()
        await self._world.found(self._prologue)
        await settled()
        await self._world.prepare_followers(self._prologue)

    async def plant_poison(self, service: str) -> None:
        """Has a service meet a message it cannot handle: who follows nobody an inbound one, everybody else an event."""
        if PLATFORM[service].follows:
            await self.platform.plant_poison(service, self._prologue.id(), self._prologue.id())
        else:
            await self.platform.hand_in_unstorable(self._prologue.id(), self._prologue.word())

    async def read_register(self, random: Random, count: int) -> None:
        """Has that many organisations registered at once: a burst of events for everybody who follows."""
        teller = Teller(self, random)
        rows = tuple(OrganisationRow(key=teller.word(), name=teller.word(), format="council") for _ in range(count))
        await teller.do("operator", membership.ImportOrganisations(register_name="GOV.UK", rows=rows))

    async def open_proposal(self, deadline: datetime) -> str:
        """Puts a proposal to the council that nobody says anything on; its id."""
        drafted = membership.DraftProposal(umbrella=self._world.council, title=self._prologue.word(), text="Later.")
        proposal = str((await self._prologue.do("operator", drafted)).id)
        await self._prologue.do("operator", membership.OpenProposal(proposal=proposal, deadline=deadline))
        return proposal

    async def run(self) -> None:
        """Tells stories until ``ending``, and those begun to their end."""
        await asyncio.gather(*(self._tell(teller, stories) for teller, stories in self._tellers))

    async def _tell(self, teller: Teller, stories: Sequence[Story]) -> None:
        while not self.ending:
            try:
                await teller.random.choice(stories)(teller, self._world)
            except NotDone:
                await teller.pause()
