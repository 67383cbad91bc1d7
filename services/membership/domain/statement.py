"""What an umbrella network says in its own name: drafted, consulted on and issued. ``statement_response`` follows."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

from pydantic import BaseModel

from services.membership.domain.membership import not_an_umbrella
from services.membership.domain.network import Network, cannot_speak, speaks_for
from services.membership.domain.proposal import Proposal
from services.membership.domain.steering_group import SteeringGroup, may_steer
from shared.contracts.membership import (
    CommentOnStatement,
    ConsultOnStatement,
    DraftStatement,
    GivenRecommendation,
    IssueStatement,
    Recommendation,
    RecommendationAnswered,
    RecommendationFellDue,
    RecommendationStatus,
    ReviseStatement,
    SignatureWithdrawn,
    StatementCommented,
    StatementConsultedOn,
    StatementDrafted,
    StatementIssued,
    StatementKind,
    StatementRevised,
    StatementSigned,
    StatementState,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

A_MOMENT = timedelta(microseconds=1)
"""A consultation opens after what was said before it, and is answered after it opened, also where the clock of one
replica is behind that of another: nobody's voice is lost for a clock, and none from before counts."""
MIN_CONSULTATION = timedelta(days=7)
"""How long a wording is open to comment at the least: long enough for a network that meets once a week."""
AGREED_FIRST: StatementKind = "consensus-statement"
"""The kind that says it is the consensus of the members, and therefore must be: an agreed proposal stands behind it."""


class Comment(BaseModel, frozen=True):
    """What one network said of a wording, last."""

    version: int
    text: str
    person: str
    made_at: datetime


class Signature(BaseModel, frozen=True):
    """One organisation's signature; ``network`` and ``person`` gave it, or nobody did and an operator noted it."""

    network: str | None
    person: str | None
    signed_at: datetime
    withdrawn_at: datetime | None = None


class Recommended(BaseModel, frozen=True):
    """A recommendation and what became of it."""

    text: str
    addressee: str
    organisation: str | None
    due: datetime
    status: RecommendationStatus = "open"
    reason: str | None = None
    answered_at: datetime | None = None


class Statement(BaseModel, frozen=True):
    """One statement. ``worded_at`` is when its present wording was written; a new wording is a ``draft`` again.

    ``comments`` are by network, ``signatures`` by organisation, ``recommendations`` by their own id.
    """

    id: str
    umbrella: str
    kind: StatementKind
    author: str
    title: str
    text: str
    worded_at: datetime
    version: int = 1
    state: StatementState = "draft"
    consulted: tuple[str, ...] = ()
    consulted_from: datetime | None = None
    consulted_until: datetime | None = None
    proposal: str | None = None
    issued_at: datetime | None = None
    comments: Mapping[str, Comment] = {}
    signatures: Mapping[str, Signature] = {}
    recommendations: Mapping[str, Recommended] = {}


# Wording it ----------------------------------------------------------------------------------------------------------


def not_leading(statement: Statement, umbrella: Network, group: SteeringGroup, principal: str) -> Refusal | None:
    """Refuses whoever is neither its author nor steers the umbrella."""
    if principal == statement.author or may_steer(umbrella, group, principal):
        return None
    return Refusal(
        code="not-theirs-to-lead",
        sentence=f"{principal} cannot do this with the statement: its author, the steward of {umbrella.name} and its "
        "steering group may.",
    )


def draft(
    umbrella: Network,
    command: DraftStatement,
    principal: str,
    *,
    new_id: str,
    recommended: Sequence[Recommendation],
    organisations: Collection[str],
    may_draft: bool,
    at: datetime,
) -> list[Event] | Refusal:
    """Writes a statement down. ``may_draft``: whoever asks represents a member network or steers the umbrella.

    ``organisations`` are those of the addressees that are registered.
    """
    if umbrella.umbrella is None:
        return not_an_umbrella(umbrella, "umbrella")
    if not may_draft:
        return Refusal(
            code="not-a-member",
            sentence=f"{principal} cannot draft a statement of {umbrella.name}: representatives of its member "
            "networks, its steering group and its steward may.",
            field="umbrella",
        )
    if refusal := _misaddressed(recommended, organisations, at):
        return refusal
    return [
        StatementDrafted(
            statement=new_id,
            umbrella=umbrella.id,
            kind=command.kind,
            title=command.title,
            text=command.text,
            recommendations=tuple(recommended),
            author=principal,
            drafted_at=at,
        )
    ]


