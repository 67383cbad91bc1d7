"""Networks, who speaks for them, and how they become members of an umbrella."""

from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from shared.contracts.membership.organisation import Nation, OrganisationType, Region
from shared.contracts.membership.steering_group import GivenOffice, Office, Share, SteeringGroupView
from shared.contracts.message import AsOf, Command, Event, Id, Line, Principal, Query, Role, Text

Reach = Literal["local", "regional", "national"]
MembershipState = Literal["applied", "admitted", "declined", "withdrawn", "lapsed"]


class UmbrellaRules(BaseModel, frozen=True, revalidate_instances="subclass-instances"):
    """What makes a network an umbrella: who may become a member, and how its members decide."""

    eligible: tuple[OrganisationType, ...] = Field(
        default=(), max_length=12, description="types of home organisation that may join; none named means every type"
    )
    open: bool = Field(
        default=False, description="an eligible network whose home is confirmed is a member as soon as it applies"
    )
    quorum: Share = Field(default="1/2", description="the share of the electorate that must speak")
    stand_aside_limit: Share = Field(
        default="1/3", description="more than this share of those who spoke standing aside is no consensus"
    )


class GivenUmbrellaRules(UmbrellaRules, frozen=True, extra="forbid"):
    """Umbrella rules as a command gives them: a field nobody knows is an error there."""


class RegisterNetwork(Command):
    """Registers a staff network, or with ``umbrella`` a network of networks. Whoever sends it is its steward."""

    name: Line
    reach: Reach
    organisation: Id | None = Field(default=None, description="its home organisation")
    parent: Id | None = Field(default=None, description="the network it stands under, which must reach further")
    office: GivenOffice | None = Field(
        default=None, description="where its people set out from; left out, the place of its home organisation"
    )
    umbrella: GivenUmbrellaRules | None = Field(
        default=None, description="makes it an umbrella, whose members are networks; {} takes the rules as they come"
    )
    forming: bool = Field(
        default=False,
        description="it is only coming about: it gets a starter path, and an experienced peer is looked for, who hears "
        "of it once its steward accepts them",
    )
    person: Id | None = Field(
        default=None, description="opaque id of whoever sends it; with it the stewardship ends when they leave"
    )


class NetworkRegistered(Event):
    """A network is known from now on."""

    key = "network"
    network: Id
    name: Line
    reach: Reach
    organisation: Id | None
    parent: Id | None
    office: Office | None
    umbrella: UmbrellaRules | None
    steering_group: Id | None = Field(description="the id its steering group has; umbrella networks alone have one")
    steward: Principal
    forming: bool = Field(default=False, description="it is only coming about, and has a starter path")
    steward_person: Id | None = Field(default=None, description="the steward's opaque id, where it was given")


class HandOverStewardship(Command):
    """Makes somebody else the steward of a network. Sent by its steward."""

    network: Id
    principal: Principal = Field(description="the credentials of the new steward")
    person: Id | None = Field(default=None, description="opaque id of the new steward")


class AppointSteward(Command):
    """Makes somebody the steward of a network whose steward is gone, as an operator judges."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    network: Id
    principal: Principal = Field(description="the credentials of the new steward")
    person: Id | None = Field(default=None, description="opaque id of the new steward")


class ConfirmNetworkHome(Command):
    """Confirms that a network speaks for its home organisation, after that organisation has been asked."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    network: Id


class AppointRepresentative(Command):
    """Lets one more person speak for a network. It keeps its one voice. Sent by its steward or a representative."""

    network: Id
    person: Id = Field(description="opaque id of the person")
    principal: Principal = Field(description="the credentials the person will speak with")
    office: GivenOffice | None = Field(
        default=None, description="the office the person sets out from; left out, the network's own"
    )


class StandDownRepresentative(Command):
    """A person no longer speaks for a network. Sent by that person or the network's steward."""

    network: Id
    person: Id


class MoveOffice(Command):
    """Says from where people of a network set out to meetings from now on. Sent by its steward or a representative.

    What was travelled before stays as it was.
    """

    network: Id
    office: GivenOffice
    person: Id | None = Field(
        default=None,
        description="the representative whose office it is; left out, the network's own, and that of every "
        "representative who sets out from there",
    )


class StewardshipHandedOver(Event):
    """A network has another steward."""

    key = "network"
    network: Id
    steward: Principal = Field(description="who is its steward now")
    before: Principal = Field(description="who was its steward until now")
    person: Id | None = Field(default=None, description="the new steward's opaque id, where it was given")


class NetworkHomeConfirmed(Event):
    """An operator confirmed that a network speaks for its home organisation. Another home is not confirmed by it."""

    key = "network"
    network: Id
    organisation: Id = Field(description="the home organisation it speaks for")


class RepresentativeAppointed(Event):
    """A person may speak for a network."""

    key = "network"
    network: Id
    person: Id
    principal: Principal
    office: Office | None = Field(description="where the person sets out from to meetings, where that is known")


