"""A forming network on the whole platform: what to do, an experienced peer, progress, and the day it is established."""

from datetime import timedelta

import pytest

from deploy.people import People, new_id
from services.membership.domain.starter_path import HERE, STEPS
from shared import clock
from shared.contracts import membership
from shared.contracts.notifications import DeliveryView, ListDeliveries

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def told(people: People, principal: str, event: str) -> DeliveryView:
    """What somebody was told of an event, once it has come."""
    found: list[DeliveryView] = []

    async def has_come() -> bool:
        page = await people.ask(principal, ListDeliveries(limit=500))
        found[:] = [delivery for delivery in page.deliveries if delivery.event == event]
        return bool(found)

    await people.until(f"{principal} is told of {event}", has_come)
    return found[0]


async def an_established_member(people: People, name: str) -> tuple[str, str]:
    """An open umbrella network, and a member network whose representative has the same name."""
    await people.enter(name)
    home = await people.make("operator", membership.RegisterOrganisation(key=name, name=name.title(), type="council"))
    umbrella = await people.make(
        "operator",
        membership.RegisterNetwork(
            name="Councils' network",
            reach="national",
            organisation=home,
            umbrella=membership.GivenUmbrellaRules(open=True),
        ),
    )
    network = await people.make(
        name, membership.RegisterNetwork(name=f"{name} network", reach="local", organisation=home)
    )
    await people.tell(name, membership.AppointRepresentative(network=network, person=new_id(), principal=name))
    await people.tell("operator", membership.ConfirmNetworkHome(network=network))
    await people.tell(name, membership.ApplyForMembership(umbrella=umbrella, network=network))
    return umbrella, network


async def test_a_forming_network_walks_its_starter_path_with_a_peer_beside_it(people: People) -> None:
    umbrella, leeds = await an_established_member(people, "leeds")
    offered = membership.OfferExperience(network=leeds, topics=("starting-a-network",), size="1000-to-4999")
    await people.tell("leeds", offered)

    await people.enter("nia")
    home = await people.make("operator", membership.RegisterOrganisation(key="ripon", name="Ripon", type="council"))
    network = await people.make(
        "nia", membership.RegisterNetwork(name="Ripon network", reach="local", organisation=home, forming=True)
    )
    shown = await people.ask("nia", membership.ShowStarterPath(network=network))
    assert [step.step for step in shown.steps] == list(STEPS)
    assert (shown.done, shown.next, shown.established_at) == (0, "find-a-sponsor", None)

    async def peer() -> membership.HelpRequestView:
        found = (await people.ask("nia", membership.ShowStarterPath(network=network))).peer
        assert found is not None
        return found

    async def is_proposed() -> bool:
        return (await peer()).state == "proposed"

    await people.until("a peer is proposed", is_proposed)
    proposed = await peer()
    assert (proposed.peer_network, proposed.peer) == ("leeds network", None)
    assert (await people.ask("leeds", membership.ShowMyPeerSupport())).asked_of_me == ()
    await people.tell("nia", membership.AcceptPeer(request=proposed.id, offer=proposed.offer or ""))
    notice = await told(people, "leeds", membership.MentorAsked.wire.type)
    assert "Ripon" not in notice.sentence
    [asked] = (await people.ask("leeds", membership.ShowMyPeerSupport())).asked_of_me
    await people.tell("leeds", membership.AcceptPeer(request=asked.id, offer=asked.offer))
    assert (await peer()).peer == "leeds"
    [asked] = (await people.ask("leeds", membership.ShowMyPeerSupport())).asked_of_me
    assert asked.network == network
    seen_by_the_peer = await people.ask("leeds", membership.ShowStarterPath(network=asked.network))
    assert (seen_by_the_peer.next, seen_by_the_peer.peer) == ("find-a-sponsor", None)

    today = clock.now().astimezone(HERE).date()
    too_soon = membership.RecordStarterStep(network=network, step="find-a-sponsor", done_on=today + timedelta(days=2))
    refusal = await people.try_in_vain("nia", too_soon)
    assert refusal.code == "not-done-yet"
    await people.tell("nia", membership.AppointRepresentative(network=network, person=new_id(), principal="nia"))
    await people.tell("nia", membership.ApplyForMembership(umbrella=umbrella, network=network))
    for number, step in enumerate(STEPS):
        forming = await people.ask("operator", membership.ListStarterPaths())
        assert [(path.name, path.done) for path in forming.paths] == [("Ripon network", number)]
        await people.tell("nia", membership.RecordStarterStep(network=network, step=step, done_on=today))
    shown = await people.ask("nia", membership.ShowStarterPath(network=network))
    assert (shown.done, shown.next) == (len(STEPS), None)
    assert shown.established_at is not None
    assert (await people.ask("operator", membership.ListStarterPaths())).total == 0
    notice = await told(people, "nia", membership.NetworkEstablished.wire.type)
    assert notice.sentence == "Ripon network was forming, and is established now."
