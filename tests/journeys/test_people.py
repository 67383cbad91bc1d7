"""Who speaks for networks and who steers: appointed, deputised, seated, gone. One umbrella and its two members."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from deploy.people import People, new_id
from shared import clock
from shared.contracts import membership
from shared.contracts.message import subject_of
from shared.contracts.notifications import DeliveryView, ListDeliveries
from shared.contracts.platform import InboundRefused

pytestmark = pytest.mark.asyncio(loop_scope="module")

UMBRELLA = "Northern Wellbeing Network"
MEMBERS = ("leeds-council", "york-council")


@dataclass
class Circle:
    """An umbrella looked after by its secretariat; each member has one representative, of the network's name."""

    people: People
    umbrella: str
    homes: dict[str, str]
    networks: dict[str, str]
    persons: dict[str, str]

    async def network(self, name: str) -> membership.NetworkView:
        """A member network as it is shown."""
        return await self.people.ask("secretariat", membership.ShowNetwork(network=self.networks[name]))

    async def seats(self) -> list[tuple[str, str | None, str | None]]:
        """Of each seat its work stream or role, who holds it, and of a vacant one how the last one went."""
        shown = await self.people.ask("secretariat", membership.ShowNetwork(network=self.umbrella))
        assert shown.steering_group is not None
        return [(seat.name or seat.role, seat.principal, seat.vacant_because) for seat in shown.steering_group.seats]

    async def seat(self, name: str, role: membership.SteeringRole, fte: float, **more: object) -> None:
        """The secretariat seats the representative of a member network."""
        given = {"network": self.umbrella, "person": self.persons[name], "principal": name, "role": role, "fte": fte}
        await self.people.tell("secretariat", membership.AppointSteeringMember.model_validate(given | more))

    async def join(self, name: str) -> None:
        """A member network joins, or comes back."""
        both = {"umbrella": self.umbrella, "network": self.networks[name]}
        await self.people.tell(name, membership.ApplyForMembership(**both))
        await self.people.tell("secretariat", membership.AdmitMemberNetwork(**both))

    async def told(self, principal: str, event: str, times: int = 1) -> DeliveryView:
        """What somebody was last told of an event, once it was told so often."""
        found: list[DeliveryView] = []

        async def has_come() -> bool:
            page = await self.people.ask(principal, ListDeliveries(limit=500))
            found[:] = [delivery for delivery in page.deliveries if delivery.event == event]
            return len(found) >= times

        await self.people.until(f"{principal} is told of {event}", has_come)
        return found[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def circle(people: People) -> Circle:
    await people.enter("secretariat")
    homes, networks, persons = {}, {}, {}
    for name in ("cabinet-office", *MEMBERS):
        command = membership.RegisterOrganisation(key=name, name=name.replace("-", " ").title(), type="council")
        homes[name] = await people.make("operator", command)
    umbrella = await people.make(
        "secretariat",
        membership.RegisterNetwork(
            name=UMBRELLA,
            reach="national",
            organisation=homes["cabinet-office"],
            umbrella=membership.GivenUmbrellaRules(),
        ),
    )
    for name in MEMBERS:
        await people.enter(name)
        registered = membership.RegisterNetwork(name=f"{name} network", reach="local", organisation=homes[name])
        networks[name], persons[name] = await people.make(name, registered), new_id()
        appointed = membership.AppointRepresentative(network=networks[name], person=persons[name], principal=name)
        await people.tell(name, appointed)
    founded = Circle(people, umbrella, homes, networks, persons)
    for name in MEMBERS:
        await founded.join(name)
    return founded


async def test_a_representative_is_appointed_names_a_deputy_who_speaks_and_stands_down_with_them(
    circle: Circle,
) -> None:
    people, leeds = circle.people, circle.networks["leeds-council"]
    for newcomer in ("anne", "dora"):
        await people.enter(newcomer)
    anne, dora = new_id(), new_id()
    await people.tell("leeds-council", membership.AppointRepresentative(network=leeds, person=anne, principal="anne"))
    await circle.told("anne", membership.RepresentativeAppointed.wire.type)
    deputy = membership.NameDeputy(network=leeds, person=dora, principal="dora")
    refusal = await people.try_in_vain("secretariat", deputy)
    assert refusal.code == "not-a-representative"
    await people.tell("anne", deputy)
    notice = await circle.told("dora", membership.DeputyNamed.wire.type)
    assert notice.why[0] == "You may speak for this network, as a deputy."
    shown = {one.principal: one.deputy_principal for one in (await circle.network("leeds-council")).representatives}
    assert shown == {"leeds-council": None, "anne": "dora"}

    proposal = await people.make(
        "dora", membership.DraftProposal(umbrella=circle.umbrella, title="Quiet rooms", text="One each.")
    )
    deadline = clock.now() + timedelta(days=14)
    await people.tell("dora", membership.OpenProposal(proposal=proposal, deadline=deadline))
    asked = await circle.told("dora", membership.ProposalOpened.wire.type)
    assert asked.about == proposal
    taken = {"proposal": proposal, "network": leeds}
    await people.tell("anne", membership.TakePosition(**taken, position="consent"))
    await people.tell("dora", membership.TakePosition(**taken, position="reservations", reason="Which floor?"))
    voice = await people.ask("secretariat", membership.ShowVoice(**taken))
    assert [(stance.position, stance.person) for stance in voice.stances] == [("consent", anne), ("reservations", dora)]
    view = await people.ask("secretariat", membership.ShowProposal(proposal=proposal))
    assert len(view.voices) == len(MEMBERS)  # still one voice each

    done = await people.tell("anne", membership.StandDownRepresentative(network=leeds, person=anne))
    assert done.events == ("deputy-withdrawn", "representative-stood-down")
    refusal = await people.try_in_vain("dora", membership.TakePosition(**taken, position="consent"))
    assert refusal.code == "not-a-representative"
    await circle.told("dora", membership.DeputyWithdrawn.wire.type)


async def test_a_steering_group_has_co_leads_terms_and_vacancies_and_a_work_stream_that_closes_vacates_its_seat(
    circle: Circle,
) -> None:
    people, umbrella = circle.people, circle.umbrella
    stress = await people.make("secretariat", membership.OpenWorkStream(network=umbrella, name="Stress"))
    assert await circle.seats() == [("lead", None, None), ("Stress", None, None)]
    await circle.seat("leeds-council", "lead", 0.5)
    await circle.seat("york-council", "lead", 0.5, until=clock.now() + timedelta(seconds=3))
    too_many = membership.AppointSteeringMember(
        network=umbrella, person=new_id(), principal="third", role="lead", fte=0.01
    )
    refusal = await people.try_in_vain("secretariat", too_many)
    assert refusal.code == "two-co-leads-at-most"

    async def the_term_is_over() -> bool:
        return [who for _, who, _ in await circle.seats()] == ["leeds-council", None]

    await people.until("the term of a co-lead is over", the_term_is_over)
    left = await circle.told("york-council", membership.SteeringMemberStoodDown.wire.type)
    assert left.sentence == f"In the steering group of {UMBRELLA} a seat is free: lead."
    assert left.why[0] == "This seat was yours."

    await circle.seat("york-council", "work-stream-lead", 0.5, work_stream=stress)
    await people.tell("york-council", membership.CloseWorkStream(network=umbrella, work_stream=stress))
    assert await circle.seats() == [("lead", "leeds-council", None)]
    stood_down = membership.StandDownSteeringMember(
        network=umbrella, person=circle.persons["leeds-council"], role="lead"
    )
    await people.tell("leeds-council", stood_down)
    assert await circle.seats() == [("lead", None, "stood-down")]


async def test_a_seat_ends_when_the_network_it_is_held_for_leaves_and_the_vacancy_says_so(circle: Circle) -> None:
    people, umbrella = circle.people, circle.umbrella
    await circle.seat("york-council", "lead", 1.0)
    left = membership.WithdrawMemberNetwork(umbrella=umbrella, network=circle.networks["york-council"])
    done = await people.tell("york-council", left)
    assert done.events == ("member-network-withdrawn", "steering-member-stood-down")
    assert await circle.seats() == [("lead", None, "network-left")]
    await circle.told("york-council", membership.SteeringMemberStoodDown.wire.type, times=3)
    await circle.join("york-council")
    assert await circle.seats() == [("lead", None, "network-left")]  # the network comes back, the seat is given anew


async def test_whoever_leaves_their_employer_holds_nothing_there_any_more_and_only_its_publisher_may_say_so(
    circle: Circle,
) -> None:
    people = circle.people
    refused: list[bytes] = []

    async def hear(message: Msg) -> None:
        refused.append(message.data)

    for publisher in ("york-hr", "someone-else"):
        await people.enter(publisher, "publisher")
    listening = await people.connection("operator").subscribe(subject_of(InboundRefused, "*"), cb=hear)
    await people.connection("operator").flush()
    home = circle.homes["york-council"]
    await people.tell("operator", membership.LinkPublisher(publisher="york-hr", organisation=home))
    await circle.seat("york-council", "lead", 1.0)
    left = membership.PersonLeft(person=circle.persons["york-council"])
    await people.publish("someone-else", left)

    async def somebody_was_refused() -> bool:
        return bool(refused)

    await people.until("a publisher that nobody linked is refused", somebody_was_refused)
    assert b"publisher-not-linked" in refused[0]
    assert circle.persons["york-council"].encode() not in refused[0]
    assert len((await circle.network("york-council")).representatives) == 1

    id_ = new_id()
    for _ in range(2):
        await people.publish("york-hr", left, id=id_)

    async def york_is_alone() -> bool:
        return (await circle.network("york-council")).without_steward

    await people.until("whoever left is gone from their network", york_is_alone)
    york = await circle.network("york-council")
    assert (york.representatives, york.member_of) == ((), ())
    assert await circle.seats() == [("lead", None, "network-left")]
    told = await circle.told("york-council", membership.StewardshipEnded.wire.type)
    assert told.why[0] == "You were its steward."
    alone = await people.ask("operator", membership.ListNetworks(without_steward=True))
    assert [network.name for network in alone.networks] == ["york-council network"]
    successor = membership.AppointSteward(network=circle.networks["york-council"], principal="secretariat")
    await people.tell("operator", successor)
    assert (await people.ask("operator", membership.ListNetworks(without_steward=True))).total == 0
    assert len(refused) == 1
    await listening.unsubscribe()
