"""The web server alone, with routes of the test, and clients that speak bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import orjson
from prometheus_client import REGISTRY

from chatmesh.web import (
    EventSink,
    Moved,
    Request,
    Response,
    Route,
    Server,
    ServerSettings,
    Stream,
    json_response,
    read_body,
)

LIMIT_SECONDS = 0.4
"""What the tests give a request to arrive."""

LARGE_BYTES = 8 * 2**20
"""More than any kernel takes for one connection."""

PATIENCE_SECONDS = 15.0
"""How long a test waits for what has to happen; loaded machines are slow."""


class Held:
    """Routes `/ok`, `/echo` (reads the body), `/slow` (until released), `/stream` (until released), `/moved` (for the test to
    go on with), `/large` and `/broken`."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.has_left = False
        self.moved: list[Stream] = []
        self.lost: list[Stream] = []
        self.ends_streams = True
        """When the server leaves."""

    async def leave(self) -> None:
        """What the server calls before it stops listening."""
        self.has_left = True
        if self.ends_streams:
            for stream in self.moved:
                stream.finish()

    @property
    def routes(self) -> list[Route]:
        return [
            Route("GET", "/ok", self._ok),
            Route("POST", "/ok", self._ok),
            Route("POST", "/echo", self._echo),
            Route("GET", "/slow", self._slow),
            Route("GET", "/stream", self._stream, is_stream=True),
            Route("GET", "/moved", self._moved, is_stream=True),
            Route("GET", "/large", self._large),
            Route("GET", "/broken", self._broken),
        ]

    async def _ok(self, _request: Request) -> Response:
        return json_response({"ok": True})

    async def _echo(self, request: Request) -> Response:
        body = await read_body(request, max_bytes=100_000, seconds=LIMIT_SECONDS)
        return json_response({"bytes": len(body)})

    async def _slow(self, _request: Request) -> Response:
        await self.release.wait()
        return json_response({"ok": True})

    async def _stream(self, request: Request) -> Response:
        sink = await EventSink.open(request, b": open\n\n")
        await self.release.wait()
        sink.write_nowait(b"data: last\n\n")
        return sink.finish()

    async def _moved(self, request: Request) -> Response:
        stream = (await EventSink.open(request, b": open\n\n", is_last=True)).move()
        stream.on_lost = lambda: self.lost.append(stream)
        self.moved.append(stream)
        raise Moved

    async def _large(self, _request: Request) -> Response:
        return json_response({"text": "x" * LARGE_BYTES})

    async def _broken(self, _request: Request) -> Response:
        raise RuntimeError("a secret")


@dataclass
class Serving:
    port: int
    held: Held
    server: Server
    task: asyncio.Task[None]

    async def connect(self, sent: bytes = b"") -> Wire:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port))
        wire.send(sent)
        return wire

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.wait({self.task})


@asynccontextmanager
async def serving(
    *,
    request_timeout_seconds: float = LIMIT_SECONDS,
    write_timeout_seconds: float = 30,
    drain_wait_seconds: float = 0,
    shutdown_seconds: float = 2,
) -> AsyncIterator[Serving]:
    """A server that is up; drained at the end."""
    held = Held()
    settings = ServerSettings(
        "127.0.0.1",
        0,
        max_body_bytes=100_000,
        request_timeout_seconds=request_timeout_seconds,
        write_timeout_seconds=write_timeout_seconds,
        drain_wait_seconds=drain_wait_seconds,
        shutdown_seconds=shutdown_seconds,
    )
    server = Server(settings, held.routes, leave=held.leave)
    up = asyncio.Event()
    task = asyncio.create_task(server.run(up.set))
    waiter = asyncio.create_task(up.wait())
    await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    serving = Serving(server.port, held, server, task)
    try:
        yield serving
    finally:
        held.release.set()
        server.drain()
        await serving.ended()
    if not task.cancelled():
        task.result()


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        value: dict[str, Any] = orjson.loads(self.body)
        assert value["status"] == self.status
        assert value["request_id"] == self.headers["x-request-id"]
        return value


class Wire:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def reply(self, *, has_body: bool = True) -> Reply:
        """The next answer, whole."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = await self.head()
            status, *lines = head.decode().rstrip().split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            length = int(headers.get("content-length", "0")) if has_body else 0
            return Reply(int(status.split()[1]), headers, await self._reader.readexactly(length))

    async def head(self) -> bytes:
        """Of the next answer, with its empty line."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def exactly(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._reader.readexactly(count)

    async def sent(self) -> None:
        """The server takes what was sent."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._writer.drain()

    async def line(self) -> bytes:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._reader.readline()

    async def rest(self) -> bytes:
        """What still comes until the server closes the connection."""
        parts = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            with suppress(ConnectionError):
                while part := await self._reader.read(65536):
                    parts.append(part)
        return b"".join(parts)

    async def dribble(self, part: bytes, *, every_seconds: float) -> bytes:
        """Sends `part` over and over until the server closes the connection. Returns what came meanwhile."""
        rest = asyncio.create_task(self.rest())
        while not rest.done():
            self.send(part)
            await asyncio.wait({rest}, timeout=every_seconds)
        return rest.result()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


def late(missing: str) -> float:
    """How many requests came late so far, by what was missing of them."""
    return REGISTRY.get_sample_value("chatmesh_http_late_total", {"missing": missing}) or 0.0
