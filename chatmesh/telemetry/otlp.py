"""Sends spans to a collector, OTLP over HTTP, by OpenTelemetry's own SDK; the one file that imports it, once it is wanted.

A span that has ended goes into a bounded queue, and a thread sends what is there every second. Nobody waits for it: what
finds the queue full, or a collector that does not take it, is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatmesh.errors import ConfigError
from chatmesh.protocol import trace
from chatmesh.telemetry import metrics
from chatmesh.telemetry.logs import get_logger
from chatmesh.telemetry.tracing import Ended, Recording

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.trace import Span, Tracer

log = get_logger("telemetry")

QUEUE = 4096
"""Spans that may wait: 800 messages. A span takes about 2 kB."""

BATCH = 512
PAUSE_SECONDS = 1.0
SEND_SECONDS = 5.0
"""For one batch, with everything that is tried again."""


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go, and who says they come from. `instance_id` is the process's."""

    endpoint: str
    service_name: str
    instance_id: str
    version: str


class OtlpSpans:
    """Takes spans between `open` and `close`. Raises ConfigError where the extra is not installed."""

    def __init__(self, collector: Collector, ratio: float) -> None:
        _check_installed()
        self.tracing = Recording(self.take, ratio)
        self._collector = collector
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None
        self._ids = _Ids()
        self._handed = 0
        self._sent = _Sent(collector)

    def open(self) -> None:
        """Starts the thread."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415 - an extra

        # It tells of each try, with a traceback; we tell once, see `_Sent`.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        about = {
            "service.name": self._collector.service_name,
            "service.instance.id": self._collector.instance_id,
            "service.version": self._collector.version,
        }
        exporter = OTLPSpanExporter(endpoint=self._collector.endpoint, timeout=SEND_SECONDS)
        processor = BatchSpanProcessor(
            _counting(exporter, self._sent),
            # The bound is ours, so that what is dropped is known; the SDK's is never reached.
            max_queue_size=2 * QUEUE,
            schedule_delay_millis=PAUSE_SECONDS * 1000,
            max_export_batch_size=BATCH,
        )
        # Whoever made the spans has decided about sampling.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create(about),
            id_generator=_generator(self._ids),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("chatmesh", self._collector.version)

    def take(self, span: Ended) -> None:
        """Never waits, never raises."""
        if self._tracer is None or self._waiting >= QUEUE:
            metrics.spans_dropped.labels("queue_full").inc()
            return
        self._handed += 1
        self._ids.trace_id = trace.trace_id(span.traceparent)
        self._ids.span_id = trace.span_id(span.traceparent)
        _replay(self._tracer, span)

    async def close(self, seconds: float) -> None:
        """Sends what is there, for so long at most; the rest is dropped."""
        provider, self._provider, self._tracer = self._provider, None, None
        if provider is None:
            return
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            provider.shutdown()
            if not loop.is_closed():
                loop.call_soon_threadsafe(closed.set)

        # A daemon: the process's end does not wait for a collector either.
        threading.Thread(target=close, name="otlp-close", daemon=True).start()
        try:
            async with asyncio.timeout(seconds):
                await closed.wait()
        except TimeoutError:
            metrics.spans_dropped.labels("shutdown").inc(self._waiting)
            log.warning("telemetry.spans_left", count=self._waiting, endpoint=self._collector.endpoint)

    @property
    def _waiting(self) -> int:
        """In the queue, or under way. Each number has one writer, the loop or the thread."""
        return self._handed - self._sent.count


class _Sent:
    """What the thread has done with spans."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._is_taken = True
        self.count = 0

    def tell(self, count: int, *, is_taken: bool) -> None:
        self.count += count
        if is_taken:
            metrics.spans_exported.inc(count)
        else:
            metrics.spans_dropped.labels("not_taken").inc(count)
        if is_taken is not self._is_taken:
            self._is_taken = is_taken
            tell = log.info if is_taken else log.warning
            name = "telemetry.spans_taken" if is_taken else "telemetry.spans_not_taken"
            tell(name, endpoint=self._collector.endpoint, service_instance_id=self._collector.instance_id)


@dataclass(slots=True)
class _Ids:
    """The SDK asks for ids as it begins a span: those that it has already."""

    trace_id: str = ""
    span_id: str = ""


def _generator(ids: _Ids) -> IdGenerator:
    from opentelemetry.sdk.trace.id_generator import IdGenerator  # noqa: PLC0415 - an extra

    class Given(IdGenerator):
        def generate_trace_id(self) -> int:
            return int(ids.trace_id, 16)

        def generate_span_id(self) -> int:
            return int(ids.span_id, 16)

    return Given()


def _counting(exporter: SpanExporter, sent: _Sent) -> SpanExporter:
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415 - an extra
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # noqa: PLC0415 - an extra

    class Counting(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = SpanExportResult.FAILURE
            try:
                result = exporter.export(spans)
            finally:
                sent.tell(len(spans), is_taken=result is SpanExportResult.SUCCESS)
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

    return Counting()


def _replay(tracer: Tracer, ended: Ended) -> None:
    """Tells the SDK what was, at the times that it was."""
    from opentelemetry.trace import SpanKind, Status, StatusCode  # noqa: PLC0415 - an extra

    span: Span = tracer.start_span(
        ended.name,
        context=_below(ended),
        kind=SpanKind[ended.kind.name],
        attributes=dict(ended.attributes),
        start_time=_ns(ended.began),
    )
    for name, at in ended.events:
        span.add_event(name, timestamp=_ns(at))
    if ended.error:
        span.set_status(Status(StatusCode.ERROR, ended.error))
    span.end(end_time=_ns(ended.ended))


def _below(ended: Ended) -> Context:
    from opentelemetry.context import Context  # noqa: PLC0415 - an extra
    from opentelemetry.trace import (  # noqa: PLC0415 - an extra
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    if not ended.parent_id:
        return Context()
    parent = SpanContext(
        int(trace.trace_id(ended.traceparent), 16),
        int(ended.parent_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _ns(unix_seconds: float) -> int:
    return int(unix_seconds * 1e9)


def _check_installed() -> None:
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: PLC0415 - an extra
        import opentelemetry.sdk.trace.export  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            f"spans can't be sent, since {error.name or 'opentelemetry'} is not installed",
            where="tracing.endpoint",
            mend="Install the extra: pip install 'chatmesh-server[otel]'; or take the endpoint away.",
        ) from error
