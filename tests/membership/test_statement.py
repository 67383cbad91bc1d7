"""Statements: worded, consulted on, issued for good, signed by organisations, and answered for."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.membership.domain import statement, statement_response
from services.membership.domain.network import Network, Representative
from services.membership.domain.organisation import Organisation
from services.membership.domain.proposal import Proposal
from services.membership.domain.statement import MIN_CONSULTATION, Statement
from services.membership.domain.statement_response import Signatory
from services.membership.domain.steering_group import SteeringGroup
from shared.contracts.membership import (
    AnswerRecommendation,
    CommentOnStatement,
    ConsultOnStatement,
    Decision,
    DraftStatement,
    GivenRecommendation,
    IssueStatement,
    Outcome,
    RecommendationStatus,
    RecordRecommendationAnswer,
    ReviseStatement,
    StatementIssued,
    UmbrellaRules,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
UNTIL = NOON + MIN_CONSULTATION
DUE = NOON + timedelta(days=90)


def an_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


STATEMENT, COUNCIL, HOSPITAL = an_id(1), an_id(5), an_id(6)
HIRE, TRAIN = an_id(31), an_id(32)
UMBRELLA = Network(
    id=an_id(2),
    name="Cross-government network",
    reach="national",
    organisation=an_id(3),
    parent=None,
    office=None,
    umbrella=UmbrellaRules(),
    steering_group=an_id(4),
    steward="sam",
)
GROUP = SteeringGroup(id=an_id(4), network=UMBRELLA.id)


def a_member(name: str, number: int, organisation: str | None) -> Network:
    """Its representative has the network's own name as principal."""
    people = {an_id(100 + number): Representative(principal=name, office=None)}
    changes = {
        "id": an_id(number), "name": name, "organisation": organisation, "umbrella": None, "steering_group": None,
        "reach": "local", "steward": f"{name}-steward", "parent": UMBRELLA.id, "representatives": people,
        "home_confirmed": organisation is not None,
    }  # fmt: skip
    return UMBRELLA.model_copy(update=changes)


LEEDS, YORK = a_member("leeds", 21, COUNCIL), a_member("york", 22, HOSPITAL)
MEMBERS = [LEEDS.id, YORK.id]
HOME = Organisation(id=COUNCIL, key="leeds-city-council", name="Leeds City Council", type="council")


def after(decision: Sequence[Event] | Refusal, state: Statement | None = None) -> Statement:
    assert not isinstance(decision, Refusal), decision
    for event in decision:
        state = statement.evolve(state, event)
    assert state is not None
    return state


def code(decision: Sequence[Event] | Refusal | Signatory) -> str:
    assert isinstance(decision, Refusal), decision
    return decision.code


def recommended(**changes: Any) -> GivenRecommendation:
    fields = {"text": "Employ a counsellor.", "addressee": "Leeds City Council", "organisation": COUNCIL, "due": DUE}
    return GivenRecommendation(**fields | changes)


def draft(kind: Any = "report", at: datetime = NOON, may: bool = True, **changes: Any) -> list[Event] | Refusal:
    given = (recommended(**changes), recommended(text="Train managers.", addressee="Everybody", organisation=None))
    command = DraftStatement(umbrella=UMBRELLA.id, kind=kind, title="Sleep", text="Sleep.", recommendations=given)
    return statement.draft(
        UMBRELLA,
        command,
        "ann",
        new_id=STATEMENT,
        recommended=statement.numbered(given, [HIRE, TRAIN]),
        organisations={COUNCIL},
        may_draft=may,
        at=at,
    )


def revise(state: Statement, text: str = "Sleep more.", at: datetime = NOON) -> list[Event] | Refusal:
    command = ReviseStatement(statement=STATEMENT, text=text)
    return statement.revise(state, command, recommended=(), organisations=(), at=at)


def consult(state: Statement, until: datetime = UNTIL, at: datetime = NOON) -> list[Event] | Refusal:
    return statement.consult(state, UMBRELLA, ConsultOnStatement(statement=STATEMENT, until=until), MEMBERS, at)


def comment(
    state: Statement, by: Network = LEEDS, text: str = "Too long.", at: datetime = NOON, principal: str | None = None
) -> list[Event] | Refusal:
    command = CommentOnStatement(statement=STATEMENT, network=by.id, text=text)
    return statement.comment(state, by, command, principal or by.name, at)


def issue(
    state: Statement,
    at: datetime = UNTIL,
    agreed: Proposal | None = None,
    *,
    version: int | None = None,
    members: Sequence[str] = tuple(MEMBERS),
    by: str = "sam",
) -> list[Event] | Refusal:
    command = IssueStatement(statement=STATEMENT, version=version or state.version)
    return statement.issue(state, UMBRELLA, command, agreed, by, members=members, may_issue=by == "sam", at=at)


