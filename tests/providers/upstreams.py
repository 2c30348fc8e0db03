"""Models' servers for tests: a real socket, one scripted answer for each request, and a record of what was asked.

A script is bytes that are sent as they are, cut wherever a test wants them cut; nothing here knows HTTP beyond the length
of a request's body.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HANG_UP = "hang up"

Step = bytes | asyncio.Event | str | None
"""Bytes to send; an event to wait for; HANG_UP: end the connection; None: say nothing more and keep it open until the other
side ends it."""


@dataclass
class Asked:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Upstream:
    """`scripts`: the answers, in order; the last one is given again and again."""

    scripts: Sequence[Sequence[Step]]
    asked: list[Asked] = field(default_factory=list)
    open: int = 0
    most_open: int = 0
    connections: int = 0
    left: list[bool] = field(default_factory=list)
    """For each connection that ended: whether it was ended by the other side before its answer was complete."""
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        is_complete = True
        try:
            while (asked := await _request(reader)) is not None:
                is_complete = False
                script = self.scripts[min(len(self.asked), len(self.scripts) - 1)]
                self.asked.append(asked)
                if not await self._play(script, reader, writer):
                    break
                is_complete = True
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            self.left.append(not is_complete)
            writer.close()

    async def _play(
        self, script: Sequence[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the connection may be used again."""
        for step in script:
            if step is None:
                assert await reader.read(1) == b""  # returns when the other side ends the connection
                return False
            if step == HANG_UP:
                return False
            if isinstance(step, asyncio.Event):
                gone = asyncio.ensure_future(reader.read(1))
                ready = asyncio.ensure_future(step.wait())
                await asyncio.wait({gone, ready}, return_when=asyncio.FIRST_COMPLETED)
                ready.cancel()
                if gone.done():
                    return False
                gone.cancel()
                await asyncio.wait({gone})
            elif isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
        # Without a length the end of the answer is the end of the connection.
        head = b"".join(step for step in script if isinstance(step, bytes)).lower()
        return b"chunked" in head or b"content-length" in head


async def _request(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    line, *fields = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in fields)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(line, headers, json.loads(body or b"{}"))


@asynccontextmanager
async def upstream(*scripts: Sequence[Step]) -> AsyncIterator[Upstream]:
    """A server on a free port of the loopback, closed with all its connections at the end."""
    server = Upstream(scripts)
    tasks: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(begin, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"


def chunked(data: bytes) -> bytes:
    """One piece of a body of unknown length."""
    return b"%x\r\n%s\r\n" % (len(data), data) if data else b""


def stream(*pieces: bytes, end: bytes = END) -> list[Step]:
    """A whole stream of these pieces, each a write of its own."""
    return [STREAM_HEAD, *(chunked(piece) for piece in pieces), end]


def status(code: int, body: object = "", **headers: str) -> list[Step]:
    """An answer that is no stream; `headers` with `_` for `-`."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "text/html" if isinstance(body, str) else "application/json"
    fields = {"Content-Type": kind, "Content-Length": str(len(data)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return [f"HTTP/1.1 {code} Whatever\r\n{lines}\r\n".encode() + data]


def data(*values: object) -> bytes:
    """Unnamed events, as OpenAI sends them; text as it is."""
    texts = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def named(values: Iterable[dict[str, Any]]) -> bytes:
    """Events that are named by their type, as Anthropic sends them."""
    return "".join(
        f"event: {value['type']}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n" for value in values
    ).encode()
