"""The starter path of a forming network: what to do, how far it is, and an experienced peer to ask.

The steps and their wording are ours; no charter lays them down. They are advice and no gate: they may be taken in any
order, and a network is established when its steward says so, whatever is left of them.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from services.membership.domain.network import Network, is_steward
from services.membership.domain.organisation import Organisation
from services.membership.domain.peer_support import HelpRequest, free_slot, region_of
from shared.contracts.membership import (
    NetworkEstablished,
    PeerTopic,
    RecordStarterStep,
    RegisterNetwork,
    StarterPathBegun,
    StarterStep,
    StarterStepRecorded,
    TakeBackStarterStep,
)
from shared.contracts.message import Event
from shared.refusal import Refusal

STEPS: Final[Mapping[StarterStep, str]] = {
    "find-a-sponsor": "Find a senior person who will speak up for the network and make time for it.",
    "gather-five-people": "Gather five people, from different teams and grades, who want to build it with you.",
    "agree-terms-of-reference": "Agree on one page what the network is for, who may join, and how it decides.",
    "hold-a-first-meeting": "Hold a first meeting that everybody in the organisation is asked to.",
    "apply-to-an-umbrella": "Apply to an umbrella network, to have a voice there and others to learn from.",
}
"""Every step, in the order that is proposed."""
TOPIC: Final[PeerTopic] = "starting-a-network"
"""What the peer is asked about."""
HERE: Final = ZoneInfo("Europe/London")
"""Whose day it is."""


class StarterPath(BaseModel, frozen=True):
    """How far a forming network is. ``done`` has the day of each step that is done."""

    id: str
    network: str
    begun_at: datetime
    done: Mapping[StarterStep, date] = {}
    established_at: datetime | None = None


def cannot_form(command: RegisterNetwork) -> Refusal | None:
    """Refuses a forming umbrella: the path leads to one, and an umbrella comes about by what its members decide."""
    if command.forming and command.umbrella is not None:
        return Refusal(
            code="umbrella-not-forming",
            sentence=f"{command.name} was to be registered as forming and as an umbrella; an umbrella network has no "
            "starter path, so leave out one of the two.",
            field="forming",
        )
    return None


def begin(path: str, network: str, at: datetime) -> list[Event]:
    """Gives a network that was registered as forming its path."""
    return [StarterPathBegun(path=path, network=network, begun_at=at)]


def peer_request(
    network: Network, home: Organisation | None, *, new_id: str, has: Mapping[int, PeerTopic]
) -> HelpRequest | None:
    """The request for a peer that comes with a path; from here the rules of peer support hold, as for any other.

    So nobody hears of it before the steward, whose request it is, has accepted the peer proposed. None for a steward
    who has this topic among their open requests (``has``, by slot) already, or as many requests as one may.
    """
    slot = free_slot(has)
    if TOPIC in has.values() or slot is None:
        return None
    return HelpRequest(
        id=new_id,
        topic=TOPIC,
        asker=network.steward,
        network=network.id,
        organisation=network.organisation,
        type=home.type if home else None,
        region=region_of(network, home),
        slot=slot,
    )


def record(
    path: StarterPath | None, network: Network, command: RecordStarterStep, principal: str, at: datetime
) -> list[Event] | Refusal:
    """Notes the day of a step. Saying the same again changes nothing; the last step establishes the network."""
    found = _on_the_way(path, network, principal)
    if isinstance(found, Refusal):
        return found
    today = at.astimezone(HERE).date()
    if command.done_on > today:
        return Refusal(
            code="not-done-yet",
            sentence=f"The step was said to be done on {command.done_on:%d %B %Y}, which is yet to come; give a day up "
            f"to {today:%d %B %Y}.",
            field="done_on",
            data={"latest": today.isoformat()},
        )
    if found.done.get(command.step) == command.done_on:
        return []
    recorded: list[Event] = [
        StarterStepRecorded(path=found.id, network=network.id, step=command.step, done_on=command.done_on)
    ]
    if {*found.done, command.step} == STEPS.keys():
        recorded.append(NetworkEstablished(path=found.id, network=network.id, established_at=at))
    return recorded


def take_back(
    path: StarterPath | None, network: Network, command: TakeBackStarterStep, principal: str
) -> list[Event] | Refusal:
    """Notes that a step is not done after all. Nothing happens if it is not recorded."""
    found = _on_the_way(path, network, principal)
    if isinstance(found, Refusal):
        return found
    if command.step not in found.done:
        return []
    return [StarterStepRecorded(path=found.id, network=network.id, step=command.step, done_on=None)]


def establish(path: StarterPath | None, network: Network, principal: str, at: datetime) -> list[Event] | Refusal:
    """The network says that it stands on its own."""
    found = _on_the_way(path, network, principal)
    if isinstance(found, Refusal):
        return found
    return [NetworkEstablished(path=found.id, network=network.id, established_at=at)]


def next_step(path: StarterPath) -> StarterStep | None:
    """The first step that is not done; none once the network is established."""
    return None if path.established_at else next((step for step in STEPS if step not in path.done), None)


def no_path(network: Network) -> Refusal:
    """The network was never forming."""
    return Refusal(
        code="not-forming",
        sentence=f"{network.name} has no starter path: it was registered as an established network.",
        field="network",
    )


def _on_the_way(path: StarterPath | None, network: Network, principal: str) -> StarterPath | Refusal:
    """The path, if it is still open and theirs to record."""
    if path is None:
        return no_path(network)
    if not is_steward(network, principal):
        return Refusal(
            code="not-the-steward",
            sentence=f"{principal} cannot say how far {network.name} is: its steward does.",
        )
    if path.established_at is not None:
        return Refusal(
            code="established-already",
            sentence=f"{network.name} is established since {path.established_at:%d %B %Y}; its starter path stays "
            "as it is.",
            field="network",
            data={"established_at": path.established_at.isoformat()},
        )
    return path


def evolve(path: StarterPath | None, event: Event) -> StarterPath:
    """Applies what happened on a path."""
    match event, path:
        case StarterPathBegun(), None:
            return StarterPath(id=event.path, network=event.network, begun_at=event.begun_at)
        case StarterStepRecorded(), StarterPath():
            done = {step: day for step, day in path.done.items() if step != event.step}
            if event.done_on is not None:
                done[event.step] = event.done_on
            return path.model_copy(update={"done": done})
        case NetworkEstablished(), StarterPath():
            return path.model_copy(update={"established_at": event.established_at})
    raise TypeError(f"{event.wire.type} does not happen to {path}")
