"""Statements to public bodies, with their comments, signatures and recommendations."""

from sqlalchemy import and_, func, select

from services.membership import tables
from services.membership.domain.statement_response import SETTLED
from services.membership.store.aggregates import ORGANISATIONS
from services.membership.store.organisations import _steps
from services.membership.store.pages import page
from shared.contracts.membership import (
    CommentPage,
    CommentView,
    ListComments,
    ListRecommendations,
    ListSignatures,
    ListStatements,
    RecommendationLine,
    RecommendationPage,
    SignaturePage,
    SignatureView,
    StatementPage,
    StatementSummary,
)
from shared.unit_of_work import Reader


def statement_page(reader: Reader, query: ListStatements) -> StatementPage:
    """Statements in the order they were drafted, which is the order of their ids."""
    c, signed = tables.statements.c, tables.signatures.c
    standing = and_(signed.owner == c.id, signed.withdrawn_at.is_(None))
    signatures = select(func.count()).where(standing).scalar_subquery().label("signatures")
    statement = select(tables.statements, signatures)
    for column, wanted in ((c.umbrella, query.umbrella), (c.kind, query.kind), (c.state, query.state)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.signed_by is not None:
        body = reader.load(ORGANISATIONS, query.signed_by)
        before = _steps(reader, body, lambda one: one.predecessors) if body else ()
        signers = [query.signed_by, *(one.id for one in before if one.closed_at is not None)]
        mine = select(signed.owner).where(signed.key.in_(signers), signed.withdrawn_at.is_(None))
        statement = statement.where(c.id.in_(mine))
    rows, total, more = page(reader, statement, c.id, query.after, query.limit)
    summaries = tuple(StatementSummary.model_validate(row._mapping) for row in rows)
    return StatementPage(statements=summaries, total=total, next=summaries[-1].id if more else None)


def comment_page(reader: Reader, query: ListComments) -> CommentPage:
    """What networks said on a statement."""
    c, networks = tables.statement_comments.c, tables.networks.c
    statement = (
        select(tables.statement_comments, c.key.label("network"), networks.name)
        .join_from(tables.statement_comments, tables.networks, networks.id == c.key)
        .where(c.owner == query.statement)
    )
    rows, total, more = page(reader, statement, c.key, query.after, query.limit)
    comments = tuple(CommentView.model_validate(row._mapping) for row in rows)
    return CommentPage(comments=comments, total=total, next=comments[-1].network if more else None)


def signature_page(reader: Reader, query: ListSignatures) -> SignaturePage:
    """Who signed a statement."""
    c, organisations = tables.signatures.c, tables.organisations.c
    statement = (
        select(tables.signatures, c.key.label("organisation"), organisations.name, organisations.successors)
        .join_from(tables.signatures, tables.organisations, organisations.id == c.key)
        .where(c.owner == query.statement)
    )
    if not query.with_withdrawn:
        statement = statement.where(c.withdrawn_at.is_(None))
    rows, total, more = page(reader, statement, c.key, query.after, query.limit)
    signatures = tuple(SignatureView.model_validate(row._mapping) for row in rows)
    return SignaturePage(signatures=signatures, total=total, next=signatures[-1].organisation if more else None)


def recommendation_page(reader: Reader, query: ListRecommendations) -> RecommendationPage:
    """Recommendations of issued statements in the order of their ids, the late ones alone if asked for."""
    c, whole = tables.recommendations.c, tables.statements.c
    late = and_(c.due <= reader.now, c.status.not_in(SETTLED))
    statement = (
        select(
            tables.recommendations,
            c.key.label("id"),
            c.owner.label("statement"),
            whole.umbrella,
            whole.title,
            late.label("late"),
        )
        .join_from(tables.recommendations, tables.statements, whole.id == c.owner)
        .where(whole.state == "issued")
    )
    filters = ((whole.umbrella, query.umbrella), (c.organisation, query.organisation), (c.status, query.status))
    for column, wanted in filters:
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.late:
        statement = statement.where(late)
    rows, total, more = page(reader, statement, c.key, query.after, query.limit)
    lines = tuple(RecommendationLine.model_validate(row._mapping) for row in rows)
    return RecommendationPage(recommendations=lines, total=total, next=lines[-1].id if more else None)
