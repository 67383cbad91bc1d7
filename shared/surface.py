"""What a service hears and which function handles it: the register that ``handlers.py`` fills."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from opentelemetry.trace import Span

from shared import past
from shared.contracts import cloudevent, platform
from shared.contracts.cloudevent import Envelope
from shared.contracts.message import MAJOR, Command, Event, Inbound, Message, Query
from shared.contracts.platform import Done
from shared.refusal import Refusal
from shared.tasks import EFFECTS_AT_ONCE, Effect, Retries, TaskKind, TaskOutcome
from shared.timers import Timer
from shared.unit_of_work import Aggregate, Place, new_id

Kind = Literal["command", "event", "inbound", "timer", "task"]

SEALED = "_"
"""Stands where the sender of a sealed command would. No principal can be called that."""

C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)
I = TypeVar("I", bound=Inbound)  # noqa: E741 - the letter of its kind
Q = TypeVar("Q", bound=Query[Any])
Function = TypeVar("Function", bound=Callable[..., Any])


class Register(Protocol):
    """A decorator that leaves the function as it is."""

    def __call__(self, run: Function, /) -> Function: ...


class MalformedEvent(Exception):
    """Another service's event that does not keep to its contract: our own fault, so a dead letter, not a refusal."""


@dataclass(frozen=True)
class Handler:
    """A function for one kind of message, and what it will load."""

    run: Callable[..., Any]
    contract: type[Message] | None = None
    loads: Callable[[Any], Iterable[Place]] = lambda _: ()


class Received(NamedTuple):
    """A message as it came: enough to read it again at any time."""

    subject: str
    headers: Mapping[str, str]
    payload: bytes


@dataclass(slots=True)
class Arrival:
    """A message that has been read and is to be handled.

    ``key`` is what makes it the same message when it comes again. ``problem`` is why it could not be read. ``settle``
    is called with the reply after the commit. ``refusal`` is the answer of the rule that said no, if one did. ``span``
    is there if the message is sampled.
    """

    kind: Kind
    name: str
    key: str
    received: Received
    principal: str = ""
    message: Any = None
    envelope: Envelope | None = None
    handler: Handler | None = None
    problem: Refusal | Exception | None = None
    settle: Callable[[bytes | None], None] | None = None
    digest: bytes = b""
    refusal: Refusal | None = None
    span: Span | None = None

    @property
    def cursor(self) -> str:
        """The aggregate an event happened to, told apart from those of other services."""
        if self.envelope is None:
            raise LookupError(f"{self.received.subject} has no place in the order of anything")
        return f"{self.envelope.source} {self.envelope.subject}"

    @property
    def sequence(self) -> int:
        """The place of an event in the order of its aggregate, from 1."""
        return (self.envelope.sequence if self.envelope else None) or 0

    @property
    def sealed(self) -> bool:
        """Whether nothing may be kept that tells who sent it."""
        contract = self.handler.contract if self.handler else None
        return contract is not None and issubclass(contract, Command) and contract.sealed


