"""An event stream that has left aiohttp: what it still has to do, and that nothing of aiohttp is left of it. These pin what
`Connection.move` leans on, with both event loops' transports."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import socket
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from tests.support.waiting import eventually
from tests.web.serving import Serving, Wire, serving
from tests.web.test_leaving import rest_of

FOR_EVER = 3600.0
GET = b"GET /moved HTTP/1.1\r\nHost: x\r\n\r\n"
OPENING = b"8\r\n: open\n\n\r\n"
END = b"0\r\n\r\n"


Steps = Callable[[], Coroutine[Any, Any, None]]


def on_both_loops(test: Steps) -> Callable[[str], None]:
    """Standard library's and uvloop's, whatever runs the other tests. A plain function: the runner is its own."""

    @pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
    @wraps(test)
    def run(loop: str) -> None:
        make = importlib.import_module(loop).new_event_loop
        with asyncio.Runner(loop_factory=make) as runner:
            runner.run(_and_nothing_is_left(test))

    # pytest would take the coroutine function behind it for the test. mypy does not know of what `wraps` adds.
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


async def _and_nothing_is_left(test: Steps) -> None:
    async with asyncio.timeout(30):
        await test()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def opened(served: Serving, request: bytes = GET) -> tuple[Wire, bytes]:
    """A client whose stream was moved, and the head of its answer."""
    before = len(served.held.moved)
    wire = await served.connect(request)
    head = await wire.head()
    await eventually(lambda: len(served.held.moved) > before)
    return wire, head


def open_connections() -> float:
    return REGISTRY.get_sample_value("chatmesh_http_connections") or 0.0


def counted(route: str = "/moved", status: str = "200") -> float:
    labels = {"route": route, "status": status}
    return REGISTRY.get_sample_value("chatmesh_http_requests_total", labels) or 0.0


def aiohttps() -> list[object]:
    """What aiohttp keeps of an open request in this process."""
    gc.collect()
    kinds = (web.RequestHandler, web.Request, web.StreamResponse)
    return [thing for thing in gc.get_objects() if isinstance(thing, kinds)]


@on_both_loops
async def test_moved_stream_is_one_answer_of_which_aiohttp_keeps_nothing() -> None:
    connections, requests = open_connections(), counted()
    async with serving() as served:
        tasks = len(asyncio.all_tasks())
        wire, head = await opened(served)
        assert b"connection: close" in head.lower(), "its socket never goes back to aiohttp"
        assert b"transfer-encoding: chunked" in head.lower()
        await eventually(lambda: not aiohttps())
        assert len(asyncio.all_tasks()) == tasks
        assert (open_connections(), counted()) == (connections + 1, requests + 1)
        (stream,) = served.held.moved
        stream.write_nowait(b"data: 1\n\n")
        assert await wire.exactly(len(OPENING)) == OPENING
        assert await wire.exactly(14) == b"9\r\ndata: 1\n\n\r\n"
        stream.finish()
        stream.write_nowait(b"data: too late\n\n")
        assert await wire.rest() == END, "a clean end, and of the connection too"
        await eventually(lambda: served.held.lost == [stream])
        assert open_connections() == connections
        await wire.close()


@on_both_loops
async def test_client_of_a_moved_stream_that_leaves_is_heard_of_while_nothing_is_written() -> None:
    connections = open_connections()
    async with serving() as served:
        wire, _ = await opened(served)
        (stream,) = served.held.moved
        assert not stream.is_closed
        await wire.close()
        await eventually(lambda: served.held.lost == [stream])
        assert stream.is_closed
        stream.write_nowait(b"data: to nobody\n\n")
        assert (stream.buffered, open_connections()) == (0, connections)


@on_both_loops
async def test_what_a_client_sends_behind_its_request_is_read_away_however_much_it_is() -> None:
    """aiohttp stops to read where so many requests wait, and the stream has to go on."""
    async with serving() as served:
        ahead = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n" * 100
        wire, _ = await opened(served, GET + ahead)
        (stream,) = served.held.moved
        for _ in range(20):
            wire.send(b"x" * 65_536)
            await wire.sent()
        stream.write_nowait(b"data: 1\n\n")
        stream.finish()
        assert await wire.rest() == OPENING + b"9\r\ndata: 1\n\n\r\n" + END
        await wire.close()
        await eventually(lambda: served.held.lost == [stream])


@on_both_loops
async def test_moved_stream_of_an_old_client_has_no_chunks_and_ends_with_its_connection() -> None:
    async with serving() as served:
        wire, head = await opened(served, b"GET /moved HTTP/1.0\r\nHost: x\r\n\r\n")
        assert b"chunked" not in head.lower()
        (stream,) = served.held.moved
        stream.write_nowait(b"data: 1\n\n")
        stream.finish()
        assert await wire.rest() == b": open\n\ndata: 1\n\n"
        await wire.close()


@on_both_loops
async def test_moved_stream_that_is_aborted_has_no_clean_end() -> None:
    async with serving() as served:
        wire, _ = await opened(served)
        (stream,) = served.held.moved
        assert await wire.exactly(len(OPENING)) == OPENING
        stream.abort()
        stream.finish()
        assert await wire.rest() == b""
        await eventually(lambda: served.held.lost == [stream])
        await wire.close()


@on_both_loops
async def test_moved_stream_of_an_old_client_is_reset_where_it_is_aborted() -> None:
    """Its end is the connection's, so one in order would be a whole answer."""
    async with serving() as served:
        wire, _ = await opened(served, b"GET /moved HTTP/1.0\r\nHost: x\r\n\r\n")
        (stream,) = served.held.moved
        stream.write_nowait(b"data: 1\n\n")
        assert await wire.exactly(len(b": open\n\ndata: 1\n\n")) == b": open\n\ndata: 1\n\n"
        stream.abort()
        with pytest.raises(ConnectionResetError):
            await wire.exactly(1)
        await eventually(lambda: served.held.lost == [stream])
        await wire.close()


