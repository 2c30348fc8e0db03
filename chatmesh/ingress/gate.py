"""The gate before the broker: how many messages may be on their way to it from this pod at a time.

Ten thousand POSTs of one moment, all sent at once, would be acknowledged too late each: the broker and the event loop work off
all of them together, and every client hears that the outcome is unknown. A few hundred at a time take as long in all, and each
of them is quick.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from chatmesh.ingress.refusals import RETRY_AFTER_SECONDS
from chatmesh.telemetry import metrics
from chatmesh.web import Problem

AT_ONCE = 256
"""An acknowledgement takes 0.3 ms to 10 ms (three servers, loaded), so this holds back nobody below 25,000 a second."""

MAX_WAITING = 16_384

WAIT_SECONDS = 10.0
"""Shorter than clients wait: who is told that nothing was accepted may try another pod."""


class Gate:
    """`async with gate`: goes in by order of arrival. Raises Problem 503 `overloaded` where too many wait already, or after
    `wait_seconds`."""

    def __init__(
        self, *, at_once: int = AT_ONCE, max_waiting: int = MAX_WAITING, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._waiting = 0
        self._max_waiting = max_waiting
        self._wait_seconds = wait_seconds

    async def __aenter__(self) -> None:
        if self._slots.locked():
            await self._wait()
        else:
            await self._slots.acquire()  # does not wait

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.release()

    async def _wait(self) -> None:
        if self._waiting >= self._max_waiting:
            raise _overloaded()
        self._count(1)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            raise _overloaded() from error
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        self._waiting += more
        metrics.requests_waiting.inc(more)


def _overloaded() -> Problem:
    metrics.errors.labels("ingress", "overloaded").inc()
    return Problem(
        503,
        "overloaded",
        "Nothing was accepted: more messages come to this pod than it can store in time.",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    )
