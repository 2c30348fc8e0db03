"""A pod in the test's own loop and workers beside it, on a cluster whose servers may be killed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.broker.streams import REQUESTS, TRANSCRIPT
from tests.cluster.support import REPLICAS, servers, wait_replicated
from tests.support.cluster import Cluster
from tests.support.mesh import client_of, running


@pytest.fixture
async def pod(cluster: Cluster) -> AsyncIterator[Mesh]:
    async with running(servers(cluster), REPLICAS, role="pod", id="pod") as mesh:
        yield mesh


@pytest.fixture
async def http(pod: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(pod) as client:
        yield client


@pytest.fixture
async def worker(cluster: Cluster, client: Client) -> AsyncIterator[Mesh]:
    """Two of them, so that a needless takeover would have a taker."""
    async with (
        running(servers(cluster), REPLICAS, role="worker", id="other"),
        running(servers(cluster), REPLICAS, role="worker", id="worker") as mesh,
    ):
        await wait_replicated(client, REQUESTS, TRANSCRIPT)
        yield mesh


@pytest.fixture
async def client(cluster: Cluster, pod: Mesh) -> AsyncIterator[Client]:
    """A raw client that finds any living server."""
    client = await cluster.connect(max_reconnect_attempts=-1, reconnect_time_wait=0.05)
    yield client
    await client.close()
