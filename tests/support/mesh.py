"""A mesh inside the test's own loop: real broker, real sockets, no processes. Fast enough to have several in a test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from chatmesh.app import Mesh
from chatmesh.config import load
from tests.support.waiting import eventually

QUICK = ("nats.reconnect_wait_seconds=0.2", "http.port=0", "heartbeat.interval_seconds=1")
"""Settings that make a test quick and change nothing of what it proves."""


@asynccontextmanager
async def running(
    url: str, *settings: str, role: str = "all", id: str | None = None, workers: int = 1
) -> AsyncIterator[Mesh]:
    """A mesh that is up, on the broker at `url`; drained at the end, or cancelled where it does not drain."""
    overrides = [*QUICK, f"nats.servers={url}", *settings]
    mesh = Mesh(load(None, environ={}, overrides=overrides, role=role, id=id).config, workers=workers)
    up = asyncio.Event()
    tree = asyncio.create_task(mesh.tree.run(up.set), name="mesh")
    waiter = asyncio.create_task(up.wait())
    try:
        await asyncio.wait({tree, waiter}, return_when=asyncio.FIRST_COMPLETED)
        if tree.done():
            tree.result()
        yield mesh
    finally:
        waiter.cancel()
        mesh.tree.drain()
        await asyncio.wait({tree}, timeout=15)
        if not tree.done():
            tree.cancel()
            await asyncio.wait({tree})
            raise AssertionError("the mesh did not drain within 15 s")
    tree.result()


@asynccontextmanager
async def client_of(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the mesh's pod, with as many connections as it is asked for."""
    assert mesh.server is not None, "this mesh serves no HTTP"
    timeout, limits = httpx.Timeout(20, read=60), httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=mesh.server.url, timeout=timeout, limits=limits) as client:
        yield client


@asynccontextmanager
async def pod_and_client(
    url: str, id: str, *settings: str, role: str = "pod"
) -> AsyncIterator[tuple[Mesh, httpx.AsyncClient]]:
    """A pod of that id (`role` all: with a worker beside it) and an HTTP client of it."""
    async with running(url, *settings, role=role, id=id) as mesh, client_of(mesh) as client:
        yield mesh, client


async def is_ready(client: httpx.AsyncClient) -> bool:
    """What a load balancer asks."""
    return (await client.get("/readyz")).status_code == 200


async def models_known(client: httpx.AsyncClient, headers: dict[str, str] | None = None) -> None:
    """Until the pod has heard what the workers serve: before, it takes every name."""

    async def are_listed() -> bool:
        return bool((await client.get("/v1/models", headers=headers)).json()["data"])

    await eventually(are_listed)
