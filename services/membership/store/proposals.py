"""Proposals, and the discussion on them."""

from datetime import datetime

from sqlalchemy import and_, exists, func, or_, select

from services.membership import tables
from services.membership.domain.proposal import Proposal
from services.membership.store.pages import page
from shared.contracts.membership import (
    ContributionPage,
    ContributionView,
    ListContributions,
    ListProposals,
    ProposalPage,
    ProposalSummary,
)
from shared.unit_of_work import Reader, Work


def proposal_page(reader: Reader, query: ListProposals) -> ProposalPage:
    """Proposals in the order they were drafted, which is the order of their ids."""
    c, voice = tables.proposals.c, tables.voices.c
    asked = select(func.count()).where(voice.owner == c.id).scalar_subquery().label("asked")
    has_spoken = and_(voice.owner == c.id, voice.stance.is_not(None))
    spoke = select(func.count()).where(has_spoken).scalar_subquery().label("spoke")
    statement = select(c.id, c.umbrella, c.title, c.state, c.decision, c.deadline, asked, spoke)
    for column, wanted in ((c.umbrella, query.umbrella), (c.state, query.state)):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if query.awaits is not None:
        silent = exists().where(voice.owner == c.id, voice.key == query.awaits, voice.stance.is_(None))
        statement = statement.where(c.state == "open", silent)
    rows, total, more = page(reader, statement, c.id, query.after, query.limit)
    summaries = tuple(
        ProposalSummary.model_validate({**row._mapping, "outcome": row.decision["outcome"] if row.decision else None})
        for row in rows
    )
    return ProposalPage(proposals=summaries, total=total, next=summaries[-1].id if more else None)


def contributions_of(work: Work, proposal: str, network: str) -> int:
    """How often a network contributed to a proposal, those included that it took back."""
    c = tables.contributions.c
    return len(work.select(select(c.id).where(c.proposal == proposal, c.network == network)))


def discussed_since(work: Work, proposal: str, moment: datetime) -> bool:
    """Whether anybody contributed to a proposal from a moment on."""
    c = tables.contributions.c
    return bool(work.select(select(c.id).where(c.proposal == proposal, c.made_at >= moment).limit(1)))


def speaks_on(reader: Reader, proposal: Proposal, principal: str) -> bool:
    """Whether somebody speaks for a member network of a proposal's umbrella, or for one that has a voice on it."""
    member, speaker, voice = tables.memberships.c, tables.representatives.c, tables.voices.c
    members = select(member.network).where(member.umbrella == proposal.umbrella, member.state == "admitted")
    asked = select(voice.key).where(voice.owner == proposal.id)
    theirs = or_(speaker.owner.in_(members), speaker.owner.in_(asked))
    them = or_(speaker.principal == principal, speaker.deputy_principal == principal)
    return bool(reader.select(select(speaker.owner).where(them, theirs).limit(1)))


def contribution_page(reader: Reader, query: ListContributions) -> ContributionPage:
    """What networks said on a proposal in the order they said it, which is the order of the ids."""
    c, networks = tables.contributions.c, tables.networks.c
    statement = (
        select(tables.contributions, networks.name)
        .join_from(tables.contributions, tables.networks, networks.id == c.network)
        .where(c.proposal == query.proposal)
    )
    if query.network is not None:
        statement = statement.where(c.network == query.network)
    rows, total, more = page(reader, statement, c.id, query.after, query.limit)
    contributions = tuple(ContributionView.model_validate(row._mapping) for row in rows)
    return ContributionPage(contributions=contributions, total=total, next=contributions[-1].id if more else None)