def numbered(given: Sequence[GivenRecommendation], ids: Sequence[str]) -> tuple[Recommendation, ...]:
    """Recommendations with the ids they are known by."""
    return tuple(Recommendation(id=id_, **each.model_dump()) for each, id_ in zip(given, ids, strict=True))


def revise(
    statement: Statement,
    command: ReviseStatement,
    *,
    recommended: Sequence[Recommendation],
    organisations: Collection[str],
    at: datetime,
) -> list[Event] | Refusal:
    """Gives a statement another wording; not while networks are commenting on the one they were asked about."""
    if refusal := _issued(statement, "revised") or _in_consultation(statement, "revised", at):
        return refusal
    if refusal := _misaddressed(recommended, organisations, at):
        return refusal
    return [
        StatementRevised(
            statement=statement.id,
            umbrella=statement.umbrella,
            title=command.title or statement.title,
            text=command.text,
            recommendations=tuple(recommended),
            version=statement.version + 1,
            revised_at=at,
        )
    ]


def _misaddressed(
    recommended: Sequence[Recommendation], organisations: Collection[str], at: datetime
) -> Refusal | None:
    for position, each in enumerate(recommended):
        if each.organisation is not None and each.organisation not in organisations:
            return Refusal(
                code="organisation-unknown",
                sentence=f"No organisation has the id {each.organisation}; find its id with find-organisation, or name "
                "the addressee in words alone.",
                field=f"recommendations.{position}.organisation",
            )
        if each.due <= at:
            return _due_already(each.due, f"recommendations.{position}.due")
    return None


def _due_already(due: datetime, field: str | None) -> Refusal:
    return Refusal(
        code="due-already",
        sentence=f"A recommendation would have been due on {due:%d %B %Y at %H:%M:%S} UTC, before anybody could act on "
        "it; give a later date.",
        field=field,
        data={"due": due.isoformat()},
    )


# Consulting on it ----------------------------------------------------------------------------------------------------


def consult(
    statement: Statement, umbrella: Network, command: ConsultOnStatement, members: Collection[str], at: datetime
) -> list[Event] | Refusal:
    """Asks all who are member networks at this moment; once more after a revision, if that is wanted."""
    if refusal := _issued(statement, "consulted on") or _in_consultation(statement, "consulted on again", at):
        return refusal
    if command.until < at + MIN_CONSULTATION:
        return Refusal(
            code="consultation-too-short",
            sentence=f"Comments were asked for until {command.until:%d %B %Y at %H:%M:%S} UTC; a consultation takes "
            f"{MIN_CONSULTATION.days} days at the least, so until {at + MIN_CONSULTATION:%d %B %Y at %H:%M:%S} UTC or "
            "later. It may be ended earlier once every network asked has commented.",
            field="until",
            data={"earliest": (at + MIN_CONSULTATION).isoformat()},
        )
    if not members:
        return Refusal(
            code="nobody-to-ask",
            sentence=f"{umbrella.name} has no member network, so there is nobody to consult; admit one first.",
        )
    return [
        StatementConsultedOn(
            statement=statement.id,
            umbrella=statement.umbrella,
            consulted=tuple(sorted(members)),
            opened_at=max([at, *(said.made_at + A_MOMENT for said in statement.comments.values())]),
            until=command.until,
        )
    ]


def comment(
    statement: Statement, network: Network, command: CommentOnStatement, principal: str, at: datetime
) -> list[Event] | Refusal:
    """Says what a network thinks, or changes what it said. Saying the same again changes nothing."""
    if refusal := _takes_no_comment(statement, network, at):
        return refusal
    person = speaks_for(network, principal)
    if person is None:
        return cannot_speak(network, principal)
    before = statement.comments.get(network.id)
    if (
        before
        and (before.version, before.text) == (statement.version, command.text)
        and _said_in_time(statement, before)
    ):
        return []
    return [
        StatementCommented(
            statement=statement.id,
            umbrella=statement.umbrella,
            network=network.id,
            version=statement.version,
            text=command.text,
            person=person,
            made_at=max(at, statement.consulted_from or at),
        )
    ]


def _takes_no_comment(statement: Statement, network: Network, at: datetime) -> Refusal | None:
    if refusal := _issued(statement, "commented on"):
        return refusal
    if statement.consulted_until is None:
        return Refusal(
            code="not-consulted-on",
            sentence="Nobody has been asked about this statement yet; it can be commented on once they are.",
        )
    if at >= statement.consulted_until:
        return Refusal(
            code="consultation-closed",
            sentence=f"The comment of {network.name} comes too late: comments were taken until "
            f"{statement.consulted_until:%d %B %Y at %H:%M:%S} UTC.",
            data={"until": statement.consulted_until.isoformat()},
        )
    if network.id not in statement.consulted:
        return Refusal(
            code="not-consulted",
            sentence=f"{network.name} was not asked: it was not a member network when the consultation was opened.",
            field="network",
        )
    return None


