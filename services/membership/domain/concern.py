"""Collective voice: a concern that networks raise together, what HR replies to it, and what became of it.

A concern may be raised without a name. Who raised it is then not even part of its state: there is nothing here that a
later change could show by mistake. What allows its raiser to take it back is a phrase that they alone know.

As on proposals, each network has one voice, whoever of its representatives gives it and however many there are.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final, NamedTuple

from pydantic import BaseModel

from services.membership.domain.membership import Membership, not_an_umbrella
from services.membership.domain.network import Network, cannot_speak, speaks_for
from services.membership.domain.steering_group import SteeringGroup, may_steer
from shared.contracts.membership import (
    CloseConcern,
    ConcernAnswered,
    ConcernClosed,
    ConcernEndorsed,
    ConcernOutcome,
    ConcernRaised,
    ConcernReplyOverdue,
    ConcernState,
    ConcernStep,
    ConcernSubmitted,
    ConcernWithdrawn,
    EndorsementTakenBack,
    RaiseConcern,
    RecordConcernResponse,
    SubmitConcern,
    WithdrawConcern,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

MIN_CROWD = 5
"""Among how many one is not to be told apart: member networks with a representative, and representatives of them.

Whoever may raise a concern in an umbrella is known, so with fewer of them a missing name would be a false promise. As
few as organisations may be in a group of a benchmark whose figures are shown.
"""
CHASE_EVERY = timedelta(days=7)
"""How long after it was said that a reply is overdue it is said again."""

OUTCOMES_WITH_A_REPLY: Final[tuple[ConcernOutcome, ...]] = ("resolved", "partly-resolved", "unresolved")


class Crowd(NamedTuple):
    """Everybody who could have raised a concern in an umbrella: how many networks, how many people for them."""

    networks: int
    representatives: int


class Endorsement(BaseModel, frozen=True):
    """Since when a network stands behind a concern."""

    since: datetime


class Concern(BaseModel, frozen=True):
    """One concern. ``raised_by`` is a principal, or nobody; ``endorsements`` has a key for each network behind it."""

    id: str
    umbrella: str
    title: str
    text: str
    suggestion: str
    raised_by: str | None
    raised_at: datetime
    state: ConcernState = "open"
    addressee: str | None = None
    submitted_at: datetime | None = None
    reply_by: datetime | None = None
    reminders: int = 0
    reminded_at: datetime | None = None
    response: str | None = None
    answered_at: datetime | None = None
    outcome: ConcernOutcome | None = None
    reason: str | None = None
    ended_at: datetime | None = None
    endorsements: Mapping[str, Endorsement] = {}


class WithdrawalKey(BaseModel, frozen=True):
    """What takes a concern without a name back; ``id`` is the digest of its phrase. It says nothing about a person."""

    id: str
    concern: str


def withdrawal_key(concern: str, phrase: str) -> WithdrawalKey:
    """The key that belongs to a phrase, another one for each concern."""
    return WithdrawalKey(id=blake2b(f"{concern} {phrase}".encode(), digest_size=32).hexdigest(), concern=concern)


# Raising and taking back; a refusal is kept to be given again, so these name nobody ----------------------------------


def raise_(
    umbrella: Network, command: RaiseConcern, principal: str, new_id: str, at: datetime, *, speaks: bool, crowd: Crowd
) -> list[Event] | Refusal:
    """Puts a concern to the member networks. ``speaks``: whoever asks represents a member network."""
    if umbrella.umbrella is None:
        return not_an_umbrella(umbrella, "umbrella")
    if not speaks:
        return Refusal(
            code="not-a-member",
            sentence=f"You cannot raise a concern in {umbrella.name}: representatives of its member networks and their "
            "deputies may.",
            field="umbrella",
        )
    if command.anonymous and min(crowd) < MIN_CROWD:
        return Refusal(
            code="too-few-to-hide-among",
            sentence=f"The concern was to be raised without a name, but {crowd.representatives} representatives of "
            f"{crowd.networks} member networks could have raised it, too few for that to hide anybody: it takes "
            f"{MIN_CROWD} of each. Nothing was done and nothing of it is shown. It can be raised with a name, or by "
            "somebody else.",
            field="anonymous",
            data={"networks": crowd.networks, "representatives": crowd.representatives, "min": MIN_CROWD},
        )
    if command.withdrawal_phrase is not None and not command.anonymous:
        return Refusal(
            code="phrase-without-need",
            sentence="A phrase was given for a concern that is raised with a name, whose raiser takes it back by that "
            "name; leave the phrase out, or raise it with anonymous.",
            field="withdrawal_phrase",
        )
    return [
        ConcernRaised(
            concern=new_id,
            umbrella=umbrella.id,
            title=command.title,
            text=command.text,
            suggestion=command.suggestion,
            raised_by=None if command.anonymous else principal,
            raised_at=at,
        )
    ]


def withdraw(
    concern: Concern, command: WithdrawConcern, principal: str, at: datetime, *, has_key: bool
) -> list[Event] | Refusal:
    """Takes an open concern back. ``has_key``: the phrase that came with the command is the one it was raised with."""
    if not (has_key or (concern.raised_by is not None and principal == concern.raised_by)):
        return Refusal(
            code="not-the-raiser",
            sentence="A concern is taken back by whoever raised it: by name, or with the phrase it was raised with if "
            "that was done without a name. The steering group may close it.",
        )
    if refusal := _not_in(concern, "open", "withdrawn"):
        return refusal
    return [
        ConcernWithdrawn(
            concern=concern.id,
            umbrella=concern.umbrella,
            reason=command.reason,
            withdrawn_at=at,
            raised_by=concern.raised_by,
            endorsed_by=endorsed_by(concern),
        )
    ]


# One voice for each network ------------------------------------------------------------------------------------------


def endorse(
    concern: Concern, network: Network, membership: Membership | None, principal: str, at: datetime
) -> list[Event] | Refusal:
    """Puts a network's voice behind a concern; a second time changes nothing. ``membership``: what it is there."""
    if refusal := _not_in(concern, "open", "endorsed") or _not_speaking(network, principal):
        return refusal
    if membership is None or membership.state != "admitted":
        return Refusal(
            code="no-voice-here",
            sentence=f"{network.name} cannot endorse this concern: member networks of the umbrella it lies in may.",
            field="network",
        )
    if network.id in concern.endorsements:
        return []
    return [ConcernEndorsed(concern=concern.id, umbrella=concern.umbrella, network=network.id, endorsed_at=at)]


