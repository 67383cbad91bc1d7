"""Peer support: who asks for help is matched with one who has the experience, and both say yes or no.

To ask for help takes courage, so who asked is kept from everybody. The asker is the first to answer: of a peer they do
not want, that peer never hears. The peer answers on the topic alone, and learns who asked once both have accepted. A
request makes no event message. When it is over, who asked and whom is forgotten.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, get_args

from pydantic import BaseModel

from services.membership.domain.network import Network, acts_for, represents
from services.membership.domain.organisation import Organisation
from shared.contracts.membership import (
    AcceptPeer,
    AskForHelp,
    DeclinePeer,
    ExperienceOffered,
    ExperienceOfferEnded,
    Helped,
    HelpState,
    MentorAsked,
    OfferExperience,
    OrganisationType,
    PeerSupportFigures,
    PeerTopic,
    Region,
    SizeBand,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

SAME_TYPE = 3
SAME_SIZE = 2
NEXT_SIZE = 1
SAME_REGION = 1
"""What an offer scores for being near to a request, 0 to 6. That the topic is the same is not scored but required."""
MAX_REQUESTS = 3
"""Requests one person may have at a time, so that nobody takes every mentor."""
ANSWER_WITHIN = timedelta(days=7)
"""How long the asker, and then the peer, have to answer; a peer is not kept from others for longer."""
FORGOTTEN_AFTER = timedelta(days=90)
"""How long a request that ended without a word on whether it helped is kept for one."""
FEW = 10
"""Answers are shown by so many at once: each alone could be known, by itself or from what it changes."""
SIZES: Final[tuple[SizeBand, ...]] = get_args(SizeBand)
BUSY: Final[tuple[HelpState, ...]] = ("proposed", "asked", "matched")
"""States in which a request is in a mentor's hand."""


class Offer(BaseModel, frozen=True):
    """What somebody offers. ``mentor`` is nobody once it has ended; ``asked`` counts how often they were asked."""

    id: str
    mentor: str | None
    network: str
    organisation: str | None
    type: OrganisationType | None
    region: Region | None
    topics: tuple[PeerTopic, ...]
    size: SizeBand
    at_once: int
    asked: int = 0


class HelpRequest(BaseModel, frozen=True):
    """One request. ``tried`` are the mentors it came to nothing with. Closed, it is a topic, an answer and a place."""

    id: str
    topic: PeerTopic
    asker: str | None = None
    network: str | None = None
    organisation: str | None = None
    type: OrganisationType | None = None
    region: Region | None = None
    size: SizeBand | None = None
    words: str | None = None
    state: HelpState = "waiting"
    offer: str | None = None
    mentor: str | None = None
    asked_as: str | None = None
    """By what id the mentor knows it, made when they are asked: its own would tell when somebody asked for help."""
    score: int | None = None
    why: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()
    answer_by: datetime | None = None
    """Until when somebody may answer: the asker to what is proposed or, at the end, whether it helped; or the peer."""
    was_matched: bool = False
    helped: Helped | None = None
    place: int | None = None
    """Which of all closed ones it is, from 1 in the order of closing."""
    slot: int | None = None
    """Which of the requests that its asker may have at a time it is, from 1, until it has ended: two are never the same
    one, so nobody gets more by asking in several places at once."""


class Match(BaseModel, frozen=True):
    """An offer for a request: how near it is, and why it is this one."""

    request: str
    offer: str
    mentor: str
    score: int
    why: tuple[str, ...] = ()


# Who is matched with whom --------------------------------------------------------------------------------------------


