"""One transaction of the loop: decides on each message, writes for all of them. On the writer thread, nothing else.

``Transaction`` sees to it that no message can keep the others from being written; ``Together`` handles a set of them.
"""

import asyncio
import json
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from shared import clock, dead_letters, inbox, tasks, timers, tracing
from shared.contracts.cloudevent import Envelope
from shared.contracts.message import subject_of
from shared.contracts.platform import DiscardDeadLetter, Done, Failure, InboundRefused, ReplayDeadLetter, Reply
from shared.database import reason_without_values, savepoint, trouble_behind
from shared.identity import INBOUND_REFUSED
from shared.outbox import Unsent
from shared.refusal import Refusal
from shared.surface import SEALED, Arrival, Received, Surface
from shared.telemetry import about
from shared.testing.fault_points import fault_point
from shared.timers import Timer
from shared.unit_of_work import Batch, NotWritten, Work, new_id

log = structlog.get_logger()


@dataclass(slots=True)
class Call:
    """A function of the engine's own that wants a place in the next transaction: marking as sent, claiming, pruning."""

    function: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    outcome: Any = None
    error: Exception | None = None


@dataclass(slots=True)
class Turn:
    """What one transaction is about."""

    arrivals: Sequence[Arrival]
    calls: Sequence[Call]
    look_at_timers: bool
    sampled: Sequence[Arrival] = ()
    """Those of the arrivals that have a span."""


@dataclass(slots=True)
class Committed:
    """What a transaction left behind, for the event loop's thread to act on."""

    replies: list[bytes | None] = field(default_factory=list)
    messages: list[Unsent] = field(default_factory=list)
    tasks: bool = False
    timers: bool = False
    """Whether timers were looked at or written; only then ``timers_due_at`` says when the next one is due."""
    timers_due_at: datetime | None = None
    handled: int = 0
    """Messages, with the timers that were due and the events whose turn came."""
    refused: list[tuple[Arrival, Refusal]] = field(default_factory=list)
    buried: list[tuple[Arrival, str]] = field(default_factory=list)
    """What became a dead letter, with the type of its error."""
    sampled: list[Arrival] = field(default_factory=list)
    """Those timers and events whose turn came that have a span."""


class MustBeUndone(Exception):
    """Something of a transaction cannot be written, and nothing of it can be told apart any more."""


def carefully_if_need_be(attempt: Callable[..., Committed]) -> Committed:
    """Attempts a transaction, and where it must be undone once more, carefully."""
    with suppress(MustBeUndone):
        return attempt(careful=False)
    return attempt(careful=True)  # after the first is forgotten, or else every error would tell of it


