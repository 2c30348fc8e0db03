"""The way of one generation's chunks from the provider to the transcript: a state, changed only on the event loop.

The generation writes and waits for room; the batcher takes batches out and brings acknowledgements back. At most one
record of a session is under way at a time: with three servers a second one could be refused for the first one's sake.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from chatmesh.broker import PubAck
from chatmesh.errors import BrokerError, ChatmeshError
from chatmesh.protocol.records import RecordHead
from chatmesh.protocol.sealing import DataKey
from chatmesh.protocol.tokens import Token
from chatmesh.relay.batching import Buffer, Encode
from chatmesh.relay.ticks import Ticks

ROOM_BATCHES = 2
"""How far a provider may run ahead of the broker, in full batches, before it has to wait."""


class Lane:
    """One generation's chunks under the claim `token`. `wake` tells the batcher that there is something to do."""

    def __init__(
        self,
        session_id: Token,
        message_id: Token,
        *,
        token: int,
        attempt: int,
        offset: int,
        request: dict[str, Any] | None,
        is_foreign: bool,
        traceparent: str = "",
        key: DataKey | None = None,
        buffer: Buffer,
        max_chunks: int,
        max_bytes: int,
        ticks: Ticks,
        wake: Callable[[Lane], None],
    ) -> None:
        self.session_id = session_id
        self.message_id = message_id
        self.token = token
        self.attempt = attempt
        self.offset = offset
        self.request = request
        self.is_foreign = is_foreign
        self._traceparent = traceparent
        self._key = key
        self.max_bytes = max_bytes
        """The broker's limit for one message."""
        self.batches = 0
        self.is_queued = False
        self.in_flight: tuple[RecordHead, list[bytes]] | None = None
        self.acknowledged: PubAck | BrokerError | None = None
        self._buffer = buffer
        self._max_waiting = ROOM_BATCHES * max_chunks
        self._ticks = ticks
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._leaves_at: float | None = None  # the tick that is waited for
        self._inserted: deque[tuple[Token, bytes, dict[str, Any], str, DataKey | None]] = deque()
        self._ended_others: set[Token] = set()
        self._reset: str | None = None
        self.is_ended = False
        """Its final chunk was written."""
        self._failure: ChatmeshError | None = None
        self._waiter: asyncio.Future[None] | None = None

    # --- the generation's side -------------------------------------------------------------------------------------

    def write(self, chunk: bytes, *, urgent: bool = False) -> bool:
        """Takes an encoded chunk, behind `settle`. Unbounded by itself: where it returns False, `wait_room` before the next
        one."""
        return self._added(self._buffer.add(chunk, urgent=urgent))

    def encode_by(self, encode: Encode | None) -> None:
        """What makes chunks of what is said from now on; None: nothing more is said."""
        self._buffer.encode = encode

    def say(self, text: str, unix_seconds: float) -> bool:
        """Takes a token, which becomes a chunk when its batch leaves. Otherwise like `write`."""
        return self._added(self._buffer.draft(text, unix_seconds))

    def settle(self) -> None:
        """What was said becomes chunks: before any other one is encoded."""
        self._buffer.settle()

    def _added(self, count: int) -> bool:
        if self._buffer.is_due:
            if not self.is_queued:
                self._touch()
        elif count == 1:
            self._leaves_at = self._ticks.expect(self._on_tick)
        return count < self._max_waiting and self._failure is None

    def reset(self, reason: str) -> None:
        """What earlier attempts have shown is void: said with the next chunk, so that readers have it in one step."""
        self._reset = reason

    def flush(self) -> None:
        """What was written does not wait any longer."""
        self._buffer.expire()
        if self._buffer.is_due:
            self._touch()

    def write_final(self, chunk: bytes) -> None:
        """The last chunk of this message."""
        self.is_ended = True
        self.write(chunk, urgent=True)

    def insert_final(
        self,
        message_id: Token,
        chunk: bytes,
        request: dict[str, Any],
        traceparent: str = "",
        key: DataKey | None = None,
    ) -> bool:
        """The whole answer, a final chunk, of another message of the session: one that was stopped in the queue. It
        gets a record of its own between ours, once. False: it has one, or this message has ended, so the other's own turn
        is near."""
        if self.is_ended or self._failure is not None or message_id in self._ended_others:
            return False
        self._ended_others.add(message_id)
        self._inserted.append((message_id, chunk, request, traceparent, key))
        self._touch()
        return True

    @property
    def has_room(self) -> bool:
        return len(self._buffer) < self._max_waiting and self._failure is None

    async def wait_room(self) -> None:
        """Returns when the provider may go on. Raises what ended this lane: FencedError where another worker has the
        session, PublishUnknownError where the broker stayed away."""
        while not self.has_room:
            await self._wait()

    async def wait_stored(self) -> None:
        """Returns when every chunk is stored and sent on. Raises like `wait_room`."""
        while len(self._buffer) or self._inserted or self.in_flight is not None:
            await self._wait()
        self.check()

    def check(self) -> None:
        """Raises what ended this lane, if anything did."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """The generation is over, whatever became of it: nothing of this lane is written any more but what is under
        way."""
        self._leaves_at = None
        self._failure = self._failure or ChatmeshError("the lane is closed")

    async def _wait(self) -> None:
        self.check()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # --- the batcher's side ----------------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """A batch is due and none is under way."""
        is_due = self._buffer.is_due or bool(self._inserted)
        return self.in_flight is None and self._failure is None and is_due

    def take(self) -> tuple[RecordHead, list[bytes]]:
        """The next record, which is under way from now on."""
        if self._inserted:
            message_id, chunk, request, traceparent, key = self._inserted.popleft()
            head = RecordHead(
                self.session_id,
                message_id,
                self.offset + 1,
                1,
                self.token,
                request=request,
                traceparent=traceparent,
                key=key,
            )
            self.in_flight = (head, [chunk])
            return self.in_flight
        self._leaves_at = None
        head = RecordHead(
            self.session_id,
            self.message_id,
            self.offset + 1,
            self.attempt,
            self.token,
            request=self.request,
            reset=self._reset,
            traceparent=self._traceparent,
            key=self._key,
        )
        self._reset = None
        self.in_flight = (head, self._buffer.take())
        if len(self._buffer) and not self._buffer.is_due:
            self._leaves_at = self._ticks.expect(self._on_tick)
        return self.in_flight

    def on_acknowledged(self, result: PubAck | BrokerError) -> None:
        """From the replies' actor: only noted here, handled by the batcher."""
        self.acknowledged = result
        self._touch()

    def stored(self) -> None:
        """The record under way is stored and sent on."""
        if self.in_flight is not None and self.in_flight[0].message_id == self.message_id:
            self.request = None
        self.in_flight = None
        self.offset += 1
        self.batches += 1
        self._release()

    def fail(self, error: ChatmeshError) -> None:
        """Nothing more can be stored; whoever waits hears why."""
        self.in_flight = None
        self._failure = self._failure or error
        self._release()

    def _release(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _on_tick(self, at: float) -> None:
        if at == self._leaves_at:
            self._leaves_at = None
            self._buffer.expire()
            self._touch()

    def _touch(self) -> None:
        if not self.is_queued:
            self.is_queued = True
            self._wake(self)
