"""One client's connection: aiohttp's protocol, with deadlines for request heads and for taking answers, and problem
documents for bad HTTP.

What this leans on: `web.RequestHandler` and `web.Server` are public, and so are the names of the methods overridden
here, though none is documented for it. Private are two attributes, which no public name tells: `_request_count`, the
heads parsed so far, and `_messages`, those that wait for their turn. An event stream leaves with the socket (`move`), by way
of what aiohttp does when a client goes away. tests/web pins all of it.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any, Protocol

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import ContentEncodingError, InvalidURLError, LineTooLong

from chatmesh.protocol.tokens import new_correlation_id
from chatmesh.telemetry import get_logger, metrics
from chatmesh.web import outgoing
from chatmesh.web.outgoing import Outgoing
from chatmesh.web.problem import Problem, from_http_exception
from chatmesh.web.reaper import Reaper
from chatmesh.web.request import STANDING_HEADERS, problem_response, unsupported_encoding
from chatmesh.web.stream import Moved, Stream, Streams

log = get_logger("web")

_EXCERPT = re.compile(r"""\n|:?\s+(b|bytearray\(b)?['"]""")
"""Where the parser begins to quote what was sent."""


class Book(Streams, Protocol):
    """Where the open connections stand too, and what becomes of each."""

    def add(self, connection: Connection) -> None: ...
    def replace(self, connection: Connection, stream: Stream) -> None: ...
    def discard(self, connection: Connection | Stream) -> None: ...


class Connection(web.RequestHandler):
    """The listening socket makes one for each client."""

    __slots__ = (
        "_body",
        "_connections",
        "_has_part",
        "_heads_done",
        "_heads_known",
        "_reaper",
        "_tail",
        "_whole",
        "address",
        "out",
    )

    def __init__(
        self,
        server: web.Server,
        reaper: Reaper[Connection],
        connections: Book,
        **options: Any,
    ) -> None:
        """`options` are aiohttp's: timeouts and limits."""
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._reaper = reaper
        self._connections = connections
        self.address = ""
        """Of the client, without its port; a proxy's, where there is one."""
        self.out = Outgoing()
        """Has the transport for longer than aiohttp, which forgets its own when it begins to close it."""
        self._heads_known = 0
        self._heads_done = 0
        self._whole = 0
        """Requests that have come whole, with their bodies."""
        self._has_part = False
        """Of a head, behind the last whole request."""
        self._tail = b""
        self._body: StreamReader | None = None
        """Of the last request whose head has come. Its rest may still come, and is read away for a while."""

    # --- a head in time --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.out.wire = self.transport
        peer = transport.get_extra_info("peername")
        self.address = sys.intern(str(peer[0])) if isinstance(peer, tuple) else ""
        outgoing.bound(transport)
        self._connections.add(self)
        self._reaper.expect(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.discard(self)
        self._reaper.forget(self)
        super().connection_lost(exc)
        self.out.wire = None

    def data_received(self, data: bytes) -> None:
        """The last byte apart: what does not end a request with it has begun another. No deadline runs for what a client
        sends ahead while it is being answered."""
        if len(data) > 1:
            super().data_received(data[:-1])
            self._note_heads()
        whole = self._whole
        super().data_received(data[-1:])
        self._note_heads()
        self._tail = (self._tail + data[-4:])[-4:]
        if self._is_body_open or (data and self._whole > whole):
            self._has_part = False
        elif self._whole > whole or data.strip(b"\r\n"):
            # Whole without a byte: aiohttp's queue was full. Blank lines between requests are no part of one.
            self._has_part = self._is_cut_off
        self._look_for_debt()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException):  # what aiohttp refuses before any middleware, like `Expect`
            resp = problem_response(from_http_exception(resp), new_correlation_id())
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._heads_done += 1
            if _is_not_worth_reading(request):
                self.force_close()
            elif self._request_count > self._heads_known:  # what lay behind an upgrade that was declined
                self._note_heads()
                self._has_part = self._is_cut_off
            self._look_for_debt()

    def _note_heads(self) -> None:
        if self._request_count > self._heads_known:
            self._heads_known = self._request_count
            self._body = self._messages[-1][1]
        self._whole = self._heads_known - self._is_body_open

    @property
    def _is_body_open(self) -> bool:
        return self._body is not None and not self._body.is_eof()

    @property
    def _is_cut_off(self) -> bool:
        """By its looks alone: what has come does not end as heads do."""
        return not self._tail.endswith(b"\r\n\r\n")

    def _look_for_debt(self) -> None:
        """Whether the client owes a head: it has sent a part of it, and nothing is being answered."""
        if self._request_count > self._heads_done:
            self._reaper.forget(self)
        elif self._has_part:
            self._reaper.expect(self)

    # --- what goes out ---------------------------------------------------------------------------------------------

    @property
    def buffered(self) -> int:
        return self.out.buffered

    def stalled_looks(self) -> int:
        return self.out.stalled_looks()

    def move(self, *, is_chunked: bool) -> Stream:
        """The socket is a stream's from now on: for aiohttp its client is gone, and all of this can go. In a handler only,
        whose answer has begun, and which raises `Moved` without waiting for anything more."""
        wire = self.out.wire
        if wire is None:
            raise ConnectionResetError("the client left before the stream began")
        stream = Stream(wire, self.address, self._connections, is_chunked=is_chunked)
        wire.set_protocol(stream)
        self._connections.replace(self, stream)
        self._reaper.forget(self)
        self.out.wire = self.transport = None  # before aiohttp hears of it, which would close it
        super().connection_lost(None)
        wire.resume_reading()  # aiohttp pauses where a client sends much ahead
        return stream

    # --- the end ---------------------------------------------------------------------------------------------------

    def close_after_answer(self) -> None:
        """At once where no request is under way."""
        self.close()  # takes no further request, but leaves an idle connection open
        if self._request_count == self._heads_done and self.out.wire is not None:
            self.out.wire.close()

    def cut(self) -> None:
        self.out.cut()

    def close_late(self) -> None:
        """The head did not come. One who has sent a part of it is told; a silent one may be a browser's spare."""
        metrics.http_late.labels("head" if self._has_part else "silent").inc()
        transport = self.transport
        if self._has_part and transport is not None:
            transport.write(_late_answer())
        self.force_close()
        if transport is not None and transport.get_write_buffer_size():
            self.cut()  # it takes nothing either, so a close would wait for ever

    # --- bad HTTP --------------------------------------------------------------------------------------------------

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, and to a failure outside of the middleware. Closes the connection."""
        if isinstance(exc, Moved):
            raise exc  # aiohttp ends quietly then
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, so nothing else can be said but to cut it")
        request_id = new_correlation_id()
        problem = _problem_of(status, exc, message)
        if status >= 500:
            metrics.errors.labels("web", "protocol").inc()
            log.error("web.protocol_failed", request_id=request_id, exc_info=exc)
        else:
            log.debug("web.bad_http", request_id=request_id, error=problem.detail)
        metrics.http_requests.labels("unknown", problem.status).inc()
        response = problem_response(problem, request_id)
        # No route was looked for, so the application's signal, which adds these elsewhere, does not run.
        response.headers.update(STANDING_HEADERS)
        response.force_close()
        return response


def _is_not_worth_reading(request: web.BaseRequest) -> bool:
    """The rest of its body. aiohttp would read it away: it fails at the same place again and logs a traceback, or inflates
    what was too large already."""
    body = request.content
    return body.exception() is not None or (not body.is_eof() and "Content-Encoding" in request.headers)


def _problem_of(status: int, exc: BaseException | None, message: str | None) -> Problem:
    if status >= 500:
        return Problem(500, "internal", "This should not have happened; the log has more.")
    if isinstance(exc, LineTooLong):
        limit = exc.args[1]
        return Problem(431, "head_too_large", f"A line of the request's head may have {limit} bytes at most.")
    if isinstance(exc, ContentEncodingError):
        return unsupported_encoding("one that is not installed")
    return Problem(400, "bad_http", f"This is no HTTP request: {_wrong(exc, message)}")


def _wrong(exc: BaseException | None, message: str | None) -> str:
    """In the parser's words, and nothing of what was sent: a ticket or a token may stand in there."""
    if isinstance(exc, InvalidURLError):
        return "Invalid address"
    # The text goes on with an excerpt and a pointer to the byte, on the same line or on the next ones.
    what = _EXCERPT.split((message or "").strip(), maxsplit=1)[0]
    return what.rstrip(": ")[:200]


def _late_answer() -> bytes:
    """A whole answer in bytes: without a request there is nothing that aiohttp could answer to."""
    problem = Problem(408, "request_timeout", "The request's head did not arrive in time.")
    response = problem_response(problem, new_correlation_id())
    body = response.body
    assert isinstance(body, bytes)  # noqa: S101 - narrows aiohttp's type; problem_response makes bytes
    headers = dict(response.headers) | STANDING_HEADERS
    headers |= {"Content-Length": str(len(body)), "Connection": "close"}
    lines = ["HTTP/1.1 408 Request Timeout", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body
