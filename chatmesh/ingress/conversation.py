"""Rows of a session's history from its records and its queue: pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from chatmesh.ingress.answers import AssistantRow, Status, UserRow
from chatmesh.protocol.messages import WorkflowRequest
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token

_STATUS: dict[str, Status] = {"error": "failed", "cancelled": "stopped"}


@dataclass(slots=True)
class Turn:
    """One message and its answer, as far as it goes."""

    message_id: Token
    asked: dict[str, Any] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    status: Status = "queued"
    final: dict[str, Any] | None = None
    answered_at: str | None = None
    attempt: int = 1

    def add(self, record: Record) -> None:
        """The next record of the message. What was shown before a reset is no part of the answer."""
        if record.request is not None:
            self.asked = record.request
        if record.reset is not None:
            self.texts.clear()
        self.status = "running"
        self.attempt = max(1, record.attempt)
        for chunk in record.chunks:
            if chunk.get("chunk_type") == "content":
                self.texts.append(str(chunk.get("chunk", "")))
            self.answered_at = self.answered_at or chunk.get("timestamp")
        if (final := record.final) is not None:
            self.final = final
            self.status = _STATUS.get(self.finish_reason or "", "done")

    @property
    def finish_reason(self) -> str | None:
        metadata = (self.final or {}).get("metadata")
        reason = metadata.get("finish_reason") if isinstance(metadata, dict) else None
        return reason if isinstance(reason, str) else None

    def user_row(self) -> UserRow:
        return {
            "message_id": self.message_id,
            "role": "user",
            "content": self.asked.get("message", ""),
            "status": self.status,
            "finish_reason": None,
            "created_at": self.asked.get("timestamp", ""),
            "user_id": self.asked.get("user_id", ""),
            "correlation_id": self.asked.get("correlation_id", ""),
        }

    def assistant_row(self) -> AssistantRow:
        """Also of an answer that has not begun: its place is there, its content empty."""
        row: AssistantRow = {
            "message_id": self.message_id,
            "role": "assistant",
            "content": "".join(self.texts),
            "status": self.status,
            "finish_reason": self.finish_reason,
            "created_at": self.answered_at,
            "model": self.asked.get("model"),
            "attempt": self.attempt,
        }
        if self.final is not None and self.final.get("error"):
            row["error"] = self.final["error"]
        return row

    def rows(self) -> list[UserRow | AssistantRow]:
        return [self.user_row(), self.assistant_row()]


def turns(records: Iterable[Record]) -> list[Turn]:
    """The turns that these records tell of, in the order in which they began."""
    found: dict[Token, Turn] = {}
    for record in records:
        if record.resets_all:
            continue
        turn = found.get(record.message_id)
        if turn is None:
            turn = found[record.message_id] = Turn(record.message_id)
        turn.add(record)
    return list(found.values())


def waiting(request: WorkflowRequest, *, is_claimed: bool) -> Turn:
    """A message that no record tells of yet: queued, or claimed by a worker whose model is still silent."""
    asked = {
        "message": request.message,
        "user_id": request.user_id,
        "model": request.model,
        "timestamp": request.timestamp,
        "correlation_id": request.correlation_id,
    }
    return Turn(request.message_id, asked, status="running" if is_claimed else "queued")
