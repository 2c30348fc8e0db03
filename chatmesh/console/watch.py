"""One look at the mesh for everybody who has `/ops` open at this pod: taken each second, and only while somebody looks.

In: a broker, and viewers that come and leave. Out: the same bytes to each of them. A viewer that is slow misses looks, since
each one is whole; nothing waits for it, and nothing piles up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from chatmesh.broker import Broker
from chatmesh.console import frames
from chatmesh.console.gauges import Gauges, read
from chatmesh.console.recent import Recent
from chatmesh.errors import BrokerError
from chatmesh.kernel import Service
from chatmesh.operate.overview import Frame, Overview
from chatmesh.protocol import sse
from chatmesh.protocol.callers import Caller
from chatmesh.telemetry import get_logger, metrics
from chatmesh.web import Sink

log = get_logger("console")

INTERVAL_SECONDS = 1.0
LOOK_SECONDS = 5.0
"""A look takes some milliseconds; after that the broker counts as away."""

MOST_VIEWERS = 64

MOST_WAITING = 256 * 1024
"""Bytes that may wait for a viewer; past it this look is not for them."""


@dataclass(frozen=True, slots=True)
class Readers:
    """Event streams of this pod: open, read on from the transcript instead of live, and the most bytes that wait for one."""

    open: int
    behind: int
    most_waiting: int


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """`interval_seconds`: between two heartbeats."""

    pod_id: str
    interval_seconds: float


class Viewer:
    """An open page. `left` is set when it has to go."""

    def __init__(self, sink: Sink, caller: Caller) -> None:
        self.sink = sink
        self.caller = caller
        self.left = asyncio.Event()

    def show(self, event: bytes) -> None:
        if self.sink.buffered <= MOST_WAITING:
            self.sink.write_nowait(event)

    def leave(self, reason: str) -> None:
        self.sink.write_nowait(sse.drain(reason, round(INTERVAL_SECONDS * 1000)))
        self.left.set()


class Look:
    """What it takes to look again and again: each time it remembers how far it has read."""

    def __init__(self, broker: Broker, settings: WatchSettings, readers: Callable[[], Readers]) -> None:
        self._broker = broker
        self._settings = settings
        self._readers = readers
        self._overview = Overview(
            broker, interval_seconds=settings.interval_seconds, limit=frames.REQUESTS_SHOWN
        )
        self._recent = Recent(broker)
        self._gauges = Gauges()
        self._before: tuple[float, int] | None = None

    async def frame(self) -> dict[str, Any]:
        """Raises BrokerError."""
        found = await self._overview.look()
        messages = await self._recent.read_on(found.queue, found.members)
        self._gauges.add(read(time.monotonic()))
        now = self._readers()
        return frames.frame(
            found,
            pod_id=self._settings.pod_id,
            interval_seconds=self._settings.interval_seconds,
            batches_per_second=self._batches_per_second(found),
            tiles=self._gauges.tiles(max_payload=self._broker.connection.max_payload),
            readers={
                "open": now.open,
                "behind": now.behind,
                "most_waiting": now.most_waiting,
                **self._gauges.readers(),
            },
            messages=messages,
        )

    def _batches_per_second(self, found: Frame) -> float | None:
        """Of what was added to the transcript since the look before; a claim for each answer counts along."""
        now = time.monotonic(), sum(fill.stored for fill in found.queue.transcripts)
        before, self._before = self._before, now
        if before is None or now[1] < before[1]:
            return None
        return (now[1] - before[1]) / max(now[0] - before[0], 0.001)


class Watch(Service):
    """Looks while it has viewers. What is remembered of looks goes with the last of them."""

    def __init__(self, look: Callable[[], Look]) -> None:
        self._make_look = look
        self._viewers: set[Viewer] = set()
        self._came = asyncio.Event()
        self._draining = asyncio.Event()
        self._is_leaving = False
        self._number = 0
        self._last: bytes | None = None
        self.is_looking = False

    @property
    def is_full(self) -> bool:
        return len(self._viewers) >= MOST_VIEWERS or self._is_leaving

    @property
    def retry_ms(self) -> int:
        """When to come back."""
        return round(INTERVAL_SECONDS * 1000)

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def enter(self, viewer: Viewer) -> None:
        """From now on it is shown every look; the last one at once."""
        self._viewers.add(viewer)
        self._came.set()
        if self._last is not None:
            viewer.show(self._last)

    def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        if not self._viewers:
            self._came.clear()
            self._last = None

    def send_away(self, reason: str = "leaving") -> None:
        """Everybody: this pod leaves."""
        self._is_leaving = True
        for viewer in list(self._viewers):
            viewer.leave(reason)

    def recheck(self, is_known: Callable[[Caller], bool]) -> None:
        """Sends those away who are not known any more."""
        for viewer in list(self._viewers):
            if not is_known(viewer.caller):
                viewer.leave("revoked")

    async def run(self, started: Callable[[], None]) -> None:
        started()
        while not self._draining.is_set():
            await self._wait_viewer()
            self.is_looking = True
            await self._watch()
            self.is_looking = False

    def drain(self) -> None:
        self.send_away()
        self._draining.set()

    async def _watch(self) -> None:
        look = self._make_look()
        while self._viewers and not self._draining.is_set():
            event = await self._event(look)
            if self._viewers:
                self._last = event
            for viewer in list(self._viewers):
                viewer.show(event)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._draining.wait(), INTERVAL_SECONDS)

    async def _event(self, look: Look) -> bytes:
        """A look, or why there is none."""
        self._number += 1
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return event("frame", self._number, await look.frame())
        except BrokerError as error:
            why = error.what
        except TimeoutError:
            why = f"it did not answer within {LOOK_SECONDS:g} s"
        except Exception as error:
            metrics.errors.labels("console", "look").inc()
            log.error("console.look_failed", exc_info=error)
            why = "the look at the mesh failed; the log of this pod has more"
        log.debug("console.away", error=why)
        return event("away", self._number, {"reason": why})

    async def _wait_viewer(self) -> None:
        """Or the end."""
        waiting = [asyncio.ensure_future(each.wait()) for each in (self._came, self._draining)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()


def event(name: str, number: int, body: dict[str, Any]) -> bytes:
    """A server-sent event; its id counts looks, and is nothing that one could come back to."""
    return b"event: %b\nid: %d\ndata: %b\n\n" % (name.encode(), number, orjson.dumps(body))
