"""Stops: heard as they are stored, remembered for a while, and looked for again after anything that may have cost one.

A turn reads its message's stop before it begins, or behind its first token, so a stop survives every death; what is here makes
it quick. One that is stored between that read and the answer's beginning was heard: it is remembered.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from chatmesh.broker import Broker, Listener, Msg
from chatmesh.errors import BrokerError
from chatmesh.kernel import Service
from chatmesh.protocol import subjects
from chatmesh.protocol.encoder import ChunkEncoder
from chatmesh.protocol.records import Stop, asked
from chatmesh.protocol.spend import Spend
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger
from chatmesh.workflow.running import End, Generations, Running

log = get_logger("workflow")

CAPACITY = 4096
"""Stops are rare: people press a button. What does not fit is found by the sweep."""

READ_SECONDS = 5.0
QUEUE_LIMIT = 1024

KEPT_SECONDS = 30.0
"""How long a stop is remembered, and how long it is not known whether all were heard: longer than from a turn's reads to the
answer's beginning."""

MAX_KEPT = 4096
"""So many stops in half a minute: 130 a second."""

CLOCKS_SECONDS = 1.0
"""How far the clocks of a broker and a worker are apart, at most, for a request to be taken on before its stop was looked for."""

LOOK_SECONDS = 0.01
"""When an answer that began is looked at: behind its first token, which the look would make 0.3 ms later."""


class StopListener(Listener):
    """Hears every stop of the mesh; acts on those of sessions that are answered here."""

    def __init__(
        self, broker: Broker, generations: Generations, sweep: StopSweep, *, default_model: str
    ) -> None:
        super().__init__(broker.connection, capacity=CAPACITY)
        self._has_moved = False
        broker.layout.on_change(self._move)
        self._broker = broker
        self._generations = generations
        self._sweep = sweep
        self._default_model = default_model

    def subject(self) -> str:
        return self._broker.homes.published(subjects.STOP_ALL)

    async def run(self, started: Callable[[], None]) -> None:
        await super().run(started)
        while self._has_moved:
            self._has_moved = False
            # Behind the new subscription, since a stop may have come before it.
            await super().run(self._sweep.wake)

    def _move(self) -> None:
        """Stops are published elsewhere now."""
        self._has_moved = not self._is_draining
        if self._inbox is not None:
            self._inbox.close()

    async def on_subscribed(self) -> None:
        self._sweep.recent.listens()

    def on_loss(self) -> None:
        self._sweep.wake()

    async def on_message(self, message: Msg) -> None:
        parts = subjects.stored(message.subject).split(".")
        session_id, message_id = Token(parts[2]), Token(parts[4])
        running = self._generations.of(session_id)
        if queue_seq := Stop.decode(message.data).queue_seq:
            # The session is being erased. What waits in front of that is dropped by its own turn.
            self._sweep.recent.note_erased(session_id, queue_seq)
            if running is not None and running.seq < queue_seq:
                running.end(End.STOPPED)
            return
        self._sweep.recent.note(session_id, message_id)
        if running is None:
            return
        if running.message_id == message_id:
            running.end(End.STOPPED)
        else:
            await self._end_queued(running, message_id)

    async def _end_queued(self, running: Running, message_id: Token) -> None:
        """A message that waits behind ours is ended here and now, since its own turn may be minutes away. It stays in the queue
        until then, and its stop is heard as often as somebody asks for it."""
        try:
            last = await self._broker.transcript.last_record(
                running.session_id, message_id, seconds=READ_SECONDS
            )
            if last is not None and last.final is not None:
                return
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