class Transaction:
    """One database transaction of the loop: decides on each message, writes for all of them.

    Nearly always all of it can be written, so that it begins without savepoints: with one, SQLite copies every page
    before it changes it. ``MustBeUndone`` says that it was not so; then it has to be run again, ``careful``.
    """

    def __init__(self, connection: Connection, surface: Surface, batch_size: int, *, careful: bool = True) -> None:
        self._connection = connection
        self._surface = surface
        self._batch_size = batch_size
        self._careful = careful
        self._now = clock.now()
        self._committed = Committed()
        self._moved: set[str] = set()

    def run(self, arrivals: Sequence[Arrival], calls: Sequence[Call], *, look_at_timers: bool = True) -> Committed:
        """Handles everything; the replies stand in the order of the arrivals."""
        self._committed.timers = look_at_timers
        due = timers.take_due(self._connection, self._now, self._batch_size) if look_at_timers else []
        mine = [self._surface.read(_timer_received(timer)) for timer in due]
        self._committed.sampled += tracing.take_up(mine)
        self._committed.handled = len(mine) + len(arrivals)
        self._committed.replies = self._carry_out([*mine, *arrivals])[len(mine) :]
        while in_turn := self._next_in_turn():
            self._committed.sampled += tracing.take_up(in_turn)
            self._committed.handled += len(in_turn)
            self._carry_out(in_turn)
        for call in calls:
            self._run_call(call)
        if self._committed.timers:
            self._committed.timers_due_at = timers.next_due(self._connection)
        return self._committed

    def _carry_out(self, arrivals: Sequence[Arrival], *, again: bool = False) -> list[bytes | None]:
        """All together; where that cannot be written, in halves, until the message that cannot be stands alone.

        Alone it is tried once more, and then it is a dead letter.
        """
        if not arrivals:
            return []
        together = Together(self._connection, self._surface, self._now)
        try:
            with self._part():
                replies = together.run(arrivals)
        except Exception as error:
            if trouble_behind(error):
                raise
            if not self._careful:
                raise MustBeUndone from error
            refused = error
        else:
            self._moved |= together.moved.keys()
            self._committed.messages += together.batch.recorded
            self._committed.tasks |= together.batch.wrote_tasks
            self._committed.timers |= together.batch.wrote_timers
            self._committed.refused += together.refused
            self._committed.buried += together.buried
            return replies
        if len(arrivals) > 1:
            half = len(arrivals) // 2
            return self._carry_out(arrivals[:half]) + self._carry_out(arrivals[half:])
        if not again:  # what it collided with may be another replica's, and to be seen by now
            return self._carry_out(arrivals, again=True)
        self._committed.buried.append((arrivals[0], error_type(refused)))
        return [_bury(self._connection, arrivals[0], refused, self._now)]

    def _next_in_turn(self) -> list[Arrival]:
        """Parked events behind those that have just been handled."""
        moved, self._moved = self._moved, set()
        rows = inbox.next_in_turn(self._connection, moved, self._batch_size)
        if len(rows) == self._batch_size:
            self._moved = moved  # there may be more of them
        return [self._surface.read(Received(row.subject, row.headers, row.payload)) for row in rows]

    def _run_call(self, call: Call) -> None:
        call.outcome = call.error = None
        try:
            with self._part():
                call.outcome = call.function(self._connection)
        except Exception as error:
            if trouble_behind(error):
                raise
            if not self._careful:
                raise MustBeUndone from error
            call.error = error

    def _part(self) -> AbstractContextManager[None]:
        """What can be undone by itself, where that is to be."""
        return savepoint(self._connection) if self._careful else nullcontext()


