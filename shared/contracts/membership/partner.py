"""Partners of an umbrella network, and the work streams they are linked to."""

from typing import Literal

from pydantic import BaseModel, Field

from shared.contracts.message import AsOf, Command, Event, Id, Line, Moment, Query

PartnerType = Literal["charity", "nhs-body", "coalition", "policy-group"]


class RegisterPartner(Command):
    """Notes that an umbrella network has a partner. Sent by its steward or one of its steering group."""

    umbrella: Id
    name: Line
    type: PartnerType
    organisation: Id | None = Field(default=None, description="the partner, if it is a registered organisation")


class LinkPartner(Command):
    """Links a partner to an ongoing work stream of its umbrella. Sent by its steward or one of its steering group."""

    partner: Id
    work_stream: Id


class UnlinkPartner(Command):
    """Takes a partner out of a work stream. Sent by the umbrella's steward or one of its steering group."""

    partner: Id
    work_stream: Id


class EndPartnership(Command):
    """Ends a partnership, with all its links. Sent by the umbrella's steward or one of its steering group."""

    partner: Id


class PartnerRegistered(Event):
    """An umbrella network has a partner."""

    key = "partner"
    partner: Id
    umbrella: Id
    name: str
    type: PartnerType
    organisation: Id | None
    since: Moment


class PartnerLinked(Event):
    """A partner takes part in a work stream."""

    key = "partner"
    partner: Id
    umbrella: Id
    work_stream: Id
    since: Moment


class PartnerUnlinked(Event):
    """A partner no longer takes part in a work stream."""

    key = "partner"
    partner: Id
    umbrella: Id
    work_stream: Id


class PartnershipEnded(Event):
    """A partner is one no longer, and takes part in no work stream."""

    key = "partner"
    partner: Id
    umbrella: Id
    ended_at: Moment


class PartnerLinkView(BaseModel, frozen=True):
    """A work stream that a partner takes part in."""

    work_stream: Id
    name: str
    ongoing: bool
    since: Moment


class PartnerView(BaseModel, frozen=True):
    """One partner of an umbrella network."""

    id: Id
    umbrella: Id
    name: str
    type: PartnerType
    organisation: Id | None
    since: Moment
    ended_at: Moment | None
    work_streams: tuple[PartnerLinkView, ...]


class PartnerPage(BaseModel, frozen=True):
    """Partners in the order they were registered."""

    partners: tuple[PartnerView, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListPartners(Query[PartnerPage]):
    """Lists partners, all or those that fit every filter given; of a work stream with ``work_stream``."""

    umbrella: Id | None = None
    work_stream: Id | None = None
    type: PartnerType | None = None
    with_ended: bool = False
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None
