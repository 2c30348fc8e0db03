"""Time as a collaborator: the kernel asks a clock that it was given, so a test can hold time still."""

from __future__ import annotations

import asyncio
import heapq
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol


class Clock(Protocol):
    """What a part of the tree may know about time."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back. For durations."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC. For what people and other processes read; may jump."""

    async def sleep(self, seconds: float) -> None:
        """Return after at least `seconds`. Zero or less lets the others run once."""


class SystemClock:
    """The clock of the machine and of the running loop."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


_START = datetime(2025, 1, 1, tzinfo=UTC)  # any moment, as long as it is always the same


class ManualClock:
    """A clock that stands still until `advance` is called: makes tests of backoffs and deadlines exact."""

    def __init__(self, start: datetime = _START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._tickets = count()  # two sleepers with one deadline wake in the order in which they came
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self._elapsed

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    @property
    def sleepers(self) -> int:
        """How many are asleep. A test waits for this before it advances."""
        return sum(not alarm.done() for _, _, alarm in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        alarm = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._tickets), alarm))
        await alarm

    def advance(self, seconds: float) -> None:
        """Move time forward and wake whoever is due, the earliest deadline first.

        They run when the caller next lets the loop run, and then all see the new time: a sleeper that falls asleep
        again counts from there and not from its deadline.
        """
        if seconds < 0:
            raise ValueError(f"time can't go back, got {seconds} seconds")
        self._elapsed += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, alarm = heapq.heappop(self._sleepers)
            if not alarm.done():
                alarm.set_result(None)
