"""A stop outlives whoever should have heard it: no death, hand-over or redelivery brings the answer back."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from tests.faults.conftest import http, new_worker, pod
from tests.faults.support import PATIENCE_SECONDS, StartWorker, claims, count_text, holder, wait_queue_empty
from tests.support.processes import Process
from tests.support.reading import Reading, events, post

pytestmark = pytest.mark.slow

__all__ = ["http", "new_worker", "pod"]

COUNT: dict[str, Any] = {"model": "count", "max_tokens": 1000, "tokens_per_second": 20}


@pytest.fixture
async def workers(new_worker: StartWorker) -> dict[str, Process]:
    """Two workers, by id."""
    first, second = await asyncio.gather(new_worker("first"), new_worker("second"))
    return {"first": first, "second": second}


def assert_cancelled(reading: Reading) -> None:
    """One final that says so, behind a text that nobody took back."""
    (final,) = reading.finals
    assert final["metadata"]["finish_reason"] == "cancelled"
    assert not reading.named("reset")
    assert reading.ids == list(range(len(reading.ids)))
    assert reading.text == count_text(len(reading.ids) - 1)
    assert len(reading.ids) > 5


async def test_stop_is_found_by_whoever_takes_over_from_a_worker_that_never_heard_it(
    pod: Mesh, http: httpx.AsyncClient, nats_client: Client, workers: dict[str, Process]
) -> None:
    async with events(http, "s") as stream:
        await post(http, "s", message_id="m1", **COUNT)
        await stream.read(6)
        deaf = workers[await holder(nats_client, "s")]
        deaf.pause()
        assert (await http.delete("/v1/sessions/s/messages/m1")).status_code == 202
        deaf.kill()
        reading = await stream.read_finals()
    assert_cancelled(reading)
    assert len(await claims(nats_client, "s", "m1")) == 2
    await wait_queue_empty(nats_client)
    late = await http.delete("/v1/sessions/s/messages/m1")
    assert (late.status_code, late.json()["status"]) == (200, "stopped")


async def test_stop_holds_against_a_worker_that_was_frozen_when_it_came(
    pod: Mesh, http: httpx.AsyncClient, nats_client: Client, workers: dict[str, Process]
) -> None:
    async with events(http, "s") as stream:
        await post(http, "s", message_id="m1", **COUNT)
        await stream.read(6)
        frozen = workers[await holder(nats_client, "s")]
        frozen.pause()
        assert (await http.delete("/v1/sessions/s/messages/m1")).status_code == 202
        reading = await stream.read_finals()
        frozen.resume()
        await wait_queue_empty(nats_client)
        await post(http, "s", "next", model="echo")
        reading = await stream.read_finals(2)
    assert [final["metadata"]["finish_reason"] for final in reading.finals] == ["cancelled", "stop"]
    assert reading.text.endswith("next")


async def test_an_id_that_a_dead_worker_was_at_when_its_session_was_erased_is_answered_in_the_new_one(
    pod: Mesh, http: httpx.AsyncClient, nats_client: Client, workers: dict[str, Process]
) -> None:
    """Nobody heard that it was to stop, and its request comes back before the one that erases."""
    async with events(http, "s") as stream:
        await post(http, "s", message_id="m1", **COUNT)
        await stream.read(6)
    deaf = workers[await holder(nats_client, "s")]
    deaf.pause()
    assert (await http.delete("/v1/sessions/s")).status_code == 202
    assert (await post(http, "s", "the new life", message_id="m1", model="echo")).status_code == 202
    deaf.kill()
    async with events(http, "s", message_id="m1") as stream:
        reading = await stream.read_all()
    assert reading.finals[0]["metadata"]["finish_reason"] == "stop"
    row = (await http.get("/v1/sessions/s/messages/m1")).json()
    assert (row["content"], row["finish_reason"]) == ("the new life", "stop")
    await wait_queue_empty(nats_client)


async def test_stop_that_comes_while_the_answer_is_handed_over_is_found_by_the_next_worker(
    pod: Mesh, http: httpx.AsyncClient, nats_client: Client, new_worker: StartWorker
) -> None:
    leaving = await new_worker("leaving", "worker.drain_seconds=0")
    async with events(http, "s") as stream:
        await post(http, "s", message_id="m1", **COUNT)
        await stream.read(6)
        assert await leaving.terminate(timeout=PATIENCE_SECONDS) == 0
        assert (await http.delete("/v1/sessions/s/messages/m1")).status_code == 202
        await new_worker("next")
        reading = await stream.read_finals()
    assert_cancelled(reading)
    await wait_queue_empty(nats_client)


async def test_repeated_stops_from_everywhere_end_the_message_once(
    pod: Mesh, http: httpx.AsyncClient, nats_client: Client, new_worker: StartWorker
) -> None:
    await new_worker("worker")
    async with events(http, "s") as stream:
        await post(http, "s", message_id="m1", **COUNT)
        await stream.read(6)
        answers = await asyncio.gather(*[http.delete("/v1/sessions/s/messages/m1") for _ in range(20)])
        reading = await stream.read_finals()
    # Those that came once it had ended were told so; which of them came first is chance.
    statuses = {answer.status_code for answer in answers}
    assert 202 in statuses
    assert statuses <= {200, 202}
    assert_cancelled(reading)
    await wait_queue_empty(nats_client)
    again = await http.delete("/v1/sessions/s/messages/m1")
    assert (again.status_code, again.json()["finish_reason"]) == (200, "cancelled")
