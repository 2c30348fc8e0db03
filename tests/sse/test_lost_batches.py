"""Live batches are at most once. What is lost, doubled or out of order on the way is mended from the transcript."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client

from chatmesh.hub import lookout
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import is_ready, pod_and_client, running
from tests.support.proxy import FaultProxy
from tests.support.reading import events, post
from tests.support.waiting import eventually
from tests.support.watching import watching

DEAF = """authorization { users: [
    {user: worker, password: w, permissions: {publish: {deny: ["chat.pod.pod-1.response"]}}}
    {user: other, password: o}
] }
"""
"""The broker drops whatever the worker sends to pod-1."""


def lossy(percent: int) -> str:
    """The broker lets so many percent of pod-1's batches through: NATS's own way to test for loss."""
    return f"""mappings: {{
    "chat.pod.pod-1.response": [ {{destination: "chat.pod.pod-1.response", weight: {percent}%}} ]
}}
"""


@asynccontextmanager
async def started(directory: Path, config: str) -> AsyncIterator[Broker]:
    broker = await Broker.start(directory, config_extra=config)
    try:
        yield broker
    finally:
        broker.stop()


@asynccontextmanager
async def replays(broker: Broker) -> AsyncIterator[Callable[[str], bool]]:
    """Whether the pod of that id has read a session's records since: its reader is live then."""
    client = await broker.connect()
    try:
        async with watching(client, "$JS.API.DIRECT.GET.CHAT_TRANSCRIPT") as reads:
            yield lambda pod: any(
                f"_INBOX.{pod}." in read.reply and b"transcript.*" in read.data for read in reads.messages
            )
    finally:
        await client.close()


@pytest.mark.parametrize("percent", [0, 30, 70])
async def test_reader_sees_every_chunk_once_when_batches_are_lost_on_their_way(
    tmp_path: Path, percent: int
) -> None:
    """0: not one arrives, so the tail check finds them all; between, holes are filled when they show."""
    async with (
        started(tmp_path, lossy(percent)) as broker,
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, client),
        events(client, "s") as stream,
    ):
        for _ in range(2):
            await post(client, "s", model="count", max_tokens=150, tokens_per_second=300)
        reading = await stream.read_finals(2)
    assert reading.ids == list(range(151)) * 2
    assert not reading.named("reset")


async def test_batches_out_of_order_and_doubled_are_shown_once_and_in_order(tmp_path: Path) -> None:
    """The worker may not reach pod-1; what it stored comes shuffled and thrice instead."""
    chance = random.Random(7)  # noqa: S311 - repeatable, no secret
    other = ("nats.user=other", "nats.password=o")
    async with (
        started(tmp_path, DEAF) as broker,
        running(broker.url, "nats.user=worker", "nats.password=w", role="worker", id="w"),
        pod_and_client(broker.url, "pod-1", *other) as (_, one),
        pod_and_client(broker.url, "pod-2", *other) as (_, two),
        events(one, "s") as stream,
        events(two, "s") as control,
    ):
        raw = await broker.connect(user="other", password="o")
        try:
            await post(two, "s", model="count", max_tokens=100, tokens_per_second=500)
            await control.read_finals()
            batches = [
                record.body | {"seq": record.seq, "request": None}
                for record in await stored.records(raw, "s")
            ]
            shuffled = batches * 3
            chance.shuffle(shuffled)
            for batch in shuffled:
                await raw.publish(
                    "chat.pod.pod-1.response", json.dumps(batch).encode(), headers={"Chatmesh-Wire": "1"}
                )
            await stream.read_finals()
            await post(two, "s", model="count", max_tokens=3)
            await control.read_finals(2)
            (*_, last) = await stored.records(raw, "s")
            late = json.dumps(last.body | {"seq": last.seq}).encode()
            await raw.publish("chat.pod.pod-1.response", late, headers={"Chatmesh-Wire": "1"})
            reading = await stream.read_finals(2)
        finally:
            await raw.close()
    assert reading.chunks == control.reading.chunks
    assert reading.ids == [*range(101), *range(4)]


@pytest.mark.slow
async def test_reader_who_waits_sees_an_answer_of_which_every_batch_was_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was posted at its pod, no connection was cut, and no hole shows: only the answer's claim does."""
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(lookout, "PAUSE_LOOKS", 0)  # one that took 0.3 s would be the last for half a minute
    other = ("nats.user=other", "nats.password=o")
    async with (
        started(tmp_path, DEAF) as broker,
        running(broker.url, "nats.user=worker", "nats.password=w", role="worker", id="w"),
        pod_and_client(broker.url, "pod-1", *other) as (_, deaf),
        pod_and_client(broker.url, "pod-2", *other) as (_, two),
        events(deaf, "s") as stream,
        events(two, "s") as control,
    ):
        for finals in (1, 2):
            await post(two, "s", model="count", max_tokens=20)
            await control.read_finals(finals)
            await stream.read_finals(finals)
    assert stream.reading.chunks == control.reading.chunks
    assert stream.reading.ids == [*range(21), *range(21)]


async def test_reader_who_comes_while_the_model_is_silent_sees_an_answer_of_which_every_batch_was_lost(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer's claim is older than the reader, who has to find it by itself. Here nothing is sent live at all."""
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 3600.0)
    ids = {"session_id": "s", "message_id": "m"}
    claim = ids | {"worker_id": "w", "boot": "b", "nonce": "n", "timestamp": ""}
    claim |= {"attempt": 1, "base": 0, "first": 0, "offset": 0}
    final = ids | {"chunk_id": 0, "chunk": "", "chunk_type": "content", "is_final": True, "metadata": {}}
    async with pod_and_client(broker.url, "pod-1") as (_, client), replays(broker) as replayed:
        js = nats_client.jetstream()
        token = (await js.publish("chat.session.s.claim", json.dumps(claim).encode())).seq
        async with events(client, "s") as stream:
            await eventually(lambda: replayed("pod-1"))
            record = ids | {"offset": 1, "attempt": 1, "token": token, "request": {}, "chunks": [final]}
            await js.publish("chat.session.s.transcript.m", json.dumps(record).encode())
            assert (await stream.read_finals()).ids == [0]


