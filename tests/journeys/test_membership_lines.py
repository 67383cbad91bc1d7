"""What membership promises, a journey for each: quorums, nesting, open umbrellas, successors, stewards, answers."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio

from deploy.people import People, new_id
from shared import clock
from shared.broker import NotPermitted
from shared.contracts import membership
from shared.contracts.notifications import DeliveryView, ListDeliveries
from shared.contracts.platform import Happened, ShowHistory
from shared.refusal import Refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")

UMBRELLA = "Northern Wellbeing Network"
DEADLINE = timedelta(seconds=5)
MEMBERS: dict[str, tuple[membership.OrganisationType, membership.Region]] = {
    "leeds": ("council", "Yorkshire and The Humber"),
    "hull": ("nhs-body", "Yorkshire and The Humber"),
    "cardiff": ("council", "Wales"),
}


@dataclass
class Circle:
    """An open umbrella looked after by its secretariat, and its members, each with one representative of its name."""

    people: People
    umbrella: str
    homes: dict[str, str]
    networks: dict[str, str]

    async def body(self, key: str, type_: membership.OrganisationType) -> str:
        """A public body."""
        command = membership.RegisterOrganisation(key=key, name=key.replace("-", " ").title(), type=type_)
        return await self.people.make("operator", command)

    async def umbrella_of(self, name: str, rules: membership.GivenUmbrellaRules) -> str:
        """Another umbrella that the secretariat looks after."""
        home = self.homes["cabinet-office"]
        registered = membership.RegisterNetwork(name=name, reach="national", organisation=home, umbrella=rules)
        return await self.people.make("secretariat", registered)

    async def network(self, steward: str, name: str, home: str, parent: str | None = None) -> str:
        """A local network with its steward, who also represents it."""
        await self.people.enter(steward)
        registered = membership.RegisterNetwork(name=name, reach="local", organisation=home, parent=parent)
        network = await self.people.make(steward, registered)
        appointed = membership.AppointRepresentative(network=network, person=new_id(), principal=steward)
        await self.people.tell(steward, appointed)
        return network

    async def show(self, network: str, to: str = "secretariat") -> membership.NetworkView:
        """A network whole, as somebody sees it."""
        return await self.people.ask(to, membership.ShowNetwork(network=network))

    async def proposed(self, title: str, within: timedelta = timedelta(days=14)) -> str:
        """A proposal that the secretariat has opened."""
        drafted = membership.DraftProposal(umbrella=self.umbrella, title=title, text="We sign one charter.")
        proposal = await self.people.make("secretariat", drafted)
        opened = membership.OpenProposal(proposal=proposal, deadline=clock.now() + within)
        await self.people.tell("secretariat", opened)
        return proposal

    async def say(
        self, proposal: str, name: str, position: membership.Position = "consent", reason: str | None = None
    ) -> None:
        """A member says where it stands."""
        said = {"proposal": proposal, "network": self.networks[name], "position": position, "reason": reason}
        await self.people.tell(name, membership.TakePosition.model_validate(said))

    async def proposal(self, proposal: str) -> membership.ProposalView:
        """A proposal whole."""
        return await self.people.ask("leeds", membership.ShowProposal(proposal=proposal))

    async def decision(self, proposal: str) -> membership.Decision:
        """What was decided, once it is."""

        async def is_closed() -> bool:
            return (await self.proposal(proposal)).state == "closed"

        await self.people.until("the proposal is closed", is_closed)
        decision = (await self.proposal(proposal)).decision
        assert decision is not None
        return decision

    async def told(self, principal: str, event: str) -> DeliveryView:
        """What somebody is told of an event, once they are."""
        found: list[DeliveryView] = []

        async def has_come() -> bool:
            page = await self.people.ask(principal, ListDeliveries(limit=500))
            found[:] = [delivery for delivery in page.deliveries if delivery.event == event]
            return bool(found)

        await self.people.until(f"{principal} is told of {event}", has_come)
        return found[0]

    async def story(self, aggregate: str) -> tuple[Happened, ...]:
        """What happened to something, from the first event on."""
        return (await self.people.ask("operator", ShowHistory(aggregate=aggregate), "membership")).happened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def circle(people: People) -> Circle:
    await people.enter("secretariat")
    founded = Circle(people, "", {}, {})
    homes = founded.homes
    homes["cabinet-office"] = await founded.body("cabinet-office", "ministerial-department")
    umbrella = founded.umbrella = await founded.umbrella_of(UMBRELLA, membership.GivenUmbrellaRules(open=True))
    for name, (type_, region) in MEMBERS.items():
        body = membership.RegisterOrganisation(
            key=name,
            name=name.title(),
            type=type_,
            nation=membership.nation_of(region),
            region=region,
            place=name.title(),
            latitude=53.0,
            longitude=-2.0,
        )
        homes[name] = await people.make("operator", body)
        network = founded.networks[name] = await founded.network(name, f"{name} network", homes[name])
        await people.tell("operator", membership.ConfirmNetworkHome(network=network))
        await people.tell(name, membership.ApplyForMembership(umbrella=umbrella, network=network))
    return founded


def reasons(shown: membership.ProposalView) -> dict[str, str | None]:
    """What each network that spoke on a proposal gave as its reason."""
    return {voice.name: voice.stance.reason for voice in shown.voices if voice.stance}


async def test_a_quorum_that_is_missed_at_the_deadline_is_no_decision_and_says_so_with_every_reason(
    circle: Circle,
) -> None:
    proposal = await circle.proposed("Quiet rooms", DEADLINE)
    await circle.say(proposal, "leeds", "reservations", "It comes soon.")
    decision = await circle.decision(proposal)
    assert (decision.outcome, decision.asked, decision.spoke) == ("no-quorum", 3, 1)
    assert decision.sentence == "No decision: 1 of 3 networks spoke, and 2 had to."
    assert reasons(await circle.proposal(proposal)) == {"leeds network": "It comes soon."}
    *_, decided = await circle.story(proposal)
    assert [stance["reason"] for stance in decided.data["stances"]] == ["It comes soon."]


async def test_too_many_stand_asides_are_no_consensus_although_nobody_blocked_and_all_reasons_are_told(
    circle: Circle,
) -> None:
    proposal = await circle.proposed("Shared training")
    await circle.say(proposal, "leeds")
    await circle.say(proposal, "hull", "stand-aside", "We have no room.")
    refusal = await circle.people.try_in_vain("secretariat", membership.CloseProposal(proposal=proposal))
    assert refusal.code == "not-everyone-has-spoken"
    await circle.say(proposal, "cardiff", "stand-aside", "We have no money.")
    await circle.people.tell("secretariat", membership.CloseProposal(proposal=proposal))
    decision = await circle.decision(proposal)
    assert (decision.outcome, decision.counts) == ("no-consensus", {"consent": 1, "stand-aside": 2})
    assert decision.sentence == ("No consensus: 2 of the 3 networks that spoke stood aside; at most 1/3 of them may.")
    *_, decided = await circle.story(proposal)
    assert {stance["reason"] for stance in decided.data["stances"]} == {None, "We have no room.", "We have no money."}


async def test_networks_nest_local_under_regional_under_national_and_never_the_other_way_round(circle: Circle) -> None:
    people, home = circle.people, circle.homes["leeds"]

    def under(reach: membership.Reach, parent: str) -> membership.RegisterNetwork:
        return membership.RegisterNetwork(name=f"A {reach} network", reach=reach, organisation=home, parent=parent)

    regional = await people.make("leeds", under("regional", circle.umbrella))
    local = await people.make("leeds", under("local", regional))
    parents = [(await circle.show(network)).parent for network in (local, regional, circle.umbrella)]
    assert parents == [regional, circle.umbrella, None]
    upside_down: tuple[tuple[membership.Reach, str], ...] = (
        ("national", regional),
        ("regional", local),
        ("local", local),
    )
    for reach, parent in upside_down:
        refusal = await people.try_in_vain("leeds", under(reach, parent))
        assert refusal.code == "parent-reaches-no-further"
        assert "a local network stands under a regional or national one" in refusal.sentence


async def test_an_umbrella_takes_eligible_types_only_and_who_is_declined_is_told_and_may_apply_again_and_why_is_kept(
    circle: Circle,
) -> None:
    people, networks = circle.people, circle.networks
    councils = await circle.umbrella_of("Councils together", membership.GivenUmbrellaRules(eligible=("council",)))

    def apply(name: str) -> membership.ApplyForMembership:
        return membership.ApplyForMembership(umbrella=councils, network=networks[name])

    refusal = await people.try_in_vain("hull", apply("hull"))
    assert (refusal.code, refusal.data) == ("not-eligible", {"eligible": ["council"], "type": "nhs-body"})
    assert "Hull is of type nhs-body" in refusal.sentence
    await people.tell("leeds", apply("leeds"))
    declined = {"umbrella": councils, "network": networks["leeds"], "reason": "We take new members in spring."}
    await people.tell("secretariat", membership.DeclineMemberNetwork.model_validate(declined))
    notice = await circle.told("leeds", membership.MemberNetworkDeclined.wire.type)
    assert notice.sentence == (
        "The application of leeds network to Councils together was declined; it may apply again. "
        "show-network tells those who act for leeds network why."
    )
    [told] = (await circle.show(networks["leeds"], "leeds")).declined
    assert (told.umbrella, told.name, told.reason) == (councils, "Councils together", declined["reason"])
    assert (await circle.show(networks["leeds"], "hull")).declined == (), "it concerns nobody else"
    assert notice.about is not None
    *_, kept = await circle.story(notice.about)
    assert (kept.principal, kept.data["reason"]) == ("secretariat", "We take new members in spring.")
    assert (await circle.show(councils)).members == ()
    await people.tell("leeds", apply("leeds"))
    assert (await circle.show(networks["leeds"], "leeds")).declined == ()
    assert [(each.name, each.state) for each in (await circle.show(councils)).members] == [("leeds network", "applied")]


async def test_an_open_umbrella_admits_at_once_whom_an_operator_confirmed_and_the_others_by_hand(
    circle: Circle,
) -> None:
    people = circle.people
    umbrella = await circle.umbrella_of("Councillors and officers", membership.GivenUmbrellaRules(open=True))
    home = await circle.body("ripon-council", "council")
    known, unknown = [await circle.network("ripon", f"Ripon {which}", home) for which in ("officers", "councillors")]
    with pytest.raises(NotPermitted):
        await people.tell("ripon", membership.ConfirmNetworkHome(network=known))
    await people.tell("operator", membership.ConfirmNetworkHome(network=known))
    done = await people.tell("ripon", membership.ApplyForMembership(umbrella=umbrella, network=known))
    assert done.events == ("membership-applied-for", "member-network-admitted")
    done = await people.tell("ripon", membership.ApplyForMembership(umbrella=umbrella, network=unknown))
    assert done.events == ("membership-applied-for",)
    assert {each.name: each.state for each in (await circle.show(umbrella)).members} == {
        "Ripon officers": "admitted",
        "Ripon councillors": "applied",
    }
    admitted = membership.AdmitMemberNetwork(umbrella=umbrella, network=unknown)
    assert (await people.try_in_vain("ripon", admitted)).code == "not-of-the-steering-group"
    await people.tell("secretariat", admitted)
    assert [each.state for each in (await circle.show(unknown)).member_of] == ["admitted"]


async def test_an_organisation_is_split_and_another_closed_and_their_networks_go_on_and_can_be_traced(
    circle: Circle,
) -> None:
    people = circle.people
    umbrella = await circle.umbrella_of("Shires together", membership.GivenUmbrellaRules(open=True))
    county, north, south, quango, heir = [
        await circle.body(key, "council") for key in ("oldshire", "northshire", "southshire", "quango", "heir")
    ]
    upper, lower = [await circle.network("shire", f"{which} staff", county) for which in ("Upper", "Lower")]
    orphan = await circle.network("quango", "Quango staff", quango)
    await people.tell("operator", membership.ConfirmNetworkHome(network=upper))
    await people.tell("shire", membership.ApplyForMembership(umbrella=umbrella, network=upper))
    both = {"organisation": county, "into": (north, south)}
    refusal = await people.try_in_vain("operator", membership.SplitOrganisation.model_validate(both))
    assert (refusal.code, set(refusal.data["networks"])) == ("network-without-successor", {upper, lower})
    split = membership.SplitOrganisation.model_validate(both | {"networks": {upper: north, lower: south}})
    await people.tell("operator", split)
    assert [(await circle.show(network)).organisation for network in (upper, lower)] == [north, south]
    moved = await circle.show(upper)
    assert ([each.state for each in moved.member_of], moved.home_confirmed) == (["admitted"], False)
    await circle.told("shire", membership.NetworkCarriedOver.wire.type)
    story = await people.ask("leeds", membership.ShowOrganisation(organisation=county))
    assert {step.id for step in story.successors} == {north, south}
    assert story.organisation.closed_at is not None

    await people.tell("operator", membership.CloseOrganisation(organisation=quango))
    story = await people.ask("leeds", membership.ShowOrganisation(organisation=quango))
    assert (story.successors, story.networks) == ((), (orphan,))
    refusal = await people.try_in_vain(
        "quango", membership.RegisterNetwork(name="Too late", reach="local", organisation=quango)
    )
    assert refusal.code == "organisation-closed"
    await people.tell("operator", membership.CloseOrganisation(organisation=quango, successors=(heir,)))
    assert (await circle.show(orphan)).organisation == heir
    story = await people.ask("leeds", membership.ShowOrganisation(organisation=heir))
    assert ([step.name for step in story.predecessors], story.networks) == (["Quango"], (orphan,))


async def test_a_steward_hands_over_the_next_gives_up_an_operator_appoints_who_follows_and_the_story_tells_it(
    circle: Circle,
) -> None:
    people = circle.people
    network = await circle.network("first", "Night shift network", circle.homes["leeds"])
    for who in ("second", "third"):
        await people.enter(who)

    async def in_vain(who: str) -> Refusal:
        return await people.try_in_vain(who, membership.GiveUpStewardship(network=network))

    await people.tell("first", membership.HandOverStewardship(network=network, principal="second"))
    assert (await circle.show(network)).steward == "second"
    assert (await in_vain("first")).code == "not-the-steward"
    await circle.told("second", membership.StewardshipHandedOver.wire.type)
    await people.tell("second", membership.GiveUpStewardship(network=network))
    assert (await in_vain("second")).code == "not-the-steward"
    alone = await people.ask("operator", membership.ListNetworks(without_steward=True))
    assert [each.name for each in alone.networks] == ["Night shift network"]
    await people.tell("operator", membership.AppointSteward(network=network, principal="third"))
    shown = await circle.show(network)
    assert (shown.steward, shown.without_steward) == ("third", False)
    assert [(each.event, each.principal) for each in await circle.story(network)] == [
        ("network-registered", "first"),
        ("representative-appointed", "first"),
        ("stewardship-handed-over", "first"),
        ("stewardship-ended", "second"),
        ("stewardship-handed-over", "operator"),
    ]


async def test_a_secretariat_asks_who_we_are_what_is_open_who_has_not_answered_and_what_was_decided_and_why(
    circle: Circle,
) -> None:
    people, umbrella = circle.people, circle.umbrella

    async def names(**filters: object) -> set[str]:
        asked = membership.ListNetworks.model_validate({"member_of": umbrella, **filters})
        return {each.name for each in (await people.ask("secretariat", asked)).networks}

    async def titles(**filters: object) -> list[str]:
        asked = membership.ListProposals.model_validate({"umbrella": umbrella, **filters})
        return [each.title for each in (await people.ask("secretariat", asked)).proposals]

    assert await names() == {"leeds network", "hull network", "cardiff network"}
    assert await names(nation="Wales") == {"cardiff network"}
    assert await names(region="Yorkshire and The Humber") == {"leeds network", "hull network"}
    assert await names(region="Yorkshire and The Humber", organisation_type="council") == {"leeds network"}

    proposal = await circle.proposed("A charter")
    await circle.say(proposal, "leeds")
    await circle.say(proposal, "hull", "reservations", "Please start small.")
    assert "A charter" in await titles(state="open")
    awaited = {name for name, network in circle.networks.items() if "A charter" in await titles(awaits=network)}
    assert awaited == {"cardiff"}
    assert [voice.name for voice in (await circle.proposal(proposal)).voices if voice.stance is None] == [
        "cardiff network"
    ]
    await circle.say(proposal, "cardiff")
    await people.tell("secretariat", membership.CloseProposal(proposal=proposal))
    assert "A charter" not in await titles(state="open") + await titles(awaits=circle.networks["cardiff"])
    assert "A charter" in await titles(state="closed")
    shown = await circle.proposal(proposal)
    assert shown.decision is not None
    assert shown.decision.sentence == (
        "Agreed: 3 of 3 networks spoke, none blocked it, 1 had reservations and 0 stood aside."
    )
    assert reasons(shown)["hull network"] == "Please start small."


async def test_the_story_of_a_proposal_tells_who_did_what_caused_by_what_and_that_the_deadline_decided(
    circle: Circle,
) -> None:
    people = circle.people
    proposal = await circle.proposed("Bank holidays", DEADLINE)
    sent = new_id()
    said = membership.TakePosition(proposal=proposal, network=circle.networks["hull"], position="consent")
    await people.send("hull", said, id=sent)
    await circle.decision(proposal)
    story = await circle.story(proposal)
    assert [(each.event, each.principal) for each in story] == [
        ("proposal-drafted", "secretariat"),
        ("proposal-opened", "secretariat"),
        ("position-taken", "hull"),
        ("proposal-decided", "membership"),
    ]
    assert story[2].caused_by == sent
    assert len({each.caused_by for each in story}) == len(story)
    with pytest.raises(NotPermitted):
        await people.ask("hull", ShowHistory(aggregate=proposal), "membership")


@pytest.mark.parametrize("kind", ["report", "manifesto"])
async def test_a_report_or_manifesto_is_consulted_on_issued_and_signed_without_a_vote_and_its_story_is_kept(
    circle: Circle, kind: membership.StatementKind
) -> None:
    people = circle.people
    drafted = membership.DraftStatement(
        umbrella=circle.umbrella, kind=kind, title=f"Our {kind}", text="People who are well work well."
    )
    statement = await people.make("hull", drafted)
    issue = membership.IssueStatement(statement=statement, version=1)
    assert (await people.try_in_vain("secretariat", issue)).code == "not-consulted-on"
    until = clock.now() + timedelta(days=10)
    await people.tell("hull", membership.ConsultOnStatement(statement=statement, until=until))
    for name, network in circle.networks.items():
        said = membership.CommentOnStatement(statement=statement, network=network, text="We would sign this.")
        await people.tell(name, said)
    await people.tell("secretariat", issue)
    signing = membership.SignStatement(statement=statement, network=circle.networks["leeds"])
    sent = new_id()
    await people.send("leeds", signing, id=sent)
    signed = membership.ListStatements(kind=kind, state="issued", signed_by=circle.homes["leeds"])
    assert [each.id for each in (await people.ask("cardiff", signed)).statements] == [statement]
    story = await circle.story(statement)
    assert [(each.event, each.principal) for each in story] == [
        ("statement-drafted", "hull"),
        ("statement-consulted-on", "hull"),
        *(("statement-commented", name) for name in MEMBERS),
        ("statement-issued", "secretariat"),
        ("statement-signed", "leeds"),
    ]
    assert story[-1].caused_by == sent


async def test_an_nhs_body_and_a_policy_group_are_partners_linked_with_a_work_stream(circle: Circle) -> None:
    people, umbrella = circle.people, circle.umbrella
    stream = await people.make("secretariat", membership.OpenWorkStream(network=umbrella, name="Stress"))
    trust = await circle.body("a-trust", "nhs-body")
    for name, type_, organisation in (("A Trust", "nhs-body", trust), ("A policy group", "policy-group", None)):
        given = {"umbrella": umbrella, "name": name, "type": type_, "organisation": organisation}
        partner = await people.make("secretariat", membership.RegisterPartner.model_validate(given))
        await people.tell("secretariat", membership.LinkPartner(partner=partner, work_stream=stream))
    listed = (await people.ask("leeds", membership.ListPartners(work_stream=stream))).partners
    assert [(each.name, each.type, each.organisation) for each in listed] == [
        ("A Trust", "nhs-body", trust),
        ("A policy group", "policy-group", None),
    ]
    await people.tell("secretariat", membership.UnlinkPartner(partner=listed[1].id, work_stream=stream))
    assert (await people.ask("leeds", membership.ListPartners(work_stream=stream))).total == 1
    assert (await people.ask("leeds", membership.ListPartners(type="policy-group"))).total == 1
