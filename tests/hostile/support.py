"""What is sent to do harm, and how to see that it did none."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
from nats.aio.client import Client
from prometheus_client import REGISTRY

from tests.support import stored
from tests.support.reading import Reading, events, post

WIRE = {"Chatmesh-Wire": "1"}

LONE_SURROGATE = b'{"session_id":"s","message_id":"m","message":"\\ud800","chunk":"\\ud800","boot":"\\ud800"}'

GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"\x00\xff garbage",
    "no UTF-8": b'{"session_id":"s","message_id":"m","message":"\xff","chunk":"\xff","pod_id":"\xff"}',
    "a number": b"17",
    "a huge number": b"9" * 4000,
    "infinity": b'{"session_id":"s","message_id":"m","chunk_id":1e400,"offset":1e400,"queue_seq":1e400}',
    "null": b"null",
    "a string": b'"boot"',
    "a list": b"[]",
    "an empty object": b"{}",
    "a deep list": b"[" * 1000 + b"]" * 1000,
    "a very deep list": b"[" * 100_000,
    "a deep object": b'{"session_id":"s","message_id":"m","context":%b}'
    % (b'{"a":' * 300 + b"1" + b"}" * 300),
    "a deep text": b'{"boot":%b,"session_id":%b}' % ((b"[" * 1000 + b"]" * 1000,) * 2),
    "a lone surrogate": LONE_SURROGATE,
    "an unfinished object": b'{"session_id":"s","message_id":"m"',
    "an envelope without data": b'{"trace_id":"t","span_id":"s","data":5}',
    "an envelope in an envelope": b'{"trace_id":"t","data":{"trace_id":"t","data":{"session_id":"s"}}}',
}

_WRONG: list[Any] = [None, True, -1, 10**30, 1.5, "", "a.b", "*", [], [[]], {}, {"a": []}]


def wrong_types(good: dict[str, Any], *, needed: set[str]) -> list[bytes]:
    """`good` with each needed field missing or of another type."""
    found: list[bytes] = []
    for name in needed:
        found.append(json.dumps({key: value for key, value in good.items() if key != name}).encode())
        found += [
            json.dumps(good | {name: wrong}).encode() for wrong in _WRONG if not _fits(good[name], wrong)
        ]
    return found


def _fits(good: Any, wrong: Any) -> bool:
    """Whether the value would do in the good one's place."""
    return type(good) is type(wrong) and not (isinstance(wrong, str) and wrong in {"", "a.b", "*"})


def request(session_id: str = "s", message_id: str = "m", **changes: Any) -> dict[str, Any]:
    """The seed's WorkflowRequest."""
    return {
        "message_id": message_id,
        "session_id": session_id,
        "user_id": "user_789",
        "message": "go",
        "context": {"model": "count", "max_tokens": 3},
        "timestamp": "2025-11-17T20:30:00Z",
        "correlation_id": "corr_xyz",
        **changes,
    }


def chunk(session_id: str = "s", message_id: str = "x", chunk_id: int = 0, **changes: Any) -> dict[str, Any]:
    """The seed's ResponseChunk."""
    return {
        "session_id": session_id,
        "message_id": message_id,
        "chunk_id": chunk_id,
        "chunk": f"{chunk_id} ",
        "chunk_type": "content",
        "is_final": False,
        "metadata": {},
        "timestamp": "2025-11-17T20:30:05.123Z",
        "correlation_id": "corr_xyz",
        **changes,
    }


def record(session_id: str = "s", offset: Any = 1, **changes: Any) -> dict[str, Any]:
    """A live record as our own workers send it."""
    head = {"session_id": session_id, "message_id": "x", "offset": offset, "attempt": 1, "token": 1, "seq": 2}
    return {**head, "chunks": [chunk(session_id)], **changes}


def claim(session_id: str = "s", message_id: str = "x", **changes: Any) -> dict[str, Any]:
    """A claim as a worker writes it."""
    return {
        "session_id": session_id,
        "message_id": message_id,
        "worker_id": "stranger",
        "boot": "0",
        "nonce": "0",
        "attempt": 1,
        "base": 0,
        "first": 0,
        "offset": 0,
        "timestamp": "2026-01-01T00:00:00Z",
        **changes,
    }


def encode(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def metric(name: str, **labels: str) -> float:
    """What a counter of this process stands at."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def dropped() -> float:
    return metric("chatmesh_dropped_total", reason="undecodable")


async def good_message(client: httpx.AsyncClient, session_id: str = "s", tokens: int = 3) -> Reading:
    """Posts a message and reads its answer to the end; the whole answer came, once and in order."""
    message_id = (await post(client, session_id, model="count", max_tokens=tokens)).json()["message_id"]
    async with events(client, session_id, message_id=message_id) as stream:
        reading = await stream.read_finals()
    assert reading.ids == list(range(tokens + 1))
    assert reading.finals[0]["metadata"]["finish_reason"] == "stop"
    return reading


async def is_queue_empty(client: Client) -> bool:
    state = (await stored.api(client, f"STREAM.INFO.{stored.REQUESTS}"))["state"]
    return bool(state["messages"] == 0)


async def dead_letters(client: Client) -> list[stored.Stored]:
    return await stored.stored(client, "CHAT_DEAD_LETTERS", "chat.dead.*")


async def raw(port: int, *lines: bytes) -> None:
    """Lines of the NATS protocol as they stand, which no client would send; returns when the server has them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await reader.readline()
        writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n' + b"".join(lines) + b"PING\r\n")
        async with asyncio.timeout(5):
            assert await reader.readline() == b"PONG\r\n"
    finally:
        writer.close()
        await writer.wait_closed()


def pub(subject: bytes, body: bytes, reply: bytes = b"") -> bytes:
    return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(body), body)


def hpub(subject: bytes, headers: bytes, body: bytes) -> bytes:
    return b"HPUB %b %d %d\r\n%b%b\r\n" % (subject, len(headers), len(headers) + len(body), headers, body)
