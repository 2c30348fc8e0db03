"""Fills holes and checks tails: reads the transcript behind what a channel's live readers have, and hands it to the
channel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from chatmesh.broker import Transcript
from chatmesh.errors import BrokerError
from chatmesh.hub.channel import Channel
from chatmesh.hub.deliveries import Deliveries
from chatmesh.kernel import Actor, Mailbox
from chatmesh.telemetry import get_logger, metrics

log = get_logger("hub")

PAGE_RECORDS = 64
READ_SECONDS = 2.0

AT_ONCE = 16
"""Looks side by side: after a reconnect every session is looked at, 0.3 ms each."""


class Mender(Actor[Channel]):
    """Its mailbox holds channels, each at most once. A look that fails is asked for again by the pulse."""

    def __init__(self, mailbox: Mailbox[Channel], transcript: Transcript, deliveries: Deliveries) -> None:
        super().__init__(mailbox)
        self._transcript = transcript
        self._deliveries = deliveries
        self._looks = asyncio.Semaphore(AT_ONCE)
        self._tasks = asyncio.TaskGroup()
        self._taken: set[Channel] = set()

    async def run(self, started: Callable[[], None]) -> None:
        self._looks = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await super().run(started)
        finally:
            # After a crash: a look that was cancelled before its first step has not said that it is over.
            for channel in self._taken:
                channel.is_mending = False
                channel.expect(time.monotonic())
            self._taken.clear()

    async def receive(self, message: Channel) -> None:
        self._taken.add(message)
        await self._looks.acquire()
        self._tasks.create_task(self._look(message), name="mender-look")

    async def _look(self, channel: Channel) -> None:
        try:
            await self._mend(channel)
        except BrokerError as error:
            channel.expect(time.monotonic())
            log.warning("hub.not_mended", session_id=channel.session_id, error=str(error))
        finally:
            channel.is_mending = False
            self._taken.discard(channel)
            self._looks.release()

    async def _mend(self, channel: Channel) -> None:
        seq = channel.last_seq + 1
        while channel.live:
            page = await self._transcript.page(
                channel.session_id, seq=seq, limit=PAGE_RECORDS, seconds=READ_SECONDS, floor=channel.floor
            )
            now = time.monotonic()
            for record in page.records:
                if not channel.live:
                    return  # the last live reader fell behind; it reads on by itself
                if channel.is_begun_anew(record):
                    channel.begin_anew(record, now)
                elif record.offset > channel.last + 1:
                    if not record.resets_all:
                        log.error(
                            "hub.gap_in_transcript", session_id=channel.session_id, offset=record.offset
                        )
                    channel.jump(record, now)
                else:
                    if record.offset == channel.last + 1:
                        metrics.gap_fills.inc()
                    channel.on_record(record, now)
                if record.final is not None:
                    self._deliveries.end(record, channel.readers)
            seq = page.next_seq
            if not page.more:
                return