def match(requests: Collection[HelpRequest], offers: Collection[Offer], in_hand: Mapping[str, int]) -> list[Match]:
    """A peer for each request that can have one, the longest waiting first.

    The nearest offer wins; of those equally near that of the mentor with the fewest in hand, then of the one asked
    least often so far, then the earliest. Nobody gets more than they said. ``in_hand``: requests by mentor.
    """
    held = dict(in_hand)
    matches = []
    in_turn = sorted(offers, key=lambda offer: (offer.asked, offer.id))
    for request in sorted(requests, key=lambda request: request.id):
        found = [
            Match(request=request.id, offer=offer.id, mentor=offer.mentor, score=_score(request, offer))
            for offer in in_turn
            if offer.mentor and _may_help(request, offer) and held.get(offer.mentor, 0) < offer.at_once
        ]
        if found:
            best = min(found, key=lambda each: (-each.score, held.get(each.mentor, 0)))  # the first of those as good
            held[best.mentor] = held.get(best.mentor, 0) + 1
            offer = next(offer for offer in offers if offer.id == best.offer)
            matches.append(best.model_copy(update={"why": _why(request, offer, alone=len(found) == 1)}))
    return matches


def _score(request: HelpRequest, offer: Offer) -> int:
    return sum(points for points, _ in _near(request, offer))


def _may_help(request: HelpRequest, offer: Offer) -> bool:
    """Whether an offer is one at all for a request: never from the same house, where people know each other."""
    same_house = request.organisation is not None and request.organisation == offer.organisation
    return (
        request.topic in offer.topics
        and offer.mentor not in (request.asker, *request.tried)
        and offer.network != request.network
        and not same_house
    )


def _near(request: HelpRequest, offer: Offer) -> list[tuple[int, str]]:
    """What an offer scores for a request, each with its reason."""
    reasons = []
    if request.type is not None and request.type == offer.type:
        reasons.append((SAME_TYPE, f"It is at home in an organisation of your type: {_words(offer.type)}."))
    if request.size is not None:
        apart = abs(SIZES.index(request.size) - SIZES.index(offer.size))
        if apart == 0:
            reasons.append((SAME_SIZE, f"The organisation is of your size: {_words(offer.size)}."))
        elif apart == 1:
            reasons.append((NEXT_SIZE, f"The organisation is nearly of your size: {_words(offer.size)}."))
    if request.region is not None and request.region == offer.region:
        reasons.append((SAME_REGION, f"It is in your region: {offer.region}."))
    return reasons


def _why(request: HelpRequest, offer: Offer, *, alone: bool) -> tuple[str, ...]:
    last = (
        "No other peer has both the experience and room at present."
        if alone
        else "Nobody who has the experience and room is nearer; of those as near, the one with the fewest in hand."
    )
    return (
        f"The peer offers experience of {_words(request.topic)}.",
        *(f"{reason} (+{points})" for points, reason in _near(request, offer)),
        last,
    )


def _words(name: str) -> str:
    return name.replace("-", " ")


# Offering ------------------------------------------------------------------------------------------------------------


def region_of(network: Network, home: Organisation | None) -> Region | None:
    """Where a network is: its office, else its home organisation."""
    return network.office.region if network.office else home.region if home else None


def offer(
    network: Network,
    home: Organisation | None,
    command: OfferExperience,
    principal: str,
    *,
    new_id: str,
    is_member: bool,
    offers_already: bool,
    forming: bool = False,
) -> list[Event] | Refusal:
    """Offers experience. A mentor will hear who is in difficulty: some umbrella must have admitted their network."""
    if represents(network, principal) is None:
        return Refusal(
            code="not-a-representative",
            sentence=f"{principal} cannot offer the experience of {network.name}: its representatives may.",
            field="network",
        )
    if not is_member:
        return Refusal(
            code="not-a-member",
            sentence=f"{network.name} is a member of no umbrella network; peers are helped by members alone.",
            field="network",
        )
    if forming:
        return Refusal(
            code="still-forming",
            sentence=f"{network.name} is still forming; experience is offered by established networks. Its steward "
            "says that it is one with declare-network-established.",
            field="network",
        )
    if offers_already:
        return Refusal(
            code="offers-already",
            sentence=f"{principal} has an offer already; end it with end-offer to make another one.",
        )
    return [
        ExperienceOffered(
            offer=new_id,
            mentor=principal,
            network=network.id,
            organisation=network.organisation,
            type=home.type if home else None,
            region=region_of(network, home),
            topics=tuple(sorted(set(command.topics))),
            size=command.size,
            at_once=command.at_once,
        )
    ]


