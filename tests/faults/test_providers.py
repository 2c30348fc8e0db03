"""Models that fail, hang, or kill their worker: tried so often, then an end, a dead letter, and the session is free."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from chatmesh.telemetry import metrics
from tests.faults.support import (
    ACK_WAIT,
    PATIENCE_SECONDS,
    StartProcess,
    claims,
    dead_letters,
    holder,
    start_worker,
    wait_queue_empty,
)
from tests.support import models
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.processes import Process
from tests.support.reading import Reading, events, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ALL = models.models("exact", "raising", "failing_once", "deadly", "stubborn", "silent", "wrong")


@pytest.fixture
async def worker(broker: Broker) -> Any:
    """A worker of this process that serves these models."""
    async with running(
        broker.url, ACK_WAIT, ALL, "worker.max_attempts=2", role="worker", id="worker"
    ) as mesh:
        yield mesh


async def start(chatmesh: StartProcess, client: Client, broker: Broker, id: str, *settings: str) -> Process:
    """A worker process that can import these models."""

    def begin(*arguments: str) -> Process:
        return chatmesh(*arguments, env={"PYTHONPATH": str(ROOT)})

    return await start_worker(begin, client, broker.url, id, *settings)


async def assert_free(http: httpx.AsyncClient, session_id: str) -> None:
    """The session answers the next message."""
    async with events(http, session_id) as stream:
        assert (await post(http, session_id, "free again", model="echo")).status_code == 202
        reading = await stream.read_finals()
    assert reading.text == "free again"


async def test_model_that_raises_is_tried_again_and_goes_on_behind_what_was_shown(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", model="failing_once")).json()["message_id"]
        reading = await stream.read_finals()
    assert reading.finals[0]["metadata"]["finish_reason"] == "length"
    assert reading.finals[0]["metadata"]["attempt"] == 2
    assert reading.text.endswith("two")
    assert reading.ids == list(range(len(reading.ids)))
    assert [claim["attempt"] for claim in await claims(nats_client, "s", message_id)] == [1, 2]
    await wait_queue_empty(nats_client)


async def test_model_that_always_raises_ends_with_an_error_and_a_dead_letter(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", model="raising")).json()["message_id"]
        reading = await stream.read_finals()
    final = reading.finals[0]
    assert (final["chunk_type"], final["error"]["code"]) == ("error", "attempts_exhausted")
    assert "2 attempts" in final["error"]["message"]
    (letter,) = await dead_letters(nats_client)
    assert message_id.encode() in letter.data
    assert "2 attempts" in (letter.headers or {})["Chatmesh-Reason"]
    assert len(await claims(nats_client, "s", message_id)) == 3
    await wait_queue_empty(nats_client)
    await assert_free(http, "s")


async def test_model_that_says_what_is_no_text_is_an_error_at_once(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        await post(http, "s", model="wrong")
        reading = await stream.read_finals()
    assert reading.finals[0]["error"]["code"] == "provider_invalid"
    await wait_queue_empty(nats_client)
    await assert_free(http, "s")


@pytest.mark.chaos
async def test_message_whose_model_kills_each_worker_ends_with_an_error_and_frees_its_session(
    broker: Broker, http: httpx.AsyncClient, nats_client: Client, chatmesh: StartProcess
) -> None:
    settings = (ALL, "worker.max_attempts=2")
    ids = ["w1", "w2", "w3"]
    workers = await asyncio.gather(*[start(chatmesh, nats_client, broker, id, *settings) for id in ids])
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", model="deadly")).json()["message_id"]
        reading = await stream.read_finals()
        assert reading.finals[0]["error"]["code"] == "attempts_exhausted"
    assert sorted(worker.is_running for worker in workers) == [False, False, True]
    (letter,) = await dead_letters(nats_client)
    assert message_id.encode() in letter.data
    await wait_queue_empty(nats_client)
    await assert_free(http, "s")


async def test_silent_model_is_stopped_where_it_waits(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", model="silent")).json()["message_id"]
        await stream.read(1)
        assert (await http.delete(f"/v1/sessions/s/messages/{message_id}")).status_code == 202
        reading = await stream.read_finals()
    assert reading.text == "hm "
    assert reading.finals[0]["metadata"]["finish_reason"] == "cancelled"
    await wait_queue_empty(nats_client)


# --- how another worker goes on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "mode"),
    [("exact", "exact"), ("overlapping", "overlap"), pytest.param("restarting", None, id="restart")],
)
async def test_another_worker_goes_on_as_the_model_can(
    broker: Broker,
    http: httpx.AsyncClient,
    nats_client: Client,
    chatmesh: StartProcess,
    model: str,
    mode: str | None,
) -> None:
    setting = models.models(model, continuation=mode)
    first, second = await asyncio.gather(
        *[start(chatmesh, nats_client, broker, id, setting) for id in ("first", "second")]
    )
    async with events(http, "s") as stream:
        assert (await post(http, "s", model=model)).status_code == 202
        await stream.read(10)
        {"first": first, "second": second}[await holder(nats_client, "s")].kill()
        reading = await stream.read_finals()
    assert reading.ids == list(range(len(reading.ids)))
    assert reading.finals[0]["metadata"]["attempt"] == 2
    if mode is None:
        (reset,) = reading.named("reset")
        assert reset["reason"] == "restarted"
        assert reset["message_id"] == reading.finals[0]["message_id"]
    else:
        assert not reading.named("reset")
        assert reading.text == models.text()
    content = (await http.get("/v1/sessions/s/messages")).json()["messages"][1]["content"]
    assert content == models.text(attempt=1 if mode else 2)
    await wait_queue_empty(nats_client)
    # One who was away gets the reset too, in its place.
    async with events(http, "s", **{"from": "start"}) as stream:
        again = await stream.read_finals()
    assert [event.data for event in again.events] == [event.data for event in reading.events]


# --- requests that grow old --------------------------------------------------------------------------------------------

EIGHT_SECONDS = f"streams.requests_max_age_hours={8 / 3600}"
"""Ended at six of them; a machine that is busy needs some of the two that are left."""


@pytest.mark.slow
async def test_answer_that_takes_too_long_ends_with_an_error_before_its_request_vanishes(
    broker: Broker,
) -> None:
    async with running(broker.url, EIGHT_SECONDS, role="all", id="me") as mesh, client_of(mesh) as http:
        async with events(http, "s") as stream:
            await post(http, "s", model="count", max_tokens=1000, tokens_per_second=20)
            queued = (await post(http, "s", "behind it", model="echo")).json()["message_id"]
            reading = await stream.read_finals(2)
        first, second = reading.finals
        assert first["error"]["code"] == "request_expired"
        assert reading.text.startswith("1 2 3 ")
        # It was as old, so that it may have had no time of its own; it has an end in any case.
        assert second["message_id"] == queued
        await assert_free(http, "s")
        rows = (await http.get("/v1/sessions/s/messages")).json()["messages"]
        assert rows[1]["status"] == "failed"


@pytest.mark.slow
async def test_request_that_finds_no_free_slot_ends_with_an_error_before_it_vanishes(
    broker: Broker, nats_client: Client
) -> None:
    settings = (EIGHT_SECONDS, "worker.concurrency=1", "worker.drain_seconds=0", models.models("stubborn"))
    async with running(broker.url, *settings, role="all", id="me") as mesh, client_of(mesh) as http:
        async with events(http, "blocker") as stream:
            await post(http, "blocker", "14", model="stubborn")
            await stream.read(1)
        readings: dict[str, Reading] = {}
        for number in range(20):
            assert (await post(http, f"s{number}", "never", model="echo")).status_code == 202
        for number in range(20):
            async with events(http, f"s{number}", **{"from": "start"}) as stream:
                readings[f"s{number}"] = await stream.read_finals()
        for reading in readings.values():
            assert reading.finals[0]["error"]["code"] == "request_expired"
            assert not reading.text
        letters = await dead_letters(nats_client)
        assert len([letter for letter in letters if letter.subject != "chat.dead.blocker"]) == 20
        # The blocker ends by itself, after its request is gone.
        await eventually(lambda: metrics.generations_active._value.get() == 0, timeout=PATIENCE_SECONDS)
