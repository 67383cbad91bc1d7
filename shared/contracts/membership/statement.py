"""Consensus statements, reports and manifestos, with their signatures and recommendations."""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field, StringConstraints

from shared.contracts.message import AsOf, Command, Event, Id, Line, Moment, Principal, Query, Role

StatementKind = Literal["consensus-statement", "report", "manifesto"]
StatementState = Literal["draft", "consultation", "issued"]
RecommendationStatus = Literal["open", "under-way", "done", "declined"]

StatementText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=50_000)]
Passage = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]


class GivenRecommendation(BaseModel, frozen=True, extra="forbid"):
    """What a statement recommends, to whom, and by when an answer is due."""

    text: Passage
    addressee: Line = Field(description="whom it is addressed to, in words: a body, an office, everybody of a kind")
    organisation: Id | None = Field(default=None, description="the addressee, if it is one registered organisation")
    due: Moment = Field(description="until when it is to be acted on or declined")


class Recommendation(BaseModel, frozen=True):
    """A recommendation as the statement words it."""

    id: Id
    text: str
    addressee: str
    organisation: Id | None
    due: Moment


class DraftStatement(Command):
    """Writes down what an umbrella network is to say.

    Sent by a representative of a member network, the umbrella's steward or one of its steering group.
    """

    umbrella: Id
    kind: StatementKind
    title: Line
    text: StatementText
    recommendations: tuple[GivenRecommendation, ...] = Field(default=(), max_length=30)


class ReviseStatement(Command):
    """Words a statement anew, before or after it was consulted on; its recommendations are given whole again.

    Sent by its author, the umbrella's steward or one of its steering group.
    """

    statement: Id
    title: Line | None = Field(default=None, description="left out, as it was")
    text: StatementText
    recommendations: tuple[GivenRecommendation, ...] = Field(default=(), max_length=30)


class ConsultOnStatement(Command):
    """Asks all who are member networks at this moment what they think of the wording. Sent by whoever may revise it."""

    statement: Id
    until: Moment = Field(description="until when they may comment: seven days away at the least")


class CommentOnStatement(Command):
    """Says what a member network thinks of the wording. Any of its representatives may; the latest counts."""

    statement: Id
    network: Id = Field(description="the network whose comment it is")
    text: Passage


class IssueStatement(Command):
    """Issues a statement, which from then on stays as it is. Sent by the umbrella's steward or its steering group.

    Its present wording was consulted on until the date given, or until every network asked had commented.
    """

    statement: Id
    version: int = Field(ge=1, description="the wording that is issued: the present one, as show-statement tells it")
    proposal: Id | None = Field(
        default=None,
        description="for a consensus statement: the proposal of the same title that was agreed on its last wording and "
        "holds the digest of that in its text",
    )


class SignStatement(Command):
    """Signs an issued statement for the home organisation of a member network. Sent by one of its representatives.

    An operator has confirmed that the network speaks for that organisation.
    """

    statement: Id
    network: Id = Field(description="the member network whose home organisation signs")


class WithdrawSignature(Command):
    """Takes the signature of a member network's home organisation back. Sent by one of its representatives."""

    statement: Id
    network: Id = Field(description="the member network whose home organisation signed")


class RecordSignature(Command):
    """Notes that an organisation signed an issued statement, as its letter in hand says."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    statement: Id
    organisation: Id


class RecordSignatureWithdrawal(Command):
    """Notes that an organisation took its signature back, as its letter in hand says."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    statement: Id
    organisation: Id


class AnswerRecommendation(Command):
    """Says what became of a recommendation of an issued statement.

    Sent by the statement's author, the umbrella's steward or one of its steering group, unless it is addressed to an
    organisation that is registered. That one answers itself: with ``network``, sent by a representative of that member
    network, whose home organisation it is, as an operator has confirmed.
    """

    statement: Id
    recommendation: Id
    status: RecommendationStatus
    reason: Passage | None = Field(
        default=None, description="required to decline, and to go back on what was done or declined"
    )
    network: Id | None = Field(default=None, description="the member network whose home organisation answers")


