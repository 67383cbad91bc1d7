"""Decisions by consensus: one voice for each network, no majority over a block, and an outcome that gives its reasons.

Nothing here knows how many people a network has, how many represent it, of what grade they are or what kind of
organisation it belongs to. That is the point.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel

from services.membership.domain.membership import not_an_umbrella
from services.membership.domain.network import Network, cannot_speak, speaks_for
from services.membership.domain.steering_group import SteeringGroup, may_steer
from shared.contracts.membership import (
    AmendProposal,
    CloseProposal,
    ContributeToProposal,
    ContributionMade,
    ContributionWithdrawn,
    Decision,
    DraftProposal,
    OpenProposal,
    Outcome,
    Position,
    PositionTaken,
    ProposalAmended,
    ProposalDecided,
    ProposalDrafted,
    ProposalOpened,
    ProposalState,
    ProposalWithdrawn,
    Share,
    Stance,
    TakePosition,
    WithdrawContribution,
    WithdrawProposal,
)
from shared.contracts.message import Command, Event
from shared.refusal import Refusal

NEEDS_NO_REASON: Position = "consent"
"""Every other position is worth nothing to the others without its reason."""
MAX_STANCES = 100
"""How often one network may speak on one proposal: all it said has to fit into one answer."""
MAX_BYTES_OF_REASONS = 500_000
"""The reasons of a whole electorate, as JSON: the outcome carries every one of them in one message of at most 1 MiB."""
MIN_TIME_AFTER_AMENDMENT = timedelta(days=7)
"""How long a changed wording can be looked at before the proposal closes by itself, however near its deadline was.

