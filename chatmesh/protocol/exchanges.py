"""A session as its records tell it: what was asked, and the answer as far as it goes.

In: records in their order. Out: one Exchange for each message. What was shown before a `reset` is no part of the answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from chatmesh.protocol.openai_chat import pieces
from chatmesh.protocol.records import Record
from chatmesh.protocol.tokens import Token
from chatmesh.protocol.tool_results import KEY, are_whole


@dataclass(slots=True)
class Exchange:
    """One message. `chunks` are those of its answer that count, in their order, the final one too; `resets`, how often it
    was begun anew."""

    message_id: Token
    asked: dict[str, Any] = field(default_factory=dict)
    chunks: list[dict[str, Any]] = field(default_factory=list)
    attempt: int = 1
    resets: int = 0
    answered_at: str | None = None
    has_begun: bool = False

    def add(self, record: Record) -> None:
        """The next record of the message."""
        if record.request is not None:
            self.asked = record.request
        if record.reset is not None:
            self.chunks.clear()
            self.resets += 1
        self.has_begun = True
        self.attempt = max(1, record.attempt)
        self.chunks += record.chunks
        if self.answered_at is None:
            stamps = (chunk.get("timestamp") for chunk in record.chunks)
            self.answered_at = next((stamp for stamp in stamps if isinstance(stamp, str)), None)

    @property
    def text(self) -> str:
        """What was said."""
        return "".join(
            str(chunk.get("chunk", "")) for chunk in self.chunks if chunk.get("chunk_type") == "content"
        )

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The tools that the model wants to be called, as chat completions have them. None where the answer broke off: half
        a call is none."""
        if self.final is None or self.finish_reason not in ("tool_calls", "stop"):
            return []
        _, _, calls = pieces(self.chunks)
        return calls if are_whole(calls) else []

    @property
    def results(self) -> list[dict[str, Any]]:
        """What tools had answered, as the message brought it."""
        context = self.asked.get("context")
        results = context.get(KEY) if isinstance(context, dict) else None
        return results if isinstance(results, list) else []

    @property
    def final(self) -> dict[str, Any] | None:
        """The final chunk, once it is there."""
        return self.chunks[-1] if self.chunks and self.chunks[-1].get("is_final") is True else None

    @property
    def metadata(self) -> dict[str, Any]:
        """The final chunk's."""
        metadata = (self.final or {}).get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    @property
    def finish_reason(self) -> str | None:
        reason = self.metadata.get("finish_reason")
        return reason if isinstance(reason, str) else None


def exchanges(records: Iterable[Record]) -> list[Exchange]:
    """The messages that these records tell of, in the order in which they began."""
    found: dict[Token, Exchange] = {}
    for record in records:
        if record.resets_all:
            continue
        exchange = found.get(record.message_id)
        if exchange is None:
            exchange = found[record.message_id] = Exchange(record.message_id)
        exchange.add(record)
    return list(found.values())