def end_offer(offered: Offer | None, principal: str) -> list[Event] | Refusal:
    """Takes an offer back."""
    if offered is None or offered.mentor != principal:
        return Refusal(
            code="no-offer", sentence=f"{principal} has no offer that could be ended; offer-experience makes one."
        )
    return [ExperienceOfferEnded(offer=offered.id)]


def evolve(offered: Offer | None, event: Event) -> Offer:
    """Applies what happened to an offer."""
    match event, offered:
        case ExperienceOffered(), None:
            return Offer(id=event.offer, **event.model_dump(exclude={"offer"}))
        case ExperienceOfferEnded(), Offer():
            return offered.model_copy(update={"mentor": None})
        case MentorAsked(), Offer():
            return offered.model_copy(update={"asked": offered.asked + 1})
    raise TypeError(f"{event.wire.type} does not happen to {offered}")


# Asking --------------------------------------------------------------------------------------------------------------


def free_slot(has: Collection[int]) -> int | None:
    """Where one more request of somebody's has its place, if they may have one more."""
    return next((each for each in range(1, MAX_REQUESTS + 1) if each not in has), None)


def ask(
    network: Network,
    home: Organisation | None,
    command: AskForHelp,
    principal: str,
    *,
    new_id: str,
    has: Mapping[int, PeerTopic],
) -> HelpRequest | Refusal:
    """Asks for help. ``has``: the topics of the requests that whoever asks has open already, by slot."""
    if not acts_for(network, principal):
        return Refusal(
            code="not-of-this-network",
            sentence="You cannot ask for that network: its steward and its representatives may.",  # kept, so no names
            field="network",
        )
    if command.topic in has.values():
        return Refusal(
            code="asked-already",
            sentence=f"There is an open request of yours on {_words(command.topic)}; show-my-peer-support shows it.",
            field="topic",
        )
    slot = free_slot(has)
    if slot is None:
        return Refusal(
            code="requests-enough",
            sentence=f"There are {len(has)} open requests of yours, and one more was asked; {MAX_REQUESTS} are allowed "
            "at a time.",
            data={"requests": len(has), "most": MAX_REQUESTS},
        )
    return HelpRequest(
        id=new_id,
        topic=command.topic,
        asker=principal,
        network=network.id,
        organisation=network.organisation,
        type=home.type if home else None,
        region=region_of(network, home),
        size=command.size,
        words=command.words,
        slot=slot,
    )


def propose(request: HelpRequest, found: Match, at: datetime) -> HelpRequest:
    """A peer is found: the asker is the first to say yes or no."""
    return _with(
        request,
        state="proposed",
        offer=found.offer,
        mentor=found.mentor,
        score=found.score,
        why=found.why,
        answer_by=at + ANSWER_WITHIN,
    )


def accept(
    request: HelpRequest | None,
    command: AcceptPeer,
    principal: str,
    at: datetime,
    *,
    stands: bool,
    new_id: str,
) -> HelpRequest | Refusal:
    """The asker takes the peer proposed, upon which that peer is asked; or the peer takes the request.

    Either tells somebody something. So if the offer does not stand any more it waits for another peer instead.
    """
    answers = _answered(request, command, principal)
    if isinstance(answers, Refusal):
        return answers
    if answers.state == "matched":
        return _not_theirs(command.request)
    if answers.answer_by is not None and at >= answers.answer_by:
        return Refusal(
            code="time-is-up",
            sentence=f"The {ANSWER_WITHIN.days} days to accept are over; show-my-peer-support shows what came of it.",
        )
    if not stands:
        return _waiting_again(answers)
    if answers.state == "proposed":
        return _with(answers, state="asked", asked_as=new_id, answer_by=at + ANSWER_WITHIN)
    return _with(answers, state="matched", answer_by=None, was_matched=True)


def decline(request: HelpRequest | None, command: DeclinePeer, principal: str, at: datetime) -> HelpRequest | Refusal:
    """The asker wants another peer, or the peer cannot help. A peer who had accepted may end it at any time."""
    answers = _answered(request, command, principal)
    if isinstance(answers, Refusal):
        return answers
    return _ended(answers, at) if answers.state == "matched" else _waiting_again(answers)


