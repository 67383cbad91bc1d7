"""Offers of peer support and requests for it."""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Select, and_, func, select

from services.membership import tables
from services.membership.domain.peer_support import BUSY, HelpRequest, Offer
from services.membership.store.aggregates import HELP_REQUESTS, OFFERS
from shared.contracts.membership import Helped, PeerTopic
from shared.unit_of_work import Reader, Work


def offer_of(work: Work, mentor: str) -> Offer | None:
    """What somebody offers."""
    c = tables.peer_offers.c
    found = work.select(select(c.id).where(c.mentor == mentor))
    return work.load(OFFERS, found[0].id) if found else None


def _of_members() -> Select[Any]:
    c, speaker, member = tables.peer_offers.c, tables.representatives.c, tables.memberships.c
    speaks = and_(speaker.owner == c.network, speaker.principal == c.mentor)
    admitted = select(member.network).where(member.state == "admitted")
    statement = select(c.id).join_from(tables.peer_offers, tables.representatives, speaks)
    return statement.where(c.network.in_(admitted))


_OFFERS_THAT_STAND: Final = _of_members()


def offers_that_stand(work: Work) -> Collection[Offer]:
    """The offers of all who still represent the network they made them for, while that is a member somewhere."""
    rows = work.select(_OFFERS_THAT_STAND.order_by(tables.peer_offers.c.id))
    return work.load_all(OFFERS, [row.id for row in rows]).values()


def stands(work: Work, offer: str | None) -> bool:
    """Whether an offer is one of those that stand."""
    return offer is not None and bool(work.select(_OFFERS_THAT_STAND.where(tables.peer_offers.c.id == offer)))


def help_request(work: Work, id_: str) -> HelpRequest | None:
    """A request, by its own id or by the one its peer knows it by."""
    if found := work.load(HELP_REQUESTS, id_):
        return found
    c = tables.help_requests.c
    rows = work.select(select(c.id).where(c.asked_as == id_))
    return work.load(HELP_REQUESTS, rows[0].id) if rows else None


def waiting_for_a_peer(work: Work) -> Collection[HelpRequest]:
    """The requests that no peer has been found for."""
    c = tables.help_requests.c
    rows = work.select(select(c.id).where(c.state == "waiting").order_by(c.id))
    return work.load_all(HELP_REQUESTS, [row.id for row in rows]).values()


def in_hand(work: Work) -> dict[str, int]:
    """How many requests each mentor has in hand."""
    c = tables.help_requests.c
    statement = select(c.mentor, func.count().label("held")).where(c.state.in_(BUSY)).group_by(c.mentor)
    return {row.mentor: row.held for row in work.select(statement)}


def in_hand_of(work: Work, mentor: str) -> Collection[HelpRequest]:
    """The requests a mentor has in hand."""
    c = tables.help_requests.c
    rows = work.select(select(c.id).where(c.mentor == mentor).order_by(c.id))
    return work.load_all(HELP_REQUESTS, [row.id for row in rows]).values()


def topics_asked(work: Work, asker: str) -> dict[int, PeerTopic]:
    """The topics of the requests that somebody has open, by slot."""
    c = tables.help_requests.c
    rows = work.select(select(c.slot, c.topic).where(c.asker == asker, c.slot.is_not(None)))
    return {row.slot: row.topic for row in rows}


def peer_support_of(reader: Reader, principal: str) -> tuple[Offer | None, list[HelpRequest], list[HelpRequest]]:
    """What somebody offers, their requests, and the requests in their hand that they may know of; in order."""
    offers, c = tables.peer_offers.c, tables.help_requests.c
    found = reader.select(select(offers.id).where(offers.mentor == principal))
    theirs = reader.select(select(c.id).where(c.asker == principal))
    asked = reader.select(select(c.id).where(c.mentor == principal, c.state.in_(("asked", "matched"))))
    requests = reader.load_all(HELP_REQUESTS, [row.id for row in (*theirs, *asked)])
    in_order = [requests[id_] for id_ in sorted(requests)]
    return (
        reader.load(OFFERS, found[0].id) if found else None,
        [request for request in in_order if request.asker == principal],
        # not in the order of asking for help either
        sorted(
            (requests[row.id] for row in asked if requests[row.id].mentor == principal),
            key=lambda request: request.asked_as or "",
        ),
    )


def networks_of_offers(reader: Reader, offers: Collection[str]) -> dict[str, str]:
    """The names of the networks that offers come from, by offer."""
    c, networks = tables.peer_offers.c, tables.networks.c
    statement = select(c.id, networks.name).join_from(tables.peer_offers, tables.networks, networks.id == c.network)
    return {row.id: row.name for row in reader.select(statement.where(c.id.in_(sorted(offers))))}


def closed_so_far(work: Work) -> int:
    """How many requests have ended with an answer."""
    c = tables.help_requests.c
    [row] = work.select(
        select(func.count().label("closed")).select_from(tables.help_requests).where(c.state == "closed")
    )
    return int(row.closed)


def whether_it_helped(reader: Reader) -> list[Helped]:
    """What the askers of the closed requests said, in the order of closing."""
    c = tables.help_requests.c
    return [row.helped for row in reader.select(select(c.helped).where(c.state == "closed").order_by(c.place))]
