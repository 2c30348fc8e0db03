"""Pods that die or leave: their readers go on at another one, and see every chunk once."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from tests.faults.support import (
    ACK_WAIT,
    PATIENCE_SECONDS,
    StartPod,
    assert_exact,
    read_on,
    wait_queue_empty,
)
from tests.support.broker import Broker
from tests.support.mesh import running
from tests.support.reading import Reading, Stream, events, post

COUNT: dict[str, Any] = {"model": "count", "max_tokens": 40, "tokens_per_second": 50}
SLOW = COUNT | {"tokens_per_second": 10}
"""Not at its end before its pod has left, or before its readers have come."""


async def begin(
    client: httpx.AsyncClient, session_id: str, reading: Reading, begun: asyncio.Semaphore
) -> None:
    """Reads until the connection ends, one way or another."""
    try:
        async with events(client, session_id, reading=reading) as stream:
            await stream.read(5)
            begun.release()
            await stream.read_all()
    except httpx.TransportError:
        return


@pytest.mark.parametrize(("readers", "pace"), [(1, 10), pytest.param(60, 5, marks=pytest.mark.chaos)])
async def test_readers_of_a_pod_that_is_killed_go_on_at_another(
    new_pod: StartPod,
    http: httpx.AsyncClient,
    worker: Mesh,
    nats_client: Client,
    readers: int,
    pace: int,
) -> None:
    count = COUNT | {"tokens_per_second": pace}
    doomed = await new_pod("doomed")
    readings = {f"s{number}": Reading() for number in range(readers)}
    begun = asyncio.Semaphore(0)
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=doomed.url, limits=limits, timeout=30) as there,
        asyncio.TaskGroup() as group,
    ):
        for session_id, reading in readings.items():
            group.create_task(begin(there, session_id, reading, begun))
            assert (await post(http, session_id, **count)).status_code == 202
        for _ in readings:
            await begun.acquire()
        doomed.process.kill()
    for session_id, reading in readings.items():
        assert not reading.finals
        assert_exact(await read_on(http, session_id, reading), 40)
    await wait_queue_empty(nats_client)


async def test_readers_of_a_pod_that_leaves_are_told_and_go_on_at_another(
    new_pod: StartPod, http: httpx.AsyncClient, worker: Mesh
) -> None:
    leaving = await new_pod("leaving")
    reading = Reading()
    async with leaving.client() as there:
        assert (await post(there, "s", **SLOW)).status_code == 202
        async with events(there, "s", reading=reading) as stream:
            await stream.read(10)
            leaving.process.signal(signal.SIGTERM)
            await stream.read_all()  # a clean end: a cut would raise
    assert [event["reason"] for event in reading.named("drain")] == ["leaving"]
    assert not reading.finals
    assert await leaving.process.wait(timeout=PATIENCE_SECONDS) == 0
    assert_exact(await read_on(http, "s", reading), 40)


@pytest.mark.chaos
async def test_inline_answer_of_a_pod_that_leaves_can_be_read_on_elsewhere(
    new_pod: StartPod, http: httpx.AsyncClient, worker: Mesh
) -> None:
    leaving = await new_pod("leaving")
    body = {"message": "go", "context": SLOW}
    headers = {"Accept": "text/event-stream"}
    reading = Reading()
    async with (
        leaving.client() as there,
        there.stream("POST", "/v1/sessions/s/messages", json=body, headers=headers) as response,
    ):
        stream = Stream(response, reading)
        message_id = response.headers["X-Message-Id"]
        await stream.read(10)
        leaving.process.signal(signal.SIGTERM)
        await stream.read_all()
    assert reading.named("drain")
    assert_exact(await read_on(http, "s", reading, message_id=message_id), 40)


@pytest.mark.chaos
async def test_message_that_was_posted_to_a_pod_that_dies_is_answered_anyway(
    new_pod: StartPod, http: httpx.AsyncClient, worker: Mesh
) -> None:
    doomed = await new_pod("doomed")
    async with doomed.client() as there:
        assert (await post(there, "s", **COUNT)).status_code == 202
    doomed.process.kill()
    assert_exact(await read_on(http, "s", Reading(), **{"from": "start"}), 40)


@pytest.mark.chaos
async def test_reader_at_another_pod_is_not_kept_waiting_by_one_that_froze(
    new_pod: StartPod, http: httpx.AsyncClient, worker: Mesh
) -> None:
    frozen = await new_pod("frozen")
    async with frozen.client() as there, events(there, "s") as at_frozen, events(http, "s") as stream:
        assert (await post(http, "s", **COUNT)).status_code == 202
        await at_frozen.read(10)
        frozen.process.pause()
        assert_exact(await stream.read_finals(), 40)
        frozen.process.resume()
        assert_exact(await at_frozen.read_finals(), 40)


@pytest.mark.chaos
async def test_pod_that_was_killed_starts_at_once_under_its_old_name_and_gets_its_readers_back(
    new_pod: StartPod, http: httpx.AsyncClient, worker: Mesh
) -> None:
    reading = Reading()
    first = await new_pod("same")
    async with first.client() as there:
        begun = asyncio.Semaphore(0)
        async with asyncio.TaskGroup() as group:
            group.create_task(begin(there, "s", reading, begun))
            assert (await post(http, "s", **COUNT)).status_code == 202
            await begun.acquire()
            first.process.kill()
    second = await new_pod("same")
    async with second.client() as there:
        assert_exact(await read_on(there, "s", reading), 40)


@pytest.mark.chaos
async def test_readers_move_from_pod_to_pod_while_pods_are_restarted_one_after_the_other(
    broker: Broker, worker: Mesh, nats_client: Client
) -> None:
    """A rolling restart: each answer is read over three pods, each of which left in its middle."""
    readings = {f"s{number}": Reading() for number in range(5)}
    for pod_id in ("one", "two", "three"):
        async with AsyncExitStack() as stack:
            mesh = await stack.enter_async_context(running(broker.url, ACK_WAIT, role="pod", id=pod_id))
            assert mesh.server is not None
            client = await stack.enter_async_context(httpx.AsyncClient(base_url=mesh.server.url, timeout=30))
            if pod_id == "one":
                for session_id in readings:
                    assert (await post(client, session_id, **SLOW)).status_code == 202
            await asyncio.gather(*[_read_some(client, *item) for item in readings.items()])
            if pod_id == "three":
                await asyncio.gather(*[read_on(client, *item) for item in readings.items()])
    for reading in readings.values():
        assert_exact(reading, 40)
    await wait_queue_empty(nats_client)


async def _read_some(client: httpx.AsyncClient, session_id: str, reading: Reading) -> None:
    async with events(client, session_id, reading=reading) as stream:
        await stream.read(10)
