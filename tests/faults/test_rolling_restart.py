"""A rolling restart under load: every pod and every worker is told to leave and replaced, one after the other, while
people send messages and read answers all the time."""

from __future__ import annotations

import asyncio
import itertools
import signal
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from tests.faults.support import (
    PATIENCE_SECONDS,
    Pod,
    StartPod,
    StartWorker,
    count_text,
    records,
    wait_queue_empty,
)
from tests.support import stored
from tests.support.processes import Process
from tests.support.reading import Reading, events
from tests.support.waiting import eventually

TOKENS = 30

COUNT: dict[str, Any] = {"model": "count", "max_tokens": TOKENS, "tokens_per_second": 10}

PEOPLE = 12


@dataclass
class Pods:
    """What a load balancer knows: where pods are. Someone whose pod refuses, says 503 or is gone goes to the next."""

    urls: dict[str, str] = field(default_factory=dict)

    def at(self, turn: int) -> str:
        return list(self.urls.values())[turn % len(self.urls)]


class Person:
    """Has a session of their own: sends message after message and reads each answer to its end."""

    def __init__(self, number: int, pods: Pods, client: httpx.AsyncClient) -> None:
        self.session_id = f"s{number}"
        self.reading = Reading()
        self.accepted: list[str] = []
        self._pods = pods
        # Of each one's own, and of reads apart: with one for all, every send came to one pod and every read to the other.
        self._sends, self._reads = itertools.count(number + 1), itertools.count(number)
        self._client = client

    async def chat(self, until: asyncio.Event) -> None:
        while not until.is_set():
            message_id = f"m{len(self.accepted)}"
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send(message_id))
                group.create_task(self._read(len(self.accepted) + 1))
            self.accepted.append(message_id)

    async def _send(self, message_id: str) -> None:
        """With the same id until it is accepted: where a connection breaks, nobody knows whether it was."""

        async def is_accepted() -> bool:
            url = f"{self._pods.at(next(self._sends))}/v1/sessions/{self.session_id}/messages"
            body = {"message": "go", "message_id": message_id, "context": COUNT}
            try:
                answer = await self._client.post(url, json=body)
            except httpx.TransportError:
                return False
            assert answer.status_code in (202, 503), answer.text
            return answer.status_code == 202

        await eventually(is_accepted, timeout=PATIENCE_SECONDS, message=f"{message_id} accepted")

    async def _read(self, finals: int) -> None:
        """As a browser does: comes back with its position whenever the stream ends."""

        async def has_all() -> bool:
            try:
                async with events(
                    self._client, self.session_id, reading=self.reading, pod=self._pods.at(next(self._reads))
                ) as stream:
                    await stream.read_finals(finals)
            except httpx.TransportError:
                return False
            return len(self.reading.finals) >= finals

        await eventually(has_all, timeout=2 * PATIENCE_SECONDS, message=f"answer {finals}")


@pytest.mark.chaos
async def test_nobody_notices_that_every_pod_and_every_worker_is_replaced(
    new_pod: StartPod, new_worker: StartWorker, nats_client: Client
) -> None:
    pods = Pods()
    running: dict[str, Pod | Process] = {}

    async def start(id: str) -> None:
        if id.startswith("pod"):
            running[id] = pod = await new_pod(id)
            pods.urls[id] = pod.url
        else:
            # Too short for most answers: they are handed over, and not only finished.
            running[id] = await new_worker(id, "worker.drain_seconds=0.3")

    async def replace(id: str) -> None:
        leaving = running.pop(id)
        process = leaving.process if isinstance(leaving, Pod) else leaving
        process.signal(signal.SIGTERM)
        assert await process.wait(timeout=2 * PATIENCE_SECONDS) == 0, process.report()
        await start(id)

    for id in ("pod-1", "pod-2", "worker-1", "worker-2"):
        await start(id)
    is_over = asyncio.Event()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=PEOPLE)
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS, limits=limits) as client:
        people = [Person(number, pods, client) for number in range(PEOPLE)]
        async with asyncio.TaskGroup() as group:
            for person in people:
                group.create_task(person.chat(is_over))
            for id in ("pod-1", "worker-1", "pod-2", "worker-2", "pod-1", "worker-1"):
                await eventually(lambda: _are_reading(people), timeout=PATIENCE_SECONDS, message="load")
                await replace(id)
            is_over.set()
    await wait_queue_empty(nats_client)
    assert any(person.reading.named("drain") for person in people), "no reader was sent away"
    claims = await stored.claims(nats_client, "*")
    assert len(claims) > sum(len(person.accepted) for person in people), "no answer was handed over"
    for person in people:
        await assert_nothing_is_wrong(person, nats_client)


def _are_reading(people: list[Person]) -> bool:
    """Half of them are in the first half of an answer right now: a worker that leaves has some that it can't finish."""
    chunks = [person.reading.chunks for person in people]
    return sum(bool(shown) and shown[-1]["chunk_id"] < TOKENS / 2 for shown in chunks) >= PEOPLE / 2


async def assert_nothing_is_wrong(person: Person, client: Client) -> None:
    """Each message was answered once, whole, in the order of acceptance, and was read so."""
    shown = person.reading.chunks
    assert not person.reading.named("reset")
    assert [final["message_id"] for final in person.reading.finals] == person.accepted
    for message_id, group in itertools.groupby(shown, lambda chunk: chunk["message_id"]):
        answer = list(group)
        assert [chunk["chunk_id"] for chunk in answer] == list(range(TOKENS + 1)), message_id
        assert "".join(chunk["chunk"] for chunk in answer) == count_text(TOKENS)
        assert answer[-1]["metadata"]["finish_reason"] == "stop"
    found = await records(client, person.session_id)
    assert [record["offset"] for record in found] == list(range(1, len(found) + 1))
    assert [chunk for record in found for chunk in record["chunks"]] == shown
