"""A TCP proxy between a process and its broker that does what networks do: delay, swallow, reset, refuse."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Self

from tests.support.ports import free_port

_CHUNK_BYTES = 64 * 1024
# What is on its way at once in one direction: bounds memory, and TCP's own flow control does the rest.
_CHUNKS_IN_FLIGHT = 64
_MAX_CONNECTIONS = 512

# When it may go on, and what: bytes, nothing for an orderly end, None for a reset.
_Held = tuple[float, bytes | None]


class FaultProxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`target_port`. Faults hold for open and for new connections.

    `latency_seconds` delays every byte by that much in each direction, without taking throughput. `target_port` may be
    changed: new connections go there.
    """

    def __init__(self, target_port: int) -> None:
        self.latency_seconds = 0.0
        self.port = free_port()
        self.target_port = target_port
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where a NATS client connects to go through the proxy."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open through the proxy."""
        return len(self._links)

    def cut(self) -> None:
        """Reset (RST) every open connection on both sides. New ones are accepted."""
        for link in self._links:
            link.reset()

    def blackhole(self, on: bool = True) -> None:
        """Forward nothing, not even an end, and keep all sockets open; off again, what was held back arrives."""
        if on:
            self._flowing.clear()
        else:
            self._flowing.set()

    async def refuse(self, on: bool = True) -> None:
        """Refuse new connections (nobody listens); open ones live on."""
        if on and self._server is not None:
            self._server.close()
            self._server = None
        elif not on and self._server is None:
            await self._listen()

    async def stop(self) -> None:
        """Close everything; on return no task of the proxy is left."""
        await self.refuse(True)
        self.cut()
        for link in list(self._links):
            await link.ended.wait()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._links) >= _MAX_CONNECTIONS:
            _reset(writer)
            return
        link = _Link(self, writer)
        self._links.add(link)
        try:
            await link.run(reader, self.target_port)
        finally:
            self._links.discard(link)
            link.ended.set()

    async def pass_on(self, due: float) -> None:
        """Return when something that is `due` at that time of the loop may go on."""
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        await self._flowing.wait()


class _Link:
    """One connection through the proxy. A reset ends it through its task group, so it leaves no task."""

    def __init__(self, proxy: FaultProxy, downstream: asyncio.StreamWriter) -> None:
        self.ended = asyncio.Event()
        self._proxy = proxy
        self._writers = [downstream]
        self._task = asyncio.current_task()

    def reset(self) -> None:
        for writer in self._writers:
            _reset(writer)
        if self._task is not None:
            self._task.cancel()

    async def run(self, reader: asyncio.StreamReader, target_port: int) -> None:
        try:
            target_reader, target = await asyncio.open_connection("127.0.0.1", target_port)
            self._writers.append(target)
            async with asyncio.TaskGroup() as pumps:
                for source, sink in ((reader, target), (target_reader, self._writers[0])):
                    held: asyncio.Queue[_Held] = asyncio.Queue(_CHUNKS_IN_FLIGHT)
                    pumps.create_task(self._take(source, held))
                    pumps.create_task(self._give(held, sink))
            for writer in self._writers:
                writer.close()
                await writer.wait_closed()
        except* (OSError, asyncio.CancelledError):
            for writer in self._writers:
                _reset(writer)

    async def _take(self, source: asyncio.StreamReader, held: asyncio.Queue[_Held]) -> None:
        loop = asyncio.get_running_loop()
        data: bytes | None = None
        while data != b"":
            try:
                data = await source.read(_CHUNK_BYTES)
            except OSError:
                data = None
            await held.put((loop.time() + self._proxy.latency_seconds, data))
            if data is None:
                return

    async def _give(self, held: asyncio.Queue[_Held], sink: asyncio.StreamWriter) -> None:
        while True:
            due, data = await held.get()
            await self._proxy.pass_on(due)
            if data is None:
                raise ConnectionResetError
            if data == b"":
                sink.write_eof()
                return
            sink.write(data)
            await sink.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: what is not sent yet is lost, as it is when a cable is pulled and the peer gives up."""
    raw = writer.get_extra_info("socket")
    if raw is not None and not writer.transport.is_closing():
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
