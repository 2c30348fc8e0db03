"""A whole mesh, started and ended many times over in one process, gives everything back."""

from __future__ import annotations

import asyncio
import random

import pytest

from chatmesh.app import Mesh
from chatmesh.config import load
from chatmesh.kernel import State
from tests.stress.support import PATIENCE_SECONDS, Monitor, turns
from tests.support.broker import Broker
from tests.support.mesh import QUICK, client_of, running
from tests.support.reading import post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

TIMES = 30

MILESTONES = (
    *(None, "broker/connection", "broker/replies", "broker/publisher", "broker/streams"),
    *("worker/pods", "worker/router", "worker/stops", "worker/beacon", "worker/puller"),
    *("pod/roster", "pod/mender", "pod/responses", "pod/health", "pod/server"),
)


async def test_mesh_that_is_started_and_drained_again_and_again_gives_everything_back(
    broker: Broker, monitor: Monitor
) -> None:
    """Some of them are drained while they answer."""
    chance = random.Random(1)  # noqa: S311 - repeatable chance, no secret
    base = await monitor.counts()
    for number in range(TIMES):
        async with running(broker.url, id="me") as mesh:
            if chance.random() < 0.5:
                async with client_of(mesh) as client:
                    answer = await post(
                        client, f"s{number}", model="count", max_tokens=chance.randrange(1, 200)
                    )
                    assert answer.status_code == 202
        if number == 0:
            # The first one also loads modules and opens what stays open for the process.
            base = await monitor.counts()
    await monitor.wait_counts(base)


async def wait_up(mesh: Mesh, path: str | None) -> None:
    """Until the child at `path` is up; None is before any."""

    def is_up() -> bool:
        state = mesh.tree.children_state().get(path or "")
        return path is None or (state is not None and state.state is State.RUNNING)

    await eventually(is_up, timeout=PATIENCE_SECONDS, message=f"{path} up")


async def test_mesh_that_is_cancelled_at_any_turn_of_its_start_gives_everything_back(
    broker: Broker, monitor: Monitor
) -> None:
    chance = random.Random(2)  # noqa: S311 - repeatable chance, no secret
    overrides = [*QUICK, f"nats.servers={broker.url}"]
    config = load(None, environ={}, overrides=overrides, role="all", id="me").config
    base = await monitor.counts()
    for number in range(TIMES):
        mesh = Mesh(config)
        task = asyncio.create_task(mesh.tree.run(lambda: None))
        await wait_up(mesh, chance.choice(MILESTONES))
        await turns(chance.randrange(40))
        if chance.random() < 0.5:
            mesh.tree.drain()
            await turns(chance.randrange(5))
        task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
        assert task.done()
        assert task.cancelled() or task.exception() is None
        if number == 0:
            base = await monitor.counts()
    await monitor.wait_counts(base)
