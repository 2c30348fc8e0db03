"""The chunk batcher: one actor for the worker, flushing every lane in its turn.

Its mailbox holds lanes that have something to do, each at most once; so its bound is the number of lanes. Store before
show: a batch goes to the pods only after the transcript's acknowledgement, which also brings its position.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

from chatmesh.broker import PubAck, Transcript
from chatmesh.errors import BrokerError, CapacityError, ChatmeshError
from chatmesh.kernel import Actor, Mailbox, MailboxClosed
from chatmesh.protocol import jsontext
from chatmesh.protocol.records import RecordHead
from chatmesh.protocol.sealing import OVERHEAD_BYTES, DataKey
from chatmesh.protocol.tokens import Token
from chatmesh.relay.batching import Buffer
from chatmesh.relay.lane import Lane
from chatmesh.relay.router import Router
from chatmesh.relay.ticks import Ticks
from chatmesh.telemetry import get_logger, metrics

log = get_logger("relay")

STORE_SECONDS = 120.0
"""How long a batch is kept for a broker that is away: a restart takes 5 s, a new leader 6; after two minutes the lease
is long gone and another worker goes on from the transcript."""

HEAD_BYTES = 2048 + OVERHEAD_BYTES
"""What a record has around its chunks: ids, offset, token, the fixed part of the request; and what sealing adds."""


class Batcher(Actor[Lane]):
    """Takes due batches out of lanes, stores them, hands them to the router."""

    def __init__(
        self,
        mailbox: Mailbox[Lane],
        transcript: Transcript,
        router: Router,
        *,
        max_chunks: int,
        flush_seconds: float,
    ) -> None:
        super().__init__(mailbox)
        self._transcript = transcript
        self._router = router
        self._max_chunks = max_chunks
        self._ticks = Ticks(flush_seconds)

    def open(
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
        max_bytes: int,
    ) -> Lane:
        """A lane whose records begin at `offset` + 1, sealed with `key`. `max_bytes` is the broker's limit for one message."""
        room = max_bytes - HEAD_BYTES
        if request is not None:
            request, size = _fitting(request, room - max_bytes // 16)
            room -= size
        return Lane(
            session_id,
            message_id,
            token=token,
            attempt=attempt,
            offset=offset,
            request=request,
            is_foreign=is_foreign,
            traceparent=traceparent,
            key=key,
            buffer=Buffer(self._max_chunks, room),
            max_chunks=self._max_chunks,
            max_bytes=max_bytes,
            ticks=self._ticks,
            wake=self._wake,
        )

    def _wake(self, lane: Lane) -> None:
        # An acknowledgement may come after the drain; the record is stored, and its reader gets it from there.
        with suppress(MailboxClosed):
            self.mailbox.send_nowait(lane)

    async def receive(self, lane: Lane) -> None:
        lane.is_queued = False
        try:
            if lane.acknowledged is not None:
                self._on_acknowledged(lane)
            if lane.is_ready:
                await self._flush(lane)
        except CapacityError as error:
            lane.fail(error)
        except Exception:
            # The supervisor restarts this actor; this lane's generation must not wait for ever.
            lane.fail(ChatmeshError("the chunk batcher crashed on this answer"))
            raise

    async def _flush(self, lane: Lane) -> None:
        head, chunks = lane.take()
        body = head.encode(chunks)
        if head.request is not None and len(body) > lane.max_bytes:
            # A first chunk that can't be split is larger than what was left for it, or the request is that of a message
            # that waited: the end of what was asked goes, not the answer.
            head, body = _cut(head, chunks, len(body) - lane.max_bytes)
        await self._transcript.append(
            lane.session_id,
            head.message_id,
            lane.token,
            lane.batches,
            body,
            lane.on_acknowledged,
            seconds=STORE_SECONDS,
            traceparent=head.traceparent,
        )

    def _on_acknowledged(self, lane: Lane) -> None:
        result, lane.acknowledged = lane.acknowledged, None
        if isinstance(result, BrokerError):
            lane.fail(result)
        if not isinstance(result, PubAck) or lane.in_flight is None:
            return
        head, chunks = lane.in_flight
        metrics.batches.inc()
        metrics.chunks.inc(len(chunks))
        # What waits behind a foreign request may be anybody's; its own turn tells a foreign pod.
        is_foreign = lane.is_foreign and head.message_id == lane.message_id
        self._router.send(head, chunks, result.seq, is_foreign=is_foreign)
        lane.stored()


def _cut(head: RecordHead, chunks: list[bytes], excess: int) -> tuple[RecordHead, bytes]:
    """The record without so many bytes of its request, and as it is stored then."""
    request = head.request or {}
    request, _ = _fitting(request, len(jsontext.encode(request)) - excess)
    head = replace(head, request=request)
    return head, head.encode(chunks)


def _fitting(request: dict[str, Any], limit: int) -> tuple[dict[str, Any], int]:
    """The request as the first record keeps it, and its size: a text as large as the broker takes is cut, since a
    first chunk has to fit beside it."""
    size = len(jsontext.encode(request))
    if size > limit:
        text = str(request.get("message", ""))
        request = request | {"message": text[: max(0, len(text) - (size - limit))]}
        size = len(jsontext.encode(request))
    return request, size
