"""A pod leaves: every reader is told, those who replay, are slow, or have only just come too; nobody loses a chunk."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import httpx
from nats.aio.client import Client

from chatmesh.app import Mesh
from tests.sse.raw import RawReader, most_buffered, raw_reader
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import client_of, pod_and_client, running
from tests.support.reading import Reading, Stream, events, post
from tests.support.waiting import eventually

LONG = 4000  # chunks of about 270 bytes: far more than the kernel's buffers of one connection hold

SMALL = "sse.max_buffer_bytes=16384"


def url_of(mesh: Mesh) -> str:
    assert mesh.server is not None
    return mesh.server.url


def is_drain(block: str) -> bool:
    return block.startswith("event: drain\nretry: ")


async def answer_long(client: httpx.AsyncClient) -> None:
    """A whole long answer in session s, message m."""
    async with events(client, "s") as stream:
        await post(client, "s", model="count", max_tokens=LONG, message_id="m")
        await stream.read_finals()


async def go_on(client: httpx.AsyncClient, reader: RawReader) -> list[int]:
    """The chunk ids that it has seen, and those that it gets with its position."""
    rest = Reading(position=reader.position)
    async with events(client, "s", reading=rest) as stream:
        await stream.read_finals()
    return [chunk["chunk_id"] for chunk in reader.chunks] + rest.ids


async def test_reader_that_replays_and_is_behind_is_told_and_goes_on_elsewhere(broker: Broker) -> None:
    async with running(broker.url, role="worker", id="w"), pod_and_client(broker.url, "pod-2") as (_, other):
        async with pod_and_client(broker.url, "pod-1", SMALL) as (leaving, client):
            await answer_long(client)
            async with raw_reader(url_of(leaving), "/v1/sessions/s/events?from=start") as replaying:
                while not replaying.chunks:
                    await replaying.read()
                await eventually(lambda: most_buffered() > 16_384, message="no room for another word")
                leaving.tree.drain()
                await replaying.read_all()
        assert not replaying.is_cut
        assert is_drain(replaying.blocks[-1]), "the last event"
        assert sum(map(is_drain, replaying.blocks)) == 1
        assert 0 < len(replaying.chunks) < LONG
        assert await go_on(other, replaying) == list(range(LONG + 1))


async def test_reader_too_slow_to_be_told_is_cut_and_not_ended_and_goes_on_elsewhere(broker: Broker) -> None:
    settings = (SMALL, "http.shutdown_seconds=0.3")
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-2") as (_, other),
        AsyncExitStack() as stack,
    ):
        await answer_long(other)
        async with running(broker.url, *settings, role="pod", id="pod-1") as leaving:
            reader = raw_reader(url_of(leaving), "/v1/sessions/s/events?from=start")
            slow = await stack.enter_async_context(reader)
            while not slow.chunks:
                await slow.read()
        await slow.read_all()
        assert slow.is_cut, "a clean end would pass for the answer's"
        assert not any(map(is_drain, slow.blocks))
        assert await go_on(other, slow) == list(range(LONG + 1))


async def test_message_accepted_while_its_pod_leaves_opens_its_stream_and_sends_it_elsewhere(
    broker: Broker,
) -> None:
    async with running(broker.url, role="worker", id="w"), pod_and_client(broker.url, "pod-2") as (_, other):
        async with running(broker.url, role="pod", id="pod-1") as leaving, client_of(leaving) as client:
            broker.pause()
            async with asyncio.TaskGroup() as group:
                task = group.create_task(inline(client))
                await sent.acquire()
                assert (await other.get(f"{url_of(leaving)}/healthz")).status_code == 200, "the POST is in"
                leaving.tree.drain()
                broker.resume()
            reading, message_id = task.result()
        assert [event.event for event in reading.events] == ["drain"]
        async with events(other, "s", reading=reading, message_id=message_id) as stream:
            assert (await stream.read_finals()).ids == list(range(11))


async def test_readers_of_an_answer_that_has_ended_are_told_nothing(
    broker: Broker, nats_client: Client
) -> None:
    """One who has not taken the end yet gets it, and no word of a pod that leaves."""
    everything = "sse.max_buffer_bytes=4194304"
    async with (
        pod_and_client(broker.url, "x", everything, role="all") as (mesh, client),
        raw_reader(url_of(mesh), "/v1/sessions/s/events?message_id=m") as slow,
    ):
        await answer_long(client)
        mesh.tree.drain()
        await slow.read_all()
    assert not slow.is_cut
    assert slow.chunks == await stored.chunks(nats_client, "s")
    assert not any(map(is_drain, slow.blocks))


sent = asyncio.Semaphore(0)


async def inline(client: httpx.AsyncClient) -> tuple[Reading, str]:
    """Posts, and reads the answer to its end; releases `sent` when the request is out."""

    async def trace(name: str, _: object) -> None:
        if name == "http11.send_request_body.complete":
            sent.release()

    body = {"message": "go", "context": {"model": "count", "max_tokens": 10}}
    async with client.stream(
        "POST",
        "/v1/sessions/s/messages",
        json=body,
        headers={"Accept": "text/event-stream"},
        extensions={"trace": trace},
    ) as response:
        assert response.status_code == 200
        return await Stream(response, Reading()).read_all(), response.headers["X-Message-Id"]
