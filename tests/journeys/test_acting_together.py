"""What member networks do together besides deciding, on the whole platform: they speak out, help each other, have
partners. One umbrella with two members serves all tests of the file.
"""

from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio
from nats.aio.msg import Msg

from deploy.people import People, new_id
from shared import clock
from shared.contracts import membership
from shared.contracts.notifications import DeliveryView, ListAllDeliveries, ListDeliveries

pytestmark = pytest.mark.asyncio(loop_scope="module")

REGION: membership.Region = "Yorkshire and The Humber"
MEMBERS: dict[str, membership.OrganisationType] = {"leeds-council": "council", "york-hospital": "nhs-body"}


@dataclass
class Together:
    """An umbrella network looked after by its secretariat, and its members by name."""

    people: People
    umbrella: str
    organisations: dict[str, str]
    networks: dict[str, str]

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
async def together(people: People) -> Together:
    await people.enter("secretariat")
    organisations, networks = {}, {}
    for name, type_ in {"cabinet-office": "ministerial-department", **MEMBERS}.items():
        organisations[name] = await people.make(
            "operator",
            membership.RegisterOrganisation.model_validate(
                {
                    "key": name,
                    "name": name.replace("-", " ").title(),
                    "type": type_,
                    "region": "Yorkshire and The Humber",
                }
            ),
        )
    umbrella = await people.make(
        "secretariat",
        membership.RegisterNetwork(
            name="Northern Wellbeing Network",
            reach="national",
            organisation=organisations["cabinet-office"],
            umbrella=membership.GivenUmbrellaRules(),
        ),
    )
    for name in MEMBERS:
        await people.enter(name)
        networks[name] = await people.make(
            name,
            membership.RegisterNetwork(name=f"{name} network", reach="local", organisation=organisations[name]),
        )
        appointed = membership.AppointRepresentative(network=networks[name], person=new_id(), principal=name)
        await people.tell(name, appointed)
        await people.tell(name, membership.ApplyForMembership(umbrella=umbrella, network=networks[name]))
        await people.tell("secretariat", membership.AdmitMemberNetwork(umbrella=umbrella, network=networks[name]))
    return Together(people, umbrella, organisations, networks)


async def test_a_consensus_statement_is_consulted_on_agreed_issued_signed_and_its_recommendation_chased(
    together: Together,
) -> None:
    people, umbrella, networks = together.people, together.umbrella, together.networks
    recommendation = membership.GivenRecommendation(
        text="Give every line manager a day of training.",
        addressee="Leeds Council",
        organisation=together.organisations["leeds-council"],
        due=clock.now() + timedelta(seconds=10),
    )
    statement = await people.make(
        "york-hospital",
        membership.DraftStatement(
            umbrella=umbrella,
            kind="consensus-statement",
            title="Managers matter",
            text="Good managers keep people well.",
            recommendations=(recommendation,),
        ),
    )
    until = clock.now() + timedelta(days=10)
    await people.tell("york-hospital", membership.ConsultOnStatement(statement=statement, until=until))
    await together.told("leeds-council", membership.StatementConsultedOn.wire.type)
    for name, network in networks.items():
        said = membership.CommentOnStatement(statement=statement, network=network, text="We would sign this.")
        await people.tell(name, said)

    refusal = await people.try_in_vain("secretariat", membership.IssueStatement(statement=statement, version=1))
    assert refusal.code == "not-agreed"
    wording = (await people.ask("york-hospital", membership.ShowStatement(statement=statement))).digest
    proposed = membership.DraftProposal(umbrella=umbrella, title="Managers matter", text=f"We say so: {wording}")
    proposal = await people.make("york-hospital", proposed)
    await people.tell("york-hospital", membership.OpenProposal(proposal=proposal, deadline=until))
    for name, network in networks.items():
        await people.tell(name, membership.TakePosition(proposal=proposal, network=network, position="consent"))
    await people.tell("york-hospital", membership.CloseProposal(proposal=proposal))
    await people.tell("secretariat", membership.IssueStatement(statement=statement, version=1, proposal=proposal))

    leeds = {"statement": statement, "network": networks["leeds-council"]}
    refusal = await people.try_in_vain("york-hospital", membership.SignStatement(**leeds))
    assert refusal.code == "not-a-representative"
    refusal = await people.try_in_vain("leeds-council", membership.SignStatement(**leeds))
    assert refusal.code == "home-not-confirmed"
    await people.tell("operator", membership.ConfirmNetworkHome(network=networks["leeds-council"]))
    await people.tell("leeds-council", membership.SignStatement(**leeds))
    by_letter = membership.RecordSignature(statement=statement, organisation=together.organisations["cabinet-office"])
    await people.tell("operator", by_letter)
    await people.tell("leeds-council", membership.WithdrawSignature(**leeds))
    page = await people.ask("york-hospital", membership.ListSignatures(statement=statement))
    assert [signature.name for signature in page.signatures] == ["Cabinet Office"]

    chased = await together.told("secretariat", membership.RecommendationFellDue.wire.type)
    assert chased.sentence == "A recommendation of Northern Wellbeing Network was due, and nobody has answered it."
    [late] = (await people.ask("secretariat", membership.ListRecommendations(late=True))).recommendations
    assert late.addressee == "Leeds Council"
    declined = membership.AnswerRecommendation(
        **leeds, recommendation=late.id, status="declined", reason="Ours have two days already."
    )
    await people.tell("leeds-council", declined)
    assert (await people.ask("secretariat", membership.ListRecommendations(late=True))).total == 0
    shown = await people.ask("operator", membership.ShowStatement(statement=statement))
    assert (shown.state, shown.recommendations[0].reason) == ("issued", "Ours have two days already.")


