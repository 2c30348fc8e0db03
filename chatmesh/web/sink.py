"""One event stream to one client, written without waiting.

The hub writes the same bytes to many readers from one place, so a write must not wait for a slow one. The body is
chunked, so that a client can tell an end from a cut; writes go straight to the transport, because aiohttp's own `write`
waits for the slowest reader. What this leans on: `Request.transport` and chunked framing, nothing private.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

from aiohttp import web

from chatmesh.web.request import REQUEST_ID

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}

SEND_BUFFER_BYTES = 64 * 1024
"""The kernel's share for a connection: by default it grows to megabytes that a stalled reader then holds."""


class EventSink:
    """Made by `open`. After `finish`, `abort` or the client's leaving, writes do nothing and `is_closed` is true."""

    def __init__(
        self, response: web.StreamResponse, transport: asyncio.Transport, *, is_chunked: bool
    ) -> None:
        self.response = response
        self._transport = transport
        self._is_chunked = is_chunked
        self._is_ended = False
        self.last_write = time.monotonic()
        self._stuck: tuple[int, float] = (0, self.last_write)
        self._written = 0

    @classmethod
    async def open(
        cls, request: web.Request, opening: bytes, headers: Mapping[str, str] | None = None
    ) -> EventSink:
        """Answers 200 and sends `opening`. Raises ConnectionResetError where the client is gone already."""
        named = {"X-Request-Id": request[REQUEST_ID]}
        response = web.StreamResponse(headers=HEADERS | named | dict(headers or {}))
        is_chunked = request.version >= (1, 1)
        if is_chunked:
            response.enable_chunked_encoding()
        else:
            response.force_close()
        await response.prepare(request)
        await response.write(opening)
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client left before the stream began")
        raw = transport.get_extra_info("socket")
        if raw is not None:
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        return cls(response, transport, is_chunked=is_chunked)

    @property
    def is_closed(self) -> bool:
        return self._is_ended or self._transport.is_closing()

    @property
    def buffered(self) -> int:
        """Bytes that the client has not taken yet, without the kernel's buffer."""
        return self._transport.get_write_buffer_size()

    def write_nowait(self, data: bytes) -> None:
        """Never waits, never refuses: look at `buffered` before."""
        if self.is_closed or not data:  # an empty chunk would end the body
            return
        self.last_write = time.monotonic()
        self.stalled_seconds(self.last_write)  # each write is a look too
        framed = b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data
        self._written += len(framed)
        self._transport.write(framed)

    def stalled_seconds(self, now: float) -> float:
        """For how long the client has taken nothing of what waits for it."""
        taken = self._written - self.buffered
        if not self.buffered or taken != self._stuck[0]:
            self._stuck = (taken, now)
        return now - self._stuck[1]

    def abort(self) -> None:
        """Cuts the connection, so that no client takes it for an end."""
        self._is_ended = True
        self._transport.abort()

    def finish(self) -> web.StreamResponse:
        """What the handler returns; aiohttp then writes the last chunk: a clean end."""
        self._is_ended = True
        return self.response
