"""Statements: drafted, consulted on, issued, signed; and what became of what they recommend."""

from services.membership import store
from services.membership.domain import network, proposal, statement, statement_response, steering_group
from services.membership.domain.network import Network
from services.membership.domain.statement import Statement
from services.membership.domain.statement_response import Signatory
from services.membership.domain.steering_group import SteeringGroup
from services.membership.handlers.surface import on
from services.membership.store import NETWORKS, ORGANISATIONS, PAST, PROPOSALS, STATEMENTS
from shared.contracts.membership import (
    AnswerRecommendation,
    CommentOnStatement,
    CommentPage,
    ConsultOnStatement,
    DraftStatement,
    GivenRecommendation,
    IssueStatement,
    ListComments,
    ListRecommendations,
    ListSignatures,
    ListStatements,
    RecommendationPage,
    RecommendationView,
    RecordRecommendationAnswer,
    RecordSignature,
    RecordSignatureWithdrawal,
    ReviseStatement,
    ShowStatement,
    SignaturePage,
    SignStatement,
    StatementPage,
    StatementView,
    WithdrawSignature,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.timers import Timer
from shared.unit_of_work import Place, Reader, Work

RECOMMENDATION_DUE = "recommendation-due"

About = (
    ReviseStatement
    | ConsultOnStatement
    | IssueStatement
    | AnswerRecommendation
    | RecordRecommendationAnswer
    | RecordSignature
    | RecordSignatureWithdrawal
)
Speaking = CommentOnStatement | SignStatement | WithdrawSignature


def _statement(command: About) -> list[Place]:
    return [(STATEMENTS, command.statement)]


def _statement_and_network(command: Speaking) -> list[Place]:
    return [(STATEMENTS, command.statement), (NETWORKS, command.network)]


def _addressees(given: tuple[GivenRecommendation, ...], work: Work) -> set[str]:
    """The addressees that are registered."""
    return set(work.load_all(ORGANISATIONS, [each.organisation for each in given if each.organisation]))


def _load(id_: str, work: Work) -> tuple[Statement, Network, SteeringGroup] | Refusal:
    state = work.load(STATEMENTS, id_)
    if state is None:
        return statement.unknown(id_)
    found = store.load_umbrella(work, state.umbrella)
    return found if isinstance(found, Refusal) else (state, *found)


# ---- wording, consulting, issuing ----------------------------------------------------------------------------------


@on.command(DraftStatement, loads=lambda command: [(NETWORKS, command.umbrella)])
def draft_statement(command: DraftStatement, work: Work) -> Done | Refusal:
    found = store.load_umbrella(work, command.umbrella, "umbrella")
    if isinstance(found, Refusal):
        return found
    umbrella, group = found
    may_draft = steering_group.may_steer(umbrella, group, work.principal) or store.speaks_in(
        work, umbrella.id, work.principal
    )
    id_ = work.new_id()
    decision = statement.draft(
        umbrella,
        command,
        work.principal,
        new_id=id_,
        recommended=statement.numbered(command.recommendations, [work.new_id() for _ in command.recommendations]),
        organisations=_addressees(command.recommendations, work),
        may_draft=may_draft,
        at=work.now,
    )
    return work.save(STATEMENTS, id_, decision)


@on.command(ReviseStatement, loads=_statement)
def revise_statement(command: ReviseStatement, work: Work) -> Done | Refusal:
    found = _load(command.statement, work)
    if isinstance(found, Refusal):
        return found
    state, umbrella, group = found
    decision = statement.not_leading(state, umbrella, group, work.principal) or statement.revise(
        state,
        command,
        recommended=statement.numbered(command.recommendations, [work.new_id() for _ in command.recommendations]),
        organisations=_addressees(command.recommendations, work),
        at=work.now,
    )
    return work.save(STATEMENTS, state.id, decision)


@on.command(ConsultOnStatement, loads=_statement)
def consult_on_statement(command: ConsultOnStatement, work: Work) -> Done | Refusal:
    found = _load(command.statement, work)
    if isinstance(found, Refusal):
        return found
    state, umbrella, group = found
    members = store.electorate(work, umbrella.id)
    decision = statement.not_leading(state, umbrella, group, work.principal) or statement.consult(
        state, umbrella, command, members, work.now
    )
    return work.save(STATEMENTS, state.id, decision)


@on.command(CommentOnStatement, loads=_statement_and_network)
def comment_on_statement(command: CommentOnStatement, work: Work) -> Done | Refusal:
    state, speaker = work.load(STATEMENTS, command.statement), work.load(NETWORKS, command.network)
    if state is None:
        return statement.unknown(command.statement)
    if speaker is None:
        return network.unknown(command.network)
    return work.save(STATEMENTS, state.id, statement.comment(state, speaker, command, work.principal, work.now))


@on.command(IssueStatement, loads=_statement)
def issue_statement(command: IssueStatement, work: Work) -> Done | Refusal:
    found = _load(command.statement, work)
    if isinstance(found, Refusal):
        return found
    state, umbrella, group = found
    agreed = work.load(PROPOSALS, command.proposal) if command.proposal else None
    if command.proposal and agreed is None:
        return proposal.unknown(command.proposal)
    may_issue = steering_group.may_steer(umbrella, group, work.principal)
    members = store.electorate(work, umbrella.id)
    decision = statement.issue(
        state, umbrella, command, agreed, work.principal, members=members, may_issue=may_issue, at=work.now
    )
    for id_, recommended in () if isinstance(decision, Refusal) else state.recommendations.items():
        work.set_timer(RECOMMENDATION_DUE, id_, recommended.due, {"statement": state.id})
    return work.save(STATEMENTS, state.id, decision)


# ---- signing -------------------------------------------------------------------------------------------------------


def _signatory(umbrella: Network, network_id: str, work: Work) -> Signatory | Refusal:
    """The organisation that whoever asks may speak for through a network."""
    speaker = work.load(NETWORKS, network_id)
    if speaker is None:
        return network.unknown(network_id)
    joined = store.membership_of(work, umbrella.id, speaker.id)
    is_member = joined is not None and joined.state == "admitted"
    home = work.load(ORGANISATIONS, speaker.organisation) if speaker.organisation else None
    return statement_response.signatory(umbrella, speaker, home, work.principal, is_member=is_member)


@on.command(SignStatement, loads=_statement_and_network)
def sign_statement(command: SignStatement, work: Work) -> Done | Refusal:
    return _sign_or_withdraw(command, work)


@on.command(WithdrawSignature, loads=_statement_and_network)
def withdraw_signature(command: WithdrawSignature, work: Work) -> Done | Refusal:
    return _sign_or_withdraw(command, work)


def _sign_or_withdraw(command: SignStatement | WithdrawSignature, work: Work) -> Done | Refusal:
    found = _load(command.statement, work)
    if isinstance(found, Refusal):
        return found
    state, umbrella, _ = found
    by = _signatory(umbrella, command.network, work)
    if isinstance(by, Refusal):
        return by
    decide = statement_response.sign if isinstance(command, SignStatement) else statement_response.withdraw_signature
    return work.save(STATEMENTS, state.id, decide(state, by, work.now))


@on.command(RecordSignature, loads=_statement)
def record_signature(command: RecordSignature, work: Work) -> Done | Refusal:
    return _record(command, work)


@on.command(RecordSignatureWithdrawal, loads=_statement)
def record_signature_withdrawal(command: RecordSignatureWithdrawal, work: Work) -> Done | Refusal:
    return _record(command, work)


def _record(command: RecordSignature | RecordSignatureWithdrawal, work: Work) -> Done | Refusal:
    state = work.load(STATEMENTS, command.statement)
    if state is None:
        return statement.unknown(command.statement)
    if work.load(ORGANISATIONS, command.organisation) is None:
        return statement_response.unknown_organisation(command.organisation)
    decide = statement_response.sign if isinstance(command, RecordSignature) else statement_response.withdraw_signature
    return work.save(STATEMENTS, state.id, decide(state, Signatory(organisation=command.organisation), work.now))


# ---- recommendations -----------------------------------------------------------------------------------------------


@on.command(AnswerRecommendation, loads=_statement)
def answer_recommendation(command: AnswerRecommendation, work: Work) -> Done | Refusal:
    found = _load(command.statement, work)
    if isinstance(found, Refusal):
        return found
    state, umbrella, group = found
    by = _signatory(umbrella, command.network, work) if command.network else None
    if isinstance(by, Refusal):
        return by
    if by is None and (refusal := statement.not_leading(state, umbrella, group, work.principal)):
        return refusal
    return work.save(STATEMENTS, state.id, statement_response.answer(state, command, by, work.now))


@on.command(RecordRecommendationAnswer, loads=_statement)
def record_recommendation_answer(command: RecordRecommendationAnswer, work: Work) -> Done | Refusal:
    state = work.load(STATEMENTS, command.statement)
    if state is None:
        return statement.unknown(command.statement)
    return work.save(STATEMENTS, state.id, statement_response.answer(state, command, None, work.now))


@on.timer(RECOMMENDATION_DUE, loads=lambda timer: [(STATEMENTS, timer.data["statement"])])
def recommendation_due(timer: Timer, work: Work) -> None:
    state = work.load(STATEMENTS, timer.data["statement"])
    if state:
        work.save(STATEMENTS, state.id, statement_response.fall_due(state, timer.key, work.now))


# ---- questions -----------------------------------------------------------------------------------------------------


@on.query(ListStatements, as_of_from=PAST)
def list_statements(query: ListStatements, reader: Reader) -> StatementPage:
    return store.statement_page(reader, query)


@on.query(ShowStatement)
def show_statement(query: ShowStatement, reader: Reader) -> StatementView | Refusal:
    state = reader.load(STATEMENTS, query.statement)
    if state is None:
        return statement.unknown(query.statement)
    recommendations = tuple(
        RecommendationView(id=id_, **each.model_dump(), late=statement_response.is_late(each, reader.now))
        for id_, each in state.recommendations.items()
    )
    shown = set(StatementView.model_fields) - {"recommendations"}
    return StatementView(
        **state.model_dump(include=shown),
        commented=tuple(sorted(state.comments)),
        silent=statement.silent(state),
        recommendations=recommendations,
        digest=statement.digest(state),
    )


@on.query(ListComments)
def list_comments(query: ListComments, reader: Reader) -> CommentPage:
    return store.comment_page(reader, query)


@on.query(ListSignatures, as_of_from=PAST)
def list_signatures(query: ListSignatures, reader: Reader) -> SignaturePage:
    return store.signature_page(reader, query)


@on.query(ListRecommendations, as_of_from=PAST)
def list_recommendations(query: ListRecommendations, reader: Reader) -> RecommendationPage:
    return store.recommendation_page(reader, query)
