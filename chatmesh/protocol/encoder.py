"""Writes the chunks of one attempt: counts their ids, splits what is too large, and knows the shape of each ending."""

from __future__ import annotations

from typing import Any

import orjson

from chatmesh.protocol.jsontext import clean_text
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token


class ChunkEncoder:
    """`next_id` goes on where the attempt before ended: ids count from 0 within a message and never come twice.

    `tokens` is what earlier attempts have shown. `max_text` is in characters: one character takes at most six bytes as JSON, so a sixth of a limit in bytes is safe.
    """

    def __init__(
        self,
        session_id: Token,
        message_id: Token,
        correlation_id: str,
        *,
        model: str,
        attempt: int,
        next_id: int,
        tokens: int,
        max_text: int,
    ) -> None:
        self._session_id = session_id
        self._message_id = message_id
        self._correlation_id = correlation_id
        self._metadata = {"model": model, "attempt": attempt}
        self._max_text = max_text
        self.next_id = next_id
        self.tokens = tokens

    def content(self, text: str, unix_seconds: float) -> list[bytes]:
        """One token: one chunk, or several where the text is larger than a message may be."""
        self.tokens += 1
        if len(text) <= self._max_text:
            return [self._chunk(text, "content", unix_seconds, self._metadata)]
        return [
            self._chunk(text[at : at + self._max_text], "content", unix_seconds, self._metadata)
            for at in range(0, len(text), self._max_text)
        ]

    def final(self, finish_reason: str, unix_seconds: float, *, text: str = "") -> bytes:
        """The end of an answer: stop, length, tool_calls, content_filter or cancelled."""
        metadata = self._metadata | {"finish_reason": finish_reason, "tokens_used": self.tokens}
        return self._chunk(text, "content", unix_seconds, metadata, is_final=True)

    def failure(self, code: str, message: str, unix_seconds: float) -> bytes:
        """The end of an answer that could not be given. `message` is for people: no stack trace, no secret."""
        metadata = self._metadata | {"finish_reason": "error", "tokens_used": self.tokens}
        error = {"code": code, "message": clean_text(message)}
        return self._chunk("", "error", unix_seconds, metadata, is_final=True, error=error)

    def _chunk(
        self,
        text: str,
        chunk_type: str,
        unix_seconds: float,
        metadata: dict[str, Any],
        *,
        is_final: bool = False,
        error: dict[str, str] | None = None,
    ) -> bytes:
        body: dict[str, Any] = {
            "session_id": self._session_id,
            "message_id": self._message_id,
            "chunk_id": self.next_id,
            "chunk": text,
            "chunk_type": chunk_type,
            "is_final": is_final,
            "metadata": metadata,
            "timestamp": iso(unix_seconds),
            "correlation_id": self._correlation_id,
        }
        if error is not None:
            body["error"] = error
        self.next_id += 1
        try:
            return orjson.dumps(body)
        except orjson.JSONEncodeError:
            # A provider may yield half a surrogate pair; the reader gets U+FFFD and the answer goes on.
            body["chunk"] = clean_text(text)
            return orjson.dumps(body)
