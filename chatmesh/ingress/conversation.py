"""Rows of a session's history: pure."""

from __future__ import annotations

from chatmesh.ingress.answers import AssistantRow, Status, UserRow
from chatmesh.protocol.exchanges import Exchange
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.records import asked

_STATUS: dict[str, Status] = {"error": "failed", "cancelled": "stopped"}


def rows(exchange: Exchange, *, is_claimed: bool = False) -> list[UserRow | AssistantRow]:
    """The user's and the assistant's. `is_claimed`: a worker has it, though no record tells of it yet."""
    return [user_row(exchange, is_claimed=is_claimed), assistant_row(exchange, is_claimed=is_claimed)]


def status(exchange: Exchange, *, is_claimed: bool = False) -> Status:
    if exchange.final is not None:
        return _STATUS.get(exchange.finish_reason or "", "done")
    return "running" if exchange.has_begun or is_claimed else "queued"


def user_row(exchange: Exchange, *, is_claimed: bool = False) -> UserRow:
    said = exchange.asked
    return {
        "message_id": exchange.message_id,
        "role": "user",
        "content": said.get("message", ""),
        "status": status(exchange, is_claimed=is_claimed),
        "finish_reason": None,
        "created_at": said.get("timestamp", ""),
        "user_id": said.get("user_id", ""),
        "correlation_id": said.get("correlation_id", ""),
    }


def assistant_row(exchange: Exchange, *, is_claimed: bool = False) -> AssistantRow:
    """Also of an answer that has not begun: its place is there, its content empty."""
    row: AssistantRow = {
        "message_id": exchange.message_id,
        "role": "assistant",
        "content": exchange.text,
        "status": status(exchange, is_claimed=is_claimed),
        "finish_reason": exchange.finish_reason,
        "created_at": exchange.answered_at,
        "model": exchange.asked.get("model"),
        "attempt": exchange.attempt,
    }
    ended_at = (exchange.final or {}).get("timestamp")
    if isinstance(ended_at, str):
        row["ended_at"] = ended_at
    if "spend" in exchange.metadata:
        row["spend"] = exchange.metadata["spend"]
    if exchange.final is not None and exchange.final.get("error"):
        row["error"] = exchange.final["error"]
    return row


def waiting(request: WorkflowRequest) -> Exchange:
    """A message that no record tells of yet."""
    return Exchange(request.message_id, asked(request))