A choice of ours: long enough for a network that meets once a week.
"""


class Transition(NamedTuple):
    """What may happen to a proposal: in the state ``before``, ``by`` a command or its deadline; then it is ``after``.

    ``before`` is nothing for one that does not exist yet.
    """

    before: ProposalState | None
    by: type[Command] | Literal["deadline"]
    event: type[Event]
    after: ProposalState


TRANSITIONS: Final = (
    Transition(None, DraftProposal, ProposalDrafted, "draft"),
    Transition("draft", ContributeToProposal, ContributionMade, "draft"),
    Transition("draft", WithdrawContribution, ContributionWithdrawn, "draft"),
    Transition("draft", AmendProposal, ProposalAmended, "draft"),
    Transition("draft", OpenProposal, ProposalOpened, "open"),
    Transition("draft", WithdrawProposal, ProposalWithdrawn, "withdrawn"),
    Transition("open", TakePosition, PositionTaken, "open"),
    Transition("open", ContributeToProposal, ContributionMade, "open"),
    Transition("open", WithdrawContribution, ContributionWithdrawn, "open"),
    Transition("open", AmendProposal, ProposalAmended, "open"),
    Transition("open", CloseProposal, ProposalDecided, "closed"),
    Transition("open", "deadline", ProposalDecided, "closed"),
    Transition("open", WithdrawProposal, ProposalWithdrawn, "withdrawn"),
    # A network may take its own words back for good; nothing of the proposal changes by it.
    Transition("closed", WithdrawContribution, ContributionWithdrawn, "closed"),
    Transition("withdrawn", WithdrawContribution, ContributionWithdrawn, "withdrawn"),
)
"""Everything that can happen to a proposal. The rules below go by it, and the diagram in the README is made from it."""
STATE_AFTER: Final[Mapping[tuple[ProposalState | None, type[Event]], ProposalState]] = {
    (each.before, each.event): each.after for each in TRANSITIONS
}


class Voice(BaseModel, frozen=True):
    """One network of the electorate: where it stands on the present wording, and what it said before."""

    stance: Stance | None = None
    earlier: tuple[Stance, ...] = ()


class Proposal(BaseModel, frozen=True):
    """One proposal. ``voices`` has a key for each network of the frozen electorate; empty while it is a draft."""

    id: str
    umbrella: str
    author: str
    title: str
    text: str
    version: int = 1
    state: ProposalState = "draft"
    opened_at: datetime | None = None
    deadline: datetime | None = None
    quorum: int = 0
    stand_aside_limit: Share = "1/3"
    decision: Decision | None = None
    withdrawn_because: str | None = None
    voices: Mapping[str, Voice] = {}


# What the positions come to ------------------------------------------------------------------------------------------


def outcome_of(positions: Collection[Position], asked: int, quorum: int, limit: Share) -> tuple[Outcome, str]:
    """What the positions come to, one for each network that spoke, and the sentence that says so."""
    spoke = len(positions)
    counts = Counter(positions)
    blocks, aside = counts["block"], counts["stand-aside"]
    if blocks:
        return "blocked", (
            f"Not adopted: {_networks(blocks)} blocked it, and a single block stops a proposal whatever the others say."
        )
    if spoke < quorum:
        return "no-quorum", f"No decision: {spoke} of {_networks(asked)} spoke, and {quorum} had to."
    if aside > Fraction(limit) * spoke:
        return "no-consensus", (
            f"No consensus: {aside} of the {_networks(spoke)} that spoke stood aside; at most {limit} of them may."
        )
    return "agreed", (
        f"Agreed: {spoke} of {_networks(asked)} spoke, none blocked it, "
        f"{counts['reservations']} had reservations and {aside} stood aside."
    )


def _networks(count: int) -> str:
    return f"{count} network" if count == 1 else f"{count} networks"


# What may be done with a proposal ------------------------------------------------------------------------------------


def not_leading(proposal: Proposal, umbrella: Network, group: SteeringGroup, principal: str) -> Refusal | None:
    """Refuses whoever is neither its author nor steers the umbrella: opening, amending and closing are not theirs."""
    if principal == proposal.author or may_steer(umbrella, group, principal):
        return None
    return Refusal(
        code="not-theirs-to-lead",
        sentence=f"{principal} cannot do this with the proposal: its author, the steward of {umbrella.name} and its "
        "steering group may.",
    )


def draft(
    umbrella: Network, command: DraftProposal, principal: str, new_id: str, *, may_draft: bool
) -> list[Event] | Refusal:
    """Writes a proposal down. ``may_draft``: whoever asks represents a member network or steers the umbrella."""
    if umbrella.umbrella is None:
        return not_an_umbrella(umbrella, "umbrella")
    if not may_draft:
        return Refusal(
            code="not-a-member",
            sentence=f"{principal} cannot make a proposal to {umbrella.name}: representatives of its member networks "
            "and their deputies, its steering group and its steward may.",
            field="umbrella",
        )
    return [
        ProposalDrafted(proposal=new_id, umbrella=umbrella.id, title=command.title, text=command.text, author=principal)
    ]


def open_(
    proposal: Proposal, umbrella: Network, command: OpenProposal, electorate: Collection[str], at: datetime
) -> list[Event] | Refusal:
    """Asks every network of the electorate, which is who is a member at this moment."""
    if umbrella.umbrella is None:
        return not_an_umbrella(umbrella, "umbrella")
    if refusal := not_now(proposal, ProposalOpened, "opened", at):
        return refusal
    if command.deadline <= at:
        return _deadline_passed(command.deadline)
    if not electorate:
        return Refusal(
            code="nobody-to-ask",
            sentence=f"{umbrella.name} has no member network, so there is nobody to ask; admit one first.",
        )
    return [
        ProposalOpened(
            proposal=proposal.id,
            umbrella=umbrella.id,
            title=proposal.title,
            version=proposal.version,
            electorate=tuple(sorted(electorate)),
            quorum=ceil(Fraction(umbrella.umbrella.quorum) * len(electorate)),
            stand_aside_limit=umbrella.umbrella.stand_aside_limit,
            opened_at=at,
            deadline=command.deadline,
        )
    ]


def take_position(
    proposal: Proposal, network: Network, command: TakePosition, principal: str, at: datetime
) -> list[Event] | Refusal:
    """Gives a network's one voice, or changes what it says. Saying the same again changes nothing."""
    voice = proposal.voices.get(network.id)
    person = speaks_for(network, principal)
    if refusal := not_now(proposal, PositionTaken, "spoken on", at) or _no_voice(voice, network, principal, person):
        return refusal
    if command.reason is None and command.position != NEEDS_NO_REASON:
        return Refusal(
            code="reason-missing",
            sentence=f"The position {command.position} came without a reason; every position but consent needs one.",
            field="reason",
        )
    most = MAX_BYTES_OF_REASONS // len(proposal.voices)
    length = len(json.dumps(command.reason, ensure_ascii=False).encode())
    if length > most:
        return Refusal(
            code="reason-too-long",
            sentence=f"The reason has {length} bytes; with {_networks(len(proposal.voices))} asked, at most {most} are "
            "taken, since the outcome carries every reason.",
            field="reason",
            data={"bytes": length, "most": most},
        )
    before = voice.stance if voice else None
    if before and (before.position, before.reason) == (command.position, command.reason):
        return []
    stance = Stance(
        network=network.id,
        version=proposal.version,
        position=command.position,
        reason=command.reason,
        person=person or "",
        taken_at=at,
    )
    return [PositionTaken(proposal=proposal.id, umbrella=proposal.umbrella, stance=stance)]


