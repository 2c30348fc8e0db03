"""Requests for the events of several sessions on one connection: `GET /v1/events`."""

from __future__ import annotations

from dataclasses import dataclass

from chatmesh.errors import BrokerError, ProtocolError
from chatmesh.hub.feeder import Feeder
from chatmesh.hub.hub import Hub
from chatmesh.hub.operations import GET_EVENTS_OF_SEVERAL, MOST_SESSIONS
from chatmesh.hub.places import Places, Shared, split
from chatmesh.hub.resume import Start
from chatmesh.hub.streams import EventStreams
from chatmesh.hub.wires import retry_ms
from chatmesh.kernel.together import together
from chatmesh.protocol import sse
from chatmesh.protocol.callers import Access, Caller
from chatmesh.protocol.tokens import Token, token
from chatmesh.web import CALLER, EventSink, Moved, Problem, Request, Response, Route, empty_response

FROM_START = "start"


@dataclass(frozen=True, slots=True)
class Wish:
    """One of the sessions, and the position that its reader has."""

    session_id: Token
    text: str | None = None
    from_start: bool = False


class SeveralStreams:
    """Serves nothing that `EventStreams` would not serve one by one."""

    def __init__(self, hub: Hub, streams: EventStreams, feeder: Feeder) -> None:
        self._hub = hub
        self._streams = streams
        self._feeder = feeder

    @property
    def routes(self) -> list[Route]:
        return [
            Route(
                "GET",
                "/v1/events",
                self.events,
                GET_EVENTS_OF_SEVERAL,
                is_stream=True,
                access=Access.READ,
                checks_session=True,
                says_come_back=True,
            ),
        ]

    async def events(self, request: Request) -> Response:
        """`GET /v1/events`. As of one session, never 4xx or 5xx for a state that passes."""
        wishes = _wishes(request)
        if not self._streams.can_serve(request, *(wish.session_id for wish in wishes)):
            return await self._streams.come_back(request)
        caller = request[CALLER]
        try:
            starts = await together(*(self._start(caller, wish) for wish in wishes))
        except BrokerError:
            return await self._streams.come_back(request)
        scopes = [self._hub.scope(wish.session_id) for wish in wishes]
        places = Places([scope.text(start.position) for scope, start in zip(scopes, starts, strict=True)])
        # Before anybody knows of the stream: nothing that comes to it is read again.
        seats = [
            self._hub.reserve(wish.session_id, None, scope)
            for wish, scope in zip(wishes, scopes, strict=True)
        ]
        sessions = [
            (seat, Shared(seat.channel.session_id, scope, places, number), start)
            for number, (seat, scope, start) in enumerate(zip(seats, scopes, starts, strict=True))
        ]
        try:
            opening = sse.opening(str(places), retry_ms(), request.headers.get("User-Agent", ""))
            sink = await EventSink.open(request, opening, is_last=True)
            self._feeder.follow_several(sink.move(), caller, sessions)
        except ConnectionResetError:
            return empty_response(200)
        finally:
            for seat in seats:
                self._hub.give_back(seat)
        raise Moved

    async def _start(self, caller: Caller, wish: Wish) -> Start:
        """Problem 404 `unknown_session`, which names it. Raises BrokerError."""
        try:
            start = await self._streams.start(caller, wish.session_id, wish.text, from_start=wish.from_start)
        except Problem as problem:
            problem.more["session_id"] = wish.session_id
            raise
        assert start is not None  # noqa: S101 - narrows the type: there is an end to one message only
        return start


def _wishes(request: Request) -> list[Wish]:
    """Problem 422 `invalid_id`, `invalid_sessions`."""
    asked = [_wish(text) for text in request.query.getall("session", [])]
    count = len(asked)
    if not 1 <= count <= MOST_SESSIONS:
        raise _invalid(f"`session` has to stand there 1 to {MOST_SESSIONS} times, not {count} times.")
    if len({wish.session_id for wish in asked}) < count:
        raise _invalid("The same session stands there twice.")
    last = request.headers.get("Last-Event-ID")
    if not last:
        return asked
    return [Wish(wish.session_id, text) for wish, text in zip(asked, split(last, count), strict=True)]


def _wish(text: str) -> Wish:
    name, _, place = text.partition(":")
    try:
        session_id = token(name, "session")
    except ProtocolError as error:
        raise Problem(422, "invalid_id", str(error)) from error
    return Wish(session_id, from_start=True) if place == FROM_START else Wish(session_id, place or None)


def _invalid(detail: str) -> Problem:
    return Problem(422, "invalid_sessions", detail)
