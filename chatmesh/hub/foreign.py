"""The order of chunks that somebody else's worker published straight to us: pure.

No transcript stands behind them, so they are shown live only, without a position: in `chunk_id` order, each once. The
first that is seen is the base; a hole is waited for a second at most, then what lies behind it is shown.
"""

from __future__ import annotations

from chatmesh.protocol.messages import ResponseChunk

HOLE_SECONDS = 1.0

MAX_HELD = 1024
"""Chunks of one message that may wait behind a hole; past it the hole is given up at once."""


class ForeignOrder:
    """One message. Takes the time as an argument."""

    __slots__ = ("_held", "_hole_since", "_next", "is_over")

    def __init__(self) -> None:
        self._next: int | None = None
        self._held: dict[int, ResponseChunk] = {}
        self._hole_since = 0.0
        self.is_over = False

    @property
    def is_waiting(self) -> bool:
        """Whether chunks wait behind a hole."""
        return bool(self._held)

    def add(self, chunk: ResponseChunk, now: float) -> list[ResponseChunk]:
        """The chunks that can be shown now that this one is here."""
        if self.is_over:
            return []
        if self._next is None:
            self._next = chunk.chunk_id
        if chunk.chunk_id < self._next or chunk.chunk_id in self._held:
            return []
        if not self._held:
            self._hole_since = now
        self._held[chunk.chunk_id] = chunk
        shown = self._run()
        if shown and self._held:
            self._hole_since = now
        return shown + self._skip() if len(self._held) > MAX_HELD else shown

    def expire(self, now: float) -> list[ResponseChunk]:
        """What can be shown because a hole was waited for long enough."""
        if not self._held or now - self._hole_since < HOLE_SECONDS:
            return []
        self._hole_since = now
        return self._skip()

    def _skip(self) -> list[ResponseChunk]:
        self._next = min(self._held)
        return self._run()

    def _run(self) -> list[ResponseChunk]:
        shown: list[ResponseChunk] = []
        while (
            self._next is not None
            and not self.is_over
            and (chunk := self._held.pop(self._next, None)) is not None
        ):
            shown.append(chunk)
            self._next += 1
            self.is_over = chunk.is_final
        if self.is_over:
            self._held.clear()
        return shown