class Together:
    """Messages handled as one set: what they need is loaded at once, what they decide is written at once."""

    def __init__(self, connection: Connection, surface: Surface, now: datetime) -> None:
        self._connection = connection
        self._surface = surface
        self._now = now
        self.batch = Batch(connection, now, surface.service)
        self.moved: dict[str, int] = {}
        self.refused: list[tuple[Arrival, Refusal]] = []
        self.buried: list[tuple[Arrival, str]] = []
        self._cursors: dict[str, int] = {}
        self._early: dict[tuple[str, int], Arrival] = {}
        self._seen: dict[str, tuple[bytes, bytes | None]] = {}
        self._remembered: list[dict[str, Any]] = []
        self._open_tasks: set[str] = set()

    def run(self, arrivals: Sequence[Arrival]) -> list[bytes | None]:
        """Handles and writes; the replies stand in the order of the arrivals."""
        self._look_up(arrivals)
        fault_point("before-effect")
        replies: list[bytes | None] = [None] * len(arrivals)
        failed = self._try(list(enumerate(arrivals)), replies)
        dead = self._try([(index, arrival) for index, arrival, _ in failed], replies)  # once more; then it is dead
        fault_point("after-effect")
        self._write(arrivals)
        for index, arrival, error in dead:
            self.buried.append((arrival, error_type(error)))
            replies[index] = _bury(self._connection, arrival, error, self._now)
        return replies

    def _try(
        self, arrivals: Sequence[tuple[int, Arrival]], replies: list[bytes | None]
    ) -> list[tuple[int, Arrival, Exception]]:
        """Handles each on its own; those that failed, with the reason."""
        failed = []
        for index, arrival in arrivals:
            try:
                replies[index] = self._handle(arrival)
            except (DBAPIError, NotWritten):
                raise  # the transaction's affair, and perhaps another message's
            except Exception as error:
                failed.append((index, arrival, error))
        return failed

    def _look_up(self, arrivals: Sequence[Arrival]) -> None:
        self._seen = inbox.handled(self._connection, {a.key for a in arrivals if a.kind in ("command", "inbound")})
        self._cursors = inbox.cursors(
            self._connection, {a.cursor for a in arrivals if a.kind == "event" and a.envelope}
        )
        self._open_tasks = tasks.still_open(self._connection, [a.message.task for a in arrivals if a.kind == "task"])
        self.batch.prefetch(
            place
            for arrival in arrivals
            if arrival.handler is not None and arrival.problem is None
            for place in arrival.handler.loads(arrival.message)
        )

    # ---- one message ---------------------------------------------------------------------------------------------

    def _handle(self, arrival: Arrival) -> bytes | None:
        match arrival.kind:
            case "command" | "inbound":
                return self._handle_once(arrival)
            case "event":
                self._handle_in_order(arrival)
            case "timer":
                self._run_handler(arrival)
            case "task" if arrival.message.task in self._open_tasks:
                self._run_handler(arrival)
                self._open_tasks.discard(arrival.message.task)
        return None

    def _handle_once(self, arrival: Arrival) -> bytes | None:
        """A command or an inbound message: the first time it is handled, ever after it gets the first reply."""
        if (seen := self._seen.get(arrival.key)) is not None:
            digest, reply = seen
            if arrival.kind == "command" and digest != arrival.digest:
                return reply_to(_id_used_before(arrival))
            return reply
        if isinstance(arrival.problem, Refusal):
            result: Done | Refusal | Failure = arrival.problem
        elif isinstance(arrival.message, ReplayDeadLetter | DiscardDeadLetter):
            result = self._look_after_letter(arrival)
        else:
            result = self._run_handler(arrival)
        if isinstance(result, Refusal):
            arrival.refusal = result
            self.refused.append((arrival, result))
            if arrival.kind == "inbound":
                self._tell_publisher(arrival, result)
        reply = reply_to(result) if arrival.kind == "command" else None
        if not isinstance(result, Failure):
            self._seen[arrival.key] = (arrival.digest, reply)
            self._remembered.append(
                {"key": arrival.key, "digest": arrival.digest, "reply": reply, "handled_at": self._now}
            )
        return reply

    def _handle_in_order(self, arrival: Arrival) -> None:
        """An event: handled in its turn, passed over if it had its turn, parked if it comes too early."""
        if arrival.envelope is None:
            raise _as_exception(arrival)
        key, sequence = arrival.cursor, arrival.sequence
        if key not in self._cursors:  # of a dead letter that is replayed
            self._cursors |= inbox.cursors(self._connection, [key])
        last = self._cursors[key]
        if sequence > last + 1:
            self._early[key, sequence] = arrival
        elif sequence == last + 1:
            if arrival.handler is not None or arrival.problem is not None:
                self._run_handler(arrival)
            self._cursors[key] = self.moved[key] = sequence

    def _run_handler(self, arrival: Arrival) -> Any:
        if arrival.problem is not None or arrival.handler is None or arrival.envelope is None:
            raise _as_exception(arrival)
        work = Work(self.batch, arrival.envelope, arrival.principal, sealed=arrival.sealed)
        result = arrival.handler.run(arrival.message, work)
        if not isinstance(result, Refusal):
            self.batch.agree(work.changes)
        elif arrival.kind not in ("command", "inbound"):  # nobody is there to be answered
            arrival.refusal = result
            self.refused.append((arrival, result))
        return result

    def _tell_publisher(self, arrival: Arrival, refusal: Refusal) -> None:
        envelope = arrival.envelope or Envelope(arrival.key, source="", type="", data={})
        known = arrival.envelope.id if arrival.envelope else refusal.data.get("id")
        notice = InboundRefused(publisher=arrival.principal, name=arrival.name, message=known, refusal=refusal)
        work = Work(self.batch, envelope, arrival.principal)
        work.announce(INBOUND_REFUSED, subject_of(InboundRefused, arrival.principal), arrival.principal, notice)
        self.batch.agree(work.changes)

    # ---- dead letters --------------------------------------------------------------------------------------------

    def _look_after_letter(self, arrival: Arrival) -> Done | Refusal | Failure:
        letter = dead_letters.find(self._connection, arrival.message.letter, lock=True)
        if letter is None:
            return Refusal(
                code="unknown-dead-letter",
                sentence=f"{self._surface.service} holds no dead letter {arrival.message.letter}; "
                "list them to see which it holds.",
                field="letter",
            )
        again = self._surface.read(Received(letter.subject, letter.headers, letter.payload))
        again.key = letter.message
        if again.sealed and isinstance(arrival.message, ReplayDeadLetter):
            return _cannot_be_replayed(letter.id)
        if isinstance(arrival.message, DiscardDeadLetter):
            if again.kind == "event":
                self._pass_over(again)
        elif failure := self._replay(again, letter, arrival):
            return failure
        log.info("a dead letter was let go", letter=letter.id, command=arrival.name, **about(arrival.envelope))
        dead_letters.let_go(self._connection, letter.id)
        return _refused_now(again.refusal, letter.id) if again.refusal else Done(id=letter.id)

    def _replay(self, arrival: Arrival, letter: Row[Any], command: Arrival) -> Failure | None:
        if arrival.kind in ("command", "inbound"):
            self._seen |= inbox.handled(self._connection, [arrival.key])
        elif arrival.kind == "task":
            self._open_tasks.add(arrival.message.task)
        try:
            with tracing.replay(arrival, letter.headers, command):
                self._handle(arrival)
        except (DBAPIError, NotWritten):
            raise
        except Exception as error:
            return _failed_again(error, letter.id)
        return None

    def _pass_over(self, given_up: Arrival) -> None:
        """Gives up an event: what waited behind it goes on, or, where nothing does yet, the next one will."""
        service, _, _, _, aggregate = given_up.received.subject.split(".")
        key = inbox.cursor_key(service, aggregate)
        if key not in self._cursors:
            self._cursors |= inbox.cursors(self._connection, [key])
        in_turn = self._cursors[key] + 1
        if given_up.envelope is not None and given_up.sequence != in_turn:
            return  # it was handled after all, or is not the one that is waited for
        if given_up.envelope is None and (first := inbox.first_parked(self._connection, key)) is not None:
            in_turn = first - 1  # it does not say which it was, but those behind it do
        self._cursors[key] = self.moved[key] = in_turn

    # ---- writing -------------------------------------------------------------------------------------------------

    def _write(self, arrivals: Sequence[Arrival]) -> None:
        self.batch.flush()
        inbox.remember(self._connection, self._remembered)
        inbox.advance(self._connection, self.moved)
        inbox.park(
            self._connection,
            [
                {"key": key, "sequence": sequence, "subject": a.received.subject, "headers": dict(a.received.headers),
                 "payload": a.received.payload, "parked_at": self._now}
                for (key, sequence), a in self._early.items()
                if sequence > self._cursors[key]  # it may have come once more, in its turn
            ],
        )  # fmt: skip
        tasks.finish(self._connection, [a.message.task for a in arrivals if a.kind == "task"])


