"""What a service counts, by the names of ``docs/operating.md``.

The functions here are called once for a transaction or for a batch, never for a message. Until there is an
``Exposition`` they do next to nothing: OpenTelemetry's instruments wait for somebody who wants to know.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal

from opentelemetry import metrics

from shared.contracts.message import MAJOR
from shared.identity import DELIVERIES
from shared.refusal import Refusal
from shared.streams import INBOUND, event_stream
from shared.surface import Arrival

DESTINATION = "messaging.destination.name"
ERROR = "error.type"

DELIVERED = {"channel": "nats", "outcome": "delivered"}

OF_DURATION = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""Seconds: the bounds that the semantic conventions advise."""
OF_MESSAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

_meter = metrics.get_meter("concord")
_consumed = _meter.create_counter(
    "messaging.client.consumed.messages", "{message}", "messages that were handled, by where they came from"
)
_sent = _meter.create_counter("messaging.client.sent.messages", "{message}", "messages that a stream confirmed")
_refusals = _meter.create_counter("concord.refusals", "{refusal}", "messages that a rule refused")
_kept = _meter.create_counter("concord.dead_letters.kept", "{message}", "messages that became dead letters")
_restored = _meter.create_counter("concord.streams.restored", "{stream}", "streams that were gone and made anew")
_deliveries = _meter.create_counter(
    "concord.deliveries", "{delivery}", "deliveries, by channel and what became of them"
)
_messages = _meter.create_histogram(
    "concord.transaction.messages", "{message}", "messages of one transaction",
    explicit_bucket_boundaries_advisory=OF_MESSAGES,
)  # fmt: skip
_duration = _meter.create_histogram(
    "db.client.operation.duration", "s", "how long a transaction of the loop took, its commit included",
    explicit_bucket_boundaries_advisory=OF_DURATION,
)  # fmt: skip


@dataclass
class SinceStart:
    """What this process has done since it began, for whoever asks over NATS: there is not always an ``Exposition``."""

    handled: int = 0
    published: int = 0


since_start = SinceStart()

_origin: Callable[[Arrival], tuple[str, str]] = attrgetter("kind", "principal")


def begin(*, delivers: bool) -> None:
    """Has rare counters begin at 0, so that the first thing they count is a change like any other."""
    _kept.add(0)
    for kind in ("command", "inbound"):
        _refusals.add(0, {"kind": kind})
    if delivers:
        _deliveries.add(0, DELIVERED)


def committed(
    service: str,
    arrivals: Sequence[Arrival],
    refused: Iterable[tuple[Arrival, Refusal]],
    buried: Sequence[tuple[Arrival, str]],
    handled: int,
) -> None:
    """Counts what one transaction did. ``arrivals`` came in from outside; ``handled`` counts timers and the like too.

    ``buried`` has for each dead letter the type of its error.
    """
    if handled:
        _messages.record(handled)
        since_start.handled += handled
    counts: Counter[tuple[str, str | None]] = Counter()
    for origin, number in Counter(map(_origin, arrivals)).items():
        if destination := _destination(service, *origin):
            counts[destination, None] += number
    for arrival, error in buried:
        if destination := _destination(service, arrival.kind, arrival.principal):
            counts[destination, error] += 1
            counts[destination, None] -= 1
    for (where, failure), number in counts.items():
        if number > 0:  # an event that was parked counted when it came, and not again as it is buried
            _consumed.add(number, {DESTINATION: where} | ({ERROR: failure} if failure else {}))
    for kind, number in Counter(arrival.kind for arrival, _ in refused).items():
        if kind in ("command", "inbound"):
            _refusals.add(number, {"kind": kind})
    if buried:
        _kept.add(len(buried))


def refused_at_the_door() -> None:
    """Counts a command that was refused before any transaction: it could not be read, or too much waits already."""
    _refusals.add(1, {"kind": "command"})


def transacted(system: str, seconds: float, error: Exception | None = None) -> None:
    """Notes how long a transaction took, and what it failed of."""
    about = {"db.system.name": system, "db.operation.name": "transaction"}
    _duration.record(seconds, about | ({ERROR: type(error).__name__} if error else {}))


def published(stream: str, count: int) -> None:
    """Counts messages that a stream has confirmed. A delivery by NATS has arrived with that: it is there to be read."""
    _sent.add(count, {DESTINATION: stream})
    since_start.published += count
    if stream == DELIVERIES:
        _deliveries.add(count, DELIVERED)


def delivered(channel: str, outcome: Literal["delivered", "failed", "disabled"], count: int = 1) -> None:
    """Counts what became of deliveries by another channel than NATS, when the loop hears of it.

    ``failed`` was not taken for as long as it is tried, ``disabled`` was refused for good.
    """
    _deliveries.add(count, {"channel": channel, "outcome": outcome})


def restored(stream: str, times: int = 1) -> None:
    """Counts a stream that had to be made anew while the service ran; with 0 it shows that it counts."""
    _restored.add(times, {DESTINATION: stream})


def _destination(service: str, kind: str, source: str) -> str | None:
    """Where a message came from, as one of few names: never with the principal that sent a command."""
    if kind == "event":
        return event_stream(source)
    if kind == "inbound":
        return INBOUND
    return f"{service}.{MAJOR}.command" if kind == "command" else None  # timers and tasks come from the own store
