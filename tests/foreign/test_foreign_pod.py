"""A foreign pod asks, our worker answers: to it chunk by chunk, and to our own pods with positions."""

from __future__ import annotations

import asyncio
import json

import pytest
from nats.aio.client import Client

from chatmesh.broker import Delivery
from chatmesh.errors import BrokerUnreachableError
from tests.faults.support import wait_queue_empty
from tests.foreign.peers import Encode, foreign_pod, plain, request, traced
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import events
from tests.support.waiting import eventually
from tests.support.watching import watching

FIELDS = {
    "session_id",
    "message_id",
    "chunk_id",
    "chunk",
    "chunk_type",
    "is_final",
    "metadata",
    "timestamp",
    "correlation_id",
}


@pytest.mark.parametrize("encode", [plain, traced])
async def test_foreign_pods_request_is_answered_to_it_chunk_by_chunk_in_the_seeds_shape(
    broker: Broker, nats_client: Client, encode: Encode
) -> None:
    async with running(broker.url, role="worker", id="w"), foreign_pod(nats_client, "go-pod", "s") as pod:
        await pod.ask(request("s"), encode)
        await eventually(lambda: pod.is_answered)
    assert [piece["chunk_id"] for piece in pod.shown] == list(range(13))
    assert "".join(piece["chunk"] for piece in pod.shown) == "".join(f"{number} " for number in range(1, 13))
    assert all(set(piece) == FIELDS for piece in pod.shown)
    assert {piece["correlation_id"] for piece in pod.shown} == {"corr_xyz"}
    assert pod.shown[-1]["metadata"]["finish_reason"] == "stop"


@pytest.mark.parametrize("encode", [plain, traced])
async def test_readers_of_ours_see_each_chunk_of_a_foreign_request_once_with_a_position(
    broker: Broker, nats_client: Client, encode: Encode
) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
        foreign_pod(nats_client, "go-pod", "s") as pod,
        events(one, "s") as first,
        events(two, "s") as second,
        events(two, "s", message_id="msg_abc123") as only,
    ):
        await pod.ask(request("s", context={"tokens_per_second": 200}), encode)
        readings = [await stream.read_finals() for stream in (first, second, only)]
        await eventually(lambda: pod.is_answered)
        kept = await stored.chunks(nats_client, "s")
    for reading in readings:
        assert reading.ids == list(range(13))
        assert reading.chunks == kept == pod.shown
        assert len({event.id for event in reading.events if event.id}) == 13


async def test_answer_to_a_foreign_request_is_resumed_on_another_pod_of_ours(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
        foreign_pod(nats_client, "go-pod", "s") as pod,
    ):
        async with events(one, "s") as stream:
            await pod.ask(request("s", context={"max_tokens": 60, "tokens_per_second": 200}))
            reading = await stream.read(10)
        async with events(two, "s", reading=reading) as stream:
            await stream.read_finals()
    assert reading.ids == list(range(61))


@pytest.mark.usefixtures("patient_registry")
async def test_foreign_pod_hears_nothing_twice_of_what_one_of_our_pods_asked(
    broker: Broker, nats_client: Client
) -> None:
    """Ours asks with our header: the answer goes to the pods that hold the session, in batches, and not by broadcast."""
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, client),
        foreign_pod(nats_client, "go-pod", "s") as pod,
        events(client, "s") as stream,
    ):
        content = {"message": "go", "context": {"model": "count", "max_tokens": 12}}
        await client.post("/v1/sessions/s/messages", json=content)
        reading = await stream.read_finals()
        await nats_client.flush()
    assert reading.ids == list(range(13))
    assert not pod.shown


@pytest.mark.usefixtures("patient_registry")
async def test_foreign_and_own_requests_of_one_session_are_answered_one_after_the_other(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, client),
        foreign_pod(nats_client, "go-pod", "s") as pod,
        events(client, "s") as stream,
    ):
        content = {"message": "go", "context": {"model": "count", "max_tokens": 30, "tokens_per_second": 200}}
        await client.post("/v1/sessions/s/messages", json=content)
        await pod.ask(request("s"))
        await nats_client.flush()
        await client.post("/v1/sessions/s/messages", json=content)
        reading = await stream.read_finals(3)
        await eventually(lambda: pod.is_answered)
    assert reading.ids == [*range(31), *range(13), *range(31)]
    # What our own pods asked goes to them alone.
    assert [piece["chunk_id"] for piece in pod.shown] == list(range(13))


async def test_seeds_own_stream_and_subscription_code_runs_beside_our_worker(
    broker: Broker, nats_client: Client
) -> None:
    """`AddStream` with the seed's fields only, before we come: ours adds what it needs and works on it."""
    config = {
        "name": "WORKFLOW_REQUESTS",
        "subjects": ["chat.workflow.execute.*"],
        "retention": "workqueue",
        "max_age": 24 * 3600 * 10**9,
        "storage": "file",
        "num_replicas": 1,
    }
    await stored.api(nats_client, "STREAM.CREATE.WORKFLOW_REQUESTS", config)
    async with foreign_pod(nats_client, "go-pod", "s") as pod:
        await pod.ask(request("s"))
        await nats_client.flush()
        async with running(broker.url, role="worker", id="w"):
            await eventually(lambda: pod.is_answered)
    assert [piece["chunk_id"] for piece in pod.shown] == list(range(13))


