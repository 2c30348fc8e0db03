"""The server's end: what goes on while it leaves, what is waited for, and what is cut."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import suppress

from chatmesh.web.connection import Connection
from chatmesh.web.outgoing import SEND_BUFFER_BYTES
from tests.support.waiting import eventually
from tests.web.serving import LARGE_BYTES, PATIENCE_SECONDS, Serving, Wire, serving

FOR_EVER = 3600.0

OK, SLOW, STREAM, LARGE = (
    f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in ("/ok", "/slow", "/stream", "/large")
)


async def end_at_once(served: Serving) -> None:
    """What a second signal does."""
    served.task.cancel()
    await served.ended()
    assert served.task.cancelled()


async def stalled(served: Serving, request: bytes = LARGE) -> socket.socket:
    """Asks, and takes nothing of the answer."""
    raw = socket.socket()
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", served.port))
    await loop.sock_sendall(raw, request)
    await eventually(lambda: any(_waiting(transport) for transport in transports()))
    return raw


async def rest_of(raw: socket.socket) -> int:
    """Bytes that can be read to the end of the connection."""
    count = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        with suppress(ConnectionError):
            while part := await asyncio.get_running_loop().sock_recv(raw, 2**20):
                count += len(part)
    raw.close()
    return count


def transports() -> list[asyncio.Transport]:
    """Of the connections that are open in this process; no public name shows them."""
    found = [thing.transport for thing in gc.get_objects() if isinstance(thing, Connection)]
    return [transport for transport in found if transport is not None]


def _waiting(transport: asyncio.Transport) -> int:
    return transport.get_write_buffer_size()


async def test_leaving_server_answers_new_connections_while_it_waits_and_then_closes_each() -> None:
    async with serving(drain_wait_seconds=FOR_EVER) as served:
        kept = await served.connect(OK)
        assert "connection" not in (await kept.reply()).headers
        served.server.drain()
        kept.send(OK)
        for wire in (kept, await served.connect(OK)):
            reply = await wire.reply()
            assert (reply.status, reply.headers["connection"]) == (200, "close")
            assert await wire.rest() == b""
            await wire.close()
        assert not served.held.has_left
        await end_at_once(served)


async def test_requests_under_way_are_answered_and_then_the_server_has_ended() -> None:
    async with serving(shutdown_seconds=FOR_EVER) as served:
        slow, stream = await served.connect(SLOW), await served.connect(STREAM)
        while await stream.line() != b": open\n":
            pass
        served.server.drain()
        await eventually(lambda: served.held.has_left)
        await eventually(lambda: _is_refused(served))
        served.held.release.set()
        assert (await slow.reply()).status == 200
        assert (await stream.rest()).endswith(b"data: last\n\n\r\n0\r\n\r\n"), "a clean end"
        assert await slow.rest() == b""
        await served.ended()
        for wire in (slow, stream):
            await wire.close()


async def test_idle_connections_are_closed_at_once() -> None:
    async with serving(request_timeout_seconds=FOR_EVER, shutdown_seconds=FOR_EVER) as served:
        wires = [await served.connect(sent) for sent in (b"", OK[:20], OK)]
        assert (await wires[-1].reply()).status == 200
        served.server.drain()
        await served.ended()
        for wire in wires:
            assert await wire.rest() == b""
            await wire.close()


async def test_request_that_takes_longer_than_the_shutdown_is_cut() -> None:
    async with serving(shutdown_seconds=0.2) as served:
        slow = await served.connect(SLOW)
        await eventually(lambda: len(transports()) == 1)
        served.server.drain()
        assert await slow.rest() == b""
        await served.ended()
        await slow.close()


async def test_client_that_takes_nothing_does_not_hold_up_the_end() -> None:
    async with serving(shutdown_seconds=0.2) as served:
        raw = await stalled(served)
        served.server.drain()
        await served.ended()
        assert await rest_of(raw) < LARGE_BYTES, "what the kernel had, and a cut"


async def test_cancel_while_leaving_ends_at_once_whatever_is_open() -> None:
    async with serving(shutdown_seconds=FOR_EVER) as served:
        wires = [await served.connect(sent) for sent in (b"", OK, SLOW, STREAM)]
        raw = await stalled(served)
        served.server.drain()
        await eventually(lambda: served.held.has_left)
        await end_at_once(served)
        assert await rest_of(raw) < LARGE_BYTES
        for wire in wires:
            await wire.rest()
            await wire.close()


async def test_kernel_holds_little_for_a_connection_whatever_was_answered_on_it_before() -> None:
    async with serving() as served:
        wire = await served.connect(LARGE)
        assert len((await wire.reply()).body) > LARGE_BYTES
        wire.send(STREAM)
        while await wire.line() != b": open\n":
            pass
        (transport,) = transports()
        held = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        assert held <= 2 * SEND_BUFFER_BYTES  # Linux doubles what it is told
        await wire.close()


async def _is_refused(served: Serving) -> bool:
    try:
        wire: Wire = await served.connect()
    except ConnectionRefusedError:
        return True
    await wire.close()
    return False
