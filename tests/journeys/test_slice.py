"""One cross-government network from its founding to its notices, through all four services, as its members meet it."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from deploy import organisation_file, people_survey_file
from deploy.people import People, new_id
from shared import clock
from shared.contracts import benchmark, events, membership
from shared.contracts.membership import GivenUmbrellaRules
from shared.contracts.notifications import DeliveryView, ListAllDeliveries, ListDeliveries, Unsubscribe
from shared.refusal import Refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEMONSTRATION = Path(__file__).parents[2] / "deploy" / "demo"
MEMBERS = (
    "met-office",
    "companies-house",
    "ofsted",
    "the-scottish-government",
    "northern-ireland-executive",
    "hm-treasury",
)
HOSTS = ("ofsted", "hm-treasury", "insolvency-service", "the-scottish-government", "companies-house")


@dataclass
class Network:
    """What the tests know of the network they founded."""

    people: People
    umbrella: str
    organisations: dict[str, membership.OrganisationView]
    members: dict[str, str] = field(default_factory=dict)

    async def join(self, key: str) -> str:
        """A body's staff network is registered, speaks with one voice, applies and is admitted."""
        await self.people.enter(key)
        network = await self.people.make(
            key,
            membership.RegisterNetwork(
                name=f"{self.organisations[key].name} staff network",
                reach="local",
                organisation=self.organisations[key].id,
            ),
        )
        await self.people.tell(key, membership.AppointRepresentative(network=network, person=new_id(), principal=key))
        await self.people.tell(key, membership.ApplyForMembership(umbrella=self.umbrella, network=network))
        await self.people.tell("secretariat", membership.AdmitMemberNetwork(umbrella=self.umbrella, network=network))
        self.members[key] = network
        return network

    async def propose(self, title: str) -> str:
        """Something is put to all who are members now, by the first of them."""
        author = MEMBERS[0]
        proposal = await self.people.make(
            author, membership.DraftProposal(umbrella=self.umbrella, title=title, text="As the title says.")
        )
        deadline = clock.now() + timedelta(days=14)
        await self.people.tell(author, membership.OpenProposal(proposal=proposal, deadline=deadline))
        return proposal

    async def say(
        self, proposal: str, key: str, position: membership.Position, reason: str | None = None, by: str | None = None
    ) -> None:
        """A representative of a member network says where it stands."""
        taken = membership.TakePosition(proposal=proposal, network=self.members[key], position=position, reason=reason)
        await self.people.tell(by or key, taken)

    async def close(self, proposal: str) -> membership.Decision:
        """The author closes it."""
        await self.people.tell(MEMBERS[0], membership.CloseProposal(proposal=proposal))
        view = await self.people.ask("secretariat", membership.ShowProposal(proposal=proposal))
        assert view.decision is not None
        return view.decision

    async def told(self, principal: str, event: str) -> DeliveryView:
        """What somebody was told of an event, once it has come."""
        found: list[DeliveryView] = []

        async def has_come() -> bool:
            page = await self.people.ask(principal, ListDeliveries(limit=500))
            found[:] = [delivery for delivery in page.deliveries if delivery.event == event]
            return bool(found)

        await self.people.until(f"{principal} is told of {event}", has_come)
        return found[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(people: People) -> Network:
    """Founded by its secretariat from a register file of real bodies, with six member networks."""
    register = organisation_file.read((DEMONSTRATION / "organisations.csv").read_bytes(), "demonstration")
    assert not isinstance(register, Refusal)
    await people.tell("operator", register)
    page = await people.ask("operator", membership.ListOrganisations(limit=500))
    organisations = {organisation.key: organisation for organisation in page.organisations}
    await people.enter("secretariat")
    umbrella = await people.make(
        "secretariat",
        membership.RegisterNetwork(
            name="Cross-Government Wellbeing Network",
            reach="national",
            organisation=organisations["cabinet-office"].id,
            umbrella=GivenUmbrellaRules(),
        ),
    )
    founded = Network(people, umbrella, organisations)
    for key in MEMBERS:
        await founded.join(key)
    return founded


async def test_a_member_network_has_one_voice_however_many_speak_for_it(network: Network) -> None:
    people = network.people
    await people.enter("another-of-ofsted")
    second = membership.AppointRepresentative(
        network=network.members["ofsted"], person=new_id(), principal="another-of-ofsted"
    )
    await people.tell("ofsted", second)
    proposal = await network.propose("A quiet room in every building")
    for key in MEMBERS:
        await network.say(proposal, key, "consent")
    await network.say(proposal, "ofsted", "reservations", "Ours has no building.", by="another-of-ofsted")

    decision = await network.close(proposal)
    assert decision.outcome == "agreed"
    view = await people.ask("secretariat", membership.ShowProposal(proposal=proposal))
    assert len(view.voices) == len(MEMBERS)
    stances = {voice.network: (voice.stance, voice.earlier) for voice in view.voices}
    stance, earlier = stances[network.members["ofsted"]]
    assert stance is not None
    assert (stance.position, stance.reason, earlier) == ("reservations", "Ours has no building.", 1)


async def test_a_steering_group_is_seated_to_six_posts_and_no_further(network: Network) -> None:
    people, umbrella = network.people, network.umbrella

    def seat(
        key: str, role: membership.SteeringRole, fte: float, stream: str | None = None
    ) -> membership.AppointSteeringMember:
        return membership.AppointSteeringMember(
            network=umbrella, person=new_id(), principal=key, role=role, work_stream=stream, fte=fte
        )

    for key in ("met-office", "ofsted"):
        await people.tell("secretariat", seat(key, "lead", 0.5))
    refusal = await people.try_in_vain("secretariat", seat("hm-treasury", "lead", 0.1))
    assert refusal.code == "two-co-leads-at-most"

    names = [f"Work stream {number}" for number in range(1, 7)]
    for name in names:
        await people.tell("secretariat", membership.OpenWorkStream(network=umbrella, name=name))
    group = (await people.ask("secretariat", membership.ShowNetwork(network=umbrella))).steering_group
    assert group is not None
    streams = {seat.name: seat.work_stream for seat in group.seats if seat.work_stream}
    holders = [key for key in network.organisations if key not in MEMBERS]
    for name, key in zip(names[:5], holders, strict=False):
        await people.tell("secretariat", seat(key, "work-stream-lead", 1.0, streams[name]))
    refusal = await people.try_in_vain("secretariat", seat("hm-treasury", "work-stream-lead", 0.01, streams[names[5]]))
    assert "6" in refusal.sentence

    group = (await people.ask("secretariat", membership.ShowNetwork(network=umbrella))).steering_group
    assert group is not None
    assert (group.total_fte, group.free_fte) == (6.0, 0.0)
    assert [seat.name for seat in group.seats if seat.person is None] == [names[5]]
    notice = await network.told("met-office", membership.SteeringMemberAppointed.wire.type)
    assert notice.why


async def test_a_proposal_is_agreed_although_one_stands_aside_and_says_so_with_the_reason(network: Network) -> None:
    proposal = await network.propose("A first aider on every site")
    for key in MEMBERS[1:]:
        await network.say(proposal, key, "consent")
    reason = "Our ships have a scheme of their own."
    await network.say(proposal, MEMBERS[0], "stand-aside", reason)
    decision = await network.close(proposal)
    assert decision.outcome == "agreed"
    view = await network.people.ask("secretariat", membership.ShowProposal(proposal=proposal))
    assert reason in [voice.stance.reason for voice in view.voices if voice.stance]

    for key in MEMBERS:
        notice = await network.told(key, membership.ProposalDecided.wire.type)
        assert notice.topic == "decisions"
        assert reason not in notice.sentence  # thin: who wants to know more asks membership
        name = network.organisations[key].name
        nearest = "You wrote this proposal." if key == MEMBERS[0] else f"You represent {name} staff network."
        assert notice.why[0] == nearest


async def test_a_block_stops_a_proposal_until_it_is_amended_and_everybody_is_asked_again(network: Network) -> None:
    people = network.people
    proposal = await network.propose("Publish every body's scores by name")
    newcomer = await network.join("land-registry")
    for key in MEMBERS[1:]:
        await network.say(proposal, key, "consent")
    await network.say(proposal, MEMBERS[0], "block", "People could be picked out by their answers.")
    refusal = await people.try_in_vain(MEMBERS[0], membership.CloseProposal(proposal=proposal))
    assert refusal.code == "block-stands"
    late = membership.TakePosition(proposal=proposal, network=newcomer, position="consent")
    refusal = await people.try_in_vain("land-registry", late)
    assert refusal.code == "not-in-the-electorate"  # it was frozen when the proposal was opened

    await people.tell(MEMBERS[0], membership.AmendProposal(proposal=proposal, text="Medians only, and no names."))
    refusal = await people.try_in_vain(MEMBERS[0], membership.CloseProposal(proposal=proposal))
    assert refusal.code == "not-everyone-has-spoken"
    for key in MEMBERS:
        await network.say(proposal, key, "consent")
    decision = await network.close(proposal)
    assert decision.outcome == "agreed"
    await network.told(MEMBERS[1], membership.ProposalAmended.wire.type)


async def test_two_meetings_are_planned_fairly_and_the_first_is_booked(network: Network) -> None:
    people, umbrella = network.people, network.umbrella
    for key in HOSTS:
        host = network.organisations[key]
        await people.tell(
            "operator",
            events.RegisterVenue.model_validate(
                {"name": host.name, "place": host.place, "region": host.region, "nation": host.nation,
                 "latitude": host.latitude, "longitude": host.longitude, "host": host.id, "capacity": 50,
                 "step_free": key != "companies-house"}
            ),
        )  # fmt: skip

    async def every_member_is_known() -> bool:
        ledger = await people.ask("operator", events.ShowLedger(umbrella=umbrella))
        return {line.network for line in ledger.totals} == set(network.members.values())

    await people.until("events knows every member network", every_member_is_known)
    plan = await people.make("operator", events.PlanMeetings(umbrella=umbrella, meetings=2))

    async def is_worked_out() -> bool:
        return (await people.ask("operator", events.ShowPlan(plan=plan))).state != "in-hand"

    await people.until("the plan is worked out", is_worked_out)
    shown = await people.ask("operator", events.ShowPlan(plan=plan))
    assert shown.certificate is not None, shown.sentence
    certificate = shown.certificate
    assert certificate.proof == "optimal"
    assert certificate.worst == certificate.bound == max(burden.after for burden in certificate.burdens)
    assert {burden.network for burden in certificate.burdens} == set(network.members.values())
    venues = {venue.id: venue for venue in (await people.ask("operator", events.ListVenues())).venues}
    chosen = [venues[meeting.venue] for meeting in shown.meetings]
    assert len({venue.host for venue in chosen}) == len(chosen) == 2
    assert sum(venue.region == "London" for venue in chosen) <= 1
    assert all(venue.step_free for venue in chosen)

    meeting = await people.make("operator", events.BookMeeting(plan=plan, number=1))
    invitation = await people.ask("operator", events.CalendarFile(meeting=meeting))
    assert invitation.method == "REQUEST"
    assert f"UID:{invitation.uid}" in invitation.text
    notice = await network.told("northern-ireland-executive", events.MeetingBooked.wire.type)
    assert (notice.topic, notice.about) == ("meetings", meeting)
    assert chosen[0].place in notice.sentence


async def test_a_survey_shows_each_body_where_it_stands_and_exposes_none(network: Network) -> None:
    people = network.people
    survey = people_survey_file.read((DEMONSTRATION / "made_up_survey_2026.csv").read_bytes(), "2026")
    assert not isinstance(survey, Refusal)
    await people.tell("operator", survey)
    [round_] = (await people.ask("operator", benchmark.ListRounds(label="2026"))).rounds

    async def every_body_is_known() -> bool:
        return (await people.ask("operator", benchmark.ListRespondents(round=round_.id))).unlinked == 0

    await people.until("benchmark knows every body of the survey", every_body_is_known)
    await people.tell("operator", benchmark.ReleaseRound(round=round_.id))

    async def is_released() -> bool:
        return (await people.ask("operator", benchmark.ListRounds(label="2026"))).rounds[0].state == "released"

    await people.until("the round is released", is_released)
    measure = survey.measures[0].code
    page = await people.ask("operator", benchmark.ShowDistribution(round=round_.id, measure=measure, by="type"))
    withheld = [group for group in page.distributions if group.withheld]
    assert withheld
    assert all((group.median, group.organisations) == (None, None) for group in withheld)
    shown = [group for group in page.distributions if group.median is not None]
    assert shown
    assert all((group.organisations or 0) >= 5 for group in shown)

    own = network.organisations["met-office"]
    standing = benchmark.ShowStanding(round=round_.id, organisation=own.id)
    refusal = await people.try_in_vain("ofsted", standing)
    assert refusal.code == "not-a-data-steward"
    await people.tell("operator", benchmark.NameDataSteward(organisation=own.id, principal="met-office"))
    scores = (await people.ask("met-office", standing)).scores
    assert [score.measure.code for score in scores] == [measure.code for measure in survey.measures]
    notice = await network.told("met-office", benchmark.RoundReleased.wire.type)
    assert notice.topic == "benchmark"


async def test_everybody_is_told_without_a_gap_and_an_operator_sees_who_was_told_what(
    network: Network,
) -> None:
    people = network.people
    await network.told("hm-treasury", membership.MemberNetworkAdmitted.wire.type)

    async def all_are_published() -> bool:
        page = await people.ask("hm-treasury", ListDeliveries(limit=500))
        return all(delivery.state == "published" for delivery in page.deliveries)

    await people.until("what is to be told was told", all_are_published)
    mine = (await people.ask("hm-treasury", ListDeliveries(limit=500))).deliveries
    assert sorted(delivery.sequence for delivery in mine) == list(range(1, len(mine) + 1))
    assert all(delivery.why for delivery in mine)
    seen = await people.ask("operator", ListAllDeliveries(subscriber="hm-treasury", limit=500))
    assert {delivery.sequence for delivery in seen.deliveries} >= {delivery.sequence for delivery in mine}


async def test_who_wants_to_hear_nothing_of_a_topic_hears_nothing_of_it(network: Network) -> None:
    people = network.people
    await people.tell("companies-house", Unsubscribe(topic="decisions"))
    proposal = await network.propose("Meet on Tuesdays")
    await network.told("ofsted", membership.ProposalOpened.wire.type)

    async def others_are_told() -> bool:
        page = await people.ask("operator", ListAllDeliveries(topic="decisions", limit=500))
        return any((told.subscriber, told.about) == ("ofsted", proposal) for told in page.deliveries)

    await people.until("the others are told", others_are_told)
    page = await people.ask("companies-house", ListDeliveries(topic="decisions", limit=500))
    assert proposal not in [told.about for told in page.deliveries]
