"""Where an event stream begins: at a position, at the unfinished answer, at the beginning of a message or of all."""

from __future__ import annotations

from dataclasses import replace

from chatmesh.broker import HeldClaim, MessageState, SessionState, Transcript
from chatmesh.hub.resume import Start
from chatmesh.protocol.positions import START, Position, Scope
from chatmesh.protocol.tokens import Token

READ_SECONDS = 5.0
PAGE_RECORDS = 64


class Starts:
    """Reads what it takes to know. Stateless; raises BrokerError."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript

    async def at(
        self, session_id: Token, message_id: Token | None, text: str | None, *, from_start: bool
    ) -> Start | None:
        """None: the one message asked for has ended, and its reader has everything."""
        session = await self._transcript.session(session_id, seconds=READ_SECONDS)
        if text:
            start = await self._from_position(session_id, message_id, text, session)
        elif from_start:
            start = Start(START, 1, erasure=session.erasure, claim=session.claim)
        elif message_id is not None:
            start = await self.of_message(session_id, message_id)
        else:
            start = await self._from_the_unfinished(session_id, session)
        if start is None or start.erasure is None or start.is_of_before:
            return start
        # It may wait for a message that is yet to be sent, whatever was erased by now.
        return replace(start, since=start.erasure.queue_seq)

    async def _from_position(
        self, session_id: Token, message_id: Token | None, text: str, session: SessionState
    ) -> Start | None:
        epoch = await self._transcript.epoch(session_id, seconds=READ_SECONDS)
        position = Scope(epoch, session_id).read(text)
        if position is None or (position.offset > 0 and position.seq < session.floor):
            return Start(
                START,
                1,
                reset="position_unknown",
                erasure=session.erasure,
                is_of_before=position is not None,
                claim=session.claim,
            )
        if message_id is not None:
            last = await self._transcript.last_record(session_id, message_id, seconds=READ_SECONDS)
            if last is not None and last.final is not None:
                has_all = (position.offset, position.index) >= (last.offset, last.events)
                if has_all:
                    return None
        read_seq = max(1, position.seq)
        claim = session.claim if await self._is_open(session_id, session.claim) else None
        return Start(position, read_seq, is_claimed=True, erasure=session.erasure, claim=claim)

    async def _is_open(self, session_id: Token, held: HeldClaim | None) -> bool:
        """Whether the claimed answer goes on, as far as is stored: its end may lie before the reader's position."""
        if held is None:
            return False
        last = await self._transcript.last_record(session_id, held.claim.message_id, seconds=READ_SECONDS)
        return last is None or last.final is None

    async def of_message(self, session_id: Token, message_id: Token) -> Start:
        """Of one message, from its beginning."""
        return _begin(await self._transcript.state(session_id, message_id, seconds=READ_SECONDS))

    async def past_resets(self, session_id: Token, message_id: Token) -> Start:
        """Of one message, without what was taken back: for formats that can't do that."""
        state = await self._transcript.state(session_id, message_id, seconds=READ_SECONDS)
        start = _begin(state)
        more = state.record is not None
        seq = 1
        while more:
            page = await self._transcript.page(
                session_id,
                message_id=message_id,
                seq=seq,
                limit=PAGE_RECORDS,
                seconds=READ_SECONDS,
                floor=start.floor,
            )
            for record in page.records:
                if record.reset is not None:
                    begin = Position(record.offset, 0, record.seq)
                    start = replace(start, position=begin, read_seq=record.seq, resets=start.resets + 1)
            seq, more = page.next_seq, page.more
        return start

    async def _from_the_unfinished(self, session_id: Token, session: SessionState) -> Start:
        """Without a position: the unfinished answer from its beginning, or what comes next."""
        held = session.claim
        if held is None:
            return Start(START, 1, erasure=session.erasure)
        last = await self._transcript.last_record(session_id, held.claim.message_id, seconds=READ_SECONDS)
        if last is not None and last.final is not None:
            # From the last one that is there: from behind it the server would look for the next through everything since.
            return Start(Position(last.offset, last.events, last.seq), last.seq, erasure=session.erasure)
        return Start(_before(held), held.first, erasure=session.erasure, claim=held)


def _begin(state: MessageState) -> Start:
    """Before the message's first record. One that has not begun will lie behind the last claim."""
    if state.claim is None or state.record is not None:
        return Start(START, 1, erasure=state.erasure)
    return Start(_before(state.claim), state.claim.first, erasure=state.erasure, claim=state.claim)


def _before(held: HeldClaim) -> Position:
    """Before the first record of the message that is claimed."""
    return Position(held.claim.base, 0, held.first)
