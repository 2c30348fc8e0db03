"""The operator's page and what it asks for: `/ops` and `/v1/ops/…`, all with the scope `operate`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from importlib.resources import files
from typing import TypeVar

from chatmesh.broker import Broker
from chatmesh.console import frames, operations, replay
from chatmesh.console.watch import Viewer, Watch
from chatmesh.errors import BrokerError, ChatmeshError
from chatmesh.ingress.bodies import DEFAULT_PAGE, MAX_PAGE
from chatmesh.ingress.reading import token_in
from chatmesh.ingress.refusals import unreadable
from chatmesh.operate import letters
from chatmesh.operate.members import read_members
from chatmesh.operate.sessions import Activity, Wanted, list_sessions
from chatmesh.protocol import sse
from chatmesh.protocol.callers import Access
from chatmesh.protocol.tokens import Token
from chatmesh.telemetry import get_logger
from chatmesh.web import (
    CALLER,
    CROWDED,
    EventSink,
    Problem,
    Request,
    Response,
    Route,
    at_expiry,
    empty_response,
    json_response,
    unknown_session,
)
from chatmesh.web.pages import file_route, folder_routes

log = get_logger("console")

T = TypeVar("T")

PAGE = files("chatmesh.console").joinpath("page")
ACT_SECONDS = 8.0
"""For a retry or a drop, before the broker counts as away: the browser waits 15 s."""

_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-*?")


class Console:
    """`interval_seconds`: between two heartbeats."""

    def __init__(self, broker: Broker, watch: Watch, *, interval_seconds: float) -> None:
        self._broker = broker
        self._watch = watch
        self._interval_seconds = interval_seconds

    @property
    def routes(self) -> list[Route]:
        operate = Access.OPERATE
        letter = "/v1/ops/dead-letters/{letter_id}"
        return [
            file_route("/ops", PAGE.joinpath("index.html").read_bytes(), "html", operations.PAGE),
            *folder_routes("/ops/", PAGE),
            Route(
                "GET",
                "/v1/ops/events",
                self.events,
                operations.GET_EVENTS,
                is_stream=True,
                access=operate,
                says_come_back=True,
            ),
            Route("GET", "/v1/ops/sessions", self.sessions, operations.GET_SESSIONS, access=operate),
            Route(
                "GET",
                "/v1/ops/sessions/{session_id}/replay",
                self.replay,
                operations.GET_REPLAY,
                access=operate,
                # Anybody who operates gets its times; its words only who may read it, which is asked there.
                checks_session=True,
            ),
            Route("GET", "/v1/ops/dead-letters", self.letters, operations.GET_LETTERS, access=operate),
            Route("POST", f"{letter}/retry", self.retry, operations.RETRY_LETTER, access=operate),
            Route("DELETE", letter, self.drop, operations.DROP_LETTER, access=operate),
        ]

    # --- looking ---------------------------------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        """Never 4xx or 5xx for a state that passes, as with a session's events."""
        again = self._watch.retry_ms
        if CROWDED in request or self._watch.is_full:
            sink = await EventSink.open(request, sse.retry_only(again))
            return sink.finish()
        try:
            sink = await EventSink.open(request, sse.opening("0", again))
        except ConnectionResetError:
            return empty_response(200)
        viewer = Viewer(sink, request[CALLER])
        expiry = at_expiry(request[CALLER], lambda: viewer.leave("token_expired"))
        self._watch.enter(viewer)
        try:
            await viewer.left.wait()
        finally:
            self._watch.leave(viewer)
            if expiry is not None:
                expiry.cancel()
        return sink.finish()

    async def sessions(self, request: Request) -> Response:
        wanted = Wanted(
            ids=_ids(request),
            activity=_activity(request),
            limit=_limit(request),
            before=_sequence(request, "before"),
        )
        try:
            members = await read_members(self._broker, interval_seconds=self._interval_seconds)
            found = await list_sessions(self._broker, members, wanted)
        except BrokerError as error:
            raise unreadable(error) from error
        return json_response(frames.sessions(found))

    async def replay(self, request: Request) -> Response:
        session_id, after = token_in(request, "session_id"), _sequence(request, "after")
        try:
            is_readable = await self._may_read(request, session_id)
            found = await replay.read(self._broker, session_id, after=after, is_readable=is_readable)
        except BrokerError as error:
            raise unreadable(error) from error
        if found is None:
            raise unknown_session()
        if not after:
            log.info(
                "console.replay",
                session_id=session_id,
                user_id=request[CALLER].user,
                tenant=request[CALLER].tenant,
                is_readable=is_readable,
            )
        pieces, following = found
        return json_response(
            {"session_id": session_id, "is_readable": is_readable, "pieces": pieces, "next": following}
        )

    async def _may_read(self, request: Request, session_id: Token) -> bool:
        """Operating alone reads nobody's messages."""
        caller = request[CALLER]
        return caller.may(Access.READ) and await self._broker.ownership.is_theirs(caller, session_id)

    # --- dead letters ----------------------------------------------------------------------------------------------

    async def letters(self, request: Request) -> Response:
        limit, after = _limit(request), _sequence(request, "after")
        try:
            found, following = await letters.list_letters(
                self._broker, session_id=None, after=after, limit=limit
            )
        except BrokerError as error:
            raise unreadable(error) from error
        rows = [frames.letter(each) for each in found]
        return json_response({"letters": rows, "next": None if following is None else str(following)})

    async def retry(self, request: Request) -> Response:
        seq = _letter(request)
        retried = await self._act(seq, letters.retry(self._broker, seq))
        log.info("console.retry", seq=seq, session_id=retried.letter.session, user_id=request[CALLER].user)
        return json_response(frames.retried(retried))

    async def drop(self, request: Request) -> Response:
        seq = _letter(request)
        dropped = await self._act(seq, letters.drop(self._broker, seq))
        log.info("console.drop", seq=seq, session_id=dropped.session, user_id=request[CALLER].user)
        return json_response({"letter_id": str(seq), "status": "dropped"})

    async def _act(self, seq: int, doing: Awaitable[T]) -> T:
        """Problem 404, 409, 503: nothing was lost, and it may be tried again."""
        try:
            async with asyncio.timeout(ACT_SECONDS):
                return await doing
        except (BrokerError, TimeoutError) as error:
            raise Problem(
                503,
                "broker_away",
                "The broker did not answer: it is away, or this pod's user there may not remove dead letters.",
                retry_after_seconds=2,
            ) from error
        except letters.StillQueuedError as error:
            raise Problem(409, "still_queued", "Its message is in the queue: a worker takes it.") from error
        except ChatmeshError as error:
            raise _unknown_letter() from error


