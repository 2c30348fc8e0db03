"""An event stream from its request to its end: where it starts, replay, hand-over to live, and again when it is slow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from chatmesh.broker import Ownership, Records, Transcript, Whose
from chatmesh.errors import BrokerError, ProtocolError
from chatmesh.hub.channel import Channel
from chatmesh.hub.hub import Hub
from chatmesh.hub.operations import GET_EVENTS
from chatmesh.hub.reader import Reader
from chatmesh.hub.resume import Start, Verdict, is_end, judge
from chatmesh.hub.starts import Starts
from chatmesh.hub.wires import Collected, Native, Projection, Wire, retry_ms
from chatmesh.kernel.together import together
from chatmesh.protocol import sse
from chatmesh.protocol.callers import Access, Caller
from chatmesh.protocol.positions import START, Position
from chatmesh.protocol.projection import Encode, Encoder
from chatmesh.protocol.tokens import Token, token
from chatmesh.telemetry import get_logger
from chatmesh.web import (
    CALLER,
    CROWDED,
    EventSink,
    NoSink,
    Problem,
    Request,
    Response,
    Route,
    Sink,
    empty_response,
    unknown_session,
)

log = get_logger("hub")

READ_SECONDS = 5.0
PAGE_RECORDS = 64
PAGE_BYTES = 256 * 1024
"""A slow reader holds its page until it has taken it, for as long as it takes a little."""

AGAIN_SECONDS = (0.02, 1.0)
"""Between reads while the transcript lags behind what was heard live (another replica answers), or the broker is away."""

Hold = Callable[[Token], Awaitable[None]]
Release = Callable[[Token], None]
Left = Callable[[], Awaitable[None]]
"""What is done where a client leaves before the end of its answer; not where the pod leaves or cuts it."""


class EventStreams:
    """Serves `GET …/events`, the inline answer of a POST, and answers in other formats. `hold` and `release` tell the registry; `is_ready` says
    whether streams can be served at all."""

    def __init__(
        self,
        hub: Hub,
        transcript: Transcript,
        ownership: Ownership,
        *,
        hold: Hold,
        release: Release,
        is_ready: Callable[[], bool],
    ) -> None:
        self._hub = hub
        self._ownership = ownership
        self._transcript = transcript
        self._starts = Starts(transcript)
        self._hold = hold
        self._release = release
        self._is_ready = is_ready

    @property
    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/v1/sessions/{session_id}/events",
                self.events,
                GET_EVENTS,
                is_stream=True,
                access=Access.READ,
                by_ticket=True,
                checks_session=True,
                says_come_back=True,
            ),
        ]

    # --- requests --------------------------------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        """`GET /v1/sessions/{session_id}/events`. Never 4xx or 5xx for a state that passes: a browser's EventSource
        gives up for good on any status but 200."""
        session_id, message_id = _ids(request)
        is_refused = CROWDED in request or self._hub.is_full(session_id)
        if is_refused or not self._is_ready() or self._hub.is_leaving:
            return await self._come_back(request)
        text = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
        try:
            whose, start = await together(
                self._ownership.look(request[CALLER], session_id),
                self._starts.at(
                    session_id, message_id, text, from_start=request.query.get("from") == "start"
                ),
            )
            if whose is Whose.NOBODYS and await self._has_begun(session_id):
                # Just now; or without a card, in former times or by a foreign pod: then it is nobody's for good.
                whose = await self._ownership.look(request[CALLER], session_id)
                whose = Whose.OTHERS if whose is Whose.NOBODYS else whose
        except BrokerError:
            return await self._come_back(request)
        if whose is Whose.OTHERS:
            raise unknown_session()
        if whose is Whose.NOBODYS:
            # Waits for it to begin.
            start = Start(START, 1, floor=start.floor if start is not None else 0)
        if start is None:
            return empty_response(204)
        return await self._serve(request, session_id, message_id, start)

    async def _has_begun(self, session_id: Token) -> bool:
        return (await self._transcript.session(session_id, seconds=READ_SECONDS)).claim is not None

    async def inline(
        self, request: Request, session_id: Token, message_id: Token, headers: Mapping[str, str]
    ) -> Response:
        """The answer to an accepted message, in the answer to its POST."""
        try:
            start = await self._starts.of_message(session_id, message_id)
        except BrokerError:
            # It is accepted: an error now would say that it is not. The stream waits for the broker.
            start = Start(START, 1)
        return await self._serve(request, session_id, message_id, start, headers=headers)

    async def project(
        self,
        request: Request,
        session_id: Token,
        message_id: Token,
        encoder: Encoder,
        headers: Mapping[str, str],
        left: Left | None = None,
    ) -> Response:
        """The answer to an accepted message as a stream in another format, from its beginning."""
        return await self.project_anew(request, session_id, message_id, lambda _: encoder, headers, left)

    async def project_anew(
        self,
        request: Request,
        session_id: Token,
        message_id: Token,
        encode: Encode,
        headers: Mapping[str, str],
        left: Left | None = None,
    ) -> Response:
        """The same for a format that tells how often the answer was begun anew."""
        start = await self._past_resets(session_id, message_id)
        wire = Projection(encode(start.resets))
        return await self._serve(
            request, session_id, message_id, start, wire=wire, headers=headers, left=left
        )

    async def collect(
        self, request: Request, session_id: Token, message_id: Token, left: Left | None = None
    ) -> list[dict[str, Any]] | None:
        """Every chunk of the answer, once it has ended. None: this pod leaves before that."""
        start = await self._past_resets(session_id, message_id)
        wire = Collected()
        await self._read(NoSink(), wire, request[CALLER], session_id, message_id, start, left=left)
        return wire.chunks if wire.is_whole else None

    async def _past_resets(self, session_id: Token, message_id: Token) -> Start:
        try:
            return await self._starts.past_resets(session_id, message_id)
        except BrokerError:
            return Start(START, 1)  # as above

    async def _come_back(self, request: Request) -> Response:
        sink = await EventSink.open(request, sse.retry_only(retry_ms()))
        return sink.finish()

    # --- the stream ------------------------------------------------------------------------------------------------

    async def _serve(
        self,
        request: Request,
        session_id: Token,
        message_id: Token | None,
        start: Start,
        *,
        wire: Wire | None = None,
        headers: Mapping[str, str] | None = None,
        left: Left | None = None,
    ) -> Response:
        wire = wire or Native(self._hub.scope(session_id))
        try:
            sink = await EventSink.open(request, wire.opening(start.position), headers)
        except ConnectionResetError:
            if left is not None:
                await left()
            return empty_response(200)
        await self._read(sink, wire, request[CALLER], session_id, message_id, start, left=left)
        return sink.finish()

    async def _read(
        self,
        sink: Sink,
        wire: Wire,
        caller: Caller,
        session_id: Token,
        message_id: Token | None,
        start: Start,
        *,
        left: Left | None = None,
    ) -> None:
        """Until the reader is finished or gone, or its caller's time is over."""
        hub = self._hub
        reader = Reader(
            sink,
            wire,
            start.position,
            message_id=message_id,
            max_buffer_bytes=hub.settings.max_buffer_bytes,
            caller=caller if self._ownership.is_on else None,
        )
        expiry = _at(caller.expires_at, lambda: reader.leave("token_expired"))
        channel = hub.enter(session_id)
        hub.add(reader)
        began = time.monotonic()
        try:
            channel.floor = max(channel.floor, start.floor)
            await self._hold(session_id)
            if start.reset is not None:
                reader.restart(start.reset)
            await self._follow(channel, reader, start)
        finally:
            if expiry is not None:
                expiry.cancel()
            channel.detach(reader)
            hub.remove(reader)
            hub.leave(channel)
            self._release(session_id)
            log.info(
                "hub.stream",
                session_id=session_id,
                message_id=message_id,
                offset=reader.offset,
                is_finished=reader.is_finished,
                latency_ms=round((time.monotonic() - began) * 1000),
            )
            if left is not None and not reader.is_finished:
                await left()

    async def _follow(self, channel: Channel, reader: Reader, start: Start) -> None:
        """Replay, live, and replay again whenever the reader fell behind; until it is finished or gone."""
        seq, claim = start.read_seq, start.claim
        is_claimed = start.is_claimed
        while not reader.is_finished and not reader.sink.is_closed:
            seq = await self._catch_up(channel, reader, seq, is_claimed=is_claimed)
            is_claimed = False
            if reader.is_live and claim is not None:
                if not reader.has_seen_end(claim):
                    # Its rest is to come; if all of it is lost on its way, silence shows it.
                    channel.expect(time.monotonic(), claim.claim.message_id)
                claim = None
            if reader.is_live:
                await reader.woken.wait()
            reader.woken.clear()
            await self._wait_room(reader)
            # Live records were taken whole, so what comes next lies behind the last one.
            seq = max(seq, reader.seq + 1)

    async def _catch_up(self, channel: Channel, reader: Reader, seq: int, *, is_claimed: bool) -> int:
        """Feeds the reader from the transcript until it is live or finished. Returns the sequence to read on from."""
        pause, most = AGAIN_SECONDS
        while not reader.is_finished and not reader.sink.is_closed:
            # Stored before it was shown: everything heard of by now is in the page, if no other replica lags.
            mark, mark_seq = channel.heard, channel.heard_seq
            try:
                page = await self._transcript.page(
                    channel.session_id,
                    message_id=reader.message_id,
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
            for record in page.records:
                if not reader.feed(record):
                    return page.next_seq
                # After each one: a page of them is more than may wait.
                await self._wait_room(reader)
            seq = page.next_seq
            if page.more:
                continue
            if page.records and page.records[-1].final is None:
                channel.activate()
            is_doubtful = mark > reader.offset and channel.is_doubtful
            if is_doubtful and not await self._is_stored(channel.session_id, mark, mark_seq):
                channel.doubt(mark, time.monotonic())
                continue
            is_marked = reader.message_id is not None and mark > reader.offset
            read_to, read_seq = (mark, mark_seq) if is_marked else (reader.offset, seq - 1)
            if channel.attach(reader, read_to, read_seq):
                return seq
            pause = await _sleep(pause, most)
        return seq

    async def _may_have(self, channel: Channel, reader: Reader, page: Records) -> bool:
        """Whether the page, if there is anything in it, is of a session that the reader's caller may see. Raises BrokerError."""
        if reader.caller is None or not (page.records or reader.is_asked):
            return True
        if not await self._ownership.is_theirs(reader.caller, channel.session_id):
            return False
        reader.pass_check()
        return True

    async def _is_stored(self, session_id: Token, offset: int, seq: int) -> bool:
        """Whether what was heard of is in the transcript where it said. It may be nobody's, and waited for in vain."""
        try:
            page = await self._transcript.page(session_id, seq=seq, limit=1, seconds=READ_SECONDS)
        except BrokerError:
            return False
        return bool(page.records) and page.records[0].offset == offset

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

    async def _wait_room(self, reader: Reader) -> None:
        """Until the client has taken what waits for it. The server cuts one that takes nothing for too long."""
        pause, most = AGAIN_SECONDS
        while not reader.has_room and not reader.sink.is_closed and not reader.is_finished:
            pause = await _sleep(pause, most / 4)


def _ids(request: Request) -> tuple[Token, Token | None]:
    try:
        session_id = token(request.match_info["session_id"], "session_id")
        message_id = request.query.get("message_id")
        return session_id, token(message_id, "message_id") if message_id is not None else None
    except ProtocolError as error:
        raise Problem(422, "invalid_id", str(error)) from error


def _at(unix_seconds: float | None, call: Callable[[], None]) -> asyncio.TimerHandle | None:
    if unix_seconds is None:
        return None
    return asyncio.get_running_loop().call_later(max(0.0, unix_seconds - time.time()), call)


async def _sleep(pause: float, most: float) -> float:
    """Waits, and returns how long to wait the next time."""
    await asyncio.sleep(pause)
    return min(2 * pause, most)
