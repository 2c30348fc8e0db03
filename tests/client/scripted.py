"""Pods that say what a test tells them to: raw bytes for each connection, then the end of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HOLD = b"(hold)"
"""At the end of an answer: the connection stays open, and nothing comes."""


@dataclass
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Pod:
    """`answers` are used up one for each request, the last one stays; several pods may share them."""

    answers: list[bytes]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked.append(await _request(reader))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            writer.write(answer.removesuffix(HOLD))
            if answer.endswith(HOLD):
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


def stream(*blocks: str, hold: bool = False) -> bytes:
    """An answer of events; it ends with the connection, cleanly."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    return head + "".join(blocks).encode() + (HOLD if hold else b"")


def torn(*blocks: str) -> bytes:
    """The same, but the connection is cut before the body's end."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 1000000\r\n\r\n"
    return head + "".join(blocks).encode()


def answer(status: int, body: object = None, **headers: str) -> bytes:
    """A whole answer."""
    data = b"" if body is None else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "Connection: close", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def event(number: int, *, is_final: bool = False) -> str:
    """A chunk as pods send it."""
    chunk = json.dumps({"message_id": "m", "chunk_id": number, "is_final": is_final})
    return f"id: p{number}\ndata: {chunk}\n\n"


@asynccontextmanager
async def pods(*scripts: list[bytes]) -> AsyncIterator[list[Pod]]:
    """One pod for each script."""
    async with AsyncExitStack() as stack:
        found = []
        for answers in scripts:
            pod = Pod(answers)
            server = await asyncio.start_server(pod.serve, "127.0.0.1", 0)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            pod.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            found.append(pod)
        yield found


async def _request(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(first.split()[1], headers, json.loads(body) if body else {})
