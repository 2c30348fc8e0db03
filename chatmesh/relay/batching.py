"""When chunks leave, and how many together: pure, the time is an argument.

A batch is due 50 ms after its first chunk, or at 100 chunks, whichever is first (both configured); the first chunk of an
answer and the final one don't wait. No batch passes the broker's `max_payload`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

TICKS = 10
"""Of a flush time: batches leave at ticks of the clock that all answers share. So those of many answers leave together,
in one write to the broker, which acknowledges them in one and hands them to a pod in one. Of its 50 ms a chunk
waits at least 45."""


Draft = tuple[str, float]
"""A token that is no chunk yet, and when it was said, in Unix seconds."""

Encode = Callable[[Sequence[Draft]], list[bytes]]

CHARACTER_BYTES = 6
"""At most, as JSON."""


def flush_at(now: float, flush_seconds: float) -> float:
    """When a batch leaves that begins `now`: at the last tick within its time."""
    tick = flush_seconds / TICKS
    return math.floor((now + flush_seconds) / tick) * tick


class Buffer:
    """What is not yet on its way, in order: encoded chunks, and behind them drafts, which `encode` makes chunks of when their
    batch leaves. Together that costs half of what it costs one by one."""

    __slots__ = (
        "_bytes",
        "_chunks",
        "_draft_bytes",
        "_drafts",
        "_is_expired",
        "_max_bytes",
        "_max_chunks",
        "_urgent",
        "encode",
    )

    def __init__(self, max_chunks: int, max_bytes: int) -> None:
        self._max_chunks = max_chunks
        self._max_bytes = max_bytes
        self._chunks: list[bytes] = []
        self._bytes = 0
        self._drafts: list[Draft] = []
        self._draft_bytes = 0  # at most, without what is around the texts
        self.encode: Encode | None = None
        self._urgent = 0  # this many chunks from the front must not wait
        self._is_expired = False

    def __len__(self) -> int:
        return len(self._chunks) + len(self._drafts)

    def draft(self, text: str, unix_seconds: float) -> int:
        """Takes a token; returns how much there is now."""
        self._drafts.append((text, unix_seconds))
        self._draft_bytes += CHARACTER_BYTES * len(text)
        return len(self._chunks) + len(self._drafts)

    def settle(self) -> None:
        """Drafts become chunks: before anything else is encoded, since chunks are numbered as they are."""
        if self._drafts:
            if self.encode is None:
                raise ValueError("nobody has said how drafts become chunks")
            drafts, self._drafts, self._draft_bytes = self._drafts, [], 0
            chunks = self.encode(drafts)
            self._chunks += chunks
            self._bytes += sum(map(len, chunks)) + len(chunks)

    def add(self, chunk: bytes, *, urgent: bool = False) -> int:
        """Takes a chunk, where there are no drafts; returns how much there is now. With the first one its 50 ms begin."""
        if self._drafts:
            raise ValueError("a chunk that was encoded before the drafts in front of it")
        self._chunks.append(chunk)
        self._bytes += len(chunk) + 1
        count = len(self._chunks)
        if urgent:
            self._urgent = count
        return count

    def expire(self) -> None:
        """Nobody waits any longer, as when the 50 ms of the first chunk are over."""
        self._is_expired = bool(self._chunks or self._drafts)

    @property
    def is_due(self) -> bool:
        return (
            self._is_expired
            or self._urgent > 0
            or len(self._chunks) + len(self._drafts) >= self._max_chunks
            or self._bytes + self._draft_bytes >= self._max_bytes
        )

    def take(self) -> list[bytes]:
        """The next batch: at least one chunk, at most `max_chunks` and (but for a single one) `max_bytes`."""
        self.settle()
        count, size = 0, 0
        for chunk in self._chunks[: self._max_chunks]:
            size += len(chunk) + 1
            if count and size > self._max_bytes:
                size -= len(chunk) + 1
                break
            count += 1
        batch, self._chunks = self._chunks[:count], self._chunks[count:]
        self._bytes -= size
        self._urgent = max(0, self._urgent - count)
        # What stays behind has waited as long as what left with the timer.
        self._is_expired = self._is_expired and bool(self._chunks)
        return batch
