"""The network between one process and the broker: reset, swallowing, slow. The others don't notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.broker import CONSUMER, REQUESTS
from tests.faults.support import (
    ACK_WAIT,
    assert_exact,
    assert_stored_exactly,
    claims,
    restart,
    wait_queue_empty,
)
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.proxy import FaultProxy
from tests.support.reading import events, post
from tests.support.waiting import eventually

COUNT: dict[str, Any] = {"model": "count", "max_tokens": 40, "tokens_per_second": 50}
SLOW = COUNT | {"tokens_per_second": 10}
"""Not at its end before what a test does in its middle: a busy machine takes a second to start a worker or to open a stream."""


@pytest.fixture
async def proxy(broker: Broker) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(broker.port) as proxy:
        yield proxy


@pytest.fixture
async def far_worker(proxy: FaultProxy) -> AsyncIterator[Mesh]:
    """A worker whose way to the broker may be broken."""
    async with running(proxy.url, ACK_WAIT, role="worker", id="far") as mesh:
        yield mesh


@pytest.fixture
async def far_pod(proxy: FaultProxy) -> AsyncIterator[Mesh]:
    async with running(proxy.url, ACK_WAIT, role="pod", id="far-pod") as mesh:
        yield mesh


async def cut(proxy: FaultProxy, mesh: Mesh) -> None:
    """Returns once the mesh has noticed. It may be back by then, which takes it a few milliseconds."""
    noticed = asyncio.Event()
    mesh.broker.connection.on_change(noticed.set)
    proxy.cut()
    await eventually(noticed.is_set)


async def test_worker_whose_connection_is_cut_goes_on_with_its_answer(
    proxy: FaultProxy, http: httpx.AsyncClient, far_worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", **COUNT)).json()["message_id"]
        for _ in range(3):
            await stream.read(10)
            await cut(proxy, far_worker)
        reading = await stream.read_finals()
    assert_exact(reading, 40)
    await wait_queue_empty(nats_client)
    await assert_stored_exactly(nats_client, "s", 40)
    assert len(await claims(nats_client, "s", message_id)) == 1


@pytest.mark.chaos
async def test_worker_in_a_black_hole_loses_its_answer_to_another_and_can_not_write_any_more(
    proxy: FaultProxy, http: httpx.AsyncClient, far_worker: Mesh, nats_client: Client, broker: Broker
) -> None:
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", **SLOW)).json()["message_id"]
        await stream.read(10)
        async with running(broker.url, ACK_WAIT, role="worker", id="near"):
            proxy.blackhole()

            async def is_taken_over() -> bool:
                return len(await claims(nats_client, "s", message_id)) == 2

            await eventually(is_taken_over, timeout=30, message="a takeover")
            await stream.read(10)
            proxy.blackhole(False)
            reading = await stream.read_finals()
            await wait_queue_empty(nats_client)
    assert_exact(reading, 40)
    await assert_stored_exactly(nats_client, "s", 40)


@pytest.mark.chaos
async def test_worker_that_is_alone_goes_on_after_a_black_hole(
    proxy: FaultProxy, http: httpx.AsyncClient, far_worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", **COUNT)).json()["message_id"]
        await stream.read(10)
        proxy.blackhole()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await stream.read(31)
        proxy.blackhole(False)
    async with events(http, "s", reading=stream.reading) as stream:
        reading = await stream.read_finals()
    assert_exact(reading, 40)
    await wait_queue_empty(nats_client)
    await assert_stored_exactly(nats_client, "s", 40)
    assert len(await claims(nats_client, "s", message_id)) == 1


async def test_worker_that_comes_back_after_the_others_is_not_taken_for_dead(
    proxy: FaultProxy, http: httpx.AsyncClient, far_worker: Mesh, nats_client: Client, broker: Broker
) -> None:
    """A broker restart delivers its request to another one, which was faster to reconnect and hears nobody answer."""
    patient = "nats.reconnect_wait_seconds=4"
    async with (
        running(broker.url, ACK_WAIT, patient, role="worker", id="near") as near,
        events(http, "s") as stream,
    ):
        message_id = (await post(http, "s", **COUNT)).json()["message_id"]
        await stream.read(10)
        await proxy.refuse()
        await restart(broker)
        await eventually(lambda: near.broker.connection.is_connected and nats_client.is_connected)

        async def is_delivered_again() -> bool:
            info = await nats_client.jetstream(timeout=5).consumer_info(REQUESTS, CONSUMER)
            return bool(info.num_redelivered)

        await eventually(is_delivered_again, message="a redelivery")
        await proxy.refuse(False)
        reading = await stream.read_finals()
        assert_exact(reading, 40)
        await wait_queue_empty(nats_client)
    assert len(await claims(nats_client, "s", message_id)) == 1


async def test_reader_at_a_pod_whose_connection_is_cut_misses_nothing(
    proxy: FaultProxy, far_pod: Mesh, worker: Mesh
) -> None:
    async with client_of(far_pod) as client, events(client, "s") as stream:
        await post(client, "s", **COUNT)
        for _ in range(3):
            await stream.read(10)
            await cut(proxy, far_pod)
        assert_exact(await stream.read_finals(), 40)


async def test_reader_at_a_pod_that_was_cut_off_while_somebody_else_asked_sees_the_answer(
    proxy: FaultProxy, far_pod: Mesh, http: httpx.AsyncClient, worker: Mesh
) -> None:
    """Everything of the answer was sent while this pod was away, and nothing told it to wait for one."""
    async with client_of(far_pod) as client, events(client, "s") as stream:
        await post(http, "s", model="count", max_tokens=3)
        await stream.read_finals(1)
        await proxy.refuse()
        proxy.cut()
        await eventually(lambda: not far_pod.broker.connection.is_connected)
        async with events(http, "s") as other:
            await post(http, "s", model="count", max_tokens=3)
            assert_exact(await other.read_finals(1), 3)
        await proxy.refuse(False)
        reading = await stream.read_finals(2)
    assert reading.ids == 2 * list(range(4))


@pytest.mark.chaos
async def test_reader_at_a_pod_in_a_black_hole_gets_everything_in_order_afterwards(
    proxy: FaultProxy, far_pod: Mesh, http: httpx.AsyncClient, worker: Mesh
) -> None:
    async with client_of(far_pod) as client, events(client, "s") as stream:
        await post(http, "s", **SLOW)
        await stream.read(10)
        proxy.blackhole()
        async with events(http, "s") as other:
            assert_exact(await other.read_finals(), 40)
        proxy.blackhole(False)
        assert_exact(await stream.read_finals(), 40)


@pytest.mark.chaos
async def test_answers_are_exact_over_a_slow_network(
    proxy: FaultProxy, http: httpx.AsyncClient, far_worker: Mesh, nats_client: Client
) -> None:
    proxy.latency_seconds = 0.1
    async with events(http, "s") as stream:
        for _ in range(2):
            assert (await post(http, "s", model="count", max_tokens=500)).status_code == 202
        reading = await stream.read_finals(2)
    assert reading.ids == 2 * list(range(501))
    await wait_queue_empty(nats_client)
