"""The seed's "Stream Processing with JetStream": a work queue, a durable consumer, an ack that comes last."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.aio.client import Client

from chatmesh.broker import RequestQueue
from chatmesh.broker.publisher import PubAck
from chatmesh.protocol.messages import WorkflowRequest
from tests.flows.test_workflow_execution import seed_request
from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import is_ready, pod_and_client, running
from tests.support.models import gate, models
from tests.support.reading import events, post
from tests.support.waiting import eventually

HOUR_NS = 3600 * 10**9


async def test_stream_is_the_seeds_work_queue_on_disk_for_24_hours(
    broker: Broker, nats_client: Client
) -> None:
    async with running(broker.url):
        config = (await stored.api(nats_client, "STREAM.INFO.WORKFLOW_REQUESTS"))["config"]
    assert config["subjects"] == ["chat.workflow.execute.*"]
    assert config["retention"] == "workqueue"
    assert config["max_age"] == 24 * HOUR_NS
    assert config["storage"] == "file"
    assert config["discard"] == "new", "a full queue refuses, and does not evict what was accepted"


async def test_consumer_is_the_seeds_durable_with_explicit_acks(broker: Broker, nats_client: Client) -> None:
    async with running(broker.url, "worker.ack_wait_seconds=7"):
        info = await stored.api(nats_client, "CONSUMER.INFO.WORKFLOW_REQUESTS.workflow-processor")
    config = info["config"]
    assert config["durable_name"] == "workflow-processor"
    assert config["ack_policy"] == "explicit"
    assert config["ack_wait"] == 7 * 10**9
    assert config["max_deliver"] == -1, "parking, hand-overs and restarts count as deliveries"
    assert config["max_ack_pending"] == -1, "parked requests must not starve other sessions"
    assert "deliver_subject" not in config, "workers pull"


async def test_streams_that_the_seeds_code_made_are_used_and_lose_nothing(
    broker: Broker, nats_client: Client
) -> None:
    made = {
        "name": "WORKFLOW_REQUESTS",
        "subjects": ["chat.workflow.execute.*"],
        "retention": "workqueue",
        "max_age": 24 * HOUR_NS,
        "storage": "file",
    }
    await stored.api(nats_client, "STREAM.CREATE.WORKFLOW_REQUESTS", made)
    await nats_client.publish("chat.workflow.execute.s", seed_request("s"))
    async with pod_and_client(broker.url, "x", role="all") as (_, client):
        async with events(client, "s", message_id="msg_abc123") as stream:
            reading = await stream.read_all()
        config = (await stored.api(nats_client, "STREAM.INFO.WORKFLOW_REQUESTS"))["config"]
    assert reading.ids == list(range(13))
    assert config["allow_direct"] is True
    assert config["discard"] == "new"


async def test_request_stays_in_the_queue_until_its_final_is_stored_and_then_is_gone(
    broker: Broker, nats_client: Client
) -> None:
    go_on = gate()
    async with (
        pod_and_client(broker.url, "x", models("held"), role="all") as (_, client),
        events(client, "s") as stream,
    ):
        await post(client, "s", model="held")
        await stream.read(3)
        (request,) = await stored.queued(nats_client, "s")
        assert not any(chunk["is_final"] for chunk in await stored.chunks(nats_client, "s"))
        assert request.headers["Nats-Msg-Id"].startswith("s:")
        go_on.set()
        await stream.read_finals()
        await eventually(lambda: _is_empty(nats_client, "s"))
        assert (await stored.chunks(nats_client, "s"))[-1]["is_final"] is True
        info = await stored.api(nats_client, "CONSUMER.INFO.WORKFLOW_REQUESTS.workflow-processor")
    assert (info["num_ack_pending"], info["num_pending"]) == (0, 0)


async def test_request_waits_in_the_queue_while_there_is_no_worker_and_is_answered_when_one_comes(
    broker: Broker, nats_client: Client
) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client), events(client, "s") as stream:
        assert (await post(client, "s", model="count", max_tokens=5)).status_code == 202
        assert len(await stored.queued(nats_client, "s")) == 1
        async with running(broker.url, role="worker", id="w"):
            reading = await stream.read_finals()
            await eventually(lambda: _is_empty(nats_client, "s"))
    assert reading.text == "1 2 3 4 5 "


async def test_answer_longer_than_ack_wait_is_not_delivered_to_a_second_worker(
    broker: Broker, nats_client: Client
) -> None:
    # Renewed in time also by a machine that stands still for a second.
    short = "worker.ack_wait_seconds=2"
    async with (
        pod_and_client(broker.url, "x", short, role="all") as (_, client),
        running(broker.url, short, role="worker", id="w"),
        events(client, "s") as stream,
    ):
        await post(client, "s", model="count", max_tokens=100, tokens_per_second=30)
        reading = await stream.read_finals()
        (claim,) = await stored.claims(nats_client, "s")
        info = await stored.api(nats_client, "CONSUMER.INFO.WORKFLOW_REQUESTS.workflow-processor")
    assert reading.ids == list(range(101))
    assert claim.body["attempt"] == 1
    assert info["num_redelivered"] == 0


async def test_accepted_request_survives_a_broker_that_is_killed(broker: Broker, nats_client: Client) -> None:
    async with pod_and_client(broker.url, "pod-1") as (_, client):
        assert (await post(client, "s", model="count", max_tokens=5)).status_code == 202
        broker.kill()
        await broker.launch()
        await eventually(lambda: nats_client.is_connected)
        await eventually(lambda: is_ready(client))
        async with (
            running(broker.url, role="worker", id="w"),
            events(client, "s", message_id=(await _first(nats_client))) as stream,
        ):
            reading = await stream.read_all()
    assert reading.text == "1 2 3 4 5 "


@pytest.mark.parametrize("workers", [1, 4])
async def test_ten_messages_at_once_in_one_session_are_answered_one_at_a_time_in_the_order_of_acceptance(
    broker: Broker, nats_client: Client, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    seqs: dict[str, int] = {}
    submit = RequestQueue.submit

    async def noting(self: RequestQueue, request: WorkflowRequest, **more: Any) -> PubAck:
        ack = await submit(self, request, **more)
        seqs[request.message_id] = ack.seq
        return ack

    monkeypatch.setattr(RequestQueue, "submit", noting)
    async with (
        running(broker.url, role="worker", id="w", workers=workers),
        pod_and_client(broker.url, "pod-1") as (_, one),
        pod_and_client(broker.url, "pod-2") as (_, two),
        events(one, "s") as stream,
    ):
        posts = [
            post((one, two)[number % 2], "s", model="count", max_tokens=20, tokens_per_second=1000)
            for number in range(10)
        ]
        answers = await asyncio.gather(*posts)
        assert [answer.status_code for answer in answers] == [202] * 10
        reading = await stream.read_finals(10)
        claims = [claim.body["message_id"] for claim in await stored.claims(nats_client, "s")]
        records = await stored.records(nats_client, "s")
    assert claims == sorted(seqs, key=lambda message_id: seqs[message_id])
    order = [record.body["message_id"] for record in records]
    assert list(dict.fromkeys(order)) == claims, "every message has one claim, and begins in its turn"
    assert [record.body["offset"] for record in records] == list(range(1, len(records) + 1))
    blocks = [
        message_id for number, message_id in enumerate(order) if order[number - 1 : number] != [message_id]
    ]
    assert len(blocks) == 10, "records of two answers never interleave"
    assert sorted(claims) == sorted(answer.json()["message_id"] for answer in answers)
    assert len(reading.finals) == 10
    assert reading.text == "".join(f"{number} " for number in range(1, 21)) * 10


async def _is_empty(client: Client, session_id: str) -> bool:
    return not await stored.queued(client, session_id)


async def _first(client: Client) -> str:
    message_id: str = (await stored.queued(client, "s"))[0].body["message_id"]
    return message_id
