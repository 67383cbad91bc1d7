"""Decisions by consensus: proposals and positions on them."""

from typing import Literal

from pydantic import BaseModel, Field

from shared.contracts.membership.steering_group import Share
from shared.contracts.message import AsOf, Command, Event, Id, Line, Moment, Principal, Query, Text

Position = Literal["consent", "reservations", "stand-aside", "block"]
Outcome = Literal["agreed", "blocked", "no-quorum", "no-consensus"]
ProposalState = Literal["draft", "open", "closed", "withdrawn"]


class DraftProposal(Command):
    """Writes down a proposal to the members of an umbrella network.

    Sent by a representative of a member network, the umbrella's steward or one of its steering group.
    """

    umbrella: Id
    title: Line
    text: Text


class OpenProposal(Command):
    """Puts a draft to all who are member networks at this moment. Sent by its author or the steering group."""

    proposal: Id
    deadline: Moment = Field(description="when it closes by itself")


class TakePosition(Command):
    """Says where a network stands. Any of its representatives may; the latest before the close is what counts."""

    proposal: Id
    network: Id = Field(description="the network whose one voice this is")
    position: Position
    reason: Text | None = Field(
        default=None,
        description="required for every position but consent; the more networks are asked, the shorter it must be, "
        "since the outcome carries every reason",
    )


class AmendProposal(Command):
    """Changes a proposal's wording. If it is open, every network is asked again, and has seven days at the least."""

    proposal: Id
    title: Line | None = Field(default=None, description="left out, as it was")
    text: Text
    deadline: Moment | None = Field(
        default=None,
        description="a later deadline for an open proposal, at least seven days away; left out, it stays as it was, or "
        "is seven days away if that is later",
    )


class CloseProposal(Command):
    """Closes an open proposal before its deadline, once every network has spoken and no block stands."""

    proposal: Id


class WithdrawProposal(Command):
    """Takes a proposal back, for a reason that stays on record."""

    proposal: Id
    reason: Text


class Stance(BaseModel, frozen=True):
    """What one network said on a proposal, and when."""

    network: Id
    version: int = Field(description="the wording it was said of: 1, then one more with each amendment")
    position: Position
    reason: str | None
    person: Id = Field(description="opaque id of the representative who said it")
    taken_at: Moment


class ProposalDrafted(Event):
    """A proposal is written down and not yet open."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    title: Line
    text: Text
    author: Principal


class ProposalOpened(Event):
    """Networks are asked for their positions. The electorate is who were members at that moment, and stays so."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    title: Line
    version: int
    electorate: tuple[Id, ...]
    quorum: int = Field(description="how many networks must speak")
    stand_aside_limit: Share
    opened_at: Moment
    deadline: Moment


class PositionTaken(Event):
    """A network said where it stands, or changed its mind."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    stance: Stance


class ProposalAmended(Event):
    """The wording changed; if the proposal is open, every network is asked again."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    title: Line
    text: Text
    version: int
    deadline: Moment | None = Field(description="when it closes by itself from now on; none while it is a draft")


class ProposalDecided(Event):
    """A proposal is closed. The outcome states itself, with every reason given, and does not change any more."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    title: Line
    version: int
    outcome: Outcome
    sentence: str = Field(description="the outcome and the rule that made it, in words")
    asked: int
    spoke: int
    counts: dict[Position, int]
    stances: tuple[Stance, ...] = Field(description="where each network that spoke stood at the close, by network id")
    closed_at: Moment


class ProposalWithdrawn(Event):
    """A proposal was taken back before it was decided."""

    key = "proposal"
    proposal: Id
    umbrella: Id
    title: Line
    reason: Text


class ProposalSummary(BaseModel, frozen=True):
    """One proposal in a list."""

    id: Id
    umbrella: Id
    title: str
    state: ProposalState
    outcome: Outcome | None
    deadline: Moment | None
    asked: int
    spoke: int


class ProposalPage(BaseModel, frozen=True):
    """Proposals in the order they were drafted."""

    proposals: tuple[ProposalSummary, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListProposals(Query[ProposalPage]):
    """Lists proposals in the order they were drafted, all or those that fit every filter given."""

    umbrella: Id | None = None
    state: ProposalState | None = None
    awaits: Id | None = Field(default=None, description="open ones on which this network has not said where it stands")
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


class VoiceView(BaseModel, frozen=True):
    """One network's voice on a proposal."""

    network: Id
    name: str
    stance: Stance | None = Field(description="none while it has not spoken on the present wording")
    earlier: int = Field(description="how many times it spoke before, on this wording or others")


class Decision(BaseModel, frozen=True):
    """The outcome of a proposal."""

    outcome: Outcome
    sentence: str
    asked: int
    spoke: int
    counts: dict[Position, int]
    closed_at: Moment


class ProposalView(BaseModel, frozen=True):
    """One proposal whole."""

    id: Id
    umbrella: Id
    author: Principal
    title: str
    text: str
    version: int
    state: ProposalState
    opened_at: Moment | None
    deadline: Moment | None
    quorum: int
    stand_aside_limit: Share
    voices: tuple[VoiceView, ...]
    decision: Decision | None
    withdrawn_because: str | None


class ShowProposal(Query[ProposalView]):
    """Shows one proposal with every network's position and, once decided, the outcome."""

    proposal: Id
    as_of: AsOf = None


class VoiceHistory(BaseModel, frozen=True):
    """Everything one network said on a proposal, oldest first."""

    stances: tuple[Stance, ...]


class ShowVoice(Query[VoiceHistory]):
    """Shows everything a network said on a proposal, with the reasons it gave at the time."""

    proposal: Id
    network: Id
