"""Who holds a session, and who is dead: many pods, many readers, lives that ended, and a registry that is away."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import AsyncExitStack

import pytest
from nats.aio.client import Client

from chatmesh.hub import lookout
from tests.hostile.support import encode
from tests.support import models, stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.support.watching import Watch, watching

pytestmark = pytest.mark.usefixtures("patient_registry")

BEAT = "heartbeat.interval_seconds=0.2"


async def enter(client: Client, session_id: str, pod_id: str, boot: str) -> None:
    """An entry as a pod would have left it."""
    await client.jetstream().publish(f"chat.registry.{session_id}.{pod_id}", encode({"boot": boot}))


async def beat(client: Client, pod_id: str, boot: str, status: str = "healthy") -> None:
    body = {"pod_id": pod_id, "timestamp": "2026-01-01T00:00:00Z", "boot": boot, "status": status}
    await client.publish(f"chat.pod.{pod_id}.heartbeat", encode(body))
    await client.flush()


async def holders(client: Client, session_id: str) -> set[str]:
    found = await stored.stored(client, "CHAT_REGISTRY", f"chat.registry.{session_id}.*")
    return {
        entry.subject.rpartition(".")[2] for entry in found if entry.data and not entry.body.get("released")
    }


@pytest.mark.slow
async def test_200_readers_over_three_pods_each_see_every_chunk_once(
    broker: Broker, nats_client: Client
) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(broker.url, role="worker", id="w"))
        clients = [
            (await stack.enter_async_context(pod_and_client(broker.url, f"pod-{number}")))[1]
            for number in range(3)
        ]
        streams = [await stack.enter_async_context(events(clients[number % 3], "s")) for number in range(200)]
        await eventually(lambda: _is(holders(nats_client, "s"), {"pod-0", "pod-1", "pod-2"}))
        await post(clients[0], "s", model="count", max_tokens=50, tokens_per_second=200)
        readings = await asyncio.gather(*(stream.read_finals() for stream in streams))
    assert all(reading.ids == list(range(51)) for reading in readings)
    assert all(len({event.id for event in reading.events}) == 51 for reading in readings)
    assert len({tuple(event.id for event in reading.events) for reading in readings}) == 1


async def test_pod_that_said_goodbye_is_not_sent_to_and_one_that_nobody_heard_of_is(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "p", role="all") as (_, client),
        watching(nats_client, "chat.pod.*.response") as responses,
        events(client, "s") as stream,
    ):
        await eventually(lambda: _is(holders(nats_client, "s"), {"p"}))
        await enter(nats_client, "s", "left", "boot-1")
        await enter(nats_client, "s", "unheard", "boot-1")
        await beat(nats_client, "left", "boot-1", "stopped")
        await post(client, "s", model="count", max_tokens=3)
        assert (await stream.read_finals()).ids == [0, 1, 2, 3]
        await nats_client.flush()
    assert {message.subject.split(".")[2] for message in responses.messages} == {"p", "unheard"}


async def test_pod_that_fell_silent_is_not_sent_to(broker: Broker, nats_client: Client) -> None:
    async with (
        pod_and_client(broker.url, "p", BEAT, role="all") as (_, client),
        watching(nats_client, "chat.pod.silent.response") as responses,
    ):
        await enter(nats_client, "s", "silent", "boot-1")
        await beat(nats_client, "silent", "boot-1")

        async def is_left_out() -> bool:
            seen = len(responses.messages)
            async with events(client, "s") as stream:
                await post(client, "s", model="count", max_tokens=1)
                assert (await stream.read_finals()).finals
            await nats_client.flush()
            return len(responses.messages) == seen

        await eventually(is_left_out)


async def test_entry_of_an_older_life_is_not_revived_by_a_newer_one(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "p", role="all") as (_, client),
        watching(nats_client, "chat.pod.q.response") as responses,
        events(client, "s") as stream,
    ):
        await enter(nats_client, "s", "q", "boot-1")
        await beat(nats_client, "q", "boot-1")
        await post(client, "s", model="count", max_tokens=1)
        await stream.read_finals(1)
        await eventually(lambda: responses.messages)
        await beat(nats_client, "q", "boot-2")
        answered = itertools.count(2)

        async def is_left_out() -> bool:
            """Boot-1 is dead, and boot-2 holds nothing: seen by the first answer behind the worker's hearing of it."""
            seen = len(responses.messages)
            await post(client, "s", model="count", max_tokens=1)
            await stream.read_finals(next(answered))
            await nats_client.flush()
            return len(responses.messages) == seen

        await eventually(is_left_out)
        assert await is_left_out()
        seen = len(responses.messages)
        await enter(nats_client, "s", "q", "boot-2")
        await post(client, "s", model="count", max_tokens=1)
        await stream.read_finals(next(answered))
        await eventually(lambda: len(responses.messages) > seen)


