"""Discussion on proposals."""

from pydantic import BaseModel, Field

from shared.contracts.message import Command, Event, Id, Moment, Query, Text


class ContributeToProposal(Command):
    """Says something on a draft or an open proposal for a network, under whose name it stands. It changes no outcome.

    Sent by a representative of a member network or of one that has a voice on the proposal.
    """

    proposal: Id
    network: Id
    text: Text


class WithdrawContribution(Command):
    """Takes back what a network said on a proposal; its words are deleted. Sent by its steward or a representative."""

    proposal: Id
    contribution: Id


class ContributionMade(Event):
    """A network said something on a proposal. What it said is in no message: `list-contributions` shows it."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    contribution: Id
    network: Id
    version: int = Field(description="the wording it was said of")
    made_at: Moment
    first_of_day: bool = Field(
        description="nobody had contributed to this proposal before on that day, as London has it"
    )


class ContributionWithdrawn(Event):
    """A network took back what it said on a proposal."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    contribution: Id
    network: Id
    withdrawn_at: Moment


class ContributionView(BaseModel, frozen=True):
    """What a network said on a proposal."""

    id: Id
    network: Id
    name: str
    version: int = Field(description="the wording it was said of")
    text: str | None = Field(description="none once it was taken back")
    made_at: Moment
    withdrawn_at: Moment | None


class ContributionPage(BaseModel, frozen=True):
    """Contributions in the order they were made."""

    contributions: tuple[ContributionView, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListContributions(Query[ContributionPage]):
    """Lists what networks said on a proposal, in the order they said it.

    For its author, those who steer the umbrella, and representatives of its member networks and of those asked.
    """

    proposal: Id
    network: Id | None = Field(default=None, description="only what this network said")
    limit: int = Field(default=20, ge=1, le=20)
    after: Id | None = Field(default=None, description="`next` of the page before")
