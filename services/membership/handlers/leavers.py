"""People who leave their employer, and who may say that they did."""

from services.membership import store
from services.membership.domain import leaver
from services.membership.handlers import leaving
from services.membership.handlers.surface import on
from services.membership.store import ORGANISATIONS, PUBLISHER_LINKS, STEERING_GROUPS
from shared.contracts.membership import (
    LinkPublisher,
    ListPublisherLinks,
    PersonLeft,
    PublisherLinkPage,
    UnlinkPublisher,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.unit_of_work import Reader, Work


@on.command(LinkPublisher, loads=lambda command: [(ORGANISATIONS, command.organisation)])
def link_publisher(command: LinkPublisher, work: Work) -> Done | Refusal:
    organisation = work.load(ORGANISATIONS, command.organisation)
    existing = store.link_of(work, command.publisher)
    id_ = existing.id if existing else work.new_id()
    return work.save(PUBLISHER_LINKS, id_, leaver.link(command, organisation, existing, id_))


@on.command(UnlinkPublisher)
def unlink_publisher(command: UnlinkPublisher, work: Work) -> Done | Refusal:
    existing = store.link_of(work, command.publisher)
    return work.save(PUBLISHER_LINKS, existing.id if existing else "", leaver.unlink(command, existing))


@on.inbound(PersonLeft)
def person_left(message: PersonLeft, work: Work) -> Refusal | None:
    """Ends what a person holds at the publisher's organisation; says the same whether there was anything or not."""
    link = store.link_of(work, work.principal)
    if link is None or link.organisation is None:
        return leaver.unheard(work.principal)
    # Locked by now: one that was carried over to another body meanwhile is that body's affair.
    found = store.at_home_in(work, [link.organisation])
    homes = {id_: network for id_, network in found.items() if network.organisation == link.organisation}
    decisions = {}
    for id_, network in homes.items():
        group = work.load(STEERING_GROUPS, network.steering_group) if network.steering_group else None
        acts_as = {seat.principal for seat in group.seats.values() if seat.person == message.person} if group else set()
        if events := leaver.leave(network, message.person, acts_as):
            decisions[id_] = events
    decided = leaving.with_what_follows(work, decisions, person=message.person, homes=homes)
    leaving.save_without_cause(work, decided)
    return None


@on.query(ListPublisherLinks)
def list_publisher_links(query: ListPublisherLinks, reader: Reader) -> PublisherLinkPage:
    return store.publisher_link_page(reader, query)
