"""The seed's "Session Broadcast Pattern (Fallback)": when no pod is known, or the registry does not answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from nats.aio.client import Client

from chatmesh.hub import lookout
from chatmesh.presence import holdings
from tests.support import models, stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.support.watching import watching


async def test_answer_is_broadcast_as_batches_when_no_pod_is_known(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, client),
        watching(nats_client, "chat.session.s.broadcast") as broadcast,
        watching(nats_client, "chat.pod.*.response") as responses,
    ):
        await post(client, "s", model="count", max_tokens=30)
        await eventually(lambda: broadcast.has_final)
    assert not responses.messages
    assert all(set(body) >= {"session_id", "chunks"} for body in broadcast.bodies)
    assert [chunk["chunk_id"] for chunk in broadcast.chunks] == list(range(31))


NO_REGISTRY = """mappings: {
    "chat.registry.*.*": [ {destination: "chat.registry.$1.$2", weight: 0%} ]
    "$JS.API.DIRECT.GET.CHAT_REGISTRY": [ {destination: "$JS.API.DIRECT.GET.CHAT_REGISTRY", weight: 0%} ]
}
"""
"""The broker drops what is written to the registry and asked of it: it is silent, and not only empty."""


async def test_reader_gets_everything_by_broadcast_when_the_registry_is_silent_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader is on another pod than the writer."""
    monkeypatch.setattr(holdings, "PUT_SECONDS", 3600.0)
    broker = await Broker.start(tmp_path, config_extra=NO_REGISTRY)
    nats_client = await broker.connect()
    try:
        async with (
            running(broker.url, role="worker", id="w"),
            pod_and_client(broker.url, "pod-1") as (_, one),
            pod_and_client(broker.url, "pod-2") as (_, two),
            watching(nats_client, "chat.session.s.broadcast") as broadcast,
            events(two, "s") as stream,
        ):
            await post(one, "s", model="count", max_tokens=60, tokens_per_second=100)
            reading = await stream.read_finals()
            assert reading.chunks == await stored.chunks(nats_client, "s")
            await eventually(lambda: broadcast.has_final)
    finally:
        await nats_client.close()
        broker.stop()
    assert reading.ids == list(range(61))
    assert broadcast.chunks == reading.chunks


UNREAD_REGISTRY = """mappings: {
    "$JS.API.DIRECT.GET.CHAT_REGISTRY": [ {destination: "$JS.API.DIRECT.GET.CHAT_REGISTRY", weight: 0%} ]
}
"""
"""It takes what is written, and is heard, but says nothing."""


async def test_pod_that_comes_while_the_registry_can_not_be_read_takes_the_answer_from_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker hears of that pod only, and does not know who else there is."""
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(models, "told", told := asyncio.Event())
    broker = await Broker.start(tmp_path, config_extra=UNREAD_REGISTRY)
    nats_client = await broker.connect()
    try:
        async with (
            running(broker.url, models.models("when_told"), role="worker", id="w"),
            pod_and_client(broker.url, "pod-1") as (_, one),
            pod_and_client(broker.url, "pod-2") as (_, two),
            events(one, "s") as stream,
        ):
            await post(two, "s", model="when_told")
            await eventually(lambda: stored.claims(nats_client, "s"))
            async with (
                watching(nats_client, "chat.registry.s.pod-2") as heard,
                events(two, "s") as late,
            ):
                await eventually(lambda: heard.messages)
                told.set()
                readings = [await late.read_finals(), await stream.read_finals()]
    finally:
        await nats_client.close()
        broker.stop()
    assert [reading.text for reading in readings] == ["yes", "yes"]


async def test_registry_that_was_deleted_under_a_running_mesh_costs_its_readers_nothing(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
    ):
        await stored.api(nats_client, "STREAM.DELETE.CHAT_REGISTRY")
        async with events(two, "s") as stream:
            await post(one, "s", model="count", max_tokens=60, tokens_per_second=100)
            reading = await stream.read_finals()
        assert reading.chunks == await stored.chunks(nats_client, "s")
    assert reading.ids == list(range(61))


async def test_broadcast_of_a_session_without_readers_here_is_ignored(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, client),
        events(client, "mine") as stream,
        watching(nats_client, "chat.session.other.broadcast") as broadcast,
    ):
        await post(client, "other", model="count", max_tokens=30)
        await eventually(lambda: broadcast.has_final)
        await post(client, "mine", model="count", max_tokens=3)
        reading = await stream.read_finals()
    assert {chunk["session_id"] for chunk in reading.chunks} == {"mine"}


async def test_garbage_on_response_and_broadcast_subjects_is_dropped_and_the_next_batch_is_served(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, client),
        events(client, "s") as stream,
    ):
        for subject in ("chat.pod.pod-1.response", "chat.session.s.broadcast"):
            for body in (b"", b"\xff", b"[]", b"{}", b'{"chunks": 5}', b'{"session_id": "*", "chunks": []}'):
                for headers in (None, {"Chatmesh-Wire": "1"}):
                    await nats_client.publish(subject, body, headers=headers)
        await nats_client.flush()
        await post(client, "s", model="count", max_tokens=30)
        reading = await stream.read_finals()
    assert reading.ids == list(range(31))