def _no_voice(voice: Voice | None, network: Network, principal: str, person: str | None) -> Refusal | None:
    if voice is None:
        return Refusal(
            code="not-in-the-electorate",
            sentence=f"{network.name} has no voice on this proposal: it was not a member network when it was opened.",
            field="network",
        )
    if person is None:
        return cannot_speak(network, principal)
    if len(voice.earlier) + 1 >= MAX_STANCES:
        return Refusal(
            code="spoken-often-enough",
            sentence=f"{network.name} has spoken {MAX_STANCES} times on this proposal; what it said last stands.",
        )
    return None


def amend(proposal: Proposal, command: AmendProposal, at: datetime) -> list[Event] | Refusal:
    """Changes the wording. If the proposal is open, every network is asked again, whatever it said before.

    So it closes no sooner than ``MIN_TIME_AFTER_AMENDMENT`` from now, or else a block could be amended away unseen.
    """
    title = command.title or proposal.title
    if refusal := not_now(proposal, ProposalAmended, "amended", at):
        return refusal
    if (title, command.text) == (proposal.title, proposal.text):
        return Refusal(
            code="nothing-amended",
            sentence="The wording is as it was; an amendment changes the title or the text.",
            field="text",
        )
    earliest = max(proposal.deadline, at + MIN_TIME_AFTER_AMENDMENT) if proposal.deadline else None
    if command.deadline and (earliest is None or command.deadline < earliest):
        return _deadline_not_later(command.deadline, earliest)
    return [
        ProposalAmended(
            proposal=proposal.id,
            umbrella=proposal.umbrella,
            title=title,
            text=command.text,
            version=proposal.version + 1,
            deadline=command.deadline or earliest,
        )
    ]


def _deadline_not_later(asked: datetime, earliest: datetime | None) -> Refusal:
    if earliest is None:
        return Refusal(
            code="deadline-not-later",
            sentence="An amendment can give an open proposal a later deadline; this one is a draft, and gets its "
            "deadline when it is opened.",
            field="deadline",
        )
    return Refusal(
        code="deadline-not-later",
        sentence=f"The deadline {asked:%d %B %Y at %H:%M:%S} UTC was asked for. An amended proposal closes no sooner "
        f"than before, and leaves {MIN_TIME_AFTER_AMENDMENT.days} days to look at what changed: "
        f"{earliest:%d %B %Y at %H:%M:%S} UTC at the earliest, which is what it gets if no deadline is given.",
        field="deadline",
        data={"earliest": earliest.isoformat()},
    )


def close_early(proposal: Proposal, at: datetime) -> list[Event] | Refusal:
    """Closes before the deadline, where nobody is cut off: everyone has spoken, and no block is left unmet."""
    if refusal := not_now(proposal, ProposalDecided, "closed", at):
        return refusal
    silent = [network for network, voice in proposal.voices.items() if voice.stance is None]
    if silent:
        return Refusal(
            code="not-everyone-has-spoken",
            sentence=f"{len(silent)} of {_networks(len(proposal.voices))} have not spoken yet, and may until "
            f"{proposal.deadline:%d %B %Y at %H:%M} UTC, when the proposal closes by itself.",
            data={"silent": silent, "deadline": proposal.deadline.isoformat() if proposal.deadline else None},
        )
    blocking = [network for network, voice in proposal.voices.items() if _position(voice) == "block"]
    if blocking:
        return Refusal(
            code="block-stands",
            sentence=f"{_networks(len(blocking))} blocked this proposal. A block is met: amend it, upon which "
            "every network is asked again, or withdraw it.",
            data={"blocking": blocking},
        )
    return [_decided(proposal, at)]


def close_at_deadline(proposal: Proposal, at: datetime) -> list[Event]:
    """Closes a proposal whose deadline has come, as it stands. Nothing happens to one that is not due or not open."""
    if proposal.state != "open" or proposal.deadline is None or at < proposal.deadline:
        return []
    return [_decided(proposal, at)]


def withdraw(proposal: Proposal, command: WithdrawProposal, at: datetime) -> list[Event] | Refusal:
    """Takes a draft or an open proposal back."""
    if refusal := not_now(proposal, ProposalWithdrawn, "withdrawn", at):
        return refusal
    return [
        ProposalWithdrawn(proposal=proposal.id, umbrella=proposal.umbrella, title=proposal.title, reason=command.reason)
    ]


def unknown(proposal: str) -> Refusal:
    """No proposal has this id."""
    return Refusal(
        code="proposal-unknown",
        sentence=f"No proposal has the id {proposal}; list-proposals shows those there are.",
        field="proposal",
    )


def not_asked(network: str) -> Refusal:
    """The network is not of the electorate."""
    return Refusal(
        code="not-in-the-electorate",
        sentence=f"The network {network} has no voice on this proposal; show-proposal lists those that have.",
        field="network",
    )


