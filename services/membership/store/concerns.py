"""Concerns, and how large the crowd is in which one who raises them cannot be told."""

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select

from services.membership import tables
from services.membership.domain.concern import Crowd
from services.membership.store.pages import page
from shared.contracts.membership import ConcernPage, ConcernSummary, ListConcerns
from shared.unit_of_work import Reader, Work


def crowd(work: Work, umbrella: str) -> Crowd:
    """Who could raise a concern in an umbrella: the representatives of its member networks.

    Their deputies could as well. They are left out, or else it took nobody but oneself to make a crowd by naming them.
    """
    member, speaker = tables.memberships.c, tables.representatives.c
    networks: ColumnElement[Any] = func.count(member.network.distinct()).label("networks")
    representatives: ColumnElement[Any] = func.count(speaker.principal.distinct()).label("representatives")
    statement = (
        select(networks, representatives)
        .join_from(tables.memberships, tables.representatives, speaker.owner == member.network)
        .where(member.umbrella == umbrella, member.state == "admitted")
    )
    [found] = work.select(statement)
    return Crowd(found.networks, found.representatives)


def concern_page(reader: Reader, query: ListConcerns) -> ConcernPage:
    """Concerns in the order they were raised, which is the order of their ids."""
    c, endorsement, member = tables.concerns.c, tables.endorsements.c, tables.memberships.c
    members = select(member.network).where(member.umbrella == c.umbrella, member.state == "admitted")
    members = members.correlate(tables.concerns)  # two levels down it would be any concern's umbrella
    counts = or_(c.state != "open", endorsement.key.in_(members))
    behind = select(func.count()).where(endorsement.owner == c.id, counts).scalar_subquery().label("endorsements")
    overdue = and_(c.state == "submitted", c.reply_by <= reader.now)
    since = case((overdue, c.reply_by)).label("overdue_since")
    columns = (c.id, c.umbrella, c.title, c.state, c.addressee, c.reply_by, c.outcome)
    statement = select(*columns, behind, since)
    for column, wanted in ((c.umbrella, query.umbrella), (c.state, query.state)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.overdue:
        statement = statement.where(overdue)
    rows, total, more = page(reader, statement, c.id, query.after, query.limit)
    summaries = tuple(ConcernSummary.model_validate(row._mapping) for row in rows)
    return ConcernPage(concerns=summaries, total=total, next=summaries[-1].id if more else None)
