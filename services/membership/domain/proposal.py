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

from pydantic import BaseModel

from services.membership.domain.membership import not_an_umbrella
from services.membership.domain.network import Network, speaks_for
from services.membership.domain.steering_group import SteeringGroup, may_steer
from shared.contracts.membership import (
    AmendProposal,
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
    WithdrawProposal,
)
from shared.contracts.message import Event
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
    if proposal.state != "draft":
        return _in_the_wrong_state(proposal, "opened", "draft")
    if command.deadline <= at:
        return _deadline_passed(command.deadline, "deadline")
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
    if refusal := _not_open(proposal, "spoken on", at) or _no_voice(voice, network, principal, person):
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
        return Refusal(
            code="not-a-representative",
            sentence=f"{principal} cannot speak for {network.name}: its representatives and their deputies may.",
            field="network",
        )
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
    if proposal.state != "draft" and (refusal := _not_open(proposal, "amended", at)):
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
    if refusal := _not_open(proposal, "closed", at):
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
    if proposal.state != "draft" and (refusal := _not_open(proposal, "withdrawn", at)):
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


def _not_open(proposal: Proposal, what: str, at: datetime) -> Refusal | None:
    if proposal.state != "open":
        return _in_the_wrong_state(proposal, what, "open")
    if proposal.deadline and at >= proposal.deadline:
        return _deadline_passed(proposal.deadline, None)
    return None


def _in_the_wrong_state(proposal: Proposal, what: str, needed: ProposalState) -> Refusal:
    said = f"{proposal.state}: {proposal.decision.sentence}" if proposal.decision else f"{proposal.state}."
    return Refusal(
        code=f"proposal-not-{needed}",
        sentence=f"The proposal cannot be {what}, since it is {said} It would have to be {needed}.",
        data={"state": proposal.state},
    )


def _deadline_passed(deadline: datetime, field: str | None) -> Refusal:
    return Refusal(
        code="deadline-passed",
        sentence=f"The deadline {deadline:%d %B %Y at %H:%M:%S} UTC has passed; it would have to lie ahead.",
        field=field,
        data={"deadline": deadline.isoformat()},
    )


# What happened -------------------------------------------------------------------------------------------------------


def evolve(proposal: Proposal | None, event: Event) -> Proposal:
    """Applies what happened to a proposal."""
    match event, proposal:
        case ProposalDrafted(), None:
            return Proposal(
                id=event.proposal, umbrella=event.umbrella, author=event.author, title=event.title, text=event.text
            )
        case ProposalOpened(), Proposal():
            return _with(
                proposal,
                state="open",
                opened_at=event.opened_at,
                deadline=event.deadline,
                quorum=event.quorum,
                stand_aside_limit=event.stand_aside_limit,
                voices={network: Voice() for network in event.electorate},
            )
        case PositionTaken(), Proposal():
            before = proposal.voices[event.stance.network]
            voice = Voice(stance=event.stance, earlier=everything_said(before))
            return _with(proposal, voices={**proposal.voices, event.stance.network: voice})
        case ProposalAmended(), Proposal():
            return _with(
                proposal,
                title=event.title,
                text=event.text,
                version=event.version,
                deadline=event.deadline,
                voices={network: Voice(earlier=everything_said(voice)) for network, voice in proposal.voices.items()},
            )
        case ProposalDecided(), Proposal():
            fields = {name: getattr(event, name) for name in Decision.model_fields}
            return _with(proposal, state="closed", decision=Decision(**fields))
        case ProposalWithdrawn(), Proposal():
            return _with(proposal, state="withdrawn", withdrawn_because=event.reason)
    raise TypeError(f"{event.wire.type} does not happen to {proposal}")


def everything_said(voice: Voice) -> tuple[Stance, ...]:
    """What one network said on the proposal, oldest first."""
    return (*voice.earlier, voice.stance) if voice.stance else voice.earlier


def _with(proposal: Proposal, **changes: object) -> Proposal:
    return proposal.model_copy(update=changes)
