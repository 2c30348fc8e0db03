"""The seed's "Workflow Execution Pattern": somebody else's pod publishes a request and knows nothing of ours."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from nats.aio.client import Client

from tests.support import stored
from tests.support.broker import Broker
from tests.support.mesh import pod_and_client, running
from tests.support.reading import events
from tests.support.waiting import eventually
from tests.support.watching import watching

CHUNK_FIELDS = {
    "session_id",
    "message_id",
    "chunk_id",
    "chunk",
    "chunk_type",
    "is_final",
    "metadata",
    "timestamp",
    "correlation_id",
}


def seed_request(session_id: str, message_id: str = "msg_abc123", **changes: Any) -> bytes:
    """A WorkflowRequest with exactly the seed's fields."""
    context = {"ai_provider": "openai", "model": "count", "temperature": 0.7, "max_tokens": 12}
    body = {
        "message_id": message_id,
        "session_id": session_id,
        "user_id": "user_789",
        "message": "What is the weather today?",
        "context": context | changes.pop("context", {}),
        "timestamp": "2025-11-17T20:30:00Z",
        "correlation_id": "corr_xyz",
        **changes,
    }
    return json.dumps(body).encode()


async def test_seed_request_is_answered_by_broadcast_chunk_by_chunk(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        watching(nats_client, "chat.session.sess_456.broadcast") as watch,
    ):
        await nats_client.publish("chat.workflow.execute.sess_456", seed_request("sess_456"))
        await eventually(lambda: watch.has_final)
    assert all("chunks" not in body for body in watch.bodies), "a seed pod decodes each message as one chunk"
    assert [body["chunk_id"] for body in watch.bodies] == list(range(13))
    assert [body["chunk"] for body in watch.bodies] == [f"{number} " for number in range(1, 13)] + [""]


async def test_each_chunk_of_the_answer_has_the_seeds_fields(broker: Broker, nats_client: Client) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        watching(nats_client, "chat.session.*.broadcast") as watch,
    ):
        await nats_client.publish("chat.workflow.execute.sess_456", seed_request("sess_456"))
        await eventually(lambda: watch.has_final)
    for body in watch.bodies:
        assert set(body) == CHUNK_FIELDS
        assert (body["session_id"], body["message_id"]) == ("sess_456", "msg_abc123")
        assert body["correlation_id"] == "corr_xyz"
        assert body["chunk_type"] == "content"
        assert isinstance(body["metadata"], dict)
        assert body["metadata"]["model"] == "count"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["timestamp"])
        assert datetime.fromisoformat(body["timestamp"]).year > 2024
    *others, final = watch.bodies
    assert [body["is_final"] for body in others] == [False] * len(others)
    assert final["is_final"] is True
    assert final["metadata"]["finish_reason"] == "stop"
    assert final["metadata"]["tokens_used"] == 12
    assert not any("finish_reason" in body["metadata"] for body in others)


async def test_unknown_model_of_a_seed_request_ends_with_one_error_chunk(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        running(broker.url, role="worker", id="w"),
        watching(nats_client, "chat.session.s.broadcast") as watch,
    ):
        await nats_client.publish(
            "chat.workflow.execute.s", seed_request("s", context={"model": "no-such-model"})
        )
        await eventually(lambda: watch.has_final)
    (final,) = watch.bodies
    assert set(final) == CHUNK_FIELDS | {"error"}
    assert final["chunk_type"] == "error"
    assert final["metadata"]["finish_reason"] == "error"
    assert set(final["error"]) == {"code", "message"}
    assert final["error"]["code"]


async def test_seed_request_is_answered_to_the_pods_that_hold_the_session_and_by_broadcast(
    broker: Broker, nats_client: Client
) -> None:
    async with (
        pod_and_client(broker.url, "pod-1", role="all") as (_, client),
        watching(nats_client, "chat.session.s.broadcast") as broadcast,
        watching(nats_client, "chat.pod.pod-1.response") as responses,
        events(client, "s") as stream,
    ):
        await nats_client.publish("chat.workflow.execute.s", seed_request("s"))
        reading = await stream.read_finals()
        await eventually(lambda: broadcast.has_final and responses.has_final)
    assert reading.ids == list(range(13))
    assert broadcast.chunks == responses.chunks == reading.chunks