@dataclass
class Surface:
    """Everything one service hears."""

    service: str
    commands: dict[str, Handler] = field(default_factory=dict)
    queries: dict[str, Handler] = field(default_factory=dict)
    events: dict[str, Handler] = field(default_factory=dict)
    inbound_messages: dict[str, Handler] = field(default_factory=dict)
    timers: dict[str, Handler] = field(default_factory=dict)
    tasks: dict[str, Handler] = field(default_factory=dict)
    task_kinds: dict[str, TaskKind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The loop itself carries the first two out, since they put other messages through it; the process the third.
        for contract in (platform.ReplayDeadLetter, platform.DiscardDeadLetter, platform.Reconcile):
            self.commands[contract.wire.name] = Handler(_carried_out_elsewhere, contract)

    def command(self, contract: type[C], loads: Callable[[C], Iterable[Place]] = lambda _: ()) -> Register:
        """Handles a command; ``loads`` names the aggregates it will need, so that a batch loads them together."""
        return self._add(self.commands, contract.wire.name, contract, loads)

    def event(self, contract: type[E], loads: Callable[[E], Iterable[Place]] = lambda _: ()) -> Register:
        """Handles another service's event. Those nobody handles are passed over, in order."""
        return self._add(self.events, contract.wire.type, contract, loads)

    def inbound(self, contract: type[I], loads: Callable[[I], Iterable[Place]] = lambda _: ()) -> Register:
        """Handles what another system published; a refusal is told to its publisher."""
        return self._add(self.inbound_messages, contract.wire.name, contract, loads)

    def query(self, contract: type[Q], *, as_of_from: Collection[Aggregate[Any]] = ()) -> Register:
        """Answers a query, from a consistent state and beside the loop. It may answer with a Refusal.

        With ``as_of_from``, all aggregates that it reads or more, its ``as_of`` has it answered as things stood then.
        """

        def register(run: Function) -> Function:
            answer = past.answering(run, contract, self.service, as_of_from) if as_of_from else run
            self._add(self.queries, contract.wire.name, contract, lambda _: ())(answer)
            return run

        return register

    def timer(self, name: str, loads: Callable[[Timer], Iterable[Place]] = lambda _: ()) -> Register:
        """Handles the timers of this name as they fall due."""
        return self._add(self.timers, name, None, loads)

    def task(
        self,
        name: str,
        run: str | Effect,
        loads: Callable[[TaskOutcome], Iterable[Place]] = lambda _: (),
        retries: Retries | None = None,
        at_once: int = EFFECTS_AT_ONCE,
    ) -> Register:
        """Handles the outcomes of a task: ``run`` is a ``module:function`` for a process of its own, or a coroutine."""
        self.task_kinds[name] = TaskKind(name, run, retries or Retries(), at_once)
        return self._add(self.tasks, name, None, loads)

    def _add(self, handlers: dict[str, Handler], name: str, contract: Any, loads: Any) -> Register:
        def register(run: Function) -> Function:
            if name in handlers:
                raise TypeError(f"{self.service} handles {name} twice: {handlers[name].run} and {run}")
            handlers[name] = Handler(run, contract, loads)
            return run

        return register

    def read(self, received: Received, *, place: str = "") -> Arrival:
        """Reads a message off its subject. Never raises: what cannot be read comes back with its ``problem``.

        ``place`` tells apart inbound messages too broken to have an id: their place in the stream.
        """
        tokens = received.subject.split(".")
        if tokens[0] == "timer":
            return self._read_own(received, "timer")
        if tokens[0] == "task":
            return self._read_own(received, "task")
        if tokens[0] == "inbound":
            return self._read_inbound(received, tokens, place)
        if tokens[2] == "event":
            return self._read_event(received, tokens)
        return self._read_command(received, tokens)

    def _read_own(self, received: Received, kind: Literal["timer", "task"]) -> Arrival:
        """A timer that fell due or a task that ended: they come from our own store, as JSON of ours."""
        data = json.loads(received.payload)
        message: Timer | TaskOutcome
        if kind == "timer":
            message = Timer(**data | {"due_at": datetime.fromisoformat(data["due_at"])})
            key = f"timer {message.name} {message.key} {data['due_at']}"
        else:
            message = TaskOutcome(**data)
            key = f"task {message.task}"
        envelope = Envelope(
            key,
            f"/concord/{self.service}",
            f"{kind}.{message.name}",
            {},
            subject=message.key,
            correlationid=data.get("correlationid"),  # a timer begins anew
            traceparent=data.get("traceparent"),
        )
        handler = (self.timers if kind == "timer" else self.tasks).get(message.name)
        return Arrival(kind, message.name, key, received, self.service, message, envelope, handler)

    def _read_command(self, received: Received, tokens: list[str]) -> Arrival:
        name, principal = tokens[3], tokens[4]
        arrival = Arrival("command", name, "", received, principal)
        handler = self.commands.get(name)
        if handler is None:
            arrival.problem = _unknown("command", name, self.service, self.commands)
            return arrival
        self._fill(arrival, handler)
        if arrival.envelope is not None:
            arrival.key = f"command {principal} {arrival.envelope.id}"
            arrival.digest = _digest(received.subject, arrival.message)
            if arrival.sealed:
                self._seal(arrival, arrival.envelope)
        return arrival

    def _seal(self, arrival: Arrival, envelope: Envelope) -> None:
        """Takes off a command everything by which its sender could be found, and yet knows it when it comes again.

        Its id is known to its sender alone and stays so: as a digest in the inbox, and in no event. The principal is in
        neither digest, or else whoever has a list of principals could try them one by one.
        """
        known = blake2b(f"{arrival.name} {envelope.id}".encode(), digest_size=16).hexdigest()
        arrival.key = f"command {SEALED} {known}"
        arrival.digest = _digest(arrival.name, arrival.message)
        arrival.envelope = Envelope(new_id(), f"/concord/{self.service}", envelope.type, envelope.data)

    def _read_inbound(self, received: Received, tokens: list[str], place: str) -> Arrival:
        publisher, name = tokens[2], tokens[3]
        content = blake2b(received.payload, digest_size=8)
        arrival = Arrival("inbound", name, f"inbound {publisher} #{place} {content.hexdigest()}", received, publisher)
        handler = self.inbound_messages.get(name)
        if handler is None:
            arrival.problem = _unknown("inbound message", name, self.service, self.inbound_messages)
            return arrival
        self._fill(arrival, handler)
        if arrival.envelope is not None:
            source = arrival.envelope.source
            if source == f"/{publisher}" or source.startswith(f"/{publisher}/"):
                arrival.key = f"inbound {source} {arrival.envelope.id}"
                arrival.digest = content.digest()
            else:
                arrival.problem = Refusal(
                    code="foreign-source",
                    sentence=f"The source says it comes from somebody else than its publisher, {publisher}; "
                    f"send /{publisher}, or a path below it such as /{publisher}/leavers.",
                    field="source",
                )
        return arrival

    def _read_event(self, received: Received, tokens: list[str]) -> Arrival:
        service, name, aggregate = tokens[0], tokens[3], tokens[4]
        arrival = Arrival("event", name, "", received, service)
        self._fill(arrival, self.events.get(f"concord.{service}.{name}.{MAJOR}"))
        envelope = arrival.envelope
        if envelope is None:
            arrival.key = f"event {received.subject} {blake2b(received.payload, digest_size=16).hexdigest()}"
        else:
            arrival.key = f"event {envelope.source} {envelope.id}"
            if not (envelope.sequence and envelope.subject == aggregate and envelope.source == f"/concord/{service}"):
                arrival.envelope = None  # it has no place in the order of anything
                arrival.problem = MalformedEvent(
                    f"source {envelope.source}, subject {envelope.subject} and sequence {envelope.sequence} "
                    f"do not fit the subject {received.subject}"
                )
        if isinstance(arrival.problem, Refusal):
            arrival.problem = MalformedEvent(arrival.problem.sentence)
        return arrival

    def _fill(self, arrival: Arrival, handler: Handler | None) -> None:
        """Reads the envelope, and the message where there is somebody to handle it."""
        arrival.handler = handler
        envelope = cloudevent.read(arrival.received.headers, arrival.received.payload)
        if isinstance(envelope, Refusal):
            arrival.problem = envelope
            return
        arrival.envelope = envelope
        if handler is None or handler.contract is None:
            return
        message = cloudevent.parse(envelope, handler.contract)
        if isinstance(message, Refusal):
            arrival.problem = message
        else:
            arrival.message = message


def _digest(subject: str, message: Message | None) -> bytes:
    # Of what the sender said: a field that a later version adds must not make the same command a different one.
    said = message.model_dump_json(exclude_unset=True) if message else ""
    return blake2b(f"{subject} {said}".encode(), digest_size=8).digest()


def _unknown(what: str, name: str, service: str, known: Mapping[str, Handler]) -> Refusal:
    return Refusal(
        code=f"unknown-{what.replace(' ', '-')}",
        sentence=f"{service} knows no {what} {name[:60]}; it knows {', '.join(sorted(known))}.",
        data={"known": sorted(known)},
    )


def _carried_out_elsewhere(*_: Any) -> Done:
    raise AssertionError("the loop or the process carries this out")
