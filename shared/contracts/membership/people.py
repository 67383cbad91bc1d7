"""Deputies, and people who leave."""

from typing import ClassVar

from pydantic import BaseModel, Field

from shared.contracts.message import Command, Event, Id, Inbound, Principal, Query, Role


class NameDeputy(Command):
    """Names who may give the network's voice besides a representative: take positions, endorse, raise, comment.

    Sent by the representative, who has one deputy at a time. A deputy appoints and names nobody.
    """

    network: Id
    person: Id = Field(description="opaque id of the deputy")
    principal: Principal = Field(description="the credentials the deputy will speak with")


class WithdrawDeputy(Command):
    """Ends a deputy's part. Sent by the representative who named them, the deputy or the network's steward."""

    network: Id
    person: Id = Field(description="opaque id of the deputy")


class DeputyNamed(Event):
    """A person may give a network's voice for as long as somebody represents it who named them."""

    key = "network"
    network: Id
    representative: Id = Field(description="opaque id of the representative who named them")
    person: Id
    principal: Principal


class DeputyWithdrawn(Event):
    """A person is no deputy any more: withdrawn, gone with their representative, or a representative from now on."""

    key = "network"
    network: Id
    representative: Id = Field(description="opaque id of the representative who had named them")
    person: Id
    principal: Principal


class GiveUpStewardship(Command):
    """Leaves a network without a steward, where nobody is there to hand it over to. Sent by its steward."""

    network: Id


class LinkPublisher(Command):
    """Lets a publisher, such as an HR system, say who left an organisation. The organisation has been asked before."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    publisher: Principal
    organisation: Id


class UnlinkPublisher(Command):
    """Ends that a publisher says who left its organisation."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    publisher: Principal


class PersonLeft(Inbound):
    """Somebody left the organisation that the publisher is linked with. It says whom, by an opaque id, and no more.

    Whatever the person holds in the networks at home there ends. Nothing is answered, whether they are known or not.
    """

    person: Id = Field(description="opaque id of the person, as the networks know them")


class PublisherLinked(Event):
    """A publisher says from now on who left an organisation."""

    key = "link"
    link: Id
    publisher: Principal
    organisation: Id


class PublisherUnlinked(Event):
    """A publisher no longer says who left an organisation."""

    key = "link"
    link: Id
    publisher: Principal
    organisation: Id


class StewardshipEnded(Event):
    """A network has no steward: the last one stood down or left. An operator appoints the next."""

    key = "network"
    network: Id
    before: Principal = Field(description="who was its steward until now")


class PublisherLinkView(BaseModel, frozen=True):
    """Who says of which organisation that somebody left it."""

    publisher: Principal
    organisation: Id
    name: str = Field(description="of the organisation")


class PublisherLinkPage(BaseModel, frozen=True):
    """Links in the order of the publishers' names."""

    links: tuple[PublisherLinkView, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListPublisherLinks(Query[PublisherLinkPage]):
    """Lists which publishers say who left which organisations."""

    organisation: Id | None = None
    limit: int = Field(default=50, ge=1, le=500)
    after: str | None = Field(default=None, max_length=63, description="`next` of the page before")