async def test_foreign_pod_and_ours_ask_each_others_health_and_hear_each_others_heartbeats(
    broker: Broker, nats_client: Client
) -> None:
    async def respond(message: object) -> None:
        body = {
            "pod_id": "go-pod",
            "status": "healthy",
            "active_connections": 3,
            "timestamp": "2025-11-17T20:30:05Z",
        }
        await message.respond(plain(body))  # type: ignore[attr-defined]

    subscription = await nats_client.subscribe("chat.pod.go-pod.health", cb=respond)
    async with (
        watching(nats_client, "chat.pod.pod-1.heartbeat") as beats,
        pod_and_client(broker.url, "pod-1", role="all") as (mesh, _),
    ):
        answer = json.loads((await nats_client.request("chat.pod.pod-1.health", b"", timeout=10)).data)
        assert {"pod_id", "status", "active_connections", "timestamp"} <= set(answer)
        theirs = await mesh.broker.requests.request("chat.pod.go-pod.health", seconds=10)
        assert theirs is not None
        await eventually(lambda: beats.messages)
        beat = {
            "pod_id": "go-pod",
            "timestamp": "2025-11-17T20:30:05Z",
            "active_connections": 3,
            "memory_usage_mb": 12.5,
            "cpu_usage_percent": 1,
        }
        await nats_client.publish("chat.pod.go-pod.heartbeat", plain(beat))
        await nats_client.flush()
    await subscription.unsubscribe()
    assert set(beats.bodies[0]) >= set(beat)


async def test_foreign_request_that_is_published_twice_ends_once(broker: Broker, nats_client: Client) -> None:
    """The second time while it is answered, after its end, and after another one's."""
    async with (
        running(broker.url, role="worker", id="w"),
        foreign_pod(nats_client, "go-pod", "s") as pod,
    ):
        for number in range(3):
            await pod.ask(request("s"))
            await pod.ask(request("s", f"other{number}"))
            await pod.ask(request("s", f"other{number}"))
            await wait_queue_empty(nats_client)
        await nats_client.flush()
        await eventually(lambda: sum(piece["is_final"] for piece in pod.shown) >= 4)
    for message_id in ("msg_abc123", "other0", "other1", "other2"):
        shown = [piece["chunk_id"] for piece in pod.shown if piece["message_id"] == message_id]
        assert shown == list(range(13))


async def test_foreign_request_that_comes_back_behind_its_end_has_that_told_again(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its worker has died between storing and sending."""
    acked = Delivery.ack
    failures = [BrokerUnreachableError("not now")]

    async def ack(self: Delivery, *, seconds: float) -> bool:
        if failures:
            raise failures.pop()
        return await acked(self, seconds=seconds)

    monkeypatch.setattr(Delivery, "ack", ack)
    async with (
        running(broker.url, role="worker", id="w"),
        foreign_pod(nats_client, "go-pod", "s") as pod,
    ):
        await pod.ask(request("s"))
        await wait_queue_empty(nats_client)
        await nats_client.flush()
        await eventually(lambda: sum(piece["is_final"] for piece in pod.shown) == 2)
    assert [piece["chunk_id"] for piece in pod.shown[:13]] == list(range(13))


@pytest.mark.parametrize("is_foreign", [True, False])
async def test_foreign_request_that_is_stopped_while_it_waits_ends_once(
    broker: Broker, nats_client: Client, is_foreign: bool
) -> None:
    """Whoever asked for what runs before it."""
    slow = {"model": "count", "max_tokens": 500, "tokens_per_second": 50}
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, client),
        foreign_pod(nats_client, "go-pod", "s") as pod,
        events(client, "s") as stream,
    ):
        if is_foreign:
            await pod.ask(request("s", "first", context=slow))
        else:
            await client.post(
                "/v1/sessions/s/messages", json={"message": "go", "message_id": "first", "context": slow}
            )
        await stream.read(1)
        await pod.ask(request("s", "waits"))
        await nats_client.flush()
        for message_id in ("waits", "first"):
            answer = await client.delete(f"/v1/sessions/s/messages/{message_id}")
            assert answer.status_code == 202
            await stream.read_finals(len(stream.reading.finals) + 1)
        await wait_queue_empty(nats_client)
        await nats_client.flush()
    shown = [(piece["chunk_id"], piece["is_final"]) for piece in pod.shown if piece["message_id"] == "waits"]
    assert shown == [(0, True)]


async def test_hundred_foreign_requests_at_once_are_each_answered_once(
    broker: Broker, nats_client: Client
) -> None:
    names = [f"s{number}" for number in range(100)]
    async with (
        running(broker.url, role="worker", id="w", workers=2),
        foreign_pod(nats_client, "go-pod", *names) as pod,
    ):
        await asyncio.gather(*(pod.ask(request(name, context={"max_tokens": 5})) for name in names))
        await eventually(lambda: sum(piece["is_final"] for piece in pod.shown) == 100, timeout=30)
    for name in names:
        assert [piece["chunk_id"] for piece in pod.shown if piece["session_id"] == name] == list(range(6))
