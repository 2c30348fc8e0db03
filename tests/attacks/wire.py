"""Requests as bytes, which no HTTP client would send, and every door that takes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client

from chatmesh.app import Mesh
from tests.auth.support import bearer, token
from tests.support.watching import Watch, watching

PATIENCE_SECONDS = 20.0

Headers = Mapping[str, bytes | str]


@dataclass(frozen=True)
class Answer:
    """`body` without its framing where it is chunked; of a stream, what came until it ended."""

    status: int
    head: bytes
    body: bytes

    @property
    def code(self) -> str | None:
        """The error's, in whichever format."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return None
        found: str | None = said.get("code") or (said.get("error") or {}).get("code")
        return found


@dataclass(frozen=True)
class Door:
    """A request that is good but for what an attacker puts into it."""

    method: str
    path: str
    body: Any = None

    def request(
        self, headers: Headers | None = None, *, path: bytes | None = None, body: bytes | None = None
    ) -> bytes:
        """As bytes; alice's own."""
        content = body if body is not None else json.dumps(self.body).encode() if self.body else b""
        said: dict[str, bytes | str] = {"Host": "pod", "Connection": "close", **bearer(token("alice"))}
        if content:
            said |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        lines = [f"{self.method} ".encode() + (path or self.path.encode()) + b" HTTP/1.1"]
        lines += [
            name.encode() + b": " + _bytes(value) for name, value in (said | dict(headers or {})).items()
        ]
        return b"\r\n".join([*lines, b"", content])


USER = {"role": "user", "content": "go"}
PARTS = {"role": "user", "parts": [{"type": "text", "text": "go"}]}

NATIVE = Door("POST", "/v1/sessions/s/messages", {"message": "go", "context": {"model": "echo"}})
CHAT = Door("POST", "/v1/chat/completions", {"model": "echo", "messages": [USER]})
RESPONSES = Door("POST", "/v1/responses", {"model": "echo", "input": "go"})
VERCEL = Door("POST", "/api/chat", {"id": "s", "model": "echo", "message": PARTS})
TICKET = Door("POST", "/v1/sessions/s/ticket")
SHARE = Door("POST", "/v1/sessions/s/share", {"ttl": 60})

SAYING = {"native": NATIVE, "chat completions": CHAT, "responses": RESPONSES, "vercel": VERCEL}
"""Every door by which a message comes in."""


async def ask(mesh: Mesh, request: bytes) -> Answer:
    """Sends the bytes; reads until the pod closes the connection."""
    assert mesh.server is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", mesh.server.port)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            writer.write(request)
            received = await reader.read(-1)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    head, _, body = received.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        body = unchunked(body)
    return Answer(int(head.split(None, 2)[1]), head, body)


def unchunked(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        parts.append(rest[:length])
        body = rest[length + 2 :]
    return b"".join(parts)


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


@asynccontextmanager
async def everything(client: Client) -> AsyncIterator[Watch]:
    """Every message on NATS, whoever sends it, on any subject."""
    async with watching(client, ">") as watch:
        yield watch
        await client.flush()
