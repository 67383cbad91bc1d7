"""What member networks do together besides deciding, on the whole platform: they speak out, help each other, have
partners. One umbrella with two members serves all tests of the file.
"""

from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio

from deploy.people import People, new_id
from shared import clock
from shared.contracts import membership
from shared.contracts.notifications import DeliveryView, ListDeliveries

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

    refusal = await people.try_in_vain("secretariat", membership.IssueStatement(statement=statement))
    assert refusal.code == "not-agreed"
    proposal = await people.make(
        "york-hospital", membership.DraftProposal(umbrella=umbrella, title="Managers matter", text="We say so.")
    )
    await people.tell("york-hospital", membership.OpenProposal(proposal=proposal, deadline=until))
    for name, network in networks.items():
        await people.tell(name, membership.TakePosition(proposal=proposal, network=network, position="consent"))
    await people.tell("york-hospital", membership.CloseProposal(proposal=proposal))
    await people.tell("secretariat", membership.IssueStatement(statement=statement, proposal=proposal))

    leeds = {"statement": statement, "network": networks["leeds-council"]}
    refusal = await people.try_in_vain("york-hospital", membership.SignStatement(**leeds))
    assert refusal.code == "not-a-representative"
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
