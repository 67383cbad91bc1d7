"""Peer support: experience offered, help asked for."""

from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from shared.contracts.membership.organisation import OrganisationType, Region
from shared.contracts.membership.statement import Passage
from shared.contracts.message import Command, Event, Id, Moment, Principal, Query

PeerTopic = Literal[
    "after-a-suicide",
    "campaigns-and-events",
    "funding",
    "measuring-wellbeing",
    "mental-health-first-aid",
    "remote-and-shift-workers",
    "senior-leaders",
    "starting-a-network",
    "steering-and-governance",
    "support-for-network-leads",
    "training-managers",
]
SizeBand = Literal["under-50", "50-to-249", "250-to-999", "1000-to-4999", "5000-or-more"]
"""How many people an organisation employs, as whoever asks or offers says it; membership keeps no headcount."""
HelpState = Literal["waiting", "proposed", "asked", "matched", "ended", "closed"]
"""``waiting`` for a peer; one is ``proposed`` to the asker; the peer is ``asked``; both accepted (``matched``); over,
without a word on whether it helped (``ended``) or with one (``closed``)."""
Helped = Literal["yes", "partly", "no"]


class OfferExperience(Command):
    """Offers to help peers on some topics. Sent by a representative of a network that is a member of an umbrella."""

    network: Id
    topics: tuple[PeerTopic, ...] = Field(min_length=1, max_length=20)
    size: SizeBand = Field(description="of the organisation the experience comes from")
    at_once: int = Field(default=2, ge=1, le=3, description="how many peers to have in hand at once, at the most")


class EndOffer(Command):
    """Takes the offer of whoever sends it back. Peers already accepted stay until they or the mentor end it."""


class AskForHelp(Command):
    """Asks for a peer who knows a topic. Sent by the steward or a representative of a network, for themselves.

    Nobody hears who asked but the one peer who accepted, after the asker did: no event message, notice or list says it.
    """

    sealed: ClassVar[bool] = True
    network: Id
    topic: PeerTopic
    size: SizeBand = Field(description="of the organisation the network is at home in")
    words: Passage | None = Field(default=None, description="what it is about; read by the peer who accepted alone")


class AcceptPeer(Command):
    """The asker takes the peer proposed, or the peer takes the request that is asked of them.

    If whoever made the offer can no longer help, nobody is told anything: the request waits, and another peer is found.
    """

    sealed: ClassVar[bool] = True
    request: Id = Field(
        description="as `show-my-peer-support` shows it: the peer knows it by another id than the asker"
    )
    offer: Id = Field(description="the offer that is proposed or asked, as shown: the answer is to that one alone")


class DeclinePeer(Command):
    """The asker wants another peer, or the peer cannot help, or can no longer. Nobody needs to say why."""

    sealed: ClassVar[bool] = True
    request: Id = Field(
        description="as `show-my-peer-support` shows it: the peer knows it by another id than the asker"
    )
    offer: Id = Field(description="the offer that is proposed or asked, as shown: the answer is to that one alone")


class WithdrawHelpRequest(Command):
    """Takes a request back; nothing is kept of it. Sent by the asker."""

    sealed: ClassVar[bool] = True
    request: Id


class RecordWhetherItHelped(Command):
    """Says whether the peer helped, and ends the request. Who asked, and whom, is forgotten. Sent by the asker."""

    sealed: ClassVar[bool] = True
    request: Id
    helped: Helped


class ExperienceOffered(Event):
    """Somebody offers to help peers."""

    key = "offer"
    offer: Id
    mentor: Principal
    network: Id
    organisation: Id | None
    type: OrganisationType | None
    region: Region | None
    topics: tuple[PeerTopic, ...]
    size: SizeBand
    at_once: int


class ExperienceOfferEnded(Event):
    """An offer is taken back."""

    key = "offer"
    offer: Id


class MentorAsked(Event):
    """Somebody who offered help is asked for it. By whom is not said, here or anywhere an event message goes."""

    key = "offer"
    offer: Id
    mentor: Principal


class OfferView(BaseModel, frozen=True):
    """What whoever asks offers."""

    id: Id
    network: Id
    topics: tuple[PeerTopic, ...]
    size: SizeBand
    at_once: int


class HelpRequestView(BaseModel, frozen=True):
    """A request as its asker sees it."""

    id: Id
    topic: PeerTopic
    state: HelpState
    offer: Id | None = Field(description="the offer of the peer proposed; an answer names it")
    peer_network: str | None = Field(description="the name of the network of the peer proposed")
    peer: Principal | None = Field(description="the peer, once both have accepted")
    why: tuple[str, ...] = Field(description="why this peer, a reason a line")
    score: int | None = Field(description="how near the peer's experience is: 0 to 6")
    answer_by: Moment | None = Field(description="until when the asker or the peer is to answer, where one is")


class AskedOfMeView(BaseModel, frozen=True):
    """A request as the peer sees it: its topic alone, and once both have accepted who asked."""

    id: Id = Field(description="made when the peer was asked, for the peer alone; nothing can be told from it")
    offer: Id = Field(description="the peer's own offer that was taken; an answer names it")
    topic: PeerTopic
    state: HelpState
    answer_by: Moment | None
    asker: Principal | None
    network: Id | None
    words: str | None


class MyPeerSupport(BaseModel, frozen=True):
    """Everything about peer support that is for whoever asks."""

    offer: OfferView | None
    requests: tuple[HelpRequestView, ...]
    asked_of_me: tuple[AskedOfMeView, ...]


class ShowMyPeerSupport(Query[MyPeerSupport]):
    """Shows whoever asks their offer, their requests, and what is asked of them. Nobody else's."""


class PeerSupportFigures(BaseModel, frozen=True):
    """How often help helped. All figures are none while they are too few."""

    closed: int | None = Field(description="how many are counted here: always whole tens, the first that were closed")
    helped: dict[Helped, int] | None
    withheld: str | None = Field(description="why nothing is shown, if so")


class ShowPeerSupportFigures(Query[PeerSupportFigures]):
    """Shows how often help helped, over all requests there were."""
