"""A client as the hub sees one: takes bytes at once, or none at all."""

from __future__ import annotations


class FakeSink:
    """What a reader needs of `web.EventSink`. A slow one takes nothing until `drink`."""

    def __init__(self, *, is_slow: bool = False) -> None:
        self.is_slow = is_slow
        self.is_closed = False
        self.buffered = 0
        self.last_write = 0.0
        self.stream = b""

    def write_nowait(self, data: bytes) -> None:
        if not self.is_closed:
            self.stream += data
            self.buffered += len(data) if self.is_slow else 0

    def abort(self) -> None:
        self.is_closed = True

    def drink(self) -> None:
        self.buffered = 0
