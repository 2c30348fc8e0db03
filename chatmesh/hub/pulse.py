"""What the hub does by the clock: keep-alives, and a look at the transcript on silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from chatmesh.broker import Connection
from chatmesh.hub.channel import Channel
from chatmesh.hub.hub import Hub
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
    """One timer for the whole hub, not one for each reader."""

    def __init__(self, hub: Hub, connection: Connection) -> None:
        self._hub = hub
        self._changed = asyncio.Event()
        self._is_draining = False
        self._connection = connection
        connection.on_change(self._changed.set)

    async def run(self, started: Callable[[], None]) -> None:
        started()
        next_keepalive = 0.0
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
            now = time.monotonic()
            self._check_tails(now)
            for channel in self._hub.channels():
                channel.expire_foreign(now)
            if now >= next_keepalive:
                next_keepalive = now + min(1.0, self._hub.settings.keepalive_seconds / 4)
                self._keep_alive(now)

    def drain(self) -> None:
        self._is_draining = True
        self._changed.set()

    def _check_tails(self, now: float) -> None:
        for channel in self._hub.quiet(now, _is_quiet):
            channel.touched = now
            channel.quiet_checks += 1
            metrics.tail_checks.inc()
            self._hub.mend(channel)

    def _keep_alive(self, now: float) -> None:
        settings = self._hub.settings
        for reader in list(self._hub.readers):
            sink = reader.sink
            if now - sink.last_write >= settings.keepalive_seconds and not sink.buffered:
                sink.write_nowait(sse.KEEPALIVE)


def _is_quiet(channel: Channel, now: float) -> bool:
    patience: float = min(SILENCE_SECONDS * 2**channel.quiet_checks, MAX_SILENCE_SECONDS)
    return now - channel.touched >= patience
