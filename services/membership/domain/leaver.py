"""People who leave their employer: who may say so of whom, and what of theirs ends with it.

A publisher speaks for one organisation, by an operator's word, and so for the networks at home there. What it says of
a person is not answered, and no store keeps it, so it cannot be used to find out whom the networks know; and no event
says more than that somebody stood down or left. Whoever is still there can be appointed again at once.
"""

from collections.abc import Collection

from pydantic import BaseModel

from services.membership.domain.network import Network, end_deputy, end_representative
from services.membership.domain.organisation import Organisation, unknown
from shared.contracts.membership import (
    LinkPublisher,
    PublisherLinked,
    PublisherUnlinked,
    StewardshipEnded,
    UnlinkPublisher,
)
from shared.contracts.message import Event
from shared.refusal import Refusal


class PublisherLink(BaseModel, frozen=True):
    """Of which organisation a publisher says who left; none once it was unlinked. One for each publisher."""

    id: str
    publisher: str
    organisation: str | None


def link(
    command: LinkPublisher, organisation: Organisation | None, existing: PublisherLink | None, new_id: str
) -> list[Event] | Refusal:
    """Lets a publisher say who left an organisation. A second organisation takes a publisher of its own."""
    if organisation is None:
        return unknown(command.organisation, "organisation")
    if organisation.closed_at is not None:
        return Refusal(
            code="organisation-closed",
            sentence=f"{organisation.name} is closed, so nobody leaves it any more; link the publisher with the body "
            "its networks are at home in now.",
            field="organisation",
        )
    if existing and existing.organisation:
        return Refusal(
            code="publisher-linked",
            sentence=f"{command.publisher} speaks for the organisation {existing.organisation} already; unlink it "
            "first, or give each organisation a publisher of its own.",
            field="publisher",
            data={"organisation": existing.organisation},
        )
    id_ = existing.id if existing else new_id
    return [PublisherLinked(link=id_, publisher=command.publisher, organisation=organisation.id)]


def unlink(command: UnlinkPublisher, existing: PublisherLink | None) -> list[Event] | Refusal:
    """Ends that a publisher says who left."""
    if existing is None or existing.organisation is None:
        return Refusal(
            code="publisher-not-linked",
            sentence=f"{command.publisher} is linked with no organisation; list-publisher-links shows those that are.",
            field="publisher",
        )
    unlinked = PublisherUnlinked(link=existing.id, publisher=existing.publisher, organisation=existing.organisation)
    return [unlinked]


def unheard(publisher: str) -> Refusal:
    """The publisher is linked with no organisation. Says nothing about the person it spoke of."""
    return Refusal(
        code="publisher-not-linked",
        sentence=f"{publisher} cannot say who left: a publisher that an operator linked with an organisation may "
        "(link-publisher), of the networks at home there.",
    )


def leave(network: Network, person: str, acts_as: Collection[str]) -> list[Event]:
    """Ends everything a person holds in one network. ``acts_as``: principals they are known by in its steering group.

    A steward is known by their principal, unless they were named with their person: then by that alone.
    """
    principals = {*acts_as, *(who.principal for id_, who in network.representatives.items() if id_ == person)}
    is_their_stewardship = (
        network.steward in principals if network.steward_person is None else network.steward_person == person
    )
    ended = StewardshipEnded(network=network.id, before=network.steward)
    return [
        *end_deputy(network, person),
        *end_representative(network, person),
        *([ended] if is_their_stewardship and not network.steward_left else ()),
    ]


def evolve(state: PublisherLink | None, event: Event) -> PublisherLink:
    """Applies what happened to a link."""
    match event, state:
        case PublisherLinked(), _:
            return PublisherLink(id=event.link, publisher=event.publisher, organisation=event.organisation)
        case PublisherUnlinked(), PublisherLink():
            return state.model_copy(update={"organisation": None})
    raise TypeError(f"{event.wire.type} does not happen to {state}")
