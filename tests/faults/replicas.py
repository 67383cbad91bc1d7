"""Several processes of one service on one store: killed one after the other while everybody wants the same thing."""

import asyncio
import dataclasses
import json
import math
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, get_args

from services.membership.domain.steering_group import HUNDREDTHS, MAX_FTE
from shared import clock
from shared.contracts import membership
from shared.contracts.membership import GivenUmbrellaRules, Position
from shared.contracts.message import Command
from shared.contracts.platform import Reply
from shared.streams import event_stream
from shared.testing.fault_points import POINTS
from shared.testing.stores import Backend
from tests.faults import checker
from tests.faults.checker import Facts
from tests.faults.disturbance import Disturbance
from tests.faults.rounds import Said
from tests.faults.schedule import FEWER_PASSES, MOST_PASSES, OF_TASKS, who_meets
from tests.faults.stories import OFFICES, register_network
from tests.faults.teller import MEMBERS, Teller
from tests.faults.under_load import UnderLoad, under_load

SERVICE = "membership"
REPLICAS = ("", "-second", "-third")
POINTS_MET = [point for point in POINTS if SERVICE in who_meets(point) and point not in OF_TASKS]
AT_WORK = 2.0
"""Seconds for which a replica that does not come to its point is left at work: only one of them has the relay."""
LOOK_EVERY = 0.05
ROUNDS_AT_LEAST, BETWEEN_ROUNDS = 2, 1.0

WORK_STREAMS = 9
FTE = 0.9
"""Of each who leads one: six of them may, and a seventh may not."""
IN_FULL = 540
"""Hundredths of an FTE that six of them have."""


async def replicas_killed(kills: int, directory: Path, store: Backend, seed: int, said: Said) -> list[str]:
    """Three processes of membership die at fault points, while more seats are asked for than there are."""
    async with under_load(directory, store, seed) as platform:
        for replica in REPLICAS[1:]:
            platform.stack.start(SERVICE, replica=replica)
        crowd = Crowd(platform)
        crowding = asyncio.create_task(crowd.run())
        await crowd.founded.wait()
        reached = sum([await _kill(platform, platform.random.choice(REPLICAS)) for _ in range(kills)])
        crowd.ending = True
        await crowding
        counted = await platform.end(but=(checker.sequences_have_no_gap, checker.streams_keep_the_order))
        assert platform.facts is not None
        facts = platform.facts
        # Replicas give positions in the outbox beside one another: only its numbers say in which order it was decided.
        facts = dataclasses.replace(facts, sent=sorted(facts.sent, key=lambda sent: (sent.aggregate, sent.sequence)))
        for check in (
            checker.sequences_have_no_gap,
            checker.streams_keep_the_order,
            never_more_than_six_fte,
            one_position_for_each_network,
        ):
            platform.found += checker.problems(check, facts)
        platform.found += crowd.problems(facts)
        said(f"{kills} kills, {reached} of them at a fault point; {crowd.refused} seats refused; {counted}")
        return platform.found


async def _kill(platform: UnderLoad, replica: str) -> bool:
    """Kills one replica and starts it again, to die at a point drawn by chance; whether it came to that."""
    point = platform.random.choice(POINTS_MET)
    nth = platform.random.randint(1, FEWER_PASSES.get(point, MOST_PASSES))
    await platform.stack.kill(SERVICE + replica)
    program = platform.stack.start(SERVICE, f"{point}:{nth}", replica=replica)
    before = len(program.log.read_text())
    until = math.inf
    while (code := program.process.poll()) is None and time.monotonic() < until:
        if until == math.inf and '"message": "ready"' in program.log.read_text()[before:]:
            until = time.monotonic() + AT_WORK
        await asyncio.sleep(LOOK_EVERY)
    if code not in (None, -signal.SIGKILL):
        platform.found.append(f"{SERVICE}{replica} ended with {code}: {program.last_words}")
    await platform.stack.kill(SERVICE + replica)
    platform.stack.start(SERVICE, replica=replica)
    return code is not None


