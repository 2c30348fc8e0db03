"""SIGTERM to a pod, as a process: what load balancers, readers and senders see until it is gone."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.hub.waves import LEAST
from tests.faults.support import (
    PATIENCE_SECONDS,
    Pod,
    StartPod,
    assert_exact,
    read_on,
    wait_queue_empty,
)
from tests.sse.raw import raw_reader
from tests.support.reading import Reading, events, post
from tests.support.waiting import eventually
from tests.support.watching import watching

pytestmark = pytest.mark.slow

COUNT: dict[str, Any] = {"model": "count", "max_tokens": 40, "tokens_per_second": 20}

FOR_EVER = "http.drain_wait_seconds=3600"


async def is_not_ready(client: httpx.AsyncClient) -> bool:
    answer = await client.get("/readyz")
    if answer.status_code == 200:
        return False
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    return True


async def test_leaving_pod_is_not_ready_at_once_and_serves_its_readers_while_load_balancers_notice(
    new_pod: StartPod, http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    leaving = await new_pod("leaving", FOR_EVER)
    async with (
        leaving.client() as there,
        watching(nats_client, "chat.pod.leaving.heartbeat") as beats,
        events(there, "s") as stream,
    ):
        assert (await post(there, "s", **COUNT)).status_code == 202
        await stream.read(5)
        leaving.process.signal(signal.SIGTERM)
        await eventually(lambda: is_not_ready(there))
        await eventually(lambda: beats.bodies and beats.bodies[-1]["status"] == "draining")

        refused = await post(there, "s")
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
        assert refused.headers["Retry-After"]
        assert refused.headers["Connection"] == "close", "the next one goes to another pod"
        for query in ("", "?message_id=m", "?from=start", f"?last_event_id={stream.reading.position}"):
            come_back = await there.get(f"/v1/sessions/s/events{query}")
            assert come_back.status_code == 200
            assert re.fullmatch(r"retry: \d+\n\n", come_back.text)
            assert come_back.headers["Connection"] == "close"
        assert (await there.get("/v1/sessions/s/messages")).status_code == 200
        assert (await there.get("/healthz")).status_code == 200

        assert_exact(await stream.read_finals(), 40)
        assert not stream.reading.named("drain"), "nobody is sent away yet"
        leaving.process.signal(signal.SIGTERM)
        with pytest.raises(httpx.RemoteProtocolError):
            await stream.read_all()
    assert await leaving.process.wait(timeout=PATIENCE_SECONDS) == 1, "a second signal ends at once"


@pytest.mark.parametrize(
    ("sessions", "each"),
    [pytest.param(12, 5, marks=pytest.mark.slow), pytest.param(40, 5, marks=pytest.mark.chaos)],
)
async def test_many_readers_of_a_pod_that_leaves_are_sent_away_in_waves_and_lose_nothing(
    new_pod: StartPod,
    http: httpx.AsyncClient,
    worker: Mesh,
    nats_client: Client,
    sessions: int,
    each: int,
) -> None:
    leaving = await new_pod("leaving")
    names = [f"s{number}" for number in range(sessions)]
    readings = [(name, Reading()) for name in names for _ in range(each)]
    begun = asyncio.Semaphore(0)

    async def read(name: str, reading: Reading) -> None:
        async with events(there, name, reading=reading) as stream:
            await stream.read(1)
            begun.release()
            await stream.read_all()  # a clean end: a cut would raise

    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=leaving.url, limits=limits, timeout=PATIENCE_SECONDS) as there,
        asyncio.TaskGroup() as group,
    ):
        for name, reading in readings:
            group.create_task(read(name, reading))
        for name in names:
            assert (
                await post(http, name, **COUNT | {"max_tokens": 200, "tokens_per_second": 10})
            ).status_code == 202
        for _ in readings:
            await begun.acquire()
        leaving.process.signal(signal.SIGTERM)
    assert await leaving.process.wait(timeout=PATIENCE_SECONDS) == 0

    ends = [reading.events[-1] for _, reading in readings]
    assert {end.event for end in ends} == {"drain"}
    assert not any(reading.finals for _, reading in readings)
    assert len({end.retry for end in ends}) > len(ends) / 2, "each comes back at a time of its own"
    said = await leaving.process.wait_for_line('"event": "hub.leaving"', stream="stderr")
    assert json.loads(said.string)["waves"] == -(-len(readings) // LEAST)
    async with asyncio.TaskGroup() as group:
        for name, reading in readings:
            group.create_task(read_on(http, name, reading))
    for _, reading in readings:
        assert_exact(reading, 200)
    await wait_queue_empty(nats_client)


@pytest.mark.slow
async def test_pod_is_gone_in_time_whatever_its_clients_do(
    new_pod: StartPod, http: httpx.AsyncClient, worker: Mesh
) -> None:
    """Readers that take nothing, connections that say nothing, bodies that never come, one that is only kept."""
    leaving = await new_pod("leaving", "http.drain_wait_seconds=0.2", "http.shutdown_seconds=0.5")
    assert (await post(http, "s", model="count", max_tokens=4000)).status_code == 202
    await read_on(http, "s", Reading(), **{"from": "start"})
    async with (
        leaving.client() as there,
        raw_reader(leaving.url, "/v1/sessions/s/events?from=start") as stalled,
    ):
        assert (await there.get("/healthz")).status_code == 200
        await stalled.read()
        writers = [await half_sent(leaving, sent) for sent in (b"", b"GET /healthz HT", HALF_BODY)]
        leaving.process.signal(signal.SIGTERM)
        assert await leaving.process.wait(timeout=PATIENCE_SECONDS) == 0
        await stalled.read_all()
    assert stalled.is_cut
    assert "kernel.cancelled" not in leaving.process.stderr, "it ended by itself"
    for writer in writers:
        writer.close()


HALF_BODY = (
    b"POST /v1/sessions/s/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 100\r\n\r\n{"
)


async def half_sent(pod: Pod, sent: bytes) -> asyncio.StreamWriter:
    address = httpx.URL(pod.url)
    _, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(sent)
    return writer
