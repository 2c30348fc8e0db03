"""A look at everything, again and again: one timer for all connections, not one for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

SWEEPS = 4
"""Looks in one limit: a connection is closed at most a quarter of the limit late, and at most a second."""


def pause_seconds(limit_seconds: float) -> float:
    """Between two looks."""
    return min(1.0, limit_seconds / SWEEPS)


async def sweep_until(until: asyncio.Event, limit_seconds: float, sweep: Callable[[], None]) -> None:
    """Sweeps until the event is set."""
    pause = pause_seconds(limit_seconds)
    while not until.is_set():
        sweep()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await until.wait()
