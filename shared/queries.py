"""What a service is asked: how any query is read, answered and refused, and those that every service answers alike."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import BaseModel
from sqlalchemy import Connection, Engine

from shared import clock, dead_letters, figures, history, inbox, metrics
from shared.contracts import cloudevent
from shared.contracts.message import REGISTER, Query
from shared.contracts.platform import (
    DeadLetter,
    DeadLetterDetail,
    DeadLetterPage,
    Failure,
    Happened,
    Health,
    HealthOfEach,
    HistoryPage,
    ListDeadLetters,
    Reply,
    ServiceHealth,
    ShowDeadLetter,
    ShowHistory,
)
from shared.database import reading, trouble_behind
from shared.observer import Waiting
from shared.refusal import Refusal
from shared.streams import event_stream
from shared.surface import Handler, Received, Surface
from shared.transaction import trace_of, without_values
from shared.unit_of_work import Reader

log = structlog.get_logger()


@dataclass(frozen=True)
class Condition:
    """How a process is: what tells it from others of its service, why it is not ready, and how far it lags behind."""

    replica: str
    reasons: tuple[str, ...]
    lag: Mapping[str, int]


def answer(surface: Surface, engine: Engine, name: str, principal: str, received: Received) -> Reply:
    """The answer to a query, from one consistent state of the store. Never raises: what fails is told as a failure."""
    handler = surface.queries.get(name)
    if handler is None or handler.contract is None:
        known = sorted(surface.queries)
        sentence = f"{surface.service} knows no query {name[:60]}; it knows {', '.join(known)}."
        return _refused(Refusal(code="unknown-query", sentence=sentence, data={"known": known}))
    envelope = cloudevent.read(received.headers, received.payload)
    if isinstance(envelope, Refusal):
        return _refused(envelope)
    query = cloudevent.parse(envelope, handler.contract)
    if isinstance(query, Refusal):
        return _refused(query)
    try:
        with reading(engine) as connection:
            found = handler.run(query, Reader(connection, clock.now(), principal))
    except Exception as error:
        return _not_answered(name, error)
    return _refused(found) if isinstance(found, Refusal) else _answered(found)


def _refused(refusal: Refusal) -> Reply:
    return Reply(outcome="refused", refusal=refusal)


def _answered(found: BaseModel) -> Reply:
    return Reply(outcome="answered", answer=found.model_dump(mode="json"))


def _not_answered(query: str, error: Exception) -> Reply:
    if (trouble := trouble_behind(error)) is not None:
        reason = f"the store is in trouble: {str(trouble.orig).strip()}"
        log.warning("a query could not be answered", query=query, reason=reason)
    else:
        reason = "a technical failure, which the log describes."
        # Not the error as it is, which may say what was asked, or what was found.
        log.error("a query failed", query=query, error=without_values(error), trace=trace_of(error))
    return Reply(outcome="failed", failure=Failure(sentence=f"{query} could not be answered: {reason}"))


def of_every_service(
    service: str, condition: Callable[[], Condition], deliveries_waiting: Waiting | None
) -> dict[str, Handler]:
    """What every service answers alike: how it is, its dead letters, and what happened to what it owns."""
    surface = Surface(service)

    @surface.query(Health)
    def health(_: Query[Any], reader: Reader) -> ServiceHealth:
        now, process = figures.read(reader.connection, reader.now), condition()
        return ServiceHealth(
            service=service,
            ready=not process.reasons,
            reasons=process.reasons,
            unsent_events=now.unsent,
            dead_letters=now.dead_letters,
            waiting_events=now.parked,
            replica=process.replica,
            handled=metrics.since_start.handled,
            published=metrics.since_start.published,
            oldest_unsent_seconds=now.oldest_unsent,
            timers_overdue_seconds=now.timers_overdue,
            tasks_waiting=now.tasks_waiting,
            lag=dict(process.lag),
            deliveries_waiting=dict(deliveries_waiting(reader.connection) if deliveries_waiting else {}),
        )

    surface.query(HealthOfEach)(health)

    @surface.query(ListDeadLetters)
    def list_dead_letters(query: ListDeadLetters, reader: Reader) -> DeadLetterPage:
        rows = dead_letters.page(reader.connection, query.after, query.limit)
        letters = tuple(DeadLetter(**_letter(row, reader.connection)) for row in rows)
        return DeadLetterPage(letters=letters, total=dead_letters.count(reader.connection))

    @surface.query(ShowDeadLetter)
    def show_dead_letter(query: ShowDeadLetter, reader: Reader) -> DeadLetterDetail | Refusal:
        row = dead_letters.find(reader.connection, query.letter)
        if row is None:
            return Refusal(
                code="unknown-dead-letter",
                sentence=f"{service} holds no dead letter {query.letter}; list them to see which it holds.",
                field="letter",
            )
        return DeadLetterDetail(
            **_letter(row, reader.connection),
            headers=row.headers,
            payload=row.payload.decode(errors="replace"),
            trace=row.trace,
        )

    @surface.query(ShowHistory)
    def show_history(query: ShowHistory, reader: Reader) -> HistoryPage | Refusal:
        rows = history.page(
            reader.connection, event_stream(service), query.aggregate,
            after=query.after, until=query.as_of, limit=query.limit + 1,
        )  # fmt: skip
        if not rows and not query.after:
            return Refusal(
                code="unknown-aggregate",
                sentence=f"Nothing has happened to {query.aggregate} in {service}"
                f"{' by then' if query.as_of else ''}; ask the service that owns it, by the id that it gives.",
                field="aggregate",
            )
        happened = tuple(_happened(row) for row in rows[: query.limit])
        return HistoryPage(happened=happened, next=happened[-1].sequence if len(rows) > len(happened) else None)

    return surface.queries


def _happened(row: Any) -> Happened:
    event = json.loads(row.payload)
    contract = REGISTER[event["type"]]
    return Happened(
        sequence=row.sequence,
        at=event["time"],
        event=contract.wire.name,
        principal=row.principal,
        caused_by=event["causationid"],
        data=event["data"],
    )


def _letter(row: Any, connection: Connection) -> dict[str, Any]:
    fields: tuple[str, ...] = ("id", "kept_at", "kind", "name", "subject", "error")
    letter = {name: getattr(row, name) for name in fields}
    letter["waiting_behind"] = inbox.count_behind(connection, row.subject) if row.kind == "event" else 0
    return letter
