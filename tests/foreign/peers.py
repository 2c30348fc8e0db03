"""A pod and a worker as somebody would write them from the seed's text: plain nats-py, core publish, no headers, and
nothing of chatmesh."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

NOW = "2025-11-17T20:30:05.123Z"

Encode = Callable[[dict[str, Any]], bytes]


def plain(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def traced(body: dict[str, Any]) -> bytes:
    """The seed's TracedMessage."""
    return json.dumps({"trace_id": "4bf92f35", "span_id": "00f067aa", "data": body}).encode()


def request(session_id: str, message_id: str = "msg_abc123", **changes: Any) -> dict[str, Any]:
    """WorkflowRequest."""
    context = {"ai_provider": "openai", "model": "count", "temperature": 0.7, "max_tokens": 12}
    return {
        "message_id": message_id,
        "session_id": session_id,
        "user_id": "user_789",
        "message": "What is the weather today?",
        "context": context | changes.pop("context", {}),
        "timestamp": "2025-11-17T20:30:00Z",
        "correlation_id": "corr_xyz",
        **changes,
    }


def chunk(session_id: str, chunk_id: int, message_id: str = "msg_abc123", **changes: Any) -> dict[str, Any]:
    """ResponseChunk."""
    return {
        "session_id": session_id,
        "message_id": message_id,
        "chunk_id": chunk_id,
        "chunk": f"w{chunk_id} ",
        "chunk_type": "content",
        "is_final": False,
        "metadata": {"model": "gpt-4", "tokens_used": chunk_id},
        "timestamp": NOW,
        "correlation_id": "corr_xyz",
        **changes,
    }


def answer(session_id: str, count: int, message_id: str = "msg_abc123") -> list[dict[str, Any]]:
    """`count` chunks, the last one final."""
    final = {"is_final": True, "metadata": {"model": "gpt-4", "tokens_used": count, "finish_reason": "stop"}}
    *others, last = (chunk(session_id, number, message_id) for number in range(count))
    return [*others, last | final]


def batch(session_id: str, chunks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """ChunkBatch with tags."""
    return {"session_id": session_id, "chunks": list(chunks)}


def go_batch(session_id: str, chunks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """ChunkBatch as encoding/json writes the seed's struct, which has no tags."""
    return {"SessionID": session_id, "Chunks": list(chunks)}


class ForeignPod:
    """Publishes requests; collects what `routeToSSE` would get for the sessions it has. Decodes each message as one
    ResponseChunk, as the seed does."""

    def __init__(self, client: Client, pod_id: str, sessions: set[str]) -> None:
        self.id = pod_id
        self.shown: list[dict[str, Any]] = []
        self._client = client
        self._sessions = sessions

    async def ask(self, body: dict[str, Any], encode: Encode = plain) -> None:
        """PublishWorkflowRequest."""
        await self._client.publish(f"chat.workflow.execute.{body['session_id']}", encode(body))

    @property
    def is_answered(self) -> bool:
        return any(piece["is_final"] for piece in self.shown)

    async def on_message(self, message: Msg) -> None:
        piece = json.loads(message.data)
        if piece.get("session_id") in self._sessions:
            self.shown.append(piece)


@asynccontextmanager
async def foreign_pod(client: Client, pod_id: str, *sessions: str) -> AsyncIterator[ForeignPod]:
    pod = ForeignPod(client, pod_id, set(sessions))
    subscriptions = [
        await client.subscribe(f"chat.pod.{pod_id}.response", cb=pod.on_message),
        await client.subscribe("chat.session.*.broadcast", cb=pod.on_message),
    ]
    await client.flush()
    try:
        yield pod
    finally:
        for subscription in subscriptions:
            await subscription.unsubscribe()


class ForeignWorker:
    """Answers what its queue group hands it with `w0 w1 …` to one pod, or by broadcast where none is named."""

    def __init__(self, client: Client, pod_id: str | None, count: int) -> None:
        self.asked: list[dict[str, Any]] = []
        self._client = client
        self._pod_id = pod_id
        self._count = count

    async def on_message(self, message: Msg) -> None:
        body = json.loads(message.data)
        self.asked.append(body)
        session_id = body["session_id"]
        subject = (
            f"chat.pod.{self._pod_id}.response" if self._pod_id else f"chat.session.{session_id}.broadcast"
        )
        for piece in answer(session_id, self._count, body["message_id"]):
            await self._client.publish(subject, plain(piece))


@asynccontextmanager
async def foreign_worker(
    client: Client, pod_id: str | None = None, *, count: int = 5
) -> AsyncIterator[ForeignWorker]:
    worker = ForeignWorker(client, pod_id, count)
    subscription = await client.subscribe(
        "chat.workflow.execute.*", queue="workflow-workers", cb=worker.on_message
    )
    await client.flush()
    try:
        yield worker
    finally:
        await subscription.unsubscribe()
