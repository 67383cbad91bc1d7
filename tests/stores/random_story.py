"""A story of membership that a seed tells: whatever people do there, in any order, allowed or refused."""

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import get_args

from shared import clock
from shared.contracts.membership import (
    AdmitMemberNetwork,
    AmendProposal,
    ApplyForMembership,
    AppointRepresentative,
    AppointSteeringMember,
    CloseConcern,
    CloseOrganisation,
    CloseProposal,
    CloseWorkStream,
    CommentOnStatement,
    ConcernOutcome,
    ConfirmNetworkHome,
    ConsultOnStatement,
    ContributeToProposal,
    DeclareNetworkEstablished,
    DraftProposal,
    DraftStatement,
    EndorseConcern,
    EndPartnership,
    GivenRecommendation,
    GivenUmbrellaRules,
    HandOverStewardship,
    IssueStatement,
    LinkPartner,
    LinkPublisher,
    NameDeputy,
    OpenProposal,
    OpenWorkStream,
    OrganisationType,
    Position,
    RaiseConcern,
    RecommendationStatus,
    RecordConcernResponse,
    RecordRecommendationAnswer,
    RecordSignature,
    RecordSignatureWithdrawal,
    RecordStarterStep,
    Region,
    RegisterNetwork,
    RegisterOrganisation,
    RegisterPartner,
    RenameOrganisation,
    StandDownRepresentative,
    StandDownSteeringMember,
    StarterStep,
    SteeringRole,
    SubmitConcern,
    TakeBackEndorsement,
    TakeBackStarterStep,
    TakePosition,
    UnlinkPartner,
    UnlinkPublisher,
    WithdrawContribution,
    WithdrawDeputy,
    WithdrawMemberNetwork,
    WithdrawProposal,
    nation_of,
)
from shared.contracts.message import Command
from tests.stores.test_membership import Service, new_id

NOBODY = "00000000-0000-7000-8000-000000000000"
PEOPLE = tuple(f"00000000-0000-7000-8000-00000000010{number}" for number in range(6))
SOON = timedelta(milliseconds=150)


