"""Closes connections that do not get a whole request head out in time.

aiohttp has one timer for a connection, the keep-alive's, and starts it before the first request too: silent and
half-sent connections stay for as long as an idle one may. Here each connection has a deadline from its first moment,
or from the first byte of a later request, until that request's head is complete. Idle connections between two requests
are the keep-alive's; bodies have a deadline of their own (`read_body`); answers and streams are none of this.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

C = TypeVar("C")

SWEEPS = 4
"""Looks in one limit: a connection is closed at most a quarter of the limit late, and at most a second."""


class Reaper(Generic[C]):
    """Knows who owes a request head, oldest first, so that a look costs as much as there is to close."""

    def __init__(self, limit_seconds: float, close: Callable[[C], None]) -> None:
        self.limit_seconds = limit_seconds
        self._close = close
        self._since: dict[C, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def expect(self, connection: C) -> None:
        """It owes a head from now on, or still does since before."""
        self._since.setdefault(connection, time.monotonic())

    def forget(self, connection: C) -> None:
        """Its head is complete, or it is gone."""
        self._since.pop(connection, None)

    def sweep(self, now: float) -> None:
        """Closes those that owe since too long."""
        while self._since:
            connection, since = next(iter(self._since.items()))
            if now - since < self.limit_seconds:
                return
            del self._since[connection]
            self._close(connection)

    async def run(self, until: asyncio.Event) -> None:
        """Sweeps until the event is set."""
        pause_seconds = min(1.0, self.limit_seconds / SWEEPS)
        while not until.is_set():
            self.sweep(time.monotonic())
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await until.wait()
