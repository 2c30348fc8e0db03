"""One event stream to one client, written without waiting.

The hub writes the same bytes to many readers from one place, so a write must not wait for a slow one. The body is
chunked, so that a client can tell an end from a cut; writes go straight to the transport, because aiohttp's own `write`
waits for the slowest reader. What this leans on: `Request.protocol` and chunked framing, nothing private. A stream that may
be silent for hours leaves aiohttp altogether: `move`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from aiohttp import web

from chatmesh.web.connection import Connection
from chatmesh.web.request import REQUEST_ID
from chatmesh.web.stream import Stream

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class Sink(Protocol):
    """Where a reader's bytes go."""

    last_write: float

    @property
    def is_closed(self) -> bool: ...
    @property
    def buffered(self) -> int: ...
    def write_nowait(self, data: bytes) -> None: ...
    def abort(self) -> None: ...
    def finish(self) -> object: ...


class NoSink:
    """For a reader who is told nothing until all is there."""

    buffered = 0

    def __init__(self) -> None:
        self.is_closed = False
        self.last_write = time.monotonic()

    def write_nowait(self, data: bytes) -> None:
        self.last_write = time.monotonic()

    def finish(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True


def cut(request: web.Request) -> web.StreamResponse:
    """Ends the request's connection without an answer; returns what the handler returns then."""
    if isinstance(request.protocol, Connection):
        request.protocol.cut()
    return web.Response()


class EventSink:
    """Made by `open`. After `finish`, `abort` or the client's leaving, writes do nothing and `is_closed` is true."""

    def __init__(self, response: web.StreamResponse, connection: Connection, *, is_chunked: bool) -> None:
        self.response = response
        self._connection = connection
        self._out = connection.out
        self._out.is_unframed = not is_chunked
        self._is_chunked = is_chunked
        self._is_ended = False
        self.last_write = time.monotonic()

    @classmethod
    async def open(
        cls,
        request: web.Request,
        opening: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        is_last: bool = False,
    ) -> EventSink:
        """Answers 200 and sends `opening`. `is_last`: no other request follows on the connection, which is to be moved.
        Raises ConnectionResetError where the client is gone already."""
        named = {"X-Request-Id": request[REQUEST_ID]}
        response = web.StreamResponse(headers=HEADERS | named | dict(headers or {}))
        is_chunked = request.version >= (1, 1)
        if is_chunked:
            response.enable_chunked_encoding()
        if is_last or not is_chunked:
            response.force_close()
        await response.prepare(request)
        await response.write(opening)
        connection = request.protocol
        if not isinstance(connection, Connection) or connection.out.is_closing:
            raise ConnectionResetError("the client left before the stream began")
        return cls(response, connection, is_chunked=is_chunked)

    @property
    def is_closed(self) -> bool:
        return self._is_ended or self._out.is_closing

    @property
    def buffered(self) -> int:
        """Bytes that the client has not taken yet, without the kernel's buffer."""
        return self._out.buffered

    def write_nowait(self, data: bytes) -> None:
        """Never waits, never refuses: look at `buffered` before."""
        if self.is_closed or not data:  # an empty chunk would end the body
            return
        self.last_write = time.monotonic()
        self._out.send(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)

    def abort(self) -> None:
        """Cuts the connection, so that no client takes it for an end."""
        self._is_ended = True
        self._out.cut()

    def move(self) -> Stream:
        """The same stream without aiohttp; this sink is at its end. The handler raises `Moved` then, without waiting for
        anything more. Raises ConnectionResetError where the client is gone."""
        self._is_ended = True
        return self._connection.move(is_chunked=self._is_chunked)

    def finish(self) -> web.StreamResponse:
        """What the handler returns; aiohttp then writes the last chunk: a clean end."""
        self._is_ended = True
        return self.response
