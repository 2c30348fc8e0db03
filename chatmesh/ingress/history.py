"""Reads a session back: pages of rows, and single messages."""

from __future__ import annotations

from chatmesh.broker import HeldClaim, Queued, RequestQueue, Sessions, SessionState, Transcript
from chatmesh.errors import BrokerError
from chatmesh.ingress.answers import MessagePage, OneMessage, SessionPage
from chatmesh.ingress.conversation import assistant_row, rows, waiting
from chatmesh.ingress.refusals import unreadable
from chatmesh.kernel.together import together
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.exchanges import Exchange, exchanges
from chatmesh.protocol.positions import START, Position, Scope
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from chatmesh.web import Problem

READ_SECONDS = 5.0
PAGE_RECORDS = 256


class History:
    """Stateless. Raises Problem 404 `unknown_session`, `unknown_message`, 422 `unknown_cursor`, 503 `broker_away`."""

    def __init__(
        self, queue: RequestQueue, transcript: Transcript, sessions: Sessions, *, queue_limit: int
    ) -> None:
        self._queue = queue
        self._sessions = sessions
        self._transcript = transcript
        self._queue_limit = queue_limit

    async def page(self, session_id: Token, *, limit: int, after: str | None) -> MessagePage:
        """`limit` messages (each of two rows) behind the cursor `after`, oldest first. `position` is where an events
        stream goes on without a gap behind what this page shows."""
        try:
            return await self._page(session_id, limit, after)
        except BrokerError as error:
            raise unreadable(error) from error

    async def sessions(self, caller: Caller, *, limit: int, after: str) -> SessionPage:
        """`limit` of the caller's sessions behind the id `after`, in the order of their ids."""
        try:
            rows, following = await self._sessions.page(
                caller, after=after, limit=limit, seconds=READ_SECONDS
            )
        except BrokerError as error:
            raise unreadable(error) from error
        return {
            "sessions": [
                {
                    "session_id": row.session_id,
                    "last_message_id": row.message_id,
                    "updated_at": row.updated_at,
                }
                for row in rows
            ],
            "next": following,
        }

    async def message(self, session_id: Token, message_id: Token) -> OneMessage:
        """One message: its state and full text."""
        found = await self.exchange(session_id, message_id)
        if found is None:
            raise Problem(404, "unknown_message", "This session has no such message.")
        exchange, is_claimed = found
        return {
            **assistant_row(exchange, is_claimed=is_claimed),
            "session_id": session_id,
            "message": exchange.asked.get("message", ""),
        }

    async def exchange(self, session_id: Token, message_id: Token) -> tuple[Exchange, bool] | None:
        """One message, and whether a worker has it though no record tells of it yet. None: nobody sent it, or it was
        erased."""
        try:
            return await self._message(session_id, message_id)
        except BrokerError as error:
            raise unreadable(error) from error

    async def unanswered(self, session_id: Token) -> list[Token]:
        """The session's messages that have not ended, oldest first: what runs is the first of them."""
        try:
            queued = await self._queue.queued_ids(
                session_id, limit=self._queue_limit + 1, seconds=READ_SECONDS
            )
            return [each for each in queued if not await self._has_ended(session_id, each)]
        except BrokerError as error:
            raise unreadable(error) from error

    async def _has_ended(self, session_id: Token, message_id: Token) -> bool:
        """What has ended stays in the queue until its worker has heard that its end is stored."""
        last = await self._transcript.last_record(session_id, message_id, seconds=READ_SECONDS)
        return last is not None and last.final is not None

    async def _page(self, session_id: Token, limit: int, after: str | None) -> MessagePage:
        scope = Scope(await self._transcript.epoch(session_id, seconds=READ_SECONDS), session_id)
        cursor = START if after is None else _read_cursor(scope, after)
        # The queue before the transcript: a message that begins in between is in both, and none is in neither.
        queued = await self._queue.queued(session_id, limit=self._queue_limit + 1, seconds=READ_SECONDS)
        state = await self._transcript.session(session_id, seconds=READ_SECONDS)
        if state.claim is None and not queued:
            raise Problem(404, "unknown_session", "Nobody has said anything in this session.")
        records, following = await self._records(session_id, cursor.seq, limit, state.floor)
        shown = [(exchange, False) for exchange in exchanges(records)]
        if following is None:
            waits = _waiting({exchange.message_id for exchange, _ in shown}, queued, state.claim)
            shown += waits[: limit - len(shown)]
        return {
            "messages": [
                row for exchange, is_claimed in shown for row in rows(exchange, is_claimed=is_claimed)
            ],
            "position": scope.text(_position(cursor, records, following, state)),
            "next": None if following is None else scope.write(following.offset, 0, following.seq),
        }

    async def _records(
        self, session_id: Token, seq: int, limit: int, floor: int
    ) -> tuple[list[Record], Record | None]:
        """The records of `limit` messages that begin at or behind `seq`, each to its end; and the first record of the
        message behind them, where the next page begins, or None where this is the last one."""
        records: list[Record] = []
        unfinished: dict[Token, bool] = {}
        following: Record | None = None
        while True:
            page = await self._transcript.page(
                session_id, seq=seq, limit=PAGE_RECORDS, seconds=READ_SECONDS, floor=floor
            )
            for record in page.records:
                # A message that was stopped in the queue has its record among those of the one before it.
                if record.message_id not in unfinished:
                    if record.request is None:
                        continue
                    if len(unfinished) == limit:
                        following = following or record
                        continue
                records.append(record)
                unfinished[record.message_id] = record.final is None
            if not page.more or (following is not None and not any(unfinished.values())):
                return records, following
            seq = page.next_seq

    async def _message(self, session_id: Token, message_id: Token) -> tuple[Exchange, bool] | None:
        queued, state = await together(
            self._queue.queued(session_id, limit=self._queue_limit + 1, seconds=READ_SECONDS),
            self._transcript.session(session_id, seconds=READ_SECONDS),
        )
        records: list[Record] = []
        seq, more = 1, True
        while more:
            page = await self._transcript.page(
                session_id,
                message_id=message_id,
                seq=seq,
                limit=PAGE_RECORDS,
                seconds=READ_SECONDS,
                floor=state.floor,
            )
            records += page.records
            seq, more = page.next_seq, page.more
        if records:
            return exchanges(records)[0], False
        waits = _waiting(set(), queued, state.claim)
        return next((found for found in waits if found[0].message_id == message_id), None)


def _waiting(told: set[Token], queued: list[Queued], held: HeldClaim | None) -> list[tuple[Exchange, bool]]:
    """Those that wait in the queue, and which of them a worker has already."""
    claimed = held.claim.message_id if held is not None else None
    return [
        (waiting(entry.request), entry.request.message_id == claimed)
        for entry in queued
        if entry.request.message_id not in told
    ]


def _position(
    cursor: Position, records: list[Record], following: Record | None, state: SessionState
) -> Position:
    """Before the next page's first record, so that nothing of it is missed; else behind the last record shown."""
    if following is not None:
        return Position(following.offset, 0, following.seq)
    if records:
        last = records[-1]
        return Position(last.offset, last.events, last.seq)
    if cursor.offset == 0 and state.claim is not None:
        return Position(state.claim.claim.base, 0, state.claim.first)
    return cursor


def _read_cursor(scope: Scope, text: str) -> Position:
    position = scope.read(text)
    if position is None:
        raise Problem(422, "unknown_cursor", "`after` must be a `next` that this session's history gave.")
    return position
