"""Who waits for a message whose session is erased is told so, whatever the format, and whoever uses its id again is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.workflow.claims import Claims
from tests.openai.support import said, sdk
from tests.sealing.support import ring_of, sealed, write_ring
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import Reading, Stream, events, post
from tests.support.waiting import eventually

SILENT = {"model": "count", "max_tokens": 5, "tokens_per_second": 0.01}
"""Says one token, and nothing more for longer than a test lasts."""

Waiter = Callable[[httpx.AsyncClient], Awaitable[str]]
"""Asks in the session `s`, reads the answer to its end, and returns why it has ended."""


async def by_events(client: httpx.AsyncClient) -> str:
    async with events(client, "s", message_id="m1") as stream:
        assert (await post(client, "s", message_id="m1", model="echo")).status_code == 202
        reading = await stream.read_all()
    assert [body["reason"] for body in reading.named("reset")] == ["session_erased"]
    return reason_of(reading)


async def by_its_post(client: httpx.AsyncClient) -> str:
    return reason_of(await reading_of(client, "hello"))


async def by_chat_completions(client: httpx.AsyncClient) -> str:
    async with sdk(str(client.base_url).rstrip("/"), max_retries=0) as asker:
        headers = {"X-Session-Id": "s"}
        stream = await asker.chat.completions.create(
            model="echo", messages=said("hello"), stream=True, extra_headers=headers
        )
        parts = [chunk.choices[0] async for chunk in stream if chunk.choices]
    assert not "".join(part.delta.content or "" for part in parts)
    return str(parts[-1].finish_reason)


async def by_a_whole_completion(client: httpx.AsyncClient) -> str:
    async with sdk(str(client.base_url).rstrip("/"), max_retries=0) as asker:
        headers = {"X-Session-Id": "s"}
        answer = await asker.chat.completions.create(
            model="echo", messages=said("hello"), extra_headers=headers
        )
    assert not answer.choices[0].message.content
    return str(answer.choices[0].finish_reason)


async def reading_of(client: httpx.AsyncClient, text: str) -> Reading:
    """Of the answer to its POST, which is always of the same id."""
    body = {"message": text, "message_id": "m1", "context": {"model": "echo"}}
    headers = {"Accept": "text/event-stream"}
    async with client.stream("POST", "/v1/sessions/s/messages", json=body, headers=headers) as response:
        assert response.status_code == 200
        return await Stream(response, Reading()).read_all()


def reason_of(reading: Reading) -> str:
    assert (reading.text, reading.ids) == ("", [0])
    return str(reading.finals[0]["metadata"]["finish_reason"])


@asynccontextmanager
async def answering(url: str, *options: str) -> AsyncIterator[httpx.AsyncClient]:
    """A mesh in whose session `s` an answer has begun that does not end by itself."""
    async with running(url, *options) as mesh, client_of(mesh) as client:
        async with events(client, "s") as stream:
            assert (await post(client, "s", message_id="m0", **SILENT)).status_code == 202
            await stream.read(1)
        yield client


async def queued(client: Client) -> int:
    return len(await stored.queued(client, "s"))


@pytest.mark.parametrize(
    ("waiter", "reason"),
    [
        (by_events, "cancelled"),
        (by_its_post, "cancelled"),
        # A word for it is lacking there.
        (by_chat_completions, "stop"),
        (by_a_whole_completion, "stop"),
    ],
)
async def test_who_waits_for_a_message_of_an_erased_session_is_told_its_end(
    broker: Broker, nats_client: Client, waiter: Waiter, reason: str
) -> None:
    async with answering(broker.url) as client:
        waiting = asyncio.create_task(waiter(client))

        async def waits() -> bool:
            return await queued(nats_client) == 2

        await eventually(waits)
        assert (await client.delete("/v1/sessions/s")).status_code == 202
        assert await asyncio.wait_for(waiting, 20) == reason


async def test_it_is_told_where_payloads_are_sealed_and_their_key_is_destroyed(
    broker: Broker, nats_client: Client, tmp_path: Path
) -> None:
    ring = write_ring(tmp_path / "ring.json", ring_of())
    async with answering(broker.url, sealed(ring)) as client:
        waiting = asyncio.create_task(by_its_post(client))

        async def waits() -> bool:
            return await queued(nats_client) == 2

        await eventually(waits)
        assert (await client.delete("/v1/sessions/s")).status_code == 202
        assert await asyncio.wait_for(waiting, 20) == "cancelled"


async def test_whoever_uses_the_id_again_at_once_is_shown_the_new_answer_only(broker: Broker) -> None:
    async with running(broker.url) as mesh, client_of(mesh) as client:
        for number in range(10):
            async with events(client, "s", message_id="m1") as stream:
                assert (await post(client, "s", message_id="m1", **SILENT)).status_code == 202
                await stream.read(1)
            assert (await client.delete("/v1/sessions/s")).status_code == 202
            async with events(client, "s", message_id="m1") as stream:
                answer = await post(client, "s", f"new {number}", message_id="m1", model="echo")
                assert answer.status_code == 202
                reading = await stream.read_all()
            assert reading.text == f"new {number}"
            assert reading.finals[0]["metadata"]["finish_reason"] == "stop"
            assert (await client.delete("/v1/sessions/s")).status_code == 202


async def test_a_claim_from_behind_the_mark_writes_nothing_of_before(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its turn looked before the session was marked, and claimed behind it: what it wrote would be of the new session."""
    has_looked, goes_on = asyncio.Event(), asyncio.Event()
    begin = Claims.begin

    async def begin_late(self: Claims, request: Any, held: Any, offset: int) -> Any:
        if request.message == "before":
            has_looked.set()
            await goes_on.wait()
        return await begin(self, request, held, offset)

    monkeypatch.setattr(Claims, "begin", begin_late)
    async with running(broker.url) as mesh, client_of(mesh) as client:
        before = asyncio.create_task(reading_of(client, "before"))
        await asyncio.wait_for(has_looked.wait(), 20)
        assert (await client.delete("/v1/sessions/s")).status_code == 202
        after = asyncio.create_task(reading_of(client, "after"))

        async def is_accepted() -> bool:
            return await queued(nats_client) == 3

        await eventually(is_accepted)
        goes_on.set()
        assert reason_of(await asyncio.wait_for(before, 20)) == "cancelled"
        assert (await asyncio.wait_for(after, 20)).text == "after"
        assert await stored.text(nats_client, "s", "m1") == "after"
