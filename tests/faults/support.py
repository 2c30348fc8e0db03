"""What the fault tests share: real workers and pods, a look into the transcript, and what an exact answer is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from chatmesh.broker import CONSUMER, REQUESTS
from chatmesh.broker.streams import DEAD_LETTERS, TRANSCRIPT
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import QUICK
from tests.support.processes import Process
from tests.support.reading import Reading, events
from tests.support.waiting import eventually

ACK_WAIT = "worker.ack_wait_seconds=1"
"""A short lease, so that a takeover is quick. Every process of a test has to say the same of it."""

PATIENCE_SECONDS = 30.0
"""A deadline for what takes two seconds on an idle machine: no timing is asserted here."""

StartProcess = Callable[..., Process]
StartWorker = Callable[..., Awaitable[Process]]
StartPod = Callable[..., Awaitable["Pod"]]


@dataclass
class Pod:
    """A pod as a process of its own, and where it listens."""

    process: Process
    url: str

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(base_url=self.url, timeout=httpx.Timeout(20, read=60)) as client:
            yield client


def arguments(url: str, role: str, id: str, *settings: str) -> list[str]:
    """Of `chatmesh run`, quick."""
    given = ["run", "--role", role, "--id", id]
    for setting in (*QUICK, ACK_WAIT, f"nats.servers={url}", *settings):
        given += ["--set", setting]
    return given


async def start_worker(start: StartProcess, client: Client, url: str, id: str, *settings: str) -> Process:
    """A worker as a process of its own; returns once it answers and pulls."""
    process = start(*arguments(url, "worker", id, *settings))
    await wait_alive(client, process, f"chat.worker.{id}.health")
    return process


async def start_pod(start: StartProcess, url: str, id: str, *settings: str) -> Pod:
    """A pod as a process of its own; returns once it listens."""
    process = start(*arguments(url, "pod", id, *settings))
    line = await process.wait_for_line('"event": "web.listening"', stream="stderr")
    return Pod(process, json.loads(line.string)["url"])


async def wait_alive(client: Client, process: Process, health_subject: str) -> None:
    """Until it answers its health request, healthy. Fails at once where it has ended."""

    async def is_healthy() -> bool:
        if not process.is_running:
            raise RuntimeError(f"{process.name} ended ({process.returncode})\n{process.report()}")
        try:
            answer = await client.request(health_subject, timeout=1)
        except NatsError:
            return False
        return bool(json.loads(answer.data)["status"] == "healthy")

    await eventually(is_healthy, timeout=PATIENCE_SECONDS, message=f"a healthy {health_subject}")


async def claims(client: Client, session_id: str, message_id: str) -> list[dict[str, Any]]:
    """The claims of one message: each is one call of the model. One behind the final record is none: who looked just before that
    was stored, claims, finds it and only acknowledges."""
    found = await stored.claims(client, session_id)
    told = await stored.records(client, session_id, message_id)
    ends = [record.seq for record in told if b'"is_final":true' in record.data]
    return [
        claim.body
        for claim in found
        if claim.body["message_id"] == message_id and claim.seq < min(ends, default=claim.seq + 1)
    ]


async def records(client: Client, session_id: str) -> list[dict[str, Any]]:
    """The session's records in the order of the transcript."""
    return [record.body for record in await stored.records(client, session_id)]


async def dead_letters(client: Client) -> list[stored.Stored]:
    return await stored.stored(client, DEAD_LETTERS, "chat.dead.*")


async def holder(client: Client, session_id: str) -> str:
    """The worker that claimed the session last."""

    async def last() -> str | None:
        try:
            message = await client.jetstream().get_last_msg(TRANSCRIPT, f"chat.session.{session_id}.claim")
        except NotFoundError:
            return None
        return str(json.loads(message.data or b"")["worker_id"])

    return str(await eventually(last, timeout=PATIENCE_SECONDS, message=f"a claim in {session_id}"))


async def wait_queue_empty(client: Client) -> None:
    """Until nothing is queued and nothing is leased: every accepted message has ended for good."""

    async def is_empty() -> bool:
        js = client.jetstream(timeout=5)
        try:
            state = (await js.stream_info(REQUESTS)).state
            pending = (await js.consumer_info(REQUESTS, CONSUMER)).num_ack_pending
        except NatsError as error:  # while a server comes back, or a leader is chosen
            raise AssertionError(repr(error)) from error
        assert state.messages == 0, f"{state.messages} requests are left"
        assert not pending, f"{pending} leases are left"
        return True

    await eventually(is_empty, timeout=PATIENCE_SECONDS, message="an empty work queue")


def count_text(tokens: int) -> str:
    """What the model `count` says."""
    return "".join(f"{number} " for number in range(1, tokens + 1))


def assert_exact(reading: Reading, tokens: int) -> None:
    """The answer of the model `count`, whole: each chunk once and in order, one final, nothing taken back."""
    assert reading.ids == list(range(tokens + 1))
    assert reading.text == count_text(tokens)
    assert [final["metadata"]["finish_reason"] for final in reading.finals] == ["stop"]
    assert not reading.named("reset")
    assert len({chunk["message_id"] for chunk in reading.chunks}) == 1


async def assert_stored_exactly(client: Client, session_id: str, tokens: int) -> None:
    """The same of the transcript: offsets and chunk ids without a hole, tokens that never go back."""
    found = await records(client, session_id)
    assert [record["offset"] for record in found] == list(range(1, len(found) + 1))
    fences = [record["token"] for record in found]
    assert fences == sorted(fences)
    chunks = [chunk for record in found for chunk in record["chunks"]]
    assert [chunk["chunk_id"] for chunk in chunks] == list(range(tokens + 1))
    assert "".join(chunk["chunk"] for chunk in chunks) == count_text(tokens)
    assert [chunk["is_final"] for chunk in chunks] == [False] * tokens + [True]


async def read_on(
    client: httpx.AsyncClient, session_id: str, reading: Reading, *, finals: int = 1, **query: str
) -> Reading:
    """Reads until `finals` final chunks are there, reconnecting as a browser does whenever the stream ends."""

    async def once() -> bool:
        try:
            async with events(client, session_id, reading=reading, **query) as stream:
                await stream.read_finals(finals)
        except httpx.TransportError:
            return False
        return len(reading.finals) >= finals

    await eventually(once, timeout=PATIENCE_SECONDS, message=f"{finals} finals in {session_id}")
    return reading


async def restart(broker: Broker) -> None:
    """kill -9, and up again on the same port and store."""
    broker.kill()
    await broker.restart()