def take_back(concern: Concern, network: Network, principal: str) -> list[Event] | Refusal:
    """Takes a network's voice back, also once it has left the umbrella; where there is none nothing changes."""
    if refusal := _not_in(concern, "open", "endorsed or no longer endorsed") or _not_speaking(network, principal):
        return refusal
    if network.id not in concern.endorsements:
        return []
    return [EndorsementTakenBack(concern=concern.id, umbrella=concern.umbrella, network=network.id)]


def endorsed_by(concern: Concern) -> tuple[str, ...]:
    """The networks that stand behind a concern."""
    return tuple(sorted(concern.endorsements))


def of_members(concern: Concern, members: Collection[str]) -> Concern:
    """A concern as it counts: while it is open, a network that has left the umbrella does not stand behind it.

    Which networks do is settled as soon as the concern is open no more, whoever leaves afterwards.
    """
    return _behind(concern, members) if concern.state == "open" else concern


def _behind(concern: Concern, networks: Collection[str]) -> Concern:
    behind = {network: each for network, each in concern.endorsements.items() if network in networks}
    return concern.model_copy(update={"endorsements": behind})


def _not_speaking(network: Network, principal: str) -> Refusal | None:
    if speaks_for(network, principal) is not None:
        return None
    return cannot_speak(network, principal)


# What the steering group does ----------------------------------------------------------------------------------------


def not_steering(umbrella: Network, group: SteeringGroup, principal: str) -> Refusal | None:
    """Refuses whoever does not steer the umbrella."""
    if may_steer(umbrella, group, principal):
        return None
    return Refusal(
        code="not-of-the-steering-group",
        sentence=f"{principal} cannot do this with a concern: the steward of {umbrella.name} and its steering group "
        "submit concerns, record responses and close.",
    )


def submit(concern: Concern, command: SubmitConcern, at: datetime) -> list[Event] | Refusal:
    """Puts an open concern before its addressee; who stands behind it is settled with that."""
    if refusal := _not_in(concern, "open", "submitted"):
        return refusal
    if command.reply_by <= at:
        return Refusal(
            code="reply-by-passed",
            sentence=f"A reply was asked for by {_said(command.reply_by)}, which has passed; it has to lie ahead.",
            field="reply_by",
            data={"reply_by": command.reply_by.isoformat()},
        )
    return [
        ConcernSubmitted(
            concern=concern.id,
            umbrella=concern.umbrella,
            addressee=command.addressee,
            endorsed_by=endorsed_by(concern),
            submitted_at=at,
            reply_by=command.reply_by,
        )
    ]


def record_response(concern: Concern, command: RecordConcernResponse, at: datetime) -> list[Event] | Refusal:
    """Writes down what the addressee replied, in time or late."""
    if refusal := _not_in(concern, "submitted", "answered"):
        return refusal
    return [
        ConcernAnswered(
            concern=concern.id,
            umbrella=concern.umbrella,
            response=command.response,
            answered_at=at,
            raised_by=concern.raised_by,
            endorsed_by=endorsed_by(concern),
        )
    ]


def close(concern: Concern, command: CloseConcern, at: datetime) -> list[Event] | Refusal:
    """Says what became of a concern. One that waits for a reply in time cannot be closed over the addressee's head."""
    allowed = _outcomes(concern, at)
    if command.outcome not in allowed:
        until = f" until {_said(concern.reply_by)}" if concern.state == "submitted" and concern.reply_by else ""
        return Refusal(
            code="outcome-does-not-fit",
            sentence=f"The concern cannot be closed as {command.outcome}, since it is {concern.state}{until}; "
            + (f"it can be closed as {', '.join(allowed)}." if allowed else "as it is now, it cannot be closed."),
            field="outcome",
            data={"state": concern.state, "allowed": list(allowed)},
        )
    return [
        ConcernClosed(
            concern=concern.id,
            umbrella=concern.umbrella,
            outcome=command.outcome,
            reason=command.reason,
            closed_at=at,
            raised_by=concern.raised_by,
            endorsed_by=endorsed_by(concern),
        )
    ]


