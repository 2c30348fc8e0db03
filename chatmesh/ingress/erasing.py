"""Erases a session: from the answer on nobody reads it, and a worker removes what is stored."""

from __future__ import annotations

import secrets
import time

from chatmesh.broker import Ownership, RequestQueue, Transcript
from chatmesh.errors import BrokerError, CapacityError, PublishUnknownError, StorageFullError
from chatmesh.ingress.refusals import storage_full
from chatmesh.ingress.stopping import Stopping
from chatmesh.kernel.together import together
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger
from chatmesh.web import Problem

log = get_logger("ingress")

READ_SECONDS = 3.0
STORE_SECONDS = 5.0


class Erasing:
    """Stateless. The order matters: the request first, so that a mark is never left without its work."""

    def __init__(
        self,
        queue: RequestQueue,
        transcript: Transcript,
        stopping: Stopping,
        ownership: Ownership,
        *,
        queue_limit: int,
    ) -> None:
        self._ownership = ownership
        self._queue = queue
        self._transcript = transcript
        self._stopping = stopping
        self._queue_limit = queue_limit

    async def erase(self, session_id: Token) -> None:
        """Returns once reads are 404. Raises Problem 404 `unknown_session`, 503 `broker_away` or
        `storage_full`, 504 `erase_unknown`."""
        try:
            await self._erase(session_id)
        except PublishUnknownError as error:
            raise Problem(504, "erase_unknown", "It may not have been erased; repeat it.") from error
        except StorageFullError as error:
            raise storage_full("Nothing was erased: the storage is full.") from error
        except (BrokerError, CapacityError) as error:
            raise Problem(503, "broker_away", "Nothing was erased.", retry_after_seconds=2) from error

    async def _erase(self, session_id: Token) -> None:
        state, queued, card = await together(
            self._transcript.session(session_id, seconds=READ_SECONDS),
            self._queue.queued_ids(session_id, limit=self._queue_limit + 1, seconds=READ_SECONDS),
            self._ownership.card(session_id),
        )
        if state.claim is None and not queued and card is not None:
            # Nothing was said yet, or it was erased but for this.
            await self._ownership.forget(session_id, card)
            return
        if state.claim is None and not queued:
            raise Problem(404, "unknown_session", "Nobody has said anything in this session.")
        erase_id = Token(f"erase_{secrets.token_hex(8)}")
        now = iso(time.time())
        request = WorkflowRequest(erase_id, session_id, "", "", {}, now, erase_id)
        ack = await self._queue.submit_erase(session_id, erase_id, request.encode(), seconds=STORE_SECONDS)
        try:
            # Before the mark: whoever claims behind that has heard that there is nothing to be answered.
            await self._stopping.store_erasing(session_id, erase_id, ack.seq)
            await self._transcript.mark_erased(session_id, erase_id, ack.seq, now, seconds=STORE_SECONDS)
            if card is not None:
                # Behind the mark: whoever begins the session now sees nothing of what was.
                await self._ownership.forget(session_id, card)
        except BrokerError as error:
            # The request is stored, so a worker will erase the session; only its reads are not 404 yet.
            raise PublishUnknownError("the session is not marked as erased yet", where=session_id) from error
        log.info("ingress.erased", session_id=session_id)
