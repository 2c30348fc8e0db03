"""A reader on a bare socket: it reads only when told to, into a small receive buffer."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from chatmesh.web.outgoing import Outgoing

_open: set[tuple[str, int]] = set()
"""The addresses of all open readers."""

END = b"\r\n0\r\n\r\n"
"""The last chunk of a chunked body: a clean end, and no cut."""


class RawReader:
    """`received` is everything that was read, as it was on the wire."""

    def __init__(self, raw: socket.socket) -> None:
        self._socket = raw
        self.received = b""

    async def read(self, most_bytes: int = 65_536) -> bool:
        """Takes what comes next; False at the end, clean or not."""
        try:
            part = await asyncio.get_running_loop().sock_recv(self._socket, most_bytes)
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
    def blocks(self) -> list[str]:
        """Every whole block so far: events and comments."""
        return self._body().decode().split("\n\n")[:-1]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """Every chunk shown so far."""
        lines = [line for block in self.blocks if "event:" not in block for line in block.split("\n")]
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]

    @property
    def position(self) -> str:
        """What a client would send back."""
        lines = [line for block in self.blocks for line in block.split("\n")]
        return [line.removeprefix("id: ") for line in lines if line.startswith("id: ")][-1]

    def _body(self) -> bytes:
        _, _, rest = self.received.partition(b"\r\n\r\n")
        body = bytearray()
        at = 0
        while (end := rest.find(b"\r\n", at)) > at:
            length = int(rest[at:end], 16)
            body += rest[end + 2 : end + 2 + length]  # the last one perhaps in part
            at = end + 2 + length + 2
        return bytes(body)


@asynccontextmanager
async def raw_reader(url: str, path: str, *, receive_bytes: int = 4096) -> AsyncIterator[RawReader]:
    """Sends the GET and reads nothing."""
    address = urlsplit(url)
    loop = asyncio.get_running_loop()
    with socket.socket() as raw, ExitStack() as stack:
        raw.setblocking(False)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await loop.sock_connect(raw, (address.hostname, address.port))
        own = raw.getsockname()
        stack.callback(_open.discard, own)
        _open.add(own)
        head = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\nAccept: text/event-stream\r\n\r\n"
        await loop.sock_sendall(raw, head.encode())
        yield RawReader(raw)


def all_buffered() -> list[int]:
    """Bytes that wait in this process for each open `RawReader` that it serves; no public name shows a single connection.
    Other tests' connections may be alive still, on loops that never run again."""
    wires = [
        thing.wire for thing in gc.get_objects() if isinstance(thing, Outgoing) and thing.wire is not None
    ]
    return [wire.get_write_buffer_size() for wire in wires if wire.get_extra_info("peername") in _open]


def most_buffered() -> int:
    """The same for the slowest."""
    return max(all_buffered(), default=0)
