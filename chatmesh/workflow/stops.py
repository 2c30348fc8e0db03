"""Stops: heard as they are stored, and looked for again after anything that may have cost one.

A turn reads its message's stop before it begins, so a stop survives every death; what is here makes it quick.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from chatmesh.broker import Broker, Listener, Msg
from chatmesh.errors import BrokerError
from chatmesh.kernel import Service
from chatmesh.protocol import subjects
from chatmesh.protocol.encoder import ChunkEncoder
from chatmesh.protocol.records import asked
from chatmesh.protocol.spend import Spend
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger
from chatmesh.workflow.running import End, Generations, Running

log = get_logger("workflow")

CAPACITY = 4096
"""Stops are rare: people press a button. What does not fit is found by the sweep."""

READ_SECONDS = 5.0
QUEUE_LIMIT = 1024


class StopListener(Listener):
    """Hears every stop of the mesh; acts on those of sessions that are answered here."""

    def __init__(
        self, broker: Broker, generations: Generations, sweep: StopSweep, *, default_model: str
    ) -> None:
        super().__init__(broker.connection, capacity=CAPACITY)
        self._broker = broker
        self._generations = generations
        self._sweep = sweep
        self._default_model = default_model

    def subject(self) -> str:
        return subjects.STOP_ALL

    def on_loss(self) -> None:
        self._sweep.wake()

    async def on_message(self, message: Msg) -> None:
        parts = message.subject.split(".")
        session_id, message_id = Token(parts[2]), Token(parts[4])
        running = self._generations.of(session_id)
        if running is None:
            return
        if running.message_id == message_id:
            running.end(End.STOPPED)
        else:
            await self._end_queued(running, message_id)

    async def _end_queued(self, running: Running, message_id: Token) -> None:
        """A message that waits behind ours is ended here and now, since its own turn may be minutes away."""
        try:
            queued = await self._broker.queue.queued(
                running.session_id, limit=QUEUE_LIMIT, seconds=READ_SECONDS
            )
        except BrokerError as error:
            # Its own turn will find the stop.
            log.warning("workflow.stop_deferred", session_id=running.session_id, error=str(error))
            return
        for entry in queued:
            if entry.request.message_id == message_id:
                encoder = ChunkEncoder(
                    running.session_id,
                    message_id,
                    entry.request.correlation_id,
                    model=entry.request.model or self._default_model,
                    attempt=1,
                    max_text=1,
                )
                final = encoder.final("cancelled", time.time(), Spend(entry.request.user_id))
                running.lane.insert_final(
                    message_id, final, asked(entry.request), entry.traceparent, entry.key
                )
                return


class StopSweep(Service):
    """Whether an answer was stopped while nobody could hear: each one as it begins, all of them after a reconnect."""

    def __init__(self, broker: Broker, generations: Generations) -> None:
        self._broker = broker
        self._generations = generations
        self._changed = asyncio.Event()
        self._is_draining = False
        broker.connection.on_change(self.wake)

    def wake(self) -> None:
        self._changed.set()

    async def run(self, started: Callable[[], None]) -> None:
        started()
        while not self._is_draining:
            await self._changed.wait()
            self._changed.clear()
            if self._broker.connection.is_connected:
                for running in self._generations.all():
                    await self.look(running)

    def drain(self) -> None:
        self._is_draining = True
        self._changed.set()

    async def look(self, running: Running, token: int = 0) -> None:
        """Ends it where a stop is stored. `token`: of its claim; stops of before are then seen for certain."""
        try:
            state = await self._broker.transcript.state(
                running.session_id, running.message_id, seconds=READ_SECONDS, token=token
            )
        except BrokerError as error:
            log.warning("workflow.stops_unread", session_id=running.session_id, error=str(error))
            return
        if state.is_stopped:
            running.end(End.STOPPED)
