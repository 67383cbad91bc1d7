"""Collective voice: concerns, endorsements, responses."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, StringConstraints

from shared.contracts.message import AsOf, Command, Event, Id, Line, Moment, Principal, Query, Text

ConcernState = Literal["open", "submitted", "answered", "closed", "withdrawn"]
ConcernOutcome = Literal["resolved", "partly-resolved", "unresolved", "unanswered", "not-submitted"]
ConcernStep = Literal["raised", "endorsed", "submitted", "fell-due", "chased", "answered", "closed", "withdrawn"]

WithdrawalPhrase = Annotated[
    str,
    StringConstraints(min_length=16, max_length=200),
    Field(description="words that the raiser alone knows, to take a concern back by that was raised without a name"),
]


class RaiseConcern(Command):
    """Raises a concern with a suggested solution in an umbrella network, for a member network's representative.

    With ``anonymous`` nobody is shown who raised it, and nothing by which they could be found is kept: not even to take
    it back, for which there is the phrase. The words of the concern are shown as they are written: name nobody in them.
    """

    sealed: ClassVar[bool] = True
    umbrella: Id
    title: Line
    text: Text = Field(description="what is wrong")
    suggestion: Text = Field(description="what would help")
    anonymous: bool = False
    withdrawal_phrase: WithdrawalPhrase | None = Field(
        default=None, description="with anonymous; without a phrase nobody can take it back"
    )


class WithdrawConcern(Command):
    """Takes an open concern back, for a reason that stays on record."""

    sealed: ClassVar[bool] = True
    concern: Id
    reason: Text
    withdrawal_phrase: WithdrawalPhrase | None = Field(default=None, description="if it was raised without a name")


class EndorseConcern(Command):
    """Puts a member network's one voice behind an open concern; any of its representatives may."""

    concern: Id
    network: Id


class TakeBackEndorsement(Command):
    """Takes a network's voice back while the concern is open; any of its representatives may."""

    concern: Id
    network: Id


class SubmitConcern(Command):
    """Puts an open concern before HR, who shall reply by a moment. From then on it is chased."""

    concern: Id
    addressee: Line = Field(description="whom it is put before, in words: a department, not a person")
    reply_by: Moment


class RecordConcernResponse(Command):
    """Writes down what the addressee replied."""

    concern: Id
    response: Text


class CloseConcern(Command):
    """Says what became of a concern, for a reason that stays on record.

    ``not-submitted`` for an open one; ``unanswered`` for one whose reply is overdue; the others for one with a reply.
    """

    concern: Id
    outcome: ConcernOutcome
    reason: Text


class ConcernRaised(Event):
    """A concern is put to the member networks of an umbrella."""

    key = "concern"
    concern: Id
    umbrella: Id
    title: Line
    text: Text
    suggestion: Text
    raised_by: Principal | None = Field(description="none if whoever raised it is not to be shown")
    raised_at: Moment


class ConcernEndorsed(Event):
    """A member network stands behind a concern."""

    key = "concern"
    concern: Id
    umbrella: Id
    network: Id
    endorsed_at: Moment


class EndorsementTakenBack(Event):
    """A network no longer stands behind a concern."""

    key = "concern"
    concern: Id
    umbrella: Id
    network: Id


class ConcernSubmitted(Event):
    """A concern lies before its addressee, with the networks that stand behind it; these stay as they are."""

    key = "concern"
    concern: Id
    umbrella: Id
    addressee: Line
    endorsed_by: tuple[Id, ...]
    submitted_at: Moment
    reply_by: Moment


class ConcernReplyOverdue(Event):
    """The reply to a concern has not come. Said when it fell due, and again and again until it comes."""

    key = "concern"
    concern: Id
    umbrella: Id
    addressee: Line
    overdue_since: Moment
    reminder: int = Field(description="1 when it fell due, then one more each time")
    reminded_at: Moment


class ConcernAnswered(Event):
    """The addressee of a concern replied."""

    key = "concern"
    concern: Id
    umbrella: Id
    response: Text
    answered_at: Moment
    raised_by: Principal | None
    endorsed_by: tuple[Id, ...]


class ConcernClosed(Event):
    """What became of a concern. It does not change any more."""

    key = "concern"
    concern: Id
    umbrella: Id
    outcome: ConcernOutcome
    reason: Text
    closed_at: Moment
    raised_by: Principal | None
    endorsed_by: tuple[Id, ...]


class ConcernWithdrawn(Event):
    """Whoever raised a concern took it back."""

    key = "concern"
    concern: Id
    umbrella: Id
    reason: Text
    withdrawn_at: Moment
    raised_by: Principal | None
    endorsed_by: tuple[Id, ...]


class ConcernSummary(BaseModel, frozen=True):
    """One concern in a list."""

    id: Id
    umbrella: Id
    title: str
    state: ConcernState
    endorsements: int = Field(description="how many networks stand behind it; of an open one, member networks")
    addressee: str | None
    reply_by: Moment | None
    overdue_since: Moment | None = Field(description="since when its addressee owes a reply; none if it owes none")
    outcome: ConcernOutcome | None


class ConcernPage(BaseModel, frozen=True):
    """Concerns in the order they were raised."""

    concerns: tuple[ConcernSummary, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListConcerns(Query[ConcernPage]):
    """Lists concerns in the order they were raised, all or those that fit every filter given."""

    umbrella: Id | None = None
    state: ConcernState | None = None
    overdue: bool = Field(default=False, description="only those whose addressee owes a reply")
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


class EndorsementView(BaseModel, frozen=True):
    """A network that stands behind a concern."""

    network: Id
    name: str
    since: Moment


class ConcernStepView(BaseModel, frozen=True):
    """One step in the course of a concern."""

    step: ConcernStep
    at: Moment
    network: Id | None = Field(description="which network endorsed it; none of other steps")


class ConcernView(BaseModel, frozen=True):
    """One concern whole."""

    id: Id
    umbrella: Id
    title: str
    text: str
    suggestion: str
    raised_by: Principal | None = Field(description="none if whoever raised it is not to be shown")
    raised_at: Moment
    state: ConcernState
    endorsements: tuple[EndorsementView, ...] = Field(description="by name of the network")
    addressee: str | None
    submitted_at: Moment | None
    reply_by: Moment | None
    overdue_since: Moment | None
    reminders: int = Field(description="how often the reply was said to be overdue")
    response: str | None
    answered_at: Moment | None
    outcome: ConcernOutcome | None
    reason: str | None = Field(description="why it was closed or withdrawn")
    ended_at: Moment | None
    course: tuple[ConcernStepView, ...] = Field(description="from the first step to the last so far")


class ShowConcern(Query[ConcernView]):
    """Shows one concern with who stands behind it, its course and the response."""

    concern: Id
