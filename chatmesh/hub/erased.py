"""Whether the one message that a reader waits for was erased with its session.

Hearing of an erasure is not enough: the message may have been accepted behind it, and then it is answered as any other. Only
the queue and the transcript tell, and they are asked only then.
"""

from __future__ import annotations

import asyncio
import time

from chatmesh.broker import MessageState, RequestQueue, Transcript
from chatmesh.protocol.tokens import Token

READ_SECONDS = 5.0
QUEUE_LIMIT = 1024

LAG_SECONDS = 0.25
"""By then a server has what the others have acknowledged."""


class Erased:
    """Stateless."""

    def __init__(self, queue: RequestQueue, transcript: Transcript) -> None:
        self._queue = queue
        self._transcript = transcript

    async def is_gone(self, session_id: Token, message_id: Token, *, since: int, heard: int = 0) -> bool:
        """Whether nobody will answer it, since the session was erased by a request behind `since` in the work queue. `heard`:
        where that stands, if it is known. Raises BrokerError."""
        if self._transcript.is_replicated:
            await asyncio.sleep(LAG_SECONDS)
        # The queue before the transcript: a message that begins in between is in both, and none is in neither.
        if message_id in await self._queue.queued_ids(session_id, limit=QUEUE_LIMIT, seconds=READ_SECONDS):
            return False
        state = await self._state(session_id, message_id, heard)
        erased = max(heard, _queue_seq(state))
        is_answered = state.shown is not None or _is_claimed(state, message_id)
        return erased > since and not is_answered

    async def _state(self, session_id: Token, message_id: Token, heard: int) -> MessageState:
        """With the mark of the erasure that was heard of. Where it does not come it has expired, or another's came behind it."""
        deadline = time.monotonic() + READ_SECONDS
        while True:
            state = await self._transcript.state(session_id, message_id, seconds=READ_SECONDS)
            may_lag = self._transcript.is_replicated and time.monotonic() < deadline
            if _queue_seq(state) >= heard or not may_lag:
                return state
            await asyncio.sleep(LAG_SECONDS)


def _queue_seq(state: MessageState) -> int:
    return state.erasure.queue_seq if state.erasure is not None else 0


def _is_claimed(state: MessageState, message_id: Token) -> bool:
    """Behind the erasure."""
    held, floor = state.claim, state.erasure.seq if state.erasure is not None else 0
    if held is None or held.claim.erases:
        return False
    return held.claim.message_id == message_id and held.token > floor
