"""Streams that fill up: new messages are refused before answers stop, somebody is told, and nothing accepted is lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY

from chatmesh.app import Mesh
from chatmesh.broker.streams import DEAD_LETTERS, REQUESTS, TRANSCRIPT
from tests.faults.support import ACK_WAIT, assert_exact, claims, read_on, wait_queue_empty
from tests.limits.filling import SMALL, fill, fill_up, make_room
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import client_of, is_ready, running
from tests.support.reading import Reading, events, post
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

COUNT: dict[str, Any] = {"model": "count", "max_tokens": 40, "tokens_per_second": 50}


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds between looks at a stream are too long for a test that waits for one."""
    monkeypatch.setattr("chatmesh.broker.keeper.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("chatmesh.broker.keeper.TIGHT_SECONDS", 0.1)


@pytest.fixture
async def http(broker: Broker) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a pod without a worker."""
    async with running(broker.url, *SMALL, ACK_WAIT, role="pod", id="pod") as pod, client_of(pod) as client:
        yield client


@pytest.fixture
async def worker(broker: Broker, http: httpx.AsyncClient) -> AsyncIterator[Mesh]:
    async with running(broker.url, *SMALL, ACK_WAIT, role="worker", id="worker") as mesh:
        yield mesh


@pytest.mark.parametrize("stream", [REQUESTS, TRANSCRIPT])
async def test_messages_are_refused_at_nine_tenths_and_taken_again_when_there_is_room(
    http: httpx.AsyncClient, nats_client: Client, stream: str
) -> None:
    await fill(nats_client, stream, 0.91)
    refused = await eventually(lambda: _refused(http, "s"))
    assert refused.json()["code"] == "storage_full"
    assert refused.headers["Retry-After"] == "30"
    before = await stored.queued(nats_client, "new")
    assert (await post(http, "new")).status_code == 503
    assert await stored.queued(nats_client, "new") == before == []
    assert await is_ready(http), "it serves readers"
    await make_room(nats_client, stream)
    await eventually(lambda: _accepted(http, "s"))
    assert await is_ready(http)


async def test_message_that_was_accepted_before_is_recognised_by_a_full_mesh(
    http: httpx.AsyncClient, nats_client: Client
) -> None:
    assert (await post(http, "s", message_id="m")).status_code == 202
    await fill(nats_client, TRANSCRIPT, 0.91)
    await eventually(lambda: _refused(http, "other"))
    again = await post(http, "s", message_id="m")
    assert (again.status_code, again.json()["duplicate"]) == (202, True)
    assert (await post(http, "s", "something else", message_id="m")).status_code == 422
    assert (await post(http, "s", message_id="m2")).status_code == 503


async def test_answers_that_run_are_stored_to_their_end_while_new_messages_are_refused(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        await post(http, "s", **COUNT)
        await stream.read(5)
        await fill(nats_client, TRANSCRIPT, 0.91)
        await eventually(lambda: _refused(http, "other"))
        assert_exact(await stream.read_finals(), 40)
    await wait_queue_empty(nats_client)


async def test_alarm_is_raised_once_for_each_time_a_stream_becomes_four_fifths_full(
    http: httpx.AsyncClient, nats_client: Client, logs: list[Any]
) -> None:
    def alarms() -> list[Any]:
        return [line for line in logs if line["event"] == "broker.storage_alarm"]

    await fill(nats_client, TRANSCRIPT, 0.81)
    await eventually(lambda: len(alarms()) == 1)
    assert alarms()[0]["stream"] == TRANSCRIPT
    assert 0.8 <= alarms()[0]["fill"] < 0.9
    assert (await post(http, "s")).status_code == 202
    await fill(nats_client, TRANSCRIPT, 0.85)
    await eventually(lambda: _gauge(TRANSCRIPT) >= 0.85)
    assert len(alarms()) == 1
    await make_room(nats_client, TRANSCRIPT)
    await eventually(lambda: _gauge(TRANSCRIPT) < 0.3)
    await fill(nats_client, TRANSCRIPT, 0.81)
    await eventually(lambda: len(alarms()) == 2)


async def test_full_dead_letters_are_an_alarm_and_stop_no_message(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client, logs: list[Any]
) -> None:
    await fill(nats_client, DEAD_LETTERS, 0.95)
    await eventually(lambda: any(line.get("stream") == DEAD_LETTERS for line in logs))
    await nats_client.jetstream(timeout=5).publish("chat.workflow.execute.s", b"garbage" * 10_000)
    assert (await post(http, "s", **COUNT)).status_code == 202
    assert (await post(http, "other", **COUNT)).status_code == 202
    assert_exact(await read_on(http, "other", Reading(), **{"from": "start"}), 40)


async def test_answer_goes_on_when_an_operator_gives_a_full_transcript_more_room(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    """And one that had not begun is begun then, by its first attempt."""
    long = {"model": "count", "max_tokens": 100, "tokens_per_second": 30}
    await fill(nats_client, TRANSCRIPT, 0.85)
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", **long)).json()["message_id"]
        await stream.read(10)
        await fill_up(nats_client, TRANSCRIPT)
        waiting = {"message_id": "w", "session_id": "late", "message": "go", "context": long}
        await nats_client.publish("chat.workflow.execute.late", json.dumps(waiting).encode())
        before = _sample("chatmesh_publish_retries_total")
        await eventually(lambda: _sample("chatmesh_publish_retries_total") >= before + 3)
        await make_room(nats_client, TRANSCRIPT)
        assert_exact(await stream.read_finals(), 100)
    assert_exact(await read_on(http, "late", Reading(), **{"from": "start"}), 100)
    await wait_queue_empty(nats_client)
    assert len(await claims(nats_client, "s", message_id)) == 1
    assert [claim["attempt"] for claim in await claims(nats_client, "late", "w")] == [1]


async def test_stop_that_a_full_transcript_does_not_take_is_503_and_works_when_there_is_room(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    slow = {"model": "count", "max_tokens": 1000, "tokens_per_second": 5}
    async with events(http, "s") as stream:
        path = (await post(http, "s", **slow)).headers["Location"]
        await stream.read(1)
        await fill_up(nats_client, TRANSCRIPT)
        refused = await http.delete(path)
        assert (refused.status_code, refused.json()["code"]) == (503, "storage_full")
        assert refused.headers["Retry-After"] == "30"
        assert not await stored.stored(nats_client, TRANSCRIPT, "chat.session.s.stop.*")
        await make_room(nats_client, TRANSCRIPT)
        assert (await http.delete(path)).status_code == 202
        reading = await stream.read_finals()
    assert [final["metadata"]["finish_reason"] for final in reading.finals] == ["cancelled"]
    assert reading.ids == list(range(len(reading.ids)))


async def test_erasing_a_session_while_the_transcript_is_full_is_no_false_promise(
    http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        await post(http, "s", **COUNT)
        await stream.read_finals()
    await fill_up(nats_client, TRANSCRIPT)
    unknown = await http.delete("/v1/sessions/s")
    assert (unknown.status_code, unknown.json()["code"]) == (504, "erase_unknown")
    await make_room(nats_client, TRANSCRIPT)

    async def is_gone() -> bool:
        return (await http.get("/v1/sessions/s/messages")).status_code == 404

    await eventually(is_gone)
    await wait_queue_empty(nats_client)


async def _refused(client: httpx.AsyncClient, session_id: str) -> httpx.Response | None:
    answer = await post(client, session_id, model="count", max_tokens=1)
    return answer if answer.status_code == 503 else None


async def _accepted(client: httpx.AsyncClient, session_id: str) -> bool:
    return (await post(client, session_id, model="count", max_tokens=1)).status_code == 202


def _gauge(stream: str) -> float:
    return REGISTRY.get_sample_value("chatmesh_stream_fill_ratio", {"stream": stream}) or 0.0


def _sample(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0
