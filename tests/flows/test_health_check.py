"""The seed's "Request-Reply Pattern (Health Check)"."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client

from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.models import gate, models
from tests.support.reading import events, post
from tests.support.waiting import eventually


async def ask(client: Client, subject: str, body: bytes = b"") -> dict[str, Any]:
    """Asks until the server has heard of the responder's subscription."""

    async def answer() -> dict[str, Any]:
        with suppress(nats.errors.NoRespondersError):
            body_: dict[str, Any] = json.loads((await client.request(subject, body, timeout=2)).data)
            return body_
        return {}

    found: dict[str, Any] = await eventually(answer)
    return found


async def test_pod_answers_the_health_request_with_the_seeds_fields(
    broker: Broker, nats_client: Client
) -> None:
    async with pod_and_client(broker.url, "pod-1"):
        health = await ask(nats_client, "chat.pod.pod-1.health")
    assert health["pod_id"] == "pod-1"
    assert health["status"] == "healthy"
    assert health["active_connections"] == 0
    assert datetime.fromisoformat(health["timestamp"]).year > 2024


async def test_pods_health_counts_its_open_streams(broker: Broker, nats_client: Client) -> None:
    async def active() -> int:
        count: int = (await ask(nats_client, "chat.pod.pod-1.health"))["active_connections"]
        return count

    async with pod_and_client(broker.url, "pod-1") as (_, client):
        async with events(client, "a"), events(client, "b"):
            await eventually(lambda: _is(active, 2))
        await eventually(lambda: _is(active, 0))


async def test_worker_answers_the_health_request_with_its_generations(
    broker: Broker, nats_client: Client
) -> None:
    async def active() -> int:
        count: int = (await ask(nats_client, "chat.worker.pod-1.health"))["active_generations"]
        return count

    go_on = gate()
    async with (
        pod_and_client(broker.url, "pod-1", models("held"), role="all") as (_, client),
        events(client, "s") as stream,
    ):
        health = await ask(nats_client, "chat.worker.pod-1.health")
        assert health["worker_id"] == "pod-1"
        assert health["status"] == "healthy"
        assert health["active_generations"] == 0
        assert datetime.fromisoformat(health["timestamp"]).year > 2024
        await post(client, "s", model="held")
        await stream.read(1)
        assert await active() == 1
        go_on.set()
        await stream.read_finals()
        await eventually(lambda: _is(active, 0))


async def test_health_is_answered_whatever_the_question_says(broker: Broker, nats_client: Client) -> None:
    questions = (b"", b"{}", b"\xff\x00", b"[" * 10_000, b'{"session_id": 5, "message_id": []}')
    async with running(broker.url, id="x"):
        for body in questions:
            for role in ("pod", "worker"):
                assert (await ask(nats_client, f"chat.{role}.x.health", body))["status"] == "healthy"


async def test_nobody_answers_for_a_pod_that_has_left(broker: Broker, nats_client: Client) -> None:
    async with pod_and_client(broker.url, "pod-1"):
        await ask(nats_client, "chat.pod.pod-1.health")
    with pytest.raises(nats.errors.NoRespondersError):
        await nats_client.request("chat.pod.pod-1.health", b"", timeout=2)


async def test_second_living_process_with_the_same_id_is_refused(broker: Broker) -> None:
    async with pod_and_client(broker.url, "pod-1"):
        with pytest.raises(BaseException, match="pod-1"):
            async with pod_and_client(broker.url, "pod-1"):
                pass


async def _is(count: Any, wanted: int) -> bool:
    return await count() == wanted
