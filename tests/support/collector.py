"""A real OTLP/HTTP receiver: what a collector does, a server on a free port that decodes what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.support.waiting import eventually

PATH = "/v1/traces"


@dataclass(frozen=True)
class Seen:
    """A span as it came. Times in nanoseconds."""

    name: str
    trace_id: str
    id: str
    parent_id: str
    kind: int
    began: int
    ended: int
    attributes: dict[str, Any]
    events: dict[str, int]
    is_error: bool
    error: str
    resource: dict[str, Any]


@dataclass
class Collector:
    """`status`: what it answers; another one than 200 takes nothing. While `is_open` is not set it answers nobody."""

    status: int = 200
    url: str = ""
    requests: int = 0
    spans: list[Seen] = field(default_factory=list)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, http: web.Request) -> web.Response:
        body = await http.read()
        await self.is_open.wait()
        assert http.content_type == "application/x-protobuf"
        self.requests += 1
        if self.status == 200:
            self.spans += _decoded(body)
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(status=self.status, body=answer, content_type="application/x-protobuf")

    def named(self, name: str) -> list[Seen]:
        """In the order of their beginnings."""
        return sorted((span for span in self.spans if span.name == name), key=lambda span: span.began)

    def one(self, name: str) -> Seen:
        (span,) = self.named(name)
        return span

    async def wait(self, *names: str, timeout: float = 20) -> None:  # noqa: ASYNC109 - handed to `eventually`
        """Until at least these have come."""

        def have_come() -> bool:
            seen = sorted(span.name for span in self.spans)
            assert not [name for name in set(names) if seen.count(name) < names.count(name)], seen
            return True

        await eventually(have_come, timeout=timeout, message=f"spans {names}")


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector that listens; `url` is its endpoint."""
    collector = Collector()
    collector.is_open.set()
    app = web.Application(client_max_size=2**26)
    app.router.add_post(PATH, collector.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
    try:
        yield collector
    finally:
        collector.is_open.set()
        await runner.cleanup()


def _decoded(body: bytes) -> list[Seen]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        Seen(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.kind,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            _values(span.attributes),
            {event.name: event.time_unix_nano for event in span.events},
            span.status.code == Status.STATUS_CODE_ERROR,
            span.status.message,
            _values(resource.resource.attributes),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
