"""Requests for event streams: who may read, where a stream starts, and in which words it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chatmesh.broker import Ownership, Transcript, Whose
from chatmesh.errors import BrokerError, ProtocolError
from chatmesh.hub.feeder import Feeder
from chatmesh.hub.following import READ_SECONDS, Follower
from chatmesh.hub.hub import Hub, Seat
from chatmesh.hub.operations import GET_EVENTS
from chatmesh.hub.resume import Start
from chatmesh.hub.starts import Starts
from chatmesh.hub.wires import Collected, Native, Projection, Wire, retry_ms
from chatmesh.kernel.together import together
from chatmesh.protocol import sse
from chatmesh.protocol.callers import Access, Caller
from chatmesh.protocol.positions import START
from chatmesh.protocol.projection import Encode, Encoder
from chatmesh.protocol.records import MAX_WHOLE
from chatmesh.protocol.tokens import Token, token
from chatmesh.web import (
    CALLER,
    CROWDED,
    EventSink,
    Moved,
    NoSink,
    Problem,
    Request,
    Response,
    Route,
    Sink,
    empty_response,
    unknown_session,
)
from chatmesh.web.request import SEAT

Left = Callable[[], Awaitable[None]]
"""What is done where a client leaves before the end of its answer; not where the pod leaves or cuts it."""


class EventStreams:
    """Serves `GET …/events`, the inline answer of a POST, and answers in other formats. `is_ready` says whether streams can be
    served at all."""

    def __init__(
        self,
        hub: Hub,
        transcript: Transcript,
        ownership: Ownership,
        follower: Follower,
        feeder: Feeder,
        *,
        is_ready: Callable[[], bool],
    ) -> None:
        self._hub = hub
        self._ownership = ownership
        self._transcript = transcript
        self._starts = Starts(transcript)
        self._follower = follower
        self._feeder = feeder
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
        if not self.can_serve(request, session_id):
            return await self.come_back(request)
        text = request.headers.get("Last-Event-ID") or request.query.get("last_event_id")
        is_from_start = request.query.get("from") == "start"
        try:
            start = await self.start(
                request[CALLER], session_id, text, message_id=message_id, from_start=is_from_start
            )
        except BrokerError:
            return await self.come_back(request)
        if start is None:
            return empty_response(204)
        return await self._detach(request, session_id, message_id, start)

    def can_serve(self, request: Request, *session_ids: Token) -> bool:
        """Whether the pod takes on a reader of each of the sessions."""
        if CROWDED in request or self._hub.is_full(*session_ids):
            return False
        return self._is_ready() and not self._hub.is_leaving

    async def start(
        self,
        caller: Caller,
        session_id: Token,
        text: str | None,
        *,
        message_id: Token | None = None,
        from_start: bool = False,
    ) -> Start | None:
        """Where the caller's reader begins that has the position `text`; None: it has all of the one message. Problem 404
        `unknown_session`. Raises BrokerError."""
        whose, start = await together(
            self._ownership.look(caller, session_id),
            self._starts.at(session_id, message_id, text, from_start=from_start),
        )
        if whose is Whose.NOBODYS and await self._has_begun(session_id):
            # Just now; or without a card, in former times or by a foreign pod: then it is nobody's for good.
            whose = await self._ownership.look(caller, session_id)
            whose = Whose.OTHERS if whose is Whose.NOBODYS else whose
        if whose is Whose.OTHERS:
            raise unknown_session()
        if whose is Whose.NOBODYS:
            # Waits for it to begin, and learns nothing of what is not theirs.
            return Start(START, 1, erasure=start.erasure if start is not None else None, since=MAX_WHOLE)
        return start

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
        wire = Native(self._hub.scope(session_id))
        return await self._serve(request, session_id, message_id, start, wire, headers)

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
        return await self._serve(request, session_id, message_id, start, wire, headers, left)

    async def collect(
        self, request: Request, session_id: Token, message_id: Token, left: Left | None = None
    ) -> list[dict[str, Any]] | None:
        """Every chunk of the answer, once it has ended. None: this pod leaves before that."""
        start = await self._past_resets(session_id, message_id)
        wire = Collected()
        await self._read(request, NoSink(), wire, session_id, message_id, start, left)
        return wire.chunks if wire.is_whole else None

    async def _past_resets(self, session_id: Token, message_id: Token) -> Start:
        try:
            return await self._starts.past_resets(session_id, message_id)
        except BrokerError:
            return Start(START, 1)  # as above

    async def come_back(self, request: Request) -> Response:
        """All that is said where no stream can be served now. The connection ends with it, and says so: a pod that leaves would
        close it all the same, under a client that sends its next request on it."""
        sink = await EventSink.open(request, sse.retry_only(retry_ms()), is_last=True)
        return sink.finish()

    # --- a reader who is coming ------------------------------------------------------------------------------------

    @contextmanager
    def listen(self, request: Request, session_id: Token, message_id: Token | None) -> Iterator[Seat]:
        """From now on foreign chunks are kept for the reader that this request will be: what is published behind the acceptance,
        or the opening block, may be here before it. Costs no look at anything."""
        if (reserved := _seat(request)) is not None:
            yield reserved
            return
        request[SEAT] = seat = self._hub.reserve(session_id, message_id)
        try:
            yield seat
        finally:
            self._hub.give_back(seat)

    # --- the stream ------------------------------------------------------------------------------------------------

    async def _detach(
        self, request: Request, session_id: Token, message_id: Token | None, start: Start
    ) -> Response:
        """A stream of native events, which may be silent for hours: it goes on without this request."""
        wire = Native(self._hub.scope(session_id))
        with self.listen(request, session_id, message_id):
            try:
                opening = wire.opening(start.position, request.headers.get("User-Agent", ""))
                sink = await EventSink.open(request, opening, is_last=True)
                stream = sink.move()
            except ConnectionResetError:
                return empty_response(200)
            caller, seat = request[CALLER], _seat(request)
            self._feeder.follow(stream, wire, caller, session_id, message_id, start, seat)
        raise Moved

    async def _serve(
        self,
        request: Request,
        session_id: Token,
        message_id: Token,
        start: Start,
        wire: Wire,
        headers: Mapping[str, str],
        left: Left | None = None,
    ) -> Response:
        """The answer to a POST: it ends with its message, and another request may follow on its connection."""
        with self.listen(request, session_id, message_id):
            try:
                sink = await EventSink.open(request, wire.opening(start.position), headers)
            except ConnectionResetError:
                if left is not None:
                    await left()
                return empty_response(200)
            await self._read(request, sink, wire, session_id, message_id, start, left)
        return sink.finish()

    async def _read(
        self,
        request: Request,
        sink: Sink,
        wire: Wire,
        session_id: Token,
        message_id: Token,
        start: Start,
        left: Left | None,
    ) -> None:
        """Until the reader is finished or gone, or its caller's time is over."""
        stopped = asyncio.Event()
        following = self._follower.enter(
            sink,
            wire,
            request[CALLER],
            session_id,
            message_id,
            start,
            lambda _: stopped.set(),
            seat=_seat(request),
        )
        try:
            while not following.is_over:
                stopped.clear()
                await self._follower.advance(following)
                if following.reader.is_live:
                    await stopped.wait()
        finally:
            self._follower.leave(following)
            if left is not None and not following.reader.is_finished:
                await left()


def _seat(request: Request) -> Seat | None:
    seat = request.get(SEAT)
    return seat if isinstance(seat, Seat) else None


def _ids(request: Request) -> tuple[Token, Token | None]:
    try:
        session_id = token(request.match_info["session_id"], "session_id")
        message_id = request.query.get("message_id")
        return session_id, token(message_id, "message_id") if message_id is not None else None
    except ProtocolError as error:
        raise Problem(422, "invalid_id", str(error)) from error
