"""Requests as bytes, made once; and what of an answer's head matters. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from chatmesh.errors import ProtocolError


def reading(session_id: str, *, position: str | None = None, message_id: str | None = None) -> bytes:
    """Opens a session's events: from a position, and of one message only, where these are named."""
    query = f"?message_id={message_id}" if message_id else ""
    head = f"Last-Event-ID: {position}\r\n" if position else ""
    return (
        f"GET /v1/sessions/{session_id}/events{query} HTTP/1.1\r\n"
        f"Host: localhost\r\nAccept: text/event-stream\r\n{head}\r\n"
    ).encode()


def asking(session_id: str, message_id: str, *, tokens: int, rate: float, is_inline: bool = False) -> bytes:
    """Asks `count` for an answer of `tokens` chunks, the final one included; `rate` in tokens a second, 0 is unlimited.
    `is_inline`: the answer's events come in the same response."""
    context: dict[str, Any] = {"model": "count", "max_tokens": tokens - 1, "tokens_per_second": rate}
    body = orjson.dumps({"message_id": message_id, "message": "count", "context": context})
    accept = "text/event-stream" if is_inline else "*/*"
    head = (
        f"POST /v1/sessions/{session_id}/messages HTTP/1.1\r\nHost: localhost\r\n"
        f"Accept: {accept}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def listing(session_id: str) -> bytes:
    """Asks for a session's history; the connection is closed behind the answer."""
    return f"GET /v1/sessions/{session_id}/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


def stopping(session_id: str, message_id: str) -> bytes:
    """Stops an answer."""
    return (
        f"DELETE /v1/sessions/{session_id}/messages/{message_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )


def status(head: bytes) -> int:
    """Of an answer's head. Raises ProtocolError where it is none."""
    line = head.partition(b"\r\n")[0]
    parts = line.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise ProtocolError(f"expected an HTTP answer, got {line[:80]!r}")
    return int(parts[1])


def is_chunked(head: bytes) -> bool:
    """Whether the body comes in HTTP's own chunks."""
    return b"\r\ntransfer-encoding: chunked" in head.lower()


def body_bytes(head: bytes) -> int | None:
    """How long the body is, where the head says it."""
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return None
