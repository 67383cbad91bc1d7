"""Joining an umbrella network: one membership, and one voice, for each network there."""

from typing import Final

from pydantic import BaseModel

from services.membership.domain.network import Network, acts_for
from services.membership.domain.organisation import Organisation
from shared.contracts.membership import (
    DeclineMemberNetwork,
    MemberNetworkAdmitted,
    MemberNetworkDeclined,
    MemberNetworkLapsed,
    MemberNetworkWithdrawn,
    MembershipAppliedFor,
    MembershipState,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

PRESENT: Final[tuple[MembershipState, ...]] = ("applied", "admitted")
"""States in which a network is in the umbrella or at its door; out of the others it may apply again."""


class Membership(BaseModel, frozen=True):
    """What one network is to one umbrella. There is one for each pair, however often the network comes and goes."""

    id: str
    umbrella: str
    network: str
    state: MembershipState


def apply(
    umbrella: Network,
    network: Network,
    membership: Membership | None,
    principal: str,
    *,
    new_id: str,
    home: Organisation | None,
) -> list[Event] | Refusal:
    """Applies to an umbrella. ``home`` is the network's home organisation, if any.

    Anybody may register networks, as many as they like, and each member has a voice. So an open umbrella admits at once
    those whose home an operator has confirmed; others wait until somebody who steers it has looked at them.
    """
    if umbrella.umbrella is None:
        return not_an_umbrella(umbrella, "umbrella")
    if not acts_for(network, principal):
        return _not_of(network, principal)
    if umbrella.id == network.id:
        return Refusal(
            code="own-umbrella",
            sentence=f"{network.name} cannot be a member of itself.",
            field="network",
        )
    if membership and membership.state in PRESENT:
        return Refusal(
            code="one-voice",
            sentence=f"{network.name} has {_SAID[membership.state]} {umbrella.name} already: "
            "a network has one membership, and one voice, in an umbrella.",
            field="network",
            data={"membership": membership.id, "state": membership.state},
        )
    if refusal := _ineligible(umbrella, network, home) or _voiceless(umbrella, network):
        return refusal
    applied = MembershipAppliedFor(
        membership=membership.id if membership else new_id, umbrella=umbrella.id, network=network.id
    )
    at_once = umbrella.umbrella.open and network.home_confirmed
    return [applied, _admitted(applied.membership, umbrella, network)] if at_once else [applied]


def admit(
    umbrella: Network, network: Network, membership: Membership | None, *, may_admit: bool
) -> list[Event] | Refusal:
    """Admits an applicant. ``may_admit``: whoever asks is the umbrella's steward or sits in its steering group."""
    applied = _application(umbrella, network, membership, may_admit=may_admit)
    if isinstance(applied, Refusal):
        return applied
    if refusal := _voiceless(umbrella, network):
        return refusal
    return [_admitted(applied.id, umbrella, network)]


def decline(
    umbrella: Network,
    network: Network,
    membership: Membership | None,
    command: DeclineMemberNetwork,
    *,
    may_admit: bool,
) -> list[Event] | Refusal:
    """Declines an applicant, and says why. It may apply again."""
    applied = _application(umbrella, network, membership, may_admit=may_admit)
    if isinstance(applied, Refusal):
        return applied
    declined = MemberNetworkDeclined(
        membership=applied.id, umbrella=umbrella.id, network=network.id, reason=command.reason
    )
    return [declined]


def _application(
    umbrella: Network, network: Network, membership: Membership | None, *, may_admit: bool
) -> Membership | Refusal:
    if umbrella.umbrella is None:
        return not_an_umbrella(umbrella, "umbrella")
    if not may_admit:
        return Refusal(
            code="not-of-the-steering-group",
            sentence=f"Only the steward of {umbrella.name} and its steering group admit member networks, or decline.",
        )
    if membership is None or membership.state != "applied":
        said = f"has {_SAID[membership.state]}" if membership else "has not applied to"
        return Refusal(
            code="no-application",
            sentence=f"{network.name} {said} {umbrella.name}; only a network that has applied is admitted or declined.",
            field="network",
            data={"state": membership.state if membership else None},
        )
    return membership


def withdraw(
    umbrella: Network, network: Network, membership: Membership | None, principal: str
) -> list[Event] | Refusal:
    """Leaves an umbrella, or takes an application back. Open proposals keep the electorate they had."""
    if not acts_for(network, principal):
        return _not_of(network, principal)
    if membership is None or membership.state not in PRESENT:
        return Refusal(
            code="not-a-member",
            sentence=f"{network.name} is no member of {umbrella.name} and has no application there to take back.",
            field="network",
        )
    return [MemberNetworkWithdrawn(membership=membership.id, umbrella=umbrella.id, network=network.id)]


def lapse(membership: Membership, network: Network) -> list[Event]:
    """Ends the membership, or the application, of a network if nobody speaks for it any more."""
    if network.representatives or membership.state not in PRESENT:
        return []
    return [MemberNetworkLapsed(membership=membership.id, umbrella=membership.umbrella, network=membership.network)]


def not_an_umbrella(network: Network, field: str) -> Refusal:
    """The network has no members and no steering group."""
    return Refusal(
        code="not-an-umbrella",
        sentence=f"{network.name} is no umbrella network: it has no members, steering group or proposals. "
        "list-networks with umbrellas set shows those that have.",
        field=field,
    )


_SAID: Final[dict[MembershipState, str]] = {
    "applied": "applied to",
    "admitted": "been admitted to",
    "declined": "been declined by",
    "withdrawn": "withdrawn from",
    "lapsed": "lapsed from",
}


def _not_of(network: Network, principal: str) -> Refusal:
    return Refusal(
        code="not-of-this-network",
        sentence=f"{principal} cannot act for {network.name}: its steward and its representatives may.",
        field="network",
    )


def _ineligible(umbrella: Network, network: Network, home: Organisation | None) -> Refusal | None:
    eligible = umbrella.umbrella.eligible if umbrella.umbrella else ()
    # A network without a home organisation belongs to the umbrella it stands under, as London's councils network does.
    if not eligible or network.parent == umbrella.id or (home and home.type in eligible):
        return None
    allowed = ", ".join(eligible)
    home_is = f"its home organisation {home.name} is of type {home.type}" if home else "it has no home organisation"
    return Refusal(
        code="not-eligible",
        sentence=f"{network.name} cannot join {umbrella.name}: {home_is}. "
        f"Networks that stand directly under it may join, and those with a home organisation of type {allowed}.",
        field="network",
        data={"eligible": list(eligible), "type": home.type if home else None},
    )


def _voiceless(umbrella: Network, network: Network) -> Refusal | None:
    if network.representatives:
        return None
    return Refusal(
        code="nobody-speaks-for-it",
        sentence=f"{network.name} cannot join {umbrella.name} while nobody speaks for it; "
        "appoint a representative first.",
        field="network",
    )


def _admitted(membership: str, umbrella: Network, network: Network) -> MemberNetworkAdmitted:
    return MemberNetworkAdmitted(
        membership=membership,
        umbrella=umbrella.id,
        network=network.id,
        name=network.name,
        reach=network.reach,
        organisation=network.organisation,
        office=network.office,
    )


def evolve(membership: Membership | None, event: Event) -> Membership:
    """Applies what happened to a membership."""
    match event, membership:
        case MembershipAppliedFor(), _:
            return Membership(id=event.membership, umbrella=event.umbrella, network=event.network, state="applied")
        case MemberNetworkAdmitted(), Membership():
            return membership.model_copy(update={"state": "admitted"})
        case MemberNetworkDeclined(), Membership():
            return membership.model_copy(update={"state": "declined"})
        case MemberNetworkWithdrawn(), Membership():
            return membership.model_copy(update={"state": "withdrawn"})
        case MemberNetworkLapsed(), Membership():
            return membership.model_copy(update={"state": "lapsed"})
    raise TypeError(f"{event.wire.type} does not happen to {membership}")