class Crowd:
    """People who all want the same seats, and to speak for the same networks, at the same moment."""

    def __init__(self, platform: UnderLoad) -> None:
        self.ending = False
        self.founded = asyncio.Event()
        self.refused = 0
        self._random = Random(platform.random.random())  # noqa: S311  it draws a test
        self._platform = platform
        self._teller = Teller(platform.load, self._random)

    async def run(self) -> None:
        """Fills a steering group and empties it, and decides a proposal, until ``ending``."""
        teller = self._teller
        listed = membership.RegisterOrganisation(key=teller.word(), name=teller.word(), type="charity")
        organisation = str((await teller.do("operator", listed)).id)
        founded = membership.RegisterNetwork(
            name=teller.word(), reach="national", organisation=organisation, umbrella=GivenUmbrellaRules(open=True)
        )
        umbrella = str((await teller.do("operator", founded)).id)
        networks = []
        for number in range(2):  # with two representatives each
            pair = MEMBERS[2 * number : 2 * number + 2]
            network = await register_network(teller, pair[0], organisation, OFFICES[number])
            for principal in pair:
                named = membership.AppointRepresentative(network=network, person=teller.id(), principal=principal)
                await teller.do(pair[0], named)
            await teller.do("operator", membership.ConfirmNetworkHome(network=network))
            await teller.do(pair[0], membership.ApplyForMembership(umbrella=umbrella, network=network))
            networks.append((network, pair))
        self.founded.set()
        rounds = 0
        while not self.ending or rounds < ROUNDS_AT_LEAST:
            await self._seats_are_wanted(umbrella)
            await self._everybody_speaks(umbrella, networks)
            rounds += 1
            await asyncio.sleep(BETWEEN_ROUNDS)

    async def _seats_are_wanted(self, umbrella: str) -> None:
        opened = [membership.OpenWorkStream(network=umbrella, name=self._teller.word()) for _ in range(WORK_STREAMS)]
        done = await self._at_once([("operator", command) for command in opened], must_be_done=True)
        streams = [str(reply.done.id) for reply in done if reply.done]
        wanted = [
            membership.AppointSteeringMember(
                network=umbrella, person=self._teller.id(), principal=self._teller.word(), role="work-stream-lead",
                work_stream=stream, fte=FTE,
            )
            for stream in streams
        ]  # fmt: skip
        replies = await self._at_once([("operator", command) for command in wanted])
        self.refused += sum(reply.refusal is not None and reply.refusal.code == "six-fte-exceeded" for reply in replies)
        closed = [membership.CloseWorkStream(network=umbrella, work_stream=stream) for stream in streams]
        await self._at_once([("operator", command) for command in closed], must_be_done=True)

    async def _everybody_speaks(self, umbrella: str, networks: Sequence[tuple[str, Sequence[str]]]) -> None:
        drafted = membership.DraftProposal(umbrella=umbrella, title=self._teller.word(), text="A walk at noon.")
        proposal = str((await self._teller.do("operator", drafted)).id)
        deadline = clock.now() + timedelta(days=30)
        await self._teller.do("operator", membership.OpenProposal(proposal=proposal, deadline=deadline))
        said: list[tuple[str, Command]] = [
            (principal, membership.TakePosition(proposal=proposal, network=network, position=position, reason="So."))
            for network, pair in networks
            for principal in pair
            for position in self._random.sample(get_args(Position), 2)
        ]
        said.insert(self._random.randrange(len(said)), ("operator", membership.CloseProposal(proposal=proposal)))
        await self._at_once(said)

    async def _at_once(self, asked: Sequence[tuple[str, Command]], *, must_be_done: bool = False) -> list[Reply]:
        ids = [self._teller.id() for _ in asked]
        answers = await asyncio.gather(
            *(
                self._platform.platform.ask(principal, command, id_, must_be_done=must_be_done)
                for id_, (principal, command) in zip(ids, asked, strict=True)
            )
        )
        return [answer.replies[0] for answer in answers]

    def problems(self, facts: Facts) -> Iterator[str]:
        """Whether there was a crowd at all."""
        if not self.refused:
            yield "no seat was refused, so nothing was shown"
        if max((most for _, most in _fullest(facts)), default=0) < IN_FULL:
            yield "no steering group was ever full, so nothing was shown"


def never_more_than_six_fte(facts: Facts) -> Iterator[str]:
    """Whoever follows the events of a steering group sees it with more than six FTE at no moment."""
    for group, most in _fullest(facts):
        if most > MAX_FTE * HUNDREDTHS:
            yield f"the steering group {group} had {most} hundredths of an FTE, and may have {MAX_FTE * HUNDREDTHS}"


def _fullest(facts: Facts) -> Iterator[tuple[str, int]]:
    """Of each steering group the most hundredths it ever had, as its events in the stream say."""
    seats: defaultdict[str, dict[Any, int]] = defaultdict(dict)
    most: defaultdict[str, int] = defaultdict(int)
    for type_, data in _events(facts):
        if type_ not in (membership.SteeringMemberAppointed.wire.type, membership.SteeringMemberStoodDown.wire.type):
            continue
        group, seat = data["group"], (data["role"], data["person"], data["work_stream"])
        if type_ == membership.SteeringMemberAppointed.wire.type:
            seats[group][seat] = round(data["fte"] * HUNDREDTHS)
        else:
            seats[group].pop(seat, None)
        most[group] = max(most[group], sum(seats[group].values()))
    yield from most.items()


def one_position_for_each_network(facts: Facts) -> Iterator[str]:
    """A decision holds one position of each network that spoke: the last that was taken on the wording decided on."""
    latest: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    decided: set[str] = set()
    for type_, data in _events(facts):
        proposal = data.get("proposal")
        if type_ == membership.PositionTaken.wire.type:
            latest[proposal][data["stance"]["network"]] = data["stance"]
            if proposal in decided:
                yield f"a position was taken on {proposal} after it was decided"
        elif type_ == membership.ProposalAmended.wire.type:
            latest[proposal].clear()
        elif type_ == membership.ProposalDecided.wire.type:
            decided.add(proposal)
            stances = [(stance["network"], stance) for stance in data["stances"]]
            if sorted(stances, key=str) != sorted(latest[proposal].items(), key=str):
                yield f"{proposal} was decided by {stances}, and the last positions taken were {latest[proposal]}"


def _events(facts: Facts) -> Iterator[tuple[str, Any]]:
    """Type and data of each event of membership in the order of its stream, each once."""
    seen = set()
    for stored in facts.streams[event_stream(SERVICE)]:
        if stored.id not in seen:
            seen.add(stored.id)
            event = json.loads(stored.payload)
            yield event["type"], event["data"]


DISTURBANCES: tuple[Disturbance, ...] = (
    Disturbance(
        "replicas-killed",
        "Three replicas of membership die 150 times: never more than six FTE, one position for each network, in order",
        partial(replicas_killed, 150),
        stores=("postgresql",),
    ),
)
