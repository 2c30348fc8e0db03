"""Stored things that a mesh would have written, put there by a raw client; and the commands as processes."""

from __future__ import annotations

import json
from typing import Any

from nats.aio.client import Client

from tests.operate.support import Start, finished

STREAMS_ONLY = "pod"
"""The role of a mesh that makes the streams and answers nothing."""

SLOW = {"model": "count", "max_tokens": 1000, "tokens_per_second": 20}


def claim(session_id: str, message_id: str = "m", **fields: Any) -> bytes:
    """Of a worker that is none."""
    body = {
        "session_id": session_id,
        "message_id": message_id,
        "worker_id": "w",
        "boot": "b",
        "nonce": "n",
        "attempt": 1,
        "base": 0,
        "first": 0,
        "offset": 0,
        "timestamp": "2026-11-26T01:02:03.000Z",
    }
    return json.dumps(body | fields).encode()


async def store_claim(client: Client, session_id: str, message_id: str = "m", **fields: Any) -> int:
    """Its sequence."""
    subject = f"chat.session.{session_id}.claim"
    return (await client.jetstream().publish(subject, claim(session_id, message_id, **fields))).seq


def record(session_id: str, message_id: str, offset: int, *texts: str, is_final: bool = False) -> bytes:
    chunks = [
        {"session_id": session_id, "message_id": message_id, "chunk_id": number, "chunk": text}
        | {"chunk_type": "content", "is_final": is_final and number == len(texts) - 1, "metadata": {}}
        for number, text in enumerate(texts)
    ]
    head = {"session_id": session_id, "message_id": message_id, "offset": offset, "attempt": 1, "token": 1}
    # As orjson writes it: some readers look for a final without decoding.
    return json.dumps(head | {"chunks": chunks}, separators=(",", ":")).encode()


async def store_record(
    client: Client, session_id: str, message_id: str, offset: int, *texts: str, is_final: bool = False
) -> int:
    subject = f"chat.session.{session_id}.transcript.{message_id}"
    body = record(session_id, message_id, offset, *texts, is_final=is_final)
    return (await client.jetstream().publish(subject, body)).seq


class Command:
    """`chatmesh ARGUMENTS…` against one broker, to its end."""

    def __init__(self, start: Start, url: str) -> None:
        self._start = start
        self._settings = ("--set", f"nats.servers={url}", "--set", "heartbeat.interval_seconds=1")

    async def text(self, *arguments: str) -> str:
        code, process = await finished(self._start, *arguments, *self._settings)
        assert code == 0, process.report()
        return process.stdout

    async def json(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self.text(*arguments, "--json"))
        return answer

    def begin(self, *arguments: str) -> Any:
        """The process, which goes on."""
        return self._start(*arguments, *self._settings)