def silent(statement: Statement) -> tuple[str, ...]:
    """The networks asked in the last consultation that said nothing in it."""
    return tuple(
        network
        for network in statement.consulted
        if network not in statement.comments or not _said_in_time(statement, statement.comments[network])
    )


def _said_in_time(statement: Statement, said: Comment) -> bool:
    return statement.consulted_from is not None and said.made_at >= statement.consulted_from


def _in_consultation(statement: Statement, what: str, at: datetime) -> Refusal | None:
    """Refuses while networks may still comment, unless every one of them has."""
    if statement.consulted_until is None or at >= statement.consulted_until or not silent(statement):
        return None
    waiting = len(silent(statement))
    return Refusal(
        code="consultation-runs",
        sentence=f"The statement cannot be {what} while it is consulted on: {waiting} of {len(statement.consulted)} "
        f"networks have said nothing yet, and may until {statement.consulted_until:%d %B %Y at %H:%M} UTC.",
        data={"silent": list(silent(statement)), "until": statement.consulted_until.isoformat()},
    )


# Issuing it ----------------------------------------------------------------------------------------------------------


def issue(
    statement: Statement,
    umbrella: Network,
    command: IssueStatement,
    proposal: Proposal | None,
    principal: str,
    *,
    members: Collection[str],
    may_issue: bool,
    at: datetime,
) -> list[Event] | Refusal:
    """Makes it what the umbrella says. ``may_issue``: whoever asks steers the umbrella; the author alone may not.

    ``members`` are the member networks at this moment, who would be asked in a new consultation.
    """
    if not may_issue:
        return Refusal(
            code="not-of-the-steering-group",
            sentence=f"{principal} cannot issue it in the name of {umbrella.name}: its steward and its steering group "
            "may.",
        )
    if refusal := (
        _issued(statement, "issued again")
        or _another_version(statement, command)
        or _not_consulted_on(statement, members)
        or _in_consultation(statement, "issued", at)
        or _not_agreed(statement, proposal)
    ):
        return refusal
    for recommended in statement.recommendations.values():
        if recommended.due <= at:
            return _due_already(recommended.due, None)
    return [
        StatementIssued(
            statement=statement.id,
            umbrella=statement.umbrella,
            kind=statement.kind,
            title=statement.title,
            text=statement.text,
            recommendations=tuple(
                Recommendation(id=id_, **each.model_dump(include={"text", "addressee", "organisation", "due"}))
                for id_, each in statement.recommendations.items()
            ),
            version=statement.version,
            proposal=proposal.id if proposal else None,
            issued_at=at,
        )
    ]


def _another_version(statement: Statement, command: IssueStatement) -> Refusal | None:
    """Refuses where the wording changed since whoever asks read it, or never was so."""
    if command.version == statement.version:
        return None
    return Refusal(
        code="not-the-present-version",
        sentence=f"Version {command.version} of the statement was to be issued, and its present wording is version "
        f"{statement.version}: read that one with show-statement, and issue it or revise it.",
        field="version",
        data={"version": statement.version},
    )


def _not_consulted_on(statement: Statement, members: Collection[str]) -> Refusal | None:
    """Refuses a wording nobody was asked about. One written after a consultation passes if nobody is left to ask."""
    if statement.consulted_until is None:
        return Refusal(
            code="not-consulted-on",
            sentence="The statement cannot be issued yet: the member networks are consulted on it first.",
        )
    if statement.state != "draft" or not members:
        return None
    return Refusal(
        code="revised-since-consultation",
        sentence=f"The statement cannot be issued yet: its version {statement.version} was written after the "
        "consultation, so nobody was asked about it. It can be issued after a new one; consult-on-statement opens it.",
        data={"version": statement.version},
    )


