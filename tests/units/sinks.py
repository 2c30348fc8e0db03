"""A client as the hub sees one: takes bytes at once, or none at all."""

from __future__ import annotations

from collections.abc import Callable


class FakeSink:
    """What a reader needs of `web.EventSink` or `web.Stream`. A slow one takes nothing until `drink`."""

    def __init__(self, *, is_slow: bool = False) -> None:
        self.is_slow = is_slow
        self.is_closed = False
        self.is_cut = False
        self.buffered = 0
        self.last_write = 0.0
        self.stream = b""
        self.on_lost: Callable[[], None] | None = None

    def write_nowait(self, data: bytes) -> None:
        if not self.is_closed:
            self.stream += data
            self.buffered += len(data) if self.is_slow else 0

    def finish(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_cut = True

    def drink(self) -> None:
        self.buffered = 0

    def leave(self) -> None:
        """As the client does."""
        self.is_closed = True
        if self.on_lost is not None:
            self.on_lost()
