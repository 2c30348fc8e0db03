"""Spans of this process, for as long as anybody may make some: a sink, so it stops after everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chatmesh import __version__
from chatmesh.config import Config
from chatmesh.kernel import Service
from chatmesh.telemetry.otlp import Collector, OtlpSpans

FLUSH_SECONDS = 3.0
"""What the last spans get to reach the collector when the process leaves."""


class Spans(Service):
    def __init__(self, spans: OtlpSpans) -> None:
        self._spans = spans
        self._is_drained = asyncio.Event()

    def drain(self) -> None:
        self._is_drained.set()

    async def run(self, started: Callable[[], None]) -> None:
        self._spans.open()
        started()
        await self._is_drained.wait()
        await self._spans.close(FLUSH_SECONDS)


def spans_of(config: Config, id: str) -> OtlpSpans | None:
    """None: nobody collects any. Raises ConfigError where the extra is not installed."""
    tracing = config.tracing
    if tracing.endpoint is None:
        return None
    collector = Collector(tracing.endpoint, tracing.service_name, id, __version__)
    return OtlpSpans(collector, tracing.sample_ratio)