class RecentStops:
    """Those that were heard lately, whoever answers. `is_certain`: none was missed, as far as they are remembered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: OrderedDict[tuple[Token, Token | None], tuple[float, int]] = OrderedDict()
        """With when it was heard. No message: all of the session in front of that sequence of the queue."""
        self._certain_from = float("inf")
        self._heard_from = float("inf")

    def listens(self) -> None:
        """From now on all are heard. What was read before the first time was read for nobody."""
        self._certain_from = 0.0 if self._certain_from == float("inf") else self._clock() + KEPT_SECONDS
        self._heard_from = self._clock()

    def doubt(self) -> None:
        """Some may have been missed."""
        if self._certain_from != float("inf"):
            self._certain_from = self._clock() + KEPT_SECONDS
            self._heard_from = self._clock()

    @property
    def heard_seconds(self) -> float:
        """For how long all of them have been heard; negative where nobody listens yet."""
        return min(self._clock() - self._heard_from, KEPT_SECONDS)

    @property
    def is_certain(self) -> bool:
        return self._clock() >= self._certain_from

    def note(self, session_id: Token, message_id: Token) -> None:
        self._note((session_id, message_id), 0)

    def note_erased(self, session_id: Token, queue_seq: int) -> None:
        """All that was accepted for the session before that sequence of the work queue is stopped."""
        self._note((session_id, None), max(queue_seq, self._erased_to(session_id)))

    def _note(self, what: tuple[Token, Token | None], queue_seq: int) -> None:
        now = self._clock()
        self._heard[what] = (now, queue_seq)
        self._heard.move_to_end(what)
        while (heard_at := next(iter(self._heard.values()))[0]) < now - KEPT_SECONDS or len(
            self._heard
        ) > MAX_KEPT:
            if heard_at >= now - KEPT_SECONDS:
                self.doubt()
            self._heard.popitem(last=False)

    def knows(self, session_id: Token, message_id: Token) -> bool:
        """Whether it was stopped."""
        return (session_id, message_id) in self._heard

    def knows_erased(self, session_id: Token, seq: int) -> bool:
        """Whether the session was erased behind what was accepted there."""
        return seq < self._erased_to(session_id)

    def _erased_to(self, session_id: Token) -> int:
        return self._heard.get((session_id, None), (0.0, 0))[1]


class StopSweep(Service):
    """Whether an answer was stopped while nobody could hear: each one that begins in doubt, all of them after a reconnect."""

    def __init__(self, broker: Broker, generations: Generations) -> None:
        self.recent = RecentStops()
        self._broker = broker
        self._generations = generations
        self._changed = asyncio.Event()
        self._is_draining = False
        broker.connection.on_change(self.wake)

    def wake(self) -> None:
        """Something may have been missed."""
        self.recent.doubt()
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

    def would_know(self, stored_at: float) -> bool:
        """Whether a stop of a message that was stored then, in Unix seconds by the broker's clock, would have been heard. By
        clocks, so it is not to be relied upon: a look has to follow."""
        age = time.time() - stored_at
        return abs(age) <= CLOCKS_SECONDS and self.recent.heard_seconds >= age + CLOCKS_SECONDS

    def recall(self, running: Running, *, is_read: bool, was_erased: bool) -> bool:
        """Ends an answer that begins where its stop was heard. False: none was, and one may be stored all the same, so it is
        to be looked at. `is_read`: its turn has looked already. `was_erased`: the session has had a life before, of which
        the stop may be that was heard of a message of this id."""
        session_id = running.session_id
        if not was_erased and self.recent.knows(session_id, running.message_id):
            running.end(End.STOPPED)
            return True
        return is_read and not was_erased and self.recent.is_certain

    async def look_soon(self, running: Running, token: int) -> None:
        """Once, for an answer that has just begun."""
        await asyncio.sleep(LOOK_SECONDS)
        await self.look(running, token)

    async def look(self, running: Running, token: int = 0) -> None:
        """Ends it where a stop is stored, or its session was erased. `token`: of its claim; stops of before are then seen for certain."""
        try:
            state = await self._broker.transcript.state(
                running.session_id, running.message_id, seconds=READ_SECONDS, token=token
            )
        except BrokerError as error:
            log.warning("workflow.stops_unread", session_id=running.session_id, error=str(error))
            return
        if state.ends(running.seq):
            running.end(End.STOPPED)
