"""People who have a page open and say nothing: what they cost a pod, and that they miss nothing of what it still owes them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client import REGISTRY

from chatmesh.app import Mesh
from tests.sse.raw import END, RawReader, raw_reader
from tests.support.broker import Broker
from tests.support.mesh import is_ready, pod_and_client
from tests.support.processes import Process, free_port
from tests.support.reading import post
from tests.support.waiting import eventually

READERS = 200

MOST_KIB = 6.0
"""Of memory for an idle stream; 3 were measured, and 18 where aiohttp kept its connection."""


def url_of(mesh: Mesh) -> str:
    assert mesh.server is not None
    return mesh.server.url


def readers() -> float:
    return REGISTRY.get_sample_value("chatmesh_readers") or 0.0


@asynccontextmanager
async def idle(url: str, count: int = READERS, path: str = "events") -> AsyncIterator[list[RawReader]]:
    """Readers of a session each, who have got their opening."""
    async with AsyncExitStack() as stack:
        found = []
        for number in range(count):
            reader = await stack.enter_async_context(raw_reader(url, f"/v1/sessions/s{number}/{path}"))
            while not reader.blocks:
                assert await reader.read()
            found.append(reader)
        yield found


async def test_idle_streams_have_no_task_and_still_get_what_comes(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (mesh, client):
        tasks = len(asyncio.all_tasks())
        async with idle(url_of(mesh), 20) as idles:
            await eventually(lambda: len(asyncio.all_tasks()) == tasks)
            assert readers() == 20
            for number, reader in enumerate(idles):
                await post(client, f"s{number}", model="count", max_tokens=3)
                while len(reader.chunks) < 4:
                    assert await reader.read()
                assert [chunk["chunk_id"] for chunk in reader.chunks] == [0, 1, 2, 3]
        await eventually(lambda: readers() == 0, message="an idle reader who left was noticed")


async def test_idle_readers_of_a_pod_that_leaves_are_told_and_their_streams_end(broker: Broker) -> None:
    async with (
        pod_and_client(broker.url, "x", "http.shutdown_seconds=3600") as (mesh, _),
        idle(url_of(mesh)) as idles,
    ):
        mesh.tree.drain()
        for reader in idles:
            while await reader.read():
                pass  # to the end of the connection, which comes with it
            assert reader.received.endswith(END), "no cut"
            assert reader.blocks[-1].startswith("event: drain\n")


async def test_stream_of_one_message_ends_with_it_and_its_connection_too(broker: Broker) -> None:
    async with (
        pod_and_client(broker.url, "x", role="all") as (mesh, client),
        idle(url_of(mesh), 1, "events?message_id=m") as (reader,),
    ):
        await post(client, "s0", model="count", max_tokens=3, message_id="m")
        while await reader.read():
            pass
        assert reader.received.endswith(END)
        assert [chunk["chunk_id"] for chunk in reader.chunks] == [0, 1, 2, 3]
        assert readers() == 0


async def test_old_client_gets_its_stream_without_chunks_of_http(broker: Broker) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (mesh, client):
        address = httpx.URL(url_of(mesh))
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"GET /v1/sessions/s/events?message_id=m HTTP/1.0\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        await post(client, "s", model="count", max_tokens=3, message_id="m")
        async with asyncio.timeout(30):
            body = await reader.read()
        assert body.startswith(b": open\n")
        assert body.count(b'"chunk_id":') == 4
        assert body.endswith(b"\n\n"), "and no last chunk behind it"
        writer.close()
        with contextlib.suppress(ConnectionError):  # the pod has ended it already
            await writer.wait_closed()


@pytest.mark.slow
async def test_memory_of_an_idle_stream_is_bounded(broker: Broker, chatmesh: Callable[..., Process]) -> None:
    port, count = free_port(), 2000
    settings = [f"nats.servers={broker.url}", f"http.port={port}", "log.level=warning"]
    pod = chatmesh("run", "--role", "pod", *(word for one in settings for word in ("--set", one)))
    url = f"http://127.0.0.1:{port}"

    async with httpx.AsyncClient(base_url=url) as client:

        async def is_up() -> bool:
            with contextlib.suppress(httpx.TransportError):  # it does not listen yet
                return await is_ready(client)
            return False

        await eventually(is_up, timeout=30)
    async with idle(url, 100):
        before = _memory_kib(pod.pid)
        async with idle(url, count):
            each = (_memory_kib(pod.pid) - before) / count
    assert 0 < each < MOST_KIB


def _memory_kib(pid: int) -> float:
    """Its own memory. Of libraries it has a share that grows whenever another process that has loaded them ends."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
