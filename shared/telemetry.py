"""Logs as one JSON object a line, on standard error, and what log lines and spans may tell of a message."""

import logging
import re
import sys
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_MADE_UP = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,64}", re.IGNORECASE).fullmatch
"""An id that nobody can have put anything into: a UUID, or a longer number."""

SAMPLED = "13579bdf"
"""How a W3C ``traceparent`` ends that asks for its message to be recorded: the lowest bit of its flags is set."""


def about(message: Any) -> dict[str, str]:
    """What a log line tells of the message it is about: ``correlationid``, and ``trace_id`` where it is sampled.

    ``message`` is an envelope or a task's row, which name things alike; ``None`` where it could not be read.
    """
    if message is None:
        return {}
    said = {"correlationid": opaque(message.correlationid or message.id)}
    if (trace := message.traceparent) is not None and trace[-1] in SAMPLED:
        said["trace_id"] = trace[3:35]
    return said


def opaque(id_: str) -> str:
    """An id as it may be told: as it is if it is made up, else a digest of it, since its sender chose the words."""
    return id_ if _MADE_UP(id_) else f"digest-{blake2b(id_.encode(), digest_size=8).hexdigest()}"


def resource(service: str, instance: str) -> "Resource":
    """Which program it is that counts and records: the OpenTelemetry resource of one process."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  loaded where something is recorded

    return Resource.create({"service.namespace": "concord", "service.name": service, "service.instance.id": instance})


def configure_logging(service: str, level: str) -> None:
    """Every line carries time, level and service; lines of libraries take the same form."""
    shared: list[structlog.typing.Processor] = [
        _with_service(service),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer(), foreign_pre_chain=shared)
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _with_service(service: str) -> structlog.typing.Processor:
    """Not a variable of the context, which the writer's thread does not see."""

    def add(_logger: object, _method: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        line["service"] = service
        return line

    return add