@on_both_loops
async def test_server_with_200_moved_streams_ends_when_they_are_ended() -> None:
    async with serving(shutdown_seconds=FOR_EVER) as served:
        wires = [(await opened(served))[0] for _ in range(200)]
        served.server.drain()
        await served.ended()
        for wire in wires:
            assert await wire.rest() == OPENING + END
            await wire.close()
        assert len(served.held.lost) == 200


@on_both_loops
async def test_moved_streams_that_nobody_ends_are_cut_with_the_server() -> None:
    async with serving(shutdown_seconds=0.1) as served:
        served.held.ends_streams = False
        wires = [(await opened(served))[0] for _ in range(5)]
        served.server.drain()
        await served.ended()
        for wire in wires:
            assert await wire.rest() == OPENING, "no last chunk"
            await wire.close()
        await eventually(lambda: len(served.held.lost) == 5)


@pytest.mark.slow
@on_both_loops
async def test_client_that_takes_nothing_of_a_moved_stream_is_cut_also_when_it_has_ended() -> None:
    before = REGISTRY.get_sample_value("chatmesh_http_stalled_total") or 0.0
    async with serving(write_timeout_seconds=0.2) as served:
        raws = [await asleep(served) for _ in range(2)]
        await eventually(lambda: len(served.held.moved) == 2)
        for stream in served.held.moved:
            for _ in range(64):
                stream.write_nowait(b"x" * 65_536)
        served.held.moved[0].finish()
        await eventually(lambda: len(served.held.lost) == 2)
        assert REGISTRY.get_sample_value("chatmesh_http_stalled_total") == before + 2
        for raw in raws:
            assert await rest_of(raw) < 64 * 65_536


async def asleep(served: Serving) -> socket.socket:
    """Asks, and takes nothing."""
    raw = socket.socket()
    raw.setblocking(False)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", served.port))
    await loop.sock_sendall(raw, GET)
    return raw


async def test_move_is_no_failure_for_aiohttp_and_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving() as served:
        wire, _ = await opened(served)
        served.held.moved[0].finish()
        await wire.rest()
        await wire.close()
    assert [record.name for record in caplog.records if record.name.startswith("aiohttp")] == []
