"""One timer for all batches that are due at the same tick: with hundreds of answers, a timer for each batch costs more than
writing it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from chatmesh.relay.batching import flush_at

OnTick = Callable[[float], None]


class Ticks:
    """Calls back at ticks of the loop's clock. Whoever does not wait any more ignores the call: it knows for which tick it
    waits."""

    def __init__(self, flush_seconds: float) -> None:
        self._flush_seconds = flush_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[float, list[OnTick]] = {}

    def expect(self, on_tick: OnTick) -> float:
        """`on_tick` is called at the tick at which a batch leaves that begins now, with that tick, which is also returned."""
        # Not asked each time: before Python 3.12 that is a system call.
        loop = self._loop = self._loop or asyncio.get_running_loop()
        at = flush_at(loop.time(), self._flush_seconds)
        waiting = self._waiting.get(at)
        if waiting is None:
            waiting = self._waiting[at] = []
            loop.call_at(at, self._ring, at)
        waiting.append(on_tick)
        return at

    def _ring(self, at: float) -> None:
        for on_tick in self._waiting.pop(at):
            on_tick(at)

    def __len__(self) -> int:
        return len(self._waiting)
