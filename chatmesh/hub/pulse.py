"""What the hub does by the clock: keep-alives, a look at the transcript on silence, an end for stalled readers."""

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

STALL_TICK_SECONDS = 1.0
"""Between looks at a reader for whom bytes wait."""

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
        epoch = self._hub.epoch
        while not self._is_draining:
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._changed.wait()
            if self._changed.is_set() and self._connection.is_connected:
                # Whatever was sent while we were away did not come.
                self._hub.mend_all()
            self._changed.clear()
            if epoch != self._hub.epoch:
                epoch = self._hub.epoch
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
            self._hub.rounds.add(reader, self._look_at_reader(reader, now))

    def _look_at_channel(self, channel: Channel, now: float) -> None:
        channel.expire_foreign(now)
        if not channel.is_waiting:
            self._hub.unwatch(channel)
        elif channel.is_active and channel.live and _is_quiet(channel, now):
            channel.touched = now
            channel.quiet_checks += 1
            metrics.tail_checks.inc()
            self._hub.mend(channel)

    def _look_at_reader(self, reader: Reader, now: float) -> float:
        """Keeps it alive, or ends it where it takes nothing. Returns when to look again."""
        settings, sink = self._hub.settings, reader.sink
        if sink.stalled_seconds(now) > settings.write_timeout_seconds:
            log.info("hub.reader_stalled", buffered=sink.buffered)
            sink.abort()
            reader.finish()
        elif now - sink.last_write >= settings.keepalive_seconds and not sink.buffered:
            sink.write_nowait(sse.KEEPALIVE)
        if sink.buffered:
            return now + min(STALL_TICK_SECONDS, settings.round_seconds / 4)
        return min(sink.last_write + settings.keepalive_seconds, now + settings.round_seconds)


def _is_quiet(channel: Channel, now: float) -> bool:
    patience: float = min(SILENCE_SECONDS * 2**channel.quiet_checks, MAX_SILENCE_SECONDS)
    return now - channel.touched >= patience
