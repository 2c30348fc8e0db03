"""The open connections of a server, aiohttp's and streams: cut where the client takes nothing for too long, and all of them
at the end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress

from chatmesh.telemetry import get_logger, metrics
from chatmesh.web.connection import Connection
from chatmesh.web.stream import Stream
from chatmesh.web.sweeping import pause_seconds, sweep_until

log = get_logger("web")


class Connections:
    """Each adds itself and discards itself."""

    def __init__(self, write_timeout_seconds: float, max_per_address: int | None = None) -> None:
        """Past `max_per_address` an address is crowded; past twice as many a connection is cut at once."""
        self._write_timeout_seconds = write_timeout_seconds
        self._max_per_address = max_per_address
        self._of_address: Counter[str] = Counter()
        self._pause_seconds = pause_seconds(write_timeout_seconds)
        self._connections: set[Connection] = set()
        self._streams: set[Stream] = set()
        self._waiting: set[Stream] = set()
        """Of those, they have not taken everything as of the last look."""
        self._looked = 0.0
        self._none_left = asyncio.Event()
        self._none_left.set()

    def add(self, connection: Connection) -> None:
        self._connections.add(connection)
        metrics.http_connections.inc()
        self._none_left.clear()
        self._of_address[connection.address] += 1
        most = self._max_per_address
        if most is not None and self._of_address[connection.address] > 2 * most:
            metrics.limited.labels("address").inc()
            connection.cut()

    def is_crowded(self, address: str) -> bool:
        return self._max_per_address is not None and self._of_address[address] > self._max_per_address

    def replace(self, connection: Connection, stream: Stream) -> None:
        """The same socket."""
        self._connections.discard(connection)
        self._streams.add(stream)

    def discard(self, connection: Connection | Stream) -> None:
        if connection in self._connections or connection in self._streams:
            metrics.http_connections.dec()
            self._of_address[connection.address] -= 1
            if not self._of_address[connection.address]:
                del self._of_address[connection.address]
        if isinstance(connection, Connection):
            self._connections.discard(connection)
        else:
            self._streams.discard(connection)
            self._waiting.discard(connection)
        if not self._connections and not self._streams:
            self._none_left.set()

    async def run(self, until: asyncio.Event) -> None:
        """Cuts stalled ones until the event is set."""
        await sweep_until(until, self._write_timeout_seconds, self.sweep)

    def sweep(self) -> None:
        """Counts looks and not seconds: while this process was frozen, nobody could take anything."""
        since, self._looked = self._looked, time.monotonic()
        # Most streams are silent, so there is nothing to be taken.
        written = self._waiting.union(stream for stream in self._streams if stream.last_write >= since)
        self._waiting = {stream for stream in written if self._look_at(stream)}
        for connection in list(self._connections):
            self._look_at(connection)

    def _look_at(self, connection: Connection | Stream) -> bool:
        """Cuts a stalled one. Returns whether another has something to be taken."""
        is_stalled = connection.stalled_looks() * self._pause_seconds > self._write_timeout_seconds
        if is_stalled:
            metrics.http_stalled.inc()
            log.info("web.stalled", buffered=connection.buffered)
            connection.cut()
        return connection.buffered > 0 and not is_stalled

    async def finish(self, deadline: float) -> None:
        """Idle ones close now, others after their answer. Returns when all have, or at the deadline (loop's time)."""
        for connection in list(self._connections):  # streams are ended by whoever writes to them
            connection.close_after_answer()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._none_left.wait()

    def cut(self) -> None:
        """What is left: an answer that takes too long, or a client that takes none."""
        left: list[Connection | Stream] = [*self._connections, *self._streams]
        if left:
            log.warning("web.cut", connections=len(left))
        for connection in left:
            connection.cut()
