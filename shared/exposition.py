"""Everything there is to know of a process, as Prometheus reads it: what was counted, and what is looked up now.

Loaded only where somebody can ask for metrics: it takes a fifth of a second and some megabytes.
"""

from collections.abc import Callable
from threading import Lock

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared import clock
from shared.metrics import DESTINATION
from shared.observer import Seen
from shared.telemetry import resource

CONTENT_TYPE: str = CONTENT_TYPE_LATEST


class Exposition:
    """The metrics of one process; one for each process."""

    def __init__(self, service: str, instance: str) -> None:
        self._seen = Seen()
        self._writing = Lock()
        reader = PrometheusMetricReader(scope_info_enabled=False)
        metrics.set_meter_provider(MeterProvider([reader], resource(service, instance), shutdown_on_exit=False))
        self._meter = metrics.get_meter("concord")
        self._observe("concord.ready", "", "1 while the service is ready, 0 while it is not", self._ready)
        self._observe("concord.unready", "", "1 for each reason why the service is not ready", self._unready)
        self._observe("concord.consumer.lag", "{message}", "messages that a durable has before it", self._lag)
        self._observe(
            "concord.deliveries.waiting", "{delivery}", "deliveries that are decided and not yet made", self._waiting
        )
        self._observe_figure("concord.outbox.unsent", "{row}", "rows of the outbox not published", "unsent")
        self._observe_figure("concord.outbox.oldest", "s", "age of the oldest row not published", "oldest_unsent")
        self._observe_figure("concord.dead_letters", "{message}", "dead letters that are kept", "dead_letters")
        self._observe_figure("concord.timers.overdue", "s", "age of the oldest timer that is due", "timers_overdue")
        steps = clock.Steps()
        self._observe(
            "concord.clock.stepped", "s", "how far the wall clock was moved since the process began",
            lambda: [Observation(round(steps.seconds(), 3))],
        )  # fmt: skip
        self._observe_figure("concord.tasks.waiting", "{task}", "tasks that are not finished", "tasks_waiting")
        self._observe_figure("concord.tasks.oldest", "s", "age of the oldest task that is not finished", "oldest_task")

    def text(self, seen: Seen) -> bytes:
        """The metrics as text. Some milliseconds of work, so not for the event loop's thread."""
        with self._writing:  # two at once would get each other's
            self._seen = seen
            return generate_latest()

    def _observe(self, name: str, unit: str, description: str, values: Callable[[], list[Observation]]) -> None:
        def callback(_: CallbackOptions) -> list[Observation]:
            return values()

        self._meter.create_observable_gauge(name, [callback], unit, description)

    def _observe_figure(self, name: str, unit: str, description: str, figure: str) -> None:
        def values() -> list[Observation]:
            return [] if self._seen.figures is None else [Observation(getattr(self._seen.figures, figure))]

        self._observe(name, unit, description, values)

    def _ready(self) -> list[Observation]:
        return [Observation(0 if any(self._seen.troubles.values()) else 1)]

    def _unready(self) -> list[Observation]:
        return [Observation(int(holds), {"reason": reason}) for reason, holds in self._seen.troubles.items()]

    def _lag(self) -> list[Observation]:
        return [Observation(count, {DESTINATION: stream}) for stream, count in self._seen.lag.items()]

    def _waiting(self) -> list[Observation]:
        return [Observation(count, {"channel": channel}) for channel, count in self._seen.deliveries_waiting.items()]
