"""The looks behind the readers' backs bite too: at the queue, the transcript, the logs and the processes."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import httpx
import psutil

from chatmesh.client import Client
from chatmesh.operate.chaos.audit import check_logs, check_transcripts, wait_for_rest
from chatmesh.operate.chaos.check import Kind
from chatmesh.operate.chaos.observer import observer
from chatmesh.operate.chaos.plan import Size
from chatmesh.operate.chaos.talk import MARK, Talk
from chatmesh.operate.chaos.world import World
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import events, post
from tests.support.waiting import eventually


def talk_of(session_id: str, client: Client) -> Talk:
    return Talk(client, session_id, random.getrandbits(32), clock=lambda: 0.0)


async def answer(http: httpx.AsyncClient, session_id: str) -> None:
    async with events(http, session_id) as stream:
        await post(http, session_id, message_id="m1", model="count", max_tokens=3)
        await stream.read_finals()


async def test_a_request_that_nobody_answers_is_found_in_the_queue(broker: Broker) -> None:
    async with running(broker.url, workers=1) as mesh, client_of(mesh) as http:
        await answer(http, "s1")
        async with observer([broker.url]) as looks:
            assert await wait_for_rest(looks, [], seconds=10) == []
    async with running(broker.url, role="pod") as mesh, client_of(mesh) as http:
        await post(http, "s2", message_id="m1", model="count")
        async with observer([broker.url]) as looks:
            (finding,) = await wait_for_rest(looks, [], seconds=0.5)
    assert finding.kind is Kind.QUEUE
    assert "1 requests queued" in finding.detail


async def test_a_record_that_was_written_twice_is_found_in_the_transcript(broker: Broker) -> None:
    async with (
        running(broker.url) as mesh,
        client_of(mesh) as http,
        Client([str(http.base_url)]) as client,
        observer([broker.url]) as looks,
    ):
        await answer(http, "s1")
        talk = talk_of("s1", client)
        assert await check_transcripts(looks, [talk]) == []
        subject = "chat.session.s1.transcript.m1"
        stored = await looks.direct_get.last("CHAT_TRANSCRIPT", subject, seconds=5)
        assert stored is not None
        await looks.publisher.publish(subject, stored.body, message_headers={}, deadline_seconds=5)
        found = await check_transcripts(looks, [talk])
    assert {finding.kind for finding in found} == {Kind.TRANSCRIPT}
    assert any("final" in finding.detail for finding in found)


def test_text_of_a_message_or_of_an_answer_in_a_log_is_found(tmp_path: Path) -> None:
    lines = {"clean": "nothing", "asked": f"x\nsaid {MARK} s1 m1", "told": "the text is 10 11 12 13 14"}
    files = []
    for name, text in lines.items():
        files.append(tmp_path / name)
        files[-1].write_text(text)
    assert [finding.where for finding in check_logs(files)] == ["asked:2", "told:1"]


async def test_a_process_that_ends_unasked_is_found_and_begun_again(tmp_path: Path) -> None:
    world = World(tmp_path, Size(pods=1, workers=1, servers=1), is_fenced=True)
    watching = None
    try:
        await world.start()
        watching = asyncio.create_task(world.watch())
        (worker,) = [child for child in psutil.Process().children() if "worker-1" in child.cmdline()]
        worker.kill()
        await eventually(lambda: world.findings, timeout=60, message="a finding")
        assert [(finding.kind, finding.where) for finding in world.findings] == [(Kind.PROCESS, "worker-1")]
        await eventually(lambda: len(psutil.Process().children()) == 3, message="three children")
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.wait({watching})
        await world.close()
    assert not psutil.Process().children()