def _bury(connection: Connection, arrival: Arrival, error: Exception, now: datetime) -> bytes | None:
    """Keeps a message as a dead letter, and lets go of what would bring it back; the reply to a command."""
    if isinstance(arrival.message, ReplayDeadLetter | DiscardDeadLetter):
        return reply_to(_failed_again(error, arrival.message.letter))  # the letter it is about says it all
    fault_point("before-dead-letter")
    letter = dead_letters.keep(
        connection,
        {"id": new_id(), "message": arrival.key, "kind": arrival.kind, "name": arrival.name,
         "subject": arrival.received.subject,
         "headers": {_storable(name): _storable(value) for name, value in arrival.received.headers.items()}
         | tracing.headers_of_letter(arrival),
         "payload": arrival.received.payload, "error": _storable(without_values(error)[:2000]),
         "trace": trace_of(error), "kept_at": now}
        | (_of_a_sealed_command(arrival, error) if arrival.sealed else {}),
    )  # fmt: skip
    fault_point("after-dead-letter")
    if arrival.kind == "event" and arrival.envelope is not None:
        inbox.unpark(connection, arrival.cursor, arrival.sequence)
    elif arrival.kind == "task":
        tasks.finish(connection, [arrival.message.task])
    # The message itself may be personal, so the log names only what it was and where it lies.
    log.error(
        "a message became a dead letter",
        kind=arrival.kind,
        name=arrival.name,
        letter=letter,
        error=error_type(error),
        **about(arrival.envelope),
    )
    if arrival.kind != "command":
        return None
    if arrival.sealed:
        return reply_to(
            Failure(
                sentence=f"{arrival.name} could not be carried out for a technical reason, and nothing of it was done. "
                "Nothing of it is kept either, since nobody shall see who sent it: send it again, later or once an "
                f"operator has looked into dead letter {letter}.",
                dead_letter=letter,
            )
        )
    return reply_to(
        Failure(
            sentence=f"{arrival.name} could not be carried out for a technical reason. It is kept as dead letter "
            f"{letter}, where an operator can see why and replay it; nothing of it was done.",
            dead_letter=letter,
        )
    )


