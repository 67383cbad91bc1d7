"""What notifications knows of others: its own copy of who speaks for which network, built from their event messages."""

from datetime import date

from pydantic import BaseModel

from shared.contracts import events, membership
from shared.contracts.membership import Region


class Representative(BaseModel, frozen=True):
    """Who speaks for a network, a deputy as well; kept under the id of the person."""

    principal: str


class Network(BaseModel, frozen=True):
    """A network, who looks after it and who speaks for it."""

    id: str
    name: str = "a network"
    region: Region | None = None
    steward: str | None = None
    representatives: dict[str, Representative] = {}


class MemberNetwork(BaseModel, frozen=True):
    """One network's membership of an umbrella network; kept while it lasts, under the id of the membership."""

    id: str
    umbrella: str
    network: str


class Seat(BaseModel, frozen=True):
    """Who holds a seat."""

    principal: str


class SteeringGroup(BaseModel, frozen=True):
    """Who steers an umbrella network."""

    id: str
    network: str
    seats: dict[str, Seat] = {}


class DataSteward(BaseModel, frozen=True):
    """Who looks after the scores of an organisation; which one does not matter here, so it is not kept."""

    id: str
    principal: str


class Proposal(BaseModel, frozen=True):
    """Whom a proposal concerns: its author and, once it is open, the networks asked."""

    id: str
    author: str | None = None
    electorate: tuple[str, ...] = ()


class Meeting(BaseModel, frozen=True):
    """What a later message about a booked meeting has to say again."""

    id: str
    date: date
    place: str
    invited: tuple[str, ...]


NetworkEvent = (
    membership.NetworkRegistered
    | membership.RepresentativeAppointed
    | membership.RepresentativeStoodDown
    | membership.StewardshipHandedOver
    | membership.StewardshipEnded
    | membership.DeputyNamed
    | membership.DeputyWithdrawn
    | membership.OfficeMoved
)


def network_after(network: Network | None, event: NetworkEvent) -> Network:
    """The copy of a network after one of its events."""
    network = network or Network(id=event.network)
    representatives = network.representatives
    match event:
        case membership.NetworkRegistered():
            region = event.office.region if event.office else None
            return network.model_copy(update={"name": event.name, "region": region, "steward": event.steward})
        case membership.StewardshipHandedOver():
            return network.model_copy(update={"steward": event.steward})
        case membership.StewardshipEnded():
            return network.model_copy(update={"steward": None})
        case membership.OfficeMoved(person=None):
            return network.model_copy(update={"region": event.office.region})
        case membership.RepresentativeAppointed() | membership.DeputyNamed():
            representatives = {**representatives, event.person: Representative(principal=event.principal)}
        case membership.RepresentativeStoodDown() | membership.DeputyWithdrawn():
            representatives = {person: one for person, one in representatives.items() if person != event.person}
    return network.model_copy(update={"representatives": representatives})


def steering_group_after(
    group: SteeringGroup | None, event: membership.SteeringMemberAppointed | membership.SteeringMemberStoodDown
) -> SteeringGroup:
    """The copy of a steering group after a seat was taken or left."""
    group = group or SteeringGroup(id=event.group, network=event.network)
    held = f"{event.role} {event.work_stream or ''} {event.person}"
    seats = {key: seat for key, seat in group.seats.items() if key != held}
    if isinstance(event, membership.SteeringMemberAppointed):
        seats[held] = Seat(principal=event.principal)
    return group.model_copy(update={"seats": seats})


def proposal_after(
    proposal: Proposal | None, event: membership.ProposalDrafted | membership.ProposalOpened
) -> Proposal:
    """The copy of a proposal once it was drafted or opened."""
    proposal = proposal or Proposal(id=event.proposal)
    if isinstance(event, membership.ProposalDrafted):
        return proposal.model_copy(update={"author": event.author})
    return proposal.model_copy(update={"electorate": event.electorate})


def meeting_booked(event: events.MeetingBooked) -> Meeting:
    """What is kept of a booked meeting."""
    return Meeting(id=event.meeting, date=event.date, place=event.place, invited=event.invited)
