"""One event stream that has its socket to itself: what is left of a connection once aiohttp has answered its head.

aiohttp keeps a parser, a request, a response, two tasks and their frames for as long as a stream is open, 12 KiB of it.
Here a stream is one small object, which the event loop calls when something comes or the client goes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from chatmesh.web.outgoing import Outgoing

LAST_CHUNK = b"0\r\n\r\n"


class Moved(ConnectionResetError):  # noqa: N818 - an end, and no error
    """Ends the handler of a request whose answer goes on as a `Stream`. For aiohttp its client is gone; nothing has failed."""


class Streams(Protocol):
    """Where the open streams stand."""

    def discard(self, connection: Stream) -> None: ...


class Stream(Outgoing, asyncio.Protocol):
    """A sink like `EventSink`. After `finish`, `abort` or the client's leaving, writes do nothing and `is_closed` is true.
    What its client still sends is read away: only who reads hears that a client has left."""

    __slots__ = ("_book", "_is_chunked", "_is_ended", "address", "last_write", "on_lost")

    def __init__(self, wire: asyncio.Transport, address: str, book: Streams, *, is_chunked: bool) -> None:
        super().__init__(wire)
        self.address = address
        self._is_chunked = is_chunked
        self.is_unframed = not is_chunked
        self._is_ended = False
        self._book = book
        self.on_lost: Callable[[], None] | None = None
        """Called once, when the connection is gone, whoever has ended it."""
        self.last_write = time.monotonic()

    @property
    def is_closed(self) -> bool:
        return self._is_ended or self.is_closing

    def write_nowait(self, data: bytes) -> None:
        """Never waits, never refuses: look at `buffered` before. Runs for each batch and reader, so it calls little."""
        wire = self.wire
        # An empty chunk would end the body.
        if wire is None or self._is_ended or not data or wire.is_closing():
            return
        self.last_write = time.monotonic()
        if self._is_chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._written += len(data)
        wire.write(data)

    def abort(self) -> None:
        """Cuts the connection, so that no client takes it for an end."""
        self._is_ended = True
        self.cut()

    def finish(self) -> None:
        """A clean end, behind what waits already. One who does not take it is cut like anybody else."""
        if not self.is_closed and self.wire is not None:
            self._is_ended = True
            if self._is_chunked:
                self.last_write = time.monotonic()
                self.send(LAST_CHUNK)
            self.wire.close()

    # --- called by the event loop ----------------------------------------------------------------------------------

    def connection_lost(self, exc: Exception | None) -> None:
        self.wire = None
        self._book.discard(self)
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()
