"""Readers that take nothing, or a little at a time: what they cost, when they are cut, and that others do not notice."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Awaitable
from contextlib import AsyncExitStack

import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from chatmesh.app import Mesh
from tests.sse.raw import RawReader, all_buffered, most_buffered, raw_reader
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client
from tests.support.reading import events, post
from tests.support.waiting import eventually

MOST = 16_384
SMALL = f"sse.max_buffer_bytes={MOST}"
PATIENT = "sse.write_timeout_seconds=600"
"""Nobody is cut while the others are still on their way."""

ONE_RECORD = 100 * 400
"""A batch of 100 chunks, with room to spare."""

LONG = 1500  # chunks of about 270 bytes: more than the kernel's buffers of one connection and ours hold


def url_of(mesh: Mesh) -> str:
    assert mesh.server is not None
    return mesh.server.url


def cut_so_far() -> float:
    return REGISTRY.get_sample_value("chatmesh_http_stalled_total") or 0.0


async def readers_of(client: Client) -> int:
    answer = await client.request("chat.pod.x.health", b"", timeout=10)
    return int(answer.data.partition(b'"active_connections":')[2].partition(b",")[0])


@pytest.mark.slow
async def test_fifty_stalled_readers_cost_a_bound_each_and_hold_up_nobody_and_lose_nothing(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "x", SMALL, role="all") as (mesh, client),
        AsyncExitStack() as stack,
    ):

        async def reader(session: str, receive_bytes: int) -> RawReader:
            path = f"/v1/sessions/{session}/events?message_id=m"
            return await stack.enter_async_context(
                raw_reader(url_of(mesh), path, receive_bytes=receive_bytes)
            )

        stalled = [await reader("s", 4096) for _ in range(50)]
        quick = [await reader(session, 2**20) for session in "sssssttttt"]
        await eventually(lambda: _is(readers_of(nats_client), 60))
        for session in "st":
            await post(client, session, model="count", max_tokens=LONG, message_id="m")
        async with asyncio.TaskGroup() as group:
            for one in quick:
                group.create_task(one.read_all())
        assert 0 < most_buffered() <= MOST + ONE_RECORD
        for one in quick:
            assert [chunk["chunk_id"] for chunk in one.chunks] == list(range(LONG + 1))

        async with asyncio.TaskGroup() as group:
            for one in stalled:
                group.create_task(one.read_all())
        transcript = await stored.chunks(nats_client, "s")
        for one in stalled:
            assert not one.is_cut
            assert one.chunks == transcript


@pytest.mark.slow
async def test_reader_that_takes_a_little_at_a_time_is_not_cut(broker: Broker, nats_client: Client) -> None:
    """What the kernel passes on in one step it takes only in more time than one who takes nothing gets."""
    settings = (SMALL, "sse.write_timeout_seconds=1.5")
    async with (
        pod_and_client(broker.url, "x", *settings, role="all") as (mesh, client),
        raw_reader(url_of(mesh), "/v1/sessions/s/events?message_id=m") as trickling,
    ):
        await post(client, "s", model="count", max_tokens=LONG, message_id="m")
        await eventually(lambda: most_buffered() > 0)
        while len(trickling.received) < 32 * 1024:
            assert await trickling.read(512)
            await asyncio.sleep(0.05)  # its pace: nothing is waited for
        await trickling.read_all()
        assert not trickling.is_cut
        assert trickling.chunks == await stored.chunks(nats_client, "s")


async def test_reader_that_takes_nothing_is_cut_also_when_its_answer_has_ended(
    broker: Broker, nats_client: Client
) -> None:
    settings = (
        "sse.max_buffer_bytes=4194304",
        "sse.write_timeout_seconds=0.3",
        "sse.keepalive_seconds=0.2",
    )
    before = cut_so_far()
    async with (
        pod_and_client(broker.url, "x", *settings, role="all") as (mesh, client),
        raw_reader(url_of(mesh), "/v1/sessions/s/events?message_id=m") as stalled,
    ):
        async with events(client, "s") as stream:
            await post(client, "s", model="count", max_tokens=LONG, message_id="m")
            await stream.read_finals()
        await eventually(lambda: _is(readers_of(nats_client), 0), message="an end that only has to be taken")
        await eventually(lambda: cut_so_far() == before + 1)
        await stalled.read_all()
    assert stalled.is_cut


@pytest.mark.slow
async def test_memory_for_stalled_replays_of_huge_answers_is_bounded(broker: Broker) -> None:
    """A page of the transcript is held for as long as its reader takes a little; 64 records can be many megabytes."""
    word = "x" * 60_000
    async with (
        pod_and_client(broker.url, "x", SMALL, PATIENT, role="all") as (mesh, client),
        AsyncExitStack() as stack,
    ):
        async with events(client, "s") as stream:
            for _ in range(10):
                await post(client, "s", " ".join([word] * 8), model="echo")
            await stream.read_finals(10)
        path = "/v1/sessions/s/events?from=start"
        readers = 10
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(readers):
                await stack.enter_async_context(raw_reader(url_of(mesh), path))
            await eventually(lambda: _have_stalled(readers), timeout=60)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (after - before) / readers < 2 * 2**20


def _have_stalled(readers: int) -> bool:
    buffered = all_buffered()
    assert len(buffered) == readers
    assert min(buffered) > MOST, buffered
    return True


async def _is(found: Awaitable[int], expected: int) -> bool:
    return await found == expected
