"""What every service says and hears alike: replies, refusals of inbound messages, health, dead letters."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from shared.contracts.message import Command, Id, Kind, Message, Moment, Query, Role
from shared.refusal import Refusal


class Done(BaseModel, frozen=True):
    """A command was carried out and is durable: the aggregate it concerned and the names of the events it caused."""

    id: str | None = None
    events: tuple[str, ...] = ()
    counts: dict[str, int] = Field(default_factory=dict, description="how many of what, where a command concerns many")


class Failure(BaseModel, frozen=True):
    """Something technical went wrong, which is our fault: what is kept, and where an operator finds it."""

    sentence: str
    dead_letter: str | None = None


class Reply(BaseModel, frozen=True):
    """The answer to every command and query: exactly one of ``done``, ``answer``, ``refusal``, ``failure`` is set."""

    outcome: Literal["done", "answered", "refused", "failed"]
    done: Done | None = None
    answer: Any = None
    refusal: Refusal | None = None
    failure: Failure | None = None


class InboundRefused(Message):
    """An inbound message that a rule refused or that could not be read, told to its publisher."""

    of_kind: ClassVar[Kind] = "inbound-refused"

    publisher: str
    name: str = Field(description="what it was published as: the last token of its subject")
    message: str | None = Field(description="its CloudEvents id, where it could be read")
    refusal: Refusal


class ServiceHealth(BaseModel, frozen=True):
    """How one process of a service is: ready means it commits and its events get out."""

    service: str
    ready: bool
    reasons: tuple[str, ...] = Field(default=(), description="why it is not ready, in sentences")
    unsent_events: int = Field(description="rows of the outbox that the stream has not confirmed yet")
    dead_letters: int
    waiting_events: int = Field(description="events of others that wait for one before them")
    replica: str = Field(default="", description="tells this process from others of its service; new at each start")
    handled: int = Field(
        default=0, description="messages, timers and outcomes this process has handled since its start"
    )
    published: int = Field(default=0, description="events this process has published since its start")
    oldest_unsent_seconds: float = Field(default=0, description="how long the oldest unsent event has waited")
    timers_overdue_seconds: float = Field(default=0, description="how long the oldest timer that is due has waited")
    tasks_waiting: int = Field(default=0, description="long computations and effects that are not finished")
    lag: dict[str, int] = Field(default_factory=dict, description="messages before it, by stream; none if not known")
    deliveries_waiting: dict[str, int] = Field(
        default_factory=dict, description="notifications not delivered, by channel"
    )


class Health(Query[ServiceHealth]):
    """Asks a service whether it is ready, and what lies undone in its store."""


class HealthOfEach(Query[ServiceHealth]):
    """Asks every replica of a service at once how it is; each answers for itself, so there are several answers."""


class DeadLetter(BaseModel, frozen=True):
    """A message that could not be handled for a technical reason."""

    id: Id
    kept_at: Moment
    kind: Literal["command", "event", "inbound", "timer", "task"]
    name: str
    subject: str
    error: str
    waiting_behind: int = Field(default=0, description="later events of the same aggregate that wait for it")


class DeadLetterPage(BaseModel, frozen=True):
    """Dead letters, oldest first."""

    letters: tuple[DeadLetter, ...]
    total: int


class DeadLetterDetail(DeadLetter, frozen=True):
    """A dead letter with its content and the trace of the error."""

    headers: dict[str, str]
    payload: str
    trace: str


class ListDeadLetters(Query[DeadLetterPage]):
    """Lists the dead letters of a service, oldest first."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    limit: int = Field(default=50, ge=1, le=500)
    after: Id | None = Field(default=None, description="the last id of the page before")


class ShowDeadLetter(Query[DeadLetterDetail]):
    """Shows one dead letter whole."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    letter: Id


class Happened(BaseModel, frozen=True):
    """One event of an aggregate: what, when, caused by whom and by which message."""

    sequence: int
    at: Moment
    event: str
    principal: str | None = Field(description="who caused it: a person or program, a service; none if in confidence")
    caused_by: str = Field(description="id of the command, message, event or timer that caused it")
    data: dict[str, Any]


class HistoryPage(BaseModel, frozen=True):
    """The story of one aggregate, from its first event on."""

    happened: tuple[Happened, ...]
    next: int | None = Field(description="what to give as after for the following page; none on the last one")


class ShowHistory(Query[HistoryPage]):
    """Tells the whole story of one aggregate: a network, a proposal, a round, a meeting."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    aggregate: Id
    as_of: Moment | None = Field(default=None, description="only what had happened by then")
    limit: int = Field(default=100, ge=1, le=500)
    after: int = Field(default=0, ge=0, description="the sequence of the last event of the page before")


class ReplayDeadLetter(Command):
    """Handles a dead letter once more, as if it had just arrived; what waited behind it follows in order.

    Where a rule now refuses it, that refusal is the reply, and the letter is let go as well: it has its answer.
    """

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    letter: Id


class DiscardDeadLetter(Command):
    """Gives a dead letter up for good, with the reason; what waited behind it goes on without it."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
    letter: Id
    reason: str = Field(min_length=1, max_length=500)


class Reconcile(Command):
    """Compares the outbox with the streams and publishes again whatever a stream has lost."""

    roles: ClassVar[tuple[Role, ...]] = ("operator",)