def consulted(kind: Any = "report") -> Statement:
    drafted = after(draft(kind))
    return after(consult(drafted), drafted)


def issued() -> Statement:
    state = consulted()
    return after(issue(state), state)


# ---- wording and consulting ----------------------------------------------------------------------------------------


def test_a_statement_is_drafted_consulted_on_and_issued() -> None:
    state = issued()
    assert (state.state, state.title, state.author, state.issued_at) == ("issued", "Sleep", "ann", UNTIL)
    assert [each.addressee for each in state.recommendations.values()] == ["Leeds City Council", "Everybody"]


def test_strangers_draft_nothing_and_the_author_and_the_steering_group_lead() -> None:
    assert code(draft(may=False)) == "not-a-member"
    state = consulted()
    refusal = statement.not_leading(state, UMBRELLA, GROUP, "york")
    assert refusal is not None
    assert refusal.code == "not-theirs-to-lead"
    assert statement.not_leading(state, UMBRELLA, GROUP, "ann") is None
    assert statement.not_leading(state, UMBRELLA, GROUP, "sam") is None


def test_a_recommendation_names_a_known_organisation_and_a_day_to_come() -> None:
    assert code(draft(organisation=HOSPITAL)) == "organisation-unknown"
    assert code(draft(due=NOON)) == "due-already"


def test_a_consultation_takes_a_week_at_the_least() -> None:
    drafted = after(draft())
    assert code(consult(drafted, until=UNTIL - timedelta(seconds=1))) == "consultation-too-short"
    assert after(consult(drafted), drafted).consulted_until == UNTIL


def test_the_wording_stays_while_networks_comment_on_it() -> None:
    state = consulted()
    assert code(revise(state)) == "consultation-runs"
    assert code(consult(state)) == "consultation-runs"
    assert after(revise(state, at=UNTIL), state).version == 2


def test_a_network_that_was_asked_comments_until_the_date_and_the_latest_counts() -> None:
    state = consulted()
    once = after(comment(state), state)
    assert comment(once) == []
    twice = after(comment(once, text="Better."), once)
    assert [(said.text, said.version) for said in twice.comments.values()] == [("Better.", 1)]
    assert code(comment(state, at=UNTIL)) == "consultation-closed"
    assert code(comment(state, principal="york")) == "not-a-representative"
    assert code(comment(state, by=a_member("hull", 23, None))) == "not-consulted"
    assert code(comment(after(draft()))) == "not-consulted-on"


def test_a_second_consultation_asks_everybody_again() -> None:
    state = consulted()
    state = after(comment(state), state)
    revised = after(revise(state, at=UNTIL), state)
    again = after(consult(revised, until=UNTIL + MIN_CONSULTATION, at=UNTIL), revised)
    assert statement.silent(again) == (LEEDS.id, YORK.id)
    assert again.comments[LEEDS.id].version == 1
    said = after(comment(again, at=UNTIL), again)
    assert said.comments[LEEDS.id].version == 2


@pytest.mark.parametrize("behind", [timedelta(milliseconds=20), timedelta(days=1)])
def test_a_comment_counts_in_its_consultation_and_no_other_whatever_the_clocks_say(behind: timedelta) -> None:
    state = consulted()
    state = after(comment(state, at=NOON - behind), state)
    assert statement.silent(state) == (YORK.id,)
    state = after(comment(state, by=YORK, at=NOON + behind), state)
    revised = after(revise(state), state)
    again = after(consult(revised, until=UNTIL), revised)
    assert statement.silent(again) == (LEEDS.id, YORK.id)
    assert statement.silent(after(comment(again), again)) == (YORK.id,)


# ---- issuing -------------------------------------------------------------------------------------------------------


def test_a_statement_is_issued_after_the_date_or_once_every_network_has_commented() -> None:
    assert code(issue(after(draft()))) == "not-consulted-on"
    state = consulted()
    assert code(issue(state, at=NOON)) == "consultation-runs"
    state = after(comment(state), state)
    assert code(issue(state, at=NOON)) == "consultation-runs"
    state = after(comment(state, by=YORK), state)
    assert after(issue(state, at=NOON), state).state == "issued"


def test_the_author_alone_does_not_speak_for_the_umbrella() -> None:
    assert code(issue(consulted(), by="ann")) == "not-of-the-steering-group"


def test_the_version_that_is_issued_is_the_present_one() -> None:
    state = consulted()
    assert code(issue(state, version=2)) == "not-the-present-version"
    revised = after(revise(state, at=UNTIL), state)
    assert code(issue(revised, version=1)) == "not-the-present-version"


