"""In which words a reader is told: native events, or a projection of the answer into somebody else's format."""

from __future__ import annotations

import random
from typing import Any, Protocol

from chatmesh.errors import ProtocolError
from chatmesh.protocol import sse
from chatmesh.protocol.messages import ResponseChunk
from chatmesh.protocol.positions import START, Position, Scope
from chatmesh.protocol.projection import Encoder
from chatmesh.protocol.records import Record
from chatmesh.telemetry import get_logger

log = get_logger("hub")

RETRY_MS = (1000, 3000)
"""`retry:` differs from connection to connection, so that a herd spreads."""


def retry_ms() -> int:
    return random.randint(*RETRY_MS)  # noqa: S311 - spreads load, no secret


class Wire(Protocol):
    """Bytes for one reader. None: it can't be said in this format, so the connection has to be cut: a clean end would pass
    for the answer's."""

    is_shared: bool
    """Whether a live record's bytes are the same for every native reader of the session."""
    is_resumable: bool
    """Whether its reader comes back with a position, so that a clean end says nothing of the answer's."""

    def opening(self, position: Position) -> bytes: ...
    def record(self, record: Record, skip: int) -> bytes | None: ...
    def foreign(self, chunk: ResponseChunk) -> bytes | None: ...
    def reset(self, reason: str, position: Position = START) -> bytes | None: ...
    def goodbye(self, reason: str) -> bytes | None: ...


class Native:
    """Events with positions, which any pod goes on from."""

    __slots__ = ("scope",)
    is_shared = True
    is_resumable = True

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def opening(self, position: Position, user_agent: str = "") -> bytes:
        return sse.opening(self.scope.text(position), retry_ms(), user_agent)

    def record(self, record: Record, skip: int) -> bytes:
        return sse.events(record, self.scope, skip=skip)

    def foreign(self, chunk: ResponseChunk) -> bytes:
        return sse.chunk(chunk.encode())

    def reset(self, reason: str, position: Position = START) -> bytes:
        return sse.reset(reason, position=self.scope.text(position))

    def goodbye(self, reason: str) -> bytes:
        return sse.drain(reason, retry_ms())


class Projection:
    """One message in a format without positions: from its beginning to its final chunk, on one connection."""

    is_shared = False
    is_resumable = False

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._has_told = False

    def opening(self, position: Position) -> bytes:
        return self._encoder.opening()

    def record(self, record: Record, skip: int) -> bytes | None:
        chunks = _readable(record)
        if chunks is None or (record.reset is not None and self._has_told):
            return None
        self._has_told = self._has_told or bool(chunks)
        return b"".join([self._encoder.chunk(chunk) for chunk in chunks])

    def foreign(self, chunk: ResponseChunk) -> bytes | None:
        self._has_told = True
        return self._encoder.chunk(chunk.wire())

    def reset(self, reason: str, position: Position = START) -> bytes | None:
        return None

    def goodbye(self, reason: str) -> bytes | None:
        return None


class Collected:
    """One message's chunks, for an answer that is given as a whole. Says nothing, so it can take back everything."""

    is_shared = False
    is_resumable = False

    def __init__(self) -> None:
        self.chunks: list[dict[str, Any]] = []

    @property
    def is_whole(self) -> bool:
        return bool(self.chunks) and self.chunks[-1].get("is_final") is True

    def opening(self, position: Position) -> bytes:
        return b""

    def record(self, record: Record, skip: int) -> bytes | None:
        chunks = _readable(record)
        if chunks is None:
            return None
        if record.reset is not None:
            self.chunks.clear()
        self.chunks += chunks
        return b""

    def foreign(self, chunk: ResponseChunk) -> bytes:
        self.chunks.append(chunk.wire())
        return b""

    def reset(self, reason: str, position: Position = START) -> bytes:
        self.chunks.clear()
        return b""

    def goodbye(self, reason: str) -> bytes | None:
        return None


def _readable(record: Record) -> list[dict[str, Any]] | None:
    """The record's chunks; None where one of them is no JSON. Whoever is shown them as they are can't tell either."""
    try:
        return record.chunks.read()
    except ProtocolError as error:
        log.warning("hub.unreadable", session_id=record.session_id, seq=record.seq, error=str(error))
        return None