async def test_reader_who_comes_back_in_mid_answer_sees_a_rest_of_which_every_batch_was_lost(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind its position nothing is stored yet, and nothing is sent live: only the claim's answer has no end yet."""
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 3600.0)
    ids = {"session_id": "s", "message_id": "m"}
    claim = ids | {"worker_id": "w", "boot": "b", "nonce": "n", "timestamp": ""}
    claim |= {"attempt": 1, "base": 0, "first": 0, "offset": 0}
    chunk = ids | {"chunk": "", "chunk_type": "content", "metadata": {}}
    js = nats_client.jetstream()
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        token = (await js.publish("chat.session.s.claim", json.dumps(claim).encode())).seq

        async def store(offset: int, *, is_final: bool) -> None:
            told = [chunk | {"chunk_id": offset - 1, "is_final": is_final}]
            record = ids | {"offset": offset, "attempt": 1, "token": token, "request": {}, "chunks": told}
            await js.publish("chat.session.s.transcript.m", json.dumps(record).encode())

        await store(1, is_final=False)
        async with events(client, "s") as stream:
            reading = await stream.read(1)
        async with replays(broker) as replayed, events(client, "s", reading=reading) as stream:
            await eventually(lambda: replayed("pod-1"))
            await store(2, is_final=True)
            assert (await stream.read_finals()).ids == [0, 1]


async def test_reader_whose_pod_is_registered_late_sees_what_went_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookout, "LOOK_SECONDS", 3600.0)

    def heard(percent: int) -> str:
        return f"""mappings: {{
    "chat.registry.s.pod-1": [ {{destination: "chat.registry.s.pod-1", weight: {percent}%}} ]
}}
"""

    async with (
        started(tmp_path, heard(0)) as broker,
        running(broker.url, role="worker", id="w"),
        pod_and_client(broker.url, "pod-1") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
        events(two, "s") as control,
        replays(broker) as replayed,
        events(one, "s") as stream,
    ):
        await eventually(lambda: replayed("pod-1"))
        await post(two, "s", model="count", max_tokens=20)
        await control.read_finals()
        await broker.reload(heard(100))
        reading = await stream.read_finals()
    assert reading.chunks == control.reading.chunks


async def test_batches_that_somebody_repeats_while_they_come_are_shown_once(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, client),
        watching(nats_client, "chat.pod.pod-1.response") as watch,
        events(client, "s") as stream,
    ):
        await post(client, "s", model="count", max_tokens=100, tokens_per_second=300)
        for _ in range(5):
            await stream.read(15)
            for message in reversed(list(watch.messages)):
                await nats_client.publish(message.subject, message.data, headers=message.headers)
        await stream.read_finals()
        for message in reversed(list(watch.messages)):
            await nats_client.publish(message.subject, message.data, headers=message.headers)
        await nats_client.flush()
        await post(client, "s", model="count", max_tokens=3)
        reading = await stream.read_finals(2)
        assert reading.chunks == await stored.chunks(nats_client, "s")


@pytest.mark.parametrize("fault", ["cut", "refused", "frozen"])
async def test_reader_sees_every_chunk_once_when_its_pod_loses_the_broker_in_mid_answer(
    broker: Broker, nats_client: Client, fault: str
) -> None:
    """The answer goes on meanwhile, and ends: what was sent to the pod is lost for good."""
    async with (
        running(broker.url, role="worker", id="w"),
        FaultProxy(broker.port) as proxy,
        pod_and_client(proxy.url, "pod-1") as (_, client),
        pod_and_client(broker.url, "pod-2") as (_, elsewhere),
        events(client, "s") as stream,
        events(elsewhere, "s") as control,
    ):
        await post(elsewhere, "s", model="count", max_tokens=150, tokens_per_second=300)
        await stream.read(20)
        if fault == "refused":
            await proxy.refuse()
            proxy.cut()
        elif fault == "cut":
            proxy.cut()
        else:
            proxy.blackhole()
        await control.read_finals()
        await proxy.refuse(False)
        proxy.blackhole(False)
        reading = await stream.read_finals()
        await eventually(lambda: is_ready(client))
    assert reading.chunks == control.reading.chunks
    assert reading.ids == list(range(151))
    assert not reading.named("reset")


async def test_reader_who_waits_sees_an_answer_that_was_given_while_its_pod_was_cut_off(
    broker: Broker,
) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        FaultProxy(broker.port) as proxy,
        pod_and_client(proxy.url, "pod-1") as (_, client),
        pod_and_client(broker.url, "pod-2") as (_, elsewhere),
        events(client, "s") as stream,
        events(elsewhere, "s") as control,
    ):
        await proxy.refuse()
        proxy.cut()
        await post(elsewhere, "s", model="count", max_tokens=20)
        await control.read_finals()
        await proxy.refuse(False)
        reading = await stream.read_finals()
    assert reading.ids == list(range(21))


def test_looks_take_a_hundredth_of_the_time_at_most() -> None:
    assert lookout.pause_seconds(0.001) == lookout.LOOK_SECONDS
    assert lookout.pause_seconds(0.4) == pytest.approx(40.0)
    assert lookout.pause_seconds(2.0) == lookout.MOST_SECONDS
