"""Decisions by consensus on the whole platform, line by line: draft, discuss, open, amend, close, withdraw."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio

from deploy.people import People, new_id
from shared import clock
from shared.contracts import membership
from shared.contracts.notifications import DeliveryView, ListDeliveries, Subscribe

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMBERS = ("leeds", "york", "hull")
WORDS = "Our night shifts could not take part."


@dataclass
class Assembly:
    """An umbrella network, its members, and who speaks for them under their name."""

    people: People
    umbrella: str
    home: str
    networks: dict[str, str]

    async def join(self, name: str) -> None:
        await self.people.enter(name)
        self.networks[name] = await self.people.make(
            name, membership.RegisterNetwork(name=f"{name} network", reach="local", organisation=self.home)
        )
        await self.speak_for(name, name)
        await self.people.tell("operator", membership.ConfirmNetworkHome(network=self.networks[name]))
        await self.people.tell(name, membership.ApplyForMembership(umbrella=self.umbrella, network=self.networks[name]))

    async def speak_for(self, name: str, principal: str) -> None:
        await self.people.enter(principal)
        appointed = membership.AppointRepresentative(network=self.networks[name], person=new_id(), principal=principal)
        await self.people.tell(name, appointed)

    async def draft(self, title: str = "A charter") -> str:
        return await self.people.make(
            "leeds", membership.DraftProposal(umbrella=self.umbrella, title=title, text="We sign one charter.")
        )

    async def open(self, proposal: str, within: timedelta = timedelta(days=14)) -> None:
        await self.people.tell("leeds", membership.OpenProposal(proposal=proposal, deadline=clock.now() + within))

    def position(
        self, proposal: str, name: str, position: membership.Position, reason: str | None = None
    ) -> membership.TakePosition:
        return membership.TakePosition(proposal=proposal, network=self.networks[name], position=position, reason=reason)

    async def say(self, proposal: str, name: str, text: str) -> str:
        said = membership.ContributeToProposal(proposal=proposal, network=self.networks[name], text=text)
        return await self.people.make(name, said)

    async def show(self, proposal: str) -> membership.ProposalView:
        return await self.people.ask("leeds", membership.ShowProposal(proposal=proposal))

    async def decided(self, proposal: str) -> membership.Decision:
        async def is_closed() -> bool:
            return (await self.show(proposal)).state == "closed"

        await self.people.until("the deadline has decided", is_closed)
        decision = (await self.show(proposal)).decision
        assert decision is not None
        return decision

    async def told(self, principal: str, event: str) -> list[DeliveryView]:
        page = await self.people.ask(principal, ListDeliveries(limit=500))
        return [delivery for delivery in page.deliveries if delivery.event == event]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def assembly(people: People) -> Assembly:
    await people.enter("secretariat")
    home = await people.make(
        "operator", membership.RegisterOrganisation(key="councils", name="Councils", type="council")
    )
    umbrella = await people.make(
        "secretariat",
        membership.RegisterNetwork(
            name="Northern Wellbeing Network",
            reach="national",
            organisation=home,
            umbrella=membership.GivenUmbrellaRules(open=True),
        ),
    )
    gathered = Assembly(people, umbrella, home, {})
    for name in MEMBERS:
        await gathered.join(name)
    return gathered


async def test_a_proposal_is_drafted_discussed_opened_amended_and_closed(assembly: Assembly) -> None:
    people = assembly.people
    await people.enter("listener")
    await people.tell("listener", Subscribe(topic="decisions", network=assembly.umbrella))
    proposal = await assembly.draft()
    await assembly.say(proposal, "hull", WORDS)
    slip = await assembly.say(proposal, "york", "Ask Jo, who is off with stress.")
    await people.tell("york", membership.WithdrawContribution(proposal=proposal, contribution=slip))
    await assembly.open(proposal)
    await people.tell("hull", assembly.position(proposal, "hull", "block", "The night shifts are left out."))
    for name in ("leeds", "york"):
        await people.tell(name, assembly.position(proposal, name, "consent"))
    refusal = await people.try_in_vain("leeds", membership.CloseProposal(proposal=proposal))
    assert refusal.code == "block-stands"
    await people.tell("leeds", membership.AmendProposal(proposal=proposal, text="One charter, night shifts included."))
    await assembly.say(proposal, "hull", "Thank you.")
    for name in MEMBERS:
        await people.tell(name, assembly.position(proposal, name, "consent"))
    await people.tell("leeds", membership.CloseProposal(proposal=proposal))
    shown = await assembly.show(proposal)
    assert shown.decision is not None
    assert (shown.decision.outcome, shown.version, shown.decision.spoke) == ("agreed", 2, 3)

    page = await people.ask("york", membership.ListContributions(proposal=proposal))
    assert [(each.name, each.version, each.text) for each in page.contributions] == [
        ("hull network", 1, WORDS),
        ("york network", 1, None),
        ("hull network", 2, "Thank you."),
    ]
    refusal = await people.try_in_vain("listener", membership.ListContributions(proposal=proposal))
    assert refusal.code == "not-a-member"

    async def has_heard() -> bool:
        return bool(await assembly.told("listener", membership.ProposalDecided.wire.type))

    await people.until("the listener has heard of the decision", has_heard)
    notices = await assembly.told("listener", membership.ContributionMade.wire.type)
    assert {notice.sentence for notice in notices} == {
        "There are new contributions to the discussion of a proposal in Northern Wellbeing Network."
    }
    assert await assembly.told("hull", membership.ContributionMade.wire.type) == []


async def test_two_representatives_of_one_network_who_answer_at_the_same_moment_are_one_voice(
    assembly: Assembly,
) -> None:
    people = assembly.people
    await assembly.speak_for("hull", "hulda")
    proposal = await assembly.draft()
    await assembly.open(proposal)
    await asyncio.gather(
        people.tell("hull", assembly.position(proposal, "hull", "consent")),
        people.tell("hulda", assembly.position(proposal, "hull", "stand-aside", "We have no room.")),
    )
    voices = {voice.network: voice for voice in (await assembly.show(proposal)).voices}
    assert len(voices) == len(MEMBERS)
    voice = voices[assembly.networks["hull"]]
    assert voice.stance is not None
    assert voice.earlier == 1
    history = await people.ask("york", membership.ShowVoice(proposal=proposal, network=assembly.networks["hull"]))
    assert {stance.position for stance in history.stances} == {"consent", "stand-aside"}
    await people.tell("leeds", membership.WithdrawProposal(proposal=proposal, reason="It has been overtaken."))
    refusal = await people.try_in_vain("hull", assembly.position(proposal, "hull", "consent"))
    assert refusal.code == "proposal-not-open"


async def test_a_deadline_decides_by_itself_and_whoever_comes_late_is_told_when_it_closed(assembly: Assembly) -> None:
    people = assembly.people
    proposal = await assembly.draft()
    await assembly.open(proposal, timedelta(seconds=5))
    await people.tell("leeds", assembly.position(proposal, "leeds", "consent"))
    await people.tell("york", assembly.position(proposal, "york", "reservations", "It comes soon."))
    decision = await assembly.decided(proposal)
    assert (decision.outcome, decision.asked, decision.spoke) == ("agreed", 3, 2)
    refusal = await people.try_in_vain("hull", assembly.position(proposal, "hull", "block", "We were too late."))
    assert (refusal.code, refusal.data["closed_at"]) == ("proposal-not-open", decision.closed_at.isoformat())
    for command in (
        membership.AmendProposal(proposal=proposal, text="Another text."),
        membership.CloseProposal(proposal=proposal),
        membership.WithdrawProposal(proposal=proposal, reason="We do not like it."),
        membership.OpenProposal(proposal=proposal, deadline=clock.now() + timedelta(days=1)),
    ):
        await people.try_in_vain("leeds", command)
    assert (await assembly.show(proposal)).decision == decision


async def test_the_electorate_stays_who_was_a_member_at_the_opening(assembly: Assembly) -> None:
    people = assembly.people
    proposal = await assembly.draft()
    await assembly.open(proposal, timedelta(seconds=8))
    await people.tell("hull", assembly.position(proposal, "hull", "block", "It leaves us worse off."))
    await people.tell(
        "hull", membership.WithdrawMemberNetwork(umbrella=assembly.umbrella, network=assembly.networks["hull"])
    )
    await assembly.join("ripon")
    refusal = await people.try_in_vain("ripon", assembly.position(proposal, "ripon", "consent"))
    assert refusal.code == "not-in-the-electorate"
    for name in ("leeds", "york"):
        await people.tell(name, assembly.position(proposal, name, "consent"))
    decision = await assembly.decided(proposal)
    assert (decision.outcome, decision.asked, decision.counts) == ("blocked", 3, {"block": 1, "consent": 2})