def _answered(request: HelpRequest | None, command: AcceptPeer | DeclinePeer, principal: str) -> HelpRequest | Refusal:
    """The request, if it is whoever answers that it waits for, and if they answer to the peer of now."""
    of_asker = request and request.state == "proposed" and (request.id, request.asker) == (command.request, principal)
    of_peer = (
        request
        and request.state in ("asked", "matched")
        and (request.asked_as, request.mentor) == (command.request, principal)
    )
    if request is None or not (of_asker or of_peer):
        return _not_theirs(command.request)
    if request.offer != command.offer:
        return Refusal(
            code="another-peer",
            sentence="That is not the offer this request waits for an answer to; show-my-peer-support shows which is.",
            field="offer",
        )
    return request


def silence(request: HelpRequest, at: datetime) -> HelpRequest | None:
    """What becomes of a request when its time is up: ``None`` if it is forgotten.

    If the peer said nothing another one is looked for. If the asker said nothing the peer is set free.
    """
    if request.answer_by is None or at < request.answer_by:
        return request
    if request.state == "proposed":
        return _ended(request, at)
    if request.state == "asked":
        return _waiting_again(request)
    return None if request.state == "ended" else request


def close(
    request: HelpRequest | None, id_: str, principal: str, helped: Helped, *, closed_before: int
) -> HelpRequest | Refusal:
    """Keeps whether it helped, and on which topic; and nothing of who asked, or whom."""
    if request is None or request.asker != principal:
        return _not_theirs(id_)
    if not request.was_matched:
        return Refusal(
            code="not-matched",
            sentence="Nobody has accepted this request yet, so nobody can have helped; take it back with "
            "withdraw-help-request.",
            data={"state": request.state},
        )
    return HelpRequest(id=request.id, topic=request.topic, state="closed", helped=helped, place=closed_before + 1)


def withdraw(request: HelpRequest | None, id_: str, principal: str) -> Refusal | None:
    """Why a request cannot be taken back; ``None`` if it can, whatever has come of it."""
    return None if request is not None and request.asker == principal else _not_theirs(id_)


def released(request: HelpRequest) -> HelpRequest:
    """What becomes of a request whose offer stands no more: a peer who has accepted stays, else another is found."""
    return request if request.state == "matched" else _waiting_again(request)


def _waiting_again(request: HelpRequest) -> HelpRequest:
    tried = (*request.tried, request.mentor) if request.mentor else request.tried
    return _with(_let_go(request), state="waiting", tried=tried)


def _ended(request: HelpRequest, at: datetime) -> HelpRequest:
    return _with(_let_go(request), state="ended", answer_by=at + FORGOTTEN_AFTER, slot=None)


def _let_go(request: HelpRequest) -> HelpRequest:
    return _with(request, offer=None, mentor=None, asked_as=None, score=None, why=(), answer_by=None)


def _not_theirs(id_: str) -> Refusal:
    # One answer for a request that does not exist, is not theirs or is not theirs yet: nothing can be probed with it.
    return Refusal(
        code="no-such-request",
        sentence=f"No request {id_} waits for that from you; show-my-peer-support shows those that do.",
        field="request",
    )


def _with(request: HelpRequest, **changes: object) -> HelpRequest:
    return request.model_copy(update=changes)


# Whether it helped ---------------------------------------------------------------------------------------------------


def figures(answers: Sequence[Helped]) -> PeerSupportFigures:
    """How often help helped, or why that is not said. ``answers``: all there are, in the order of closing.

    What is shown moves by ten answers at once, so that nobody learns one from what it was before.
    """
    shown = answers[: len(answers) // FEW * FEW]
    if not shown:
        why = f"Fewer than {FEW} requests have ended with an answer; so few could be known."
        return PeerSupportFigures(closed=None, helped=None, withheld=why)
    times = Counter(shown)
    return PeerSupportFigures(
        closed=len(shown), helped={answer: times[answer] for answer in get_args(Helped)}, withheld=None
    )