@pytest.mark.parametrize("at", [NOON, UNTIL], ids=["once all have commented", "after the date"])
def test_a_wording_that_nobody_was_asked_about_is_not_issued(at: datetime) -> None:
    state = consulted()
    for network in (LEEDS, YORK):
        state = after(comment(state, by=network), state)
    revised = after(revise(state, at=at), state)
    assert code(issue(revised, at=UNTIL)) == "revised-since-consultation"
    again = after(consult(revised, until=at + MIN_CONSULTATION, at=at), revised)
    issued = after(issue(again, at=at + MIN_CONSULTATION), again)
    assert (issued.state, issued.version) == ("issued", 2)


def test_where_no_member_is_left_to_ask_a_revised_wording_is_issued() -> None:
    state = consulted()
    revised = after(revise(state, at=UNTIL), state)
    assert after(issue(revised, members=[]), revised).state == "issued"
    assert code(issue(after(draft()), members=[])) == "not-consulted-on"


def test_what_is_issued_stays_as_it_is() -> None:
    state = issued()
    later = UNTIL + timedelta(days=1)
    decisions = revise(state, at=later), consult(state, at=later), comment(state, at=later), issue(state, at=later)
    assert {code(decision) for decision in decisions} == {"statement-issued"}


def test_a_recommendation_that_fell_due_meanwhile_is_not_issued() -> None:
    assert code(issue(consulted(), at=DUE)) == "due-already"


def a_proposal(outcome: Outcome = "agreed", **changes: Any) -> Proposal:
    decision = Decision(outcome=outcome, sentence="So.", asked=2, spoke=2, counts={}, closed_at=NOON)
    text = f"We say so: {statement.digest(consulted('consensus-statement'))}"
    fields = {"id": an_id(9), "umbrella": UMBRELLA.id, "author": "ann", "title": "SLEEP", "text": text}
    return Proposal(**fields | {"state": "closed", "opened_at": NOON, "decision": decision} | changes)


def test_a_consensus_statement_needs_the_consensus() -> None:
    state = consulted("consensus-statement")
    [event] = issue(state, agreed=a_proposal())
    assert isinstance(event, StatementIssued)
    assert event.proposal == an_id(9)


def test_which_was_first_by_the_clock_does_not_matter_to_the_consensus() -> None:
    before = a_proposal(opened_at=NOON - timedelta(days=1))
    [event] = issue(consulted("consensus-statement"), agreed=before)
    assert isinstance(event, StatementIssued)


@pytest.mark.parametrize(
    "proposal",
    [
        None,
        a_proposal("blocked"),
        a_proposal(state="open", decision=None),
        a_proposal(umbrella=an_id(77)),
        a_proposal(title="Breakfast"),
        a_proposal(text="We say so."),
    ],
    ids=["none", "blocked", "undecided", "of another umbrella", "on something else", "in other words"],
)
def test_nothing_less_than_an_agreed_proposal_on_this_wording_is_the_consensus(
    proposal: Proposal | None,
) -> None:
    assert code(issue(consulted("consensus-statement"), agreed=proposal)) == "not-agreed"


def test_every_change_of_a_wording_has_another_digest() -> None:
    state = consulted()
    [first, *others] = state.recommendations
    changed = state.recommendations[first].model_copy(update={"text": "Do nothing."})
    wordings = (
        state,
        state.model_copy(update={"title": "Breakfast"}),
        state.model_copy(update={"text": "Sleep less."}),
        state.model_copy(update={"recommendations": {**state.recommendations, first: changed}}),
        state.model_copy(update={"recommendations": {id_: state.recommendations[id_] for id_ in others}}),
        state.model_copy(update={"id": an_id(8)}),
        state.model_copy(update={"worded_at": state.worded_at + timedelta(microseconds=1)}),
    )
    assert len({statement.digest(each) for each in wordings}) == len(wordings)
    assert statement.digest(state.model_copy(update={"version": 7})) == statement.digest(state)


# ---- signing -------------------------------------------------------------------------------------------------------


def test_a_representative_of_a_member_network_signs_for_its_home_organisation() -> None:
    by = statement_response.signatory(UMBRELLA, LEEDS, HOME, "leeds", is_member=True)
    assert by == Signatory(organisation=COUNCIL, network=LEEDS.id, person=an_id(121))


def test_nobody_else_speaks_for_an_organisation() -> None:
    homeless = LEEDS.model_copy(update={"organisation": None, "home_confirmed": False})
    for umbrella, network, home, principal, is_member, expected in (
        (UMBRELLA, LEEDS, HOME, "york", True, "not-a-representative"),
        (UMBRELLA, LEEDS, HOME, "leeds-steward", True, "not-a-representative"),
        (UMBRELLA, homeless, None, "leeds", True, "no-home-organisation"),
        (UMBRELLA, LEEDS, HOME, "leeds", False, "not-a-member"),
    ):
        assert code(statement_response.signatory(umbrella, network, home, principal, is_member=is_member)) == expected


