"""A transcript in parts on three servers: cut while answers run, and then a part's leader dies."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.broker.streams import transcript_name
from tests.cluster.support import REPLICAS, servers, wait_replicated
from tests.faults.support import assert_exact
from tests.operate.support import Start, ensure
from tests.parts.support import one, parts_of
from tests.support.cluster import Cluster
from tests.support.mesh import client_of, running
from tests.support.reading import Reading, events, post

pytestmark = pytest.mark.chaos

TOKENS = 300
THREE = "streams.partitions=3"
PARTS = range(3)


async def _answer(client: httpx.AsyncClient, session: str, begun: asyncio.Semaphore) -> Reading:
    async with events(client, session) as stream:
        accepted = await post(client, session, model="count", max_tokens=TOKENS, tokens_per_second=50)
        assert accepted.status_code == 202
        await stream.read(10)
        begun.release()
        return await stream.read_finals()


async def _answers(client: httpx.AsyncClient) -> list[asyncio.Task[Reading]]:
    """One in each session whose hash says part 0, 1 and 2; all of them have begun."""
    begun = asyncio.Semaphore(0)
    tasks = [asyncio.create_task(_answer(client, one(part, 3), begun)) for part in PARTS]
    for _ in PARTS:
        await begun.acquire()
    return tasks


async def test_answers_outlive_the_cut_and_the_death_of_a_leader(
    cluster: Cluster, http: httpx.AsyncClient, worker: Mesh, client: Client, chatmesh: Start
) -> None:
    tasks = await _answers(http)
    code, process = await ensure(chatmesh, servers(cluster), "--apply", "--set", REPLICAS, "--set", THREE)
    assert code == 0, process.stdout
    (await cluster.leader_of(transcript_name(0))).kill()
    for reading in await asyncio.gather(*tasks):
        assert_exact(reading, TOKENS)
    for part in PARTS:
        assert await parts_of(client, one(part, 3), 3) == {0}


async def test_answers_of_all_parts_outlive_the_leader_of_one(cluster: Cluster) -> None:
    async with (
        running(servers(cluster), REPLICAS, THREE, role="worker", id="w"),
        running(servers(cluster), REPLICAS, THREE, role="pod", id="p") as pod,
        client_of(pod) as http,
    ):
        client = await cluster.connect(max_reconnect_attempts=-1, reconnect_time_wait=0.05)
        try:
            await wait_replicated(client, *map(transcript_name, PARTS))
            tasks = await _answers(http)
            (await cluster.leader_of(transcript_name(1))).kill()
            for reading in await asyncio.gather(*tasks):
                assert_exact(reading, TOKENS)
            for part in PARTS:
                assert await parts_of(client, one(part, 3), 3) == {part}
        finally:
            await client.close()
