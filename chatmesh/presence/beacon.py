"""The heartbeat publisher: a sign of life every few seconds, and at once when the state changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from chatmesh.broker import Heartbeats
from chatmesh.errors import BrokerError
from chatmesh.kernel import Service
from chatmesh.protocol.messages import HeartbeatMessage
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a process says of itself at this moment. `load` is open streams of a pod, generations of a worker; `subscriptions`
    those at the broker."""

    status: str
    load: int
    subscriptions: int = 0


class Beacon(Service):
    """Publishes one role's heartbeat. Says goodbye (`stopped`) when it is drained, so that nobody waits for silence."""

    def __init__(
        self,
        heartbeats: Heartbeats,
        *,
        role: str,
        id: Token,
        boot: str,
        interval_seconds: float,
        vitals: Callable[[], Vitals],
        models: tuple[str, ...] = (),
    ) -> None:
        self._heartbeats = heartbeats
        self._role = role
        self._id = id
        self._boot = boot
        self._interval_seconds = interval_seconds
        self._vitals = vitals
        self._models = models
        self._process = psutil.Process()
        self._changed = asyncio.Event()
        self._is_draining = False

    def tell(self) -> None:
        """The state has changed: beat now."""
        self._changed.set()

    def drain(self) -> None:
        self._is_draining = True
        self._changed.set()

    async def run(self, started: Callable[[], None]) -> None:
        self._process.cpu_percent()  # the first call only starts the interval that the next one measures
        await self._beat()
        started()
        while not self._is_draining:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval_seconds):
                    await self._changed.wait()
            self._changed.clear()
            if not self._is_draining:
                await self._beat()
        # After the loop: a drain may come while a heartbeat is on its way.
        await self._beat()

    async def _beat(self) -> None:
        vitals = self._vitals()
        is_worker = self._role == "worker"
        heartbeat = HeartbeatMessage(
            role=self._role,
            id=self._id,
            timestamp=iso(time.time()),
            active_connections=0 if is_worker else vitals.load,
            memory_usage_mb=round(self._process.memory_info().rss / 1e6, 1),
            cpu_usage_percent=self._process.cpu_percent(),
            boot=self._boot,
            status="stopped" if self._is_draining else vitals.status,
            models=self._models,
            active_generations=vitals.load if is_worker else 0,
            subscriptions=vitals.subscriptions,
        )
        # While the broker is away nobody hears us anyway; the next beat follows soon.
        with suppress(BrokerError):
            await self._heartbeats.beat(heartbeat)