def test_a_home_is_spoken_for_once_an_operator_confirmed_it_and_while_it_is_open() -> None:
    unconfirmed = LEEDS.model_copy(update={"home_confirmed": False})
    closed = HOME.model_copy(update={"closed_at": NOON})
    for network, home, expected in (
        (unconfirmed, HOME, "home-not-confirmed"),
        (LEEDS, closed, "organisation-closed"),
    ):
        decision = statement_response.signatory(UMBRELLA, network, home, "leeds", is_member=True)
        assert code(decision) == expected
        assert isinstance(decision, Refusal)
        assert "confirm-network-home" in decision.sentence
        assert "records the signature" in decision.sentence


BY_LETTER = Signatory(organisation=COUNCIL)


def test_an_organisation_signs_once_withdraws_and_may_sign_again() -> None:
    state = issued()
    assert code(statement_response.withdraw_signature(state, BY_LETTER, UNTIL)) == "not-signed"
    signed = after(statement_response.sign(state, BY_LETTER, UNTIL), state)
    assert statement_response.sign(signed, BY_LETTER, DUE) == []
    withdrawn = after(statement_response.withdraw_signature(signed, BY_LETTER, DUE), signed)
    assert (withdrawn.signatures[COUNCIL].signed_at, withdrawn.signatures[COUNCIL].withdrawn_at) == (UNTIL, DUE)
    assert code(statement_response.withdraw_signature(withdrawn, BY_LETTER, DUE)) == "not-signed"
    assert after(statement_response.sign(withdrawn, BY_LETTER, DUE), withdrawn).signatures[COUNCIL].withdrawn_at is None


def test_nothing_is_signed_whose_text_may_still_change() -> None:
    assert code(statement_response.sign(consulted(), BY_LETTER, NOON)) == "not-issued"


# ---- recommendations -----------------------------------------------------------------------------------------------


def answer(
    state: Statement,
    status: RecommendationStatus,
    reason: str | None = None,
    by: Signatory | None = BY_LETTER,
    recommendation: str = HIRE,
) -> list[Event] | Refusal:
    command = AnswerRecommendation(statement=STATEMENT, recommendation=recommendation, status=status, reason=reason)
    return statement_response.answer(state, command, by, DUE)


def test_to_decline_or_to_go_back_needs_a_reason() -> None:
    state = issued()
    assert code(answer(state, "declined")) == "reason-missing"
    done = after(answer(state, "done"), state)
    assert answer(done, "done") == []
    assert code(answer(done, "open")) == "reason-missing"
    assert after(answer(done, "open", "She left."), done).recommendations[HIRE].reason == "She left."


def test_an_organisation_answers_what_is_addressed_to_it_and_nothing_else() -> None:
    state = issued()
    assert after(answer(state, "under-way", by=BY_LETTER), state).recommendations[HIRE].status == "under-way"
    assert code(answer(state, "under-way", by=Signatory(organisation=HOSPITAL))) == "not-addressed"
    assert code(answer(consulted(), "done")) == "no-such-recommendation"


def test_who_recommends_does_not_answer_for_an_organisation_that_can() -> None:
    state = issued()
    assert code(answer(state, "done", by=None)) == "addressee-answers"
    letter = RecordRecommendationAnswer(statement=STATEMENT, recommendation=HIRE, status="done")
    assert after(statement_response.answer(state, letter, None, DUE), state).recommendations[HIRE].status == "done"
    everybody = after(answer(state, "done", by=None, recommendation=TRAIN), state)
    assert everybody.recommendations[TRAIN].status == "done"
    assert RecordRecommendationAnswer.roles == ("operator",)


@pytest.mark.parametrize(
    ("status", "late"), [("open", True), ("under-way", True), ("done", False), ("declined", False)]
)
def test_what_is_due_and_neither_done_nor_declined_is_late(status: RecommendationStatus, late: bool) -> None:
    [hire, _] = issued().recommendations.values()
    hire = hire.model_copy(update={"status": status})
    assert statement_response.is_late(hire, DUE) is late
    assert not statement_response.is_late(hire, DUE - timedelta(seconds=1))


def test_falling_due_is_said_of_what_nobody_answered() -> None:
    state = issued()
    assert len(statement_response.fall_due(state, HIRE, DUE)) == 1
    assert statement_response.fall_due(state, HIRE, DUE - timedelta(seconds=1)) == []
    assert statement_response.fall_due(after(answer(state, "under-way"), state), HIRE, DUE) == []
    assert statement_response.fall_due(state, an_id(99), DUE) == []