async def test_help_is_asked_for_a_peer_is_matched_and_it_helped_and_nobody_else_ever_hears_who_asked(
    together: Together,
) -> None:
    people, networks = together.people, together.networks
    asker = "someone-of-leeds"
    await people.enter(asker)
    appointed = membership.AppointRepresentative(network=networks["leeds-council"], person=new_id(), principal=asker)
    await people.tell("leeds-council", appointed)
    offered = membership.OfferExperience(
        network=networks["york-hospital"], topics=("after-a-suicide",), size="5000-or-more"
    )
    offer = await people.make("york-hospital", offered)
    published: list[bytes] = []

    async def overhear(message: Msg) -> None:
        published.append(message.data)

    listening = [
        await people.connection("operator").subscribe(subject, cb=overhear)
        for subject in ("*.v1.event.>", "notifications.v1.delivery.>")
    ]
    request = await people.make(
        asker,
        membership.AskForHelp(
            network=networks["leeds-council"],
            topic="after-a-suicide",
            size="1000-to-4999",
            words="We lost a colleague last week.",
        ),
    )

    async def is_proposed() -> bool:
        return (await people.ask(asker, membership.ShowMyPeerSupport())).requests[0].state == "proposed"

    await people.until("a peer is proposed", is_proposed)
    [proposed] = (await people.ask(asker, membership.ShowMyPeerSupport())).requests
    assert (proposed.peer_network, proposed.score) == ("york-hospital network", 2)
    assert "It is in your region: Yorkshire and The Humber. (+1)" in proposed.why
    assert (await people.ask("york-hospital", membership.ShowMyPeerSupport())).asked_of_me == ()

    assert proposed.offer == offer
    await people.tell(asker, membership.AcceptPeer(request=request, offer=offer))
    notice = await together.told("york-hospital", membership.MentorAsked.wire.type)
    assert (notice.sentence, notice.about) == ("A peer would like your help.", offer)
    [asked] = (await people.ask("york-hospital", membership.ShowMyPeerSupport())).asked_of_me
    assert (asked.topic, asked.asker, asked.words) == ("after-a-suicide", None, None)
    await people.tell("york-hospital", membership.AcceptPeer(request=asked.id, offer=asked.offer))
    [asked] = (await people.ask("york-hospital", membership.ShowMyPeerSupport())).asked_of_me
    assert (asked.asker, asked.words) == (asker, "We lost a colleague last week.")

    refusal = await people.try_in_vain("operator", membership.AcceptPeer(request=request, offer=offer))
    assert refusal.code == "no-such-request"
    assert (await people.ask("operator", membership.ShowMyPeerSupport())).requests == ()
    await people.tell(asker, membership.RecordWhetherItHelped(request=request, helped="yes"))
    assert (await people.ask(asker, membership.ShowMyPeerSupport())).requests == ()

    async def the_notice_was_overheard() -> bool:
        return any(b"A peer would like your help." in data for data in published)

    await people.until("the operator has heard all there was", the_notice_was_overheard)
    since = [data for data in published if b"representative-appointed" not in data]  # that was before
    for secret in (asker, networks["leeds-council"], "We lost a colleague"):
        assert not [data for data in since if secret.encode() in data]
    everything = (await people.ask("operator", ListAllDeliveries(limit=500))).deliveries
    told = {delivery.subscriber for delivery in everything if delivery.event == membership.MentorAsked.wire.type}
    assert told == {"york-hospital"}
    for listener in listening:
        await listener.unsubscribe()


async def test_a_charity_is_a_partner_linked_to_a_work_stream_until_the_partnership_ends(together: Together) -> None:
    people, umbrella = together.people, together.umbrella
    stream = await people.make("secretariat", membership.OpenWorkStream(network=umbrella, name="Bereavement"))
    register = membership.RegisterPartner(umbrella=umbrella, name="A bereavement charity", type="charity")
    refusal = await people.try_in_vain("leeds-council", register)
    assert refusal.code == "not-of-the-steering-group"
    partner = await people.make("secretariat", register)
    await people.tell("secretariat", membership.LinkPartner(partner=partner, work_stream=stream))
    [listed] = (await people.ask("leeds-council", membership.ListPartners(work_stream=stream))).partners
    assert (listed.name, [each.name for each in listed.work_streams]) == ("A bereavement charity", ["Bereavement"])
    notice = await together.told("leeds-council", membership.PartnerRegistered.wire.type)
    assert notice.sentence == "Northern Wellbeing Network has a new partner."
    await people.tell("secretariat", membership.EndPartnership(partner=partner))
    assert (await people.ask("leeds-council", membership.ListPartners(work_stream=stream))).total == 0
    [ended] = (await people.ask("leeds-council", membership.ListPartners(with_ended=True))).partners
    assert ended.ended_at is not None