class RepresentativeStoodDown(Event):
    """A person no longer speaks for a network."""

    key = "network"
    network: Id
    person: Id
    principal: Principal


class OfficeMoved(Event):
    """People of a network set out to meetings from another office."""

    key = "network"
    network: Id
    person: Id | None = Field(description="the representative whose office it is; none for the network's own")
    office: Office


class ApplyForMembership(Command):
    """Applies to an umbrella for a network. Sent by its steward or a representative.

    An open umbrella admits at once a network whose home an operator has confirmed; others it admits by hand.
    """

    umbrella: Id
    network: Id


class AdmitMemberNetwork(Command):
    """Admits a network that has applied. Sent by the umbrella's steward or one of its steering group."""

    umbrella: Id
    network: Id


class DeclineMemberNetwork(Command):
    """Declines an application, with the reason. Sent by the umbrella's steward or one of its steering group."""

    umbrella: Id
    network: Id
    reason: Text


class WithdrawMemberNetwork(Command):
    """Takes a network, or its application, out of an umbrella. Sent by the network's steward or a representative."""

    umbrella: Id
    network: Id


class MembershipAppliedFor(Event):
    """A network asks to become a member of an umbrella network."""

    key = "membership"
    membership: Id
    umbrella: Id
    network: Id


class MemberNetworkAdmitted(Event):
    """A network is a member of an umbrella network, with one voice there. Carries what others need to know of it."""

    key = "membership"
    membership: Id
    umbrella: Id
    network: Id
    name: Line
    reach: Reach
    organisation: Id | None
    office: Office | None


class MemberNetworkDeclined(Event):
    """An application was declined; the network may apply again."""

    key = "membership"
    membership: Id
    umbrella: Id
    network: Id
    reason: Text


class MemberNetworkWithdrawn(Event):
    """A network left an umbrella network, or took its application back."""

    key = "membership"
    membership: Id
    umbrella: Id
    network: Id


class MemberNetworkLapsed(Event):
    """A network is no longer a member: nobody is left to speak for it."""

    key = "membership"
    membership: Id
    umbrella: Id
    network: Id


class NetworkSummary(BaseModel, frozen=True):
    """One network in a list."""

    id: Id
    name: str
    reach: Reach
    organisation: Id | None
    parent: Id | None
    umbrella: bool
    representatives: int
    without_steward: bool = False


class NetworkPage(BaseModel, frozen=True):
    """Networks in the order they were registered."""

    networks: tuple[NetworkSummary, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListNetworks(Query[NetworkPage]):
    """Lists networks in the order they were registered, all or those that fit every filter given."""

    member_of: Id | None = Field(default=None, description="member networks of this umbrella")
    organisation: Id | None = None
    reach: Reach | None = None
    umbrellas: bool | None = Field(default=None, description="only umbrella networks, or only others")
    without_steward: bool = Field(default=False, description="only those whose steward is gone: an operator appoints")
    organisation_type: OrganisationType | None = Field(default=None, description="of its home organisation")
    nation: Nation | None = Field(default=None, description="where its office is")
    region: Region | None = Field(default=None, description="where its office is")
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
    as_of: AsOf = None


class RepresentativeView(BaseModel, frozen=True):
    """Who may speak for a network."""

    person: Id
    principal: Principal
    office: Office | None
    deputy: Id | None = Field(default=None, description="opaque id of the deputy they named")
    deputy_principal: Principal | None = None


class MembershipView(BaseModel, frozen=True):
    """A network in an umbrella: seen from the umbrella the member, seen from the member the umbrella."""

    network: Id
    name: str
    state: MembershipState


class DeclinedApplication(BaseModel, frozen=True):
    """An application that an umbrella declined, and why."""

    umbrella: Id
    name: str
    reason: str


class NetworkView(BaseModel, frozen=True):
    """One network whole."""

    id: Id
    name: str
    reach: Reach
    organisation: Id | None
    parent: Id | None
    office: Office | None
    steward: Principal = Field(description="the last one, if it is without")
    umbrella: UmbrellaRules | None
    representatives: tuple[RepresentativeView, ...]
    members: tuple[MembershipView, ...] = Field(description="applied and admitted networks, if this is an umbrella")
    member_of: tuple[MembershipView, ...] = Field(description="umbrellas it has applied to or is a member of")
    declined: tuple[DeclinedApplication, ...] = Field(
        default=(), description="its applications that were declined last; only those who act for it see them"
    )
    steering_group: SteeringGroupView | None
    home_confirmed: bool = Field(
        default=False, description="an operator confirmed that it speaks for its home organisation"
    )
    without_steward: bool = Field(default=False, description="its steward is gone, and nobody has taken over")


class ShowNetwork(Query[NetworkView]):
    """Shows one network with its representatives, members and steering group."""

    network: Id
