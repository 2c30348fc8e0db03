"""Writes the chunks of one attempt: counts their ids, splits what is too large, and knows the shape of each ending.

A token is a chunk, and all that differs from one to the next is its id, its text and its time. So what is around them is
encoded once for an attempt, and those of a batch are written together: 0.5 µs a token instead of 2.0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from chatmesh.errors import ProtocolError
from chatmesh.protocol.jsontext import clean_text
from chatmesh.protocol.spend import Spend
from chatmesh.protocol.timestamps import iso
from chatmesh.protocol.tokens import Token

DIGEST_PIECES = 64
"""Texts that wait for the digest: hashing them one by one would cost as much as writing them."""

QUOTES_BYTES = 2
"""Around a text, as JSON."""


class ChunkEncoder:
    """`next_id` goes on where the attempt before ended: ids count from 0 within a message and never come twice.

    `told` and `tokens` are what earlier attempts have shown. `max_text` is how many bytes a chunk's text may take as JSON,
    where a character may be six of them; of a structured piece, how many characters it may have. The final chunk carries the
    digest of the whole text, so that whoever has read it can check what they saw.
    """

    def __init__(
        self,
        session_id: Token,
        message_id: Token,
        correlation_id: str,
        *,
        model: str,
        attempt: int,
        max_text: int,
        next_id: int = 0,
        tokens: int = 0,
        told: str = "",
    ) -> None:
        self._ids = {"session_id": session_id, "message_id": message_id}
        self._before = orjson.dumps(self._ids)[:-1] + b',"chunk_id":'
        self._correlation = {"correlation_id": correlation_id}
        self._behind = b'",' + orjson.dumps(self._correlation)[1:]
        self._attempt = attempt
        self.model = model
        self._max_text = max_text
        self.next_id = next_id
        self.tokens = tokens
        self._digest = hashlib.sha256(told.encode())
        self._undigested: list[str] = []
        self._notes: dict[str, Any] = {}

    @property
    def model(self) -> str:
        """Who speaks."""
        return str(self._who["model"])

    @model.setter
    def model(self, name: str) -> None:
        self._who = {"model": name, "attempt": self._attempt}
        about = {"chunk_type": "content", "is_final": False, "metadata": self._who}
        self._between = b"," + orjson.dumps(about)[1:-1] + b',"timestamp":"'

    def restart(self) -> None:
        """What was shown is void. Ids go on: none comes twice."""
        self.tokens = 0
        self._undigested.clear()
        self._digest = hashlib.sha256()

    def content(self, drafts: Sequence[tuple[str, float]]) -> list[bytes]:
        """Tokens, each with its time in Unix seconds: a chunk each, or several where a text is larger than a message may be. A
        provider may yield half a surrogate pair: it becomes U+FFFD, and the answer goes on."""
        self.tokens += len(drafts)
        before, most, number = self._before, self._max_text + QUOTES_BYTES, self.next_id
        chunks: list[bytes] = []
        millisecond, behind = -1, b""
        for said, unix_seconds in drafts:
            text = said
            try:
                encoded = orjson.dumps(text)
            except orjson.JSONEncodeError:
                text = clean_text(said)
                encoded = orjson.dumps(text)
            self._undigested.append(text)
            if (now := int(unix_seconds * 1000)) != millisecond:
                millisecond = now
                behind = self._between + iso(unix_seconds).encode() + self._behind
            for part in (encoded,) if len(encoded) <= most else _split(text, encoded, most):
                # As `_chunk` would write it.
                chunks.append(b'%b%d,"chunk":%b%b' % (before, number, part, behind))
                number += 1
        self.next_id = number
        if len(self._undigested) >= DIGEST_PIECES:
            self._digest_all()
        return chunks

    def structured(self, data: dict[str, Any], unix_seconds: float) -> bytes:
        """A tool call, reasoning: JSON in a `metadata` chunk. Raises ProtocolError where it is no JSON, or longer than
        `max_text`: it can't be split."""
        try:
            text = orjson.dumps(data).decode()
        except orjson.JSONEncodeError as error:
            raise ProtocolError(f"a structured piece of the answer is no JSON: {error}") from error
        if len(text) > self._max_text:
            raise ProtocolError(f"a structured piece of {len(text)} characters is past {self._max_text}")
        return self._chunk(text, "metadata", unix_seconds, self._who)

    def note(self, **notes: Any) -> None:
        """For the final chunk's metadata."""
        self._notes |= notes

    def final(self, finish_reason: str, unix_seconds: float, spend: Spend) -> bytes:
        """The end of an answer: stop, length, tool_calls, content_filter or cancelled."""
        self.note(spend=spend.wire())
        return self._chunk("", "content", unix_seconds, self._end(finish_reason), is_final=True)

    def failure(self, code: str, message: str, unix_seconds: float, spend: Spend) -> bytes:
        """The end of an answer that could not be given. `message` is for people: no stack trace, no secret."""
        self.note(spend=spend.wire())
        error = {"code": code, "message": clean_text(message)}
        return self._chunk("", "error", unix_seconds, self._end("error"), is_final=True, error=error)

    def _end(self, finish_reason: str) -> dict[str, Any]:
        self._digest_all()
        return (
            self._who
            | self._notes
            | {
                "finish_reason": finish_reason,
                "tokens_used": self.tokens,
                "digest": f"sha256:{self._digest.hexdigest()}",
            }
        )

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
            **self._ids,
            "chunk_id": self.next_id,
            "chunk": text,
            "chunk_type": chunk_type,
            "is_final": is_final,
            "metadata": metadata,
            "timestamp": iso(unix_seconds),
            **self._correlation,
        }
        if error is not None:
            body["error"] = error
        self.next_id += 1
        return orjson.dumps(body)

    def _digest_all(self) -> None:
        self._digest.update("".join(self._undigested).encode())
        self._undigested.clear()


def _split(text: str, encoded: bytes, most: int) -> list[bytes]:
    """In JSON, piece by piece, each of at most so many bytes or a single character. `encoded` is the whole of it. Pieces are cut
    as if every character took the same room; where some take more, theirs are cut again."""
    if len(encoded) <= most or len(text) == 1:
        return [encoded]
    step = max(1, len(text) * (most - QUOTES_BYTES) // (len(encoded) - QUOTES_BYTES))
    pieces = [text[at : at + step] for at in range(0, len(text), step)]
    return [part for piece in pieces for part in _split(piece, orjson.dumps(piece), most)]