class RandomStory:
    """Two umbrellas, and whoever joins them. The steward of everything is ``sam``; ids are kept by what they are of."""

    def __init__(self, service: Service, seed: int) -> None:
        self.service = service
        self.draw = Random(seed)  # noqa: S311  a story to repeat, no secret
        self.ids: dict[str, list[str]] = {}
        self.chapters: list[Callable[[], None]] = [
            self.organisations, self.networks, self.networks, self.members, self.members, self.steering,
            self.proposals, self.proposals, self.concerns, self.concerns, self.statements, self.statements,
            self.partners, self.discussions, self.beginnings, self.links, self.people,
        ]  # fmt: skip
        for name in ("one", "two"):
            self.organisations()
            home, rules = self.one("organisation"), GivenUmbrellaRules(open=name == "one")
            self.make("umbrella", RegisterNetwork(name=name, reach="national", organisation=home, umbrella=rules))
            self.networks()
            self.members()

    def go_on(self) -> None:
        """One thing more happens, or is refused; and whatever is due by itself."""
        self.draw.choice(self.chapters)()
        self.service.run()

    def tell(self, rounds: int) -> None:
        """Of everything some happens, so many times."""
        for chapter in self.chapters * rounds:
            chapter()

    def one(self, of: str) -> str:
        return self.draw.choice(self.ids.get(of) or [NOBODY])

    def make(self, kind: str, command: Command) -> None:
        reply = self.service.send(command)
        if reply["outcome"] == "done":
            self.ids.setdefault(kind, []).append(reply["done"]["id"])

    def any_of(self, *commands: Command) -> None:
        self.service.send(self.draw.choice(commands))

    def organisations(self) -> None:
        known, region = self.ids.get("organisation", []), self.draw.choice(get_args(Region))
        if len(known) < 5 or self.draw.random() < 0.5:
            key, type_ = f"body-{len(known)}", self.draw.choice(get_args(OrganisationType)[:4])
            place = {"region": region, "nation": nation_of(region), "parents": tuple(known[:1])}
            self.make("organisation", RegisterOrganisation(key=key, name=key.title(), type=type_, **place))
        else:
            one = self.one("organisation")
            self.any_of(RenameOrganisation(organisation=one, name=new_id()), CloseOrganisation(organisation=one))

    def networks(self) -> None:
        if self.draw.random() < 0.5:
            home = self.one("organisation")
            self.make("network", RegisterNetwork(name=f"of {home}", reach="local", organisation=home))
        network, person = self.one("network"), self.draw.choice(PEOPLE)
        self.service.send(AppointRepresentative(network=network, person=person, principal="sam"))
        self.any_of(
            ConfirmNetworkHome(network=network),
            ConfirmNetworkHome(network=network),
            StandDownRepresentative(network=network, person=person),
        )

    def members(self) -> None:
        pair = {"umbrella": self.one("umbrella"), "network": self.one("network")}
        joining = (ApplyForMembership(**pair), AdmitMemberNetwork(**pair))
        self.service.send(joining[0])
        self.any_of(*joining, joining[1], WithdrawMemberNetwork(**pair))

    def steering(self) -> None:
        umbrella, stream = self.one("umbrella"), self.one("work-stream")
        self.make("work-stream", OpenWorkStream(network=umbrella, name=new_id()))
        person, role = self.draw.choice(PEOPLE), self.draw.choice(get_args(SteeringRole))
        seat = {"network": umbrella, "person": person, "role": role, "work_stream": None if role == "lead" else stream}
        until = clock.now() + SOON if self.draw.random() < 0.3 else None
        self.any_of(
            AppointSteeringMember(**seat, principal=f"p{person[-1]}", fte=0.2, until=until),
            AppointSteeringMember(**seat, principal=f"p{person[-1]}", fte=0.1),
            StandDownSteeringMember(**seat),
            CloseWorkStream(network=umbrella, work_stream=stream),
        )

    def proposals(self) -> None:
        if self.draw.random() < 0.3:
            self.make("proposal", DraftProposal(umbrella=self.one("umbrella"), title="A", text="Text."))
        proposal, deadline = self.one("proposal"), clock.now() + self.draw.choice((SOON, timedelta(days=9)))
        position = self.draw.choice(get_args(Position))
        taken = [
            TakePosition(proposal=proposal, network=network, position=position, reason="Because.")
            for network in self.ids.get("network", [])[:4]
        ]
        self.service.send(OpenProposal(proposal=proposal, deadline=deadline))
        self.any_of(
            *taken,
            AmendProposal(proposal=proposal, text=new_id()),
            CloseProposal(proposal=proposal),
            WithdrawProposal(proposal=proposal, reason="No."),
        )

    def discussions(self) -> None:
        proposal, network = self.one("proposal"), self.one("network")
        for known in self.ids.get("network", [])[:6]:
            self.make("contribution", ContributeToProposal(proposal=proposal, network=known, text="Well said."))
        said = ContributeToProposal(proposal=proposal, network=network, text="So is this.")
        self.any_of(said, said, WithdrawContribution(proposal=proposal, contribution=self.one("contribution")))

    def beginnings(self) -> None:
        home, today = self.one("organisation"), clock.now().date()
        self.make("forming", RegisterNetwork(name=new_id(), reach="local", organisation=home, forming=True))
        network, step = self.one("forming"), self.draw.choice(get_args(StarterStep))
        self.any_of(
            RecordStarterStep(network=network, step=step, done_on=today - timedelta(days=1)),
            TakeBackStarterStep(network=network, step=step),
            DeclareNetworkEstablished(network=network),
        )

    def people(self) -> None:
        network, deputy = self.one("network"), self.draw.choice(PEOPLE)
        named = NameDeputy(network=network, person=deputy, principal=f"d{deputy[-1]}")
        self.any_of(
            named,
            named,
            WithdrawDeputy(network=network, person=deputy),
            HandOverStewardship(network=network, principal="sam", person=self.draw.choice((None, deputy))),
        )

    def links(self) -> None:
        publisher = f"hr-{self.draw.randrange(9)}"
        link = LinkPublisher(publisher=publisher, organisation=self.one("organisation"))
        self.any_of(link, link, UnlinkPublisher(publisher=publisher))

    def concerns(self) -> None:
        if self.draw.random() < 0.4:
            said = {"title": "Quiet", "text": "Loud.", "suggestion": "A room."}
            self.make("concern", RaiseConcern(umbrella=self.one("umbrella"), **said))
        concern, network = self.one("concern"), self.one("network")
        self.any_of(
            EndorseConcern(concern=concern, network=network),
            EndorseConcern(concern=concern, network=network),
            TakeBackEndorsement(concern=concern, network=network),
            SubmitConcern(concern=concern, addressee="HR", reply_by=clock.now() + SOON),
            RecordConcernResponse(concern=concern, response="Yes."),
            CloseConcern(concern=concern, outcome=self.draw.choice(get_args(ConcernOutcome)), reason="Done."),
        )

    def statements(self) -> None:
        organisation = self.one("organisation")
        if self.draw.random() < 0.5:
            due = clock.now() + self.draw.choice((SOON, timedelta(days=30)))
            asked = GivenRecommendation(text="Train.", addressee="All", organisation=organisation, due=due)
            draft = {"umbrella": self.one("umbrella"), "kind": "report", "title": "S", "text": "T."}
            self.make("statement", DraftStatement(**draft, recommendations=(asked,)))
        statement = self.one("statement")
        self.service.send(ConsultOnStatement(statement=statement, until=clock.now() + timedelta(days=8)))
        for network in self.ids.get("network", []):
            self.service.send(CommentOnStatement(statement=statement, network=network, text="Good."))
        self.service.send(IssueStatement(statement=statement, version=1))
        for known in self.ids["organisation"][-4:]:
            self.service.send(RecordSignature(statement=statement, organisation=known))
        recommended = [each["id"] for each in self._recommended(statement)]
        status = self.draw.choice(get_args(RecommendationStatus))
        answer = {"statement": statement, "status": status, "reason": "So."}
        self.any_of(
            RecordSignature(statement=statement, organisation=organisation),
            RecordSignature(statement=statement, organisation=organisation),
            RecordSignatureWithdrawal(statement=statement, organisation=organisation),
            *(RecordRecommendationAnswer(recommendation=id_, **answer) for id_ in recommended),
        )

    def _recommended(self, statement: str) -> list[dict[str, str]]:
        drafted = [event for event in self.service.told(statement) if "recommendations" in event["data"]]
        return drafted[-1]["data"]["recommendations"] if drafted else []

    def partners(self) -> None:
        if self.draw.random() < 0.5:
            self.make("partner", RegisterPartner(umbrella=self.one("umbrella"), name=new_id(), type="charity"))
        partner, stream = self.one("partner"), self.one("work-stream")
        link = {"partner": partner, "work_stream": stream}
        self.any_of(LinkPartner(**link), LinkPartner(**link), UnlinkPartner(**link), EndPartnership(partner=partner))
