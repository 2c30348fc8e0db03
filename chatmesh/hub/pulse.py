"""What the hub does by the clock: keep-alives, and a look at the transcript on silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from chatmesh.broker import Connection
from chatmesh.hub.channel import Channel
from chatmesh.hub.hub import Hub
from chatmesh.hub.reader import Reader
from chatmesh.kernel import Service
from chatmesh.protocol import sse
from chatmesh.telemetry import get_logger, metrics

log = get_logger("hub")

TICK_SECONDS = 0.25

SILENCE_SECONDS = 1.0
MAX_SILENCE_SECONDS = 5.0
"""A live batch can be lost, the last one too. After a second of silence in an unfinished answer the transcript is asked,
then ever more rarely: a model may think for minutes."""


class Pulse(Service):
    """One timer for the whole hub, not one for each reader. A tick costs as much as waits or is due: readers of sessions in
    which nothing happens cost nothing but their keep-alives."""

    def __init__(self, hub: Hub, connection: Connection) -> None:
        self._hub = hub
        self._changed = asyncio.Event()
        self._is_draining = False
        self._connection = connection
        connection.on_change(self._changed.set)

    async def run(self, started: Callable[[], None]) -> None:
        started()
        generation = self._hub.generation
        while not self._is_draining:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._changed.wait()
            if self._changed.is_set() and self._connection.is_connected:
                # Whatever was sent while we were away did not come.
                self._hub.mend_all()
            self._changed.clear()
            if generation != self._hub.generation:
                generation = self._hub.generation
                log.warning("hub.epoch_changed", readers=len(self._hub.readers))
                self._hub.begin_epoch()
            self._look_around(time.monotonic())

    def drain(self) -> None:
        self._is_draining = True
        self._changed.set()

    def _look_around(self, now: float) -> None:
        for channel in self._hub.watched():
            self._look_at_channel(channel, now)
        for reader in self._hub.rounds.due(now):
            self._hub.rounds.add(reader, self._keep_alive(reader, now))

    def _look_at_channel(self, channel: Channel, now: float) -> None:
        channel.expire_foreign(now)
        if not channel.is_waiting:
            self._hub.unwatch(channel)
        elif channel.is_active and channel.live and _is_quiet(channel, now):
            channel.touched = now
            channel.quiet_checks += 1
            metrics.tail_checks.inc()
            self._hub.mend(channel)

    def _keep_alive(self, reader: Reader, now: float) -> float:
        """Returns when to look again."""
        keepalive_seconds, sink = self._hub.settings.keepalive_seconds, reader.sink
        if now - sink.last_write >= keepalive_seconds and not sink.buffered:
            sink.write_nowait(sse.KEEPALIVE)
        return max(sink.last_write + keepalive_seconds, now + TICK_SECONDS)


def _is_quiet(channel: Channel, now: float) -> bool:
    patience: float = min(SILENCE_SECONDS * 2**channel.quiet_checks, MAX_SILENCE_SECONDS)
    return now - channel.touched >= patience
