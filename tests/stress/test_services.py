"""Every service of the tree, started and ended at random turns of the loop, ends and leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.app.worker import worker_tree
from chatmesh.config import load
from chatmesh.kernel import Child, Supervisor, SystemClock
from tests.stress.support import PATIENCE_SECONDS, Monitor, turns
from tests.support.broker import Broker
from tests.support.mesh import QUICK
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

ROUNDS = 20
WAYS = ("drain", "cancel", "drain before start", "drain twice", "drain, then cancel")

# What the listeners hear meanwhile; most of it is nonsense to them.
NOISE = ("chat.pod.me.health", "chat.worker.me.health", "chat.session.s.broadcast", "chat.pod.me.response",
         "chat.session.s.stop.m", "chat.registry.s.me")  # fmt: skip


def new_mesh(url: str = "nats://127.0.0.1:4222") -> Mesh:
    """Built, not started."""
    return Mesh(load(None, environ={}, overrides=[*QUICK, f"nats.servers={url}"], role="all", id="me").config)


def subtree(mesh: Mesh, name: str) -> list[Child]:
    """Fresh children, as the tree makes them."""
    trees = {"broker": mesh._broker, "worker": lambda: worker_tree(mesh.process, mesh.id), "pod": mesh._pod}
    return trees[name]()


@asynccontextmanager
async def up(children: list[Child]) -> AsyncIterator[None]:
    """What the service under test stands on."""
    started = asyncio.Event()
    tree = Supervisor("below", children, clock=SystemClock(), observe=lambda _: None)
    task = asyncio.create_task(tree.run(started.set))
    await eventually(lambda: started.is_set() or task.done(), timeout=PATIENCE_SECONDS)
    try:
        yield
    finally:
        tree.drain()
        await task


async def round_of(child: Child, way: str, chance: random.Random) -> None:
    """One life of a service, ended in that way at a random moment."""
    service = child.make()
    started = asyncio.Event()
    if way == "drain before start":
        service.drain()
    task = asyncio.create_task(service.run(started.set), name=child.name)
    if chance.random() < 0.5:
        await eventually(lambda: started.is_set() or task.done(), timeout=PATIENCE_SECONDS)
    await turns(chance.randrange(30))
    if way.startswith("drain"):
        service.drain()
    if way == "drain twice":
        await turns(chance.randrange(3))
        service.drain()
    if way.endswith("cancel"):
        await turns(chance.randrange(3))
        task.cancel()
        service.drain()  # as a supervisor does: what loses its cancel in somebody's `wait_for` still has a reason to end
    await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
    assert task.done(), f"{child.name} did not end after {way}"
    if not (task.cancelled() and way.endswith("cancel")):
        task.result()


@pytest.mark.parametrize("way", WAYS)
async def test_part_of_the_broker_ends_and_leaves_nothing_whenever_it_is_stopped(
    way: str, broker: Broker, monitor: Monitor
) -> None:
    chance = random.Random(way)  # noqa: S311 - repeatable chance, no secret
    base = await monitor.counts()
    for _ in range(ROUNDS):
        # Each stands on those before it.
        for at in range(len(new_mesh().broker.services)):
            children = subtree(new_mesh(broker.url), "broker")
            async with up(children[:at]):
                await round_of(children[at], way, chance)
    await monitor.wait_counts(base)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["worker", "pod"])
async def test_service_ends_and_leaves_nothing_whenever_it_is_stopped(
    name: str, way: str, broker: Broker, monitor: Monitor, nats_client: Client
) -> None:
    chance = random.Random(name + way)  # noqa: S311 - repeatable chance, no secret
    bare = await monitor.counts()
    mesh = new_mesh(broker.url)
    async with up(subtree(mesh, "broker")):
        base = await monitor.counts()
        for _ in range(ROUNDS):
            for child in subtree(mesh, name):
                for subject in chance.sample(NOISE, 2):
                    await nats_client.publish(subject, b"{}")
                await round_of(child, way, chance)
        await monitor.wait_counts(base)
        # Now and then the keeper of the streams asks something of its own.
        await eventually(lambda: not len(mesh.broker.replies) and not len(mesh.broker.publisher))
    await monitor.wait_counts(bare)
