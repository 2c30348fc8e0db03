"""What JetStream has stored, read by a raw client with nothing of ours in between."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client

from tests.support.waiting import eventually

TRANSCRIPT = "CHAT_TRANSCRIPT"
REQUESTS = "WORKFLOW_REQUESTS"

LEADER_SECONDS = 30
"""How long a stream of three servers may have no leader, after one was killed."""


@dataclass(frozen=True)
class Stored:
    """One message of a stream."""

    seq: int
    subject: str
    headers: dict[str, str]
    data: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.data)


async def api(client: Client, name: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """JetStream's answer to `$JS.API.{name}`; its error is an assertion."""
    reply = await client.request(f"$JS.API.{name}", json.dumps(body or {}).encode(), timeout=5)
    answer: dict[str, Any] = json.loads(reply.data)
    assert "error" not in answer, f"{name}: {answer['error']}"
    return answer


async def update_stream(client: Client, name: str, **fields: Any) -> None:
    """Changes the stream's configuration, as an operator may."""
    config = (await api(client, f"STREAM.INFO.{name}"))["config"]
    await api(client, f"STREAM.UPDATE.{name}", config | fields)


async def stored(client: Client, stream: str, subject: str) -> list[Stored]:
    """Every message of the stream on `subject` (wildcards allowed), oldest first."""
    found: list[Stored] = []
    seq = 1
    while True:
        answer = await _get(client, stream, {"seq": seq, "next_by_subj": subject})
        if "error" in answer:
            assert answer["error"]["code"] == 404, answer["error"]
            return found
        message = answer["message"]
        head = base64.b64decode(message.get("hdrs", "")).decode().splitlines()[1:]
        headers = dict(line.split(": ", 1) for line in head if ": " in line)
        found.append(
            Stored(message["seq"], message["subject"], headers, base64.b64decode(message.get("data", "")))
        )
        seq = message["seq"] + 1


async def _get(client: Client, stream: str, question: dict[str, Any]) -> dict[str, Any]:
    async def ask() -> dict[str, Any] | None:
        reply = await client.request(
            f"$JS.API.STREAM.MSG.GET.{stream}", json.dumps(question).encode(), timeout=5
        )
        answer: dict[str, Any] = json.loads(reply.data)
        return None if answer.get("error", {}).get("code") == 503 else answer

    answer: dict[str, Any] = await eventually(ask, timeout=LEADER_SECONDS, message=f"a leader of {stream}")
    return answer


async def records(client: Client, session_id: str, message_id: str = "*") -> list[Stored]:
    """The transcript's records of a session, or of one message in it."""
    return await stored(client, TRANSCRIPT, f"chat.session.{session_id}.transcript.{message_id}")


async def claims(client: Client, session_id: str) -> list[Stored]:
    """Every claim that a worker wrote in the session: one for each call of a provider."""
    return await stored(client, TRANSCRIPT, f"chat.session.{session_id}.claim")


async def chunks(client: Client, session_id: str, message_id: str = "*") -> list[dict[str, Any]]:
    """The transcript's chunks: what every reader must get, once and in this order."""
    return [
        chunk for record in await records(client, session_id, message_id) for chunk in record.body["chunks"]
    ]


async def text(client: Client, session_id: str, message_id: str = "*") -> str:
    """The transcript's text."""
    found = await chunks(client, session_id, message_id)
    return "".join(chunk["chunk"] for chunk in found if chunk["chunk_type"] == "content")


async def queued(client: Client, session_id: str) -> list[Stored]:
    """The session's requests that are not answered yet."""
    return await stored(client, REQUESTS, f"chat.workflow.execute.{session_id}")
