"""What events knows of networks: its own copy of who belongs to which umbrella and where representatives set out from.

Membership's events reach us in order for each network and each membership, but not across the two, so each is kept
apart and either may come first.
"""

from pydantic import BaseModel

from shared.contracts.membership import (
    MemberNetworkAdmitted,
    NetworkRegistered,
    Office,
    OfficeMoved,
    RepresentativeAppointed,
    RepresentativeStoodDown,
)


class Representative(BaseModel, frozen=True):
    """One person's office. Kept after the person stood down, since attendance is recorded afterwards."""

    office: Office | None
    stood_down: bool = False


class Network(BaseModel, frozen=True):
    """A network as far as meetings are concerned."""

    id: str
    name: str | None = None
    office: Office | None = None
    umbrella: bool = False
    representatives: dict[str, Representative] = {}

    @property
    def offices(self) -> tuple[Office, ...]:
        """Where each representative sets out from: their own office, or else the network's.

        A network that has no representative counts as one person from its own office. Empty where none is known.
        """
        offices = [person.office or self.office for person in self._present] or [self.office]
        return tuple(office for office in offices if office is not None)

    @property
    def people(self) -> int:
        """How many would come: each representative, or one person where there is none."""
        return len(self._present) or 1

    @property
    def _present(self) -> list[Representative]:
        return [person for _, person in sorted(self.representatives.items()) if not person.stood_down]


class Member(BaseModel, frozen=True):
    """What one network is to one umbrella; kept under the id of the membership, also after the network left."""

    id: str
    umbrella: str
    network: str
    admitted: bool = True


def registered(network: Network | None, event: NetworkRegistered) -> Network:
    """A network as it was registered, with the representatives we may have heard of before."""
    known = network or Network(id=event.network)
    return known.model_copy(update={"name": event.name, "office": event.office, "umbrella": event.umbrella is not None})


def named(network: Network | None, event: MemberNetworkAdmitted) -> Network:
    """The network a membership speaks of: what we know of it, or what the membership says where we know nothing."""
    if network is not None and network.name is not None:
        return network
    return (network or Network(id=event.network)).model_copy(update={"name": event.name, "office": event.office})


def appointed(network: Network | None, event: RepresentativeAppointed) -> Network:
    """The network with one more representative."""
    return _with(network or Network(id=event.network), event.person, Representative(office=event.office))


def stood_down(network: Network | None, event: RepresentativeStoodDown) -> Network:
    """The network with one representative less."""
    known = network or Network(id=event.network)
    person = known.representatives.get(event.person, Representative(office=None))
    return _with(known, event.person, person.model_copy(update={"stood_down": True}))


def moved(network: Network | None, event: OfficeMoved) -> Network:
    """The network, or one of its representatives, setting out from another office."""
    known = network or Network(id=event.network)
    if event.person is None:
        return known.model_copy(update={"office": event.office})
    person = known.representatives.get(event.person, Representative(office=None))
    return _with(known, event.person, person.model_copy(update={"office": event.office}))


def _with(network: Network, person: str, representative: Representative) -> Network:
    return network.model_copy(update={"representatives": {**network.representatives, person: representative}})
