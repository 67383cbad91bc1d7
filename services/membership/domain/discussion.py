"""Discussion on proposals: what networks say while a proposal is a draft or open, before and beside their positions.

It changes no outcome: no rule of ``proposal.py`` reads a contribution. One stands under the name of its network and
never under a person's, so no person is kept. Its text lies in the table alone and is in no event message.
"""

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from services.membership.domain.network import Network, acts_for, cannot_speak, speaks_for
from services.membership.domain.proposal import Proposal, not_now
from services.membership.domain.steering_group import SteeringGroup, may_steer
from shared.contracts.membership import (
    ContributeToProposal,
    ContributionMade,
    ContributionWithdrawn,
    WithdrawContribution,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

MAX_CONTRIBUTIONS = 20
"""How often one network may contribute to one proposal, the same for all: nobody talks the others down.

A choice of ours. One that was taken back counts, or else the limit would be none.
"""
HERE: Final = ZoneInfo("Europe/London")
"""Whose day it is."""


class Contribution(BaseModel, frozen=True):
    """What one network said on a proposal. Taken back, it has no ``text`` any more."""

    id: str
    proposal: str
    network: str
    version: int
    text: str | None
    made_at: datetime
    withdrawn_at: datetime | None = None


def contribute(
    proposal: Proposal,
    network: Network,
    command: ContributeToProposal,
    principal: str,
    at: datetime,
    *,
    new_id: str,
    is_member: bool,
    said: int,
) -> Contribution | Refusal:
    """Says something for a network. ``is_member``: it is one of the umbrella now; ``said``: how often it has before.

    A member that came after the opening has no voice and may be heard; one that left keeps its voice, and this too.
    """
    if refusal := not_now(proposal, ContributionMade, "discussed", at):
        return refusal
    if not is_member and network.id not in proposal.voices:
        return Refusal(
            code="not-a-member",
            sentence=f"{network.name} cannot contribute: member networks of the umbrella may, and those that have a "
            "voice on the proposal.",
            field="network",
        )
    if speaks_for(network, principal) is None:
        return cannot_speak(network, principal)
    if said >= MAX_CONTRIBUTIONS:
        return Refusal(
            code="contributed-often-enough",
            sentence=f"{network.name} has contributed {said} times to this proposal, and one more was asked; each "
            f"network may {MAX_CONTRIBUTIONS} times.",
            field="network",
            data={"most": MAX_CONTRIBUTIONS},
        )
    return Contribution(
        id=new_id, proposal=proposal.id, network=network.id, version=proposal.version, text=command.text, made_at=at
    )


def withdraw(
    contribution: Contribution | None,
    network: Network | None,
    command: WithdrawContribution,
    principal: str,
    at: datetime,
) -> Contribution | Refusal:
    """Takes a contribution back, at any time: also when the proposal is over, a network's words are its own.

    ``network`` is the one that made it.
    """
    if contribution is None or network is None or contribution.proposal != command.proposal:
        return Refusal(
            code="contribution-unknown",
            sentence=f"The proposal has no contribution with the id {command.contribution}; list-contributions shows "
            "those it has.",
            field="contribution",
        )
    if not (acts_for(network, principal) or speaks_for(network, principal)):
        return Refusal(
            code="not-of-this-network",
            sentence=f"{principal} cannot take back what {network.name} said: its steward, its representatives and "
            "their deputies may.",
            field="contribution",
        )
    if contribution.withdrawn_at is not None:
        return Refusal(
            code="withdrawn-already",
            sentence=f"That contribution was taken back on {contribution.withdrawn_at:%d %B %Y at %H:%M:%S} UTC.",
            field="contribution",
        )
    return contribution.model_copy(update={"text": None, "withdrawn_at": at})


def day_began(at: datetime) -> datetime:
    """When the day of a moment began in London."""
    return at.astimezone(HERE).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


def told(contribution: Contribution, proposal: Proposal, *, first_of_day: bool) -> list[Event]:
    """What is told of a contribution that was just made or taken back: ids, and not a word of it.

    ``first_of_day`` is whether it was the first on its proposal that day, so that others can tell of a day just once.
    """
    ids = {
        "proposal": proposal.id,
        "umbrella": proposal.umbrella,
        "contribution": contribution.id,
        "network": contribution.network,
    }
    if contribution.withdrawn_at is not None:
        return [ContributionWithdrawn(**ids, withdrawn_at=contribution.withdrawn_at)]
    made = {"version": contribution.version, "made_at": contribution.made_at, "first_of_day": first_of_day}
    return [ContributionMade.model_validate(ids | made)]


def not_for(umbrella: Network, group: SteeringGroup, principal: str, *, speaks: bool) -> Refusal | None:
    """Refuses whoever the discussion is not for. ``speaks``: for a member network, or for one that has a voice.

    Its author reads it for as long as they speak or steer, and no longer: the words are their colleagues'.
    """
    if speaks or may_steer(umbrella, group, principal):
        return None
    return Refusal(
        code="not-a-member",
        sentence=f"{principal} cannot read this discussion: it is for those who speak for the member networks of "
        f"{umbrella.name} or for those asked, and for its steward and steering group.",
        field="proposal",
    )