def _outcomes(concern: Concern, at: datetime) -> tuple[ConcernOutcome, ...]:
    match concern.state:
        case "open":
            return ("not-submitted",)
        case "submitted" if overdue_since(concern, at):
            return ("unanswered",)
        case "answered":
            return OUTCOMES_WITH_A_REPLY
    return ()


# Overdue replies -----------------------------------------------------------------------------------------------------


def overdue_since(concern: Concern, at: datetime) -> datetime | None:
    """Since when the addressee owes a reply; none if it owes none at that moment."""
    if concern.state == "submitted" and concern.reply_by is not None and concern.reply_by <= at:
        return concern.reply_by
    return None


def chase_at(concern: Concern) -> datetime | None:
    """When it is to be said, or said again, that the reply is overdue."""
    if concern.state != "submitted":
        return None
    return concern.reminded_at + CHASE_EVERY if concern.reminded_at else concern.reply_by


def chase(concern: Concern, at: datetime) -> list[Event]:
    """Says that the reply is overdue. Nothing happens to a concern of which that is not to be said now."""
    due, since = chase_at(concern), overdue_since(concern, at)
    if due is None or since is None or at < due:
        return []
    return [
        ConcernReplyOverdue(
            concern=concern.id,
            umbrella=concern.umbrella,
            addressee=concern.addressee or "",
            overdue_since=since,
            reminder=concern.reminders + 1,
            reminded_at=at,
        )
    ]


# What happened -------------------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """One step in the course of a concern; ``network`` is who endorsed it."""

    step: ConcernStep
    at: datetime
    network: str | None = None


def course(concern: Concern, at: datetime) -> list[Step]:
    """Everything that happened to a concern up to a moment, in order. Of reminders the latest stands for all."""
    ended: ConcernStep = "withdrawn" if concern.state == "withdrawn" else "closed"
    fell_due = concern.reply_by if concern.reply_by and concern.reply_by <= (concern.answered_at or at) else None
    moments: list[tuple[ConcernStep, datetime | None]] = [
        ("submitted", concern.submitted_at),
        ("fell-due", fell_due),
        ("chased", concern.reminded_at),
        ("answered", concern.answered_at),
        (ended, concern.ended_at),
    ]
    endorsed = [Step("endorsed", each.since, network) for network, each in concern.endorsements.items()]
    happened = [Step(step, moment) for step, moment in moments if moment is not None]
    return [Step("raised", concern.raised_at), *sorted(endorsed, key=lambda step: step.at), *happened]


def unknown(concern: str) -> Refusal:
    """No concern has this id."""
    return Refusal(
        code="concern-unknown",
        sentence=f"No concern has the id {concern}; list-concerns shows those there are.",
        field="concern",
    )


def _not_in(concern: Concern, needed: ConcernState, what: str) -> Refusal | None:
    if concern.state == needed:
        return None
    return Refusal(
        code=f"concern-not-{needed}",
        sentence=f"The concern cannot be {what}, since it is {concern.state}. It would have to be {needed}.",
        data={"state": concern.state},
    )


def _said(moment: datetime) -> str:
    return f"{moment:%d %B %Y at %H:%M} UTC"


def evolve(concern: Concern | None, event: Event) -> Concern:
    """Applies what happened to a concern."""
    changes: dict[str, object]
    match event, concern:
        case ConcernRaised(), None:
            return Concern(id=event.concern, **event.model_dump(exclude={"concern"}))
        case ConcernEndorsed(), Concern():
            endorsement = Endorsement(since=event.endorsed_at)
            changes = {"endorsements": {**concern.endorsements, event.network: endorsement}}
        case EndorsementTakenBack(), Concern():
            left = {network: each for network, each in concern.endorsements.items() if network != event.network}
            changes = {"endorsements": left}
        case ConcernSubmitted(), Concern():
            concern = _behind(concern, event.endorsed_by)
            changes = {"state": "submitted", **event.model_dump(include={"addressee", "submitted_at", "reply_by"})}
        case ConcernReplyOverdue(), Concern():
            changes = {"reminders": event.reminder, "reminded_at": event.reminded_at}
        case ConcernAnswered(), Concern():
            changes = {"state": "answered", "response": event.response, "answered_at": event.answered_at}
        case ConcernClosed(), Concern():
            concern = _behind(concern, event.endorsed_by)
            ended = {"reason": event.reason, "ended_at": event.closed_at}
            changes = {"state": "closed", "outcome": event.outcome, **ended}
        case ConcernWithdrawn(), Concern():
            concern = _behind(concern, event.endorsed_by)
            changes = {"state": "withdrawn", "reason": event.reason, "ended_at": event.withdrawn_at}
        case _:
            raise TypeError(f"{event.wire.type} does not happen to {concern}")
    return concern.model_copy(update=changes)
