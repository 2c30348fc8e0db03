"""Looks for requests that wait so long that they are about to vanish: pulled beyond the free slots, they are ended.

While every slot of every worker is taken for hours nobody would pull them, and JetStream drops them without a word.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from chatmesh.broker import Broker
from chatmesh.errors import BrokerError
from chatmesh.kernel import Service
from chatmesh.telemetry import get_logger
from chatmesh.workflow.age import Age

log = get_logger("workflow")

READ_SECONDS = 5.0

LOOKS = 8
"""Within the margin before a request vanishes: one that is not answered costs little."""


class Overdue(Service):
    """`is_found` while the oldest request of the queue is too old; `on_found` only signals."""

    def __init__(self, broker: Broker, age: Age, *, on_found: Callable[[], None]) -> None:
        self._broker = broker
        self._age = age
        self._on_found = on_found
        self._draining = asyncio.Event()
        self.is_found = False

    async def run(self, started: Callable[[], None]) -> None:
        started()
        while not self._draining.is_set():
            with suppress(BrokerError):
                self.is_found = await self._look()
            if self.is_found:
                self._on_found()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._age.margin_seconds / LOOKS):
                    await self._draining.wait()

    def drain(self) -> None:
        self._draining.set()

    async def _look(self) -> bool:
        stored_at = await self._broker.queue.oldest(seconds=READ_SECONDS)
        is_found = stored_at is not None and self._age.is_over(stored_at, time.time())
        if is_found and not self.is_found:
            log.warning("workflow.overdue", seconds=self._age.max_seconds)
        return is_found
