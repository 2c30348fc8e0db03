"""The seed's "Pod-Specific Response Pattern": batches go to the pods whose readers hold the session."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from nats.aio.client import Client

from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.models import HELD_TOKENS, gate, models
from tests.support.proxy import FaultProxy
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.support.watching import watching

pytestmark = pytest.mark.usefixtures("patient_registry")


async def test_registered_pod_gets_the_answer_as_batches_on_its_own_subject(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, client),
        watching(nats_client, "chat.pod.*.response") as responses,
        watching(nats_client, "chat.session.*.broadcast") as broadcast,
        events(client, "s") as stream,
    ):
        await eventually(lambda: stored.stored(nats_client, "CHAT_REGISTRY", "chat.registry.s.pod-1"))
        await post(client, "s", model="count", max_tokens=30)
        reading = await stream.read_finals()
        await eventually(lambda: responses.has_final)
    assert {message.subject for message in responses.messages} == {"chat.pod.pod-1.response"}
    assert all(body["session_id"] == "s" and body["chunks"] for body in responses.bodies)
    assert responses.chunks == reading.chunks
    assert reading.ids == list(range(31))
    assert not broadcast.messages, "the pod is known, so nobody else is bothered"


async def test_every_pod_with_a_reader_gets_the_answer_and_no_other_pod(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
        pod_and_client(broker.url, "pod-3") as (_, three),
        watching(nats_client, "chat.pod.*.response") as responses,
        events(one, "s") as first,
        events(two, "s") as second,
        events(three, "other"),
    ):
        await eventually(lambda: _holders(nats_client, "s", 2))
        await post(three, "s", model="count", max_tokens=30)
        readings = [await first.read_finals(), await second.read_finals()]
        await eventually(lambda: sum(chunk["is_final"] for chunk in responses.chunks) == 2)
    assert {message.subject for message in responses.messages} == {
        "chat.pod.pod-1.response",
        "chat.pod.pod-2.response",
    }
    assert readings[0].chunks == readings[1].chunks
    assert readings[0].ids == list(range(31))


async def test_pod_whose_reader_comes_in_mid_answer_is_told_the_rest(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url, models("held"), role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
        watching(nats_client, "chat.pod.pod-2.response") as responses,
        events(one, "s") as first,
    ):
        go_on = gate()
        await post(one, "s", model="held")
        await first.read(5)
        async with events(two, "s") as second:
            await eventually(lambda: _holders(nats_client, "s", 2))
            go_on.set()
            late = await second.read_finals()
        early = await first.read_finals()
        await eventually(lambda: responses.has_final)
    assert late.chunks == early.chunks, "the unfinished answer from its beginning, then live"
    assert {chunk["chunk_id"] for chunk in responses.chunks} >= set(
        range(HELD_TOKENS // 2, HELD_TOKENS + 1)
    ), "the worker heard of the second pod while it answered"


async def test_pod_that_is_frozen_does_not_keep_other_pods_from_theirs(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        FaultProxy(broker.port) as proxy,
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-2") as (_, healthy),
        pod_and_client(proxy.url, "pod-1") as (_, frozen),
        events(frozen, "s") as behind,
        events(healthy, "s") as ahead,
    ):
        await eventually(lambda: _holders(nats_client, "s", 2))
        proxy.blackhole()
        rest = asyncio.create_task(behind.read_finals())
        await post(healthy, "s", model="count", max_tokens=50)
        reading = await ahead.read_finals()
        assert not behind.reading.chunks
        proxy.blackhole(False)
        await rest
    assert reading.ids == behind.reading.ids == list(range(51))


async def test_registered_pod_that_does_not_exist_does_not_keep_others_from_theirs(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, client),
        events(client, "s") as stream,
    ):
        for ghost in ("a-ghost", "z-ghost"):
            entry = json.dumps({"boot": "gone"}).encode()
            await nats_client.jetstream().publish(f"chat.registry.s.{ghost}", entry)
        await post(client, "s", model="count", max_tokens=50)
        reading = await stream.read_finals()
    assert reading.ids == list(range(51))


async def test_pod_whose_subject_the_worker_may_not_publish_to_heals_from_the_transcript(
    tmp_path: Path,
) -> None:
    users = """authorization { users: [
        {user: worker, password: w, permissions: {publish: {deny: ["chat.pod.pod-1.response"]}}}
        {user: pod, password: p}
    ] }
    """
    broker = await Broker.start(tmp_path, config_extra=users)
    as_pod = ("nats.user=pod", "nats.password=p")
    try:
        async with (
            running(broker.url, "nats.user=worker", "nats.password=w", role="worker", id="w"),
            pod_and_client(broker.url, "pod-1", *as_pod) as (_, refused),
            pod_and_client(broker.url, "pod-2", *as_pod) as (_, served),
            events(refused, "s") as behind,
            events(served, "s") as ahead,
        ):
            await post(refused, "s", model="count", max_tokens=50)
            reading = await ahead.read_finals()
            healed = await behind.read_finals()
    finally:
        broker.stop()
    assert reading.ids == healed.ids == list(range(51))


async def _holders(client: Client, session_id: str, count: int) -> bool:
    return len(await stored.stored(client, "CHAT_REGISTRY", f"chat.registry.{session_id}.*")) == count