async def test_pod_that_was_restarted_is_sent_only_what_it_holds_now(
    broker: Broker, nats_client: Client
) -> None:
    """A real one: its first life registers a session, its second life never hears of it."""
    async with running(broker.url, role="worker", id="w"), pod_and_client(broker.url, "other") as (_, other):
        async with pod_and_client(broker.url, "q") as (_, client), events(client, "s"):
            await eventually(lambda: _is(holders(nats_client, "s"), {"q"}))
            (entry,) = await stored.stored(nats_client, "CHAT_REGISTRY", "chat.registry.s.q")
        # As after a kill -9: the entry of the first life is still there.
        await nats_client.jetstream().publish("chat.registry.s.q", entry.data)
        async with (
            watching(nats_client, "chat.pod.q.heartbeat") as beats,
            pod_and_client(broker.url, "q") as (_, client),
            watching(nats_client, "chat.pod.q.response") as responses,
            events(other, "s") as stream,
        ):
            await eventually(lambda: beats.messages)
            await post(other, "s", model="count", max_tokens=3)
            assert (await stream.read_finals()).ids == [0, 1, 2, 3]
            await nats_client.flush()
            assert not responses.messages
            async with events(client, "s") as again:
                await post(client, "s", model="count", max_tokens=3)
                assert (await again.read_finals()).ids == [0, 1, 2, 3]


@pytest.mark.parametrize("role", ["pod", "worker"])
async def test_second_process_of_a_living_id_is_refused_and_the_first_one_goes_on(
    broker: Broker, nats_client: Client, role: str
) -> None:
    async with running(broker.url, role=role, id="x"):
        with pytest.raises(BaseException, match="a living process has the id"):
            async with running(broker.url, role=role, id="x"):
                pass
        answer = await nats_client.request(f"chat.{role}.x.health", timeout=5)
        assert json.loads(answer.data)["status"] == "healthy"
    async with running(broker.url, role=role, id="x"):
        answer = await nats_client.request(f"chat.{role}.x.health", timeout=5)
        assert json.loads(answer.data)["status"] == "healthy"


async def test_answer_comes_live_while_the_registry_refuses_entries(
    broker: Broker, nats_client: Client
) -> None:
    """A full registry: no entry is stored. A pod tells it again each second, which a worker that is answering hears: so
    a batch is broadcast, or goes to who was heard, and the transcript has what somebody was not sent."""
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "p") as (_, client),
        pod_and_client(broker.url, "q") as (_, other),
        watching(nats_client, "chat.session.s.broadcast") as broadcast,
        watching(nats_client, "chat.pod.*.response") as responses,
    ):
        await stored.update_stream(nats_client, "CHAT_REGISTRY", max_bytes=1)
        async with events(client, "s") as stream, events(other, "s") as elsewhere:
            await post(client, "s", model="count", max_tokens=30)
            readings = [await stream.read_finals(), await elsewhere.read_finals()]
        assert not await holders(nats_client, "s")
        await eventually(lambda: broadcast.has_final or responses.has_final)
    assert [reading.ids for reading in readings] == [list(range(31))] * 2
    live = {chunk["chunk_id"] for chunk in broadcast.chunks + responses.chunks}
    assert live == {chunk["chunk_id"] for chunk in readings[0].chunks}


async def test_every_reader_gets_the_answer_live_while_the_registry_refuses_entries_of_several_sessions(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pod tells all of its sessions again, not only the first one: who is not heard gets nothing where another is."""
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(models, "told", told := asyncio.Event())
    async with (
        running(broker.url, models.models("when_told"), role="worker", id="w"),
        pod_and_client(broker.url, "p") as (_, client),
        pod_and_client(broker.url, "q") as (_, other),
    ):
        await stored.update_stream(nats_client, "CHAT_REGISTRY", max_bytes=1)
        async with events(client, "a"), events(client, "s") as stream, events(other, "s") as elsewhere:
            await post(other, "s", model="when_told")
            await eventually(lambda: stored.claims(nats_client, "s"))
            async with watching(nats_client, "chat.registry.s.*") as heard:
                for pod in ("p", "q"):
                    await eventually(lambda pod=pod: told_by(heard, pod) > 1, timeout=20)
            told.set()
            readings = [await stream.read_finals(), await elsewhere.read_finals()]
    assert [reading.text for reading in readings] == ["yes", "yes"]


async def test_answer_comes_by_broadcast_once_the_registry_is_gone_in_mid_answer(
    broker: Broker, nats_client: Client
) -> None:
    """Whoever is known already stays known; the next answer of another session is broadcast."""
    async with (
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "p") as (_, client),
        events(client, "s") as stream,
    ):
        await post(client, "s", model="count", max_tokens=60, tokens_per_second=150)
        await stream.read(3)
        await stored.api(nats_client, "STREAM.DELETE.CHAT_REGISTRY")
        async with events(client, "other") as other:
            await post(client, "other", model="count", max_tokens=30)
            assert (await other.read_finals()).ids == list(range(31))
        assert (await stream.read_finals()).ids == list(range(61))


async def test_entry_whose_name_is_no_pod_is_not_sent_to(broker: Broker, nats_client: Client) -> None:
    async with (
        pod_and_client(broker.url, "p", role="all") as (_, client),
        watching(nats_client, "chat.pod.>") as pods,
        events(client, "s") as stream,
    ):
        for name in ("a%b", "ünï", "x" * 200):
            await nats_client.publish(f"chat.registry.s.{name}", encode({"boot": "x"}))
        await post(client, "s", model="count", max_tokens=3)
        assert (await stream.read_finals()).ids == [0, 1, 2, 3]
        await nats_client.flush()
    assert {message.subject for message in pods.messages} <= {"chat.pod.p.response", "chat.pod.p.heartbeat"}


def told_by(heard: Watch, pod: str) -> int:
    return [message.subject for message in heard.messages].count(f"chat.registry.s.{pod}")


async def _is(found: object, wanted: set[str]) -> bool:
    return await found == wanted  # type: ignore[misc]