def _not_agreed(statement: Statement, proposal: Proposal | None) -> Refusal | None:
    """A consensus statement needs the consensus: on this title, in this umbrella, on the wording as it is now.

    A statement may be longer than a proposal, so the proposal holds its digest: who wants to know what is decided can
    compare it with the one that ``show-statement`` tells. Nobody can know the digest before the wording is written, so
    no clock need say which was first.
    """
    if proposal is None:
        if statement.kind != AGREED_FIRST:
            return None
        why = "no proposal was named"
    elif proposal.umbrella != statement.umbrella:
        why = "the proposal was one of another umbrella"
    elif proposal.decision is None or proposal.decision.outcome != "agreed":
        why = f"the proposal is {proposal.decision.outcome if proposal.decision else proposal.state}"
    elif proposal.title.casefold() != statement.title.casefold():
        why = f"the proposal is about {proposal.title!r}"
    elif digest(statement) not in proposal.text:
        why = "the text of the proposal does not hold the digest of this wording, so another may have been agreed on"
    else:
        return None
    return Refusal(
        code="not-agreed",
        sentence=f"The statement cannot be issued: {why}. A consensus statement needs an agreed proposal of the same "
        f"title that holds the digest of its wording: {digest(statement)}.",
        field="proposal",
        data={"digest": digest(statement)},
    )


def digest(statement: Statement) -> str:
    """What a wording is known by, title and recommendations included: another wording has another (SHA-256).

    So has the same wording in another statement, or written another time; to the microsecond, which nobody foresees.
    """
    recommended = sorted(
        (each.text, each.addressee, each.organisation or "", each.due.isoformat())
        for each in statement.recommendations.values()
    )
    written = (statement.id, statement.worded_at.isoformat(), statement.title, statement.text, recommended)
    return sha256(json.dumps(written).encode()).hexdigest()


# What they share, and what happened ----------------------------------------------------------------------------------


def unknown(statement: str) -> Refusal:
    """No statement has this id."""
    return Refusal(
        code="statement-unknown",
        sentence=f"No statement has the id {statement}; list-statements shows those there are.",
        field="statement",
    )


def _issued(statement: Statement, what: str) -> Refusal | None:
    if statement.state != "issued":
        return None
    return Refusal(
        code="statement-issued",
        sentence=f"The statement cannot be {what}: it was issued on {statement.issued_at:%d %B %Y} and stays as it is. "
        "Draft another one.",
        data={"issued_at": statement.issued_at.isoformat() if statement.issued_at else None},
    )


def evolve(statement: Statement | None, event: Event) -> Statement:  # noqa: PLR0911  each return is one event
    """Applies what happened to a statement."""
    match event, statement:
        case StatementDrafted(), None:
            return Statement(
                id=event.statement,
                umbrella=event.umbrella,
                kind=event.kind,
                author=event.author,
                title=event.title,
                text=event.text,
                worded_at=event.drafted_at,
                recommendations=_recommended(event.recommendations),
            )
        case StatementRevised(), Statement():
            return _with(
                statement,
                title=event.title,
                text=event.text,
                version=event.version,
                state="draft",
                worded_at=event.revised_at,
                recommendations=_recommended(event.recommendations),
            )
        case StatementConsultedOn(), Statement():
            return _with(
                statement,
                state="consultation",
                consulted=event.consulted,
                consulted_from=event.opened_at,
                consulted_until=event.until,
            )
        case StatementCommented(), Statement():
            said = Comment(version=event.version, text=event.text, person=event.person, made_at=event.made_at)
            return _with(statement, comments={**statement.comments, event.network: said})
        case StatementIssued(), Statement():
            return _with(statement, state="issued", proposal=event.proposal, issued_at=event.issued_at)
        case StatementSigned(), Statement():
            signature = Signature(network=event.network, person=event.person, signed_at=event.signed_at)
            return _with(statement, signatures={**statement.signatures, event.organisation: signature})
        case SignatureWithdrawn(), Statement():
            before = statement.signatures[event.organisation]
            after = before.model_copy(update={"withdrawn_at": event.withdrawn_at})
            return _with(statement, signatures={**statement.signatures, event.organisation: after})
        case RecommendationAnswered(), Statement():
            changes = {"status": event.status, "reason": event.reason, "answered_at": event.answered_at}
            answered = statement.recommendations[event.recommendation].model_copy(update=changes)
            return _with(statement, recommendations={**statement.recommendations, event.recommendation: answered})
        case RecommendationFellDue(), Statement():
            return statement
    raise TypeError(f"{event.wire.type} does not happen to {statement}")


def _recommended(recommendations: Sequence[Recommendation]) -> dict[str, Recommended]:
    return {each.id: Recommended(**each.model_dump(exclude={"id"})) for each in recommendations}


def _with(statement: Statement, **changes: object) -> Statement:
    return statement.model_copy(update=changes)
