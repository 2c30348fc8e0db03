"""A reader on a bare socket: it reads only when told to, into a small receive buffer."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

END = b"\r\n0\r\n\r\n"
"""The last chunk of a chunked body: a clean end, and no cut."""


class RawReader:
    """`received` is everything that was read, as it was on the wire."""

    def __init__(self, raw: socket.socket) -> None:
        self._socket = raw
        self.received = b""

    async def read(self) -> bool:
        """Takes what comes next; False at the end, clean or not."""
        try:
            part = await asyncio.get_running_loop().sock_recv(self._socket, 65_536)
        except ConnectionResetError:
            return False
        self.received += part
        return bool(part)

    async def read_all(self) -> None:
        """Until the connection ends, or the stream does."""
        while not self.received.endswith(END) and await self.read():
            pass

    @property
    def is_cut(self) -> bool:
        return not self.received.endswith(END)

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """Every chunk shown so far; what came of an unfinished block is left out."""
        *blocks, _ = self._body().decode().split("\n\n")
        lines = [line for block in blocks if "event:" not in block for line in block.split("\n")]
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]

    def _body(self) -> bytes:
        _, _, rest = self.received.partition(b"\r\n\r\n")
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size or b"0", 16)
            body += rest[:length]
            rest = rest[length + 2 :]
        return body


@asynccontextmanager
async def raw_reader(url: str, path: str, *, receive_bytes: int = 4096) -> AsyncIterator[RawReader]:
    """Sends the GET and reads nothing."""
    address = urlsplit(url)
    raw = socket.socket()
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(raw, (address.hostname, address.port))
        head = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAccept: text/event-stream\r\n\r\n"
        await loop.sock_sendall(raw, head.encode())
        yield RawReader(raw)
    finally:
        raw.close()
