"""Reads a session back: pages of rows, and single messages."""

from __future__ import annotations

from typing import Any

from chatmesh.broker import HeldClaim, Queued, RequestQueue, Transcript
from chatmesh.errors import BrokerError
from chatmesh.ingress.conversation import Turn, turns, waiting
from chatmesh.kernel.together import together
from chatmesh.protocol.positions import Position, Scope
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from chatmesh.web import Problem

READ_SECONDS = 5.0
PAGE_RECORDS = 256


class History:
    """Stateless. Raises Problem 404 `unknown_session`, `unknown_message`, 422 `unknown_cursor`, 503 `broker_away`."""

    def __init__(self, queue: RequestQueue, transcript: Transcript, *, queue_limit: int) -> None:
        self._queue = queue
        self._transcript = transcript
        self._queue_limit = queue_limit

    async def page(self, session_id: Token, *, limit: int, after: str | None) -> dict[str, Any]:
        """`limit` messages (each of two rows) behind the cursor `after`, oldest first. `position` is where an events
        stream goes on without a gap behind what this page shows."""
        try:
            return await self._page(session_id, limit, after)
        except BrokerError as error:
            raise _away() from error

    async def message(self, session_id: Token, message_id: Token) -> dict[str, Any]:
        """One message: its state and full text."""
        try:
            turn = await self._message(session_id, message_id)
        except BrokerError as error:
            raise _away() from error
        if turn is None:
            raise Problem(404, "unknown_message", "This session has no such message.")
        row = turn.assistant_row()
        return row | {"session_id": session_id, "message": turn.asked.get("message", "")}

    async def _page(self, session_id: Token, limit: int, after: str | None) -> dict[str, Any]:
        scope = Scope(self._transcript.epoch, session_id)
        seq = 1 if after is None else _read_cursor(scope, after)
        # The queue before the transcript: a message that begins in between is in both, and none is in neither.
        queued = await self._queue.queued(session_id, limit=self._queue_limit + 1, seconds=READ_SECONDS)
        held, (records, next_seq) = await together(
            self._transcript.last_claim(session_id, seconds=READ_SECONDS),
            self._records(session_id, seq, limit),
        )
        if held is None and not queued:
            raise Problem(404, "unknown_session", "Nobody has said anything in this session.")
        found = turns(records)
        shown = found[:limit]
        is_last_page = next_seq is None
        if is_last_page:
            shown += self._waiting({turn.message_id for turn in found}, queued, held)[: limit - len(shown)]
        return {
            "messages": [row for turn in shown for row in turn.rows()],
            "position": _position(scope, records, held),
            "next": None
            if next_seq is None
            else scope.write(records[-1].offset, records[-1].events, next_seq - 1),
        }

    async def _records(self, session_id: Token, seq: int, limit: int) -> tuple[list[Record], int | None]:
        """The records of `limit` messages from `seq` on, whole messages only; and where the next page begins, or None
        where this is the last one."""
        records: list[Record] = []
        seen: list[Token] = []
        while True:
            page = await self._transcript.page(session_id, seq=seq, limit=PAGE_RECORDS, seconds=READ_SECONDS)
            for record in page.records:
                if record.message_id not in seen:
                    if len(seen) == limit:
                        return records, record.seq
                    seen.append(record.message_id)
                records.append(record)
            if not page.more:
                return records, None
            seq = page.next_seq

    def _waiting(self, told: set[Token], queued: list[Queued], held: HeldClaim | None) -> list[Turn]:
        claimed = held.claim.message_id if held is not None else None
        return [
            waiting(entry.request, is_claimed=entry.request.message_id == claimed)
            for entry in queued
            if entry.request.message_id not in told
        ]

    async def _message(self, session_id: Token, message_id: Token) -> Turn | None:
        queued, held = await together(
            self._queue.queued(session_id, limit=self._queue_limit + 1, seconds=READ_SECONDS),
            self._transcript.last_claim(session_id, seconds=READ_SECONDS),
        )
        records: list[Record] = []
        seq, more = 1, True
        while more:
            page = await self._transcript.page(
                session_id, message_id=message_id, seq=seq, limit=PAGE_RECORDS, seconds=READ_SECONDS
            )
            records += page.records
            seq, more = page.next_seq, page.more
        if records:
            return turns(records)[0]
        found = [turn for turn in self._waiting(set(), queued, held) if turn.message_id == message_id]
        return found[0] if found else None


def _position(scope: Scope, records: list[Record], held: HeldClaim | None) -> str:
    """Behind the last record shown; before the first one where there is none."""
    if records:
        last = records[-1]
        return scope.write(last.offset, last.events, last.seq)
    if held is not None:
        return scope.text(Position(held.claim.base, 0, held.first))
    return scope.write(0, 0, 0)


def _read_cursor(scope: Scope, text: str) -> int:
    position = scope.read(text)
    if position is None:
        raise Problem(422, "unknown_cursor", "`after` must be a `next` that this session's history gave.")
    return position.seq + 1


def _away() -> Problem:
    return Problem(503, "broker_away", "The transcript can't be read: NATS is away.", retry_after_seconds=2)
