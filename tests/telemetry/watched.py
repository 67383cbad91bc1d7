"""The platform with its metrics served and its spans received, and people who send with a trace of their own."""

import asyncio
import http.client
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import uuid_utils
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from shared import clock
from shared.broker import Connection, request
from shared.contracts import cloudevent
from shared.contracts.message import Command, Inbound, Message, Query, subject_of
from shared.contracts.platform import Reply
from shared.identity import SERVICES
from shared.streams import api
from shared.testing.ports import free_ports
from tests.faults.stack import Stack

PATIENCE = 60.0
ANSWERS_WITHIN = 2.5
"""Seconds a page of metrics may take, whatever is away."""


def new_id() -> str:
    return str(uuid_utils.uuid7())


def new_traceparent(flags: str = "01") -> str:
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{flags}"


@dataclass(frozen=True)
class Spotted:
    """A span as it was received."""

    service: str
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    events: tuple[tuple[str, dict[str, Any]], ...]
    failed: bool


class Receiver:
    """A collector: takes spans in by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Spotted] = []
        taken_in = self._taken_in

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                known = self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
                if known:
                    taken_in(ExportTraceServiceRequest.FromString(body))
                self.send_response(200 if known else 404)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, trace: str, *, name: str = "", service: str = "") -> list[Spotted]:
        """The spans of one trace."""
        return [s for s in list(self.spans) if s.trace == trace and name in s.name and service in ("", s.service)]

    def _taken_in(self, request: ExportTraceServiceRequest) -> None:
        for each in request.resource_spans:
            service = _plain(each.resource.attributes)["service.name"]
            for scope in each.scope_spans:
                self.spans += [_spotted(service, span) for span in scope.spans]


def _spotted(service: str, span: Span) -> Spotted:
    return Spotted(
        service=service,
        name=span.name,
        kind=span.kind,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes=_plain(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        events=tuple((event.name, _plain(event.attributes)) for event in span.events),
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


class Platform(Stack):
    """The four services, each with a port to ask; ``endpoint`` is where they send spans, if anywhere."""

    def __init__(self, directory: Path, endpoint: str = "", share: str = "0") -> None:
        directory.mkdir(exist_ok=True)
        self.ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        settings = {
            name: {
                "CONCORD_HEALTH_PORT": str(port),
                "CONCORD_TRACE_ENDPOINT": endpoint,
                "CONCORD_TRACE_SHARE": share,
            }
            for name, port in self.ports.items()
        }
        super().__init__(directory, "sqlite", settings=settings)
        self._people: dict[str, Connection] = {}

    async def ready(self) -> None:
        """Returns when every service says over HTTP that it is ready."""
        for name in SERVICES:
            await until(f"{name} is ready", lambda name=name: self._is_ready(name))  # type: ignore[misc]

    async def _is_ready(self, name: str) -> bool:
        try:
            return (await self.get(name, "/ready"))[0] == 200
        except OSError:
            return False

    async def get(self, service: str, path: str) -> tuple[int, str]:
        """What a service says over HTTP: status and text."""
        return await asyncio.to_thread(self._get, service, path)

    def _get(self, service: str, path: str) -> tuple[int, str]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.ports[service], timeout=PATIENCE)) as asked:
            asked.request("GET", path)
            answer = asked.getresponse()
            return answer.status, answer.read().decode()

    async def metric(self, service: str, name: str, **labels: str) -> float | None:
        """The value of one sample, ``None`` where there is none."""
        status, page = await self.get(service, "/metrics")
        assert status == 200
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return float(sample.value)
        return None

    async def becomes(self, value: float | None, service: str, name: str, **labels: str) -> None:
        """Returns when a metric has this value."""

        async def has() -> bool:
            return await self.metric(service, name, **labels) == value

        await until(f"{name} of {service} is {value}", has)

    async def exceeds(self, value: float, service: str, name: str, **labels: str) -> None:
        """Returns when a metric is above this value."""

        async def has() -> bool:
            return (await self.metric(service, name, **labels) or 0.0) > value

        await until(f"{name} of {service} is above {value}", has)

    # ---- people --------------------------------------------------------------------------------------------------

    async def enter(self, principal: str, role: str = "member") -> Connection:
        """A connection of somebody."""
        if principal not in self._people:
            self._people[principal] = await self.nats.connect(role, principal)
        return self._people[principal]

    async def send(
        self, principal: str, message: Command | Query[Any], service: str | None = None, **attributes: Any
    ) -> Reply:
        """Sends a command or query; the reply, whatever it says."""
        nc = await self.enter(principal, "operator" if principal == "operator" else "member")
        answer = await request(
            nc, subject_of(type(message), principal, service), written(message, principal, **attributes),
            dict(cloudevent.STRUCTURED_HEADERS), timeout=PATIENCE,
        )  # fmt: skip
        return Reply.model_validate_json(answer.data)

    async def publish(self, publisher: str, message: Inbound, **attributes: Any) -> None:
        """Publishes an inbound message."""
        nc = await self.enter(publisher, "publisher")
        await request(
            nc, subject_of(type(message), publisher), written(message, publisher, **attributes),
            dict(cloudevent.STRUCTURED_HEADERS), timeout=PATIENCE,
        )  # fmt: skip

    # ---- disturbances --------------------------------------------------------------------------------------------

    @contextmanager
    def store_locked(self, service: str) -> Iterator[None]:
        """Somebody holds the write lock of a store."""
        with self.engines[service].connect() as connection, connection.begin() as held:
            connection.execute(text("BEGIN IMMEDIATE"))
            yield
            held.rollback()

    async def let_in(self, stream: str, most_bytes: int) -> None:
        """Has a stream take messages of at most so many bytes; -1 for as many as there are."""
        breaker = await self.nats.connect_breaker()
        config = (await api(breaker, f"STREAM.INFO.{stream}"))["config"]
        await api(breaker, f"STREAM.UPDATE.{stream}", config | {"max_msg_size": most_bytes})

    def log_lines(self) -> list[tuple[str, str]]:
        """Everything the services wrote: service and line."""
        return [
            (name, line) for name, program in self.programs.items() for line in program.log.read_text().splitlines()
        ]


def written(message: Message, principal: str, **attributes: Any) -> bytes:
    """A message as its sender writes it."""
    own = {"id": new_id(), "source": f"/{principal}", "time": clock.now()} | attributes
    return cloudevent.write(message, **own)  # type: ignore[typeddict-item]  # a test gives what it likes


async def until(what: str, holds: Callable[[], Awaitable[bool]]) -> None:
    """Waits for what the services do by themselves."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not await holds():  # noqa: ASYNC110  said by no event
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"waited {PATIENCE:g} s in vain until {what}") from None
