"""Partners of an umbrella network and the work streams they take part in."""

from services.membership import store
from services.membership.domain import partner
from services.membership.domain.partner import Partner
from services.membership.domain.steering_group import SteeringGroup
from services.membership.handlers.surface import on
from services.membership.store import NETWORKS, ORGANISATIONS, PARTNERS, PAST
from shared.contracts.membership import (
    EndPartnership,
    LinkPartner,
    ListPartners,
    PartnerPage,
    RegisterPartner,
    UnlinkPartner,
)
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.unit_of_work import Place, Reader, Work

AboutPartner = LinkPartner | UnlinkPartner | EndPartnership


def _partner(command: AboutPartner) -> list[Place]:
    return [(PARTNERS, command.partner)]


def _load(command: AboutPartner, work: Work) -> tuple[Partner, SteeringGroup] | Refusal:
    """The partner and the steering group of its umbrella, if whoever asks may act for that."""
    state = work.load(PARTNERS, command.partner)
    if state is None:
        return partner.unknown(command.partner)
    found = store.load_umbrella(work, state.umbrella)
    if isinstance(found, Refusal):
        return found
    umbrella, group = found
    return partner.not_steering(umbrella, group, work.principal) or (state, group)


@on.command(RegisterPartner, loads=lambda command: [(NETWORKS, command.umbrella)])
def register_partner(command: RegisterPartner, work: Work) -> Done | Refusal:
    found = store.load_umbrella(work, command.umbrella, "umbrella")
    if isinstance(found, Refusal):
        return found
    id_ = work.new_id()
    decision = partner.not_steering(*found, work.principal) or partner.register(
        command,
        new_id=id_,
        taken=store.names_of_partners(work, command.umbrella),
        organisation_is_known=command.organisation is not None
        and work.load(ORGANISATIONS, command.organisation) is not None,
        at=work.now,
    )
    return work.save(PARTNERS, id_, decision)


@on.command(LinkPartner, loads=_partner)
def link_partner(command: LinkPartner, work: Work) -> Done | Refusal:
    found = _load(command, work)
    if isinstance(found, Refusal):
        return found
    state, group = found
    return work.save(PARTNERS, state.id, partner.link(state, group, command, work.now))


@on.command(UnlinkPartner, loads=_partner)
def unlink_partner(command: UnlinkPartner, work: Work) -> Done | Refusal:
    found = _load(command, work)
    if isinstance(found, Refusal):
        return found
    state, _ = found
    return work.save(PARTNERS, state.id, partner.unlink(state, command))


@on.command(EndPartnership, loads=_partner)
def end_partnership(command: EndPartnership, work: Work) -> Done | Refusal:
    found = _load(command, work)
    if isinstance(found, Refusal):
        return found
    state, _ = found
    return work.save(PARTNERS, state.id, partner.end(state, work.now))


@on.query(ListPartners, as_of_from=PAST)
def list_partners(query: ListPartners, reader: Reader) -> PartnerPage:
    return store.partner_page(reader, query)
