"""The broker dies, freezes, stays away: answers wait for it, nobody is told a thing that is not so."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from nats.aio.client import Client

from chatmesh.app import Mesh
from tests.faults.support import (
    ACK_WAIT,
    assert_exact,
    assert_stored_exactly,
    claims,
    count_text,
    read_on,
    restart,
    wait_queue_empty,
)
from tests.support.broker import Broker
from tests.support.mesh import client_of, running
from tests.support.reading import Reading, events, post
from tests.support.waiting import eventually

COUNT: dict[str, Any] = {"model": "count", "max_tokens": 40, "tokens_per_second": 50}


async def test_answer_goes_on_over_a_broker_restart_without_a_second_call_of_the_model(
    broker: Broker, http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", **COUNT)).json()["message_id"]
        await stream.read(10)
        await restart(broker)
        reading = await stream.read_finals()
    assert_exact(reading, 40)
    await eventually(lambda: nats_client.is_connected)
    await wait_queue_empty(nats_client)
    await assert_stored_exactly(nats_client, "s", 40)
    assert len(await claims(nats_client, "s", message_id)) == 1


async def test_request_that_a_restart_delivers_again_is_not_claimed_while_its_owner_lives(
    broker: Broker, http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with running(broker.url, ACK_WAIT, role="worker", id="other") as other, events(http, "s") as stream:
        assert other.is_ready
        message_id = (await post(http, "s", **COUNT)).json()["message_id"]
        await stream.read(10)
        await restart(broker)
        await stream.read(10)
        await restart(broker)
        reading = await stream.read_finals()
        await eventually(lambda: nats_client.is_connected)
        await wait_queue_empty(nats_client)
    assert_exact(reading, 40)
    assert len(await claims(nats_client, "s", message_id)) == 1


async def test_messages_that_were_accepted_before_a_restart_are_answered_after_it(
    broker: Broker, http: httpx.AsyncClient, nats_client: Client
) -> None:
    sessions = [f"s{number}" for number in range(20)]
    for session in sessions:
        assert (await post(http, session, model="count", max_tokens=3)).status_code == 202
    await restart(broker)
    async with running(broker.url, ACK_WAIT, role="worker"):
        for session in sessions:
            assert_exact(await read_on(http, session, Reading(), **{"from": "start"}), 3)
    await eventually(lambda: nats_client.is_connected)
    await wait_queue_empty(nats_client)


@pytest.mark.chaos
async def test_fifty_answers_go_on_over_a_broker_restart(
    broker: Broker, http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    sessions = [f"s{number}" for number in range(50)]

    async def one(session: str) -> Reading:
        async with events(http, session) as stream:
            assert (await post(http, session, **COUNT)).status_code == 202
            await stream.read(1)
            begun.release()
            return await stream.read_finals()

    begun = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(session)) for session in sessions]
        for _ in sessions:
            await begun.acquire()
        await restart(broker)
    for task in tasks:
        assert_exact(task.result(), 40)
    await eventually(lambda: nats_client.is_connected)
    await wait_queue_empty(nats_client)
    for session in sessions[:5]:
        await assert_stored_exactly(nats_client, session, 40)


@pytest.mark.chaos
async def test_answer_goes_on_when_the_broker_was_frozen(
    broker: Broker, http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", **COUNT)).json()["message_id"]
        await stream.read(10)
        broker.pause()
        # Longer than the lease and than one resend; the answer is generated to its end meanwhile.
        await _pass(3.0)
        broker.resume()
        reading = await stream.read_finals()
    assert_exact(reading, 40)
    await wait_queue_empty(nats_client)
    await assert_stored_exactly(nats_client, "s", 40)
    assert len(await claims(nats_client, "s", message_id)) == 1


@pytest.mark.chaos
async def test_pod_is_not_ready_while_the_broker_is_away_and_ready_when_it_is_back(
    broker: Broker, http: httpx.AsyncClient
) -> None:
    async def status(path: str) -> int:
        return (await http.get(path)).status_code

    assert await status("/readyz") == 200
    broker.kill()

    async def is_not_ready() -> bool:
        return await status("/readyz") == 503

    await eventually(is_not_ready)
    assert await status("/healthz") == 200
    stream = await http.get("/v1/sessions/s/events")
    assert stream.status_code == 200
    assert "retry:" in stream.text
    refused = await post(http, "s")
    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert refused.json()["code"] == "broker_away"
    await broker.restart()

    async def is_ready() -> bool:
        return await status("/readyz") == 200

    await eventually(is_ready)
    assert (await post(http, "s")).status_code == 202


@pytest.mark.chaos
async def test_no_answer_of_a_post_is_a_lie_while_the_broker_comes_and_goes(
    broker: Broker, http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    """Accepted (202): one final. Not accepted (503): nothing. Unknown (504): one final at most."""
    outcomes: dict[str, tuple[int, str]] = {}
    over = asyncio.Event()

    async def talk(talker: int) -> None:
        number = 0
        while not over.is_set():
            session = f"s{talker}-{number}"
            number += 1
            answer = await post(http, session, model="count", max_tokens=5)
            outcomes[session] = answer.status_code, answer.json().get("code", "")

    async with asyncio.TaskGroup() as talkers:
        for talker in range(4):
            talkers.create_task(talk(talker))
        await _outage(broker, outcomes, seconds=5.0)
        await _freeze(broker, outcomes, seconds=2.0)
        await _outage(broker, outcomes, seconds=0.0)
        over.set()
    statuses = {status for status, _ in outcomes.values()}
    assert statuses <= {202, 503, 504}, outcomes
    assert {202, 503} <= statuses
    assert all(code == "acceptance_unknown" for status, code in outcomes.values() if status == 504)
    await eventually(lambda: nats_client.is_connected)
    await wait_queue_empty(nats_client)
    for session, (status, _) in outcomes.items():
        rows = await http.get(f"/v1/sessions/{session}/messages")
        if status == 202:
            assert_exact(await read_on(http, session, Reading(), **{"from": "start"}), 5)
        elif status == 503:
            assert rows.status_code == 404, rows.text
        else:
            assert rows.status_code == 404 or rows.json()["messages"][-1]["content"] == count_text(5)


@pytest.mark.chaos
async def test_answer_waits_for_a_broker_that_is_away_for_seconds(
    broker: Broker, http: httpx.AsyncClient, worker: Mesh, nats_client: Client
) -> None:
    async with events(http, "s") as stream:
        message_id = (await post(http, "s", **COUNT)).json()["message_id"]
        await stream.read(10)
        broker.kill()
        await _pass(5.0)
        await broker.restart()
        reading = await stream.read_finals()
    assert_exact(reading, 40)
    await eventually(lambda: nats_client.is_connected)
    await wait_queue_empty(nats_client)
    assert len(await claims(nats_client, "s", message_id)) == 1


@pytest.mark.chaos
async def test_reader_is_kept_alive_while_the_broker_is_away_and_then_gets_the_rest(
    broker: Broker, worker: Mesh
) -> None:
    settings = ("sse.keepalive_seconds=1",)
    async with (
        running(broker.url, *settings, role="pod", id="pod-1") as pod,
        client_of(pod) as client,
        client.stream("GET", "/v1/sessions/s/events") as response,
    ):
        lines: list[str] = []

        async def read() -> None:
            async for line in response.aiter_lines():
                lines.append(line)
                if '"is_final":true' in line:
                    return

        reader = asyncio.create_task(read())
        assert (await post(client, "s", **COUNT)).status_code == 202
        await eventually(lambda: sum(line.startswith("data:") for line in lines) >= 10)
        broker.kill()
        await eventually(lambda: not pod.is_ready)
        before = len(lines)
        await _pass(5.0)
        # One a second, and what was on its way already.
        assert lines[before:].count(":") >= 3
        await broker.restart()
        async with asyncio.timeout(30):
            await reader
    chunks = [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]
    assert [chunk["chunk_id"] for chunk in chunks] == list(range(41))


async def _outage(broker: Broker, outcomes: dict[str, tuple[int, str]], *, seconds: float) -> None:
    await _more(outcomes)
    broker.kill()
    await _pass(seconds)
    await broker.restart()
    await _more(outcomes)


async def _freeze(broker: Broker, outcomes: dict[str, tuple[int, str]], *, seconds: float) -> None:
    broker.pause()
    await _pass(seconds)
    broker.resume()
    await _more(outcomes)


async def _more(outcomes: dict[str, tuple[int, str]]) -> None:
    """Until twenty more messages were accepted."""

    def accepted() -> int:
        return sum(status == 202 for status, _ in outcomes.values())

    before = accepted()
    await eventually(lambda: accepted() >= before + 20, timeout=30, message="accepted messages")


async def _pass(seconds: float) -> None:
    """Here the time is the fault itself: a broker that is away for so long."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
