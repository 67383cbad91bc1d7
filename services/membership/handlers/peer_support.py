"""Peer support: experience offered, help asked for, peers matched, and whether it helped.

What an asker sends causes no event message itself, since such a message names its cause: timers make them.
"""

from collections.abc import Sequence

from services.membership import store
from services.membership.domain import network, peer_support
from services.membership.domain.peer_support import HelpRequest
from services.membership.handlers.surface import on
from services.membership.store import HELP_REQUESTS, NETWORKS, OFFERS, ORGANISATIONS
from shared.contracts.membership import (
    AcceptPeer,
    AskedOfMeView,
    AskForHelp,
    DeclinePeer,
    EndOffer,
    HelpRequestView,
    MentorAsked,
    MyPeerSupport,
    OfferExperience,
    OfferView,
    PeerSupportFigures,
    RecordWhetherItHelped,
    ShowMyPeerSupport,
    ShowPeerSupportFigures,
    WithdrawHelpRequest,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.timers import Timer
from shared.unit_of_work import Place, Reader, Work

MATCH = "match-peers"
ASK_MENTOR = "ask-mentor"
ANSWER_DUE = "peer-answer-due"

MATCHED_ALONE = {"asker", "network", "words"}
"""What a peer learns of a request once both have accepted, and not before."""

AboutRequest = AcceptPeer | DeclinePeer | WithdrawHelpRequest | RecordWhetherItHelped


def _request(command: AboutRequest) -> list[Place]:
    return [(HELP_REQUESTS, command.request)]


def _match_soon(work: Work) -> None:
    work.set_timer(MATCH, "all", work.now)


def _keep(request: HelpRequest, work: Work) -> Done:
    """Keeps a request as it is now, with the timer that belongs to it."""
    work.put(HELP_REQUESTS, request.id, request)
    if request.answer_by:
        work.set_timer(ANSWER_DUE, request.id, request.answer_by)
    else:
        work.cancel_timer(ANSWER_DUE, request.id)
    return Done(id=request.id)


def seek_peer(request: HelpRequest, work: Work) -> Done:
    """Keeps a new request, and has a peer looked for."""
    _match_soon(work)
    return _keep(request, work)


# ---- offering and asking -------------------------------------------------------------------------------------------


@on.command(OfferExperience, loads=lambda command: [(NETWORKS, command.network)])
def offer_experience(command: OfferExperience, work: Work) -> Done | Refusal:
    found = work.load(NETWORKS, command.network)
    if found is None:
        return network.unknown(command.network)
    id_ = work.new_id()
    decision = peer_support.offer(
        found,
        work.load(ORGANISATIONS, found.organisation) if found.organisation else None,
        command,
        work.principal,
        new_id=id_,
        is_member=store.is_member_somewhere(work, found.id),
        offers_already=store.offer_of(work, work.principal) is not None,
        forming=store.is_forming(work, found.id),
    )
    _match_soon(work)
    return work.save(OFFERS, id_, decision)


@on.command(EndOffer)
def end_offer(command: EndOffer, work: Work) -> Done | Refusal:  # noqa: ARG001  whose it is says all
    offered, held = store.offer_of(work, work.principal), store.in_hand_of(work, work.principal)
    for request in held:
        _keep(peer_support.released(request), work)
    _match_soon(work)
    return work.save(OFFERS, offered.id if offered else "", peer_support.end_offer(offered, work.principal))


@on.command(AskForHelp, loads=lambda command: [(NETWORKS, command.network)])
def ask_for_help(command: AskForHelp, work: Work) -> Done | Refusal:
    found = work.load(NETWORKS, command.network)
    if found is None:
        return network.unknown(command.network)
    home = work.load(ORGANISATIONS, found.organisation) if found.organisation else None
    has = store.topics_asked(work, work.principal)
    request = peer_support.ask(found, home, command, work.principal, new_id=work.new_id(), has=has)
    return request if isinstance(request, Refusal) else seek_peer(request, work)


# ---- answering -----------------------------------------------------------------------------------------------------


@on.command(AcceptPeer, loads=_request)
def accept_peer(command: AcceptPeer, work: Work) -> Done | Refusal:
    request = store.help_request(work, command.request)
    after = peer_support.accept(
        request,
        command,
        work.principal,
        work.now,
        stands=store.stands(work, command.offer),
        new_id=work.new_id(),
    )
    if isinstance(after, Refusal):
        return after
    if after.state == "asked":
        # The key is in the cause of the event, so it must tell neither which request it is nor when it was made.
        work.set_timer(ASK_MENTOR, work.new_id(), work.now, {"request": after.id, "offer": after.offer})
    elif after.state == "waiting":
        _match_soon(work)
    _keep(after, work)
    return Done(id=command.request)


@on.command(DeclinePeer, loads=_request)
def decline_peer(command: DeclinePeer, work: Work) -> Done | Refusal:
    request = store.help_request(work, command.request)
    after = peer_support.decline(request, command, work.principal, work.now)
    if isinstance(after, Refusal):
        return after
    _match_soon(work)
    _keep(after, work)
    return Done(id=command.request)


@on.command(RecordWhetherItHelped, loads=_request)
def record_whether_it_helped(command: RecordWhetherItHelped, work: Work) -> Done | Refusal:
    request = work.load(HELP_REQUESTS, command.request)
    closed_before = store.closed_so_far(work)
    after = peer_support.close(request, command.request, work.principal, command.helped, closed_before=closed_before)
    if isinstance(after, Refusal):
        return after
    _match_soon(work)
    return _keep(after, work)


@on.command(WithdrawHelpRequest, loads=_request)
def withdraw_help_request(command: WithdrawHelpRequest, work: Work) -> Done | Refusal:
    request = work.load(HELP_REQUESTS, command.request)
    if refusal := peer_support.withdraw(request, command.request, work.principal):
        return refusal
    work.put(HELP_REQUESTS, command.request, None)
    work.cancel_timer(ANSWER_DUE, command.request)
    _match_soon(work)
    return Done(id=command.request)


# ---- what happens by itself ----------------------------------------------------------------------------------------


@on.timer(MATCH)
def match_peers(_: Timer, work: Work) -> None:
    offers, waiting, in_hand = store.offers_that_stand(work), store.waiting_for_a_peer(work), store.in_hand(work)
    requests = {request.id: request for request in waiting}
    for found in peer_support.match(waiting, offers, in_hand):
        _keep(peer_support.propose(requests[found.request], found, work.now), work)


@on.timer(ASK_MENTOR, loads=lambda timer: [(HELP_REQUESTS, timer.data["request"])])
def ask_mentor(timer: Timer, work: Work) -> None:
    request = work.load(HELP_REQUESTS, timer.data["request"])
    offer: str = timer.data["offer"]
    if request is None or request.state != "asked" or request.offer != offer:
        return  # withdrawn or answered meanwhile
    if request.mentor and store.stands(work, offer):
        work.save(OFFERS, offer, [MentorAsked(offer=offer, mentor=request.mentor)])
    else:
        _keep(peer_support.released(request), work)
        _match_soon(work)


@on.timer(ANSWER_DUE, loads=lambda timer: [(HELP_REQUESTS, timer.key)])
def answer_due(timer: Timer, work: Work) -> None:
    request = work.load(HELP_REQUESTS, timer.key)
    after = peer_support.silence(request, work.now) if request else None
    if after is None:
        work.put(HELP_REQUESTS, timer.key, None)
    elif after != request:
        _keep(after, work)
        _match_soon(work)


# ---- questions -----------------------------------------------------------------------------------------------------


def as_asked(requests: Sequence[HelpRequest], reader: Reader) -> tuple[HelpRequestView, ...]:
    """Requests as their asker sees them."""
    peers = store.networks_of_offers(reader, [request.offer for request in requests if request.offer])
    return tuple(
        HelpRequestView(
            **request.model_dump(include={"id", "topic", "state", "offer", "why", "score"}),
            peer_network=peers.get(request.offer or ""),
            peer=request.mentor if request.state == "matched" else None,
            answer_by=None if request.state == "ended" else request.answer_by,
        )
        for request in requests
    )


@on.query(ShowMyPeerSupport)
def show_my_peer_support(_: ShowMyPeerSupport, reader: Reader) -> MyPeerSupport:
    offered, requests, asked = store.peer_support_of(reader, reader.principal)
    return MyPeerSupport(
        offer=OfferView(**offered.model_dump(include=set(OfferView.model_fields))) if offered else None,
        requests=as_asked(requests, reader),
        asked_of_me=tuple(
            AskedOfMeView(
                id=request.asked_as,
                **request.model_dump(include={"offer", "topic", "state", "answer_by"}),
                **(
                    request.model_dump(include=MATCHED_ALONE)
                    if request.state == "matched"
                    else dict.fromkeys(MATCHED_ALONE)
                ),
            )
            for request in asked
        ),
    )


@on.query(ShowPeerSupportFigures)
def show_peer_support_figures(_: ShowPeerSupportFigures, reader: Reader) -> PeerSupportFigures:
    return peer_support.figures(store.whether_it_helped(reader))
