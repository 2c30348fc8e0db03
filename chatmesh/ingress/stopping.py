"""Stops a message, queued or running: stored before it is answered, so that no death can undo it."""

from __future__ import annotations

import time

from chatmesh.broker import RequestQueue, Transcript
from chatmesh.errors import BrokerError, CapacityError, PublishUnknownError, StorageFullError
from chatmesh.ingress.refusals import storage_full
from chatmesh.protocol.records import Stop
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger
from chatmesh.web import Problem

log = get_logger("ingress")

READ_SECONDS = 3.0
STORE_SECONDS = 5.0


class Stopping:
    """Stateless. Workers hear of the stop by the message that stores it."""

    def __init__(self, queue: RequestQueue, transcript: Transcript, *, queue_limit: int) -> None:
        self._queue = queue
        self._transcript = transcript
        self._queue_limit = queue_limit

    async def stop(self, session_id: Token, message_id: Token) -> bool:
        """True: the stop is stored. False: the message has ended already. Raises Problem 404 `unknown_message`, 503
        `broker_away` or `storage_full`, 504 `stop_unknown`."""
        try:
            state = await self._transcript.state(session_id, message_id, seconds=READ_SECONDS)
            shown = state.shown
            if shown is not None and shown.final is not None:
                return False
            if shown is None and not await self._is_queued(session_id, message_id):
                raise Problem(404, "unknown_message", "This session has no such message.")
            await self.store(session_id, message_id)
        except PublishUnknownError as error:
            raise Problem(504, "stop_unknown", "The stop may not have been stored; repeat it.") from error
        except StorageFullError as error:
            raise storage_full("The stop was not stored: the transcript is full.") from error
        except (BrokerError, CapacityError) as error:
            raise Problem(503, "broker_away", "The stop was not stored.", retry_after_seconds=2) from error
        return True

    async def interrupt(self, session_id: Token, newest: Token) -> None:
        """Stops what the session does and has waiting, but for the message `newest`, which was accepted already."""
        try:
            for entry in await self._queued(session_id):
                if entry == newest:
                    return
                await self.store(session_id, entry)
        except (BrokerError, CapacityError) as error:
            # The message itself is accepted, and waits as it would with `queue`.
            log.warning("ingress.not_interrupted", session_id=session_id, error=str(error))

    async def _is_queued(self, session_id: Token, message_id: Token) -> bool:
        return message_id in await self._queued(session_id)

    async def _queued(self, session_id: Token) -> list[Token]:
        return await self._queue.queued_ids(session_id, limit=self._queue_limit + 1, seconds=READ_SECONDS)

    async def store(self, session_id: Token, message_id: Token) -> None:
        """Writes the stop, whatever the message's state. Raises BrokerError, CapacityError."""
        body = Stop().encode(session_id, message_id, iso(time.time()))
        await self._transcript.stop(session_id, message_id, body, seconds=STORE_SECONDS)
        log.info("ingress.stopped", session_id=session_id, message_id=message_id)

    async def store_erasing(self, session_id: Token, erase_id: Token, queue_seq: int) -> None:
        """Whatever runs in front of the erase request, which stands at `queue_seq`, is to end now. Not by its own id, which
        a message that is accepted behind the request may have too. Raises like `store`."""
        body = Stop(queue_seq).encode(session_id, erase_id, iso(time.time()))
        await self._transcript.stop(session_id, erase_id, body, seconds=STORE_SECONDS)