class RecordRecommendationAnswer(Command):
    """Notes what an organisation says became of a recommendation addressed to it, as its letter in hand says."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)

    statement: Id
    recommendation: Id
    status: RecommendationStatus
    reason: Passage | None = Field(
        default=None, description="required to decline, and to go back on what was done or declined"
    )


class StatementDrafted(Event):
    """A statement is written down, and nobody has been asked about it yet."""

    key = "statement"
    statement: Id
    umbrella: Id
    kind: StatementKind
    title: str
    text: str
    recommendations: tuple[Recommendation, ...]
    author: Principal
    drafted_at: Moment


class StatementRevised(Event):
    """A statement that is not issued yet has another wording."""

    key = "statement"
    statement: Id
    umbrella: Id
    title: str
    text: str
    recommendations: tuple[Recommendation, ...]
    version: int = Field(description="2 for the first revision, then one more with each")
    revised_at: Moment


class StatementConsultedOn(Event):
    """Member networks are asked what they think of the wording."""

    key = "statement"
    statement: Id
    umbrella: Id
    consulted: tuple[Id, ...] = Field(description="the networks asked: who were members at that moment")
    opened_at: Moment
    until: Moment


class StatementCommented(Event):
    """A network said what it thinks of the wording."""

    key = "statement"
    statement: Id
    umbrella: Id
    network: Id
    version: int = Field(description="the wording it was said of")
    text: str
    person: Id = Field(description="opaque id of the representative who said it")
    made_at: Moment


class StatementIssued(Event):
    """An umbrella network has said this. Neither the text nor what it recommends changes any more."""

    key = "statement"
    statement: Id
    umbrella: Id
    kind: StatementKind
    title: str
    text: str
    recommendations: tuple[Recommendation, ...]
    version: int
    proposal: Id | None = Field(description="the proposal by which a consensus statement was agreed")
    issued_at: Moment


class StatementSigned(Event):
    """An organisation has signed an issued statement."""

    key = "statement"
    statement: Id
    umbrella: Id
    organisation: Id
    network: Id | None = Field(description="the member network that signed for it; none if an operator noted it")
    person: Id | None = Field(description="opaque id of the representative who signed")
    signed_at: Moment


class SignatureWithdrawn(Event):
    """An organisation has taken its signature back."""

    key = "statement"
    statement: Id
    umbrella: Id
    organisation: Id
    network: Id | None = Field(description="the member network that said so for it; none if an operator noted it")
    person: Id | None = Field(description="opaque id of the representative who said so")
    withdrawn_at: Moment


class RecommendationAnswered(Event):
    """A recommendation has another status than before."""

    key = "statement"
    statement: Id
    umbrella: Id
    recommendation: Id
    status: RecommendationStatus
    reason: str | None
    network: Id | None = Field(description="the member network that answered for its home organisation, if one did")
    answered_at: Moment


class RecommendationFellDue(Event):
    """A recommendation that nobody has answered was due. Said once."""

    key = "statement"
    statement: Id
    umbrella: Id
    recommendation: Id
    due: Moment


class StatementSummary(BaseModel, frozen=True):
    """One statement in a list."""

    id: Id
    umbrella: Id
    kind: StatementKind
    title: str
    state: StatementState
    version: int
    consulted_until: Moment | None
    issued_at: Moment | None
    signatures: int = Field(description="signatures that stand")


class StatementPage(BaseModel, frozen=True):
    """Statements in the order they were drafted."""

    statements: tuple[StatementSummary, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListStatements(Query[StatementPage]):
    """Lists statements in the order they were drafted, all or those that fit every filter given."""

    umbrella: Id | None = None
    kind: StatementKind | None = None
    state: StatementState | None = None
    signed_by: Id | None = Field(
        default=None,
        description="issued ones that bear the signature of this organisation, or of one it took over from",
    )
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


class RecommendationView(Recommendation, frozen=True):
    """A recommendation and what became of it."""

    status: RecommendationStatus
    reason: str | None
    answered_at: Moment | None
    late: bool = Field(description="it is due, and neither done nor declined")


class StatementView(BaseModel, frozen=True):
    """One statement whole, but for comments and signatures, which are lists of their own."""

    id: Id
    umbrella: Id
    kind: StatementKind
    author: Principal
    title: str
    text: str
    version: int
    state: StatementState
    consulted_until: Moment | None
    commented: tuple[Id, ...] = Field(description="networks that have commented")
    silent: tuple[Id, ...] = Field(description="networks asked in the last consultation that said nothing in it")
    proposal: Id | None
    issued_at: Moment | None
    recommendations: tuple[RecommendationView, ...]
    digest: str = Field(
        default="",
        description="SHA-256 of the wording and when it was written; a proposal that makes it a consensus holds it",
    )
    worded_at: Moment | None = Field(default=None, description="when the present wording was written")


class ShowStatement(Query[StatementView]):
    """Shows one statement with its recommendations and what became of them."""

    statement: Id


class CommentView(BaseModel, frozen=True):
    """What one network said on a statement, last."""

    network: Id
    name: str
    version: int = Field(description="the wording it was said of")
    text: str
    made_at: Moment


class CommentPage(BaseModel, frozen=True):
    """Comments by the id of their network."""

    comments: tuple[CommentView, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListComments(Query[CommentPage]):
    """Lists what networks said on a statement."""

    statement: Id
    limit: int = Field(default=50, ge=1, le=50)
    after: Id | None = Field(default=None, description="`next` of the page before")


class SignatureView(BaseModel, frozen=True):
    """One organisation's signature."""

    organisation: Id
    name: str
    network: Id | None = Field(description="the member network that signed for it; none if an operator noted it")
    signed_at: Moment
    withdrawn_at: Moment | None = Field(description="when it was taken back, if it was")
    successors: tuple[Id, ...] = Field(
        default=(), description="organisations that took over from this one since, and the signature with it"
    )


class SignaturePage(BaseModel, frozen=True):
    """Signatures by the id of their organisation."""

    signatures: tuple[SignatureView, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListSignatures(Query[SignaturePage]):
    """Lists who signed a statement; those who took it back only if asked for."""

    statement: Id
    with_withdrawn: bool = False
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


class RecommendationLine(RecommendationView, frozen=True):
    """One recommendation in a list over all statements."""

    statement: Id
    umbrella: Id
    title: str = Field(description="the title of the statement")


class RecommendationPage(BaseModel, frozen=True):
    """Recommendations of issued statements, in the order they were written."""

    recommendations: tuple[RecommendationLine, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListRecommendations(Query[RecommendationPage]):
    """Lists recommendations of issued statements, all or those that fit every filter given; ``late`` for the late."""

    umbrella: Id | None = None
    organisation: Id | None = Field(default=None, description="addressed to this organisation")
    status: RecommendationStatus | None = None
    late: bool = Field(default=False, description="only those that are due and neither done nor declined")
    limit: int = Field(default=50, ge=1, le=100)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None
