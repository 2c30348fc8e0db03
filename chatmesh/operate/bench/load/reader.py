"""Connections of the client, as bare protocols: one that reads events, one that asks.

`Reader.data_received` is the hot path of the whole process. All that it does there is to note the time and the bytes,
and to look for the end of the answer.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar, cast

from chatmesh.errors import BrokerUnreachableError, ChatmeshError
from chatmesh.operate.bench.load.events import Piece, Told, told
from chatmesh.operate.bench.load.wire import body_bytes, is_chunked, status

FINAL = b'"is_final":true'
TOKEN = b'"chunk_id":'

AT_ONCE = 100
"""Connections that are being opened; more would fill the server's backlog, and wait there."""

T = TypeVar("T")
now = time.monotonic


class Reader(asyncio.Protocol):
    """One stream of events. `opened` gives the status, `done` is over with the final chunk or the connection."""

    __slots__ = ("_head", "_keeps", "_tail", "done", "done_at", "opened", "pieces", "size", "transport")

    def __init__(self, *, keeps: bool = True) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[int] = loop.create_future()
        self.done: asyncio.Future[bool] = loop.create_future()
        self.done_at: float | None = None
        self.pieces: list[Piece] = []
        self.size = 0
        self.transport: asyncio.Transport | None = None
        self._keeps = keeps
        self._head = b""
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        at = now()
        if not self.opened.done():
            data = self._take_head(data)
        if not self._keeps:
            self.size += len(data)
            return
        self.pieces.append((at, data))
        if FINAL in data or FINAL in self._tail + data[: len(FINAL)]:
            self._end(at)
        self._tail = (data if len(data) >= len(FINAL) else self._tail + data)[-len(FINAL) :]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_result(0)
        if not self.done.done():
            self.done.set_result(False)

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def ask(self, request: bytes) -> None:
        """Sends a request; for a stream that is opened later than its connection."""
        if self.transport is not None:
            self.transport.write(request)

    def pause(self) -> None:
        """Takes nothing from the connection any more."""
        if self.transport is not None:
            self.transport.pause_reading()

    def go_on(self) -> None:
        """Takes again."""
        if self.transport is not None:
            self.transport.resume_reading()

    def events(self) -> list[Told]:
        """Everything told so far, with its times."""
        return told(self.pieces, is_chunked=is_chunked(self._head))

    def first_token_at(self) -> float | None:
        """When the first piece with a chunk came."""
        return next((at for at, data in self.pieces if TOKEN in data), None)

    @property
    def tokens(self) -> int:
        """About how many have come: one that two pieces share is not counted."""
        return sum(data.count(TOKEN) for _, data in self.pieces)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _take_head(self, data: bytes) -> bytes:
        """What stands behind the head, once it is whole."""
        head, end, rest = (self._head + data).partition(b"\r\n\r\n")
        self._head = head if end else head + rest
        if not end:
            return b""
        code = status(head)
        self.opened.set_result(code)
        if code != 200 and not self.done.done():
            self.done.set_result(False)  # what comes is no stream
        return rest

    def _end(self, at: float) -> None:
        self.done_at = at
        if not self.done.done():
            self.done.set_result(True)


class Asker(asyncio.Protocol):
    """A connection that is kept, for requests with short answers: one at a time."""

    __slots__ = ("_answer", "_buffer", "_transport")

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """The answer's status; 0 where the connection was lost before."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answer = answer
        if self._transport is None or self._transport.is_closing():
            answer.set_result(0)
        else:
            self._transport.write(request)
        return answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end or len(body) < (body_bytes(head) or 0):
            return
        self._buffer = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status(head))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(0)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


P = TypeVar("P", Reader, Asker)


async def connect(protocol: P, port: int, *, receive_bytes: int = 0) -> P:
    """`receive_bytes` of the kernel's buffer, 0 is its own choice. Raises BrokerUnreachableError where nobody listens,
    ChatmeshError where this process may open no more."""
    try:
        await _connect(protocol, port, receive_bytes)
    except ConnectionRefusedError as error:
        raise BrokerUnreachableError("nobody listens", where=f"127.0.0.1:{port}") from error
    except OSError as error:
        raise ChatmeshError(
            f"the benchmark's client can't connect: {os.strerror(error.errno or 0)}",
            where=f"127.0.0.1:{port}",
            mend="Raise the number of open files (`ulimit -n`), or measure less.",
        ) from error
    return protocol


async def _connect(protocol: Reader | Asker, port: int, receive_bytes: int) -> None:
    loop = asyncio.get_running_loop()
    peer = socket.socket()
    try:
        peer.setblocking(False)
        if receive_bytes:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await loop.sock_connect(peer, ("127.0.0.1", port))
    except BaseException:
        peer.close()
        raise
    await loop.create_connection(lambda: protocol, sock=peer)


async def opened(port: int, request: bytes, *, keeps: bool = True, receive_bytes: int = 0) -> Reader:
    """A stream that has begun. Raises ChatmeshError where it is refused."""
    reader = await connect(Reader(keeps=keeps), port, receive_bytes=receive_bytes)
    reader.ask(request)
    code = await reader.opened
    if code != 200:
        raise ChatmeshError(f"a stream was refused with {code or 'a cut connection'}", where=f"port {port}")
    return reader


async def together(tasks: Iterable[Callable[[], Awaitable[T]]], *, at_once: int = AT_ONCE) -> list[T]:
    """All of them, so many at a time; what they return, in their order. The first error ends them all."""
    gate = asyncio.Semaphore(at_once)

    async def one(task: Callable[[], Awaitable[T]]) -> T:
        async with gate:
            return await task()

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(one(task)) for task in tasks]
    return [each.result() for each in running]