def _of_a_sealed_command(arrival: Arrival, error: BaseException) -> dict[str, Any]:
    """What is kept of a sealed command instead: where in our code it failed. What an error says may hold anything."""
    return {
        "subject": ".".join((*arrival.received.subject.split(".")[:-1], SEALED)),
        "headers": {},
        "payload": b"",
        "error": " from ".join(type(each).__name__ for each in _chain(error)),
        "trace": trace_of(error),
    }


def error_type(error: BaseException) -> str:
    """What kind of error it is: the name of its class, or of what kept everything from being written."""
    return type(error.__cause__ if isinstance(error, NotWritten) and error.__cause__ else error).__name__


def _chain(error: BaseException) -> list[BaseException]:
    """An error and what it came from."""
    errors = [error]
    while (cause := errors[-1].__cause__ or errors[-1].__context__) is not None and cause not in errors:
        errors.append(cause)
    return errors


def trace_of(error: BaseException) -> str:
    """Where in the code errors arose, and not what they say."""
    trace = "".join(line for each in reversed(_chain(error)) for line in traceback.format_tb(each.__traceback__))
    return _storable(trace[-20_000:])


def without_values(error: BaseException) -> str:
    """What went wrong, in words for an operator, without the values that a database or a model tells with it.

    A transaction writes what many decided, and a row may hold what nobody but its owner is to see.
    """
    said = []
    for each in _chain(error):
        if isinstance(each, ValidationError):
            problems = each.errors(include_input=False, include_url=False, include_context=False)
            where = {".".join(map(str, problem["loc"])) for problem in problems}
            said.append(f"{each.title} does not fit in {', '.join(sorted(where))}")
        elif not isinstance(each, DBAPIError):  # what it wraps stands behind it, and says it better
            said.append(f"{type(each).__name__}: {reason_without_values(each)}")
    return ", from ".join(said)


def _cannot_be_replayed(letter: str) -> Refusal:
    return Refusal(
        code="sealed-command",
        sentence="Of this command nothing was kept but where it failed, since nobody shall see who sent it. Its sender "
        "was told and can send it again; discard the letter.",
        field="letter",
        data={"letter": letter},
    )


def _failed_again(error: Exception, letter: str) -> Failure:
    return Failure(sentence=f"It failed again: {without_values(error)}. The dead letter is kept.", dead_letter=letter)


def _refused_now(refusal: Refusal, letter: str) -> Refusal:
    sentence = f"The dead letter was replayed and is let go; a rule refused what it asks for. {refusal.sentence}"
    return refusal.model_copy(update={"sentence": sentence, "data": {**refusal.data, "letter": letter}})


def _storable(text: str) -> str:
    """Text as any store takes it: what came from outside must not keep its own dead letter from being written."""
    return text.replace("\0", "\\0").encode(errors="backslashreplace").decode()


def _timer_received(timer: Timer) -> Received:
    data = {"name": timer.name, "key": timer.key, "due_at": timer.due_at.isoformat(), "data": dict(timer.data)}
    return Received(f"timer.{timer.name}.{timer.key}", {}, json.dumps(data).encode())


def _as_exception(arrival: Arrival) -> Exception:
    if isinstance(arrival.problem, Exception):
        return arrival.problem
    return LookupError(f"nothing handles the {arrival.kind} {arrival.name}")


def _id_used_before(arrival: Arrival) -> Refusal:
    return Refusal(
        code="id-used-before",
        sentence=f"A different command with this id was sent before; {arrival.name} was not carried out. "
        "Use a new id for a new command, and the same id only to repeat the very same one.",
        field="id",
    )


def reply_to(result: Done | Refusal | Failure) -> bytes:
    """The reply to a command, as it goes over the wire."""
    if isinstance(result, Refusal):
        reply = Reply(outcome="refused", refusal=result)
    elif isinstance(result, Failure):
        reply = Reply(outcome="failed", failure=result)
    else:
        reply = Reply(outcome="done", done=result)
    return reply.model_dump_json(exclude_none=True).encode()
