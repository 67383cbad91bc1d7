"""The load of a platform: everybody telling stories beside one another."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from random import Random

from shared.contracts import membership
from shared.contracts.membership import OrganisationRow
from tests.faults.schedule import PLATFORM, Round
from tests.faults.stories import CONFIDENTIAL, STORIES, Story, World
from tests.faults.teller import Course, NotDone, Platform, Teller


class Load(Course):
    """Everybody telling stories, each to its end, until ``ending`` is set."""

    def __init__(self, round_: Round, platform: Platform) -> None:
        super().__init__(platform)
        self.confidential = True
        """Whether confidential stories are told: of what came of one nobody can say when it did."""
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
            story = teller.random.choice(stories)
            if story in CONFIDENTIAL and not self.confidential:
                await teller.pause()
                continue
            try:
                await story(teller, self._world)
            except NotDone:
                await teller.pause()
