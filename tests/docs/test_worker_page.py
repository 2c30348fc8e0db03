"""docs/worker.md: its worker, as it stands there, beside chatmesh's on one queue."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from nats.aio.client import Client

from tests.docs.pages import page
from tests.faults.support import ACK_WAIT, start_worker, wait_alive
from tests.natsconf.conftest import guarded
from tests.natsconf.support import API, Guarded
from tests.support.broker import Broker
from tests.support.children import Child
from tests.support.mesh import pod_and_client
from tests.support.processes import Process
from tests.support.reading import events, post

pytestmark = pytest.mark.slow

__all__ = ["guarded"]

PACE = 5
"""Words a second: slow enough that a worker is started, killed or told to stop before the answer is over."""
WORDS = [f"word{number} " for number in range(24)]
TEXT = "".join(WORDS).strip()

StartForeign = Callable[..., Child]


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[StartForeign]:
    """Starts the page's worker, in a folder of its own without anything of chatmesh's."""
    (program,) = page("docs/worker.md").blocks("python worker")
    file = tmp_path / "worker.py"
    file.write_text(program)
    begun: list[Child] = []

    def start(broker: Broker, **more: str) -> Child:
        output, errors = tmp_path / "worker.out", tmp_path / "worker.err"
        environment = {**os.environ, "NATS_URL": broker.url, "WORKER_ID": "python-1", **more}
        command = [sys.executable, "-I", str(file)]
        begun.append(Child(command, stdout=output, stderr=errors, cwd=tmp_path, env=environment))
        return begun[-1]

    yield start
    for each in begun:
        each.kill()
    assert (tmp_path / "worker.err").read_text() == ""


async def make_consumer(chatmesh: Callable[..., Process], broker: Broker) -> None:
    """As who has no worker of chatmesh does."""
    settings = ("--set", f"nats.servers={broker.url}", "--set", ACK_WAIT)
    made = chatmesh("streams", "ensure", "--apply", *settings)
    assert await made.wait() == 0, made.report()


async def say(client: httpx.AsyncClient, message_id: str, pace: float = PACE) -> None:
    answer = await post(client, "s", TEXT, message_id=message_id, model="echo", tokens_per_second=pace)
    assert answer.status_code == 202


async def assert_whole(chatmesh: Callable[..., Process], broker: Broker) -> None:
    """By chatmesh's own look at everything stored of the session."""
    verify = chatmesh("verify", "s", "--set", f"nats.servers={broker.url}")
    assert await verify.wait() == 0, verify.report()


async def test_its_answers_are_stored_and_shown_like_any_other_and_sessions_go_on_at_chatmeshs_worker(
    broker: Broker, nats_client: Client, foreign: StartForeign, chatmesh: Callable[..., Process]
) -> None:
    await make_consumer(chatmesh, broker)
    async with (
        pod_and_client(broker.url, "pod-1", ACK_WAIT) as (_, client),
        events(client, "s") as stream,
    ):
        child = foreign(broker)
        await say(client, "m1", pace=10)
        await say(client, "m2", pace=10)
        reading = await stream.read_finals(2)
        assert [chunk["chunk"] for chunk in reading.chunks] == [*WORDS[:-1], WORDS[-1].strip(), ""] * 2
        assert reading.ids == [*range(25)] * 2
        child.signal(signal.SIGTERM)
        assert await child.wait() == 0
        await start_worker(chatmesh, nats_client, broker.url, "ours")
        await say(client, "m3", pace=0)
        reading = await stream.read_finals(3)
        rows = (await client.get("/v1/sessions/s/messages")).json()["messages"]
    assert [row["content"] for row in rows] == [TEXT] * 6
    assert len({event.id for event in reading.events}) == len(reading.events)
    await assert_whole(chatmesh, broker)


async def test_chatmeshs_worker_goes_on_with_what_it_had_begun_when_it_was_killed(
    broker: Broker, nats_client: Client, foreign: StartForeign, chatmesh: Callable[..., Process]
) -> None:
    await make_consumer(chatmesh, broker)
    async with pod_and_client(broker.url, "pod-1", ACK_WAIT) as (_, client), events(client, "s") as stream:
        child = foreign(broker)
        await say(client, "m1")
        await stream.read(8)
        await asyncio.to_thread(child.kill)
        await start_worker(chatmesh, nats_client, broker.url, "ours")
        reading = await stream.read_finals()
    assert reading.text == TEXT
    assert reading.ids == [*range(len(reading.ids))]
    assert reading.named("reset") == []
    assert [chunk["metadata"]["attempt"] for chunk in (reading.chunks[0], reading.chunks[-1])] == [1, 2]
    await assert_whole(chatmesh, broker)


async def test_it_goes_on_with_what_chatmeshs_worker_had_begun_when_that_was_killed(
    broker: Broker, nats_client: Client, foreign: StartForeign, chatmesh: Callable[..., Process]
) -> None:
    async with pod_and_client(broker.url, "pod-1", ACK_WAIT) as (_, client), events(client, "s") as stream:
        ours = await start_worker(chatmesh, nats_client, broker.url, "ours")
        await say(client, "m1")
        await stream.read(4)
        child = foreign(broker)
        await wait_alive(nats_client, child, "chat.worker.python-1.health")
        await asyncio.to_thread(ours.kill)
        reading = await stream.read_finals()
    assert reading.text == TEXT
    assert reading.ids == [*range(len(reading.ids))]
    assert reading.chunks[-1]["metadata"]["attempt"] == 2
    await assert_whole(chatmesh, broker)


async def test_it_stops_when_it_is_told_to(
    broker: Broker, foreign: StartForeign, chatmesh: Callable[..., Process]
) -> None:
    await make_consumer(chatmesh, broker)
    async with pod_and_client(broker.url, "pod-1", ACK_WAIT) as (_, client), events(client, "s") as stream:
        foreign(broker)
        await say(client, "m1")
        await say(client, "m2")
        await stream.read(5)
        assert (await client.delete("/v1/sessions/s/messages/m2")).status_code == 202
        assert (await client.delete("/v1/sessions/s/messages/m1")).status_code == 202
        reading = await stream.read_finals(2)
    assert [final["metadata"]["finish_reason"] for final in reading.finals] == ["cancelled", "cancelled"]
    assert TEXT.startswith(reading.text.strip())
    assert reading.chunks[-1]["message_id"] == "m2"
    assert reading.chunks[-1]["chunk_id"] == 0, "it was stopped before it began"
    await assert_whole(chatmesh, broker)


async def test_it_needs_no_more_than_the_user_of_a_worker_may(
    guarded: Guarded, foreign: StartForeign, chatmesh: Callable[..., Process]
) -> None:
    ours = chatmesh("run", "-c", guarded.file("worker-1"))
    await ours.wait_for_line('"event": "app.ready"', stream="stderr")
    async with (
        pod_and_client(guarded.broker.url, "pod-1", *guarded.settings("pod-1")) as (_, client),
        events(client, "s") as stream,
    ):
        await say(client, "m1")
        await stream.read(3)
        seed = str(guarded.folder / "worker-2.nk")
        foreign(guarded.broker, WORKER_ID="worker-2", NKEY_SEED=seed, JETSTREAM_API=API)
        await asyncio.to_thread(ours.kill)
        reading = await stream.read_finals()
    assert reading.text == TEXT
    assert reading.chunks[-1]["metadata"]["attempt"] == 2
    verify = chatmesh("verify", "s", "-c", guarded.file("monitor"))
    assert await verify.wait() == 0, verify.report()
