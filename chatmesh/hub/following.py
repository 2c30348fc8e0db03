"""A reader's way from its opening to its end: replay, hand-over to live, and again whenever it fell behind.

A reader needs a task only while it reads from the transcript. Who is live is called by the channel and waits for nothing, so
ten thousand people who say nothing have no task, no coroutine and no frame.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from chatmesh.broker import HeldClaim, Ownership, Records, Transcript
from chatmesh.errors import BrokerError
from chatmesh.hub.channel import Channel
from chatmesh.hub.erased import Erased
from chatmesh.hub.hub import Hub, Seat
from chatmesh.hub.reader import Reader, nobody
from chatmesh.hub.resume import Start, Verdict, is_end, judge
from chatmesh.hub.wires import Native, Wire
from chatmesh.protocol.callers import Caller
from chatmesh.protocol.positions import Position
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger
from chatmesh.web import Sink, at_expiry

log = get_logger("hub")

READ_SECONDS = 5.0
PAGE_RECORDS = 64
PAGE_BYTES = 256 * 1024
"""A slow reader holds its page until it has taken it, for as long as it takes a little."""

AGAIN_SECONDS = (0.02, 1.0)
"""Between reads while the transcript lags behind what was heard live (another replica answers), or the broker is away."""

ROOM_SECONDS = (0.001, 0.25)
"""Between looks whether a client takes what is kept for it: short, since that has a bound."""

Hold = Callable[[Token], Awaitable[None]]
Release = Callable[[Token], None]


class Following:
    """One reader on its way. `seq`: where the transcript is read on from. `is_placed`: it is known where its message stands in
    the queue. `start` is there until it has begun; `task`: what
    reads for it just now, where it has no handler; `turn`: of the readers of one connection, one reads at a time."""

    __slots__ = (
        "_on_stop",
        "began",
        "channel",
        "expiry",
        "is_ended",
        "is_placed",
        "reader",
        "seq",
        "start",
        "task",
        "turn",
    )

    def __init__(
        self, channel: Channel, reader: Reader, start: Start, on_stop: Callable[[Following], None]
    ) -> None:
        self.channel = channel
        self.reader = reader
        self.start: Start | None = start
        self.seq = start.read_seq
        self.began = time.monotonic()
        self.expiry: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.turn: asyncio.Lock | None = None
        self.is_ended = False
        self.is_placed = False
        self._on_stop = on_stop

    @property
    def is_over(self) -> bool:
        return self.reader.is_finished or self.reader.sink.is_closed

    def stopped(self) -> None:
        """Its reader is not live any more, is finished, or its client is gone."""
        self._on_stop(self)


class Follower:
    """What every way takes. `hold` and `release` tell the registry."""

    def __init__(
        self,
        hub: Hub,
        transcript: Transcript,
        ownership: Ownership,
        erased: Erased,
        *,
        hold: Hold,
        release: Release,
    ) -> None:
        self._hub = hub
        self._transcript = transcript
        self._ownership = ownership
        self._erased = erased
        self._hold = hold
        self._release = release

    def enter(
        self,
        sink: Sink,
        wire: Wire,
        caller: Caller,
        session_id: Token,
        message_id: Token | None,
        start: Start,
        on_stop: Callable[[Following], None],
        *,
        is_further: bool = False,
        seat: Seat | None = None,
    ) -> Following:
        """A reader is here, perhaps a further one on its connection, perhaps with a seat that was reserved. To be advanced until
        it is over, whenever it is not live; then it has to `leave`. `on_stop` says that one of these may be due, often for
        nothing, and from within a channel's loop: it must only signal."""
        hub = self._hub
        reader = Reader(
            sink,
            wire,
            start.position,
            message_id=message_id,
            max_buffer_bytes=hub.settings.max_buffer_bytes,
            caller=caller if self._ownership.is_on else None,
            is_further=is_further,
        )
        if seat is None or seat.is_taken:
            seat = hub.reserve(session_id, message_id, wire.scope if isinstance(wire, Native) else None)
        channel = hub.take(seat, reader)
        following = Following(channel, reader, start, on_stop)
        following.is_placed = seat.queue_seq > 0
        reader.since = seat.queue_seq or start.since
        following.expiry = at_expiry(caller, lambda: reader.leave("token_expired"))
        reader.on_stop = following.stopped
        hub.add(reader)
        return following

    def leave(self, following: Following) -> None:
        """Once."""
        channel, reader = following.channel, following.reader
        following.is_ended = True
        reader.on_stop = nobody
        if following.expiry is not None:
            following.expiry.cancel()
        channel.detach(reader)
        self._hub.remove(reader)
        self._hub.leave(channel)
        if following.start is None:
            self._release(channel.session_id)
        log.info(
            "hub.stream",
            session_id=channel.session_id,
            message_id=reader.message_id,
            offset=reader.offset,
            is_finished=reader.is_finished,
            latency_ms=round((time.monotonic() - following.began) * 1000),
        )

    async def advance(self, following: Following) -> None:
        """From its beginning, or from where it fell behind, until its reader is live or it is over."""
        channel, reader, start = following.channel, following.reader, following.start
        if start is not None:
            following.start = None
            channel.floor = max(channel.floor, start.floor)
            await self._hold(channel.session_id)
            if start.reset is not None:
                reader.restart(start.reset)
        else:
            await self._wait_room(reader)
            # Live records were taken whole, so what comes next lies behind the last one.
            following.seq = max(following.seq, reader.seq + 1)
        is_claimed = start is not None and start.is_claimed
        seq = following.seq
        following.seq = await self._catch_up(channel, reader, seq, is_claimed=is_claimed)
        has_passed_over = following.seq > seq and not reader.has_shown
        if start is not None and (start.is_of_before or has_passed_over):
            # Of its message there was something that is not shown.
            await self._decide(following)
        while channel.is_in_doubt(reader) and not following.is_over:
            await self._decide(following, channel.erased)
            following.seq = await self._catch_up(channel, reader, following.seq, is_claimed=False)
        self._expect(channel, reader, start.claim if start is not None else None)

    def _expect(self, channel: Channel, reader: Reader, claim: HeldClaim | None) -> None:
        """What is to come: if all of it is lost on its way, silence shows it."""
        if not reader.is_live:
            return
        if reader.message_id is not None:
            channel.expect(time.monotonic(), reader.message_id)
        elif claim is not None and not reader.has_seen_end(claim):
            channel.expect(time.monotonic(), claim.claim.message_id)

    async def _decide(self, following: Following, heard: int = 0) -> None:
        """Whether the reader's message was erased, as soon as the broker can tell. `heard`: where the request for that stands in
        the work queue."""
        reader, session_id = following.reader, following.channel.session_id
        pause, most = AGAIN_SECONDS
        while reader.message_id is not None and not following.is_over:
            try:
                is_gone = (following.is_placed and heard > 0) or await self._erased.is_gone(
                    session_id, reader.message_id, since=reader.since, heard=heard
                )
            except BrokerError:
                pause = await _sleep(pause, most)
                continue
            if is_gone:
                reader.void(session_id)
            reader.since = max(reader.since, heard)
            return

    async def _catch_up(self, channel: Channel, reader: Reader, seq: int, *, is_claimed: bool) -> int:
        """Feeds the reader from the transcript until it is live or finished. Returns the sequence to read on from."""
        pause, most = AGAIN_SECONDS
        message_id = reader.message_id
        while not (reader.is_finished or reader.sink.is_closed or channel.is_in_doubt(reader)):
            # Stored before it was shown: everything heard of by now is in the page, if no other replica lags.
            mark, mark_seq = channel.heard, channel.heard_seq
            try:
                page = await self._transcript.page(
                    channel.session_id,
                    message_id=message_id,
                    seq=seq,
                    limit=PAGE_RECORDS,
                    seconds=READ_SECONDS,
                    floor=channel.floor,
                    max_bytes=PAGE_BYTES,
                )
                # Behind the page: what it holds of another's session came after that one's card.
                if not await self._may_have(channel, reader, page):
                    reader.turn_away()
                    return seq
                if is_claimed:
                    verdict = judge(
                        Position(reader.offset, reader.index, reader.seq),
                        page.records[0] if page.records else None,
                        is_filtered=reader.message_id is not None,
                    )
                    again = await self._settle(channel, reader, verdict)
                    is_claimed = False
                    if again is not None:
                        seq = again
                        continue
            except BrokerError:
                pause = await _sleep(pause, most)
                continue
            seq = page.next_seq
            if not await self._feed(reader, page):
                return seq
            if page.more:
                continue
            if page.records and page.records[-1].final is None:
                channel.activate()
            if await self._is_nobodys(channel, reader, mark, mark_seq) or not reader.show_kept():
                continue
            is_marked = message_id is not None and mark > reader.offset
            if is_marked and self._transcript.is_replicated:
                # What was heard of may be of its message all the same, and the page of a server that does not have it yet: of
                # the whole session its count tells.
                message_id = None
                continue
            read_to, read_seq = (mark, mark_seq) if is_marked else (reader.offset, seq - 1)
            if channel.attach(reader, read_to, read_seq):
                return seq
            await self._look_for_what_was_heard(channel, reader, has_waited=pause >= most)
            pause = await _sleep(pause, most)
        return seq

    async def _feed(self, reader: Reader, page: Records) -> bool:
        """The page, and what was kept meanwhile. False: the reader wants no more."""
        for record in page.records:
            # Another session on the same connection may have filled it meanwhile.
            await self._wait_room(reader)
            if not reader.feed(record):
                return False
            # After each one: a page of them is more than may wait.
            await self._wait_room(reader)
        await self._show_kept(reader)
        return not reader.is_finished

    async def _may_have(self, channel: Channel, reader: Reader, page: Records) -> bool:
        """Whether the page, if there is anything in it, is of a session that the reader's caller may see. Raises BrokerError."""
        if reader.caller is None or not (page.records or reader.is_asked):
            return True
        kept = len(reader.kept or ())
        if not await self._ownership.is_theirs(reader.caller, channel.session_id):
            return False
        reader.pass_check(kept)
        return True

    async def _is_nobodys(self, channel: Channel, reader: Reader, mark: int, mark_seq: int) -> bool:
        """Whether what was heard of, and the reader did not find, is in no transcript."""
        if mark <= reader.offset or not channel.is_doubtful:
            return False
        if await self._is_stored(channel.session_id, mark, mark_seq):
            return False
        channel.doubt(mark, time.monotonic())
        return True

    async def _is_stored(self, session_id: Token, offset: int, seq: int) -> bool:
        """Whether what was heard of is in the transcript where it said. It may be nobody's, and waited for in vain."""
        try:
            page = await self._transcript.page(session_id, seq=seq, limit=1, seconds=READ_SECONDS)
        except BrokerError:
            return False
        return bool(page.records) and page.records[0].offset == offset

    async def _look_for_what_was_heard(self, channel: Channel, reader: Reader, *, has_waited: bool) -> None:
        """The reader does not find it. It has expired if the transcript goes on behind it with smaller offsets, or has nothing
        of the session: of that its leader is asked, once it can hardly be a replica that is behind."""
        has_expired = reader.seq > channel.heard_seq
        if has_waited and not has_expired:
            with suppress(BrokerError):  # not known then, so it is read again and asked again
                has_expired = not await self._transcript.has_records(channel.session_id, seconds=READ_SECONDS)
        if has_expired:
            channel.outlive()

    async def _settle(self, channel: Channel, reader: Reader, verdict: Verdict) -> int | None:
        """What a verdict means for the stream: None to go on with the page, or the sequence to read from instead."""
        if verdict is Verdict.UNSEEN:
            is_known = await self._is_at_the_end(channel.session_id, reader)
            verdict = Verdict.EXACT if is_known else Verdict.UNKNOWN
        if verdict is Verdict.EXACT:
            return None
        reader.restart("position_unknown" if verdict is Verdict.UNKNOWN else "position_expired")
        return 1

    async def _is_at_the_end(self, session_id: Token, reader: Reader) -> bool:
        held = (await self._transcript.session(session_id, seconds=READ_SECONDS)).claim
        if held is None:
            return False
        last = await self._transcript.last_record(session_id, held.claim.message_id, seconds=READ_SECONDS)
        position = Position(reader.offset, reader.index, reader.seq)
        return is_end(position, held, last, is_filtered=reader.message_id is not None)

    async def _show_kept(self, reader: Reader) -> None:
        """Until the client has taken all that was kept for it, or that can't be shown before the next page is read."""
        pause, most = ROOM_SECONDS
        while not (reader.show_kept() or reader.is_asked or reader.is_finished or reader.sink.is_closed):
            waiting = len(reader.kept or ())
            pause = await _sleep(pause, most)
            if len(reader.kept or ()) < waiting:
                pause = ROOM_SECONDS[0]

    async def _wait_room(self, reader: Reader) -> None:
        """Until the client has taken what waits for it. The server cuts one that takes nothing for too long."""
        pause, most = AGAIN_SECONDS
        while not reader.has_room and not reader.sink.is_closed and not reader.is_finished:
            pause = await _sleep(pause, most / 4)


async def _sleep(pause: float, most: float) -> float:
    """Waits, and returns how long to wait the next time."""
    await asyncio.sleep(pause)
    return min(2 * pause, most)
