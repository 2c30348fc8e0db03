"""What the trees of one process share: its name and life, its broker, and whether it is leaving."""

from __future__ import annotations

import sys
from collections.abc import Callable

from chatmesh.app import parts
from chatmesh.app.address import address
from chatmesh.app.tracing import spans_of
from chatmesh.broker import Broker
from chatmesh.config import Config
from chatmesh.presence import Beacon
from chatmesh.protocol.tokens import Token, new_boot, token
from chatmesh.telemetry import metrics
from chatmesh.telemetry.tracing import NO_TRACING, Tracing


class Process:
    """One process. `boot` names this life of it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.id: Token = token(config.process_id, "id")
        self.boot = new_boot()
        self.spans = spans_of(config, self.id)
        self.embedded = parts.embedded_broker(config) if config.nats.embedded else None
        self.broker = Broker(
            address(config, self.id, self.embedded),
            parts.stream_settings(config),
            ack_wait_seconds=config.worker.ack_wait_seconds,
            pulls="worker" in config.roles,
            fenced=config.worker.fenced,
            tells_apart=config.auth.mode != "none",
            key_ring=parts.key_ring(config),
            accepts_clear=config.sealing.accept_clear,
        )
        metrics.heap_blocks.set_function(sys.getallocatedblocks)
        self.is_draining = False
        self._on_drain: list[Callable[[], None]] = []

    @property
    def tracing(self) -> Tracing:
        """Where the process's rooms tell of spans."""
        return NO_TRACING if self.spans is None else self.spans.tracing

    @property
    def is_ready(self) -> bool:
        """Serving: connected, streams in place, not leaving."""
        return self.broker.is_ready and not self.is_draining

    @property
    def status(self) -> str:
        """As heartbeats and health answers say it."""
        if self.is_draining:
            return "draining"
        return "healthy" if self.broker.is_ready else "degraded"

    def announce(self, beacon: Beacon) -> None:
        """From now on the beacon beats at every change of the process's state."""
        self.broker.connection.on_change(beacon.tell)
        self.on_drain(beacon.tell)

    def on_drain(self, tell: Callable[[], None]) -> None:
        """`tell` is called as soon as the process leaves."""
        self._on_drain.append(tell)

    def drain(self) -> None:
        """The process is leaving: said before the first child hears of it."""
        self.is_draining = True
        for tell in self._on_drain:
            tell()
