"""What the tests of TLS share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.support.broker import Broker
from tests.support.ports import free_port

USER, PASSWORD = "ann", "xyzzy-secret"
LOGIN = {"user": USER, "password": PASSWORD}
CREDENTIALS = (f"nats.user={USER}", f"nats.password={PASSWORD}")

GREETING = {"server_id": "X", "version": "2.15.0", "max_payload": 1_048_576, "headers": True, "proto": 1}


def encrypted(broker: Broker) -> str:
    """Its address as `tls://`."""
    return broker.url.replace("nats://", "tls://")


class Recorder:
    """Whoever answers in the server's place: greets each connection as it likes, and keeps every byte that comes."""

    def __init__(self, greet: Callable[[], bytes]) -> None:
        self.port = free_port()
        self.received: list[bytearray] = []
        self.hangs_up = False
        """At the first PING, without a word."""
        self._greet = greet

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def everything(self) -> bytes:
        return b"".join(bytes(connection) for connection in self.received)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = bytearray()
        self.received.append(received)
        try:
            writer.write(self._greet())
            await writer.drain()
            while data := await reader.read(4096):
                received += data
                if b"PING\r\n" in data:
                    if self.hangs_up:
                        return
                    writer.write(b"PONG\r\n")
        except ConnectionError:
            pass
        finally:
            writer.close()


def greeting(**more: object) -> bytes:
    """The server's first line."""
    return b"INFO " + json.dumps(GREETING | more).encode() + b"\r\n"


@asynccontextmanager
async def recording(greet: Callable[[], bytes], port: int | None = None) -> AsyncIterator[Recorder]:
    recorder = Recorder(greet)
    recorder.port = port or recorder.port
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", recorder.port)
    try:
        yield recorder
    finally:
        server.close()
