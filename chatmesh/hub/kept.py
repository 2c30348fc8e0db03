"""Foreign chunks for one reader who can't be shown them yet: it is on its way here, reads from the transcript, or is slow. Pure.

Our own chunks are read again from the transcript; of these there is no other copy, so they wait in memory, within a bound.
"""

from __future__ import annotations

from collections import deque

from chatmesh.protocol.messages import ResponseChunk
from chatmesh.protocol.tokens import Token

MAX_KEPT_BYTES = 4 * 1024 * 1024
"""For each reader, while something is kept for it. One chunk always fits."""

CHUNK_BYTES = 1024
"""Counted for each beside its text: what a chunk of a word takes."""


class Kept:
    """In order. Past the bound all of it is lost, since no more could be shown without a hole: its reader has to be cut.
    `message_id` narrows it, as it does its reader."""

    __slots__ = ("_bytes", "_chunks", "checked", "lost", "message_id")

    def __init__(self, message_id: Token | None) -> None:
        self.message_id = message_id
        self.lost = 0
        """Chunks that went past the bound, and what waited before them."""
        self.checked = 0
        """So many of the first ones were there when the card was read last, where callers are told apart."""
        self._bytes = 0
        self._chunks: deque[tuple[ResponseChunk, int]] | None = None  # made when it is needed

    def __len__(self) -> int:
        return len(self._chunks) if self._chunks else 0

    def add(self, chunk: ResponseChunk, size: int) -> None:
        """`size`: its bytes as an event."""
        if self.message_id not in (None, chunk.message_id):
            return
        size += CHUNK_BYTES
        if self.lost or (self._chunks and self._bytes + size > MAX_KEPT_BYTES):
            self.lost += 1 + len(self)
            self.clear()
            return
        if self._chunks is None:
            self._chunks = deque()
        self._chunks.append((chunk, size))
        self._bytes += size

    def clear(self) -> None:
        self._chunks, self._bytes, self.checked = None, 0, 0

    def take(self) -> ResponseChunk:
        """The first one."""
        assert self._chunks is not None  # noqa: S101 - narrows the type
        chunk, size = self._chunks.popleft()
        self._bytes -= size
        self.checked = max(0, self.checked - 1)
        return chunk
