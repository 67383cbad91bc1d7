"""Where spans go: to a collector, by OTLP over HTTP, from a thread of its own.

A collector that is away or slow costs spans and nothing else. Loaded only where there is one.
"""

import logging
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from shared import tracing
from shared.telemetry import resource

PATH = "/v1/traces"
"""Where a receiver of OTLP takes spans in, unless the endpoint says otherwise."""

EXPORT_WITHIN = 5.0
"""Seconds to wait for the collector to take in one batch, before it is dropped."""
SEND_EVERY = 1.0
MOST_WAITING = 2048
"""Spans that wait for the collector at most; of more the oldest are dropped."""
LEAVE_WITHIN = 2.0
"""Seconds a service that stops waits for the collector to take in the rest."""

log = structlog.get_logger()


class SpanExport:
    """Sends the spans of this process to a collector. One for each process."""

    def __init__(self, service: str, instance: str, endpoint: str, share: float) -> None:
        # The library says of each batch, several times, that it could not be sent; we say it once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        url = endpoint.rstrip("/") + PATH if urlsplit(endpoint).path in ("", "/") else endpoint
        exporter = _SaidOnce(OTLPSpanExporter(url, timeout=EXPORT_WITHIN))
        # Which messages are sampled is settled in shared/tracing.py, before there is a span.
        self._provider = TracerProvider(ALWAYS_ON, resource(service, instance), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, MOST_WAITING, SEND_EVERY * 1000))
        trace.set_tracer_provider(self._provider)
        tracing.record(share)

    def close(self) -> None:
        """Sends what is left, if the collector takes it in soon."""
        leaving = threading.Thread(target=self._provider.shutdown, daemon=True)
        leaving.start()
        leaving.join(LEAVE_WITHIN)


class _SaidOnce(SpanExporter):
    """Says when the collector goes away and when it is back, and nothing in between."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._dropped = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if self._dropped:
                log.info("spans are taken in again", dropped=self._dropped)
            self._dropped = 0
        else:
            if not self._dropped:
                log.warning("the collector does not take in spans; they are dropped until it does")
            self._dropped += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