async def test_request_published_twice_with_the_seeds_core_publish_is_answered_once(
    broker: Broker, nats_client: Client
) -> None:
    """No Nats-Msg-Id, so JetStream stores both; the transcript knows the message."""
    async with (
        running(broker.url, role="worker", id="w"),
        watching(nats_client, "chat.session.s.broadcast") as watch,
    ):
        for _ in range(2):
            await nats_client.publish("chat.workflow.execute.s", seed_request("s"))
        await eventually(lambda: watch.has_final)
        await eventually(lambda: _is_empty(nats_client, "s"))
        assert len(await stored.claims(nats_client, "s")) == 1
        assert [chunk["chunk_id"] for chunk in await stored.chunks(nats_client, "s")] == list(range(13))


async def test_request_in_the_seeds_tracing_envelope_is_answered(broker: Broker, nats_client: Client) -> None:
    envelope = {"trace_id": "t", "span_id": "s", "data": json.loads(seed_request("s"))}
    async with (
        running(broker.url, role="worker", id="w"),
        watching(nats_client, "chat.session.s.broadcast") as watch,
    ):
        await nats_client.publish("chat.workflow.execute.s", json.dumps(envelope).encode())
        await eventually(lambda: watch.has_final)
    assert len(watch.chunks) == 13


async def test_requests_are_shared_among_workers_and_each_is_answered_once(
    broker: Broker, nats_client: Client
) -> None:
    sessions = [f"s{number}" for number in range(20)]
    async with (
        running(broker.url, role="worker", id="w", workers=3),
        watching(nats_client, "chat.session.*.broadcast") as watch,
    ):
        for session_id in sessions:
            request = seed_request(session_id, context={"tokens_per_second": 100})
            await nats_client.publish(f"chat.workflow.execute.{session_id}", request)
        await eventually(lambda: sum(chunk["is_final"] for chunk in watch.chunks) == len(sessions))
        claims = [claim.body for name in sessions for claim in await stored.claims(nats_client, name)]
    assert len(claims) == len(sessions)
    assert len({claim["worker_id"] for claim in claims}) > 1, "all went to one worker"


async def test_undecodable_requests_go_to_the_dead_letters_and_block_nobody(
    broker: Broker, nats_client: Client
) -> None:
    bad = [b"\xff\xfe", b"[]", b'{"session_id": "s"}', seed_request("other"), b'{"a":' * 5000]
    async with (
        running(broker.url, role="worker", id="w"),
        watching(nats_client, "chat.session.s.broadcast") as watch,
    ):
        for body in bad:
            await nats_client.publish("chat.workflow.execute.s", body)
        await nats_client.publish("chat.workflow.execute.s", seed_request("s"))
        await eventually(lambda: watch.has_final)
        await eventually(lambda: _is_empty(nats_client, "s"))
        dead = await stored.stored(nats_client, "CHAT_DEAD_LETTERS", "chat.dead.*")
    assert [letter.data for letter in dead] == bad
    assert all(letter.headers["Chatmesh-Reason"] for letter in dead)
    assert len(watch.chunks) == 13


async def test_answer_of_a_seed_request_is_in_the_sessions_history(
    broker: Broker, nats_client: Client
) -> None:
    async with pod_and_client(broker.url, "pod-1", role="all") as (_, client):
        await nats_client.publish("chat.workflow.execute.s", seed_request("s"))

        async def rows() -> list[dict[str, Any]]:
            answer = await client.get("/v1/sessions/s/messages")
            found = answer.json().get("messages", [])
            return found if found and found[-1]["status"] == "done" else []

        user, assistant = await eventually(rows)
    assert user["content"] == "What is the weather today?"
    assert user["user_id"] == "user_789"
    assert assistant["content"] == "".join(f"{number} " for number in range(1, 13))


async def _is_empty(client: Client, session_id: str) -> bool:
    return not await stored.queued(client, session_id)
