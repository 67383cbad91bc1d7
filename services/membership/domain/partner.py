"""Partners of an umbrella network: charities, NHS bodies, coalitions, policy groups; and their work streams."""

from collections.abc import Collection, Mapping
from datetime import datetime

from pydantic import BaseModel

from services.membership.domain.network import Network
from services.membership.domain.steering_group import SteeringGroup, may_steer
from shared.contracts.membership import (
    LinkPartner,
    PartnerLinked,
    PartnerRegistered,
    PartnershipEnded,
    PartnerType,
    PartnerUnlinked,
    RegisterPartner,
    UnlinkPartner,
)
from shared.contracts.message import Event
from shared.refusal import Refusal


class Link(BaseModel, frozen=True):
    """Since when a partner takes part in a work stream."""

    since: datetime


class Partner(BaseModel, frozen=True):
    """One partner. ``links`` are by work stream."""

    id: str
    umbrella: str
    name: str
    type: PartnerType
    organisation: str | None
    since: datetime
    ended_at: datetime | None = None
    links: Mapping[str, Link] = {}


def not_steering(umbrella: Network, group: SteeringGroup, principal: str) -> Refusal | None:
    """Refuses whoever does not steer the umbrella: its partners are its own."""
    if may_steer(umbrella, group, principal):
        return None
    return Refusal(
        code="not-of-the-steering-group",
        sentence=f"{principal} cannot do this with a partner: the steward of {umbrella.name} and its steering group "
        "may.",
    )


def register(
    command: RegisterPartner, *, new_id: str, taken: Collection[str], organisation_is_known: bool, at: datetime
) -> list[Event] | Refusal:
    """Notes a partner. ``taken``: the names of those the umbrella has."""
    if command.organisation is not None and not organisation_is_known:
        return Refusal(
            code="organisation-unknown",
            sentence=f"No organisation has the id {command.organisation}; find its id with find-organisation, or name "
            "the partner in words alone.",
            field="organisation",
        )
    if command.name.casefold() in (name.casefold() for name in taken):
        return Refusal(
            code="partner-already",
            sentence=f"There is a partner named {command.name}; list-partners shows it.",
            field="name",
        )
    return [PartnerRegistered(partner=new_id, since=at, **command.model_dump())]


def link(partner: Partner, group: SteeringGroup, command: LinkPartner, at: datetime) -> list[Event] | Refusal:
    """Links a partner to a work stream that goes on; a link that is there is left as it is."""
    if partner.ended_at is not None:
        return _ended(partner)
    stream = group.work_streams.get(command.work_stream)
    if stream is None or not stream.ongoing:
        ongoing = {id_: each.name for id_, each in group.work_streams.items() if each.ongoing}
        return Refusal(
            code="no-such-work-stream",
            sentence="A partner is linked to an ongoing work stream of its umbrella. Ongoing are: "
            f"{', '.join(sorted(ongoing.values())) or 'none yet; open one first'}.",
            field="work_stream",
            data={"ongoing": ongoing},
        )
    if command.work_stream in partner.links:
        return []
    return [PartnerLinked(partner=partner.id, umbrella=partner.umbrella, work_stream=command.work_stream, since=at)]


def unlink(partner: Partner, command: UnlinkPartner) -> list[Event] | Refusal:
    """Takes a partner out of a work stream, ongoing or closed."""
    if command.work_stream not in partner.links:
        return Refusal(
            code="not-linked",
            sentence=f"{partner.name} takes no part in the work stream {command.work_stream}; list-partners shows its "
            "links.",
            field="work_stream",
        )
    return [PartnerUnlinked(partner=partner.id, umbrella=partner.umbrella, work_stream=command.work_stream)]


def end(partner: Partner, at: datetime) -> list[Event] | Refusal:
    """Ends a partnership, once. That it was one stays on record."""
    if partner.ended_at is not None:
        return _ended(partner)
    return [PartnershipEnded(partner=partner.id, umbrella=partner.umbrella, ended_at=at)]


def unknown(partner: str) -> Refusal:
    """No partner has this id."""
    return Refusal(
        code="partner-unknown",
        sentence=f"No partner has the id {partner}; list-partners shows those there are.",
        field="partner",
    )


def _ended(partner: Partner) -> Refusal:
    return Refusal(
        code="partnership-ended",
        sentence=f"The partnership with {partner.name} ended on {partner.ended_at:%d %B %Y}; register it anew.",
    )


def evolve(partner: Partner | None, event: Event) -> Partner:
    """Applies what happened to a partner."""
    match event, partner:
        case PartnerRegistered(), None:
            return Partner(id=event.partner, **event.model_dump(exclude={"partner"}))
        case PartnerLinked(), Partner():
            links = {**partner.links, event.work_stream: Link(since=event.since)}
            return partner.model_copy(update={"links": links})
        case PartnerUnlinked(), Partner():
            links = {stream: each for stream, each in partner.links.items() if stream != event.work_stream}
            return partner.model_copy(update={"links": links})
        case PartnershipEnded(), Partner():
            return partner.model_copy(update={"ended_at": event.ended_at, "links": {}})
    raise TypeError(f"{event.wire.type} does not happen to {partner}")
