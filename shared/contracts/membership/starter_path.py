"""Starter paths of forming networks."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field

from shared.contracts.membership.peer_support import HelpRequestView
from shared.contracts.message import Command, Event, Id, Moment, Query

StarterStep = Literal[
    "find-a-sponsor",
    "gather-five-people",
    "agree-terms-of-reference",
    "hold-a-first-meeting",
    "apply-to-an-umbrella",
]


class RecordStarterStep(Command):
    """Says when a forming network took a step of its starter path, in any order. Sent by its steward.

    With the last of them the network is established.
    """

    network: Id
    step: StarterStep
    done_on: date = Field(description="the day it was done, today at the latest")


class TakeBackStarterStep(Command):
    """Says that a forming network has not taken a step after all. Sent by its steward."""

    network: Id
    step: StarterStep


class DeclareNetworkEstablished(Command):
    """Says that a forming network stands on its own, however many steps are done. Sent by its steward."""

    network: Id


class StarterPathBegun(Event):
    """A forming network has a starter path."""

    key = "path"
    path: Id
    network: Id
    begun_at: Moment


class StarterStepRecorded(Event):
    """A forming network took a step, on another day than was recorded, or has not taken it after all."""

    key = "path"
    path: Id
    network: Id
    step: StarterStep
    done_on: date | None = Field(description="none if it is not done after all")


class NetworkEstablished(Event):
    """A forming network is established. Its starter path does not change any more."""

    key = "path"
    path: Id
    network: Id
    established_at: Moment


class StarterStepView(BaseModel, frozen=True):
    """One step of a starter path."""

    step: StarterStep
    what: str = Field(description="what to do, in words")
    done_on: date | None


class StarterPathView(BaseModel, frozen=True):
    """The starter path of a network."""

    id: Id
    network: Id
    name: str
    begun_at: Moment
    steps: tuple[StarterStepView, ...]
    done: int = Field(description="how many of the steps are done")
    next: StarterStep | None = Field(description="the first step that is not done; none once established")
    established_at: Moment | None
    peer: HelpRequestView | None = Field(
        description="how far the search for an experienced peer is; shown to whoever it is made for, and none to others"
    )


class ShowStarterPath(Query[StarterPathView]):
    """Shows the starter path of a network: its steps, what is done, what is next, and to its steward a peer to ask."""

    network: Id


class StarterPathSummary(BaseModel, frozen=True):
    """One starter path in a list."""

    id: Id
    network: Id
    name: str
    begun_at: Moment
    done: int
    next: StarterStep | None
    established_at: Moment | None


class StarterPathPage(BaseModel, frozen=True):
    """Starter paths in the order they were begun."""

    paths: tuple[StarterPathSummary, ...]
    total: int
    next: str | None = Field(description="give it as `after` for the next page; none on the last")


class ListStarterPaths(Query[StarterPathPage]):
    """Lists the networks that are forming, or those that were and are established."""

    established: bool = Field(default=False, description="those that are established instead of those still forming")
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="`next` of the page before")
