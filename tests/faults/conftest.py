"""A mesh in parts: a pod in the test's own loop, workers and pods as processes that may be killed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from tests.faults.support import ACK_WAIT, Pod, StartPod, StartProcess, StartWorker, start_pod, start_worker
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.processes import Process


@pytest.fixture
async def pod(broker: Broker) -> AsyncIterator[Mesh]:
    """A pod of this process."""
    async with running(broker.url, ACK_WAIT, role="pod", id="pod") as mesh:
        yield mesh


@pytest.fixture
async def http(pod: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(pod) as client:
        yield client


@pytest.fixture
async def worker(broker: Broker) -> AsyncIterator[Mesh]:
    """A worker of this process."""
    async with running(broker.url, ACK_WAIT, role="worker", id="worker") as mesh:
        yield mesh


@pytest.fixture
def new_worker(chatmesh: StartProcess, nats_client: Client, broker: Broker) -> StartWorker:
    """Starts a worker process by its id, with further settings."""

    async def start(id: str, *settings: str, url: str | None = None) -> Process:
        return await start_worker(chatmesh, nats_client, url or broker.url, id, *settings)

    return start


@pytest.fixture
def new_pod(chatmesh: StartProcess, broker: Broker) -> StartPod:
    """Starts a pod process by its id, with further settings."""

    async def start(id: str, *settings: str) -> Pod:
        return await start_pod(chatmesh, broker.url, id, *settings)

    return start
