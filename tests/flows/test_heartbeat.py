"""The seed's HeartbeatMessage: at intervals, on a change of state, and the last one can be read back."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import cast

import pytest
from nats.aio.client import Client

from chatmesh.broker import Heartbeats
from chatmesh.operate.chaos.observer import observer
from chatmesh.presence import RosterKeeper
from chatmesh.presence.beacon import Beacon, Vitals
from chatmesh.presence.roster import Roster
from chatmesh.protocol import subjects
from chatmesh.protocol.messages import HeartbeatMessage
from chatmesh.protocol.tokens import token
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import events
from tests.support.waiting import eventually
from tests.support.watching import watching


async def test_pods_heartbeat_has_the_seeds_fields(broker: Broker, nats_client: Client) -> None:
    async with (
        watching(nats_client, "chat.pod.pod-1.heartbeat") as watch,
        pod_and_client(broker.url, "pod-1"),
    ):
        await eventually(lambda: watch.messages)
    beat = watch.bodies[0]
    assert beat["pod_id"] == "pod-1"
    assert datetime.fromisoformat(beat["timestamp"]).year > 2024
    assert isinstance(beat["active_connections"], int)
    assert isinstance(beat["memory_usage_mb"], float)
    assert beat["memory_usage_mb"] > 1
    assert isinstance(beat["cpu_usage_percent"], float)


async def test_workers_heartbeat_names_its_models(broker: Broker, nats_client: Client) -> None:
    async with (
        watching(nats_client, "chat.worker.w.heartbeat") as watch,
        running(broker.url, role="worker", id="w"),
    ):
        await eventually(lambda: watch.messages)
    beat = watch.bodies[0]
    assert beat["worker_id"] == "w"
    assert {"demo", "echo", "count"} <= set(beat["models"])


async def test_heartbeat_comes_again_and_again(broker: Broker, nats_client: Client) -> None:
    async with (
        watching(nats_client, "chat.pod.pod-1.heartbeat") as watch,
        pod_and_client(broker.url, "pod-1", "heartbeat.interval_seconds=0.1") as (_, client),
        events(client, "s"),
    ):
        await eventually(lambda: sum(beat["active_connections"] == 1 for beat in watch.bodies) > 2)


async def test_last_heartbeat_of_each_pod_and_worker_can_be_read_back(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", "heartbeat.interval_seconds=0.1"),
        running(broker.url, "heartbeat.interval_seconds=0.1", role="worker", id="w"),
        watching(nats_client, "chat.*.*.heartbeat") as watch,
    ):
        await eventually(lambda: len(watch.messages) > 8)
        # Counted at one moment: whoever reads them one by one meets the next beat of one that was read already.
        info = await stored.api(nats_client, "STREAM.INFO.CHAT_PRESENCE", {"subjects_filter": ">"})
    counts = dict.fromkeys(("chat.pod.pod-1.heartbeat", "chat.worker.w.heartbeat"), 1)
    assert info["state"]["subjects"] == counts, "the last one of each, and no history"


async def test_more_members_than_one_request_may_ask_for_are_read_back_all(
    broker: Broker, nats_client: Client
) -> None:
    names = {f"p{number}" for number in range(1100)}
    async with running(broker.url, role="worker", id="w"), observer([broker.url]) as observed:
        for name in names:
            beat = HeartbeatMessage("pod", token(name, "pod_id"), "t").encode()
            await nats_client.publish(f"chat.pod.{name}.heartbeat", beat)
        await nats_client.flush()

        async def read_back() -> bool:
            found = await observed.heartbeats.last(seconds=5)
            return {heartbeat.id for heartbeat, _ in found} == names | {"w"}

        await eventually(read_back, message="everybody's heartbeat")


async def test_heartbeat_that_comes_while_the_stored_ones_are_read_is_heard(broker: Broker) -> None:
    """Two that start at the same time would miss each other for an interval, and nobody would notice that one died."""

    class Meanwhile(Heartbeats):
        async def last(self, *, seconds: float) -> list[tuple[HeartbeatMessage, float]]:
            found = await super().last(seconds=seconds)
            await self.beat(HeartbeatMessage("worker", token("late", "worker_id"), "t"))
            await mesh.broker.connection.flush()
            return found

    async with running(broker.url, role="pod", id="pod-1") as mesh:
        connection, roster = mesh.broker.connection, Roster(600)
        heartbeats = Meanwhile(connection, mesh.broker.direct_get)
        keeper = RosterKeeper(connection, heartbeats, roster, subjects.WORKER_HEARTBEATS)
        listening = asyncio.create_task(keeper.run(lambda: None))
        await eventually(lambda: [beat.id for beat in roster.living("worker", time.monotonic())] == ["late"])
        keeper.drain()
        await listening


async def test_pod_that_leaves_says_so_at_once(broker: Broker, nats_client: Client) -> None:
    async with watching(nats_client, "chat.pod.pod-1.heartbeat") as watch:
        async with pod_and_client(broker.url, "pod-1", "heartbeat.interval_seconds=600"):
            await eventually(lambda: watch.messages)
        await eventually(lambda: watch.bodies[-1]["status"] == "stopped")


@pytest.mark.parametrize("at", [1, 2])
async def test_goodbye_is_said_though_the_drain_comes_while_a_heartbeat_is_on_its_way(at: int) -> None:
    said: list[str] = []

    class Slow:
        async def beat(self, heartbeat: HeartbeatMessage) -> None:
            said.append(heartbeat.status)
            if len(said) == at:
                beacon.drain()
            elif len(said) < at:
                beacon.tell()

    beacon = Beacon(
        cast("Heartbeats", Slow()),
        role="pod",
        id=token("pod-1", "id"),
        boot="boot",
        interval_seconds=600,
        vitals=lambda: Vitals("healthy", 0),
    )
    await beacon.run(lambda: None)
    assert said == ["healthy"] * at + ["stopped"]