def _position(voice: Voice) -> Position | None:
    return voice.stance.position if voice.stance else None


def _decided(proposal: Proposal, at: datetime) -> ProposalDecided:
    stances = tuple(voice.stance for _, voice in sorted(proposal.voices.items()) if voice.stance)
    positions = [stance.position for stance in stances]
    asked = len(proposal.voices)
    outcome, sentence = outcome_of(positions, asked, proposal.quorum, proposal.stand_aside_limit)
    return ProposalDecided(
        proposal=proposal.id,
        umbrella=proposal.umbrella,
        title=proposal.title,
        version=proposal.version,
        outcome=outcome,
        sentence=sentence,
        asked=asked,
        spoke=len(stances),
        counts=dict(sorted(Counter(positions).items())),
        stances=stances,
        closed_at=at,
    )


def not_now(proposal: Proposal, event: type[Event], what: str, at: datetime) -> Refusal | None:
    """Refuses what cannot happen to a proposal in its state, and everything once its deadline has come.

    ``what`` says in words what was asked to be done with it. Whoever comes too late is told when it closed.
    """
    if (proposal.state, event) not in STATE_AFTER:
        needed = [state for state, possible in STATE_AFTER if possible is event and state]
        return Refusal(
            code=f"proposal-not-{needed[-1]}",
            sentence=f"The proposal cannot be {what}, since {_how_it_ended(proposal)} "
            f"It would have to be {' or '.join(needed)}.",
            data={"state": proposal.state} | ({"closed_at": closed} if (closed := _closed_at(proposal)) else {}),
        )
    if proposal.state == "open" and proposal.deadline and at >= proposal.deadline:
        return Refusal(
            code="deadline-passed",
            sentence=f"The proposal cannot be {what} any more: its deadline was {_moment(proposal.deadline)}, and it "
            "closes as it stood then.",
            data={"deadline": proposal.deadline.isoformat()},
        )
    return None


def _how_it_ended(proposal: Proposal) -> str:
    if proposal.decision:
        return f"it is closed since {_moment(proposal.decision.closed_at)}: {proposal.decision.sentence}"
    return f"it is {proposal.state}."


def _closed_at(proposal: Proposal) -> str | None:
    return proposal.decision.closed_at.isoformat() if proposal.decision else None


def _deadline_passed(deadline: datetime) -> Refusal:
    return Refusal(
        code="deadline-passed",
        sentence=f"The deadline {_moment(deadline)} has passed; it would have to lie ahead.",
        field="deadline",
        data={"deadline": deadline.isoformat()},
    )


def _moment(at: datetime) -> str:
    return f"{at:%d %B %Y at %H:%M:%S} UTC"


# What happened -------------------------------------------------------------------------------------------------------


def evolve(proposal: Proposal | None, event: Event) -> Proposal:
    """Applies what happened to a proposal. Which state it is in afterwards stands in ``TRANSITIONS``."""
    state = STATE_AFTER.get((proposal.state if proposal else None, type(event)))
    if state is None:
        raise TypeError(f"{event.wire.type} does not happen to {proposal}")
    if proposal is None:
        fields = event.model_dump(include={"umbrella", "author", "title", "text"})
        return Proposal(id=event.aggregate, state=state, **fields)
    return proposal.model_copy(update={"state": state, **_changes(proposal, event)})


def _changes(proposal: Proposal, event: Event) -> dict[str, object]:
    """What an event changes of a proposal besides its state."""
    match event:
        case ProposalOpened():
            fields = event.model_dump(include={"opened_at", "deadline", "quorum", "stand_aside_limit"})
            return {**fields, "voices": {network: Voice() for network in event.electorate}}
        case PositionTaken():
            before = proposal.voices[event.stance.network]
            voice = Voice(stance=event.stance, earlier=everything_said(before))
            return {"voices": {**proposal.voices, event.stance.network: voice}}
        case ProposalAmended():
            fields = event.model_dump(include={"title", "text", "version", "deadline"})
            silent = {network: Voice(earlier=everything_said(voice)) for network, voice in proposal.voices.items()}
            return {**fields, "voices": silent}
        case ProposalDecided():
            return {"decision": Decision(**{name: getattr(event, name) for name in Decision.model_fields})}
        case ProposalWithdrawn():
            return {"withdrawn_because": event.reason}
    return {}  # what was said in the discussion lies beside the proposal


def everything_said(voice: Voice) -> tuple[Stance, ...]:
    """What one network said on the proposal, oldest first."""
    return (*voice.earlier, voice.stance) if voice.stance else voice.earlier
