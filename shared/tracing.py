"""Spans of sampled messages: from the command through the event it leads to, and on to the delivery at the end.

A message is sampled if its ``traceparent`` says so, or, where none came with it, if the share of the traces that begin
here falls on it. Whether it does is settled once, where the trace begins: an event always has a cause, so one without
``traceparent`` was not sampled. A message that is not sampled costs one comparison, or one random number.

What a span tells is what a log line may tell: names of messages, streams and errors, opaque ids; never who sent it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import random

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.outbox import Unsent
from shared.refusal import Refusal
from shared.streams import INBOUND, event_stream
from shared.surface import Arrival
from shared.telemetry import SAMPLED, opaque

HEADER = "traceparent"
"""Under this name a dead letter keeps the span in which it failed, so that its replay goes on from there."""

ATTRIBUTES_AT_MOST = 4096
"""Bytes of a message of ours in which ``traceparent`` stands, if it has one: its data comes last."""

_tracer = trace.get_tracer("concord")
_w3c = TraceContextTextMapPropagator()
_share: float | None = None  # None: nothing is recorded, and a traceparent goes on as it came


def record(share: float) -> None:
    """Has spans made: of all that comes in sampled, and of ``share`` (0 to 1) of the traces that begin here."""
    global _share  # noqa: PLW0603 - one process, one answer
    _share = share


def is_sampled(traceparent: str | None) -> bool:
    """Whether a W3C ``traceparent`` asks for its message to be recorded."""
    return traceparent is not None and traceparent.endswith(tuple(SAMPLED))


def take_up(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """Those of the messages that are sampled, each with a span: it is the cause of what they lead to.

    Once for each message: one that is tried again with its transaction keeps its span.
    """
    if _share is None:
        return []
    sampled = []
    for arrival in arrivals:
        if (envelope := arrival.envelope) is None:
            continue
        if (parent := envelope.traceparent) is None:
            if arrival.kind == "event" or random() >= _share:  # noqa: S311  it decides what is drawn, and guards nothing
                continue
        elif parent[-1] not in SAMPLED:
            continue
        if arrival.sealed:  # when it came must not be told either
            continue
        _begin(arrival, parent)
        sampled.append(arrival)
    return sampled


def _begin(arrival: Arrival, parent: str | None, links: Sequence[Link] = ()) -> Span:
    envelope = arrival.envelope
    if envelope is None:
        raise LookupError(f"the {arrival.kind} {arrival.name} could not be read")
    context = Context() if parent is None else _w3c.extract({HEADER: parent}, Context())
    if arrival.kind in ("timer", "task"):
        span = _tracer.start_span(f"{arrival.kind} {arrival.name}", context, SpanKind.INTERNAL, None, links)
    else:
        subject = _subject(arrival.received.subject)
        about = {
            "messaging.system": "nats",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": _destination(arrival, subject),
            "messaging.destination.template": subject,
            "messaging.message.id": opaque(envelope.id),
            "messaging.message.conversation_id": opaque(envelope.correlationid or envelope.id),
        }
        span = _tracer.start_span(f"process {subject}", context, SpanKind.CONSUMER, about, links)
    arrival.span = span
    arrival.envelope = envelope._replace(traceparent=_traceparent(span))
    return span


def committed(
    sampled: Sequence[Arrival],
    refused: Iterable[tuple[Arrival, Refusal]],
    buried: Iterable[tuple[Arrival, str]],
    handled: int,
    system: str,
    began: int,
) -> None:
    """Ends the spans of a transaction, which gets one of its own with links to them. ``began``: nanoseconds, Unix."""
    if not sampled:
        return
    codes = {id(arrival): refusal.code for arrival, refusal in refused}
    errors = {id(arrival): error for arrival, error in buried}
    for arrival in sampled:
        if arrival.span is not None:
            _end(arrival.span, codes.get(id(arrival)), errors.get(id(arrival)))
    _transaction(sampled, handled, system, began)


def rolled_back(sampled: Sequence[Arrival], system: str, began: int, error: Exception) -> None:
    """Notes on the spans in hand that their messages are tried again: the store was in trouble."""
    if not sampled:
        return
    for arrival in sampled:
        if arrival.span is not None:
            arrival.span.add_event("retry", {"error.type": type(error).__name__})
    _transaction(sampled, len(sampled), system, began, type(error).__name__)


def _transaction(sampled: Sequence[Arrival], handled: int, system: str, began: int, error: str | None = None) -> None:
    span = _tracer.start_span(
        "transaction",
        Context(),
        SpanKind.CLIENT,
        {
            "db.system.name": system,
            "db.operation.name": "transaction",
            "concord.transaction.messages": handled,
        },
        [Link(arrival.span.get_span_context()) for arrival in sampled if arrival.span is not None],
        began,
    )
    _end(span, None, error)


def _end(span: Span, refusal: str | None, error: str | None) -> None:
    """Of an error only its type: what it says may hold what was sent."""
    if refusal is not None:
        span.set_attribute("concord.refusal.code", refusal)
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(StatusCode.ERROR)
    span.end()


@contextmanager
def replay(again: Arrival, kept: Mapping[str, str], command: Arrival) -> Iterator[None]:
    """The replay of a dead letter: it goes on where the message failed, and is linked to the command that asked for it.

    ``kept`` are the headers of the letter. A letter of a message that was not sampled is recorded if the command is.
    """
    parent = kept.get(HEADER) or (again.envelope.traceparent if again.envelope else None)
    asked = command.span
    if _share is None or again.envelope is None or again.sealed or not (is_sampled(parent) or asked):
        yield
        return
    span = _begin(
        again,
        parent if is_sampled(parent) else command.envelope.traceparent if command.envelope else None,
        [Link(asked.get_span_context())] if asked else [],
    )
    span.set_attribute("concord.replay", True)
    error = None
    try:
        yield
    except Exception as failed:
        error = type(failed).__name__
        raise
    finally:
        _end(span, again.refusal.code if again.refusal else None, error)


def headers_of_letter(arrival: Arrival) -> dict[str, str]:
    """What a dead letter keeps beside the headers its message came with."""
    return {HEADER: _traceparent(arrival.span)} if arrival.span is not None else {}


def published(stream: str, rows: Iterable[Unsent], began: int) -> None:
    """A span for each sampled message that the stream has confirmed. ``began``: nanoseconds, Unix."""
    if _share is None:
        return
    for row in rows:
        if is_sampled(parent := _traceparent_in(row.payload)):
            subject = _subject(row.subject)
            about = {
                "messaging.system": "nats",
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": stream,
                "messaging.destination.template": subject,
                "messaging.message.id": row.id,
            }
            context = _w3c.extract({HEADER: parent or ""}, Context())
            _tracer.start_span(f"send {subject}", context, SpanKind.PRODUCER, about, start_time=began).end()


_ATTRIBUTE = b'"traceparent":"'
_LENGTH = 55
"""Characters of a ``traceparent`` of version 00."""


def _traceparent_in(payload: bytes) -> str | None:
    """Found without reading the message, which is of our own writing: text in it has its quotation marks escaped."""
    at = payload.find(_ATTRIBUTE, 0, ATTRIBUTES_AT_MOST)
    begin = at + len(_ATTRIBUTE)
    return None if at < 0 else payload[begin : begin + _LENGTH].decode()


def _traceparent(span: Span) -> str:
    own = span.get_span_context()
    return f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}"


def _subject(subject: str) -> str:
    """A subject without its last word or words, which tell of whom: a principal, an aggregate, a subscriber."""
    tokens = subject.split(".")
    if tokens[0] == "inbound":
        return f"{tokens[0]}.{tokens[1]}.{tokens[3]}"
    if tokens[0] == "inbound-refused":
        return f"{tokens[0]}.{tokens[1]}"
    return ".".join(tokens[: 3 if tokens[2] == "delivery" else 4])


def _destination(arrival: Arrival, subject: str) -> str:
    if arrival.kind == "event":
        return event_stream(arrival.principal)
    return INBOUND if arrival.kind == "inbound" else subject
