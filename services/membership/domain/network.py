"""Networks, where they stand under one another, and who speaks for them."""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel

from services.membership.domain.organisation import Organisation
from shared.contracts.membership import (
    AppointRepresentative,
    AppointSteward,
    ConfirmNetworkHome,
    DeputyNamed,
    DeputyWithdrawn,
    GiveUpStewardship,
    HandOverStewardship,
    MoveOffice,
    NetworkCarriedOver,
    NetworkHomeConfirmed,
    NetworkRegistered,
    Office,
    OfficeMoved,
    Reach,
    RegisterNetwork,
    RepresentativeAppointed,
    RepresentativeStoodDown,
    StandDownRepresentative,
    StewardshipEnded,
    StewardshipHandedOver,
    UmbrellaRules,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

REACHES: Final[tuple[Reach, ...]] = ("local", "regional", "national")
"""From near to far. A network stands only under one that reaches further, so no circle can come about."""


class Representative(BaseModel, frozen=True):
    """A person who speaks for a network. Neither grade nor job is kept: they must not matter.

    ``deputy`` is the person who may give the network's voice in their place, with ``deputy_principal``.
    """

    principal: str
    office: Office | None
    deputy: str | None = None
    deputy_principal: str | None = None


class Network(BaseModel, frozen=True):
    """One network. An umbrella has rules and a steering group; whoever registered a network is its steward.

    Anybody may register a network at any home, so ``home_confirmed``, an operator's word, is what lets it speak for it.
    ``steward`` is the last one where ``steward_left``: ask ``is_steward``. ``steward_person`` is known if it was given.
    """

    id: str
    name: str
    reach: Reach
    organisation: str | None
    parent: str | None
    office: Office | None
    umbrella: UmbrellaRules | None
    steering_group: str | None
    steward: str
    steward_left: bool = False
    steward_person: str | None = None
    home_confirmed: bool = False
    representatives: Mapping[str, Representative] = {}


def represents(network: Network, principal: str) -> str | None:
    """The id of the person who speaks for the network with these credentials, if there is one."""
    return next((person for person, who in network.representatives.items() if who.principal == principal), None)


def speaks_for(network: Network, principal: str) -> str | None:
    """The id of the person who gives the network's voice with these credentials: a representative or a deputy."""
    deputies = (who.deputy for who in network.representatives.values() if who.deputy_principal == principal)
    return represents(network, principal) or next(deputies, None)


def cannot_speak(network: Network, principal: str) -> Refusal:
    """With these credentials nobody gives the network's voice."""
    return Refusal(
        code="not-a-representative",
        sentence=f"{principal} cannot speak for {network.name}: its representatives and their deputies may.",
        field="network",
    )


def is_steward(network: Network, principal: str) -> bool:
    """Whether a principal looks after a network."""
    return principal == network.steward and not network.steward_left


def acts_for(network: Network, principal: str) -> bool:
    """Whether a principal may act in the network's name: its steward or a representative."""
    return is_steward(network, principal) or represents(network, principal) is not None


def register(
    command: RegisterNetwork,
    principal: str,
    *,
    network_id: str,
    group_id: str,
    organisation: Organisation | None,
    parent: Network | None,
    beside: Mapping[str, str],
) -> list[Event] | Refusal:
    """Registers a network. ``organisation`` and ``parent`` are what the command names, where they exist.

    ``beside`` are the networks there are with the same home: id → name. ``group_id`` becomes the id of the steering
    group if the network is an umbrella.
    """
    if command.organisation is None and command.parent is None:
        return Refusal(
            code="network-without-home",
            sentence=f"{command.name} has neither a home organisation nor a parent network; give at least one of them.",
            field="organisation",
        )
    if command.organisation is not None and organisation is None:
        return Refusal(
            code="organisation-unknown",
            sentence=f"No organisation has the id {command.organisation}; find its id with find-organisation.",
            field="organisation",
        )
    if organisation is not None and organisation.closed_at is not None:
        return Refusal(
            code="organisation-closed",
            sentence=f"{organisation.name} is closed and becomes the home of no new network; "
            "show-organisation tells what came after it.",
            field="organisation",
            data={"successors": list(organisation.successors)},
        )
    if refusal := _under(command, parent) or _registered_already(command, beside):
        return refusal
    return [
        NetworkRegistered(
            network=network_id,
            name=command.name,
            reach=command.reach,
            organisation=command.organisation,
            parent=command.parent,
            office=command.office or _office_of(organisation),
            umbrella=command.umbrella,
            steering_group=group_id if command.umbrella else None,
            steward=principal,
            forming=command.forming,
            steward_person=command.person,
        )
    ]


def _under(command: RegisterNetwork, parent: Network | None) -> Refusal | None:
    """Refuses a parent network that is not there, or reaches no further."""
    if command.parent is None:
        return None
    if parent is None:
        return unknown(command.parent, "parent")
    if REACHES.index(parent.reach) > REACHES.index(command.reach):
        return None
    return Refusal(
        code="parent-reaches-no-further",
        sentence=f"A {command.reach} network cannot stand under {parent.name}, which is {parent.reach}: "
        "a local network stands under a regional or national one, a regional under a national one.",
        field="parent",
        data={"reach": command.reach, "parent_reach": parent.reach},
    )


def _registered_already(command: RegisterNetwork, beside: Mapping[str, str]) -> Refusal | None:
    """Refuses a second network of one name and home: each would have a voice, with the same people behind it."""
    namesake = next((id_ for id_, name in beside.items() if _plainly(name) == _plainly(command.name)), None)
    if namesake is None:
        return None
    return Refusal(
        code="network-registered-already",
        sentence=f"{beside[namesake]} is registered with that home already, with the id {namesake}; a network has one "
        "voice, so it is registered once.",
        field="name",
        data={"network": namesake},
    )


def _plainly(name: str) -> str:
    return " ".join(name.casefold().split())


def _office_of(organisation: Organisation | None) -> Office | None:
    """Where a body is, as far as its register says. That of councils names no town; the body's name stands for it."""
    if organisation is None:
        return None
    region, nation = organisation.region, organisation.nation
    latitude, longitude = organisation.latitude, organisation.longitude
    if region and nation and latitude is not None and longitude is not None:
        place = organisation.place or organisation.name
        return Office(place=place, region=region, nation=nation, latitude=latitude, longitude=longitude)
    return None


def move_office(network: Network | None, command: MoveOffice, principal: str) -> list[Event] | Refusal:
    """Says where people set out from: one representative, or the network and all who set out from where it did."""
    if network is None:
        return unknown(command.network)
    if not acts_for(network, principal):
        return Refusal(
            code="not-of-this-network",
            sentence=f"{principal} cannot move an office of {network.name}: its steward and its representatives may.",
        )
    if command.person is not None and command.person not in network.representatives:
        return Refusal(
            code="not-a-representative",
            sentence=f"The person {command.person} does not speak for {network.name}, so no office of theirs is known.",
            field="person",
        )
    office = Office(**command.office.model_dump())
    set_out = {None: network.office} | {person: who.office for person, who in network.representatives.items()}
    if command.person is not None:
        moving: list[str | None] = [command.person]
    else:
        moving = [person for person, before in set_out.items() if before in (None, network.office)]
    return [
        OfficeMoved(network=network.id, person=person, office=office) for person in moving if set_out[person] != office
    ]


def appoint_representative(
    network: Network | None, command: AppointRepresentative, principal: str
) -> list[Event] | Refusal:
    """Lets one more person speak for a network."""
    if network is None:
        return unknown(command.network)
    if not acts_for(network, principal):
        return Refusal(
            code="not-of-this-network",
            sentence=f"{principal} cannot appoint a representative of {network.name}: "
            "its steward or one of its representatives does.",
        )
    if command.person in network.representatives:
        return Refusal(
            code="represents-already",
            sentence=f"The person {command.person} speaks for {network.name} already.",
            field="person",
        )
    if speaks_for(network, command.principal) not in (None, command.person):
        return credentials_taken(network, command.principal)
    # A deputy who becomes a representative deputises for nobody any more.
    return [
        *end_deputy(network, command.person),
        RepresentativeAppointed(
            network=network.id,
            person=command.person,
            principal=command.principal,
            office=command.office or network.office,
        ),
    ]


def credentials_taken(network: Network, principal: str) -> Refusal:
    """Somebody else speaks for the network with these credentials."""
    return Refusal(
        code="credentials-taken",
        sentence=f"{principal} speaks for {network.name} as another person already; "
        "each person has credentials of their own.",
        field="principal",
    )


def stand_down_representative(
    network: Network | None, command: StandDownRepresentative, principal: str
) -> list[Event] | Refusal:
    """A person no longer speaks for a network."""
    if network is None:
        return unknown(command.network)
    representative = network.representatives.get(command.person)
    if representative is None:
        return Refusal(
            code="not-a-representative",
            sentence=f"The person {command.person} does not speak for {network.name}, so cannot stand down.",
            field="person",
        )
    if principal != representative.principal and not is_steward(network, principal):
        return Refusal(
            code="not-theirs-to-stand-down",
            sentence=f"{principal} cannot stand that person down: "
            f"only the person and the steward of {network.name} may.",
        )
    return end_representative(network, command.person)


def end_representative(network: Network, person: str) -> list[Event]:
    """A person, if they represent the network, no longer does; nor does anybody deputise for them."""
    representative = network.representatives.get(person)
    if representative is None:
        return []
    stood_down = RepresentativeStoodDown(network=network.id, person=person, principal=representative.principal)
    return [*(end_deputy(network, representative.deputy) if representative.deputy else ()), stood_down]


def end_deputy(network: Network, person: str) -> list[Event]:
    """A person, if they are a deputy, no longer is."""
    return [
        DeputyWithdrawn(network=network.id, representative=of, person=person, principal=who.deputy_principal)
        for of, who in network.representatives.items()
        if who.deputy == person and who.deputy_principal is not None
    ]


def hand_over(
    network: Network | None, command: HandOverStewardship | AppointSteward, principal: str
) -> list[Event] | Refusal:
    """Makes somebody else the steward: at the steward's word, or at an operator's where the steward is gone."""
    if network is None:
        return unknown(command.network)
    if isinstance(command, HandOverStewardship) and not is_steward(network, principal):
        return Refusal(
            code="not-the-steward",
            sentence=f"{principal} cannot hand over the stewardship of {network.name}: its steward does, "
            "or an operator with appoint-steward where the steward is gone.",
        )
    if is_steward(network, command.principal):
        return Refusal(
            code="steward-already",
            sentence=f"{command.principal} is the steward of {network.name} already; name somebody else.",
            field="principal",
        )
    return [
        StewardshipHandedOver(
            network=network.id, steward=command.principal, before=network.steward, person=command.person
        )
    ]


def give_up(network: Network | None, command: GiveUpStewardship, principal: str) -> list[Event] | Refusal:
    """The steward stands down, and names nobody to follow."""
    if network is None:
        return unknown(command.network)
    if not is_steward(network, principal):
        return Refusal(
            code="not-the-steward",
            sentence=f"{principal} cannot give up the stewardship of {network.name}: its steward does.",
        )
    return [StewardshipEnded(network=network.id, before=network.steward)]


def confirm_home(
    network: Network | None, command: ConfirmNetworkHome, home: Organisation | None
) -> list[Event] | Refusal:
    """An operator confirms that a network speaks for ``home``, its home organisation as it is now."""
    if network is None:
        return unknown(command.network)
    if home is None:
        return Refusal(
            code="no-home-organisation",
            sentence=f"{network.name} has no home organisation that could be confirmed; "
            "a network registered with one has.",
            field="network",
        )
    if network.home_confirmed:
        return Refusal(
            code="home-confirmed-already",
            sentence=f"That {network.name} speaks for {home.name} is confirmed already, until it has another home.",
            field="network",
        )
    if home.closed_at is not None:
        return Refusal(
            code="organisation-closed",
            sentence=f"{home.name}, the home of {network.name}, is closed, so nobody speaks for it; a network is "
            "confirmed once it is carried over to an organisation that goes on. show-organisation tells what came "
            "after it.",
            field="network",
            data={"successors": list(home.successors)},
        )
    return [NetworkHomeConfirmed(network=network.id, organisation=home.id)]


def unknown(network: str, field: str = "network") -> Refusal:
    """No network has this id."""
    return Refusal(
        code="network-unknown",
        sentence=f"No network has the id {network}; list-networks shows those there are.",
        field=field,
    )


def evolve(network: Network | None, event: Event) -> Network:  # noqa: PLR0911  each return is one event
    """Applies what happened to a network."""
    match event, network:
        case NetworkRegistered(), None:
            fields = event.model_dump(exclude={"network", "office", "umbrella"})
            return Network(id=event.network, office=event.office, umbrella=event.umbrella, **fields)
        case RepresentativeAppointed(), Network():
            newcomer = Representative(principal=event.principal, office=event.office)
            return _with(network, {**network.representatives, event.person: newcomer})
        case RepresentativeStoodDown(), Network():
            remaining = {person: who for person, who in network.representatives.items() if person != event.person}
            return _with(network, remaining)
        case DeputyNamed(), Network():
            return _deputising(network, event.representative, event.person, event.principal)
        case DeputyWithdrawn(), Network():
            return _deputising(network, event.representative, None, None)
        case StewardshipHandedOver(), Network():
            now = {"steward": event.steward, "steward_person": event.person, "steward_left": False}
            return network.model_copy(update=now)
        case StewardshipEnded(), Network():
            return network.model_copy(update={"steward_left": True, "steward_person": None})
        case NetworkCarriedOver(), Network():
            return network.model_copy(update={"organisation": event.organisation, "home_confirmed": False})
        case NetworkHomeConfirmed(), Network():
            return network.model_copy(update={"home_confirmed": True})
        case OfficeMoved(person=None), Network():
            return network.model_copy(update={"office": event.office})
        case OfficeMoved(person=str() as person), Network():
            moved = network.representatives[person].model_copy(update={"office": event.office})
            return _with(network, {**network.representatives, person: moved})
    raise TypeError(f"{event.wire.type} does not happen to {network}")


def _with(network: Network, representatives: Mapping[str, Representative]) -> Network:
    return network.model_copy(update={"representatives": representatives})


def _deputising(network: Network, of: str, deputy: str | None, principal: str | None) -> Network:
    now = network.representatives[of].model_copy(update={"deputy": deputy, "deputy_principal": principal})
    return _with(network, {**network.representatives, of: now})
