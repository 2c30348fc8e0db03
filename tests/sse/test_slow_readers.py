"""A slow reader costs its own connection only; its memory is capped, and it goes on from the transcript."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client

from tests.sse.raw import most_buffered, raw_reader
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import events, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

LONG = 4000  # chunks of about 270 bytes: far more than the kernel's buffers of one connection hold


async def test_slow_reader_goes_on_from_the_transcript_and_sees_every_chunk_once(
    broker: Broker, nats_client: Client
) -> None:
    async with pod_and_client(broker.url, "x", "sse.max_buffer_bytes=16384", role="all") as (mesh, client):
        assert mesh.server is not None
        async with (
            raw_reader(mesh.server.url, "/v1/sessions/s/events?message_id=m") as slow,
            events(client, "s") as fast,
        ):
            await post(client, "s", model="count", max_tokens=LONG, message_id="m")
            whole = await fast.read_finals()
            assert most_buffered() > 0, "the slow one has taken everything"
            await slow.read_all()
        transcript = await stored.chunks(nats_client, "s")
    assert whole.ids == list(range(LONG + 1)), "others are not held up"
    assert slow.chunks == transcript
    assert not slow.is_cut


async def test_memory_for_a_slow_reader_is_capped_live_and_in_replay(broker: Broker) -> None:
    most = 16_384
    one_record = 100 * 400
    async with pod_and_client(broker.url, "x", f"sse.max_buffer_bytes={most}", role="all") as (mesh, client):
        assert mesh.server is not None
        async with raw_reader(mesh.server.url, "/v1/sessions/s/events") as live, events(client, "s") as fast:
            await post(client, "s", model="count", max_tokens=LONG)
            await fast.read_finals()
            assert 0 < most_buffered() <= most + one_record
            async with raw_reader(mesh.server.url, "/v1/sessions/s/events?from=start") as replay:
                for _ in range(20):
                    assert await replay.read()
                await eventually(lambda: most_buffered() > 0)
                assert most_buffered() <= most + one_record
            while len(live.received) < 4 * most:
                assert await live.read()
                assert most_buffered() <= most + one_record


async def test_reader_that_takes_nothing_is_cut_at_the_write_timeout_and_not_ended(
    broker: Broker, nats_client: Client
) -> None:
    settings = ("sse.max_buffer_bytes=16384", "sse.write_timeout_seconds=0.3", "sse.keepalive_seconds=0.2")

    async with pod_and_client(broker.url, "x", *settings, role="all") as (mesh, client):
        assert mesh.server is not None
        async with raw_reader(mesh.server.url, "/v1/sessions/s/events?message_id=m") as stalled:
            await post(client, "s", model="count", max_tokens=LONG, message_id="m")
            await eventually(lambda: most_buffered() > 0)

            async def is_gone() -> bool:
                answer = await nats_client.request("chat.pod.x.health", b"", timeout=10)
                return b'"active_connections":0' in answer.data

            await eventually(is_gone)
            await stalled.read_all()
    assert stalled.is_cut
    assert len(stalled.chunks) < LONG


async def test_reader_who_left_is_forgotten(broker: Broker, nats_client: Client) -> None:
    async with pod_and_client(broker.url, "x", role="all") as (mesh, client):
        assert mesh.server is not None
        async with raw_reader(mesh.server.url, "/v1/sessions/s/events") as leaver:
            await post(client, "s", model="count", max_tokens=500, tokens_per_second=500)
            await leaver.read()

        async def is_gone() -> bool:
            answer = await nats_client.request("chat.pod.x.health", b"", timeout=10)
            return b'"active_connections":0' in answer.data

        await eventually(is_gone)


async def test_50_readers_of_one_session_each_get_every_chunk_once(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (one, client),
        pod_and_client(broker.url, "pod-2") as (two, _),
    ):
        assert one.server is not None
        assert two.server is not None
        async with asyncio.TaskGroup() as group:

            async def read(url: str) -> list[int]:
                async with raw_reader(
                    url, "/v1/sessions/s/events?message_id=m", receive_bytes=65_536
                ) as reader:
                    await reader.read_all()
                    assert not reader.is_cut
                    return [chunk["chunk_id"] for chunk in reader.chunks]

            readers = [group.create_task(read((one, two)[number % 2].server.url)) for number in range(50)]

            async def open_streams() -> int:
                answers = [
                    await nats_client.request(f"chat.pod.pod-{number}.health", b"", timeout=10)
                    for number in (1, 2)
                ]
                return sum(b'"active_connections":25' in answer.data for answer in answers)

            await eventually(lambda: _both(open_streams))
            await post(client, "s", model="count", max_tokens=300, tokens_per_second=600, message_id="m")
    assert all(reader.result() == list(range(301)) for reader in readers)


async def _both(count: object) -> bool:
    return await count() == 2  # type: ignore[operator,no-any-return]