def _limit(request: Request) -> int:
    given = request.query.get("limit", str(DEFAULT_PAGE))
    if given.isascii() and given.isdigit() and len(given) <= 6 and 1 <= int(given) <= MAX_PAGE:
        return int(given)
    raise Problem(422, "invalid_limit", f"limit must be a number from 1 to {MAX_PAGE}, got {given!r:.20}.")


def _sequence(request: Request, name: str) -> int:
    given = request.query.get(name, "0")
    if given.isascii() and given.isdigit() and int(given[:20]) <= operations.MAX_SEQ:
        return int(given)
    raise Problem(422, "invalid", f"{name} must be a number that a page before gave as `next`.")


def _ids(request: Request) -> str:
    given = request.query.get("ids", "*")
    if 0 < len(given) <= 128 and _ID_CHARACTERS.issuperset(given):
        return given
    raise Problem(422, "invalid", "ids must be 1 to 128 letters, digits, `_`, `-`, `*` and `?`.")


def _activity(request: Request) -> Activity | None:
    given = request.query.get("state")
    if given is None:
        return None
    if given in set(Activity):
        return Activity(given)
    raise Problem(422, "invalid", f"state must be one of {', '.join(Activity)}.")


def _letter(request: Request) -> int:
    """The sequence that the path names. Problem 404: what is none is no letter."""
    given = request.match_info["letter_id"]
    if given.isascii() and given.isdigit() and 0 < int(given[:20]) <= operations.MAX_SEQ:
        return int(given)
    raise _unknown_letter()


def _unknown_letter() -> Problem:
    return Problem(
        404, "unknown_letter", "There is no such dead letter; it may have been retried or dropped."
    )
