"""Erases a session: a turn like any other, queued behind everything that was accepted before it.

    fence off whoever is left → a record that resets every reader → a tombstone over each message → dead letters → ack

A crash anywhere in between is harmless: the request comes back and does what is left. What a redelivery of an older
request could bring back is kept out by the mark, which outlives the queue.
"""

from __future__ import annotations

import asyncio
import time

from chatmesh.broker import Broker, Delivery, MessageState, PubAck
from chatmesh.errors import BrokerError
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.records import RecordHead
from chatmesh.protocol.timestamps import iso
from chatmesh.telemetry import get_logger
from chatmesh.workflow.claims import CLAIM_SECONDS, READ_SECONDS, Claimed, Claims
from chatmesh.workflow.ports import RoutesPort

log = get_logger("workflow")


class Eraser:
    """Carries out erase requests. Stateless."""

    def __init__(self, claims: Claims, broker: Broker, routes: RoutesPort) -> None:
        self._claims = claims
        self._broker = broker
        self._routes = routes

    async def erase(self, delivery: Delivery, request: WorkflowRequest, state: MessageState) -> bool:
        """False: somebody else was faster with the claim; try again."""
        session_id, erase_id = request.session_id, request.message_id
        transcript = self._broker.transcript
        # The pod that asked has marked it, or died before it could.
        if state.erasure is None or state.erasure.queue_seq < delivery.seq:
            await transcript.mark_erased(
                session_id, erase_id, delivery.seq, iso(time.time()), seconds=CLAIM_SECONDS
            )
        claimed = await self._claims.erase(request, state.claim)
        if claimed is None:
            return False
        if state.record is None:
            await self._reset_readers(request, delivery.seq, claimed)
        for message_id in await transcript.messages_before(session_id, claimed.token, seconds=READ_SECONDS):
            if message_id != erase_id:
                await transcript.bury(session_id, message_id, claimed.token, seconds=CLAIM_SECONDS)
        await self._broker.queue.forget_dead_letters(session_id, seconds=CLAIM_SECONDS)
        log.info("workflow.erased", session_id=session_id)
        return True

    async def _reset_readers(self, request: WorkflowRequest, queue_seq: int, claimed: Claimed) -> None:
        """A record, so that a reader who is away gets it too. In clear, since the session's key is destroyed."""
        session_id, erase_id, token = request.session_id, request.message_id, claimed.token
        head = RecordHead(
            session_id,
            erase_id,
            claimed.told.offset + 1,
            1,
            token,
            reset="session_erased",
            resets_all=True,
            queue_seq=queue_seq,
        )
        stored: asyncio.Future[PubAck | BrokerError] = asyncio.get_running_loop().create_future()
        await self._broker.transcript.append(
            session_id, erase_id, token, 0, head.encode([]), stored.set_result, seconds=CLAIM_SECONDS
        )
        result = await stored
        if isinstance(result, BrokerError):
            raise result
        self._routes.send(head, [], result.seq)
