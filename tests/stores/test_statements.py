"""Statements from command to row to answer, on SQLite and on PostgreSQL alike."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from services.membership import tables
from shared import clock
from shared.contracts.membership import (
    AdmitMemberNetwork,
    AnswerRecommendation,
    ApplyForMembership,
    AppointRepresentative,
    CloseOrganisation,
    CloseProposal,
    CommentOnStatement,
    ConfirmNetworkHome,
    ConsultOnStatement,
    DraftProposal,
    DraftStatement,
    GivenRecommendation,
    GivenUmbrellaRules,
    IssueStatement,
    ListComments,
    ListRecommendations,
    ListSignatures,
    ListStatements,
    MergeOrganisations,
    OpenProposal,
    RecordRecommendationAnswer,
    RecordSignature,
    RecordSignatureWithdrawal,
    RegisterNetwork,
    ReviseStatement,
    ShowNetwork,
    ShowStatement,
    SignStatement,
    TakePosition,
    WithdrawSignature,
)
from shared.database import reading, writing
from tests.stores.test_membership import Service, new_id, service, until

__all__ = ["service"]  # a fixture


def recommended(**changes: Any) -> GivenRecommendation:
    fields = {"text": "Train managers.", "addressee": "Everybody", "due": clock.now() + timedelta(days=30)}
    return GivenRecommendation(**fields | changes)


class Story:
    """An umbrella with two member networks, and a statement of it."""

    def __init__(self, service: Service, *recommendations: GivenRecommendation, kind: Any = "report") -> None:
        self.service = service
        self.umbrella = service.umbrella()
        self.networks = service.members(self.umbrella, "leeds", "york")
        draft = DraftStatement(
            umbrella=self.umbrella, kind=kind, title="Sleep", text="Sleep.", recommendations=recommendations
        )
        self.id = service.do(draft, "leeds")

    def consult(self) -> None:
        self.service.do(ConsultOnStatement(statement=self.id, until=clock.now() + timedelta(days=8)), "leeds")

    def comment(self, *names: str) -> None:
        for name in names:
            command = CommentOnStatement(statement=self.id, network=self.networks[name], text=f"{name} agrees.")
            self.service.do(command, name)

    def issue(self) -> None:
        self.consult()
        self.comment("leeds", "york")
        self.service.do(IssueStatement(statement=self.id, version=1))

    def home(self) -> str:
        return str(self.service.ask(ShowNetwork(network=self.networks["leeds"])).organisation)

    def confirm(self, name: str) -> None:
        self.service.do(ConfirmNetworkHome(network=self.networks[name]), "operator")

    def shown(self) -> Any:
        return self.service.ask(ShowStatement(statement=self.id))


def test_a_statement_is_drafted_revised_consulted_on_and_issued(service: Service) -> None:
    story = Story(service, recommended(), recommended(text="Measure."))
    service.do(ReviseStatement(statement=story.id, text="Sleep more.", recommendations=(recommended(),)), "leeds")
    story.consult()
    story.comment("york")
    assert (story.shown().commented, story.shown().silent) == ((story.networks["york"],), (story.networks["leeds"],))
    assert service.refused(IssueStatement(statement=story.id, version=2)) == "consultation-runs"
    story.comment("leeds")
    assert service.refused(IssueStatement(statement=story.id, version=2), "leeds") == "not-of-the-steering-group"
    service.do(IssueStatement(statement=story.id, version=2))
    shown = story.shown()
    assert (shown.state, shown.version, shown.text, shown.silent) == ("issued", 2, "Sleep more.", ())
    assert [(each.text, each.status, each.late) for each in shown.recommendations] == [
        ("Train managers.", "open", False)
    ]
    comments = service.ask(ListComments(statement=story.id, limit=1))
    rest = service.ask(ListComments(statement=story.id, after=comments.next))
    assert {said.name for said in (*comments.comments, *rest.comments)} == {"leeds", "york"}
    assert service.refused(ReviseStatement(statement=story.id, text="Sleep less.")) == "statement-issued"
    assert service.told_names(story.id) == [
        "statement-drafted",
        "statement-revised",
        "statement-consulted-on",
        "statement-commented",
        "statement-commented",
        "statement-issued",
    ]


def test_a_consensus_statement_is_issued_on_the_agreed_proposal(service: Service) -> None:
    story = Story(service, kind="consensus-statement")
    story.consult()
    story.comment("leeds", "york")
    assert service.refused(IssueStatement(statement=story.id, version=1)) == "not-agreed"
    assert service.refused(IssueStatement(statement=story.id, version=1, proposal=new_id())) == "proposal-unknown"
    text = f"We say so, in the words of {story.shown().digest}."
    proposal = service.do(DraftProposal(umbrella=story.umbrella, title="Sleep", text=text))
    service.do(OpenProposal(proposal=proposal, deadline=clock.now() + timedelta(days=8)))
    for name, network in story.networks.items():
        service.do(TakePosition(proposal=proposal, network=network, position="consent"), name)
    service.do(CloseProposal(proposal=proposal))
    service.do(IssueStatement(statement=story.id, version=1, proposal=proposal))
    assert story.shown().proposal == proposal


def test_a_signature_passes_to_whoever_takes_over_and_still_says_who_gave_it(service: Service) -> None:
    story = Story(service)
    story.issue()
    old, new = service.organisation("old-council", "council"), service.organisation("new-council", "council")
    newest = service.organisation("newest-council", "council")
    service.do(RecordSignature(statement=story.id, organisation=old), "operator")
    assert service.ask(ListStatements(signed_by=newest)).statements == ()
    service.do(MergeOrganisations(organisations=(old,), into=new), "operator")
    service.do(MergeOrganisations(organisations=(new,), into=newest), "operator")
    [signature] = service.ask(ListSignatures(statement=story.id)).signatures
    assert (signature.name, signature.successors) == ("Old Council", (new,))
    for body in (old, new, newest):
        assert [each.id for each in service.ask(ListStatements(signed_by=body)).statements] == [story.id]
    assert service.ask(ListStatements(signed_by=story.home())).statements == ()


def test_an_organisation_signs_through_its_member_network_and_withdraws(service: Service) -> None:
    story = Story(service)
    leeds = {"statement": story.id, "network": story.networks["leeds"]}
    story.confirm("york")
    york = SignStatement(statement=story.id, network=story.networks["york"])
    assert service.refused(york, "york") == "not-issued"
    story.issue()
    assert service.refused(SignStatement(**leeds), "york") == "not-a-representative"
    assert service.refused(SignStatement(**leeds), "leeds") == "home-not-confirmed"
    assert not service.ask(ShowNetwork(network=story.networks["leeds"])).home_confirmed
    story.confirm("leeds")
    assert service.ask(ShowNetwork(network=story.networks["leeds"])).home_confirmed
    assert service.told_names(story.networks["leeds"])[-1] == "network-home-confirmed"
    service.do(SignStatement(**leeds), "leeds")
    assert service.send(SignStatement(**leeds), "leeds")["done"]["events"] == []
    home = story.home()
    assert [signature.organisation for signature in service.ask(ListSignatures(statement=story.id)).signatures] == [
        home
    ]
    assert service.ask(ListStatements(signed_by=home)).statements[0].signatures == 1
    service.do(WithdrawSignature(**leeds), "leeds")
    assert service.ask(ListSignatures(statement=story.id)).total == 0
    [kept] = service.ask(ListSignatures(statement=story.id, with_withdrawn=True)).signatures
    assert kept.withdrawn_at is not None
    assert service.ask(ListStatements(signed_by=home)).total == 0


def test_a_network_that_nobody_admitted_signs_for_nobody(service: Service) -> None:
    story = Story(service)
    story.issue()
    impostor = service.network("impostor", story.home())
    assert service.refused(SignStatement(statement=story.id, network=impostor), "impostor") == "home-not-confirmed"
    service.do(ConfirmNetworkHome(network=impostor), "operator")
    assert service.refused(SignStatement(statement=story.id, network=impostor), "impostor") == "not-a-member"


def test_one_person_alone_makes_no_organisation_sign(service: Service) -> None:
    story = Story(service)
    umbrella = service.do(
        RegisterNetwork(name="Mine", reach="national", organisation=story.home(), umbrella=GivenUmbrellaRules()), "eve"
    )
    network = service.do(RegisterNetwork(name="Mine too", reach="local", organisation=story.home()), "eve")
    service.do(AppointRepresentative(network=network, person=new_id(), principal="eve"), "eve")
    service.do(ApplyForMembership(umbrella=umbrella, network=network), "eve")
    service.do(AdmitMemberNetwork(umbrella=umbrella, network=network), "eve")
    mine = service.do(DraftStatement(umbrella=umbrella, kind="report", title="Mine", text="Mine."), "eve")
    service.do(ConsultOnStatement(statement=mine, until=clock.now() + timedelta(days=8)), "eve")
    service.do(CommentOnStatement(statement=mine, network=network, text="I agree."), "eve")
    service.do(IssueStatement(statement=mine, version=1), "eve")
    assert service.refused(SignStatement(statement=mine, network=network), "eve") == "home-not-confirmed"


def test_nobody_signs_for_an_organisation_that_is_closed(service: Service) -> None:
    story = Story(service)
    story.issue()
    story.confirm("leeds")
    service.do(CloseOrganisation(organisation=story.home()), "operator")
    leeds = SignStatement(statement=story.id, network=story.networks["leeds"])
    assert service.refused(leeds, "leeds") == "organisation-closed"
    assert service.refused(ConfirmNetworkHome(network=story.networks["york"]), "operator") == "organisation-closed"


def test_a_wording_revised_after_its_consultation_is_consulted_on_again(service: Service) -> None:
    story = Story(service)
    story.consult()
    story.comment("leeds", "york")
    service.do(ReviseStatement(statement=story.id, text="Sleep more."), "leeds")
    assert service.refused(IssueStatement(statement=story.id, version=1)) == "not-the-present-version"
    assert service.refused(IssueStatement(statement=story.id, version=2)) == "revised-since-consultation"
    story.consult()
    story.comment("leeds", "york")
    service.do(IssueStatement(statement=story.id, version=2))
    assert story.shown().text == "Sleep more."


def test_an_operator_notes_what_an_organisation_wrote(service: Service) -> None:
    story = Story(service)
    story.issue()
    letter = {"statement": story.id, "organisation": service.organisation("charity", "charity")}
    service.do(RecordSignature(**letter), "operator")
    [signature] = service.ask(ListSignatures(statement=story.id)).signatures
    assert (signature.name, signature.network) == ("Charity", None)
    service.do(RecordSignatureWithdrawal(**letter), "operator")
    assert service.refused(RecordSignatureWithdrawal(**letter), "operator") == "not-signed"
    assert service.refused(RecordSignature(**letter | {"organisation": new_id()})) == "organisation-unknown"


def test_a_recommendation_is_answered_by_whom_it_is_addressed_to(service: Service) -> None:
    story = Story(service, recommended())
    story.issue()
    home = story.home()
    [everybody] = story.shown().recommendations
    answer = {"statement": story.id, "recommendation": everybody.id, "status": "under-way"}
    assert service.refused(AnswerRecommendation(**answer), "york") == "not-theirs-to-lead"
    story.confirm("york")
    by_york = AnswerRecommendation(**answer, network=story.networks["york"])
    assert service.refused(by_york, "york") == "not-addressed"
    service.do(AnswerRecommendation(**answer), "leeds")  # its author
    assert story.shown().recommendations[0].status == "under-way"
    assert service.ask(ListRecommendations(organisation=home)).total == 0
    assert service.ask(ListRecommendations(status="under-way", umbrella=story.umbrella)).total == 1


def test_an_organisation_that_is_registered_answers_for_itself(service: Service) -> None:
    home = service.organisation("york-hospital", "nhs-body")
    story = Story(service, recommended(organisation=home))
    story.issue()
    [hospital] = story.shown().recommendations
    answer = {"statement": story.id, "recommendation": hospital.id, "status": "done"}
    assert service.refused(AnswerRecommendation(**answer), "leeds") == "addressee-answers"  # its author
    of_the_hospital = service.network("hospital", home)
    by_itself = AnswerRecommendation(**answer, network=of_the_hospital)
    service.do(ApplyForMembership(umbrella=story.umbrella, network=of_the_hospital), "hospital")
    service.do(AdmitMemberNetwork(umbrella=story.umbrella, network=of_the_hospital))
    assert service.refused(by_itself, "hospital") == "home-not-confirmed"
    service.do(RecordRecommendationAnswer(**answer | {"status": "under-way"}), "operator")
    assert story.shown().recommendations[0].status == "under-way"
    service.do(ConfirmNetworkHome(network=of_the_hospital), "operator")
    service.do(by_itself, "hospital")
    assert story.shown().recommendations[0].status == "done"


def test_a_late_recommendation_is_listed_and_said_once(service: Service) -> None:
    soon = clock.now() + timedelta(seconds=3)
    story = Story(service, recommended(due=soon, text="Soon."), recommended())
    story.issue()
    assert len(service.due()) == 2
    until(lambda: service.run() == [] and service.ask(ListRecommendations(late=True)).total == 1)
    until(lambda: service.run() == [] and "recommendation-fell-due" in service.told_names(story.id))
    service.run()
    assert service.told_names(story.id).count("recommendation-fell-due") == 1
    [late] = service.ask(ListRecommendations(late=True)).recommendations
    assert (late.text, late.title, late.late, late.statement) == ("Soon.", "Sleep", True, story.id)
    declined = {"status": "declined", "reason": "No money."}
    service.do(AnswerRecommendation(statement=story.id, recommendation=late.id, **declined))
    assert service.ask(ListRecommendations(late=True)).total == 0


def test_the_recommendations_of_a_draft_are_nobodys_to_answer_yet(service: Service) -> None:
    Story(service, recommended())
    assert service.ask(ListRecommendations()).total == 0
    assert service.due() == []


def test_the_tables_hold_what_the_rules_say(service: Service) -> None:
    story = Story(service, recommended())
    statements, recommendations, signatures = tables.statements, tables.recommendations, tables.signatures
    with pytest.raises(IntegrityError), writing(service.engine) as connection:
        connection.execute(update(statements).values(state="issued", issued_at=clock.now()))
    with pytest.raises(IntegrityError), writing(service.engine) as connection:
        connection.execute(update(recommendations).values(status="declined"))
    row = {"owner": story.id, "key": story.home(), "signed_at": clock.now()}
    with writing(service.engine) as connection:
        connection.execute(insert(signatures), row)
    with pytest.raises(IntegrityError), writing(service.engine) as connection:
        connection.execute(insert(signatures), row)
    with reading(service.engine) as connection:
        assert len(connection.execute(select(signatures)).all()) == 1
